//! One PostgreSQL server of a local cluster: its settings, its start, its end.
//!
//! Starts `postgres` itself, not through `pg_ctl`, so that it is our child. Does not decide when (`plan`), nor what to do
//! when it dies (`supervise`).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process};

use super::place::Place;
use super::process::Process;
use super::tools::{Tools, failure_in, tail};
use super::{postgres, quote};
use crate::{connection, failure, output};

/// Between two looks at a server that is starting.
const POLL: Duration = Duration::from_millis(20);

/// How long a server that an earlier run left behind may take to stop, per signal.
const LEFT_BEHIND_WAIT_MAX: Duration = Duration::from_secs(10);

/// After this long, a start that is not over is mentioned: it is replaying what a crash has left.
const SLOW_START: Duration = Duration::from_secs(10);

/// The super-user that `initdb` makes. Trusted on the Unix socket, which only PostgreSQL's account can reach.
pub(crate) const SUPERUSER: &str = "highwater";

/// What a server is started with.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// `primary`, `replica-1`, …: also the name of its directory.
    pub(crate) name: String,
    /// Its TCP port on 127.0.0.1.
    pub(crate) port: u16,
    /// For a replica: the primary's port.
    pub(crate) follows: Option<u16>,
}

impl Node {
    /// The primary.
    pub(crate) fn primary(port: u16) -> Node {
        Node { name: "primary".to_owned(), port, follows: None }
    }

    /// The replica of that number, counted from 1.
    pub(crate) fn replica(number: u16, port: u16, primary_port: u16) -> Node {
        Node { name: format!("replica-{number}"), port, follows: Some(primary_port) }
    }
}

/// The physical slot of a replica on the primary.
pub(crate) fn slot_name(number: u16) -> String {
    format!("highwater_replica_{number}")
}

/// Whether a power cut may lose what was committed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Durability {
    /// As PostgreSQL is by default.
    Full,
    /// `fsync` is off: the data is thrown away afterwards.
    None,
}

/// A server that was started by us.
#[derive(Debug)]
pub(crate) struct Server {
    /// What it was started with.
    pub(crate) node: Node,
    process: Process,
    log: PathBuf,
}

impl Server {
    /// Starts it. Nothing else may run on its data.
    pub(crate) async fn start(
        node: &Node,
        place: &Place,
        tools: &Tools,
        durability: Durability,
    ) -> anyhow::Result<Server> {
        let data = place.data(&node.name);
        write_settings(&data, tools, durability)?;
        if let Some(primary_port) = node.follows {
            point_at(&data, &place.sockets(), primary_port, &node.name)?;
        }
        let log = place.log(&node.name);
        if log.exists() {
            fs::rename(&log, log.with_extension("log.1"))?;
        }
        let mut command = tools.command("postgres", &log)?;
        command.arg("-D").arg(&data).arg("-p").arg(node.port.to_string());
        // A list of directories: quoted, because a space would end one.
        command.arg("-k").arg(format!("\"{}\"", place.sockets().display()));
        command.arg("-c").arg(format!("cluster_name={}", node.name));
        let process = Process::spawn(&mut command)
            .with_context(|| format!("can't start {}/postgres", tools.installation.bin.display()))?;
        Ok(Server { node: node.clone(), process, log })
    }

    /// Waits until it takes connections, which for a replica means that it has reached a consistent state.
    pub(crate) async fn accepting(&mut self, place: &Place, tools: &Tools) -> anyhow::Result<()> {
        let superuser = connection::by_socket(&place.sockets(), self.node.port, SUPERUSER, "postgres");
        let mut waited = Duration::ZERO;
        loop {
            if self.ended().is_some() {
                return Err(tools.explain(
                    &format!("starting the {}", self.node.name),
                    &self.last_words(),
                    &self.log,
                ));
            }
            let attempt = connection::connect(&superuser).await;
            match attempt {
                Ok(_) => return Ok(()),
                Err(error) if error.as_db_error().is_some_and(|e| e.code().code() != "57P03") => {
                    return Err(
                        anyhow::Error::new(error).context(format!("can't log in to the {}", self.node.name))
                    );
                }
                Err(_) => {}
            }
            tokio::time::sleep(POLL).await;
            waited += POLL;
            if waited == SLOW_START {
                output::note(format!(
                    "        still starting the {}, see {}",
                    self.node.name,
                    self.log.display()
                ));
            }
        }
    }

    /// The process id of its postmaster.
    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.process.ended()
    }

    /// What it wrote before it ended while it was starting.
    fn last_words(&self) -> String {
        // Our own attempts to connect are refused, and logged, until it is ready.
        let output: String = tail(&self.log)
            .lines()
            .filter(|line| !line.contains("FATAL:  the database system is "))
            .flat_map(|line| [line, "\n"])
            .collect();
        failure_in(&output).unwrap_or_else(|| "it said nothing".to_owned())
    }

    /// Where its output is.
    pub(crate) fn log(&self) -> &Path {
        &self.log
    }

    /// Asks it to stop: SIGINT is a fast shutdown, SIGQUIT an immediate one
    /// (<https://www.postgresql.org/docs/current/server-shutdown.html>).
    pub(crate) fn signal(&mut self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Ends it and its children by force.
    pub(crate) fn kill(&mut self) {
        self.process.kill_with_descendants();
    }
}

/// Stops the server that an earlier run left running on `data`, if any: we hold the directory's lock, so nobody else
/// started it.
pub(crate) async fn stop_left_behind(data: &Path) -> anyhow::Result<()> {
    let pid_file = data.join("postmaster.pid");
    let Some(pid) = named_in(&pid_file) else { return Ok(()) };
    if !runs_in(pid, data) {
        if Path::new(&format!("/proc/{pid}")).exists() {
            // The number belongs to another process by now, which would make PostgreSQL refuse to start.
            fs::remove_file(&pid_file)?;
        }
        return Ok(());
    }
    output::note(format!(
        "        stopping the PostgreSQL that an earlier run left behind in {} (pid {pid})",
        data.display()
    ));
    for signal in [Signal::INT, Signal::QUIT, Signal::KILL] {
        let _ = kill_process(pid, signal);
        let mut waited = Duration::ZERO;
        while waited < LEFT_BEHIND_WAIT_MAX {
            if !runs_in(pid, data) {
                return Ok(());
            }
            tokio::time::sleep(POLL).await;
            waited += POLL;
        }
    }
    Err(failure::failed(format!(
        "the PostgreSQL with pid {pid} runs on {} and can't be stopped",
        data.display()
    )))
}

/// The process that a postmaster.pid names, whether it runs or not.
fn named_in(pid_file: &Path) -> Option<Pid> {
    let text = fs::read_to_string(pid_file).ok()?;
    Pid::from_raw(text.lines().next()?.trim().parse().ok()?)
}

/// The postmaster that runs on `data`, which must be its real path.
pub(crate) fn running_on(data: &Path) -> Option<Pid> {
    named_in(&data.join("postmaster.pid")).filter(|pid| runs_in(*pid, data))
}

/// A postmaster's working directory is its data directory.
fn runs_in(pid: Pid, data: &Path) -> bool {
    fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd == data)
}

/// Puts our settings beside PostgreSQL's own file, which includes them first, so that whatever it says itself wins.
fn write_settings(data: &Path, tools: &Tools, durability: Durability) -> anyhow::Result<()> {
    const INCLUDE: &str = "include 'highwater.conf'\n";
    let ours = data.join("highwater.conf");
    fs::write(&ours, settings(postgres::has_pg_stat_statements(&tools.installation), durability))
        .with_context(|| format!("can't write {}", ours.display()))?;
    tools.account.own(&ours)?;
    let theirs = data.join("postgresql.conf");
    let text = fs::read_to_string(&theirs).with_context(|| format!("can't read {}", theirs.display()))?;
    if !text.starts_with(INCLUDE) {
        fs::write(&theirs, format!("{INCLUDE}{text}"))?;
    }
    Ok(())
}

/// The settings of a node, primary or replica: the same, because roles can change.
fn settings(pg_stat_statements: bool, durability: Durability) -> String {
    let preload = if pg_stat_statements { "shared_preload_libraries = 'pg_stat_statements'\n" } else { "" };
    // One call for the whole disk, in place of one for each of a thousand files; Linux has it.
    let sync = if cfg!(target_os = "linux") { "recovery_init_sync_method = syncfs\n" } else { "" };
    let fsync = match durability {
        Durability::Full => "",
        Durability::None => "fsync = off\n",
    };
    format!(
        "# Written by `highwater up` at every start. Put your own settings into postgresql.conf: they win.
listen_addresses = '127.0.0.1'
unix_socket_permissions = 0700
password_encryption = 'scram-sha-256'
wal_level = replica
wal_log_hints = on
hot_standby = on
hot_standby_feedback = on
max_wal_senders = 20
max_replication_slots = 20
# A replica that stays away longer is copied anew; the disk is not filled for it.
max_slot_wal_keep_size = 2GB
wal_receiver_status_interval = 1s
wal_retrieve_retry_interval = 500ms
log_line_prefix = '%m [%p] '
{preload}{sync}{fsync}"
    )
}

/// Makes the replica in `data` follow the primary at its present port and socket directory.
fn point_at(data: &Path, sockets: &Path, primary_port: u16, name: &str) -> anyhow::Result<()> {
    let path = data.join("postgresql.auto.conf");
    let text = fs::read_to_string(&path).with_context(|| format!("can't read {}", path.display()))?;
    let connection = conninfo(sockets, primary_port, name);
    let wanted = pointed_at(&text, &connection);
    if wanted != text {
        fs::write(&path, wanted).with_context(|| format!("can't write {}", path.display()))?;
    }
    Ok(())
}

/// How a replica, or `pg_basebackup`, reaches the primary.
pub(crate) fn conninfo(sockets: &Path, primary_port: u16, name: &str) -> String {
    let host = sockets.display().to_string().replace('\\', "\\\\").replace('\'', "\\'");
    format!("host='{host}' port={primary_port} user={SUPERUSER} application_name={name}")
}

fn pointed_at(auto_conf: &str, connection: &str) -> String {
    let mut text: String = auto_conf
        .lines()
        .filter(|line| !line.trim_start().starts_with("primary_conninfo"))
        .flat_map(|line| [line, "\n"])
        .collect();
    text.push_str(&format!("primary_conninfo = {}\n", quote(connection)));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_is_pointed_at_one_primary_only_and_keeps_its_other_settings() {
        let before = "# x\nprimary_conninfo = 'port=1'\nprimary_slot_name = 's'\n";
        let after = pointed_at(before, "host='/a' port=2");
        assert_eq!(after, "# x\nprimary_slot_name = 's'\nprimary_conninfo = 'host=''/a'' port=2'\n");
        assert_eq!(pointed_at(&after, "host='/a' port=2"), after);
    }

    #[test]
    fn only_throw_away_data_goes_without_fsync() {
        assert!(!settings(true, Durability::Full).contains("fsync"));
        assert!(settings(true, Durability::None).contains("fsync = off"));
        assert!(!settings(false, Durability::Full).contains("pg_stat_statements"));
    }

    #[test]
    fn a_quote_in_the_socket_directory_does_not_end_the_connection_string() {
        assert_eq!(
            conninfo(Path::new("/it's"), 1, "replica-1"),
            "host='/it\\'s' port=1 user=highwater application_name=replica-1"
        );
    }
}
