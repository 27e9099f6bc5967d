//! Which of the replicas that qualify: how many requests each node is running for us, and whose turn it is.
//!
//! Knows nothing of freshness. The one who lends backends keeps the counts true with [`Balance::lent`] and
//! [`Balance::given_back`]; choosing allocates nothing.

use crate::view::NodeId;

/// Outstanding requests per node, and the turn that settles ties. One per worker.
#[derive(Clone, Debug, Default)]
pub struct Balance {
    /// By `NodeId`, which is a small number unique in the process.
    outstanding: Vec<u32>,
    /// Place in the view at which the next tie begins to be settled.
    turn: usize,
}

impl Balance {
    /// Nothing outstanding anywhere.
    pub const fn new() -> Self {
        Balance { outstanding: Vec::new(), turn: 0 }
    }

    /// A backend of this node was lent to a session.
    pub fn lent(&mut self, node: NodeId) {
        let place = node.index();
        if place >= self.outstanding.len() {
            self.outstanding.resize(place + 1, 0);
        }
        self.outstanding[place] += 1;
    }

    /// A backend of this node was given back, or was lost while lent.
    pub fn given_back(&mut self, node: NodeId) {
        let count = self.outstanding.get_mut(node.index());
        debug_assert!(count.as_ref().is_some_and(|count| **count > 0), "given back more often than lent");
        if let Some(count) = count {
            *count = count.saturating_sub(1);
        }
    }

    /// Backends of this node that are lent out.
    pub fn load(&self, node: NodeId) -> u32 {
        self.outstanding.get(node.index()).copied().unwrap_or(0)
    }

    /// How far `place` is from having its turn, among `places`.
    pub(super) fn distance(&self, place: usize, places: usize) -> usize {
        let turn = if self.turn < places { self.turn } else { 0 };
        if place >= turn { place - turn } else { place + places - turn }
    }

    /// `place` has had its turn.
    pub(super) fn served(&mut self, place: usize) {
        self.turn = place + 1;
    }
}
