// Flat table
//! Every key there is: its section, name, type, default and description, once. The reader, the environment overlay,
//! the reference page and the JSON schema are all made from this table.
//!
//! A key's meaning beyond its type (what refers to what, what excludes what) is in `resolve`.

use engine::pool::WORKERS_MAX;

/// A table of the file.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) enum Section {
    /// The top of the file.
    Top,
    /// `[[cluster]]`.
    Cluster,
    /// A table in a cluster's `nodes`.
    Node,
    /// `discover` of a cluster.
    Discover,
    /// `monitor` of a cluster.
    Monitor,
    /// `[[database]]`.
    Database,
    /// `[[user]]`.
    User,
    /// `[suffixes]`.
    Suffixes,
    /// `[pool]`.
    Pool,
    /// `[reads]`.
    Reads,
    /// `[server_auth]`.
    ServerAuth,
    /// `[admin]`.
    Admin,
    /// `[log]`.
    Log,
}

impl Section {
    /// All, in the order of the reference page.
    pub(super) const ALL: [Section; 13] = [
        Section::Top,
        Section::Cluster,
        Section::Node,
        Section::Discover,
        Section::Monitor,
        Section::Database,
        Section::User,
        Section::Suffixes,
        Section::Pool,
        Section::Reads,
        Section::ServerAuth,
        Section::Admin,
        Section::Log,
    ];

    /// The sections that stand once in a file, by the name they have there.
    pub(super) const SINGLE: [(Section, &'static str); 6] = [
        (Section::Suffixes, "suffixes"),
        (Section::Pool, "pool"),
        (Section::Reads, "reads"),
        (Section::ServerAuth, "server_auth"),
        (Section::Admin, "admin"),
        (Section::Log, "log"),
    ];

    /// How it is written in a file.
    pub(super) const fn title(self) -> &'static str {
        match self {
            Section::Top => "top of the file",
            Section::Cluster => "[[cluster]]",
            Section::Node => "nodes = [{ … }] of a cluster",
            Section::Discover => "discover = { … } of a cluster",
            Section::Monitor => "monitor = { … } of a cluster",
            Section::Database => "[[database]]",
            Section::User => "[[user]]",
            Section::Suffixes => "[suffixes]",
            Section::Pool => "[pool]",
            Section::Reads => "[reads]",
            Section::ServerAuth => "[server_auth]",
            Section::Admin => "[admin]",
            Section::Log => "[log]",
        }
    }

    /// Its keys, in the order of the table.
    pub(super) fn keys(self) -> impl Iterator<Item = &'static Key> {
        KEYS.iter().filter(move |key| key.section == self)
    }

    /// One of its keys.
    pub(super) fn key(self, name: &str) -> Option<&'static Key> {
        self.keys().find(|key| key.name == name)
    }
}

/// What may be written for a key.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Kind {
    /// A string.
    Text,
    /// A string that is not shown.
    Secret,
    /// `true` or `false`.
    Flag,
    /// A whole number in a range.
    Count(u64, u64),
    /// A size in bytes in a range: a number, or a string with a unit.
    Bytes(u64, u64),
    /// A duration: a number of seconds, or a string with a unit.
    Duration,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// Some of these words.
    Choices(&'static [&'static str]),
    /// `"address:port"` or `"off"`.
    Address,
    /// One or several `"address:port"`.
    Addresses,
    /// A list of strings.
    Names,
    /// A list of strings, in which anything may stand.
    Words,
    /// A list of `"host:port"` or tables.
    Nodes,
    /// A table.
    One(Section),
    /// An array of tables.
    Many(Section),
}

/// One key.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Key {
    /// Where it stands.
    pub(super) section: Section,
    /// Its name.
    pub(super) name: &'static str,
    /// What may be written.
    pub(super) kind: Kind,
    /// What holds when nothing is written, in the syntax of the environment; empty is nothing.
    pub(super) default: &'static str,
    /// What it means.
    pub(super) doc: &'static str,
}

const fn key(
    section: Section,
    name: &'static str,
    kind: Kind,
    default: &'static str,
    doc: &'static str,
) -> Key {
    Key { section, name, kind, default, doc }
}

const POOL_MODES: Kind = Kind::Choice(&["transaction", "session"]);
const LEVELS: Kind = Kind::Choice(&["eventual", "bounded", "session", "causal", "global", "strong"]);
const BACKENDS: Kind = Kind::Count(1, 100_000);

/// The table.
#[rustfmt::skip]
pub(super) static KEYS: &[Key] = &[
    key(Section::Top, "listen", Kind::Addresses, "127.0.0.1:6432", "Where clients connect: one `\"address:port\"` or a list. `*` as address is all addresses, IPv4 and IPv6."),
    key(Section::Top, "http", Kind::Address, "127.0.0.1:6433", "Where the HTTP server (`/livez`, `/readyz`, `/metrics`, `/api/v1/…`) listens; `\"off\"` for none."),
    key(Section::Top, "ready_when", Kind::Choice(&["primary", "reads"]), "primary", "When `/readyz` says that clients may be sent here: when every cluster has a primary in role, or when every cluster can answer reads. `/readyz/primary` and `/readyz/reads` say each, whatever is written."),
    key(Section::Top, "workers", Kind::Count(1, WORKERS_MAX as u64), "", "Threads that serve clients; when not given, as many as there are processor cores, but at most 4. They share the pools: limits hold for all of them together."),
    key(Section::Top, "auth_type", Kind::Choice(&["scram-sha-256", "trust"]), "scram-sha-256", "How clients prove who they are. `trust` believes everybody, and is refused when `listen` has an address outside loopback."),
    key(Section::Top, "auth_file", Kind::Text, "", "A file with lines `\"user\" \"secret\"` as PgBouncer's `userlist.txt`; the secret is a password or a SCRAM verifier."),
    key(Section::Top, "allow_insecure_trust", Kind::Flag, "false", "Accepts `auth_type = \"trust\"` on addresses outside loopback."),
    key(Section::Top, "allow_open_secrets", Kind::Flag, "false", "Accepts files with secrets that more people than their owner and group can read."),
    key(Section::Top, "cluster", Kind::Many(Section::Cluster), "", "One primary and its replicas."),
    key(Section::Top, "database", Kind::Many(Section::Database), "", "A database that clients can name. Without any, every database of the only cluster is served."),
    key(Section::Top, "user", Kind::Many(Section::User), "", "A user that may log in."),
    key(Section::Top, "suffixes", Kind::One(Section::Suffixes), "", "What is appended to a database's name to fix the route."),
    key(Section::Top, "pool", Kind::One(Section::Pool), "", "Sizes and timeouts; names and meaning as in PgBouncer."),
    key(Section::Top, "reads", Kind::One(Section::Reads), "", "How fresh reads must be."),
    key(Section::Top, "server_auth", Kind::One(Section::ServerAuth), "", "How the router logs in to nodes."),
    key(Section::Top, "admin", Kind::One(Section::Admin), "", "The admin console."),
    key(Section::Top, "log", Kind::One(Section::Log), "", "The log."),

    key(Section::Cluster, "name", Kind::Text, "", "Its name, unique. Required."),
    key(Section::Cluster, "nodes", Kind::Nodes, "", "Its PostgreSQL servers, as `\"host:port\"` or tables. Roles are observed, not declared. Required unless there is `discover`."),
    key(Section::Cluster, "discover", Kind::One(Section::Discover), "", "Where nodes are found that come and go. Those of `nodes` always belong to the cluster, except with `aurora`."),
    key(Section::Cluster, "monitor", Kind::One(Section::Monitor), "", "How the monitor logs in to the nodes."),

    key(Section::Node, "name", Kind::Text, "", "Its name in tables, logs and metrics; its address when not given."),
    key(Section::Node, "host", Kind::Text, "", "Host name or IP address. Required."),
    key(Section::Node, "port", Kind::Count(1, 65_535), "5432", "TCP port."),

    key(Section::Discover, "file", Kind::Text, "", "A file with a node on each line, `host:port` or `host:port name`; `#` begins a comment. Whoever changes it replaces it whole, by renaming. A file that is missing, broken or names no node changes nothing, and says so in the log and the status."),
    key(Section::Discover, "command", Kind::Words, "", "A program and its arguments, started without a shell, that prints such a list within 10 s. One that fails changes nothing."),
    key(Section::Discover, "dns", Kind::Text, "", "A name, with or without `:port`: each of its IPv4 and IPv6 addresses is a node. A lookup that fails changes nothing."),
    key(Section::Discover, "patroni", Kind::Names, "", "REST APIs of Patroni's members, `http://host:8008` (https isn't there yet). Any of them is asked for `/cluster`. A node becomes the primary only if Patroni names it leader and it takes writes itself; a member with the tag `noloadbalance` gets no reads. While none answers, everything stays as it is."),
    key(Section::Discover, "aurora", Kind::Text, "", "Not verified on Aurora. The address of an instance, `{server_id}.abc123.eu-west-1.rds.amazonaws.com` with or without `:port`, where `{server_id}` stands for its identifier. `aurora_replica_status()` names the instances and the writer; `nodes` are endpoints to ask, such as the cluster's, and are no nodes themselves. An instance that it has not updated for 30 s is not named. A node becomes the primary only if it is named as the writer and says so itself."),
    key(Section::Discover, "every", Kind::Duration, "", "How often the source is asked. Without it: `file`, `patroni` and `aurora` every second, `dns` every 5 s, `command` every 10 s."),
    key(Section::Discover, "leave_after", Kind::Duration, "", "A node that the answers have not named for this long leaves the cluster: what runs there finishes, and nothing more is sent there. Without it: `file` at once, `patroni` and `aurora` after 10 s, `dns` and `command` after 30 s. Only answers count: while the source is silent, nobody leaves."),

    key(Section::Monitor, "user", Kind::Text, "highwater", "The role that watches the nodes; membership in `pg_monitor` is all it needs."),
    key(Section::Monitor, "password", Kind::Secret, "", "Its password. At most one of the four `password` keys may be given."),
    key(Section::Monitor, "password_file", Kind::Text, "", "A file whose first line is the password."),
    key(Section::Monitor, "password_env", Kind::Text, "", "An environment variable that holds the password."),
    key(Section::Monitor, "password_command", Kind::Text, "", "A shell command whose first line of output is the password."),
    key(Section::Monitor, "database", Kind::Text, "postgres", "The database it connects to."),

    key(Section::Database, "name", Kind::Text, "", "The name clients use, or `\"*\"` for every name without an entry of its own. Required."),
    key(Section::Database, "cluster", Kind::Text, "", "The cluster that has it; not needed when there is only one."),
    key(Section::Database, "server_name", Kind::Text, "", "Its name on the nodes, when that differs."),
    key(Section::Database, "pool_mode", POOL_MODES, "", "As in `[pool]`, for this database."),
    key(Section::Database, "pool_size", BACKENDS, "", "As `default_pool_size` in `[pool]`, for this database."),
    key(Section::Database, "min_pool_size", Kind::Count(0, 100_000), "", "As in `[pool]`, for this database."),
    key(Section::Database, "query_wait_timeout", Kind::Duration, "", "As in `[pool]`, for this database."),
    key(Section::Database, "server_idle_timeout", Kind::Duration, "", "As in `[pool]`, for this database."),
    key(Section::Database, "server_lifetime", Kind::Duration, "", "As in `[pool]`, for this database."),
    key(Section::Database, "client_idle_timeout", Kind::Duration, "", "As in `[pool]`, for this database."),
    key(Section::Database, "idle_transaction_timeout", Kind::Duration, "", "As in `[pool]`, for this database."),
    key(Section::Database, "query_timeout", Kind::Duration, "", "As in `[pool]`, for this database."),
    key(Section::Database, "consistency", LEVELS, "", "As in `[reads]`, for this database."),
    key(Section::Database, "max_staleness", Kind::Duration, "", "As in `[reads]`, for this database."),

    key(Section::User, "name", Kind::Text, "", "The role's name. Required."),
    key(Section::User, "password", Kind::Secret, "", "Its password. At most one of the four `password` keys and `verifier` may be given."),
    key(Section::User, "password_file", Kind::Text, "", "A file whose first line is the password."),
    key(Section::User, "password_env", Kind::Text, "", "An environment variable that holds the password."),
    key(Section::User, "password_command", Kind::Text, "", "A shell command whose first line of output is the password."),
    key(Section::User, "verifier", Kind::Secret, "", "Its SCRAM verifier, `SCRAM-SHA-256$…` as in `pg_authid.rolpassword`. The nodes must have the same one."),

    key(Section::Suffixes, "read_only", Kind::Text, "_ro", "`app_ro` is read-only: replicas, else the primary in a read-only session. Empty for none."),
    key(Section::Suffixes, "primary", Kind::Text, "_rw", "`app_rw` is always the primary. Empty for none."),

    key(Section::Pool, "pool_mode", POOL_MODES, "transaction", "When a backend goes back to its pool: at the end of each transaction, or when the client leaves."),
    key(Section::Pool, "default_pool_size", BACKENDS, "20", "Most backends of one pool (one node, database and user)."),
    key(Section::Pool, "min_pool_size", Kind::Count(0, 100_000), "0", "Backends that a pool keeps open without demand."),
    key(Section::Pool, "max_client_conn", Kind::Count(1, 1_000_000), "1000", "Most clients logged in at a time; one more gets SQLSTATE 53300."),
    key(Section::Pool, "query_wait_timeout", Kind::Duration, "120s", "Longest wait for a backend before the client gets an error; 0 is for ever."),
    key(Section::Pool, "server_idle_timeout", Kind::Duration, "600s", "An unused backend is closed after this; 0 is never."),
    key(Section::Pool, "server_lifetime", Kind::Duration, "3600s", "A backend older than this is closed when it comes back; 0 is never."),
    key(Section::Pool, "server_connect_timeout", Kind::Duration, "2s", "Longest time for connecting and logging in to a node."),
    key(Section::Pool, "server_login_retry", Kind::Duration, "1s", "Pause after a failed connect before the next attempt."),
    key(Section::Pool, "client_login_timeout", Kind::Duration, "15s", "Longest time a client may take to log in, counted from its connect."),
    key(Section::Pool, "client_idle_timeout", Kind::Duration, "0", "A client idle for longer, outside a transaction, is disconnected; 0 is never."),
    key(Section::Pool, "idle_transaction_timeout", Kind::Duration, "0", "A client idle for longer inside a transaction is disconnected; 0 is never."),
    key(Section::Pool, "query_timeout", Kind::Duration, "0", "A statement that runs longer is cancelled and its client disconnected; 0 is never."),
    key(Section::Pool, "max_message", Kind::Bytes(64 * 1024, (1 << 30) - 1), "256MB", "Largest message accepted from a client."),

    key(Section::Reads, "consistency", LEVELS, "session", "Freshness promised to reads unless a session asks for another level."),
    key(Section::Reads, "max_staleness", Kind::Duration, "10s", "Reads go only to replicas proved to show everything acknowledged longer ago than this."),

    key(Section::ServerAuth, "methods", Kind::Choices(&["scram-sha-256", "trust", "md5", "password"]), "scram-sha-256, trust", "Authentication methods that a node may ask for. `md5` and `password` can be read or replayed by others on the network."),

    key(Section::Admin, "users", Kind::Names, "", "Users that may connect to the admin databases `highwater` and `pgbouncer`."),

    key(Section::Log, "level", Kind::Choice(&["error", "warn", "info", "debug", "trace"]), "info", "Least severe level written."),
    key(Section::Log, "format", Kind::Choice(&["text", "json"]), "text", "Lines for people, or one JSON object a line."),
];
