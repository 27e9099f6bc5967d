//! Which stream of which node ends at which node, and how far each is behind.
//!
//! An upstream knows its walsenders by what they announce; a replica knows what it announces and which slot it uses. The two are
//! put together here. A walsender that belongs to no node (a backup, a logical subscriber, a replica that the router was not told
//! of) is kept as one of the others, and a doubtful one counts among those.

use std::net::IpAddr;
use std::sync::Arc;

use engine::view::Role;
use wire::lsn::Lsn;

use super::NodeRow;
use crate::monitor::replication::{Reached, Receiving, Replication, Sender};

/// The stream that a node receives, as its upstream tells, and how far it is behind. `None` is unknown.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct Stream {
    /// The node it comes from.
    pub(crate) upstream: Option<Arc<str>>,
    pub(crate) sender: Option<Sender>,
    pub(crate) lag: LagBytes,
}

/// WAL of the primary that has not come so far, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct LagBytes {
    pub(crate) sent: Option<u64>,
    pub(crate) write: Option<u64>,
    pub(crate) flush: Option<u64>,
    /// As the sender was told; the lag that routing goes by is the view's.
    pub(crate) replay: Option<u64>,
}

impl LagBytes {
    fn of(reached: Reached, end: Lsn) -> LagBytes {
        let behind = |at: Option<Lsn>| at.map(|at| end.distance(at));
        LagBytes {
            sent: behind(reached.sent),
            write: behind(reached.written),
            flush: behind(reached.flushed),
            replay: behind(reached.replayed),
        }
    }
}

/// A stream to somebody who is no node.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct OtherSender {
    /// The node it comes from.
    pub(crate) upstream: Arc<str>,
    pub(crate) sender: Sender,
    pub(crate) lag: LagBytes,
}

/// Gives each node of a cluster the stream it receives; what is left over.
pub(super) fn join(nodes: &mut [NodeRow]) -> Vec<OtherSender> {
    let streams = streams(nodes);
    let owners = owners(nodes, &streams);
    let primary = Primary::of(nodes);
    let mut others = Vec::new();
    for (stream, owner) in streams.into_iter().zip(owners) {
        let upstream = Arc::clone(&nodes[stream.from].node.name);
        let lag = primary.as_ref().map_or_else(LagBytes::default, |primary| primary.lag_of(&stream));
        match owner {
            Some(owner) => {
                nodes[owner].stream = Stream { upstream: Some(upstream), sender: Some(stream.sender), lag };
            }
            None => others.push(OtherSender { upstream, sender: stream.sender, lag }),
        }
    }
    if let Some(primary) = primary {
        for node in nodes.iter_mut().filter(|node| node.stream.sender.is_none()) {
            node.stream.lag = primary.lag_by_itself(node);
        }
    }
    others
}

/// One walsender of one node.
struct Sending {
    /// Place of the node that sends.
    from: usize,
    sender: Sender,
}

fn streams(nodes: &[NodeRow]) -> Vec<Sending> {
    let of_node = |(from, node): (usize, &NodeRow)| {
        let listed = node.replication.as_ref().and_then(|said| said.senders.clone());
        let some = listed.map_or_else(Vec::new, |listed| listed.some);
        some.into_iter().map(move |sender| Sending { from, sender })
    };
    nodes.iter().enumerate().flat_map(of_node).collect()
}

/// How sure it is that a stream ends at a node, from the strongest.
const SIGNS: [fn(&Sending, &Receiver<'_>) -> bool; 4] = [
    |stream, receiver| receiver.slot().is_some() && receiver.slot() == stream.sender.slot.as_deref(),
    |stream, receiver| {
        receiver.name().is_some() && receiver.name() == stream.sender.application_name.as_deref()
    },
    |stream, receiver| {
        let name = Some(&*receiver.node.node.name);
        name == stream.sender.application_name.as_deref() || name == stream.sender.slot.as_deref()
    },
    |stream, receiver| {
        let address = |text: &str| text.parse::<IpAddr>().ok().filter(|ip| !ip.is_loopback());
        let from = stream.sender.client_addr.as_deref().and_then(address);
        from.is_some() && from == address(&receiver.node.node.host)
    },
];

/// For each stream the place of the node it ends at. Stronger signs are heard first; a pair is taken only if neither side has
/// another candidate by the same sign.
fn owners(nodes: &[NodeRow], streams: &[Sending]) -> Vec<Option<usize>> {
    let mut owners = vec![None; streams.len()];
    let mut receivers: Vec<Option<Receiver<'_>>> = nodes.iter().map(Receiver::of).collect();
    for sign in SIGNS {
        // Ports tell two upstreams apart that have a slot or a name in common; they may also be translated on the way.
        for port_matters in [true, false] {
            let fits = |stream: &Sending, place: usize, receiver: &Receiver<'_>| {
                stream.from != place
                    && receiver.allows(&stream.sender)
                    && sign(stream, receiver)
                    && (!port_matters || receiver.port() == Some(nodes[stream.from].node.port))
            };
            let mut taken = Vec::new();
            for (number, stream) in streams.iter().enumerate().filter(|(number, _)| owners[*number].is_none())
            {
                let mut here = receivers.iter().enumerate().filter_map(|(place, receiver)| {
                    receiver.as_ref().filter(|receiver| fits(stream, place, receiver)).map(|_| place)
                });
                let (Some(place), None) = (here.next(), here.next()) else { continue };
                let receiver = receivers[place].as_ref().expect("it was just found");
                let rivals = streams
                    .iter()
                    .enumerate()
                    .filter(|(other, stream)| owners[*other].is_none() && fits(stream, place, receiver));
                if rivals.count() == 1 {
                    taken.push((number, place));
                }
            }
            for (number, place) in taken {
                owners[number] = Some(place);
                receivers[place] = None;
            }
        }
    }
    owners
}

/// A node that a stream may end at.
struct Receiver<'a> {
    node: &'a NodeRow,
    /// What it says of its own end, where it may be seen.
    says: Option<&'a Receiving>,
}

impl<'a> Receiver<'a> {
    /// A replica that does not say that it receives nothing.
    fn of(node: &'a NodeRow) -> Option<Receiver<'a>> {
        let said: Option<&Replication> = node.replication.as_deref();
        let in_recovery = said.map_or(node.view.role == Role::Replica, |said| said.in_recovery);
        let says = said.and_then(|said| said.receiver.as_ref());
        let receives = said.is_none() || says.is_some();
        (in_recovery && receives)
            .then_some(Receiver { node, says: says.filter(|says| says.status.is_some()) })
    }

    fn slot(&self) -> Option<&str> {
        self.says?.slot.as_deref()
    }

    fn name(&self) -> Option<&str> {
        self.says?.application_name.as_deref()
    }

    fn port(&self) -> Option<u16> {
        self.says?.sender_port
    }

    /// Whether nothing that the node says of its own end speaks against this stream.
    fn allows(&self, sender: &Sender) -> bool {
        let Some(says) = self.says else { return true };
        says.slot == sender.slot
            && (says.application_name.is_none() || says.application_name == sender.application_name)
    }
}

/// The accepted primary, against which everybody is behind.
struct Primary {
    place: usize,
    timeline: Option<wire::lsn::Timeline>,
    /// Of the newest probe.
    position: Option<Lsn>,
    /// Of the moment in which it told of its senders.
    end: Option<Lsn>,
}

impl Primary {
    fn of(nodes: &[NodeRow]) -> Option<Primary> {
        let (place, node) = nodes.iter().enumerate().find(|(_, node)| node.is_primary)?;
        Some(Primary {
            place,
            timeline: node.view.timeline,
            position: node.view.position,
            end: node.replication.as_ref().and_then(|said| said.end),
        })
    }

    /// Of a stream from the primary, everything is of one moment; what a replica passes on is held against the newest probe.
    fn lag_of(&self, stream: &Sending) -> LagBytes {
        let end = if stream.from == self.place { self.end } else { self.position };
        end.map_or_else(LagBytes::default, |end| LagBytes::of(stream.sender.reached, end))
    }

    /// Of a replica whose stream nobody tells of: by what it has, which still holds when nothing comes in any more.
    fn lag_by_itself(&self, node: &NodeRow) -> LagBytes {
        let same_history = self.timeline.is_some() && node.view.timeline == self.timeline;
        let (Some(end), Some(said)) = (self.position.filter(|_| same_history), &node.replication) else {
            return LagBytes::default();
        };
        if node.is_primary || !said.in_recovery {
            return LagBytes::default();
        }
        let says = said.receiver.as_ref();
        let written = says.and_then(|says| says.written).max(said.end);
        let flushed = says.and_then(|says| says.flushed).max(said.end);
        LagBytes::of(Reached { written, flushed, ..Reached::default() }, end)
    }
}

#[cfg(test)]
mod tests;
