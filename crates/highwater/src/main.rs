//! The `highwater` command: parses the arguments, calls one function, turns its error into a sentence and an exit
//! status. Decides nothing else.

#![forbid(unsafe_code)]

mod args;
mod bench;
mod check;
mod connection;
mod dsn;
mod environment;
mod explain;
mod failure;
mod files;
mod generate;
mod http;
mod output;
mod replica;
mod serve;
mod settings;
mod setup;
mod status;

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
        Command::Serve(serve) => serve::serve(&serve.settings),
        Command::Check(check) => check::check(check),
        Command::Explain(explain) => explain::explain(explain),
        Command::Status(status) => status::status(status),
        Command::Replica(replica) => replica::replica(replica),
        Command::Bench(bench) => bench::bench(bench),
        Command::Completions(completions) => generate::completions(completions),
        Command::Man(man) => generate::man(man),
    }
}
