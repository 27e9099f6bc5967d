//! Nodes from Patroni: a scripted REST API for odd answers, and a real cluster of three with etcd.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::discover::{cluster_of, metric, nodes_become, nodes_of};
use crate::harness::cluster::Node;
use crate::harness::patroni::{Member, Patroni};
use crate::harness::raw::{Raw, sqlstates, values};
use crate::harness::router::{configuration_of, connect, write_private};
use crate::harness::stub::Stub;
use crate::harness::template::APP_PASSWORD;
use crate::harness::{Cluster, Router, Settings, alone, direct, free_port, full, wait_for};

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

/// What came of a writer's writes.
#[derive(Default)]
struct Written {
    acknowledged: Vec<i64>,
    /// SQLSTATEs of those that were not, with their rows.
    refused: Vec<(i64, String)>,
    /// Longest time from one acknowledgement to the next.
    gap: Duration,
}

/// Writers and a reader in a thread of their own, so that nothing the test does holds them up.
struct Clients {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<(Vec<Written>, (u64, Duration))>,
}

impl Clients {
    fn start(port: u16, writers: i64) -> Clients {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let writers: Vec<_> = (1..=writers)
                    .map(|number| tokio::spawn(write(port, number, Arc::clone(&told))))
                    .collect();
                let read = read(port, Arc::clone(&told)).await;
                let mut written = Vec::new();
                for writer in writers {
                    written.push(writer.await.unwrap());
                }
                (written, read)
            })
        });
        Clients { stop, thread }
    }

    /// What came of it all.
    fn end(self) -> (Vec<Written>, (u64, Duration)) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// Writes one row after the other until it is told to stop, and notes what came of each.
async fn write(port: u16, number: i64, stop: Arc<AtomicBool>) -> Written {
    let mut written = Written::default();
    let mut client = connect(port, "app").await;
    let mut last = Instant::now();
    for count in 0_i64.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let row = number * 1_000_000 + count;
        match client.simple_query(&format!("INSERT INTO written VALUES ({row})")).await {
            Ok(_) => {
                written.acknowledged.push(row);
                written.gap = written.gap.max(last.elapsed());
                last = Instant::now();
            }
            Err(error) => {
                let code = error.code().map_or_else(|| error.to_string(), |code| code.code().to_owned());
                written.refused.push((row, code));
                if client.is_closed() {
                    client = connect(port, "app").await;
                }
            }
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    written
}

/// Reads until it is told to stop; how often, and the longest time from one answer to the next. No read may fail.
async fn read(port: u16, stop: Arc<AtomicBool>) -> (u64, Duration) {
    let client = connect(port, "app").await;
    let (mut reads, mut gap, mut last) = (0, Duration::ZERO, Instant::now());
    while !stop.load(Ordering::Relaxed) {
        let read = client.simple_query("SELECT count(*) FROM written").await;
        assert!(read.is_ok(), "a read failed: {read:?}");
        (reads, gap, last) = (reads + 1, gap.max(last.elapsed()), Instant::now());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    (reads, gap)
}

/// A table to write to, which the router finds when it comes, and a router on the Patroni cluster.
async fn router_on(patroni: &Patroni, settings: Settings) -> Router {
    let client = patroni.leader().superuser("app").await;
    client
        .batch_execute("CREATE TABLE written (row bigint); ALTER TABLE written OWNER TO app")
        .await
        .unwrap();
    let (port, http) = (free_port(), free_port());
    let config = patroni.home().join("router.toml");
    write_private(&config, &configuration_of(&patroni.discover(), &settings, port, http));
    let router = Router::start_from(&config, port, http).await;
    wait_for("reads of the table on a replica", PATIENCE, async || {
        let mut raw = Raw::login(port, "app", APP_PASSWORD, "app");
        raw.query("SELECT count(*) FROM written");
        raw.route().0 == "replica"
    })
    .await;
    router
}

async fn roles_become(router: &Router, primary: &str, replicas: usize) {
    let what = format!("{primary} to be the primary, with {replicas} replicas");
    wait_for(&what, PATIENCE, async || {
        let nodes = nodes_of(router);
        let is = |role: &str| nodes.iter().filter(|(_, seen)| seen == role).count();
        nodes.contains(&(primary.to_owned(), "primary".to_owned())) && is("replica") == replicas
    })
    .await;
}

/// What was acknowledged is there, and what was not kept (40001) is not.
async fn nothing_is_lost(leader: &Member, written: &[Written]) {
    let client = leader.superuser("app").await;
    let rows = client.query("SELECT row FROM written", &[]).await.unwrap();
    let there: BTreeSet<i64> = rows.iter().map(|row| row.get(0)).collect();
    for written in written {
        assert!(written.acknowledged.iter().all(|row| there.contains(row)), "an acknowledged write is lost");
        let kept = |(row, code): &&(i64, String)| code == "40001" && there.contains(row);
        assert_eq!(written.refused.iter().find(kept), None, "kept, though the client may run it again");
    }
}

fn refusals(written: &[Written]) -> Vec<&str> {
    written.iter().flat_map(|written| &written.refused).map(|(_, code)| code.as_str()).collect()
}

#[tokio::test]
async fn a_planned_switchover_of_a_real_patroni_cluster_holds_writes_and_loses_none() {
    if direct() {
        return;
    }
    let _alone = alone().await;
    let Some(patroni) = Patroni::start(3).await else { return };
    let router = router_on(&patroni, Settings::default()).await;
    let (leader, others) = patroni.names();
    roles_become(&router, &leader, 2).await;
    let clients = Clients::start(router.port, 8);
    wait_for("some writes", PATIENCE, async || {
        let client = patroni.leader().superuser("app").await;
        client.query_one("SELECT count(*) FROM written", &[]).await.unwrap().get::<_, i64>(0) > 300
    })
    .await;
    let (api, from, to) = (patroni.leader().api, leader.clone(), others[0].clone());
    let answer = tokio::task::spawn_blocking(move || Member::switch_over(api, &from, &to)).await.unwrap();
    assert!(answer.contains(" 200 "), "{answer}");
    roles_become(&router, &others[0], 2).await;
    patroni.settled().await;
    let (written, (reads, read_gap)) = clients.end();
    let gap = written.iter().map(|written| written.gap).max().unwrap_or_default();
    let count: usize = written.iter().map(|written| written.acknowledged.len()).sum();
    let codes = refusals(&written);
    println!(
        "switchover: {count} writes, longest gap {gap:?}, not acknowledged {codes:?}; {reads} reads, longest gap {read_gap:?}"
    );
    // One statement of each writer can have been under way when the server ended it, and one more on a backend that it had
    // not ended yet.
    assert!(codes.len() <= 16 && codes.iter().all(|code| ["40001", "40003"].contains(code)), "{codes:?}");
    // How long Patroni takes is the machine's affair, which on a busy one says nothing.
    assert!(!full() || gap < Duration::from_secs(20), "writes were held for {gap:?}");
    nothing_is_lost(patroni.leader(), &written).await;
}

#[tokio::test]
async fn the_loss_of_a_real_patroni_leader_is_followed_as_soon_as_patroni_names_another() {
    if direct() || !full() {
        return;
    }
    let _alone = alone().await;
    let Some(mut patroni) = Patroni::start(3).await else { return };
    // The lease runs for 20 s, in which nobody is known to take writes, while replicas stay as fresh as they were.
    let settings = Settings { max_staleness: "120s", wait: "120s", ..Settings::default() };
    let router = router_on(&patroni, settings).await;
    let (leader, _) = patroni.names();
    roles_become(&router, &leader, 2).await;
    let clients = Clients::start(router.port, 4);
    wait_for("some writes", PATIENCE, async || {
        let client = patroni.leader().superuser("app").await;
        client.query_one("SELECT count(*) FROM written", &[]).await.unwrap().get::<_, i64>(0) > 300
    })
    .await;
    let killed = Instant::now();
    patroni.members.iter_mut().find(|member| member.name == leader).expect("it is one of them").kill();
    wait_for("another primary", PATIENCE, async || {
        nodes_of(&router).iter().any(|(name, role)| role == "primary" && *name != leader)
    })
    .await;
    let followed = killed.elapsed();
    wait_for("a write to go through", PATIENCE, async || {
        connect(router.port, "app").await.simple_query("INSERT INTO written VALUES (0)").await.is_ok()
    })
    .await;
    let (written, (reads, read_gap)) = clients.end();
    let gap = written.iter().map(|written| written.gap).max().unwrap_or_default();
    let codes = refusals(&written);
    println!(
        "loss of the leader: another primary after {followed:?}, longest gap of writes {gap:?}, not acknowledged {codes:?}; {reads} reads, longest gap {read_gap:?}"
    );
    assert!(codes.len() <= 8 && codes.iter().all(|code| ["40001", "40003"].contains(code)), "{codes:?}");
    assert!(followed < Duration::from_secs(60), "{followed:?}");
}
