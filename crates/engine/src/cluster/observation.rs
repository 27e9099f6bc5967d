//! What a probe or a live backend taught us about a node. Plain data; the shell asks, `cluster` judges.

use std::time::Duration;

use wire::lsn::{Lsn, Timeline};

use crate::view::{Incarnation, NodeId};

/// What a node answered to a probe, all of it learned in one round trip.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Report {
    /// `pg_is_in_recovery()`.
    pub in_recovery: bool,
    /// On a primary `pg_current_wal_insert_lsn()` as it stands: never the flush or write position, which can be
    /// below a commit that was acknowledged asynchronously. On a replica `pg_last_wal_replay_lsn()`.
    /// [`Lsn::INVALID`] when the node gave none.
    pub position: Lsn,
    /// How old the position already was when the node was asked, at most: zero where it is read at that moment. A sample
    /// counts as asked so much earlier.
    pub position_age: Duration,
    /// The branch of history it writes (`pg_walfile_name` of the insert position) or replays; `None` when it could
    /// not be learned.
    pub timeline: Option<Timeline>,
    /// Which run of the server answered.
    pub incarnation: Incarnation,
    /// `pg_control_system().system_identifier`; `None` when it could not be learned.
    pub system_identifier: Option<u64>,
    /// Whether a WAL receiver streams to it; `None` when it could not be learned.
    pub receiving: Option<bool>,
    /// Whether an operator has paused its replay.
    pub replay_paused: bool,
    /// `wal_block_size` in bytes, 0 when not known.
    pub wal_block_size: u32,
    /// `wal_segment_size` in bytes, 0 when not known.
    pub wal_segment_size: u32,
}

/// Why a probe has no answer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ProbeFault {
    /// Nobody listens: the process is gone.
    Refused,
    /// The connection ended without an answer. One backend may have been ended, or the process.
    Reset,
    /// No answer in time: stopped, cut off or overloaded.
    TimedOut,
    /// 57P03: alive, and takes no connections for the moment.
    NotReady,
    /// 28xxx or 3D000: alive, and will not talk to the monitor's user.
    Credentials,
    /// Any other error: alive, and the probe's question failed.
    Other,
}

/// Who says which node is to take writes. Either way a node must claim it itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Authority {
    /// Nobody: it follows from what the nodes claim.
    Observation,
    /// Somebody who elects primaries, as Patroni does, names this node, or none as far as we were told.
    Named(Option<NodeId>),
}
