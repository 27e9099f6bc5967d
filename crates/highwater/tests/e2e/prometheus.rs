//! A real Prometheus on a real router: it takes the metrics, the alert rules and every expression of the dashboard; nothing
//! fires while all is well, and a replica that stops is told.
//!
//! Without `prometheus` and `promtool` (one package of Debian) these tests say so and end.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::harness::process::{Process, Signal};
use crate::harness::raw::{Raw, sqlstates};
use crate::harness::template::APP_PASSWORD;
use crate::harness::{Fixture, Router, Settings, direct, free_port, left_out, repository, shared, wait_for};

const PATIENCE: Duration = Duration::from_secs(60);

/// Panels that this healthy cluster leaves empty: no alert fires, its slots have no limit, its nodes are in the settings.
const MAY_BE_EMPTY: [&str; 3] = ["ALERTS", "highwater_slot_retained_limit_bytes", "highwater_discovery_"];

#[tokio::test]
async fn prometheus_takes_the_rules_and_the_dashboard_and_fires_when_a_replica_stops() {
    let Some(program) = installed("prometheus").filter(|_| !direct()) else { return };
    let fixture = Fixture::start(Settings::default()).await;
    let router = fixture.router().expect("the tests do not run direct");
    let load = Load::start(router).await;
    let prometheus = Prometheus::start(&program, &fixture, router).await;

    prometheus.has_seen_enough().await;
    every_expression_of_the_dashboard_is_answered(&prometheus);
    prometheus.rules_are_well();
    assert_eq!(prometheus.alerts("firing"), BTreeSet::new());
    wait_for("nothing to be pending", PATIENCE, async || prometheus.alerts("pending").is_empty()).await;

    let replica = format!("127.0.0.1:{}", fixture.cluster.replica().port);
    fixture.cluster.replica().stop();
    wait_for("the alerts of a lost replica to fire", PATIENCE, async || {
        let firing = prometheus.alerts("firing");
        ["HighwaterNodeDown", "HighwaterReplicaMissing", "HighwaterNoReplicas"]
            .iter()
            .all(|name| firing.contains(*name))
    })
    .await;
    let said = prometheus.alert("HighwaterNodeDown");
    assert_eq!(said["labels"]["node"], replica.as_str());
    let summary = said["annotations"]["summary"].as_str().unwrap();
    assert!(summary.starts_with(&format!("Node main/{replica} does not answer")), "{summary}");
    assert!(said["annotations"]["runbook_url"].as_str().unwrap().ends_with("runbooks.md#highwaternodedown"));
    fixture.cluster.replica().start().await;
    wait_for("the alerts to end", PATIENCE, async || prometheus.alerts("firing").is_empty()).await;
    prometheus.rules_are_well();
    load.end().await;
}

#[tokio::test]
async fn promtool_finds_nothing_to_say_about_the_metrics() {
    let Some(program) = installed("promtool") else { return };
    let fixture = shared().await;
    let Some(router) = fixture.router() else { return };
    fixture.raw().query("SELECT 1");
    let (_, metrics) = router.get("/metrics").unwrap();
    let mut promtool = Command::new(program);
    promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut promtool = promtool.spawn().unwrap();
    promtool.stdin.take().unwrap().write_all(metrics.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.trim().is_empty(), "{said}");
}

/// What a runbook tells somebody to type at three in the morning has to work.
#[tokio::test]
async fn what_the_runbooks_say_to_type_is_understood() {
    let fixture = shared().await;
    if fixture.router().is_none() {
        return;
    }
    let page = fs::read_to_string(repository().join("docs/book/src/runbooks.md")).unwrap();
    let mut console = Raw::login(fixture.port(), "app", APP_PASSWORD, "highwater");
    let primary = fixture.cluster.primary.superuser().await;
    let replica = fixture.cluster.replica().superuser().await;
    let mut places = BTreeSet::new();
    for block in page.split("```sql\n").skip(1) {
        let (place, script) = block.split("```").next().unwrap().split_once('\n').unwrap();
        places.insert(place);
        match place {
            "-- console" => {
                for line in script.lines() {
                    let answer = console.query(line);
                    assert!(sqlstates(&answer).is_empty(), "{line}: {answer:?}");
                }
            }
            "-- primary" => primary.batch_execute(script).await.unwrap_or_else(|e| panic!("{script}: {e:?}")),
            "-- replica" => replica.batch_execute(script).await.unwrap_or_else(|e| panic!("{script}: {e:?}")),
            other => panic!("where is {other:?}? console, primary or replica"),
        }
    }
    assert_eq!(places.len(), 3, "{places:?}");
}

fn every_expression_of_the_dashboard_is_answered(prometheus: &Prometheus) {
    let text = fs::read_to_string(repository().join("deploy/grafana/highwater.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let mut asked = 0;
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let mut expression = target["expr"].as_str().unwrap().replace("$__rate_interval", "30s");
            for variable in ["$instance", "$cluster", "$node"] {
                expression = expression.replace(variable, ".*");
            }
            let series = prometheus.query(&expression).len();
            let may_be_empty = MAY_BE_EMPTY.iter().any(|name| expression.contains(name));
            assert!(series > 0 || may_be_empty, "{}: no data for {expression}", panel["title"]);
            asked += 1;
        }
    }
    assert!(asked > 40, "only {asked} expressions");
    for variable in dashboard["templating"]["list"].as_array().unwrap() {
        let Some(values) = variable["query"]["query"].as_str() else { continue };
        let inner = values.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')')).unwrap();
        let (series, label) = inner.rsplit_once(", ").unwrap();
        let series = series.replace("$instance", ".*").replace("$cluster", ".*");
        let has = |one: &Value| one["metric"][label].is_string();
        assert!(prometheus.query(&series).iter().any(has), "{values}");
    }
}

/// A little of everything, until it is told to end.
struct Load {
    end: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<()>,
}

impl Load {
    async fn start(router: &Router) -> Self {
        let client = router.connect("app").await;
        client.batch_execute("CREATE TABLE IF NOT EXISTS watched (id int)").await.unwrap();
        let end = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&end);
        let task = tokio::spawn(async move {
            while !ended.load(Ordering::Relaxed) {
                // A mistake of the client's own is no failure, and must not alarm.
                client.batch_execute("SELECT 1/0").await.unwrap_err();
                client.batch_execute("INSERT INTO watched VALUES (1)").await.unwrap();
                for _ in 0..5 {
                    client.query("SELECT count(*) FROM watched", &[]).await.unwrap();
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        Load { end, task }
    }

    async fn end(self) {
        self.end.store(true, Ordering::Relaxed);
        self.task.await.expect("no statement of the load has failed");
    }
}

/// A running Prometheus, with our rules.
struct Prometheus {
    port: u16,
    log: PathBuf,
    _process: Process,
}

impl Prometheus {
    async fn start(program: &Path, fixture: &Fixture, router: &Router) -> Self {
        let home = fixture.cluster.home().join("prometheus");
        fs::create_dir_all(&home).unwrap();
        for name in ["highwater.rules.yml", "highwater-hosts.rules.yml"] {
            let text = fs::read_to_string(repository().join("deploy/prometheus").join(name)).unwrap();
            fs::write(home.join(name), impatient(&text)).unwrap();
        }
        let config = format!(
            "global: {{ scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s }}\n\
             rule_files: [ highwater.rules.yml, highwater-hosts.rules.yml ]\n\
             scrape_configs:\n  - job_name: highwater\n    static_configs: [ {{ targets: ['127.0.0.1:{}'] }} ]\n",
            router.http
        );
        fs::write(home.join("prometheus.yml"), config).unwrap();
        let log = home.join("log");
        let port = free_port();
        let process = Process::start(program, None, Signal::KILL, |command| {
            command.arg(format!("--config.file={}", home.join("prometheus.yml").display()));
            command.arg(format!("--storage.tsdb.path={}", home.join("data").display()));
            command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
            command.stdout(Stdio::null()).stderr(fs::File::create(&log).unwrap());
        });
        let prometheus = Prometheus { port, log, _process: process };
        wait_for("Prometheus to be ready", PATIENCE, async || prometheus.get("/-/ready").is_some()).await;
        prometheus
    }

    /// Until rates can be taken and everything that is recorded is there.
    async fn has_seen_enough(&self) {
        wait_for("Prometheus to have seen some seconds of the router", PATIENCE, async || {
            let recorded = "count(instance_role:highwater_request_duration_seconds:p95_rate5m < 2)";
            let samples = "count_over_time(highwater_uptime_seconds[1m]) > 8";
            let both = self.query(recorded).first().is_some_and(|one| one["value"][1] == "2");
            both && !self.query(samples).is_empty()
        })
        .await;
    }

    /// The series that an expression has; panics when Prometheus does not understand it.
    fn query(&self, expression: &str) -> Vec<Value> {
        let path = format!("/api/v1/query?query={}", percent_encoded(expression));
        let answer = self.json(&path);
        assert_eq!(answer["status"], "success", "{expression}: {answer}");
        answer["data"]["result"].as_array().unwrap().clone()
    }

    fn rules_are_well(&self) {
        let answer = self.json("/api/v1/rules");
        let groups = answer["data"]["groups"].as_array().unwrap();
        let rules: Vec<&Value> = groups.iter().flat_map(|group| group["rules"].as_array().unwrap()).collect();
        assert!(rules.len() > 35, "{} rules", rules.len());
        for rule in rules {
            assert_eq!(rule["health"], "ok", "{}: {}", rule["name"], rule["lastError"]);
        }
    }

    /// Names of the alerts in this state.
    fn alerts(&self, state: &str) -> BTreeSet<String> {
        let answer = self.json("/api/v1/alerts");
        let alerts = answer["data"]["alerts"].as_array().unwrap();
        let named = alerts.iter().filter(|alert| alert["state"] == state);
        named.map(|alert| alert["labels"]["alertname"].as_str().unwrap().to_owned()).collect()
    }

    fn alert(&self, name: &str) -> Value {
        let answer = self.json("/api/v1/alerts");
        let alerts = answer["data"]["alerts"].as_array().unwrap();
        alerts.iter().find(|alert| alert["labels"]["alertname"] == name).expect("it fires").clone()
    }

    fn json(&self, path: &str) -> Value {
        let said = || fs::read_to_string(&self.log).unwrap_or_default();
        let body =
            self.get(path).unwrap_or_else(|| panic!("no answer to {path}; Prometheus said:\n{}", said()));
        serde_json::from_str(&body).unwrap_or_else(|e| panic!("{path}: {e}: {body}"))
    }

    /// The body of an answer that is neither 404 nor 503. Asked as HTTP/1.0, so that it comes in one piece.
    fn get(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        let status = head.split(' ').nth(1)?;
        (status != "404" && status != "503").then(|| body.to_owned())
    }
}

/// The rules with a shorter `for` for what the test waits for; all others wait as they do for everybody.
fn impatient(rules: &str) -> String {
    let mut text = String::new();
    let mut shorten = false;
    for line in rules.lines() {
        if let Some(name) = line.trim().strip_prefix("- alert: ") {
            shorten = ["HighwaterNodeDown", "HighwaterReplicaMissing", "HighwaterNoReplicas"].contains(&name);
        }
        let line = if shorten && line.starts_with("        for:") { "        for: 2s" } else { line };
        writeln!(text, "{line}").unwrap();
    }
    text
}

fn percent_encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() {
            encoded.push(char::from(byte));
        } else {
            write!(encoded, "%{byte:02X}").unwrap();
        }
    }
    encoded
}

/// The path of a program, or a line that says that this test judged nothing.
fn installed(program: &str) -> Option<PathBuf> {
    let paths = std::env::var_os("PATH")?;
    let found = std::env::split_paths(&paths).map(|folder| folder.join(program)).find(|path| path.exists());
    if found.is_none() {
        left_out(&format!("Prometheus: {program} is not installed (apt-get install prometheus)"));
    }
    found
}
