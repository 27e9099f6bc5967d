//! The cluster as believed now: one immutable value that routing reads.
//!
//! `cluster` makes it, the shell publishes it, `route` reads it. It holds no history and no address: a node
//! is a [`NodeId`] here, and only the shell knows where it lives.

use std::sync::Arc;

use wire::lsn::{Lsn, Timeline};

use crate::time::Instant;

/// A node: given when it joins its cluster, unique over all clusters of a process, and never given again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct NodeId(pub u32);

impl NodeId {
    /// Its number, to index by.
    pub fn index(self) -> usize {
        usize::try_from(self.0).expect("an address space of 32 bits or more")
    }
}

/// One run of one PostgreSQL server: changes whenever the postmaster starts anew or another server answers
/// at the address. A position learned from one incarnation says nothing about the next: a crashed replica
/// can come back showing less than before.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Incarnation(pub u64);

/// Counts the histories the primary has had in front of our eyes: changes with the system identifier, the
/// timeline or the primary's restart. Watermarks of an older epoch are older than every sample of the newer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Epoch(pub u32);

/// What a node was last proved to be.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Role {
    /// Never observed, or observed in contradiction: gets nothing.
    Unknown,
    /// Takes writes.
    Primary,
    /// Replays WAL, serves reads.
    Replica,
    /// Claims to take writes, but another node is the accepted primary: gets nothing.
    Fenced,
}

/// Whether a node answers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Health {
    /// Not probed yet.
    Unknown,
    /// The last probe was answered in time.
    Up,
    /// A probe has failed or is late, not often enough to give up.
    Suspect,
    /// Gone: refused, reset, or silent past the limit.
    Down,
}

/// One node as believed now.
#[derive(Clone, Debug)]
pub struct NodeView {
    /// Which node.
    pub id: NodeId,
    /// Its name as written in the configuration (address when it has no name).
    pub name: Arc<str>,
    /// Proved role.
    pub role: Role,
    /// Whether it answers.
    pub health: Health,
    /// Which run of the server the rest was learned from.
    pub incarnation: Option<Incarnation>,
    /// Timeline it is on, where it could be learned.
    pub timeline: Option<Timeline>,
    /// Replayed (replica) or inserted (primary) WAL position.
    pub position: Option<Lsn>,
    /// Bytes of WAL behind the newest sample of the primary; `None` is unknown, not zero.
    pub lag_bytes: Option<u64>,
    /// Everything acknowledged to anyone before this instant is visible here. Proved against samples of the
    /// primary of the current epoch; `None` when nothing is proved. For the primary itself it is unused.
    pub fresh_as_of: Option<Instant>,
    /// An operator asked for no new work here.
    pub drained: bool,
    /// Whoever names the nodes asked that no reads are sent here.
    pub spared: bool,
}

impl NodeView {
    /// May this node be given reads at all (freshness is judged apart)?
    pub fn serves_reads(&self) -> bool {
        !self.drained
            && !self.spared
            && matches!(self.health, Health::Up | Health::Suspect)
            && matches!(self.role, Role::Replica)
    }
}

/// The cluster as believed at one moment.
#[derive(Clone, Debug)]
pub struct View {
    /// Grows with every published view.
    pub version: u64,
    /// The primary's history in force.
    pub epoch: Epoch,
    /// The accepted primary; `None` while none is known or it is down.
    pub primary: Option<NodeId>,
    /// All nodes of the cluster, in the order in which they joined.
    pub nodes: Vec<NodeView>,
}

impl View {
    /// A view in which nothing is known about anybody.
    pub fn unknown(nodes: impl IntoIterator<Item = (NodeId, Arc<str>)>) -> Self {
        let nodes = nodes.into_iter().map(|(id, name)| NodeView {
            id,
            name,
            role: Role::Unknown,
            health: Health::Unknown,
            incarnation: None,
            timeline: None,
            position: None,
            lag_bytes: None,
            fresh_as_of: None,
            drained: false,
            spared: false,
        });
        View { version: 0, epoch: Epoch(0), primary: None, nodes: nodes.collect() }
    }

    /// The node with this id, if it is part of the cluster.
    pub fn node(&self, id: NodeId) -> Option<&NodeView> {
        self.nodes.iter().find(|n| n.id == id)
    }
}
