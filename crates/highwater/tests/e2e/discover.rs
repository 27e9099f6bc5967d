//! Nodes that come and go: by a file, by the settings, and what that means for those who are being served.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::harness::cluster::Node;
use crate::harness::process::Signal;
use crate::harness::raw::{Raw, sqlstates, tags, values};
use crate::harness::router::{configuration, write_private};
use crate::harness::template::APP_PASSWORD;
use crate::harness::{Cluster, Router, Settings, direct, wait_for};
use crate::pgbench;

const PATIENCE: Duration = Duration::from_secs(60);

/// A list of nodes, as `discover = { file = … }` reads it.
struct List(PathBuf);

impl List {
    fn new(cluster: &Cluster, nodes: &[(&Node, &str)]) -> List {
        let list = List(cluster.home().join("nodes.txt"));
        list.name(nodes);
        list
    }

    /// Replaces the list, as a program does that wants no reader to see half of it.
    fn name(&self, nodes: &[(&Node, &str)]) {
        let line = |(node, name): &(&Node, &str)| format!("127.0.0.1:{} {name}\n", node.port);
        self.put(&format!("# nodes of the test\n{}", nodes.iter().map(line).collect::<String>()));
    }

    fn put(&self, text: &str) {
        let aside = self.0.with_extension("new");
        fs::write(&aside, text).expect("the directory can be written");
        fs::rename(&aside, &self.0).expect("it is there");
    }

    /// A pipe that nobody writes to, in its place.
    fn put_pipe(&self) {
        assert!(
            Command::new("mkfifo").arg(&self.0).status().expect("mkfifo is part of the system").success()
        );
    }

    fn settings(&self) -> Settings {
        let nodes = format!("discover = {{ file = \"{}\", every = \"100ms\" }}", self.0.display());
        Settings { nodes: Some(nodes), ..Settings::default() }
    }
}

/// What the router says of its only cluster.
pub(crate) fn cluster_of(router: &Router) -> Value {
    let (_, text) = router.get("/api/v1/cluster").expect("the router answers");
    let mut shown: Value = serde_json::from_str(&text).expect("it is JSON");
    shown["clusters"][0].take()
}

/// Name and role of each of its nodes.
pub(crate) fn nodes_of(router: &Router) -> Vec<(String, String)> {
    let cluster = cluster_of(router);
    let word = |node: &Value, key: &str| node[key].as_str().unwrap_or_default().to_owned();
    let nodes = cluster["nodes"].as_array().expect("there are nodes").iter();
    nodes.map(|node| (word(node, "name"), word(node, "role"))).collect()
}

pub(crate) fn metric(router: &Router, series: &str) -> Option<f64> {
    let (_, text) = router.get("/metrics").expect("the router answers");
    text.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok())
}

fn names(nodes: &[(&str, &str)]) -> Vec<(String, String)> {
    nodes.iter().map(|(name, role)| ((*name).to_owned(), (*role).to_owned())).collect()
}

pub(crate) async fn nodes_become(router: &Router, expected: &[(&str, &str)]) {
    let what = format!("the nodes to be {expected:?}");
    wait_for(&what, PATIENCE, async || nodes_of(router) == names(expected)).await;
}

/// Connections to a node by this role.
async fn connections(node: &Node, role: &str) -> i64 {
    let asked = "SELECT count(*) FROM pg_stat_activity WHERE usename = $1 AND pid <> pg_backend_pid()";
    node.superuser().await.query_one(asked, &[&role]).await.unwrap().get(0)
}

/// Statements that read the table of pgbench on a node, by its own count.
async fn reads(node: &Node) -> i64 {
    let asked = "SELECT coalesce(sum(calls), 0)::bigint FROM pg_stat_statements \
                 WHERE query LIKE 'SELECT abalance%'";
    node.superuser().await.query_one(asked, &[]).await.unwrap().get(0)
}

/// pgbench through a router for a while. Each transaction is a session of its own: one that reads without a pause stays
/// with its replica, because no other is proved to show as much at that moment.
struct Load(Child, PathBuf);

impl Load {
    fn start(router: &Router, home: &Path, seconds: u32, script: &str) -> Load {
        let report = home.join("pgbench.txt");
        let open = || fs::File::create(&report).expect("the report can be written");
        let mut command = Command::new(pgbench::program());
        command
            .args(["-h", "127.0.0.1", "-U", "app", "-p"])
            .arg(router.port.to_string())
            .args(["-n", "-C", "-c", "8", "-j", "2", "-b", script, "-T"])
            .arg(seconds.to_string())
            .arg("app")
            .env("PGPASSWORD", APP_PASSWORD)
            .stdin(Stdio::null())
            .stdout(open())
            .stderr(fs::File::options().append(true).open(&report).expect("it is there"));
        Load(command.spawn().expect("pgbench can be run"), report)
    }

    /// Waits for its end, which must be a good one.
    fn end(mut self) -> String {
        let status = self.0.wait().expect("it is ours");
        let report = fs::read_to_string(&self.1).unwrap_or_default();
        assert!(status.success(), "{status}\n{report}");
        assert!(!report.contains("ERROR") && !report.contains("aborted"), "{report}");
        assert!(report.contains("number of failed transactions: 0 "), "{report}");
        report
    }
}

#[tokio::test]
async fn a_node_that_a_file_names_is_read_from_and_one_it_names_no_more_costs_nobody_an_error() {
    if direct() {
        return;
    }
    let cluster = Cluster::start(2).await;
    let (one, two) = (&cluster.replicas[0], &cluster.replicas[1]);
    let list = List::new(&cluster, &[(&cluster.primary, "alpha"), (one, "beta")]);
    let router = Router::start(&cluster, list.settings()).await;
    nodes_become(&router, &[("alpha", "primary"), ("beta", "replica")]).await;
    let mut init = Command::new(pgbench::program());
    init.args(["-i", "-q", "-h", "127.0.0.1", "-U", "app", "-p", &cluster.primary.port.to_string(), "app"]);
    crate::harness::process::run(init.env("PGPASSWORD", APP_PASSWORD));
    cluster.caught_up().await;

    let load = Load::start(&router, cluster.home(), 12, "select-only");
    wait_for("reads on the first replica", PATIENCE, async || reads(one).await > 100).await;
    assert_eq!(reads(two).await, 0);
    list.name(&[(&cluster.primary, "alpha"), (one, "beta"), (two, "gamma")]);
    wait_for("reads on the replica that joined", PATIENCE, async || reads(two).await > 100).await;
    list.name(&[(&cluster.primary, "alpha"), (two, "gamma")]);
    nodes_become(&router, &[("alpha", "primary"), ("gamma", "replica")]).await;
    wait_for("every connection to the one that left to end", PATIENCE, async || {
        connections(one, "app").await == 0 && connections(one, "highwater").await == 0
    })
    .await;
    let (before, there) = (reads(one).await, reads(two).await);
    wait_for("more reads on the other", PATIENCE, async || reads(two).await > there + 200).await;
    assert_eq!(reads(one).await, before, "somebody still reads where nothing should be sent");
    println!("{}", load.end());

    let (_, metrics) = router.get("/metrics").unwrap();
    assert!(!metrics.contains("\"beta\"") && metrics.contains("node=\"gamma\""), "{metrics}");
    assert_eq!(metric(&router, "highwater_discovery_up{cluster=\"main\"}"), Some(1.0));
    let mut console = Raw::login(router.port, "app", APP_PASSWORD, "highwater");
    let shown = format!("{:?}", console.query("SHOW NODES"));
    assert!(!shown.contains("beta") && shown.contains("gamma") && shown.contains("file"), "{shown}");
    assert!(!format!("{:?}", console.query("SHOW POOLS")).contains("beta"));
    let log = router.log();
    assert!(log.contains("a node has joined the cluster") && log.contains("a node has left the cluster"));
}

#[tokio::test]
async fn what_runs_on_a_node_that_leaves_runs_to_its_end_there() {
    if direct() {
        return;
    }
    let cluster = Cluster::start(1).await;
    let (primary, replica) = ((&cluster.primary, "alpha"), (cluster.replica(), "beta"));
    let list = List::new(&cluster, &[primary, replica]);
    let router = Router::start(&cluster, list.settings()).await;
    let mut reader = Raw::login(router.port, "app", APP_PASSWORD, "app");
    let port = "SELECT current_setting('port')";
    let at = |node: &Node| vec![node.port.to_string()];
    reader.query("BEGIN READ ONLY");
    assert_eq!(values(&reader.query(port)), at(cluster.replica()));
    list.name(&[primary]);
    nodes_become(&router, &[("alpha", "primary")]).await;
    assert_eq!(values(&reader.query(port)), at(cluster.replica()), "the block goes on where it began");
    assert!(sqlstates(&reader.query("COMMIT")).is_empty());
    assert_eq!(values(&reader.query(port)), at(&cluster.primary), "the next one does not");
    wait_for("its backend to be closed", PATIENCE, async || connections(cluster.replica(), "app").await == 0)
        .await;
    // Back again it is as good as before.
    list.name(&[primary, replica]);
    nodes_become(&router, &[("alpha", "primary"), ("beta", "replica")]).await;
    wait_for("reads to return to it", PATIENCE, async || {
        let mut raw = Raw::login(router.port, "app", APP_PASSWORD, "app");
        values(&raw.query(port)) == at(cluster.replica())
    })
    .await;
}

#[tokio::test]
async fn a_list_that_makes_no_sense_or_is_gone_changes_nothing_and_says_why() {
    if direct() {
        return;
    }
    let cluster = Cluster::start(1).await;
    let nodes = [(&cluster.primary, "alpha"), (cluster.replica(), "beta")];
    let list = List::new(&cluster, &nodes);
    let router = Router::start(&cluster, list.settings()).await;
    let expected = names(&[("alpha", "primary"), ("beta", "replica")]);
    let says =
        |what: &str| cluster_of(&router)["discovery"]["error"].as_str().is_some_and(|e| e.contains(what));
    for (text, why) in [
        (Some("127.0.0.1:1 x\nnot a node at all\n"), "line 2"),
        (Some(""), "no node is named"),
        (Some("127.0.0.1:1\n127.0.0.1:1\n"), "named twice"),
        (None, "can't be read"),
        (None, "is not a file"),
    ] {
        match text {
            Some(text) => list.put(text),
            None if why == "is not a file" => list.put_pipe(),
            None => fs::remove_file(&list.0).unwrap(),
        }
        wait_for(&format!("the status to say {why:?}"), PATIENCE, async || says(why)).await;
        assert_eq!(nodes_of(&router), expected, "{why}");
        assert_eq!(metric(&router, "highwater_discovery_up{cluster=\"main\"}"), Some(0.0));
        assert!(router.log().contains(why), "{why}");
    }
    assert!(metric(&router, "highwater_discovery_errors_total{cluster=\"main\"}") >= Some(5.0));
    assert!(tags(&Raw::login(router.port, "app", APP_PASSWORD, "app").query("SELECT 1")).contains('D'));
    list.name(&nodes);
    wait_for("the status to be well again", PATIENCE, async || {
        let discovery = cluster_of(&router)["discovery"].clone();
        discovery["error"].is_null() && discovery["source"] == "file" && discovery["last_ok_ms"].is_number()
    })
    .await;
    assert_eq!(nodes_of(&router), expected);
}

#[tokio::test]
async fn changed_nodes_of_the_settings_are_in_force_after_a_reload() {
    if direct() {
        return;
    }
    let cluster = Cluster::start(1).await;
    let address = |node: &Node| format!("127.0.0.1:{}", node.port);
    let (primary, replica) = (address(&cluster.primary), address(cluster.replica()));
    let router = Router::start(&cluster, Settings::default()).await;
    let mut long = Raw::login(router.port, "app", APP_PASSWORD, "app");
    let rewrite = |nodes: String| {
        let settings = Settings { nodes: Some(nodes), ..Settings::default() };
        write_private(&router.config, &configuration(&cluster, &settings, router.port, router.http));
        router.signal(Signal::HUP);
    };
    assert!(cluster_of(&router)["discovery"].is_null());
    rewrite(format!("nodes = [\"{primary}\"]"));
    nodes_become(&router, &[(&primary, "primary")]).await;
    assert!(sqlstates(&long.query("SELECT count(*) FROM pg_class")).is_empty(), "it came before the reload");
    assert_eq!(long.route().0, "primary");
    // Named otherwise it is another node; and beside the listed ones there is a list to look at.
    let list = List::new(&cluster, &[(&cluster.primary, "not called so"), (cluster.replica(), "beta")]);
    list.put(&format!("{primary} omega\n{replica} beta\n"));
    rewrite(format!(
        "nodes = [{{ name = \"alpha\", host = \"127.0.0.1\", port = {} }}]\ndiscover = {{ file = \"{}\" }}",
        cluster.primary.port,
        list.0.display()
    ));
    nodes_become(&router, &[("alpha", "primary"), ("beta", "replica")]).await;
    assert!(sqlstates(&long.query("CREATE TEMP TABLE x (i int)")).is_empty());
    assert_eq!(cluster_of(&router)["discovery"]["source"], "file");
    rewrite(format!("nodes = [\"{primary}\", \"{replica}\"]"));
    nodes_become(&router, &[(&primary, "primary"), (&replica, "replica")]).await;
    assert!(cluster_of(&router)["discovery"].is_null());
    assert!(!router.log().contains("will be in force after a restart"), "{}", router.log());
}

#[tokio::test]
async fn a_command_and_a_name_say_which_nodes_there_are_too() {
    if direct() {
        return;
    }
    let cluster = Cluster::start(1).await;
    let list = List::new(&cluster, &[(&cluster.primary, "alpha"), (cluster.replica(), "beta")]);
    let discover = |what: String| Settings {
        nodes: Some(format!("discover = {{ {what}, every = \"100ms\", leave_after = \"300ms\" }}")),
        ..Settings::default()
    };
    let script = format!(
        "test ! -e {0}.hang || {{ sleep 300 & echo $! > {0}.pid; wait; }}; cat {0} || exit 3; test ! -e {0}.fail || {{ echo out of order >&2; exit 4; }}",
        list.0.display()
    );
    let command = format!("command = [\"sh\", \"-c\", \"{script}\"]");
    let router = Router::start(&cluster, discover(command)).await;
    nodes_become(&router, &[("alpha", "primary"), ("beta", "replica")]).await;
    // Half an answer and a bad end are no answer.
    fs::write(format!("{}.fail", list.0.display()), "").unwrap();
    list.name(&[(&cluster.primary, "alpha")]);
    wait_for("the status to say why", PATIENCE, async || {
        let error = cluster_of(&router)["discovery"]["error"].to_string();
        error.contains("exit status: 4") && error.contains("out of order")
    })
    .await;
    assert_eq!(nodes_of(&router).len(), 2);
    fs::remove_file(format!("{}.fail", list.0.display())).unwrap();
    nodes_become(&router, &[("alpha", "primary")]).await;
    // One that hangs, in something that it has started.
    fs::write(format!("{}.hang", list.0.display()), "").unwrap();
    let started = || fs::read_to_string(format!("{}.pid", list.0.display())).unwrap_or_default();
    wait_for("the command to hang", PATIENCE, async || started().ends_with('\n')).await;
    // Another source by a reload: both addresses of localhost, or the one that there is.
    let name = format!("dns = \"localhost:{}\"", cluster.primary.port);
    write_private(&router.config, &configuration(&cluster, &discover(name), router.port, router.http));
    router.signal(Signal::HUP);
    let address = format!("127.0.0.1:{}", cluster.primary.port);
    wait_for("the node to be found by its address", PATIENCE, async || {
        let nodes = nodes_of(&router);
        nodes.iter().any(|(name, role)| *name == address && role == "primary")
            && nodes.iter().all(|(name, _)| name != "alpha")
    })
    .await;
    assert_eq!(cluster_of(&router)["discovery"]["source"], "dns");
    wait_for("nothing to be left of the command", PATIENCE, async || {
        fs::read(format!("/proc/{}/cmdline", started().trim())).map_or(true, |line| line.is_empty())
    })
    .await;
    assert!(
        sqlstates(&Raw::login(router.port, "app", APP_PASSWORD, "app").query("CREATE TABLE t ()")).is_empty()
    );
}
