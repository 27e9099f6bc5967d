//! Nodes leave the cluster and come back under other addresses, the primary too, before it is missed or long after; and a
//! failover may happen while it is away. What was learned of a node says nothing about the one that comes back.

use super::{Plan, two_replicas};
use crate::faults::Fault;
use crate::postgres::ServerId;
use crate::world::{Chance, MS};

pub(crate) fn plan(chance: &mut Chance) -> Plan {
    let mut plan = Plan::ordinary(chance);
    let old = ServerId(0);
    let (one, other) = two_replicas(chance);
    plan.addresses.extend([vec![one], vec![old], vec![other]]);
    plan.strangers = 3;
    let away = chance.between(200 * MS, 500 * MS);
    plan.at(away, Fault::Leave(one.0));
    if chance.percent(50) {
        plan.at(away + chance.between(MS, 100 * MS), Fault::Crash(one));
        plan.at(away + chance.between(120 * MS, 200 * MS), Fault::Start(one));
    }
    plan.at(away + chance.between(MS, 300 * MS), Fault::Join(3));
    // The primary is elsewhere from here on, for a moment or for longer than is waited for it.
    let moved = chance.between(850 * MS, 1_000 * MS);
    plan.at(moved, Fault::Leave(0));
    let restarted = chance.percent(50);
    if restarted {
        plan.at(moved + MS, Fault::Crash(old));
        plan.at(moved + chance.between(10 * MS, 50 * MS), Fault::Start(old));
    }
    plan.at(moved + chance.between(60 * MS, 600 * MS), Fault::Join(4));
    plan.at(1_700 * MS, Fault::Leave(other.0));
    plan.at(1_750 * MS, Fault::Join(5));
    plan
}
