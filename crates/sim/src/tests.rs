//! Seeds that must hold, and controls that must not.

use engine::route::Reason;

use crate::check::{Promise, Tally};
use crate::sabotage::Sabotage;
use crate::scenarios::Scenario;

/// Seeds of each scenario.
const SEEDS: u64 = 250;

fn holds(scenario: Scenario) -> Tally {
    let mut sum = Tally::default();
    for seed in 0..SEEDS {
        let outcome = crate::run(scenario, seed, Sabotage::Nothing);
        assert_eq!(outcome.violation, None, "{scenario:?}, seed {seed}");
        sum.add(&outcome.tally);
    }
    assert!(sum.writes > SEEDS * 10 && sum.after_write > SEEDS * 10, "an empty run proves nothing: {sum:?}");
    sum
}

fn decided(tally: &Tally, reason: Reason) -> u64 {
    tally.reasons[reason as usize]
}

#[test]
fn in_calm_nearly_every_read_is_a_replicas() {
    let tally = holds(Scenario::Calm);
    assert!(tally.replica_reads > tally.primary_reads, "{tally:?}");
    assert_eq!(tally.errors, 0);
}

#[test]
fn lagging_paused_and_cut_off_replicas_never_show_too_little() {
    let tally = holds(Scenario::Lag);
    for reason in [Reason::OwnWriteNotReplayed, Reason::WouldGoBackInTime, Reason::TooStale] {
        assert!(decided(&tally, reason) > 0, "{reason:?} never happened");
    }
}

#[test]
fn servers_that_crash_and_come_back_never_show_too_little() {
    let tally = holds(Scenario::Restart);
    for reason in [Reason::ReplicaFailed, Reason::NoPrimary] {
        assert!(decided(&tally, reason) > 0, "{reason:?} never happened");
    }
}

#[test]
fn a_failover_is_followed_and_nothing_older_is_shown() {
    let tally = holds(Scenario::Failover);
    assert!(decided(&tally, Reason::NoPrimary) > 0);
}

#[test]
fn of_two_that_take_writes_only_one_is_believed() {
    holds(Scenario::Split);
}

#[test]
fn servers_that_stop_and_go_on_never_show_too_little() {
    holds(Scenario::Freeze);
}

#[test]
fn two_servers_behind_one_address_are_never_mixed_up() {
    holds(Scenario::Endpoint);
}

#[test]
fn a_log_that_ends_with_its_page_keeps_no_reader_from_the_replicas() {
    holds(Scenario::PageEnd);
}

#[test]
fn nodes_that_leave_and_come_back_elsewhere_never_show_too_little() {
    let tally = holds(Scenario::Members);
    assert!(decided(&tally, Reason::NoPrimary) > 0);
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for scenario in Scenario::ALL {
        let run = || crate::run(scenario, 7, Sabotage::Nothing).tally;
        assert_eq!(run(), run());
    }
}

/// Seeds that have found something. They stay, whatever they do today.
#[test]
fn what_once_failed_holds() {
    // A backend of the next run of a replica was taken for one of the run that the decision was about.
    assert_eq!(crate::run(Scenario::Restart, 176, Sabotage::Nothing).violation, None);
    // The checker judged a read by a primary that was accepted after the read's node had been chosen.
    assert_eq!(crate::run(Scenario::Failover, 20_723, Sabotage::Nothing).violation, None);
}

/// Without the rule, some client is shown what breaks this promise.
fn caught(sabotage: Sabotage, scenario: Scenario, promise: Promise) {
    let outcomes = (0..SEEDS).map(|seed| crate::run(scenario, seed, sabotage));
    let mut broken = outcomes.filter_map(|outcome| outcome.violation).map(|violation| violation.promise);
    assert!(broken.any(|broken| broken == promise), "{sabotage:?} was not noticed in {scenario:?}");
}

#[test]
fn sampling_the_flush_position_is_noticed() {
    caught(Sabotage::FlushPosition, Scenario::Calm, Promise::OwnWrites);
}

#[test]
fn stamping_a_sample_when_it_is_answered_is_noticed() {
    caught(Sabotage::LateStamp, Scenario::Calm, Promise::OwnWrites);
}

#[test]
fn taking_two_runs_of_a_server_for_one_is_noticed() {
    caught(Sabotage::NoIncarnation, Scenario::Restart, Promise::Bounded);
    caught(Sabotage::NoIncarnation, Scenario::Endpoint, Promise::ReadOrder);
}

#[test]
fn comparing_positions_of_two_timelines_is_noticed() {
    caught(Sabotage::NoTimeline, Scenario::Split, Promise::OwnWrites);
}

#[test]
fn leaving_the_page_header_on_is_noticed() {
    caught(Sabotage::NoNormalise, Scenario::PageEnd, Promise::Recovery);
}

#[test]
fn forgetting_where_a_session_has_read_is_noticed() {
    caught(Sabotage::NoReadOrder, Scenario::Lag, Promise::ReadOrder);
}

#[test]
fn forgetting_a_write_after_a_while_is_noticed() {
    caught(Sabotage::ForgottenWrite, Scenario::Lag, Promise::OwnWrites);
}
