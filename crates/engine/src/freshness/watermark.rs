//! The watermark of a session: what its next read must at least show.
//!
//! Two facts are remembered for ever: when the last write was acknowledged to it, and which run of which
//! replica last answered it, and when. Both are instants on the proxy's own clock, because "everything
//! acknowledged before t is visible on R" is what the monitor proves.

use crate::time::Instant;
use crate::view::{Incarnation, NodeId};

/// What a session's next read must at least show.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Watermark {
    /// When the last answer of the primary to something not proved read-only reached us. The write itself
    /// happened before this instant.
    pub wrote_at: Option<Instant>,
    /// The replica that last answered a read, its incarnation, and when the answer had arrived.
    pub read_from: Option<ReadFrom>,
}

/// The last replica read of a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReadFrom {
    /// The node that answered.
    pub node: NodeId,
    /// The run of the server that answered.
    pub incarnation: Incarnation,
    /// When the answer was complete: whatever it showed had been committed before.
    pub at: Instant,
}

impl Watermark {
    /// Raises the mark after a write (or what may have been one) was acknowledged at `at`.
    pub fn on_write(&mut self, at: Instant) {
        self.wrote_at = Some(self.wrote_at.map_or(at, |old| old.max(at)));
    }

    /// Notes that a replica's answer was complete at `read.at`.
    pub fn on_replica_read(&mut self, read: ReadFrom) {
        self.read_from = Some(read);
    }
}
