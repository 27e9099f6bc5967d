//! The figures of one target: round by round, together, and as ratios to the first target.

use std::collections::BTreeMap;

use load::histogram::Histogram;
use load::outcome::{Outcome, Routes};
use load::pace::Seen;
use load::stale::Stale;
use serde::Serialize;

use crate::bench::rounds::{Lane, Plan, Turn};
use crate::output;

/// Where the share of reads on replicas comes from.
const ROUTES_SOURCE: &str = "SHOW highwater.last_route after every n-th read of a connection of the load";

/// One target.
#[derive(Debug, Serialize)]
pub(crate) struct TargetReport {
    pub(crate) name: String,
    /// Its connection string without the password.
    pub(crate) dsn: String,
    pub(crate) server: ServerFacts,
    /// All rounds together.
    pub(crate) total: Figures,
    /// From the lowest to the highest round.
    pub(crate) spread: Spreads,
    /// To the first target, in the same rounds; null for the first itself.
    pub(crate) ratio: Option<Spreads>,
    pub(crate) transactions: Vec<KindReport>,
    /// An answer that was not that to its question.
    pub(crate) first_mix_up: Option<String>,
    pub(crate) reads: ReadsReport,
    pub(crate) stale: StaleReport,
    pub(crate) rounds: Vec<Figures>,
    pub(crate) course: Course,
}

/// What answers there.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ServerFacts {
    /// PostgreSQL's.
    pub(crate) version: String,
    /// It is a Highwater router.
    pub(crate) router: bool,
    /// Why the primary's processor time can't be seen; null when it can.
    pub(crate) primary_unknown_because: Option<String>,
}

/// What was measured in a round, or in all.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Figures {
    /// From 1; null for all together.
    pub(crate) round: Option<u32>,
    pub(crate) seconds: f64,
    pub(crate) counts: Counts,
    pub(crate) transactions_per_second: f64,
    pub(crate) statements_per_second: f64,
    pub(crate) latency_ms: Latency,
    /// By SQLSTATE.
    pub(crate) errors: BTreeMap<String, u64>,
    /// Of an open loop.
    pub(crate) queue: Option<QueueReport>,
    /// Share of the sampled reads that ran on a replica; null when nobody could be asked.
    pub(crate) reads_on_replicas: Option<f64>,
    /// Cores that the primary used; null when it cannot be seen.
    pub(crate) primary_cores: Option<f64>,
    /// Cores that each server used, as far as they can be seen.
    pub(crate) server_cores: BTreeMap<String, f64>,
    /// Cores that the load generator used.
    pub(crate) generator_cores: f64,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct Counts {
    /// Transactions that ended well.
    pub(crate) transactions: u64,
    /// Transactions that did not.
    pub(crate) failed: u64,
    /// Statements that were answered without an error.
    pub(crate) statements: u64,
    /// All errors.
    pub(crate) errors: u64,
    /// Answers that were not those to their questions.
    pub(crate) mixed_up: u64,
}

/// Milliseconds; null when nothing was measured.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Latency {
    pub(crate) mean: Option<f64>,
    pub(crate) p50: Option<f64>,
    pub(crate) p95: Option<f64>,
    pub(crate) p99: Option<f64>,
    pub(crate) p999: Option<f64>,
    pub(crate) max: Option<f64>,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct QueueReport {
    pub(crate) arrived: u64,
    /// Found the queue full.
    pub(crate) turned_away: u64,
    /// Still waited at the end of a round; their wait counts as latency.
    pub(crate) unserved: u64,
    pub(crate) longest: usize,
}

/// The middle of several rounds, and how far they lie apart.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

#[derive(Debug, Serialize)]
pub(crate) struct Spreads {
    pub(crate) transactions_per_second: Option<Spread>,
    pub(crate) p95: Option<Spread>,
    pub(crate) primary_cores: Option<Spread>,
}

/// The transactions of one name.
#[derive(Debug, Serialize)]
pub(crate) struct KindReport {
    pub(crate) name: String,
    pub(crate) reads: bool,
    pub(crate) done: u64,
    pub(crate) failed: u64,
    pub(crate) latency_ms: Latency,
}

/// Where reads ran.
#[derive(Debug, Serialize)]
pub(crate) struct ReadsReport {
    /// Where this is from; null when nothing is known.
    pub(crate) source: Option<String>,
    pub(crate) sampled: u64,
    /// Shares of the sampled reads, by node.
    pub(crate) nodes: Vec<NodeShare>,
    /// How many of the sampled reads had which reason.
    pub(crate) reasons: BTreeMap<String, u64>,
}

#[derive(Debug, Serialize)]
pub(crate) struct NodeShare {
    pub(crate) node: String,
    pub(crate) role: String,
    pub(crate) share: f64,
}

/// Stale reads that were observed.
#[derive(Debug, Serialize)]
pub(crate) struct StaleReport {
    /// Why there is nothing; null when there is.
    pub(crate) unknown_because: Option<String>,
    pub(crate) levels: Vec<LevelReport>,
}

#[derive(Debug, Serialize)]
pub(crate) struct LevelReport {
    pub(crate) level: String,
    pub(crate) writes: u64,
    /// Reads of the connection that wrote, and those that missed its own last write.
    pub(crate) own_reads: u64,
    pub(crate) own_missed: u64,
    /// Reads of another connection, and those that missed a write that was acknowledged before.
    pub(crate) others_reads: u64,
    pub(crate) others_missed: u64,
    /// How long before a stale read the first write that it missed had been acknowledged.
    pub(crate) age_ms: Latency,
}

/// The course of time over all rounds of a target, one after the other.
#[derive(Debug, Serialize)]
pub(crate) struct Course {
    /// Of every step but a round's last.
    pub(crate) step_seconds: f64,
    pub(crate) at_seconds: Vec<f64>,
    pub(crate) transactions_per_second: Vec<f64>,
    pub(crate) p95_ms: Vec<Option<f64>>,
    pub(crate) errors: Vec<u64>,
    /// Where rounds end.
    pub(crate) rounds_end_seconds: Vec<f64>,
    /// The first message of each SQLSTATE.
    pub(crate) error_examples: BTreeMap<String, String>,
}

impl TargetReport {
    /// The report of a lane that was measured, with ratios to `first`.
    pub(crate) fn of(lane: &Lane, first: &Lane, plan: &Plan) -> TargetReport {
        let mut all = Outcome::default();
        lane.turns.iter().for_each(|turn| all.add(&turn.outcome));
        let rounds: Vec<Figures> = lane.turns.iter().map(Figures::of).collect();
        let base: Vec<Figures> = first.turns.iter().map(Figures::of).collect();
        let total = Figures::together(&all, &rounds);
        let is_first = std::ptr::eq(lane, first);
        TargetReport {
            name: lane.contender.name.clone(),
            dsn: lane.contender.shown.clone(),
            server: ServerFacts {
                version: lane.contender.facts.version.clone(),
                router: lane.contender.facts.router,
                primary_unknown_because: lane.contender.facts.primary.as_ref().err().cloned(),
            },
            total,
            spread: Spreads::of(&rounds),
            ratio: (!is_first).then(|| Spreads::ratio(&rounds, &base)),
            transactions: kinds(&all, plan),
            first_mix_up: all.faults.first_mix_up.clone(),
            reads: ReadsReport::of(&all.routes),
            stale: StaleReport::of(lane.probes.seen()),
            rounds,
            course: Course::of(&all, &lane.turns),
        }
    }

    /// What a reader must not overlook.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let (name, mut warnings) = (&self.name, Vec::new());
        if self.total.counts.mixed_up > 0 {
            warnings.push(format!(
                "{name}: {} answers were NOT THOSE TO THEIR QUESTIONS, the first: {}; this run proves a bug and nothing else",
                self.total.counts.mixed_up,
                self.first_mix_up.as_deref().unwrap_or("no example was kept")
            ));
        }
        if let Some(queue) = &self.total.queue {
            if queue.turned_away > 0 {
                warnings.push(format!(
                    "{name}: {} of {} arrivals found the queue full and have no latency: the percentiles are too good",
                    queue.turned_away, queue.arrived
                ));
            }
            if queue.unserved > 0 {
                warnings.push(format!(
                    "{name}: {} still waited at the end of a round: it can't keep up with this rate",
                    output::count(queue.unserved as usize, "arrival")
                ));
            }
        }
        warnings
    }
}

impl Figures {
    fn of(turn: &Turn) -> Figures {
        let outcome = &turn.outcome;
        Figures {
            round: Some(turn.round + 1),
            primary_cores: turn.servers.iter().find(|(name, _)| name == "primary").map(|(_, cores)| *cores),
            server_cores: turn.servers.iter().cloned().collect(),
            generator_cores: turn.generator,
            ..Figures::of_outcome(outcome)
        }
    }

    fn of_outcome(outcome: &Outcome) -> Figures {
        Figures {
            round: None,
            seconds: outcome.elapsed.as_secs_f64(),
            counts: Counts {
                transactions: outcome.transactions(),
                failed: outcome.failed(),
                statements: outcome.statements,
                errors: outcome.faults.count(),
                mixed_up: outcome.faults.mixed_up,
            },
            transactions_per_second: outcome.transaction_rate(),
            statements_per_second: outcome.statement_rate(),
            latency_ms: Latency::of(&outcome.latency),
            errors: outcome.faults.errors.clone(),
            queue: outcome.queue.as_ref().map(QueueReport::of),
            reads_on_replicas: outcome.routes.deflected(),
            primary_cores: None,
            server_cores: BTreeMap::new(),
            generator_cores: 0.0,
        }
    }

    /// Rounds are about equally long: what was used in them is their mean.
    fn together(all: &Outcome, rounds: &[Figures]) -> Figures {
        let mean = |of: &dyn Fn(&Figures) -> Option<f64>| {
            let values: Vec<f64> = rounds.iter().filter_map(of).collect();
            (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
        };
        let names = rounds.first().map(|round| round.server_cores.keys().cloned().collect::<Vec<_>>());
        let server = |name: String| {
            let cores = mean(&|round: &Figures| round.server_cores.get(&name).copied()).unwrap_or(0.0);
            (name, cores)
        };
        Figures {
            primary_cores: mean(&|round| round.primary_cores),
            server_cores: names.unwrap_or_default().into_iter().map(server).collect(),
            generator_cores: mean(&|round| Some(round.generator_cores)).unwrap_or(0.0),
            ..Figures::of_outcome(all)
        }
    }
}

impl Latency {
    fn of(histogram: &Histogram) -> Latency {
        let some = |time: std::time::Duration| (histogram.count() > 0).then_some(time.as_secs_f64() * 1e3);
        let quantile = |share| some(histogram.quantile(share));
        Latency {
            mean: some(histogram.mean()),
            p50: quantile(0.5),
            p95: quantile(0.95),
            p99: quantile(0.99),
            p999: quantile(0.999),
            max: some(histogram.max()),
        }
    }
}

impl QueueReport {
    fn of(seen: &Seen) -> QueueReport {
        let Seen { arrived, turned_away, unserved, longest } = *seen;
        QueueReport { arrived, turned_away, unserved, longest }
    }
}

impl Spread {
    /// Of these; none of none.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Option<Spread> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (&min, &max) = (values.first()?, values.last()?);
        let half = values.len() / 2;
        let median =
            if values.len() % 2 == 1 { values[half] } else { f64::midpoint(values[half - 1], values[half]) };
        Some(Spread { median, min, max })
    }
}

impl Spreads {
    fn of(rounds: &[Figures]) -> Spreads {
        let spread = |of: fn(&Figures) -> Option<f64>| Spread::of(rounds.iter().filter_map(of));
        Spreads {
            transactions_per_second: spread(|round| Some(round.transactions_per_second)),
            p95: spread(|round| round.latency_ms.p95),
            primary_cores: spread(|round| round.primary_cores),
        }
    }

    /// Round by round: a machine that was slower in one was so for both.
    fn ratio(mine: &[Figures], base: &[Figures]) -> Spreads {
        let ratio = |of: fn(&Figures) -> Option<f64>| {
            Spread::of(mine.iter().filter_map(|mine| {
                let theirs = of(base.iter().find(|theirs| theirs.round == mine.round)?)?;
                Some(of(mine)? / theirs).filter(|ratio| ratio.is_finite())
            }))
        };
        Spreads {
            transactions_per_second: ratio(|round| Some(round.transactions_per_second)),
            p95: ratio(|round| round.latency_ms.p95),
            primary_cores: ratio(|round| round.primary_cores),
        }
    }
}

impl ReadsReport {
    fn of(routes: &Routes) -> ReadsReport {
        let share = |count: &u64| *count as f64 / routes.sampled.max(1) as f64;
        let node = |((role, node), count): (&(String, String), &u64)| NodeShare {
            node: node.clone(),
            role: role.clone(),
            share: share(count),
        };
        ReadsReport {
            source: (routes.sampled > 0).then(|| ROUTES_SOURCE.to_owned()),
            sampled: routes.sampled,
            nodes: routes.nodes.iter().map(node).collect(),
            reasons: routes.reasons.clone(),
        }
    }
}

impl StaleReport {
    fn of(seen: Result<Vec<(&'static str, Stale)>, String>) -> StaleReport {
        let level = |(level, stale): (&'static str, Stale)| LevelReport {
            level: level.to_owned(),
            writes: stale.writes,
            own_reads: stale.own_reads,
            own_missed: stale.own_missed,
            others_reads: stale.others_reads,
            others_missed: stale.others_missed,
            age_ms: Latency::of(&stale.age),
        };
        match seen {
            Ok(levels) => {
                StaleReport { unknown_because: None, levels: levels.into_iter().map(level).collect() }
            }
            Err(why) => StaleReport { unknown_because: Some(why), levels: Vec::new() },
        }
    }
}

impl Course {
    fn of(all: &Outcome, turns: &[Turn]) -> Course {
        let seconds = |time: std::time::Duration| time.as_secs_f64();
        let mut end = 0.0;
        let rounds_end = turns.iter().map(|turn| {
            end += seconds(turn.outcome.elapsed);
            end
        });
        Course {
            step_seconds: all.series.first().map_or(0.0, |step| seconds(step.length)),
            at_seconds: all.series.iter().map(|step| seconds(step.at)).collect(),
            transactions_per_second: all
                .series
                .iter()
                .map(|step| step.done as f64 / seconds(step.length).max(1e-9))
                .collect(),
            p95_ms: all.series.iter().map(|step| step.p95.map(|p95| seconds(p95) * 1e3)).collect(),
            errors: all.series.iter().map(|step| step.errors).collect(),
            rounds_end_seconds: rounds_end.collect(),
            error_examples: all.faults.examples.clone(),
        }
    }
}

fn kinds(all: &Outcome, plan: &Plan) -> Vec<KindReport> {
    let asked = all.kinds.iter().zip(&plan.script.transactions);
    asked
        .filter(|(kind, _)| kind.done + kind.failed > 0)
        .map(|(kind, transaction)| KindReport {
            name: transaction.name.clone(),
            reads: transaction.reads,
            done: kind.done,
            failed: kind.failed,
            latency_ms: Latency::of(&kind.latency),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(round: u32, rate: f64) -> Figures {
        Figures {
            round: Some(round),
            transactions_per_second: rate,
            ..Figures::of_outcome(&Outcome::default())
        }
    }

    #[test]
    fn the_median_is_the_middle_or_between_the_two_middles() {
        assert_eq!(Spread::of([3.0, 1.0, 2.0]), Some(Spread { median: 2.0, min: 1.0, max: 3.0 }));
        assert_eq!(Spread::of([1.0, 2.0]).map(|spread| spread.median), Some(1.5));
        assert_eq!(Spread::of([]), None);
    }

    #[test]
    fn ratios_are_of_the_same_round_and_not_of_the_medians() {
        // A machine that was twice as slow in the second round; a third round that the base does not have.
        let (mine, base) =
            ([figures(1, 20.0), figures(2, 10.0), figures(3, 99.0)], [figures(1, 10.0), figures(2, 5.0)]);
        let ratio = Spreads::ratio(&mine, &base).transactions_per_second;
        assert_eq!(ratio, Some(Spread { median: 2.0, min: 2.0, max: 2.0 }));
        assert_eq!(Spreads::ratio(&mine, &[figures(1, 0.0)]).transactions_per_second, None);
    }

    #[test]
    fn what_was_not_measured_is_null_and_not_zero() {
        let nothing = figures(1, 0.0);
        assert_eq!(
            (nothing.latency_ms.p50, nothing.primary_cores, nothing.reads_on_replicas),
            (None, None, None)
        );
    }
}
