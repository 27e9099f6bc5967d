//! The live catalogue of a database, for statements that speak of its own functions, views and tables.
//!
//! Connects, reads, and leaves. What the catalogue means is `sql`'s business.

use anyhow::Context;
use daemon::config::{DatabaseName, DatabaseSettings, Settings};
use sql::{Catalogue, SearchPath};
use tokio_postgres::{Client, Config};

use crate::{connection, failure};

/// A database's catalogue, and where its sessions look for unqualified names.
pub(super) struct Live {
    pub(super) catalogue: Catalogue,
    pub(super) search_path: SearchPath,
}

/// From the database that a connection string names.
pub(super) fn of_dsn(dsn: &str) -> anyhow::Result<Live> {
    // The error never repeats the text: it may hold a password.
    let config: Config =
        dsn.parse().map_err(|error| failure::usage(format!("--dsn is not a connection string: {error}")))?;
    load(&[config])
}

/// From the first database of a configuration, on the first of its nodes that answers, as the monitor's role.
pub(super) fn of_settings(settings: &Settings, database: &DatabaseSettings) -> anyhow::Result<Live> {
    let cluster = &settings.clusters[database.cluster];
    let name = match (&database.server_name, &database.name) {
        (Some(name), _) | (None, DatabaseName::Named(name)) => name,
        (None, DatabaseName::Any) => &cluster.monitor.database,
    };
    let found = runtime()?.block_on(daemon::discover_once(cluster));
    let found = found.map_err(|why| failure::unreachable(format!("the nodes can't be discovered: {why}")))?;
    let nodes = found.iter().map(|node| connection::of_monitor(node, &cluster.monitor, name));
    load(&nodes.collect::<Vec<_>>())
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

/// From the first that answers.
fn load(nodes: &[Config]) -> anyhow::Result<Live> {
    runtime()?.block_on(async {
        let mut last = failure::usage("the configuration names no node");
        for node in nodes {
            match connection::connect(node).await {
                Ok(client) => return read(client).await,
                Err(error) => {
                    let why = connection::sentence(&error);
                    last = failure::unreachable(format!("no catalogue, because no node answers: {why}"));
                }
            }
        }
        Err(last)
    })
}

async fn read(client: Client) -> anyhow::Result<Live> {
    let row = client.query_one("SELECT current_setting('search_path'), current_user::text", &[]).await;
    let row = row.context("can't ask for the search_path")?;
    let search_path = SearchPath::parse(row.try_get(0)?, row.try_get(1)?);
    Ok(Live { catalogue: daemon::load_catalogue(client).await?, search_path })
}
