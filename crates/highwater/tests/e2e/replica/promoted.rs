//! `promote`: refused while something speaks against it, and what follows from it.

use super::stage::{Stage, text};
use crate::harness::router::connect;
use crate::harness::{direct, wait_for};

#[tokio::test]
async fn a_replica_is_promoted_only_when_its_primary_is_gone() {
    if direct() {
        return;
    }
    let stage = Stage::new().await;
    stage.create(&[]);
    let refused = stage.run(&["promote", "r1"]);
    assert_eq!(refused.status.code(), Some(1), "{}", text(&refused));
    assert!(
        text(&refused).contains("split brain") && text(&refused).contains("--force"),
        "{}",
        text(&refused)
    );
    stage.cluster.primary.stop();
    wait_for("the promotion", super::PATIENCE, async || {
        // The WAL receiver may take a moment to notice.
        stage.run(&["promote", "r1"]).status.success()
    })
    .await;
    let client = connect(stage.port, "app").await;
    client.batch_execute("CREATE TABLE written_here (i int)").await.unwrap();
    let again = stage.run(&["promote", "r1"]);
    assert!(again.status.success(), "it is promoted already: {}", text(&again));
    assert!(text(&again).contains("the old primary at"), "{}", text(&again));
    let create = stage.run_create(&[]);
    assert_eq!(create.status.code(), Some(1), "{}", text(&create));
    assert!(text(&create).contains("has been promoted"), "{}", text(&create));
    let remove = stage.run(&["remove", "r1"]);
    assert_eq!(remove.status.code(), Some(1), "{}", text(&remove));
    client.batch_execute("SELECT FROM written_here").await.unwrap();
    drop(client);
    let forced = stage.run(&["remove", "r1", "--force"]);
    assert!(forced.status.success(), "{}", text(&forced));
    assert!(!stage.home().exists());
    stage.cluster.primary.start().await;
}

#[tokio::test]
async fn of_two_replicas_the_one_that_has_received_less_is_not_promoted() {
    if direct() {
        return;
    }
    let stage = Stage::new().await;
    stage.create(&[]);
    let port = crate::harness::free_port().to_string();
    stage.create(&["--name", "r2", "--port", &port]);
    stage.stop_server().await;
    stage.cluster.run("CREATE TABLE only_on_r2 (i int)").await;
    wait_for("r2 to have it", super::PATIENCE, async || {
        let client = connect(port.parse().unwrap(), "app").await;
        client.batch_execute("SELECT FROM only_on_r2").await.is_ok()
    })
    .await;
    stage.cluster.primary.stop();
    // Its own command starts it again only with the primary; systemd would without.
    start_alone(&stage).await;
    let refused = stage.run(&["promote", "r1"]);
    assert_eq!(refused.status.code(), Some(1), "{}", text(&refused));
    assert!(text(&refused).contains("the replica r2 of the same primary has received"), "{}", text(&refused));
    let right = stage.run(&["promote", "r2"]);
    assert!(right.status.success(), "{}", text(&right));
    stage.cluster.primary.start().await;
}

/// Starts the server of r1 as its unit would.
async fn start_alone(stage: &Stage) {
    let data = stage.home().join("data");
    let bin = crate::harness::template::Installation::default().bin;
    let mut command = crate::harness::template::as_postgres(&bin.join("postgres"));
    command.arg("-D").arg(&data).stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    let mut child = command.spawn().unwrap();
    wait_for("r1 to answer", super::PATIENCE, async || {
        assert!(child.try_wait().unwrap().is_none(), "it ended");
        crate::harness::router::try_connect(stage.port, "app").await.is_ok()
    })
    .await;
    std::mem::forget(child);
}
