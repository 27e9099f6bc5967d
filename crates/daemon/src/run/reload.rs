//! Changed settings, taken over while clients are being served: all of them or, if there is a mistake, none.
//!
//! Clients that are in keep the settings they came in with; new ones get the new. Pools are common to both and have the new
//! limits. Nodes join and leave the clusters there are. What is fixed at the start (addresses, which clusters there are and how
//! they are logged in to, workers, the log) is named, so that nobody believes it to be in force.

use std::sync::Arc;

use super::control::Control;
use crate::config::{ClusterSettings, Settings};
use crate::databases::Databases;
use crate::discover::{self, Elected, Found};
use crate::spawn;
use crate::users::Users;
use crate::world::Cluster;

impl Control {
    /// Reads the settings and takes them over. The error is what is wrong with them.
    pub(super) async fn take_over(&self) -> Result<(), String> {
        let mut in_force = self.settings.lock().await;
        let (source, users) = (self.source.clone(), self.front.users.load_full());
        // Reads files, may run commands, and derives keys.
        let read = spawn::blocking(move || {
            let settings = source.load().map_err(|mistakes| mistakes.to_string())?;
            let users = Users::new(&settings.auth, Some(&users)).map_err(|error| error.to_string())?;
            Ok::<_, String>((settings, users))
        });
        let (settings, users) =
            read.await.unwrap_or_else(|| Err("reading the settings failed".to_owned()))?;
        let clusters = self.running(&settings.clusters)?;
        for what in needing_restart(&in_force, &settings) {
            tracing::warn!(what, "has changed, and will be in force after a restart");
        }
        self.take_over_nodes(&in_force.clusters, &settings.clusters).await;
        let front = &self.front;
        let before = front.databases.load_full();
        let databases = Databases::new(&settings.databases, &settings.suffixes, (&clusters, Some(&before)));
        front.users.store(Arc::new(users));
        // First of all: those who come in with the new settings find pools that have them.
        self.pools.take_over(&databases.all(), self.clock.now());
        front.databases.store(Arc::new(databases));
        front.admin_users.store(Arc::new(settings.admin.users.clone()));
        front.door.store(Arc::new(settings.door));
        front.connector.reload(settings.connect.clone());
        front.welcomes.forget();
        self.show(&settings);
        *in_force = settings;
        self.keep_catalogues();
        Ok(())
    }

    /// Whoever is named by the settings joins, who is not leaves, and other sources of nodes are asked.
    async fn take_over_nodes(&self, before: &[ClusterSettings], after: &[ClusterSettings]) {
        for settings in after {
            let name = &settings.name;
            let Some(watched) = self.watched.iter().find(|w| w.cluster.name == *name) else { continue };
            watched.monitor.list(settings.nodes.clone()).await;
            let old = before.iter().find(|old| old.name == *name).and_then(|old| old.discover.as_ref());
            if old == settings.discover.as_ref() {
                continue;
            }
            let discovery = settings.discover.as_ref().map(|discover| {
                let asked = (discover, &settings.monitor);
                discover::spawn(name, asked, watched.monitor.clone(), self.clock)
            });
            if discovery.is_none() {
                let found = Found { nodes: Vec::new(), primary: Elected::ByNobody };
                watched.monitor.find(None, found).await;
            }
            watched.discovery.store(discovery.map(Arc::new));
        }
    }

    /// The running clusters, in the order of the new settings.
    fn running(&self, settings: &[ClusterSettings]) -> Result<Vec<Arc<Cluster>>, String> {
        let find = |name: &str| self.watched.iter().find(|watched| watched.cluster.name == name);
        settings
            .iter()
            .map(|settings| match find(&settings.name) {
                Some(watched) => Ok(Arc::clone(&watched.cluster)),
                None => Err(format!("cluster {:?} is new: restart the router to serve it", settings.name)),
            })
            .collect()
    }
}

fn needing_restart(before: &Settings, after: &Settings) -> Vec<&'static str> {
    let changed = [
        ("listen", before.listen != after.listen),
        ("http", before.http != after.http),
        ("cluster", !after.clusters.iter().map(|c| &c.name).eq(before.clusters.iter().map(|c| &c.name))),
        (
            "monitor",
            !after.clusters.iter().map(|c| &c.monitor).eq(before.clusters.iter().map(|c| &c.monitor)),
        ),
        ("log", before.log != after.log),
        ("workers", before.workers != after.workers),
    ];
    changed.into_iter().filter(|(_, changed)| *changed).map(|(what, _)| what).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::databases::tests::settings;

    #[test]
    fn what_needs_a_restart_is_named_and_the_rest_is_not() {
        let before = settings("");
        assert_eq!(needing_restart(&before, &settings("[reads]\nmax_staleness = 1\n")), Vec::<&str>::new());
        let mut after = settings("[log]\nlevel = \"warn\"\n");
        after.listen.clear();
        after.http = None;
        after.clusters[0].nodes.clear();
        after.workers += 1;
        assert_eq!(needing_restart(&before, &after), ["listen", "http", "log", "workers"]);
        after.clusters[0].monitor.user.push('x');
        assert_eq!(needing_restart(&before, &after), ["listen", "http", "monitor", "log", "workers"]);
        after.clusters.clear();
        assert_eq!(
            needing_restart(&before, &after),
            ["listen", "http", "cluster", "monitor", "log", "workers"]
        );
    }
}
