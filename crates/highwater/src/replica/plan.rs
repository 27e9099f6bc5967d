//! What `create` will do, in words, before it does anything. Pure.

use super::home::Record;
use crate::args::replica::MaxRate;

/// What the plan is made from, beside the record.
#[derive(Debug)]
pub(crate) struct Outline<'a> {
    pub(crate) record: &'a Record,
    /// The replica's directory.
    pub(crate) directory: &'a str,
    /// Who runs PostgreSQL: a user's name, or "you".
    pub(crate) account: &'a str,
    /// Bytes to copy, if they are known.
    pub(crate) bytes: Option<u64>,
    /// Tablespaces that get a directory of their own.
    pub(crate) tablespaces: usize,
    /// systemd runs and will have the unit.
    pub(crate) served: bool,
    /// Whether the slot is there already.
    pub(crate) has_slot: bool,
    /// Lines that say what pg_basebackup is told beyond the usual.
    pub(crate) max_rate: Option<MaxRate>,
}

/// One line for each thing that will be done, numbered.
pub(crate) fn plan(outline: &Outline<'_>) -> String {
    let Outline { record, directory, account, .. } = outline;
    let primary = format!("{}:{}", record.primary.host, record.primary.port);
    let mut steps = Vec::new();
    if let Some(role) = &record.outside.role {
        steps.push(format!(
            "on {primary}: role {role} with REPLICATION, its password in {directory}/passfile"
        ));
    }
    if outline.has_slot {
        steps.push(format!("on {primary}: slot {} is there", record.slot));
    } else {
        steps.push(format!("on {primary}: physical replication slot {}", record.slot));
    }
    steps.push(copy(outline));
    steps.push(format!(
        "settings: {} port {}, hot_standby_feedback on, read conflicts wait 5 s, the primary's limits",
        record.listen, record.port
    ));
    match (&record.outside.unit, outline.served) {
        (Some(unit), true) => steps.push(format!("systemd: {}, enabled and started", unit.display())),
        (Some(unit), false) => steps.push(format!(
            "the unit {} (systemd does not serve it here), and the server started by itself",
            unit.display()
        )),
        (None, _) => {
            steps.push(format!("the server started as {account}, without a unit: nobody restarts it"))
        }
    }
    steps.push("wait until it streams and shows what the primary has; measure the lag".to_owned());
    if let Some(file) = &record.outside.nodes_file {
        steps.push(format!("{} {} into {}", record.address(), record.name, file.display()));
    }
    let numbered = (1..).zip(steps).map(|(number, step): (u32, String)| format!("  {number}. {step}\n"));
    format!(
        "replica {} of {primary} (PostgreSQL {}), in {directory}, run by {account}:\n{}",
        record.name,
        record.postgres.version,
        numbered.collect::<String>()
    )
}

fn copy(outline: &Outline<'_>) -> String {
    if outline.record.copied {
        return format!("the copy in {}/data is whole and stays", outline.directory);
    }
    let size =
        outline.bytes.map_or_else(String::new, |bytes| format!(" (about {} MB)", bytes.div_ceil(1 << 20)));
    let rate = outline.max_rate.map_or_else(String::new, |rate| format!(", at most {rate} a second"));
    let places = match outline.tablespaces {
        0 => String::new(),
        n => format!(", {n} of its tablespaces into {}/tablespaces", outline.directory),
    };
    format!("pg_basebackup{size} into {}/data, mode 0700{rate}{places}", outline.directory)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::super::home::{Outside, Programs, State, Upstream};
    use super::*;

    fn record() -> Record {
        Record {
            format: Record::FORMAT,
            name: "r1".to_owned(),
            state: State::Making,
            primary: Upstream {
                host: "db".to_owned(),
                port: 5432,
                user: "admin".to_owned(),
                database: "postgres".to_owned(),
                replicates_as: "admin".to_owned(),
            },
            system: "7".to_owned(),
            postgres: Programs { bin: PathBuf::from("/pg"), major: 15, version: "15.14".to_owned() },
            listen: "127.0.0.1".to_owned(),
            port: 5433,
            slot: "highwater_r1".to_owned(),
            superuser: "postgres".to_owned(),
            copied: false,
            outside: Outside::default(),
        }
    }

    fn outline(record: &Record) -> Outline<'_> {
        Outline {
            record,
            directory: "/d",
            account: "postgres",
            bytes: Some(3 << 20),
            tablespaces: 0,
            served: false,
            has_slot: false,
            max_rate: None,
        }
    }

    #[test]
    fn a_plan_names_everything_that_will_be_made() {
        let mut record = record();
        record.outside.role = Some("highwater_replica_r1".to_owned());
        record.outside.unit = Some(PathBuf::from("/u/x.service"));
        record.outside.nodes_file = Some(PathBuf::from("/n/nodes"));
        let text = plan(&outline(&record));
        for part in [
            "highwater_replica_r1",
            "slot highwater_r1",
            "about 3 MB",
            "/d/data",
            "5433",
            "/u/x.service",
            "/n/nodes",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn a_plan_that_goes_on_says_what_stays() {
        let record = Record { copied: true, ..record() };
        let text = plan(&Outline { has_slot: true, ..outline(&record) });
        assert!(text.contains("is there") && text.contains("is whole and stays"), "{text}");
    }
}
