//! What workers ask of the control thread. Nothing here waits: each request becomes a task.

use std::sync::Arc;

use tokio::sync::{Mutex, oneshot};
use wire::sqlstate::SqlState;

use super::build::served;
use crate::cancel::{self, Leg};
use crate::catalog::Keepers;
use crate::clock::Clock;
use crate::config::{Settings, Source};
use crate::front::Front;
use crate::mail::{ConnectError, ConnectFault, ReadyBackend, ToControl, ToWorker};
use crate::overview::{AdminWorld, Watched};
use crate::pools::SharedPools;
use crate::spawn;
use crate::world::Database;

/// The control thread's world.
pub(super) struct Control {
    pub(super) front: Arc<Front>,
    pub(super) admin: Arc<AdminWorld>,
    pub(super) watched: Vec<Watched>,
    pub(super) keepers: Keepers,
    pub(super) pools: Arc<SharedPools>,
    pub(super) clock: Clock,
    pub(super) source: Source,
    /// The settings in force; locked for the time of a reload, so that there is one at a time.
    pub(super) settings: Mutex<Settings>,
}

impl Control {
    /// A worker has written.
    pub(super) fn on_mail(self: &Arc<Self>, message: ToControl) {
        match message {
            ToControl::Connect { worker, pool, slot, node, database, user } => {
                let front = Arc::clone(&self.front);
                spawn::task("connect", async move {
                    let outcome = connect(&front, (&database, &user), node).await.map(Box::new);
                    if let Some(worker) = front.workers.get(worker) {
                        worker.handle.send(ToWorker::Connected { pool, slot, outcome }).await;
                    }
                });
            }
            ToControl::CancelBackend { backend, address, pid, key, done } => {
                let front = Arc::clone(&self.front);
                spawn::task("cancel", async move {
                    if let Some(worker) = front.workers.get(backend.worker) {
                        let leg = Leg { backend, address, pid, key, done };
                        cancel::leg(&front.legs, &worker.handle, leg).await;
                    }
                });
            }
            ToControl::Noticed { node, what } => {
                let watched = self.watched.iter().find(|w| w.cluster.node(node).is_some());
                if let Some(watched) = watched {
                    watched.monitor.notice(node, what);
                }
            }
        }
    }

    /// A client has entered a database that nobody had entered before.
    pub(super) fn on_new_database(self: &Arc<Self>, database: &Arc<Database>) {
        tracing::info!(
            database = database.name,
            cluster = database.cluster.name,
            "first client of this database"
        );
        self.keepers.keep(database);
        let control = Arc::clone(self);
        spawn::task("show new database", async move {
            let settings = control.settings.lock().await;
            control.show(&settings);
        });
    }

    /// Has the catalogues kept of all databases that are known.
    pub(super) fn keep_catalogues(&self) {
        self.front.databases.load().all().iter().for_each(|database| self.keepers.keep(database));
    }

    /// Shows the settings in force to the console and the HTTP server.
    pub(super) fn show(&self, settings: &Settings) {
        let databases = self.front.databases.load();
        let users = self.front.users.load();
        self.admin.served.store(Arc::new(served(settings, &self.watched, (&databases, &users))));
    }

    /// Reads the settings again, and says what came of it.
    pub(super) fn reload(self: &Arc<Self>, answer: Option<oneshot::Sender<Result<(), String>>>) {
        let control = Arc::clone(self);
        spawn::task("reload", async move {
            let outcome = control.take_over().await;
            match &outcome {
                Ok(()) => tracing::info!("the changed settings are in force"),
                Err(mistakes) => {
                    tracing::error!(%mistakes, "the settings were not changed, because there are mistakes")
                }
            }
            if let Some(answer) = answer {
                let _gone = answer.send(outcome);
            }
        });
    }
}

async fn connect(
    front: &Front,
    (database, user): (&Database, &str),
    node: engine::view::NodeId,
) -> Result<ReadyBackend, ConnectError> {
    let Some(node) = database.cluster.node(node) else {
        return Err(ConnectError {
            fault: ConnectFault::Node,
            sqlstate: SqlState::INTERNAL_ERROR,
            message: format!("cluster {:?} has no such node", database.cluster.name),
        });
    };
    let backend = front.connector.connect(&node, &database.server_name, user).await?;
    front.welcomes.on_backend((&database.cluster.name, &database.server_name, user), &backend.parameters);
    Ok(backend)
}
