//! Databases: their own keys over those of `[pool]` and `[reads]`.

use std::collections::BTreeSet;
use std::time::Duration;

use engine::freshness::Level;
use engine::pool::{self, PoolMode};

use super::Resolver;
use crate::config::file::Table;
use crate::config::keys::Section;
use crate::config::mistake::Place;
use crate::config::settings::{ClusterSettings, DatabaseName, DatabaseSettings};
use crate::world::{Limits, Reads};

/// Names of the admin console; no database of the nodes can be served under them.
pub(crate) const ADMIN_DATABASES: [&str; 2] = ["highwater", "pgbouncer"];

/// Longest name PostgreSQL keeps, in bytes (`NAMEDATALEN - 1`).
const NAME_BYTES_MAX: usize = 63;

impl Resolver<'_> {
    pub(super) fn databases(&mut self, clusters: &[ClusterSettings]) -> Vec<DatabaseSettings> {
        let written = self.top.tables("database");
        if written.is_empty() {
            if clusters.len() > 1 {
                let place = self.file().cloned().map_or(Place::Nowhere, Place::WholeFile);
                self.mistakes.add(&place, "several clusters, but no [[database]] says which is whose");
            }
            let table = Table::empty(Section::Database, Place::Nowhere);
            return vec![self.database(&table, DatabaseName::Any, 0)];
        }
        let mut names = BTreeSet::new();
        let mut databases = Vec::new();
        for table in written {
            let name = self.required(table, "name");
            let cluster = self.cluster_of(table, clusters);
            let Some(name) = name else { continue };
            if !names.insert(name.clone()) {
                self.mistakes.add(table.place_of("name"), format!("two databases have the name {name:?}"));
            }
            self.check_name(table, &name);
            let name = if name == "*" { DatabaseName::Any } else { DatabaseName::Named(name) };
            databases.push(self.database(table, name, cluster));
        }
        databases
    }

    fn check_name(&mut self, table: &Table, name: &str) {
        if ADMIN_DATABASES.contains(&name) {
            let message = format!(
                "{name:?} is the admin console; serve the database under another name with server_name"
            );
            self.mistakes.add(table.place_of("name"), message);
        }
        if name.len() > NAME_BYTES_MAX {
            self.mistakes.add(table.place_of("name"), format!("longer than {NAME_BYTES_MAX} bytes"));
        }
        if name == "*" && table.entry("server_name").is_some() {
            self.mistakes.add(
                table.place_of("server_name"),
                "\"*\" stands for many databases: it can't have one server_name",
            );
        }
    }

    fn cluster_of(&mut self, table: &Table, clusters: &[ClusterSettings]) -> usize {
        match table.text("cluster") {
            Some(name) => clusters.iter().position(|cluster| cluster.name == name).unwrap_or_else(|| {
                let names = clusters.iter().map(|cluster| cluster.name.as_str());
                let message = format!("there is no [[cluster]] with the name {name:?}");
                self.mistakes.add_unknown(table.place_of("cluster"), message, (&name, names));
                0
            }),
            None => {
                if clusters.len() > 1 {
                    self.mistakes.add(&table.place, "[[database]]: cluster is missing; there are several");
                }
                0
            }
        }
    }

    fn database(&mut self, table: &Table, name: DatabaseName, cluster: usize) -> DatabaseSettings {
        let pool = self.section("pool");
        let duration = |name: &str| -> Duration {
            table.duration(name).or_else(|| pool.duration(name)).expect("has a default")
        };
        let count = |own: &str, shared: &str| -> u32 {
            let n = table.count(own).or_else(|| pool.count(shared)).expect("has a default");
            u32::try_from(n).unwrap_or(u32::MAX)
        };
        let settings = pool::Settings {
            mode: match table.word("pool_mode").or(pool.word("pool_mode")) {
                Some("session") => PoolMode::Session,
                _ => PoolMode::Transaction,
            },
            size: count("pool_size", "default_pool_size"),
            min_size: count("min_pool_size", "min_pool_size"),
            wait_max: duration("query_wait_timeout"),
            idle_max: duration("server_idle_timeout"),
            lifetime_max: duration("server_lifetime"),
            connect_retry: pool.duration("server_login_retry").expect("has a default"),
        };
        if settings.min_size > settings.size {
            let written = if table.entry("min_pool_size").is_some() { table } else { &pool };
            let message =
                format!("min_pool_size {} is more than the pool's size {}", settings.min_size, settings.size);
            self.mistakes.add(written.place_of("min_pool_size"), message);
        }
        DatabaseSettings {
            name,
            cluster,
            server_name: table.text("server_name").filter(|name| !name.is_empty()),
            reads: self.reads(Some(table)),
            limits: Limits {
                client_idle_max: duration("client_idle_timeout"),
                idle_transaction_max: duration("idle_transaction_timeout"),
                query_max: duration("query_timeout"),
                message_bytes_max: usize::try_from(pool.count("max_message").expect("has a default"))
                    .unwrap_or(usize::MAX),
            },
            pool: settings,
        }
    }

    /// What a database's own keys say of freshness, or else `[reads]`.
    pub(super) fn reads(&self, own: Option<&Table>) -> Reads {
        let shared = self.section("reads");
        let level = own.and_then(|own| own.word("consistency")).or(shared.word("consistency"));
        let max_staleness = own.and_then(|own| own.duration("max_staleness"));
        Reads {
            level: level.and_then(Level::from_name).expect("the choices are the levels' names"),
            max_staleness: max_staleness.or_else(|| shared.duration("max_staleness")).expect("has a default"),
        }
    }
}
