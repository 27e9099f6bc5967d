//! A primary and its streaming replicas, in a directory of their own, gone when dropped.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio_postgres::{Client, Config, NoTls};

use super::process::{POSTGRES_USER, Process, Signal, children, run, signal_pid};
use super::template::{APP_PASSWORD, Installation, base, own, template};
use super::{free_port, wait_for};

/// How long a server may take to start, stop or catch up on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Starts a server and waits until it accepts connections; the error is its log.
pub(crate) async fn start_server(
    installation: &Installation,
    data: &Path,
    socket: &Path,
    port: u16,
    settings: &[(&str, String)],
) -> Result<Process, String> {
    let log = data.with_extension("log");
    let open =
        || fs::OpenOptions::new().create(true).append(true).open(&log).expect("the log can be written");
    let begin = open().metadata().expect("the log is there").len();
    let mut server =
        Process::start(&installation.bin.join("postgres"), Some(POSTGRES_USER), Signal::QUIT, |command| {
            command.arg("-D").arg(data).arg("-k").arg(socket).arg("-p").arg(port.to_string());
            for (name, value) in settings {
                command.arg("-c").arg(format!("{name}={value}"));
            }
            command.stdout(open()).stderr(open());
        });
    let said = || {
        let text = fs::read(&log).unwrap_or_default();
        String::from_utf8_lossy(&text[usize::try_from(begin).unwrap_or(0).min(text.len())..]).into_owned()
    };
    let mut ended = false;
    wait_for("a PostgreSQL server to accept connections", PATIENCE, async || {
        ended = server.ended().is_some();
        ended || said().contains("ready to accept") && try_connect_socket(socket, port).await.is_ok()
    })
    .await;
    if ended { Err(said()) } else { Ok(server) }
}

/// A primary (node 0) and replicas (1, 2, …).
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) primary: Node,
    pub(crate) replicas: Vec<Node>,
    home: PathBuf,
}

impl Cluster {
    /// A new cluster on the default PostgreSQL.
    pub(crate) async fn start(replicas: usize) -> Self {
        Cluster::start_on(&Installation::default(), replicas).await
    }

    /// A new cluster on a given PostgreSQL.
    pub(crate) async fn start_on(installation: &Installation, replicas: usize) -> Self {
        let template = template(installation).await;
        let home = new_home();
        let primary = Node::create(installation, &template, &home, "n0", None).await;
        let mut cluster = Cluster { primary, replicas: Vec::new(), home };
        for number in 1..=replicas {
            let slot = format!("n{number}");
            let superuser = cluster.primary.superuser().await;
            superuser
                .query_one("SELECT pg_create_physical_replication_slot($1, true)", &[&slot])
                .await
                .unwrap();
            let upstream = Some(cluster.primary.port);
            let home = cluster.home.clone();
            cluster.replicas.push(Node::create(installation, &template, &home, &slot, upstream).await);
        }
        cluster.caught_up().await;
        cluster
    }

    /// The first replica.
    pub(crate) fn replica(&self) -> &Node {
        &self.replicas[0]
    }

    /// Waits until every replica streams and shows all that the primary has.
    pub(crate) async fn caught_up(&self) {
        let primary = self.primary.superuser().await;
        // The servers commit asynchronously; one synchronous commit flushes all that were before it.
        let flush = "SET synchronous_commit = on; SELECT pg_logical_emit_message(true, 'e2e', 'flush')";
        primary.batch_execute(flush).await.unwrap();
        let now: String =
            primary.query_one("SELECT pg_current_wal_flush_lsn()::text", &[]).await.unwrap().get(0);
        for replica in &self.replicas {
            wait_for("the replica to catch up", PATIENCE, async || {
                let Ok(client) = replica.try_superuser().await else { return false };
                let behind = "SELECT pg_last_wal_replay_lsn() >= $1::text::pg_lsn \
                              AND EXISTS (SELECT FROM pg_stat_wal_receiver WHERE status = 'streaming')";
                client
                    .query_one(behind, &[&now])
                    .await
                    .is_ok_and(|row| row.get::<_, Option<bool>>(0) == Some(true))
            })
            .await;
        }
    }

    /// Runs a script on the primary as `app` and waits until the replicas have it.
    pub(crate) async fn run(&self, script: &str) {
        let client = self.primary.connect("app").await;
        client.batch_execute(script).await.unwrap_or_else(|e| panic!("{script}: {e:?}"));
        self.caught_up().await;
    }

    /// For a cluster in a static, which is never dropped: a shell that sees the end of this process, when its standard
    /// input ends, clears the directory away. The servers end by themselves.
    pub(crate) fn clear_at_exit(&self) {
        let mut janitor = Command::new("sh");
        janitor.args(["-c", "cat; sleep 1; rm -rf \"$0\""]).arg(&self.home).stdin(Stdio::piped());
        let janitor = janitor.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("sh can be run");
        std::mem::forget(janitor);
    }

    /// A place for a test's files, gone with the cluster.
    pub(crate) fn home(&self) -> &Path {
        &self.home
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for node in self.replicas.iter().chain([&self.primary]) {
            node.resume();
            node.postmaster.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        }
        if std::thread::panicking() {
            for node in self.replicas.iter().chain([&self.primary]) {
                let log = fs::read_to_string(node.data.with_extension("log")).unwrap_or_default();
                let lines: Vec<_> = log.lines().collect();
                eprintln!(
                    "--- end of {}'s log\n{}",
                    node.name,
                    lines[lines.len().saturating_sub(25)..].join("\n")
                );
            }
        }
        fs::remove_dir_all(&self.home).ok();
    }
}

/// One server.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) port: u16,
    data: PathBuf,
    installation: Installation,
    settings: Vec<(&'static str, String)>,
    postmaster: Mutex<Option<Process>>,
}

impl Node {
    async fn create(
        from: &Installation,
        template: &Path,
        home: &Path,
        name: &str,
        upstream: Option<u16>,
    ) -> Self {
        let data = home.join(name);
        run(Command::new("cp").args(["-a", "--reflink=auto"]).arg(template).arg(&data));
        let mut settings = Vec::new();
        if let Some(port) = upstream {
            fs::write(data.join("standby.signal"), "").expect("the data directory can be written");
            let conninfo = format!("host=127.0.0.1 port={port} user=postgres application_name={name}");
            settings.extend([("primary_conninfo", conninfo), ("primary_slot_name", name.to_owned())]);
        }
        let node = Node {
            name: name.to_owned(),
            port: 0,
            data,
            installation: from.clone(),
            settings,
            postmaster: Mutex::new(None),
        };
        node.find_port().await
    }

    /// Starts on a free port; another process may take it between the choice and the start, so several are tried.
    async fn find_port(mut self) -> Self {
        for _ in 0..10 {
            self.port = free_port();
            match self.launch().await {
                Ok(()) => return self,
                Err(log) if log.contains("Address already in use") => {}
                Err(log) => panic!("{} does not start:\n{log}", self.name),
            }
        }
        panic!("no free port was found for {}", self.name);
    }

    async fn launch(&self) -> Result<(), String> {
        let home = self.data.parent().expect("a data directory has a parent");
        let server = start_server(&self.installation, &self.data, home, self.port, &self.settings).await?;
        *self.postmaster.lock().unwrap() = Some(server);
        Ok(())
    }

    /// Its data directory.
    pub(crate) fn data(&self) -> &Path {
        &self.data
    }

    /// Starts it again after [`Node::stop`] or [`Node::crash`], on the same port.
    pub(crate) async fn start(&self) {
        self.launch().await.unwrap_or_else(|log| panic!("{} does not start again:\n{log}", self.name));
    }

    /// Starts it on a settings file outside of its data directory, as packages of distributions do.
    pub(crate) async fn start_with(&self, settings: &Path) {
        let home = self.data.parent().expect("a data directory has a parent");
        let named = [("config_file", settings.display().to_string())];
        let server = start_server(&self.installation, &self.data, home, self.port, &named).await;
        *self.postmaster.lock().unwrap() =
            Some(server.unwrap_or_else(|log| panic!("it does not start:\n{log}")));
    }

    /// Stops it in an orderly way; clients are disconnected (57P01).
    pub(crate) fn stop(&self) {
        self.with(|server| server.end(Signal::INT, PATIENCE));
        self.postmaster.lock().unwrap().take();
    }

    /// Stops it at once, as a crash does: the next start recovers.
    pub(crate) fn crash(&self) {
        self.with(|server| server.end(Signal::QUIT, PATIENCE));
        self.postmaster.lock().unwrap().take();
    }

    /// Stops every process of it where it stands; connections stay open and silent.
    pub(crate) fn pause(&self) {
        self.signal_all(Signal::STOP);
    }

    /// Undoes [`Node::pause`].
    pub(crate) fn resume(&self) {
        self.signal_all(Signal::CONT);
    }

    fn signal_all(&self, signal: Signal) {
        let guard = self.postmaster.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let Some(server) = guard.as_ref() else { return };
        server.signal(signal);
        for child in children(server.pid()) {
            signal_pid(child, signal);
        }
    }

    fn with<T>(&self, act: impl FnOnce(&mut Process) -> T) -> T {
        act(self.postmaster.lock().unwrap().as_mut().expect("the server runs"))
    }

    /// Stops replay: what the primary commits from here on is received and not shown.
    pub(crate) async fn pause_replay(&self) {
        let client = self.superuser().await;
        client.batch_execute("SELECT pg_wal_replay_pause()").await.unwrap();
        wait_for("replay to pause", PATIENCE, async || {
            let row = client.query_one("SELECT pg_get_wal_replay_pause_state()", &[]).await.unwrap();
            // The state becomes `paused` with the next record; on a quiet primary it stays `requested`, and a
            // record that comes later is not replayed either.
            row.get::<_, &str>(0) != "not paused"
        })
        .await;
    }

    /// Undoes [`Node::pause_replay`].
    pub(crate) async fn resume_replay(&self) {
        self.superuser().await.batch_execute("SELECT pg_wal_replay_resume()").await.unwrap();
    }

    /// `recovery_min_apply_delay`: commits are shown this much later than they were made. `"0"` ends it.
    pub(crate) async fn apply_delay(&self, delay: &str) {
        self.set("recovery_min_apply_delay", delay).await;
    }

    /// Gives a setting a value that a reload is enough for, and waits until it holds.
    pub(crate) async fn set(&self, name: &str, value: &str) {
        let path = self.data.join("postgresql.conf");
        let mut file = fs::OpenOptions::new().append(true).open(path).expect("the settings can be written");
        writeln!(file, "{name} = '{value}'").expect("the settings can be written");
        let client = self.superuser().await;
        let before: String = client.query_one("SELECT pg_conf_load_time()::text", &[]).await.unwrap().get(0);
        client.batch_execute("SELECT pg_reload_conf()").await.unwrap();
        wait_for("the settings to be loaded", PATIENCE, async || {
            let row = client.query_one("SELECT pg_conf_load_time()::text", &[]).await.unwrap();
            row.get::<_, String>(0) != before
        })
        .await;
    }

    /// A connection as `postgres` to the database `app`, past the router.
    pub(crate) async fn superuser(&self) -> Client {
        self.try_superuser().await.unwrap_or_else(|e| panic!("{} does not answer: {e:?}", self.name))
    }

    pub(crate) async fn try_superuser(&self) -> Result<Client, tokio_postgres::Error> {
        open(self.config().user("postgres").dbname("app")).await
    }

    /// A connection as `app` to a database, past the router.
    pub(crate) async fn connect(&self, database: &str) -> Client {
        let mut config = self.config();
        config.user("app").password(APP_PASSWORD).dbname(database);
        open(&config).await.unwrap_or_else(|e| panic!("{} does not answer: {e:?}", self.name))
    }

    fn config(&self) -> Config {
        let mut config = Config::new();
        config.host("127.0.0.1").port(self.port).connect_timeout(PATIENCE);
        config
    }
}

/// Connects and lets a task of this runtime carry the connection.
pub(crate) async fn open(config: &Config) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = config.connect(NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// A superuser's connection by Unix socket.
pub(crate) async fn connect_socket(socket: &Path, port: u16, database: &str) -> Client {
    let mut config = Config::new();
    open(config.host_path(socket).port(port).user("postgres").dbname(database))
        .await
        .expect("the server answers")
}

async fn try_connect_socket(socket: &Path, port: u16) -> Result<Client, tokio_postgres::Error> {
    let mut config = Config::new();
    open(config.host_path(socket).port(port).user("postgres").dbname("postgres")).await
}

/// A new directory that PostgreSQL's user may write. Clears away what runs that were killed have left.
pub(crate) fn new_home() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let base = base();
    for entry in fs::read_dir(&base).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let owner = name.to_str().and_then(|name| name.strip_prefix("hw-e2e-")?.split('-').next());
        if owner.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            fs::remove_dir_all(entry.path()).ok();
        }
    }
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let home = base.join(format!("hw-e2e-{}-{number}", std::process::id()));
    fs::create_dir_all(&home).expect("the temporary directory can be written");
    own(&home);
    home
}
