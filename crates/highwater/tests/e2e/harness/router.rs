//! The real `highwater serve`, started on a cluster with a configuration file of its own.

use std::fmt::Write as _;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::Mutex;
use std::time::Duration;

use tokio_postgres::{Client, Config};

use super::cluster::{Cluster, open};
use super::process::{Process, Signal, stat_field};
use super::raw::Raw;
use super::template::{APP_PASSWORD, MONITOR_PASSWORD, OTHER_PASSWORD};
use super::{free_port, wait_for};

/// What a test may say about its router; the rest is always the same.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// `pool_mode`.
    pub(crate) pool_mode: &'static str,
    /// `default_pool_size`.
    pub(crate) pool_size: u32,
    /// `query_wait_timeout`.
    pub(crate) wait: &'static str,
    /// `max_staleness` of `[reads]`.
    pub(crate) max_staleness: &'static str,
    /// `workers`.
    pub(crate) workers: u16,
    /// Where the nodes are, as lines of `[[cluster]]`; without it, all of the test's cluster are listed.
    pub(crate) nodes: Option<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            pool_mode: "transaction",
            pool_size: 20,
            wait: "60s",
            max_staleness: "10s",
            workers: 2,
            nodes: None,
        }
    }
}

/// A running router.
#[derive(Debug)]
pub(crate) struct Router {
    pub(crate) port: u16,
    pub(crate) http: u16,
    pub(crate) config: PathBuf,
    process: Mutex<Process>,
    log: PathBuf,
}

impl Router {
    /// Starts it on the cluster and waits until it says that it is ready.
    pub(crate) async fn start(cluster: &Cluster, settings: Settings) -> Self {
        for _ in 0..10 {
            let (port, http) = (free_port(), free_port());
            let config = cluster.home().join(format!("router-{port}.toml"));
            write_private(&config, &configuration(cluster, &settings, port, http));
            let log = config.with_extension("log");
            let router = Router { port, http, process: Mutex::new(launch(&config, &log)), config, log };
            if router.becomes_ready().await {
                if !cluster.replicas.is_empty() {
                    router.reads_on_a_replica().await;
                }
                return router;
            }
            let log = router.log();
            assert!(log.contains("in use"), "the router ended at once:\n{log}");
        }
        panic!("no free port was found for the router");
    }

    /// Starts it on a configuration file of the test's own, which names these ports.
    pub(crate) async fn start_from(config: &Path, port: u16, http: u16) -> Self {
        let log = config.with_extension("log");
        let config = config.to_owned();
        let router = Router { port, http, process: Mutex::new(launch(&config, &log)), config, log };
        assert!(router.becomes_ready().await, "the router ended at once:\n{}", router.log());
        router
    }

    /// Ready means that a primary is known; a replica may take a moment longer to be proved fresh.
    async fn reads_on_a_replica(&self) {
        wait_for("reads to go to a replica", Duration::from_secs(60), async || {
            let mut raw = Raw::login(self.port, "app", APP_PASSWORD, "app");
            raw.query("SELECT 1");
            raw.route().0 == "replica"
        })
        .await;
    }

    async fn becomes_ready(&self) -> bool {
        let mut ended = false;
        wait_for("the router to be ready", Duration::from_secs(60), async || {
            ended = self.process.lock().unwrap().ended().is_some();
            ended || self.get("/readyz").is_some_and(|(status, _)| status == 200)
        })
        .await;
        !ended
    }

    /// What it has written to its standard output and error.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Status and body of an HTTP GET; `None` while nobody answers.
    pub(crate) fn get(&self, path: &str) -> Option<(u16, String)> {
        http_get(self.http, path)
    }

    /// A client as `app` of this database name.
    pub(crate) async fn connect(&self, database: &str) -> Client {
        connect(self.port, database).await
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.lock().unwrap().pid()
    }

    /// Resident memory in bytes, at this moment.
    pub(crate) fn rss(&self) -> u64 {
        self.status_kib("VmRSS:") * 1024
    }

    /// The most resident memory it ever had, in bytes.
    pub(crate) fn rss_peak(&self) -> u64 {
        self.status_kib("VmHWM:") * 1024
    }

    /// Processor time used so far, in clock ticks (100 a second).
    pub(crate) fn cpu_ticks(&self) -> u64 {
        let pid = self.pid();
        stat_field(pid, 14).unwrap_or(0) + stat_field(pid, 15).unwrap_or(0)
    }

    fn status_kib(&self, key: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("the router runs");
        let line = status.lines().find_map(|line| line.strip_prefix(key)).expect("Linux shows it");
        line.split_whitespace().next().and_then(|number| number.parse().ok()).expect("it is a number")
    }

    /// Asks it to end and waits for that.
    pub(crate) fn end(&self, signal: Signal, limit: Duration) -> ExitStatus {
        self.process.lock().unwrap().end(signal, limit)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.process.lock().unwrap().signal(signal);
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<_> = log.lines().collect();
            eprintln!("--- end of the router's log\n{}", lines[lines.len().saturating_sub(60)..].join("\n"));
        }
    }
}

/// The `highwater` that Cargo has built for these tests.
pub(crate) fn binary() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_highwater"))
}

/// A client as `app` of this database name at this port.
pub(crate) async fn connect(port: u16, database: &str) -> Client {
    try_connect(port, database).await.unwrap_or_else(|e| panic!("no connection to {database}: {e:?}"))
}

pub(crate) async fn try_connect(port: u16, database: &str) -> Result<Client, tokio_postgres::Error> {
    let mut config = Config::new();
    config.host("127.0.0.1").port(port).user("app").password(APP_PASSWORD).dbname(database);
    open(config.connect_timeout(Duration::from_secs(60))).await
}

/// Status and body of an HTTP GET at 127.0.0.1.
pub(crate) fn http_get(port: u16, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
}

/// Takes what would change the program's or libpq's behaviour out of its environment.
pub(crate) fn without_surprises(command: &mut Command) {
    for (name, _) in
        std::env::vars().filter(|(name, _)| name.starts_with("HIGHWATER_") || name.starts_with("PG"))
    {
        command.env_remove(name);
    }
}

fn launch(config: &Path, log: &Path) -> Process {
    let open = || fs::OpenOptions::new().create(true).append(true).open(log).expect("the log can be written");
    Process::start(binary(), None, Signal::KILL, |command| {
        command.arg("serve").arg("-c").arg(config).stdout(open()).stderr(open());
        without_surprises(command);
    })
}

/// Writes a file that only its owner can read, as a file with passwords must be.
pub(crate) fn write_private(path: &Path, text: &str) {
    fs::write(path, text).expect("the file can be written");
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("the file is ours");
}

/// The configuration file of a test's router.
pub(crate) fn configuration(cluster: &Cluster, settings: &Settings, port: u16, http: u16) -> String {
    let nodes = [&cluster.primary].into_iter().chain(&cluster.replicas);
    let all: Vec<_> = nodes.map(|node| format!("\"127.0.0.1:{}\"", node.port)).collect();
    let nodes = settings.nodes.clone().unwrap_or_else(|| format!("nodes = [{}]", all.join(", ")));
    configuration_of(&nodes, settings, port, http)
}

/// The same for nodes that are no cluster of the harness, as lines of `[[cluster]]`.
pub(crate) fn configuration_of(nodes: &str, settings: &Settings, port: u16, http: u16) -> String {
    let Settings { pool_mode, pool_size, wait, max_staleness, workers, nodes: _ } = settings;
    let mut text = String::new();
    write!(
        text,
        r#"listen = "127.0.0.1:{port}"
http = "127.0.0.1:{http}"
workers = {workers}

[[cluster]]
name = "main"
{nodes}
monitor = {{ user = "highwater", password = "{MONITOR_PASSWORD}" }}

[[database]]
name = "app"
cluster = "main"

[pool]
pool_mode = "{pool_mode}"
default_pool_size = {pool_size}
query_wait_timeout = "{wait}"

[reads]
consistency = "session"
max_staleness = "{max_staleness}"

[server_auth]
methods = ["scram-sha-256", "trust", "md5", "password"]

[admin]
users = ["app"]

[log]
level = "debug"
"#,
    )
    .expect("a String takes everything");
    for (user, password) in [
        ("app", APP_PASSWORD),
        ("other", OTHER_PASSWORD),
        ("app_trust", APP_PASSWORD),
        ("app_md5", APP_PASSWORD),
        ("app_clear", APP_PASSWORD),
    ] {
        write!(text, "\n[[user]]\nname = \"{user}\"\npassword = \"{password}\"\n")
            .expect("a String takes everything");
    }
    text
}
