//! The servers behind the targets: two null backends, or a PostgreSQL primary with a streaming replica.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, bail};
use load::ask::Asked;
use rustix::process::Signal;

use super::{Auth, Behind, PASSWORD, Place, USER, free_address};
use crate::process::{Service, run};
use crate::terminal::variable;

/// Longest time for a server to start, or a replica to catch up.
const START_MAX: Duration = Duration::from_secs(60);
/// Enough for every target's pools at once, and for those that do not pool.
const CONNECTIONS_MAX: u32 = 1000;

/// A server.
pub(crate) struct Node {
    pub(crate) address: SocketAddr,
    pub(crate) service: Service,
}

/// A primary and a replica.
pub(crate) struct Backends {
    // The replica ends first: a primary waits for its replicas to have everything.
    pub(crate) replica: Node,
    pub(crate) primary: Node,
    /// What clients connect to.
    pub(crate) database: &'static str,
    /// The same by Highwater's name for "always the primary".
    pub(crate) database_rw: &'static str,
}

impl Backends {
    /// Starts both.
    pub(crate) fn start(place: &Place, behind: Behind, log: &dyn Fn(&str)) -> anyhow::Result<Backends> {
        let (primary, replica) = match behind {
            Behind::Null => (null(place, "null-primary", false)?, null(place, "null-replica", true)?),
            Behind::Postgres { scale } => postgres(place, scale, log)?,
        };
        Ok(Backends { replica, primary, database: "bench", database_rw: "bench_rw" })
    }

    /// How to log in there.
    pub(crate) fn login(&self, address: SocketAddr, database: &str, auth: Auth) -> load::Target {
        let target = load::Target::new(address, USER, database);
        if auth == Auth::Scram { target.with_password(PASSWORD) } else { target }
    }
}

fn null(place: &Place, name: &str, replica: bool) -> anyhow::Result<Node> {
    let address = free_address()?;
    let mut command = place.account.command(&place.bench);
    command.arg("null").arg("--listen").arg(address.to_string());
    if replica {
        command.arg("--replica");
    }
    let mut service = Service::start(command, &place.path(&format!("{name}-{}.log", address.port())))?;
    service.wait_for(name, START_MAX, || answer(address))?;
    Ok(Node { address, service })
}

fn answer(address: SocketAddr) -> anyhow::Result<()> {
    Asked::open(&load::Target::new(address, USER, "postgres"))?.rows("SELECT 1")?;
    Ok(())
}

/// PostgreSQL without what only a disk costs: the bench weighs proxies.
const SETTINGS: &str = "\
fsync = off
full_page_writes = off
synchronous_commit = off
autovacuum = off
shared_buffers = 512MB
max_wal_senders = 4
wal_level = replica
hot_standby = on
logging_collector = off
";

fn postgres(place: &Place, scale: u32, log: &dyn Fn(&str)) -> anyhow::Result<(Node, Node)> {
    let bin = postgres_bin()?;
    let as_owner = |program: &str| {
        let mut command = place.account.command(&bin.join(program));
        command.env("LC_ALL", "C");
        command
    };
    log(&format!("starting PostgreSQL with pgbench's tables of scale {scale}"));
    let data = place.path("primary");
    run(as_owner("initdb")
        .args(["--auth=trust", "--encoding=UTF8", "--no-sync", "-U", USER, "-D"])
        .arg(&data))?;
    let primary = server(place, &bin, "primary", &data)?;
    let (host, port) = (primary.address.ip().to_string(), primary.address.port().to_string());
    let at = ["-h", &host, "-p", &port, "-U", USER];
    Asked::open(&load::Target::new(primary.address, USER, "postgres"))?.rows("CREATE DATABASE bench")?;
    run(as_owner("pgbench").args(at).args(["-i", "-q", "-s", &scale.to_string(), "bench"]))?;
    let mut asked = Asked::open(&load::Target::new(primary.address, USER, "bench"))?;
    asked.rows("VACUUM (ANALYZE) pgbench_accounts")?;
    asked.rows("CHECKPOINT")?;
    let data = place.path("replica");
    run(as_owner("pg_basebackup").args(at).args(["--no-sync", "-c", "fast", "-R", "-D"]).arg(&data))?;
    let mut replica = server(place, &bin, "replica", &data)?;
    let address = replica.address;
    replica.service.wait_for("the replica", START_MAX, || {
        let mut asked = Asked::open(&load::Target::new(address, USER, "bench"))?;
        // Reads the table once, so that it is in memory.
        let rows = asked.rows("SELECT pg_is_in_recovery(), count(*) FROM pgbench_accounts")?;
        match rows.first().and_then(|row| row.first()).and_then(Option::as_deref) {
            Some("t") => Ok(()),
            _ => bail!("it is not in recovery"),
        }
    })?;
    Ok((primary, replica))
}

fn server(place: &Place, bin: &Path, name: &str, data: &Path) -> anyhow::Result<Node> {
    let address = free_address()?;
    place.write(&format!("{name}/bench.conf"), SETTINGS)?;
    let conf = data.join("postgresql.conf");
    let mut text =
        std::fs::read_to_string(&conf).with_context(|| format!("cannot read {}", conf.display()))?;
    text.push_str("\ninclude 'bench.conf'\n");
    place.write(&format!("{name}/postgresql.conf"), &text)?;
    let mut command = place.account.command(&bin.join("postgres"));
    command.arg("-D").arg(data);
    for setting in [
        format!("listen_addresses={}", address.ip()),
        format!("port={}", address.port()),
        format!("max_connections={CONNECTIONS_MAX}"),
        "unix_socket_directories=".to_owned(),
    ] {
        command.arg("-c").arg(setting);
    }
    // SIGINT is PostgreSQL's fast shutdown.
    let service = Service::start(command, &place.path(&format!("{name}.log")))?.stopped_by(Signal::INT);
    let mut node = Node { address, service };
    node.service.wait_for(name, START_MAX, || answer(address))?;
    Ok(node)
}

/// Where PostgreSQL's programs are: `PG_BIN`, what `pg_config` says, or Debian's newest.
fn postgres_bin() -> anyhow::Result<PathBuf> {
    let mut places: Vec<PathBuf> = variable("PG_BIN").map(PathBuf::from).into_iter().collect();
    if let Ok(text) = run(Command::new("pg_config").arg("--bindir")) {
        places.push(text.into());
    }
    let mut debian: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path().join("bin"))
        .collect();
    debian.sort();
    places.extend(debian.into_iter().rev());
    let has_all = |place: &PathBuf| {
        ["initdb", "postgres", "pgbench", "pg_basebackup"].iter().all(|name| place.join(name).is_file())
    };
    places.into_iter().find(has_all).context("PostgreSQL is not installed (apt-get install postgresql)")
}
