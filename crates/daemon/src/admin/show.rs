//! What `SHOW …` shows: pure tables of an [`Overview`].
//!
//! PgBouncer's columns and types come first, in its order (`src/admin.c`), so that its tools work; ours follow. What PgBouncer
//! counts and we don't have is 0 or NULL, as its own tables show it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::command::{ACTIONS, Subject};
use super::table::{Cell, Column, Kind, Table, cell, maybe};
use super::{replication, stats};
use crate::clock::time_of_day;
use crate::mail::{BackendRow, ClientRow, PoolRow};
use crate::overview::{ClusterRow, DatabaseRow, NodeRow, Overview, VERSION};

use Kind::{Big, Float, Int, Text};

/// The PgBouncer whose console this one is like: exporters choose their columns by it.
const LIKE_PGBOUNCER: &str = "1.24.0";

/// The table of a subject.
pub(super) fn table(subject: Subject, overview: &Overview) -> Table {
    match subject {
        Subject::Nodes => nodes(overview),
        Subject::Replication => replication::streams(overview),
        Subject::Slots => replication::slots(overview),
        Subject::Events => replication::events(overview),
        Subject::Freshness => freshness(overview),
        Subject::Routes => stats::routes(overview),
        Subject::Pools => pools(overview),
        Subject::NodePools => node_pools(overview),
        Subject::Clients => clients(overview),
        Subject::Servers => servers(overview),
        Subject::Databases => databases(overview),
        Subject::Stats => stats::stats(overview),
        Subject::StatsTotals => stats::totals(overview),
        Subject::StatsAverages => stats::averages(overview),
        Subject::Lists => lists(overview),
        Subject::Config => config(overview),
        Subject::Users => users(overview),
        Subject::State => state(),
        Subject::Version => version(),
        Subject::Help => help(),
    }
}

#[rustfmt::skip]
const NODES: &[Column] = &[
    ("cluster", Text), ("name", Text), ("address", Text), ("role", Text), ("state", Text), ("timeline", Int),
    ("position", Text), ("lag_bytes", Big), ("staleness_ms", Float), ("receiver", Text), ("replay", Text),
    ("server_version", Text), ("probe_ms", Float), ("last_error", Text),
    ("write_lag_bytes", Big), ("flush_lag_bytes", Big), ("upstream", Text), ("conflicts", Big), ("connections", Big),
    ("connections_max", Big), ("source", Text),
];

fn nodes(overview: &Overview) -> Table {
    let row = |(cluster, node): (&ClusterRow, &NodeRow)| {
        vec![
            cell(&cluster.name),
            cell(&node.node.name),
            cell(node.address()),
            cell(node.role()),
            cell(node.state()),
            maybe(node.view.timeline),
            maybe(node.view.position),
            maybe(lag_bytes(node)),
            maybe(node.staleness.map(millis)),
            maybe(node.receiver()),
            maybe(replication::replay(node)),
            maybe(node.status.server_version.as_deref()),
            maybe(node.status.probe_time.map(millis)),
            maybe(node.status.last_error.as_deref()),
        ]
        .into_iter()
        .chain(replication::of_node(node))
        .chain([cell(node.node.source)])
        .collect()
    };
    Table::new(NODES, with_cluster(overview).map(row))
}

#[rustfmt::skip]
const FRESHNESS: &[Column] = &[
    ("cluster", Text), ("node", Text), ("role", Text), ("serves_reads", Text), ("staleness_ms", Float),
    ("lag_bytes", Big), ("newest_write_ms_ago", Float), ("shows_newest_write", Text), ("epoch", Int),
];

fn freshness(overview: &Overview) -> Table {
    let row = |(cluster, node): (&ClusterRow, &NodeRow)| {
        let shows = cluster.newest_write.map(|at| node.is_primary || node.view.fresh_as_of >= Some(at));
        vec![
            cell(&cluster.name),
            cell(&node.node.name),
            cell(node.role()),
            cell(yes_no(node.view.serves_reads())),
            maybe(node.staleness.map(millis)),
            maybe(lag_bytes(node)),
            maybe(cluster.newest_write.map(|at| millis(overview.now.since(at)))),
            maybe(shows.map(yes_no)),
            cell(cluster.epoch),
        ]
    };
    Table::new(FRESHNESS, with_cluster(overview).map(row))
}

fn with_cluster(overview: &Overview) -> impl Iterator<Item = (&ClusterRow, &NodeRow)> {
    overview.clusters.iter().flat_map(|cluster| cluster.nodes.iter().map(move |node| (cluster, node)))
}

/// The primary is behind nobody.
fn lag_bytes(node: &NodeRow) -> Option<u64> {
    if node.is_primary { Some(0) } else { node.view.lag_bytes }
}

#[rustfmt::skip]
const POOLS: &[Column] = &[
    ("database", Text), ("user", Text), ("cl_active", Int), ("cl_waiting", Int), ("cl_active_cancel_req", Int),
    ("cl_waiting_cancel_req", Int), ("sv_active", Int), ("sv_active_cancel", Int), ("sv_being_canceled", Int),
    ("sv_idle", Int), ("sv_used", Int), ("sv_tested", Int), ("sv_login", Int), ("maxwait", Int), ("maxwait_us", Int),
    ("pool_mode", Text), ("load_balance_hosts", Text), ("nodes", Int), ("size", Int),
];

/// One row for a database and a user: exporters make a series of each such pair, and refuse two.
fn pools(overview: &Overview) -> Table {
    let mut together: BTreeMap<(&str, &str), PoolSum> = BTreeMap::new();
    for client in &overview.snapshot.clients {
        let sum = together.entry((&client.database, &client.user)).or_default();
        // As PgBouncer counts: an idle client is active until it waits.
        if client.state == "waiting" { sum.clients_waiting += 1 } else { sum.clients_active += 1 }
    }
    for pool in &overview.snapshot.pools {
        together.entry((&pool.database, &pool.user)).or_default().add(pool);
    }
    let rows = together.into_iter().map(|((database, user), sum)| {
        let mode = sum.mode.or_else(|| Some(database_row(overview, database)?.pool_mode()));
        let mut row = vec![cell(database), cell(user)];
        row.extend([sum.clients_active, sum.clients_waiting, 0, 0].map(cell));
        row.extend([sum.backends_active, 0, 0, sum.backends_idle, 0, 0].map(cell));
        row.push(cell(sum.backends_connecting));
        row.extend(wait(sum.wait_max_us));
        row.extend([maybe(mode), None, cell(sum.nodes), cell(sum.size)]);
        row
    });
    Table::new(POOLS, rows)
}

/// The pools of a database and a user on all nodes.
#[derive(Default)]
struct PoolSum {
    clients_active: u32,
    clients_waiting: u32,
    backends_active: u32,
    backends_idle: u32,
    backends_connecting: u32,
    wait_max_us: u64,
    nodes: u32,
    size: u32,
    mode: Option<&'static str>,
}

impl PoolSum {
    fn add(&mut self, pool: &PoolRow) {
        self.backends_active += pool.backends_active;
        self.backends_idle += pool.backends_idle;
        self.backends_connecting += pool.backends_connecting;
        self.wait_max_us = self.wait_max_us.max(pool.wait_max_us);
        self.nodes += 1;
        self.size += pool.size;
        self.mode = Some(pool.mode);
    }
}

#[rustfmt::skip]
const NODE_POOLS: &[Column] = &[
    ("database", Text), ("user", Text), ("node", Text), ("role", Text), ("cl_active", Int), ("cl_waiting", Int),
    ("sv_active", Int), ("sv_idle", Int), ("sv_login", Int), ("maxwait", Int), ("maxwait_us", Int),
    ("pool_mode", Text), ("size", Int),
];

fn node_pools(overview: &Overview) -> Table {
    let row = |pool: &PoolRow| {
        let node = overview.node(pool.node);
        let mut row = vec![
            cell(&pool.database),
            cell(&pool.user),
            maybe(node.map(|node| &node.node.name)),
            maybe(node.map(NodeRow::role)),
        ];
        row.extend([pool.clients_active, pool.clients_waiting].map(cell));
        row.extend([pool.backends_active, pool.backends_idle, pool.backends_connecting].map(cell));
        row.extend(wait(pool.wait_max_us));
        row.extend([cell(pool.mode), cell(pool.size)]);
        row
    };
    Table::new(NODE_POOLS, overview.snapshot.pools.iter().map(row))
}

/// Whole seconds, and the microseconds behind them.
fn wait(us: u64) -> [Cell; 2] {
    [cell(us / 1_000_000), cell(us % 1_000_000)]
}

#[rustfmt::skip]
const SOCKETS: &[Column] = &[
    ("type", Text), ("user", Text), ("database", Text), ("replication", Text), ("state", Text), ("addr", Text),
    ("port", Int), ("local_addr", Text), ("local_port", Int), ("connect_time", Text), ("request_time", Text),
    ("wait", Int), ("wait_us", Int), ("close_needed", Int), ("ptr", Text), ("link", Text), ("remote_pid", Int),
    ("tls", Text), ("application_name", Text), ("prepared_statements", Int), ("id", Int), ("node", Text),
    ("pinned", Text),
];

/// Columns that clients and backends have alike.
struct Socket {
    kind: &'static str,
    ends: [Cell; 4],
    connected_ms: u64,
    since_ms: Option<u64>,
    wait_ms: u64,
    names: [Cell; 2],
    rest: [Cell; 7],
}

impl Socket {
    /// `who` is user, database and state.
    fn row(self, who: [Cell; 3], wall: SystemTime) -> Vec<Cell> {
        let [user, database, state] = who;
        let ago = |ms: u64| time_of_day(wall.checked_sub(Duration::from_millis(ms)).unwrap_or(UNIX_EPOCH));
        let mut row = vec![cell(self.kind), user, database, cell("none"), state];
        row.extend(self.ends);
        row.push(cell(ago(self.connected_ms)));
        row.push(maybe(self.since_ms.map(ago)));
        row.extend(wait(self.wait_ms.saturating_mul(1000)));
        row.push(cell(0));
        row.extend(self.names);
        row.extend(self.rest);
        row
    }
}

fn clients(overview: &Overview) -> Table {
    let row = |client: &ClientRow| {
        let socket = Socket {
            kind: "C",
            ends: [cell(client.peer.ip()), cell(client.peer.port()), None, None],
            connected_ms: client.connected_ms,
            since_ms: None,
            wait_ms: client.waiting_ms,
            names: [cell(client_pointer(client.number)), cell("")],
            rest: [
                cell(0),
                cell(""),
                cell(client.application_name.as_deref().unwrap_or("")),
                cell(0),
                cell(client.number),
                maybe(client.node.and_then(|id| overview.node(id)).map(|node| &node.node.name)),
                cell(yes_no(client.pinned)),
            ],
        };
        socket.row([cell(&client.user), cell(&client.database), cell(client.state)], overview.wall)
    };
    Table::new(SOCKETS, overview.snapshot.clients.iter().map(row))
}

fn servers(overview: &Overview) -> Table {
    let row = |(place, backend): (usize, &BackendRow)| {
        let socket = Socket {
            kind: "S",
            ends: [cell(backend.address.ip()), cell(backend.address.port()), None, None],
            connected_ms: backend.connected_ms,
            since_ms: Some(backend.since_ms),
            wait_ms: 0,
            names: [cell(format!("s{place}")), cell(backend.client.map(client_pointer).unwrap_or_default())],
            rest: [
                cell(backend.pid.unwrap_or(0)),
                cell(""),
                cell(""),
                cell(backend.prepared),
                cell(place),
                maybe(overview.node(backend.node).map(|node| &node.node.name)),
                None,
            ],
        };
        socket.row([cell(&backend.user), cell(&backend.database), cell(backend.state)], overview.wall)
    };
    Table::new(SOCKETS, overview.snapshot.backends.iter().enumerate().map(row))
}

/// Joins `SHOW SERVERS` to `SHOW CLIENTS`, as pointers do in PgBouncer.
fn client_pointer(number: u64) -> String {
    format!("c{number}")
}

#[rustfmt::skip]
const DATABASES: &[Column] = &[
    ("name", Text), ("host", Text), ("port", Int), ("database", Text), ("force_user", Text), ("pool_size", Int),
    ("min_pool_size", Int), ("reserve_pool_size", Int), ("server_lifetime", Int), ("pool_mode", Text),
    ("load_balance_hosts", Text), ("max_connections", Int), ("current_connections", Int),
    ("max_client_connections", Int), ("current_client_connections", Int), ("paused", Int), ("disabled", Int),
    ("cluster", Text), ("consistency", Text), ("max_staleness_ms", Big), ("catalogue", Big),
];

fn databases(overview: &Overview) -> Table {
    let row = |database: &DatabaseRow| {
        let cluster = overview.clusters.iter().find(|cluster| cluster.name == database.cluster);
        let node = cluster.and_then(|cluster| cluster.primary().or(cluster.nodes.first()));
        let pools = overview.snapshot.pools.iter().filter(|pool| pool.database == database.name);
        let backends: u32 = pools.map(|pool| pool.backends_active + pool.backends_idle).sum();
        let clients = overview.snapshot.clients.iter().filter(|client| client.database == database.name);
        vec![
            cell(&database.name),
            maybe(node.map(|node| &node.node.host)),
            maybe(node.map(|node| node.node.port)),
            cell(&database.server_name),
            None,
            cell(database.pool.size),
            cell(database.pool.min_size),
            cell(0),
            cell(database.pool.lifetime_max.as_secs()),
            cell(database.pool_mode()),
            None,
            cell(0),
            cell(backends),
            cell(0),
            cell(clients.count()),
            cell(0),
            cell(0),
            cell(&database.cluster),
            cell(database.level.name()),
            cell(database.max_staleness.as_millis()),
            cell(database.catalogue_epoch),
        ]
    };
    Table::new(DATABASES, overview.databases.iter().map(row))
}

fn database_row<'a>(overview: &'a Overview, name: &str) -> Option<&'a DatabaseRow> {
    overview.databases.iter().find(|database| database.name == name)
}

fn lists(overview: &Overview) -> Table {
    let backends = overview.snapshot.backends.len();
    let idle = overview.snapshot.backends.iter().filter(|backend| backend.state == "idle").count();
    let items = [
        ("databases", overview.databases.len()),
        ("users", overview.users.len()),
        ("peers", 0),
        ("pools", pools(overview).rows().len()),
        ("peer_pools", 0),
        ("free_clients", 0),
        ("used_clients", overview.snapshot.clients.len()),
        ("login_clients", 0),
        ("free_servers", idle),
        ("used_servers", backends - idle),
        ("dns_names", 0),
        ("dns_zones", 0),
        ("dns_queries", 0),
        ("dns_pending", 0),
    ];
    Table::new(&[("list", Text), ("items", Int)], items.map(|(list, items)| vec![cell(list), cell(items)]))
}

fn config(overview: &Overview) -> Table {
    let rows = overview.settings.iter().map(|setting| {
        let default = maybe(setting.default.as_deref());
        vec![cell(&setting.key), cell(&setting.value), default, cell(yes_no(setting.changeable))]
    });
    Table::new(&[("key", Text), ("value", Text), ("default", Text), ("changeable", Text)], rows)
}

#[rustfmt::skip]
const USERS: &[Column] = &[
    ("name", Text), ("pool_size", Text), ("reserve_pool_size", Text), ("pool_mode", Text),
    ("max_user_connections", Int), ("current_connections", Int), ("max_user_client_connections", Int),
    ("current_client_connections", Int),
];

fn users(overview: &Overview) -> Table {
    let row = |user: &Arc<str>| {
        let backends = overview.snapshot.backends.iter().filter(|backend| backend.user == *user).count();
        let clients = overview.snapshot.clients.iter().filter(|client| client.user == *user).count();
        vec![cell(user), cell(""), cell(""), None, cell(0), cell(backends), cell(0), cell(clients)]
    };
    Table::new(USERS, overview.users.iter().map(row))
}

fn state() -> Table {
    let rows = [("active", "yes"), ("paused", "no"), ("suspended", "no")];
    Table::new(&[("key", Text), ("value", Text)], rows.map(|(key, value)| vec![cell(key), cell(value)]))
}

fn version() -> Table {
    let version = format!("PgBouncer {LIKE_PGBOUNCER} (Highwater {VERSION})");
    Table::new(&[("version", Text)], [vec![cell(version)]])
}

fn help() -> Table {
    let shows = Subject::ALL
        .iter()
        .map(|subject| vec![cell(format!("SHOW {}", subject.name())), cell(subject.meaning())]);
    let actions = ACTIONS.iter().map(|(command, does)| vec![cell(command), cell(does)]);
    Table::new(&[("command", Text), ("does", Text)], shows.chain(actions))
}

pub(super) fn yes_no(yes: bool) -> &'static str {
    if yes { "yes" } else { "no" }
}

fn millis(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1e3
}

#[cfg(test)]
mod tests;
