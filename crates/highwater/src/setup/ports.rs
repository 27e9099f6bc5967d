//! TCP ports on the loopback address: which are free, and who has the others.
//!
//! A port found free may be taken before it is used; the one who uses it reports that.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;

use crate::failure;

/// True when `port` can be listened on at 127.0.0.1.
pub(crate) fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// The first free port from `from` on that is not in `taken`.
pub(crate) fn free_from(from: u16, taken: &[u16]) -> anyhow::Result<u16> {
    (from..=u16::MAX)
        .find(|port| !taken.contains(port) && is_free(*port))
        .ok_or_else(|| failure::failed(format!("no TCP port from {from} on is free on 127.0.0.1")))
}

/// An error that names the process when `port` is taken.
pub(crate) fn require_free(port: u16, purpose: &str) -> anyhow::Result<()> {
    if is_free(port) {
        return Ok(());
    }
    let owner = holder(port).map_or_else(String::new, |who| format!(" by {who}"));
    Err(failure::failed(format!(
        "port {port} on 127.0.0.1, wanted for {purpose}, is in use{owner}: stop that, or choose another with --port"
    )))
}

/// The process that listens on `port`, as `name (pid 1)`, as far as /proc lets this user see it.
pub(crate) fn holder(port: u16) -> Option<String> {
    let inode = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .find_map(|table| listening_inode(&fs::read_to_string(table).ok()?, port))?;
    let wanted = format!("socket:[{inode}]");
    for entry in fs::read_dir("/proc").ok()?.flatten() {
        let process = entry.path();
        if has_descriptor(&process, &wanted) {
            let name = fs::read_to_string(process.join("comm")).unwrap_or_default();
            return Some(format!("{} (pid {})", name.trim(), entry.file_name().to_string_lossy()));
        }
    }
    None
}

fn has_descriptor(process: &Path, wanted: &str) -> bool {
    let Ok(descriptors) = fs::read_dir(process.join("fd")) else { return false };
    descriptors.flatten().any(|fd| fs::read_link(fd.path()).is_ok_and(|to| to.as_os_str() == wanted))
}

/// The inode of the socket in state LISTEN on `port`, from the text of /proc/net/tcp (proc(5)).
fn listening_inode(table: &str, port: u16) -> Option<u64> {
    const LISTEN: &str = "0A";
    table.lines().skip(1).find_map(|line| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        let (_, local_port) = fields.next()?.rsplit_once(':')?;
        let state = fields.nth(1)?;
        (state == LISTEN && u16::from_str_radix(local_port, 16) == Ok(port))
            .then(|| fields.nth(5)?.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1920 00000000:0000 0A 00000000:00000000 00:00000000 00000000   101        0 4242 1 0 100 0 0 10 0
   1: 0100007F:1921 0100007F:D431 01 00000000:00000000 00:00000000 00000000   101        0 4343 1 0 20 4 30 10 -1
";

    #[test]
    fn only_a_listening_socket_holds_a_port() {
        assert_eq!(listening_inode(TABLE, 6432), Some(4242));
        assert_eq!(listening_inode(TABLE, 6433), None);
        assert_eq!(listening_inode(TABLE, 1), None);
    }
}
