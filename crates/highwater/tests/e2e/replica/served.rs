//! Where systemd runs: the unit goes to it, and it starts and stops the server.
//!
//! systemd does not run where tests run, so a stand-in answers to the name `systemctl`, does what the unit says, and writes
//! down what it was told; `/run/systemd/system` and `/etc/systemd/system` are mounts of the test. It shows that the right
//! things are asked in the right order, not that systemd likes the unit: `systemd-analyze verify` says that.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;

use super::stage::{Stage, text};
use crate::harness::router::connect;
use crate::harness::{direct, left_out};

const SYSTEMCTL: &str = r#"#!/bin/sh
echo "$*" >> "$(dirname "$0")/told"
for unit; do :; done
file=/etc/systemd/system/$unit
postmaster() { head -1 "$(sed -n 's/^ExecStart=.*-D "\(.*\)"/\1/p' "$file")/postmaster.pid" 2>/dev/null; }
case $1 in
start)
    user=$(sed -n 's/^User=//p' "$file")
    eval "set -- $(sed -n 's/^ExecStart=//p' "$file")"
    setsid setpriv --reuid="$user" --regid="$user" --init-groups -- "$@" >/dev/null 2>&1 </dev/null & ;;
stop) pid=$(postmaster) && kill -INT "$pid" ;;
is-active) pid=$(postmaster) && kill -0 "$pid" ;;
is-failed) exit 1 ;;
esac
"#;

/// The stand-in and the directories it is about.
struct Standin {
    units: PathBuf,
    bin: PathBuf,
}

impl Standin {
    fn new(stage: &Stage) -> Standin {
        let (units, bin) = (stage.owned_directory("system"), stage.owned_directory("bin"));
        let program = bin.join("systemctl");
        fs::write(&program, SYSTEMCTL).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        Standin { units, bin }
    }

    fn mounts(&self) -> String {
        format!(
            "mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/system && mount --bind '{}' /etc/systemd/system && \
             PATH='{}':\"$PATH\" && export PATH",
            self.units.display(),
            self.bin.display()
        )
    }

    fn told(&self) -> String {
        fs::read_to_string(self.bin.join("told")).unwrap_or_default()
    }
}

#[tokio::test]
async fn where_systemd_runs_it_keeps_the_server() {
    if direct() {
        return;
    }
    let stage = Stage::new().await;
    let standin = Standin::new(&stage);
    let create = stage.creation(&["--unit-dir", "/etc/systemd/system"]);
    let Some(output) = stage.run_with_mounts(&standin.mounts(), &create) else { return };
    assert!(output.status.success(), "{}", text(&output));
    assert!(
        text(&output).contains("systemd keeps it running (highwater-replica-r1.service)"),
        "{}",
        text(&output)
    );
    let unit = "highwater-replica-r1.service";
    assert!(
        standin.told().contains(&format!("daemon-reload\nenable {unit}\nstart --no-block {unit}\n")),
        "{}",
        standin.told()
    );
    connect(stage.port, "app").await.batch_execute("SELECT served_by()").await.unwrap();
    let before = stage.postmaster();
    let again = stage.run_with_mounts(&standin.mounts(), &create).expect("it was possible before");
    assert!(again.status.success(), "{}", text(&again));
    assert_eq!(stage.postmaster(), before, "a server that is kept is left alone");
    let remove = ["remove", "r1", "--primary", &stage.dsn()].map(str::to_owned);
    let removed = stage.run_with_mounts(&standin.mounts(), &remove).expect("it was possible before");
    assert!(removed.status.success(), "{}", text(&removed));
    assert!(standin.told().contains(&format!("stop {unit}\ndisable {unit}\n")), "{}", standin.told());
    assert_eq!(fs::read_dir(&standin.units).unwrap().count(), 0, "the unit is gone");
    stage.leaves_nothing().await;
}

#[tokio::test]
async fn systemd_understands_every_line_of_the_unit() {
    if direct() {
        return;
    }
    let stage = Stage::new().await;
    stage.create(&[]);
    let unit = stage.units().join("highwater-replica-r1.service");
    let Ok(output) = Command::new("systemd-analyze").arg("verify").arg(&unit).output() else {
        left_out("a replica's unit: systemd-analyze is not installed");
        return;
    };
    let said = text(&output);
    assert!(!said.contains("highwater-replica-r1"), "{said}");
    let written = fs::read_to_string(&unit).unwrap();
    for line in ["Restart=on-failure", "KillSignal=SIGINT", "NoNewPrivileges=yes", "ProtectSystem=strict"] {
        assert!(written.contains(&format!("\n{line}\n")), "{line}: {written}");
    }
}
