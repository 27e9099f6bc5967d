//! The hazards of comparing positions, each by its number in the consistency design; who becomes primary; who is
//! well; how often nodes are asked.

mod elected;
mod membership;

use proptest::prelude::*;
use wire::lsn::{Lsn, Timeline};

use super::*;
use crate::freshness::Level;
use crate::freshness::watermark::{ReadFrom, Watermark};
use crate::route::{Balance, Request, RouteMode, Target, TransactionKind, decide};
use crate::view::{Health, Incarnation, NodeView};

const A: NodeId = NodeId(0);
const B: NodeId = NodeId(1);
const C: NodeId = NodeId(2);

const fn at(ms: u64) -> Instant {
    Instant::from_nanos(ms * 1_000_000)
}

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A primary's answer: its insert position.
fn primary(position: u64) -> Report {
    Report {
        in_recovery: false,
        position: Lsn(position),
        position_age: Duration::ZERO,
        timeline: Some(Timeline(1)),
        incarnation: Incarnation(1),
        system_identifier: Some(7),
        receiving: None,
        replay_paused: false,
        wal_block_size: 8192,
        wal_segment_size: 16 << 20,
    }
}

/// A replica's answer: its replay position.
fn replica(position: u64) -> Report {
    Report { in_recovery: true, incarnation: Incarnation(2), receiving: Some(true), ..primary(position) }
}

fn on_timeline(timeline: u32, report: Report) -> Report {
    Report { timeline: Some(Timeline(timeline)), ..report }
}

fn of_run(incarnation: u64, report: Report) -> Report {
    Report { incarnation: Incarnation(incarnation), ..report }
}

fn of_system(system: u64, report: Report) -> Report {
    Report { system_identifier: Some(system), ..report }
}

/// A cluster and the clock; every probe takes a millisecond.
struct Story {
    cluster: Cluster,
    now: u64,
    view: View,
}

impl Story {
    fn new(nodes: u32) -> Self {
        let nodes: Vec<_> = (0..nodes).map(|id| (NodeId(id), Arc::from(format!("n{id}")))).collect();
        let view = View::unknown(nodes.clone());
        Story { cluster: Cluster::new(ClusterSettings::default(), nodes), now: 1000, view }
    }

    /// A is the primary at position 1000, B has replayed it, C if there has too.
    fn serving(nodes: u32) -> Self {
        let mut story = Story::new(nodes);
        story.probe(A, primary(1000));
        for id in 1..nodes {
            story.probe(NodeId(id), of_run(1 + u64::from(id), replica(1000)));
        }
        story.probe(A, primary(1000));
        assert_eq!(story.view.primary, Some(A));
        story
    }

    fn at(&mut self, ms: u64) -> &mut Self {
        assert!(ms >= self.now, "time goes on");
        self.now = ms;
        self
    }

    fn probe(&mut self, node: NodeId, report: Report) -> &mut Self {
        self.cluster.on_probe(node, at(self.now), at(self.now + 1), report);
        self.now += 1;
        self.look()
    }

    fn fail(&mut self, node: NodeId, fault: ProbeFault) -> &mut Self {
        self.cluster.on_probe_failed(node, at(self.now), fault);
        self.look()
    }

    fn look(&mut self) -> &mut Self {
        self.cluster.check_invariants();
        if let Some(view) = self.cluster.view() {
            assert!(view.version > self.view.version, "versions grow");
            self.view = view;
        }
        self
    }

    fn node(&self, node: NodeId) -> &NodeView {
        self.view.node(node).expect("a node of the story")
    }

    fn fresh(&self, node: NodeId) -> Option<u64> {
        self.node(node).fresh_as_of.map(|at| at.as_nanos() / 1_000_000)
    }

    fn roles(&self) -> Vec<Role> {
        self.view.nodes.iter().map(|node| node.role).collect()
    }

    fn next(&self, node: NodeId) -> u64 {
        self.cluster.next_probe(node).as_nanos() / 1_000_000
    }

    /// Where a session's read goes now.
    fn read(&self, watermark: Watermark) -> (Target, &'static str) {
        let request = Request {
            class: sql::Class::Reads,
            why: sql::Why::PlainSelect,
            mode: RouteMode::Auto,
            hint: None,
            transaction: TransactionKind::None,
            learned_write: false,
            level: Level::Session,
            max_staleness: ms(10_000),
            watermark,
            rerun: None,
            pins: false,
        };
        let decision = decide(&request, &self.view, at(self.now), &mut Balance::new());
        (decision.target, decision.reason.name())
    }
}

fn wrote(ms: u64) -> Watermark {
    Watermark { wrote_at: Some(at(ms)), read_from: None }
}

#[test]
fn h1_a_replica_at_the_flush_position_of_an_asynchronous_commit_is_not_fresh() {
    let mut story = Story::serving(2);
    // Acknowledged at 2000 with the record inserted up to 0x220 and flushed up to 1000.
    story.at(2001).probe(A, primary(0x6000220)).probe(B, replica(1000));
    assert!(story.fresh(B) < Some(2000));
    assert_eq!(story.read(wrote(2000)), (Target::Primary(A), "own_write_not_replayed"));
    story.probe(B, replica(0x6000220));
    assert_eq!(story.read(wrote(2000)), (Target::Replica(B), "fresh_replica"));
}

#[test]
fn h2_a_sample_asked_before_the_acknowledgement_proves_nothing_about_the_write() {
    let mut story = Story::serving(2);
    // The write is acknowledged between the asking and the answering of the sample.
    story.cluster.on_probe(A, at(2000), at(2004), primary(2000));
    story.at(2005).probe(B, replica(2100));
    assert_eq!(story.fresh(B), Some(2000));
    assert_eq!(story.read(wrote(2002)), (Target::Primary(A), "own_write_not_replayed"));
    story.probe(A, primary(2100));
    assert_eq!(story.read(wrote(2002)).0, Target::Replica(B));
}

#[test]
fn h3_an_insert_position_behind_a_page_header_does_not_keep_a_replica_waiting() {
    for (insert, replay) in [(0x600_0028, 0x600_0000), (0x600_2018, 0x600_2000)] {
        let mut story = Story::serving(2);
        story.at(2000).probe(A, primary(insert)).probe(B, replica(replay));
        assert_eq!(story.fresh(B), Some(2000), "{insert:x}");
        assert_eq!(story.node(B).lag_bytes, Some(0));
        // A second look finds the replica below the header still, and no contradiction in that.
        story.probe(A, primary(insert));
        assert_eq!(story.fresh(B), Some(2002));
    }
}

#[test]
fn h4_a_replica_that_crashed_and_came_back_showing_less_is_not_fresh_until_it_catches_up() {
    let mut story = Story::serving(2);
    story.at(2000).probe(A, primary(5000)).probe(B, replica(5000));
    assert_eq!(story.fresh(B), Some(2000));
    story.probe(B, of_run(3, replica(900)));
    assert_eq!(story.fresh(B), None);
    assert_eq!(story.read(Watermark::default()), (Target::Primary(A), "too_stale"));
    story.probe(B, of_run(3, replica(4999)));
    assert!(story.fresh(B) < Some(2000));
    story.probe(B, of_run(3, replica(5000)));
    assert_eq!(story.fresh(B), Some(2000));
}

#[test]
fn h4_what_a_session_saw_of_the_run_before_is_asked_of_the_next() {
    let mut story = Story::serving(2);
    story.at(2000).probe(A, primary(5000)).probe(B, replica(5000));
    let read_from = Some(ReadFrom { node: B, incarnation: Incarnation(2), at: at(2500) });
    let watermark = Watermark { wrote_at: None, read_from };
    story.at(2501);
    assert_eq!(story.read(watermark).0, Target::Replica(B));
    story.probe(B, of_run(3, replica(5000)));
    assert_eq!(story.read(watermark), (Target::Primary(A), "would_go_back_in_time"));
    story.probe(A, primary(5000));
    assert_eq!(story.read(watermark).0, Target::Replica(B));
}

#[test]
fn h5_a_replica_of_the_old_timeline_is_not_fresh_though_its_position_is_ahead() {
    let mut story = Story::serving(3);
    // B is promoted and accepted; C still follows A, which nobody has fenced.
    story.at(2000).fail(A, ProbeFault::Refused).probe(B, of_run(2, on_timeline(2, primary(2000))));
    assert_eq!(story.view.primary, Some(B));
    story.at(3000).probe(B, of_run(2, on_timeline(2, primary(2100))));
    story.probe(C, of_run(3, replica(90_000)));
    assert_eq!(story.node(C).role, Role::Unknown);
    assert_eq!(story.fresh(C), None);
    assert_eq!(story.read(Watermark::default()), (Target::Primary(B), "no_replica"));
    // Once it follows the new primary it must have what that has.
    story.probe(C, on_timeline(2, of_run(3, replica(2099))));
    assert_eq!(story.fresh(C), Some(2000));
    story.probe(C, on_timeline(2, of_run(3, replica(2100))));
    assert_eq!(story.fresh(C), Some(3000));
}

#[test]
fn h5_an_old_primary_that_comes_back_stays_fenced() {
    let mut story = Story::serving(2);
    story.at(2000).fail(A, ProbeFault::Refused).probe(B, of_run(2, on_timeline(2, primary(2000))));
    story.at(3000).probe(A, primary(99_000)).probe(A, primary(99_100));
    assert_eq!(story.roles(), [Role::Fenced, Role::Primary]);
    assert_eq!(story.view.primary, Some(B));
    // Also while its successor is gone.
    story.at(4000).fail(B, ProbeFault::Refused).probe(A, primary(99_200));
    assert_eq!(story.node(A).role, Role::Fenced);
    assert_eq!(story.view.primary, None);
}

#[test]
fn h8_a_session_moves_to_another_replica_only_when_that_has_all_the_first_can_have_shown() {
    let mut story = Story::serving(3);
    story.at(2000).probe(A, primary(5000)).probe(B, replica(5000)).probe(C, of_run(3, replica(4000)));
    let read_from = Some(ReadFrom { node: B, incarnation: Incarnation(2), at: at(2010) });
    let watermark = Watermark { wrote_at: None, read_from };
    story.at(2100).fail(B, ProbeFault::Refused);
    assert_eq!(story.read(watermark), (Target::Primary(A), "would_go_back_in_time"));
    // At 5000 it has what B had replayed when the primary was last sampled; B may have shown more since.
    story.probe(C, of_run(3, replica(5000)));
    assert_eq!(story.read(watermark), (Target::Primary(A), "would_go_back_in_time"));
    story.probe(A, primary(5000));
    assert_eq!(story.read(watermark), (Target::Replica(C), "fresh_replica"));
}

#[test]
fn h10_an_idle_primary_keeps_its_replicas_fresh() {
    let mut story = Story::serving(2);
    for _ in 0..600 {
        let next = story.now + 100;
        story.at(next).probe(A, primary(1000)).probe(B, replica(1000));
    }
    assert!(story.now > 60_000);
    assert_eq!(story.fresh(B), Some(story.now - 2));
    assert_eq!(story.node(B).lag_bytes, Some(0));
}

#[test]
fn h11_a_replica_that_nothing_streams_to_grows_stale_though_it_has_replayed_all_it_received() {
    let mut story = Story::serving(2);
    let cut_off = Report { receiving: Some(false), ..replica(1000) };
    story.at(2000).probe(A, primary(1000)).probe(B, cut_off);
    assert_eq!(story.fresh(B), Some(2000));
    for _ in 0..110 {
        let next = story.now + 100;
        story.at(next).probe(A, primary(next)).probe(B, cut_off);
    }
    assert_eq!(story.fresh(B), Some(2000));
    assert_eq!(story.read(Watermark::default()), (Target::Primary(A), "too_stale"));
    // Its timeline cannot be seen without a receiver: that neither proves nor undoes anything.
    story.probe(B, Report { timeline: None, ..cut_off });
    assert_eq!(story.fresh(B), Some(2000));
}

#[test]
fn h11_without_samples_of_the_primary_the_bound_stands_still_and_staleness_grows() {
    let mut story = Story::serving(2);
    story.at(2000).probe(A, primary(1000)).probe(B, replica(1000));
    story.fail(A, ProbeFault::Refused);
    story.at(9000).probe(B, replica(1000));
    assert_eq!(story.fresh(B), Some(2000));
    assert_eq!(story.read(Watermark::default()).0, Target::Replica(B));
    story.at(12_500).probe(B, replica(1000));
    assert_eq!(story.read(Watermark::default()), (Target::Hold, "no_primary"));
}

#[test]
fn h13_a_primary_that_restarts_without_a_new_timeline_begins_a_new_history() {
    let mut story = Story::serving(2);
    story.at(2000).probe(A, primary(9000)).probe(B, replica(8000));
    let epoch = story.view.epoch;
    let before = story.fresh(B);
    assert!(before.is_some());
    // It lost what was not flushed, and will use the positions again for something else.
    story.at(3000).probe(A, of_run(8, primary(8500)));
    assert!(story.view.epoch > epoch);
    assert_eq!(story.fresh(B), None);
    story.probe(B, replica(8000));
    assert_eq!(story.fresh(B), None);
    story.probe(B, replica(8500));
    assert_eq!(story.fresh(B), Some(3000));
}

#[test]
fn h13_a_primary_restored_below_what_a_replica_has_replayed_is_not_that_replicas_primary() {
    let mut story = Story::serving(2);
    story.at(2000).probe(A, primary(9000)).probe(B, replica(9000));
    story
        .at(3000)
        .probe(A, of_run(8, primary(5000)))
        .probe(B, replica(9000))
        .probe(A, of_run(8, primary(5100)));
    assert_eq!(story.node(B).role, Role::Unknown);
    // Its numbers being passed proves nothing.
    story.at(4000).probe(A, of_run(8, primary(9500))).probe(B, replica(9600));
    assert_eq!(story.node(B).role, Role::Unknown);
    assert_eq!(story.fresh(B), None);
}

#[test]
fn h13_the_same_run_going_back_is_another_history() {
    let mut story = Story::serving(2);
    let epoch = story.view.epoch;
    story.probe(A, primary(500));
    assert!(story.view.epoch > epoch);
    assert_eq!(story.fresh(B), None);
}

#[test]
fn h14_two_servers_behind_one_address_are_never_taken_for_one() {
    let mut story = Story::serving(2);
    story.at(2000).probe(A, primary(5000));
    for _ in 0..10 {
        story.probe(B, of_run(21, replica(5000)));
        assert_eq!((story.fresh(B), story.node(B).incarnation), (Some(2000), Some(Incarnation(21))));
        story.probe(B, of_run(22, replica(900)));
        assert_eq!((story.fresh(B), story.node(B).incarnation), (None, Some(Incarnation(22))));
    }
}

#[test]
fn an_answer_overtaken_by_a_later_one_is_not_taken() {
    let mut story = Story::serving(2);
    story.at(3000).probe(B, of_run(5, replica(10)));
    story.cluster.on_probe(B, at(2500), at(3500), replica(1000));
    assert_eq!(story.look().node(B).incarnation, Some(Incarnation(5)));
}

#[test]
fn a_timeline_that_cannot_be_seen_is_enough_for_eventual_reads_and_for_no_others() {
    let blind = Report { timeline: None, ..replica(1000) };
    let mut story = Story::new(2);
    story.probe(A, primary(1000)).probe(B, blind).probe(A, primary(1000));
    assert_eq!((story.node(B).role, story.fresh(B)), (Role::Replica, None));
    assert_eq!(story.node(B).lag_bytes, None);
    story.probe(B, of_run(9, Report { receiving: None, ..blind }));
    assert_eq!(story.node(B).role, Role::Unknown);
}

#[test]
fn nobody_is_accepted_before_everybody_was_asked() {
    let mut story = Story::new(3);
    story.probe(A, primary(1000)).probe(B, replica(1000));
    assert_eq!(story.view.primary, None);
    // The true primary answers last.
    story.probe(C, of_run(3, on_timeline(2, primary(2000))));
    assert_eq!(story.roles(), [Role::Fenced, Role::Unknown, Role::Primary]);

    let mut story = Story::new(2);
    story.probe(A, primary(1000)).fail(B, ProbeFault::TimedOut);
    assert_eq!(story.view.primary, Some(A));
}

#[test]
fn at_a_cold_start_a_claim_below_anybodys_timeline_is_not_accepted() {
    let mut story = Story::new(2);
    story.probe(A, primary(1000)).probe(B, on_timeline(2, replica(2000)));
    assert_eq!(story.view.primary, None);
    assert_eq!(story.roles(), [Role::Unknown, Role::Replica]);
}

#[test]
fn two_claims_of_one_timeline_or_of_two_systems_are_both_refused() {
    for other in [of_run(3, primary(1000)), of_system(8, on_timeline(5, primary(1000)))] {
        let mut story = Story::new(2);
        story.probe(A, primary(1000)).probe(B, other);
        assert_eq!(story.view.primary, None);
        assert_eq!(story.roles(), [Role::Unknown, Role::Unknown]);
    }
}

#[test]
fn while_the_primary_lives_a_promoted_replica_is_fenced_whatever_its_timeline() {
    let mut story = Story::serving(2);
    story.probe(B, of_run(2, on_timeline(9, primary(5000))));
    assert_eq!(story.roles(), [Role::Primary, Role::Fenced]);
    // A slow or silent moment of the primary changes nothing.
    story.fail(A, ProbeFault::TimedOut).probe(B, of_run(2, on_timeline(9, primary(5000))));
    assert_eq!(story.view.primary, Some(A));
}

#[test]
fn a_primary_that_is_gone_or_follows_is_succeeded_at_once() {
    let successor = of_run(2, on_timeline(2, primary(5000)));
    let mut story = Story::serving(2);
    story.fail(A, ProbeFault::Refused);
    assert_eq!(story.view.primary, None);
    story.probe(B, successor);
    assert_eq!(story.view.primary, Some(B));

    let mut story = Story::serving(2);
    story.probe(B, successor);
    assert_eq!(story.view.primary, Some(A));
    story.probe(A, of_run(4, on_timeline(2, replica(5000))));
    assert_eq!(story.view.primary, Some(B));
    assert_eq!(story.roles(), [Role::Replica, Role::Primary]);
}

#[test]
fn a_primary_that_is_silent_is_succeeded_after_takeover_after() {
    let successor = of_run(2, on_timeline(2, primary(5000)));
    for fault in [ProbeFault::TimedOut, ProbeFault::NotReady] {
        let mut story = Story::serving(2);
        story.at(2000).fail(A, fault).fail(A, fault);
        assert_eq!((story.view.primary, story.node(A).health), (None, Health::Down));
        story.at(11_998).fail(A, fault).probe(B, successor);
        assert_eq!((story.view.primary, story.node(B).role), (None, Role::Fenced));
        story.at(12_000).fail(A, fault).probe(B, successor);
        assert_eq!(story.view.primary, Some(B), "{fault:?}");
    }
}

#[test]
fn a_successor_must_be_of_the_same_system_and_of_a_higher_timeline() {
    for pretender in [of_run(2, primary(9000)), of_run(2, of_system(8, on_timeline(2, primary(9000))))] {
        let mut story = Story::serving(2);
        story.fail(A, ProbeFault::Refused).probe(B, pretender);
        assert_eq!(story.view.primary, None);
        assert_ne!(story.node(B).role, Role::Primary);
    }
}

#[test]
fn a_node_of_another_system_gets_nothing() {
    let mut story = Story::serving(2);
    story.probe(B, of_system(8, replica(1000)));
    assert_eq!((story.node(B).role, story.fresh(B)), (Role::Unknown, None));
}

#[test]
fn addresses_that_were_given_to_another_system_are_followed_once_nobody_remembers_the_old_one() {
    let mut story = Story::serving(2);
    story.probe(A, of_run(8, of_system(8, primary(100))));
    assert_eq!((story.view.primary, story.node(A).role), (None, Role::Unknown));
    story.probe(B, of_run(9, of_system(8, replica(100))));
    assert_eq!((story.view.primary, story.node(A).role), (Some(A), Role::Primary));
}

#[test]
fn without_a_primary_replicas_of_one_system_serve_eventual_reads() {
    let mut story = Story::new(2);
    story.fail(A, ProbeFault::Refused).probe(B, replica(1000));
    assert_eq!((story.node(B).role, story.fresh(B)), (Role::Replica, None));
}

#[test]
fn one_failed_probe_makes_a_node_suspect_and_the_second_takes_it_out() {
    for fault in [ProbeFault::TimedOut, ProbeFault::Reset] {
        let mut story = Story::serving(2);
        story.at(2000).fail(B, fault);
        assert_eq!(story.node(B).health, Health::Suspect);
        assert_eq!(story.next(B), 2000, "the second strike follows at once");
        story.fail(B, fault);
        assert_eq!(story.node(B).health, Health::Down);
    }
}

#[test]
fn a_refused_connection_takes_a_node_out_at_once_and_two_good_probes_bring_it_back() {
    let mut story = Story::serving(2);
    story.at(2000).fail(B, ProbeFault::Refused);
    assert_eq!(story.node(B).health, Health::Down);
    story.at(2100).probe(B, of_run(3, replica(1000)));
    assert_eq!(story.node(B).health, Health::Suspect);
    assert_eq!(story.next(B), 2101, "the second is asked for at once");
    story.probe(B, of_run(3, replica(1000)));
    assert_eq!(story.node(B).health, Health::Up);
}

#[test]
fn a_monitor_that_may_not_log_in_says_nothing_against_the_node_and_tries_ever_more_rarely() {
    let mut story = Story::serving(2);
    let mut pauses = Vec::new();
    for _ in 0..8 {
        story.fail(A, ProbeFault::Credentials);
        pauses.push(story.next(A) - story.now);
        let next = story.next(A);
        story.at(next);
    }
    assert_eq!(pauses, [1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000]);
    assert_eq!((story.view.primary, story.node(A).health), (Some(A), Health::Suspect));
}

#[test]
fn a_node_that_is_down_is_asked_again_soon_and_then_every_second() {
    let mut story = Story::serving(2);
    let mut pauses = Vec::new();
    for _ in 0..6 {
        story.fail(B, ProbeFault::Refused);
        pauses.push(story.next(B) - story.now);
    }
    assert_eq!(pauses, [100, 200, 400, 800, 1000, 1000]);
    story.cluster.on_noticed(B, at(story.now));
    assert_eq!(story.next(B), story.now);
}

#[test]
fn probing_idles_until_a_write_and_hurries_until_it_is_proved_everywhere() {
    let mut story = Story::serving(2);
    story.at(2000).probe(A, primary(1000)).probe(B, replica(1000));
    assert_eq!((story.next(A), story.next(B)), (2100, 2101));
    story.at(2050).cluster.on_write(at(2050));
    assert_eq!((story.next(A), story.next(B)), (2001, 2002), "due at once");
    story.probe(A, primary(1500));
    assert_eq!((story.next(A), story.next(B)), (2150, 2002), "one sample is enough");
    story.probe(B, replica(1400));
    assert_eq!(story.next(B), 2052);
    story.probe(B, replica(1500));
    assert_eq!(story.next(B), 2152);
}

#[test]
fn while_there_is_no_primary_its_successor_is_looked_for() {
    let mut story = Story::serving(2);
    story.at(2000).probe(B, replica(1000));
    assert_eq!(story.next(B), 2100);
    story.fail(A, ProbeFault::Refused);
    assert_eq!(story.next(B), 2020);
}

#[test]
fn hurrying_after_a_replica_that_does_not_move_slows_down() {
    let mut story = Story::serving(2);
    story.at(2000).cluster.on_write(at(2000));
    story.probe(A, primary(5000));
    while story.now < 4000 {
        story.probe(B, replica(1000));
        assert_eq!(story.next(B), story.now, "a millisecond after it was asked");
    }
    story.at(4100).probe(B, replica(1000));
    assert_eq!(story.next(B), 4120);
    // It moves again, though not far enough: worth hurrying.
    story.probe(A, primary(5000)).cluster.on_write(at(4200));
    story.at(4200).probe(B, replica(5000));
    assert_eq!(story.next(B), 4201);
}

#[test]
fn a_view_is_made_only_when_something_has_changed() {
    let mut story = Story::serving(2);
    assert!(story.cluster.view().is_none());
    story.cluster.on_noticed(B, at(story.now));
    story.cluster.on_write(at(story.now));
    assert!(story.cluster.view().is_none());
    story.cluster.drain(B);
    assert!(story.cluster.view().is_some_and(|view| view.nodes[1].drained));
    story.cluster.drain(B);
    assert!(story.cluster.view().is_none());
    story.cluster.undrain(B);
    assert!(story.cluster.view().is_some_and(|view| !view.nodes[1].drained));
    story.cluster.on_probe(A, at(5000), at(5001), primary(1000));
    assert!(story.cluster.view().is_some_and(|view| view.nodes[1].fresh_as_of == Some(at(5000))));
}

#[test]
fn a_node_that_is_not_of_the_cluster_is_never_due() {
    let mut story = Story::serving(2);
    story.probe(NodeId(9), primary(1)).fail(NodeId(9), ProbeFault::Refused);
    assert_eq!(story.cluster.next_probe(NodeId(9)), Instant::from_nanos(u64::MAX));
}

prop_compose! {
    fn any_report()(
        in_recovery in any::<bool>(),
        position in 0_u64..100,
        timeline in prop::option::weighted(0.9, 1_u32..5),
        incarnation in 0_u64..3,
        system in prop::option::weighted(0.9, prop::sample::select(vec![7_u64, 7, 7, 7, 8])),
        receiving in prop::option::of(any::<bool>()),
    ) -> Report {
        Report {
            in_recovery,
            timeline: timeline.map(Timeline),
            incarnation: Incarnation(incarnation),
            system_identifier: system,
            receiving,
            ..primary(position)
        }
    }
}

fn any_probe() -> impl Strategy<Value = (u32, u64, Result<Report, ProbeFault>)> {
    use ProbeFault::{Credentials, NotReady, Other, Refused, Reset, TimedOut};
    let faults = vec![Refused, Reset, TimedOut, NotReady, Credentials, Other];
    let outcome =
        prop_oneof![4 => any_report().prop_map(Ok), 1 => prop::sample::select(faults).prop_map(Err)];
    (0_u32..3, 1_u64..4000, outcome)
}

proptest! {
    #[test]
    fn in_any_order_of_events_there_is_one_primary_and_its_timeline_never_goes_back(
        probes in prop::collection::vec(any_probe(), 1..120),
    ) {
        let mut story = Story::new(3);
        let mut highest = None;
        for (node, pause, outcome) in probes {
            let next = story.now + pause;
            story.at(next);
            match outcome {
                Ok(report) => story.probe(NodeId(node), report),
                Err(fault) => story.fail(NodeId(node), fault),
            };
            let reign = story.cluster.reign.map(|reign| (reign.system, reign.timeline));
            if let (Some((before, low)), Some((after, high))) = (highest, reign) {
                prop_assert!(before != after || low <= high, "the timeline went back");
            }
            highest = reign.or(highest);
            if let Some(primary) = story.view.primary {
                prop_assert_eq!(story.node(primary).role, Role::Primary);
                prop_assert_eq!(story.node(primary).timeline, reign.and_then(|(_, timeline)| timeline));
            }
        }
    }
}
