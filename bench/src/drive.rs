//! `bench load`: one run against whatever listens there, as JSON.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::bail;
use load::{Fleet, Tally, churn};
use serde::Serialize;

use crate::terminal;
use crate::workload::{What, Workload};

/// What to run.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Where
    #[arg(long, default_value = "127.0.0.1:6432")]
    address: SocketAddr,
    /// As whom
    #[arg(long, default_value = "bench")]
    user: String,
    /// Which database
    #[arg(long, default_value = "bench")]
    database: String,
    /// The password, if it asks for one
    #[arg(long)]
    password: Option<String>,
    /// A workload, such as prepared/16
    #[arg(long, default_value = "simple/16")]
    workload: String,
    /// How long
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Scale of pgbench's tables for select/…
    #[arg(long, default_value_t = 20)]
    scale: u32,
}

#[derive(Serialize)]
struct Outcome {
    workload: String,
    answered: u64,
    seconds: f64,
    per_second: f64,
    p50_us: f64,
    p95_us: f64,
    p99_us: f64,
    p999_us: f64,
    max_us: f64,
    errors: BTreeMap<String, u64>,
    mixed_up: u64,
    void: Option<String>,
}

/// Runs and prints.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let mut target = load::Target::new(options.address, &options.user, &options.database);
    if let Some(password) = &options.password {
        target = target.with_password(password);
    }
    let workload = Workload::parse(&options.workload, options.scale)?;
    let time = Duration::try_from_secs_f64(options.seconds)?;
    let tally = match workload.what {
        What::Fleet(plan) => {
            let mut fleet = Fleet::open(&target, plan)?;
            let tally = fleet.drive(time)?;
            fleet.close();
            tally
        }
        What::Churn(at_a_time) => churn::drive(&target, at_a_time, time)?,
        What::Idle(_) | What::Bulk(_) => {
            bail!("'{}' needs the proxy's process: use compare", options.workload)
        }
    };
    let void = tally.void();
    terminal::result(&serde_json::to_string_pretty(&outcome(&options.workload, tally))?);
    match void {
        Some(why) => bail!("this run proves nothing: {why}"),
        None => Ok(()),
    }
}

fn outcome(workload: &str, tally: Tally) -> Outcome {
    let us = |share: f64| tally.latency.quantile(share).as_secs_f64() * 1e6;
    Outcome {
        workload: workload.to_owned(),
        answered: tally.answered,
        seconds: tally.elapsed.as_secs_f64(),
        per_second: tally.rate(),
        p50_us: us(0.5),
        p95_us: us(0.95),
        p99_us: us(0.99),
        p999_us: us(0.999),
        max_us: tally.latency.max().as_secs_f64() * 1e6,
        mixed_up: tally.mixed_up,
        void: tally.void(),
        errors: tally.errors,
    }
}
