//! Replicas that crash and come back showing less (H4), and a primary that crashes in place, without a new timeline,
//! and loses what was not flushed (H13).

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
        // Also so quickly that no probe sees it gone.
        let end = begin + chance.pick(&[2 * MS, 10 * MS, 60 * MS, 250 * MS]);
        if chance.percent(50) {
            plan.at(begin.saturating_sub(30 * MS), Fault::Lag(victim, 60 * MS));
            plan.at(end + 100 * MS, Fault::Lag(victim, MS));
        }
        plan.at(begin, Fault::Crash(victim));
        plan.at(end, Fault::Start(victim));
        from = end + 50 * MS;
    }
    // A replica may have missed what was written while its primary was being started.
    plan.at(2_300 * MS, Fault::Mend(ServerId(1)));
    plan.at(2_300 * MS, Fault::Mend(ServerId(2)));
    plan
}
