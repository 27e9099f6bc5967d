//! Where a request goes. [`decide`] is the only place that chooses a node.

pub mod reason;
pub mod request;

pub use reason::Reason;
pub use request::{Request, RouteMode, TransactionKind};

use crate::view::NodeId;

/// Where, and why. Never edited after `decide` returns.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Decision {
    /// The node to use.
    pub target: Target,
    /// The rule that chose it.
    pub reason: Reason,
}

/// What a decision may name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Target {
    /// The accepted primary, by its id in the view that was decided on.
    Primary(NodeId),
    /// This replica.
    Replica(NodeId),
    /// No node may take it at this moment: wait for the view to change, within the session's wait limit.
    Hold,
}
