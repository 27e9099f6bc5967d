//! `highwater bench local`: a throw-away primary with replicas, one router, and what each replica brings.
//!
//! One router serves every comparison: replicas that a target is not to have are drained, so that data, pools and probes
//! are the same for all. Each server gets its own share of the processor (`shares`); the router and the load generator are
//! outside of these.

mod cgroup;
mod pin;
mod shares;

use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Context;
use load::ask::Asked;

use self::shares::Shares;
use super::args::{Cores, Local};
use super::interrupt::Interrupt;
use super::probe::Probes;
use super::report::Report;
use super::rounds::Lane;
use super::server::Watched;
use super::target::Contender;
use super::workload::Workload;
use super::{measure, plan, tables, tell};
use crate::dsn::Dsn;
use crate::setup::cluster::{APP, Cluster, Home};
use crate::setup::process::Process;
use crate::setup::progress::Progress;
use crate::setup::server::SUPERUSER;
use crate::setup::signals::Signals;
use crate::setup::tools::tail;
use crate::setup::{phase, ports, router, supervise};
use crate::{failure, output};

/// Where free ports are looked for: below those that the kernel gives to outgoing connections.
const PORTS_FROM: u16 = 20_000;
const PORTS_SPREAD: u32 = 9_000;
/// How long a replica may take until it is proved fresh again.
const FRESH_MAX: Duration = Duration::from_secs(30);
/// How long the router may take to listen.
const LISTEN_MAX: Duration = Duration::from_secs(30);
/// Between two looks.
const POLL: Duration = Duration::from_millis(20);
/// What SHOW FRESHNESS says of a node that may serve reads.
const SERVES: &str = "yes";

/// Makes the servers, measures, and takes everything away again.
pub(super) fn local(asked: &Local) -> anyhow::Result<()> {
    let workload = Workload::choose(&asked.run.asking)?;
    if asked.run.asking.print_workload {
        output::text(&workload.text(asked.run.asking.scale));
        return Ok(());
    }
    workload.script(1)?;
    let mut signals = phase(async { Signals::new() })??;
    let port = free_port()?;
    let mut cluster = Cluster::open(Home::ThrownAway, asked.pg_bin.as_deref(), port)?;
    let result = with_servers(asked, &workload, &mut cluster, port, &mut signals);
    phase(supervise::stop(&mut cluster.servers, signals.received()))?;
    cluster.servers.clear();
    let removed = cluster.place.remove_if_temporary();
    result.and(removed)
}

fn with_servers(
    asked: &Local,
    workload: &Workload,
    cluster: &mut Cluster,
    port: u16,
    signals: &mut Signals,
) -> anyhow::Result<()> {
    let most = asked.replicas.iter().copied().max().unwrap_or(0);
    let progress = if asked.run.shown.quiet { Progress::silent() } else { Progress::begin() };
    let brought_up = phase(async {
        tokio::select! {
            result = cluster.bring_up(Some(most), &progress) => result.map(Some),
            () = signals.received() => Ok(None),
        }
    })??;
    if brought_up.is_none() {
        return Err(failure::failed("interrupted before anything was measured"));
    }
    let text = router::configuration(&cluster.nodes(), &cluster.marker, port);
    let configuration = cluster.place.write_configuration(&text)?;
    progress.step(&format!("starting the router on port {port}"));
    let log = cluster.place.log("router");
    let mut router = start_router(&configuration, &log)?;
    listening(&mut router, port, &log)?;
    phase(router::proved(&cluster.marker, port, usize::from(most)))??;
    let mut interrupt = Interrupt::new()?;
    compare(asked, workload, cluster, port, &mut interrupt)
}

/// The tables are made at full speed; the shares begin with the run.
fn compare(
    asked: &Local,
    workload: &Workload,
    cluster: &Cluster,
    port: u16,
    interrupt: &mut Interrupt,
) -> anyhow::Result<()> {
    let stages = stages(&asked.replicas);
    let contenders = stages.iter().map(|stage| stage.contender(cluster, port));
    let contenders = contenders.collect::<anyhow::Result<Vec<_>>>()?;
    tables::make(workload, asked.run.asking.scale, &contenders, &tell(&asked.run))?;
    let scale = tables::scale_of(workload, &contenders[0])?;
    let plan = plan(&asked.run, workload, scale, contenders.len())?;
    let servers: Vec<(String, u32)> =
        cluster.servers.iter().map(|server| (server.node.name.clone(), server.pid())).collect();
    let shares = match asked.server_cpu {
        Cores::Unlimited => Shares::none("--server-cpu off"),
        Cores::Limited(cores) => Shares::give(&servers, cores),
    };
    if !asked.run.shown.quiet {
        output::note(shares.note(servers.len()));
    }
    let lane = |contender: Contender| {
        let probes =
            if asked.run.shown.no_probe { Probes::none("--no-probe") } else { Probes::open(&contender) };
        Lane { contender, probes, watched: Watched(servers.clone()), turns: Vec::new() }
    };
    let lanes: Vec<Lane> = contenders.into_iter().map(lane).collect();
    let mut report = Report::begin(&asked.run, workload, scale, &plan);
    report.servers = Some(shares.report(servers.len()));
    let mut console = Console::open(cluster, port)?;
    let mut enter = |place: usize| console.serve_with(stages[place].replicas());
    measure(&asked.run, &plan, lanes, &mut enter, (&mut report, interrupt))
}

/// What is compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// The primary itself, without a router.
    Direct,
    /// The router, with so many replicas.
    Routed(u16),
}

/// The primary itself, then the router with each number of replicas, the fewest first.
fn stages(replicas: &[u16]) -> Vec<Stage> {
    let mut numbers = replicas.to_vec();
    numbers.sort_unstable();
    numbers.dedup();
    std::iter::once(Stage::Direct).chain(numbers.into_iter().map(Stage::Routed)).collect()
}

impl Stage {
    fn name(self) -> String {
        match self {
            Stage::Direct => "primary, no router".to_owned(),
            Stage::Routed(1) => "router, 1 replica".to_owned(),
            Stage::Routed(count) => format!("router, {count} replicas"),
        }
    }

    /// The direct connection does not care.
    fn replicas(self) -> u16 {
        match self {
            Stage::Direct => 0,
            Stage::Routed(count) => count,
        }
    }

    fn contender(self, cluster: &Cluster, router_port: u16) -> anyhow::Result<Contender> {
        let port = match self {
            Stage::Direct => cluster.marker.primary.port,
            Stage::Routed(_) => router_port,
        };
        let password = &cluster.marker.passwords.app;
        let dsn = Dsn { user: APP, password, host: "127.0.0.1", port, database: APP };
        Contender::reach(&format!("{}={dsn}", self.name()))
    }
}

/// The router's console.
struct Console {
    asked: Asked,
    replicas: u16,
    /// Those with a number above this are drained.
    serving: Option<u16>,
}

impl Console {
    fn open(cluster: &Cluster, port: u16) -> anyhow::Result<Console> {
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], port));
        let target = load::Target::new(address, SUPERUSER, "highwater")
            .with_password(&cluster.marker.passwords.superuser);
        let asked = Asked::open(&target).context("can't open the router's console")?;
        let replicas = u16::try_from(cluster.marker.replicas.len()).unwrap_or(u16::MAX);
        Ok(Console { asked, replicas, serving: None })
    }

    /// Lets so many replicas serve reads, and waits until they are proved fresh.
    fn serve_with(&mut self, count: u16) -> anyhow::Result<()> {
        if self.serving == Some(count) {
            return Ok(());
        }
        for number in 1..=self.replicas {
            let verb = if number > count { "DRAIN" } else { "UNDRAIN" };
            let done = self.asked.rows(&format!("{verb} \"replica-{number}\""));
            done.with_context(|| format!("the router's console refused {verb} replica-{number}"))?;
        }
        let mut waited = Duration::ZERO;
        while self.fresh()? < usize::from(count) {
            if waited > FRESH_MAX {
                return Err(failure::failed(format!(
                    "a replica was not proved fresh within {} s: a share of the processor may be too small for it, see \
                     --server-cpu",
                    FRESH_MAX.as_secs()
                )));
            }
            std::thread::sleep(POLL);
            waited += POLL;
        }
        self.serving = Some(count);
        Ok(())
    }

    /// How many replicas may serve reads and are proved fresh as of some instant.
    fn fresh(&mut self) -> anyhow::Result<usize> {
        let rows =
            self.asked.rows("SHOW FRESHNESS").context("the router's console refused SHOW FRESHNESS")?;
        let fresh = |row: &&load::ask::Row| {
            let column = |index: usize| row.get(index).and_then(Option::as_deref);
            let [role, serves, staleness] = [2, 3, 4].map(column);
            role == Some("replica") && serves == Some(SERVES) && staleness.is_some()
        };
        Ok(rows.iter().filter(fresh).count())
    }
}

/// The router, as a process of its own: it is measured beside the load generator, not within it.
fn start_router(configuration: &Path, log: &Path) -> anyhow::Result<Process> {
    let program = std::env::current_exe().context("can't find this program itself")?;
    let file = std::fs::File::create(log).with_context(|| format!("can't write {}", log.display()))?;
    // The leash: the kernel stops it when we are killed without a chance to do it.
    let leash = Command::new("setpriv").args(["--pdeathsig", "TERM", "true"]).output();
    let mut command = if leash.is_ok_and(|output| output.status.success()) {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "TERM"]).arg(program);
        command
    } else {
        Command::new(program)
    };
    command.arg("serve").arg("-c").arg(configuration);
    for (name, _) in
        std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"HIGHWATER_"))
    {
        command.env_remove(name);
    }
    command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
    Process::spawn(&mut command).context("can't start the router")
}

/// Waits until the router takes connections.
fn listening(router: &mut Process, port: u16, log: &Path) -> anyhow::Result<()> {
    let mut waited = Duration::ZERO;
    while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
        if router.ended().is_some() || waited > LISTEN_MAX {
            let words = tail(log);
            return Err(failure::failed(format!("the router did not start: {}", words.trim())));
        }
        std::thread::sleep(POLL);
        waited += POLL;
    }
    Ok(())
}

/// The router's port, with those behind it free too: HTTP is on the next one, the nodes are from 10 above on.
fn free_port() -> anyhow::Result<u16> {
    let start = PORTS_FROM + u16::try_from(std::process::id() * 37 % PORTS_SPREAD).unwrap_or(0);
    let mut port = start;
    loop {
        port = ports::free_from(port, &[])?;
        if ports::is_free(router::http_port(port)) {
            return Ok(port);
        }
        port += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_primary_comes_first_and_each_number_of_replicas_once() {
        let names: Vec<_> = stages(&[2, 0, 2, 1]).into_iter().map(Stage::name).collect();
        assert_eq!(
            names,
            ["primary, no router", "router, 0 replicas", "router, 1 replica", "router, 2 replicas"]
        );
    }
}
