//! Clusters, their nodes and where more of them are found: from the file, or from the connection strings of the command
//! line.
//!
//! Whether a node exists is the monitor's to find out.

use std::collections::BTreeSet;
use std::time::Duration;

use super::Resolver;
use crate::config::file::Table;
use crate::config::keys::Section;
use crate::config::mistake::Place;
use crate::config::settings::{
    ClusterSettings, DiscoverSettings, MonitorSettings, NodeSettings, SERVER_ID, SourceSettings, address,
};
use crate::config::value::host_port;

/// Most nodes of all clusters together.
const NODES_MAX: usize = 1000;

/// The keys of `discover` that name a source.
const SOURCES: [&str; 5] = ["file", "command", "dns", "patroni", "aurora"];

/// Where Patroni listens unless something else is said.
const PATRONI_PORT: u16 = 8008;

/// Nobody is asked more often for the nodes.
const EVERY_MIN: Duration = Duration::from_millis(100);

impl Resolver<'_> {
    pub(super) fn clusters(&mut self) -> Vec<ClusterSettings> {
        let written = self.top.tables("cluster");
        let mut clusters: Vec<ClusterSettings> =
            written.iter().filter_map(|table| self.cluster(table)).collect();
        self.nodes_of_dsns(&mut clusters, written.len());
        if written.is_empty() && self.top.lacks("cluster") && self.dsns.all.is_empty() {
            let place = self.file().cloned().map_or(Place::Nowhere, Place::WholeFile);
            self.mistakes.add(
                &place,
                "no nodes: write a [[cluster]] with name and nodes, or give --primary (HIGHWATER_PRIMARY) with a connection string",
            );
        }
        self.check_unique(&clusters);
        clusters.iter_mut().for_each(take_seeds);
        clusters
    }

    fn cluster(&mut self, table: &Table) -> Option<ClusterSettings> {
        let name = self.required(table, "name");
        let nodes: Vec<NodeSettings> =
            table.tables("nodes").iter().filter_map(|node| self.node(node)).collect();
        let discover = table.tables("discover").first().and_then(|discover| self.discover(discover));
        // The connection strings of the command line take the place of the file's nodes.
        let said = table.lacks("nodes") || table.entry("nodes").is_some();
        let sought = !table.lacks("discover");
        if said && table.tables("nodes").is_empty() && self.dsns.all.is_empty() && !sought {
            let message = "[[cluster]]: nodes is missing or empty, and there is no discover";
            self.mistakes.add(table.place_of("nodes"), message);
        }
        let monitor = self.monitor(table.tables("monitor").first());
        let endpoints = !nodes.is_empty() || !self.dsns.all.is_empty() || !said;
        let asks_aurora =
            |discover: &DiscoverSettings| matches!(discover.source, SourceSettings::Aurora { .. });
        if discover.as_ref().is_some_and(asks_aurora) && !endpoints {
            let message =
                "discover: aurora: nodes is missing or empty: name an endpoint to ask, as the cluster's";
            let place = table.tables("discover").first().map_or(&table.place, |discover| &discover.place);
            self.mistakes.add(place, message);
        }
        Some(ClusterSettings { name: name?, nodes, discover, monitor })
    }

    /// Where nodes are found: exactly one source.
    fn discover(&mut self, table: &Table) -> Option<DiscoverSettings> {
        if table.duration("every").is_some_and(|every| every < EVERY_MIN) {
            self.mistakes.add(table.place_of("every"), "every: at least 100ms");
        }
        let written: Vec<&str> = SOURCES.into_iter().filter(|source| table.entry(source).is_some()).collect();
        let source = match written[..] {
            [name] => self.source(table, name)?,
            [] => {
                if SOURCES.into_iter().all(|source| table.lacks(source)) {
                    let message = format!("discover: one of {} is needed", SOURCES.join(", "));
                    self.mistakes.add(&table.place, message);
                }
                return None;
            }
            [_, second, ..] => {
                let message = format!("discover: {} are given, and only one may be", written.join(" and "));
                self.mistakes.add(table.place_of(second), message);
                return None;
            }
        };
        let every = table.duration("every").unwrap_or(source.every());
        let leave_after = table.duration("leave_after").unwrap_or(source.leave_after());
        Some(DiscoverSettings { source, every, leave_after })
    }

    /// One of [`SOURCES`].
    fn source(&mut self, table: &Table, name: &str) -> Option<SourceSettings> {
        let read = match name {
            "file" => {
                let file = table.text("file").filter(|file| !file.is_empty());
                file.map(|file| SourceSettings::File(self.path(&file))).ok_or("file is empty".to_owned())
            }
            "command" => match &table.names("command")[..] {
                [program, arguments @ ..] if !program.is_empty() => {
                    Ok(SourceSettings::Command { program: program.clone(), arguments: arguments.to_vec() })
                }
                _ => Err("command names no program".to_owned()),
            },
            "dns" => {
                let text = table.text("dns").unwrap_or_default();
                let named = host_port(&text, 5432).map(|(name, port)| SourceSettings::Dns { name, port });
                named.ok_or_else(|| format!("dns: {text:?} is not \"name\" or \"name:port\""))
            }
            "aurora" => aurora_source(&table.text("aurora").unwrap_or_default()),
            _ => {
                let urls = table.names("patroni");
                let members: Result<Vec<_>, String> = urls.iter().map(|url| patroni_member(url)).collect();
                members.and_then(|members| match members.is_empty() {
                    true => Err("patroni names no member".to_owned()),
                    false => Ok(SourceSettings::Patroni(members)),
                })
            }
        };
        read.map_err(|message| self.mistakes.add(table.place_of(name), message)).ok()
    }

    fn node(&mut self, table: &Table) -> Option<NodeSettings> {
        let host = self.required(table, "host")?;
        let port =
            table.count("port").and_then(|port| u16::try_from(port).ok()).expect("the type has this range");
        if host.starts_with('/') {
            self.mistakes.add(table.place_of("host"), "host is a Unix socket; nodes are reached by TCP only");
            return None;
        }
        let address = address(&host, port);
        let name = table.text("name").filter(|name| !name.is_empty()).unwrap_or(address);
        Some(NodeSettings { name, host, port })
    }

    fn monitor(&mut self, table: Option<&Table>) -> MonitorSettings {
        let empty = Table::empty(Section::Monitor, Place::Nowhere);
        let table = table.unwrap_or(&empty);
        MonitorSettings {
            user: table.text("user").expect("has a default"),
            password: self.secret(table),
            database: table.text("database").expect("has a default"),
        }
    }

    fn nodes_of_dsns(&mut self, clusters: &mut Vec<ClusterSettings>, written: usize) {
        let Some((_, place)) = self.dsns.all.first() else { return };
        if written > 1 {
            self.mistakes
                .add(place, "the file has several clusters: which one's nodes these are can't be told");
            return;
        }
        if clusters.is_empty() {
            let monitor = self.monitor(None);
            clusters.push(ClusterSettings {
                name: "main".into(),
                nodes: Vec::new(),
                discover: None,
                monitor,
            });
        }
        let cluster = clusters.first_mut().expect("one was just put there");
        cluster.nodes = self
            .dsns
            .all
            .iter()
            .flat_map(|(dsn, _)| dsn.hosts.iter())
            .map(|(host, port)| NodeSettings { name: address(host, *port), host: host.clone(), port: *port })
            .collect();
        if let Some((dsn, _)) = self.dsns.all.iter().find(|(dsn, _)| dsn.user.is_some()) {
            cluster.monitor.user = dsn.user.clone().unwrap_or_default();
            cluster.monitor.password = dsn.password.clone();
        }
        if let Some(database) = self.dsns.all.iter().find_map(|(dsn, _)| dsn.database.clone()) {
            cluster.monitor.database = database;
        }
    }

    fn check_unique(&mut self, clusters: &[ClusterSettings]) {
        let (mut names, mut nodes, mut addresses) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        let place = self.file().cloned().map_or(Place::Nowhere, Place::WholeFile);
        for cluster in clusters {
            if !names.insert(&cluster.name) {
                self.mistakes.add(&place, format!("two clusters have the name {:?}", cluster.name));
            }
            for node in &cluster.nodes {
                if !addresses.insert((&node.host, node.port)) {
                    let message = format!("the node {} is named twice", address(&node.host, node.port));
                    self.mistakes.add(&place, message);
                } else if !nodes.insert(&node.name) {
                    self.mistakes.add(&place, format!("two nodes have the name {:?}", node.name));
                }
            }
        }
        if addresses.len() > NODES_MAX {
            self.mistakes.add(&place, format!("more than {NODES_MAX} nodes"));
        }
    }
}

/// The nodes that are written down for a cluster on Aurora are endpoints to ask: each is an instance under another name,
/// which would be a second node.
fn take_seeds(cluster: &mut ClusterSettings) {
    if let Some(DiscoverSettings { source: SourceSettings::Aurora { seeds, .. }, .. }) = &mut cluster.discover
    {
        *seeds = std::mem::take(&mut cluster.nodes);
    }
}

/// Where an instance is reached: `{server_id}` stands for its identifier.
fn aurora_source(template: &str) -> Result<SourceSettings, String> {
    let reads = host_port(&template.replace(SERVER_ID, "1"), 5432).is_some();
    match template.contains(SERVER_ID) && reads {
        true => Ok(SourceSettings::Aurora { template: template.to_owned(), seeds: Vec::new() }),
        false => Err(format!("aurora: {template:?} is not \"host\" or \"host:port\" with {SERVER_ID} in it")),
    }
}

/// Host and port of `http://host:port`.
fn patroni_member(url: &str) -> Result<(String, u16), String> {
    if url.starts_with("https://") {
        return Err(format!("patroni: {url:?}: https isn't there yet"));
    }
    let rest = url.strip_prefix("http://").map(|rest| rest.strip_suffix('/').unwrap_or(rest));
    let member = rest.and_then(|rest| host_port(rest, PATRONI_PORT));
    member.ok_or_else(|| format!("patroni: {url:?} is not \"http://host:port\""))
}
