//! The files that make a copy a replica: settings, access, `standby.signal`.
//!
//! `postgresql.conf` becomes ours and includes the primary's own, which is kept beside it; where the primary keeps its
//! files elsewhere, as on Debian, the settings that matter are taken from what it says of itself. Makes the texts and
//! writes them; starts nothing.

use std::fs;
use std::path::Path;

use anyhow::Context;
use tokio_postgres::{Client, Row};

use super::facts::Facts;
use super::home::{self, Home, Record};
use super::judge::PARITY;
use crate::setup::account::Account;
use crate::setup::quote;

const OURS: &str = "# Written by `highwater replica create`";
const ACCESS: &str = "highwater_hba.conf";

/// Settings that a copy without the primary's file gets from it all the same: what a promoted replica needs to be like
/// the primary, and what a read runs by. Nothing that is a path, an address or a name of the primary's machine.
const INHERITED: [&str; 26] = [
    "autovacuum",
    "checkpoint_timeout",
    "default_statistics_target",
    "effective_cache_size",
    "effective_io_concurrency",
    "jit",
    "lc_messages",
    "lc_monetary",
    "lc_numeric",
    "lc_time",
    "log_min_duration_statement",
    "maintenance_work_mem",
    "max_parallel_workers",
    "max_parallel_workers_per_gather",
    "max_replication_slots",
    "max_slot_wal_keep_size",
    "max_wal_size",
    "min_wal_size",
    "password_encryption",
    "random_page_cost",
    "shared_buffers",
    "shared_preload_libraries",
    "TimeZone",
    "track_io_timing",
    "wal_level",
    "work_mem",
];

/// The part of the settings that is the same for every replica.
const FOR_READS: &str = "\
# Reads are what it is for.
hot_standby = on
# Tells the primary which rows are still read here, so that VACUUM there does not take them away under a running query.
# The price: a query that runs here for hours keeps dead rows on the primary for hours, and so does the slot while this
# replica is away.
hot_standby_feedback = on
# What a query still stands in the way of (DDL, mostly) waits this long; then the query is cancelled. Half of the ten
# seconds that Highwater lets a replica be stale by default: a replica that waits longer gets no reads anyway.
max_standby_streaming_delay = 5s
max_standby_archive_delay = 5s
# How often it tells the primary how far it is: feedback and the primary's view of the lag are this old.
wal_receiver_status_interval = 1s
# A connection that is silent for so long is dead, and made anew: a minute, the default, is a long time to be stale.
wal_receiver_timeout = 10s
wal_retrieve_retry_interval = 1s

# If it is promoted, no commit may wait for the replicas of the old primary.
synchronous_standby_names = ''
";

/// What a replica is made with, beside its record.
#[derive(Debug)]
pub(crate) struct Making<'a> {
    pub(crate) record: &'a Record,
    pub(crate) home: &'a Home,
    pub(crate) facts: &'a Facts,
    pub(crate) account: &'a Account,
    /// How it reaches the primary.
    pub(crate) conninfo: String,
}

/// Writes all of them. Says whether a running server has to be started again for it.
pub(crate) async fn write(making: &Making<'_>, primary: &Client) -> anyhow::Result<Settings> {
    let (data, account) = (making.home.data(), making.account);
    let main = data.join("postgresql.conf");
    let theirs = data.join("postgresql.primary.conf");
    let there = home::plain_text(&main)?;
    if there.as_deref().is_some_and(|text| !text.starts_with(OURS)) {
        fs::rename(&main, &theirs).with_context(|| format!("can't rename {}", main.display()))?;
    }
    let inherited = if theirs.exists() { Vec::new() } else { inherited(making.facts) };
    let text = settings(making, &inherited);
    let ident = data.join("pg_ident.conf");
    if home::plain_text(&ident)?.is_none() {
        home::put(&ident, "", 0o600, account)?;
    }
    let access = data.join(ACCESS);
    if home::plain_text(&access)?.is_none() {
        let rules = match home::plain_text(&data.join("pg_hba.conf"))? {
            Some(text) => text,
            None => rules(primary).await,
        };
        home::put(&access, &access_file(&making.record.superuser, &rules), 0o600, account)?;
    }
    let auto = data.join("postgresql.auto.conf");
    if let Some(before) = home::plain_text(&auto)? {
        let after = without_ours(&before, &text);
        if after != before {
            home::put(&auto, &after, 0o600, account)?;
        }
    }
    let changed = there.as_deref() != Some(&text);
    if changed {
        home::put(&main, &text, 0o600, account)?;
    }
    home::put(&data.join("standby.signal"), "", 0o600, account)?;
    Ok(if changed { Settings::Changed } else { Settings::AsTheyWere })
}

/// Whether the settings are others than before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Settings {
    AsTheyWere,
    Changed,
}

fn inherited(facts: &Facts) -> Vec<(String, String)> {
    let wanted = |name: &str| facts.configured.iter().any(|configured| configured == name);
    let value = |name: &str| {
        let value = facts.setting(name)?;
        // A list: one pair of quotes would make one name of it.
        let value = if name == "shared_preload_libraries" { value.to_owned() } else { quote(value) };
        // `pg_settings` shows base units, which is also what a number without a unit means.
        (!value.is_empty()).then(|| (name.to_owned(), value))
    };
    INHERITED.into_iter().filter(|name| wanted(name)).filter_map(value).collect()
}

fn settings(making: &Making<'_>, inherited: &[(String, String)]) -> String {
    let Making { record, home, facts, conninfo, .. } = making;
    let path = |path: &Path| quote(&path.display().to_string());
    let list: String = inherited.iter().map(|(name, value)| format!("{name} = {value}\n")).collect();
    let inherited = if list.is_empty() {
        list
    } else {
        format!("\n# As on the primary, whose file is not in its data directory.\n{list}")
    };
    let parity: String =
        PARITY.iter().filter_map(|name| Some(format!("{name} = {}\n", facts.setting(name)?))).collect();
    let (data, name) = (home.data(), &record.name);
    format!(
        "{OURS} for the replica {name} of {primary}, and again whenever that is run.
# Settings of your own belong into postgresql.local.conf: it is read last and wins.

# The primary's own file, as it was copied.
include_if_exists 'postgresql.primary.conf'
{inherited}
# Where this server is. Its socket is for its own account and root only: `highwater replica` uses it.
data_directory = {data}
hba_file = {hba}
ident_file = {ident}
external_pid_file = ''
listen_addresses = {listen}
port = {port}
unix_socket_directories = {sockets}
unix_socket_permissions = 0700
unix_socket_group = ''
cluster_name = {cluster}

# Whom it follows. A password is in the passfile, which only this account can read. The slot makes the primary keep the
# WAL that this replica has not received yet.
primary_conninfo = {conninfo}
primary_slot_name = {slot}
recovery_target_timeline = 'latest'
recovery_min_apply_delay = 0
# What a point-in-time recovery may have left in the primary's file would stop this replica there.
recovery_target = ''
recovery_target_lsn = ''
recovery_target_name = ''
recovery_target_time = ''
recovery_target_xid = ''

# A standby refuses to start with less of these than its primary has; they are the primary's values. Raise them here
# first, then there.
{parity}
{FOR_READS}{tls}
# To journald, or to the log beside this directory.
logging_collector = off
log_destination = 'stderr'

include_if_exists 'postgresql.local.conf'
",
        primary = format_args!("{}:{}", record.primary.host, record.primary.port),
        data = path(&data),
        hba = path(&data.join(ACCESS)),
        ident = path(&data.join("pg_ident.conf")),
        listen = quote(&record.listen),
        port = record.port,
        // A list: quoted once more, because a space or comma would end a name.
        sockets = quote(&format!("\"{}\"", home.sockets().display())),
        cluster = quote(name),
        conninfo = quote(conninfo),
        slot = quote(&record.slot),
        tls = tls(facts, &data),
    )
}

/// TLS is left out when its files were not copied and are not here: the server would not start.
fn tls(facts: &Facts, data: &Path) -> &'static str {
    let is_here = |name| facts.setting(name).is_none_or(|file| data.join(file).is_file());
    let on = facts.setting("ssl") == Some("on");
    if on && !(is_here("ssl_cert_file") && is_here("ssl_key_file")) {
        "\n# The primary's certificate and key are not here. Turn it on again in postgresql.local.conf with files of this\n\
         # machine.\nssl = off\n"
    } else {
        ""
    }
}

fn access_file(superuser: &str, rules: &str) -> String {
    let user = format!("\"{}\"", superuser.replace('"', "\"\""));
    format!(
        "{OURS}: the first line is for `highwater replica`, whose socket only this account and root can reach.\n\
         local all {user} trust\n\n{rules}"
    )
}

/// The primary's rules when its file was not copied: as it tells them, or if we may not know them, passwords for this
/// machine.
async fn rules(primary: &Client) -> String {
    const RULES: &str = "SELECT type, database, user_name, address, netmask, auth_method, coalesce(options, '{}') \
                         FROM pg_hba_file_rules WHERE error IS NULL ORDER BY line_number";
    const OF_THIS_MACHINE: &str = "# What the primary's pg_hba.conf says is not known. Add who else may connect.\n\
                                   host all all samehost scram-sha-256\n";
    let Ok(rows) = primary.query(RULES, &[]).await else { return OF_THIS_MACHINE.to_owned() };
    let rules = rows.iter().filter_map(|row| rule(row).ok());
    std::iter::once("# As the primary's pg_hba.conf was.\n".to_owned()).chain(rules).collect()
}

/// One line of pg_hba.conf.
fn rule(row: &Row) -> Result<String, tokio_postgres::Error> {
    let list = |index| -> Result<Vec<String>, tokio_postgres::Error> {
        Ok(row.try_get::<_, Vec<String>>(index)?.iter().map(|word| rule_word(word)).collect())
    };
    let mut words: Vec<String> = vec![row.try_get(0)?, list(1)?.join(","), list(2)?.join(",")];
    words.extend(row.try_get::<_, Option<String>>(3)?);
    words.extend(row.try_get::<_, Option<String>>(4)?);
    words.push(row.try_get(5)?);
    words.extend(list(6)?);
    Ok(words.join(" ") + "\n")
}

/// In quotes, when it would be more than one word without.
fn rule_word(word: &str) -> String {
    let plain = |c: char| !c.is_whitespace() && !",#\"".contains(c);
    if word.chars().all(plain) && !word.is_empty() {
        word.to_owned()
    } else {
        format!("\"{}\"", word.replace('"', "\"\""))
    }
}

/// What ALTER SYSTEM has left on the primary, without what our own file sets: it would win.
fn without_ours(auto: &str, ours: &str) -> String {
    let name = |line: &str| line.split(['=', ' ']).next().unwrap_or_default().to_lowercase();
    let set: Vec<String> =
        ours.lines().filter(|line| line.contains(" = ") && !line.starts_with('#')).map(name).collect();
    auto.split_inclusive('\n')
        .filter(|line| line.starts_with('#') || !set.contains(&name(line.trim_start())))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_alter_system_left_on_the_primary_does_not_overrule_the_replica() {
        let auto =
            "# Do not edit\nport = '5432'\nprimary_conninfo = 'host=old'\nwork_mem = '8MB'\nPORT='1'\n";
        let ours = "# port = 1\nport = 5433\nprimary_conninfo = 'host=p'\n";
        assert_eq!(without_ours(auto, ours), "# Do not edit\nwork_mem = '8MB'\n");
    }

    #[test]
    fn a_name_with_a_blank_stays_one_word_of_a_rule() {
        assert_eq!(["all", "+group", "my db"].map(rule_word), ["all", "+group", "\"my db\""]);
    }

    #[test]
    fn the_socket_lets_one_super_user_in_before_any_other_rule() {
        let text = access_file("post\"gres", "local all all reject\n");
        let rules: Vec<_> = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect();
        assert_eq!(rules, ["local all \"post\"\"gres\" trust", "local all all reject"]);
    }
}
