//! Servers that stop and go on: what they were asked is answered long after.

use super::{Plan, two_replicas};
use crate::faults::Fault;
use crate::postgres::ServerId;
use crate::world::{Chance, MS};

pub(crate) fn plan(chance: &mut Chance) -> Plan {
    let mut plan = Plan::ordinary(chance);
    let mut from = 200 * MS;
    for _ in 0..chance.between(1, 4) {
        let (replica, _) = two_replicas(chance);
        let victim = if chance.percent(30) { ServerId(0) } else { replica };
        let begin = from + chance.between(0, 300 * MS);
        let end = begin + chance.pick(&[5 * MS, 80 * MS, 250 * MS, 380 * MS]);
        plan.at(begin, Fault::Freeze(victim, end));
        plan.at(end, Fault::Thaw(victim));
        from = end + 10 * MS;
    }
    plan
}
