//! The tables of counters: PgBouncer's `STATS`, `STATS_TOTALS` and `STATS_AVERAGES`, and `ROUTES`.
//!
//! Workers count for all databases together, so that there is one row. Times are of requests, from routing to the end of the
//! answer; the router holds a backend for as long, so that transaction time is given as query time.

use std::time::Duration;

use engine::route::Reason;

use super::table::{Cell, Column, Kind, Table, cell};
use crate::overview::Overview;
use crate::stats::WorkerStats;

use Kind::{Numeric, Text};

#[rustfmt::skip]
const STATS: &[Column] = &[
    ("database", Text),
    ("total_server_assignment_count", Numeric), ("total_xact_count", Numeric), ("total_query_count", Numeric),
    ("total_received", Numeric), ("total_sent", Numeric),
    ("total_xact_time", Numeric), ("total_query_time", Numeric), ("total_wait_time", Numeric),
    ("total_client_parse_count", Numeric), ("total_server_parse_count", Numeric), ("total_bind_count", Numeric),
    ("avg_server_assignment_count", Numeric), ("avg_xact_count", Numeric), ("avg_query_count", Numeric),
    ("avg_recv", Numeric), ("avg_sent", Numeric),
    ("avg_xact_time", Numeric), ("avg_query_time", Numeric), ("avg_wait_time", Numeric),
    ("avg_client_parse_count", Numeric), ("avg_server_parse_count", Numeric), ("avg_bind_count", Numeric),
    ("reads_on_replica", Numeric), ("reads_on_primary", Numeric), ("writes", Numeric),
    ("reruns", Numeric), ("errors", Numeric), ("own_errors", Numeric),
];

#[rustfmt::skip]
const PART: &[Column] = &[
    ("database", Text),
    ("server_assignment_count", Numeric), ("xact_count", Numeric), ("query_count", Numeric),
    ("bytes_received", Numeric), ("bytes_sent", Numeric),
    ("xact_time", Numeric), ("query_time", Numeric), ("wait_time", Numeric),
    ("client_parse_count", Numeric), ("server_parse_count", Numeric), ("bind_count", Numeric),
];

const ROUTES: &[Column] =
    &[("reason", Text), ("count", Kind::Big), ("share", Kind::Float), ("meaning", Text)];

/// `SHOW STATS`
pub(super) fn stats(overview: &Overview) -> Table {
    let totals = &overview.totals;
    let mut row = vec![cell(name(overview))];
    row.extend(Figures::of(totals).total().map(cell));
    row.extend(averages_of(overview).map(cell));
    let ours = [
        &totals.reads_on_replica,
        &totals.reads_on_primary,
        &totals.writes,
        &totals.reruns,
        &totals.errors,
        &totals.own_errors,
    ];
    row.extend(ours.map(|counter| cell(counter.value())));
    Table::new(STATS, [row])
}

/// `SHOW STATS_TOTALS`
pub(super) fn totals(overview: &Overview) -> Table {
    Table::new(PART, [part(overview, Figures::of(&overview.totals).total())])
}

/// `SHOW STATS_AVERAGES`
pub(super) fn averages(overview: &Overview) -> Table {
    Table::new(PART, [part(overview, averages_of(overview))])
}

/// `SHOW ROUTES`
pub(super) fn routes(overview: &Overview) -> Table {
    let count = |reason: Reason| overview.totals.decisions[reason as usize].value();
    let all: u64 = Reason::ALL.iter().map(|&reason| count(reason)).sum();
    let share = |reason| (all > 0).then(|| format!("{:.4}", count(reason) as f64 / all as f64));
    Table::new(
        ROUTES,
        Reason::ALL.iter().map(|&reason| {
            vec![cell(reason.name()), cell(count(reason)), share(reason), cell(reason.meaning())]
        }),
    )
}

fn part(overview: &Overview, figures: [u64; 11]) -> Vec<Cell> {
    [cell(name(overview))].into_iter().chain(figures.map(cell)).collect()
}

/// The one database, where there is one; `*` stands for all, as in the configuration.
fn name(overview: &Overview) -> &str {
    match overview.databases.as_slice() {
        [only] => &only.name,
        _ => "*",
    }
}

/// What PgBouncer counts, of all workers.
struct Figures {
    transactions: u64,
    queries: u64,
    received: u64,
    sent: u64,
    query_us: u64,
    wait_us: u64,
    client_parses: u64,
    server_parses: u64,
    binds: u64,
}

impl Figures {
    fn of(stats: &WorkerStats) -> Figures {
        let sum = |parts: &[&crate::stats::Counter]| parts.iter().map(|part| part.value()).sum();
        Figures {
            transactions: stats.transactions.value(),
            queries: sum(&[&stats.reads_on_replica, &stats.reads_on_primary, &stats.writes]),
            received: stats.bytes_received.value(),
            sent: stats.bytes_sent.value(),
            query_us: sum(&[&stats.replica_time.sum_us, &stats.primary_time.sum_us]),
            wait_us: stats.wait_time.sum_us.value(),
            client_parses: stats.parses_received.value(),
            server_parses: stats.parses_sent.value(),
            binds: stats.binds.value(),
        }
    }

    fn since(&self, before: &Figures) -> Figures {
        Figures {
            transactions: self.transactions.saturating_sub(before.transactions),
            queries: self.queries.saturating_sub(before.queries),
            received: self.received.saturating_sub(before.received),
            sent: self.sent.saturating_sub(before.sent),
            query_us: self.query_us.saturating_sub(before.query_us),
            wait_us: self.wait_us.saturating_sub(before.wait_us),
            client_parses: self.client_parses.saturating_sub(before.client_parses),
            server_parses: self.server_parses.saturating_sub(before.server_parses),
            binds: self.binds.saturating_sub(before.binds),
        }
    }

    /// In the order of the columns; a transaction is one assignment of a backend.
    fn total(&self) -> [u64; 11] {
        [
            self.transactions,
            self.transactions,
            self.queries,
            self.received,
            self.sent,
            self.query_us,
            self.query_us,
            self.wait_us,
            self.client_parses,
            self.server_parses,
            self.binds,
        ]
    }

    /// Counts a second, and microseconds a transaction, a query and (of waiting) a second, as PgBouncer's `calc_average`.
    fn average(&self, length: Duration) -> [u64; 11] {
        let micros = u64::try_from(length.as_micros()).unwrap_or(u64::MAX).max(1);
        let a_second =
            |n: u64| u64::try_from(u128::from(n) * 1_000_000 / u128::from(micros)).unwrap_or(u64::MAX);
        let each = |us: u64, n: u64| us.checked_div(n).unwrap_or(0);
        [
            a_second(self.transactions),
            a_second(self.transactions),
            a_second(self.queries),
            a_second(self.received),
            a_second(self.sent),
            each(self.query_us, self.transactions),
            each(self.query_us, self.queries),
            a_second(self.wait_us),
            a_second(self.client_parses),
            a_second(self.server_parses),
            a_second(self.binds),
        ]
    }
}

fn averages_of(overview: &Overview) -> [u64; 11] {
    let now = Figures::of(&overview.totals);
    now.since(&Figures::of(&overview.period.before)).average(overview.period.length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::overview::example;

    #[test]
    fn totals_and_averages_are_of_the_same_counters() {
        let stats = stats(&example::overview());
        assert_eq!(stats.cell(0, "database"), Some("app"));
        assert_eq!(stats.cell(0, "total_query_count"), Some("4"));
        assert_eq!(stats.cell(0, "total_query_time"), Some("1000"));
        assert_eq!(stats.cell(0, "avg_query_time"), Some("250"));
        assert_eq!((stats.cell(0, "total_sent"), stats.cell(0, "avg_sent")), (Some("4000"), Some("400")));
        assert_eq!((stats.cell(0, "reads_on_replica"), stats.cell(0, "own_errors")), (Some("3"), Some("2")));
    }

    #[test]
    fn the_parts_have_the_columns_that_exporters_ask_for() {
        let totals = totals(&example::overview());
        for column in ["query_count", "bytes_received", "wait_time", "client_parse_count", "bind_count"] {
            assert!(totals.cell(0, column).is_some(), "{column}");
        }
        assert_eq!(averages(&example::overview()).cell(0, "bytes_sent"), Some("400"));
    }

    #[test]
    fn before_any_query_averages_are_zero() {
        let mut overview = example::overview();
        overview.totals = std::sync::Arc::default();
        overview.period.length = Duration::ZERO;
        assert_eq!(stats(&overview).cell(0, "avg_query_time"), Some("0"));
        assert_eq!(routes(&overview).cell(0, "share"), None);
    }

    #[test]
    fn every_reason_has_a_row_and_shares_add_up() {
        let routes = routes(&example::overview());
        assert_eq!(routes.rows().len(), Reason::COUNT);
        let shares: f64 =
            (0..Reason::COUNT).map(|row| routes.cell(row, "share").unwrap().parse::<f64>().unwrap()).sum();
        assert!((shares - 1.0).abs() < 0.01);
    }
}
