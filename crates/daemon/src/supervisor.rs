//! Tells whoever started the router how it fares, in the words of systemd's `sd_notify(3)`: ready, reloading, stopping, alive.
//!
//! A datagram to a socket whose name was handed in; nothing waits for it, and nothing is asked of it. Without such a socket,
//! nothing is told.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use crate::http;
use crate::overview::AdminWorld;
use crate::spawn;

/// A supervisor, or none.
#[derive(Debug, Default)]
pub struct Supervisor {
    told: Option<(UnixDatagram, SocketAddr)>,
    /// It ends a router from which it has heard nothing for so long.
    patience: Option<Duration>,
}

impl Supervisor {
    /// The one that listens at this address (`NOTIFY_SOCKET`: a path, or `@` and a name in the abstract namespace) and has this
    /// patience (`WATCHDOG_USEC`).
    ///
    /// # Errors
    /// The address is none, or there are no sockets.
    pub fn new(address: &OsStr, patience: Option<Duration>) -> io::Result<Supervisor> {
        let address = match address.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
            _ => SocketAddr::from_pathname(address)?,
        };
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        Ok(Supervisor { told: Some((socket, address)), patience })
    }

    /// Clients can connect.
    pub(crate) fn ready(&self) {
        self.tell("READY=1\nSTATUS=serving");
    }

    /// The settings are being read again.
    pub(crate) fn reloading(&self) {
        self.tell("RELOADING=1\nSTATUS=reading the settings again");
    }

    /// They have been, with this outcome.
    pub(crate) fn reloaded(&self, outcome: Result<(), String>) {
        self.tell(match outcome {
            Ok(()) => "READY=1\nSTATUS=serving, with changed settings",
            Err(_mistakes) => "READY=1\nSTATUS=serving, with the settings of before: the changed ones have mistakes, see the log",
        });
    }

    /// No new clients; what is running may finish.
    pub(crate) fn stopping(&self) {
        self.tell("STOPPING=1\nSTATUS=finishing what is running");
    }

    /// From here on says that the router is alive, as `/livez` does, often enough for its patience.
    pub(crate) fn keep_told(self: &Arc<Self>, admin: Arc<AdminWorld>) {
        let (Some(patience), Some(_)) = (self.patience, &self.told) else { return };
        let supervisor = Arc::clone(self);
        // As sd_watchdog_enabled(3) recommends, with a reserve for a machine that is busy.
        let pause = patience / 3;
        spawn::task("watchdog", async move {
            loop {
                if http::is_live(&admin) {
                    supervisor.tell("WATCHDOG=1");
                }
                sleep(pause).await;
            }
        });
    }

    fn tell(&self, what: &str) {
        let Some((socket, address)) = &self.told else { return };
        if let Err(error) = socket.send_to_addr(what.as_bytes(), address) {
            tracing::warn!(%error, what, "the supervisor (NOTIFY_SOCKET) could not be told");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 256];
        socket.set_nonblocking(true).unwrap();
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    #[test]
    fn a_supervisor_is_told_by_its_path_or_its_abstract_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let by_path = UnixDatagram::bind(&path).unwrap();
        Supervisor::new(path.as_os_str(), None).unwrap().ready();
        assert_eq!(heard(&by_path), "READY=1\nSTATUS=serving");

        let name = format!("highwater-test-{}", std::process::id());
        let abstract_one = SocketAddr::from_abstract_name(&name).unwrap();
        let by_name = UnixDatagram::bind_addr(&abstract_one).unwrap();
        Supervisor::new(OsStr::new(&format!("@{name}")), None).unwrap().stopping();
        assert!(heard(&by_name).starts_with("STOPPING=1\n"));
    }

    #[test]
    fn without_one_or_with_one_that_is_gone_nothing_happens() {
        Supervisor::default().ready();
        Supervisor::new(OsStr::new("/nowhere/at/all"), None).unwrap().ready();
        Supervisor::new(OsStr::new(&"x".repeat(200)), None).unwrap_err();
    }

    #[test]
    fn after_a_reload_it_is_ready_again_whatever_came_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let supervisor = Supervisor::new(path.as_os_str(), None).unwrap();
        supervisor.reloading();
        supervisor.reloaded(Err("a password: secret".to_owned()));
        assert!(heard(&socket).starts_with("RELOADING=1\n"));
        let last = heard(&socket);
        assert!(last.starts_with("READY=1\n") && !last.contains("secret"), "{last}");
    }
}
