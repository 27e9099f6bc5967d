//! Nodes from a name: each of its addresses is one. What the addresses are is asked anew each time, of the system's
//! resolver; for how long it may remember them is its own business.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::lookup_host;
use tokio::time::timeout;

use super::{Elected, Found, FoundNode};

/// Longest time for a lookup.
const LOOKUP_MAX: Duration = Duration::from_secs(5);

/// A name with addresses.
pub(super) struct DnsSource {
    name: String,
    port: u16,
}

impl DnsSource {
    pub(super) fn new(name: String, port: u16) -> DnsSource {
        DnsSource { name, port }
    }

    pub(super) async fn ask(&self) -> Result<Found, String> {
        let resolved = timeout(LOOKUP_MAX, lookup_host((self.name.as_str(), self.port))).await;
        let late = || io::Error::new(io::ErrorKind::TimedOut, "the resolver does not answer");
        let addresses = resolved.unwrap_or_else(|_| Err(late())).map(Iterator::collect);
        nodes_of(addresses).map_err(|why| format!("{}: {why}", self.name))
    }
}

/// The nodes at the addresses of a name, in an order that does not depend on the resolver's, which turns it round.
fn nodes_of(resolved: io::Result<Vec<SocketAddr>>) -> Result<Found, String> {
    let mut addresses = resolved.map_err(|error| error.to_string())?;
    for address in &mut addresses {
        address.set_ip(address.ip().to_canonical());
    }
    addresses.sort_unstable();
    addresses.dedup();
    let node = |address: &SocketAddr| FoundNode::at(address.ip().to_string(), address.port());
    Ok(Found { nodes: addresses.iter().map(node).collect(), primary: Elected::ByNobody })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(resolved: &[&str], expected: &str) {
        let addresses = resolved.iter().map(|text| text.parse().unwrap()).collect();
        let found = nodes_of(Ok(addresses)).unwrap();
        let shown = |node: &FoundNode| crate::config::address(&node.host, node.port);
        assert_eq!(found.nodes.iter().map(shown).collect::<Vec<_>>().join(" "), expected);
        assert_eq!(found.primary, Elected::ByNobody);
    }

    #[test]
    fn each_address_of_either_family_is_a_node_whatever_their_order() {
        check(&["10.0.0.2:5432", "10.0.0.1:5432"], "10.0.0.1:5432 10.0.0.2:5432");
        check(&["10.0.0.1:5432", "10.0.0.2:5432"], "10.0.0.1:5432 10.0.0.2:5432");
        check(&["[fd00::1]:5432", "10.0.0.1:5432"], "10.0.0.1:5432 [fd00::1]:5432");
        check(&["[::ffff:10.0.0.1]:5432", "10.0.0.1:5432"], "10.0.0.1:5432");
    }

    #[test]
    fn a_lookup_that_fails_is_no_answer_and_one_without_addresses_names_nobody() {
        let failed = nodes_of(Err(io::Error::other("failure in name resolution")));
        assert_eq!(failed, Err("failure in name resolution".to_owned()));
        assert_eq!(
            nodes_of(Ok(Vec::new())).and_then(crate::discover::sound),
            Err("no node is named".to_owned())
        );
    }
}
