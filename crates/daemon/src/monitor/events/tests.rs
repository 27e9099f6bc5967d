//! Pairs of moments, and what is said of them.

use std::time::Duration;

use super::*;
use crate::incarnation;
use crate::monitor::probe::{Facts, Sizes, SlowFacts};
use crate::monitor::replication::{Connections, Listed, SlotLimit};
use engine::time::Instant;
use engine::view::{Epoch, NodeId};
use wire::lsn::{Lsn, Timeline};

/// Two nodes that answer: the primary `one` and the replica `two`.
fn view() -> View {
    let mut view = View::unknown([(NodeId(0), Arc::from("one")), (NodeId(1), Arc::from("two"))]);
    for node in &mut view.nodes {
        (node.health, node.timeline) = (Health::Up, Some(Timeline(1)));
    }
    (view.nodes[0].role, view.nodes[1].role) = (Role::Primary, Role::Replica);
    View { primary: Some(NodeId(0)), epoch: Epoch(1), ..view }
}

/// What changing the view in this way is told as.
fn told(change: impl Fn(&mut View)) -> Vec<String> {
    let mut after = view();
    change(&mut after);
    lines(of_views(&view(), &after))
}

fn lines(news: Vec<News>) -> Vec<String> {
    let line =
        |news: News| format!("{}: {} {}", news.kind.name(), news.node.as_deref().unwrap_or("-"), news.text);
    news.into_iter().map(line).collect()
}

#[test]
fn a_failover_is_told_from_the_loss_to_the_next_primary() {
    let lost = |view: &mut View| {
        view.primary = None;
        view.nodes[0].health = Health::Down;
    };
    assert_eq!(
        told(lost),
        ["primary: one is no primary any more: nobody takes writes", "health: one is down"]
    );
    let next = |view: &mut View| {
        (view.primary, view.epoch) = (Some(NodeId(1)), Epoch(2));
        (view.nodes[0].role, view.nodes[1].role) = (Role::Fenced, Role::Primary);
        view.nodes[1].timeline = Some(Timeline(2));
    };
    assert_eq!(
        told(next),
        [
            "primary: two is the primary after one (epoch 2)",
            "role: one claims to take writes on timeline 1, and is fenced",
            "role: two takes writes on timeline 2",
        ]
    );
    assert_eq!(told(|view| view.epoch = Epoch(2)), ["primary: one has begun another history (epoch 2)"]);
}

#[test]
fn nodes_that_come_and_go_are_told_but_not_the_ones_there_were_at_the_start() {
    assert_eq!(told(|view| view.nodes.truncate(1)), ["nodes: two has left the cluster"]);
    let mut before = view();
    before.nodes.truncate(1);
    assert_eq!(lines(of_views(&before, &view())), ["nodes: two has joined the cluster"]);
    let first = lines(of_views(&View::unknown([]), &view()));
    assert_eq!(first, ["primary: one is the primary (epoch 1)"]);
}

#[test]
fn doubt_and_progress_are_no_events() {
    assert_eq!(told(|view| view.nodes[1].health = Health::Suspect), [""; 0]);
    assert_eq!(told(|view| view.nodes[1].position = Some(Lsn(9))), [""; 0]);
    assert_eq!(told(|view| view.nodes[1].drained = true), ["drain: two was drained by an operator"]);
}

fn answer(receiver: Receiver, replay_paused: bool, slots: Vec<Slot>) -> Answer {
    Answer {
        asked: Instant::START,
        answered: Instant::START,
        facts: Facts { in_recovery: true, position: Lsn(1), timeline: None, position_age: Duration::ZERO },
        slow: SlowFacts {
            timeline: None,
            receiver,
            replay_paused,
            incarnation: incarnation::from_text(b"1"),
        },
        sizes: Sizes {
            system_identifier: Some(1),
            wal_block_bytes: 0,
            wal_segment_bytes: 0,
            version: "15".into(),
        },
        replication: Some(Arc::new(Replication {
            at: Instant::START,
            in_recovery: true,
            end: None,
            receiver: None,
            conflicts: None,
            connections: Connections::default(),
            senders: None,
            slots: Some(Listed { total: slots.len() as u64, some: slots }),
            slot_limit: SlotLimit::Unknown,
        })),
    }
}

fn streaming() -> Receiver {
    Receiver::State("streaming".into())
}

/// What the second of two answers is told as.
fn second(first: &Answer, second: &Answer) -> Vec<String> {
    let mut status = NodeStatus::new(NodeId(1));
    let name = Arc::from("two");
    assert_eq!(lines(of_answer(&name, &status, first)), [""; 0], "the first answer is no change");
    status.on_answer(first);
    lines(of_answer(&name, &status, second))
}

#[test]
fn a_stream_that_ends_and_a_replay_that_is_paused_are_told() {
    let fine = answer(streaming(), false, Vec::new());
    assert_eq!(
        second(&fine, &answer(Receiver::Absent, true, Vec::new())),
        ["replay: two replay is paused", "receiver: two no WAL streams in (receiver: none)",]
    );
    assert_eq!(
        second(&answer(Receiver::Absent, true, Vec::new()), &fine),
        ["replay: two replay goes on", "receiver: two WAL streams in",]
    );
    assert_eq!(
        second(&fine, &answer(Receiver::Hidden, false, Vec::new())),
        [""; 0],
        "the unknown is no change"
    );
}

#[test]
fn slots_that_are_made_left_lost_and_dropped_are_told() {
    let slot = |name: &str, active, status: &str| Slot {
        name: name.to_owned(),
        active: Some(active),
        wal_status: Some(status.to_owned()),
        ..Slot::default()
    };
    let temporary = Slot { temporary: Some(true), ..slot("pg_basebackup_1", true, "reserved") };
    let before = answer(
        streaming(),
        false,
        vec![
            slot("a", true, "reserved"),
            slot("b", false, "extended"),
            slot("c", true, "reserved"),
            temporary,
        ],
    );
    let after = answer(
        streaming(),
        false,
        vec![slot("a", false, "reserved"), slot("b", false, "lost"), slot("d", false, "reserved")],
    );
    assert_eq!(
        second(&before, &after),
        [
            "slot: two replication slot a is not used, and keeps WAL",
            "slot: two replication slot b is lost: WAL that it needs is gone",
            "slot: two replication slot d was made",
            "slot: two replication slot c was dropped",
        ]
    );
    assert_eq!(second(&before, &before.clone()), [""; 0]);
}

#[test]
fn the_oldest_events_are_forgotten_first() {
    let events = Events::default();
    let at = |n: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(n);
    let news = || vec![News { kind: Kind::Health, node: None, text: String::new() }];
    (0..=EVENTS_MAX as u64).for_each(|n| events.note(at(n), news()));
    let kept = events.all();
    assert_eq!((kept.len(), kept[0].at, kept.last().unwrap().at), (EVENTS_MAX, at(1), at(EVENTS_MAX as u64)));
}
