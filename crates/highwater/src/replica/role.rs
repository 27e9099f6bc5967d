//! The role that a replica replicates as, when the user of the DSN shall or can not: made with a random password, which is
//! written to the passfile and nowhere else.
//!
//! The primary gets a SCRAM verifier, so that no password stands in its log.

use anyhow::Context;
use tokio_postgres::Client;
use wire::auth::Secret;
use wire::auth::verifier::ScramVerifier;

use super::home::{self, Home};
use super::replication::Replication;
use super::target::Target;
use crate::failure;
use crate::setup::account::Account;
use crate::setup::{place, quote};

/// By which the role is known to be ours; also for people who find it.
const COMMENT: &str = "made by highwater replica create";

/// As PostgreSQL's own `scram_iterations`.
const ITERATIONS: u32 = 4096;

/// The name of the role for a replica.
pub(crate) fn name(replica: &str) -> String {
    format!("highwater_{}", replica.replace('-', "_"))
}

/// Whether the primary has a role of that name, whoever made it.
pub(crate) async fn exists(role: &str, primary: &Client) -> anyhow::Result<bool> {
    Ok(primary.query_opt("SELECT FROM pg_roles WHERE rolname = $1", &[&role]).await?.is_some())
}

/// Makes the role, or gives it another password, unless the one in the passfile still opens the door.
pub(crate) async fn make(
    role: &str,
    admin: &Client,
    target: &Target,
    home: &Home,
    account: &Account,
) -> anyhow::Result<Target> {
    let known = target.with_role(role, None);
    let known = target.with_role(role, known.in_passfile(&home.passfile()));
    if known.password.is_some() && Replication::open(&known).await.is_ok() {
        return Ok(known);
    }
    let password = place::password()?;
    let salt = place::password()?;
    let verifier = ScramVerifier::from_password(password.as_bytes(), salt.as_bytes(), ITERATIONS).to_secret();
    let verifier = quote(&String::from_utf8_lossy(verifier.expose()));
    let exists = admin
        .query_opt(
            "SELECT coalesce(shobj_description(oid, 'pg_authid'), '') = $2 FROM pg_roles WHERE rolname = $1",
            &[&role, &COMMENT],
        )
        .await?;
    let verb = match exists.map(|row| row.try_get::<_, bool>(0)).transpose()? {
        None => "CREATE",
        Some(true) => "ALTER",
        Some(false) => {
            return Err(failure::failed(format!(
                "the primary at {} has a role {role} that this command did not make: choose another --name, or drop it with \
                 DROP ROLE {role}",
                target.address()
            )));
        }
    };
    // One transaction: a role is never there without its comment.
    let text = format!(
        "BEGIN; {verb} ROLE {role} LOGIN REPLICATION PASSWORD {verifier}; COMMENT ON ROLE {role} IS {}; COMMIT",
        quote(COMMENT)
    );
    admin.batch_execute(&text).await.with_context(|| format!("can't make the role {role}"))?;
    let replicator = target.with_role(role, Some(Secret::new(password)));
    write_passfile(&replicator, home, account)?;
    Ok(replicator)
}

/// Puts the password, if there is one, where only PostgreSQL's account can read it.
pub(crate) fn write_passfile(replicator: &Target, home: &Home, account: &Account) -> anyhow::Result<()> {
    match replicator.passfile_line() {
        Some(line) => home::put(&home.passfile(), &line, 0o600, account),
        None => Ok(()),
    }
}

/// Drops the role, if it is there and ours.
pub(crate) async fn drop(role: &str, admin: &Client) -> anyhow::Result<()> {
    let ours = "SELECT FROM pg_roles WHERE rolname = $1 AND shobj_description(oid, 'pg_authid') = $2";
    if admin.query_opt(ours, &[&role, &COMMENT]).await?.is_some() {
        admin
            .batch_execute(&format!("DROP ROLE {role}"))
            .await
            .with_context(|| format!("can't drop the role {role}"))?;
    }
    Ok(())
}
