//! The workloads and their names, which are the rows of the tables.

use anyhow::{Context as _, bail};
use load::fleet::Plan;
use load::{Protocol, Statements};

use crate::targets::{Auth, Behind};

/// Rows of a large transfer.
pub(crate) const BULK_ROWS: u64 = 1_000_000;

/// What is asked of every target.
#[derive(Debug, Clone)]
pub(crate) struct Workload {
    pub(crate) name: String,
    pub(crate) what: What,
    pub(crate) behind: Behind,
    pub(crate) auth: Auth,
}

/// What the generator does.
#[derive(Debug, Clone, Copy)]
pub(crate) enum What {
    /// Connections that stay and ask.
    Fleet(Plan),
    /// Connections that come and leave, so many at a time.
    Churn(u32),
    /// So many connections that do nothing.
    Idle(u32),
    /// One large transfer after the other.
    Bulk(Transfer),
}

/// A large transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transfer {
    Select,
    CopyOut,
    CopyIn,
}

/// All names, for the help.
pub(crate) const HELP: &str = "\
simple|extended|prepared/CLIENTS[/DEPTH]      through null backends, a few texts again and again
select/simple|extended|prepared/CLIENTS       through PostgreSQL, primary and replica, as pgbench -S
unseen/BYTES/CLIENTS, seen/BYTES/CLIENTS      texts with so many bytes of literals, new each time or not
bulk/select, bulk/copy-out, bulk/copy-in      a million rows, through null backends
select/bulk/select, select/bulk/copy-out      the same through PostgreSQL
connect/scram/AT_A_TIME, connect/trust/…      logins
idle/CLIENTS                                  memory and processor time of clients that do nothing";

/// The defaults: the rows of the table.
pub(crate) const ALL: &[&str] = &[
    "simple/1",
    "simple/16",
    "simple/64",
    "simple/500",
    "extended/1",
    "extended/16",
    "extended/64",
    "extended/500",
    "prepared/1",
    "prepared/16",
    "prepared/64",
    "prepared/500",
    "simple/16/16",
    "prepared/16/16",
    "seen/200/16",
    "unseen/200/16",
    "seen/20000/16",
    "unseen/20000/16",
    "bulk/select",
    "bulk/copy-out",
    "bulk/copy-in",
    "connect/trust/16",
    "connect/scram/16",
    "idle/5000",
    "select/simple/16",
    "select/extended/16",
    "select/prepared/16",
    "select/prepared/64",
    "select/bulk/select",
    "select/bulk/copy-out",
];

/// Those of a quick run.
pub(crate) const QUICK: &[&str] = &[
    "simple/16",
    "extended/16",
    "prepared/16",
    "prepared/64",
    "simple/16/16",
    "prepared/16/16",
    "bulk/select",
    "connect/scram/16",
    "idle/1000",
    "select/simple/16",
];

impl Workload {
    /// Whether it uses named prepared statements.
    pub(crate) fn is_prepared(&self) -> bool {
        matches!(self.what, What::Fleet(Plan { protocol: Protocol::Prepared, .. }))
    }

    /// Reads a name.
    pub(crate) fn parse(name: &str, scale: u32) -> anyhow::Result<Workload> {
        let parts: Vec<&str> = name.split('/').collect();
        let wrong = || format!("there is no workload '{name}'; there are:\n{HELP}");
        let number = |text: &str| text.parse::<u32>().ok().filter(|&number| number > 0).with_context(wrong);
        let mut workload =
            Workload { name: name.to_owned(), what: What::Idle(0), behind: Behind::Null, auth: Auth::Trust };
        let plan =
            |protocol, clients, depth, statements| What::Fleet(Plan { clients, depth, protocol, statements });
        let parts = match parts.as_slice() {
            ["select", rest @ ..] => {
                workload.behind = Behind::Postgres { scale };
                rest
            }
            all => all,
        };
        let is_null = workload.behind == Behind::Null;
        let statements = if is_null { Statements::Few } else { Statements::Random(scale * 100_000) };
        if parts.first() == Some(&"bulk") && !is_null && u64::from(scale) * 100_000 < BULK_ROWS {
            bail!("'{name}' transfers {BULK_ROWS} rows: it needs --scale 10 or more");
        }
        workload.what = match parts {
            ["bulk", "select"] => What::Bulk(Transfer::Select),
            ["bulk", "copy-out"] => What::Bulk(Transfer::CopyOut),
            ["bulk", "copy-in"] if is_null => What::Bulk(Transfer::CopyIn),
            ["idle", clients] if is_null => What::Idle(number(clients)?),
            ["connect", auth, at_a_time] if is_null => {
                workload.auth = match *auth {
                    "trust" => Auth::Trust,
                    "scram" => Auth::Scram,
                    _ => bail!(wrong()),
                };
                What::Churn(number(at_a_time)?)
            }
            ["unseen", bytes, clients] if is_null => {
                let statements = Statements::Unseen(number(bytes)? as usize);
                plan(Protocol::Simple, number(clients)?, 1, statements)
            }
            ["seen", bytes, clients] if is_null => {
                let statements = Statements::Seen(number(bytes)? as usize);
                plan(Protocol::Simple, number(clients)?, 1, statements)
            }
            [protocol, clients, depth @ ..] => {
                let protocol = match *protocol {
                    "simple" => Protocol::Simple,
                    "extended" => Protocol::Extended,
                    "prepared" => Protocol::Prepared,
                    _ => bail!(wrong()),
                };
                let depth = match depth {
                    [] => 1,
                    [depth] => number(depth)?,
                    _ => bail!(wrong()),
                };
                plan(protocol, number(clients)?, depth, statements)
            }
            _ => bail!(wrong()),
        };
        Ok(workload)
    }
}

impl Transfer {
    /// Its statement.
    pub(crate) fn text(self) -> String {
        let select = format!("SELECT * FROM pgbench_accounts LIMIT {BULK_ROWS}");
        match self {
            Transfer::Select => select,
            Transfer::CopyOut => format!("COPY ({select}) TO STDOUT"),
            Transfer::CopyIn => "COPY pgbench_history FROM STDIN".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_a_workload_and_nonsense_is_none() {
        for name in ALL.iter().chain(QUICK) {
            assert!(Workload::parse(name, 20).is_ok(), "{name}");
        }
        for name in ["", "simple", "simple/0", "simple/16/16/16", "select/idle/5", "connect/md5/1", "idle/x"]
        {
            assert!(Workload::parse(name, 20).is_err(), "{name}");
        }
    }
}
