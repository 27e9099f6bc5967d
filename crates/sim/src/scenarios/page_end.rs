//! The last record ends exactly at a page's or segment's end and nobody writes any more (H3): replicas must serve all
//! the same.

use super::Plan;
use crate::faults::Fault;
use crate::postgres::{BLOCK, SEGMENT, ServerId};
use crate::world::{Chance, MS};

pub(crate) fn plan(chance: &mut Chance) -> Plan {
    let mut plan = Plan::ordinary(chance);
    plan.writes_until = chance.between(1_000 * MS, 1_900 * MS);
    let unit = chance.pick(&[BLOCK, SEGMENT]);
    plan.at(plan.writes_until + 60 * MS, Fault::Fill(ServerId(0), unit));
    plan
}
