//! Two servers take writes: an old primary that only the router cannot reach goes on, with a replica that follows it
//! and is ahead in numbers (H5); or a replica is promoted by mistake while the primary lives.

use super::{Plan, two_replicas};
use crate::faults::Fault;
use crate::postgres::ServerId;
use crate::world::{Chance, MS};

pub(crate) fn plan(chance: &mut Chance) -> Plan {
    let mut plan = Plan::ordinary(chance);
    let old = ServerId(0);
    let (promoted, other) = two_replicas(chance);
    let when = chance.between(300 * MS, 900 * MS);
    if chance.percent(60) {
        plan.at(when, Fault::Isolate(old));
        plan.at(when + chance.between(5 * MS, 200 * MS), Fault::Promote(promoted));
        plan.at(when + chance.between(300 * MS, 700 * MS), Fault::Rejoin(old));
        plan.at(1_900 * MS, Fault::Rebuild(old, promoted));
        plan.at(2_000 * MS, Fault::Rebuild(other, promoted));
    } else {
        plan.at(when, Fault::Promote(promoted));
        plan.at(when + chance.between(100 * MS, 600 * MS), Fault::Rebuild(promoted, old));
    }
    plan
}
