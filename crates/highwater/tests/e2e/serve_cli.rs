//! The command itself: check, explain, status, up, signals and exit statuses.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use crate::harness::process::{Process, Signal, children};
use crate::harness::raw::{sqlstates, tags};
use crate::harness::router::{binary, configuration, http_get, without_surprises, write_private};
use crate::harness::{Cluster, Fixture, Router, Settings, alone, direct, free_port, full, wait_for};

fn highwater(arguments: &[&str]) -> Output {
    let mut command = Command::new(binary());
    without_surprises(&mut command);
    command.args(arguments).stdin(Stdio::null()).output().expect("the binary can be run")
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn scratch(name: &str) -> PathBuf {
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
    fs::create_dir_all(&home).expect("the target directory can be written");
    home
}

#[test]
fn help_and_version_are_there_for_everything() {
    assert!(text(&highwater(&["--version"])).starts_with("highwater "));
    for command in [
        &["--help"][..],
        &["serve", "--help"],
        &["check", "--help"],
        &["explain", "--help"],
        &["status", "--help"],
        &["bench", "--help"],
        &["bench", "local", "--help"],
    ] {
        let output = highwater(command);
        assert!(output.status.success(), "{command:?}: {}", text(&output));
        assert!(output.stdout.len() > 100 && output.stderr.is_empty(), "{command:?}");
    }
    assert_eq!(highwater(&["no-such-command"]).status.code(), Some(2));
    assert_eq!(highwater(&["serve", "--no-such-flag"]).status.code(), Some(2));
}

#[tokio::test]
async fn check_names_every_mistake_with_its_place() {
    let home = scratch("check");
    let good = home.join("good.toml");
    let file = "[[cluster]]\nname = \"main\"\nnodes = [\"127.0.0.1:1\"]\nmonitor = { user = \"m\", password = \"p\" }\n\
                [[user]]\nname = \"u\"\npassword = \"p\"\n";
    write_private(&good, file);
    let output = highwater(&["check", "-c", good.to_str().unwrap()]);
    assert!(output.status.success(), "{}", text(&output));
    let bad = home.join("bad.toml");
    write_private(&bad, &format!("listn = \"x\"\n{file}\n[reads]\nmax_staleness = \"ten\"\n"));
    let output = highwater(&["check", "-c", bad.to_str().unwrap()]);
    let said = text(&output);
    assert!(matches!(output.status.code(), Some(1 | 2)), "{said}");
    assert!(said.contains("listen") && said.contains("max_staleness"), "{said}");
    assert!(said.contains(":1:") && said.contains(":11:"), "both places are named: {said}");
    let output = highwater(&["check", "-c", good.to_str().unwrap(), "--connect"]);
    assert!(!output.status.success(), "nobody listens on port 1: {}", text(&output));
    let output = highwater(&["check", "-c", home.join("none.toml").to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
    fs::remove_dir_all(home).ok();
}

#[tokio::test]
async fn check_connect_likes_a_healthy_cluster() {
    if direct() {
        return;
    }
    let cluster = Cluster::start(1).await;
    let file = cluster.home().join("check.toml");
    write_private(&file, &configuration(&cluster, &Settings::default(), free_port(), free_port()));
    let output = highwater(&["check", "-c", file.to_str().unwrap(), "--connect"]);
    let said = text(&output);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("primary") && said.contains("replica"), "{said}");
}

#[test]
fn explain_tells_class_target_and_reason() {
    let explain = |sql: &str| -> serde_json::Value {
        let output = highwater(&["explain", "--json", sql]);
        assert!(output.status.success(), "{sql}: {}", text(&output));
        let line = String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or_default().to_owned();
        serde_json::from_str(&line).unwrap_or_else(|e| panic!("{sql}: {line:?} is not JSON: {e}"))
    };
    let read = explain("SELECT now()");
    assert_eq!((read["class"].as_str(), read["target"].as_str()), (Some("reads"), Some("replica")), "{read}");
    let write = explain("WITH x AS (DELETE FROM t RETURNING 1) SELECT * FROM x");
    assert_eq!(
        (write["class"].as_str(), write["target"].as_str()),
        (Some("writes"), Some("primary")),
        "{write}"
    );
    assert!(
        write["reason"].is_string() && write["effects"].is_array() && write["statement"].is_string(),
        "{write}"
    );
    let output = highwater(&["explain", "SELECT 1; UPDATE t SET a = 1"]);
    assert!(output.status.success() && text(&output).contains("primary"), "{}", text(&output));
}

#[tokio::test]
async fn status_shows_nodes_pools_and_the_share_of_replicas() {
    if direct() {
        return;
    }
    let fixture = Fixture::start(Settings::default()).await;
    let Some(router) = fixture.router() else { return };
    fixture.raw().query("SELECT 1");
    let address = format!("127.0.0.1:{}", router.http);
    let output = highwater(&["status", "--http", &address, "--json"]);
    assert!(output.status.success(), "{}", text(&output));
    let status: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let nodes = status["nodes"].as_array().unwrap();
    let roles: Vec<_> = nodes.iter().map(|node| node["role"].as_str().unwrap()).collect();
    assert!(roles.contains(&"primary") && roles.contains(&"replica"), "{status}");
    for key in ["name", "address", "timeline", "state", "staleness_ms", "lag_bytes"] {
        assert!(nodes.iter().all(|node| node.get(key).is_some()), "{key}: {status}");
    }
    assert!(status["pools"].is_array() && status["reads"]["replica"].is_number(), "{status}");
    let output = highwater(&["status", "--http", &address]);
    assert!(output.status.success() && text(&output).contains("replica"), "{}", text(&output));
    let output = highwater(&["status", "--http", &format!("127.0.0.1:{}", free_port())]);
    assert_eq!(output.status.code(), Some(4), "{}", text(&output));
}

#[tokio::test]
async fn serve_ends_when_asked_and_finishes_what_is_running() {
    if direct() {
        return;
    }
    let fixture = Fixture::start(Settings::default()).await;
    let router = fixture.router.as_ref().unwrap();
    let mut busy = fixture.raw();
    busy.query("BEGIN");
    busy.query("CREATE TABLE finished (id int)");
    router.signal(Signal::TERM);
    wait_for("the door to close", Duration::from_secs(30), async || {
        std::net::TcpStream::connect(("127.0.0.1", router.port)).is_err()
    })
    .await;
    assert_eq!(tags(&busy.query("COMMIT")), "C ZI", "the open transaction may end");
    let status = router.end(Signal::TERM, Duration::from_secs(40));
    assert!(status.success(), "{status}");
    let client = fixture.cluster.primary.superuser().await;
    assert_eq!(client.query("SELECT FROM finished", &[]).await.unwrap().len(), 0);
    wait_for("the backends to be gone", Duration::from_secs(30), async || {
        let asked = "SELECT count(*) FROM pg_stat_activity WHERE usename IN ('app', 'highwater')";
        client.query_one(asked, &[]).await.unwrap().get::<_, i64>(0) == 0
    })
    .await;
}

#[tokio::test]
async fn serve_says_in_one_sentence_why_it_cannot_start() {
    if direct() {
        return;
    }
    let cluster = Cluster::start(0).await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let file = cluster.home().join("taken.toml");
    write_private(&file, &configuration(&cluster, &Settings::default(), port, free_port()));
    let output = highwater(&["serve", "-c", file.to_str().unwrap()]);
    let said = text(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(&port.to_string()) && said.contains("in use"), "{said}");
    assert!(!said.contains("panicked"), "{said}");
}

#[tokio::test]
async fn serve_takes_flags_instead_of_a_file() {
    if direct() {
        return;
    }
    let cluster = Cluster::start(1).await;
    let (port, http) = (free_port(), free_port());
    let dsn = |node: u16| format!("postgres://highwater:monitor%20secret@127.0.0.1:{node}/app");
    let home = scratch("flags");
    let users = home.join("users.txt");
    write_private(&users, "\"app\" \"app secret\"\n");
    let _router = Process::start(binary(), None, Signal::KILL, |command| {
        command.args([
            "serve",
            "--primary",
            &dsn(cluster.primary.port),
            "--replica",
            &dsn(cluster.replica().port),
        ]);
        command.args(["--listen", &format!("127.0.0.1:{port}")]);
        command.env("HIGHWATER_HTTP", format!("127.0.0.1:{http}")).env("HIGHWATER_AUTH_FILE", &users);
        command.current_dir(&home);
    });
    wait_for("the router to be ready", Duration::from_secs(30), async || {
        http_get(http, "/readyz").is_some_and(|(status, _)| status == 200)
    })
    .await;
    let client = crate::harness::router::connect(port, "app").await;
    assert_eq!(client.query_one("SELECT 1", &[]).await.unwrap().get::<_, i32>(0), 1);
    fs::remove_dir_all(home).ok();
}

#[tokio::test]
async fn a_changed_file_is_applied_on_sighup_and_a_broken_one_changes_nothing() {
    if direct() {
        return;
    }
    let cluster = Cluster::start(1).await;
    let router = Router::start(&cluster, Settings::default()).await;
    let good = fs::read_to_string(&router.config).unwrap();
    write_private(&router.config, "this is = not [ TOML");
    let log = router.log().len();
    router.signal(Signal::HUP);
    wait_for("the log to say why", Duration::from_secs(30), async || router.log().len() > log).await;
    let mut raw = crate::harness::raw::Raw::login(router.port, "app", "app secret", "app");
    assert!(sqlstates(&raw.query("SELECT 1")).is_empty());
    let renamed =
        good.replace("name = \"app\"\ncluster", "name = \"renamed\"\nserver_name = \"app\"\ncluster");
    assert_ne!(renamed, good);
    write_private(&router.config, &renamed);
    router.signal(Signal::HUP);
    wait_for("the new name to be served", Duration::from_secs(30), async || {
        crate::harness::router::try_connect(router.port, "renamed").await.is_ok()
    })
    .await;
}

/// `highwater up` in a process of its own; its lines are read as they come.
struct Up {
    child: Child,
    lines: std::sync::mpsc::Receiver<String>,
    said: Vec<String>,
}

impl Up {
    fn start(arguments: &[&str]) -> Self {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig=TERM", "--"]).arg(binary()).arg("up").args(arguments);
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (sender, lines) = std::sync::mpsc::channel();
        let pipes: [Box<dyn std::io::Read + Send>; 2] =
            [Box::new(child.stdout.take().unwrap()), Box::new(child.stderr.take().unwrap())];
        for pipe in pipes {
            let sender = sender.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                    sender.send(line).ok();
                }
            });
        }
        Up { child, lines, said: Vec::new() }
    }

    async fn until_ready(&mut self) {
        wait_for("`highwater up` to be ready", Duration::from_secs(120), async || {
            self.said.extend(self.lines.try_iter());
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("`highwater up` ended with {status}:\n{}", self.said.join("\n"));
            }
            self.said.iter().any(|line| line.trim_start().starts_with("ready"))
        })
        .await;
    }

    /// Sends a signal, waits for the end, and gives the exit status and the processes it had.
    async fn end(&mut self, signal: Signal) -> (Option<i32>, Vec<u32>) {
        let started = children(self.child.id());
        crate::harness::process::signal_pid(self.child.id(), signal);
        let mut status = None;
        wait_for("`highwater up` to end", Duration::from_secs(60), async || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        })
        .await;
        self.said.extend(self.lines.try_iter());
        (status.and_then(|status| status.code()), started)
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.said.extend(self.lines.try_iter());
            eprintln!("--- highwater up said\n{}", self.said.join("\n"));
        }
        if matches!(self.child.try_wait(), Ok(None)) {
            crate::harness::process::signal_pid(self.child.id(), Signal::TERM);
            self.child.wait().ok();
        }
    }
}

#[tokio::test]
async fn up_brings_a_cluster_up_and_leaves_nothing_behind() {
    if direct() {
        return;
    }
    let _alone = alone().await;
    for signal in [Signal::INT, Signal::TERM] {
        let port = free_port();
        let mut up = Up::start(&["--ephemeral", "--port", &port.to_string()]);
        up.until_ready().await;
        let said = up.said.join("\n");
        assert!(said.contains("app_ro") && said.contains("app_rw") && said.contains("primary"), "{said}");
        let dsn = said.split_whitespace().find(|word| word.starts_with("postgres") && word.ends_with("/app"));
        let dsn = dsn.unwrap_or_else(|| panic!("no DSN for app in\n{said}"));
        let config: tokio_postgres::Config = dsn.parse().unwrap();
        let client = crate::harness::cluster::open(&config).await.unwrap();
        client.batch_execute("CREATE TABLE mine (id int); INSERT INTO mine VALUES (7)").await.unwrap();
        assert_eq!(client.query_one("SELECT id FROM mine", &[]).await.unwrap().get::<_, i32>(0), 7);
        assert_eq!(http_get(port + 1, "/readyz").unwrap().0, 200);
        let (status, started) = up.end(signal).await;
        assert_eq!(status, Some(0), "{}", up.said.join("\n"));
        assert!(!started.is_empty(), "the servers are its children");
        assert!(started.iter().all(|pid| !Path::new("/proc").join(pid.to_string()).exists()), "{started:?}");
        if !full() {
            break;
        }
    }
}

#[tokio::test]
async fn up_says_in_one_sentence_that_a_port_is_in_use() {
    if direct() {
        return;
    }
    let taken = std::net::TcpListener::bind(("127.0.0.1", free_port())).unwrap();
    let port = taken.local_addr().unwrap().port();
    let mut up = Up::start(&["--ephemeral", "--port", &port.to_string()]);
    let mut said = String::new();
    wait_for("`highwater up` to give up", Duration::from_secs(30), async || {
        up.child.try_wait().unwrap().is_some()
    })
    .await;
    wait_for("its words", Duration::from_secs(10), async || {
        said.extend(up.lines.try_iter());
        said.contains(&port.to_string())
    })
    .await;
    assert!(said.contains("in use"), "{said}");
    assert!(up.child.wait().unwrap().code().is_some_and(|code| code != 0));
    up.child.stderr.take().map(|mut pipe| pipe.read_to_string(&mut said));
}
