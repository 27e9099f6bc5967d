//! Processor time of processes and their descendants, from /proc: what a server spent on a load.
//!
//! Of this machine only, and of Linux.

use std::fs;
use std::time::Duration;

/// Processor time, user and system together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cpu {
    /// Of the threads that live, exactly.
    live_ns: u64,
    /// Of all threads there ever were, and of processes that have ended, in ticks.
    ticks: u64,
}

impl Cpu {
    /// Of this process and its descendants.
    #[must_use]
    pub fn of(pid: u32) -> Cpu {
        Cpu::sum(&family(pid))
    }

    /// Of this process, without its descendants that live.
    #[must_use]
    pub fn alone(pid: u32) -> Cpu {
        Cpu::sum(&[pid])
    }

    fn sum(pids: &[u32]) -> Cpu {
        let mut sum = Cpu::default();
        for pid in pids {
            let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { continue };
            for task in tasks.flatten() {
                let text = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
                let first = text.split_ascii_whitespace().next();
                sum.live_ns += first.and_then(|ns| ns.parse::<u64>().ok()).unwrap_or(0);
            }
            // user, system, and those of children that have ended and were waited for; fields 14 to 17, counted behind the
            // name, which may hold blanks.
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let fields = stat.rsplit(") ").next().unwrap_or_default().split_ascii_whitespace();
            sum.ticks += fields.skip(11).take(4).filter_map(|field| field.parse::<u64>().ok()).sum::<u64>();
        }
        sum
    }

    /// What was used since. A thread or process that has ended in between is missing from the exact count: then the ticks say more.
    #[must_use]
    pub fn since(self, before: Cpu) -> Duration {
        let exact = Duration::from_nanos(self.live_ns.saturating_sub(before.live_ns));
        let ticks = Duration::from_millis(self.ticks.saturating_sub(before.ticks) * 10);
        let doubt = Duration::from_millis(25) + exact / 20;
        if ticks > exact + doubt { ticks } else { exact }
    }
}

/// A process and all that descend from it.
#[must_use]
pub fn family(pid: u32) -> Vec<u32> {
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
