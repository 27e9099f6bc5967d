//! `sim [--seed N] [--count N] [--scenario NAME]`: runs seeds and says which of them break a promise.
//!
//! For the nightly's many seeds, and for one seed that has failed. What a run does is `sim`'s library's matter.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command for the terminal")]

use std::process::ExitCode;

use sim::check::Tally;
use sim::sabotage::Sabotage;
use sim::scenarios::Scenario;

/// What to run.
struct Wanted {
    seed: u64,
    count: u64,
    scenario: Option<Scenario>,
}

fn main() -> ExitCode {
    let wanted = match wanted(std::env::args().skip(1)) {
        Ok(wanted) => wanted,
        Err(complaint) => {
            eprintln!("{complaint}; usage: sim [--seed N] [--count N] [--scenario NAME]");
            return ExitCode::from(2);
        }
    };
    let mut sum = Tally::default();
    let mut broken = 0_u64;
    for seed in wanted.seed..wanted.seed.saturating_add(wanted.count) {
        let scenario = wanted.scenario.unwrap_or_else(|| Scenario::of_seed(seed));
        let outcome = sim::run(scenario, seed, Sabotage::Nothing);
        sum.add(&outcome.tally);
        if let Some(violation) = outcome.violation {
            broken += 1;
            let at_us = violation.at / 1000;
            println!("--scenario {} --seed {seed}: {:?} at {at_us} us", scenario.name(), violation.promise);
        }
    }
    println!(
        "{} runs, {broken} broken; {} writes, {} reads on replicas ({} after a write), {} on the primary, {} errors",
        wanted.count, sum.writes, sum.replica_reads, sum.after_write, sum.primary_reads, sum.errors
    );
    if broken == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn wanted(mut arguments: impl Iterator<Item = String>) -> Result<Wanted, String> {
    let mut wanted = Wanted { seed: 0, count: 1000, scenario: None };
    while let Some(name) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("{name} needs a value"))?;
        let number = || value.parse().map_err(|_| format!("{name} needs a number, not {value}"));
        match name.as_str() {
            "--seed" => wanted.seed = number()?,
            "--count" => wanted.count = number()?,
            "--scenario" => {
                let known = Scenario::ALL.into_iter().find(|scenario| scenario.name() == value);
                wanted.scenario = Some(known.ok_or_else(|| format!("no scenario is called {value}"))?);
            }
            _ => return Err(format!("{name} is not known")),
        }
    }
    Ok(wanted)
}
