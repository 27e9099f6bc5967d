//! Several worker threads share the pools: limits exact, nobody waits beside an idle backend, nothing of one client at another.

use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::harness::process::Signal;
use crate::harness::raw::{Raw, bind, execute, parse, query, sqlstates, sync, tags, values};
use crate::harness::router::{Router, write_private};
use crate::harness::template::APP_PASSWORD;
use crate::harness::{Cluster, Fixture, Settings, direct, wait_for};
use crate::pgbench;

/// A router with two workers; `None` when the tests run direct.
async fn start(pool_size: u32) -> Option<Fixture> {
    let settings = Settings { pool_size, workers: 2, ..Settings::default() };
    if direct() { None } else { Some(Fixture::start(settings).await) }
}

/// How many backends have been handed from one worker to another.
fn handed_over(router: &Router) -> u64 {
    let (_, text) = router.get("/metrics").expect("the router answers");
    let value = text.lines().find_map(|line| line.strip_prefix("highwater_handed_over_total "));
    value.and_then(|value| value.parse().ok()).expect("the metric is there")
}

/// The most backends of the role `app` that a node has seen while `running` says so.
async fn most_backends(node: tokio_postgres::Client, mut running: impl FnMut() -> bool) -> i64 {
    let asked =
        "SELECT count(*) FROM pg_stat_activity WHERE usename = 'app' AND backend_type = 'client backend'";
    let mut most = 0;
    wait_for("the end of what is watched", Duration::from_secs(120), async || {
        let now: i64 = node.query_one(asked, &[]).await.unwrap().get(0);
        most = most.max(now);
        !running()
    })
    .await;
    most
}

#[tokio::test]
async fn forty_clients_at_two_workers_share_exactly_three_backends() {
    let Some(fixture) = start(3).await else { return };
    pgbench::pgbench(&fixture, &["-i", "-q", "-s", "1"]);
    fixture.cluster.caught_up().await;
    // Not `prepared`: pgbench waits for a Parse with all clients of its thread, those who have the backends too.
    for script in ["tpcb-like", "select-only"] {
        let arguments = ["-n", "-c", "40", "-j", "2", "-T", "4", "-M", "extended", "-b", script];
        let mut command = pgbench::command(&fixture, &arguments);
        let mut running = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (primary, replica) = (&fixture.cluster.primary, fixture.cluster.replica());
        let (on_primary, on_replica) = {
            let mut ended = || running.try_wait().unwrap().is_some();
            let both = std::cell::Cell::new(true);
            futures_util::future::join(
                most_backends(primary.superuser().await, || {
                    both.set(!ended());
                    both.get()
                }),
                most_backends(replica.superuser().await, || both.get()),
            )
            .await
        };
        let output = running.wait_with_output().unwrap();
        let report = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && !errors.contains("ERROR"), "{report}{errors}");
        assert!(report.contains("number of failed transactions: 0"), "{report}");
        println!("{script}: {on_primary} backends on the primary, {on_replica} on the replica\n{report}");
        assert!(
            on_primary <= 3 && on_replica <= 3,
            "{on_primary} on the primary, {on_replica} on the replica"
        );
    }
    pgbench::consistent(&fixture).await;
}

#[tokio::test]
async fn a_backend_goes_to_the_worker_where_a_client_waits_with_the_right_statements() {
    let Some(fixture) = start(1).await else { return };
    let router = fixture.router().expect("not direct");
    // Clients are dealt to the workers in turn; the only backend of a node follows them.
    let mut clients: Vec<Raw> = (0..4).map(|_| fixture.raw()).collect();
    for (number, raw) in clients.iter_mut().enumerate() {
        raw.send(&[parse("s", &format!("SELECT 'of {number}'")), sync()].concat());
        assert_eq!(tags(&raw.until_ready()), "1 ZI");
    }
    let before = handed_over(router);
    let begin = Instant::now();
    for _ in 0..25 {
        for (number, raw) in clients.iter_mut().enumerate() {
            raw.send(&[bind("", "s", &[]), execute("", 0), sync()].concat());
            assert_eq!(values(&raw.until_ready()), [format!("of {number}")]);
        }
    }
    assert!(begin.elapsed() < Duration::from_secs(20), "nobody waits beside an idle backend");
    let handed_over = handed_over(router) - before;
    assert!(handed_over >= 25, "{handed_over} of 100 times the backend was at the other worker");
}

#[tokio::test]
async fn who_waits_for_a_replica_that_freezes_or_has_been_sent_there_is_served_by_the_primary() {
    let Some(fixture) = start(1).await else { return };
    let mut clients = [(); 3].map(|()| fixture.raw());
    for raw in &mut clients {
        wait_for("reads to reach the replica", Duration::from_secs(30), async || {
            raw.query("SELECT 1");
            raw.route().0 == "replica"
        })
        .await;
    }
    fixture.cluster.replica().pause();
    for raw in &mut clients {
        raw.send(&query("SELECT 2"));
    }
    // One of them has the only backend, which is silent; the others are behind it. None has got a byte of its answer.
    let answered = |raw: &mut Raw| {
        raw.patience(Duration::from_secs(10));
        matches!(raw.try_receive(), Ok(Some(_)))
    };
    let answered = clients.iter_mut().map(answered).filter(|answered| *answered).count();
    fixture.cluster.replica().resume();
    assert_eq!(answered, 3, "of three are answered while the replica is frozen");
}

#[tokio::test]
async fn a_cancel_request_finds_its_client_at_whichever_worker() {
    let Some(fixture) = start(4).await else { return };
    let mut clients: Vec<Raw> = (0..4).map(|_| fixture.raw()).collect();
    for raw in &mut clients {
        raw.send_query("SELECT pg_sleep(60)");
    }
    for raw in &mut clients {
        assert!(raw.silent_for(Duration::from_millis(200)), "it sleeps");
        let key = raw.key.clone();
        Raw::connect(fixture.port()).send(&crate::harness::raw::cancel(&key));
        assert_eq!(sqlstates(&raw.until_ready()), ["57014"]);
    }
}

#[tokio::test]
async fn a_limit_holds_over_a_reload_for_old_and_new_clients_together() {
    if direct() {
        return;
    }
    let cluster = Cluster::start(0).await;
    let router = Router::start(&cluster, Settings { pool_size: 3, workers: 2, ..Settings::default() }).await;
    let mut old: Vec<Raw> = (0..4).map(|_| Raw::login(router.port, "app", APP_PASSWORD, "app")).collect();
    for raw in &mut old[..3] {
        assert_eq!(tags(&raw.query("BEGIN; SELECT pg_current_xact_id()")), "C T D C ZT");
    }
    let text = fs::read_to_string(&router.config).unwrap();
    write_private(&router.config, &text.replace("default_pool_size = 3", "default_pool_size = 2"));
    let log = router.log().len();
    router.signal(Signal::HUP);
    wait_for("the reload", Duration::from_secs(30), async || {
        router.log()[log..].contains("the changed settings are in force")
    })
    .await;
    let mut new: Vec<Raw> = (0..2).map(|_| Raw::login(router.port, "app", APP_PASSWORD, "app")).collect();
    let watched = async || {
        let client = cluster.primary.superuser().await;
        let asked =
            "SELECT count(*) FROM pg_stat_activity WHERE usename = 'app' AND backend_type = 'client backend'";
        client.query_one(asked, &[]).await.unwrap().get::<_, i64>(0)
    };
    for raw in &mut new {
        raw.send_query("SELECT 'new'");
        assert!(raw.silent_for(Duration::from_millis(200)), "three are lent, and two is the limit");
    }
    assert_eq!(watched().await, 3, "those in use are not taken away");
    for raw in &mut old[..3] {
        raw.query("COMMIT");
    }
    for raw in &mut new {
        assert_eq!(values(&raw.until_ready()), ["new"]);
    }
    for raw in old.iter_mut().chain(&mut new) {
        assert_eq!(raw.value("SELECT 1"), "1");
    }
    wait_for("the surplus to be closed", Duration::from_secs(10), async || watched().await <= 2).await;
}
