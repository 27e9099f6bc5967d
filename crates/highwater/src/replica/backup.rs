//! The copy: `pg_basebackup` as PostgreSQL's account, into an empty directory that only it can read, with a bar.
//!
//! Does not judge whether a copy that is there can be used again: `create` does, by the record.

use std::fs;
use std::io::IsTerminal;
use std::time::Duration;

use anyhow::Context;

use super::home::Home;
use crate::output;
use crate::setup::process::Process;
use crate::setup::tools::{Tools, failure_in, tail};

/// `pg_basebackup` tells once a second how far it is.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Cells of the bar.
const BAR_CELLS: u64 = 30;

/// What to copy.
#[derive(Debug)]
pub(crate) struct Copy<'a> {
    /// How the primary is reached.
    pub(crate) conninfo: &'a str,
    pub(crate) slot: &'a str,
    /// Bytes a second at most, in `pg_basebackup`'s words.
    pub(crate) max_rate: Option<&'a str>,
    /// Tablespaces outside of the primary's data directory: each gets a directory of its own in ours.
    pub(crate) tablespaces: &'a [String],
}

/// How far it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Done {
    kib: u64,
    of_kib: u64,
}

/// Copies. Dropping the future ends `pg_basebackup`.
pub(crate) async fn copy(what: &Copy<'_>, home: &Home, tools: &Tools) -> anyhow::Result<()> {
    let log = home.log("pg_basebackup");
    let mut command = tools.command("pg_basebackup", &log)?;
    command.arg("-D").arg(home.data()).args(["-d", what.conninfo, "-S", what.slot]);
    // Not synced here: the server syncs everything before it replays (`SyncDataDirectory` in PostgreSQL's fd.c).
    command.args(["-X", "stream", "-c", "fast", "--progress", "--no-password", "--no-sync"]);
    if let Some(rate) = what.max_rate {
        command.args(["--max-rate", rate]);
    }
    for (number, place) in (1..).zip(what.tablespaces) {
        let place_here = home.tablespaces().join(number.to_string());
        command.arg("-T").arg(format!("{}={}", escaped(place), escaped(&place_here.display().to_string())));
    }
    let program = tools.installation.bin.join("pg_basebackup");
    let mut process =
        Process::spawn(&mut command).with_context(|| format!("can't start {}", program.display()))?;
    let mut bar = Bar::new();
    let status = loop {
        bar.show(tail(&log).lines().rev().find_map(done));
        if let Some(status) = process.ended() {
            break status;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    };
    bar.end();
    if status.success() {
        let _ = fs::remove_file(&log);
        return Ok(());
    }
    let said: String =
        tail(&log).lines().filter(|line| done(line).is_none()).flat_map(|line| [line, "\n"]).collect();
    let reason = failure_in(&said).unwrap_or_else(|| status.to_string());
    Err(tools.explain("pg_basebackup", &reason, &log))
}

/// `-T OLD=NEW` ends OLD at the first plain `=`.
fn escaped(path: &str) -> String {
    path.replace('=', "\\=")
}

/// `  30123/270456 kB (11%), 0/1 tablespace (…)`.
fn done(line: &str) -> Option<Done> {
    let (counts, _) = line.trim_start().split_once(" kB (")?;
    let (kib, of_kib) = counts.split_once('/')?;
    Some(Done { kib: kib.trim().parse().ok()?, of_kib: of_kib.trim().parse().ok()? })
}

/// A bar on a terminal, a line for each tenth elsewhere.
#[derive(Debug)]
struct Bar {
    terminal: bool,
    shown: Option<Done>,
    tenths: u64,
}

impl Bar {
    fn new() -> Bar {
        Bar { terminal: std::io::stderr().is_terminal(), shown: None, tenths: 0 }
    }

    fn show(&mut self, done: Option<Done>) {
        let Some(done) = done.filter(|done| self.shown != Some(*done)) else { return };
        self.shown = Some(done);
        if self.terminal {
            output::rewrite(bar(done));
        } else if tenths(done) > self.tenths {
            self.tenths = tenths(done);
            output::note(format!("        {}", figures(done)));
        }
    }

    fn end(&self) {
        if self.terminal && self.shown.is_some() {
            output::note("");
        }
    }
}

/// What is copied can grow meanwhile: never more than all.
fn tenths(done: Done) -> u64 {
    (done.kib * 10).checked_div(done.of_kib).unwrap_or(0).min(10)
}

fn figures(done: Done) -> String {
    let percent = (done.kib * 100).checked_div(done.of_kib).unwrap_or(0).min(100);
    format!("{percent:>3} %  {} of {} MB", done.kib >> 10, done.of_kib >> 10)
}

fn bar(done: Done) -> String {
    let full = (done.kib * BAR_CELLS).checked_div(done.of_kib).unwrap_or(0).min(BAR_CELLS);
    let cells: String = (0..BAR_CELLS).map(|cell| if cell < full { '█' } else { '░' }).collect();
    format!("        {cells} {}", figures(done))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_read_from_what_pg_basebackup_says() {
        let line = "   30123/270456 kB (11%), 0/1 tablespace (/var/lib/x/base/1/1259 )";
        assert_eq!(done(line), Some(Done { kib: 30_123, of_kib: 270_456 }));
        assert_eq!(
            done("270456/270456 kB (100%), 1/1 tablespace"),
            Some(Done { kib: 270_456, of_kib: 270_456 })
        );
        assert_eq!(done("pg_basebackup: error: could not receive data"), None);
    }

    #[test]
    fn a_bar_is_never_fuller_than_full_and_an_empty_one_does_not_divide() {
        let over = Done { kib: 300, of_kib: 200 };
        assert_eq!((tenths(over), figures(over).starts_with("100 %")), (10, true));
        assert_eq!(tenths(Done { kib: 5, of_kib: 0 }), 0);
        assert_eq!(bar(over).chars().filter(|c| *c == '█').count() as u64, BAR_CELLS);
    }

    #[test]
    fn an_equals_sign_in_a_tablespace_does_not_end_its_name() {
        assert_eq!(escaped("/mnt/a=b"), "/mnt/a\\=b");
    }
}
