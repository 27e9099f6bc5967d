//! A small round on every PostgreSQL that `scripts/fetch-postgres` fetches; part of the full run only.

use crate::harness::process::run;
use crate::harness::raw::{Raw, bind, execute, parse, sqlstates, sync, tags, values};
use crate::harness::template::{APP_PASSWORD, Installation};
use crate::harness::{Cluster, Router, Settings, alone, direct, full, wait_for};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

#[tokio::test]
async fn every_major_answers_alike() {
    if !full() {
        eprintln!("left out: HIGHWATER_TEST_FULL is not set");
        return;
    }
    let _alone = alone().await;
    // Does nothing for what is there already.
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/fetch-postgres");
    println!("{}", run(Command::new(script).env("HIGHWATER_POSTGRES_DIR", Installation::fetched_into())));
    let found = Installation::fetched();
    let majors: Vec<_> = found.iter().map(|one| one.major).collect();
    assert_eq!(majors, [14, 15, 16, 17, 18]);
    for installation in found {
        println!("PostgreSQL {}", installation.major);
        round(&installation).await;
    }
}

async fn round(installation: &Installation) {
    let cluster = Cluster::start_on(installation, 1).await;
    cluster.run("CREATE TABLE t (id int PRIMARY KEY, word text)").await;
    let router = if direct() { None } else { Some(Router::start(&cluster, Settings::default()).await) };
    let port = router.as_ref().map_or(cluster.primary.port, |router| router.port);
    let mut raw = Raw::login(port, "app", APP_PASSWORD, "app");
    assert!(raw.value("SHOW server_version").starts_with(&installation.major.to_string()));
    raw.send(
        &[
            parse("put", "INSERT INTO t VALUES ($1, $2)"),
            parse("ask", "SELECT word FROM t WHERE id = $1"),
            sync(),
        ]
        .concat(),
    );
    assert_eq!(tags(&raw.until_ready()), "1 1 ZI");
    for id in 1..=50 {
        let (id, word) = (id.to_string(), format!("word {id}"));
        raw.send(&[bind("", "put", &[Some(&id), Some(&word)]), execute("", 0), sync()].concat());
        raw.send(&[bind("", "ask", &[Some(&id)]), execute("", 0), sync()].concat());
        assert_eq!(tags(&raw.until_ready()), "2 C ZI");
        assert_eq!(values(&raw.until_ready()), [word]);
    }
    assert_eq!(tags(&raw.query("BEGIN")), "C ZT");
    assert_eq!(tags(&raw.query("DELETE FROM t")), "C ZT");
    assert_eq!(tags(&raw.query("ROLLBACK")), "C ZI");
    assert_eq!(sqlstates(&raw.query("SELECT no_such_column FROM t")), ["42703"]);
    assert_eq!(raw.query("COPY t TO STDOUT").iter().filter(|message| message.tag == b'd').count(), 50);
    if let Some(router) = &router {
        replication_is_seen(router).await;
        // Another session is promised nothing about what this one has just written.
        cluster.caught_up().await;
        wait_for("reads to reach the replica", Duration::from_secs(60), async || {
            let mut raw = Raw::login(port, "app", APP_PASSWORD, "app");
            assert_eq!(raw.value("SELECT count(*) FROM t"), "50");
            raw.route().0 == "replica"
        })
        .await;
        cluster.replica().stop();
        assert_eq!(raw.value("SELECT count(*) FROM t"), "50");
        let mut read_only = Raw::login(port, "app", APP_PASSWORD, "app_ro");
        assert_eq!(sqlstates(&read_only.query("DELETE FROM t")), ["25006"]);
    }
}

/// Each version's views tell what the router shows of a stream, a slot and conflicts.
async fn replication_is_seen(router: &Router) {
    let seen =
        || -> Option<serde_json::Value> { serde_json::from_str(&router.get("/api/v1/status")?.1).ok() };
    wait_for("replication to be seen", Duration::from_secs(60), async || {
        seen().is_some_and(|status| {
            let (node, slot) = (&status["nodes"][1], &status["clusters"][0]["slots"][0]);
            node["upstream"]["state"] == "streaming"
                && node["wal_receiver"]["slot"] == "n1"
                && node["write_lag_bytes"].is_u64()
                && node["conflicts"]["total"] == 0
                && node["connections"]["used"].is_u64()
                && (&slot["active"], &slot["lost"]) == (&true.into(), &false.into())
                && slot["retained_bytes"].is_u64()
        })
    })
    .await;
}
