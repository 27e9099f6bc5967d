//! The world, made from the settings: clusters, databases, users, workers, monitors.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use mio::{Poll, Waker};
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::time::sleep;

use super::control::Control;
use super::{RunError, watch_worker};
use crate::catalog::Keepers;
use crate::clock::Clock;
use crate::config::{ClusterSettings, Settings, Source};
use crate::connect::Connector;
use crate::databases::Databases;
use crate::front::{Counts, Front, NEW_DATABASES_MAX, WorkerPlace};
use crate::mail::{ControlSender, MAIL_MAX, ToControl, WorkerHandle};
use crate::monitor::Surroundings;
use crate::overview::{AdminWorld, Order, Served, SettingRow, Watched};
use crate::pools::SharedPools;
use crate::stats::WorkerStats;
use crate::users::Users;
use crate::welcome::Welcomes;
use crate::worker::{self, WorkerParts};
use crate::world::{Cluster, Database};
use crate::{discover, monitor, spawn};

/// How long what has ended at a node that left may still stand in the tables.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// What `run` goes on with.
pub(super) struct Built {
    pub(super) control: Arc<Control>,
    pub(super) mail: mpsc::Receiver<ToControl>,
    pub(super) new_databases: mpsc::Receiver<Arc<Database>>,
    pub(super) worker_ends: mpsc::Receiver<usize>,
}

/// Builds the world and starts its workers and monitors.
pub(super) fn build(
    settings: Settings,
    source: Source,
    orders: mpsc::Sender<Order>,
) -> Result<Built, RunError> {
    let clock = Clock::new();
    let cluster = |settings: &ClusterSettings| Arc::new(Cluster::new(settings.name.clone()));
    let clusters: Vec<Arc<Cluster>> = settings.clusters.iter().map(cluster).collect();
    let users = Arc::new(ArcSwap::from_pointee(Users::new(&settings.auth, None)?));
    let databases = Databases::new(&settings.databases, &settings.suffixes, (&clusters, None));
    let connector = Arc::new(Connector::new(Arc::clone(&users), settings.connect.clone(), clock));
    let (to_control, mail) = mpsc::channel(MAIL_MAX);
    let (new_databases, new_databases_in) = mpsc::channel(NEW_DATABASES_MAX);
    let Workers { places, stats, pools, ends } = start_workers(settings.workers, &to_control, clock)?;
    let handles: Vec<WorkerHandle> = places.iter().map(|worker| worker.handle.clone()).collect();
    let around =
        Surroundings { workers: handles.clone(), pools: Arc::clone(&pools), clock, ids: Arc::default() };
    let both = clusters.iter().zip(&settings.clusters);
    let watched: Vec<Watched> = both.map(|(cluster, settings)| watch(cluster, settings, &around)).collect();
    let served = served(&settings, &watched, (&databases, &users.load()));
    let logins = clusters.into_iter().zip(settings.clusters.iter().map(|cluster| cluster.monitor.clone()));
    let keepers = Keepers::new(logins.collect());
    let front = Arc::new(Front {
        users,
        databases: ArcSwap::from_pointee(databases),
        admin_users: ArcSwap::from_pointee(settings.admin.users.clone()),
        door: ArcSwap::from_pointee(settings.door),
        welcomes: Welcomes::new(Arc::clone(&connector), clock),
        connector,
        cancel_keys: Arc::default(),
        legs: Default::default(),
        workers: places,
        counts: Counts::default(),
        new_databases,
    });
    let stats = handles.into_iter().zip(stats).collect();
    let admin = Arc::new(AdminWorld::new(clock, served, (stats, Arc::clone(&pools)), orders));
    let settings = Mutex::new(settings);
    let control = Arc::new(Control { front, admin, watched, keepers, pools, clock, source, settings });
    control.keep_catalogues();
    spawn::task("sweep", sweep(Arc::clone(&control)));
    Ok(Built { control, mail, new_databases: new_databases_in, worker_ends: ends })
}

/// Now and then clears away what is left of nodes that have left their clusters.
async fn sweep(control: Arc<Control>) {
    loop {
        sleep(SWEEP_EVERY).await;
        control.pools.sweep(control.clock.now());
        let is_node = |id| control.watched.iter().any(|watched| watched.cluster.node(id).is_some());
        control.front.connector.forget_but(is_node);
    }
}

/// Has a cluster watched, and its source of nodes asked.
fn watch(cluster: &Arc<Cluster>, settings: &ClusterSettings, around: &Surroundings) -> Watched {
    let listed = settings.nodes.clone();
    let monitor = monitor::spawn(
        Arc::clone(cluster),
        (&settings.monitor, listed),
        settings.is_elected(),
        around.clone(),
    );
    let discovery = settings.discover.as_ref().map(|discover| {
        let asked = (discover, &settings.monitor);
        Arc::new(discover::spawn(&cluster.name, asked, monitor.clone(), around.clock))
    });
    Watched { cluster: Arc::clone(cluster), monitor, discovery: Arc::new(ArcSwapOption::new(discovery)) }
}

/// The workers, started.
struct Workers {
    places: Vec<WorkerPlace>,
    stats: Vec<Arc<WorkerStats>>,
    pools: Arc<SharedPools>,
    /// Tells of each that has ended.
    ends: mpsc::Receiver<usize>,
}

fn start_workers(count: u16, control: &ControlSender, clock: Clock) -> Result<Workers, RunError> {
    let (tell_end, ends) = mpsc::channel(count.into());
    let (mut places, mut peers, mut ready) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..count {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), worker::WAKER)?;
        let (handle, mail, peer, peers_mail) = WorkerHandle::new(waker);
        places.push(WorkerPlace { handle, clients: Arc::default() });
        peers.push(peer);
        ready.push((poll, mail, peers_mail));
    }
    let pools = Arc::new(SharedPools::new(peers));
    let mut all_stats = Vec::new();
    for (index, (poll, mail, peers_mail)) in ready.into_iter().enumerate() {
        let (pools, stats) = (Arc::clone(&pools), Arc::new(WorkerStats::default()));
        all_stats.push(Arc::clone(&stats));
        let control = control.clone();
        let parts = WorkerParts { index, poll, mail, peers_mail, pools, control, clock, stats };
        let (alive, ended) = oneshot::channel::<()>();
        spawn::thread(format!("worker-{index}"), move || {
            // Dropped when the thread ends, however it does.
            let _alive = alive;
            worker::run(parts);
        })?;
        watch_worker(index, ended, tell_end.clone());
    }
    Ok(Workers { places, stats: all_stats, pools, ends })
}

/// What the console and the HTTP server show of these settings.
pub(super) fn served(
    settings: &Settings,
    watched: &[Watched],
    (databases, users): (&Databases, &Users),
) -> Served {
    let row = |shown: &crate::config::ShownSetting| SettingRow {
        key: shown.key.clone(),
        value: shown.value.clone(),
        default: shown.default.clone(),
        changeable: shown.changeable,
    };
    Served {
        clusters: watched.to_vec(),
        databases: databases.all(),
        settings: settings.shown.iter().map(row).collect(),
        users: users.names().cloned().collect(),
        admin_users: settings.admin.users.clone(),
        ready_when: settings.admin.ready_when,
        reads: settings.admin.reads,
    }
}
