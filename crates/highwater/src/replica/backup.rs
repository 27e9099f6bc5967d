//! The copy: `pg_basebackup` as PostgreSQL's account, into an empty directory that only it can read, with a bar.
//!
//! Does not judge whether a copy that is there can be used again: `create` does, by the record.

use std::fs;
use std::io::IsTerminal;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process};

use super::home::Home;
use crate::args::replica::MaxRate;
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
    pub(crate) max_rate: Option<MaxRate>,
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
        command.arg("--max-rate").arg(format!("{}k", rate.kib));
    }
    for (number, place) in (1..).zip(what.tablespaces) {
        let place_here = home.tablespaces().join(number.to_string());
        command.arg("-T").arg(format!("{}={}", escaped(place), escaped(&place_here.display().to_string())));
    }
    let program = tools.installation.bin.join("pg_basebackup");
    let process =
        Process::spawn(&mut command).with_context(|| format!("can't start {}", program.display()))?;
    let mut copying = Copying(process);
    let mut bar = Bar::new();
    let status = loop {
        bar.show(tail(&log).lines().rev().find_map(done));
        if let Some(status) = copying.0.ended() {
            break status;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    };
    bar.end();
    let said: String =
        tail(&log).lines().filter(|line| done(line).is_none()).flat_map(|line| [line, "\n"]).collect();
    // A copy that failed is undone, and its log with it: nobody is sent there.
    let _ = fs::remove_file(&log);
    if status.success() {
        return Ok(());
    }
    let reason = failure_in(&said).unwrap_or_else(|| status.to_string());
    Err(tools.explain("pg_basebackup", &reason, &log))
}

/// `pg_basebackup` and the process it starts for the WAL, which outlives it otherwise and keeps the slot in use.
struct Copying(Process);

impl Drop for Copying {
    fn drop(&mut self) {
        self.0.kill_with_descendants();
    }
}

/// Ends what is left of a copy whose command was killed: the leash ends `pg_basebackup`, but not what it has started. The
/// caller holds the directory's lock, so that nobody copies into it by right.
pub(crate) fn end_left_behind(home: &Home) {
    let data = home.data();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let pid = entry.file_name().to_str().and_then(|name| Pid::from_raw(name.parse().ok()?));
        let (Some(pid), Ok(line)) = (pid, fs::read(entry.path().join("cmdline"))) else { continue };
        if is_copy_into(&line, &data) {
            // The only failures left are that it ended this moment, or is not ours: then its slot stays in use, which is
            // told when that is to be dropped.
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

/// From the words of a command line, each ended by a zero byte (proc(5)).
fn is_copy_into(command_line: &[u8], data: &Path) -> bool {
    let mut words = command_line.split(|byte| *byte == 0);
    let program = words.next().is_some_and(|word| word.ends_with(b"/pg_basebackup"));
    let data = data.as_os_str().as_encoded_bytes();
    program && words.next() == Some(b"-D".as_slice()) && words.next() == Some(data)
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
    fn only_a_copy_into_this_very_directory_is_left_behind_by_us() {
        let line = |words: &[&str]| {
            words.iter().flat_map(|word| [word.as_bytes(), b"\0"].concat()).collect::<Vec<_>>()
        };
        let data = Path::new("/r/r1/data");
        assert!(is_copy_into(&line(&["/pg/bin/pg_basebackup", "-D", "/r/r1/data", "-d", "x"]), data));
        assert!(!is_copy_into(&line(&["/pg/bin/pg_basebackup", "-D", "/r/r1/data2"]), data));
        assert!(!is_copy_into(&line(&["vi", "-D", "/r/r1/data"]), data));
        assert!(!is_copy_into(b"", data));
    }

    #[test]
    fn an_equals_sign_in_a_tablespace_does_not_end_its_name() {
        assert_eq!(escaped("/mnt/a=b"), "/mnt/a\\=b");
    }
}
