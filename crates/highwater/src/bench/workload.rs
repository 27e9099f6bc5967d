//! Which script is asked: a built-in one, fitted to its tables' size, or the user's file.

use std::path::Path;

use load::script::Script;

use super::args::Asking;
use super::script;
use crate::failure;

/// Share of the transactions of `api` that write, when nobody says.
const WRITE_RATIO: f64 = 0.1;
/// Rows for each step of scale.
pub(crate) const OWNERS_PER_SCALE: u64 = 1_000;
pub(crate) const PLACES_PER_SCALE: u64 = 50_000;
pub(crate) const TELLERS_PER_SCALE: u64 = 10;
pub(crate) const ACCOUNTS_PER_SCALE: u64 = 100_000;

/// What is asked.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Workload {
    /// The read-heavy API, with this share of writes.
    Api(f64),
    /// pgbench's TPC-B.
    Tpcb,
    /// The user's own: the file's name and text.
    Own(String, String),
}

impl Workload {
    /// The one that was asked for. A file is read here, once.
    pub(crate) fn choose(asked: &Asking) -> anyhow::Result<Workload> {
        let workload = match asked.workload.as_str() {
            "api" => return Ok(Workload::Api(asked.write_ratio.unwrap_or(WRITE_RATIO))),
            "tpcb" => Workload::Tpcb,
            file => Workload::Own(file.to_owned(), read(Path::new(file))?),
        };
        if asked.write_ratio.is_some() {
            return Err(failure::usage(
                "--write-ratio is about the workload api; in a file, say it with weights",
            ));
        }
        Ok(workload)
    }

    /// What it is called in reports.
    pub(crate) fn name(&self) -> &str {
        match self {
            Workload::Api(_) => "api",
            Workload::Tpcb => "tpcb",
            Workload::Own(file, _) => file,
        }
    }

    /// Its text, for tables of this scale.
    pub(crate) fn text(&self, scale: u32) -> String {
        let rows = |per_scale: u64| (per_scale * u64::from(scale)).to_string();
        match self {
            Workload::Api(writes) => {
                let text = weighted(include_str!("api.sql"), *writes);
                text.replace("@places@", &rows(PLACES_PER_SCALE)).replace("@owners@", &rows(OWNERS_PER_SCALE))
            }
            Workload::Tpcb => include_str!("tpcb.sql")
                .replace("@accounts@", &rows(ACCOUNTS_PER_SCALE))
                .replace("@tellers@", &rows(TELLERS_PER_SCALE))
                .replace("@branches@", &rows(1)),
            Workload::Own(_, text) => text.clone(),
        }
    }

    /// Ready to be asked.
    pub(crate) fn script(&self, scale: u32) -> anyhow::Result<Script> {
        script::parse(&self.text(scale))
            .map_err(|mistake| failure::usage(format!("{}: {mistake}", self.name())))
    }
}

/// `@read 45@` and `@write 40@` become weights, so that writes have their share of a million.
fn weighted(text: &str, writes: f64) -> String {
    let mut out = String::new();
    for line in text.split_inclusive('\n') {
        let placed = line.split_once('@').filter(|_| line.starts_with("-- weight "));
        let Some((head, (kind, weight))) = placed
            .and_then(|(head, rest)| Some((head, rest.trim_end().trim_end_matches('@').split_once(' ')?)))
        else {
            out.push_str(line);
            continue;
        };
        let share = if kind == "write" { writes } else { 1.0 - writes };
        let weight: f64 = weight.parse().expect("the built-in scripts have numbers for weights");
        out.push_str(&format!("{head}{:.0}\n", weight * share * 10_000.0));
    }
    out
}

fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).map_err(|error| {
        failure::usage(format!(
            "can't read the workload {}: {error}; a workload is api, tpcb, or a file of SQL statements",
            path.display()
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_workloads_are_scripts_without_mistakes() {
        for (workload, transactions) in [(Workload::Api(0.1), 8), (Workload::Tpcb, 1)] {
            let script = workload.script(3).expect("no mistakes");
            assert_eq!(script.transactions.len(), transactions);
            assert!(!workload.text(3).contains('@'));
        }
        let tpcb = Workload::Tpcb.script(2).expect("no mistakes");
        assert_eq!(tpcb.transactions[0].statements.len(), 7);
        assert!(Workload::Tpcb.text(2).contains("random 1 200000"));
    }

    #[test]
    fn writes_have_the_share_that_was_asked_for() {
        for writes in [0.0, 0.1, 0.25, 1.0] {
            let script = Workload::Api(writes).script(1).expect("no mistakes");
            let sum = |reads: bool| -> u64 {
                let of_kind = script.transactions.iter().filter(|transaction| transaction.reads == reads);
                of_kind.map(|transaction| transaction.weight).sum()
            };
            let share = sum(false) as f64 / (sum(true) + sum(false)) as f64;
            assert!((share - writes).abs() < 1e-6, "{share}");
        }
    }
}
