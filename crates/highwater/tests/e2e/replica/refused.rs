//! Everything that can be wrong before or during `create`, each with its sentence and exit status, and nothing left.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Output;

use super::stage::{Stage, text};
use crate::harness::{Cluster, direct, free_port};

/// The command ended with `status` and said all of `parts`.
fn refused(output: &Output, status: i32, parts: &[&str]) {
    let said = text(output);
    assert_eq!(output.status.code(), Some(status), "{said}");
    for part in parts {
        assert!(said.contains(part), "{part:?} is not in:\n{said}");
    }
}

#[tokio::test]
async fn what_the_user_got_wrong_is_told_in_one_sentence() {
    if direct() {
        return;
    }
    let stage = Stage::new().await;
    let primary = stage.cluster.primary.superuser().await;
    primary.batch_execute("CREATE ROLE rep LOGIN REPLICATION PASSWORD 'right'").await.unwrap();
    let port = stage.cluster.primary.port;
    let dsn = |user: &str| format!("postgresql://{user}@127.0.0.1:{port}/app");
    refused(
        &stage.run_create(&["--primary", &dsn("rep:wrong")]),
        4,
        &["refuses the password of user rep", "~/.pgpass"],
    );
    refused(
        &stage.run_create(&["--primary", &dsn("rep")]),
        4,
        &["asks for a password of user rep", "PGPASSWORD"],
    );
    let nobody = format!("postgresql://rep@127.0.0.1:{}/app", free_port());
    refused(&stage.run_create(&["--primary", &nobody]), 4, &["can't be reached", "listen_addresses"]);
    refused(&stage.run_create(&["--primary", "nonsense"]), 2, &["--primary is not a connection string"]);
    refused(&stage.run_create(&["--primary", &format!("{}?sslmode=require", dsn("rep"))]), 2, &["TLS"]);
    refused(&stage.run_create(&["--name", "../x"]), 2, &["--name ../x is no name"]);
    refused(&stage.run_create(&["--slot", "A-B"]), 2, &["--slot A-B is no name"]);
    let app = stage.run_create(&["--primary", &dsn("app:app%20secret")]);
    refused(&app, 1, &["user app may not replicate", "ALTER ROLE app REPLICATION"]);
    stage.leaves_nothing().await;
    // The same password from ~/.pgpass, which is right; what is left is the missing line of pg_hba.conf.
    let pgpass = stage.cluster.home().join(".pgpass");
    fs::write(&pgpass, format!("127.0.0.1:{port}:*:rep:right\n")).unwrap();
    fs::set_permissions(&pgpass, fs::Permissions::from_mode(0o600)).unwrap();
    let line = "`host replication rep 127.0.0.1/32 scram-sha-256`";
    refused(
        &stage.run_create(&["--primary", &dsn("rep")]),
        1,
        &["pg_hba.conf", line, "SELECT pg_reload_conf()"],
    );
    stage.allow(line.trim_matches('`')).await;
    stage.create(&["--primary", &dsn("rep")]);
}

#[tokio::test]
async fn a_role_that_is_not_let_in_is_told_with_its_line_and_leaves_nothing() {
    if direct() {
        return;
    }
    let stage = Stage::new().await;
    let output = stage.run_create(&["--own-role"]);
    let line = "`host replication highwater_r1 127.0.0.1/32 scram-sha-256`";
    refused(&output, 1, &[line, "nothing was left behind"]);
    stage.leaves_nothing().await;
    let primary = stage.cluster.primary.superuser().await;
    primary.batch_execute("CREATE ROLE highwater_r1 LOGIN").await.unwrap();
    refused(&stage.run_create(&["--own-role"]), 1, &["has a role highwater_r1", "DROP ROLE highwater_r1"]);
    primary.batch_execute("DROP ROLE highwater_r1").await.expect("it was left alone");
    stage.leaves_nothing().await;
}

#[tokio::test]
async fn what_the_primary_lacks_is_told_all_at_once() {
    if direct() {
        return;
    }
    let stage = Stage::new().await;
    stage
        .restart_with(&[("wal_level", "minimal"), ("max_wal_senders", "0"), ("max_replication_slots", "0")])
        .await;
    let parts = [
        "3 problems",
        "ALTER SYSTEM SET wal_level = 'replica', and restart",
        "max_wal_senders is 0",
        "no replication slot is free",
    ];
    refused(&stage.run_create(&[]), 1, &parts);
    stage.leaves_nothing().await;
    stage
        .restart_with(&[("wal_level", "replica"), ("max_wal_senders", "3"), ("max_replication_slots", "1")])
        .await;
    let primary = stage.cluster.primary.superuser().await;
    let slot = |name: &str| format!("SELECT pg_create_physical_replication_slot('{name}')");
    primary.batch_execute(&slot("other")).await.unwrap();
    refused(&stage.run_create(&[]), 1, &["no replication slot is free", "max_replication_slots is 1"]);
    primary.batch_execute("SELECT pg_drop_replication_slot('other')").await.unwrap();
    primary.batch_execute(&slot("highwater_r1")).await.unwrap();
    refused(
        &stage.run_create(&[]),
        1,
        &["a physical slot highwater_r1 that this command did not make", "--slot"],
    );
    primary.batch_execute("SELECT pg_drop_replication_slot('highwater_r1')").await.unwrap();
    stage.create(&[]);
}

#[tokio::test]
async fn a_replica_of_a_replica_is_refused() {
    if direct() {
        return;
    }
    let stage = Stage::new().await;
    let other = Cluster::start(1).await;
    let dsn = format!("postgresql://postgres@127.0.0.1:{}/app", other.replica().port);
    refused(&stage.run_create(&["--primary", &dsn]), 1, &["is itself a replica", "name the primary"]);
    stage.create(&[]);
    let dsn = format!("postgresql://postgres@127.0.0.1:{}/app", other.primary.port);
    refused(
        &stage.run_create(&["--primary", &dsn]),
        2,
        &["r1 was made from", "highwater replica remove r1 first"],
    );
}

#[tokio::test]
async fn a_removal_touches_nothing_where_another_server_than_its_primary_answers() {
    if direct() {
        return;
    }
    let stage = Stage::new().await;
    stage.create(&[]);
    let primary = stage.cluster.primary.superuser().await;
    let slots = async || -> i64 {
        let text = "SELECT count(*) FROM pg_replication_slots WHERE slot_name = 'highwater_r1'";
        primary.query_one(text, &[]).await.unwrap().get(0)
    };
    // A replica has no slot to drop: that would count as done, and the slot would keep WAL on the primary for ever.
    let itself = format!("postgresql://postgres@127.0.0.1:{}/app", stage.port);
    let words = ["is itself a replica", "nothing was removed"];
    refused(&stage.run(&["remove", "r1", "--primary", &itself]), 2, &words);
    // A slot of this name on another system is somebody else's.
    let record = stage.home().join("highwater-replica.json");
    let right = fs::read_to_string(&record).unwrap();
    let said: serde_json::Value = serde_json::from_str(&right).unwrap();
    let system = said["system"].as_str().expect("the record has the system identifier");
    fs::write(&record, right.replace(system, "7000000000000000001")).unwrap();
    let words = ["r1 was made from the system 7000000000000000001", "nothing was removed"];
    refused(&stage.run(&["remove", "r1"]), 2, &words);
    refused(&stage.run(&["remove", "r1", "--primary", &stage.dsn()]), 2, &words);
    assert_eq!((slots().await, stage.postmaster().is_some()), (1, true));
    let forced = stage.run(&["remove", "r1", "--primary", &stage.dsn(), "--force"]);
    refused(&forced, 0, &["pg_drop_replication_slot('highwater_r1')", "replica r1 is removed"]);
    assert_eq!(slots().await, 1, "what is another system's stays");
}

#[tokio::test]
async fn a_rate_that_pg_basebackup_would_refuse_is_told_before_anything_is_made() {
    if direct() {
        return;
    }
    let stage = Stage::new().await;
    refused(&stage.run_create(&["--max-rate", "lots"]), 2, &["--max-rate", "32k to 1024M"]);
    stage.leaves_nothing().await;
}

#[tokio::test]
async fn what_is_in_the_way_here_is_told_and_not_touched() {
    if direct() {
        return;
    }
    let stage = Stage::new().await;
    let listener = std::net::TcpListener::bind(("127.0.0.1", stage.port)).unwrap();
    refused(
        &stage.run_create(&[]),
        1,
        &[&format!("port {} on 127.0.0.1", stage.port), "is in use by", "--port"],
    );
    drop(listener);
    refused(&stage.run_create(&["--listen", "nowhere"]), 2, &["--listen nowhere is no address"]);
    let full = stage.owned_directory("taken");
    fs::write(full.join("precious"), "data").unwrap();
    refused(&stage.run_create(&["--dir", full.to_str().unwrap()]), 2, &["did not make", "--dir"]);
    assert_eq!(fs::read_to_string(full.join("precious")).unwrap(), "data");
    refused(&stage.run_create(&["--unit-dir", "/no/such"]), 2, &["--unit-dir /no/such is no directory"]);
    refused(&stage.run_create(&["--nodes-file", "/no/such/nodes"]), 2, &["--nodes-file /no/such/nodes"]);
    let other = stage.owned_directory("other-version");
    fake_postgres(&other, "13.5");
    refused(
        &stage.run_create(&["--pg-bin", other.to_str().unwrap()]),
        3,
        &["a replica must run the same major version; here is: 13.5", "apt-get install postgresql-"],
    );
    stage.leaves_nothing().await;
}

fn fake_postgres(directory: &Path, version: &str) {
    let program = directory.join("postgres");
    fs::write(&program, format!("#!/bin/sh\necho 'postgres (PostgreSQL) {version}'\n")).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
}

/// On a disk of its own with so little room.
fn on_a_disk_of(stage: &Stage, megabytes: u32, dsn: &str) -> Option<Output> {
    let place = stage.owned_directory("small");
    let mounts = format!("mount -t tmpfs -o size={megabytes}m,mode=755 tmpfs '{}'", place.display());
    let directory = place.join("r1").display().to_string();
    stage.run_with_mounts(&mounts, &stage.creation(&["--dir", &directory, "--primary", dsn]))
}

#[tokio::test]
async fn a_disk_that_is_too_small_is_told_before_or_when_it_is_full() {
    if direct() {
        return;
    }
    let stage = Stage::new().await;
    let Some(before) = on_a_disk_of(&stage, 30, &stage.dsn()) else { return };
    refused(&before, 1, &["MB free, and the copy needs about", "--dir"]);
    stage.leaves_nothing().await;
    // Who may not see how large a database is finds out when the disk is full.
    let primary = stage.cluster.primary.superuser().await;
    let blind =
        "CREATE ROLE rep LOGIN REPLICATION PASSWORD 'right'; REVOKE CONNECT ON DATABASE app FROM PUBLIC";
    primary.batch_execute(blind).await.unwrap();
    stage.allow("host replication rep 127.0.0.1/32 scram-sha-256").await;
    let dsn = format!("postgresql://rep:right@127.0.0.1:{}/postgres", stage.cluster.primary.port);
    let output = on_a_disk_of(&stage, 12, &dsn).expect("it was possible before");
    refused(&output, 1, &["the disk that holds", "is full", "nothing was left behind"]);
    stage.leaves_nothing().await;
}
