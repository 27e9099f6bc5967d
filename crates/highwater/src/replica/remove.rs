//! `replica remove`, and undoing a `create` that failed: in the end nothing is left, here or on the primary.
//!
//! Before anything is touched, it is made sure that the slot and the role can be dropped; the record goes last, so that an
//! interrupted removal is finished by the next one. A slot is dropped only on the system that the replica was made from.

use std::time::Duration;

use anyhow::Context;
use tokio_postgres::Client;

use super::backup;
use super::home::{self, Home, Record, Registry, State, Upstream};
use super::nodes;
use super::replication::Replication;
use super::role;
use super::service;
use super::target::Target;
use super::unit;
use crate::args::replica::Remove;
use crate::setup::account::Account;
use crate::setup::progress::Progress;
use crate::{failure, output};

/// How long a slot may stay in use after its reader has gone.
const SLOT_WAIT_MAX: Duration = Duration::from_secs(30);

/// How the slot and the role on the primary are reached.
enum Reach {
    /// As somebody who may drop both, at that address.
    Admin(Client, String),
    /// As the replica did: good for the slot only.
    Replicator(Box<Replication>),
    /// Not at all; why.
    None(anyhow::Error),
}

/// Removes a replica.
pub(crate) async fn remove(asked: &Remove) -> anyhow::Result<()> {
    let registry = Registry::open(asked.registry.registry.as_deref())?;
    let name = &asked.name;
    if home::is_name(name) && Home::at(&registry.path(name))?.record()?.is_none() {
        registry.unlink(name);
        let others = registry.names();
        let others =
            if others.is_empty() { String::new() } else { format!(" (there are: {})", others.join(", ")) };
        output::note(format!("no replica is called {name}{others}: nothing to remove"));
        return Ok(());
    }
    let (home, mut record) = registry.find(name)?;
    let _lock = home.lock()?;
    if record.state == State::Promoted && !asked.force {
        return Err(failure::failed(format!(
            "{name} has been promoted: it is a primary, and its data may be nowhere else; if it shall go all the same, \
             highwater replica remove {name} --force"
        )));
    }
    let progress = Progress::begin();
    let reach = proved(reach(asked, &record, &home).await?, &record).await;
    sure(&reach, &record, asked)?;
    record.state = State::Removing;
    home.write(&record)?;
    if let Some(file) = &record.outside.nodes_file {
        progress.step(&format!("taking its line out of {}", file.display()));
        nodes::remove(file, &record.address(), name)?;
    }
    progress.step("stopping it");
    backup::end_left_behind(&home);
    service::stop(&record, &home).await?;
    remove_unit(&record, &progress)?;
    on_the_primary(reach, &record, &progress).await?;
    progress.step(&format!("removing {}", home.root().display()));
    home.remove(asked.keep_data)?;
    registry.unlink(name);
    let kept =
        if asked.keep_data { format!("; its data is in {}", home.data().display()) } else { String::new() };
    output::line(format!("replica {name} is removed{kept}"));
    Ok(())
}

async fn reach(asked: &Remove, record: &Record, home: &Home) -> anyhow::Result<Reach> {
    let upstream = &record.primary;
    let admin = match &asked.primary {
        Some(dsn) => Target::parse(dsn)?,
        None => {
            let mut target =
                Target::recorded(&upstream.host, upstream.port, &upstream.user, &upstream.database);
            // The same user: what it replicates with is its password.
            target.password = target.password.clone().or_else(|| target.in_passfile(&home.passfile()));
            target
        }
    };
    let error = match admin.connect().await {
        Ok(client) => return Ok(Reach::Admin(client, admin.address())),
        Err(error) => error,
    };
    let role = admin.with_role(&upstream.replicates_as, None);
    let role = admin.with_role(&upstream.replicates_as, role.in_passfile(&home.passfile()));
    Ok(match Replication::open(&role).await {
        Ok(replication) => Reach::Replicator(Box::new(replication)),
        Err(_) => Reach::None(error),
    })
}

/// Not at all, where it is not the primary that has the slot: what another server has under that name is somebody else's.
async fn proved(mut reach: Reach, record: &Record) -> Reach {
    let said = match &mut reach {
        Reach::Admin(client, _) => asked_by_statement(client).await,
        Reach::Replicator(replication) => asked_by_command(replication).await,
        Reach::None(_) => return reach,
    };
    let Record { name, system: wanted, .. } = record;
    let mistake = match said {
        Ok((system, _)) if !wanted.is_empty() && system != *wanted => {
            format!(
                "{name} was made from the system {wanted}, and the server that answered is the system {system}"
            )
        }
        Ok((_, true)) => "the server that answered is itself a replica, and not the primary".to_owned(),
        Ok((_, false)) => return reach,
        Err(error) => format!("the server that answered does not say which one it is ({error:#})"),
    };
    Reach::None(failure::usage(mistake))
}

/// The system identifier, and whether it is a replica.
async fn asked_by_statement(client: &Client) -> anyhow::Result<(String, bool)> {
    let text = "SELECT system_identifier::text, pg_is_in_recovery() FROM pg_control_system()";
    let row = client.query_one(text, &[]).await?;
    Ok((row.try_get(0)?, row.try_get(1)?))
}

/// The same of a replication connection.
async fn asked_by_command(replication: &mut Replication) -> anyhow::Result<(String, bool)> {
    let identity = replication.identify().await.map_err(|refused| anyhow::anyhow!("{refused}"))?;
    let replica = replication.is_replica().await.map_err(|refused| anyhow::anyhow!("{refused}"))?;
    Ok((identity.system, replica))
}

/// Refuses when something would stay on the primary.
fn sure(reach: &Reach, record: &Record, asked: &Remove) -> anyhow::Result<()> {
    let Record { name, slot, outside, .. } = record;
    let (error, left) = match (reach, &outside.role) {
        (Reach::Admin(..), _) | (Reach::Replicator(_), None) => return Ok(()),
        (Reach::Replicator(_), Some(role)) => {
            let why = failure::usage(format!("nobody is known who may drop the role {role} on the primary"));
            (why, format!("DROP ROLE {role}"))
        }
        (Reach::None(error), role) => {
            let mut left = format!("SELECT pg_drop_replication_slot('{slot}')");
            if let Some(role) = role {
                left.push_str(&format!("; DROP ROLE {role}"));
            }
            let why = match failure::status_of(error) {
                failure::Status::Usage => failure::usage(format!("{error:#}")),
                _ => failure::unreachable(format!("{error:#}")),
            };
            (why, left)
        }
    };
    let said = format!("{error:#}").trim_end_matches('?').to_owned();
    if asked.force {
        output::note(format!("note: {said}: run there, when it can be reached: {left}"));
        return Ok(());
    }
    let text = format!(
        "{said}; nothing was removed: say how with --primary DSN, or remove what is here with highwater replica remove {name} \
         --force and run on the primary: {left}"
    );
    Err(match failure::status_of(&error) {
        failure::Status::Unreachable => failure::unreachable(text),
        _ => failure::usage(text),
    })
}

fn remove_unit(record: &Record, progress: &Progress) -> anyhow::Result<()> {
    let Some(path) = &record.outside.unit else { return Ok(()) };
    progress.step(&format!("removing the unit {}", path.display()));
    unit::remove(path, &record.name)
}

async fn on_the_primary(reach: Reach, record: &Record, progress: &Progress) -> anyhow::Result<()> {
    let slot = &record.slot;
    match reach {
        Reach::Admin(client, address) => {
            progress.step(&format!("dropping the slot {slot} on the primary"));
            let Upstream { host, port, user, database, .. } = &record.primary;
            let recorded = Target::recorded(host, *port, user, database).address();
            if !drop_slot(slot, &client).await? && address != recorded {
                output::note(format!(
                    "note: {address} has no slot {slot}; if {recorded} is another server and is ever started again, run there: \
                     SELECT pg_drop_replication_slot('{slot}')"
                ));
            }
            if let Some(role) = &record.outside.role {
                progress.step(&format!("dropping the role {role} on the primary"));
                role::drop(role, &client).await?;
            }
            Ok(())
        }
        Reach::Replicator(mut replication) => {
            progress.step(&format!("dropping the slot {slot} on the primary"));
            let dropped = replication.drop_slot(slot).await;
            dropped.map_err(|refused| failure::failed(format!("the slot {slot} can't be dropped: {refused}")))
        }
        Reach::None(_) => Ok(()),
    }
}

/// Drops a slot that may be in use for a moment yet. Whether there was one.
async fn drop_slot(slot: &str, client: &Client) -> anyhow::Result<bool> {
    const IN_USE: &str = "55006";
    const POLL: Duration = Duration::from_millis(100);
    let text =
        "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = $1::text";
    let mut waited = Duration::ZERO;
    loop {
        match client.query(text, &[&slot]).await {
            Ok(rows) => return Ok(!rows.is_empty()),
            Err(error)
                if error.code().is_some_and(|code| code.code() == IN_USE) && waited < SLOT_WAIT_MAX => {}
            Err(error) => {
                return Err(error).with_context(|| format!("can't drop the slot {slot} on the primary"));
            }
        }
        tokio::time::sleep(POLL).await;
        waited += POLL;
    }
}

/// Undoes what a `create` has made that did not come to a whole copy.
pub(crate) async fn undo(
    record: &Record,
    home: &Home,
    account: &Account,
    target: &Target,
    admin: &Client,
) -> anyhow::Result<()> {
    if let Some(file) = &record.outside.nodes_file {
        nodes::remove(file, &record.address(), &record.name)?;
    }
    backup::end_left_behind(home);
    service::stop(record, home).await?;
    if let Some(path) = &record.outside.unit {
        unit::remove(path, &record.name)?;
    }
    home.clear_data(account)?;
    // The connection may be what failed.
    let again;
    let admin = if admin.is_closed() {
        again = target.connect().await?;
        &again
    } else {
        admin
    };
    drop_slot(&record.slot, admin).await?;
    if let Some(role) = &record.outside.role {
        role::drop(role, admin).await?;
    }
    home.remove(false)
}
