//! What a worker has at one moment, for the admin console.

use engine::time::Instant;

use crate::mail::{BackendRow, ClientRow, Snapshot};

use super::Worker;
use super::backend::Use;

impl Worker {
    pub(super) fn snapshot(&self) -> Snapshot {
        let now = self.parts.clock.now();
        Snapshot { clients: self.client_rows(now), backends: self.backend_rows(now), pools: Vec::new() }
    }

    fn client_rows(&self, now: Instant) -> Vec<ClientRow> {
        let rows = self.clients.iter().map(|(_, client)| {
            let waiting = client.session.waiting_since();
            ClientRow {
                number: client.info.number,
                user: client.info.user.clone(),
                database: client.info.database.name.clone(),
                state: match (waiting, client.backend) {
                    (Some(_), _) => "waiting",
                    (None, Some(_)) => "active",
                    (None, None) => "idle",
                },
                peer: client.info.peer,
                application_name: client.info.application_name.clone(),
                connected_ms: millis(now, client.info.connected),
                waiting_ms: waiting.map_or(0, |since| millis(now, since)),
                node: client.session.node(),
                pinned: client.session.pin().is_some(),
            }
        });
        rows.collect()
    }

    fn backend_rows(&self, now: Instant) -> Vec<BackendRow> {
        let rows = self.backends.iter().filter_map(|(_, backend)| {
            let pool = &self.pools.entry(backend.pool)?.shared;
            let database = pool.lock().database.server_name.clone();
            let client = match backend.used {
                Use::Lent(index) | Use::Kept(index) => self.clients.get(index).map(|c| c.info.number),
                Use::Idle | Use::Arriving | Use::Cleaning | Use::Cancelling => None,
            };
            Some(BackendRow {
                user: pool.user.clone(),
                database,
                state: match backend.used {
                    Use::Idle | Use::Arriving => "idle",
                    Use::Lent(_) | Use::Kept(_) | Use::Cleaning => "active",
                    Use::Cancelling => "cancelling",
                },
                node: backend.state.node,
                address: backend.origin.address,
                pid: backend.origin.cancel.as_ref().map(|(pid, _)| *pid),
                connected_ms: millis(now, backend.origin.connected),
                since_ms: millis(now, backend.since),
                prepared: backend.state.known.len(),
                client,
            })
        });
        rows.collect()
    }
}

fn millis(now: Instant, since: Instant) -> u64 {
    u64::try_from(now.since(since).as_millis()).unwrap_or(u64::MAX)
}
