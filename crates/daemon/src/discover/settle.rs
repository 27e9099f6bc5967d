//! How long a node may be missing from the answers before it is given up. Pure.
//!
//! Whoever is named belongs to the cluster at once: it has to prove itself before it is given anything. Whoever is not
//! named any more stays for a while, because one answer without it may be the source's mistake, while ending its work is
//! ours.

use std::time::Duration;

use engine::time::Instant;

use super::{Found, FoundNode};

/// The nodes that were named lately.
#[derive(Default)]
pub(super) struct Settled(Vec<Named>);

struct Named {
    node: FoundNode,
    /// The first of the answers, one after another, in which it was not named.
    missing_since: Option<Instant>,
}

impl Settled {
    /// Takes in an answer: the nodes that there are now, those of the answer first. Only answers count as time without a
    /// node; while a source is silent, nobody goes missing.
    pub(super) fn on_answer(&mut self, answer: Found, now: Instant, leave_after: Duration) -> Found {
        let mut named: Vec<Named> =
            answer.nodes.into_iter().map(|node| Named { node, missing_since: None }).collect();
        for mut known in std::mem::take(&mut self.0) {
            let since = *known.missing_since.get_or_insert(now);
            if named.iter().all(|other| !other.node.is_at(&known.node)) && now.since(since) < leave_after {
                named.push(known);
            }
        }
        self.0 = named;
        let nodes = self.0.iter().map(|named| named.node.clone()).collect();
        Found { nodes, primary: answer.primary }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discover::Elected;

    fn check(leave_after: u64, steps: &[(u64, &str, &str)]) {
        let mut settled = Settled::default();
        for &(seconds, answer, expected) in steps {
            let nodes = answer.chars().map(|host| FoundNode::at(host.to_string(), 1)).collect();
            let answer = Found { nodes, primary: Elected::ByNobody };
            let now = Instant::START + Duration::from_secs(seconds);
            let found = settled.on_answer(answer, now, Duration::from_secs(leave_after));
            let seen: String = found.nodes.iter().map(|node| node.host.as_str()).collect();
            assert_eq!(seen, expected, "after {seconds} s");
        }
    }

    #[test]
    fn a_node_joins_at_once_and_leaves_when_it_was_not_named_for_long_enough() {
        check(10, &[(0, "ab", "ab"), (1, "abc", "abc"), (2, "a", "abc"), (11, "a", "abc"), (12, "a", "a")]);
        check(0, &[(0, "ab", "ab"), (1, "a", "a")]);
    }

    #[test]
    fn a_source_that_leaves_out_one_node_and_then_another_loses_nobody() {
        check(
            10,
            &[(0, "abc", "abc"), (6, "ab", "abc"), (12, "bc", "bca"), (18, "ca", "cab"), (24, "ab", "abc")],
        );
    }

    #[test]
    fn a_long_silence_of_the_source_counts_against_nobody() {
        check(10, &[(0, "ab", "ab"), (1000, "a", "ab"), (1005, "ab", "ab"), (1011, "a", "ab")]);
    }

    #[test]
    fn the_last_name_of_a_node_counts() {
        let mut settled = Settled::default();
        let node = |name: &str| FoundNode { name: Some(name.to_owned()), ..FoundNode::at("h".to_owned(), 1) };
        for name in ["one", "two"] {
            let answer = Found { nodes: vec![node(name)], primary: Elected::ByNobody };
            let found = settled.on_answer(answer.clone(), Instant::START, Duration::from_secs(9));
            assert_eq!(found, answer);
        }
    }
}
