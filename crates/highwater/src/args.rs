//! The command line, declared once: parsing, `--help`, the man page and the completions are all made from this.
//!
//! Only what was typed. What it means is each command's own.

pub(crate) mod replica;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

use crate::bench;
use crate::settings::Flags;

/// PostgreSQL read-replica router and connection pooler.
///
/// Applications keep their connection string; Highwater pools their connections, sends each statement to the primary
/// or to a replica that is proved fresh enough for this reader, and hides the loss of any replica.
#[derive(Debug, Parser)]
#[command(name = "highwater", version, max_term_width = 100, after_help = EXIT_STATUS)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXIT_STATUS: &str = "\
Exit status:
  0  fine
  1  the thing asked for failed, or problems were found
  2  usage or configuration
  3  something needed is not installed
  4  a server can't be reached";

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Up(Up),
    Serve(Serve),
    Check(Check),
    Explain(Explain),
    Status(Status),
    #[command(subcommand)]
    Replica(replica::Replica),
    Bench(Box<bench::args::Bench>),
    #[command(hide = true)]
    Completions(Completions),
    #[command(hide = true)]
    Man(Man),
}

/// A local primary, streaming replicas and the router, with sample data, in the foreground.
///
/// The first run makes everything (initdb, pg_basebackup, physical slots), later runs use it again. Ctrl-C stops
/// everything. PostgreSQL never runs as root: for root, it runs as the user postgres, or highwater, which is made if
/// there is neither. Prints a table of the nodes, the connection strings and, when the router answers and every
/// replica is proved fresh, the line `ready`.
#[derive(Debug, Args)]
pub(crate) struct Up {
    /// Where to keep the data [default: $XDG_DATA_HOME/highwater or ~/.local/share/highwater; for root
    /// /var/lib/highwater]
    #[arg(long, value_name = "DIR", conflicts_with = "ephemeral")]
    pub(crate) dir: Option<PathBuf>,

    /// Keep the data in a temporary directory, without fsync, and remove it at the end
    #[arg(long)]
    pub(crate) ephemeral: bool,

    /// How many streaming replicas [default: as many as there are, 1 on the first run]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(0..=16))]
    pub(crate) replicas: Option<u16>,

    /// Where the router listens on 127.0.0.1; HTTP is on the next port, the nodes are from 10 above on
    #[arg(long, value_name = "PORT", default_value_t = 6432, value_parser = clap::value_parser!(u16).range(1..=65_000))]
    pub(crate) port: u16,

    /// Directory of PostgreSQL's programs [default: the newest of PATH, pg_config and the usual places]
    #[arg(long, value_name = "DIR")]
    pub(crate) pg_bin: Option<PathBuf>,
}

/// The router, in the foreground.
///
/// File, environment (HIGHWATER_…) and flags say the same things; the environment overrules the file, and flags overrule
/// both. SIGHUP reads them again; SIGTERM and SIGINT let what is running finish, and end.
#[derive(Debug, Args)]
pub(crate) struct Serve {
    #[command(flatten)]
    pub(crate) settings: Flags,
}

/// Every mistake in a configuration at once, with line, column and the nearest valid name.
///
/// Looks at the file and at HIGHWATER_… in the environment. Exit status 1 when there is something to correct.
#[derive(Debug, Args)]
pub(crate) struct Check {
    /// Configuration file (TOML)
    #[arg(short, long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    /// Also connect to every node, as the monitor: role, timeline, system identifier, version, privileges, settings
    #[arg(long)]
    pub(crate) connect: bool,

    /// Print the JSON schema of the configuration file, for editors, and check nothing
    #[arg(long, conflicts_with_all = ["config", "connect"])]
    pub(crate) print_schema: bool,
}

/// Where each statement would go, and why.
///
/// Says for each statement its class (reads, writes, unknown), the node it would be sent to, the reason, its effects on
/// the session, and the freshness it would need. Every statement is judged alone. Without a configuration or a DSN, by
/// PostgreSQL's own functions, and every table counts as an ordinary one; with either, by the live catalogue.
#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// One or more statements; - for standard input
    #[arg(value_name = "SQL", required_unless_present = "file", conflicts_with = "file")]
    pub(crate) sql: Option<String>,

    /// Read an SQL script; - for standard input
    #[arg(short, long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,

    /// Take the catalogue of the first database of this configuration, and its freshness settings
    #[arg(short, long, value_name = "FILE", conflicts_with = "dsn")]
    pub(crate) config: Option<PathBuf>,

    /// Take the catalogue of this database
    #[arg(long, value_name = "DSN")]
    pub(crate) dsn: Option<String>,

    /// One JSON object a line: statement, class, target, reason, effects, rule, freshness
    #[arg(long)]
    pub(crate) json: bool,
}

/// What a running router says of itself: nodes, replication, pools, share of reads on replicas, reasons.
#[derive(Debug, Args)]
pub(crate) struct Status {
    /// HTTP address of the router
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:6433", env = "HIGHWATER_HTTP")]
    pub(crate) http: String,

    /// Print the router's JSON as it is
    #[arg(long)]
    pub(crate) json: bool,

    /// Ask again every second: a live view in a terminal (q ends it), else the same text again and again
    #[arg(long)]
    pub(crate) watch: bool,
}

/// Prints the completions for a shell, to be put where the shell looks for them.
#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// Which shell
    pub(crate) shell: Shell,
}

/// Prints the man page, in roff; or writes one page for each command into a directory.
#[derive(Debug, Args)]
pub(crate) struct Man {
    /// Write highwater.1, highwater-up.1, … into this directory
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_declarations_agree_with_each_other() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_and_option_has_help() {
        all_have_help(&Cli::command());
    }

    fn all_have_help(command: &clap::Command) {
        for subcommand in command.get_subcommands() {
            assert!(subcommand.get_about().is_some(), "{}", subcommand.get_name());
            for argument in subcommand.get_arguments() {
                assert!(argument.get_help().is_some(), "{} {}", subcommand.get_name(), argument.get_id());
            }
            all_have_help(subcommand);
        }
    }

    #[test]
    fn a_directory_and_a_throw_away_one_exclude_each_other() {
        let parsed = Cli::try_parse_from(["highwater", "up", "--ephemeral", "--dir", "x"]);
        assert_eq!(parsed.expect_err("both given").exit_code(), 2);
    }
}
