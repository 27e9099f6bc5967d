//! Starts PostgreSQL's programs: as the right account, with a clean environment, and on a leash.
//!
//! The leash is `setpriv --pdeathsig` of util-linux: the kernel stops the child when we are killed without a chance
//! to do it. Where there is none, the next run stops what was left behind (`server`).

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context;

use super::account::Account;
use super::disk;
use super::postgres::Installation;
use super::process::Process;
use crate::failure;

/// Bytes at the end of a program's output that are searched for the reason why it failed.
const OUTPUT_TAIL_BYTES: usize = 16 * 1024;

/// PostgreSQL's programs and how to start them.
#[derive(Clone, Debug)]
pub(crate) struct Tools {
    /// Which PostgreSQL.
    pub(crate) installation: Installation,
    /// Who runs it.
    pub(crate) account: Account,
    directory: PathBuf,
    leash: bool,
}

impl Tools {
    /// Tools that run in `directory`, which the account must be able to enter.
    pub(crate) fn new(installation: Installation, account: Account, directory: &Path) -> Tools {
        let probe = Command::new("setpriv").args(["--pdeathsig", "INT", "true"]).output();
        let leash = probe.is_ok_and(|output| output.status.success());
        Tools { installation, account, directory: directory.to_path_buf(), leash }
    }

    /// The same, for a server that shall outlive this process.
    pub(crate) fn unleashed(mut self) -> Tools {
        self.leash = false;
        self
    }

    /// A command for one of the programs; its output goes to `log`.
    pub(crate) fn command(&self, program: &str, log: &Path) -> anyhow::Result<Command> {
        let path = self.installation.bin.join(program);
        let mut command = if self.leash {
            let mut command = Command::new("setpriv");
            command.args(["--pdeathsig", "INT"]).arg(path);
            command
        } else {
            Command::new(path)
        };
        let output = File::create(log).with_context(|| format!("can't write {}", log.display()))?;
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output).current_dir(&self.directory);
        // PGDATA, PGPORT, PGOPTIONS and their kin are meant for clients of the caller, not for these.
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"PG")) {
            command.env_remove(name);
        }
        // Messages are searched for reasons, in English.
        command.env("LC_MESSAGES", "C").env_remove("LC_ALL").env_remove("LANGUAGE");
        if let Account::Other { uid, gid, .. } = &self.account {
            command.uid(*uid).gid(*gid).env("HOME", &self.directory);
        }
        Ok(command)
    }

    /// Runs a program to its end. Its output stays in `log` when it fails.
    pub(crate) async fn run(&self, program: &str, arguments: &[&str], log: &Path) -> anyhow::Result<()> {
        let mut process = Process::spawn(self.command(program, log)?.args(arguments))
            .with_context(|| format!("can't start {}", self.installation.bin.join(program).display()))?;
        let status = process.wait().await;
        if status.success() {
            let _ = fs::remove_file(log);
            return Ok(());
        }
        let reason = failure_in(&tail(log)).unwrap_or_else(|| status.to_string());
        Err(self.explain(program, &reason, log))
    }

    /// The error for a program that gave `reason` and left the rest in `log`.
    pub(crate) fn explain(&self, program: &str, reason: &str, log: &Path) -> anyhow::Error {
        if reason.contains("No space left on device") {
            return disk::full(&self.directory);
        }
        let kept = if log.exists() { format!(" (all of it: {})", log.display()) } else { String::new() };
        failure::failed(format!("{program} failed: {reason}{kept}"))
    }
}

/// The end of a file, as text.
pub(crate) fn tail(path: &Path) -> String {
    let bytes = fs::read(path).unwrap_or_default();
    let start = bytes.len().saturating_sub(OUTPUT_TAIL_BYTES);
    String::from_utf8_lossy(&bytes[start..]).into_owned()
}

/// The line in a program's output that says why it failed: a full disk wins, then the first error.
pub(crate) fn failure_in(output: &str) -> Option<String> {
    const MARKS: [&str; 5] = ["PANIC:", "FATAL:", "ERROR:", "error:", "could not"];
    let full = output.lines().find(|line| line.contains("No space left on device"));
    let marked = || MARKS.iter().find_map(|mark| output.lines().find(|line| line.contains(mark)));
    let line = full.or_else(marked).or_else(|| output.lines().rfind(|line| !line.trim().is_empty()))?;
    let start = MARKS.iter().find_map(|mark| line.find(mark).map(|at| at + mark.len())).unwrap_or(0);
    let start = if line[..start].ends_with("could not") { start - "could not".len() } else { start };
    Some(line[start..].trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_is_the_first_error_line_without_its_prefix() {
        let output =
            "2026-01-01 UTC [7] LOG:  starting\n2026-01-01 UTC [7] FATAL:  lock file is there\nHINT: x\n";
        assert_eq!(failure_in(output).as_deref(), Some("lock file is there"));
        assert_eq!(
            failure_in("pg_basebackup: error: connection failed\n").as_deref(),
            Some("connection failed")
        );
        assert_eq!(failure_in("could not open x\n").as_deref(), Some("could not open x"));
        assert_eq!(failure_in("just this\n\n").as_deref(), Some("just this"));
        assert_eq!(failure_in(""), None);
    }

    #[test]
    fn a_full_disk_is_the_reason_wherever_it_stands() {
        let output = "initdb: error: child failed\nFATAL:  could not extend: No space left on device\n";
        assert!(failure_in(output).expect("there is one").contains("No space left"));
    }
}
