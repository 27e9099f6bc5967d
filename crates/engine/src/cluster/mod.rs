//! Who is primary, who is well, and how fresh each replica is proved to be.
//!
//! [`Cluster`] is told what probes answered and when; it says when to probe next and what to believe. It opens no
//! connection and names no address. A node is never promoted here: primaries are made elsewhere, and accepted.

mod membership;
mod node;
pub mod observation;
pub mod settings;
mod timeline;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use wire::lsn::normalise;

pub use observation::{Authority, ProbeFault, Report};
pub use settings::ClusterSettings;

use crate::freshness::lag::Replay;
use crate::freshness::samples::{Pushed, Sample, Samples};
use crate::time::Instant;
use crate::view::{Epoch, NodeId, Role, View};
use node::{Belief, Node};
use timeline::{Reign, Witness};

/// The monitor's picture of one cluster.
#[derive(Clone, Debug)]
pub struct Cluster {
    settings: ClusterSettings,
    nodes: Vec<Node>,
    /// The accepted primary's history. Kept while that primary is down, so that it is known when it comes back and
    /// a stranger is not taken for it.
    reign: Option<Reign>,
    /// The accepted primary, when it is not a node of the cluster any more and nobody has succeeded it.
    left: Option<Node>,
    authority: Authority,
    epoch: Epoch,
    samples: Samples,
    /// The newest acknowledged write that we were told of.
    newest_write: Option<Instant>,
    version: u64,
    changed: bool,
    /// Reused by every judgement.
    witnesses: Vec<Witness>,
}

impl Cluster {
    /// A cluster of which nothing is known; every node is due for a probe.
    pub fn new(settings: ClusterSettings, nodes: Vec<(NodeId, Arc<str>)>) -> Self {
        Cluster {
            samples: Samples::new(settings.samples_max),
            witnesses: Vec::with_capacity(nodes.len()),
            nodes: nodes.into_iter().map(|(id, name)| Node::new(id, name)).collect(),
            settings,
            reign: None,
            left: None,
            authority: Authority::Observation,
            epoch: Epoch(0),
            newest_write: None,
            version: 0,
            changed: true,
        }
    }

    /// A node answered a probe: the clock was read before the question left and after the answer was complete.
    pub fn on_probe(&mut self, node: NodeId, asked: Instant, answered: Instant, report: Report) {
        let Some(node) = self.nodes.iter_mut().find(|known| known.id == node) else { return };
        if !node.on_report(asked, answered, &report) {
            return;
        }
        let id = node.id;
        self.judge(answered);
        self.learn_position(id, asked, answered, &report);
        self.refresh(answered);
    }

    /// A probe of a node has no answer.
    pub fn on_probe_failed(&mut self, node: NodeId, at: Instant, fault: ProbeFault) {
        let Some(node) = self.nodes.iter_mut().find(|known| known.id == node) else { return };
        node.on_fault(at, fault, &self.settings);
        self.judge(at);
        self.refresh(at);
    }

    /// Live traffic saw something that may mean a change of role or health: the node is due for a probe at once.
    pub fn on_noticed(&mut self, node: NodeId, at: Instant) {
        if let Some(node) = self.nodes.iter_mut().find(|known| known.id == node) {
            node.on_noticed(at);
        }
    }

    /// A write was acknowledged at `at`: probing hurries until it is proved visible on every replica.
    pub fn on_write(&mut self, at: Instant) {
        self.newest_write = self.newest_write.max(Some(at));
        self.note_laggards(at);
    }

    /// When this node should be probed next; an instant in the past means now. A node that is not of this cluster
    /// never.
    pub fn next_probe(&self, node: NodeId) -> Instant {
        let node = self.nodes.iter().find(|known| known.id == node);
        node.map_or(Instant::from_nanos(u64::MAX), |node| node.next_probe(self.interval(node)))
    }

    /// An operator wants no new work on this node.
    pub fn drain(&mut self, node: NodeId) {
        self.set_drained(node, true);
    }

    /// Takes [`Cluster::drain`] back.
    pub fn undrain(&mut self, node: NodeId) {
        self.set_drained(node, false);
    }

    /// The new view, when anything that routing or status reads has changed since the last call.
    pub fn view(&mut self) -> Option<View> {
        if !std::mem::take(&mut self.changed) {
            return None;
        }
        self.version += 1;
        let nodes: Vec<_> = self.nodes.iter().map(Node::view).collect();
        let primary = self.nodes.iter().find(|node| node.is_serving_primary()).map(|node| node.id);
        Some(View { version: self.version, epoch: self.epoch, primary, nodes })
    }

    /// Decides anew who is primary. A change of history makes every older proof worthless.
    fn judge(&mut self, now: Instant) {
        let takeover_after = self.settings.takeover_after;
        self.witnesses.clear();
        // The one that left comes last: every other witness stands at its node's place.
        let nodes = self.nodes.iter().chain(&self.left);
        self.witnesses.extend(nodes.map(|node| node.witness(now, takeover_after)));
        let reign = timeline::succession(self.reign, &self.witnesses, self.authority, self.left.is_some());
        if reign != self.reign {
            self.reign = reign;
            self.left = self.left.take().filter(|left| reign.is_some_and(|reign| reign.node == left.id));
            self.begin_epoch();
        }
    }

    fn begin_epoch(&mut self) {
        self.epoch = Epoch(self.epoch.0.saturating_add(1));
        self.samples.clear();
        for node in &mut self.nodes {
            node.replay = Replay::Unproved;
        }
        self.changed = true;
    }

    /// Takes a position for what it is: a sample of the primary, or a replica's progress.
    fn learn_position(&mut self, id: NodeId, asked: Instant, answered: Instant, report: &Report) {
        let Some(reign) = self.reign else { return };
        let Some(node) = self.nodes.iter_mut().find(|node| node.id == id) else { return };
        let (Some(claim), Some(position)) = (node.claim, node.position) else { return };
        if timeline::is_comparable(&claim, &reign) {
            node.replay.on_position(position, answered, &self.samples);
            return;
        }
        let reigns = reign.node == id && !claim.in_recovery && claim.incarnation == reign.incarnation;
        if !reigns || claim.timeline != reign.timeline {
            return;
        }
        let lsn = normalise(position, report.wal_block_size, report.wal_segment_size);
        // What was true at least that long before the question proves as much as a question asked then.
        let asked = asked - report.position_age;
        let sample = Sample { asked, lsn };
        if self.samples.push(sample) == Pushed::WentBack {
            // The same run went back: it is not the history that was sampled, whatever it calls itself.
            self.begin_epoch();
            self.samples.push(sample);
        }
        for node in &mut self.nodes {
            node.replay.on_sample(asked, position, &self.samples);
        }
    }

    /// Brings every node's belief into line, and remembers whether anything is different.
    fn refresh(&mut self, now: Instant) {
        let newest = self.samples.newest();
        for (node, witness) in self.nodes.iter_mut().zip(&self.witnesses) {
            let proved = matches!(node.replay, Replay::Proved(_));
            let role = match node.replay {
                Replay::Contradicted => Role::Unknown,
                Replay::Unproved | Replay::Proved(_) => {
                    timeline::role(witness, self.reign.as_ref(), &self.witnesses, proved)
                }
            };
            let replica = role == Role::Replica;
            let belief = Belief {
                role,
                health: node.health(),
                position: node.position,
                lag_bytes: node.replay.lag_bytes(newest).filter(|_| replica),
                fresh_as_of: node.replay.fresh_as_of().filter(|_| replica),
                claim: node.claim,
                drained: node.belief.drained,
                spared: node.belief.spared,
            };
            if belief.fresh_as_of > node.belief.fresh_as_of {
                node.behind_since = None;
            }
            self.changed |= belief != node.belief;
            node.belief = belief;
        }
        self.note_laggards(now);
    }

    /// Starts the clock of each replica on which the newest write is awaited and that is not moving.
    fn note_laggards(&mut self, now: Instant) {
        for node in &mut self.nodes {
            let awaited = node.belief.role == Role::Replica && node.belief.fresh_as_of < self.newest_write;
            node.behind_since = if awaited { node.behind_since.or(Some(now)) } else { None };
        }
    }

    /// How often to ask this node, by what is awaited from it.
    fn interval(&self, node: &Node) -> Duration {
        let settings = &self.settings;
        let serving = self.nodes.iter().any(Node::is_serving_primary);
        if self.reign.is_some() && !serving && node.belief.role == Role::Replica {
            // The next primary is among these, and writes are held until it is seen.
            return settings.probe_stalled_interval;
        }
        let hurried = match node.belief.role {
            // Only a sample that is asked after the write can prove it anywhere.
            Role::Primary => self.samples.newest().map(|sample| sample.asked) < self.newest_write,
            Role::Replica => node.behind_since.is_some(),
            Role::Unknown | Role::Fenced => false,
        };
        if !hurried {
            settings.probe_idle_interval
        } else if node.is_stalled(settings.hurry_max) {
            settings.probe_stalled_interval
        } else {
            settings.probe_hurried_interval
        }
    }

    fn set_drained(&mut self, node: NodeId, drained: bool) {
        if let Some(node) = self.nodes.iter_mut().find(|known| known.id == node) {
            self.changed |= node.belief.drained != drained;
            node.belief.drained = drained;
        }
    }

    /// Panics unless what must always be true between calls is. For tests, simulation and fuzzing.
    pub fn check_invariants(&self) {
        self.samples.check_invariants();
        let primaries = self.nodes.iter().filter(|node| node.belief.role == Role::Primary).count();
        assert!(primaries <= 1, "two primaries");
        assert!(self.nodes.is_sorted_by(|one, next| one.id < next.id), "ids are given in order, and once");
        if let Some(left) = &self.left {
            assert!(self.nodes.iter().all(|node| node.id != left.id), "a node that left is still there");
            assert_eq!(self.reign.map(|reign| reign.node), Some(left.id), "remembered for nothing");
        }
        for node in &self.nodes {
            let proved = node.belief.fresh_as_of;
            assert!(proved.is_none() || node.belief.role == Role::Replica, "fresh without being a replica");
            assert!(proved <= self.samples.newest().map(|sample| sample.asked), "fresher than any sample");
        }
    }
}
