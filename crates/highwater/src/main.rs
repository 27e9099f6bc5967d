//! The `highwater` command: parses the arguments, calls one function, turns its error into a sentence and an exit
//! status. Decides nothing else.

#![forbid(unsafe_code)]

mod args;
mod dsn;
mod environment;
mod failure;
mod generate;
mod output;
mod setup;

use std::process::ExitCode;

use args::{Cli, Command};
use clap::Parser;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(&cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::note(format!("highwater: {error:#}"));
            ExitCode::from(failure::status_of(&error) as u8)
        }
    }
}

fn run(command: &Command) -> anyhow::Result<()> {
    match command {
        Command::Up(up) => setup::up(up),
        Command::Completions(completions) => generate::completions(completions),
        Command::Man(man) => generate::man(man),
    }
}
