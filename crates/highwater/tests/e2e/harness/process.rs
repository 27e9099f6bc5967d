//! Child processes that cannot outlive the test: each is told by the kernel to end when this process does, and is
//! ended by its own process id when its owner is dropped.
//!
//! Never signals by name, and never a process it did not start.

use std::io;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

pub(crate) use rustix::process::Signal;
use rustix::process::{Pid, kill_process};

/// The user that runs PostgreSQL when the tests run as root, which PostgreSQL refuses.
pub(crate) const POSTGRES_USER: &str = "postgres";

type Order = (Command, Sender<io::Result<Child>>);

/// The parent-death signal is tied to the *thread* that starts the child, and test threads are short-lived: so one
/// thread that lives as long as the process starts all of them.
fn spawner() -> &'static Mutex<Sender<Order>> {
    static SPAWNER: OnceLock<Mutex<Sender<Order>>> = OnceLock::new();
    SPAWNER.get_or_init(|| {
        let (orders, inbox) = channel::<Order>();
        std::thread::spawn(move || {
            for (mut command, answer) in inbox {
                answer.send(command.spawn()).ok();
            }
        });
        Mutex::new(orders)
    })
}

/// A running child.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    /// What ends it at once without leaving anything behind.
    quit: Signal,
}

impl Process {
    /// Starts `program` so that it gets `quit` when this process ends, as `user` if given and if we are root.
    pub(crate) fn start(
        program: &Path,
        user: Option<&str>,
        quit: Signal,
        prepare: impl FnOnce(&mut Command),
    ) -> Self {
        let mut command = Command::new("setpriv");
        command.arg(format!("--pdeathsig={}", quit_name(quit)));
        if let Some(user) = user.filter(|_| is_root()) {
            command.arg(format!("--reuid={user}")).arg(format!("--regid={user}")).arg("--init-groups");
        }
        command.arg("--").arg(program).stdin(Stdio::null());
        prepare(&mut command);
        let (answer, started) = channel();
        spawner().lock().unwrap().send((command, answer)).expect("the spawner lives as long as the process");
        let child = started.recv().expect("the spawner answers every order");
        let child = child.unwrap_or_else(|e| panic!("setpriv (package util-linux) cannot be run: {e}"));
        Process { child, quit }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(pid(self.child.id()), signal).ok();
    }

    /// Its exit status, if it has ended.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("the child is ours to wait for")
    }

    /// Sends `signal` and waits for the end; panics when it takes longer than `limit`.
    pub(crate) fn end(&mut self, signal: Signal, limit: Duration) -> ExitStatus {
        self.signal(signal);
        self.wait(limit)
            .unwrap_or_else(|| panic!("process {} did not end within {limit:?} of {signal:?}", self.pid()))
    }

    /// Waits for the end without asking for it.
    pub(crate) fn wait(&mut self, limit: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.ended() {
                return Some(status);
            }
            if Instant::now() > deadline {
                return None;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        self.signal(Signal::CONT);
        self.signal(self.quit);
        if self.wait(Duration::from_secs(10)).is_none() {
            self.signal(Signal::KILL);
            self.child.wait().ok();
        }
    }
}

/// Process ids of the direct children of `parent`.
pub(crate) fn children(parent: u32) -> Vec<u32> {
    let processes = std::fs::read_dir("/proc").expect("/proc is mounted");
    let pids = processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| stat_field(*pid, 4) == Some(u64::from(parent))).collect()
}

/// A field of `/proc/<pid>/stat`, counted as proc(5) does; only fields behind the name (from 3 on) that are numbers.
pub(crate) fn stat_field(pid: u32, field: usize) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.split(' ').nth(field - 3)?.parse().ok()
}

/// Signals a process that is a child of one of ours.
pub(crate) fn signal_pid(process: u32, signal: Signal) {
    kill_process(pid(process), signal).ok();
}

fn pid(raw: u32) -> Pid {
    Pid::from_raw(i32::try_from(raw).expect("process ids are small")).expect("process ids are not zero")
}

/// PostgreSQL refuses to run as root.
pub(crate) fn is_root() -> bool {
    rustix::process::getuid().is_root()
}

/// Runs a command to its end; panics with its output when it fails.
pub(crate) fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|e| panic!("{command:?} cannot be run: {e}"));
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?} failed with {}:\n{said}", output.status);
    said
}

fn quit_name(signal: Signal) -> &'static str {
    match signal {
        Signal::QUIT => "QUIT",
        Signal::TERM => "TERM",
        _ => "KILL",
    }
}
