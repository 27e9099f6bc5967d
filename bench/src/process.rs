//! The processes of a bench: how they are started, what they have cost, and that they end.
//!
//! Each is started in a session of its own: the kernel's autogroup scheduling gives each session an equal share, and a proxy that shares
//! one with a build would be starved by it. Each dies with the bench (`setpriv --pdeathsig`). Processor time comes from `schedstat`
//! of every thread, in nanoseconds: the ticks of `stat` are 10 ms, too coarse for a run of a second.

use load::clock::now;
use load::cpu::{Cpu, family};
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_leads_a_session_is_read_from_its_stat() {
        assert!(leads_session("7 (a) b) S 1 7 7 0 -1", 7));
        assert!(!leads_session("7 (a) S 1 7 3 0 -1", 7));
        assert!(!leads_session("7 (a) S 1 7 0 0 -1", 7));
    }
}
