// Flat table
//! The bars: what Highwater with routing on is meant to reach, row by row, and whether it has.

use crate::sample::{Report, Spread, figure};

/// One bar.
struct Bar {
    workload: &'static str,
    measure: Measure,
    limit: Limit,
    goal: f64,
}

/// What is looked at.
enum Measure {
    /// A figure as a ratio to the base's.
    ToBase(&'static str),
    /// Processor time as a ratio to that without routing.
    ToOff,
    /// The figure itself.
    Itself(&'static str),
    /// Processor time above that of another workload, in µs.
    Above(&'static str),
}

/// On which side of the bar it is well.
enum Limit {
    AtMost(f64),
    AtLeast(f64),
}

use Limit::{AtLeast, AtMost};
use Measure::{Above, Itself, ToBase, ToOff};

const fn bar(workload: &'static str, measure: Measure, limit: Limit, goal: f64) -> Bar {
    Bar { workload, measure, limit, goal }
}

const BARS: &[Bar] = &[
    bar("simple/16", ToBase(figure::CPU), AtMost(1.05), 0.95),
    bar("extended/16", ToBase(figure::CPU), AtMost(1.05), 0.95),
    bar("prepared/16", ToBase(figure::CPU), AtMost(1.05), 0.95),
    bar("simple/64", ToBase(figure::CPU), AtMost(1.0), 0.75),
    bar("extended/64", ToBase(figure::CPU), AtMost(1.0), 0.75),
    bar("prepared/64", ToBase(figure::CPU), AtMost(1.0), 0.75),
    bar("simple/500", ToBase(figure::CPU), AtMost(1.0), 0.75),
    bar("extended/500", ToBase(figure::CPU), AtMost(1.0), 0.75),
    bar("prepared/500", ToBase(figure::CPU), AtMost(1.0), 0.75),
    bar("simple/16/16", ToBase(figure::CPU), AtMost(1.3), 1.0),
    bar("prepared/16/16", ToBase(figure::CPU), AtMost(0.4), 0.15),
    bar("simple/16", ToOff, AtMost(1.1), 1.02),
    bar("extended/16", ToOff, AtMost(1.1), 1.02),
    bar("prepared/16", ToOff, AtMost(1.1), 1.02),
    bar("simple/16/16", ToOff, AtMost(1.1), 1.02),
    bar("prepared/16/16", ToOff, AtMost(1.1), 1.02),
    bar("select/simple/16", ToBase(figure::CPU), AtMost(1.1), 1.0),
    bar("select/extended/16", ToBase(figure::CPU), AtMost(1.1), 1.0),
    bar("select/prepared/16", ToBase(figure::CPU), AtMost(1.1), 1.0),
    bar("select/extended/16", ToBase(figure::RATE), AtLeast(1.1), 1.2),
    bar("simple/1", ToBase(figure::P50), AtMost(1.0), 1.0),
    bar("simple/1", ToBase(figure::P99), AtMost(1.0), 1.0),
    bar("simple/16", ToBase(figure::P50), AtMost(1.0), 1.0),
    bar("simple/16", ToBase(figure::P99), AtMost(1.0), 1.0),
    bar("simple/64", ToBase(figure::P50), AtMost(1.0), 1.0),
    bar("simple/64", ToBase(figure::P99), AtMost(1.0), 1.0),
    bar("bulk/select", ToBase(figure::CPU), AtMost(1.0), 1.0),
    bar("bulk/copy-out", ToBase(figure::CPU), AtMost(1.0), 1.0),
    bar("bulk/copy-in", ToBase(figure::CPU), AtMost(1.0), 1.0),
    bar("select/bulk/select", ToBase(figure::CPU), AtMost(1.0), 1.0),
    bar("select/bulk/copy-out", ToBase(figure::CPU), AtMost(1.0), 1.0),
    bar("idle/5000", Itself(figure::PER_CLIENT), AtMost(4.0), 1.0),
    bar("idle/5000", Itself(figure::IDLE), AtMost(0.5), 0.1),
    bar("connect/scram/16", ToBase(figure::RATE), AtLeast(1.0), 1.0),
    bar("unseen/200/16", Above("seen/200/16"), AtMost(2.0), 2.0),
    bar("unseen/20000/16", Above("seen/20000/16"), AtMost(60.0), 60.0),
];

const TARGET: &str = "highwater";

/// A line for each bar that this run has something to say about.
pub(super) fn lines(report: &Report) -> Vec<Vec<String>> {
    BARS.iter().filter_map(|bar| line(report, bar)).collect()
}

fn line(report: &Report, bar: &Bar) -> Option<Vec<String>> {
    let of_base = |what: &str| format!("{what} to {}", report.base);
    let (spread, what) = match bar.measure {
        ToBase(name) => (report.ratio(bar.workload, TARGET, name), of_base(name)),
        ToOff => (
            report.ratio_to("highwater-off", bar.workload, TARGET, figure::CPU),
            "cpu_us to highwater-off".to_owned(),
        ),
        Itself(name) => (report.spread(bar.workload, TARGET, name), name.to_owned()),
        Above(other) => {
            (report.difference(bar.workload, other, TARGET, figure::CPU), format!("cpu_us above {other}"))
        }
    };
    let Spread { median, min, max } = spread?;
    let (sign, limit, is_met, is_goal) = match bar.limit {
        AtMost(limit) => ("<=", limit, median <= limit, median <= bar.goal),
        AtLeast(limit) => (">=", limit, median >= limit, median >= bar.goal),
    };
    let verdict = match (is_goal, is_met) {
        (true, _) => "goal",
        (false, true) => "bar",
        (false, false) => "MISSED",
    };
    Some(vec![
        bar.workload.to_owned(),
        what,
        format!("{median:.2}"),
        format!("{min:.2}-{max:.2}"),
        format!("{sign} {limit}"),
        verdict.to_owned(),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::tests::report;
    use crate::workload::Workload;

    #[test]
    fn a_bar_is_missed_met_or_more_than_met() {
        let verdict = |cpu| {
            let report = report(&[("simple/16", "pgbouncer", 0, 10.0), ("simple/16", "highwater", 0, cpu)]);
            lines(&report).into_iter().find(|line| line[1].starts_with("cpu")).and_then(|mut line| line.pop())
        };
        assert_eq!(verdict(9.0).as_deref(), Some("goal"));
        assert_eq!(verdict(10.4).as_deref(), Some("bar"));
        assert_eq!(verdict(10.6).as_deref(), Some("MISSED"));
    }

    #[test]
    fn every_bar_is_about_a_workload_that_is_run() {
        for bar in BARS {
            assert!(crate::workload::ALL.contains(&bar.workload), "{}", bar.workload);
            assert!(Workload::parse(bar.workload, 20).is_ok());
        }
    }
}
