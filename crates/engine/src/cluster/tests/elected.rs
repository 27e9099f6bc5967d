//! Somebody elects primaries of a cluster that has one timeline for all, as Aurora's storage does, and whose positions are
//! told some time after they were read.

use super::*;

fn told_late(age: u64, report: Report) -> Report {
    Report { position_age: ms(age), wal_block_size: 0, wal_segment_size: 0, ..report }
}

#[test]
fn a_sample_that_was_old_when_it_was_asked_for_counts_from_when_it_was_read() {
    let mut story = Story::serving(2);
    story.at(5000).probe(A, told_late(700, primary(1100))).probe(B, told_late(0, replica(1100)));
    assert_eq!(story.fresh(B), Some(4300), "a write acknowledged since then may be missing");
    story.at(5100).probe(A, told_late(800, primary(1100)));
    assert_eq!(story.fresh(B), Some(4300), "the same row, asked again, proves no more");
    story.at(5200).probe(A, told_late(0, primary(1100)));
    assert_eq!(story.fresh(B), Some(5200));
}

#[test]
fn a_position_of_no_known_age_proves_nothing_and_takes_no_role_away() {
    let mut story = Story::new(2);
    story.cluster.set_authority(Authority::Named(Some(A)), at(story.now));
    story.probe(A, primary(0)).probe(B, of_run(2, replica(0)));
    story.at(2000).probe(A, primary(0)).probe(B, of_run(2, replica(0)));
    assert_eq!(story.roles(), [Role::Primary, Role::Replica]);
    assert_eq!(story.fresh(B), None);
}

#[test]
fn a_reader_that_nobody_vouches_for_is_a_replica_of_unknown_freshness() {
    let unvouched = |report: Report| Report { system_identifier: None, ..report };
    let mut story = Story::new(2);
    story.cluster.set_authority(Authority::Named(Some(A)), at(story.now));
    for _ in 0..3 {
        story.probe(A, unvouched(primary(1000))).probe(B, unvouched(replica(1000)));
    }
    assert_eq!(story.roles(), [Role::Primary, Role::Replica]);
    assert_eq!(story.fresh(B), None);
}

#[test]
fn on_one_timeline_the_one_that_is_named_and_takes_writes_succeeds_and_the_old_one_is_fenced() {
    let mut story = Story::new(2);
    story.cluster.set_authority(Authority::Named(Some(A)), at(story.now));
    story.probe(A, primary(1000)).probe(B, of_run(2, replica(1000))).probe(A, primary(1000));
    assert_eq!(story.view.primary, Some(A));
    let epoch = story.view.epoch;
    // It takes writes before anybody has named it, and then is named while the old one still says that it does, too.
    story.at(2000).probe(B, of_run(2, primary(1100)));
    assert_eq!((story.view.primary, story.node(B).role), (Some(A), Role::Fenced));
    story.cluster.set_authority(Authority::Named(Some(B)), at(story.now));
    story.probe(B, of_run(2, primary(1100))).probe(A, primary(1050));
    assert_eq!((story.view.primary, story.node(A).role), (Some(B), Role::Fenced));
    assert!(story.view.epoch > epoch, "what was proved of the old one's history proves nothing");
    // It comes back as a reader, and is proved anew.
    story.at(3000).probe(A, of_run(9, replica(1100))).probe(B, of_run(2, primary(1100)));
    assert_eq!(story.node(A).role, Role::Replica);
    assert_eq!(story.fresh(A), Some(3001));
}
