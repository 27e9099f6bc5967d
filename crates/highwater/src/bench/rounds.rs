//! The run: every target in turns, the order rotated, so that what changes on the machine meanwhile happens to all.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use load::clock::now;
use load::cpu::Cpu;
use load::crew::{Crew, Go, Pace, Stint, Terms};
use load::outcome::Outcome;
use load::script::Script;

use super::interrupt::Interrupt;
use super::probe::Probes;
use super::progress::{Progress, Stage};
use super::server::Watched;
use super::target::Contender;

/// Longest warm-up of a target that was measured before.
const REWARM_MAX: Duration = Duration::from_secs(1);
/// Steps of the course of time are at least this long, and there are about this many in a run.
const STEP_MIN: Duration = Duration::from_millis(250);
const STEPS: u32 = 120;

/// What is run.
pub(crate) struct Plan {
    pub(crate) script: Arc<Script>,
    pub(crate) terms: Terms,
    pub(crate) pace: Pace,
    /// Of each target, all rounds together.
    pub(crate) time: Duration,
    pub(crate) warmup: Duration,
    pub(crate) rounds: u32,
    pub(crate) seed: u64,
    /// Between two probes.
    pub(crate) probe_every: Duration,
}

/// A target with everything that is measured of it.
pub(crate) struct Lane {
    pub(crate) contender: Contender,
    pub(crate) probes: Probes,
    /// Servers whose processor time is looked at; the primary is the first.
    pub(crate) watched: Watched,
    pub(crate) turns: Vec<Turn>,
}

/// What was measured of a target in one round.
pub(crate) struct Turn {
    pub(crate) round: u32,
    pub(crate) outcome: Outcome,
    /// Cores used by each of the servers that are watched.
    pub(crate) servers: Vec<(String, f64)>,
    /// Cores used by this process.
    pub(crate) generator: f64,
}

/// Whether everything was measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum End {
    Whole,
    Interrupted,
}

/// Called before a target's turn with its place.
pub(crate) type Enter<'a> = &'a mut dyn FnMut(usize) -> anyhow::Result<()>;

impl Plan {
    /// How long a turn is measured.
    pub(crate) fn turn(&self) -> Duration {
        self.time / self.rounds
    }

    /// How long everything takes.
    pub(crate) fn whole(&self, targets: usize) -> Duration {
        let rewarm = self.warmup.min(REWARM_MAX) * (self.rounds - 1);
        (self.time + self.warmup + rewarm) * u32::try_from(targets).unwrap_or(u32::MAX)
    }

    fn step(&self) -> Duration {
        (self.time / STEPS).max(STEP_MIN)
    }

    fn stint(&self, time: Duration, round: u32) -> Stint {
        // All targets of a round are asked the same.
        Stint { time, pace: self.pace, seed: self.seed.wrapping_add(u64::from(round)), step: self.step() }
    }
}

/// Runs all rounds. What was measured stands in the lanes, also after an error.
pub(crate) fn run(
    plan: &Plan,
    lanes: &mut [Lane],
    enter: Enter<'_>,
    progress: &mut Progress,
    interrupt: &mut Interrupt,
) -> anyhow::Result<End> {
    let mut crews = Vec::with_capacity(lanes.len());
    for lane in lanes.iter() {
        let mut terms = plan.terms.clone();
        if !lane.contender.facts.router {
            terms.route_every = 0;
        }
        let crew = Crew::open(&lane.contender.target, Arc::clone(&plan.script), terms);
        crews.push(crew.map_err(|error| lane.contender.explain(&error))?);
    }
    let mut end = End::Whole;
    'rounds: for round in 0..plan.rounds {
        for step in 0..lanes.len() {
            let place = (step + round as usize) % lanes.len();
            enter(place)?;
            let (lane, crew) = (&mut lanes[place], &mut crews[place]);
            turn(plan, round, lane, crew, progress, interrupt)?;
            if interrupt.came() {
                end = End::Interrupted;
                break 'rounds;
            }
        }
    }
    crews.into_iter().for_each(Crew::close);
    progress.end();
    Ok(end)
}

/// One target's turn: warm-up, then the measurement, with the probers beside it.
fn turn(
    plan: &Plan,
    round: u32,
    lane: &mut Lane,
    crew: &mut Crew,
    progress: &mut Progress,
    interrupt: &mut Interrupt,
) -> anyhow::Result<()> {
    let warmup = if round == 0 { plan.warmup } else { plan.warmup.min(REWARM_MAX) };
    let name = lane.contender.name.clone();
    let failed = |error: load::Error| lane.contender.explain(&error);
    if !warmup.is_zero() {
        let stint = plan.stint(warmup, u32::MAX - round);
        crew.drive(&stint, &mut |outcome, at| watch(progress, interrupt, Stage::Warming, &name, outcome, at))
            .map_err(failed)?;
    }
    if interrupt.came() {
        return Ok(());
    }
    let stop = AtomicBool::new(false);
    let (before, own, begun) = (lane.watched.look(), Cpu::alone(std::process::id()), now());
    let outcome = std::thread::scope(|scope| {
        let probes = &mut lane.probes;
        scope.spawn(|| probes.run(plan.probe_every, &stop));
        let outcome = crew.drive(&plan.stint(plan.turn(), round), &mut |outcome, at| {
            watch(progress, interrupt, Stage::Measuring(round + 1, plan.rounds), &name, outcome, at)
        });
        stop.store(true, Ordering::Relaxed);
        outcome
    });
    let took = begun.elapsed().as_secs_f64();
    let cores = |after: Cpu, before: Cpu| after.since(before).as_secs_f64() / took;
    let servers = lane.watched.0.iter().zip(lane.watched.look().into_iter().zip(before));
    let servers = servers.map(|((name, _), (after, before))| (name.clone(), cores(after, before))).collect();
    let generator = cores(Cpu::alone(std::process::id()), own);
    let outcome = outcome.map_err(|error| lane.contender.explain(&error))?;
    progress.turn(&name, round + 1, plan.rounds, &outcome);
    lane.turns.push(Turn { round, outcome, servers, generator });
    Ok(())
}

fn watch(
    progress: &mut Progress,
    interrupt: &mut Interrupt,
    stage: Stage,
    name: &str,
    outcome: &Outcome,
    at: Duration,
) -> Go {
    progress.show(stage, name, outcome, at);
    if interrupt.came() { Go::Stop } else { Go::On }
}
