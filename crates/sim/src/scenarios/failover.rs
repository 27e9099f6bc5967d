//! The primary is lost and a replica promoted; the other follows, sooner or later or not at all; the old primary comes
//! back as a replica made anew.

use super::{Plan, two_replicas};
use crate::faults::Fault;
use crate::postgres::ServerId;
use crate::world::{Chance, MS};

pub(crate) fn plan(chance: &mut Chance) -> Plan {
    let mut plan = Plan::ordinary(chance);
    let old = ServerId(0);
    let (heir, other) = two_replicas(chance);
    let lost = chance.between(300 * MS, 900 * MS);
    let promoted = lost + chance.between(5 * MS, 300 * MS);
    plan.at(lost, Fault::Crash(old));
    plan.at(promoted, Fault::Promote(heir));
    plan.at(promoted + chance.between(MS, 300 * MS), Fault::Follow(other, heir));
    if chance.percent(50) {
        // For a while it comes back as it was, and believes that it is the primary.
        plan.at(promoted + chance.between(20 * MS, 300 * MS), Fault::Start(old));
    }
    plan.at(1_900 * MS, Fault::Rebuild(old, heir));
    plan.at(2_000 * MS, Fault::Rebuild(other, heir));
    plan
}
