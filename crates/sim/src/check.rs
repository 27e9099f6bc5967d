//! What must hold, judged from outside: by the truth of the `history` module, never by what the engine believes.
//!
//! The one thing taken from the engine is which node it accepted as primary: a write that this node does not have
//! was lost with another branch, and no reader can be promised it. That the accepted timeline never goes back is
//! checked for this reason.

use engine::freshness::Level;
use engine::route::{Decision, Reason, Target};

use crate::history::{BranchId, History, Point};

/// A promise that a run can break.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Promise {
    /// A session sees its own acknowledged writes.
    OwnWrites,
    /// A session never goes back in time among replicas (`causal`: nor between them and the primary).
    ReadOrder,
    /// A read shows everything acknowledged to anyone more than `max_staleness` before it began.
    Bounded,
    /// Everything acknowledged before `fresh_as_of` is visible on that node.
    FreshAsOf,
    /// The accepted primary's timeline never goes back.
    Timeline,
    /// A pool never has more backends than its size.
    PoolLimit,
    /// Waiters are served first come, first served.
    PoolOrder,
    /// Everyone who waits is told the end of it in time.
    PoolWait,
    /// Once all is well, replicas serve reads.
    Recovery,
}

/// A broken promise.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Violation {
    /// Which.
    pub promise: Promise,
    /// When, in nanoseconds since the world began.
    pub at: u64,
}

/// What happened in a run, to know that it was not an empty one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tally {
    /// Reads answered by a replica.
    pub replica_reads: u64,
    /// Reads answered by the primary.
    pub primary_reads: u64,
    /// Of the replica's, those of a session that had written before.
    pub after_write: u64,
    /// Writes acknowledged.
    pub writes: u64,
    /// Requests that ended without an answer.
    pub errors: u64,
    /// Decisions by reason.
    pub reasons: [u64; Reason::COUNT],
}

impl Default for Tally {
    fn default() -> Self {
        let reasons = [0; Reason::COUNT];
        Tally { replica_reads: 0, primary_reads: 0, after_write: 0, writes: 0, errors: 0, reasons }
    }
}

impl Tally {
    /// Adds another run's.
    pub fn add(&mut self, other: &Tally) {
        self.replica_reads += other.replica_reads;
        self.primary_reads += other.primary_reads;
        self.after_write += other.after_write;
        self.writes += other.writes;
        self.errors += other.errors;
        for (sum, count) in self.reasons.iter_mut().zip(other.reasons) {
            *sum += count;
        }
    }

    pub(crate) fn decided(&mut self, decision: Decision) {
        self.reasons[decision.reason as usize] += 1;
        debug_assert!(decision.target != Target::Hold || decision.reason == Reason::NoPrimary);
    }
}

/// One answer to a read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer {
    /// Whose.
    pub(crate) session: usize,
    /// What it was promised.
    pub(crate) level: Level,
    /// When the session asked.
    pub(crate) started: u64,
    /// What the server showed.
    pub(crate) seen: Point,
    /// Whether a replica answered.
    pub(crate) by_replica: bool,
    /// What was accepted when its node was chosen: nobody can choose by what is accepted later.
    pub(crate) reign: Option<Point>,
}

/// How far back one write is looked for: acknowledgements come nearly in the order of the log.
const NEAR: usize = 16;

/// The account that the checkers keep.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reference {
    /// Every acknowledgement to anyone, in order of time.
    acknowledged: Vec<(u64, Point)>,
    /// By session.
    sessions: Vec<Account>,
    /// The end of the branch that the accepted primary is on.
    pub(crate) reign: Option<Point>,
    timeline: u32,
    views: Views,
    pub(crate) violation: Option<Violation>,
    pub(crate) tally: Tally,
}

/// Whether views are judged by themselves, beside the answers that clients get.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Views {
    /// They are.
    #[default]
    Judged,
    /// Only what clients get is.
    Ignored,
}

#[derive(Clone, Debug, Default)]
struct Account {
    wrote: Vec<Point>,
    seen: Option<Point>,
}

impl Reference {
    /// With `views` or without judging what a view says by itself. A negative control must be noticed by what clients
    /// were shown, which is the harder test of the checkers.
    pub(crate) fn new(sessions: usize, views: Views) -> Self {
        Reference { sessions: vec![Account::default(); sessions], views, ..Reference::default() }
    }

    /// The promise does not hold. The first one counts.
    pub(crate) fn broken(&mut self, promise: Promise, at: u64) {
        self.violation = self.violation.or(Some(Violation { promise, at }));
    }

    /// Somebody was told that a write is committed; `session` is `None` for writes that pass the router by.
    pub(crate) fn on_acknowledged(&mut self, at: u64, session: Option<usize>, point: Point) {
        self.acknowledged.push((at, point));
        if let Some(session) = session {
            self.sessions[session].wrote.push(point);
            self.tally.writes += 1;
        }
    }

    /// The engine accepts the primary of this branch.
    pub(crate) fn on_reign(&mut self, at: u64, branch: BranchId, history: &History) {
        let timeline = history.timeline(branch);
        if timeline < self.timeline {
            self.broken(Promise::Timeline, at);
        }
        self.timeline = timeline;
        self.reign = Some(Point { branch, lsn: u64::MAX });
    }

    /// A primary lost what it had not flushed, and goes on upon another branch.
    pub(crate) fn on_loss(&mut self, before: BranchId, after: BranchId) {
        if let Some(reign) = &mut self.reign
            && reign.branch == before
        {
            reign.branch = after;
        }
    }

    /// The timeline that replicas should be on.
    pub(crate) fn reigning_timeline(&self, history: &History) -> Option<u32> {
        self.reign.map(|reign| history.timeline(reign.branch))
    }

    /// A read was answered.
    pub(crate) fn on_answer(&mut self, at: u64, answer: Answer, max_staleness: u64, history: &History) {
        let account = &self.sessions[answer.session];
        let has = |point: Point| {
            let lost = is_lost(answer.reign, point, history) || is_lost(self.reign, point, history);
            lost || history.contains(answer.seen, point)
        };
        let mut broken = None;
        if answer.level != Level::Eventual {
            let limit = answer.started.saturating_sub(max_staleness);
            if !self.acknowledged_before(limit).all(&has) {
                broken = Some(Promise::Bounded);
            }
        }
        let ordered = matches!(answer.level, Level::Session | Level::Causal);
        if ordered && !account.wrote.iter().rev().take(NEAR).all(|point| has(*point)) {
            broken = Some(Promise::OwnWrites);
        }
        let compared = answer.by_replica || answer.level == Level::Causal;
        if ordered && compared && account.seen.is_some_and(|seen| !has(seen)) {
            broken = Some(Promise::ReadOrder);
        }
        if let Some(promise) = broken {
            self.broken(promise, at);
        }
        self.count(answer);
        if answer.by_replica || answer.level == Level::Causal {
            self.sessions[answer.session].seen = Some(answer.seen);
        }
    }

    /// A view says that everything acknowledged before `fresh_as_of` is visible at a node that has `state`.
    pub(crate) fn on_fresh(&mut self, at: u64, fresh_as_of: u64, state: Point, history: &History) {
        let has = |point: Point| history.contains(state, point) || is_lost(self.reign, point, history);
        if self.views == Views::Judged && !self.acknowledged_before(fresh_as_of).all(has) {
            self.broken(Promise::FreshAsOf, at);
        }
    }

    /// The newest writes that were acknowledged before then.
    fn acknowledged_before(&self, at: u64) -> impl Iterator<Item = Point> {
        let end = self.acknowledged.partition_point(|(acknowledged, _)| *acknowledged < at);
        self.acknowledged[..end].iter().rev().take(NEAR).map(|(_, point)| *point)
    }

    fn count(&mut self, answer: Answer) {
        if answer.by_replica {
            self.tally.replica_reads += 1;
            self.tally.after_write += u64::from(!self.sessions[answer.session].wrote.is_empty());
        } else {
            self.tally.primary_reads += 1;
        }
    }
}

/// Not part of what the accepted primary has: nobody can be promised it.
fn is_lost(reign: Option<Point>, point: Point, history: &History) -> bool {
    reign.is_none_or(|reign| !history.contains(reign, point))
}
