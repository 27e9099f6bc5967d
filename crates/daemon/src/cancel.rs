//! Cancel keys of clients, and the way of a CancelRequest to the node and back.
//!
//! A request names a client, never a backend: which backend works for that client at this moment only its worker
//! knows, and the backend is lent to nobody else until the cancel leg is over.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use subtle::ConstantTimeEq;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;
use wire::startup::encode_cancel_request;

use crate::mail::{BackendKey, ToWorker, WorkerHandle};

/// Longest time from the connect of a cancel leg to its end. The leg uses no pool slot, and a node that can't answer
/// within this has other troubles.
const LEG_MAX: Duration = Duration::from_secs(1);

/// Longest time a client that sent a CancelRequest is kept waiting for its end.
const REQUEST_MAX: Duration = Duration::from_secs(10);

/// Most cancel legs to one node at a time.
const LEGS_PER_NODE_MAX: usize = 16;

/// Bytes of a cancel key under protocol 3.0, and from 3.2 on.
pub(crate) const KEY_LEN_SHORT: usize = 4;
pub(crate) const KEY_LEN_LONG: usize = 32;

/// The keys of all clients that are logged in.
#[derive(Default)]
pub(crate) struct Keys {
    live: Mutex<HashMap<i32, Live>>,
}

struct Live {
    key: Vec<u8>,
    client: u64,
    /// Known once the client was handed over.
    worker: Option<usize>,
}

/// A client's key, as it is told to it. Forgotten when dropped.
pub(crate) struct Registered {
    keys: Arc<Keys>,
    /// Looks like a process number; is random.
    pub(crate) pid: i32,
    /// The secret.
    pub(crate) key: Vec<u8>,
}

impl Keys {
    /// Makes a key for a client, from the operating system's randomness: under protocol 3.0 the four bytes of the
    /// process number count too.
    ///
    /// # Errors
    /// There is no randomness.
    pub(crate) fn register(
        self: &Arc<Self>,
        client: u64,
        key_len: usize,
    ) -> Result<Registered, getrandom::Error> {
        let mut key = vec![0; key_len];
        getrandom::fill(&mut key)?;
        let mut live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        let pid = loop {
            let mut pid = [0; 4];
            getrandom::fill(&mut pid)?;
            // Drivers print and compare it as a process number: positive.
            let pid = i32::from_be_bytes(pid) & i32::MAX;
            if pid != 0 && !live.contains_key(&pid) {
                break pid;
            }
        };
        live.insert(pid, Live { key: key.clone(), client, worker: None });
        Ok(Registered { keys: Arc::clone(self), pid, key })
    }

    /// The worker and number of the client whose key this is.
    pub(crate) fn find(&self, pid: i32, key: &[u8]) -> Option<(usize, u64)> {
        let live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        let found = live.get(&pid)?;
        let same: bool = found.key.ct_eq(key).into();
        if same { Some((found.worker?, found.client)) } else { None }
    }
}

impl Registered {
    /// The client is this worker's from here on.
    pub(crate) fn assign(&self, worker: usize) {
        let mut live = self.keys.live.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(live) = live.get_mut(&self.pid) {
            live.worker = Some(worker);
        }
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.keys.live.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.pid);
    }
}

/// Carries a CancelRequest to the worker, and returns when it has been dealt with: the client waits for the end of
/// its connection. A wrong key gets the same silence as a right one.
pub(crate) async fn request(keys: &Keys, workers: &[WorkerHandle], (pid, key): (i32, Vec<u8>)) {
    let Some((worker, client)) = keys.find(pid, &key) else {
        tracing::debug!(pid, "a cancel request with an unknown key");
        return;
    };
    let Some(worker) = workers.get(worker) else { return };
    let (done, dealt_with) = oneshot::channel();
    if worker.send(ToWorker::Cancel { client, done }).await {
        let _late_or_dropped = timeout(REQUEST_MAX, dealt_with).await;
    }
}

/// Where the cancel legs to nodes are counted.
#[derive(Default)]
pub(crate) struct Legs {
    by_node: Mutex<HashMap<SocketAddr, Arc<Semaphore>>>,
}

impl Legs {
    fn of(&self, address: SocketAddr) -> Arc<Semaphore> {
        let mut by_node = self.by_node.lock().unwrap_or_else(PoisonError::into_inner);
        let legs = by_node.entry(address).or_insert_with(|| Arc::new(Semaphore::new(LEGS_PER_NODE_MAX)));
        Arc::clone(legs)
    }
}

/// A backend to cancel: where, with which key, and who waits for it.
pub(crate) struct Leg {
    pub(crate) backend: BackendKey,
    pub(crate) address: SocketAddr,
    pub(crate) pid: i32,
    pub(crate) key: Vec<u8>,
    pub(crate) done: Option<oneshot::Sender<()>>,
}

/// Goes one cancel leg, then tells the worker that the backend may be lent again, then the client.
pub(crate) async fn leg(legs: &Legs, worker: &WorkerHandle, leg: Leg) {
    let slots = legs.of(leg.address);
    let outcome = timeout(LEG_MAX, async {
        let _slot = slots.acquire().await;
        send(leg.address, leg.pid, &leg.key).await
    });
    match outcome.await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::warn!(address = %leg.address, %error, "a cancel request did not reach the node")
        }
        Err(_) => {
            tracing::warn!(address = %leg.address, "a cancel request was not ended by the node in time")
        }
    }
    worker.send(ToWorker::CancelEnded(leg.backend)).await;
    drop(leg.done);
}

/// PostgreSQL closes the connection when it has sent the signal.
async fn send(address: SocketAddr, pid: i32, key: &[u8]) -> std::io::Result<()> {
    let mut packet = Vec::new();
    encode_cancel_request(&mut packet, pid, key).map_err(std::io::Error::other)?;
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(&packet).await?;
    let mut rest = [0; 64];
    while stream.read(&mut rest).await? > 0 {}
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_finds_its_client_until_it_is_gone() {
        let keys = Arc::new(Keys::default());
        let a = keys.register(1, KEY_LEN_SHORT).unwrap();
        let b = keys.register(2, KEY_LEN_LONG).unwrap();
        assert_ne!(a.pid, b.pid);
        assert_eq!((a.key.len(), b.key.len()), (4, 32));
        assert_eq!(keys.find(a.pid, &a.key), None, "before it is a worker's, nothing can run for it");
        a.assign(0);
        b.assign(3);
        assert_eq!(keys.find(a.pid, &a.key), Some((0, 1)));
        assert_eq!(keys.find(b.pid, &b.key), Some((3, 2)));
        assert_eq!(keys.find(a.pid, &b.key), None);
        assert_eq!(keys.find(b.pid, &b.key[..4]), None);
        assert_eq!(keys.find(0, &[]), None);
        let (pid, key) = (a.pid, a.key.clone());
        drop(a);
        assert_eq!(keys.find(pid, &key), None);
    }
}
