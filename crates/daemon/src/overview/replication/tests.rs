//! Streams of made-up clusters.

use super::*;
use crate::monitor::NodeStatus;
use crate::monitor::replication::{Connections, Listed, SlotLimit};
use crate::overview::node_row;
use crate::world::Node;
use engine::time::Instant;
use engine::view::{Health, NodeId, View};
use wire::lsn::Timeline;

/// A node of the made-up cluster at this host, with what it says of itself.
struct Said {
    host: &'static str,
    port: u16,
    says: Option<Replication>,
}

fn says(senders: Vec<Sender>, receiver: Option<Receiving>, in_recovery: bool) -> Option<Replication> {
    Some(Replication {
        at: Instant::START,
        in_recovery,
        end: Some(Lsn(if in_recovery { 900 } else { 1000 })),
        receiver,
        conflicts: None,
        connections: Connections::default(),
        senders: Some(Listed { total: senders.len() as u64, some: senders }),
        slots: None,
        slot_limit: SlotLimit::Unknown,
    })
}

fn primary(senders: Vec<Sender>) -> Said {
    Said { host: "10.0.0.1", port: 5432, says: says(senders, None, false) }
}

fn replica(host: &'static str, receiver: Option<Receiving>) -> Said {
    Said { host, port: 5432, says: says(Vec::new(), receiver, true) }
}

fn receiving(slot: Option<&str>, name: &str) -> Option<Receiving> {
    Some(Receiving {
        status: Some("streaming".to_owned()),
        sender_port: Some(5432),
        slot: slot.map(ToOwned::to_owned),
        application_name: Some(name.to_owned()),
        written: Some(Lsn(950)),
        flushed: Some(Lsn(940)),
        ..Receiving::default()
    })
}

fn sender(slot: Option<&str>, name: &str, addr: &str) -> Sender {
    let reached =
        Reached { sent: Some(Lsn(990)), written: Some(Lsn(980)), flushed: Some(Lsn(970)), replayed: None };
    Sender {
        application_name: Some(name.to_owned()),
        client_addr: Some(addr.to_owned()),
        slot: slot.map(ToOwned::to_owned),
        reached,
        ..Sender::default()
    }
}

/// The cluster's rows: `n0` is the primary, `n1`, `n2`, … are replicas. Joined.
fn joined(said: Vec<Said>) -> (Vec<NodeRow>, Vec<OtherSender>) {
    let ids = (0..said.len()).map(|n| (NodeId(n as u32), format!("n{n}").into()));
    let mut view = View { primary: Some(NodeId(0)), ..View::unknown(ids) };
    for node in &mut view.nodes {
        (node.role, node.health) = (Role::Replica, Health::Up);
        (node.timeline, node.position) = (Some(Timeline(1)), Some(Lsn(1010)));
    }
    view.nodes[0].role = Role::Primary;
    let rows = said.into_iter().zip(&view.nodes).map(|(said, seen)| {
        let node = Node {
            id: seen.id,
            name: seen.name.clone(),
            source: "config",
            host: said.host.to_owned(),
            port: said.port,
        };
        let status = NodeStatus { replication: said.says.map(Arc::new), ..NodeStatus::new(seen.id) };
        node_row(&node, seen, &view, (status, Instant::START))
    });
    let mut rows: Vec<_> = rows.collect();
    let others = join(&mut rows);
    (rows, others)
}

/// The names of what the others announce.
fn names(others: &[OtherSender]) -> Vec<&str> {
    others.iter().filter_map(|other| other.sender.application_name.as_deref()).collect()
}

#[test]
fn a_slot_joins_the_two_ends_before_any_name() {
    let (nodes, others) = joined(vec![
        primary(vec![
            sender(Some("b"), "walreceiver", "10.0.0.9"),
            sender(Some("a"), "walreceiver", "10.0.0.9"),
        ]),
        replica("db1", receiving(Some("a"), "walreceiver")),
        replica("db2", receiving(Some("b"), "walreceiver")),
    ]);
    let slots: Vec<_> = nodes.iter().map(|node| node.stream.sender.as_ref()?.slot.as_deref()).collect();
    assert_eq!((slots, others.len()), (vec![None, Some("a"), Some("b")], 0));
    assert_eq!(nodes[1].stream.upstream.as_deref(), Some("n0"));
}

#[test]
fn lag_is_taken_against_the_moment_in_which_the_primary_told_of_it() {
    let (nodes, _) = joined(vec![
        primary(vec![sender(Some("a"), "walreceiver", "10.0.0.9")]),
        replica("db1", receiving(Some("a"), "walreceiver")),
    ]);
    assert_eq!(
        nodes[1].stream.lag,
        LagBytes { sent: Some(10), write: Some(20), flush: Some(30), replay: None }
    );
    assert_eq!(nodes[0].stream.lag, LagBytes::default());
}

#[test]
fn names_join_where_there_is_no_slot_and_the_configured_name_where_the_replica_says_nothing() {
    let (nodes, others) = joined(vec![
        primary(vec![sender(None, "n2", "10.0.0.9"), sender(None, "east", "10.0.0.9")]),
        replica("db1", receiving(None, "east")),
        Said { host: "db2", port: 5432, says: None },
    ]);
    let names: Vec<_> =
        nodes.iter().map(|node| node.stream.sender.as_ref()?.application_name.as_deref()).collect();
    assert_eq!((names, others.len()), (vec![None, Some("east"), Some("n2")], 0));
}

#[test]
fn addresses_join_replicas_that_all_announce_the_same() {
    let (nodes, others) = joined(vec![
        primary(vec![sender(None, "walreceiver", "10.0.0.3"), sender(None, "walreceiver", "10.0.0.2")]),
        replica("10.0.0.2", receiving(None, "walreceiver")),
        replica("10.0.0.3", receiving(None, "walreceiver")),
    ]);
    let from: Vec<_> = nodes.iter().map(|node| node.stream.sender.as_ref()?.client_addr.as_deref()).collect();
    assert_eq!((from, others.len()), (vec![None, Some("10.0.0.2"), Some("10.0.0.3")], 0));
}

#[test]
fn what_is_doubtful_or_no_nodes_stays_with_the_others() {
    let (nodes, others) = joined(vec![
        primary(vec![
            sender(None, "walreceiver", "127.0.0.1"),
            sender(None, "walreceiver", "127.0.0.1"),
            sender(None, "pg_basebackup", "10.0.0.2"),
            sender(Some("sub"), "subscription", "10.0.0.2"),
        ]),
        replica("127.0.0.1", receiving(None, "walreceiver")),
        replica("10.0.0.2", receiving(None, "walreceiver")),
    ]);
    assert_eq!(names(&others), ["walreceiver", "walreceiver", "pg_basebackup", "subscription"]);
    assert!(nodes.iter().all(|node| node.stream.sender.is_none()));
    assert_eq!(others[0].lag.write, Some(20));
}

#[test]
fn a_replica_that_receives_nothing_is_no_end_of_a_stream_and_is_behind_by_what_it_has() {
    let (nodes, others) =
        joined(vec![primary(vec![sender(None, "n1", "10.0.0.2")]), replica("10.0.0.2", None)]);
    assert_eq!(names(&others), ["n1"]);
    assert_eq!(nodes[1].stream.lag, LagBytes { write: Some(110), flush: Some(110), ..LagBytes::default() });
}

#[test]
fn a_replica_of_a_replica_is_found_there_and_is_behind_the_primary() {
    let middle = Said {
        says: says(vec![sender(Some("s"), "x", "10.0.0.3")], receiving(Some("s"), "x"), true),
        ..replica("10.0.0.2", None)
    };
    let mut below = receiving(Some("s"), "x");
    below.as_mut().unwrap().sender_port = Some(6000);
    let (nodes, others) = joined(vec![
        Said { port: 5432, ..primary(vec![sender(Some("s"), "x", "10.0.0.2")]) },
        Said { port: 6000, ..middle },
        replica("10.0.0.3", below),
    ]);
    let upstreams: Vec<_> = nodes.iter().map(|node| node.stream.upstream.as_deref()).collect();
    assert_eq!(
        (upstreams, others.len()),
        (vec![None, Some("n0"), Some("n1")], 0),
        "the port tells the two slots apart"
    );
    assert_eq!(nodes[2].stream.lag.write, Some(30), "against the newest probe of the primary");
}

#[test]
fn positions_of_another_timeline_are_not_compared() {
    let (mut nodes, _) = joined(vec![primary(Vec::new()), replica("10.0.0.2", receiving(None, "x"))]);
    assert_eq!(nodes[1].stream.lag.write, Some(60));
    nodes[1].view.timeline = Some(Timeline(2));
    join(&mut nodes);
    assert_eq!(nodes[1].stream.lag, LagBytes::default());
}
