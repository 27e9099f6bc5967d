//! `replica promote`: a replica becomes a primary, once nothing speaks against it or somebody takes it upon himself.
//!
//! Two servers that take writes have histories that nobody can join: so the old primary must be silent. Does not tell
//! other replicas whom to follow.

use std::time::Duration;

use anyhow::Context;
use tokio_postgres::Client;
use wire::lsn::Lsn;

use super::home::{Home, Record, Registry, State};
use super::lag::lsn;
use super::service;
use super::target::{Answer, Target};
use crate::args::replica::Promote;
use crate::setup::progress::Progress;
use crate::{connection, failure, output};

/// How long received WAL may take to be replayed before the promotion.
const REPLAY_MAX: Duration = Duration::from_secs(60);

/// How long PostgreSQL may take to promote, in seconds.
const PROMOTE_SECONDS_MAX: i32 = 60;

const POLL: Duration = Duration::from_millis(50);

/// Where a replica is.
struct Progressed {
    received: Lsn,
    replayed: Lsn,
    paused: bool,
    streaming: bool,
}

/// Promotes.
pub(crate) async fn promote(asked: &Promote) -> anyhow::Result<()> {
    let registry = Registry::open(asked.registry.registry.as_deref())?;
    let (home, mut record) = registry.find(&asked.name)?;
    let _lock = home.lock()?;
    refuse_unfinished(&record)?;
    let replica = connect(&record, &home).await?;
    if in_recovery(&replica).await? {
        let progress = Progress::begin();
        progress.step("looking for what speaks against it");
        let against = against(&record, &registry, &replica).await?;
        if !against.is_empty() && !asked.force {
            let list: String = against.iter().map(|reason| format!("\n  - {reason}")).collect();
            return Err(failure::failed(format!(
                "{} was not promoted:{list}\nTo promote it all the same: highwater replica promote {} --force",
                asked.name, asked.name
            )));
        }
        for reason in &against {
            output::note(format!("note: promoting although {reason}"));
        }
        progress.step("promoting");
        let text = "SELECT pg_promote(true, $1)";
        let row = replica.query_one(text, &[&PROMOTE_SECONDS_MAX]).await.context("pg_promote failed")?;
        if !row.try_get::<_, bool>(0)? {
            return Err(failure::failed(format!(
                "{} is still a replica after {PROMOTE_SECONDS_MAX} s: see {}",
                asked.name,
                service::where_logged(&record, &home)
            )));
        }
    }
    record.state = State::Promoted;
    home.write(&record)?;
    tell(&record, &replica).await
}

fn refuse_unfinished(record: &Record) -> anyhow::Result<()> {
    let Record { name, state, .. } = record;
    match state {
        State::Replica | State::Promoted => Ok(()),
        State::Making => Err(failure::failed(format!(
            "{name} was never finished: run its highwater replica create again, or remove it"
        ))),
        State::Removing => Err(failure::failed(format!(
            "{name} is being removed: finish with highwater replica remove {name}"
        ))),
    }
}

async fn connect(record: &Record, home: &Home) -> anyhow::Result<Client> {
    service::connect(record, home).await.map_err(|error| {
        failure::unreachable(format!(
            "the replica {} does not answer: {}; start it by running its highwater replica create again, or systemctl start \
             {}, and see {}",
            record.name,
            connection::sentence(&error),
            super::unit::name(&record.name),
            service::where_logged(record, home)
        ))
    })
}

async fn in_recovery(server: &Client) -> anyhow::Result<bool> {
    Ok(server.query_one("SELECT pg_is_in_recovery()", &[]).await?.try_get(0)?)
}

/// Every reason not to.
async fn against(record: &Record, registry: &Registry, replica: &Client) -> anyhow::Result<Vec<String>> {
    let mut reasons = Vec::new();
    let upstream = &record.primary;
    let primary = Target::recorded(&upstream.host, upstream.port, &upstream.user, &upstream.database);
    let at = progressed(replica).await?;
    if at.streaming || matches!(primary.probe().await, Answer::Answers) {
        reasons.push(format!(
            "the primary at {} answers: two servers would take writes, and their histories can never be joined (split brain). \
             Stop it first, and see to it that nothing starts it again",
            primary.address()
        ));
    }
    if at.paused {
        reasons.push("replay is paused on it: SELECT pg_wal_replay_resume() there".to_owned());
    } else if let Some(missing) = unreplayed(replica).await? {
        reasons.push(format!(
            "it has received {missing} bytes that are not replayed after {} s: does a query or recovery_min_apply_delay hold \
             them up?",
            REPLAY_MAX.as_secs()
        ));
    }
    for name in registry.names().iter().filter(|name| **name != record.name) {
        if let Some(more) = further(name, record, registry, at.received.max(at.replayed)).await {
            reasons.push(format!(
                "the replica {name} of the same primary has received {more} bytes more: promote that one, or these commits are \
                 lost"
            ));
        }
    }
    Ok(reasons)
}

async fn progressed(replica: &Client) -> anyhow::Result<Progressed> {
    let text = "SELECT pg_last_wal_receive_lsn()::text, pg_last_wal_replay_lsn()::text, pg_is_wal_replay_paused(), \
                EXISTS (SELECT FROM pg_stat_wal_receiver WHERE status = 'streaming')";
    let row = replica.query_one(text, &[]).await.context("the replica has stopped answering")?;
    let at = |index| -> anyhow::Result<Lsn> { Ok(lsn(row.try_get::<_, Option<String>>(index)?.as_deref())) };
    Ok(Progressed { received: at(0)?, replayed: at(1)?, paused: row.try_get(2)?, streaming: row.try_get(3)? })
}

/// Bytes that are received and still not replayed after a patient wait.
async fn unreplayed(replica: &Client) -> anyhow::Result<Option<u64>> {
    let goal = progressed(replica).await?.received;
    let mut waited = Duration::ZERO;
    loop {
        let missing = goal.distance(progressed(replica).await?.replayed);
        if missing == 0 {
            return Ok(None);
        }
        if waited >= REPLAY_MAX {
            return Ok(Some(missing));
        }
        tokio::time::sleep(POLL).await;
        waited += POLL;
    }
}

/// How many bytes a sibling is ahead, as far as it can be asked.
async fn further(name: &str, record: &Record, registry: &Registry, than: Lsn) -> Option<u64> {
    let (home, sibling) = registry.find(name).ok()?;
    if sibling.system != record.system || sibling.state != State::Replica {
        return None;
    }
    let client = service::connect(&sibling, &home).await.ok()?;
    let at = progressed(&client).await.ok()?;
    let ahead = at.received.max(at.replayed).distance(than);
    (ahead > 0).then_some(ahead)
}

async fn tell(record: &Record, primary: &Client) -> anyhow::Result<()> {
    let row = primary.query_one("SELECT (pg_control_checkpoint()).timeline_id", &[]).await;
    let timeline = row.ok().and_then(|row| row.try_get::<_, i32>(0).ok());
    let timeline = timeline.map_or_else(String::new, |timeline| format!(", on timeline {timeline}"));
    let old = Target::recorded(&record.primary.host, record.primary.port, "", "").address();
    output::line(format!(
        "{} is a primary at {}{timeline}; a router follows by itself",
        record.name,
        record.address()
    ));
    output::line(format!(
        "the old primary at {old}: never start it as it is. Make it a replica of this one: move its data away, and run there\n  \
         highwater replica create --primary postgresql://{}@{}/{}",
        record.primary.user,
        record.address(),
        record.primary.database
    ));
    if let Some(file) = &record.outside.nodes_file {
        output::line(format!("take {old} out of {} until then", file.display()));
    }
    output::line("other replicas of the old primary follow it until they are made anew from this one");
    Ok(())
}
