//! Notices that the name of a node's host leads elsewhere than to where the monitor is connected: a managed service moves the
//! name of its endpoint, while the server that had it may live on.
//!
//! It decides nothing about the node: the connection is given up, and whoever answers where the name leads is judged like any
//! server that has started anew. Backends follow, because they are of another run than the one believed in.

use std::net::IpAddr;
use std::time::Duration;

use tokio::net::lookup_host;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::spawn;

/// How often a name is looked up. The system's resolver knows for how long it may remember the answer.
const LOOK_UP_EVERY: Duration = Duration::from_secs(5);
/// Longest time for a lookup.
const LOOK_UP_MAX: Duration = Duration::from_secs(5);
/// A name with many addresses may show other ones each time: so many lookups in a row must lack ours.
const DOUBTS_MAX: u32 = 2;

/// The name of a node's host.
pub(super) struct Name {
    /// What it leads to, each time it was looked up; none for an address, which leads nowhere else.
    lookups: Option<watch::Receiver<Vec<IpAddr>>>,
    doubts: u32,
}

impl Name {
    /// Has a name looked up now and then, until this is dropped.
    pub(super) fn follow(host: &str, port: u16) -> Name {
        if host.parse::<IpAddr>().is_ok() {
            return Name { lookups: None, doubts: 0 };
        }
        let (tell, lookups) = watch::channel(Vec::new());
        spawn::task("name", look_up(host.to_owned(), port, tell));
        Name { lookups: Some(lookups), doubts: 0 }
    }

    /// Ready when the name has led elsewhere than to this address for a while. A lookup that fails says nothing.
    pub(super) async fn moved_from(&mut self, connected: Option<IpAddr>) {
        loop {
            let Some(lookups) = &mut self.lookups else { return std::future::pending().await };
            if lookups.changed().await.is_err() {
                return std::future::pending().await;
            }
            let found = lookups.borrow_and_update();
            let elsewhere = connected
                .is_some_and(|ours| found.iter().all(|other| other.to_canonical() != ours.to_canonical()));
            self.doubts = if elsewhere && !found.is_empty() { self.doubts + 1 } else { 0 };
            if self.doubts >= DOUBTS_MAX {
                self.doubts = 0;
                return;
            }
        }
    }
}

async fn look_up(host: String, port: u16, tell: watch::Sender<Vec<IpAddr>>) {
    loop {
        tokio::select! {
            () = tell.closed() => return,
            () = sleep(LOOK_UP_EVERY) => {}
        }
        if let Ok(Ok(found)) = timeout(LOOK_UP_MAX, lookup_host((host.as_str(), port))).await {
            tell.send_replace(found.map(|address| address.ip()).collect());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many lookups it takes until the name counts as moved from 10.0.0.1.
    async fn check(lookups: &[&str], expected: Option<usize>) {
        let (tell, told) = watch::channel(Vec::new());
        let mut name = Name { lookups: Some(told), doubts: 0 };
        let mut moved = None;
        for (place, lookup) in lookups.iter().enumerate() {
            tell.send_replace(lookup.split_whitespace().map(|ip| ip.parse().unwrap()).collect());
            let connected = Some("10.0.0.1".parse().unwrap());
            tokio::select! {
                biased;
                () = name.moved_from(connected) => {
                    moved = Some(place + 1);
                    break;
                }
                () = std::future::ready(()) => {}
            }
        }
        assert_eq!(moved, expected, "{lookups:?}");
    }

    #[tokio::test]
    async fn a_name_has_moved_when_two_lookups_in_a_row_lead_elsewhere() {
        check(&["10.0.0.1", "10.0.0.2", "10.0.0.2"], Some(3)).await;
        check(&["10.0.0.2 10.0.0.3", "10.0.0.4"], Some(2)).await;
    }

    #[tokio::test]
    async fn a_name_that_shows_other_addresses_in_turn_has_not_moved() {
        check(&["10.0.0.2", "10.0.0.1", "10.0.0.3", "10.0.0.1 10.0.0.2"], None).await;
        check(&["::ffff:10.0.0.1", "::ffff:10.0.0.1"], None).await;
        check(&["", "", ""], None).await;
    }

    #[tokio::test]
    async fn an_address_leads_nowhere_else() {
        assert!(Name::follow("10.0.0.1", 1).lookups.is_none() && Name::follow("::1", 1).lookups.is_none());
    }
}
