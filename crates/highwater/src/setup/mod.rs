//! `highwater up`: a local primary, its replicas and the router, in the foreground.
//!
//! `plan` says what is to be done and touches nothing; `cluster` does it; `supervise` keeps it alive and stops it;
//! `router` runs the daemon in this process. Everything else serves these four.

mod account;
mod cluster;
mod disk;
mod place;
mod plan;
mod ports;
mod postgres;
mod process;
mod progress;
mod server;
mod signals;
mod supervise;
mod tools;

use cluster::{Cluster, Home};
use progress::Progress;
use signals::Signals;

use crate::{args, output};

/// Runs until it is asked to stop, or until something fails.
pub(crate) fn up(asked: &args::Up) -> anyhow::Result<()> {
    // One thread: the kernel's leash on our children is held by the thread that started them.
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let mut signals = Signals::new()?;
        let progress = Progress::begin();
        let mut cluster = open(asked)?;
        let installation = &cluster.tools.installation;
        output::note(format!(
            "PostgreSQL {} from {}, data in {}",
            installation.version,
            installation.bin.display(),
            cluster.place.root().display()
        ));
        let result = run(&mut cluster, asked, &progress, &mut signals).await;
        if result.is_ok() {
            output::note("stopping");
        }
        supervise::stop(&mut cluster.servers, signals.received()).await;
        cluster.servers.clear();
        let removed = cluster.place.remove_if_temporary();
        result.and(removed)
    })
}

fn open(asked: &args::Up) -> anyhow::Result<Cluster> {
    let http_port = asked.port + 1;
    ports::require_free(asked.port, "the router")?;
    ports::require_free(http_port, "the router's HTTP")?;
    let directory = match &asked.dir {
        _ if asked.ephemeral => None,
        Some(directory) => Some(directory.clone()),
        None => Some(place::default_directory()?),
    };
    let home = directory.as_deref().map_or(Home::ThrownAway, Home::Kept);
    Cluster::open(home, asked.pg_bin.as_deref(), asked.port)
}

/// Brings everything up and watches it. `Ok` when a signal has asked for the end.
async fn run(
    cluster: &mut Cluster,
    asked: &args::Up,
    progress: &Progress,
    signals: &mut Signals,
) -> anyhow::Result<()> {
    tokio::select! {
        result = cluster.bring_up(asked.replicas, progress) => result?,
        () = signals.received() => return Ok(()),
    }
    progress.step("ready");
    tokio::select! {
        never = supervise::keep_alive(cluster) => match never {},
        () = signals.received() => Ok(()),
    }
}

/// An SQL string literal, also good for postgresql.conf.
fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
