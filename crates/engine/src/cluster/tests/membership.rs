//! Nodes that come and go, and primaries that somebody else elects.

use super::*;

const D: NodeId = NodeId(3);

impl Story {
    fn join(&mut self, id: NodeId) -> &mut Self {
        self.cluster.join(id, Arc::from(format!("n{}", id.0)));
        self.look()
    }

    fn leave(&mut self, id: NodeId) -> &mut Self {
        self.cluster.leave(id, at(self.now));
        self.look()
    }

    fn named(&mut self, node: Option<NodeId>) -> &mut Self {
        self.cluster.set_authority(Authority::Named(node), at(self.now));
        self.look()
    }
}

#[test]
fn a_node_that_joins_has_to_prove_everything_and_then_serves() {
    let mut story = Story::serving(2);
    story.at(2000).join(C);
    assert_eq!((story.node(C).role, story.node(C).health), (Role::Unknown, Health::Unknown));
    assert_eq!(story.view.primary, Some(A), "a newcomer that was not asked yet takes nothing from anybody");
    assert!(story.next(C) <= story.now, "it is due at once");
    story.probe(C, of_run(3, replica(900)));
    assert_eq!((story.node(C).role, story.fresh(C)), (Role::Replica, None));
    story.probe(A, primary(1000)).probe(C, of_run(3, replica(1000)));
    assert_eq!(story.fresh(C), Some(2001));
}

#[test]
fn no_decision_leads_to_a_node_that_left_and_it_never_counts_as_fresh() {
    let mut story = Story::serving(2);
    assert_eq!(story.read(Watermark::default()).0, Target::Replica(B));
    story.leave(B);
    assert!(story.view.node(B).is_none());
    assert_eq!(story.read(Watermark::default()), (Target::Primary(A), "no_replica"));
    // An answer that was under way says nothing any more, and it is never asked again.
    story.probe(B, replica(1000));
    assert!(story.view.node(B).is_none());
    assert_eq!(story.cluster.next_probe(B), Instant::from_nanos(u64::MAX));
    // At the same address it is another node, of which nothing is known.
    story.join(C);
    assert_eq!(story.fresh(C), None);
}

#[test]
#[should_panic(expected = "ids are given in order, and once")]
fn an_id_is_never_used_again() {
    let mut story = Story::serving(2);
    story.leave(A);
    story.cluster.join(A, Arc::from("again"));
}

#[test]
fn that_the_primary_leaves_makes_nobody_else_the_primary() {
    let mut story = Story::serving(3);
    // B was promoted by mistake, while A lives.
    story.at(2000).probe(B, of_run(2, on_timeline(2, primary(2000))));
    assert_eq!(story.node(B).role, Role::Fenced);
    story.leave(A).probe(B, of_run(2, on_timeline(2, primary(2100))));
    assert_eq!((story.view.primary, story.node(B).role), (None, Role::Fenced));
    assert_eq!(story.read(wrote(2000)), (Target::Hold, "no_primary"));
    // As after a primary that is silent: A may be alive and written to by others.
    story.at(12_500).probe(B, of_run(2, on_timeline(2, primary(2200))));
    assert_eq!(story.view.primary, Some(B));
}

#[test]
fn a_primary_that_was_known_to_be_gone_when_it_left_is_succeeded_at_once() {
    let mut story = Story::serving(2);
    story.at(2000).fail(A, ProbeFault::Refused).leave(A);
    story.probe(B, of_run(2, on_timeline(2, primary(2000))));
    assert_eq!(story.view.primary, Some(B));
}

#[test]
fn the_same_run_of_the_primary_under_another_address_goes_on_at_once() {
    let mut story = Story::serving(2);
    let epoch = story.view.epoch;
    story.at(2000).join(C).leave(A);
    assert_eq!(story.view.primary, None);
    story.probe(C, primary(1100));
    assert_eq!(story.view.primary, Some(C));
    assert!(story.view.epoch > epoch, "what was proved of the way to it before is not kept");
    story.probe(B, replica(1100));
    assert_eq!(story.node(B).role, Role::Replica);
}

#[test]
fn a_primary_restarted_at_another_address_is_accepted_once_its_old_place_has_been_silent() {
    let mut story = Story::serving(2);
    story.at(2000).leave(A).join(C).probe(C, of_run(9, primary(1100)));
    assert_eq!((story.view.primary, story.node(C).role), (None, Role::Fenced));
    story.at(12_500).probe(C, of_run(9, primary(1200)));
    assert_eq!(story.view.primary, Some(C));
    // Not so with a claim that somebody knows to be outdated, or that two nodes make.
    let mut story = Story::serving(2);
    story.at(2000).leave(A).join(C).join(D).probe(D, of_run(8, primary(1100)));
    story.at(12_500).probe(C, of_run(9, primary(1200))).probe(D, of_run(8, primary(1200)));
    assert_eq!(story.view.primary, None);
    story.probe(D, of_run(8, on_timeline(2, replica(1300))));
    assert_eq!(story.view.primary, None);
}

#[test]
fn one_server_at_two_addresses_is_one_claim() {
    let mut story = Story::new(2);
    story.probe(A, primary(1000)).probe(B, primary(1000));
    assert_eq!(story.roles(), [Role::Primary, Role::Fenced]);
}

#[test]
fn only_who_is_named_becomes_the_primary_and_only_if_it_claims_so_itself() {
    let mut story = Story::new(2);
    story.named(None).probe(A, primary(1000)).probe(B, replica(1000));
    assert_eq!(story.view.primary, None, "nobody is named");
    story.named(Some(B));
    assert_eq!(story.view.primary, None, "the one that is named follows");
    story.named(Some(A));
    assert_eq!(story.view.primary, Some(A));
    // A switchover: the word comes before the deed, and after it.
    story.at(2000).named(Some(B));
    assert_eq!(story.view.primary, Some(A), "it goes on until somebody else is named and claims it");
    story.probe(A, of_run(1, replica(2000)));
    assert_eq!(story.view.primary, None);
    story.probe(B, of_run(2, on_timeline(2, primary(2100))));
    assert_eq!(story.view.primary, Some(B));
}

#[test]
fn with_an_authority_nobody_is_accepted_by_observation_however_long_the_primary_is_gone() {
    let mut story = Story::serving(2);
    story.at(2000).named(Some(A)).fail(A, ProbeFault::Refused);
    story.probe(B, of_run(2, on_timeline(2, primary(2000))));
    story.at(60_000).probe(B, of_run(2, on_timeline(2, primary(2100))));
    assert_eq!((story.view.primary, story.node(B).role), (None, Role::Fenced));
    story.named(Some(B));
    assert_eq!(story.view.primary, Some(B));
    // The word of one who has not heard of it yet names the old one, which is back.
    story.named(Some(A)).probe(A, primary(99_000)).probe(A, primary(99_000));
    assert_eq!(story.view.primary, Some(B));
    assert_eq!(story.node(A).role, Role::Fenced);
}

#[test]
fn while_the_authority_says_nothing_the_accepted_primary_stays() {
    let mut story = Story::serving(2);
    story.at(2000).named(None).probe(A, primary(1100)).probe(B, replica(1100));
    assert_eq!(story.view.primary, Some(A));
    // Another run of it is another matter.
    story.probe(A, of_run(8, primary(1200)));
    assert_eq!((story.view.primary, story.node(A).role), (None, Role::Fenced));
    story.named(Some(A));
    assert_eq!(story.view.primary, Some(A));
}

#[test]
fn a_named_node_of_another_system_is_not_the_primary() {
    let mut story = Story::serving(3);
    story.at(2000).named(Some(C)).probe(C, of_run(3, on_timeline(9, of_system(8, primary(2000)))));
    assert_eq!((story.view.primary, story.node(C).role), (Some(A), Role::Unknown));
}

#[test]
fn a_spared_node_gets_no_reads_and_is_watched_all_the_same() {
    let mut story = Story::serving(3);
    story.cluster.spare(B, true);
    story.cluster.spare(B, true);
    story.at(2000).look();
    assert_eq!(story.read(Watermark::default()).0, Target::Replica(C));
    story.probe(A, primary(1100)).probe(B, replica(1100));
    assert_eq!(story.fresh(B), Some(2000));
    story.cluster.spare(B, false);
    story.look();
    assert!(story.node(B).serves_reads());
}

/// What a node's source may say.
#[derive(Clone, Copy, Debug)]
enum Change {
    Join,
    Leave(usize),
    Named(Option<usize>),
    Observe,
    Spare(usize, bool),
}

fn any_change() -> impl Strategy<Value = Change> {
    prop_oneof![
        3 => Just(Change::Join),
        3 => (0_usize..9).prop_map(Change::Leave),
        1 => prop::option::of(0_usize..9).prop_map(Change::Named),
        1 => Just(Change::Observe),
        1 => (0_usize..9, any::<bool>()).prop_map(|(n, spared)| Change::Spare(n, spared)),
    ]
}

/// What happens next.
#[derive(Clone, Copy, Debug)]
enum Step {
    Changed(Change),
    Probed(usize, Result<Report, ProbeFault>),
}

fn any_step() -> impl Strategy<Value = (u64, Step)> {
    let step = prop_oneof![
        1 => any_change().prop_map(Step::Changed),
        4 => any_probe().prop_map(|(node, _, outcome)| Step::Probed(node as usize, outcome)),
    ];
    (1_u64..4000, step)
}

proptest! {
    #[test]
    fn whoever_comes_and_goes_there_is_one_primary_of_the_nodes_there_are_and_its_timeline_never_goes_back(
        steps in prop::collection::vec(any_step(), 1..160),
    ) {
        let mut story = Story::new(2);
        let mut nodes = vec![A, B];
        let mut fresh_id = 2;
        let mut highest = None;
        for (pause, step) in steps {
            let next = story.now + pause;
            story.at(next);
            let nth = |n: usize| n.checked_rem(nodes.len()).map(|place| nodes[place]);
            match step {
                Step::Changed(Change::Join) => {
                    nodes.push(NodeId(fresh_id));
                    story.join(NodeId(fresh_id));
                    fresh_id += 1;
                }
                Step::Changed(Change::Leave(n)) => if let Some(id) = nth(n) {
                    let run = story.node(id).incarnation;
                    let reigned = story.view.primary == Some(id);
                    story.leave(id);
                    nodes.retain(|node| *node != id);
                    if let Some(next) = story.view.primary.filter(|_| reigned) {
                        prop_assert_eq!(story.node(next).incarnation, run, "by leaving it made another the primary");
                    }
                },
                Step::Changed(Change::Named(n)) => drop(story.named(n.and_then(nth))),
                Step::Changed(Change::Observe) => {
                    story.cluster.set_authority(Authority::Observation, at(next));
                    story.look();
                }
                Step::Changed(Change::Spare(n, spared)) => if let Some(id) = nth(n) {
                    story.cluster.spare(id, spared);
                    story.look();
                },
                Step::Probed(n, outcome) => if let Some(id) = nth(n) {
                    match outcome {
                        Ok(report) => story.probe(id, report),
                        Err(fault) => story.fail(id, fault),
                    };
                },
            }
            prop_assert_eq!(story.view.nodes.iter().map(|node| node.id).collect::<Vec<_>>(), nodes.clone());
            let reign = story.cluster.reign.map(|reign| (reign.system, reign.timeline));
            if let (Some((before, low)), Some((after, high))) = (highest, reign) {
                prop_assert!(before != after || low <= high, "the timeline went back");
            }
            highest = reign.or(highest);
            if let Some(primary) = story.view.primary {
                prop_assert_eq!(story.node(primary).role, Role::Primary);
            }
        }
    }
}
