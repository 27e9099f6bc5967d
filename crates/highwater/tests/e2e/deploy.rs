//! The files below `deploy/` against the real router: what they ask of it, it does.
//!
//! A socket stands in for systemd. Whether Kubernetes takes the manifests is `cargo xtask kubernetes`'s to say.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::Duration;

use crate::harness::process::{Process, Signal, run};
use crate::harness::router::{binary, configuration, http_get, write_private};
use crate::harness::{Cluster, Settings, direct, free_port, left_out, repository, shared, wait_for};

const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn systemd_is_told_of_the_start_a_reload_the_end_and_that_the_router_lives() {
    if direct() {
        return;
    }
    let cluster = Cluster::start(0).await;
    let home = cluster.home();
    let config = home.join("highwater.toml");
    let good = configuration(&cluster, &Settings::default(), free_port(), free_port());
    write_private(&config, &good);
    let supervisor = home.join("notify");
    let socket = UnixDatagram::bind(&supervisor).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut router = Process::start(binary(), None, Signal::KILL, |command| {
        command.arg("serve").arg("-c").arg(&config).env("NOTIFY_SOCKET", &supervisor);
        // Patience of 300 ms: alive every 100.
        command.env("WATCHDOG_USEC", "300000").env_remove("WATCHDOG_PID");
        let log = || fs::File::create(home.join("supervised.log")).unwrap();
        command.stdout(log()).stderr(log());
    });

    assert_eq!(news(&socket), "READY=1\nSTATUS=serving");
    for _ in 0..3 {
        assert_eq!(heard(&socket), "WATCHDOG=1", "it goes on saying that it lives");
    }
    router.signal(Signal::HUP);
    assert!(news(&socket).starts_with("RELOADING=1\n"));
    assert_eq!(news(&socket), "READY=1\nSTATUS=serving, with changed settings");
    write_private(&config, &good.replace("[reads]", "[reeds]"));
    router.signal(Signal::HUP);
    assert!(news(&socket).starts_with("RELOADING=1\n"));
    let outcome = news(&socket);
    assert!(outcome.starts_with("READY=1\n") && outcome.contains("mistakes"), "{outcome}");
    router.signal(Signal::TERM);
    assert!(news(&socket).starts_with("STOPPING=1\n"));
    assert!(router.wait(PATIENCE).expect("it ends").success());
}

#[tokio::test]
async fn a_router_whose_worker_is_stuck_lets_the_watchdog_bite() {
    if direct() {
        return;
    }
    let cluster = Cluster::start(0).await;
    let home = cluster.home();
    let config = home.join("highwater.toml");
    let http = free_port();
    write_private(&config, &configuration(&cluster, &Settings::default(), free_port(), http));
    let supervisor = home.join("notify");
    let socket = UnixDatagram::bind(&supervisor).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let router = Process::start(binary(), None, Signal::KILL, |command| {
        command.arg("serve").arg("-c").arg(&config).env("NOTIFY_SOCKET", &supervisor);
        command.env("WATCHDOG_USEC", "300000").env_remove("WATCHDOG_PID");
        let log = || fs::File::create(home.join("stuck.log")).unwrap();
        command.stdout(log()).stderr(log());
    });
    assert_eq!(news(&socket), "READY=1\nSTATUS=serving");
    let mut worker = None;
    // A thread takes its name when it begins to run, which may be later.
    wait_for("the worker's thread to have its name", PATIENCE, async || {
        worker = thread_named(router.pid(), "worker-0");
        worker.is_some()
    })
    .await;
    let Some(_stopped) = worker.and_then(StoppedThread::stop) else {
        left_out("the watchdog of a stuck router: this machine lets nobody stop a single thread (ptrace)");
        return;
    };
    wait_for("/livez to say that a worker is stuck", PATIENCE, async || {
        http_get(http, "/livez").is_some_and(|(status, _)| status == 503)
    })
    .await;
    // What was said before it was stuck is still in the socket.
    socket.set_nonblocking(true).unwrap();
    while socket.recv(&mut [0; 64]).is_ok() {}
    socket.set_nonblocking(false).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    assert!(socket.recv(&mut [0; 64]).is_err(), "three times its pause long, nothing is said");
}

fn thread_named(pid: u32, wanted: &str) -> Option<i32> {
    fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten().find_map(|task| {
        let name = fs::read_to_string(task.path().join("comm")).ok()?;
        (name.trim() == wanted).then(|| task.file_name().to_str()?.parse().ok())?
    })
}

/// A single thread cannot be stopped by a signal, but by whoever traces it.
struct StoppedThread(std::process::Child);

impl StoppedThread {
    fn stop(thread: i32) -> Option<StoppedThread> {
        let script = "import ctypes, sys\n\
            libc = ctypes.CDLL(None, use_errno=True)\n\
            ok = libc.ptrace(16, int(sys.argv[1]), None, None) == 0\n\
            print('stopped' if ok else 'refused', flush=True)\n\
            sys.stdin.read()\n";
        let mut command = Command::new("python3");
        command.args(["-c", script, &thread.to_string()]);
        command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
        let mut child = command.spawn().ok()?;
        let mut said = String::new();
        let mut lines = std::io::BufReader::new(child.stdout.take()?);
        std::io::BufRead::read_line(&mut lines, &mut said).ok()?;
        (said.trim() == "stopped").then_some(StoppedThread(child))
    }
}

impl Drop for StoppedThread {
    fn drop(&mut self) {
        // Its standard input ends, and with it the tracer and the stop.
        self.0.stdin.take();
        self.0.wait().ok();
    }
}

#[tokio::test]
async fn the_probes_of_the_manifests_are_answered_and_their_ports_are_those_listened_on() {
    let fixture = shared().await;
    let Some(router) = fixture.router() else { return };
    // To be alive is asked of a running router, never to be ready: that its nodes are gone is no reason to start it anew.
    for (name, probe, path) in [
        ("base/deployment.yaml", "livenessProbe:", "/livez"),
        ("base/deployment.yaml", "startupProbe:", "/livez"),
        ("base/deployment.yaml", "readinessProbe:", "/readyz"),
        ("examples/sidecar.yaml", "livenessProbe:", "/livez"),
        ("examples/sidecar.yaml", "startupProbe:", "/readyz"),
    ] {
        let manifest = read(name);
        let asked = manifest.split(probe).skip(1).filter_map(|behind| values(behind, "path:").next());
        assert_eq!(asked.collect::<Vec<_>>(), [path], "{name}: {probe}");
        assert_eq!(router.get(path).unwrap().0, 200, "{path}");
    }
    let settings = read("base/highwater.toml");
    let listened: Vec<String> = ["listen = \"0.0.0.0:", "http = \"0.0.0.0:"]
        .iter()
        .map(|key| settings.split(key).nth(1).unwrap().split('"').next().unwrap().to_owned())
        .collect();
    let deployment = read("base/deployment.yaml");
    assert_eq!(values(&deployment, "containerPort:").collect::<Vec<_>>(), listened);
    let service = read("base/service.yaml");
    let offered: Vec<&str> = values(&service, "port:").collect();
    assert_eq!(offered, listened);
    let policy = read("base/networkpolicy.yaml");
    let let_in = policy.split("egress:").next().unwrap();
    assert_eq!(values(let_in, "- port:").collect::<Vec<_>>(), listened);
    let sidecar = read("examples/sidecar.yaml");
    assert!(sidecar.contains("listen = \"127.0.0.1:6432\"") && sidecar.contains("@127.0.0.1:6432/app"));
}

/// `terminationGracePeriodSeconds` and `TimeoutStopSec` are above what the router takes, or it is killed while it drains.
#[test]
fn whoever_stops_the_router_waits_for_longer_than_it_drains() {
    let source = fs::read_to_string(repository().join("crates/daemon/src/run.rs")).unwrap();
    let drain = source.split("const DRAIN_MAX: Duration = Duration::from_secs(").nth(1).unwrap();
    let drain: u64 = drain.split(')').next().unwrap().parse().unwrap();
    let number = |text: &str, key: &str| values(text, key).next().unwrap().parse::<u64>().unwrap();
    let deployment = read("base/deployment.yaml");
    let pause = number(&deployment, "seconds:");
    assert!(number(&deployment, "terminationGracePeriodSeconds:") >= pause + drain + 5);
    assert!(number(&read("examples/sidecar.yaml"), "terminationGracePeriodSeconds:") >= 2 * drain + 5);
    let unit = fs::read_to_string(repository().join("deploy/systemd/highwater.service")).unwrap();
    assert!(number(&unit, "TimeoutStopSec=") >= drain + 5);
}

#[test]
fn the_files_of_the_manifests_are_ones_that_the_router_takes() {
    let sidecar = read("examples/sidecar.yaml");
    let inner = sidecar.split("highwater.toml: |\n").nth(1).unwrap().split("---").next().unwrap();
    let inner: String = inner.lines().map(|line| line.trim_start().to_owned() + "\n").collect();
    let secret = read("examples/secret.yaml");
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path();
    for (name, key) in [("userlist.txt", "userlist.txt: |\n"), ("monitor.secret", "monitor.secret: |\n")] {
        let value = secret.split(key).nth(1).unwrap().lines().next().unwrap().trim();
        write_private(&home.join(name), &format!("{value}\n"));
    }
    for (name, settings) in [("base", read("base/highwater.toml")), ("sidecar", inner)] {
        let file = home.join(format!("{name}.toml"));
        fs::write(&file, settings.replace("/etc/highwater-secrets", home.to_str().unwrap())).unwrap();
        let said = run(Command::new(binary()).arg("check").arg("-c").arg(&file));
        assert!(!said.contains("warning"), "{name}: {said}");
    }
}

/// What systemd hears next, whatever it is.
fn heard(socket: &UnixDatagram) -> String {
    let mut buffer = [0; 512];
    let length = socket.recv(&mut buffer).expect("the router says something in time");
    String::from_utf8(buffer[..length].to_vec()).unwrap()
}

/// The next that is not the beat of its heart.
fn news(socket: &UnixDatagram) -> String {
    loop {
        let said = heard(socket);
        if said != "WATCHDOG=1" {
            return said;
        }
    }
}

/// The values behind a key, of lines that begin with it.
fn values<'a>(text: &'a str, key: &'a str) -> impl Iterator<Item = &'a str> {
    text.lines().filter_map(move |line| {
        let line = line.trim_start();
        let behind = line.strip_prefix(key).or_else(|| line.strip_prefix("- ")?.strip_prefix(key))?;
        Some(behind.trim())
    })
}

fn read(name: &str) -> String {
    let path = repository().join("deploy/kubernetes").join(name);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}
