//! Our own connections to the PostgreSQL nodes of a local cluster, through their Unix sockets.

use std::path::Path;
use std::time::Duration;

use tokio_postgres::tls::NoTlsStream;
use tokio_postgres::{Client, Config, Connection, NoTls, Socket};

/// The super-user that `initdb` makes. Trusted on the Unix socket, which only PostgreSQL's account can reach.
pub(crate) const SUPERUSER: &str = "highwater";

/// Longest time to connect and log in.
const CONNECT_MAX: Duration = Duration::from_secs(5);

/// Connects as `user` to `database` on the node that listens at `port` in `sockets`.
pub(crate) async fn connect(
    sockets: &Path,
    port: u16,
    user: &str,
    database: &str,
) -> Result<Client, tokio_postgres::Error> {
    let mut config = Config::new();
    config.host_path(sockets).port(port).user(user).dbname(database).application_name("highwater up");
    config.connect_timeout(CONNECT_MAX);
    let (client, connection) = config.connect(NoTls).await?;
    drive(connection);
    Ok(client)
}

/// The task ends when its client is dropped; its errors reach whoever waits for an answer.
#[expect(clippy::disallowed_methods, reason = "the task is owned by the client it serves")]
fn drive(connection: Connection<Socket, NoTlsStream>) {
    tokio::spawn(connection);
}
