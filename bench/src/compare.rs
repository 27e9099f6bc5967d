//! The interleaver: all targets of a workload run at the same time, and take turns at being measured, A B C and then C B A.
//!
//! A machine's speed changes from second to second; what is compared is therefore only what was measured in the same round, one
//! right after the other.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};

use crate::measure;
use crate::report;
use crate::sample::{Report, Sample, figure};
use crate::syscalls;
use crate::targets::{Auth, Backends, Behind, Contender, Place, Target};
use crate::terminal;
use crate::workload::{ALL, QUICK, What, Workload};
use load::machine::{Machine, load_average};

/// Above this load average before the run, a machine is busy.
const BUSY_LOAD: f64 = 0.7;
/// Above this share of the machine, in percent, others disturb a sample.
const BUSY_OTHERS: f64 = 8.0;
/// Rounds of what has no noise worth repeating: memory.
const IDLE_ROUNDS_MAX: u32 = 2;

/// What to compare.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Workloads, separated by commas; see below
    #[arg(long, value_delimiter = ',', conflicts_with = "quick")]
    workload: Vec<String>,
    /// Targets, separated by commas: direct, haproxy, pgbouncer ($PGBOUNCER, else the system's), pgbouncer-system, highwater-off, highwater, highwater-2
    #[arg(long, value_delimiter = ',')]
    targets: Vec<String>,
    /// One more Highwater to compare, as NAME=PATH of its program; repeatable
    #[arg(long, value_name = "NAME=PATH")]
    build: Vec<String>,
    /// The Highwater program [default: beside this one]
    #[arg(long, value_name = "PATH")]
    highwater: Option<PathBuf>,
    /// What ratios are to
    #[arg(long, default_value = "pgbouncer")]
    base: String,
    /// How often each target has its turn [default: 5, quick: 3]
    #[arg(long)]
    rounds: Option<u32>,
    /// How long each turn is [default: 2, quick: 1]
    #[arg(long)]
    seconds: Option<f64>,
    /// A few workloads and short turns
    #[arg(long)]
    quick: bool,
    /// Scale of pgbench's tables for select/…
    #[arg(long, default_value_t = 20)]
    scale: u32,
    /// Also count system calls, with strace, in runs of their own
    #[arg(long)]
    syscalls: bool,
    #[command(flatten)]
    files: Files,
}

/// Where to put what.
#[derive(clap::Args)]
struct Files {
    /// Write everything that was measured to this file, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write a page with plots to this file
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Put the servers' files below this directory
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// What is common to a whole run.
struct Run {
    place: Place,
    contenders: Vec<Contender>,
    rounds: u32,
    time: Duration,
    with_syscalls: bool,
    samples: Vec<Sample>,
    warnings: Vec<String>,
}

/// Compares, prints, writes.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    raise_descriptors()?;
    let machine = Machine::look();
    let workloads = workloads(options)?;
    let mut run = prepare(options)?;
    if machine.load_average_before > BUSY_LOAD {
        run.warn(format!(
            "the machine was busy before the run (load average {:.2}): believe ratios only, and those not to 10 %",
            machine.load_average_before
        ));
    }
    // What has the same servers and logins behind runs together, in the order given.
    let mut left: Vec<Workload> = workloads.clone();
    while let Some(first) = left.first() {
        let (behind, auth) = (first.behind, first.auth);
        let (together, rest): (Vec<_>, Vec<_>) =
            left.into_iter().partition(|workload| workload.behind == behind && workload.auth == auth);
        left = rest;
        run.setting(behind, auth, &together)?;
    }
    run.warn_of_others();
    let report = Report {
        command: std::env::args().skip(1).fold("bench".to_owned(), |line, word| format!("{line} {word}")),
        machine,
        load_average_after: load_average(),
        targets: run.contenders.iter().map(|one| (one.name.clone(), one.version.clone())).collect(),
        base: options.base.clone(),
        rounds: run.rounds,
        seconds: run.time.as_secs_f64(),
        workloads: workloads.into_iter().map(|workload| workload.name).collect(),
        warnings: run.warnings,
        samples: run.samples,
    };
    terminal::result(&report::text(&report));
    if let Some(path) = &options.files.json {
        let json = serde_json::to_string_pretty(&report)?;
        std::fs::write(path, json).with_context(|| format!("cannot write {}", path.display()))?;
    }
    if let Some(path) = &options.files.html {
        std::fs::write(path, report::html(&report))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

fn workloads(options: &Options) -> anyhow::Result<Vec<Workload>> {
    let names: Vec<&str> = match (options.workload.as_slice(), options.quick) {
        ([], true) => QUICK.to_vec(),
        ([], false) => ALL.to_vec(),
        (names, _) => names.iter().map(String::as_str).collect(),
    };
    names.into_iter().map(|name| Workload::parse(name, options.scale)).collect()
}

fn prepare(options: &Options) -> anyhow::Result<Run> {
    let beside = std::env::current_exe()?.with_file_name("highwater");
    let highwater = options.highwater.clone().unwrap_or(beside);
    let build = |text: &String| {
        let (name, path) = text.split_once('=').context("--build wants NAME=PATH")?;
        anyhow::Ok((name.to_owned(), PathBuf::from(path)))
    };
    let builds: Vec<(String, PathBuf)> = options.build.iter().map(build).collect::<Result<_, _>>()?;
    let mut names = options.targets.clone();
    if names.is_empty() {
        names = ["direct", "haproxy", "pgbouncer", "highwater-off", "highwater"].map(str::to_owned).to_vec();
        if terminal::variable("PGBOUNCER").is_some() && !options.quick {
            names.insert(3, "pgbouncer-system".to_owned());
        }
    }
    names.extend(builds.iter().map(|(name, _)| name.clone()).filter(|name| !options.targets.contains(name)));
    let contenders =
        names.iter().map(|name| Contender::find(name, &highwater, &builds)).collect::<Result<Vec<_>, _>>()?;
    let (rounds, seconds) = if options.quick { (3, 1.0) } else { (5, 2.0) };
    let seconds = options.seconds.unwrap_or(seconds);
    if !(0.05..=600.0).contains(&seconds) {
        bail!("--seconds must be between 0.05 and 600");
    }
    Ok(Run {
        place: Place::new(options.files.dir.as_deref())?,
        contenders,
        rounds: options.rounds.unwrap_or(rounds).max(1),
        time: Duration::from_secs_f64(seconds),
        with_syscalls: options.syscalls,
        samples: Vec::new(),
        warnings: Vec::new(),
    })
}

/// As many descriptors as we may have: thousands of clients need them, here and in what is started from here.
fn raise_descriptors() -> anyhow::Result<()> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?;
    Ok(())
}

impl Run {
    fn warn(&mut self, text: String) {
        terminal::progress(&format!("bench: WARNING: {text}"));
        self.warnings.push(text);
    }

    /// All workloads that can share servers and proxies.
    fn setting(&mut self, behind: Behind, auth: Auth, workloads: &[Workload]) -> anyhow::Result<()> {
        let backends =
            Backends::start(&self.place, behind, &|text| terminal::progress(&format!("bench: {text}")))?;
        if workloads.iter().any(|workload| !matches!(workload.what, What::Idle(_))) {
            let targets = self
                .contenders
                .iter()
                .map(|contender| contender.start(&self.place, &backends, auth))
                .collect::<Result<Vec<_>, _>>()?;
            for workload in workloads {
                self.rounds(workload, &targets, &backends)?;
            }
        }
        for workload in workloads {
            if let What::Idle(clients) = workload.what {
                self.idle(workload, clients, &backends)?;
            }
        }
        Ok(())
    }

    fn rounds(&mut self, workload: &Workload, targets: &[Target], backends: &Backends) -> anyhow::Result<()> {
        if matches!(workload.what, What::Idle(_)) {
            return Ok(());
        }
        for round in 0..self.rounds {
            let mut order: Vec<&Target> = targets.iter().collect();
            if round % 2 == 1 {
                order.reverse();
            }
            for target in order {
                if self.is_void(&workload.name, &target.contender.name) {
                    continue;
                }
                let mut sample = measure::measure(workload, target, backends, self.time);
                sample.round = round;
                if workload.is_prepared() && !target.contender.prepares() && sample.void.is_some() {
                    sample.void =
                        Some("this version has no prepared statements in transaction mode".to_owned());
                }
                terminal::progress(&report::line(&sample));
                self.samples.push(sample);
            }
        }
        if self.with_syscalls {
            self.count_syscalls(workload, targets)?;
        }
        Ok(())
    }

    fn is_void(&self, workload: &str, target: &str) -> bool {
        let of = |sample: &&Sample| sample.workload == workload && sample.target == target;
        self.samples.iter().filter(of).any(|sample| sample.void.is_some())
    }

    fn count_syscalls(&mut self, workload: &Workload, targets: &[Target]) -> anyhow::Result<()> {
        let What::Fleet(plan) = workload.what else { return Ok(()) };
        for target in targets {
            let name = &target.contender.name;
            let Some(service) = &target.service else { continue };
            if self.is_void(&workload.name, name) {
                continue;
            }
            let log = self.place.path("strace");
            let (all, calls) = syscalls::count(service.pid(), &target.at, plan, &log)?;
            let calls: Vec<String> = calls.iter().map(|(name, count)| format!("{name} {count:.2}")).collect();
            terminal::progress(&format!(
                "{:<18} {name:<18} {all:.2} system calls each: {}",
                workload.name,
                calls.join(", ")
            ));
            let first = self
                .samples
                .iter_mut()
                .find(|sample| sample.workload == workload.name && sample.target == *name);
            if let Some(sample) = first {
                sample.figures.insert(figure::SYSCALLS, all);
            }
        }
        Ok(())
    }

    /// Each target alone and freshly started: what an earlier workload left in memory is not the clients'.
    fn idle(&mut self, workload: &Workload, clients: u32, backends: &Backends) -> anyhow::Result<()> {
        for round in 0..self.rounds.min(IDLE_ROUNDS_MAX) {
            for contender in self.contenders.clone() {
                let target = contender.start(&self.place, backends, workload.auth)?;
                if target.service.is_none() {
                    continue;
                }
                let mut sample = Sample {
                    workload: workload.name.clone(),
                    target: contender.name.clone(),
                    round,
                    ..Sample::default()
                };
                if let Err(error) = measure::idle(clients, &target, self.time, &mut sample) {
                    sample.void = Some(error.to_string());
                }
                terminal::progress(&report::line(&sample));
                self.samples.push(sample);
            }
        }
        Ok(())
    }

    /// Says so if others used the machine during the run.
    fn warn_of_others(&mut self) {
        let disturbed =
            |sample: &&Sample| sample.figures.get(figure::OTHERS).is_some_and(|&share| share > BUSY_OTHERS);
        let (count, all) = (self.samples.iter().filter(disturbed).count(), self.samples.len());
        if count > 0 {
            self.warn(format!(
                "in {count} of {all} samples processes that are not of the bench used more than {BUSY_OTHERS:.0} % of the machine"
            ));
        }
    }
}
