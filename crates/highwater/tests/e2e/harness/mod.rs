//! Starts what the end-to-end tests talk to: real PostgreSQL clusters and the real router, and the means to wait.
//!
//! `HIGHWATER_TEST_DIRECT=1` leaves the router out: the tests then talk to the primary itself, which shows whether a
//! test asks for what PostgreSQL does. Tests that need the router end early in that case.

pub(crate) mod cluster;
pub(crate) mod patroni;
pub(crate) mod process;
pub(crate) mod raw;
pub(crate) mod router;
pub(crate) mod stub;
pub(crate) mod template;

use std::io::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::OnceCell;

pub(crate) use cluster::Cluster;
pub(crate) use router::{Router, Settings};

/// A cluster with a router in front of it, or without one when the tests run direct.
#[derive(Debug)]
pub(crate) struct Fixture {
    pub(crate) router: Option<Router>,
    pub(crate) cluster: Cluster,
}

impl Fixture {
    /// One primary, one replica, and a router with the given settings.
    pub(crate) async fn start(settings: Settings) -> Self {
        let cluster = Cluster::start(1).await;
        let router = if direct() { None } else { Some(Router::start(&cluster, settings).await) };
        Fixture { router, cluster }
    }

    /// The router; `None` when the tests run direct, which ends a test that is about the router.
    pub(crate) fn router(&self) -> Option<&Router> {
        if self.router.is_none() {
            eprintln!("left out: this test is about the router, and HIGHWATER_TEST_DIRECT is set");
        }
        self.router.as_ref()
    }

    /// Where clients connect: the router, or the primary.
    pub(crate) fn port(&self) -> u16 {
        self.router.as_ref().map_or(self.cluster.primary.port, |router| router.port)
    }

    /// Where the name `app_ro` leads: port and database.
    pub(crate) fn read_only(&self) -> (u16, &'static str) {
        self.router.as_ref().map_or((self.cluster.replica().port, "app"), |router| (router.port, "app_ro"))
    }

    /// Where the name `app_rw` leads: port and database.
    pub(crate) fn read_write(&self) -> (u16, &'static str) {
        self.router.as_ref().map_or((self.cluster.primary.port, "app"), |router| (router.port, "app_rw"))
    }

    /// A client as `app` of the database `app`.
    pub(crate) async fn connect(&self) -> tokio_postgres::Client {
        router::connect(self.port(), "app").await
    }

    /// A scripted client as `app` of the database `app`.
    pub(crate) fn raw(&self) -> raw::Raw {
        raw::Raw::login(self.port(), "app", template::APP_PASSWORD, "app")
    }
}

/// The fixture that all tests share which do not harm its nodes. It ends with the process.
pub(crate) async fn shared() -> &'static Fixture {
    static SHARED: OnceCell<Fixture> = OnceCell::const_new();
    static TRIED: AtomicBool = AtomicBool::new(false);
    let start = async || {
        let tried = TRIED.swap(true, Ordering::Relaxed);
        assert!(!tried, "the shared cluster and router did not start: see the first test that failed");
        let fixture = Fixture::start(Settings::default()).await;
        fixture.cluster.clear_at_exit();
        fixture
    };
    SHARED.get_or_init(start).await
}

/// The repository's directory.
pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The tests run without the router.
pub(crate) fn direct() -> bool {
    std::env::var_os("HIGHWATER_TEST_DIRECT").is_some_and(|value| value == "1")
}

/// The long forms of the tests were asked for.
pub(crate) fn full() -> bool {
    std::env::var_os("HIGHWATER_TEST_FULL").is_some_and(|value| value == "1")
}

/// Says what is not judged here, and why. What a test prints is shown only when it fails: so the line is also added to the
/// file that `HIGHWATER_TEST_LEFT_OUT` names, which `cargo xtask ci` shows.
pub(crate) fn left_out(what: &str) {
    eprintln!("left out: {what}");
    if let Some(path) = std::env::var_os("HIGHWATER_TEST_LEFT_OUT") {
        let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
        let mut file = file.expect("the file of what is left out can be written");
        file.write_all(format!("{what}\n").as_bytes()).expect("the file of what is left out can be written");
    }
}

/// Held by tests that need most of the machine, so that only one of them runs at a time: a lock of the system's, because the
/// test runner gives each test a process of its own. It ends with its process at the latest.
pub(crate) async fn alone() -> std::fs::File {
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("alone.lock");
    let lock = std::fs::File::create(path).expect("the lock of tests that are alone can be made");
    wait_for("other tests that need the machine", Duration::from_secs(300), async || {
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive).is_ok()
    })
    .await;
    lock
}

/// Asks again until the answer is yes; panics when it is not within `limit`. The only place where tests wait.
pub(crate) async fn wait_for(what: &str, limit: Duration, mut holds: impl AsyncFnMut() -> bool) {
    let begin = Instant::now();
    let mut pause = Duration::from_millis(2);
    while !holds().await {
        assert!(begin.elapsed() < limit, "waited {limit:?} in vain for {what}");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

/// A port of 127.0.0.1 that nobody has at this moment, below the range from which the kernel gives ports to outgoing
/// connections, so that none of those takes it while its server is down.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    for _ in 0..12_000 {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let start = std::process::id().wrapping_mul(37);
        let port = u16::try_from(20_000 + start.wrapping_add(step) % 12_000).expect("below 32 000");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no port between 20000 and 32000 is free on 127.0.0.1");
}
