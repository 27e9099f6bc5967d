//! Where the nodes of a cluster are found when they come and go: a source is asked again and again, and its answers become
//! the set of nodes that the cluster's monitor watches.
//!
//! A source says *which* nodes there are, and perhaps which of them somebody has elected. What a node is, and how fresh,
//! it proves itself (`monitor`, `engine::cluster`). An answer that can't be had or makes no sense changes nothing: the last
//! good one holds, and the log and the status say why.

mod aurora;
mod command;
mod dns;
mod file;
mod get;
mod listing;
mod patroni;
mod settle;

use std::sync::{Arc, Mutex, PoisonError};

use engine::time::Instant;
use tokio::task::AbortHandle;
use tokio::time::sleep;

use crate::clock::Clock;
use crate::config::{ClusterSettings, DiscoverSettings, MonitorSettings, NodeSettings, SourceSettings};
use crate::monitor::{self, MonitorHandle};
use crate::spawn;
use aurora::AuroraSource;
use command::CommandSource;
use dns::DnsSource;
use file::FileSource;
use patroni::PatroniSource;
use settle::Settled;

/// Most nodes that one source may name.
const FOUND_MAX: usize = 1000;

/// What a source has said.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Found {
    /// The nodes, in the source's order, none twice.
    pub(crate) nodes: Vec<FoundNode>,
    /// Who is to take writes.
    pub(crate) primary: Elected,
}

/// A node as a source names it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct FoundNode {
    /// What it is to be called; its address when the source has no name for it.
    pub(crate) name: Option<String>,
    pub(crate) host: String,
    pub(crate) port: u16,
    /// No reads are to be sent there.
    pub(crate) spared: bool,
}

impl FoundNode {
    /// A node without a name.
    pub(crate) fn at(host: String, port: u16) -> FoundNode {
        FoundNode { name: None, host, port, spared: false }
    }

    fn is_at(&self, other: &FoundNode) -> bool {
        (&self.host, self.port) == (&other.host, other.port)
    }
}

/// Who is to take writes, as far as the source knows.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) enum Elected {
    /// Nothing was heard of the source yet.
    #[default]
    NotHeard,
    /// That is not the source's business.
    ByNobody,
    /// The node at this address; none at the moment.
    Named(Option<(String, u16)>),
}

/// How it goes with a source, for people.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Status {
    /// Its name, as in the configuration.
    pub(crate) source: &'static str,
    /// When it gave a good answer last.
    pub(crate) last_ok: Option<Instant>,
    /// Why the last answer was none; nothing after a good one.
    pub(crate) error: Option<String>,
    /// Answers that were none, so far.
    pub(crate) errors: u64,
}

/// A cluster's source, asked until this is dropped.
pub(crate) struct Discovery {
    status: Arc<Mutex<Status>>,
    task: AbortHandle,
}

impl Discovery {
    /// How it goes.
    pub(crate) fn status(&self) -> Status {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Discovery {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Starts asking a cluster's source.
pub(crate) fn spawn(
    cluster: &str,
    (settings, login): (&DiscoverSettings, &MonitorSettings),
    monitor: MonitorHandle,
    clock: Clock,
) -> Discovery {
    let source = settings.source.name();
    let status = Arc::new(Mutex::new(Status { source, last_ok: None, error: None, errors: 0 }));
    let seeker = Seeker {
        cluster: cluster.to_owned(),
        source: Source::new(&settings.source, login),
        settings: settings.clone(),
        settled: Settled::default(),
        told: None,
        status: Arc::clone(&status),
        monitor,
        clock,
    };
    Discovery { status, task: spawn::task("discovery", seeker.run()).abort_handle() }
}

/// All nodes that a cluster has at this moment, those of its settings first: its source, if it has one, is asked once.
///
/// # Errors
/// In a sentence, why they can't be told.
pub async fn discover_once(cluster: &ClusterSettings) -> Result<Vec<NodeSettings>, String> {
    let Some(discover) = &cluster.discover else { return Ok(cluster.nodes.clone()) };
    let found = Source::new(&discover.source, &cluster.monitor).ask(None).await.and_then(sound)?;
    Ok(monitor::joined(&cluster.nodes, &found))
}

/// Who can be asked for the nodes.
enum Source {
    File(FileSource),
    Command(CommandSource),
    Dns(DnsSource),
    Patroni(PatroniSource),
    Aurora(Box<AuroraSource>),
}

impl Source {
    /// `login` is for a source that is a database.
    fn new(settings: &SourceSettings, login: &MonitorSettings) -> Source {
        match settings {
            SourceSettings::File(path) => Source::File(FileSource::new(path.clone())),
            SourceSettings::Command { program, arguments } => {
                Source::Command(CommandSource::new(program.clone(), arguments.clone()))
            }
            SourceSettings::Dns { name, port } => Source::Dns(DnsSource::new(name.clone(), *port)),
            SourceSettings::Patroni(members) => Source::Patroni(PatroniSource::new(members)),
            SourceSettings::Aurora { template, seeds } => {
                Source::Aurora(Box::new(AuroraSource::new(template.clone(), seeds.clone(), login.clone())))
            }
        }
    }

    /// The nodes, or in a sentence why that can't be told. `system` is that of the cluster, where it is known.
    async fn ask(&mut self, system: Option<u64>) -> Result<Found, String> {
        match self {
            Source::File(file) => file.ask().await,
            Source::Command(command) => command.ask().await,
            Source::Dns(dns) => dns.ask().await,
            Source::Patroni(patroni) => patroni.ask(system).await,
            Source::Aurora(aurora) => aurora.ask().await,
        }
    }
}

/// Asks one cluster's source.
struct Seeker {
    cluster: String,
    source: Source,
    settings: DiscoverSettings,
    settled: Settled,
    /// What the monitor was told last.
    told: Option<Found>,
    status: Arc<Mutex<Status>>,
    monitor: MonitorHandle,
    clock: Clock,
}

impl Seeker {
    async fn run(mut self) {
        loop {
            let answer = self.source.ask(self.monitor.system()).await.and_then(sound);
            let now = self.clock.now();
            self.note(answer.as_ref().err(), now);
            if let Ok(answer) = answer {
                let found = self.settled.on_answer(answer, now, self.settings.leave_after);
                if self.told.as_ref() != Some(&found) {
                    self.monitor.find(Some(self.settings.source.name()), found.clone()).await;
                    self.told = Some(found);
                }
            }
            sleep(self.settings.every).await;
        }
    }

    fn note(&self, error: Option<&String>, now: Instant) {
        let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        let (cluster, source) = (self.cluster.as_str(), status.source);
        match error {
            None => {
                if status.error.is_some() {
                    tracing::info!(cluster, source, "the nodes can be told again");
                }
                status.last_ok = Some(now);
            }
            Some(error) => {
                if status.error.as_ref() != Some(error) {
                    tracing::warn!(cluster, source, error, "the nodes can't be told: those there are stay");
                }
                status.errors += 1;
            }
        }
        status.error = error.cloned();
    }
}

/// An answer that may be acted on: it names somebody, not too many, and nobody twice.
fn sound(found: Found) -> Result<Found, String> {
    if found.nodes.is_empty() {
        return Err("no node is named".to_owned());
    }
    if found.nodes.len() > FOUND_MAX {
        return Err(format!("more than {FOUND_MAX} nodes are named"));
    }
    for (place, node) in found.nodes.iter().enumerate() {
        if found.nodes.iter().take(place).any(|other| other.is_at(node)) {
            return Err(format!("{} is named twice", crate::config::address(&node.host, node.port)));
        }
    }
    Ok(found)
}
