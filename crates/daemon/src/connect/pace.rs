//! How often a node is connected to after failures, and how often a refused user is tried again.
//!
//! A node that comes back must not meet a storm (at most 10 attempts a second), and a wrong password must not lock an
//! account (one attempt per back-off step). A connect that works is never held back.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use engine::time::Instant;
use engine::view::NodeId;

use crate::mail::ConnectError;

/// Between two attempts at a node whose last attempt failed.
const GAP: Duration = Duration::from_millis(100);

/// Back-off of a refused user: the first step, and the longest.
const REFUSED_FIRST: Duration = Duration::from_secs(1);
const REFUSED_MAX: Duration = Duration::from_secs(60);

/// Most refusals remembered; when there would be more, all are forgotten.
const REFUSALS_MAX: usize = 10_000;

/// When each failing node may be tried next.
#[derive(Default)]
pub(super) struct Paces(Mutex<HashMap<NodeId, Instant>>);

impl Paces {
    /// How long the next attempt at this node has to wait. Each call takes a turn.
    pub(super) fn reserve(&self, node: NodeId, now: Instant) -> Duration {
        let mut paces = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(next) = paces.get_mut(&node) else { return Duration::ZERO };
        let at = (*next).max(now);
        *next = at + GAP + jitter();
        at.since(now)
    }

    pub(super) fn forget_but(&self, is_node: impl Fn(NodeId) -> bool) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|node, _| is_node(*node));
    }

    pub(super) fn on_success(&self, node: NodeId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&node);
    }

    pub(super) fn on_failure(&self, node: NodeId, now: Instant) {
        let mut paces = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        paces.entry(node).or_insert(now + GAP + jitter());
    }
}

/// Up to a quarter of the gap, so that routers of a fleet don't march in step. Without randomness there is none.
fn jitter() -> Duration {
    let mut byte = [0];
    match getrandom::fill(&mut byte) {
        Ok(()) => GAP * u32::from(byte[0]) / 1024,
        Err(_) => Duration::ZERO,
    }
}

/// A user of a database of a node.
type Who = (NodeId, String, String);

/// Users that nodes have refused.
#[derive(Default)]
pub(super) struct Refusals(Mutex<HashMap<Who, Refusal>>);

struct Refusal {
    error: ConnectError,
    until: Instant,
    step: Duration,
}

impl Refusals {
    /// The refusal still in force: the node isn't asked again.
    pub(super) fn standing(&self, who: &Who, now: Instant) -> Option<ConnectError> {
        let refusals = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        refusals.get(who).filter(|refusal| now < refusal.until).map(|refusal| refusal.error.clone())
    }

    pub(super) fn on_success(&self, who: &Who) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(who);
    }

    pub(super) fn on_refusal(&self, who: Who, error: &ConnectError, now: Instant) {
        // Only a wrong password or role can lock an account; a database can be created at any moment.
        if error.sqlstate.class() != *b"28" {
            return;
        }
        let mut refusals = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if refusals.len() >= REFUSALS_MAX {
            refusals.clear();
        }
        let step = refusals.get(&who).map_or(REFUSED_FIRST, |before| (before.step * 2).min(REFUSED_MAX));
        refusals.insert(who, Refusal { error: error.clone(), until: now + step, step });
    }

    pub(super) fn forget(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::ConnectFault;
    use wire::sqlstate::SqlState;

    const NODE: NodeId = NodeId(1);

    fn at(millis: u64) -> Instant {
        Instant::from_nanos(millis * 1_000_000)
    }

    #[test]
    fn a_failing_node_is_tried_at_most_ten_times_a_second_and_a_well_one_at_once() {
        let paces = Paces::default();
        assert_eq!(paces.reserve(NODE, at(0)), Duration::ZERO);
        paces.on_failure(NODE, at(0));
        let waits: Vec<Duration> = (0..10).map(|_| paces.reserve(NODE, at(0))).collect();
        for (i, pair) in waits.windows(2).enumerate() {
            assert!(pair[1] >= pair[0] + GAP, "{i}: {waits:?}");
        }
        assert!(waits[9] >= Duration::from_millis(900));
        assert_eq!(paces.reserve(NodeId(2), at(0)), Duration::ZERO);
        paces.on_success(NODE);
        assert_eq!(paces.reserve(NODE, at(1)), Duration::ZERO);
    }

    #[test]
    fn a_refused_user_is_tried_once_per_step_and_steps_grow() {
        let refusals = Refusals::default();
        let who = || (NODE, "d".to_owned(), "u".to_owned());
        let error =
            |sqlstate| ConnectError { fault: ConnectFault::Credentials, sqlstate, message: String::new() };
        refusals.on_refusal(who(), &error(SqlState::INVALID_CATALOG_NAME), at(0));
        assert_eq!(refusals.standing(&who(), at(0)), None);
        let mut now = 0;
        for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
            let wrong = error(SqlState::INVALID_PASSWORD);
            refusals.on_refusal(who(), &wrong, at(now));
            assert_eq!(refusals.standing(&who(), at(now + seconds * 1000 - 1)), Some(wrong));
            now += seconds * 1000;
            assert_eq!(refusals.standing(&who(), at(now)), None);
        }
        refusals.on_refusal(who(), &error(SqlState::INVALID_PASSWORD), at(now));
        refusals.forget();
        assert_eq!(refusals.standing(&who(), at(now)), None);
    }
}
