//! The bench's command line: `compare`, and the parts it is made of, `null` and `load`.
#![forbid(unsafe_code)]

mod compare;
mod drive;
mod measure;
mod null;
mod process;
mod report;
mod sample;
mod syscalls;
mod targets;
mod terminal;
mod workload;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Measures what a proxy costs.
#[derive(Parser)]
#[command(name = "bench", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Compare proxies, taking turns, through null backends and PostgreSQL
    #[command(after_help = format!("Workloads:\n{}", workload::HELP))]
    Compare(compare::Options),
    /// One run against a server or proxy that is there
    Load(drive::Options),
    /// A backend that answers everything at almost no cost
    Null(null::Options),
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(code) => code,
        Err(error) => {
            terminal::progress(&format!("bench: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Compare(options) => match process::in_own_session()? {
            process::Session::Own => compare::run(&options),
            process::Session::Child(status) => return Ok(status),
        },
        Command::Load(options) => drive::run(&options),
        Command::Null(options) => null::run(&options),
    }
    .map(|()| ExitCode::SUCCESS)
}
