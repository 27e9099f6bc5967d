//! A real Patroni cluster on loopback: one etcd and some members, each with a PostgreSQL of its own, gone when dropped.
//!
//! Patroni and etcd are Debian's packages; nothing of theirs that runs as a service is touched.

use std::fmt::Write as _;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tokio_postgres::{Client, Config};

use super::cluster::{new_home, open};
use super::process::{POSTGRES_USER, Process, Signal, signal_pid};
use super::router::http_get;
use super::template::{APP_PASSWORD, Installation, MONITOR_PASSWORD};
use super::{free_port, left_out, wait_for};

/// How long three members may take to be there on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// Where the program is, if it is installed; says so if not.
fn installed(program: &str, package: &str) -> Option<PathBuf> {
    let places = ["/usr/bin", "/usr/local/bin"].map(|place| Path::new(place).join(program));
    let found = places.into_iter().find(|path| path.exists());
    if found.is_none() {
        left_out(&format!("Patroni: {program} is not installed (apt-get install {package})"));
    }
    found
}

/// The cluster.
pub(crate) struct Patroni {
    pub(crate) members: Vec<Member>,
    _etcd: Process,
    home: PathBuf,
}

/// One member: Patroni and its PostgreSQL.
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) api: u16,
    pub(crate) port: u16,
    data: PathBuf,
    log: PathBuf,
    process: Option<Process>,
}

impl Patroni {
    /// So many members, of which one leads; with the roles and the database of the tests. `None`: it is not installed.
    pub(crate) async fn start(members: usize) -> Option<Patroni> {
        let (patroni, etcd) = (installed("patroni", "patroni")?, installed("etcd", "etcd-server")?);
        let home = new_home();
        let store = free_port();
        let etcd = start_etcd(&etcd, &home, store);
        wait_for("etcd to answer", PATIENCE, async || http_get(store, "/health").is_some()).await;
        let members = (0..members).map(|number| Member::new(&home, number)).collect();
        let mut cluster = Patroni { members, _etcd: etcd, home };
        for member in &mut cluster.members {
            member.launch(&patroni, store);
        }
        cluster.settled().await;
        prepare(&cluster.leader().superuser("postgres").await).await;
        Some(cluster)
    }

    /// Waits until one leads and all others stream from it.
    pub(crate) async fn settled(&self) {
        let count = self.members.len();
        wait_for("the members to be there", PATIENCE, async || {
            let Some(said) = self.members.iter().find_map(Member::cluster) else { return false };
            let all = said["members"].as_array().cloned().unwrap_or_default();
            let well = |member: &&Value| matches!(member["state"].as_str(), Some("running" | "streaming"));
            let leads = all.iter().filter(|member| member["role"] == "leader").count() == 1;
            leads && all.iter().filter(well).count() == count && self.streams(count - 1).await
        })
        .await;
    }

    async fn streams(&self, count: usize) -> bool {
        let Some(leader) = self.leader_now() else { return false };
        let Ok(client) = leader.try_superuser("postgres").await else { return false };
        let asked = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'";
        client.query_one(asked, &[]).await.is_ok_and(|row| usize::try_from(row.get::<_, i64>(0)) == Ok(count))
    }

    /// Who leads, by the word of any member.
    pub(crate) fn leader(&self) -> &Member {
        self.leader_now().expect("somebody leads")
    }

    pub(crate) fn leader_now(&self) -> Option<&Member> {
        let said = self.members.iter().find_map(Member::cluster)?;
        let leader = said["members"].as_array()?.iter().find(|member| member["role"] == "leader")?;
        self.members.iter().find(|member| leader["name"] == member.name)
    }

    /// Names of all members, who leads first.
    pub(crate) fn names(&self) -> (String, Vec<String>) {
        let leader = self.leader().name.clone();
        let others = self.members.iter().map(|m| m.name.clone()).filter(|name| *name != leader);
        (leader.clone(), others.collect())
    }

    /// `discover = …` of a router.
    pub(crate) fn discover(&self) -> String {
        let apis: Vec<_> = self.members.iter().map(|m| format!("\"http://127.0.0.1:{}\"", m.api)).collect();
        format!("discover = {{ patroni = [{}] }}", apis.join(", "))
    }

    /// A place for a test's files, gone with the cluster.
    pub(crate) fn home(&self) -> &Path {
        &self.home
    }
}

impl Drop for Patroni {
    fn drop(&mut self) {
        for member in &mut self.members {
            // It stops its server when it is told to end.
            if let Some(mut process) = member.process.take() {
                process.signal(Signal::TERM);
                process.wait(Duration::from_secs(20));
            }
            member.kill_server(Signal::QUIT);
            if std::thread::panicking() {
                let log = fs::read_to_string(&member.log).unwrap_or_default();
                let lines: Vec<_> = log.lines().collect();
                let end = lines[lines.len().saturating_sub(20)..].join("\n");
                eprintln!("--- end of {}'s log\n{end}", member.name);
            }
        }
        fs::remove_dir_all(&self.home).ok();
    }
}

impl Member {
    fn new(home: &Path, number: usize) -> Member {
        let name = format!("pg{number}");
        let (data, log) = (home.join(&name), home.join(format!("{name}.log")));
        Member { name, api: free_port(), port: free_port(), data, log, process: None }
    }

    fn launch(&mut self, patroni: &Path, store: u16) {
        let file = self.data.with_extension("yml");
        fs::write(&file, self.configuration(store)).expect("the directory can be written");
        let log = fs::File::create(&self.log).expect("the log can be written");
        self.process = Some(Process::start(patroni, Some(POSTGRES_USER), Signal::TERM, |command| {
            command.arg(&file).env("HOME", self.data.parent().expect("it has a parent"));
            command.stdout(log.try_clone().expect("it is open")).stderr(log);
        }));
    }

    fn configuration(&self, store: u16) -> String {
        let Member { name, api, port, data, .. } = self;
        let (data, bin) = (data.display(), Installation::default().bin);
        let mut text = String::new();
        write!(
            text,
            "scope: highwater\nname: {name}\n\
             restapi: {{ listen: '127.0.0.1:{api}', connect_address: '127.0.0.1:{api}' }}\n\
             etcd3: {{ host: '127.0.0.1:{store}' }}\n\
             bootstrap:\n  dcs: {{ ttl: 20, loop_wait: 2, retry_timeout: 3, postgresql: {{ use_pg_rewind: true }} }}\n\
             \x20 initdb: [ encoding: UTF8, locale: C, auth: trust, no-sync ]\n\
             postgresql:\n\
             \x20 listen: '127.0.0.1:{port}'\n  connect_address: '127.0.0.1:{port}'\n  data_dir: '{data}'\n\
             \x20 bin_dir: '{bin}'\n  pgpass: '{data}.pgpass'\n\
             \x20 authentication: {{ superuser: {{ username: postgres }}, replication: {{ username: postgres }} }}\n\
             \x20 parameters: {{ fsync: 'off', shared_buffers: 16MB, max_connections: 100, unix_socket_directories: '{home}' }}\n\
             \x20 pg_hba: [ local all all trust, host replication postgres 127.0.0.1/32 trust,\n\
             \x20   host all postgres 127.0.0.1/32 trust, host all all 127.0.0.1/32 scram-sha-256 ]\n",
            bin = bin.display(),
            home = self.data.parent().expect("it has a parent").display(),
        )
        .expect("a String takes everything");
        text
    }

    /// What it says of the cluster.
    pub(crate) fn cluster(&self) -> Option<Value> {
        let (status, text) = http_get(self.api, "/cluster")?;
        (status == 200).then(|| serde_json::from_str(&text).ok())?
    }

    /// Asks it to hand over to another member; returns when that is done, or refused.
    pub(crate) fn switch_over(api: u16, leader: &str, candidate: &str) -> String {
        let body = format!("{{\"leader\": \"{leader}\", \"candidate\": \"{candidate}\"}}");
        let mut stream = TcpStream::connect(("127.0.0.1", api)).expect("the member answers");
        stream.set_read_timeout(Some(PATIENCE)).expect("it is a socket");
        let length = body.len();
        write!(
            stream,
            "POST /switchover HTTP/1.0\r\nHost: 127.0.0.1\r\nContent-Length: {length}\r\n\r\n{body}"
        )
        .expect("the member reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("the member answers");
        answer
    }

    /// Kills Patroni and its server, as the loss of a machine does.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.end(Signal::KILL, PATIENCE);
        }
        self.kill_server(Signal::KILL);
    }

    /// The server is not Patroni's child: its process is found by the file it keeps.
    fn kill_server(&self, signal: Signal) {
        let file = fs::read_to_string(self.data.join("postmaster.pid")).unwrap_or_default();
        let Some(pid) = file.lines().next().and_then(|line| line.parse::<u32>().ok()) else { return };
        let runs_here = fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd == self.data);
        if runs_here {
            signal_pid(pid, signal);
        }
    }

    /// A connection as `postgres`, past the router.
    pub(crate) async fn superuser(&self, database: &str) -> Client {
        self.try_superuser(database).await.unwrap_or_else(|e| panic!("{} does not answer: {e:?}", self.name))
    }

    async fn try_superuser(&self, database: &str) -> Result<Client, tokio_postgres::Error> {
        let mut config = Config::new();
        config.host("127.0.0.1").port(self.port).user("postgres").dbname(database);
        open(config.connect_timeout(PATIENCE)).await
    }
}

fn start_etcd(program: &Path, home: &Path, port: u16) -> Process {
    let (clients, peers) = (format!("http://127.0.0.1:{port}"), format!("http://127.0.0.1:{}", free_port()));
    let log = fs::File::create(home.join("etcd.log")).expect("the log can be written");
    Process::start(program, Some(POSTGRES_USER), Signal::KILL, |command: &mut Command| {
        command.arg("--data-dir").arg(home.join("etcd"));
        command.args([
            "--name",
            "one",
            "--listen-client-urls",
            &clients,
            "--advertise-client-urls",
            &clients,
        ]);
        command.args(["--listen-peer-urls", &peers, "--initial-advertise-peer-urls", &peers]);
        command.arg("--initial-cluster").arg(format!("one={peers}"));
        command.stdout(log.try_clone().expect("it is open")).stderr(log);
    })
}

/// Roles and database as the tests of other clusters have them.
async fn prepare(client: &Client) {
    for statement in [
        format!("CREATE ROLE app LOGIN PASSWORD '{APP_PASSWORD}'"),
        format!("CREATE ROLE highwater LOGIN PASSWORD '{MONITOR_PASSWORD}' IN ROLE pg_monitor"),
        "CREATE DATABASE app OWNER app".to_owned(),
    ] {
        client.batch_execute(&statement).await.unwrap_or_else(|e| panic!("{statement}: {e:?}"));
    }
}
