//! The numbers a router shows: one table says their names, kinds and meaning, and from where they come.
//!
//! [`render`] writes the Prometheus text format (version 0.0.4), [`reference`] the page of the documentation. Nothing is
//! counted here; workers and monitors count.

use std::fmt::Write;

use engine::route::Reason;

use crate::mail::PoolRow;
use crate::monitor::replication::{Slot, SlotLimit};
use crate::overview::{NodeRow, Overview, VERSION};
use crate::stats::{BUCKETS_US, Histogram};

/// The content type of [`render`]'s text.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What a number is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    /// Only grows, until the process ends.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Durations in buckets.
    Histogram,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        }
    }
}

/// One family of numbers.
struct Metric {
    name: &'static str,
    kind: Kind,
    help: &'static str,
    labels: &'static [&'static str],
    samples: fn(&Overview, &mut Samples),
}

const NODE: &[&str] = &["cluster", "node"];
const SLOT: &[&str] = &["cluster", "slot"];
const POOL: &[&str] = &["database", "user", "node"];

const fn metric(
    name: &'static str,
    kind: Kind,
    help: &'static str,
    labels: &'static [&'static str],
    samples: fn(&Overview, &mut Samples),
) -> Metric {
    Metric { name, kind, help, labels, samples }
}

use Kind::{Counter, Gauge};

#[rustfmt::skip]
const METRICS: &[Metric] = &[
    metric("highwater_build_info", Gauge, "Always 1; the release is in the label.", &["version"],
        |_, s| s.add(&[VERSION], 1.0)),
    metric("highwater_uptime_seconds", Gauge, "Time since the process began.", &[],
        |o, s| s.add(&[], seconds_from_nanos(o.now.as_nanos()))),
    metric("highwater_decisions_total", Counter, "Requests by the rule that chose their node.", &["reason"],
        |o, s| for &reason in Reason::ALL {
            s.count(&[reason.name()], o.totals.decisions[reason as usize].value());
        }),
    metric("highwater_reads_total", Counter, "Requests that only read, by the role of the node that answered.", &["role"],
        |o, s| {
            s.count(&["replica"], o.totals.reads_on_replica.value());
            s.count(&["primary"], o.totals.reads_on_primary.value());
        }),
    metric("highwater_writes_total", Counter, "Requests that write, may write, or were answered by the router itself.", &[],
        |o, s| s.count(&[], o.totals.writes.value())),
    metric("highwater_reads_replica_ratio", Gauge, "Share of reads answered by replicas since the start; absent before the first read.", &[],
        |o, s| if let Some(share) = o.replica_share() { s.add(&[], share) }),
    metric("highwater_transactions_total", Counter, "Transactions ended; a statement outside a block is one.", &[],
        |o, s| s.count(&[], o.totals.transactions.value())),
    metric("highwater_reruns_total", Counter, "Requests that ran again on another node.", &[],
        |o, s| s.count(&[], o.totals.reruns.value())),
    metric("highwater_errors_total", Counter, "Errors sent to clients, by whose fault they are: the client's (a wrong statement, a conflict between transactions, a cancelled query), a node's or the router's.", &["origin"],
        |o, s| {
            let (router, node) = (o.totals.router_failures.value(), o.totals.node_failures.value());
            s.count(&["router"], router);
            s.count(&["node"], node);
            s.count(&["client"], o.totals.errors.value().saturating_sub(router + node));
        }),
    metric("highwater_received_bytes_total", Counter, "Bytes from clients.", &[],
        |o, s| s.count(&[], o.totals.bytes_received.value())),
    metric("highwater_sent_bytes_total", Counter, "Bytes to clients.", &[],
        |o, s| s.count(&[], o.totals.bytes_sent.value())),
    metric("highwater_parses_total", Counter, "Parse messages, from clients and sent on to nodes; the difference was saved.", &["side"],
        |o, s| {
            s.count(&["client"], o.totals.parses_received.value());
            s.count(&["node"], o.totals.parses_sent.value());
        }),
    metric("highwater_binds_total", Counter, "Bind messages from clients.", &[],
        |o, s| s.count(&[], o.totals.binds.value())),
    metric("highwater_classifications_total", Counter, "Statements by how their class was found: in the memo, or by reading them.", &["result"],
        |o, s| {
            s.count(&["hit"], o.totals.memo_hits.value());
            s.count(&["miss"], o.totals.memo_misses.value());
        }),
    metric("highwater_request_duration_seconds", Kind::Histogram, "Time from routing a request to the end of its answer, by the role of the node.", &["role"],
        |o, s| {
            s.histogram(&["replica"], &o.totals.replica_time);
            s.histogram(&["primary"], &o.totals.primary_time);
        }),
    metric("highwater_wait_duration_seconds", Kind::Histogram, "Time waited for a backend, by requests that had to wait.", &[],
        |o, s| s.histogram(&[], &o.totals.wait_time)),
    metric("highwater_clients", Gauge, "Clients logged in.", &[],
        |o, s| s.count(&[], o.totals.clients.value())),
    metric("highwater_backends", Gauge, "Connections to nodes, without the monitor's.", &[],
        |o, s| s.count(&[], o.totals.backends.value())),
    metric("highwater_handed_over_total", Counter, "Backends that one worker thread handed over to another, where a client waited.", &[],
        |o, s| s.count(&[], o.totals.handed_over.value())),
    metric("highwater_node_up", Gauge, "1 when the node answers the monitor.", NODE,
        |o, s| per_node(o, s, |node| Some(flag(node.is_up())))),
    metric("highwater_node_role", Gauge, "1 for the node's role: primary, replica, fenced or unknown.", &["cluster", "node", "role"],
        |o, s| for cluster in &o.clusters {
            for node in &cluster.nodes {
                s.add(&[&cluster.name, &node.node.name, node.role()], 1.0);
            }
        }),
    metric("highwater_node_drained", Gauge, "1 when an operator has drained the node.", NODE,
        |o, s| per_node(o, s, |node| Some(flag(node.view.drained)))),
    metric("highwater_node_staleness_seconds", Gauge, "Proved staleness: everything acknowledged longer ago is visible on the node. Absent when nothing is proved.", NODE,
        |o, s| per_node(o, s, |node| Some(node.staleness?.as_secs_f64()))),
    metric("highwater_node_lag_bytes", Gauge, "WAL not yet replayed, against the newest sample of the primary. Absent when unknown.", NODE,
        |o, s| per_node(o, s, |node| node.view.lag_bytes.map(|bytes| bytes as f64))),
    metric("highwater_node_write_lag_bytes", Gauge, "WAL of the primary that has not been written on the replica. Absent when unknown.", NODE,
        |o, s| per_node(o, s, |node| Some(node.stream.lag.write? as f64))),
    metric("highwater_node_flush_lag_bytes", Gauge, "WAL of the primary that has not been flushed on the replica. Absent when unknown.", NODE,
        |o, s| per_node(o, s, |node| Some(node.stream.lag.flush? as f64))),
    metric("highwater_node_receiver_streaming", Gauge, "1 when WAL streams to the replica. Absent when unknown, and of a primary.", NODE,
        |o, s| per_node(o, s, |node| node.receives().map(flag))),
    metric("highwater_node_conflicts_total", Counter, "Queries on the node cancelled because they stood in the way of replay. Absent when unknown.", NODE,
        |o, s| per_node(o, s, |node| Some(node.replication.as_ref()?.conflicts.as_ref()?.total() as f64))),
    metric("highwater_node_connections", Gauge, "Connections of clients that the node has, of this router and of others. Absent when unknown.", NODE,
        |o, s| per_node(o, s, |node| Some(node.replication.as_ref()?.connections.used? as f64))),
    metric("highwater_node_connections_max", Gauge, "Connections that the node takes (max_connections). Absent when unknown.", NODE,
        |o, s| per_node(o, s, |node| Some(node.replication.as_ref()?.connections.max? as f64))),
    metric("highwater_node_timeline", Gauge, "Timeline the node is on. Absent when unknown.", NODE,
        |o, s| per_node(o, s, |node| node.view.timeline.map(|timeline| f64::from(timeline.0)))),
    metric("highwater_node_replay_paused", Gauge, "1 when replay is paused on the node. Absent when it does not answer.", NODE,
        |o, s| per_node(o, s, |node| node.replay_paused().map(flag))),
    metric("highwater_node_probe_seconds", Gauge, "Round trip of the last answered probe.", NODE,
        |o, s| per_node(o, s, |node| Some(node.status.probe_time?.as_secs_f64()))),
    metric("highwater_node_probes_total", Counter, "Probes of the node, by outcome.", &["cluster", "node", "outcome"],
        |o, s| for cluster in &o.clusters {
            for node in &cluster.nodes {
                s.count(&[&cluster.name, &node.node.name, "answered"], node.status.probes);
                s.count(&[&cluster.name, &node.node.name, "failed"], node.status.probe_failures);
            }
        }),
    metric("highwater_cluster_has_primary", Gauge, "1 when a primary is known and in role.", &["cluster"],
        |o, s| for cluster in &o.clusters {
            s.add(&[&cluster.name], flag(cluster.primary().is_some()));
        }),
    metric("highwater_cluster_epoch", Gauge, "Counts the histories the primary has had since the start; grows with every failover.", &["cluster"],
        |o, s| for cluster in &o.clusters {
            s.add(&[&cluster.name], f64::from(cluster.epoch));
        }),
    metric("highwater_cluster_replicas", Gauge, "Replicas that may be given a read at the default level at this moment.", &["cluster"],
        |o, s| for cluster in &o.clusters {
            s.count(&[&cluster.name], cluster.serving_replicas(o.reads).count() as u64);
        }),
    metric("highwater_max_staleness_seconds", Gauge, "The default max_staleness: beyond it a replica is given no reads.", &[],
        |o, s| s.add(&[], o.reads.max_staleness.as_secs_f64())),
    metric("highwater_slot_retained_bytes", Gauge, "WAL that the primary keeps for the slot. Absent when unknown.", SLOT,
        |o, s| per_slot(o, s, |slot| Some(slot.retained_bytes? as f64))),
    metric("highwater_slot_active", Gauge, "1 when somebody uses the slot of the primary.", SLOT,
        |o, s| per_slot(o, s, |slot| slot.active.map(flag))),
    metric("highwater_slot_lost", Gauge, "1 when WAL that the slot needs is gone: its replica must be made anew.", SLOT,
        |o, s| per_slot(o, s, |slot| slot.is_lost().map(flag))),
    metric("highwater_slot_retained_limit_bytes", Gauge, "WAL that a slot may make the primary keep (max_slot_wal_keep_size). Absent when unlimited or unknown.", &["cluster"],
        |o, s| for cluster in &o.clusters {
            if let SlotLimit::Bytes(bytes) = cluster.slot_limit() {
                s.count(&[&cluster.name], bytes);
            }
        }),
    metric("highwater_discovery_up", Gauge, "1 when the last answer of the source of the cluster's nodes was good. Absent without `discover`.", &["cluster"],
        |o, s| for cluster in &o.clusters {
            if let Some(discovery) = &cluster.discovery {
                s.add(&[&cluster.name], flag(discovery.last_ok.is_some() && discovery.error.is_none()));
            }
        }),
    metric("highwater_discovery_errors_total", Counter, "Answers of the source of the cluster's nodes that could not be had or made no sense.", &["cluster"],
        |o, s| for cluster in &o.clusters {
            if let Some(discovery) = &cluster.discovery {
                s.count(&[&cluster.name], discovery.errors);
            }
        }),
    metric("highwater_pool_clients_active", Gauge, "Clients that have a backend of the pool.", POOL,
        |o, s| per_pool(o, s, |pool| u64::from(pool.clients_active))),
    metric("highwater_pool_clients_waiting", Gauge, "Clients that wait for a backend of the pool.", POOL,
        |o, s| per_pool(o, s, |pool| u64::from(pool.clients_waiting))),
    metric("highwater_pool_backends_active", Gauge, "Backends lent to a client.", POOL,
        |o, s| per_pool(o, s, |pool| u64::from(pool.backends_active))),
    metric("highwater_pool_backends_idle", Gauge, "Backends ready to be lent.", POOL,
        |o, s| per_pool(o, s, |pool| u64::from(pool.backends_idle))),
    metric("highwater_pool_backends_connecting", Gauge, "Backends being connected.", POOL,
        |o, s| per_pool(o, s, |pool| u64::from(pool.backends_connecting))),
    metric("highwater_pool_size", Gauge, "Most backends the pool may have.", POOL,
        |o, s| per_pool(o, s, |pool| u64::from(pool.size))),
    metric("highwater_pool_wait_seconds", Gauge, "Longest wait for a backend of the pool at this moment.", POOL,
        |o, s| for pool in &o.snapshot.pools {
            s.pool(o, pool, pool.wait_max_us as f64 / 1e6);
        }),
    metric("highwater_process_cpu_seconds_total", Counter, "User and system time of the process.", &[],
        |o, s| s.add(&[], o.process.cpu_seconds)),
    metric("highwater_process_resident_memory_bytes", Gauge, "Memory of the process that is resident.", &[],
        |o, s| s.count(&[], o.process.resident_bytes)),
    metric("highwater_process_open_fds", Gauge, "Files and sockets the process has open.", &[],
        |o, s| s.count(&[], o.process.open_fds)),
    metric("highwater_process_cpu_cores", Gauge, "Processor cores the process may use, by its affinity and by the quota of its control groups. Absent when unknown.", &[],
        |o, s| if let Some(cores) = o.process.cpu_cores { s.add(&[], cores) }),
    metric("highwater_process_memory_limit_bytes", Gauge, "Memory the process may use: the limit of its control groups, or else the machine's memory. Absent when unknown.", &[],
        |o, s| if let Some(bytes) = o.process.memory_limit_bytes { s.count(&[], bytes) }),
];

/// Every number, as Prometheus reads them.
pub(crate) fn render(overview: &Overview) -> String {
    let mut text = String::with_capacity(32 * 1024);
    for metric in METRICS {
        header(&mut text, metric);
        (metric.samples)(overview, &mut Samples { metric, text: &mut text });
    }
    text
}

/// The page of the documentation.
pub(crate) fn reference() -> String {
    let mut page = String::from(
        "# Metrics\n\n\
        Served at `/metrics` in the Prometheus text format. This page is made from the table in\n\
        `crates/daemon/src/metrics.rs`; a test keeps them in step. The reasons are explained in [reasons.md](reasons.md).\n\n\
        | name | type | labels | meaning |\n|---|---|---|---|\n",
    );
    for metric in METRICS {
        let labels: Vec<_> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        push(
            &mut page,
            format_args!(
                "| `{}` | {} | {} | {} |\n",
                metric.name,
                metric.kind.name(),
                labels.join(", "),
                metric.help
            ),
        );
    }
    page
}

/// The page that explains the reasons of decisions.
pub(crate) fn reasons_reference() -> String {
    let mut page = String::from(
        "# Reasons\n\n\
        Every request is routed by exactly one rule. Its name is the label of `highwater_decisions_total`, the column of\n\
        `SHOW ROUTES`, the field of `SHOW highwater.last_route` and the word in the log. This page is made from the table in\n\
        `crates/engine/src/route/reason.rs`; a test keeps them in step.\n\n\
        | reason | meaning |\n|---|---|\n",
    );
    for reason in Reason::ALL {
        push(&mut page, format_args!("| `{}` | {} |\n", reason.name(), reason.meaning()));
    }
    page
}

fn header(text: &mut String, metric: &Metric) {
    push(
        text,
        format_args!(
            "# HELP {} {}\n# TYPE {} {}\n",
            metric.name,
            metric.help,
            metric.name,
            metric.kind.name()
        ),
    );
}

/// Where the samples of one metric are written.
struct Samples<'a> {
    metric: &'a Metric,
    text: &'a mut String,
}

impl Samples<'_> {
    fn count(&mut self, labels: &[&str], value: u64) {
        self.line("", labels, None, format_args!("{value}"));
    }

    fn add(&mut self, labels: &[&str], value: f64) {
        self.line("", labels, None, format_args!("{value}"));
    }

    fn pool(&mut self, overview: &Overview, pool: &PoolRow, value: f64) {
        let node = overview.node(pool.node).map_or("", |node| &*node.node.name);
        self.add(&[&pool.database, &pool.user, node], value);
    }

    fn histogram(&mut self, labels: &[&str], histogram: &Histogram) {
        let mut below = 0u64;
        for (bucket, bound_us) in histogram.buckets.iter().zip(BUCKETS_US) {
            below = below.saturating_add(bucket.value());
            let bound = bound_us as f64 / 1e6;
            self.line("_bucket", labels, Some(&bound.to_string()), format_args!("{below}"));
        }
        let count = histogram.count();
        self.line("_bucket", labels, Some("+Inf"), format_args!("{count}"));
        let sum = histogram.sum_us.value() as f64 / 1e6;
        self.line("_sum", labels, None, format_args!("{sum}"));
        self.line("_count", labels, None, format_args!("{count}"));
    }

    fn line(&mut self, suffix: &str, values: &[&str], bound: Option<&str>, number: std::fmt::Arguments<'_>) {
        debug_assert_eq!(values.len(), self.metric.labels.len(), "{}", self.metric.name);
        self.text.push_str(self.metric.name);
        self.text.push_str(suffix);
        let labels = self.metric.labels.iter().copied().zip(values.iter().copied());
        let mut opener = '{';
        for (label, value) in labels.chain(bound.map(|bound| ("le", bound))) {
            push(self.text, format_args!("{opener}{label}=\"{}\"", escaped(value)));
            opener = ',';
        }
        if opener == ',' {
            self.text.push('}');
        }
        push(self.text, format_args!(" {number}\n"));
    }
}

/// A label's value as the text format wants it.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn per_node(overview: &Overview, samples: &mut Samples<'_>, value: impl Fn(&NodeRow) -> Option<f64>) {
    for cluster in &overview.clusters {
        for node in &cluster.nodes {
            if let Some(value) = value(node) {
                samples.add(&[&cluster.name, &node.node.name], value);
            }
        }
    }
}

/// Slots of the accepted primary: those of a replica hold back nobody's WAL but its own.
fn per_slot(overview: &Overview, samples: &mut Samples<'_>, value: impl Fn(&Slot) -> Option<f64>) {
    for cluster in &overview.clusters {
        for slot in cluster.slots() {
            if let Some(value) = value(slot) {
                samples.add(&[&cluster.name, &slot.name], value);
            }
        }
    }
}

fn per_pool(overview: &Overview, samples: &mut Samples<'_>, value: impl Fn(&PoolRow) -> u64) {
    for pool in &overview.snapshot.pools {
        samples.pool(overview, pool, value(pool) as f64);
    }
}

fn flag(set: bool) -> f64 {
    f64::from(u8::from(set))
}

fn seconds_from_nanos(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}

fn push(text: &mut String, what: std::fmt::Arguments<'_>) {
    text.write_fmt(what).expect("writing to a String cannot fail");
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::time::Duration;

    use engine::freshness::Level;

    use crate::world::Reads;

    use super::*;
    use crate::overview::example;

    /// Reads the text back: `name{labels}` and its value; fails on a line that is not of the format.
    fn read(text: &str) -> BTreeMap<String, f64> {
        let mut samples = BTreeMap::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (series, value) = line.rsplit_once(' ').expect("a series and a value");
            let before = samples.insert(series.to_owned(), value.parse().expect("a number"));
            assert_eq!(before, None, "{series} twice");
        }
        samples
    }

    #[test]
    fn names_are_valid_unique_and_say_their_unit() {
        let mut names = BTreeSet::new();
        for metric in METRICS {
            let name = metric.name;
            assert!(name.starts_with("highwater_"), "{name}");
            assert!(
                name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'),
                "{name}"
            );
            assert_eq!(name.ends_with("_total"), metric.kind == Kind::Counter, "{name}");
            assert!(metric.help.ends_with('.'), "{name}");
            assert!(names.insert(name), "{name} twice");
        }
    }

    #[test]
    fn the_text_reads_back_to_the_numbers_it_was_made_from() {
        let samples = read(&render(&example::overview()));
        assert_eq!(samples["highwater_reads_total{role=\"replica\"}"], 3.0);
        assert_eq!(samples["highwater_reads_replica_ratio"], 0.75);
        assert_eq!(samples["highwater_decisions_total{reason=\"fresh_replica\"}"], 3.0);
        assert_eq!(samples["highwater_node_staleness_seconds{cluster=\"main\",node=\"two\"}"], 0.25);
        assert_eq!(samples["highwater_node_role{cluster=\"main\",node=\"one\",role=\"primary\"}"], 1.0);
        assert_eq!(
            samples["highwater_pool_clients_waiting{database=\"app\",user=\"ann\",node=\"two\"}"],
            2.0
        );
        assert_eq!(samples["highwater_errors_total{origin=\"client\"}"], 1.0);
    }

    #[test]
    fn what_is_unknown_has_no_sample() {
        let samples = read(&render(&example::overview()));
        assert!(!samples.contains_key("highwater_node_staleness_seconds{cluster=\"main\",node=\"three\"}"));
        assert_eq!(samples["highwater_node_up{cluster=\"main\",node=\"three\"}"], 0.0);
    }

    #[test]
    fn replication_is_told_per_node_and_per_slot_of_the_primary() {
        let samples = read(&render(&example::overview()));
        let of_two = |name: &str| samples[&format!("highwater_node_{name}{{cluster=\"main\",node=\"two\"}}")];
        assert_eq!(
            (of_two("write_lag_bytes"), of_two("flush_lag_bytes"), of_two("lag_bytes")),
            (16.0, 32.0, 96.0)
        );
        assert_eq!((of_two("receiver_streaming"), of_two("conflicts_total")), (1.0, 5.0));
        assert_eq!((of_two("connections"), of_two("connections_max")), (7.0, 100.0));
        let slot = |name: &str, slot: &str| {
            samples[&format!("highwater_slot_{name}{{cluster=\"main\",slot=\"{slot}\"}}")]
        };
        assert_eq!((slot("active", "two"), slot("active", "old"), slot("lost", "old")), (1.0, 0.0, 0.0));
        assert_eq!(slot("retained_bytes", "old"), f64::from(0x100_0060));
        assert_eq!(samples["highwater_slot_retained_limit_bytes{cluster=\"main\"}"], f64::from(1 << 30));
        assert_eq!(samples["highwater_cluster_replicas{cluster=\"main\"}"], 1.0);
        assert_eq!(samples["highwater_max_staleness_seconds"], 10.0);
        assert_eq!(samples["highwater_process_cpu_cores"], 1.5);
    }

    #[test]
    fn a_node_that_does_not_answer_has_no_numbers_of_replication() {
        let text = render(&example::overview());
        let of_three: Vec<_> = text.lines().filter(|line| line.contains("node=\"three\"")).collect();
        for name in ["lag_bytes", "receiver", "conflicts", "connections", "replay_paused"] {
            assert!(!of_three.iter().any(|line| line.contains(name)), "{name}: {of_three:?}");
        }
        assert!(
            !text.contains("receiver_streaming{cluster=\"main\",node=\"one\"}"),
            "a primary receives nothing"
        );
    }

    #[test]
    fn a_replica_beyond_the_bound_does_not_count_as_serving() {
        let mut overview = example::overview();
        overview.reads.max_staleness = Duration::from_millis(249);
        assert_eq!(read(&render(&overview))["highwater_cluster_replicas{cluster=\"main\"}"], 0.0);
        overview.reads = Reads { level: Level::Strong, max_staleness: Duration::from_secs(10) };
        assert_eq!(read(&render(&overview))["highwater_cluster_replicas{cluster=\"main\"}"], 0.0);
        overview.reads.level = Level::Eventual;
        assert_eq!(read(&render(&overview))["highwater_cluster_replicas{cluster=\"main\"}"], 1.0);
    }

    #[test]
    fn buckets_are_cumulative_and_end_with_everything() {
        let samples = read(&render(&example::overview()));
        let bucket = |le: &str| samples[&format!("highwater_wait_duration_seconds_bucket{{le=\"{le}\"}}")];
        assert_eq!((bucket("0.00005"), bucket("0.0001"), bucket("+Inf")), (0.0, 1.0, 2.0));
        assert_eq!(samples["highwater_wait_duration_seconds_count"], 2.0);
    }

    #[test]
    fn a_label_cannot_break_out_of_its_quotes() {
        assert_eq!(escaped("a\"b\\c\nd"), "a\\\"b\\\\c\\nd");
    }

    #[test]
    fn the_pages_of_the_documentation_are_in_step() {
        for (path, made) in pages() {
            let stands = std::fs::read_to_string(&path).unwrap();
            assert!(stands == made, "{} is behind: run the test `write_the_pages`", path.display());
        }
    }

    #[test]
    #[ignore = "writes into docs/; run it by name after the tables have changed"]
    fn write_the_pages() {
        for (path, made) in pages() {
            std::fs::write(path, made).unwrap();
        }
    }

    fn pages() -> [(std::path::PathBuf, String); 2] {
        let docs = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
        [(docs.join("metrics.md"), reference()), (docs.join("reasons.md"), reasons_reference())]
    }
}
