//! `replica list`: the replicas of this machine, by their records, by themselves, and if asked by their primary.
//!
//! Changes nothing. What cannot be asked is shown as not known.

use serde::Serialize;
use tokio_postgres::Client;
use wire::lsn::Lsn;

use super::home::{Home, Record, Registry, State};
use super::lag::lsn;
use super::service;
use super::target::Target;
use crate::args::replica::List;
use crate::output;

/// One replica.
#[derive(Debug, Serialize)]
struct Line {
    name: String,
    directory: String,
    address: String,
    primary: String,
    slot: String,
    /// What it is for: `making`, `replica`, `promoted`, `removing`.
    state: State,
    #[serde(flatten)]
    here: Here,
    /// What the primary says; `null` when it was not asked.
    on_primary: Option<OnPrimary>,
}

/// What the server itself says.
#[derive(Debug, Default, Serialize)]
struct Here {
    running: bool,
    /// `replica` or `primary`; `null` when it does not answer.
    role: Option<&'static str>,
    streaming: Option<bool>,
    received: Option<String>,
    replayed: Option<String>,
    /// Bytes received and not replayed.
    unreplayed_bytes: Option<u64>,
}

/// What the primary says of a replica.
#[derive(Debug, Serialize)]
struct OnPrimary {
    /// `streaming`, `catchup`, …; `null` when the replica is not connected.
    state: Option<String>,
    /// `active`, `inactive`, `lost` or `missing`.
    slot: String,
    /// WAL that is kept for it.
    retained_bytes: Option<i64>,
    /// What the primary has and the replica does not show.
    lag_bytes: Option<i64>,
}

/// Shows them. A primary that can't be asked is an error, after what is known without it.
pub(crate) async fn list(asked: &List) -> anyhow::Result<()> {
    let registry = Registry::open(asked.registry.registry.as_deref())?;
    let (primary, failed) = match &asked.primary {
        Some(dsn) => match Target::parse(dsn)?.connect().await {
            Ok(client) => (Some(client), None),
            Err(error) => (None, Some(error)),
        },
        None => (None, None),
    };
    let mut lines = Vec::new();
    for name in registry.names() {
        match registry.find(&name) {
            Ok((home, record)) => lines.push(line(&record, &home, primary.as_ref()).await?),
            Err(error) => output::note(format!("note: {error:#}")),
        }
    }
    if asked.json {
        output::line(serde_json::to_string_pretty(&lines)?);
    } else if lines.is_empty() {
        output::line("no replicas");
    } else {
        output::text(&table(&lines));
    }
    failed.map_or(Ok(()), Err)
}

async fn line(record: &Record, home: &Home, primary: Option<&Client>) -> anyhow::Result<Line> {
    let here = here(record, home).await;
    let on_primary = match primary {
        Some(client) => Some(on_primary(record, &here, client).await?),
        None => None,
    };
    Ok(Line {
        name: record.name.clone(),
        directory: home.root().display().to_string(),
        address: record.address(),
        primary: format!("{}:{}", record.primary.host, record.primary.port),
        slot: record.slot.clone(),
        state: record.state,
        here,
        on_primary,
    })
}

async fn here(record: &Record, home: &Home) -> Here {
    let mut here = Here { running: service::runs(home).is_some(), ..Here::default() };
    let Ok(client) = service::connect(record, home).await else { return here };
    here.running = true;
    let text = "SELECT pg_is_in_recovery(), pg_last_wal_receive_lsn()::text, pg_last_wal_replay_lsn()::text, \
                EXISTS (SELECT FROM pg_stat_wal_receiver WHERE status = 'streaming')";
    let Ok(row) = client.query_one(text, &[]).await else { return here };
    let recovery: bool = row.get(0);
    here.role = Some(if recovery { "replica" } else { "primary" });
    here.received = row.get(1);
    here.replayed = row.get(2);
    here.streaming = Some(row.get(3));
    here.unreplayed_bytes =
        here.received.as_deref().map(|received| lsn(Some(received)).distance(lsn(here.replayed.as_deref())));
    here
}

async fn on_primary(record: &Record, here: &Here, primary: &Client) -> anyhow::Result<OnPrimary> {
    let state =
        "SELECT state FROM pg_stat_replication WHERE application_name = $1 ORDER BY state DESC LIMIT 1";
    let state = primary.query_opt(state, &[&record.name]).await?;
    let slot = "SELECT CASE WHEN wal_status = 'lost' THEN 'lost' WHEN active THEN 'active' ELSE 'inactive' END, \
                (pg_current_wal_lsn() - restart_lsn)::int8 FROM pg_replication_slots WHERE slot_name = $1::text";
    let slot = primary.query_opt(slot, &[&record.slot]).await?;
    let at: String = primary.query_one("SELECT pg_current_wal_lsn()::text", &[]).await?.try_get(0)?;
    let behind = |replayed: &str| -> Option<i64> {
        let at: Lsn = at.parse().ok()?;
        i64::try_from(at.distance(replayed.parse().ok()?)).ok()
    };
    Ok(OnPrimary {
        state: state.map(|row| row.try_get(0)).transpose()?.flatten(),
        slot: match &slot {
            Some(row) => row.try_get(0)?,
            None => "missing".to_owned(),
        },
        retained_bytes: slot.map(|row| row.try_get(1)).transpose()?.flatten(),
        lag_bytes: here.replayed.as_deref().and_then(behind),
    })
}

fn table(lines: &[Line]) -> String {
    let heading = ["name", "address", "primary", "state", "server", "behind", "slot", "keeps", "directory"];
    let rows: Vec<[String; 9]> = lines.iter().map(row).collect();
    output::table(heading, &rows)
}

fn row(line: &Line) -> [String; 9] {
    let unknown = || "-".to_owned();
    let kb = |bytes: i64| format!("{} kB", bytes.max(0) >> 10);
    let server = match (&line.here.role, line.here.streaming, line.here.running) {
        (Some("replica"), Some(true), _) => "streaming",
        (Some("replica"), _, _) => "not streaming",
        (Some(role), _, _) => role,
        (None, _, true) => "does not answer",
        (None, _, false) => "stopped",
    };
    let state = match line.state {
        State::Making => "unfinished",
        State::Replica => "replica",
        State::Promoted => "promoted",
        State::Removing => "being removed",
    };
    let told = line.on_primary.as_ref();
    let behind = told
        .and_then(|told| told.lag_bytes)
        .or(line.here.unreplayed_bytes.and_then(|b| i64::try_from(b).ok()));
    let slot = told.map_or_else(|| line.slot.clone(), |told| format!("{} ({})", line.slot, told.slot));
    [
        line.name.clone(),
        line.address.clone(),
        line.primary.clone(),
        state.to_owned(),
        server.to_owned(),
        behind.map_or_else(unknown, kb),
        slot,
        told.and_then(|told| told.retained_bytes).map_or_else(unknown, kb),
        line.directory.clone(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(here: Here, on_primary: Option<OnPrimary>) -> Line {
        Line {
            name: "r1".to_owned(),
            directory: "/d".to_owned(),
            address: "127.0.0.1:5433".to_owned(),
            primary: "db:5432".to_owned(),
            slot: "highwater_r1".to_owned(),
            state: State::Replica,
            here,
            on_primary,
        }
    }

    #[test]
    fn what_is_not_known_is_not_shown_as_good() {
        let row = row(&line(Here::default(), None));
        assert_eq!((&*row[4], &*row[5], &*row[7]), ("stopped", "-", "-"));
    }

    #[test]
    fn the_primarys_word_about_the_lag_counts_more_than_the_replicas() {
        let here = Here {
            role: Some("replica"),
            streaming: Some(true),
            unreplayed_bytes: Some(0),
            ..Here::default()
        };
        let told = OnPrimary {
            state: Some("streaming".to_owned()),
            slot: "active".to_owned(),
            retained_bytes: Some(4096),
            lag_bytes: Some(2048),
        };
        let row = row(&line(here, Some(told)));
        assert_eq!(
            (&*row[4], &*row[5], &*row[6], &*row[7]),
            ("streaming", "2 kB", "highwater_r1 (active)", "4 kB")
        );
    }
}
