//! Carries out the plan: makes and starts the primary and its replicas, and keeps the marker in step, so that an
//! interrupted run can be taken up again.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use tokio_postgres::Client;

use super::account::Account;
use super::disk;
use super::place::{Marker, NodeRecord, Place};
use super::plan::{self, Data, PrimaryStep, ReplicaStep, Slot};
use super::ports;
use super::postgres::{self, Installation};
use super::progress::Progress;
use super::quote;
use super::server::{self, Durability, Node, SUPERUSER, Server, slot_name};
use super::tools::Tools;
use crate::{connection, failure};

/// The application's role and database.
pub(crate) const APP: &str = "app";

/// The role the router's monitor logs in as.
pub(crate) const MONITOR: &str = "highwater_monitor";

/// The router's port is this far below the primary's, unless that is taken.
const NODE_PORTS_FROM: u16 = 10;

/// Between two looks at a replica that is catching up.
const POLL: Duration = Duration::from_millis(50);

const SAMPLE: &str = include_str!("sample.sql");

/// Where a local cluster lives.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Home<'a> {
    /// In this directory, for the next run to use again.
    Kept(&'a Path),
    /// In a temporary directory that is removed at the end.
    ThrownAway,
}

/// A local cluster being set up, then running.
#[derive(Debug)]
pub(crate) struct Cluster {
    /// Where it lives.
    pub(crate) place: Place,
    /// What it is made with.
    pub(crate) tools: Tools,
    /// What is remembered of it.
    pub(crate) marker: Marker,
    /// Whether its data is thrown away.
    pub(crate) durability: Durability,
    /// The servers that run: the primary, then the replicas.
    pub(crate) servers: Vec<Server>,
}

impl Cluster {
    /// Looks at what is there and gets ready to make or reuse it. Starts nothing.
    pub(crate) fn open(home: Home<'_>, pg_bin: Option<&Path>, router_port: u16) -> anyhow::Result<Cluster> {
        let installations = postgres::find(pg_bin)?;
        let account = Account::choose()?;
        let (mut place, durability) = match home {
            Home::Kept(directory) => (Place::open(directory, &account)?, Durability::Full),
            Home::ThrownAway => (Place::temporary()?, Durability::None),
        };
        let earlier = place.marker()?;
        let installation = postgres::choose(&installations, earlier.as_ref().map(|m| m.postgres_major))?;
        place.prepare(&account)?;
        let marker = match earlier {
            Some(marker) => marker,
            None => first_marker(&place, &installation, router_port)?,
        };
        let tools = Tools::new(installation, account, place.root());
        Ok(Cluster { place, tools, marker, durability, servers: Vec::new() })
    }

    /// Makes what is missing and starts everything: the primary and `replicas` replicas, or as many as an earlier run
    /// had, or one. Returns when all replicas stream.
    pub(crate) async fn bring_up(
        &mut self,
        replicas: Option<u16>,
        progress: &Progress,
    ) -> anyhow::Result<()> {
        let known = u16::try_from(self.marker.replicas.len()).unwrap_or(u16::MAX);
        let wanted = replicas.unwrap_or(if known == 0 && !self.marker.filled { 1 } else { known });
        self.refuse_promoted()?;
        self.require_room(wanted)?;
        for node in self.nodes() {
            server::stop_left_behind(&self.place.data(&node.name)).await?;
        }
        self.bring_up_primary(progress).await?;
        let superuser = self.connect(SUPERUSER, "postgres").await?;
        self.bring_up_replicas(&superuser, wanted, progress).await?;
        self.all_streaming(&superuser, wanted).await
    }

    /// Connects to the primary.
    pub(crate) async fn connect(&self, user: &str, database: &str) -> anyhow::Result<Client> {
        let sockets = self.place.sockets();
        connection::connect(&connection::by_socket(&sockets, self.marker.primary.port, user, database))
            .await
            .with_context(|| format!("can't connect to the primary as {user}"))
    }

    /// Every node of the marker, the primary first.
    pub(crate) fn nodes(&self) -> Vec<Node> {
        let primary = Node::primary(self.marker.primary.port);
        let replicas = (1..).zip(&self.marker.replicas).map(|(number, _)| self.replica(number));
        std::iter::once(primary).chain(replicas).collect()
    }

    fn require_room(&self, wanted: u16) -> anyhow::Result<()> {
        let complete = self.marker.replicas.iter().filter(|r| r.complete).count();
        let new = usize::from(wanted).saturating_sub(complete) + usize::from(!self.marker.primary.complete);
        disk::require_room(self.place.root(), new)
    }

    async fn bring_up_primary(&mut self, progress: &Progress) -> anyhow::Result<()> {
        let node = |cluster: &Self| Node::primary(cluster.marker.primary.port);
        let name = node(self).name;
        let data = data_of(&self.place, &name, self.marker.primary.complete);
        for step in plan::primary(data, self.marker.filled) {
            match step {
                PrimaryStep::Clear => self.place.clear_data(&name)?,
                PrimaryStep::Initialise => {
                    progress.step("initialising the primary");
                    self.initialise(&name).await?;
                }
                PrimaryStep::Start => {
                    self.marker.primary.port = self.free_port(self.marker.primary.port)?;
                    self.place.write_marker(&self.marker)?;
                    progress.step(&format!("starting the primary on port {}", self.marker.primary.port));
                    let server = self.start(&node(self)).await?;
                    self.servers.push(server);
                    let server = self.servers.last_mut().expect("it was pushed one line above");
                    server.accepting(&self.place, &self.tools).await?;
                }
                PrimaryStep::Fill => {
                    progress.step("making roles, the database app and its sample data");
                    self.fill().await?;
                }
            }
        }
        Ok(())
    }

    async fn bring_up_replicas(
        &mut self,
        superuser: &Client,
        wanted: u16,
        progress: &Progress,
    ) -> anyhow::Result<()> {
        while self.marker.replicas.len() < usize::from(wanted) {
            let port = self.marker.replicas.last().unwrap_or(&self.marker.primary).port.saturating_add(1);
            self.marker.replicas.push(NodeRecord { port, complete: false });
        }
        let mut found = Vec::new();
        for (number, record) in (1..).zip(self.marker.replicas.clone()) {
            let data = data_of(&self.place, &self.replica(number).name, record.complete);
            found.push((data, slot(superuser, number).await?));
        }
        for step in plan::replicas(&found, wanted) {
            self.carry_out(step, superuser, progress).await?;
        }
        for server in self.servers.iter_mut().skip(1) {
            server.accepting(&self.place, &self.tools).await?;
        }
        for record in &mut self.marker.replicas {
            record.complete = true;
        }
        self.place.write_marker(&self.marker)
    }

    async fn carry_out(
        &mut self,
        step: ReplicaStep,
        superuser: &Client,
        progress: &Progress,
    ) -> anyhow::Result<()> {
        match step {
            ReplicaStep::DropSlot(number) => drop_slot(superuser, number).await,
            ReplicaStep::Clear(number) => {
                self.record(number).complete = false;
                self.place.write_marker(&self.marker)?;
                self.place.clear_data(&self.replica(number).name)
            }
            ReplicaStep::Copy(number) => {
                progress.step(&format!("copying the primary to replica-{number}"));
                self.copy(number).await
            }
            ReplicaStep::Start(number) => {
                let wanted = self.record(number).port;
                let port = self.free_port(wanted)?;
                self.record(number).port = port;
                self.place.write_marker(&self.marker)?;
                progress.step(&format!("starting replica-{number} on port {port}"));
                let server = self.start(&self.replica(number)).await?;
                self.servers.push(server);
                Ok(())
            }
            ReplicaStep::Forget(number) => {
                progress.step(&format!("removing replica-{number}"));
                self.place.clear_data(&self.replica(number).name)?;
                self.marker.replicas.truncate(usize::from(number) - 1);
                self.place.write_marker(&self.marker)
            }
        }
    }

    async fn initialise(&mut self, name: &str) -> anyhow::Result<()> {
        self.marker.filled = false;
        self.place.write_marker(&self.marker)?;
        self.place.make_data(name, &self.tools.account)?;
        let data = self.place.data(name).display().to_string();
        let mut arguments =
            vec!["-D", &data, "-U", SUPERUSER, "--auth-local=trust", "--auth-host=scram-sha-256"];
        arguments.extend(["--encoding=UTF8", "--locale=C.UTF-8", "--data-checksums", "--no-sync"]);
        self.tools.run("initdb", &arguments, &self.place.log("initdb")).await?;
        if self.durability == Durability::Full {
            disk::sync(&self.place.data(name))?;
        }
        self.marker.primary.complete = true;
        self.place.write_marker(&self.marker)
    }

    /// Everything in it may be done again: an earlier run may have come half-way.
    async fn fill(&mut self) -> anyhow::Result<()> {
        let superuser = self.connect(SUPERUSER, "postgres").await?;
        let passwords = &self.marker.passwords;
        let roles = [
            (SUPERUSER, &passwords.superuser, ""),
            (APP, &passwords.app, ""),
            (MONITOR, &passwords.monitor, "GRANT pg_monitor TO highwater_monitor"),
        ];
        for (role, password, grant) in roles {
            let exists = superuser.query_opt("SELECT FROM pg_roles WHERE rolname = $1", &[&role]).await?;
            let verb = if exists.is_some() { "ALTER" } else { "CREATE" };
            let password = quote(password);
            superuser
                .batch_execute(&format!("{verb} ROLE {role} LOGIN PASSWORD {password}; {grant}"))
                .await?;
        }
        if superuser.query_opt("SELECT FROM pg_database WHERE datname = $1", &[&APP]).await?.is_none() {
            superuser.batch_execute(&format!("CREATE DATABASE {APP} OWNER {APP}")).await?;
        }
        if postgres::has_pg_stat_statements(&self.tools.installation) {
            let in_app = self.connect(SUPERUSER, APP).await?;
            in_app.batch_execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements").await?;
        }
        let app = self.connect(APP, APP).await?;
        app.batch_execute(SAMPLE).await.context("can't load the sample data")?;
        app.batch_execute("VACUUM ANALYZE gists").await?;
        self.marker.filled = true;
        self.place.write_marker(&self.marker)
    }

    async fn copy(&mut self, number: u16) -> anyhow::Result<()> {
        let node = self.replica(number);
        self.place.write_marker(&self.marker)?;
        self.place.make_data(&node.name, &self.tools.account)?;
        let data = self.place.data(&node.name).display().to_string();
        let from = server::conninfo(&self.place.sockets(), self.marker.primary.port, &node.name);
        let slot = slot_name(number);
        // Not synced here: the server syncs everything before it replays (`SyncDataDirectory` in PostgreSQL's fd.c).
        let arguments =
            ["-D", &data, "-d", &from, "-X", "stream", "-c", "fast", "-R", "-C", "-S", &slot, "--no-sync"];
        self.tools.run("pg_basebackup", &arguments, &self.place.log("pg_basebackup")).await
    }

    /// Starts a server; it may not take connections yet.
    pub(crate) async fn start(&self, node: &Node) -> anyhow::Result<Server> {
        Server::start(node, &self.place, &self.tools, self.durability).await
    }

    /// Waits until every replica streams from the primary.
    async fn all_streaming(&mut self, superuser: &Client, wanted: u16) -> anyhow::Result<()> {
        loop {
            let row = superuser
                .query_one("SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'", &[])
                .await?;
            if row.get::<_, i64>(0) >= i64::from(wanted) {
                return Ok(());
            }
            if let Some(server) = self.servers.iter_mut().find_map(|s| s.ended().is_some().then_some(s)) {
                let (name, log) = (&server.node.name, server.log().display());
                return Err(failure::failed(format!("the {name} ended while it was starting: see {log}")));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// A replica that was promoted by hand has data of its own, which copying anew would destroy.
    fn refuse_promoted(&self) -> anyhow::Result<()> {
        for (number, record) in (1..).zip(&self.marker.replicas) {
            let data = self.place.data(&self.replica(number).name);
            if record.complete && data.is_dir() && !data.join("standby.signal").exists() {
                return Err(failure::failed(format!(
                    "{} is no replica any more (somebody promoted it): move it away, or choose another --dir",
                    data.display()
                )));
            }
        }
        Ok(())
    }

    fn replica(&self, number: u16) -> Node {
        let port = self.marker.replicas.get(usize::from(number) - 1).map_or(0, |record| record.port);
        Node::replica(number, port, self.marker.primary.port)
    }

    fn record(&mut self, number: u16) -> &mut NodeRecord {
        self.marker.replicas.get_mut(usize::from(number) - 1).expect("steps only name replicas of the marker")
    }

    /// `wanted` or the next port that neither another node of ours nor a stranger has.
    fn free_port(&self, wanted: u16) -> anyhow::Result<u16> {
        let ours: Vec<u16> = self.servers.iter().map(|server| server.node.port).collect();
        ports::free_from(wanted, &ours)
    }
}

fn first_marker(place: &Place, installation: &Installation, router_port: u16) -> anyhow::Result<Marker> {
    let marker = Marker::new(installation.major, router_port.saturating_add(NODE_PORTS_FROM))?;
    place.write_marker(&marker)?;
    Ok(marker)
}

fn data_of(place: &Place, node: &str, complete: bool) -> Data {
    let empty = std::fs::read_dir(place.data(node)).map_or(true, |mut entries| entries.next().is_none());
    match (empty, complete) {
        (true, _) => Data::Absent,
        (false, true) => Data::Complete,
        (false, false) => Data::Partial,
    }
}

async fn slot(superuser: &Client, number: u16) -> anyhow::Result<Slot> {
    let row = superuser
        .query_opt("SELECT wal_status FROM pg_replication_slots WHERE slot_name = $1", &[&slot_name(number)])
        .await?;
    Ok(match row.map(|row| row.get::<_, Option<String>>(0)) {
        None => Slot::Absent,
        Some(Some(status)) if status == "lost" => Slot::Lost,
        Some(_) => Slot::Usable,
    })
}

async fn drop_slot(superuser: &Client, number: u16) -> anyhow::Result<()> {
    superuser
        .execute("SELECT pg_drop_replication_slot($1::text::name)", &[&slot_name(number)])
        .await
        .with_context(|| format!("can't drop the slot {}", slot_name(number)))?;
    Ok(())
}
