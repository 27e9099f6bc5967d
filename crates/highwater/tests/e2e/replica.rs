//! `highwater replica` on a real primary: made, listed, promoted, removed; refused with one sentence; interrupted anywhere.

mod interrupted;
mod promoted;
mod refused;
mod served;
mod stage;

use stage::{PATIENCE, Stage, Under, text};

use crate::harness::router::connect;
use crate::harness::{direct, full, left_out, wait_for};

#[tokio::test]
async fn a_replica_is_made_under_load_streams_and_proves_its_lag() {
    if direct() {
        return;
    }
    let stage = Stage::new().await;
    let load = Under::load(&stage).await;
    let said = stage.create(&[]);
    assert!(said.contains("lag: 9 commits on the primary were shown here after"), "{said}");
    assert!(said.contains(&format!("replica r1 streams at 127.0.0.1:{}", stage.port)), "{said}");
    let written = load.end().await;
    let replica = connect(stage.port, "app").await;
    wait_for("every row to be on the replica", PATIENCE, async || {
        let row = replica.query_one("SELECT count(*), pg_is_in_recovery() FROM load", &[]).await.unwrap();
        (row.get::<_, i64>(0), row.get::<_, bool>(1)) == (written, true)
    })
    .await;
    assert!(written > 0, "there was no load");
    let parity = "SELECT current_setting('max_connections') || current_setting('max_prepared_transactions') \
                  || current_setting('hot_standby_feedback') || current_setting('max_standby_streaming_delay')";
    let row = replica.query_one(parity, &[]).await.unwrap();
    assert_eq!(row.get::<_, String>(0), "1505on5s");
    let listed = stage.listed();
    assert_eq!((&listed[0]["name"], &listed[0]["streaming"]), (&"r1".into(), &true.into()), "{listed}");
    assert_eq!(listed[0]["on_primary"]["slot"], "active", "{listed}");
    // What is here is shown although the primary can't be asked, which is said too.
    let alone = stage.run(&["list", "--primary", "postgresql://u@127.0.0.1:1/postgres"]);
    assert_eq!(alone.status.code(), Some(4));
    assert!(String::from_utf8_lossy(&alone.stdout).contains("r1"), "{alone:?}");
    let nodes = std::fs::read_to_string(stage.nodes_file()).unwrap();
    assert!(nodes.contains(&format!("127.0.0.1:{} r1\n", stage.port)), "{nodes}");
    assert!(nodes.contains(&format!("127.0.0.1:{}\n", stage.cluster.primary.port)), "{nodes}");
    drop(replica);
    stage.remove();
    stage.leaves_nothing().await;
}

#[tokio::test]
async fn a_dry_run_shows_the_plan_and_changes_nothing() {
    if direct() {
        return;
    }
    let stage = Stage::new().await;
    let output = stage.run_create(&["--dry-run", "--own-role"]);
    let said = text(&output);
    assert!(output.status.success(), "{said}");
    for part in
        ["role highwater_r1", "slot highwater_r1", "pg_basebackup (about", "highwater-replica-r1.service"]
    {
        assert!(said.contains(part), "{part}: {said}");
    }
    stage.leaves_nothing().await;
    assert!(!stage.nodes_file().exists());
}

#[tokio::test]
async fn the_same_command_again_changes_nothing_and_a_changed_one_is_carried_out() {
    if direct() {
        return;
    }
    let mut stage = Stage::new().await;
    stage.create(&[]);
    let before = stage.postmaster();
    stage.create(&[]);
    assert_eq!(stage.postmaster(), before, "the server was not to be touched");
    stage.port = crate::harness::free_port();
    stage.create(&[]);
    assert_ne!(stage.postmaster(), before);
    connect(stage.port, "app").await.batch_execute("SELECT 1").await.unwrap();
    let nodes = std::fs::read_to_string(stage.nodes_file()).unwrap();
    assert_eq!(nodes.matches(" r1").count(), 1, "{nodes}");
    let (units, other) = (stage.owned_directory("other-units"), stage.cluster.home().join("other-nodes"));
    stage.create(&["--unit-dir", units.to_str().unwrap(), "--nodes-file", other.to_str().unwrap()]);
    let nodes = std::fs::read_to_string(stage.nodes_file()).unwrap();
    assert!(!nodes.contains("r1") && other.exists(), "the line moves: {nodes}");
    assert_eq!(std::fs::read_dir(stage.units()).unwrap().count(), 0, "the unit moves");
    stage.create(&["--no-unit"]);
    assert_eq!(std::fs::read_dir(&units).unwrap().count(), 0, "the unit goes");
    stage.remove();
    assert!(!std::fs::read_to_string(&other).unwrap().contains("r1"));
    stage.leaves_nothing().await;
}

/// By its Unix socket, as on the machine of the primary; a router is told TCP all the same.
#[tokio::test]
async fn a_primary_is_reached_by_its_unix_socket_too() {
    if direct() {
        return;
    }
    let stage = Stage::new().await;
    let (socket, port) = (stage.cluster.home().display(), stage.cluster.primary.port);
    let dsn = format!("host={socket} port={port} user=postgres dbname=app");
    let said = stage.create(&["--primary", &dsn]);
    assert!(said.contains("streams at"), "{said}");
    let nodes = std::fs::read_to_string(stage.nodes_file()).unwrap();
    assert!(nodes.contains(&format!("127.0.0.1:{port}\n")), "{nodes}");
    let output = stage.run(&["remove", "r1"]);
    assert!(output.status.success(), "{}", text(&output));
    stage.leaves_nothing().await;
}

#[tokio::test]
async fn a_role_of_its_own_replicates_with_a_password_that_only_postgresql_reads() {
    use std::os::unix::fs::MetadataExt as _;
    if direct() {
        return;
    }
    let stage = Stage::new().await;
    stage.allow("host replication highwater_r1 127.0.0.1/32 scram-sha-256").await;
    stage.create(&["--own-role"]);
    let primary = stage.cluster.primary.superuser().await;
    let row = primary.query_one("SELECT usename::text FROM pg_stat_replication", &[]).await.unwrap();
    assert_eq!(row.get::<_, String>(0), "highwater_r1");
    let home = stage.home();
    let (passfile, data) = (home.join("passfile").metadata().unwrap(), home.join("data").metadata().unwrap());
    assert_eq!((passfile.mode() & 0o777, data.mode() & 0o777), (0o600, 0o700));
    assert_eq!(passfile.uid(), data.uid());
    let password = std::fs::read_to_string(home.join("passfile")).unwrap();
    let password = password.trim().rsplit(':').next().unwrap();
    let conf = std::fs::read_to_string(home.join("data/postgresql.conf")).unwrap();
    assert!(!conf.contains(password) && conf.contains("passfile="), "the password is in the passfile only");
    // The user of the DSN may not be known again: then nothing is removed.
    let output = stage.run(&["remove", "r1", "--primary", "postgresql://nobody:x@127.0.0.1:1/app"]);
    assert_eq!(output.status.code(), Some(4), "{}", text(&output));
    assert!(text(&output).contains("SELECT pg_drop_replication_slot('highwater_r1')"), "{}", text(&output));
    assert!(stage.postmaster().is_some(), "it still runs");
    stage.remove();
    stage.leaves_nothing().await;
}

/// As Debian keeps its clusters: no settings in the data directory. And a tablespace outside of it.
#[tokio::test]
async fn a_primary_with_its_files_elsewhere_and_a_tablespace_is_copied_whole() {
    if direct() {
        return;
    }
    let stage = Stage::new().await;
    stage.settings_elsewhere().await;
    let place = stage.owned_directory("space");
    let primary = stage.cluster.primary.superuser().await;
    primary.batch_execute(&format!("CREATE TABLESPACE s LOCATION '{}'", place.display())).await.unwrap();
    primary.batch_execute("CREATE TABLE far (i int) TABLESPACE s; INSERT INTO far VALUES (7)").await.unwrap();
    primary.batch_execute("GRANT SELECT ON far TO app").await.unwrap();
    stage.create(&[]);
    let replica = connect(stage.port, "app").await;
    let row = replica.query_one("SELECT i, current_setting('max_connections') FROM far", &[]).await.unwrap();
    assert_eq!((row.get(0), row.get(1)), (7, "150"));
    let conf = std::fs::read_to_string(stage.home().join("data/postgresql.conf")).unwrap();
    assert!(conf.contains("shared_preload_libraries = pg_stat_statements\n"), "{conf}");
    drop(replica);
    stage.remove();
    stage.leaves_nothing().await;
}

/// What is lost with its slot is copied anew by the same command.
#[tokio::test]
async fn a_replica_whose_slot_is_gone_is_copied_anew() {
    if direct() {
        return;
    }
    let stage = Stage::new().await;
    stage.create(&[]);
    let primary = stage.cluster.primary.superuser().await;
    stage.stop_server().await;
    wait_for("the slot to be free", PATIENCE, async || {
        primary.query_one("SELECT pg_drop_replication_slot('highwater_r1')", &[]).await.is_ok()
    })
    .await;
    primary.batch_execute("CREATE TABLE after_it (i int); GRANT SELECT ON after_it TO app").await.unwrap();
    let said = stage.create(&[]);
    assert!(said.contains("copying the primary"), "{said}");
    connect(stage.port, "app").await.batch_execute("SELECT FROM after_it").await.unwrap();
}

/// A record of a copy is no copy.
#[tokio::test]
async fn a_replica_whose_data_was_taken_away_is_copied_anew() {
    if direct() {
        return;
    }
    let stage = Stage::new().await;
    stage.create(&[]);
    stage.stop_server().await;
    std::fs::remove_dir_all(stage.home().join("data")).unwrap();
    let said = stage.create(&[]);
    assert!(said.contains("copying the primary"), "{said}");
    stage.remove();
    stage.leaves_nothing().await;
}

/// A replica that died is started again by the same command.
#[tokio::test]
async fn a_replica_that_was_stopped_is_started_again_without_a_copy() {
    if direct() {
        return;
    }
    let stage = Stage::new().await;
    stage.create(&[]);
    stage.stop_server().await;
    let said = stage.create(&[]);
    assert!(!said.contains("copying the primary") && said.contains("starting the replica"), "{said}");
}

#[tokio::test]
async fn the_lag_of_an_idle_machine_is_below_ten_milliseconds() {
    if direct() || !full() {
        return;
    }
    let _alone = crate::harness::alone().await;
    let stage = Stage::new().await;
    let said = stage.create(&[]);
    let millis = said.split_once("shown here after ").and_then(|(_, rest)| rest.split_once(" ms")).unwrap().0;
    assert!(millis.parse::<f64>().unwrap() < 10.0, "{said}");
}

/// The majors that `scripts/fetch-postgres` has fetched, as far as a `pg_basebackup` is here that can copy them.
#[tokio::test]
async fn a_replica_runs_the_major_version_of_its_primary() {
    if direct() || !full() {
        return;
    }
    for installation in crate::harness::template::Installation::fetched() {
        let stage = Stage::on(&installation).await;
        let bin = installation.bin.to_str().unwrap();
        let output = stage.run_create(&["--pg-bin", bin]);
        if text(&output).contains("there is no pg_basebackup") {
            left_out(&format!("replicas of PostgreSQL {}: it has no pg_basebackup", installation.major));
            assert_eq!(output.status.code(), Some(3));
            continue;
        }
        assert!(output.status.success(), "{}: {}", installation.major, text(&output));
        stage.remove();
        stage.leaves_nothing().await;
    }
}
