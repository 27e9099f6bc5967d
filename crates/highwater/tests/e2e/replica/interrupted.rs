//! `create` ended by force at every step it has, and by Ctrl-C: the same command ends right, and nothing is left that should
//! not be.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::Child;

use super::stage::{PATIENCE, Stage, text};
use crate::harness::process::{Signal, signal_pid};
use crate::harness::router::connect;
use crate::harness::{direct, full, wait_for};

/// The beginnings of what `create` says as it begins each of its steps.
const STEPS: [&str; 10] = [
    "preparing",
    "making the role",
    "making the slot",
    "copying the primary",
    "writing its settings",
    "writing the unit",
    "starting the replica",
    "waiting until it streams",
    "measuring the lag",
    "written into",
];

/// Reads what is said until a line with `step`, and kills the command there.
fn kill_at(mut child: Child, step: &str) {
    let mut lines = BufReader::new(child.stderr.as_mut().expect("it is piped")).lines();
    assert!(
        lines.by_ref().map_while(Result::ok).any(|line| line.contains(step)),
        "there is no step {step:?}"
    );
    child.kill().unwrap();
    child.wait().unwrap();
}

#[tokio::test]
async fn killed_at_any_step_and_run_again_it_ends_right() {
    if direct() {
        return;
    }
    let stage = Stage::new().await;
    stage.allow("host replication highwater_r1 127.0.0.1/32 scram-sha-256").await;
    for step in STEPS {
        kill_at(stage.begin_create(&["--own-role"]), step);
        let said = stage.create(&["--own-role"]);
        assert!(said.contains("streams at"), "after {step}: {said}");
        connect(stage.port, "app").await.batch_execute("SELECT served_by()").await.unwrap();
        stage.remove();
        stage.leaves_nothing().await;
    }
}

/// Not only where a step begins.
#[tokio::test]
async fn killed_at_any_moment_and_run_again_it_ends_right() {
    if direct() || !full() {
        return;
    }
    let stage = Stage::new().await;
    stage.allow("host replication highwater_r1 127.0.0.1/32 scram-sha-256").await;
    let mut survived = 0;
    for millis in (20..2000).step_by(40) {
        let after = format!("{}", f64::from(millis) / 1000.0);
        let create = stage.creation(&["--own-role"]);
        let killed = stage.by(&["timeout", "--foreground", "-s", "KILL", &after], &create).output();
        survived += u32::from(killed.expect("timeout (coreutils) can be run").status.success());
        stage.create(&["--own-role"]);
        connect(stage.port, "app").await.batch_execute("SELECT served_by()").await.unwrap();
        stage.remove();
        stage.leaves_nothing().await;
        if survived == 3 {
            return;
        }
    }
}

#[tokio::test]
async fn killed_at_any_step_it_can_be_removed() {
    if direct() {
        return;
    }
    let stage = Stage::new().await;
    stage.allow("host replication highwater_r1 127.0.0.1/32 scram-sha-256").await;
    for step in STEPS {
        kill_at(stage.begin_create(&["--own-role"]), step);
        stage.remove();
        stage.leaves_nothing().await;
    }
}

#[tokio::test]
async fn killed_in_the_middle_of_the_copy_it_is_copied_anew() {
    if direct() {
        return;
    }
    let stage = Stage::new().await;
    let base = stage.home().join("data/base");
    let mut child = stage.begin_create(&["--max-rate", "1M"]);
    wait_for("half of a copy", PATIENCE, async || base.is_dir()).await;
    child.kill().unwrap();
    child.wait().unwrap();
    let listed = stage.listed();
    assert_eq!(listed[0]["state"], "making", "{listed}");
    let said = stage.create(&[]);
    assert!(said.contains("copying the primary"), "{said}");
    stage.remove();
    let mut child = stage.begin_create(&["--max-rate", "1M"]);
    wait_for("half of a copy again", PATIENCE, async || base.is_dir()).await;
    child.kill().unwrap();
    child.wait().unwrap();
    stage.remove();
    stage.leaves_nothing().await;
}

#[tokio::test]
async fn ctrl_c_in_the_middle_of_the_copy_leaves_nothing() {
    if direct() {
        return;
    }
    let stage = Stage::new().await;
    stage.allow("host replication highwater_r1 127.0.0.1/32 scram-sha-256").await;
    let base = stage.home().join("data/base");
    let child = stage.begin_create(&["--max-rate", "1M", "--own-role"]);
    wait_for("half of a copy", PATIENCE, async || base.is_dir()).await;
    signal_pid(child.id(), Signal::INT);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    assert!(text(&output).contains("interrupted; nothing was left behind"), "{}", text(&output));
    stage.leaves_nothing().await;
}

/// A removal that was ended by force is finished by the next one.
#[tokio::test]
async fn a_removal_killed_at_any_step_is_finished_by_the_next() {
    if direct() {
        return;
    }
    let stage = Stage::new().await;
    for step in ["taking its line", "stopping it", "removing the unit", "dropping the slot", "removing /"] {
        stage.create(&[]);
        let mut command = stage.command(&["remove", "r1", "--primary", &stage.dsn()]);
        let child = command.stderr(std::process::Stdio::piped()).spawn().unwrap();
        kill_at(child, step);
        let output = stage.run(&["remove", "r1", "--primary", &stage.dsn()]);
        assert!(output.status.success(), "after {step}: {}", text(&output));
        stage.leaves_nothing().await;
    }
    assert!(fs::metadata(stage.registry()).is_ok());
}
