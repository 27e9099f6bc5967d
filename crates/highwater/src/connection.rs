//! Our own connections to PostgreSQL, for looking around and setting up. Never a client's: those are the router's.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use daemon::config::{MonitorSettings, NodeSettings};
use tokio_postgres::tls::NoTlsStream;
use tokio_postgres::{Client, Config, Connection, NoTls, Socket};

/// Longest time to connect.
const CONNECT_MAX: Duration = Duration::from_secs(5);

/// A node as its monitor's role.
pub(crate) fn of_monitor(node: &NodeSettings, monitor: &MonitorSettings, database: &str) -> Config {
    let mut config = Config::new();
    config.host(&node.host).port(node.port).user(&monitor.user).dbname(database);
    if let Some(password) = &monitor.password {
        config.password(password.expose());
    }
    config
}

/// A node on this machine, by the directory of its Unix socket.
pub(crate) fn by_socket(sockets: &Path, port: u16, user: &str, database: &str) -> Config {
    let mut config = Config::new();
    config.host_path(sockets).port(port).user(user).dbname(database);
    config
}

/// Connects. The connection lives as long as its client.
pub(crate) async fn connect(config: &Config) -> Result<Client, tokio_postgres::Error> {
    let mut config = config.clone();
    config.application_name("highwater").connect_timeout(CONNECT_MAX);
    let (client, connection) = config.connect(NoTls).await?;
    drive(connection);
    Ok(client)
}

/// PostgreSQL's own words when it gave any, else the cause behind the library's.
pub(crate) fn sentence(error: &tokio_postgres::Error) -> String {
    if let Some(db) = error.as_db_error() {
        return db.message().to_owned();
    }
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            write!(text, ": {inner_text}").expect("a String takes everything");
        }
        cause = inner.source();
    }
    text
}

/// The task ends when its client is dropped; its errors reach whoever waits for an answer.
#[expect(clippy::disallowed_methods, reason = "the task is owned by the client it serves")]
fn drive(connection: Connection<Socket, NoTlsStream>) {
    tokio::spawn(connection);
}
