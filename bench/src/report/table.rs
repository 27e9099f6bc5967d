//! Tables for the terminal.

use std::fmt::Write as _;

use super::bars;
use crate::sample::{Report, Sample, Spread, figure};

/// One sample in one line, for whoever watches.
pub(crate) fn line(sample: &Sample) -> String {
    let mut line = format!("{:<18} {:<18} round {}", sample.workload, sample.target, sample.round + 1);
    if let Some(why) = &sample.void {
        let _infallible = write!(line, "  VOID: {why}");
        return line;
    }
    for (name, unit) in [
        (figure::RATE, "/s"),
        (figure::P50, " us p50"),
        (figure::P99, " us p99"),
        (figure::CPU, " us CPU each"),
        (figure::PER_CLIENT, " KiB/client"),
        (figure::IDLE, " % CPU idle"),
    ] {
        if let Some(&value) = sample.figures.get(name) {
            let _infallible = write!(line, "  {}{unit}", number(value));
        }
    }
    line
}

/// Everything.
pub(crate) fn text(report: &Report) -> String {
    let machine = &report.machine;
    let mut out = format!(
        "\n{} · {} cores · {} GiB · Linux {} · load average {:.2} before, {:.2} after\n{} rounds of {} s, targets taking turns\n",
        machine.cpu,
        machine.cores,
        machine.memory_gib,
        machine.kernel,
        machine.load_average_before,
        report.load_average_after,
        report.rounds,
        report.seconds
    );
    for (name, version) in &report.targets {
        let _infallible = writeln!(out, "  {name:<18} {version}");
    }
    for workload in &report.workloads {
        out.push('\n');
        table(report, workload, &mut out);
    }
    summary(report, &mut out);
    let _infallible = writeln!(
        out,
        "\nMedians over the rounds; x is the ratio to {} of the same round, with the least and the greatest.",
        report.base
    );
    for warning in &report.warnings {
        let _infallible = writeln!(out, "WARNING: {warning}");
    }
    out
}

fn table(report: &Report, workload: &str, out: &mut String) {
    let idle = workload.starts_with("idle/");
    let mut rows = vec![if idle {
        ["", "KiB/client", "PSS MiB", "RSS MiB", "idle CPU %", "open s"].map(str::to_owned).to_vec()
    } else {
        let heads = [
            "",
            "/s",
            "p50 us",
            "p95 us",
            "p99 us",
            "CPU us",
            "least-most",
            "x CPU",
            "least-most",
            "x p99",
            "x /s",
            "calls",
        ];
        heads.map(str::to_owned).to_vec()
    }];
    rows[0][0] = workload.to_owned();
    for (target, _) in &report.targets {
        if let Some(why) = report.void(workload, target) {
            rows.push(vec![target.clone(), format!("VOID: {why}")]);
            continue;
        }
        let median = |name| report.spread(workload, target, name).map(|spread| spread.median);
        let shown = |name| median(name).map_or_else(String::new, number);
        let mebi = |name| median(name).map_or_else(String::new, |kib| format!("{:.1}", kib / 1024.0));
        let ratio = |name| report.ratio(workload, target, name);
        let times = |spread: Option<Spread>| {
            spread.map_or_else(String::new, |spread| format!("{:.2}", spread.median))
        };
        let range = |spread: Option<Spread>| {
            spread.map_or_else(String::new, |spread| format!("{}-{}", number(spread.min), number(spread.max)))
        };
        let mut row = vec![target.clone()];
        if idle {
            if median(figure::PSS).is_none() {
                continue;
            }
            row.extend([
                shown(figure::PER_CLIENT),
                mebi(figure::PSS),
                mebi(figure::RSS),
                shown(figure::IDLE),
                shown(figure::OPEN),
            ]);
        } else {
            row.extend([figure::RATE, figure::P50, figure::P95, figure::P99, figure::CPU].map(shown));
            row.push(range(report.spread(workload, target, figure::CPU)));
            row.push(times(ratio(figure::CPU)));
            row.push(range(ratio(figure::CPU)));
            row.push(times(ratio(figure::P99)));
            row.push(times(ratio(figure::RATE)));
            row.push(shown(figure::SYSCALLS));
        }
        rows.push(row);
    }
    align(&rows, out);
    notes(report, workload, out);
}

/// What the table of a workload is followed by: routing against no routing, and the price of a text never seen.
fn notes(report: &Report, workload: &str, out: &mut String) {
    if let Some(ratio) = report.ratio_to("highwater-off", workload, "highwater", figure::CPU) {
        let Spread { median, min, max } = ratio;
        let _infallible = writeln!(
            out,
            "highwater is {median:.2} x highwater-off in CPU ({min:.2}-{max:.2}): the price of routing"
        );
    }
    let Some(rest) = workload.strip_prefix("unseen/") else { return };
    for (target, _) in &report.targets {
        let seen = format!("seen/{rest}");
        if let Some(more) = report.difference(workload, &seen, target, figure::CPU) {
            let Spread { median, min, max } = more;
            let _infallible =
                writeln!(out, "{target}: {median:+.2} us CPU against {seen} ({min:+.2} to {max:+.2})");
        }
    }
}

/// All workloads against all targets: processor time as a ratio to the base's.
fn summary(report: &Report, out: &mut String) {
    let measured = |workload: &&String| report.spread(workload, &report.base, figure::CPU).is_some();
    let mut rows = vec![vec![format!("CPU, x {}", report.base)]];
    rows[0].extend(report.targets.iter().map(|(target, _)| target.clone()));
    for workload in report.workloads.iter().filter(measured) {
        let ratio = |target: &String| match report.ratio(workload, target, figure::CPU) {
            Some(ratio) => format!("{:.2}", ratio.median),
            None if report.void(workload, target).is_some() => "void".to_owned(),
            None => String::new(),
        };
        let mut row = vec![workload.clone()];
        row.extend(report.targets.iter().map(|(target, _)| ratio(target)));
        rows.push(row);
    }
    if rows.len() > 1 {
        out.push('\n');
        align(&rows, out);
    }
    let bars = bars::lines(report);
    if !bars.is_empty() {
        let mut rows = vec![["highwater", "", "median", "least-most", "bar", ""].map(str::to_owned).to_vec()];
        rows.extend(bars);
        out.push('\n');
        align(&rows, out);
    }
}

/// Columns under each other, numbers to the right; the text behind a name may be as long as it is.
fn align(rows: &[Vec<String>], out: &mut String) {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter(|row| row.len() > 2 || column == 0).filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    for row in rows {
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let _infallible = match column {
                0 => write!(out, "{cell:<width$}"),
                _ => write!(out, "  {cell:>width$}"),
            };
        }
        out.push('\n');
    }
}

/// With as many digits as mean something.
pub(crate) fn number(value: f64) -> String {
    match value {
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::tests::report;

    #[test]
    fn a_table_has_a_line_for_each_target_with_its_ratio() {
        let report = report(&[("simple/16", "pgbouncer", 0, 8.0), ("simple/16", "highwater", 0, 6.0)]);
        let text = text(&report);
        let line = text.lines().find(|line| line.starts_with("highwater  ") && line.contains("6.00"));
        assert!(line.is_some_and(|line| line.contains("0.75")), "{text}");
    }

    #[test]
    fn a_void_target_says_why_in_its_place() {
        let mut report = report(&[("simple/16", "pgbouncer", 0, 8.0), ("simple/16", "highwater", 0, 6.0)]);
        report.samples[1].void = Some("3 answers MIXED UP".to_owned());
        assert!(text(&report).contains("VOID: 3 answers MIXED UP"));
        assert!(line(&report.samples[1]).contains("VOID"));
    }
}
