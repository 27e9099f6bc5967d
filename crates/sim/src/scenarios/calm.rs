//! Nothing goes wrong: replicas lag a little, and nearly every read should be theirs.

use super::Plan;
use crate::world::Chance;

pub(crate) fn plan(chance: &mut Chance) -> Plan {
    Plan::ordinary(chance)
}
