// Flat table
//! The panels of the dashboard: what each asks, in which unit, and where an alert has its threshold.

/// A heading with its panels.
pub(crate) struct Row {
    pub(crate) title: &'static str,
    pub(crate) panels: &'static [Panel],
}

/// How numbers are drawn.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One number.
    Stat,
    /// Lines over time.
    Lines,
    /// Lines on top of each other, for parts of a whole.
    Stacked,
    /// One bar a series, coloured by state.
    States,
}

/// A panel.
pub(crate) struct Panel {
    pub(crate) title: &'static str,
    pub(crate) kind: Kind,
    /// Grafana's name of the unit.
    pub(crate) unit: &'static str,
    /// What it shows, for who points at it.
    pub(crate) help: &'static str,
    /// Expressions, each with the name of its lines.
    pub(crate) asks: &'static [(&'static str, &'static str)],
    pub(crate) mark: Option<Mark>,
}

/// Where a panel turns red: at the number an alert compares with.
pub(crate) struct Mark {
    pub(crate) alert: &'static str,
    pub(crate) operator: &'static str,
    pub(crate) value: f64,
}

const fn panel(
    title: &'static str,
    (kind, unit): (Kind, &'static str),
    help: &'static str,
    asks: &'static [(&'static str, &'static str)],
) -> Panel {
    Panel { title, kind, unit, help, asks, mark: None }
}

impl Panel {
    const fn red(mut self, alert: &'static str, operator: &'static str, value: f64) -> Panel {
        self.mark = Some(Mark { alert, operator, value });
        self
    }
}

use Kind::{Lines, Stacked, Stat, States};

#[rustfmt::skip]
pub(crate) const ROWS: &[Row] = &[
    Row { title: "Overview", panels: &[
        panel("Routers that answer", (Stat, "short"), "Targets of the job highwater that answer Prometheus.",
            &[("sum(up{job=\"highwater\",instance=~\"$instance\"})", "routers")]).red("HighwaterDown", "==", 0.0),
        panel("Requests", (Stat, "reqps"), "Reads and writes answered.",
            &[("sum(rate(highwater_reads_total{instance=~\"$instance\"}[$__rate_interval])) + sum(rate(highwater_writes_total{instance=~\"$instance\"}[$__rate_interval]))", "requests")]),
        panel("Reads on replicas", (Stat, "percentunit"), "Share of reads that replicas took off the primary.",
            &[("sum(rate(highwater_reads_total{instance=~\"$instance\",role=\"replica\"}[$__rate_interval])) / sum(rate(highwater_reads_total{instance=~\"$instance\"}[$__rate_interval]))", "share")]),
        panel("95th percentile", (Stat, "s"), "One request in 20 takes longer, of all nodes together.",
            &[("histogram_quantile(0.95, sum by (le) (rate(highwater_request_duration_seconds_bucket{instance=~\"$instance\"}[$__rate_interval])))", "p95")]).red("HighwaterLatencyHigh", ">", 2.0),
        panel("Failures", (Stat, "percentunit"), "Requests that failed by the fault of a router or a node. Errors in statements are not counted.",
            &[("sum(rate(highwater_errors_total{instance=~\"$instance\",origin=~\"router|node\"}[$__rate_interval])) / (sum(rate(highwater_reads_total{instance=~\"$instance\"}[$__rate_interval])) + sum(rate(highwater_writes_total{instance=~\"$instance\"}[$__rate_interval])) + sum(rate(highwater_errors_total{instance=~\"$instance\",origin=\"router\"}[$__rate_interval])))", "failures")]).red("HighwaterErrorRateHigh", ">", 0.01),
        panel("Primaries", (Stat, "short"), "0 when a cluster has no primary in role, as some router sees it.",
            &[("min by (cluster) (highwater_cluster_has_primary{instance=~\"$instance\",cluster=~\"$cluster\"})", "{{cluster}}")]).red("HighwaterNoPrimary", "==", 0.0),
        panel("Replicas to read from", (Stat, "short"), "Replicas that may be given a read, as the router sees it that sees fewest.",
            &[("min by (cluster) (highwater_cluster_replicas{instance=~\"$instance\",cluster=~\"$cluster\"})", "{{cluster}}")]).red("HighwaterNoReplicas", "==", 0.0),
        panel("Clients", (Stat, "short"), "Clients logged in.",
            &[("sum(highwater_clients{instance=~\"$instance\"})", "clients")]),
        panel("Releases", (Lines, "short"), "Routers by release.",
            &[("count by (version) (highwater_build_info{instance=~\"$instance\"})", "{{version}}")]),
        panel("Alerts that fire", (Lines, "short"), "By name; nothing when all is well, or when Prometheus does not have the rules.",
            &[("count by (alertname, severity) (ALERTS{alertname=~\"Highwater.*\",alertstate=\"firing\"})", "{{alertname}} ({{severity}})")]),
    ] },
    Row { title: "Routing and freshness", panels: &[
        panel("Decisions by reason", (Stacked, "reqps"), "Why requests went where they went: docs/reasons.md explains the words.",
            &[("sum by (reason) (rate(highwater_decisions_total{instance=~\"$instance\"}[$__rate_interval])) > 0", "{{reason}}")]),
        panel("Requests", (Stacked, "reqps"), "Reads by the role of the node that answered, and writes.",
            &[("sum by (role) (rate(highwater_reads_total{instance=~\"$instance\"}[$__rate_interval]))", "reads on {{role}}"),
              ("sum(rate(highwater_writes_total{instance=~\"$instance\"}[$__rate_interval]))", "writes")]),
        panel("Proved staleness", (Lines, "s"), "Everything acknowledged longer ago is visible on the node. A line that ends: nothing is proved. Above the bound a replica gets no reads.",
            &[("highwater_node_staleness_seconds{instance=~\"$instance\",cluster=~\"$cluster\",node=~\"$node\"}", "{{node}} at {{instance}}"),
              ("highwater_max_staleness_seconds{instance=~\"$instance\"}", "bound at {{instance}}")]),
        panel("Share of reads on replicas", (Lines, "percentunit"), "Over the interval, and since each router's start.",
            &[("sum by (instance) (rate(highwater_reads_total{instance=~\"$instance\",role=\"replica\"}[$__rate_interval])) / sum by (instance) (rate(highwater_reads_total{instance=~\"$instance\"}[$__rate_interval]))", "{{instance}}"),
              ("highwater_reads_replica_ratio{instance=~\"$instance\"}", "{{instance}} since its start")]),
        panel("Time of requests on replicas", (Lines, "s"), "From routing a request to the end of its answer.",
            &[("histogram_quantile(0.5, sum by (le) (rate(highwater_request_duration_seconds_bucket{instance=~\"$instance\",role=\"replica\"}[$__rate_interval])))", "p50"),
              ("histogram_quantile(0.95, sum by (le) (rate(highwater_request_duration_seconds_bucket{instance=~\"$instance\",role=\"replica\"}[$__rate_interval])))", "p95"),
              ("histogram_quantile(0.99, sum by (le) (rate(highwater_request_duration_seconds_bucket{instance=~\"$instance\",role=\"replica\"}[$__rate_interval])))", "p99")]).red("HighwaterLatencyHigh", ">", 2.0),
        panel("Time of requests on the primary", (Lines, "s"), "From routing a request to the end of its answer.",
            &[("histogram_quantile(0.5, sum by (le) (rate(highwater_request_duration_seconds_bucket{instance=~\"$instance\",role=\"primary\"}[$__rate_interval])))", "p50"),
              ("histogram_quantile(0.95, sum by (le) (rate(highwater_request_duration_seconds_bucket{instance=~\"$instance\",role=\"primary\"}[$__rate_interval])))", "p95"),
              ("histogram_quantile(0.99, sum by (le) (rate(highwater_request_duration_seconds_bucket{instance=~\"$instance\",role=\"primary\"}[$__rate_interval])))", "p99")]).red("HighwaterLatencyHigh", ">", 2.0),
        panel("Reruns", (Lines, "reqps"), "Requests that ran again on another node, because the first refused them or was lost.",
            &[("sum by (instance) (rate(highwater_reruns_total{instance=~\"$instance\"}[$__rate_interval]))", "{{instance}}")]),
        panel("Statements known by heart", (Lines, "percentunit"), "Share of statements whose class was remembered and not read again.",
            &[("sum by (instance) (rate(highwater_classifications_total{instance=~\"$instance\",result=\"hit\"}[$__rate_interval])) / sum by (instance) (rate(highwater_classifications_total{instance=~\"$instance\"}[$__rate_interval]))", "{{instance}}")]),
    ] },
    Row { title: "Nodes and replication", panels: &[
        panel("Nodes that answer", (States, "short"), "1: the node answers the monitor.",
            &[("min by (cluster, node) (highwater_node_up{instance=~\"$instance\",cluster=~\"$cluster\",node=~\"$node\"})", "{{cluster}}/{{node}}")]).red("HighwaterNodeDown", "==", 0.0),
        panel("Roles", (States, "short"), "The role of each node as it was observed.",
            &[("max by (cluster, node, role) (highwater_node_role{instance=~\"$instance\",cluster=~\"$cluster\",node=~\"$node\"})", "{{cluster}}/{{node}} {{role}}")]),
        panel("WAL not replayed", (Lines, "bytes"), "Behind the primary, by the newest sample of it.",
            &[("max by (cluster, node) (highwater_node_lag_bytes{instance=~\"$instance\",cluster=~\"$cluster\",node=~\"$node\"})", "{{node}}")]),
        panel("WAL not written or not flushed", (Lines, "bytes"), "On the replica, as the primary is told.",
            &[("max by (cluster, node) (highwater_node_write_lag_bytes{instance=~\"$instance\",cluster=~\"$cluster\",node=~\"$node\"})", "{{node}} not written"),
              ("max by (cluster, node) (highwater_node_flush_lag_bytes{instance=~\"$instance\",cluster=~\"$cluster\",node=~\"$node\"})", "{{node}} not flushed")]),
        panel("Replicas that stream", (States, "short"), "0: no WAL arrives.",
            &[("min by (cluster, node) (highwater_node_receiver_streaming{instance=~\"$instance\",cluster=~\"$cluster\",node=~\"$node\"})", "{{cluster}}/{{node}}")]).red("HighwaterReceiverNotStreaming", "==", 0.0),
        panel("Paused or drained", (Lines, "short"), "1: replay is paused on the node, or an operator has drained it.",
            &[("max by (cluster, node) (highwater_node_replay_paused{instance=~\"$instance\",cluster=~\"$cluster\",node=~\"$node\"})", "{{node}} replay paused"),
              ("max by (cluster, node) (highwater_node_drained{instance=~\"$instance\",cluster=~\"$cluster\",node=~\"$node\"})", "{{node}} drained")]).red("HighwaterReplayPaused", "==", 1.0),
        panel("Replicas to read from", (Lines, "short"), "Replicas that may be given a read at the default level.",
            &[("highwater_cluster_replicas{instance=~\"$instance\",cluster=~\"$cluster\"}", "{{cluster}} at {{instance}}")]),
        panel("Queries cancelled by replay", (Lines, "short"), "Within ten minutes.",
            &[("max by (cluster, node) (increase(highwater_node_conflicts_total{instance=~\"$instance\",cluster=~\"$cluster\",node=~\"$node\"}[10m]))", "{{node}}")]).red("HighwaterReplayConflicts", ">", 10.0),
        panel("Probes", (Lines, "s"), "Round trip of the last answered probe.",
            &[("highwater_node_probe_seconds{instance=~\"$instance\",cluster=~\"$cluster\",node=~\"$node\"}", "{{node}} from {{instance}}")]),
        panel("Probes that failed", (Lines, "ops"), "By node.",
            &[("sum by (cluster, node) (rate(highwater_node_probes_total{instance=~\"$instance\",cluster=~\"$cluster\",node=~\"$node\",outcome=\"failed\"}[$__rate_interval]))", "{{node}}")]),
        panel("Connections", (Lines, "percentunit"), "Of those the node takes, by this router and everybody else.",
            &[("max by (cluster, node) (highwater_node_connections{instance=~\"$instance\",cluster=~\"$cluster\",node=~\"$node\"} / highwater_node_connections_max{instance=~\"$instance\",cluster=~\"$cluster\",node=~\"$node\"})", "{{node}}")]).red("HighwaterConnectionsHigh", ">", 0.8),
        panel("Source of the nodes", (States, "short"), "0: the source that a cluster's nodes come from has not answered well. Nothing for clusters whose nodes are in the settings.",
            &[("min by (cluster, instance) (highwater_discovery_up{instance=~\"$instance\",cluster=~\"$cluster\"})", "{{cluster}} at {{instance}}")]).red("HighwaterDiscoveryFailing", "==", 0.0),
        panel("Answers of that source that were no good", (Lines, "ops"), "By cluster.",
            &[("sum by (cluster) (rate(highwater_discovery_errors_total{instance=~\"$instance\",cluster=~\"$cluster\"}[$__rate_interval]))", "{{cluster}}")]),
        panel("Histories", (Lines, "short"), "Timeline of each node, and how many histories of the primary each router has seen since its start; both grow with a failover.",
            &[("max by (cluster, node) (highwater_node_timeline{instance=~\"$instance\",cluster=~\"$cluster\",node=~\"$node\"})", "{{node}} timeline"),
              ("highwater_cluster_epoch{instance=~\"$instance\",cluster=~\"$cluster\"}", "{{cluster}} histories at {{instance}}")]),
    ] },
    Row { title: "Replication slots", panels: &[
        panel("WAL kept for slots", (Lines, "bytes"), "By the primary, and the limit where there is one.",
            &[("max by (cluster, slot) (highwater_slot_retained_bytes{instance=~\"$instance\",cluster=~\"$cluster\"})", "{{slot}}"),
              ("max by (cluster) (highwater_slot_retained_limit_bytes{instance=~\"$instance\",cluster=~\"$cluster\"})", "{{cluster}} limit")]).red("HighwaterSlotRetainsMuchUnlimited", ">", 10_737_418_240.0),
        panel("Share of the limit", (Lines, "percentunit"), "Of max_slot_wal_keep_size; nothing where there is no limit.",
            &[("max by (cluster, slot) (highwater_slot_retained_bytes{instance=~\"$instance\",cluster=~\"$cluster\"} / ignoring (slot) group_left () highwater_slot_retained_limit_bytes{instance=~\"$instance\",cluster=~\"$cluster\"})", "{{slot}}")]).red("HighwaterSlotRetainsMuch", ">", 0.7),
        panel("Slots in use", (States, "short"), "0: nobody reads from the slot, and the primary keeps WAL for it.",
            &[("min by (cluster, slot) (highwater_slot_active{instance=~\"$instance\",cluster=~\"$cluster\"})", "{{cluster}}/{{slot}}")]).red("HighwaterSlotInactive", "==", 0.0),
        panel("Slots that lost WAL", (States, "short"), "1: the replica behind it has to be made anew.",
            &[("max by (cluster, slot) (highwater_slot_lost{instance=~\"$instance\",cluster=~\"$cluster\"})", "{{cluster}}/{{slot}}")]).red("HighwaterSlotLost", "==", 1.0),
    ] },
    Row { title: "Pools", panels: &[
        panel("Clients that wait", (Lines, "short"), "For a backend, by pool.",
            &[("sum by (database, user, node) (highwater_pool_clients_waiting{instance=~\"$instance\",node=~\"$node\"})", "{{database}}/{{user}} on {{node}}")]),
        panel("Longest wait at this moment", (Lines, "s"), "By pool.",
            &[("max by (database, user, node) (highwater_pool_wait_seconds{instance=~\"$instance\",node=~\"$node\"})", "{{database}}/{{user}} on {{node}}")]).red("HighwaterPoolWaits", ">", 1.0),
        panel("Backends lent, of the pool's size", (Lines, "percentunit"), "At 100 % the next client waits.",
            &[("highwater_pool_backends_active{instance=~\"$instance\",node=~\"$node\"} / highwater_pool_size{instance=~\"$instance\",node=~\"$node\"}", "{{database}}/{{user}} on {{node}} at {{instance}}")]),
        panel("Backends", (Stacked, "short"), "Of all pools, by what they do.",
            &[("sum by (node) (highwater_pool_backends_active{instance=~\"$instance\",node=~\"$node\"})", "{{node}} lent"),
              ("sum by (node) (highwater_pool_backends_idle{instance=~\"$instance\",node=~\"$node\"})", "{{node}} idle"),
              ("sum by (node) (highwater_pool_backends_connecting{instance=~\"$instance\",node=~\"$node\"})", "{{node}} connecting")]),
        panel("Clients with a backend", (Lines, "short"), "By pool.",
            &[("sum by (database, user, node) (highwater_pool_clients_active{instance=~\"$instance\",node=~\"$node\"})", "{{database}}/{{user}} on {{node}}")]),
        panel("Time waited", (Lines, "s"), "By requests that had to wait for a backend.",
            &[("histogram_quantile(0.5, sum by (le) (rate(highwater_wait_duration_seconds_bucket{instance=~\"$instance\"}[$__rate_interval])))", "p50"),
              ("histogram_quantile(0.95, sum by (le) (rate(highwater_wait_duration_seconds_bucket{instance=~\"$instance\"}[$__rate_interval])))", "p95")]),
        panel("Requests that waited", (Lines, "reqps"), "And backends handed over between workers.",
            &[("sum by (instance) (rate(highwater_wait_duration_seconds_count{instance=~\"$instance\"}[$__rate_interval]))", "{{instance}} waited"),
              ("sum by (instance) (rate(highwater_handed_over_total{instance=~\"$instance\"}[$__rate_interval]))", "{{instance}} handed over")]),
    ] },
    Row { title: "Clients and errors", panels: &[
        panel("Clients and backends", (Lines, "short"), "Clients logged in, and connections to nodes.",
            &[("highwater_clients{instance=~\"$instance\"}", "{{instance}} clients"),
              ("highwater_backends{instance=~\"$instance\"}", "{{instance}} backends")]),
        panel("Errors by origin", (Lines, "ops"), "client: a wrong statement, a conflict, a cancelled query. node, router: a failure.",
            &[("sum by (origin) (rate(highwater_errors_total{instance=~\"$instance\"}[$__rate_interval]))", "{{origin}}")]),
        panel("Transactions", (Lines, "ops"), "Ended; a statement outside a block is one.",
            &[("sum by (instance) (rate(highwater_transactions_total{instance=~\"$instance\"}[$__rate_interval]))", "{{instance}}")]),
        panel("Bytes", (Lines, "Bps"), "From and to clients.",
            &[("sum by (instance) (rate(highwater_received_bytes_total{instance=~\"$instance\"}[$__rate_interval]))", "{{instance}} from clients"),
              ("sum by (instance) (rate(highwater_sent_bytes_total{instance=~\"$instance\"}[$__rate_interval]))", "{{instance}} to clients")]),
        panel("Prepared statements", (Lines, "ops"), "Parse messages of clients and those sent on to nodes (the difference was saved), and Bind messages.",
            &[("sum by (side) (rate(highwater_parses_total{instance=~\"$instance\"}[$__rate_interval]))", "Parse, {{side}}"),
              ("sum(rate(highwater_binds_total{instance=~\"$instance\"}[$__rate_interval]))", "Bind")]),
    ] },
    Row { title: "Process", panels: &[
        panel("Processor", (Lines, "percentunit"), "Of the cores the process may use.",
            &[("rate(highwater_process_cpu_seconds_total{instance=~\"$instance\"}[$__rate_interval]) / highwater_process_cpu_cores{instance=~\"$instance\"}", "{{instance}}")]).red("HighwaterCpuHigh", ">", 0.7),
        panel("Memory, of its limit", (Lines, "percentunit"), "Resident, of the control group's limit or the machine's memory.",
            &[("highwater_process_resident_memory_bytes{instance=~\"$instance\"} / highwater_process_memory_limit_bytes{instance=~\"$instance\"}", "{{instance}}")]).red("HighwaterMemoryHigh", ">", 0.8),
        panel("Memory", (Lines, "bytes"), "Resident.",
            &[("highwater_process_resident_memory_bytes{instance=~\"$instance\"}", "{{instance}}")]),
        panel("Open files and sockets", (Lines, "short"), "Two for each client that has a backend.",
            &[("highwater_process_open_fds{instance=~\"$instance\"}", "{{instance}}")]),
        panel("Time since the start", (Lines, "s"), "Each fall is a start.",
            &[("highwater_uptime_seconds{instance=~\"$instance\"}", "{{instance}}")]),
    ] },
];
