//! `highwater bench`: the user's load test.
//!
//! `script` and `workload` say what is asked, `target` and `tables` where, `rounds` runs it, `report` shows it; `local`
//! makes servers of its own to compare. The connections, the clock and the counting are `load`'s.

pub(crate) mod args;
mod interrupt;
mod local;
mod probe;
mod progress;
mod report;
mod rounds;
mod script;
mod server;
mod tables;
mod target;
mod workload;

use std::sync::Arc;

use load::crew::{Pace, Terms};
use load::pace::Arrivals;

use self::args::{ArrivalsArg, Bench, How, Protocol};
use self::interrupt::Interrupt;
use self::probe::Probes;
use self::progress::Progress;
use self::report::Report;
use self::rounds::{Lane, Plan};
use self::server::Watched;
use self::target::Contender;
use self::workload::Workload;
use crate::{failure, files, output};

/// Sockets beside those of the load: probers, consoles, files.
const OTHER_FILES: u32 = 100;

/// Runs the load test.
pub(crate) fn bench(asked: &Bench) -> anyhow::Result<()> {
    match &asked.how {
        Some(How::Local(asked)) => {
            report::check_files(&asked.run.shown)?;
            local::local(asked)
        }
        None => {
            report::check_files(&asked.run.shown)?;
            remote(asked)
        }
    }
}

/// Targets that are there already.
fn remote(asked: &Bench) -> anyhow::Result<()> {
    let workload = Workload::choose(&asked.run.asking)?;
    if asked.run.asking.print_workload {
        output::text(&workload.text(asked.run.asking.scale));
        return Ok(());
    }
    let contenders = reach(asked)?;
    let first = contenders.first().expect("at least one was asked for");
    if asked.targets.drop {
        tables::remove(first)?;
        if matches!(workload, Workload::Tpcb) {
            output::note(
                "pgbench's tables are left, since they may be yours: DROP TABLE pgbench_accounts, pgbench_branches, \
                 pgbench_tellers, pgbench_history",
            );
        }
        return Ok(());
    }
    // A mistake in a file is found before anything is made.
    workload.script(1)?;
    if asked.targets.init {
        tables::make(&workload, asked.run.asking.scale, &contenders, &tell(&asked.run))?;
    }
    let scale = tables::scale_of(&workload, first)?;
    let plan = plan(&asked.run, &workload, scale, contenders.len())?;
    let lanes: Vec<Lane> = contenders.into_iter().map(|contender| lane(&asked.run, contender)).collect();
    let mut report = Report::begin(&asked.run, &workload, scale, &plan);
    let mut interrupt = Interrupt::new()?;
    measure(&asked.run, &plan, lanes, &mut |_| Ok(()), (&mut report, &mut interrupt))
}

/// Runs the plan, and reports what was measured, even if it ended early.
fn measure(
    run: &args::Run,
    plan: &Plan,
    mut lanes: Vec<Lane>,
    enter: rounds::Enter<'_>,
    (report, interrupt): (&mut Report, &mut Interrupt),
) -> anyhow::Result<()> {
    files::raise_limit((plan.terms.clients.saturating_mul(lanes.len() as u32) + OTHER_FILES) as usize / 2);
    let mut progress = Progress::begin(run.shown.quiet, plan.whole(lanes.len()));
    let ended = rounds::run(plan, &mut lanes, enter, &mut progress, interrupt);
    progress.end();
    if lanes.iter().all(|lane| lane.turns.is_empty()) {
        ended?;
        return Err(failure::failed("interrupted before anything was measured"));
    }
    report.finish(&lanes, plan, ended.as_ref().ok().copied());
    report.write(&run.shown)?;
    ended?;
    report.verdict()
}

/// Says what is being done, unless nobody wants to know.
fn tell(run: &args::Run) -> impl Fn(&str) {
    let quiet = run.shown.quiet;
    move |what| {
        if !quiet {
            output::note(what);
        }
    }
}

fn reach(asked: &Bench) -> anyhow::Result<Vec<Contender>> {
    let texts: Vec<&String> = asked.targets.dsn.iter().chain(&asked.targets.against).collect();
    if texts.is_empty() {
        return Err(failure::usage(
            "say what to measure: --dsn postgresql://USER@HOST:PORT/DATABASE (and --against others); or try `highwater \
             bench local`",
        ));
    }
    let contenders = texts.iter().map(|text| Contender::reach(text)).collect::<anyhow::Result<Vec<_>>>()?;
    for (index, contender) in contenders.iter().enumerate() {
        if contenders[..index].iter().any(|earlier| earlier.name == contender.name) {
            return Err(failure::usage(format!(
                "two targets are called {}: give them names, as in --against router=postgresql://…",
                contender.name
            )));
        }
    }
    Ok(contenders)
}

fn lane(run: &args::Run, contender: Contender) -> Lane {
    let probes = if run.shown.no_probe { Probes::none("--no-probe") } else { Probes::open(&contender) };
    let primary = contender.facts.primary.as_ref().ok();
    let watched =
        Watched(primary.map(|primary| ("primary".to_owned(), primary.postmaster)).into_iter().collect());
    Lane { contender, probes, watched, turns: Vec::new() }
}

fn plan(run: &args::Run, workload: &Workload, scale: u32, targets: usize) -> anyhow::Result<Plan> {
    let (asking, timing) = (&run.asking, &run.timing);
    let rounds = timing.rounds.unwrap_or(if targets > 1 { 3 } else { 1 });
    if timing.time.as_millis() < 100 * u128::from(rounds) {
        return Err(failure::usage(format!(
            "--time {:?} is too short for {rounds} rounds: each needs 100ms at least",
            timing.time
        )));
    }
    let pace = match timing.rate {
        None => Pace::Closed,
        Some(rate) => Pace::Open {
            rate,
            arrivals: match timing.arrivals {
                ArrivalsArg::Poisson => Arrivals::Poisson,
                ArrivalsArg::Uniform => Arrivals::Uniform,
            },
            queue_max: timing.queue,
        },
    };
    let terms = Terms {
        clients: asking.clients,
        protocol: match asking.protocol {
            Protocol::Simple => load::Protocol::Simple,
            Protocol::Extended => load::Protocol::Extended,
            Protocol::Prepared => load::Protocol::Prepared,
        },
        setup: asking.level.map(|level| format!("SET highwater.consistency = '{}'", args::word(&level))),
        route_every: run.shown.sample_routes,
    };
    Ok(Plan {
        script: Arc::new(workload.script(scale)?),
        terms,
        pace,
        time: timing.time,
        warmup: timing.warmup,
        rounds,
        seed: asking.seed,
        probe_every: run.shown.probe_every,
    })
}
