//! The admin console, the probes and the metrics of a running router.

use crate::harness::raw::{Raw, column, sqlstates, tags, values};
use crate::harness::template::{APP_PASSWORD, OTHER_PASSWORD};
use crate::harness::{Cluster, Router, Settings, direct, shared, wait_for};
use std::time::Duration;

#[tokio::test]
async fn the_console_shows_nodes_pools_clients_servers_stats_and_version() {
    let fixture = shared().await;
    if fixture.router().is_none() {
        return;
    }
    let mut app = fixture.raw();
    app.query("SELECT 1");
    let mut console = Raw::login(fixture.port(), "app", APP_PASSWORD, "highwater");
    for subject in [
        "NODES",
        "POOLS",
        "CLIENTS",
        "SERVERS",
        "STATS",
        "DATABASES",
        "LISTS",
        "CONFIG",
        "ROUTES",
        "FRESHNESS",
    ] {
        let answer = console.query(&format!("SHOW {subject}"));
        assert!(sqlstates(&answer).is_empty(), "SHOW {subject}: {answer:?}");
        assert!(answer.iter().any(|message| message.tag == b'D'), "SHOW {subject} has rows: {answer:?}");
        assert_eq!(answer.last().unwrap().body, b"I");
    }
    let version = console.query("SHOW VERSION");
    assert!(values(&version)[0].contains("Highwater"), "{version:?}");
    let nodes = console.query("SHOW NODES");
    let rows = nodes.iter().filter(|message| message.tag == b'D').count();
    assert_eq!(rows, 2, "{nodes:?}");
    assert_eq!(column(&console.query("SHOW POOLS"), "database"), "app");
    assert_eq!(sqlstates(&console.query("SHOW NOTHING_SUCH")).len(), 1);
    assert_eq!(tags(&console.query("SHOW VERSION")), "T D C ZI");
}

#[tokio::test]
async fn the_console_is_there_under_the_name_of_pgbouncer_too_and_not_for_everybody() {
    let fixture = shared().await;
    if fixture.router().is_none() {
        return;
    }
    let mut console = Raw::login(fixture.port(), "app", APP_PASSWORD, "pgbouncer");
    assert!(sqlstates(&console.query("SHOW POOLS;")).is_empty());
    let mut stranger = Raw::connect(fixture.port());
    let asked = [("user", "other"), ("database", "pgbouncer")];
    stranger.send(&crate::harness::raw::startup(0x0003_0000, &asked));
    if stranger.authenticate(OTHER_PASSWORD).is_ok() {
        assert_eq!(sqlstates(&stranger.query("SHOW POOLS")), ["42501"], "logged in, and not allowed to look");
    }
}

#[tokio::test]
async fn the_probes_and_the_metrics_answer() {
    let fixture = shared().await;
    let Some(router) = fixture.router() else { return };
    fixture.raw().query("SELECT 1");
    assert_eq!(router.get("/livez").unwrap().0, 200);
    assert_eq!(router.get("/readyz").unwrap().0, 200);
    assert_eq!(router.get("/nothing").unwrap().0, 404);
    let (status, metrics) = router.get("/metrics").unwrap();
    assert_eq!(status, 200);
    for line in metrics.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line:?} is no sample"));
        assert!(name.starts_with("highwater_"), "{line}");
        assert!(value.parse::<f64>().is_ok(), "{line}");
    }
    for name in [
        "highwater_decisions_total{reason=\"fresh_replica\"}",
        "highwater_reads_total{role=\"replica\"}",
        "highwater_node_staleness_seconds",
        "highwater_node_role",
        "highwater_pool_backends_idle",
        "highwater_request_duration_seconds_bucket",
        "highwater_wait_duration_seconds_count",
    ] {
        assert!(metrics.contains(name), "{name} is missing");
    }
}

#[tokio::test]
async fn readyz_follows_the_primary_and_livez_does_not() {
    if direct() {
        return;
    }
    let cluster = Cluster::start(1).await;
    let router = Router::start(&cluster, Settings::default()).await;
    cluster.primary.stop();
    let answers = async |wanted: u16| router.get("/readyz").is_some_and(|(status, _)| status == wanted);
    wait_for("readyz to say no", Duration::from_secs(30), async || answers(503).await).await;
    assert_eq!(router.get("/livez").unwrap().0, 200);
    cluster.primary.start().await;
    wait_for("readyz to say yes", Duration::from_secs(30), async || answers(200).await).await;
    let client = router.connect("app").await;
    client.batch_execute("CREATE TABLE after (id int)").await.unwrap();
}

#[tokio::test]
async fn no_password_is_ever_in_the_log_or_the_metrics() {
    let fixture = shared().await;
    let Some(router) = fixture.router() else { return };
    fixture.raw().query("SELECT 1");
    let mut console = Raw::login(fixture.port(), "app", APP_PASSWORD, "highwater");
    let shown = format!("{:?}{:?}", console.query("SHOW CONFIG"), console.query("SHOW USERS"));
    let metrics = router.get("/metrics").unwrap().1;
    for text in [router.log(), metrics, shown] {
        assert!(!text.contains(APP_PASSWORD) && !text.contains("monitor secret"), "a password is shown");
    }
}
