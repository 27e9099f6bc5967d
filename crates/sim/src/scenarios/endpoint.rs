//! Two replicas behind one address (H14): the monitor talks to one and the pool to the other, and either may crash.

use super::Plan;
use crate::faults::Fault;
use crate::postgres::ServerId;
use crate::world::{Chance, MS};

pub(crate) fn plan(chance: &mut Chance) -> Plan {
    let mut plan = Plan::ordinary(chance);
    let (near, far) = (ServerId(1), ServerId(2));
    plan.addresses = vec![vec![ServerId(0)], vec![near, far]];
    plan.at(10 * MS, Fault::Lag(far, chance.between(0, 80 * MS)));
    for _ in 0..chance.between(0, 3) {
        let victim = chance.pick(&[near, far]);
        let begin = chance.between(300 * MS, 1_500 * MS);
        plan.at(begin, Fault::Crash(victim));
        plan.at(begin + chance.between(5 * MS, 100 * MS), Fault::Start(victim));
    }
    // Whether the pool meets the server that the monitor speaks of is a matter of luck.
    plan.recovers = false;
    plan
}
