//! The server of a replica: started and stopped by systemd where that serves its unit, else by us.
//!
//! A server that we start ourselves outlives this process; it is found again by its postmaster.pid. Nobody starts it again
//! when it dies.

use std::fs;
use std::time::Duration;

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process};
use std::os::unix::process::CommandExt;
use tokio_postgres::Client;

use super::home::{Home, Record};
use super::unit;
use crate::setup::account::Account;
use crate::setup::postgres::Installation;
use crate::setup::server::running_on;
use crate::setup::tools::{Tools, failure_in, tail};
use crate::{connection, failure, output};

/// Between two looks at a server that starts or stops.
const POLL: Duration = Duration::from_millis(50);

/// After this long, a start that is not over is mentioned, and every so often again.
const SLOW: Duration = Duration::from_secs(10);

/// How long a fast, then an immediate shutdown may take.
const STOP_MAX: [(Signal, Duration); 3] = [
    (Signal::INT, Duration::from_secs(60)),
    (Signal::QUIT, Duration::from_secs(30)),
    (Signal::KILL, Duration::from_secs(10)),
];

/// Who looks after the server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Keeper {
    Systemd,
    Nobody,
}

/// Who looks after the server of this record.
pub(crate) fn keeper(record: &Record) -> Keeper {
    match &record.outside.unit {
        Some(unit) if unit::is_served(unit) => Keeper::Systemd,
        _ => Keeper::Nobody,
    }
}

/// PostgreSQL's programs for a record.
pub(crate) fn tools(record: &Record, home: &Home, account: &Account) -> Tools {
    let programs = &record.postgres;
    let installation =
        Installation { bin: programs.bin.clone(), major: programs.major, version: programs.version.clone() };
    Tools::new(installation, account.clone(), home.root())
}

/// The postmaster, if it runs.
pub(crate) fn runs(home: &Home) -> Option<Pid> {
    running_on(&home.data())
}

/// True when the one who shall keep the server has started the one that runs.
pub(crate) fn is_kept(record: &Record) -> bool {
    match keeper(record) {
        Keeper::Systemd => unit::systemctl(&["is-active", "--quiet", &unit::name(&record.name)]).is_ok(),
        Keeper::Nobody => true,
    }
}

/// Starts it, if it does not run, and waits until it takes connections.
pub(crate) async fn start(record: &Record, home: &Home, account: &Account) -> anyhow::Result<Client> {
    let log = home.log("server");
    match keeper(record) {
        Keeper::Systemd => {
            let name = unit::name(&record.name);
            unit::systemctl(&["daemon-reload"])?;
            unit::systemctl(&["enable", &name])?;
            unit::systemctl(&["start", "--no-block", &name])?;
        }
        Keeper::Nobody if runs(home).is_some() => {}
        Keeper::Nobody => {
            if log.exists() {
                fs::rename(&log, log.with_extension("log.1"))?;
            }
            let tools = tools(record, home, account).unleashed();
            let mut command = tools.command("postgres", &log)?;
            // Its own process group: Ctrl-C and the end of the terminal are not for it.
            command.arg("-D").arg(home.data()).process_group(0);
            command
                .spawn()
                .with_context(|| format!("can't start {}/postgres", record.postgres.bin.display()))?;
        }
    }
    accepting(record, home).await
}

/// Waits until it takes connections, or has ended.
async fn accepting(record: &Record, home: &Home) -> anyhow::Result<Client> {
    let mut waited = Duration::ZERO;
    let mut seen = false;
    loop {
        match connect(record, home).await {
            Ok(client) => return Ok(client),
            Err(error) if error.as_db_error().is_some_and(|e| e.code().code() != "57P03") => {
                return Err(failure::failed(format!(
                    "can't log in to the replica: {}",
                    connection::sentence(&error)
                )));
            }
            Err(_) => {}
        }
        let running = runs(home).is_some();
        let gone = seen && !running || !seen && waited >= SLOW;
        if gone && keeper(record) == Keeper::Nobody || has_given_up(record) {
            return Err(ended(record, home));
        }
        seen |= running;
        tokio::time::sleep(POLL).await;
        waited += POLL;
        if waited.as_millis().is_multiple_of(SLOW.as_millis()) {
            output::note(format!(
                "        still starting (it replays what was written during the copy), see {}",
                where_logged(record, home)
            ));
        }
    }
}

fn has_given_up(record: &Record) -> bool {
    keeper(record) == Keeper::Systemd
        && unit::systemctl(&["is-failed", "--quiet", &unit::name(&record.name)]).is_ok()
}

/// Why a server that was being started is not there.
fn ended(record: &Record, home: &Home) -> anyhow::Error {
    let said: String = tail(&home.log("server"))
        .lines()
        .filter(|line| !line.contains("FATAL:  the database system is "))
        .flat_map(|line| [line, "\n"])
        .collect();
    let reason = failure_in(&said).unwrap_or_else(|| "it said nothing".to_owned());
    if reason.contains("No space left on device") {
        return crate::setup::disk::full(home.root());
    }
    failure::failed(format!(
        "the replica does not start: {reason} (all of it: {})",
        where_logged(record, home)
    ))
}

/// Where a server's log is.
pub(crate) fn where_logged(record: &Record, home: &Home) -> String {
    match keeper(record) {
        Keeper::Systemd => format!("journalctl -u {}", unit::name(&record.name)),
        Keeper::Nobody => home.log("server").display().to_string(),
    }
}

/// Connects to the replica by its socket, as the super-user whom its first access rule lets in.
pub(crate) async fn connect(record: &Record, home: &Home) -> Result<Client, tokio_postgres::Error> {
    connection::connect(&connection::by_socket(
        &home.sockets(),
        record.port,
        &record.superuser,
        &record.primary.database,
    ))
    .await
}

/// Stops it, if it runs, and waits for the end.
pub(crate) async fn stop(record: &Record, home: &Home) -> anyhow::Result<()> {
    if keeper(record) == Keeper::Systemd {
        // A unit that is not loaded has nothing to stop; whatever still runs is seen below.
        let _ = unit::systemctl(&["stop", &unit::name(&record.name)]);
    }
    let Some(pid) = runs(home) else { return Ok(()) };
    for (signal, wait_max) in STOP_MAX {
        // The only failure left is that it ended this moment, or is not ours: that is seen by waiting.
        let _ = kill_process(pid, signal);
        let mut waited = Duration::ZERO;
        while waited < wait_max {
            if runs(home).is_none() {
                return Ok(());
            }
            tokio::time::sleep(POLL).await;
            waited += POLL;
        }
    }
    Err(failure::failed(format!(
        "the PostgreSQL with pid {pid} runs on {} and can't be stopped: run this as its owner or as root",
        home.data().display()
    )))
}
