//! `highwater up`: a local primary, its replicas and the router, in the foreground.
//!
//! `plan` says what is to be done and touches nothing; `cluster` does it; `supervise` keeps it alive and stops it;
//! `router` runs the daemon in this process and proves that it serves. Everything else serves these four.

pub(crate) mod account;
pub(crate) mod cluster;
pub(crate) mod disk;
pub(crate) mod place;
mod plan;
pub(crate) mod ports;
pub(crate) mod postgres;
pub(crate) mod process;
pub(crate) mod progress;
pub(crate) mod router;
pub(crate) mod server;
pub(crate) mod signals;
mod summary;
pub(crate) mod supervise;
pub(crate) mod tools;

use std::path::Path;
use std::pin::pin;
use std::time::Duration;

use cluster::{Cluster, Home};
use progress::Progress;
use signals::Signals;
use tokio::sync::oneshot;

use crate::{args, output};

/// How long the router may take to let its clients finish.
const ROUTER_STOP_MAX: Duration = Duration::from_secs(3);

/// Runs until it is asked to stop, or until something fails.
pub(crate) fn up(asked: &args::Up) -> anyhow::Result<()> {
    let mut signals = phase(async { Signals::new() })??;
    let progress = Progress::begin();
    let mut cluster = open(asked)?;
    let installation = &cluster.tools.installation;
    output::note(format!(
        "PostgreSQL {} from {}, data in {}",
        installation.version,
        installation.bin.display(),
        cluster.place.root().display()
    ));
    let result = serve(&mut cluster, asked, &progress, &mut signals);
    if result.is_ok() {
        output::note("stopping");
    }
    phase(supervise::stop(&mut cluster.servers, signals.received()))?;
    cluster.servers.clear();
    let removed = cluster.place.remove_if_temporary();
    result.and(removed)
}

/// Runs a future on a runtime of its own, so that no task of one phase lives on in the next. All on this thread: the
/// kernel's leash on our children is held by the thread that started them.
pub(crate) fn phase<T>(work: impl Future<Output = T>) -> std::io::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(work);
    runtime.shutdown_background();
    Ok(result)
}

fn open(asked: &args::Up) -> anyhow::Result<Cluster> {
    ports::require_free(asked.port, "the router")?;
    ports::require_free(router::http_port(asked.port), "the router's HTTP")?;
    let directory = match &asked.dir {
        _ if asked.ephemeral => None,
        Some(directory) => Some(directory.clone()),
        None => Some(place::default_directory()?),
    };
    let home = directory.as_deref().map_or(Home::ThrownAway, Home::Kept);
    Cluster::open(home, asked.pg_bin.as_deref(), asked.port)
}

/// Brings everything up and watches it. `Ok` when a signal has asked for the end.
fn serve(
    cluster: &mut Cluster,
    asked: &args::Up,
    progress: &Progress,
    signals: &mut Signals,
) -> anyhow::Result<()> {
    let brought_up = phase(async {
        tokio::select! {
            result = cluster.bring_up(asked.replicas, progress) => result.map(Some),
            () = signals.received() => Ok(None),
        }
    })??;
    let Some(()) = brought_up else { return Ok(()) };
    let text = router::configuration(&cluster.nodes(), &cluster.marker, asked.port);
    let configuration = cluster.place.write_configuration(&text)?;
    progress.step(&format!("starting the router on port {}", asked.port));
    phase(route(cluster, (&configuration, asked.port), progress, signals))?
}

/// Runs the router beside the servers, and says so when it serves.
async fn route(
    cluster: &mut Cluster,
    (configuration, port): (&Path, u16),
    progress: &Progress,
    signals: &mut Signals,
) -> anyhow::Result<()> {
    let replicas = cluster.servers.len() - 1;
    let (listens, listening) = oneshot::channel();
    let mut router = pin!(router::run(configuration, || {
        // Nobody waits for it any more only when a signal has come.
        let _ = listens.send(());
    }));
    let proved = async {
        listening.await?;
        router::proved(&cluster.marker, port, replicas).await
    };
    let nodes = tokio::select! {
        result = &mut router => return result,
        nodes = proved => nodes?,
        () = signals.received() => return finish(router).await,
    };
    output::text(&summary::summary(&nodes, &cluster.marker, port, progress.seconds()));
    output::line("ready");
    tokio::select! {
        result = &mut router => return result,
        never = supervise::keep_alive(cluster) => match never {},
        () = signals.received() => {}
    }
    finish(router).await
}

/// The router has heard the signal too and lets its clients finish. What takes longer is cut off.
async fn finish(router: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    tokio::time::timeout(ROUTER_STOP_MAX, router).await.unwrap_or(Ok(()))
}

/// An SQL string literal, also good for postgresql.conf.
pub(crate) fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
