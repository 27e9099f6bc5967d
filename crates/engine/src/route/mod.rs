//! Where a request goes. [`decide`] is the only place that chooses a node.
//!
//! It looks at one request and one view, and at nothing else: not at sockets, pools or history. A node that
//! cannot be reached, a backend of another incarnation than the view's, or a refusal by the node are facts
//! for the session, which then asks again or reruns.

pub mod balance;
pub mod reason;
pub mod request;

#[cfg(test)]
mod tests;

pub use balance::Balance;
pub use reason::Reason;
pub use request::{Request, RouteMode, TransactionKind};

use sql::{Class, RouteHint, Why};

use crate::freshness::{Bound, Level, Shortfall};
use crate::time::Instant;
use crate::view::{Health, Incarnation, NodeId, NodeView, View};

/// Where, and why. Never edited after `decide` returns.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Decision {
    /// The node to use.
    pub target: Target,
    /// The rule that chose it.
    pub reason: Reason,
    /// Which run of the node was judged; `None` when none was, or it is not known.
    pub incarnation: Option<Incarnation>,
}

impl Decision {
    /// Whether a backend of this run may carry out the decision.
    ///
    /// What was proved was proved of one run of a replica. The view may have moved on to the next run while the
    /// session waited for a backend, and that one may show less: it is not enough that the backend is of the run
    /// that is believed in when it comes.
    pub fn accepts(&self, incarnation: Incarnation) -> bool {
        match self.target {
            Target::Replica(_) => self.incarnation == Some(incarnation),
            Target::Primary(_) => true,
            Target::Hold => false,
        }
    }
}

/// What a decision may name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Target {
    /// The accepted primary, by its id in the view that was decided on.
    Primary(NodeId),
    /// This replica.
    Replica(NodeId),
    /// No node may take it at this moment: wait for the view to change, within the session's wait limit.
    Hold,
}

/// Chooses the node for a request.
///
/// A replica is chosen only for what is proved to be a read (or for a session that was promised read-only),
/// and only when the view proves it fresh enough at `now`. Whatever cannot be proved goes to the primary; when
/// no primary is known either, the request is held.
pub fn decide(request: &Request, view: &View, now: Instant, balance: &mut Balance) -> Decision {
    match (wish(request), request.rerun) {
        (Wish::Primary(reason), None) => on_primary(view, reason),
        (Wish::Replica(reason), None) => match best_replica(request, view, now, balance) {
            Ok(node) => on_replica(node, reason),
            Err(reason) => on_primary(view, reason),
        },
        // A replica has failed or refused: where there is a primary, a second replica is not tried.
        (Wish::Replica(_), Some(reason)) if view.primary.is_none() && reason != Reason::RefusedByReplica => {
            match best_replica(request, view, now, balance) {
                Ok(node) => on_replica(node, reason),
                Err(_) => on_primary(view, reason),
            }
        }
        (Wish::Primary(_) | Wish::Replica(_), Some(reason)) => on_primary(view, reason),
    }
}

/// What the request asks for, before looking at any node.
enum Wish {
    /// Only the primary will do, for this reason.
    Primary(Reason),
    /// A replica, if one is fresh enough; the reason to give when one is.
    Replica(Reason),
}

fn wish(request: &Request) -> Wish {
    if request.mode == RouteMode::Primary || request.hint == Some(RouteHint::Primary) {
        return Wish::Primary(Reason::RouteIsPrimary);
    }
    if request.level == Level::Strong {
        return Wish::Primary(Reason::LevelIsStrong);
    }
    let granted = match request.transaction {
        TransactionKind::ReadOnly => Reason::ReadOnlyTransaction,
        // A setting is brought along to whichever backend comes next, so any node may judge it.
        TransactionKind::None if request.why == Why::Set => Reason::SessionSetting,
        TransactionKind::None | TransactionKind::ReadWrite => Reason::FreshReplica,
    };
    match request.mode {
        RouteMode::ReadOnly if is_of_one_node(request.why) => Wish::Primary(Reason::NodeLocal),
        // A write fails on a replica with PostgreSQL's own 25006, which is what a read-only name promises.
        RouteMode::ReadOnly => Wish::Replica(granted),
        RouteMode::Auto | RouteMode::Primary => by_what_it_does(request, granted),
    }
}

/// The rules of a session that may write. A hint for a replica changes none of them: it is a wish "if the
/// class allows it", and where the class allows it a replica is the first choice anyway.
fn by_what_it_does(request: &Request, granted: Reason) -> Wish {
    match request.class {
        Class::Writes | Class::Unknown => return Wish::Primary(reason_of(request.class, request.why)),
        Class::Reads => {}
    }
    if request.transaction == TransactionKind::ReadWrite {
        Wish::Primary(Reason::ReadWriteTransaction)
    } else if request.learned_write {
        Wish::Primary(Reason::LearnedWrite)
    } else if request.pins {
        Wish::Primary(Reason::Pinned)
    } else {
        Wish::Replica(granted)
    }
}

/// The answer is another on every node, or exists on the primary only, so that a read-only name must not
/// spread it over replicas.
fn is_of_one_node(why: Why) -> bool {
    matches!(why, Why::NodeLocal | Why::UnloggedTable | Why::TempTable)
}

/// Our word for the classifier's rule.
fn reason_of(class: Class, why: Why) -> Reason {
    match why {
        Why::VolatileFunction | Why::UnknownFunction | Why::VolatileOperator | Why::VolatileType => {
            Reason::VolatileFunction
        }
        Why::LockingClause => Reason::LockingRead,
        Why::NodeLocal | Why::UnloggedTable => Reason::NodeLocal,
        // `Why` belongs to the classifier and grows with it; its class then says enough.
        _ => match class {
            Class::Unknown => Reason::UnknownStatement,
            Class::Writes | Class::Reads => Reason::Write,
        },
    }
}

fn on_primary(view: &View, reason: Reason) -> Decision {
    match view.primary {
        Some(node) => {
            let incarnation = view.node(node).and_then(|node| node.incarnation);
            Decision { target: Target::Primary(node), reason, incarnation }
        }
        None => Decision { target: Target::Hold, reason: Reason::NoPrimary, incarnation: None },
    }
}

fn on_replica(node: &NodeView, reason: Reason) -> Decision {
    Decision { target: Target::Replica(node.id), reason, incarnation: node.incarnation }
}

/// More than this many running beside what is running elsewhere is a crowd.
const CROWD: u32 = 2;

/// Smaller is better, field by field.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    /// A suspect node is for when no other qualifies.
    suspect: bool,
    /// What we already run there.
    load: u32,
    /// Who is next among equals.
    distance: usize,
}

impl Rank {
    /// Whether a session that read last on a node of this rank stays there, although this other one qualifies too. Staying
    /// keeps its statements prepared and its reads in order; leaving a crowd is what gives a replica that has just come, or
    /// come back, its share of sessions that are there for long. The margin keeps sessions from going to and fro.
    fn keeps(self, other: Rank) -> bool {
        let crowded = self.load > other.load.saturating_add(other.load / 4).saturating_add(CROWD);
        if self.suspect == other.suspect { !crowded } else { other.suspect }
    }
}

/// The best replica that is fresh enough, or the most telling reason why none is.
fn best_replica<'a>(
    request: &Request,
    view: &'a View,
    now: Instant,
    balance: &mut Balance,
) -> Result<&'a NodeView, Reason> {
    let bound = Bound::of(request.level, request.max_staleness, request.watermark, now);
    let affine = request.watermark.read_from.map(|read| read.node);
    let mut last: Option<(Rank, usize, &NodeView)> = None;
    let mut best: Option<(Rank, usize, &NodeView)> = None;
    let mut nearest: Option<Shortfall> = None;
    for (place, node) in view.nodes.iter().enumerate().filter(|(_, node)| node.serves_reads()) {
        match bound.check(node) {
            Err(shortfall) => nearest = nearest.max(Some(shortfall)),
            Ok(()) => {
                let rank = rank(node, place, view.nodes.len(), balance);
                if affine == Some(node.id) {
                    last = Some((rank, place, node));
                } else if best.as_ref().is_none_or(|(least, ..)| rank < *least) {
                    best = Some((rank, place, node));
                }
            }
        }
    }
    let stays = last.filter(|(rank, ..)| best.as_ref().is_none_or(|(other, ..)| rank.keeps(*other)));
    match stays.or(best) {
        Some((_, place, node)) => {
            balance.served(place);
            Ok(node)
        }
        None => Err(match nearest {
            None => Reason::NoReplica,
            Some(Shortfall::TooStale) => Reason::TooStale,
            Some(Shortfall::OwnWrite) => Reason::OwnWriteNotReplayed,
            Some(Shortfall::BackInTime) => Reason::WouldGoBackInTime,
        }),
    }
}

fn rank(node: &NodeView, place: usize, places: usize, balance: &Balance) -> Rank {
    Rank {
        suspect: node.health != Health::Up,
        load: balance.load(node.id),
        distance: balance.distance(place, places),
    }
}
