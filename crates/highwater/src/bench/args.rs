//! The command line of `highwater bench`, declared once.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

/// A load test: throughput, latency percentiles, errors, where reads ran and how stale they were.
///
/// Asks a workload over many connections, of one target or of several in turns, and prints a table; --json and --html
/// write the whole. `bench local` makes a throw-away primary with replicas on this machine, gives each server its own
/// share of the processor, and compares. Ctrl-C ends the run and reports what was measured so far.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Bench {
    #[command(subcommand)]
    pub(crate) how: Option<How>,
    #[command(flatten)]
    pub(crate) targets: Targets,
    #[command(flatten)]
    pub(crate) run: Run,
}

/// Other ways to bench.
#[derive(Debug, Subcommand)]
pub(crate) enum How {
    Local(Local),
}

/// A throw-away primary with replicas on this machine: with and without the router, with 0, 1, … replicas.
///
/// Each PostgreSQL server gets its own share of the processor (a cgroup's limit, or cores of its own), so that a replica
/// adds capacity as another machine would; the report says which of the two it was, or that neither could be had.
#[derive(Debug, Args)]
pub(crate) struct Local {
    /// Numbers of replicas to compare
    #[arg(long, value_name = "N,N,…", value_delimiter = ',', default_values_t = [0, 1, 2], value_parser = clap::value_parser!(u16).range(0..=8))]
    pub(crate) replicas: Vec<u16>,

    /// Cores of each PostgreSQL server: a number, or `off` for no limit
    #[arg(long, value_name = "CORES", default_value = "0.3", value_parser = cores)]
    pub(crate) server_cpu: Cores,

    /// Directory of PostgreSQL's programs [default: the newest of PATH, pg_config and the usual places]
    #[arg(long, value_name = "DIR")]
    pub(crate) pg_bin: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) run: Run,
}

/// How much of the processor a server gets.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Cores {
    /// As much as there is.
    Unlimited,
    /// So many cores.
    Limited(f64),
}

/// What is measured.
#[derive(Debug, Args)]
pub(crate) struct Targets {
    /// Connection string of the first target, which ratios are to; NAME=DSN gives it a name. Without a password in it,
    /// PGPASSWORD is used
    #[arg(long, value_name = "[NAME=]DSN")]
    pub(crate) dsn: Option<String>,

    /// Another target, measured in turns with the first; may be given several times
    #[arg(long, value_name = "[NAME=]DSN")]
    pub(crate) against: Vec<String>,

    /// Make the workload's tables through the first target (schema highwater_bench, made anew; or pgbench's tables, if they
    /// are not there), then measure
    #[arg(long, alias = "prepare")]
    pub(crate) init: bool,

    /// Remove the schema highwater_bench through the first target, and measure nothing
    #[arg(long, conflicts_with = "init")]
    pub(crate) drop: bool,
}

/// How it is measured.
#[derive(Debug, Args)]
pub(crate) struct Run {
    #[command(flatten)]
    pub(crate) asking: Asking,
    #[command(flatten)]
    pub(crate) timing: Timing,
    #[command(flatten)]
    pub(crate) shown: Shown,
}

/// What is asked.
#[derive(Debug, Args)]
#[command(next_help_heading = "What is asked")]
pub(crate) struct Asking {
    /// `api` (a read-heavy API), `tpcb` (pgbench's), or a file of your own statements
    #[arg(short, long, value_name = "api|tpcb|FILE", default_value = "api")]
    pub(crate) workload: String,

    /// Share of the transactions of `api` that write, 0 to 1 [default: 0.1]
    #[arg(long, value_name = "SHARE", value_parser = share)]
    pub(crate) write_ratio: Option<f64>,

    /// Size of the tables that --init makes: 1 is 50,000 places, or 100,000 accounts
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) scale: u32,

    /// Connections to each target
    #[arg(short, long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) clients: u32,

    /// How statements are sent
    #[arg(long, value_enum, default_value_t = Protocol::Extended)]
    pub(crate) protocol: Protocol,

    /// SET highwater.consistency of every connection [default: the router's]
    #[arg(long, value_enum)]
    pub(crate) level: Option<Level>,

    /// What is drawn follows from this number
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,

    /// Print the workload as a script, to change it, and do nothing else
    #[arg(long)]
    pub(crate) print_workload: bool,
}

/// When, and for how long.
#[derive(Debug, Args)]
#[command(next_help_heading = "When")]
pub(crate) struct Timing {
    /// Open loop: so many transactions a second arrive, whether or not answers keep up; latency counts from the arrival
    /// [default: closed loop, every connection asks as soon as it has its answer]
    #[arg(short, long, value_name = "PER_SECOND", value_parser = rate)]
    pub(crate) rate: Option<f64>,

    /// How arrivals of an open loop are spread
    #[arg(long, value_enum, default_value_t = ArrivalsArg::Poisson)]
    pub(crate) arrivals: ArrivalsArg,

    /// Arrivals of an open loop that may wait for a free connection; more are turned away
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    pub(crate) queue: usize,

    /// How long each target is measured, all rounds together
    #[arg(short, long, value_name = "TIME", default_value = "30s", value_parser = duration)]
    pub(crate) time: Duration,

    /// How long each target is driven before, unmeasured; before its later turns, a second of it at most
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration)]
    pub(crate) warmup: Duration,

    /// Turns of each target; the order rotates [default: 1 for one target, else 3]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) rounds: Option<u32>,
}

/// What comes out.
#[derive(Debug, Args)]
#[command(next_help_heading = "What comes out")]
pub(crate) struct Shown {
    /// Write everything as JSON; - for standard output in place of the table
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,

    /// Write a page with plots, in one file
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,

    /// No progress on standard error
    #[arg(short, long)]
    pub(crate) quiet: bool,

    /// Don't look for stale reads
    #[arg(long)]
    pub(crate) no_probe: bool,

    /// Between two probes for stale reads: each is one small write and two reads
    #[arg(long, value_name = "TIME", default_value = "50ms", value_parser = duration)]
    pub(crate) probe_every: Duration,

    /// Ask a router after every N-th read of a connection where it ran; 0 for never
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub(crate) sample_routes: u32,
}

/// How statements are sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Protocol {
    /// One message, values in the text
    Simple,
    /// Parse, Bind and Execute each time, values as parameters
    Extended,
    /// Parsed once on each connection
    Prepared,
}

/// How arrivals are spread.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum ArrivalsArg {
    /// Independently of each other, as many users' are
    Poisson,
    /// Evenly
    Uniform,
}

/// A freshness level.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Level {
    Eventual,
    Bounded,
    Session,
    Causal,
    Global,
    Strong,
}

/// The word that is typed for a value.
pub(crate) fn word(value: &impl ValueEnum) -> String {
    value.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
}

fn share(text: &str) -> Result<f64, String> {
    let share = text.parse().map_err(|_| "a number from 0 to 1".to_owned())?;
    if (0.0..=1.0).contains(&share) { Ok(share) } else { Err("a number from 0 to 1".to_owned()) }
}

fn rate(text: &str) -> Result<f64, String> {
    let wrong = || "a number from 0.01 to 1000000".to_owned();
    let rate = text.parse().map_err(|_| wrong())?;
    if (0.01..=1e6).contains(&rate) { Ok(rate) } else { Err(wrong()) }
}

fn cores(text: &str) -> Result<Cores, String> {
    if text == "off" {
        return Ok(Cores::Unlimited);
    }
    let wrong = || "a number of cores from 0.05 to 64, or `off`".to_owned();
    let cores = text.parse().map_err(|_| wrong())?;
    if (0.05..=64.0).contains(&cores) { Ok(Cores::Limited(cores)) } else { Err(wrong()) }
}

/// `30s`, `500ms`, `2m`, `1.5h`; a number alone is seconds. At most a day.
fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "a time such as 30s, 500ms, 2m or 1h, at most 24h".to_owned();
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "ms" => 1e-3,
        "s" | "" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        _ => return Err(wrong()),
    };
    let seconds = digits.parse::<f64>().map_err(|_| wrong())? * unit;
    if (0.0..=86_400.0).contains(&seconds) { Ok(Duration::from_secs_f64(seconds)) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_their_unit() {
        let ms = |text| duration(text).map(|time| time.as_millis());
        assert_eq!(ms("30s"), Ok(30_000));
        assert_eq!(ms("1.5"), Ok(1500));
        assert_eq!(ms("500ms"), Ok(500));
        assert_eq!(ms("2m"), Ok(120_000));
        for bad in ["", "s", "-1s", "3 days", "25h", "NaN", "inf"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn shares_rates_and_cores_have_limits() {
        assert!(share("0.1").is_ok() && share("1.1").is_err() && share("NaN").is_err());
        assert!(rate("250").is_ok() && rate("0").is_err() && rate("inf").is_err());
        assert!(cores("off") == Ok(Cores::Unlimited) && cores("0.3").is_ok() && cores("0").is_err());
    }
}
