//! What was measured: one sample for each workload, target and round; and what follows from the samples of all rounds.

use std::collections::BTreeMap;

use serde::Serialize;

use load::machine::Machine;

/// One target in one round of one workload. Absent figures were not measured.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Sample {
    pub(crate) workload: String,
    pub(crate) target: String,
    pub(crate) round: u32,
    /// Why it proves nothing, if so.
    pub(crate) void: Option<String>,
    /// Figures by their names, which end with their units.
    pub(crate) figures: BTreeMap<&'static str, f64>,
}

/// Names of figures.
pub(crate) mod figure {
    /// Statements, logins or transfers answered in each second.
    pub(crate) const RATE: &str = "per_second";
    /// Median time to an answer.
    pub(crate) const P50: &str = "p50_us";
    /// Time that 95 of 100 answers took at most.
    pub(crate) const P95: &str = "p95_us";
    /// Time that 99 of 100 answers took at most.
    pub(crate) const P99: &str = "p99_us";
    /// Time that 999 of 1000 answers took at most.
    pub(crate) const P999: &str = "p999_us";
    /// Processor time of the proxy's process, all threads, user and system, for each answer.
    pub(crate) const CPU: &str = "cpu_us";
    /// Memory with all clients connected: private, and the share of what is shared.
    pub(crate) const PSS: &str = "pss_kib";
    /// Resident memory with all clients connected.
    pub(crate) const RSS: &str = "rss_kib";
    /// Memory (PSS) that each client adds.
    pub(crate) const PER_CLIENT: &str = "kib_per_client";
    /// Processor time while nothing is asked, in percent of a core.
    pub(crate) const IDLE: &str = "idle_cpu_percent";
    /// Time to open all clients.
    pub(crate) const OPEN: &str = "open_s";
    /// System calls of the proxy for each answer, by strace, in a run of its own.
    pub(crate) const SYSCALLS: &str = "syscalls";
    /// Share of the machine used by processes that are not of the bench, in percent.
    pub(crate) const OTHERS: &str = "others_percent";
}

/// A whole run, as it is written to a file.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) command: String,
    pub(crate) machine: Machine,
    pub(crate) load_average_after: f64,
    /// Name and version of each target.
    pub(crate) targets: Vec<(String, String)>,
    /// What the ratios are to.
    pub(crate) base: String,
    pub(crate) rounds: u32,
    pub(crate) seconds: f64,
    pub(crate) workloads: Vec<String>,
    pub(crate) warnings: Vec<String>,
    pub(crate) samples: Vec<Sample>,
}

/// The middle of several values, and how far they lie apart.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// Of these; none of none.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Option<Spread> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (&min, &max) = (values.first()?, values.last()?);
        let half = values.len() / 2;
        let median =
            if values.len() % 2 == 1 { values[half] } else { (values[half - 1] + values[half]) / 2.0 };
        Some(Spread { median, min, max })
    }
}

impl Report {
    fn samples<'a>(&'a self, workload: &'a str, target: &'a str) -> impl Iterator<Item = &'a Sample> {
        self.samples.iter().filter(move |sample| sample.workload == workload && sample.target == target)
    }

    /// Why this target's figures of this workload prove nothing, if so: one void round voids all.
    pub(crate) fn void<'a>(&'a self, workload: &'a str, target: &'a str) -> Option<&'a str> {
        self.samples(workload, target).find_map(|sample| sample.void.as_deref())
    }

    /// A figure over all rounds.
    pub(crate) fn spread(&self, workload: &str, target: &str, figure: &str) -> Option<Spread> {
        if self.void(workload, target).is_some() {
            return None;
        }
        Spread::of(self.samples(workload, target).filter_map(|sample| sample.figures.get(figure).copied()))
    }

    /// A figure as a ratio to the base's of the same round.
    pub(crate) fn ratio(&self, workload: &str, target: &str, figure: &str) -> Option<Spread> {
        self.ratio_to(&self.base, workload, target, figure)
    }

    /// A figure as a ratio to another target's of the same round.
    pub(crate) fn ratio_to(&self, base: &str, workload: &str, target: &str, figure: &str) -> Option<Spread> {
        if self.void(workload, target).is_some() || self.void(workload, base).is_some() {
            return None;
        }
        let pairs = self.pairs((workload, target), (workload, base), figure);
        Spread::of(pairs.filter(|&(_, theirs)| theirs > 0.0).map(|(mine, theirs)| mine / theirs))
    }

    /// By how much a target's figure of one workload is above that of another, round by round.
    pub(crate) fn difference(
        &self,
        workload: &str,
        other: &str,
        target: &str,
        figure: &str,
    ) -> Option<Spread> {
        if self.void(workload, target).is_some() || self.void(other, target).is_some() {
            return None;
        }
        Spread::of(
            self.pairs((workload, target), (other, target), figure).map(|(mine, theirs)| mine - theirs),
        )
    }

    /// A figure of two entries (workload and target) in the rounds that both have.
    fn pairs<'a>(
        &'a self,
        mine: (&'a str, &'a str),
        theirs: (&'a str, &'a str),
        figure: &'a str,
    ) -> impl Iterator<Item = (f64, f64)> + 'a {
        let of = move |sample: &Sample| sample.figures.get(figure).copied();
        self.samples(mine.0, mine.1).filter_map(move |mine| {
            let theirs = self.samples(theirs.0, theirs.1).find(|theirs| theirs.round == mine.round)?;
            Some((of(mine)?, of(theirs)?))
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A report with these samples: workload, target, round, CPU.
    pub(crate) fn report(samples: &[(&str, &str, u32, f64)]) -> Report {
        let samples = samples.iter().map(|&(workload, target, round, cpu)| Sample {
            workload: workload.to_owned(),
            target: target.to_owned(),
            round,
            void: None,
            figures: BTreeMap::from([(figure::CPU, cpu), (figure::RATE, 1e5), (figure::P50, 100.0)]),
        });
        Report {
            command: "bench compare".to_owned(),
            machine: Machine::look(),
            load_average_after: 0.0,
            targets: ["pgbouncer", "highwater"].map(|name| (name.to_owned(), format!("{name} 1"))).to_vec(),
            base: "pgbouncer".to_owned(),
            rounds: 3,
            seconds: 1.0,
            workloads: vec!["simple/16".to_owned()],
            warnings: Vec::new(),
            samples: samples.collect(),
        }
    }

    #[test]
    fn the_median_is_the_middle_or_between_the_two_middles() {
        let spread = Spread::of([3.0, 1.0, 2.0]);
        assert_eq!(spread, Some(Spread { median: 2.0, min: 1.0, max: 3.0 }));
        assert_eq!(Spread::of([1.0, 2.0]).map(|spread| spread.median), Some(1.5));
        assert_eq!(Spread::of([]), None);
    }

    #[test]
    fn ratios_are_of_the_same_round_and_not_of_the_medians() {
        // A machine that was twice as slow in the second round.
        let report = report(&[
            ("simple/16", "pgbouncer", 0, 10.0),
            ("simple/16", "highwater", 0, 12.0),
            ("simple/16", "pgbouncer", 1, 20.0),
            ("simple/16", "highwater", 1, 24.0),
            ("simple/16", "highwater", 2, 90.0),
        ]);
        let ratio = report.ratio("simple/16", "highwater", figure::CPU).expect("two pairs");
        assert!((ratio.min - 1.2).abs() < 1e-9 && (ratio.max - 1.2).abs() < 1e-9);
    }

    #[test]
    fn a_difference_is_between_workloads_of_the_same_round() {
        let report = report(&[
            ("unseen/200/16", "highwater", 0, 12.0),
            ("seen/200/16", "highwater", 0, 10.0),
            ("unseen/200/16", "highwater", 1, 23.0),
            ("seen/200/16", "highwater", 1, 20.0),
        ]);
        let difference = report.difference("unseen/200/16", "seen/200/16", "highwater", figure::CPU);
        assert_eq!(difference, Some(Spread { median: 2.5, min: 2.0, max: 3.0 }));
    }

    #[test]
    fn a_void_round_leaves_no_figure() {
        let mut report = report(&[("simple/16", "pgbouncer", 0, 10.0), ("simple/16", "highwater", 0, 12.0)]);
        report.samples[1].void = Some("2 answers MIXED UP".to_owned());
        assert_eq!(report.spread("simple/16", "highwater", figure::CPU), None);
        assert_eq!(report.ratio("simple/16", "highwater", figure::CPU), None);
        assert_eq!(report.void("simple/16", "highwater"), Some("2 answers MIXED UP"));
    }
}
