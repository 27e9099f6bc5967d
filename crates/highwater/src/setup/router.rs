//! The router of a local cluster: its configuration file, its run in this process, and the proof that it serves.
//!
//! What it does with clients is the daemon's. Here it is only told about the nodes, started, and asked as a client would.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use daemon::config::{Overrides, Source};
use tokio_postgres::{Client, Config, SimpleQueryMessage, SimpleQueryRow};

use super::cluster::{APP, MONITOR};
use super::place::Marker;
use super::server::{Node, SUPERUSER};
use crate::{connection, failure, files};

/// Between two questions whether every replica is fresh.
const POLL: Duration = Duration::from_millis(20);

/// How long a healthy cluster may take until every replica is proved fresh.
const FRESH_WAIT_MAX: Duration = Duration::from_secs(60);

/// The HTTP server is on the port behind the router's.
pub(crate) fn http_port(port: u16) -> u16 {
    port + 1
}

/// The router's configuration file.
pub(crate) fn configuration(nodes: &[Node], marker: &Marker, port: u16) -> String {
    let nodes: String = nodes
        .iter()
        .map(|node| {
            format!("    {{ name = \"{}\", host = \"127.0.0.1\", port = {} }},\n", node.name, node.port)
        })
        .collect();
    let (passwords, http) = (&marker.passwords, http_port(port));
    // Passwords are hexadecimal: nothing to escape.
    format!(
        "# Written by `highwater up` at every start.
listen = \"127.0.0.1:{port}\"
http = \"127.0.0.1:{http}\"

[[cluster]]
name = \"local\"
nodes = [
{nodes}]
monitor = {{ user = \"{MONITOR}\", password = \"{}\" }}

[[database]]
name = \"{APP}\"

[[database]]
name = \"*\"

[[user]]
name = \"{APP}\"
password = \"{}\"

[[user]]
name = \"{SUPERUSER}\"
password = \"{}\"

[admin]
users = [\"{SUPERUSER}\"]

[log]
level = \"warn\"
",
        passwords.monitor, passwords.app, passwords.superuser
    )
}

/// Runs the router until it is told to stop by a signal. `ready` is called when it listens.
pub(crate) async fn run(configuration: &Path, ready: impl FnOnce()) -> anyhow::Result<()> {
    let source = Source {
        path: Some(configuration.to_owned()),
        env: Default::default(),
        overrides: Overrides::default(),
    };
    let settings = source.load().map_err(|mistakes| failure::failed(mistakes.to_string()))?;
    daemon::log::start(settings.log);
    files::raise_limit(settings.door.clients_max);
    daemon::run(settings, source, daemon::Supervisor::default(), |_| ready())
        .await
        .map_err(|error| failure::failed(error.to_string()))
}

/// A node as the router sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Seen {
    pub(crate) name: String,
    pub(crate) address: String,
    pub(crate) role: String,
    /// Empty while nothing is proved; always for a primary.
    pub(crate) staleness_ms: String,
    pub(crate) lag_bytes: String,
}

/// Waits until the router has proved `replicas` replicas fresh and an application gets an answer, from a replica if
/// there is one.
pub(crate) async fn proved(marker: &Marker, port: u16, replicas: usize) -> anyhow::Result<Vec<Seen>> {
    let waiting = async {
        let console = connect(port, SUPERUSER, &marker.passwords.superuser, "highwater").await?;
        let nodes = fresh_nodes(&console, replicas).await?;
        let app = connect(port, APP, &marker.passwords.app, APP).await?;
        answered(&app, replicas).await?;
        anyhow::Ok(nodes)
    };
    tokio::time::timeout(FRESH_WAIT_MAX, waiting).await.unwrap_or_else(|_| {
        Err(failure::failed(format!(
            "the router did not prove every replica fresh within {} s: `highwater status --http 127.0.0.1:{}` says more",
            FRESH_WAIT_MAX.as_secs(),
            http_port(port)
        )))
    })
}

async fn connect(port: u16, user: &str, password: &str, database: &str) -> anyhow::Result<Client> {
    let mut config = Config::new();
    config.host("127.0.0.1").port(port).user(user).password(password).dbname(database);
    connection::connect(&config).await.with_context(|| format!("can't connect to the router as {user}"))
}

async fn fresh_nodes(console: &Client, replicas: usize) -> anyhow::Result<Vec<Seen>> {
    loop {
        let nodes =
            rows(console, "SHOW NODES").await?.iter().map(seen).collect::<anyhow::Result<Vec<_>>>()?;
        let fresh = nodes.iter().filter(|node| node.role == "replica" && !node.staleness_ms.is_empty());
        if fresh.count() >= replicas && nodes.iter().any(|node| node.role == "primary") {
            return Ok(nodes);
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Reads as an application does, until the answer comes from where it should.
async fn answered(app: &Client, replicas: usize) -> anyhow::Result<()> {
    loop {
        rows(app, "SELECT count(*) FROM pg_class").await?;
        let route = rows(app, "SHOW highwater.last_route").await?;
        let role = route.first().and_then(|row| row.get("role")).unwrap_or_default();
        if replicas == 0 || role == "replica" {
            return Ok(());
        }
        tokio::time::sleep(POLL).await;
    }
}

fn seen(row: &SimpleQueryRow) -> anyhow::Result<Seen> {
    let column = |name: &str| row.try_get(name).map(|value| value.unwrap_or_default().to_owned());
    Ok(Seen {
        name: column("name")?,
        address: column("address")?,
        role: column("role")?,
        staleness_ms: column("staleness_ms")?,
        lag_bytes: column("lag_bytes")?,
    })
}

async fn rows(client: &Client, query: &str) -> anyhow::Result<Vec<SimpleQueryRow>> {
    let messages = client.simple_query(query).await.with_context(|| format!("the router refused {query}"))?;
    Ok(messages
        .into_iter()
        .filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_that_is_written_has_no_mistakes() {
        let marker = Marker::new(15, 6442).expect("random numbers");
        let nodes = [Node::primary(6442), Node::replica(1, 6443, 6442)];
        let text = configuration(&nodes, &marker, 6432);
        let loaded = daemon::config::load_text("up", &text, [], &Overrides::default());
        let settings = loaded.unwrap_or_else(|mistakes| panic!("{mistakes}"));
        assert_eq!(settings.clusters[0].nodes.len(), 2);
        assert_eq!(settings.http.map(|address| address.port()), Some(6433));
    }
}
