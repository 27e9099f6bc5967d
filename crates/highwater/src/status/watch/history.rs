//! What one answer alone can't tell: how many a second, and how a lag has gone.

use std::collections::{BTreeMap, VecDeque};

use serde_json::Value;

use super::super::figures::rows;

/// Moments remembered: at one a second, as many as a wide terminal has room for.
const MOMENTS_MAX: usize = 240;

/// The last moments.
#[derive(Debug, Default)]
pub(super) struct History {
    last: Option<Counters>,
    rates: VecDeque<Rates>,
    /// By cluster and node: bytes not replayed.
    lags: BTreeMap<(String, String), VecDeque<Option<f64>>>,
}

/// Things a second, between two answers; and how long requests took in that time.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub(super) struct Rates {
    pub(super) replica: f64,
    pub(super) primary: f64,
    pub(super) writes: f64,
    pub(super) errors: f64,
    /// 95 of 100 requests on replicas took no longer; none where there were none.
    pub(super) replica_p95_ms: Option<f64>,
    pub(super) primary_p95_ms: Option<f64>,
}

/// Numbers that only grow, of one answer.
#[derive(Clone, PartialEq, Debug)]
struct Counters {
    uptime_ms: f64,
    replica: f64,
    primary: f64,
    writes: f64,
    errors: f64,
    replica_times: Vec<f64>,
    primary_times: Vec<f64>,
    bounds_us: Vec<f64>,
}

impl History {
    /// Takes in an answer.
    pub(super) fn push(&mut self, status: &Value, stats: &Value) {
        let counters = Counters::read(stats);
        match (&self.last, &counters) {
            (Some(before), Some(now)) if now.uptime_ms > before.uptime_ms => {
                remember(&mut self.rates, now.since(before));
            }
            // The router has begun anew: its numbers have, too.
            (Some(before), Some(now)) if now.uptime_ms < before.uptime_ms => self.rates.clear(),
            _ => {}
        }
        self.last = counters.or(self.last.take());
        let seen: Vec<_> =
            rows(&status["nodes"]).map(|node| (key(node), node["lag_bytes"].as_f64())).collect();
        self.lags.retain(|key, _| seen.iter().any(|(seen, _)| seen == key));
        for (key, lag) in seen {
            remember(self.lags.entry(key).or_default(), lag);
        }
    }

    /// The newest rates; none before the second answer.
    pub(super) fn newest(&self) -> Option<&Rates> {
        self.rates.back()
    }

    /// The course of a rate.
    pub(super) fn course(&self, of: impl Fn(&Rates) -> f64) -> Vec<Option<f64>> {
        self.rates.iter().map(|rates| Some(of(rates))).collect()
    }

    /// The course of a node's lag.
    pub(super) fn lag(&self, node: &Value) -> Vec<Option<f64>> {
        self.lags.get(&key(node)).into_iter().flatten().copied().collect()
    }
}

fn remember<T>(list: &mut VecDeque<T>, newest: T) {
    if list.len() == MOMENTS_MAX {
        list.pop_front();
    }
    list.push_back(newest);
}

fn key(node: &Value) -> (String, String) {
    let text = |name: &str| node[name].as_str().unwrap_or_default().to_owned();
    (text("cluster"), text("name"))
}

impl Counters {
    fn read(stats: &Value) -> Option<Counters> {
        let list = |value: &Value| rows(value).map(|n| n.as_f64().unwrap_or(0.0)).collect::<Vec<_>>();
        let times = &stats["times"];
        Some(Counters {
            uptime_ms: stats["uptime_ms"].as_f64()?,
            replica: stats["reads"]["replica"].as_f64()?,
            primary: stats["reads"]["primary"].as_f64()?,
            writes: stats["writes"].as_f64()?,
            errors: stats["errors"]["all"].as_f64()?,
            replica_times: list(&times["replica"]["buckets"]),
            primary_times: list(&times["primary"]["buckets"]),
            bounds_us: list(&times["replica"]["bounds_us"]),
        })
    }

    fn since(&self, before: &Counters) -> Rates {
        let seconds = (self.uptime_ms - before.uptime_ms) / 1e3;
        let rate = |now: f64, then: f64| (now - then).max(0.0) / seconds;
        Rates {
            replica: rate(self.replica, before.replica),
            primary: rate(self.primary, before.primary),
            writes: rate(self.writes, before.writes),
            errors: rate(self.errors, before.errors),
            replica_p95_ms: percentile(&self.bounds_us, &self.replica_times, &before.replica_times),
            primary_p95_ms: percentile(&self.bounds_us, &self.primary_times, &before.primary_times),
        }
    }
}

/// The upper bound, in milliseconds, of the bucket that 95 of 100 new requests do not pass. Beyond the last bound there is none
/// to name.
fn percentile(bounds_us: &[f64], now: &[f64], before: &[f64]) -> Option<f64> {
    let fresh: Vec<f64> = now.iter().zip(before).map(|(now, before)| (now - before).max(0.0)).collect();
    let all: f64 = fresh.iter().sum();
    let mut below = 0.0;
    let bucket = fresh.iter().position(|count| {
        below += count;
        all > 0.0 && below >= all * 0.95
    })?;
    bounds_us.get(bucket).map(|us| us / 1e3)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn stats(uptime_ms: u64, reads: u64, buckets: [u64; 3]) -> Value {
        let times = json!({ "bounds_us": [100, 1000], "buckets": buckets });
        json!({
            "uptime_ms": uptime_ms, "reads": { "replica": reads, "primary": 0 }, "writes": 1, "errors": { "all": 0 },
            "times": { "replica": times, "primary": times },
        })
    }

    fn status(lag: Option<u64>) -> Value {
        json!({ "nodes": [{ "name": "r", "cluster": "main", "lag_bytes": lag }] })
    }

    #[test]
    fn rates_are_by_the_routers_own_clock() {
        let mut history = History::default();
        history.push(&status(None), &stats(1000, 10, [10, 0, 0]));
        assert_eq!(history.newest(), None, "one answer is no rate");
        history.push(&status(None), &stats(3000, 110, [15, 95, 0]));
        let rates = history.newest().unwrap();
        assert_eq!((rates.replica, rates.primary, rates.writes), (50.0, 0.0, 0.0));
        assert_eq!(rates.replica_p95_ms, Some(1.0));
        history.push(&status(None), &stats(4000, 111, [15, 95, 1]));
        assert_eq!(history.newest().unwrap().replica_p95_ms, None, "slower than every bound");
        assert_eq!(history.course(|rates| rates.replica), [Some(50.0), Some(1.0)]);
    }

    #[test]
    fn a_router_that_began_anew_has_no_rates_below_zero() {
        let mut history = History::default();
        history.push(&status(None), &stats(9000, 100, [0; 3]));
        history.push(&status(None), &stats(10_000, 200, [0; 3]));
        history.push(&status(None), &stats(500, 3, [0; 3]));
        assert_eq!(history.newest(), None);
        history.push(&status(None), &stats(1500, 5, [0; 3]));
        assert_eq!(history.newest().unwrap().replica, 2.0);
        history.push(&status(None), &Value::Null);
        assert_eq!(history.newest().unwrap().replica, 2.0, "an answer without numbers changes nothing");
    }

    #[test]
    fn a_lag_that_was_unknown_leaves_a_gap_and_a_node_that_left_leaves_nothing() {
        let mut history = History::default();
        let node = json!({ "name": "r", "cluster": "main" });
        for lag in [Some(5), None, Some(7)] {
            history.push(&status(lag), &Value::Null);
        }
        assert_eq!(history.lag(&node), [Some(5.0), None, Some(7.0)]);
        (0..2 * MOMENTS_MAX).for_each(|_| history.push(&status(None), &Value::Null));
        assert_eq!(history.lag(&node).len(), MOMENTS_MAX);
        history.push(&json!({ "nodes": [] }), &Value::Null);
        assert!(history.lag(&node).is_empty());
    }
}
