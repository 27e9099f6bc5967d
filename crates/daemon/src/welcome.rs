//! What a node reports to a user of a database at login, remembered, so that a client can be greeted before it has a
//! backend.
//!
//! The first login to a database asks a node for it; every later backend brings it up to date. Only successes are
//! remembered for long: a failure is shared by those who waited for the same answer, and then asked anew.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use engine::time::Instant;
use engine::view::{Health, Role, View};
use wire::sqlstate::SqlState;

use crate::clock::Clock;
use crate::connect::{Connector, Seen};
use crate::mail::{ConnectError, ConnectFault};
use crate::world::{Cluster, Node};

/// Most entries; when there would be more, all are forgotten and come back one by one.
const WELCOMES_MAX: usize = 10_000;

/// A failure answers those who asked at the same time, this long.
const FAILURE_SHARED: Duration = Duration::from_millis(500);

/// What was seen is asked for anew after this.
const SEEN_MAX: Duration = Duration::from_secs(600);

/// A cluster, a database on its nodes, and a user.
type Key = (String, String, String);

/// The memory.
pub(crate) struct Welcomes {
    connector: Arc<Connector>,
    clock: Clock,
    /// The outer lock is held for moments only; the inner one while a node is asked, so that a hundred clients that
    /// come at once ask once.
    slots: Mutex<HashMap<Key, Arc<tokio::sync::Mutex<Slot>>>>,
}

#[derive(Default)]
struct Slot {
    seen: Option<(Instant, Arc<Seen>)>,
    failed: Option<(Instant, ConnectError)>,
}

impl Welcomes {
    /// An empty memory.
    pub(crate) fn new(connector: Arc<Connector>, clock: Clock) -> Self {
        Welcomes { connector, clock, slots: Mutex::default() }
    }

    /// Forgets everything, after a reload.
    pub(crate) fn forget(&self) {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// A backend of this database and user has logged in and was told this.
    pub(crate) fn on_backend(
        &self,
        (cluster, database, user): (&str, &str, &str),
        parameters: &[(String, String)],
    ) {
        let slot = self.slot((cluster, database, user));
        // Somebody is asking just now: then that answer is as good.
        if let Ok(mut slot) = slot.try_lock()
            && let Some((at, seen)) = &mut slot.seen
        {
            *at = self.clock.now();
            if *seen.parameters != *parameters {
                *seen = Arc::new(Seen { parameters: parameters.into(), databases: seen.databases.clone() });
            }
        }
    }

    /// What a node of the cluster reports. Asks one if need be: the primary, or else any that answers.
    pub(crate) async fn to(
        &self,
        cluster: &Cluster,
        database: &str,
        user: &str,
    ) -> Result<Arc<Seen>, ConnectError> {
        let slot = self.slot((&cluster.name, database, user));
        let mut slot = slot.lock().await;
        let now = self.clock.now();
        if let Some((_, seen)) = slot.seen.as_ref().filter(|(at, _)| now.since(*at) < SEEN_MAX) {
            return Ok(Arc::clone(seen));
        }
        if let Some((_, error)) = slot.failed.as_ref().filter(|(at, _)| now.since(*at) < FAILURE_SHARED) {
            return Err(error.clone());
        }
        match self.ask(cluster, database, user).await {
            Ok(seen) => {
                let seen = Arc::new(seen);
                *slot = Slot { seen: Some((self.clock.now(), Arc::clone(&seen))), failed: None };
                Ok(seen)
            }
            // What was seen before is better than an error: the cluster may be between two primaries.
            Err(error) => match &slot.seen {
                Some((_, seen)) if error.fault != ConnectFault::Credentials => Ok(Arc::clone(seen)),
                _ => {
                    slot.failed = Some((self.clock.now(), error.clone()));
                    Err(error)
                }
            },
        }
    }

    async fn ask(&self, cluster: &Cluster, database: &str, user: &str) -> Result<Seen, ConnectError> {
        let mut first: Option<ConnectError> = None;
        for node in in_order(cluster, &cluster.view.load()) {
            match self.connector.look(&node, database, user).await {
                Ok(seen) => return Ok(seen),
                // Another node has the same users and databases.
                Err(error) if error.fault == ConnectFault::Credentials => return Err(error),
                Err(error) => drop(first.get_or_insert(error)),
            }
        }
        Err(first.unwrap_or_else(|| ConnectError {
            fault: ConnectFault::NotReady,
            sqlstate: SqlState::CANNOT_CONNECT_NOW,
            message: format!("no node of cluster {:?} can be asked at the moment", cluster.name),
        }))
    }

    fn slot(&self, (cluster, database, user): (&str, &str, &str)) -> Arc<tokio::sync::Mutex<Slot>> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if slots.len() >= WELCOMES_MAX {
            slots.clear();
        }
        Arc::clone(slots.entry((cluster.to_owned(), database.to_owned(), user.to_owned())).or_default())
    }
}

/// The nodes to ask, best first: the primary, replicas that are well, those nothing is known of; those that are gone only
/// when there are no others. Fenced nodes are not asked.
fn in_order(cluster: &Cluster, view: &View) -> Vec<Node> {
    let rank = |node: &Node| {
        let seen = view.node(node.id)?;
        match (seen.role, seen.health) {
            (Role::Fenced, _) => None,
            _ if view.primary == Some(node.id) => Some(0),
            (_, Health::Up) => Some(1),
            (_, Health::Suspect | Health::Unknown) => Some(2),
            (_, Health::Down) => Some(3),
        }
    };
    let known = cluster.nodes.load();
    let mut nodes: Vec<(u8, &Node)> =
        known.iter().filter_map(|node| rank(node).map(|rank| (rank, node))).collect();
    nodes.sort_by_key(|(rank, _)| *rank);
    // A login has a deadline, which a node that is known to be gone must not use up.
    if nodes.iter().any(|(rank, _)| *rank < 3) {
        nodes.retain(|(rank, _)| *rank < 3);
    }
    nodes.into_iter().map(|(_, node)| node.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::view::NodeId;

    #[test]
    fn the_primary_is_asked_first_and_a_fenced_or_lost_node_never() {
        let nodes: Vec<Node> = (0..5_u16)
            .map(|i| Node {
                id: NodeId(i.into()),
                name: i.to_string().into(),
                source: "config",
                host: "h".into(),
                port: 1 + i,
            })
            .collect();
        let mut view = View::unknown(nodes.iter().map(|node| (node.id, Arc::clone(&node.name))));
        for (i, (role, health)) in [
            (Role::Replica, Health::Down),
            (Role::Fenced, Health::Up),
            (Role::Unknown, Health::Unknown),
            (Role::Replica, Health::Up),
            (Role::Primary, Health::Suspect),
        ]
        .into_iter()
        .enumerate()
        {
            (view.nodes[i].role, view.nodes[i].health) = (role, health);
        }
        view.primary = Some(NodeId(4));
        let cluster = Cluster::new("c".into());
        cluster.nodes.store(Arc::new(nodes));
        let order: Vec<u32> = in_order(&cluster, &view).iter().map(|node| node.id.0).collect();
        assert_eq!(order, [4, 3, 2]);
    }
}
