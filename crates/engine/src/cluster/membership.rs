//! Nodes come and go while the cluster is served, and somebody may elect its primary.
//!
//! Joining and leaving change who is asked and who may be named in a decision, and nothing else: a node that joins has
//! to prove everything, and one that leaves makes nobody the primary by that. Where the nodes are written down is the
//! shell's matter.

use std::sync::Arc;

use super::Cluster;
use super::node::Node;
use super::observation::Authority;
use crate::time::Instant;
use crate::view::NodeId;

impl Cluster {
    /// A node joins; it is due for a probe. Its id is higher than that of any node that was ever here, which is how an id
    /// is never used again.
    pub fn join(&mut self, id: NodeId, name: Arc<str>) {
        let known = self.nodes.iter().chain(&self.left).map(|node| node.id);
        assert!(known.max().is_none_or(|newest| newest < id), "ids are given in order, and once");
        self.nodes.push(Node::new(id, name));
        self.changed = true;
    }

    /// A node leaves: no view names it from here on. If it is the accepted primary, nobody is, until it comes back at
    /// another address or has a successor by the rules for a primary that is silent.
    pub fn leave(&mut self, id: NodeId, at: Instant) {
        let Some(place) = self.nodes.iter().position(|node| node.id == id) else { return };
        let mut node = self.nodes.remove(place);
        self.changed = true;
        if self.reign.is_some_and(|reign| reign.node == id) {
            node.leave(at);
            self.left = Some(node);
        }
        self.judge(at);
        self.refresh(at);
    }

    /// Somebody else says who is to take writes, or nobody does any more.
    pub fn set_authority(&mut self, authority: Authority, at: Instant) {
        if authority != self.authority {
            self.authority = authority;
            self.judge(at);
            self.refresh(at);
        }
    }

    /// Whether reads are to be kept away from a node, whatever it is proved to show.
    pub fn spare(&mut self, id: NodeId, spared: bool) {
        if let Some(node) = self.nodes.iter_mut().find(|known| known.id == id) {
            self.changed |= node.belief.spared != spared;
            node.belief.spared = spared;
        }
    }

    /// The system that the accepted primary is of, where that is known.
    pub fn system(&self) -> Option<u64> {
        self.reign.and_then(|reign| reign.system)
    }
}
