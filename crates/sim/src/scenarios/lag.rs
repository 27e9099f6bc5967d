//! Lag that changes, replay that pauses, a receiver that is cut off, each replica on its own: H8 (going back in time
//! between replicas), H10 and H11 (what fools a time lag).

use super::{Plan, two_replicas};
use crate::faults::Fault;
use crate::world::{Chance, MS};

pub(crate) fn plan(chance: &mut Chance) -> Plan {
    let mut plan = Plan::ordinary(chance);
    for _ in 0..chance.between(2, 6) {
        let (replica, _) = two_replicas(chance);
        let begin = chance.between(200 * MS, 1_700 * MS);
        let end = begin + chance.between(20 * MS, 500 * MS);
        let lag = chance.between(0, 120 * MS);
        let (wrong, right) = chance.pick(&[
            (Fault::Pause(replica), Fault::Resume(replica)),
            (Fault::Cut(replica), Fault::Mend(replica)),
            (Fault::Lag(replica, lag), Fault::Lag(replica, MS)),
        ]);
        plan.at(begin, wrong);
        plan.at(end, right);
    }
    plan
}
