//! How new must an answer be, and how new is a node: bound × node → fresh, stale or unknown.
//!
//! No LSN is compared here. The monitor has already turned positions into one proved instant per replica
//! ([`NodeView::fresh_as_of`](crate::view::NodeView::fresh_as_of)); this module compares instants, and so
//! costs a few instructions per read.

pub mod lag;
pub mod samples;
pub mod watermark;

use std::time::Duration;

use crate::time::Instant;
use crate::view::NodeView;
use watermark::Watermark;

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

/// What a node must be proved to show before it may answer one read.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Bound {
    /// Nothing but being a healthy replica of the current timeline.
    Anything,
    /// Everything acknowledged to anyone before this instant.
    AsOf(Instant),
    /// That, and what this session has written and seen.
    Session {
        /// Everything acknowledged to anyone before this instant.
        as_of: Instant,
        /// What the session has written and seen.
        watermark: Watermark,
    },
}

/// What a replica lacks, in the order in which it is checked: the later, the nearer it was to qualifying.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Shortfall {
    /// Not proved to show everything older than the staleness bound.
    TooStale,
    /// Not proved to show this session's last write.
    OwnWrite,
    /// Not proved to show what another replica has shown this session.
    BackInTime,
}

impl Bound {
    /// The bound that a level asks of a read that begins at `now`.
    pub(crate) fn of(level: Level, max_staleness: Duration, watermark: Watermark, now: Instant) -> Bound {
        match level {
            Level::Eventual => Bound::Anything,
            Level::Bounded => Bound::AsOf(now - max_staleness),
            Level::Session | Level::Causal => Bound::Session { as_of: now - max_staleness, watermark },
            // The primary's own view is never asked of a replica; were it, nothing older than the question would do.
            Level::Global | Level::Strong => Bound::AsOf(now),
        }
    }

    /// Is this replica proved to satisfy the bound?
    pub(crate) fn check(&self, node: &NodeView) -> Result<(), Shortfall> {
        let (as_of, watermark) = match *self {
            Bound::Anything => return Ok(()),
            Bound::AsOf(as_of) => (as_of, None),
            Bound::Session { as_of, watermark } => (as_of, Some(watermark)),
        };
        let fresh_as_of = match node.fresh_as_of {
            Some(fresh_as_of) if fresh_as_of >= as_of => fresh_as_of,
            Some(_) | None => return Err(Shortfall::TooStale),
        };
        let Some(watermark) = watermark else { return Ok(()) };
        if watermark.wrote_at.is_some_and(|wrote_at| fresh_as_of < wrote_at) {
            return Err(Shortfall::OwnWrite);
        }
        // The same run of the same server never goes back; any other must have all that this one can have shown.
        let ordered = watermark.read_from.is_none_or(|read| {
            (node.id == read.node && node.incarnation == Some(read.incarnation)) || fresh_as_of >= read.at
        });
        if ordered { Ok(()) } else { Err(Shortfall::BackInTime) }
    }
}
