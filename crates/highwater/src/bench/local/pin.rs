//! Cores of its own for each server, where no control group can be made: the kernel's affinity masks.

use std::fs;

use load::cpu::family;
use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Cores that have to be left for the router and the load generator.
const OTHERS: usize = 2;

/// Gives each server a core that nobody else of us uses; or says why not. Ends with the servers' processes, but for our
/// own, which stay on the cores that are left.
pub(super) fn apart(servers: &[(String, u32)]) -> Result<(), String> {
    let ours = sched_getaffinity(None).map_err(|error| format!("sched_getaffinity: {error}"))?;
    let cores: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|core| ours.is_set(*core)).collect();
    if cores.len() < servers.len() + OTHERS {
        return Err(format!(
            "{} servers, the router and the load generator need {} cores, and there are {}",
            servers.len(),
            servers.len() + OTHERS,
            cores.len()
        ));
    }
    let (theirs, rest) = cores.split_at(servers.len());
    // Everything that descends from us first, the servers behind it.
    move_to(&family(std::process::id()), rest)?;
    servers.iter().zip(theirs).try_for_each(|((_, pid), core)| move_to(&family(*pid), &[*core]))
}

/// Puts every thread of these processes on these cores. What has ended meanwhile needs none.
fn move_to(pids: &[u32], cores: &[usize]) -> Result<(), String> {
    let mut set = CpuSet::new();
    cores.iter().for_each(|core| set.set(*core));
    for pid in pids {
        for task in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
            let id = task.file_name().to_str().and_then(|name| Pid::from_raw(name.parse().ok()?));
            match sched_setaffinity(id, &set) {
                Ok(()) | Err(rustix::io::Errno::SRCH) => {}
                Err(error) => return Err(format!("sched_setaffinity: {error}")),
            }
        }
    }
    Ok(())
}
