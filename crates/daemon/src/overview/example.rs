//! A made-up moment, for the tests of everything that shows one: a primary, a replica 250 ms behind, a replica that is down,
//! one pool with two clients waiting, four reads of which three were answered by the replica.

use super::*;
use crate::mail::{BackendRow, ClientRow, PoolRow};
use crate::monitor::events::{Kind, News};
use crate::monitor::probe::Receiver;
use crate::monitor::replication::{
    Conflicts, Connections, LagMillis, Listed, Reached, Receiving, Sender, Slot,
};
use engine::route::Reason;
use engine::view::{Epoch, Incarnation};
use wire::lsn::{Lsn, Timeline};

const READS: Reads = Reads { level: Level::Session, max_staleness: Duration::from_secs(10) };

const ONE: NodeId = NodeId(0);
const TWO: NodeId = NodeId(1);

/// The moment.
pub(crate) fn overview() -> Overview {
    let now = Instant::START + Duration::from_secs(100);
    let totals = Arc::new(totals());
    Overview {
        now,
        // 2026-11-21 06:00:00 UTC.
        wall: SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_240_800),
        clusters: vec![cluster(now)],
        reads: READS,
        events: vec![("main".to_owned(), event(8, Kind::Primary, "is the primary (epoch 1)"))],
        databases: vec![database()],
        settings: vec![SettingRow {
            key: "max_client_conn".to_owned(),
            value: "100".to_owned(),
            default: Some("100".to_owned()),
            changeable: true,
        }],
        users: vec![Arc::from("ann")],
        totals,
        period: Period { length: Duration::from_secs(10), before: Arc::default() },
        snapshot: Snapshot { clients: vec![client()], backends: vec![backend()], pools: vec![pool()] },
        process: Process {
            cpu_seconds: 1.5,
            resident_bytes: 10 << 20,
            open_fds: 12,
            cpu_cores: Some(1.5),
            memory_limit_bytes: Some(1 << 30),
        },
    }
}

/// Something that happened to the first node, so long ago.
fn event(seconds_ago: u64, kind: Kind, text: &str) -> Event {
    let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_240_800 - seconds_ago);
    Event { at, news: News { kind, node: Some(Arc::from("one")), text: text.to_owned() } }
}

fn totals() -> WorkerStats {
    let totals = WorkerStats::default();
    totals.decisions[Reason::FreshReplica as usize].add(3);
    totals.decisions[Reason::NoReplica as usize].add(1);
    totals.reads_on_replica.add(3);
    totals.reads_on_primary.add(1);
    totals.transactions.add(4);
    totals.bytes_received.add(400);
    totals.bytes_sent.add(4000);
    totals.errors.add(3);
    totals.own_errors.add(2);
    totals.router_failures.add(2);
    totals.clients.add(1);
    totals.backends.add(1);
    totals.wait_time.record(Duration::from_micros(60));
    totals.wait_time.record(Duration::from_millis(3));
    for us in [100, 200, 300] {
        totals.replica_time.record(Duration::from_micros(us));
    }
    totals.primary_time.record(Duration::from_micros(400));
    totals
}

fn cluster(now: Instant) -> ClusterRow {
    let names = ["one", "two", "three"];
    let ids = names.iter().enumerate().map(|(i, name)| (NodeId(i as u32), Arc::from(*name)));
    let mut view = View { epoch: Epoch(1), primary: Some(ONE), ..View::unknown(ids) };
    let lsn = |at| (Some(Timeline(1)), Some(Incarnation(7)), Some(Lsn(at)));
    (view.nodes[0].timeline, view.nodes[0].incarnation, view.nodes[0].position) = lsn(0x300_0060);
    (view.nodes[1].timeline, view.nodes[1].incarnation, view.nodes[1].position) = lsn(0x300_0000);
    (view.nodes[0].role, view.nodes[0].health) = (Role::Primary, Health::Up);
    (view.nodes[1].role, view.nodes[1].health) = (Role::Replica, Health::Up);
    view.nodes[1].fresh_as_of = Some(now - Duration::from_millis(250));
    view.nodes[1].lag_bytes = Some(96);
    view.nodes[2].health = Health::Down;
    let nodes = view.nodes.iter().map(|seen| {
        let node = Node {
            id: seen.id,
            name: Arc::clone(&seen.name),
            source: "config",
            host: "10.0.0.1".to_owned(),
            port: 5432 + seen.id.index() as u16,
        };
        let mut status = NodeStatus::new(seen.id);
        status.probes = 10;
        match (seen.role, seen.health) {
            (_, Health::Down) => status.last_error = Some("Connection refused (os error 111)".to_owned()),
            (Role::Replica, _) => {
                status.receiver = Some(Receiver::State("streaming".into()));
                status.replication = Some(Arc::new(received(now)));
            }
            _ => {
                status.receiver = Some(Receiver::Absent);
                status.replication = Some(Arc::new(sent(now)));
            }
        }
        node_row(&node, seen, &view, (status, now))
    });
    let mut nodes: Vec<NodeRow> = nodes.collect();
    let others = replication::join(&mut nodes);
    ClusterRow {
        name: "main".to_owned(),
        epoch: 1,
        newest_write: Some(now - Duration::from_secs(2)),
        nodes,
        discovery: Some(crate::discover::Status {
            source: "file",
            last_ok: Some(now - Duration::from_millis(1500)),
            error: Some("nodes.txt: line 3: \"x y z\" is not \"host:port\" or \"host:port name\"".to_owned()),
            errors: 2,
        }),
        others,
    }
}

/// What the primary says: it sends to the replica and to a backup, and keeps WAL for a slot that nobody uses.
fn sent(now: Instant) -> Replication {
    let reached = |sent, written, flushed, replayed| Reached {
        sent: Some(Lsn(sent)),
        written: Some(Lsn(written)),
        flushed: Some(Lsn(flushed)),
        replayed: Some(Lsn(replayed)),
    };
    let stream = Sender {
        pid: Some(71),
        user: Some("replicator".to_owned()),
        application_name: Some("walreceiver".to_owned()),
        client_addr: Some("10.0.0.1".to_owned()),
        slot: Some("two".to_owned()),
        state: Some("streaming".to_owned()),
        sync_state: Some("async".to_owned()),
        reached: reached(0x300_0060, 0x300_0050, 0x300_0040, 0x300_0000),
        lag_ms: LagMillis { write: Some(0.5), flush: Some(1.5), replay: Some(250.0) },
        silent_ms: Some(8.0),
    };
    let backup = Sender {
        pid: Some(72),
        user: Some("postgres".to_owned()),
        application_name: Some("pg_basebackup".to_owned()),
        state: Some("backup".to_owned()),
        ..Sender::default()
    };
    let slot = |name: &str, active, restart| Slot {
        name: name.to_owned(),
        kind: Some("physical".to_owned()),
        active: Some(active),
        temporary: Some(false),
        restart: Some(Lsn(restart)),
        wal_status: Some("reserved".to_owned()),
        retained_bytes: Some(0x300_0060 - restart),
        ..Slot::default()
    };
    Replication {
        in_recovery: false,
        end: Some(Lsn(0x300_0060)),
        receiver: None,
        senders: Some(Listed { some: vec![stream, backup], total: 2 }),
        slots: Some(Listed {
            some: vec![slot("old", false, 0x200_0000), slot("two", true, 0x300_0000)],
            total: 2,
        }),
        slot_limit: SlotLimit::Bytes(1 << 30),
        ..received(now)
    }
}

/// What the replica says.
fn received(now: Instant) -> Replication {
    Replication {
        at: now - Duration::from_millis(300),
        in_recovery: true,
        end: Some(Lsn(0x300_0050)),
        receiver: Some(Receiving {
            status: Some("streaming".to_owned()),
            sender_host: Some("10.0.0.1".to_owned()),
            sender_port: Some(5432),
            slot: Some("two".to_owned()),
            application_name: Some("walreceiver".to_owned()),
            timeline: Some(Timeline(1)),
            written: Some(Lsn(0x300_0050)),
            flushed: Some(Lsn(0x300_0040)),
            silent_ms: Some(12.0),
        }),
        conflicts: Some(Conflicts::new([Some(0), Some(1), Some(4), Some(0), Some(0), None])),
        connections: Connections { used: Some(7), max: Some(100) },
        senders: Some(Listed { some: Vec::new(), total: 0 }),
        slots: Some(Listed { some: Vec::new(), total: 0 }),
        slot_limit: SlotLimit::Unlimited,
    }
}

fn database() -> DatabaseRow {
    DatabaseRow {
        name: "app".to_owned(),
        server_name: "app_db".to_owned(),
        cluster: "main".to_owned(),
        pool: engine::pool::Settings {
            mode: PoolMode::Transaction,
            size: 20,
            min_size: 0,
            wait_max: Duration::from_secs(120),
            idle_max: Duration::from_secs(600),
            lifetime_max: Duration::from_secs(3600),
            connect_retry: Duration::from_secs(15),
        },
        level: Level::Session,
        max_staleness: Duration::from_secs(10),
        catalogue_epoch: 1,
    }
}

fn client() -> ClientRow {
    ClientRow {
        number: 17,
        user: Arc::from("ann"),
        database: "app".to_owned(),
        state: "waiting",
        peer: ([127, 0, 0, 1], 40000).into(),
        application_name: Some("psql".to_owned()),
        connected_ms: 60_000,
        waiting_ms: 1_500,
        node: None,
        pinned: false,
    }
}

fn backend() -> BackendRow {
    BackendRow {
        user: Arc::from("ann"),
        database: "app_db".to_owned(),
        state: "active",
        node: TWO,
        address: ([10, 0, 0, 1], 5433).into(),
        pid: Some(4711),
        connected_ms: 30_000,
        since_ms: 20,
        prepared: 2,
        client: Some(16),
    }
}

fn pool() -> PoolRow {
    PoolRow {
        database: "app".to_owned(),
        user: Arc::from("ann"),
        node: TWO,
        clients_active: 1,
        clients_waiting: 2,
        backends_active: 1,
        backends_idle: 0,
        backends_connecting: 1,
        wait_max_us: 1_500_000,
        size: 20,
        mode: "transaction",
    }
}

/// A world without workers that serves one cluster of one node, of which nothing is known; `ann` may change things.
pub(crate) fn world() -> (Arc<AdminWorld>, mpsc::Receiver<Order>) {
    let name: Arc<str> = Arc::from("one");
    let node =
        Node { id: ONE, name: Arc::clone(&name), source: "config", host: "10.0.0.1".to_owned(), port: 5432 };
    let cluster = Arc::new(Cluster {
        name: "main".to_owned(),
        nodes: ArcSwap::from_pointee(vec![node]),
        view: ArcSwap::from_pointee(View::unknown([(ONE, name)])),
        writes: crate::world::WriteSignal::default(),
    });
    let monitor = MonitorHandle::nobody(vec![NodeStatus::new(ONE)]);
    let served = Served {
        clusters: vec![Watched { cluster, monitor, discovery: Arc::default() }],
        databases: Vec::new(),
        settings: Vec::new(),
        users: vec![Arc::from("ann"), Arc::from("bob")],
        admin_users: vec![Arc::from("ann")],
        ready_when: ReadyWhen::Primary,
        reads: READS,
    };
    let (orders, taken) = mpsc::channel(1);
    let pools = Arc::new(crate::pools::SharedPools::new(Vec::new()));
    (Arc::new(AdminWorld::new(Clock::new(), served, (Vec::new(), pools), orders)), taken)
}
