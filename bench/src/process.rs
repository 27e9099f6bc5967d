//! The processes of a bench: how they are started, what they have cost, and that they end.
//!
//! Each is started in a session of its own: the kernel's autogroup scheduling gives each session an equal share, and a proxy that shares
//! one with a build would be starved by it. Each dies with the bench (`setpriv --pdeathsig`). Processor time comes from `schedstat`
//! of every thread, in nanoseconds: the ticks of `stat` are 10 ms, too coarse for a run of a second.

use load::clock::now;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};

/// Longest time a process may take to end when asked to.
const END_MAX: Duration = Duration::from_secs(5);

/// Whether this process may measure.
pub(crate) enum Session {
    /// It leads a session of its own.
    Own,
    /// It has run itself again in one; that has ended with this status.
    Child(ExitCode),
}

/// Runs this program again in a session of its own, unless it is in one: the generator must not share its processor time with a build
/// that was started from the same terminal.
pub(crate) fn in_own_session() -> anyhow::Result<Session> {
    if leads_session(&fs::read_to_string("/proc/self/stat")?, std::process::id()) {
        return Ok(Session::Own);
    }
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "TERM", "setsid"])
        .arg(std::env::current_exe()?)
        .args(std::env::args_os().skip(1));
    let status = command.status().context("cannot start setpriv and setsid (apt-get install util-linux)")?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(Session::Child(code.map_or(ExitCode::FAILURE, ExitCode::from)))
}

/// Is this the stat line of a process (proc(5)) that leads its session? The session is zero when its leader is outside the
/// process's namespace.
fn leads_session(stat: &str, pid: u32) -> bool {
    let session = stat.rsplit(") ").next().unwrap_or_default().split_ascii_whitespace().nth(3);
    session.and_then(|session| session.parse::<u32>().ok()) == Some(pid)
}

/// As whom processes run.
#[derive(Clone)]
pub(crate) struct Account {
    /// None: as whoever started the bench.
    name: Option<String>,
}

impl Account {
    /// Root starts everything as another user: PgBouncer and PostgreSQL refuse to run as root.
    pub(crate) fn find() -> anyhow::Result<Account> {
        if !rustix::process::geteuid().is_root() {
            return Ok(Account { name: None });
        }
        let passwd = fs::read_to_string("/etc/passwd").context("cannot read /etc/passwd")?;
        let known = |name: &&str| passwd.lines().any(|line| line.starts_with(&format!("{name}:")));
        let name = ["postgres", "nobody"].into_iter().find(known);
        let name = name.context("there is no user postgres or nobody to run servers as")?;
        Ok(Account { name: Some(name.to_owned()) })
    }

    /// Gives a file or directory to this user.
    pub(crate) fn own(&self, path: &Path) -> anyhow::Result<()> {
        let Some(name) = &self.name else { return Ok(()) };
        let mut command = Command::new("chown");
        command.arg("-R").arg(format!("{name}:")).arg(path);
        run(&mut command).map(drop)
    }

    /// A command that runs this program in a session of its own and dies with us.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("setpriv");
        if let Some(name) = &self.name {
            command.args(["--reuid", name, "--regid", name, "--init-groups"]);
        }
        command.args(["--pdeathsig", "KILL", "setsid"]).arg(program);
        command.stdin(Stdio::null()).current_dir("/");
        command
    }
}

/// Runs a command to its end and returns what it printed.
pub(crate) fn run(command: &mut Command) -> anyhow::Result<String> {
    let output = command.output().with_context(|| format!("cannot start {command:?}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if !output.status.success() {
        bail!("{command:?} failed: {}\n{}", text(&output.stdout), text(&output.stderr));
    }
    Ok(text(&output.stdout))
}

/// A process that runs until it is dropped.
pub(crate) struct Service {
    child: Child,
    log: PathBuf,
    stop: Signal,
}

impl Service {
    /// Starts it; what it prints goes to this file.
    pub(crate) fn start(mut command: Command, log: &Path) -> anyhow::Result<Service> {
        let file = fs::File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        command.stdout(file.try_clone()?).stderr(file);
        let child = command.spawn().with_context(|| format!("cannot start {command:?}"))?;
        Ok(Service { child, log: log.to_owned(), stop: Signal::TERM })
    }

    /// Ends it by this signal and not by SIGTERM.
    pub(crate) fn stopped_by(mut self, signal: Signal) -> Service {
        self.stop = signal;
        self
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has printed, or the end of it.
    pub(crate) fn last_words(&self) -> String {
        let text = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }

    /// Tries this until it works, as long as the process lives.
    pub(crate) fn wait_for<T>(
        &mut self,
        what: &str,
        max: Duration,
        mut ready: impl FnMut() -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let deadline = now() + max;
        loop {
            let error = match ready() {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            if let Some(status) = self.child.try_wait()? {
                bail!("{what} has ended ({status}):\n{}", self.last_words());
            }
            if now() > deadline {
                let words = self.last_words();
                return Err(error.context(format!("{what} is not ready after {} s\n{words}", max.as_secs())));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// What the process and its descendants have used so far.
    pub(crate) fn cpu(&self) -> Cpu {
        Cpu::of(self.pid())
    }

    /// What the process and its descendants hold.
    pub(crate) fn memory(&self) -> anyhow::Result<Memory> {
        let mut sum = Memory::default();
        for pid in family(self.pid()) {
            let path = format!("/proc/{pid}/smaps_rollup");
            let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
            let field = |name: &str| -> u64 {
                let line = text.lines().find(|line| line.starts_with(name));
                let number = line.and_then(|line| line.split_ascii_whitespace().nth(1));
                number.and_then(|number| number.parse().ok()).unwrap_or(0)
            };
            sum.pss_kib += field("Pss:");
            sum.rss_kib += field("Rss:");
        }
        Ok(sum)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) else { return };
        // It may have ended by itself.
        let _gone = kill_process(pid, self.stop);
        let deadline = now() + END_MAX;
        while now() < deadline {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _killed = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// Memory of a process, in KiB.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Memory {
    /// Its own, and its share of what is shared.
    pub(crate) pss_kib: u64,
    /// All that is resident.
    pub(crate) rss_kib: u64,
}

/// Processor time, user and system together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Cpu {
    /// Of the threads that live, exactly.
    live_ns: u64,
    /// Of all threads there ever were, in ticks.
    ticks: u64,
}

impl Cpu {
    /// Of this process and its descendants.
    pub(crate) fn of(pid: u32) -> Cpu {
        let mut sum = Cpu::default();
        for pid in family(pid) {
            let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { continue };
            for task in tasks.flatten() {
                let text = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
                let first = text.split_ascii_whitespace().next();
                sum.live_ns += first.and_then(|ns| ns.parse::<u64>().ok()).unwrap_or(0);
            }
            // user, system; fields 14 and 15, counted behind the name, which may hold blanks.
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let fields = stat.rsplit(") ").next().unwrap_or_default().split_ascii_whitespace();
            sum.ticks += fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum::<u64>();
        }
        sum
    }

    /// What was used since. A thread that has ended in between is missing from the exact count: then the ticks say more.
    pub(crate) fn since(self, before: Cpu) -> Duration {
        let exact = Duration::from_nanos(self.live_ns.saturating_sub(before.live_ns));
        let ticks = Duration::from_millis(self.ticks.saturating_sub(before.ticks) * 10);
        let doubt = Duration::from_millis(25) + exact / 20;
        if ticks > exact + doubt { ticks } else { exact }
    }
}

/// A process and all that descend from it.
fn family(pid: u32) -> Vec<u32> {
    let mut parents = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(child) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let parent = stat.rsplit(") ").next().unwrap_or_default().split_ascii_whitespace().nth(1);
        if let Some(parent) = parent.and_then(|parent| parent.parse::<u32>().ok()) {
            parents.push((child, parent));
        }
    }
    let (mut found, mut next) = (vec![pid], 0);
    while let Some(&parent) = found.get(next) {
        found.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(child, _)| *child));
        next += 1;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_leads_a_session_is_read_from_its_stat() {
        assert!(leads_session("7 (a) b) S 1 7 7 0 -1", 7));
        assert!(!leads_session("7 (a) S 1 7 3 0 -1", 7));
        assert!(!leads_session("7 (a) S 1 7 0 0 -1", 7));
    }

    #[test]
    fn the_time_of_other_threads_is_counted() {
        let before = Cpu::of(std::process::id());
        let enough = || Cpu::of(std::process::id()).since(before) > Duration::from_millis(20);
        // This thread only waits; the other works until its work is seen, at most for some seconds.
        let work = || {
            (0..50_000)
                .any(|round| (0..20_000).fold(round, |a, b| std::hint::black_box(a ^ b)) > -1 && enough())
        };
        let seen = std::thread::scope(|scope| scope.spawn(work).join());
        assert!(matches!(seen, Ok(true)));
    }

    #[test]
    fn ticks_are_believed_only_when_a_thread_has_gone() {
        let at = |live_ms: u64, ticks| Cpu { live_ns: live_ms * 1_000_000, ticks };
        assert_eq!(at(1015, 102).since(at(0, 0)), Duration::from_millis(1015));
        assert_eq!(at(100, 50).since(at(0, 0)), Duration::from_millis(500));
    }
}
