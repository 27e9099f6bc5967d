//! What `highwater replica` takes on the command line.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Subcommand};

/// Streaming replicas on this machine: make one of a primary anywhere, list, promote, remove.
#[derive(Debug, Subcommand)]
pub(crate) enum Replica {
    Create(Create),
    List(List),
    Promote(Promote),
    Remove(Remove),
}

/// A streaming replica of an existing primary, on this machine.
///
/// Looks first at what is needed and names everything that is missing at once, with the line to add or the statement to
/// run. Then it shows its plan: a physical slot on the primary, pg_basebackup into an empty directory, settings, a systemd
/// unit; starts the replica, waits until it streams, and measures its lag. PostgreSQL never runs as root. Run it again
/// after an interruption, whatever that was: it goes on where it was, or begins anew.
#[derive(Debug, Args)]
pub(crate) struct Create {
    /// Connection string of the primary; its user needs REPLICATION, or must be allowed to make a role that has it. The
    /// password may also come from PGPASSWORD or ~/.pgpass
    #[arg(long, value_name = "DSN")]
    pub(crate) primary: String,

    /// What to call the replica [default: rPORT]
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,

    /// Where to keep it [default: NAME in the registry]
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,

    /// Its TCP port
    #[arg(long, value_name = "PORT", default_value_t = 5433, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) port: u16,

    /// The address it listens on; a router on another machine needs one that it can reach, or *
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1")]
    pub(crate) listen: String,

    /// Directory of PostgreSQL's programs [default: those of the primary's major version in PATH and the usual places]
    #[arg(long, value_name = "DIR")]
    pub(crate) pg_bin: Option<PathBuf>,

    /// Add the replica to this file, from which a router takes its nodes (discover = { file = "…" })
    #[arg(long, value_name = "FILE")]
    pub(crate) nodes_file: Option<PathBuf>,

    /// Show what would be done, and do nothing
    #[arg(long)]
    pub(crate) dry_run: bool,

    #[command(flatten)]
    pub(crate) source: Source,

    #[command(flatten)]
    pub(crate) unit: Unit,

    #[command(flatten)]
    pub(crate) registry: Registry,
}

/// How the copy is taken.
#[derive(Debug, Args)]
pub(crate) struct Source {
    /// Physical replication slot to make on the primary [default: highwater_NAME]
    #[arg(long, value_name = "SLOT")]
    pub(crate) slot: Option<String>,

    /// Make a role with nothing but REPLICATION for this replica, although the user of the DSN could replicate
    #[arg(long)]
    pub(crate) own_role: bool,

    /// Copy no faster than this, to spare the primary: 32k to 1024M, kilobytes or megabytes a second
    #[arg(long, value_name = "RATE")]
    pub(crate) max_rate: Option<MaxRate>,
}

/// What is done about systemd.
#[derive(Debug, Args)]
pub(crate) struct Unit {
    /// Write the systemd unit into this directory [default: /etc/systemd/system for root, else the replica's directory]
    #[arg(long, value_name = "DIR")]
    pub(crate) unit_dir: Option<PathBuf>,

    /// Write no systemd unit
    #[arg(long, conflicts_with = "unit_dir")]
    pub(crate) no_unit: bool,
}

/// Where the replicas of this machine are known.
#[derive(Debug, Args)]
pub(crate) struct Registry {
    /// Directory of the replicas of this machine [default: for root /var/lib/highwater/replicas, else
    /// $XDG_DATA_HOME/highwater/replicas or ~/.local/share/highwater/replicas]
    #[arg(long, value_name = "DIR", env = "HIGHWATER_REPLICAS")]
    pub(crate) registry: Option<PathBuf>,
}

/// The replicas of this machine: where they are, whether they run and stream, how far they are.
///
/// With --primary, also what the primary says of each: its slot, the WAL that is kept for it, and how far it is behind.
#[derive(Debug, Args)]
pub(crate) struct List {
    /// Connection string of the primary to ask too
    #[arg(long, value_name = "DSN")]
    pub(crate) primary: Option<String>,

    /// One JSON array
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) registry: Registry,
}

/// Makes a replica a primary, when the old one is gone for good.
///
/// Refuses while the primary answers: two servers that take writes cannot be joined again. Refuses also when another
/// replica of this machine has received more, or when received WAL is not replayed. Highwater's router follows by itself.
#[derive(Debug, Args)]
pub(crate) struct Promote {
    /// Which one
    pub(crate) name: String,

    /// Promote although something speaks against it
    #[arg(long)]
    pub(crate) force: bool,

    #[command(flatten)]
    pub(crate) registry: Registry,
}

/// Removes a replica: its server, unit, slot, role, directory and its line in the nodes file.
///
/// Needs the primary, to drop the slot there: a slot that nobody reads makes the primary keep its WAL for ever.
#[derive(Debug, Args)]
pub(crate) struct Remove {
    /// Which one
    pub(crate) name: String,

    /// Connection string of the primary [default: the one it was made with, without the password]
    #[arg(long, value_name = "DSN")]
    pub(crate) primary: Option<String>,

    /// Leave the data directory
    #[arg(long)]
    pub(crate) keep_data: bool,

    /// Remove what is here although the primary can't be reached, or although it has been promoted
    #[arg(long)]
    pub(crate) force: bool,

    #[command(flatten)]
    pub(crate) registry: Registry,
}

/// How fast `pg_basebackup` may copy; what it would refuse is refused before anything is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct MaxRate {
    /// KiB a second.
    pub(crate) kib: u32,
}

impl FromStr for MaxRate {
    type Err = &'static str;

    /// As `pg_basebackup` reads it: a bare number is in kilobytes.
    fn from_str(text: &str) -> Result<MaxRate, &'static str> {
        let (digits, unit) = match text.strip_suffix('M') {
            Some(digits) => (digits, 1024),
            None => (text.strip_suffix('k').unwrap_or(text), 1),
        };
        let kib = digits.parse::<u32>().ok().and_then(|n| n.checked_mul(unit));
        match kib.filter(|kib| (32..=1024 * 1024).contains(kib)) {
            Some(kib) => Ok(MaxRate { kib }),
            None => Err("give a whole number with k or M, from 32k to 1024M"),
        }
    }
}

impl fmt::Display for MaxRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.kib.is_multiple_of(1024) {
            write!(f, "{} MB", self.kib / 1024)
        } else {
            write!(f, "{} kB", self.kib)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_read_as_pg_basebackup_reads_it_and_what_that_would_refuse_is_no_rate() {
        for (text, kib, shown) in [
            ("50M", 50 * 1024, "50 MB"),
            ("1024M", 1024 * 1024, "1024 MB"),
            ("32k", 32, "32 kB"),
            ("500", 500, "500 kB"),
        ] {
            let rate: MaxRate = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!((rate.kib, rate.to_string().as_str()), (kib, shown), "{text}");
        }
        for text in ["", "lots", "5", "31k", "1025M", "1.5M", "-50M", "50 M", "50m", "50MB", "4294967295M"] {
            assert!(text.parse::<MaxRate>().is_err(), "{text}");
        }
    }
}
