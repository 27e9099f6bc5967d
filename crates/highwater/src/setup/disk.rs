//! The disk: is there room for what is wanted, the sentence for when there is not, and writing what was made.

use std::fs::File;
use std::path::Path;

use anyhow::Context;
use rustix::fs::statvfs;

use crate::failure;

/// What one new node needs to begin with: an empty cluster, its first WAL segments, and some air. Bytes.
const NODE_BYTES: u64 = 120 << 20;

/// Refuses when there is no room for `nodes` new ones.
pub(crate) fn require_room(directory: &Path, nodes: usize) -> anyhow::Result<()> {
    let needed = NODE_BYTES.saturating_mul(nodes as u64);
    match free_bytes(directory) {
        Some(free) if free < needed => Err(failure::failed(format!(
            "the disk that holds {} has {} MB free and about {} MB are needed: free some, or choose another with --dir",
            directory.display(),
            free >> 20,
            needed >> 20
        ))),
        _ => Ok(()),
    }
}

/// The error for a program that ran out of room.
pub(crate) fn full(directory: &Path) -> anyhow::Error {
    let free = free_bytes(directory).map_or_else(String::new, |free| format!(" ({} MB free)", free >> 20));
    failure::failed(format!(
        "the disk that holds {} is full{free}: free some room and run this again, or choose another with --dir",
        directory.display()
    ))
}

/// Waits until everything on the disk that holds `directory` is written: one call, in place of one for each of the
/// thousand files of a new cluster.
pub(crate) fn sync(directory: &Path) -> anyhow::Result<()> {
    #[cfg(target_os = "linux")]
    {
        let opened = File::open(directory).with_context(|| format!("can't open {}", directory.display()))?;
        rustix::fs::syncfs(opened).with_context(|| format!("can't write {}", directory.display()))
    }
    #[cfg(not(target_os = "linux"))]
    {
        rustix::fs::sync();
        Ok(())
    }
}

/// `None` when the system does not say.
pub(crate) fn free_bytes(directory: &Path) -> Option<u64> {
    let facts = statvfs(directory).ok()?;
    Some(facts.f_bavail.saturating_mul(facts.f_frsize))
}
