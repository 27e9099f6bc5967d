//! System calls for each answer: `strace -c` on the running proxy, in a run of its own, since it slows everything down.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use load::Fleet;
use load::fleet::Plan;
use rustix::process::{Pid, Signal, kill_process};

/// Longest time for strace to attach.
const ATTACH: Duration = Duration::from_millis(500);
/// How long the proxy is watched.
const WATCH: Duration = Duration::from_millis(700);

/// Counts: all calls for each answer, and the most frequent ones.
pub(crate) fn count(
    pid: u32,
    at: &load::Target,
    plan: Plan,
    log: &Path,
) -> anyhow::Result<(f64, Vec<(String, f64)>)> {
    let mut fleet = Fleet::open(at, plan)?;
    fleet.drive(ATTACH)?;
    let mut strace = Command::new("strace")
        .args(["-c", "-f", "-qq", "-p", &pid.to_string(), "-o"])
        .arg(log)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("cannot start strace (apt-get install strace)")?;
    std::thread::sleep(ATTACH);
    let tally = fleet.drive(WATCH);
    let raw = i32::try_from(strace.id()).ok().and_then(Pid::from_raw).context("a process has a number")?;
    let told = kill_process(raw, Signal::INT);
    strace.wait()?;
    told?;
    let text = std::fs::read_to_string(log).with_context(|| format!("cannot read {}", log.display()))?;
    let calls = parse(&text);
    if calls.is_empty() {
        bail!("strace has counted nothing: may this user trace process {pid}?");
    }
    let answered = tally?.answered.max(1) as f64;
    let mut calls: Vec<(String, f64)> =
        calls.into_iter().map(|(name, count)| (name, count as f64 / answered)).collect();
    calls.sort_by(|a, b| b.1.total_cmp(&a.1));
    let all = calls.iter().map(|(_, count)| count).sum();
    calls.truncate(6);
    Ok((all, calls))
}

/// Names and counts of the table that `strace -c` prints.
fn parse(table: &str) -> Vec<(String, u64)> {
    let rows = table.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        // % time, seconds, usecs/call, calls, errors (maybe), name.
        let (calls, name) = (fields.get(3)?.parse().ok()?, fields.last()?);
        fields.first()?.parse::<f64>().ok()?;
        (fields.len() >= 5 && *name != "total").then(|| ((*name).to_owned(), calls))
    });
    rows.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_strace_is_read_with_and_without_errors() {
        let table = "% time     seconds  usecs/call     calls    errors syscall\n\
            ------ ----------- ----------- --------- --------- ----------------\n\
            \u{20}60.00    0.003000           3      1000        10 recvfrom\n\
            \u{20}40.00    0.002000           2       900           sendto\n\
            ------ ----------- ----------- --------- --------- ----------------\n\
            100.00    0.005000           2      1900        10 total\n";
        assert_eq!(parse(table), [("recvfrom".to_owned(), 1000), ("sendto".to_owned(), 900)]);
    }
}
