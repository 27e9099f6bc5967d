//! The front door: accepts connections, holds those that have not logged in to their limits, and hands clients that
//! have to a worker.
//!
//! What is said at the door is `login`'s. Nothing here blocks: a slow or hostile login costs one task and a few
//! kilobytes, and ends at its deadline, which counts from the connect and not from the last byte.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use wire::encode::{self, ErrorReply, Severity};
use wire::sqlstate::SqlState;

use crate::admin;
use crate::cancel;
use crate::front::{Front, Place};
use crate::login::{LoggedIn, LoginError, Outcome, login};
use crate::mail::{ClientGuard, NewClient, ToWorker};
use crate::overview::AdminWorld;
use crate::spawn;

/// Most connections that have not logged in: in all, and from one address. An application server that starts again
/// opens all its connections at once, so one address may have many.
const STRANGERS_MAX: usize = 4000;
const STRANGERS_PER_ADDRESS_MAX: usize = 2000;

/// Connections waiting to be accepted.
const BACKLOG: i32 = 1024;

/// Pause after an accept failed because something has run out (EMFILE, ENFILE, ENOMEM).
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

/// Keepalive of a client: idle, interval, probes. A client that vanished is noticed within about a minute.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(45);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_PROBES: u32 = 3;

/// Opens a listening socket.
///
/// # Errors
/// What the operating system said.
pub(crate) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A restart must not wait for the last connections' TIME_WAIT.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // So that "*" can be both families, each with its own socket.
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    prepare(&socket)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Options for the accepted sockets, which inherit them from the listening one (Linux): this spares five system calls
/// a login.
fn prepare(socket: &Socket) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_IDLE)
        .with_interval(KEEPALIVE_INTERVAL)
        .with_retries(KEEPALIVE_PROBES);
    socket.set_tcp_keepalive(&keepalive)
}

/// What a listener works with.
#[derive(Clone)]
pub(crate) struct Door {
    pub(crate) front: Arc<Front>,
    pub(crate) admin: Arc<AdminWorld>,
    pub(crate) strangers: Arc<Strangers>,
}

/// Accepts until the task is ended.
pub(crate) async fn serve(listener: TcpListener, door: Door) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let Some(stranger) = door.strangers.enter(peer.ip()) else {
                    tracing::debug!(%peer, "too many connections that have not logged in");
                    turn_away(&stream);
                    continue;
                };
                spawn::task("login", meet(stream, peer, (door.clone(), stranger)));
            }
            Err(error) => {
                // The peer gave up in the queue: nothing of ours. Anything else won't pass by itself at once.
                if error.kind() != io::ErrorKind::ConnectionAborted {
                    tracing::warn!(%error, "a connection could not be accepted");
                    sleep(EXHAUSTED_PAUSE).await;
                }
            }
        }
    }
}

/// One connection, from its accept to its hand-over.
async fn meet(mut stream: TcpStream, peer: SocketAddr, (door, stranger): (Door, Stranger)) {
    let login_max = door.front.door.load().login_max;
    let outcome = match timeout(login_max, login(&mut stream, &*door.front)).await {
        Ok(outcome) => outcome,
        Err(_) => {
            tracing::info!(%peer, "a login was not complete within client_login_timeout");
            return;
        }
    };
    // A cancel request may wait for its node: it stays a stranger until it ends, and so is counted.
    let stranger = Some(stranger).filter(|_| matches!(outcome, Ok(Outcome::Cancel(..))));
    match outcome {
        Ok(Outcome::Client(client)) => hand_over(stream, peer, &door.front, *client).await,
        Ok(Outcome::Admin(user)) => {
            tracing::info!(%peer, user = &*user, "an operator has logged in");
            admin::serve(stream, user, door.admin).await;
        }
        Ok(Outcome::Cancel(pid, key)) => {
            cancel::request(&door.front.cancel_keys, &door.front.handles(), (pid, key)).await;
            drop(stranger);
        }
        Err(LoginError::Gone(error)) => tracing::debug!(%peer, %error, "a connection ended during its login"),
        Err(LoginError::Refused(refusal)) => {
            tracing::info!(%peer, sqlstate = %refusal.sqlstate, told = ?refusal.message, "a login was refused");
        }
    }
}

/// Says why, as far as the kernel takes it at once, to a connection that is closed before its login.
fn turn_away(stream: &TcpStream) {
    let mut answer = Vec::new();
    let error = ErrorReply {
        severity: Severity::Fatal,
        sqlstate: SqlState::TOO_MANY_CONNECTIONS,
        message: "too many connections are logging in at this moment",
        detail: None,
        hint: Some("Try again in a moment."),
    };
    encode::error_response(&mut answer, &error);
    let _ = stream.try_write(&answer);
}

async fn hand_over(stream: TcpStream, peer: SocketAddr, front: &Front, client: LoggedIn<Place>) {
    let Some((index, worker)) = front.least_busy() else { return };
    let socket = match stream.into_std() {
        Ok(socket) => socket,
        Err(error) => {
            tracing::warn!(%peer, %error, "a socket could not be handed over");
            return;
        }
    };
    client.cancel.assign(index);
    let (cancel, place, counted) = (client.cancel, client.place, Place::count(&worker.clients));
    let guard = ClientGuard::new(move || drop((cancel, place, counted)));
    let new = NewClient {
        number: client.number,
        socket,
        peer,
        database: client.database,
        mode: client.mode,
        user: client.user,
        parameters: client.parameters,
        guard,
    };
    if !worker.handle.send(ToWorker::Client(Box::new(new))).await {
        tracing::error!(%peer, "the worker has ended; a client is lost");
    }
}

/// Counts connections that have not logged in.
#[derive(Default)]
pub(crate) struct Strangers(Mutex<HashMap<IpAddr, usize>>);

/// One of them; leaves when dropped.
pub(crate) struct Stranger {
    all: Arc<Strangers>,
    address: IpAddr,
}

impl Strangers {
    /// One more from this address, if there is room.
    fn enter(self: &Arc<Self>, address: IpAddr) -> Option<Stranger> {
        let mut by_address = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let total: usize = by_address.values().sum();
        let here = by_address.get(&address).copied().unwrap_or(0);
        if total >= STRANGERS_MAX || here >= STRANGERS_PER_ADDRESS_MAX {
            return None;
        }
        by_address.insert(address, here + 1);
        Some(Stranger { all: Arc::clone(self), address })
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let mut by_address = self.all.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(here) = by_address.get_mut(&self.address) {
            *here -= 1;
            if *here == 0 {
                by_address.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(i: usize) -> IpAddr {
        IpAddr::from([10, 0, u8::try_from(i / 256).unwrap(), u8::try_from(i % 256).unwrap()])
    }

    #[test]
    fn a_prepared_socket_sends_at_once_and_notices_a_vanished_peer() {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        prepare(&socket).unwrap();
        assert!(socket.tcp_nodelay().unwrap() && socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), KEEPALIVE_IDLE);
        assert_eq!(socket.tcp_keepalive_interval().unwrap(), KEEPALIVE_INTERVAL);
    }

    #[test]
    fn one_address_can_not_take_every_place_and_all_together_not_more_than_there_are() {
        let strangers = Arc::new(Strangers::default());
        let mut held: Vec<_> =
            (0..STRANGERS_PER_ADDRESS_MAX).map(|_| strangers.enter(address(0)).unwrap()).collect();
        assert!(strangers.enter(address(0)).is_none());
        held.extend((STRANGERS_PER_ADDRESS_MAX..STRANGERS_MAX).map(|i| strangers.enter(address(i)).unwrap()));
        assert!(strangers.enter(address(5000)).is_none());
        held.truncate(1);
        assert!(strangers.enter(address(0)).is_some());
        drop(held);
        assert!(strangers.0.lock().unwrap().is_empty());
    }
}
