//! What is seen of replication moves as replication does: in the JSON, the metrics, the console and the terminal; and the
//! probes of orchestrators follow the roles.

use std::fs;
use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::harness::process::{Process, Signal, children, signal_pid};
use crate::harness::raw::{Raw, column, sqlstates, tags};
use crate::harness::router::{binary, configuration, write_private};
use crate::harness::template::{APP_PASSWORD, Installation, MONITOR_PASSWORD};
use crate::harness::{Cluster, Fixture, Router, Settings, direct, free_port, shared, wait_for};

const PATIENCE: Duration = Duration::from_secs(60);

/// Some WAL that a lag of a moment can't be taken for.
const MUCH: u64 = 1 << 20;
const WRITE_MUCH: &str = "INSERT INTO t SELECT n, repeat('x', 100) FROM generate_series(1, 20000) AS n";

fn json(router: &Router, path: &str) -> Value {
    let (_, body) = router.get(path).expect("the router answers");
    serde_json::from_str(&body).unwrap_or_else(|error| panic!("{path}: {error}: {body}"))
}

/// The replica's object of the status.
fn replica(router: &Router) -> Value {
    let status = json(router, "/api/v1/status");
    status["nodes"][1].clone()
}

/// The first slot's object.
fn slot(router: &Router) -> Value {
    json(router, "/api/v1/cluster")["clusters"][0]["slots"][0].clone()
}

/// The value of the one sample of this metric that has this label.
fn metric(router: &Router, name: &str, label: &str) -> Option<f64> {
    let (_, text) = router.get("/metrics").expect("the router answers");
    let mut lines =
        text.lines().filter(|line| line.starts_with(&format!("{name}{{")) && line.contains(label));
    let value = lines.next().and_then(|line| line.rsplit_once(' ')?.1.parse().ok());
    assert_eq!(lines.next(), None, "{name} {label}");
    value
}

fn events(router: &Router) -> Vec<String> {
    let events = json(router, "/api/v1/events");
    let line = |event: &Value| event["event"].as_str().unwrap().to_owned();
    events["events"].as_array().unwrap().iter().map(line).collect()
}

async fn start(replicas: usize, settings: Settings) -> Option<(Cluster, Router)> {
    if direct() {
        return None;
    }
    let cluster = Cluster::start(replicas).await;
    cluster.run("CREATE TABLE t (id int, word text)").await;
    let router = Router::start(&cluster, settings).await;
    Some((cluster, router))
}

#[tokio::test]
async fn a_paused_replay_is_a_lag_of_replay_and_of_nothing_else() {
    let Some((cluster, router)) = start(1, Settings::default()).await else { return };
    let at_rest = |node: &Value| node["upstream"]["replay_lag_bytes"] == 0 && node["lag_bytes"] == 0;
    wait_for("the stream to be seen", PATIENCE, async || at_rest(&replica(&router))).await;
    let seen = replica(&router);
    assert_eq!(
        (&seen["upstream"]["slot"], &seen["upstream"]["state"]),
        (&"n1".into(), &"streaming".into()),
        "{seen}"
    );
    assert_eq!((&seen["receiver"], &seen["wal_receiver"]["slot"]), (&"streaming".into(), &"n1".into()));
    assert_eq!(seen["wal_receiver"]["timeline"], seen["timeline"]);
    assert_eq!(seen["wal_receiver"]["sender_port"], cluster.primary.port);

    cluster.replica().pause_replay().await;
    cluster.primary.connect("app").await.batch_execute(WRITE_MUCH).await.unwrap();
    wait_for("the lag of replay to grow and that of writing to end", PATIENCE, async || {
        let node = replica(&router);
        node["upstream"]["replay_lag_bytes"].as_u64() > Some(MUCH)
            && node["lag_bytes"].as_u64() > Some(MUCH)
            && node["write_lag_bytes"] == 0
            && node["flush_lag_bytes"] == 0
    })
    .await;
    let seen = replica(&router);
    assert_eq!((&seen["replay_paused"], &seen["receiver"]), (&true.into(), &"streaming".into()));
    let label = format!("node=\"127.0.0.1:{}\"", cluster.replica().port);
    assert!(metric(&router, "highwater_node_lag_bytes", &label) > Some(MUCH as f64));
    assert_eq!(metric(&router, "highwater_node_write_lag_bytes", &label), Some(0.0));
    assert_eq!(metric(&router, "highwater_node_flush_lag_bytes", &label), Some(0.0));
    assert_eq!(metric(&router, "highwater_node_replay_paused", &label), Some(1.0));
    assert_eq!(metric(&router, "highwater_node_receiver_streaming", &label), Some(1.0));
    assert!(events(&router).contains(&"replay is paused".to_owned()), "{:?}", events(&router));

    cluster.replica().resume_replay().await;
    wait_for("the lag to end", PATIENCE, async || at_rest(&replica(&router))).await;
    assert!(events(&router).contains(&"replay goes on".to_owned()), "{:?}", events(&router));
}

#[tokio::test]
async fn the_slot_of_a_stopped_replica_is_seen_to_retain_more_and_more() {
    let Some((cluster, router)) = start(1, Settings::default()).await else { return };
    cluster.primary.set("max_slot_wal_keep_size", "1GB").await;
    wait_for("the slot to be seen", PATIENCE, async || {
        slot(&router)["active"] == true
            && json(&router, "/api/v1/cluster")["clusters"][0]["slot_limit_bytes"] == 1 << 30
    })
    .await;
    let before = slot(&router)["retained_bytes"].as_u64().unwrap();
    assert_eq!(metric(&router, "highwater_slot_active", "slot=\"n1\""), Some(1.0));
    cluster.replica().stop();
    cluster.primary.connect("app").await.batch_execute(WRITE_MUCH).await.unwrap();
    wait_for("the slot to be left and to retain", PATIENCE, async || {
        let slot = slot(&router);
        slot["active"] == false && slot["retained_bytes"].as_u64() > Some(before + MUCH)
    })
    .await;
    assert_eq!(metric(&router, "highwater_slot_active", "slot=\"n1\""), Some(0.0));
    assert_eq!(metric(&router, "highwater_slot_lost", "slot=\"n1\""), Some(0.0));
    assert!(metric(&router, "highwater_slot_retained_bytes", "slot=\"n1\"") > Some(MUCH as f64));
    assert_eq!(metric(&router, "highwater_slot_retained_limit_bytes", ""), Some(f64::from(1 << 30)));
    let label = format!("node=\"127.0.0.1:{}\"", cluster.replica().port);
    for name in ["write_lag_bytes", "receiver_streaming", "conflicts_total", "connections", "replay_paused"] {
        let name = format!("highwater_node_{name}");
        assert_eq!(metric(&router, &name, &label), None, "of a node that does not answer {name} is unknown");
    }
    assert_eq!(metric(&router, "highwater_cluster_replicas", ""), Some(0.0));
    let left = "replication slot n1 is not used, and keeps WAL".to_owned();
    assert!(events(&router).contains(&left), "{:?}", events(&router));

    let mut console = Raw::login(router.port, "app", APP_PASSWORD, "highwater");
    let slots = console.query("SHOW SLOTS");
    assert_eq!((column(&slots, "slot"), column(&slots, "active")), ("n1".to_owned(), "no".to_owned()));
    cluster.replica().start().await;
    wait_for("the slot to be used again", PATIENCE, async || slot(&router)["active"] == true).await;
    wait_for("the stream to be told of again", PATIENCE, async || {
        let streams = console.query("SHOW REPLICATION");
        column(&streams, "upstream") == format!("127.0.0.1:{}", cluster.primary.port)
    })
    .await;
    assert_eq!(column(&console.query("SHOW EVENTS"), "cluster"), "main");
    wait_for("the replica to serve again", PATIENCE, async || {
        metric(&router, "highwater_cluster_replicas", "") == Some(1.0)
    })
    .await;
}

#[tokio::test]
async fn a_query_cancelled_for_replay_is_counted_by_its_cause() {
    let Some((cluster, router)) = start(1, Settings::default()).await else { return };
    wait_for("conflicts to be seen", PATIENCE, async || replica(&router)["conflicts"]["total"] == 0).await;
    cluster.replica().set("max_standby_streaming_delay", "10ms").await;
    let reader = cluster.replica().connect("app").await;
    reader.batch_execute("BEGIN; SELECT count(*) FROM t").await.unwrap();
    // Replay of this waits for the reader's lock, and no longer than the setting says.
    cluster.primary.connect("app").await.batch_execute("ALTER TABLE t ADD COLUMN more int").await.unwrap();
    wait_for("the conflict to be counted", PATIENCE, async || {
        replica(&router)["conflicts"]["by_cause"]["lock"].as_u64() >= Some(1)
    })
    .await;
    let label = format!("node=\"127.0.0.1:{}\"", cluster.replica().port);
    assert!(metric(&router, "highwater_node_conflicts_total", &label) >= Some(1.0));
    assert!(reader.batch_execute("SELECT 1").await.is_err(), "it was the reader who had to go");
}

#[tokio::test]
async fn a_stream_to_nobody_the_router_knows_is_shown_as_anothers() {
    let Some((cluster, router)) = start(1, Settings::default()).await else { return };
    let directory = cluster.home().join("received");
    fs::create_dir(&directory).unwrap();
    let program = Installation::default().bin.join("pg_receivewal");
    let _receiver = Process::start(&program, None, Signal::TERM, |command| {
        command.args(["-h", "127.0.0.1", "-U", "postgres", "-w", "-D"]).arg(&directory);
        command.args(["-p", &cluster.primary.port.to_string()]).stdout(Stdio::null()).stderr(Stdio::null());
    });
    let others = || json(&router, "/api/v1/cluster")["clusters"][0]["other_senders"].clone();
    wait_for("the other stream to be seen", PATIENCE, async || {
        let others = others();
        others.as_array().is_some_and(|list| list.len() == 1)
            && others[0]["application_name"] == "pg_receivewal"
    })
    .await;
    assert_eq!(replica(&router)["upstream"]["slot"], "n1", "the replica's own stream stays its own");
}

#[tokio::test]
async fn every_documented_metric_is_in_a_scrape() {
    /// They belong to clusters whose nodes come from elsewhere, and to slots that have a limit.
    const ELSEWHERE: [&str; 2] = ["highwater_discovery_", "highwater_slot_retained_limit_bytes"];
    let fixture = shared().await;
    let Some(router) = fixture.router() else { return };
    fixture.raw().query("SELECT 1");
    wait_for("the replication view", PATIENCE, async || !replica(router)["upstream"].is_null()).await;
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/metrics.md");
    let page = fs::read_to_string(page).unwrap();
    let names: Vec<_> = page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`')).collect();
    assert!(names.len() > 50, "{names:?}");
    let (_, text) = router.get("/metrics").unwrap();
    let samples: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
    for (name, _) in names.iter().filter(|(name, _)| !ELSEWHERE.iter().any(|other| name.starts_with(other))) {
        assert!(
            samples.iter().any(|sample| sample.starts_with(name)),
            "{name} is in the docs and not in a scrape"
        );
    }
}

#[tokio::test]
async fn readiness_follows_the_roles_and_what_was_asked_for() {
    let settings = Settings { max_staleness: "1h", ..Settings::default() };
    let Some((cluster, router)) = start(1, settings).await else { return };
    let ready = |path: &str| router.get(path).map(|(status, _)| status);
    for path in ["/readyz", "/readyz/primary", "/readyz/reads"] {
        assert_eq!(ready(path), Some(200), "{path}");
    }
    cluster.primary.stop();
    wait_for("the loss of the primary", PATIENCE, async || ready("/readyz/primary") == Some(503)).await;
    assert_eq!(
        (ready("/readyz"), ready("/readyz/reads")),
        (Some(503), Some(200)),
        "the replica serves reads"
    );
    assert_eq!((ready("/livez"), ready("/healthz")), (Some(200), Some(200)));

    let text = fs::read_to_string(&router.config).unwrap();
    write_private(&router.config, &format!("ready_when = \"reads\"\n{text}"));
    router.signal(Signal::HUP);
    wait_for("the reload", PATIENCE, async || ready("/readyz") == Some(200)).await;
    assert_eq!(ready("/readyz/primary"), Some(503), "each role has its own page, whatever is configured");

    cluster.replica().stop();
    wait_for("the loss of the replica", PATIENCE, async || ready("/readyz/reads") == Some(503)).await;
    assert_eq!(ready("/readyz"), Some(503));
    cluster.primary.start().await;
    wait_for("the primary to be back", PATIENCE, async || ready("/readyz") == Some(200)).await;
}

#[tokio::test]
async fn a_router_that_was_told_to_stop_is_not_ready_while_it_finishes() {
    let fixture = Fixture::start(Settings::default()).await;
    let Some(router) = fixture.router() else { return };
    let mut client = fixture.raw();
    assert_eq!(tags(&client.query("BEGIN")), "C ZT");
    client.query("SELECT count(*) FROM pg_class");
    router.signal(Signal::TERM);
    wait_for("readyz to say no", PATIENCE, async || {
        router.get("/readyz").is_some_and(|(status, _)| status == 503)
    })
    .await;
    assert!(router.get("/readyz/reads").unwrap().1.contains("stopping"));
    assert_eq!(router.get("/livez").unwrap().0, 200, "it is alive, and must not be killed for finishing");
    client.query("SELECT 1");
    assert_eq!(tags(&client.query("COMMIT")), "C ZI", "what was running finishes");
}

#[tokio::test]
async fn a_monitor_without_pg_monitor_sees_that_it_does_not_see() {
    if direct() {
        return;
    }
    let cluster = Cluster::start(1).await;
    let superuser = cluster.primary.superuser().await;
    let role = format!("CREATE ROLE blind LOGIN PASSWORD '{MONITOR_PASSWORD}'");
    superuser.batch_execute(&role).await.unwrap();
    cluster.caught_up().await;
    let (port, http) = (free_port(), free_port());
    let config = cluster.home().join("blind.toml");
    let text = configuration(&cluster, &Settings::default(), port, http);
    write_private(&config, &text.replace("user = \"highwater\"", "user = \"blind\""));
    let check = Command::new(binary()).args(["check", "--connect", "-c"]).arg(&config).output().unwrap();
    let said = String::from_utf8_lossy(&check.stdout).into_owned();
    assert!(!check.status.success() && said.contains("GRANT pg_monitor"), "{said}");

    let router = Router::start_from(&config, port, http).await;
    wait_for("what anybody may see", PATIENCE, async || replica(&router)["conflicts"]["total"] == 0).await;
    let seen = replica(&router);
    assert_eq!(seen["receiver"], "running", "there is one, and more is not shown");
    for key in ["upstream", "senders_total"] {
        assert!(seen[key].is_null(), "{key} is hidden: {seen}");
    }
    assert_eq!(seen["connections"]["used"], Value::Null, "{seen}");
    assert_eq!(slot(&router)["name"], "n1", "slots are shown to everybody");
    let label = format!("node=\"127.0.0.1:{}\"", cluster.replica().port);
    assert_eq!(metric(&router, "highwater_node_receiver_streaming", &label), None, "unknown is not zero");
    assert_eq!(metric(&router, "highwater_node_connections", &label), None);
}

/// `status --watch` in a pseudo-terminal of `script(1)`, in a shell that says whether the terminal is given back as it was.
struct Watching {
    child: Child,
}

impl Watching {
    fn start(router: &Router) -> Watching {
        let watch = format!("{} status --watch --http 127.0.0.1:{}", binary().display(), router.http);
        let line = format!(
            "stty cols 120 rows 30; a=$(stty -g); {watch}; echo ENDED $?; test \"$a\" = \"$(stty -g)\" && echo GIVEN BACK"
        );
        let child = Command::new("script")
            .args(["-q", "-e", "-c", &line, "/dev/null"])
            .env("TERM", "xterm")
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("script (package bsdutils) can be run");
        Watching { child }
    }

    /// Reads until the screen has had this on it.
    fn until(&mut self, what: &str, text: &mut String) {
        let out = self.child.stdout.as_mut().expect("it is a pipe");
        let mut bytes = [0; 4096];
        while !text.contains(what) {
            let length = out.read(&mut bytes).expect("the pipe can be read");
            assert!(length > 0, "it ended without {what:?}: {text}");
            text.push_str(&String::from_utf8_lossy(&bytes[..length]));
        }
    }

    fn press(&mut self, keys: &[u8]) {
        self.child.stdin.as_mut().expect("it is a pipe").write_all(keys).unwrap();
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[tokio::test]
async fn the_live_view_draws_in_a_terminal_and_gives_it_back() {
    let fixture = shared().await;
    let Some(router) = fixture.router() else { return };
    for (how, keys) in [("q", Some(&b"q"[..])), ("Ctrl-C", Some(&b"\x03"[..])), ("SIGTERM", None)] {
        let mut watching = Watching::start(router);
        let mut text = String::new();
        watching.until("\x1b[?1049h", &mut text);
        watching.until("streaming", &mut text);
        watching.until("q quit", &mut text);
        // The second picture has rates.
        watching.until("/s", &mut text);
        match keys {
            Some(keys) => watching.press(keys),
            None => {
                let shell = children(watching.child.id())[0];
                let watch = children(shell);
                signal_pid(watch.first().copied().unwrap_or(shell), Signal::TERM);
            }
        }
        watching.until("GIVEN BACK", &mut text);
        assert!(text.contains("\x1b[?1049l") && text.contains("\x1b[?25h"), "{how}: {text}");
        assert!(text.contains("ENDED 0"), "{how}: {text}");
    }
}

#[tokio::test]
async fn the_live_view_is_plain_text_where_there_is_no_terminal() {
    let fixture = shared().await;
    let Some(router) = fixture.router() else { return };
    let mut child = Command::new(binary())
        .args(["status", "--watch", "--http", &format!("127.0.0.1:{}", router.http)])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut text = String::new();
    let mut bytes = [0; 4096];
    let out = child.stdout.as_mut().unwrap();
    while text.matches("reads: ").count() < 2 {
        let length = out.read(&mut bytes).unwrap();
        assert!(length > 0, "{text}");
        text.push_str(&String::from_utf8_lossy(&bytes[..length]));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!text.contains('\x1b') && text.contains("stream to"), "{text}");
}

#[tokio::test]
async fn the_console_shows_replication_and_keeps_its_old_columns_first() {
    let fixture = shared().await;
    let Some(router) = fixture.router() else { return };
    wait_for("the replication view", PATIENCE, async || !replica(router)["upstream"].is_null()).await;
    let mut console = Raw::login(router.port, "app", APP_PASSWORD, "highwater");
    for subject in ["REPLICATION", "SLOTS", "EVENTS"] {
        let answer = console.query(&format!("SHOW {subject}"));
        assert!(sqlstates(&answer).is_empty(), "SHOW {subject}: {answer:?}");
        assert!(answer.iter().any(|message| message.tag == b'D'), "SHOW {subject} has rows");
    }
    assert_eq!(column(&console.query("SHOW REPLICATION"), "state"), "streaming");
    assert_eq!(column(&console.query("SHOW SLOTS"), "active"), "yes");
    let nodes = console.query("SHOW NODES");
    let heading = String::from_utf8_lossy(&nodes[0].body).into_owned();
    assert!(heading.find("last_error") < heading.find("write_lag_bytes"), "{heading:?}");
}
