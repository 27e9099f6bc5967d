//! A primary, and the places of this test's replicas: registry, unit directory, nodes file. Whatever is left is removed.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::harness::process::{Signal, is_root, signal_pid};
use crate::harness::router::{binary, without_surprises};
use crate::harness::template::{Installation, own};
use crate::harness::{Cluster, free_port, left_out, wait_for};

/// How long anything may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A primary and what a replica of it needs.
pub(crate) struct Stage {
    pub(crate) cluster: Cluster,
    pub(crate) port: u16,
}

impl Stage {
    pub(crate) async fn new() -> Stage {
        Stage::on(&Installation::default()).await
    }

    pub(crate) async fn on(installation: &Installation) -> Stage {
        let cluster = Cluster::start_on(installation, 0).await;
        let stage = Stage { cluster, port: free_port() };
        fs::create_dir_all(stage.units()).unwrap();
        stage
    }

    pub(crate) fn units(&self) -> PathBuf {
        self.cluster.home().join("units")
    }

    pub(crate) fn nodes_file(&self) -> PathBuf {
        self.cluster.home().join("nodes")
    }

    pub(crate) fn registry(&self) -> PathBuf {
        self.cluster.home().join("replicas")
    }

    /// The directory of the replica.
    pub(crate) fn home(&self) -> PathBuf {
        self.registry().join("r1")
    }

    pub(crate) fn dsn(&self) -> String {
        format!("postgresql://postgres@127.0.0.1:{}/app", self.cluster.primary.port)
    }

    /// A directory that PostgreSQL's user may write.
    pub(crate) fn owned_directory(&self, name: &str) -> PathBuf {
        let place = self.cluster.home().join(name);
        fs::create_dir_all(&place).unwrap();
        own(&place);
        place
    }

    /// `highwater replica` with these arguments, in an environment without surprises.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary());
        without_surprises(&mut command);
        command.env("HIGHWATER_REPLICAS", self.registry()).env("HOME", self.cluster.home());
        command.arg("replica").args(arguments).stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("the binary can be run")
    }

    /// The arguments of every `create` here, then more; later ones of the same name are in their place.
    pub(crate) fn creation(&self, more: &[&str]) -> Vec<String> {
        let given = |name: &str| more.contains(&name) || name == "--unit-dir" && more.contains(&"--no-unit");
        let (units, nodes) = (self.units().display().to_string(), self.nodes_file().display().to_string());
        let defaults = [
            ("--primary", self.dsn()),
            ("--name", "r1".to_owned()),
            ("--port", self.port.to_string()),
            ("--unit-dir", units),
            ("--nodes-file", nodes),
        ];
        let mut arguments = vec!["create".to_owned()];
        for (name, value) in defaults.into_iter().filter(|(name, _)| !given(name)) {
            arguments.extend([name.to_owned(), value]);
        }
        arguments.extend(more.iter().map(|&argument| argument.to_owned()));
        arguments
    }

    pub(crate) fn run_create(&self, more: &[&str]) -> Output {
        let arguments = self.creation(more);
        self.run(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Creates and expects that it works; what was said.
    pub(crate) fn create(&self, more: &[&str]) -> String {
        let output = self.run_create(more);
        assert!(output.status.success(), "{}", text(&output));
        text(&output)
    }

    /// The same with mounts of its own, which end with the command: `mounts` is what the shell does first. `None`, and a line
    /// that says so, where that cannot be done.
    pub(crate) fn run_with_mounts(&self, mounts: &str, arguments: &[String]) -> Option<Output> {
        if !is_root() {
            left_out("replicas where systemd runs or the disk is full: only root can mount");
            return None;
        }
        let script = format!("{mounts} && exec \"$0\" \"$@\"");
        let mut command = self.by(&["unshare", "--mount", "sh", "-c", &script], arguments);
        let output = command.output().expect("unshare (package util-linux) can be run");
        if text(&output).contains("unshare: ") || text(&output).contains("mount: ") {
            left_out(&format!(
                "replicas where systemd runs or the disk is full: nothing can be mounted here: {}",
                text(&output).trim()
            ));
            return None;
        }
        Some(output)
    }

    /// `highwater replica` run by another program, whose words come first.
    pub(crate) fn by(&self, words: &[&str], arguments: &[String]) -> Command {
        let plain = self.command(&[]);
        let mut command = Command::new(words[0]);
        command
            .args(&words[1..])
            .arg(plain.get_program())
            .arg("replica")
            .args(arguments)
            .stdin(Stdio::null());
        for (name, value) in plain.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command
    }

    /// Begins to create. Its lines come one by one.
    pub(crate) fn begin_create(&self, more: &[&str]) -> Child {
        let arguments = self.creation(more);
        let mut command = self.command(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        command.spawn().expect("the binary can be run")
    }

    pub(crate) fn remove(&self) -> String {
        let output = self.run(&["remove", "r1", "--primary", &self.dsn()]);
        assert!(output.status.success(), "{}", text(&output));
        text(&output)
    }

    pub(crate) fn listed(&self) -> Value {
        let output = self.run(&["list", "--json", "--primary", &self.dsn()]);
        assert!(output.status.success(), "{}", text(&output));
        serde_json::from_slice(&output.stdout).expect("--json is JSON")
    }

    /// The process id of the replica's server, if it runs.
    pub(crate) fn postmaster(&self) -> Option<u32> {
        let data = self.home().join("data");
        let text = fs::read_to_string(data.join("postmaster.pid")).ok()?;
        let pid: u32 = text.lines().next()?.trim().parse().ok()?;
        (fs::read_link(format!("/proc/{pid}/cwd")).ok()? == data.canonicalize().ok()?).then_some(pid)
    }

    /// Stops the replica's server as an operator would.
    pub(crate) async fn stop_server(&self) {
        signal_pid(self.postmaster().expect("it runs"), Signal::INT);
        wait_for("the replica to stop", PATIENCE, async || self.postmaster().is_none()).await;
    }

    /// Puts a line in front of the primary's access rules.
    pub(crate) async fn allow(&self, line: &str) {
        let file = self.cluster.primary.data().join("pg_hba.conf");
        let rules = fs::read_to_string(&file).unwrap();
        fs::write(&file, format!("{line}\n{rules}")).unwrap();
        let primary = self.cluster.primary.superuser().await;
        primary.batch_execute("SELECT pg_reload_conf()").await.unwrap();
        let first = "SELECT type || ' ' || array_to_string(database, ',') || ' ' || array_to_string(user_name, ',') \
                     FROM pg_hba_file_rules ORDER BY line_number LIMIT 1";
        let row = primary.query_one(first, &[]).await.unwrap();
        assert!(line.starts_with(row.get::<_, &str>(0)), "the line is not understood");
    }

    /// Changes settings that need a restart, and restarts.
    pub(crate) async fn restart_with(&self, settings: &[(&str, &str)]) {
        let primary = self.cluster.primary.superuser().await;
        for (name, value) in settings {
            primary.batch_execute(&format!("ALTER SYSTEM SET {name} = '{value}'")).await.unwrap();
        }
        drop(primary);
        self.cluster.primary.stop();
        self.cluster.primary.start().await;
    }

    /// Moves the primary's settings and access rules out of its data directory, as Debian has them.
    pub(crate) async fn settings_elsewhere(&self) {
        let primary = &self.cluster.primary;
        primary.stop();
        let place = self.owned_directory("etc");
        for name in ["postgresql.conf", "pg_hba.conf", "pg_ident.conf"] {
            fs::copy(primary.data().join(name), place.join(name)).unwrap();
            fs::remove_file(primary.data().join(name)).unwrap();
        }
        let conf = place.join("postgresql.conf");
        let text = fs::read_to_string(&conf).unwrap();
        let named = |name: &str| place.join(name).display().to_string();
        let more = format!(
            "\ndata_directory = '{}'\nhba_file = '{}'\nident_file = '{}'\n",
            primary.data().display(),
            named("pg_hba.conf"),
            named("pg_ident.conf")
        );
        fs::write(&conf, text + &more).unwrap();
        own(&place);
        primary.start_with(&conf).await;
    }

    /// Nothing of the replica is here or on the primary.
    pub(crate) async fn leaves_nothing(&self) {
        assert!(!self.home().exists(), "{} is still there", self.home().display());
        assert_eq!(entries(&self.units()), Vec::<String>::new(), "units");
        assert_eq!(entries(&self.registry()), Vec::<String>::new(), "registry");
        let nodes = fs::read_to_string(self.nodes_file()).unwrap_or_default();
        assert!(!nodes.contains("r1"), "nodes file: {nodes}");
        let listens = std::net::TcpListener::bind(("127.0.0.1", self.port));
        assert!(listens.is_ok(), "somebody listens on the replica's port");
        let primary = self.cluster.primary.superuser().await;
        let left = "SELECT coalesce(string_agg(t, ', '), '') FROM (SELECT 'slot ' || slot_name FROM pg_replication_slots \
                    UNION ALL SELECT 'role ' || rolname FROM pg_roles WHERE rolname LIKE 'highwater\\_%') AS x (t)";
        let left: String = primary.query_one(left, &[]).await.unwrap().get(0);
        assert_eq!(left, "", "left on the primary");
        for name in self.ps() {
            assert!(!name.contains(&*self.home().to_string_lossy()), "still runs: {name}");
        }
    }

    /// The command lines of every process.
    fn ps(&self) -> Vec<String> {
        let entries = fs::read_dir("/proc").unwrap().flatten();
        let lines = entries.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
        lines.map(|bytes| String::from_utf8_lossy(&bytes).replace('\0', " ")).collect()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = fs::read_to_string(self.home().join("log/server.log")).unwrap_or_default();
            eprintln!("--- the replica's log\n{log}");
        }
        for name in entries(&self.registry()) {
            self.run(&["remove", &name, "--force", "--primary", &self.dsn()]);
        }
    }
}

fn entries(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

pub(crate) fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Rows that are written one after the other until it ends.
pub(crate) struct Under {
    stop: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<i64>,
}

impl Under {
    pub(crate) async fn load(stage: &Stage) -> Under {
        let client = stage.cluster.primary.connect("app").await;
        client.batch_execute("CREATE TABLE load (i int8 PRIMARY KEY, t text)").await.unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let task = tokio::spawn(async move {
            let mut written = 0;
            while !stopped.load(Ordering::Relaxed) || written == 0 {
                client.execute("INSERT INTO load VALUES ($1, repeat('x', 500))", &[&written]).await.unwrap();
                written += 1;
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            written
        });
        Under { stop, task }
    }

    /// Ends it; how many rows were acknowledged.
    pub(crate) async fn end(self) -> i64 {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.unwrap()
    }
}
