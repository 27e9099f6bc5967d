//! Which nodes a cluster has: those of its settings, and those that its source has found.
//!
//! A node is what its address and its name are: one that is called otherwise is another one. Who may be trusted, and how
//! long a node may be missing from the answers before it is given up, is `discover`'s business; what it means for
//! statements that a node has left is the engine's.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use engine::cluster::Authority;
use engine::time::Instant;
use engine::view::NodeId;
use tokio::sync::mpsc;

use super::node::{Finding, Watch};
use super::probe::Login;
use super::{Monitor, NodeStatus, Probed, lock};
use crate::config::{MonitorSettings, NodeSettings, address};
use crate::discover::{Elected, Found};
use crate::spawn;
use crate::world::Node;

/// The name of the configuration as a source.
pub(crate) const SETTINGS: &str = "config";

/// Who is named, and what a node's task needs.
pub(super) struct Members {
    /// By the settings.
    pub(super) listed: Vec<NodeSettings>,
    /// By the source, whose name stands beside.
    pub(super) found: Found,
    pub(super) source: Option<&'static str>,
    login: MonitorSettings,
    findings: mpsc::Sender<Finding>,
}

/// A node that the cluster is to have.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Wanted {
    name: String,
    host: String,
    port: u16,
    source: &'static str,
    spared: bool,
}

impl Wanted {
    fn is(&self, node: &Node) -> bool {
        (&*self.name, &*self.host, self.port) == (&*node.name, &*node.host, node.port)
    }
}

impl Members {
    /// Nobody, yet.
    pub(super) fn new(login: MonitorSettings, findings: mpsc::Sender<Finding>) -> Members {
        Members { listed: Vec::new(), found: Found::default(), source: None, login, findings }
    }
}

/// The nodes of the settings first, then those found that are not among them. No two have one address or one name: who
/// would have a name that is taken is called by its address.
fn wanted(listed: &[NodeSettings], found: &Found, source: &'static str) -> Vec<Wanted> {
    let mut all: Vec<Wanted> = Vec::new();
    let spared = |host: &str, port: u16| {
        found.nodes.iter().any(|node| node.spared && (&*node.host, node.port) == (host, port))
    };
    let listed = listed.iter().map(|node| (Some(node.name.clone()), &node.host, node.port, SETTINGS));
    let found_nodes = found.nodes.iter().map(|node| (node.name.clone(), &node.host, node.port, source));
    let mut names = BTreeSet::new();
    for (name, host, port, source) in listed.chain(found_nodes) {
        if all.iter().any(|node| (&node.host, node.port) == (host, port)) {
            continue;
        }
        let free = name.filter(|name| !names.contains(name));
        let name = free.unwrap_or_else(|| address(host, port));
        names.insert(name.clone());
        all.push(Wanted { name, host: host.clone(), port, source, spared: spared(host, port) });
    }
    all
}

/// The nodes that a cluster has when its source says this.
pub(crate) fn joined(listed: &[NodeSettings], found: &Found) -> Vec<NodeSettings> {
    let settings = |Wanted { name, host, port, .. }| NodeSettings { name, host, port };
    wanted(listed, found, "").into_iter().map(settings).collect()
}

impl Monitor {
    /// Brings the cluster's nodes into line with who is named. Whoever leaves is out of the view before it is out of the
    /// list of nodes, so that a view names nodes of the list.
    pub(super) async fn change_members(&mut self) {
        let now = self.around.clock.now();
        let left = self.admit(now);
        self.dismiss(&left, now);
        self.publish().await;
        if !left.is_empty() {
            self.cluster.nodes.store(Arc::new(self.remaining(&left)));
            self.around.pools.sweep(now);
        }
    }

    /// Lets everybody in who is named and not here. The nodes that are here and not named.
    pub(super) fn admit(&mut self, now: Instant) -> Vec<NodeId> {
        let source = self.members.source.unwrap_or_default();
        let wanted = wanted(&self.members.listed, &self.members.found, source);
        let mut nodes = Vec::clone(&self.cluster.nodes.load());
        let left: Vec<NodeId> = nodes
            .iter()
            .filter(|node| !wanted.iter().any(|wanted| wanted.is(node)))
            .map(|node| node.id)
            .collect();
        for wanted in &wanted {
            match nodes.iter_mut().find(|node| wanted.is(node)) {
                Some(node) => node.source = wanted.source,
                None => nodes.push(self.watch(wanted)),
            }
        }
        for (node, wanted) in nodes.iter().filter_map(|n| Some((n, wanted.iter().find(|w| w.is(n))?))) {
            self.machine.spare(node.id, wanted.spared);
        }
        let authority = match &self.members.found.primary {
            // What was said before holds until its source has found something.
            Elected::NotHeard => None,
            Elected::ByNobody => Some(Authority::Observation),
            Elected::Named(named) => {
                let is = |node: &&Node| {
                    named.as_ref().is_some_and(|(host, port)| (&node.host, node.port) == (host, *port))
                };
                Some(Authority::Named(nodes.iter().find(is).map(|node| node.id)))
            }
        };
        self.cluster.nodes.store(Arc::new(nodes));
        if let Some(authority) = authority {
            self.machine.set_authority(authority, now);
        }
        left
    }

    /// A node of this id is watched from here on.
    fn watch(&mut self, wanted: &Wanted) -> Node {
        let node = Node {
            id: NodeId(self.around.ids.fetch_add(1, Ordering::Relaxed)),
            name: wanted.name.as_str().into(),
            source: wanted.source,
            host: wanted.host.clone(),
            port: wanted.port,
        };
        tracing::info!(
            cluster = self.cluster.name,
            node = &*node.name,
            address = address(&node.host, node.port),
            source = node.source,
            "a node has joined the cluster"
        );
        let MonitorSettings { user, password, database } = &self.members.login;
        let login = Login::new(&node, user, password.as_ref().map(|secret| secret.expose()), database);
        // One question at a time.
        let (asks, asks_in) = mpsc::channel(1);
        let (clock, findings) = (self.around.clock, self.members.findings.clone());
        spawn::task("node probe", Watch { node: node.id, login, clock, findings }.run(asks_in));
        self.probed.push(Probed { node: node.id, asks, in_flight: false });
        lock(&self.status).push(NodeStatus::new(node.id));
        self.machine.join(node.id, Arc::clone(&node.name));
        node
    }

    /// These nodes are not watched any more; their connections end.
    fn dismiss(&mut self, left: &[NodeId], now: Instant) {
        for &id in left {
            if let Some(node) = self.cluster.node(id) {
                tracing::info!(
                    cluster = self.cluster.name,
                    node = &*node.name,
                    source = node.source,
                    "a node has left the cluster"
                );
            }
            self.probed.retain(|probed| probed.node != id);
            lock(&self.status).retain(|status| status.node != id);
            self.machine.leave(id, now);
        }
    }

    fn remaining(&self, left: &[NodeId]) -> Vec<Node> {
        self.cluster.nodes.load().iter().filter(|node| !left.contains(&node.id)).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discover::FoundNode;

    fn listed(nodes: &[(&str, &str, u16)]) -> Vec<NodeSettings> {
        let node = |&(name, host, port): &(&str, &str, u16)| NodeSettings {
            name: name.to_owned(),
            host: host.to_owned(),
            port,
        };
        nodes.iter().map(node).collect()
    }

    fn found(nodes: &[(Option<&str>, &str, u16, bool)]) -> Found {
        let node = |&(name, host, port, spared): &(Option<&str>, &str, u16, bool)| FoundNode {
            name: name.map(str::to_owned),
            host: host.to_owned(),
            port,
            spared,
        };
        Found { nodes: nodes.iter().map(node).collect(), primary: Elected::ByNobody }
    }

    #[test]
    fn nodes_of_the_settings_and_of_the_source_are_one_set_in_which_no_address_or_name_comes_twice() {
        let listed = listed(&[("one", "a", 1), ("b:2", "b", 2)]);
        let found = found(&[
            (Some("other"), "a", 1, true),
            (Some("one"), "c", 3, false),
            (None, "d", 4, false),
            (Some("five"), "e", 5, true),
        ]);
        let all = wanted(&listed, &found, "file");
        let seen: Vec<_> = all.iter().map(|n| (&*n.name, n.port, n.source, n.spared)).collect();
        assert_eq!(
            seen,
            [
                ("one", 1, "config", true),
                ("b:2", 2, "config", false),
                ("c:3", 3, "file", false),
                ("d:4", 4, "file", false),
                ("five", 5, "file", true),
            ]
        );
    }
}
