//! Is the primary ready for one more replica? Pure: from facts to sentences, each with what, where and what to do.
//!
//! A problem stops `create` before it has done anything; all of them are told at once. A remark is worth knowing and stops
//! nothing. What concerns this machine is `here`'s.

use super::facts::{Facts, Rights};
use super::replication::Refused;
use crate::failure::Status;

/// What a standby must have at least as much of as its primary
/// (<https://www.postgresql.org/docs/current/hot-standby.html#HOT-STANDBY-ADMIN>).
pub(crate) const PARITY: [&str; 5] = [
    "max_connections",
    "max_worker_processes",
    "max_wal_senders",
    "max_prepared_transactions",
    "max_locks_per_transaction",
];

/// The versions Highwater serves.
const MAJORS: std::ops::RangeInclusive<u32> = 14..=18;

/// WAL senders a copy needs: one for the files, one for the WAL that is written meanwhile.
const SENDERS_FOR_COPY: u32 = 2;

/// Something that has to be changed first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    /// How the command ends for it.
    pub(crate) status: Status,
    /// One sentence.
    pub(crate) text: String,
}

impl Problem {
    /// One that is neither usage nor a missing program.
    pub(crate) fn new(text: impl Into<String>) -> Problem {
        Problem { status: Status::Failed, text: text.into() }
    }
}

/// Problems and remarks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Verdict {
    pub(crate) problems: Vec<Problem>,
    pub(crate) remarks: Vec<String>,
}

/// What is wanted of the primary.
#[derive(Debug, Clone)]
pub(crate) struct Wanted<'a> {
    /// Where it is.
    pub(crate) address: &'a str,
    /// The user of the DSN.
    pub(crate) user: &'a str,
    /// What the replica is called.
    pub(crate) name: &'a str,
    /// The slot to be made.
    pub(crate) slot: &'a str,
    /// An earlier run has recorded that slot as its own.
    pub(crate) slot_is_ours: bool,
    /// The copy is there already.
    pub(crate) copied: bool,
    /// Who is to replicate.
    pub(crate) replicator: Replicator<'a>,
    /// The address of this machine as the primary sees it, as far as it is known.
    pub(crate) from: Option<&'a str>,
    /// The system identifier that an earlier run has recorded.
    pub(crate) system: Option<&'a str>,
}

/// Who replicates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Replicator<'a> {
    /// The user of the DSN.
    User,
    /// A role made for this replica.
    OwnRole(&'a str),
}

/// Judges.
pub(crate) fn judge(facts: &Facts, wanted: &Wanted<'_>) -> Verdict {
    let mut verdict = Verdict::default();
    let out = &mut verdict;
    server(facts, wanted, out);
    if facts.setting("wal_level") == Some("minimal") {
        out.problem(format!(
            "wal_level is minimal on {}, which is too little to replicate: ALTER SYSTEM SET wal_level = 'replica', and \
             restart the primary",
            wanted.address
        ));
    }
    senders(facts, wanted, out);
    slots(facts, wanted, out);
    rights(facts, wanted, out);
    admission(facts, wanted, out);
    remarks(facts, wanted, out);
    verdict
}

impl Verdict {
    fn problem(&mut self, text: String) {
        self.problems.push(Problem::new(text));
    }
}

fn server(facts: &Facts, wanted: &Wanted<'_>, out: &mut Verdict) {
    if !MAJORS.contains(&facts.major) {
        out.problem(format!(
            "the primary at {} is PostgreSQL {}, and highwater is for {} to {}: take a server of one of these",
            wanted.address,
            facts.version,
            MAJORS.start(),
            MAJORS.end()
        ));
    }
    if facts.in_recovery {
        out.problem(format!(
            "the server at {} is itself a replica, and highwater makes no replica of a replica: name the primary",
            wanted.address
        ));
    }
    if let (Some(recorded), Ok(identity)) = (wanted.system, &facts.replication)
        && recorded != identity.system
    {
        out.problem(format!(
            "{} was made from the system {recorded}, and {} is the system {}: name the right primary, or another replica \
             with --name",
            wanted.name, wanted.address, identity.system
        ));
    }
}

fn senders(facts: &Facts, wanted: &Wanted<'_>, out: &mut Verdict) {
    let Some(most) = facts.number("max_wal_senders").and_then(|n| u32::try_from(n).ok()) else { return };
    let needed = if wanted.copied { 0 } else { SENDERS_FOR_COPY };
    if most < facts.senders.saturating_add(needed) {
        out.problem(format!(
            "max_wal_senders is {most} on {} with {} in use, and a copy needs {needed}: ALTER SYSTEM SET max_wal_senders = \
             {}, and restart the primary",
            wanted.address,
            facts.senders,
            facts.senders.saturating_add(needed).max(10)
        ));
    }
}

fn slots(facts: &Facts, wanted: &Wanted<'_>, out: &mut Verdict) {
    let (slot, address) = (wanted.slot, wanted.address);
    match facts.slot(slot) {
        Some(there) if !wanted.slot_is_ours => {
            let of = if there.physical { "physical" } else { "logical" };
            out.problem(format!(
                "the primary at {address} has a {of} slot {slot} that this command did not make: choose another with \
                 --slot (or --name), or, if nobody needs it, SELECT pg_drop_replication_slot('{slot}')"
            ));
        }
        Some(_) => {}
        None => {
            let most = facts.number("max_replication_slots").unwrap_or(0);
            let used = i64::try_from(facts.slots.len()).unwrap_or(i64::MAX);
            if used >= most {
                out.problem(format!(
                    "no replication slot is free on {address} (max_replication_slots is {most}, all in use): ALTER SYSTEM \
                     SET max_replication_slots = {}, and restart the primary; or drop one that nobody needs",
                    (used + 2).max(10)
                ));
            }
        }
    }
}

fn rights(facts: &Facts, wanted: &Wanted<'_>, out: &mut Verdict) {
    let (user, address) = (wanted.user, wanted.address);
    match (wanted.replicator, facts.user) {
        (Replicator::User, Rights::Replicates | Rights::MakesReplicators) => {}
        (Replicator::OwnRole(_), Rights::MakesReplicators | Rights::OnlyMakes) => {}
        (Replicator::OwnRole(role), _) => out.problem(format!(
            "user {user} may not make the role {role} on {address}: as a super-user run CREATE ROLE {role} LOGIN REPLICATION \
             PASSWORD '…' and name it in the DSN, or let user {user} replicate with ALTER ROLE {user} REPLICATION"
        )),
        (Replicator::User, _) => out.problem(format!(
            "user {user} may not replicate from {address}: as a super-user run ALTER ROLE {user} REPLICATION"
        )),
    }
}

/// Whether pg_hba.conf lets a replication connection in. A role that is not made yet is tried when it is.
fn admission(facts: &Facts, wanted: &Wanted<'_>, out: &mut Verdict) {
    const TOO_MANY: &str = "53300";
    const NO_RIGHT: &str = "42501";
    if wanted.replicator != Replicator::User {
        return;
    }
    match &facts.replication {
        Ok(_) => {}
        // Told above, from the settings and the rights.
        Err(Refused::Said(code, _)) if code == TOO_MANY || code == NO_RIGHT => {}
        Err(refused) => out.problem(refusal(refused, wanted.address, wanted.user, wanted.from)),
    }
}

/// The sentence for a replication connection that was refused.
pub(crate) fn refusal(refused: &Refused, address: &str, user: &str, from: Option<&str>) -> String {
    match refused {
        Refused::Said(code, words) if code == "28000" => format!(
            "pg_hba.conf of {address} lets user {user} not replicate ({words}): add the line `{}` to it, above any that \
             rejects, then SELECT pg_reload_conf() there; no restart is needed",
            hba_line(words, user, from)
        ),
        Refused::Said(code, words) if code == "28P01" => format!(
            "the primary at {address} refuses the password of user {user} for replication ({words}): give the right one in \
             the DSN, in PGPASSWORD or in ~/.pgpass"
        ),
        other => format!("the primary at {address} refuses a replication connection of user {user}: {other}"),
    }
}

/// The line to add. The address is the one the primary names in its refusal: it may not be ours, where addresses are
/// translated on the way.
fn hba_line(words: &str, user: &str, from: Option<&str>) -> String {
    let user = if user.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        user.to_owned()
    } else {
        format!("\"{user}\"")
    };
    let seen = words.split_once("host \"").and_then(|(_, rest)| Some(rest.split_once('"')?.0));
    match seen.or(from) {
        Some("[local]") | None => format!("local replication {user} scram-sha-256"),
        Some(host) => {
            let bits = if host.contains(':') { 128 } else { 32 };
            format!("host replication {user} {host}/{bits} scram-sha-256")
        }
    }
}

fn remarks(facts: &Facts, wanted: &Wanted<'_>, out: &mut Verdict) {
    let mut remark = |text: String| out.remarks.push(text);
    if facts.number("max_slot_wal_keep_size") == Some(-1) {
        remark(
            "max_slot_wal_keep_size has no limit on the primary: while this replica is away, its slot keeps WAL until the \
             primary's disk is full; consider ALTER SYSTEM SET max_slot_wal_keep_size = '50GB' (a reload is enough)"
                .to_owned(),
        );
    }
    if let Some(names) = facts.setting("synchronous_standby_names").filter(|names| !names.is_empty()) {
        remark(format!(
            "synchronous_standby_names is '{names}' on the primary: if that includes {}, commits there wait for this replica",
            wanted.name
        ));
    }
    if facts.setting("data_checksums") == Some("off") {
        remark(
            "the primary has no data checksums, so the replica has none: damage on a disk goes unnoticed (pg_checksums \
             --enable, with the primary stopped)"
                .to_owned(),
        );
    }
    if facts.bytes.is_none() {
        remark(format!(
            "user {} may not see the size of every database, so whether there is room for the copy is not known (GRANT \
             pg_read_all_stats TO {} lets it)",
            wanted.user, wanted.user
        ));
    }
    if facts.setting("shared_preload_libraries").is_none() {
        remark(format!(
            "user {} may not see shared_preload_libraries, so whether this machine has them is not known (GRANT \
             pg_read_all_settings TO {} lets it)",
            wanted.user, wanted.user
        ));
    }
}

#[cfg(test)]
mod tests;
