//! A child process that is ours: it is watched, and it never outlives the value that stands for it.
//!
//! Children get their own process group, so that a Ctrl-C at the terminal reaches only us and we can stop them in
//! order. Knows nothing of PostgreSQL, but for one thing: SIGINT asks every program of it to stop at once.

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

/// How often a child is looked at while it is waited for.
const POLL: Duration = Duration::from_millis(10);

/// How long a dropped child may take to stop before it is killed. Reached only when something has failed already.
const DROP_WAIT_MAX: Duration = Duration::from_secs(10);

/// A running child, or one that has ended and was seen to.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    pid: Pid,
}

impl Process {
    /// Starts `command` in a process group of its own.
    pub(crate) fn spawn(command: &mut Command) -> std::io::Result<Process> {
        let child = command.process_group(0).spawn()?;
        let pid = Pid::from_child(&child);
        Ok(Process { child, pid })
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("waitpid on our own, unreaped child cannot fail")
    }

    /// Waits until it has ended.
    pub(crate) async fn wait(&mut self) -> ExitStatus {
        loop {
            if let Some(status) = self.ended() {
                return status;
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Sends a signal, unless it has ended: its number could be another's by then.
    pub(crate) fn signal(&mut self, signal: Signal) {
        if self.ended().is_none() {
            // The only failure left is that it ended this moment.
            let _ = kill_process(self.pid, signal);
        }
    }

    /// Kills it and all that descend from it.
    pub(crate) fn kill_with_descendants(&mut self) {
        if self.ended().is_some() {
            return;
        }
        let family = descendants(self.pid, &process_table());
        let _ = kill_process_group(self.pid, Signal::KILL);
        for pid in family {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.signal(Signal::INT);
        let mut waited = Duration::ZERO;
        while self.ended().is_none() {
            if waited >= DROP_WAIT_MAX {
                self.kill_with_descendants();
                let _ = self.child.wait();
                return;
            }
            std::thread::sleep(POLL);
            waited += POLL;
        }
    }
}

/// `(process, its parent)` for every process that /proc shows.
fn process_table() -> Vec<(i32, i32)> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
            // proc(5): `pid (name) state ppid …`; the name may contain anything, also brackets.
            let parent = stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()?;
            Some((pid, parent))
        })
        .collect()
}

fn descendants(of: Pid, table: &[(i32, i32)]) -> Vec<Pid> {
    let mut family = vec![of];
    let mut next = 0;
    while let Some(parent) = family.get(next).copied() {
        let children = table.iter().filter(|(_, p)| *p == parent.as_raw_nonzero().get());
        family.extend(children.filter_map(|(pid, _)| Pid::from_raw(*pid)));
        next += 1;
    }
    family.remove(0);
    family
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descendants_are_found_through_generations() {
        let of = Pid::from_raw(10).expect("not zero");
        let found = descendants(of, &[(11, 10), (12, 11), (13, 12), (20, 1), (21, 20)]);
        assert_eq!(found.iter().map(|pid| pid.as_raw_nonzero().get()).collect::<Vec<_>>(), [11, 12, 13]);
    }
}
