//! Each routing rule as a line of a table, and what must hold for any request and any view.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::freshness::watermark::{ReadFrom, Watermark};
use crate::view::{Epoch, Incarnation, Role};

const PRIMARY: NodeId = NodeId(0);
const FIRST: NodeId = NodeId(1);
const SECOND: NodeId = NodeId(2);
const NOW: Instant = at(100_000);

const fn at(ms: u64) -> Instant {
    Instant::from_nanos(ms * 1_000_000)
}

/// A primary, and replicas that are fresh as of these milliseconds.
fn view(replicas: &[Option<u64>]) -> View {
    let nodes = (0..=replicas.len()).map(|place| (NodeId(place as u32), Arc::from("n")));
    let mut view = View::unknown(nodes);
    view.epoch = Epoch(1);
    view.primary = Some(PRIMARY);
    for (place, node) in view.nodes.iter_mut().enumerate() {
        node.role = if place == 0 { Role::Primary } else { Role::Replica };
        node.health = Health::Up;
        node.incarnation = Some(Incarnation(place as u64));
        node.fresh_as_of = place.checked_sub(1).and_then(|replica| replicas[replica]).map(at);
    }
    view
}

/// An ordinary read of an ordinary session that has done nothing before.
fn read() -> Request {
    Request {
        class: Class::Reads,
        why: Why::PlainSelect,
        mode: RouteMode::Auto,
        hint: None,
        transaction: TransactionKind::None,
        learned_write: false,
        level: Level::Session,
        max_staleness: Duration::from_secs(10),
        watermark: Watermark::default(),
        rerun: None,
        pins: false,
    }
}

fn read_from(node: NodeId, ms: u64) -> Option<ReadFrom> {
    Some(ReadFrom { node, incarnation: Incarnation(node.0.into()), at: at(ms) })
}

fn go(request: &Request, view: &View) -> (Target, &'static str) {
    let decision = decide(request, view, NOW, &mut Balance::new());
    (decision.target, decision.reason.name())
}

/// What is changed about [`read`], and the reason that is expected.
type Case = (&'static str, fn(&mut Request), &'static str);

fn check(cases: &[Case], view: &View, target: Target) {
    for (name, change, reason) in cases {
        let mut request = read();
        change(&mut request);
        assert_eq!(go(&request, view), (target, *reason), "{name}");
    }
}

#[test]
fn what_is_not_a_read_or_asks_for_the_primary_goes_there_and_says_why() {
    let cases: &[Case] = &[
        ("app_rw", |r| r.mode = RouteMode::Primary, "route_is_primary"),
        (
            "app_rw is not overruled by a hint",
            |r| {
                r.mode = RouteMode::Primary;
                r.hint = Some(RouteHint::Replica);
            },
            "route_is_primary",
        ),
        ("hint", |r| r.hint = Some(RouteHint::Primary), "route_is_primary"),
        (
            "hint in app_ro",
            |r| {
                r.mode = RouteMode::ReadOnly;
                r.hint = Some(RouteHint::Primary);
            },
            "route_is_primary",
        ),
        ("strong", |r| r.level = Level::Strong, "level_is_strong"),
        ("dml", |r| (r.class, r.why) = (Class::Writes, Why::Dml), "write"),
        ("volatile", |r| (r.class, r.why) = (Class::Writes, Why::VolatileFunction), "volatile_function"),
        (
            "not in catalogue",
            |r| (r.class, r.why) = (Class::Writes, Why::UnknownFunction),
            "volatile_function",
        ),
        ("operator", |r| (r.class, r.why) = (Class::Writes, Why::VolatileOperator), "volatile_function"),
        ("for update", |r| (r.class, r.why) = (Class::Writes, Why::LockingClause), "locking_read"),
        ("node local", |r| (r.class, r.why) = (Class::Unknown, Why::NodeLocal), "node_local"),
        ("unknown", |r| (r.class, r.why) = (Class::Unknown, Why::Unsure), "unknown_statement"),
        ("read-write block", |r| r.transaction = TransactionKind::ReadWrite, "read_write_transaction"),
        (
            "read-write block with a hint for a replica",
            |r| {
                r.transaction = TransactionKind::ReadWrite;
                r.hint = Some(RouteHint::Replica);
            },
            "read_write_transaction",
        ),
        (
            "write in a read-only block",
            |r| {
                (r.class, r.why) = (Class::Writes, Why::Dml);
                r.transaction = TransactionKind::ReadOnly;
            },
            "write",
        ),
        (
            "write with a hint for a replica",
            |r| {
                (r.class, r.why) = (Class::Writes, Why::Dml);
                r.hint = Some(RouteHint::Replica);
            },
            "write",
        ),
        ("learned", |r| r.learned_write = true, "learned_write"),
        ("pins", |r| r.pins = true, "pinned"),
        ("refused", |r| r.rerun = Some(Reason::RefusedByReplica), "refused_by_replica"),
        ("node-local in app_ro", |r| (r.mode, r.why) = (RouteMode::ReadOnly, Why::NodeLocal), "node_local"),
        ("global", |r| r.level = Level::Global, "too_stale"),
    ];
    check(cases, &view(&[Some(99_999)]), Target::Primary(PRIMARY));
    let mut headless = view(&[Some(99_999)]);
    headless.primary = None;
    for (name, change, _) in cases {
        let mut request = read();
        change(&mut request);
        assert_eq!(go(&request, &headless), (Target::Hold, "no_primary"), "{name}");
    }
}

#[test]
fn a_read_only_name_asks_the_primary_for_what_is_on_one_node_only() {
    for why in [Why::NodeLocal, Why::UnloggedTable, Why::TempTable] {
        let request = Request { mode: RouteMode::ReadOnly, why, ..read() };
        assert_eq!(go(&request, &view(&[Some(99_999)])), (Target::Primary(PRIMARY), "node_local"), "{why:?}");
    }
}

#[test]
fn a_proved_read_goes_to_a_fresh_replica() {
    let cases: &[Case] = &[
        ("plain", |_| (), "fresh_replica"),
        ("hint auto", |r| r.hint = Some(RouteHint::Auto), "fresh_replica"),
        ("hint replica", |r| r.hint = Some(RouteHint::Replica), "fresh_replica"),
        ("read-only block", |r| r.transaction = TransactionKind::ReadOnly, "read_only_transaction"),
        ("bounded", |r| r.level = Level::Bounded, "fresh_replica"),
        ("causal", |r| r.level = Level::Causal, "fresh_replica"),
        ("own write is there", |r| r.watermark.wrote_at = Some(at(95_000)), "fresh_replica"),
        ("read here before", |r| r.watermark.read_from = read_from(FIRST, 99_000), "fresh_replica"),
        ("read elsewhere long ago", |r| r.watermark.read_from = read_from(SECOND, 95_000), "fresh_replica"),
        (
            "app_ro promises that a write fails",
            |r| {
                (r.class, r.why) = (Class::Writes, Why::Dml);
                r.mode = RouteMode::ReadOnly;
            },
            "fresh_replica",
        ),
        (
            "app_ro in a block",
            |r| (r.mode, r.transaction) = (RouteMode::ReadOnly, TransactionKind::ReadWrite),
            "fresh_replica",
        ),
        (
            "app_ro learns nothing",
            |r| (r.mode, r.learned_write) = (RouteMode::ReadOnly, true),
            "fresh_replica",
        ),
    ];
    let mut view = view(&[Some(95_000)]);
    check(cases, &view, Target::Replica(FIRST));
    // None of it needs a primary that is there.
    view.primary = None;
    check(cases, &view, Target::Replica(FIRST));
}

#[test]
fn a_read_that_no_replica_is_fresh_enough_for_goes_to_the_primary_and_says_what_is_missing() {
    let on_primary = |change: fn(&mut Request), replicas: &[Option<u64>], reason: &str| {
        for mode in [RouteMode::Auto, RouteMode::ReadOnly] {
            let mut request = Request { mode, ..read() };
            change(&mut request);
            assert_eq!(go(&request, &view(replicas)), (Target::Primary(PRIMARY), reason), "{replicas:?}");
        }
    };
    on_primary(|_| (), &[], "no_replica");
    on_primary(|_| (), &[Some(89_999)], "too_stale");
    on_primary(|_| (), &[None], "too_stale");
    on_primary(|r| r.watermark.wrote_at = Some(at(95_001)), &[Some(95_000)], "own_write_not_replayed");
    on_primary(
        |r| r.watermark.read_from = read_from(SECOND, 95_001),
        &[Some(95_000)],
        "would_go_back_in_time",
    );
    // The replica that lacks least tells the reason.
    on_primary(
        |r| r.watermark.wrote_at = Some(at(95_001)),
        &[Some(80_000), Some(95_000), None],
        "own_write_not_replayed",
    );
    on_primary(
        |r| {
            r.watermark.wrote_at = Some(at(92_001));
            r.watermark.read_from = read_from(NodeId(9), 95_001);
        },
        &[Some(92_000), Some(95_000)],
        "would_go_back_in_time",
    );
}

#[test]
fn a_read_that_a_replica_lost_runs_again_on_the_primary_or_while_there_is_none_on_another_fresh_replica() {
    let request = Request { rerun: Some(Reason::ReplicaFailed), ..read() };
    let mut view = view(&[Some(95_000)]);
    assert_eq!(go(&request, &view), (Target::Primary(PRIMARY), "replica_failed"));
    view.primary = None;
    assert_eq!(go(&request, &view), (Target::Replica(FIRST), "replica_failed"));
    view.nodes[1].fresh_as_of = None;
    assert_eq!(go(&request, &view), (Target::Hold, "no_primary"));
}

#[test]
fn what_was_acknowledged_at_the_very_instant_of_the_sample_is_proved() {
    let mut request = read();
    request.watermark.wrote_at = Some(at(95_000));
    assert_eq!(go(&request, &view(&[Some(95_000)])).0, Target::Replica(FIRST));
    request.watermark = Watermark::default();
    assert_eq!(go(&request, &view(&[Some(90_000)])).0, Target::Replica(FIRST));
}

#[test]
fn what_was_acknowledged_a_nanosecond_later_is_not() {
    let later = |ms| at(ms) + Duration::from_nanos(1);
    let mut request = read();
    request.watermark.wrote_at = Some(later(95_000));
    assert_eq!(go(&request, &view(&[Some(95_000)])), (Target::Primary(PRIMARY), "own_write_not_replayed"));
    request.watermark = Watermark::default();
    request.watermark.read_from =
        read_from(SECOND, 95_000).map(|read| ReadFrom { at: later(95_000), ..read });
    assert_eq!(go(&request, &view(&[Some(95_000)])), (Target::Primary(PRIMARY), "would_go_back_in_time"));
    request.watermark = Watermark::default();
    request.max_staleness -= Duration::from_nanos(1);
    assert_eq!(go(&request, &view(&[Some(90_000)])), (Target::Primary(PRIMARY), "too_stale"));
}

#[test]
fn bounded_and_eventual_reads_do_not_look_at_the_session() {
    let mut request = read();
    request.watermark = Watermark { wrote_at: Some(NOW), read_from: read_from(SECOND, 100_000) };
    request.level = Level::Bounded;
    assert_eq!(go(&request, &view(&[Some(95_000)])).0, Target::Replica(FIRST));
    assert_eq!(go(&request, &view(&[Some(80_000)])), (Target::Primary(PRIMARY), "too_stale"));
    request.level = Level::Eventual;
    assert_eq!(go(&request, &view(&[None])), (Target::Replica(FIRST), "fresh_replica"));
}

#[test]
fn a_replica_that_came_back_as_another_run_is_judged_as_another_replica() {
    let mut request = read();
    request.watermark.read_from = read_from(FIRST, 99_000);
    let mut view = view(&[Some(95_000)]);
    assert_eq!(go(&request, &view).0, Target::Replica(FIRST));
    view.nodes[1].incarnation = Some(Incarnation(77));
    assert_eq!(go(&request, &view), (Target::Primary(PRIMARY), "would_go_back_in_time"));
    view.nodes[1].fresh_as_of = Some(at(99_000));
    assert_eq!(go(&request, &view).0, Target::Replica(FIRST));
}

#[test]
fn a_decision_for_a_replica_holds_for_the_run_that_was_judged_and_for_no_other() {
    let mut view = view(&[Some(99_999)]);
    let on_replica = decide(&read(), &view, NOW, &mut Balance::new());
    assert!(on_replica.accepts(Incarnation(1)) && !on_replica.accepts(Incarnation(2)));
    view.nodes[1].role = Role::Unknown;
    let on_primary = decide(&read(), &view, NOW, &mut Balance::new());
    assert!(on_primary.accepts(Incarnation(0)) && on_primary.accepts(Incarnation(9)));
}

#[test]
fn nodes_that_may_not_serve_reads_are_no_replicas() {
    let changes: &[fn(&mut NodeView)] = &[
        |n| n.drained = true,
        |n| n.health = Health::Down,
        |n| n.health = Health::Unknown,
        |n| n.role = Role::Unknown,
        |n| n.role = Role::Fenced,
        |n| n.role = Role::Primary,
    ];
    for (place, change) in changes.iter().enumerate() {
        for level in [Level::Eventual, Level::Session] {
            let mut view = view(&[Some(99_999)]);
            change(&mut view.nodes[1]);
            let request = Request { level, ..read() };
            assert_eq!(go(&request, &view), (Target::Primary(PRIMARY), "no_replica"), "change {place}");
        }
    }
}

#[test]
fn a_suspect_replica_serves_only_when_no_other_is_fresh_enough() {
    let mut view = view(&[Some(99_999), Some(99_000)]);
    view.nodes[1].health = Health::Suspect;
    let mut request = read();
    request.watermark.read_from = read_from(FIRST, 98_000);
    assert_eq!(go(&request, &view).0, Target::Replica(SECOND));
    request.watermark.wrote_at = Some(at(99_500));
    assert_eq!(go(&request, &view).0, Target::Replica(FIRST));
}

#[test]
fn a_session_stays_where_it_read_and_others_go_where_least_is_running() {
    let view = view(&[Some(99_999), Some(99_999), Some(99_999)]);
    let mut balance = Balance::new();
    balance.lent(FIRST);
    balance.lent(FIRST);
    balance.lent(SECOND);
    let mut request = read();
    assert_eq!(decide(&request, &view, NOW, &mut balance).target, Target::Replica(NodeId(3)));
    request.watermark.read_from = read_from(FIRST, 99_000);
    assert_eq!(decide(&request, &view, NOW, &mut balance).target, Target::Replica(FIRST));
    balance.given_back(FIRST);
    balance.given_back(FIRST);
    request.watermark.read_from = None;
    assert_eq!(balance.load(FIRST), 0);
    balance.lent(NodeId(3));
    assert_eq!(decide(&request, &view, NOW, &mut balance).target, Target::Replica(FIRST));
}

#[test]
fn a_session_leaves_a_crowd_for_a_replica_that_shows_what_it_read_and_not_to_and_fro() {
    let view = view(&[Some(99_999), Some(99_998)]);
    let mut balance = Balance::new();
    let mut where_they_read = [FIRST; 16];
    let mut moves = 0;
    for _ in 0..10 {
        // All read at the same time, then all are done.
        let chosen = where_they_read.map(|node| {
            let mut request = read();
            request.watermark.read_from = read_from(node, 99_000);
            let Target::Replica(next) = decide(&request, &view, NOW, &mut balance).target else {
                panic!("a replica")
            };
            moves += usize::from(next != node);
            balance.lent(next);
            next
        });
        chosen.iter().for_each(|node| balance.given_back(*node));
        where_they_read = chosen;
    }
    let first = where_they_read.iter().filter(|node| **node == FIRST).count();
    assert!((6..=10).contains(&first), "{first} of 16 are left where all were");
    assert!((6..=12).contains(&moves), "{moves} moves");
    // One who read what the other is not proved to show stays, however many are there.
    (0..50).for_each(|_| balance.lent(FIRST));
    let mut request = read();
    request.watermark.read_from = read_from(FIRST, 99_999);
    assert_eq!(decide(&request, &view, NOW, &mut balance).target, Target::Replica(FIRST));
}

#[test]
fn equals_take_turns() {
    let view = view(&[Some(99_999), Some(99_999), Some(99_999)]);
    let mut balance = Balance::new();
    let mut served = [0; 4];
    for _ in 0..30 {
        let Target::Replica(node) = decide(&read(), &view, NOW, &mut balance).target else {
            panic!("a replica")
        };
        served[node.index()] += 1;
    }
    assert_eq!(served, [0, 10, 10, 10]);
}

fn any_instant() -> impl Strategy<Value = Instant> {
    (89_000_u64..100_001).prop_map(at)
}

prop_compose! {
    fn any_watermark()(
        wrote_at in prop::option::of(any_instant()),
        read in prop::option::of((0_u32..4, 0_u64..4, any_instant())),
    ) -> Watermark {
        let read_from = read.map(|(node, run, at)| {
            ReadFrom { node: NodeId(node), incarnation: Incarnation(run), at }
        });
        Watermark { wrote_at, read_from }
    }
}

prop_compose! {
    fn any_request()(
        class in prop::sample::select(vec![Class::Reads, Class::Unknown, Class::Writes]),
        why in prop::sample::select(Why::ALL.to_vec()),
        mode in prop::sample::select(vec![RouteMode::Auto, RouteMode::ReadOnly, RouteMode::Primary]),
        hint in prop::option::of(
            prop::sample::select(vec![RouteHint::Auto, RouteHint::Primary, RouteHint::Replica]),
        ),
        transaction in prop::sample::select(
            vec![TransactionKind::None, TransactionKind::ReadWrite, TransactionKind::ReadOnly],
        ),
        learned_write in any::<bool>(),
        level in prop::sample::select(Level::ALL.to_vec()),
        max_staleness in (0_u64..12_000).prop_map(Duration::from_millis),
        watermark in any_watermark(),
        rerun in prop::sample::select(vec![None, None, Some(Reason::ReplicaFailed), Some(Reason::RefusedByReplica)]),
        pins in any::<bool>(),
    ) -> Request {
        Request { class, why, mode, hint, transaction, learned_write, level, max_staleness, watermark, rerun, pins }
    }
}

prop_compose! {
    fn any_node(id: u32)(
        role in prop::sample::select(vec![Role::Replica, Role::Replica, Role::Primary, Role::Unknown, Role::Fenced]),
        health in prop::sample::select(vec![Health::Up, Health::Up, Health::Suspect, Health::Down, Health::Unknown]),
        run in prop::option::of(0_u64..4),
        fresh_as_of in prop::option::of(any_instant()),
        drained in prop::bool::weighted(0.1),
        spared in prop::bool::weighted(0.1),
    ) -> NodeView {
        NodeView {
            id: NodeId(id), name: Arc::from("n"), role, health, incarnation: run.map(Incarnation), timeline: None,
            position: None, lag_bytes: None, fresh_as_of, drained, spared,
        }
    }
}

fn any_view() -> impl Strategy<Value = View> {
    let nodes = (any_node(0), any_node(1), any_node(2), any_node(3));
    (nodes, prop::option::of(0_u32..4)).prop_map(|((a, b, c, d), primary)| View {
        version: 1,
        epoch: Epoch(1),
        primary: primary.map(NodeId),
        nodes: vec![a, b, c, d],
    })
}

proptest! {
    #[test]
    fn a_replica_gets_only_what_it_may_have(request in any_request(), view in any_view()) {
        let Decision { target: Target::Replica(id), reason, .. } = decide(&request, &view, NOW, &mut Balance::new())
        else { return Ok(()) };
        let node = view.node(id).expect("a node of the view");
        prop_assert!(node.role == Role::Replica && !node.drained);
        prop_assert!(matches!(node.health, Health::Up | Health::Suspect));
        prop_assert!(request.mode != RouteMode::Primary && request.hint != Some(RouteHint::Primary));
        prop_assert_ne!(request.level, Level::Strong);
        if request.mode == RouteMode::Auto {
            prop_assert_eq!(request.class, Class::Reads);
            prop_assert_ne!(request.transaction, TransactionKind::ReadWrite);
            prop_assert!(!request.learned_write);
        }
        let in_block = request.transaction == TransactionKind::ReadOnly;
        if let Some(rerun) = request.rerun {
            prop_assert_eq!(view.primary, None);
            prop_assert_ne!(rerun, Reason::RefusedByReplica);
            prop_assert_eq!(reason, rerun);
            return Ok(());
        }
        if request.mode == RouteMode::Auto {
            prop_assert!(!request.pins);
        }
        let setting = request.transaction == TransactionKind::None && request.why == Why::Set;
        let granted = match (in_block, setting) {
            (true, _) => Reason::ReadOnlyTransaction,
            (false, true) => Reason::SessionSetting,
            (false, false) => Reason::FreshReplica,
        };
        prop_assert_eq!(reason, granted);
    }

    #[test]
    fn a_replica_is_never_below_the_watermark(request in any_request(), view in any_view()) {
        let Target::Replica(id) = decide(&request, &view, NOW, &mut Balance::new()).target else { return Ok(()) };
        let node = view.node(id).expect("a node of the view");
        if request.level == Level::Eventual {
            return Ok(());
        }
        let fresh = node.fresh_as_of.expect("proved");
        prop_assert!(NOW.since(fresh) <= request.max_staleness);
        if request.level == Level::Global {
            prop_assert!(fresh >= NOW);
        }
        if matches!(request.level, Level::Session | Level::Causal) {
            prop_assert!(request.watermark.wrote_at.is_none_or(|wrote_at| wrote_at <= fresh));
            if let Some(read) = request.watermark.read_from {
                let same = read.node == id && Some(read.incarnation) == node.incarnation;
                prop_assert!(same || read.at <= fresh);
            }
        }
    }

    #[test]
    fn the_target_and_the_reason_tell_the_same_story(request in any_request(), view in any_view()) {
        let decision = decide(&request, &view, NOW, &mut Balance::new());
        match decision.target {
            Target::Hold => {
                prop_assert_eq!(view.primary, None);
                prop_assert_eq!(decision.reason, Reason::NoPrimary);
            }
            Target::Primary(node) => {
                prop_assert_eq!(view.primary, Some(node));
                prop_assert_ne!(decision.reason, Reason::NoPrimary);
                prop_assert_ne!(decision.reason, Reason::FreshReplica);
                prop_assert_ne!(decision.reason, Reason::ReadOnlyTransaction);
                if decision.reason == Reason::NoReplica {
                    prop_assert!(!view.nodes.iter().any(NodeView::serves_reads));
                }
            }
            Target::Replica(_) => {}
        }
    }

    #[test]
    fn a_suspect_replica_is_chosen_only_when_no_healthy_one_would_do(request in any_request(), view in any_view()) {
        let Target::Replica(id) = decide(&request, &view, NOW, &mut Balance::new()).target else { return Ok(()) };
        if view.node(id).expect("a node of the view").health == Health::Suspect {
            let mut healthy = view.clone();
            healthy.nodes.retain(|node| node.health == Health::Up);
            let target = decide(&request, &healthy, NOW, &mut Balance::new()).target;
            prop_assert!(!matches!(target, Target::Replica(_)));
        }
    }
}
