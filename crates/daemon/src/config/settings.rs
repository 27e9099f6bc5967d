//! The configuration as meant: typed, complete, checked. Whoever holds a [`Settings`] need not look for mistakes.
//!
//! Nothing here is read on the data path: `run` hands each part of the program its own piece.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use engine::pool;
use wire::auth::{ScramVerifier, Secret};

use super::shown::ShownSetting;
use crate::world::{Limits, Reads};

/// Everything the router was told, resolved.
#[derive(Clone, PartialEq, Debug)]
pub struct Settings {
    /// Where clients connect (`listen`).
    pub listen: Vec<SocketAddr>,
    /// Where the HTTP server listens (`http`); none when switched off.
    pub http: Option<SocketAddr>,
    /// Threads that serve clients (`workers`).
    pub workers: u16,
    /// The clusters, at least one.
    pub clusters: Vec<ClusterSettings>,
    /// The databases clients can name, at least one.
    pub databases: Vec<DatabaseSettings>,
    /// Suffixes of database names.
    pub suffixes: Suffixes,
    /// Who may log in, and how.
    pub auth: AuthSettings,
    /// How the router logs in to nodes.
    pub connect: ConnectSettings,
    /// Limits of the front door.
    pub door: DoorSettings,
    /// What operators see and may do.
    pub admin: AdminSettings,
    /// What is written to the log, and how.
    pub log: LogSettings,
    /// The settings as text, for people.
    pub shown: Vec<ShownSetting>,
}

/// One `[[cluster]]`.
#[derive(Clone, PartialEq, Debug)]
pub struct ClusterSettings {
    /// Its name.
    pub name: String,
    /// Its nodes, in the order they were written; at least one unless they are discovered.
    pub nodes: Vec<NodeSettings>,
    /// Where more of them are found.
    pub discover: Option<DiscoverSettings>,
    /// How the monitor logs in.
    pub monitor: MonitorSettings,
}

impl ClusterSettings {
    /// Whether somebody elects the primary, so that a node becomes it only when it is named.
    pub(crate) fn is_elected(&self) -> bool {
        self.discover.as_ref().is_some_and(|discover| match discover.source {
            SourceSettings::Patroni(_) | SourceSettings::Aurora { .. } => true,
            SourceSettings::File(_) | SourceSettings::Command { .. } | SourceSettings::Dns { .. } => false,
        })
    }
}

/// One entry of `nodes`.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct NodeSettings {
    /// Its name, or its address when it has none.
    pub name: String,
    /// Host name or IP address.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

/// `host:port`, as it is written.
pub(crate) fn address(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// `discover = { … }` of a cluster.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DiscoverSettings {
    /// Who names the nodes.
    pub source: SourceSettings,
    /// How often it is asked.
    pub every: Duration,
    /// A node that has been missing from the answers for this long leaves.
    pub leave_after: Duration,
}

/// The place of an instance's identifier in the address of an instance of Aurora.
pub(crate) const SERVER_ID: &str = "{server_id}";

/// The name of the source that asks Aurora.
pub(crate) const AURORA: &str = "aurora";

/// Who names the nodes of a cluster.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SourceSettings {
    /// A file with a node on each line.
    File(PathBuf),
    /// A command that prints such a list.
    Command {
        /// What is started.
        program: String,
        /// With these arguments.
        arguments: Vec<String>,
    },
    /// Every address of a name.
    Dns {
        /// The name.
        name: String,
        /// The port of all of them.
        port: u16,
    },
    /// Patroni, by host and port of the REST APIs of its members, which are asked by HTTP.
    Patroni(Vec<(String, u16)>),
    /// Aurora PostgreSQL's `aurora_replica_status()`. Not verified on Aurora.
    Aurora {
        /// `host` or `host:port` of an instance, with `{server_id}` in the place of its identifier.
        template: String,
        /// Who is asked, beside the instances found: endpoints, which are not nodes.
        seeds: Vec<NodeSettings>,
    },
}

impl SourceSettings {
    /// The word for it, which is its key.
    pub fn name(&self) -> &'static str {
        match self {
            SourceSettings::File(_) => "file",
            SourceSettings::Command { .. } => "command",
            SourceSettings::Dns { .. } => "dns",
            SourceSettings::Patroni(_) => "patroni",
            SourceSettings::Aurora { .. } => AURORA,
        }
    }

    /// How often it is asked unless something else is said.
    pub(super) fn every(&self) -> Duration {
        match self {
            SourceSettings::File(_) | SourceSettings::Patroni(_) | SourceSettings::Aurora { .. } => {
                Duration::from_secs(1)
            }
            SourceSettings::Dns { .. } => Duration::from_secs(5),
            SourceSettings::Command { .. } => Duration::from_secs(10),
        }
    }

    /// How long a node may be missing unless something else is said.
    pub(super) fn leave_after(&self) -> Duration {
        match self {
            // Somebody has written it.
            SourceSettings::File(_) => Duration::ZERO,
            SourceSettings::Patroni(_) | SourceSettings::Aurora { .. } => Duration::from_secs(10),
            // A resolver may know some of many addresses at a time, and a program ask something that does.
            SourceSettings::Dns { .. } | SourceSettings::Command { .. } => Duration::from_secs(30),
        }
    }
}

/// `monitor = { … }` of a cluster.
#[derive(Clone, PartialEq, Debug)]
pub struct MonitorSettings {
    /// The role that watches the nodes.
    pub user: String,
    /// Its password, where it has one.
    pub password: Option<Secret>,
    /// The database it connects to.
    pub database: String,
}

/// Which names a `[[database]]` serves.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum DatabaseName {
    /// `"*"`: every name that no other entry serves.
    Any,
    /// This one.
    Named(String),
}

/// One `[[database]]`.
#[derive(Clone, PartialEq, Debug)]
pub struct DatabaseSettings {
    /// The names it serves.
    pub name: DatabaseName,
    /// Place of its cluster in [`Settings::clusters`].
    pub cluster: usize,
    /// Its name on the nodes; the client's name when not given.
    pub server_name: Option<String>,
    /// Pool sizes and lifetimes.
    pub pool: pool::Settings,
    /// Freshness defaults.
    pub reads: Reads,
    /// Limits of a client's session.
    pub limits: Limits,
}

/// `[suffixes]`: what is appended to a database's name to fix the route.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Suffixes {
    /// Read-only; empty is none.
    pub read_only: String,
    /// Always the primary; empty is none.
    pub primary: String,
}

/// Who may log in, and how.
#[derive(Clone, PartialEq, Debug)]
pub struct AuthSettings {
    /// How clients prove who they are (`auth_type`).
    pub auth_type: AuthType,
    /// `[[user]]` and `auth_file`.
    pub users: Vec<UserSettings>,
}

/// How clients prove who they are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AuthType {
    /// They are believed. Only on loopback, unless `allow_insecure_trust`.
    Trust,
    /// SCRAM-SHA-256.
    Scram,
}

/// One user.
#[derive(Clone, PartialEq, Debug)]
pub struct UserSettings {
    /// The role's name.
    pub name: String,
    /// What the router knows to check the client with, and to log in to nodes with.
    pub secret: Option<UserSecret>,
}

/// What is known of a user's password.
#[derive(Clone, PartialEq, Debug)]
pub enum UserSecret {
    /// The password itself.
    Plain(Secret),
    /// A SCRAM verifier, as in PostgreSQL's `pg_authid.rolpassword`.
    Verifier(ScramVerifier),
}

/// How the router logs in to nodes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConnectSettings {
    /// Authentication methods a node may ask for (`[server_auth] methods`).
    pub methods: Vec<ServerMethod>,
    /// Longest time from the first packet to ready (`server_connect_timeout`).
    pub connect_max: Duration,
}

/// A method a node may ask for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ServerMethod {
    /// None asked.
    Trust,
    /// SCRAM-SHA-256.
    Scram,
    /// MD5: only when named.
    Md5,
    /// The password in clear: only when named.
    Password,
}

/// What operators see and may do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AdminSettings {
    /// Users that may use the admin databases.
    pub users: Vec<Arc<str>>,
    /// What `/readyz` asks for (`ready_when`).
    pub ready_when: ReadyWhen,
    /// Freshness asked for where neither a database nor a session says otherwise (`[reads]`): replicas are shown by it.
    pub reads: Reads,
}

/// When clients may be sent to this router.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReadyWhen {
    /// Every cluster has a primary in role.
    Primary,
    /// Every cluster can answer reads, from a replica or from its primary.
    Reads,
}

/// Limits of the front door.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DoorSettings {
    /// Most clients logged in at a time (`max_client_conn`).
    pub clients_max: usize,
    /// A login that takes longer is ended (`client_login_timeout`).
    pub login_max: Duration,
}

/// `[log]`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LogSettings {
    /// Least severe level written.
    pub level: LogLevel,
    /// How a line looks.
    pub format: LogFormat,
}

/// Severity of log lines.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogLevel {
    /// What failed.
    Error,
    /// And what looks wrong.
    Warn,
    /// And what happened.
    Info,
    /// And how.
    Debug,
    /// And everything.
    Trace,
}

/// How a log line looks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}
