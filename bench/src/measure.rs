//! One measurement: the generator at work, and what the proxy spent meanwhile.

use load::clock::now;
use load::cpu::Cpu;
use std::time::{Duration, Instant};

use load::bulk::Bulk;
use load::fleet::{Fleet, Plan};
use load::{Tally, churn};

use crate::process::Service;
use crate::sample::{Sample, figure};
use crate::targets::{Backends, Kind, Target};
use crate::workload::{BULK_ROWS, Transfer, What, Workload};
use load::machine::Busy;

/// How long a proxy is driven before it is measured.
pub(crate) const WARM_UP: Duration = Duration::from_millis(300);
/// If the node that should serve nothing has used more than this share of what the nodes used, the reads went astray.
const ASTRAY: f64 = 0.2;
/// A line of a COPY, as wide as a row of `pgbench_accounts`.
const LINE: &[u8] = b"4711\tthe quick brown fox jumps over the lazy dog, again and again, until the line is as wide as it should be\n";

/// Where the clock and the counters stood.
struct Marks {
    proxy: Option<Cpu>,
    primary: Cpu,
    replica: Cpu,
    own: Cpu,
    machine: Busy,
    at: Instant,
}

impl Marks {
    fn set(target: &Target, backends: &Backends) -> Marks {
        Marks {
            primary: backends.primary.service.cpu(),
            replica: backends.replica.service.cpu(),
            own: Cpu::of(std::process::id()),
            machine: Busy::now(),
            at: now(),
            proxy: target.service.as_ref().map(Service::cpu),
        }
    }
}

/// Runs a workload once on a target. An error is a void sample, not the end of the run.
pub(crate) fn measure(workload: &Workload, target: &Target, backends: &Backends, time: Duration) -> Sample {
    let mut sample = Sample {
        workload: workload.name.clone(),
        target: target.contender.name.clone(),
        ..Sample::default()
    };
    if let Err(error) = attempt(workload, target, backends, time, &mut sample) {
        sample.void = Some(error.to_string());
    }
    sample
}

fn attempt(
    workload: &Workload,
    target: &Target,
    backends: &Backends,
    time: Duration,
    sample: &mut Sample,
) -> Result<(), load::Error> {
    match workload.what {
        What::Fleet(plan) => {
            let mut fleet = Fleet::open(&target.at, plan)?;
            // A fault in the warm-up is a fault.
            let warm = fleet.drive(WARM_UP)?;
            let marks = Marks::set(target, backends);
            let tally = fleet.drive(time)?;
            settle(&marks, target, backends, &tally, sample);
            sample.void = sample.void.take().or_else(|| warm.void());
            fleet.close();
        }
        What::Churn(at_a_time) => {
            churn::drive(&target.at, at_a_time, WARM_UP)?;
            let marks = Marks::set(target, backends);
            let tally = churn::drive(&target.at, at_a_time, time)?;
            settle(&marks, target, backends, &tally, sample);
        }
        What::Bulk(transfer) => bulk(transfer, target, backends, time, sample)?,
        What::Idle(_) => {}
    }
    if !matches!(workload.what, What::Churn(_)) {
        sample.void = sample.void.take().or_else(|| astray(workload, target, sample));
    }
    Ok(())
}

/// One transfer to warm up; then one after the other until the time is over.
fn bulk(
    transfer: Transfer,
    target: &Target,
    backends: &Backends,
    time: Duration,
    sample: &mut Sample,
) -> Result<(), load::Error> {
    let mut bulk = Bulk::open(&target.at)?;
    let text = transfer.text();
    let mut once = || match transfer {
        Transfer::Select | Transfer::CopyOut => bulk.read(&text, BULK_ROWS),
        Transfer::CopyIn => bulk.write(&text, LINE, BULK_ROWS),
    };
    once()?;
    let marks = Marks::set(target, backends);
    let mut all = Tally::default();
    while all.answered == 0 || marks.at.elapsed() < time {
        let mut tally = once()?;
        // What counts here is transfers, not rows.
        tally.answered = 1;
        all.add(&tally);
    }
    all.elapsed = marks.at.elapsed();
    settle(&marks, target, backends, &all, sample);
    Ok(())
}

/// The figures of what happened since the marks.
fn settle(marks: &Marks, target: &Target, backends: &Backends, tally: &Tally, sample: &mut Sample) {
    let proxy = target.service.as_ref().map(Service::cpu);
    let elapsed = marks.at.elapsed();
    let primary = backends.primary.service.cpu().since(marks.primary);
    let replica = backends.replica.service.cpu().since(marks.replica);
    let own = Cpu::of(std::process::id()).since(marks.own);
    let machine = Busy::now().since(marks.machine);
    let us = |time: Duration| time.as_secs_f64() * 1e6;
    let figures = &mut sample.figures;
    figures.insert(figure::RATE, tally.rate());
    for (name, share) in [(figure::P50, 0.5), (figure::P95, 0.95), (figure::P99, 0.99), (figure::P999, 0.999)]
    {
        figures.insert(name, us(tally.latency.quantile(share)));
    }
    let mut ours = primary + replica + own;
    if let (Some(before), Some(after)) = (marks.proxy, proxy) {
        let spent = after.since(before);
        figures.insert(figure::CPU, us(spent) / (tally.answered.max(1) as f64));
        ours += spent;
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from) as f64;
    let others = machine.saturating_sub(ours).as_secs_f64() / (elapsed.as_secs_f64() * cores);
    figures.insert(figure::OTHERS, others * 100.0);
    let total = (primary + replica).as_secs_f64();
    figures.insert("replica_share", if total > 0.0 { replica.as_secs_f64() / total } else { 0.0 });
    sample.void = tally.void();
    if tally.answered == 0 {
        sample.void.get_or_insert_with(|| "nothing was answered".to_owned());
    }
}

/// Whether the wrong node did the work: the one that names a target's place in the table has to have served it.
fn astray(workload: &Workload, target: &Target, sample: &Sample) -> Option<String> {
    let share = *sample.figures.get("replica_share")?;
    let writes = matches!(workload.what, What::Bulk(Transfer::CopyIn));
    let wrong =
        if matches!(target.contender.kind, Kind::Highwater(..)) && !writes { 1.0 - share } else { share };
    (wrong > ASTRAY)
        .then(|| format!("{:.0} % of the servers' work was done by the wrong node", wrong * 100.0))
}

/// Opens clients that do nothing: what each of them holds, and what they cost.
pub(crate) fn idle(clients: u32, target: &Target, time: Duration, sample: &mut Sample) -> anyhow::Result<()> {
    let Some(service) = &target.service else { return Ok(()) };
    let plan = |clients| Plan {
        clients,
        depth: 1,
        protocol: load::Protocol::Simple,
        statements: load::Statements::Few,
    };
    // Pools, caches and the allocator's first arenas are not the clients'.
    let mut few = Fleet::open(&target.at, plan(64))?;
    few.drive(WARM_UP)?;
    few.close();
    std::thread::sleep(WARM_UP);
    let before = service.memory()?;
    let started = now();
    let mut fleet = Fleet::open(&target.at, plan(clients))?;
    let opened = started.elapsed();
    // Each has asked once, so that none is cheaper than one that is used; never two at a time, which would measure queues.
    fleet.ask_in_turn()?;
    std::thread::sleep(Duration::from_secs(1));
    let (after, cpu) = (service.memory()?, service.cpu());
    let started = now();
    std::thread::sleep(time);
    let spent = service.cpu().since(cpu).as_secs_f64() / started.elapsed().as_secs_f64();
    let grown = after.pss_kib.saturating_sub(before.pss_kib) as f64;
    sample.figures.extend([
        (figure::PSS, after.pss_kib as f64),
        (figure::RSS, after.rss_kib as f64),
        (figure::PER_CLIENT, grown / f64::from(clients)),
        (figure::IDLE, spent * 100.0),
        (figure::OPEN, opened.as_secs_f64()),
    ]);
    fleet.close();
    Ok(())
}
