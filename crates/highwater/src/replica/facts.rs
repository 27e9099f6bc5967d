//! What the primary says of itself: one connection, a few statements that need no special right.
//!
//! Judges nothing. What the user may not see is `None`, never a guess.

use std::collections::BTreeMap;

use anyhow::Context;
use tokio_postgres::Client;

use super::replication::{Identity, Refused, Replication};
use super::target::Target;

/// The settings that are asked for; `pg_settings` leaves out what the user may not see.
const SETTINGS: &str = "SELECT name, setting, source = 'configuration file' FROM pg_settings";

/// What was learned of the primary.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    /// First number of its version.
    pub(crate) major: u32,
    /// Its version, as it prints it.
    pub(crate) version: String,
    /// It is itself a replica.
    pub(crate) in_recovery: bool,
    /// Settings in their base units.
    pub(crate) settings: BTreeMap<String, String>,
    /// Names of those that stand in its configuration files.
    pub(crate) configured: Vec<String>,
    /// What the user may do.
    pub(crate) user: Rights,
    /// WAL senders in use.
    pub(crate) senders: u32,
    /// Replication slots there are.
    pub(crate) slots: Vec<Slot>,
    /// Bytes of all databases; `None` when the user may not see one of them.
    pub(crate) bytes: Option<u64>,
    /// Places outside of the data directory: name and path.
    pub(crate) tablespaces: Vec<String>,
    /// The super-user that `initdb` made, if it may log in.
    pub(crate) superuser: Option<String>,
    /// Whether a replication connection is let in, and by which system.
    pub(crate) replication: Result<Identity, Refused>,
}

/// What a role may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rights {
    /// Replicate, and make roles that replicate.
    MakesReplicators,
    /// Replicate.
    Replicates,
    /// Neither.
    None,
    /// Not replicate itself, but make a role that does.
    OnlyMakes,
}

/// A replication slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Slot {
    pub(crate) name: String,
    /// It holds what its replica needs.
    pub(crate) usable: bool,
    pub(crate) physical: bool,
}

impl Facts {
    /// A setting as text.
    pub(crate) fn setting(&self, name: &str) -> Option<&str> {
        self.settings.get(name).map(String::as_str)
    }

    /// A setting as a number.
    pub(crate) fn number(&self, name: &str) -> Option<i64> {
        self.setting(name)?.parse().ok()
    }

    /// The slot of that name.
    pub(crate) fn slot(&self, name: &str) -> Option<&Slot> {
        self.slots.iter().find(|slot| slot.name == name)
    }
}

/// Asks.
pub(crate) async fn ask(target: &Target, client: &Client) -> anyhow::Result<Facts> {
    let (settings, configured) = settings(client).await?;
    let version_num: u32 = settings.get("server_version_num").and_then(|text| text.parse().ok()).unwrap_or(0);
    let row = client.query_one("SELECT pg_is_in_recovery()", &[]).await.context("can't ask the primary")?;
    let senders = client.query_one("SELECT count(*)::int4 FROM pg_stat_replication", &[]).await?;
    let replication = match Replication::open(target).await {
        Ok(mut connection) => connection.identify().await,
        Err(refused) => Err(refused),
    };
    Ok(Facts {
        major: version_num / 10_000,
        version: settings.get("server_version").cloned().unwrap_or_default(),
        in_recovery: row.try_get(0)?,
        configured,
        user: rights(client, version_num / 10_000).await?,
        senders: u32::try_from(senders.try_get::<_, i32>(0)?).unwrap_or(0),
        slots: slots(client).await?,
        bytes: bytes(client).await?,
        tablespaces: tablespaces(client).await?,
        superuser: superuser(client).await?,
        settings,
        replication,
    })
}

async fn settings(client: &Client) -> anyhow::Result<(BTreeMap<String, String>, Vec<String>)> {
    let (mut settings, mut configured) = (BTreeMap::new(), Vec::new());
    for row in client.query(SETTINGS, &[]).await? {
        let (name, value, from_file): (String, Option<String>, Option<bool>) =
            (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        if from_file == Some(true) {
            configured.push(name.clone());
        }
        settings.insert(name, value.unwrap_or_default());
    }
    Ok((settings, configured))
}

/// Who may make a role with REPLICATION: a super-user; from 16 on also who has CREATEROLE and REPLICATION
/// (<https://www.postgresql.org/docs/current/sql-createrole.html>).
async fn rights(client: &Client, major: u32) -> anyhow::Result<Rights> {
    let me = "SELECT rolsuper, rolreplication, rolcreaterole FROM pg_roles WHERE rolname = current_user";
    let row = client.query_one(me, &[]).await?;
    let (superuser, replicates, creates): (bool, bool, bool) =
        (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
    let makes = superuser || major >= 16 && replicates && creates;
    Ok(match (replicates, makes) {
        (true, true) => Rights::MakesReplicators,
        (true, false) => Rights::Replicates,
        (false, true) => Rights::OnlyMakes,
        (false, false) => Rights::None,
    })
}

async fn slots(client: &Client) -> anyhow::Result<Vec<Slot>> {
    let text = "SELECT slot_name::text, wal_status, slot_type = 'physical' FROM pg_replication_slots";
    let mut slots = Vec::new();
    for row in client.query(text, &[]).await? {
        let status: Option<String> = row.try_get(1)?;
        slots.push(Slot {
            name: row.try_get(0)?,
            usable: status.is_some_and(|status| status != "lost"),
            physical: row.try_get(2)?,
        });
    }
    Ok(slots)
}

/// A database whose size the user may not see makes the sum unknown.
async fn bytes(client: &Client) -> anyhow::Result<Option<u64>> {
    let text = "SELECT CASE WHEN bool_and(seen) THEN sum(bytes)::int8 END FROM (SELECT seen, CASE WHEN seen THEN \
                pg_database_size(oid) END AS bytes FROM (SELECT oid, has_database_privilege(oid, 'CONNECT') \
                OR pg_has_role('pg_read_all_stats', 'USAGE') AS seen FROM pg_database) AS d) AS s";
    let bytes: Option<i64> = client.query_one(text, &[]).await?.try_get(0)?;
    Ok(bytes.and_then(|bytes| u64::try_from(bytes).ok()))
}

/// Those at a place of their own; a relative one is inside the data directory.
async fn tablespaces(client: &Client) -> anyhow::Result<Vec<String>> {
    let text =
        "SELECT pg_tablespace_location(oid) FROM pg_tablespace WHERE pg_tablespace_location(oid) LIKE '/%'";
    let rows = client.query(text, &[]).await?;
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

/// Its number is always 10 (`BOOTSTRAP_SUPERUSERID` in PostgreSQL's pg_authid.dat).
async fn superuser(client: &Client) -> anyhow::Result<Option<String>> {
    let text = "SELECT rolname::text FROM pg_roles WHERE oid = 10 AND rolcanlogin AND rolsuper";
    let row = client.query_opt(text, &[]).await?;
    row.map_or(Ok(None), |row| Ok(row.try_get(0)?))
}
