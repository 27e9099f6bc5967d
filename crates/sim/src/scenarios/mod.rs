//! What goes wrong in a run, by scenario and seed. Each file is one kind of trouble and says which hazard it is for.

mod calm;
mod endpoint;
mod failover;
mod freeze;
mod lag;
mod members;
mod page_end;
mod restart;
mod split;

use crate::faults::Fault;
use crate::postgres::ServerId;
use crate::world::{Chance, MS};

/// A kind of trouble.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Scenario {
    /// Nothing happens.
    Calm,
    /// Replicas lag, pause and are cut off.
    Lag,
    /// Servers crash and come back.
    Restart,
    /// The primary is lost for good and a replica promoted.
    Failover,
    /// Two servers take writes.
    Split,
    /// Servers stop and go on.
    Freeze,
    /// Two servers behind one address.
    Endpoint,
    /// The log ends at the end of a page.
    PageEnd,
    /// Nodes leave the cluster and come back under other addresses.
    Members,
}

impl Scenario {
    /// Every scenario.
    pub const ALL: [Scenario; 9] = [
        Scenario::Calm,
        Scenario::Lag,
        Scenario::Restart,
        Scenario::Failover,
        Scenario::Split,
        Scenario::Freeze,
        Scenario::Endpoint,
        Scenario::PageEnd,
        Scenario::Members,
    ];

    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Scenario::Calm => "calm",
            Scenario::Lag => "lag",
            Scenario::Restart => "restart",
            Scenario::Failover => "failover",
            Scenario::Split => "split",
            Scenario::Freeze => "freeze",
            Scenario::Endpoint => "endpoint",
            Scenario::PageEnd => "page-end",
            Scenario::Members => "members",
        }
    }

    /// The scenario that a seed runs, if none is named.
    pub fn of_seed(seed: u64) -> Scenario {
        let kinds = Scenario::ALL.len() as u64;
        Scenario::ALL[usize::try_from(seed % kinds).expect("a place in the table")]
    }

    pub(crate) fn plan(self, chance: &mut Chance) -> Plan {
        match self {
            Scenario::Calm => calm::plan(chance),
            Scenario::Lag => lag::plan(chance),
            Scenario::Restart => restart::plan(chance),
            Scenario::Failover => failover::plan(chance),
            Scenario::Split => split::plan(chance),
            Scenario::Freeze => freeze::plan(chance),
            Scenario::Endpoint => endpoint::plan(chance),
            Scenario::PageEnd => page_end::plan(chance),
            Scenario::Members => members::plan(chance),
        }
    }
}

/// What a run has, and what happens to it.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) servers: usize,
    /// Which servers answer at each node's address. Server 0 is the first primary.
    pub(crate) addresses: Vec<Vec<ServerId>>,
    /// So many of them, the last ones, are no nodes at the start.
    pub(crate) strangers: usize,
    pub(crate) sessions: usize,
    /// Longest pause of a session between two requests, in nanoseconds.
    pub(crate) think: u64,
    pub(crate) write_percent: u64,
    /// How many commits do not wait for their flush.
    pub(crate) async_percent: u64,
    /// Shortest and longest pause between writes that pass the router by, in nanoseconds.
    pub(crate) outside_every: (u64, u64),
    /// Nobody writes after this.
    pub(crate) writes_until: u64,
    pub(crate) pool_size: u32,
    /// What goes wrong, and when.
    pub(crate) faults: Vec<(u64, Fault)>,
    /// Whether replicas must serve reads at the end.
    pub(crate) recovers: bool,
}

impl Plan {
    /// A primary and two replicas with a little lag, and a handful of busy sessions.
    pub(crate) fn ordinary(chance: &mut Chance) -> Plan {
        let mut faults = Vec::new();
        for replica in [1, 2] {
            let lag = chance.pick(&[0, 0, MS / 2, 2 * MS, 8 * MS]);
            faults.push((1, Fault::Lag(ServerId(replica), lag)));
        }
        Plan {
            servers: 3,
            addresses: vec![vec![ServerId(0)], vec![ServerId(1)], vec![ServerId(2)]],
            strangers: 0,
            sessions: usize::try_from(chance.between(3, 7)).expect("a handful"),
            think: chance.pick(&[12 * MS, 25 * MS, 40 * MS]),
            write_percent: chance.pick(&[10, 25, 40]),
            async_percent: chance.pick(&[0, 30, 100]),
            outside_every: chance.pick(&[(MS, 20 * MS), (20 * MS, 100 * MS)]),
            writes_until: u64::MAX,
            pool_size: chance.pick(&[2, 3, 5]),
            faults,
            recovers: true,
        }
    }

    /// Lets something happen then.
    pub(crate) fn at(&mut self, nanos: u64, fault: Fault) {
        self.faults.push((nanos, fault));
    }
}

/// One of the two replicas of an ordinary plan, and the other.
pub(crate) fn two_replicas(chance: &mut Chance) -> (ServerId, ServerId) {
    if chance.percent(50) { (ServerId(1), ServerId(2)) } else { (ServerId(2), ServerId(1)) }
}
