//! A modelled cluster with a seed, and checkers that stand outside the code they judge.
//!
//! The engine's own machines ([`engine::cluster::Cluster`], [`engine::route::decide`], [`engine::pool::Pool`]) are
//! driven against servers that lag, pause, crash, stop, come back showing less, and split in two. Everything follows
//! from the seed: no clock, no thread, no socket. [`check`] knows what was written and judges by that.
//!
//! Test only: nothing depends on this crate.
//!
//! | module | what it is |
//! |---|---|
//! | `world` | clock, queue, chance |
//! | `history`, `postgres`, `faults` | the truth, the servers, and what goes wrong with them |
//! | `monitor`, `pools`, `clients` | the shell's part, around the engine's machines |
//! | [`check`] | what must hold |
//! | [`scenarios`] | what goes wrong, by seed |
//! | [`sabotage`] | rules taken away, which the checkers must notice |

#![forbid(unsafe_code)]

pub mod check;
mod clients;
mod faults;
mod history;
mod monitor;
mod pools;
mod postgres;
mod run;
pub mod sabotage;
pub mod scenarios;
mod world;

#[cfg(test)]
mod tests;

pub use run::Outcome;

use run::Run;
use sabotage::Sabotage;
use scenarios::Scenario;
use world::Chance;

/// Runs a scenario with a seed, with one rule broken or none.
pub fn run(scenario: Scenario, seed: u64, sabotage: Sabotage) -> Outcome {
    let plan = scenario.plan(&mut Chance::new(seed));
    Run::new(seed.rotate_left(32) ^ 0x5eed, plan, sabotage).play()
}
