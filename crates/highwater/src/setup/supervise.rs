//! Keeps the servers of a running local cluster alive, and stops them in the end.
//!
//! A server that dies is started again, later each time it dies soon after. Does not judge what that means for
//! reads and writes: the router sees it by itself.

use std::convert::Infallible;
use std::future::Future;
use std::time::Duration;

use rustix::process::Signal;

use super::cluster::Cluster;
use super::server::Server;
use crate::output;

/// Between two looks at the servers.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// A server that has run this long is no longer counted as failing.
const STEADY_AFTER: Duration = Duration::from_secs(60);

/// Waiting times before a start, by how often the server has failed.
const BACK_OFF: [Duration; 6] = [
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(5),
    Duration::from_secs(10),
    Duration::from_secs(30),
];

/// How long a fast shutdown may take before an immediate one is asked for.
const FAST_MAX: Duration = Duration::from_secs(10);

/// How long an immediate shutdown may take before the rest is killed.
const IMMEDIATE_MAX: Duration = Duration::from_secs(5);

/// How often a server has failed, and for how long it has been as it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Record {
    failures: usize,
    since: Duration,
    down: bool,
}

/// What to do about a server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Deed {
    Nothing,
    Announce(Duration),
    Start,
}

impl Record {
    /// `passed` since the last look, and whether the server runs.
    fn look(&mut self, passed: Duration, runs: bool) -> Deed {
        self.since += passed;
        if runs {
            if self.since >= STEADY_AFTER {
                self.failures = 0;
            }
            return Deed::Nothing;
        }
        let wait = BACK_OFF[self.failures.min(BACK_OFF.len() - 1)];
        if !self.down {
            (self.down, self.since) = (true, Duration::ZERO);
            return Deed::Announce(wait);
        }
        if self.since < wait {
            return Deed::Nothing;
        }
        *self = Record { failures: self.failures + 1, since: Duration::ZERO, down: false };
        Deed::Start
    }
}

/// Starts again what dies, for ever. Dropping the future stops the watching, not the servers.
pub(crate) async fn keep_alive(cluster: &mut Cluster) -> Infallible {
    let mut records = vec![Record::default(); cluster.servers.len()];
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        for (index, record) in records.iter_mut().enumerate() {
            let server = &mut cluster.servers[index];
            let ended = server.ended();
            match record.look(LOOK_EVERY, ended.is_none()) {
                Deed::Nothing => {}
                Deed::Announce(wait) => {
                    let how = ended.map_or_else(String::new, |status| status.to_string());
                    output::note(format!(
                        "the {} (port {}) ended unexpectedly ({how}): starting it again in {} s; its log is {}",
                        server.node.name,
                        server.node.port,
                        wait.as_secs_f32(),
                        server.log().display()
                    ));
                }
                Deed::Start => {
                    let node = server.node.clone();
                    match cluster.start(&node).await {
                        Ok(server) => {
                            output::note(format!("started the {} (port {}) again", node.name, node.port));
                            cluster.servers[index] = server;
                        }
                        Err(error) => output::note(format!("can't start the {}: {error:#}", node.name)),
                    }
                }
            }
        }
    }
}

/// Stops all servers at once: fast, then immediate, then by force. `hurry` skips the first when it completes.
pub(crate) async fn stop(servers: &mut [Server], hurry: impl Future<Output = ()>) {
    for server in servers.iter_mut() {
        server.signal(Signal::INT);
    }
    tokio::select! {
        () = all_ended(servers, FAST_MAX) => {}
        () = hurry => {}
    }
    for server in servers.iter_mut() {
        server.signal(Signal::QUIT);
    }
    all_ended(servers, IMMEDIATE_MAX).await;
    for server in servers.iter_mut() {
        server.kill();
    }
    all_ended(servers, IMMEDIATE_MAX).await;
}

async fn all_ended(servers: &mut [Server], wait_max: Duration) {
    const POLL: Duration = Duration::from_millis(10);
    let mut waited = Duration::ZERO;
    while waited < wait_max && servers.iter_mut().any(|server| server.ended().is_none()) {
        tokio::time::sleep(POLL).await;
        waited += POLL;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: Duration = Duration::from_millis(100);

    /// Looks until something is to be done, and says after how long.
    fn until_start(record: &mut Record) -> Duration {
        let Deed::Announce(wait) = record.look(STEP, false) else { panic!("it has just died") };
        let mut waited = Duration::ZERO;
        while record.look(STEP, false) == Deed::Nothing {
            waited += STEP;
        }
        assert!(waited < wait + STEP);
        wait
    }

    #[test]
    fn a_server_that_keeps_dying_is_started_later_each_time() {
        let mut record = Record::default();
        let waits: Vec<_> = (0..8).map(|_| until_start(&mut record)).collect();
        assert_eq!(waits[..6], BACK_OFF);
        assert_eq!(waits[6..], [BACK_OFF[5]; 2]);
    }

    #[test]
    fn a_server_that_ran_for_a_while_starts_from_the_shortest_wait() {
        let mut record = Record::default();
        until_start(&mut record);
        until_start(&mut record);
        for _ in 0..=STEADY_AFTER.as_millis() / STEP.as_millis() {
            assert_eq!(record.look(STEP, true), Deed::Nothing);
        }
        assert_eq!(until_start(&mut record), BACK_OFF[0]);
    }
}
