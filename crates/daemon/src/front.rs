//! The house that clients enter: what login, listener and control loop share. Replaced piece by piece on reload.
//!
//! It joins the parts and decides nothing by itself: who may log in is `users`', which database is meant is
//! `databases`', what a node says is `welcome`'s.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use engine::route::RouteMode;
use tokio::sync::mpsc;
use wire::sqlstate::SqlState;

use crate::cancel::{self, Registered};
use crate::config::DoorSettings;
use crate::connect::Connector;
use crate::databases::{Databases, Meaning};
use crate::login::{Entered, House};
use crate::mail::{ConnectError, ConnectFault, WorkerHandle};
use crate::users::Users;
use crate::welcome::Welcomes;
use crate::world::{Cluster, Database};

/// Most news of databases waiting to be looked at.
pub(crate) const NEW_DATABASES_MAX: usize = 64;

/// What login, listener and control loop share.
pub(crate) struct Front {
    pub(crate) users: Arc<ArcSwap<Users>>,
    pub(crate) databases: ArcSwap<Databases>,
    pub(crate) admin_users: ArcSwap<Vec<Arc<str>>>,
    pub(crate) door: ArcSwap<DoorSettings>,
    pub(crate) connector: Arc<Connector>,
    pub(crate) welcomes: Welcomes,
    pub(crate) cancel_keys: Arc<cancel::Keys>,
    pub(crate) legs: cancel::Legs,
    pub(crate) workers: Vec<WorkerPlace>,
    pub(crate) counts: Counts,
    /// Tells `run` that a database was entered for the first time, so that its catalogue is loaded.
    pub(crate) new_databases: mpsc::Sender<Arc<Database>>,
}

/// A worker, and how many clients it has.
pub(crate) struct WorkerPlace {
    pub(crate) handle: WorkerHandle,
    pub(crate) clients: Arc<AtomicUsize>,
}

/// Numbers of the front door.
#[derive(Default)]
pub(crate) struct Counts {
    /// Clients that are in, or logging in.
    clients: Arc<AtomicUsize>,
    next_client: AtomicU64,
}

/// A place among the clients.
pub(crate) struct Place(Arc<AtomicUsize>);

impl Place {
    /// Takes a place of `counted` if there are fewer than `max`.
    fn take(counted: &Arc<AtomicUsize>, max: usize) -> Option<Place> {
        let taken = counted.fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| (n < max).then_some(n + 1));
        taken.ok().map(|_| Place(Arc::clone(counted)))
    }

    /// Counts one more, without a limit.
    pub(crate) fn count(counted: &Arc<AtomicUsize>) -> Place {
        counted.fetch_add(1, Ordering::AcqRel);
        Place(Arc::clone(counted))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl House for Front {
    type Place = Place;

    fn users(&self) -> Arc<Users> {
        self.users.load_full()
    }

    fn is_admin(&self, user: &str) -> bool {
        self.admin_users.load().iter().any(|admin| &**admin == user)
    }

    fn place(&self) -> Option<Place> {
        Place::take(&self.counts.clients, self.door.load().clients_max)
    }

    fn cancel_key(&self, key_len: usize) -> Result<(u64, Registered), getrandom::Error> {
        let number = self.counts.next_client.fetch_add(1, Ordering::Relaxed) + 1;
        Ok((number, self.cancel_keys.register(number, key_len)?))
    }

    async fn enter(&self, name: &str, user: &str) -> Result<Entered, ConnectError> {
        let databases = self.databases.load_full();
        match databases.meaning(name) {
            Meaning::Entry(database, mode) => {
                let seen = self.welcomes.to(&database.cluster, &database.server_name, user).await?;
                Ok(Entered { database, mode, parameters: Arc::clone(&seen.parameters) })
            }
            Meaning::Any { cluster, suffixed: None, whole } => {
                self.enter_any(&databases, &cluster, (whole, RouteMode::Auto, user)).await
            }
            Meaning::Any { cluster, suffixed: Some((base, mode)), whole } => {
                match self.welcomes.to(&cluster, base, user).await {
                    // A real database of the whole name wins over the suffix.
                    Ok(seen) if seen.databases.iter().any(|real| real == whole) => {}
                    Err(error) if error.sqlstate == SqlState::INVALID_CATALOG_NAME => {}
                    Ok(_) => return self.enter_any(&databases, &cluster, (base, mode, user)).await,
                    Err(error) => return Err(error),
                }
                self.enter_any(&databases, &cluster, (whole, RouteMode::Auto, user)).await
            }
            Meaning::Unknown => {
                Err(refused(SqlState::INVALID_CATALOG_NAME, format!("database \"{name}\" does not exist")))
            }
        }
    }
}

impl Front {
    async fn enter_any(
        &self,
        databases: &Databases,
        cluster: &Cluster,
        (name, mode, user): (&str, RouteMode, &str),
    ) -> Result<Entered, ConnectError> {
        let seen = self.welcomes.to(cluster, name, user).await?;
        let made = databases.make(name).ok_or_else(|| {
            refused(SqlState::TOO_MANY_CONNECTIONS, "clients use too many databases already".to_owned())
        })?;
        if made.new {
            // Full: the next client of this database finds the built-in table, which is right, only more careful.
            let _full = self.new_databases.try_send(Arc::clone(&made.database));
        }
        Ok(Entered { database: made.database, mode, parameters: Arc::clone(&seen.parameters) })
    }

    /// The worker with the fewest clients.
    pub(crate) fn least_busy(&self) -> Option<(usize, &WorkerPlace)> {
        self.workers.iter().enumerate().min_by_key(|(_, worker)| worker.clients.load(Ordering::Acquire))
    }

    /// The handles of all workers, by index.
    pub(crate) fn handles(&self) -> Vec<WorkerHandle> {
        self.workers.iter().map(|worker| worker.handle.clone()).collect()
    }
}

fn refused(sqlstate: SqlState, message: String) -> ConnectError {
    ConnectError { fault: ConnectFault::Credentials, sqlstate, message }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_exactly_and_given_back() {
        let counted = Arc::default();
        let held: Vec<_> = (0..3).map(|_| Place::take(&counted, 3).unwrap()).collect();
        assert!(Place::take(&counted, 3).is_none());
        drop(held);
        assert_eq!(counted.load(Ordering::Acquire), 0);
        assert!(Place::take(&counted, 0).is_none());
    }
}
