//! A fence against slow creep: instructions of the pure steps of a query, counted by valgrind and compared with a file.
//!
//! `steps run STEP TIMES` only runs a step; `steps check FILE` has valgrind count it twice, at two numbers of times, so that what is
//! not the step falls out; `steps update FILE` writes the file anew. Instructions do not depend on what else the machine does, so a
//! few percent mean something. They are not time: what a change costs in time, `bench compare` tells.
#![forbid(unsafe_code)]

mod count;
mod desk;
mod step;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Counts the instructions of the pure steps of a query.
#[derive(Parser)]
#[command(name = "steps", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a step so many times, for valgrind
    Run {
        /// Which
        step: String,
        /// How often
        times: u32,
    },
    /// Count and compare with the file; exit status 1 if a step is out of its limits, 3 without valgrind, 4 if steps differ
    /// and the file was made by another compiler or on another processor
    Check {
        /// The counts in force
        file: PathBuf,
    },
    /// Count and write the file
    Update {
        /// The counts in force
        file: PathBuf,
    },
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Run { step, times } => step::run(&step, times).map(|()| ExitCode::SUCCESS),
        Command::Check { file } => count::check(&file),
        Command::Update { file } => count::update(&file).map(|()| ExitCode::SUCCESS),
    };
    done.unwrap_or_else(|error| {
        count::say(&format!("steps: {error:#}"));
        ExitCode::FAILURE
    })
}
