//! Nodes from Patroni: a scripted REST API for odd answers, and a real cluster of three with etcd.

use std::time::Duration;

use serde_json::json;

use crate::discover::{cluster_of, metric, nodes_become, nodes_of};
use crate::harness::cluster::Node;
use crate::harness::raw::{Raw, sqlstates, values};
use crate::harness::stub::Stub;
use crate::harness::template::APP_PASSWORD;
use crate::harness::{Cluster, Router, Settings, direct, wait_for};

const PATIENCE: Duration = Duration::from_secs(60);

/// A member as `GET /cluster` lists it.
fn member(name: &str, node: &Node, role: &str) -> serde_json::Value {
    let url = "http://127.0.0.1:1/patroni";
    json!({"name": name, "role": role, "state": "running", "api_url": url, "host": "127.0.0.1", "port": node.port,
           "timeline": 1, "lag": 0})
}

fn settings(stub: &Stub, more: &str) -> Settings {
    let api = format!("http://127.0.0.1:{}", stub.port);
    let nodes =
        format!("discover = {{ patroni = [\"{api}\"], every = \"100ms\", leave_after = \"300ms\" {more} }}");
    Settings { nodes: Some(nodes), ..Settings::default() }
}

/// The system identifier of a cluster.
async fn system(node: &Node) -> u64 {
    let asked = "SELECT system_identifier::text FROM pg_control_system()";
    let row = node.superuser().await.query_one(asked, &[]).await.unwrap();
    row.get::<_, &str>(0).parse().unwrap()
}

#[tokio::test]
async fn what_patroni_says_oddly_or_not_at_all_changes_nothing() {
    if direct() {
        return;
    }
    let cluster = Cluster::start(2).await;
    let (zero, one, two) = (&cluster.primary, &cluster.replicas[0], &cluster.replicas[1]);
    let all = json!({"members": [member("pg0", zero, "leader"), member("pg1", one, "replica"), member("pg2", two, "sync_standby")]});
    let stub = Stub::start();
    let ours = system(zero).await;
    let known = |system: u64| {
        json!({"state": "running", "database_system_identifier": system.to_string()}).to_string()
    };
    stub.says("/cluster", 200, &all.to_string());
    stub.says("/patroni", 200, &known(ours));
    let router = Router::start(&cluster, settings(&stub, "")).await;
    let expected = [("pg0", "primary"), ("pg1", "replica"), ("pg2", "replica")];
    nodes_become(&router, &expected).await;
    let says =
        |what: &str| cluster_of(&router)["discovery"]["error"].as_str().is_some_and(|e| e.contains(what));
    let mut writer = Raw::login(router.port, "app", APP_PASSWORD, "app");
    let foreign = json!({"members": [member("pg9", two, "leader")]}).to_string();
    for (status, body, system, why) in [
        (503, all.to_string(), ours, "answered with status 503"),
        (200, "{\"members\": [".to_owned(), ours, "not JSON"),
        (200, "{\"members\": []}".to_owned(), ours, "no node is named"),
        (200, foreign, ours + 1, "another cluster"),
    ] {
        stub.says("/patroni", 200, &known(system));
        stub.says("/cluster", status, &body);
        wait_for(&format!("the status to say {why:?}"), PATIENCE, async || says(why)).await;
        nodes_become(&router, &expected).await;
        assert!(sqlstates(&writer.query("CREATE TABLE IF NOT EXISTS t ()")).is_empty(), "{why}");
    }
    stub.sends("/cluster", b"SSH-2.0-OpenSSH\r\n");
    wait_for("the status to say so", PATIENCE, async || says("does not speak HTTP")).await;
    stub.hangs("/cluster");
    wait_for("the status to say so", PATIENCE, async || says("no answer within 1 s")).await;
    assert_eq!(metric(&router, "highwater_discovery_up{cluster=\"main\"}"), Some(0.0));
    assert!(sqlstates(&writer.query("CREATE TABLE IF NOT EXISTS t ()")).is_empty());
    nodes_become(&router, &expected).await;
}

#[tokio::test]
async fn reads_are_kept_away_from_a_member_that_asks_for_it_and_one_that_is_gone_leaves() {
    if direct() {
        return;
    }
    let cluster = Cluster::start(2).await;
    let (zero, one, two) = (&cluster.primary, &cluster.replicas[0], &cluster.replicas[1]);
    let mut spared = member("pg1", one, "replica");
    spared["tags"] = json!({"noloadbalance": true, "nofailover": true});
    let stub = Stub::start();
    stub.says("/patroni", 200, "{}");
    stub.says(
        "/cluster",
        200,
        &json!({"members": [member("pg0", zero, "leader"), spared, member("pg2", two, "replica")]})
            .to_string(),
    );
    let router = Router::start(&cluster, settings(&stub, "")).await;
    nodes_become(&router, &[("pg0", "primary"), ("pg1", "replica"), ("pg2", "replica")]).await;
    for _ in 0..20 {
        let mut raw = Raw::login(router.port, "app", APP_PASSWORD, "app");
        let port: u16 = values(&raw.query("SELECT current_setting('port')"))[0].parse().unwrap();
        assert_ne!(port, one.port, "it asked for no reads");
    }
    stub.says(
        "/cluster",
        200,
        &json!({"members": [member("pg0", zero, "leader"), member("pg1", one, "replica")]}).to_string(),
    );
    nodes_become(&router, &[("pg0", "primary"), ("pg1", "replica")]).await;
    wait_for("reads on the one that does not ask for it any more", PATIENCE, async || {
        let mut raw = Raw::login(router.port, "app", APP_PASSWORD, "app");
        values(&raw.query("SELECT current_setting('port')")) == [one.port.to_string()]
    })
    .await;
}

#[tokio::test]
async fn a_promoted_node_takes_writes_only_when_patroni_names_it() {
    if direct() {
        return;
    }
    let cluster = Cluster::start(1).await;
    let (old, new) = (&cluster.primary, cluster.replica());
    let named = |leader: &str| {
        let role = |name: &str| if name == leader { "leader" } else { "replica" };
        json!({"members": [member("pg0", old, role("pg0")), member("pg1", new, role("pg1"))]}).to_string()
    };
    let stub = Stub::start();
    stub.says("/patroni", 200, "{}");
    stub.says("/cluster", 200, &named("pg0"));
    let router = Router::start(&cluster, settings(&stub, "")).await;
    nodes_become(&router, &[("pg0", "primary"), ("pg1", "replica")]).await;
    old.crash();
    new.superuser().await.batch_execute("SELECT pg_promote()").await.unwrap();
    // It takes writes, on a higher timeline, and the old one is gone: but nobody has named it.
    wait_for("the promoted node to be fenced", PATIENCE, async || {
        nodes_of(&router).contains(&("pg1".to_owned(), "fenced".to_owned()))
    })
    .await;
    assert_eq!(router.get("/readyz").unwrap().0, 503);
    let port = router.port;
    let write = std::thread::spawn(move || {
        Raw::login(port, "app", APP_PASSWORD, "app").query("CREATE TABLE held ()")
    });
    stub.says("/cluster", 200, &named("pg1"));
    assert!(sqlstates(&write.join().unwrap()).is_empty(), "it was held, not refused");
    // The old one comes back, and is named by somebody who has not heard the news.
    stub.says("/cluster", 200, &named("pg0"));
    old.start().await;
    nodes_become(&router, &[("pg0", "fenced"), ("pg1", "primary")]).await;
}
