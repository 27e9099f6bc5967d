//! pgbench through the router: no error, no failed transaction, and reads where they belong by the nodes' own count.

use std::path::PathBuf;
use std::process::Command;

use crate::harness::process::run;
use crate::harness::router::Router;
use crate::harness::template::{APP_PASSWORD, Installation};
use crate::harness::{Cluster, Fixture, Settings, alone, full};

/// Statements of a kind that a node has run, by its own count.
async fn calls(cluster: &Cluster, node: usize, like: &str) -> i64 {
    let node = if node == 0 { &cluster.primary } else { &cluster.replicas[node - 1] };
    let asked = "SELECT coalesce(sum(calls), 0)::bigint FROM pg_stat_statements WHERE query LIKE $1";
    node.superuser().await.query_one(asked, &[&like]).await.unwrap().get(0)
}

pub(crate) fn program() -> PathBuf {
    let beside = Installation::default().bin.join("pgbench");
    if beside.exists() { beside } else { PathBuf::from("pgbench") }
}

/// pgbench as `app` through the router, not started.
pub(crate) fn command(fixture: &Fixture, arguments: &[&str]) -> Command {
    let mut command = Command::new(program());
    command
        .args(["-h", "127.0.0.1", "-U", "app", "-p"])
        .arg(fixture.port().to_string())
        .args(arguments)
        .arg("app")
        .env("PGPASSWORD", APP_PASSWORD);
    command
}

pub(crate) fn pgbench(fixture: &Fixture, arguments: &[&str]) -> String {
    let said = run(&mut command(fixture, arguments));
    println!("pgbench {}\n{said}", arguments.join(" "));
    said
}

/// The number behind these words in pgbench's report.
fn figure(report: &str, words: &str) -> f64 {
    let line = report.lines().find_map(|line| line.strip_prefix(words));
    let line = line.unwrap_or_else(|| panic!("pgbench does not say {words:?}:\n{report}"));
    let number = line.trim_start_matches([':', '=', ' ']).split([' ', '/']).next().unwrap_or_default();
    number.parse().unwrap_or_else(|_| panic!("{line:?} is not a number"))
}

#[tokio::test]
async fn pgbench_runs_without_an_error_and_reads_on_the_replica() {
    let _alone = alone().await;
    let (scale, seconds) = if full() { ("10", "20") } else { ("1", "4") };
    let fixture = Fixture::start(Settings::default()).await;
    pgbench(&fixture, &["-i", "-q", "-s", scale]);
    fixture.cluster.caught_up().await;
    for mode in ["simple", "extended", "prepared"] {
        for script in ["tpcb-like", "select-only"] {
            reset(&fixture.cluster).await;
            let before = counters(fixture.router.as_ref());
            let report =
                pgbench(&fixture, &["-n", "-c", "16", "-j", "2", "-T", seconds, "-M", mode, "-b", script]);
            assert!(figure(&report, "number of failed transactions") < 0.5, "{report}");
            assert!(figure(&report, "number of transactions actually processed") > 100.0, "{report}");
            assert!(!report.contains("ERROR") && !report.contains("aborted"), "{report}");
            assert!(report.contains("number of clients: 16"), "{report}");
            if script == "select-only" {
                reads_were_on_the_replica(&fixture, mode, before).await;
            }
        }
    }
    consistent(&fixture).await;
    if let Some(router) = fixture.router() {
        println!("the router at its peak: {} KiB resident", router.rss_peak() >> 10);
    }
}

/// Router's own counts of reads: on replicas, on the primary.
fn counters(router: Option<&Router>) -> (f64, f64) {
    let Some(router) = router else { return (0.0, 0.0) };
    let (_, text) = router.get("/metrics").expect("the router answers");
    let of = |role: &str| {
        let name = format!("highwater_reads_total{{role=\"{role}\"}} ");
        text.lines().find_map(|line| line.strip_prefix(&name)?.parse().ok()).unwrap_or(0.0)
    };
    (of("replica"), of("primary"))
}

async fn reads_were_on_the_replica(fixture: &Fixture, mode: &str, before: (f64, f64)) {
    if fixture.router().is_none() {
        return;
    }
    let reads = "SELECT abalance FROM pgbench_accounts%";
    let primary = f64::from(i32::try_from(calls(&fixture.cluster, 0, reads).await).unwrap());
    let replica = f64::from(i32::try_from(calls(&fixture.cluster, 1, reads).await).unwrap());
    let share = replica / (primary + replica);
    println!("-S {mode}: {:.2} % of statements ran on the replica by the nodes' own count", share * 100.0);
    assert!(share >= 0.95, "{mode}: {replica} on the replica, {primary} on the primary");
    let after = counters(fixture.router.as_ref());
    let (on_replica, on_primary) = (after.0 - before.0, after.1 - before.1);
    assert!(on_replica >= replica * 0.99 && on_primary <= primary + replica * 0.01, "{before:?} {after:?}");
}

async fn reset(cluster: &Cluster) {
    for node in [&cluster.primary, cluster.replica()] {
        node.superuser().await.batch_execute("SELECT pg_stat_statements_reset()").await.unwrap();
    }
}

/// TPC-B's own invariant: what was added to accounts, tellers and branches is the same, and is in the history.
pub(crate) async fn consistent(fixture: &Fixture) {
    let client = fixture.cluster.primary.connect("app").await;
    let asked = "SELECT (SELECT sum(abalance) FROM pgbench_accounts)::bigint, (SELECT sum(tbalance) FROM pgbench_tellers)::bigint,
                        (SELECT sum(bbalance) FROM pgbench_branches)::bigint, (SELECT coalesce(sum(delta), 0) FROM pgbench_history)::bigint";
    let row = client.query_one(asked, &[]).await.unwrap();
    let sums: Vec<i64> = (0..4).map(|place| row.get(place)).collect();
    assert!(sums.iter().all(|sum| *sum == sums[0]), "accounts, tellers, branches, history: {sums:?}");
}
