//! Keeps what is known of a database's functions and relations in step with the database.
//!
//! A task per database asks now and then whether its catalogue has changed, reads it again when it has, and puts the result where
//! the workers look. What the rows mean is `sql`'s business. A catalogue that is behind is safe: a replica refuses what
//! writes, and the statement runs again on the primary.

mod read;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use engine::cluster::ProbeFault;
use engine::view::{NodeId, View};
use sql::Catalogue;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_postgres::{Client, Statement};

use crate::config::MonitorSettings;
use crate::monitor::probe::{Failure, Login};
use crate::spawn;
use crate::world::{Cluster, Database};

pub use read::ReadError;

/// How often a database is asked whether it has changed, as long as there are no more than [`CONNECTIONS_MAX`]; in
/// proportion less often with more. It costs the node 0.2 ms.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often the monitor's view is looked at until it names a node to read from.
const FIRST_LOOK_EVERY: Duration = Duration::from_millis(50);
/// How often it is tried again after a failure; doubles up to [`RETRY_MAX`].
const RETRY_MIN: Duration = Duration::from_secs(1);
/// Longest pause after failures.
const RETRY_MAX: Duration = Duration::from_secs(60);
/// Longest time to read a whole catalogue.
const LOAD_MAX: Duration = Duration::from_secs(30);
/// Most connections of all databases together.
const CONNECTIONS_MAX: usize = 8;
/// Of these, kept free for databases that have none.
const CONNECTIONS_SPARE: usize = 2;

/// Reads a database's catalogue once, for who wants to ask the classifier without a router. Uses the connection up: its
/// settings are changed.
///
/// # Errors
/// [`ReadError`].
pub async fn load(mut client: Client) -> Result<Catalogue, ReadError> {
    read::prepare(&client).await?;
    let (_, catalogue) = read::catalogue(&mut client, 1).await?;
    Ok(catalogue)
}

/// Starts keepers that share the connections.
#[derive(Clone)]
pub(crate) struct Keepers {
    /// The databases that have a keeper.
    kept: Arc<Mutex<Vec<Weak<Database>>>>,
    places: Arc<Semaphore>,
    /// Numbers the readings of all databases, so that verdicts remembered under one are never taken for another's. 0 is
    /// the built-in catalogue.
    readings: Arc<AtomicU64>,
    logins: Arc<[(Arc<Cluster>, MonitorSettings)]>,
}

impl Keepers {
    /// None yet. They log in to each cluster as its monitor.
    pub(crate) fn new(logins: Vec<(Arc<Cluster>, MonitorSettings)>) -> Keepers {
        Keepers {
            kept: Arc::default(),
            places: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
            readings: Arc::new(AtomicU64::new(1)),
            logins: logins.into(),
        }
    }

    /// Keeps this database's catalogue until the database is forgotten: its keeper holds no reference of its own. A database
    /// that has a keeper gets no second one.
    pub(crate) fn keep(&self, database: &Arc<Database>) {
        let login = self.logins.iter().find(|(cluster, _)| Arc::ptr_eq(cluster, &database.cluster));
        let Some((_, monitor)) = login else { return };
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|known| known.strong_count() > 0);
        let weak = Arc::downgrade(database);
        if kept.iter().any(|known| known.ptr_eq(&weak)) {
            return;
        }
        kept.push(Weak::clone(&weak));
        drop(kept);
        let keeper = Keeper {
            database: weak,
            monitor: monitor.clone(),
            shared: self.clone(),
            connection: None,
            epoch: None,
        };
        spawn::task("catalogue", keeper.run());
    }

    fn look_every(&self) -> Duration {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).len();
        LOOK_EVERY * u32::try_from(kept.div_ceil(CONNECTIONS_MAX)).unwrap_or(u32::MAX)
    }
}

/// A database's keeper.
struct Keeper {
    database: Weak<Database>,
    monitor: MonitorSettings,
    shared: Keepers,
    connection: Option<Connection>,
    /// The database's own number of what was last read.
    epoch: Option<i64>,
}

struct Connection {
    client: Client,
    epoch: Statement,
    node: NodeId,
    /// Given back with the connection.
    _place: OwnedSemaphorePermit,
}

impl Keeper {
    async fn run(mut self) {
        let mut failed: Option<String> = None;
        let mut pause = RETRY_MIN;
        loop {
            let Some(database) = self.database.upgrade() else { return };
            match self.look(&database).await {
                Ok(()) => {
                    failed = None;
                    pause = if self.epoch.is_some() { self.shared.look_every() } else { FIRST_LOOK_EVERY };
                }
                Err(failure) => {
                    self.connection = None;
                    if failed.as_ref() != Some(&failure.message) {
                        let (database, error) = (database.name.as_str(), failure.message.as_str());
                        tracing::warn!(
                            database,
                            error,
                            "the catalogue can't be read: what was last read stays"
                        );
                    }
                    failed = Some(failure.message);
                    pause = (pause * 2).clamp(RETRY_MIN, RETRY_MAX);
                }
            }
            if self.shared.places.available_permits() < CONNECTIONS_SPARE {
                self.connection = None;
            }
            drop(database);
            sleep(pause).await;
        }
    }

    /// Reads the catalogue if it isn't the one that was read last.
    async fn look(&mut self, database: &Arc<Database>) -> Result<(), Failure> {
        let Some(node) = best_node(&database.cluster.view.load()) else { return Ok(()) };
        if self.connection.as_ref().is_none_or(|open| open.node != node || open.client.is_closed()) {
            self.connection = None;
            self.connection = Some(self.connect(&database.cluster, &database.server_name, node).await?);
        }
        let Some(open) = &mut self.connection else { return Ok(()) };
        let known = self.epoch;
        let read = timeout(LOAD_MAX, read_if_new(open, known, &self.shared.readings))
            .await
            .map_err(|_| late())??;
        if let Some((epoch, catalogue)) = read {
            let reading = catalogue.epoch();
            tracing::debug!(database = database.name, reading, "read the catalogue");
            database.catalogue.store(Arc::new(catalogue));
            self.epoch = Some(epoch);
        }
        Ok(())
    }

    async fn connect(&self, cluster: &Cluster, database: &str, node: NodeId) -> Result<Connection, Failure> {
        // Never closed: keepers hold the semaphore.
        let place =
            Arc::clone(&self.shared.places).acquire_owned().await.expect("the semaphore is never closed");
        let Some(node) = cluster.node(node) else {
            let message = "the node has just left the cluster".to_owned();
            return Err(Failure { fault: ProbeFault::Other, message });
        };
        let password = self.monitor.password.as_ref().map(|secret| secret.expose());
        let (client, _ended) = Login::new(&node, &self.monitor.user, password, database).connect().await?;
        let epoch = read::prepare(&client).await?;
        Ok(Connection { client, epoch, node: node.id, _place: place })
    }
}

async fn read_if_new(
    open: &mut Connection,
    known: Option<i64>,
    readings: &AtomicU64,
) -> Result<Option<(i64, Catalogue)>, Failure> {
    if known.is_some() && known == Some(read::epoch(&open.client, &open.epoch).await?) {
        return Ok(None);
    }
    let reading = readings.fetch_add(1, Ordering::Relaxed);
    match read::catalogue(&mut open.client, reading).await {
        Ok(read) => Ok(Some(read)),
        Err(ReadError::Node(error)) => Err(error.into()),
        Err(ReadError::Panicked) => {
            let message = "reading the catalogue has failed inside; this is a bug".to_owned();
            Err(Failure { fault: ProbeFault::Other, message })
        }
        Err(ReadError::TooMany) => {
            let message = format!("there are more than {} functions or relations", read::ROWS_MAX);
            Err(Failure { fault: ProbeFault::Other, message })
        }
    }
}

/// The primary, else any replica that answers.
fn best_node(view: &View) -> Option<NodeId> {
    view.primary.or_else(|| {
        let replica = view.nodes.iter().find(|node| node.serves_reads());
        replica.map(|node| node.id)
    })
}

fn late() -> Failure {
    Failure {
        fault: ProbeFault::TimedOut,
        message: format!("the catalogue was not read within {} s", LOAD_MAX.as_secs()),
    }
}
