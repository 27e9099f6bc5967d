//! How new must an answer be, and how new is a node: bound × node → fresh, stale or unknown.
//!
//! No LSN is compared here. The monitor has already turned positions into one proved instant per replica
//! ([`NodeView::fresh_as_of`](crate::view::NodeView::fresh_as_of)); this module compares instants, and so
//! costs a few instructions per read.

pub mod watermark;

/// The freshness levels of the contract, weakest first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Level {
    /// Any healthy replica of the current timeline.
    Eventual,
    /// Everything acknowledged to anyone more than `max_staleness` ago.
    Bounded,
    /// Own writes and no going back in time among replicas, and `max_staleness`.
    Session,
    /// As `Session`, across primary and replicas.
    Causal,
    /// Everything acknowledged to anyone before the read began.
    Global,
    /// The primary's own view.
    Strong,
}

impl Level {
    /// The name used in settings, `SET highwater.consistency` and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Level::Eventual => "eventual",
            Level::Bounded => "bounded",
            Level::Session => "session",
            Level::Causal => "causal",
            Level::Global => "global",
            Level::Strong => "strong",
        }
    }

    /// All levels, weakest first.
    pub const ALL: [Level; 6] =
        [Level::Eventual, Level::Bounded, Level::Session, Level::Causal, Level::Global, Level::Strong];

    /// The level of this name, if there is one.
    pub fn from_name(name: &str) -> Option<Level> {
        Level::ALL.into_iter().find(|l| l.name() == name)
    }
}
