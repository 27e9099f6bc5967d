//! `highwater bench` against a real primary and replica through the real router, and its own throw-away servers.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::harness::router::{binary, without_surprises};
use crate::harness::template::APP_PASSWORD;
use crate::harness::{Fixture, Settings, alone, free_port, wait_for};
use rustix::process::{Pid, Signal, kill_process};

/// Long enough for a busy machine, far more than a run asks for.
const PATIENCE: Duration = Duration::from_secs(120);

/// A load that is told from everything else a server is asked.
const LOAD: &str = "SELECT 4711 AS load_to_be_interrupted";

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(binary());
    without_surprises(&mut command);
    command.arg("bench").args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn bench(arguments: &[&str]) -> Output {
    command(arguments).output().expect("the binary can be run")
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Runs it with `--json -` and reads what it prints.
fn json(arguments: &[&str]) -> Value {
    let output = bench(&[arguments, &["--json", "-"]].concat());
    assert!(output.status.success(), "{arguments:?}: {}", text(&output));
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", text(&output)))
}

fn dsn(port: u16) -> String {
    format!("postgresql://app:{APP_PASSWORD}@127.0.0.1:{port}/app")
}

fn scratch(name: &str) -> PathBuf {
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("bench-{name}-{}", std::process::id()));
    fs::create_dir_all(&home).expect("the target directory can be written");
    home
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

/// The prober's figures of a level.
fn level<'a>(target: &'a Value, name: &str) -> &'a Value {
    let levels = target["stale"]["levels"].as_array().unwrap_or_else(|| panic!("{}", target["stale"]));
    levels.iter().find(|level| level["level"] == name).expect("every level is probed")
}

#[tokio::test]
async fn two_targets_are_measured_in_turns_over_the_same_data_and_reported_in_full() {
    let _alone = alone().await;
    let fixture = Fixture::start(Settings::default()).await;
    let Some(router) = fixture.router() else { return };
    let direct = format!("direct={}", dsn(fixture.cluster.primary.port));
    let routed = format!("routed={}", dsn(router.port));

    let missing = bench(&["--dsn", &direct, "--time", "1s"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(text(&missing).contains("make them with --init"), "{}", text(&missing));

    let home = scratch("turns");
    let (file, page) = (home.join("r.json"), home.join("r.html"));
    let output = bench(&[
        "--dsn",
        &direct,
        "--against",
        &routed,
        "--init",
        "--time",
        "2s",
        "--warmup",
        "500ms",
        "--rounds",
        "2",
        "--clients",
        "4",
        "--sample-routes",
        "5",
        "--probe-every",
        "10ms",
        "--write-ratio",
        "0.2",
        // The servers of these tests commit asynchronously: at level session, readers who write that often stay on the primary.
        "--level",
        "bounded",
        "--json",
        file.to_str().unwrap(),
        "--html",
        page.to_str().unwrap(),
    ]);
    assert!(output.status.success(), "{}", text(&output));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let turns: Vec<_> =
        said.lines().filter_map(|line| line.strip_prefix("round ")?.split(':').next()).collect();
    let expected = ["1/2  direct", "1/2  routed", "2/2  routed", "2/2  direct"];
    assert_eq!(turns, expected, "the order rotates");

    let report: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    assert_eq!((&report["format"], &report["interrupted"]), (&Value::from(1), &Value::from(false)));
    assert!(!report.to_string().contains(APP_PASSWORD), "the password is left out");
    let [direct, routed] = report["targets"].as_array().unwrap().as_slice() else { panic!("{report}") };
    [direct, routed].into_iter().for_each(is_measured);
    assert!(direct["total"]["reads_on_replicas"].is_null() && direct["ratio"].is_null());
    assert!(number(&routed["total"]["reads_on_replicas"]) > 0.0, "{}", routed["reads"]);
    assert!(number(&routed["ratio"]["transactions_per_second"]["median"]) > 0.0);

    let page = fs::read_to_string(&page).unwrap();
    assert!(page.matches("<svg").count() >= 6 && page.contains("routed"), "{page}");
    for foreign in ["<script", "http://", "https://", APP_PASSWORD] {
        assert!(!page.contains(foreign), "{foreign} stands in the page");
    }
    fs::remove_dir_all(home).ok();

    open_loop_and_errors(&dsn(router.port));
    work_of_the_primary_is_charged_to_it(&dsn(fixture.cluster.primary.port));
    let dropped = bench(&["--dsn", &dsn(router.port), "--drop"]);
    assert!(dropped.status.success(), "{}", text(&dropped));
    assert_eq!(bench(&["--dsn", &dsn(router.port)]).status.code(), Some(1), "the tables are gone");
}

/// A target of two rounds without an error, whose primary is seen and whose sessions saw their own writes.
fn is_measured(target: &Value) {
    assert_eq!(target["rounds"].as_array().map(Vec::len), Some(2));
    let total = &target["total"];
    assert_eq!(
        (&total["counts"]["errors"], &total["counts"]["mixed_up"]),
        (&Value::from(0), &Value::from(0)),
        "{total}"
    );
    assert!(number(&total["transactions_per_second"]) > 0.0, "{total}");
    let [p50, p99] = ["p50", "p99"].map(|name| number(&total["latency_ms"][name]));
    assert!(0.0 < p50 && p50 <= p99, "{total}");
    // The servers run on this machine, so the primary is seen.
    assert!(number(&total["primary_cores"]) > 0.0, "{target}");
    assert_eq!(
        (&level(target, "session")["own_missed"], &level(target, "strong")["others_missed"]),
        (&Value::from(0), &Value::from(0))
    );
    assert!(number(&level(target, "session")["own_reads"]) > 0.0);
    let done = |name: &str| {
        target["transactions"]
            .as_array()
            .unwrap()
            .iter()
            .find(|kind| kind["name"] == name)
            .map(|kind| number(&kind["done"]))
    };
    assert!(done("point") > Some(0.0) && done("add_counted") > Some(0.0), "{target}");
}

/// A fixed rate is kept, however it is sent; a statement that fails is counted by its SQLSTATE and ends nothing.
fn open_loop_and_errors(dsn: &str) {
    for protocol in ["simple", "prepared"] {
        let report = json(&[
            "--dsn",
            dsn,
            "--rate",
            "100",
            "--arrivals",
            "uniform",
            "--time",
            "2s",
            "--warmup",
            "0s",
            "--clients",
            "4",
            "--protocol",
            protocol,
            "--level",
            "eventual",
            "--no-probe",
        ]);
        let total = &report["targets"][0]["total"];
        let queue = &total["queue"];
        assert_eq!(
            (&queue["arrived"], &queue["turned_away"]),
            (&Value::from(200), &Value::from(0)),
            "{queue}"
        );
        let counted = number(&total["counts"]["transactions"]) + number(&queue["unserved"]);
        assert!((counted - 200.0).abs() < 1.0, "{total}");
        assert_eq!(report["targets"][0]["stale"]["unknown_because"], "--no-probe");
    }
    let home = scratch("errors");
    let file = home.join("own.sql");
    fs::write(
        &file,
        "-- set n random 0 1\n-- name divide\nSELECT 1 / :n::int;\n\n-- name block\nBEGIN;\nSELECT 1 / 0;\nCOMMIT;\n",
    )
    .unwrap();
    let report = json(&[
        "--dsn",
        dsn,
        "--workload",
        file.to_str().unwrap(),
        "--time",
        "1s",
        "--warmup",
        "0s",
        "--clients",
        "3",
        "--no-probe",
    ]);
    let target = &report["targets"][0];
    let errors = &target["total"]["errors"];
    assert!(
        number(&errors["22012"]) > 0.0 && errors.as_object().map(serde_json::Map::len) == Some(1),
        "{errors}"
    );
    assert_eq!(target["course"]["error_examples"]["22012"], "division by zero");
    let [divide, block] = target["transactions"].as_array().unwrap().as_slice() else { panic!("{target}") };
    assert!(number(&divide["done"]) > 0.0 && number(&divide["failed"]) > 0.0, "{divide}");
    assert!(number(&block["done"]) == 0.0 && number(&block["failed"]) > 0.0, "{block}");
    fs::remove_dir_all(home).ok();
}

/// What is work for the server and none for who asks is seen as the server's.
fn work_of_the_primary_is_charged_to_it(dsn: &str) {
    let home = scratch("work");
    let file = home.join("own.sql");
    fs::write(&file, "SELECT count(*) FROM generate_series(1, 300000);\n").unwrap();
    let file = file.to_str().unwrap();
    let report =
        json(&["--dsn", dsn, "-w", file, "--time", "1s", "--warmup", "0s", "--clients", "1", "--no-probe"]);
    let total = &report["targets"][0]["total"];
    assert!(number(&total["primary_cores"]) > 5.0 * number(&total["generator_cores"]), "{total}");
    fs::remove_dir_all(home).ok();
}

#[tokio::test]
async fn while_replay_is_paused_no_session_misses_its_own_write_and_eventual_does() {
    let _alone = alone().await;
    let fixture = Fixture::start(Settings::default()).await;
    let Some(router) = fixture.router() else { return };
    let dsn = dsn(router.port);
    let quick =
        ["--time", "2s", "--warmup", "0s", "--clients", "2", "--probe-every", "5ms", "--write-ratio", "0"];
    json(&[&["--dsn", &dsn, "--init"], &quick[..]].concat());
    fixture.cluster.replica().pause_replay().await;
    let report = json(&[&["--dsn", &dsn], &quick[..]].concat());
    fixture.cluster.replica().resume_replay().await;
    let target = &report["targets"][0];
    for name in ["session", "causal", "strong"] {
        let level = level(target, name);
        assert!(number(&level["own_reads"]) > 2.0, "{level}");
        assert_eq!(level["own_missed"], 0, "{level}");
    }
    assert_eq!(level(target, "strong")["others_missed"], 0);
    let eventual = level(target, "eventual");
    assert!(number(&eventual["own_missed"]) > 0.0 && number(&eventual["others_missed"]) > 0.0, "{eventual}");
    assert!(number(&eventual["age_ms"]["max"]) > 1.0, "{eventual}");
}

#[tokio::test]
async fn an_interrupt_ends_the_run_and_reports_what_was_measured() {
    let _alone = alone().await;
    let fixture = Fixture::start(Settings::default()).await;
    let home = scratch("interrupt");
    let file = home.join("own.sql");
    fs::write(&file, LOAD).unwrap();
    let (dsn, port) = (dsn(fixture.port()), fixture.cluster.primary.port);
    let arguments =
        ["--dsn", &dsn, "-w", file.to_str().unwrap(), "--time", "10m", "--warmup", "0s", "--no-probe"];
    let child = command(&arguments).spawn().expect("the binary can be run");
    let observer = crate::harness::router::connect(port, "app").await;
    let question = "SELECT count(*) FROM pg_stat_activity WHERE query = $1";
    let direct = fixture.router.is_none();
    wait_for("the load to be seen", PATIENCE, async || {
        // Through the router, it is the replica's to see.
        let seen: i64 = observer.query_one(question, &[&LOAD]).await.unwrap().get(0);
        seen > 0 || (!direct && replica_serves(&fixture).await)
    })
    .await;
    kill_process(pid_of(&child), Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = text(&output);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("the run ended early") && said.contains("tx/s"), "{said}");
    fs::remove_dir_all(home).ok();
}

async fn replica_serves(fixture: &Fixture) -> bool {
    let client = crate::harness::router::connect(fixture.cluster.replica().port, "app").await;
    let question = "SELECT count(*) FROM pg_stat_activity WHERE query = $1";
    client.query_one(question, &[&LOAD]).await.is_ok_and(|row| row.get::<_, i64>(0) > 0)
}

fn pid_of(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap()
}

#[tokio::test]
async fn what_cannot_be_measured_is_one_sentence_and_the_right_status() {
    let fixture = crate::harness::shared().await;
    let (port, nobody) = (fixture.port(), free_port());
    let home = scratch("mistakes");
    let file = home.join("bad.sql");
    fs::write(&file, "SELECT 1;\nSELECT :nothing;\n").unwrap();
    let broken = home.join("broken.sql");
    fs::write(&broken, "SELECT nope FROM nowhere_at_all;\n").unwrap();
    let (good, file) = (dsn(port), file.to_str().unwrap().to_owned());
    let (broken, away) = (broken.to_str().unwrap(), home.join("nowhere/x.json"));
    let quick = ["--dsn", &good, "--no-probe", "--time", "300ms", "--warmup", "0s", "--workload", broken];
    let cases: [(&[&str], i32, &str); 11] = [
        (&quick, 1, "42P01"),
        (&["--dsn", &good, "--time", "1h", "--json", away.to_str().unwrap()], 2, "x.json: No such file"),
        (&[], 2, "say what to measure"),
        (&["--dsn", "nonsense"], 2, "no connection string"),
        (&["--dsn", &dsn(nobody)], 4, "can't reach the target"),
        (&["--dsn", &good.replace(APP_PASSWORD, "wrong-one")], 1, "refused the login"),
        (&["--dsn", &good.replace(&format!(":{APP_PASSWORD}"), "")], 2, "asks for a password"),
        (&["--dsn", &format!("{good}?sslmode=require")], 2, "TLS, which isn't there yet"),
        (&["--dsn", &good, "--workload", &file], 2, "line 2, column 8"),
        (&["--dsn", &good, "--against", &good], 2, "two targets are called"),
        (&["--dsn", &good, "--workload", "tpcb", "--write-ratio", "0.5"], 2, "--write-ratio is about"),
    ];
    for (arguments, status, sentence) in cases {
        let output = bench(arguments);
        let said = text(&output);
        assert_eq!(output.status.code(), Some(status), "{arguments:?}: {said}");
        assert!(said.contains(sentence) && !said.contains("wrong-one"), "{arguments:?}: {said}");
    }
    fs::remove_dir_all(home).ok();
}

#[tokio::test]
async fn local_servers_are_compared_and_nothing_of_them_is_left() {
    let _alone = alone().await;
    let arguments = [
        "local",
        "--replicas",
        "0,1",
        "--time",
        "1s",
        "--rounds",
        "1",
        "--warmup",
        "300ms",
        "--clients",
        "4",
        "--workload",
        "tpcb",
        "--json",
        "-",
    ];
    let child = command(&arguments).spawn().expect("the binary can be run");
    let pid = child.id();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let names: Vec<_> =
        report["targets"].as_array().unwrap().iter().map(|target| target["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["primary, no router", "router, 0 replicas", "router, 1 replica"]);
    let servers = &report["servers"];
    assert_eq!(servers["shows_scaling"], servers["how"] != "none", "{servers}");
    for target in report["targets"].as_array().unwrap() {
        assert!(number(&target["total"]["counts"]["transactions"]) > 0.0, "{target}");
        assert!(target["total"]["server_cores"]["replica-1"].is_number(), "{target}");
    }
    let group = format!("highwater-bench-{pid}-");
    for mount in ["/sys/fs/cgroup", "/sys/fs/cgroup/cpu", "/sys/fs/cgroup/unified"] {
        let left = fs::read_dir(mount).into_iter().flatten().flatten();
        let left: Vec<_> =
            left.filter(|entry| entry.file_name().to_string_lossy().starts_with(&group)).collect();
        assert!(left.is_empty(), "{left:?}");
    }
}
