//! The report as tables for a terminal.

use std::fmt::Write as _;
use std::time::Duration;

use super::figures::{Figures, LevelReport, Spread, TargetReport};
use super::{Report, RunReport};
use crate::output;

/// Of something that is not known.
pub(super) const UNKNOWN: &str = "-";

/// Everything, for people.
pub(crate) fn render(report: &Report) -> String {
    let mut text = format!("{}\n\n", heading(&report.run));
    text.push_str(&main_table(&report.targets));
    for section in [queues(&report.targets), transactions(&report.targets), reads(&report.targets)] {
        push(&mut text, &section);
    }
    push(&mut text, &stale(&report.targets));
    push(&mut text, &errors(&report.targets));
    if let Some(servers) = &report.servers {
        push(&mut text, &format!("  {}\n", servers.note));
    }
    let warnings: String = report.warnings.iter().map(|warning| format!("  warning: {warning}\n")).collect();
    push(&mut text, &warnings);
    text
}

fn push(text: &mut String, section: &str) {
    if !section.is_empty() {
        text.push('\n');
        text.push_str(section);
    }
}

/// One sentence on what was run.
pub(super) fn heading(run: &RunReport) -> String {
    let mut text = format!("{}, {} clients, {}", run.workload, run.clients, run.protocol);
    if let Some(ratio) = run.write_ratio {
        write!(text, ", {} writes", percent(ratio)).expect("a String takes everything");
    }
    if let Some(level) = &run.level {
        write!(text, ", level {level}").expect("a String takes everything");
    }
    match run.rate {
        None => text.push_str(", closed loop"),
        Some(rate) => {
            let arrivals = run.arrivals.as_deref().unwrap_or_default();
            write!(text, ", open loop of {} {arrivals} arrivals/s", self::rate(rate))
                .expect("a String takes everything");
        }
    }
    let rounds = if run.rounds == 1 { String::new() } else { format!(" in {} rounds", run.rounds) };
    write!(text, "; {} s of each target{rounds}", short(run.seconds)).expect("a String takes everything");
    text
}

fn main_table(targets: &[TargetReport]) -> String {
    let rows: Vec<[String; 12]> = targets.iter().map(row).collect();
    output::table(
        [
            "target",
            "tx/s",
            "spread",
            "ratio",
            "stmt/s",
            "p50",
            "p95",
            "p99",
            "p99.9",
            "errors",
            "reads on replicas",
            "primary CPU",
        ],
        &rows,
    )
}

fn row(target: &TargetReport) -> [String; 12] {
    let Figures { latency_ms, .. } = &target.total;
    let spread = target.spread.transactions_per_second.filter(|_| target.rounds.len() > 1);
    let ratio = target.ratio.as_ref().and_then(|ratio| ratio.transactions_per_second);
    [
        target.name.clone(),
        rate(target.total.transactions_per_second),
        spread.map_or_else(unknown, |spread| format!("{}–{}", rate(spread.min), rate(spread.max))),
        ratio.map_or_else(unknown, self::ratio),
        rate(target.total.statements_per_second),
        ms(latency_ms.p50),
        ms(latency_ms.p95),
        ms(latency_ms.p99),
        ms(latency_ms.p999),
        target.total.counts.errors.to_string(),
        target.total.reads_on_replicas.map_or_else(unknown, percent),
        target.total.primary_cores.map_or_else(|| "unknown".to_owned(), |cores| format!("{cores:.2} cores")),
    ]
}

fn queues(targets: &[TargetReport]) -> String {
    let rows: Vec<_> = targets
        .iter()
        .filter_map(|target| {
            let queue = target.total.queue.as_ref()?;
            Some([
                target.name.clone(),
                queue.arrived.to_string(),
                queue.longest.to_string(),
                queue.turned_away.to_string(),
                queue.unserved.to_string(),
            ])
        })
        .collect();
    if rows.is_empty() {
        return String::new();
    }
    output::table(["target", "arrivals", "longest queue", "turned away", "unserved at the end"], &rows)
}

fn transactions(targets: &[TargetReport]) -> String {
    let mut rows = Vec::new();
    for target in targets.iter().filter(|target| target.transactions.len() > 1) {
        for kind in &target.transactions {
            rows.push([
                target.name.clone(),
                kind.name.clone(),
                kind.done.to_string(),
                kind.failed.to_string(),
                ms(kind.latency_ms.p50),
                ms(kind.latency_ms.p95),
                ms(kind.latency_ms.p99),
            ]);
        }
    }
    if rows.is_empty() {
        return String::new();
    }
    output::table(["target", "transaction", "done", "failed", "p50", "p95", "p99"], &rows)
}

fn reads(targets: &[TargetReport]) -> String {
    let mut text = String::new();
    for target in targets.iter().filter(|target| target.reads.sampled > 0) {
        let mut nodes: Vec<_> = target.reads.nodes.iter().collect();
        nodes.sort_by(|a, b| b.share.total_cmp(&a.share));
        let nodes: Vec<_> = nodes
            .iter()
            .map(|node| format!("{} ({}) {}", node.node, node.role, percent(node.share)))
            .collect();
        writeln!(
            text,
            "  reads of {} ran on: {}; of {} asked about",
            target.name,
            nodes.join(", "),
            target.reads.sampled
        )
        .expect("a String takes everything");
    }
    text
}

fn stale(targets: &[TargetReport]) -> String {
    let (mut rows, mut unknown) = (Vec::new(), String::new());
    for target in targets {
        rows.extend(target.stale.levels.iter().map(|level| stale_row(&target.name, level)));
        if let Some(why) = &target.stale.unknown_because {
            writeln!(unknown, "  stale reads of {}: unknown ({why})", target.name)
                .expect("a String takes everything");
        }
    }
    if rows.is_empty() {
        return unknown;
    }
    let heading =
        ["target", "level", "own reads", "missed own write", "others' reads", "missed a write", "by up to"];
    output::table(heading, &rows) + &unknown
}

fn stale_row(target: &str, level: &LevelReport) -> [String; 7] {
    [
        target.to_owned(),
        level.level.clone(),
        level.own_reads.to_string(),
        level.own_missed.to_string(),
        level.others_reads.to_string(),
        level.others_missed.to_string(),
        ms(level.age_ms.max),
    ]
}

fn errors(targets: &[TargetReport]) -> String {
    let mut rows = Vec::new();
    for target in targets {
        for (code, count) in &target.total.errors {
            let example = target.course.error_examples.get(code).cloned().unwrap_or_default();
            rows.push([target.name.clone(), code.clone(), count.to_string(), example]);
        }
    }
    if rows.is_empty() {
        return String::new();
    }
    output::table(["target", "SQLSTATE", "errors", "the first"], &rows)
}

fn unknown() -> String {
    UNKNOWN.to_owned()
}

/// `1.93 (1.90–1.97)`; the range only when there is one.
pub(super) fn ratio(spread: Spread) -> String {
    let Spread { median, min, max } = spread;
    if min == max { format!("{median:.2}") } else { format!("{median:.2} ({min:.2}–{max:.2})") }
}

/// With the thousands separated, and a digit behind the point for small ones.
pub(crate) fn rate(rate: f64) -> String {
    if rate < 100.0 {
        return format!("{rate:.1}");
    }
    let digits = format!("{rate:.0}");
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Zero is no latency: nothing was measured.
pub(crate) fn time(time: Duration) -> String {
    ms((!time.is_zero()).then_some(time.as_secs_f64() * 1e3))
}

pub(super) fn ms(ms: Option<f64>) -> String {
    match ms {
        None => unknown(),
        Some(ms) if ms > 0.0 && ms < 0.01 => "<0.01 ms".to_owned(),
        Some(ms) if ms < 10.0 => format!("{ms:.2} ms"),
        Some(ms) if ms < 100.0 => format!("{ms:.1} ms"),
        Some(ms) if ms < 10_000.0 => format!("{ms:.0} ms"),
        Some(ms) => format!("{:.1} s", ms / 1e3),
    }
}

pub(super) fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent > 0.0 && percent < 9.95 { format!("{percent:.1} %") } else { format!("{percent:.0} %") }
}

fn short(seconds: f64) -> String {
    let text = format!("{seconds:.1}");
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_have_their_unit() {
        assert_eq!([rate(7.25), rate(999.6), rate(1_234_567.0)], ["7.2", "1,000", "1,234,567"]);
        assert_eq!([ms(None), ms(Some(0.123)), ms(Some(12_345.0))], ["-", "0.12 ms", "12.3 s"]);
        assert_eq!([percent(0.0), percent(0.012), percent(0.678)], ["0 %", "1.2 %", "68 %"]);
        assert_eq!([short(30.0), short(2.5)], ["30", "2.5"]);
        assert_eq!(time(Duration::ZERO), "-");
    }
}
