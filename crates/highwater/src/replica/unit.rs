//! The systemd unit of a replica: its text, pure, and the few calls of `systemctl`.
//!
//! Where systemd does not run, the unit is written all the same, for the day it does. Stopping and starting without it is
//! `service`'s.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::home::{self, Home, Record};
use crate::failure;
use crate::setup::account::{Account, is_root};

/// Where units of the administrator are.
const SYSTEM: &str = "/etc/systemd/system";

/// There when systemd is what started this machine (sd_booted(3)).
const BOOTED: &str = "/run/systemd/system";

/// `highwater-replica-NAME.service`.
pub(crate) fn name(replica: &str) -> String {
    format!("highwater-replica-{replica}.service")
}

/// Where the unit goes when nobody says otherwise.
pub(crate) fn default_path(replica: &str, home: &Home) -> PathBuf {
    let directory = if is_root() && Path::new(SYSTEM).is_dir() { Path::new(SYSTEM) } else { home.root() };
    directory.join(name(replica))
}

/// True when systemd runs here and reads that unit.
pub(crate) fn is_served(unit: &Path) -> bool {
    Path::new(BOOTED).is_dir() && unit.parent() == Some(Path::new(SYSTEM))
}

/// What the server says of its readiness.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Readiness {
    /// It tells systemd.
    Notifies,
    /// It says nothing.
    Silent,
}

/// The text of the unit.
pub(crate) fn text(record: &Record, home: &Home, account: &Account, readiness: Readiness) -> String {
    let user = match account {
        Account::Caller => String::new(),
        Account::Other { name, .. } => format!("User={name}\nGroup={name}\n"),
    };
    let kind = match readiness {
        Readiness::Notifies => "notify",
        Readiness::Silent => "exec",
    };
    format!(
        "# Written by `highwater replica create`.
[Unit]
Description=PostgreSQL replica {name} of {host}:{port}
Documentation=https://www.postgresql.org/docs/current/hot-standby.html
Wants=network-online.target
After=network-online.target
# Never gives up: a replica that comes back late is still worth having.
StartLimitIntervalSec=0

[Service]
Type={kind}
{user}ExecStart={postgres} -D {data}
ExecReload=/bin/kill -HUP $MAINPID
# SIGINT is PostgreSQL's fast shutdown: sessions end, and the WAL that was received stays. The postmaster alone is asked;
# what is left after the time-out is killed.
KillMode=mixed
KillSignal=SIGINT
# Replay after a crash and the last restart point take as long as they take.
TimeoutStartSec=infinity
TimeoutStopSec=5min
Restart=on-failure
RestartSec=2s
# The kernel, short of memory, takes a session and not the postmaster.
OOMScoreAdjust=-900
Environment=PG_OOM_ADJUST_FILE=/proc/self/oom_score_adj PG_OOM_ADJUST_VALUE=0
UMask=0077

# It needs its directory and the network. No MemoryDenyWriteExecute: PostgreSQL compiles queries (jit).
NoNewPrivileges=yes
CapabilityBoundingSet=
ProtectSystem=strict
ReadWritePaths={root}
{hiding}PrivateDevices=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged
SystemCallErrorNumber=EPERM

[Install]
WantedBy=multi-user.target
",
        name = record.name,
        host = record.primary.host,
        port = record.primary.port,
        postgres = quoted(&record.postgres.bin.join("postgres")),
        data = quoted(&home.data()),
        root = quoted(home.root()),
        hiding = hiding(home.root()),
    )
}

/// Hides what is not the replica's, unless it lives there.
fn hiding(root: &Path) -> String {
    let below = |places: &[&str]| places.iter().any(|place| root.starts_with(place));
    let mut text = String::new();
    if !below(&["/home", "/root", "/run/user"]) {
        text.push_str("ProtectHome=yes\n");
    }
    if !below(&["/tmp", "/var/tmp"]) {
        text.push_str("PrivateTmp=yes\n");
    }
    text
}

/// In quotes, with what systemd would take for a specifier, a variable or the end of a word made plain
/// (systemd.syntax(7), systemd.service(5)).
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let text = text.replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%").replace('$', "$$");
    format!("\"{text}\"")
}

/// Writes the unit and has it checked, if `systemd-analyze` is here. What that has to say comes back.
pub(crate) fn install(path: &Path, text: &str) -> anyhow::Result<Option<String>> {
    home::put(path, text, 0o644, &Account::Caller)?;
    let Ok(checked) = Command::new("systemd-analyze").arg("verify").arg(path).output() else {
        return Ok(None);
    };
    let said = String::from_utf8_lossy(&checked.stderr);
    // It speaks of other units, too.
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let about_ours = |line: &&str| line.contains(&*name);
    let complaint = said.lines().find(about_ours).map(str::to_owned);
    Ok(complaint)
}

/// Takes the unit away, from systemd too where that has it. That there is none is fine.
pub(crate) fn remove(path: &Path, replica: &str) -> anyhow::Result<()> {
    let served = is_served(path) && path.exists();
    if served {
        // Fails when it is not enabled, which is as wanted.
        let _ = systemctl(&["disable", &name(replica)]);
    }
    home::remove_file(path)?;
    if served { systemctl(&["daemon-reload"]) } else { Ok(()) }
}

/// Runs `systemctl` to its end.
pub(crate) fn systemctl(arguments: &[&str]) -> anyhow::Result<()> {
    let output = Command::new("systemctl").args(arguments).output();
    let output = output.map_err(|error| failure::missing(format!("systemctl can't be run ({error})")))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(failure::failed(format!("systemctl {} failed: {}", arguments.join(" "), said.trim())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_with_something_special_in_it_stays_one_plain_word() {
        assert_eq!(quoted(Path::new("/a b/50%/$x\"\\")), "\"/a b/50%%/$$x\\\"\\\\\"");
    }

    #[test]
    fn a_directory_is_hidden_only_from_who_does_not_live_there() {
        assert_eq!(hiding(Path::new("/home/me/x")), "PrivateTmp=yes\n");
        assert_eq!(hiding(Path::new("/tmp/x")), "ProtectHome=yes\n");
        assert_eq!(hiding(Path::new("/var/lib/x")), "ProtectHome=yes\nPrivateTmp=yes\n");
    }

    #[test]
    fn a_unit_of_another_directory_is_not_systemds() {
        assert!(!is_served(Path::new("/tmp/highwater-replica-r1.service")));
    }
}
