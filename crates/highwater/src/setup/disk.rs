//! Room on the disk: is there enough for what is wanted, and the sentence for when there is not.

use std::path::Path;

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

/// `None` when the system does not say.
fn free_bytes(directory: &Path) -> Option<u64> {
    let facts = statvfs(directory).ok()?;
    Some(facts.f_bavail.saturating_mul(facts.f_frsize))
}
