//! The report as one page: plots and tables in one file, without a script and without anything from elsewhere.

use super::figures::{Spread, TargetReport};
use super::plot::{self, Caption, Line, Room, Row, add, escape};
use super::{Report, text};

const STYLE: &str = include_str!("page.css");

/// The whole page.
pub(super) fn render(report: &Report) -> String {
    let title = format!("highwater bench: {}", report.run.workload);
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" \
         content=\"width=device-width, initial-scale=1\">\n<title>{0}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n\
         <h1>{0}</h1>\n<p class=\"lead\">{1}.</p>\n",
        escape(&title),
        escape(&text::heading(&report.run))
    );
    for warning in &report.warnings {
        add(&mut page, format_args!("<p class=\"warning\" role=\"note\">{}</p>\n", escape(warning)));
    }
    if let Some(servers) = &report.servers {
        let class = if servers.shows_scaling { "note" } else { "warning" };
        add(&mut page, format_args!("<p class=\"{class}\">{}.</p>\n", escape(&servers.note)));
    }
    let targets = &report.targets;
    page.push_str(&summary(targets));
    page.push_str(&throughput(targets));
    page.push_str(&latency(targets));
    page.push_str("<div class=\"pair\">\n");
    page.push_str(&primary(targets));
    page.push_str(&deflected(targets));
    page.push_str("</div>\n");
    page.push_str(&stale(targets));
    page.push_str(&course(targets));
    page.push_str(&transactions(targets));
    page.push_str(&errors(targets));
    page.push_str(&about(report));
    page.push_str("</main>\n</body>\n</html>\n");
    page
}

fn section(title: &str, note: &str, body: &str) -> String {
    if body.is_empty() {
        return String::new();
    }
    let note =
        if note.is_empty() { String::new() } else { format!("<p class=\"note\">{}</p>\n", escape(note)) };
    format!("<section>\n<h2>{}</h2>\n{note}{body}</section>\n", escape(title))
}

/// A table; its first column names the rows.
fn table(heading: &[&str], rows: &[Vec<String>]) -> String {
    let mut out = "<div class=\"scroll\"><table>\n<thead><tr>".to_owned();
    heading.iter().for_each(|cell| add(&mut out, format_args!("<th scope=\"col\">{}</th>", escape(cell))));
    out.push_str("</tr></thead>\n<tbody>\n");
    for row in rows {
        out.push_str("<tr>");
        for (index, cell) in row.iter().enumerate() {
            let (open, close) =
                if index == 0 { ("th scope=\"row\" class=\"left\"", "th") } else { ("td", "td") };
            add(&mut out, format_args!("<{open}>{}</{close}>", escape(cell)));
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody>\n</table></div>\n");
    out
}

fn summary(targets: &[TargetReport]) -> String {
    let rows: Vec<Vec<String>> = targets
        .iter()
        .map(|target| {
            let (total, latency) = (&target.total, &target.total.latency_ms);
            let ratio = target.ratio.as_ref().and_then(|ratio| ratio.transactions_per_second);
            vec![
                target.name.clone(),
                text::rate(total.transactions_per_second),
                ratio.map_or_else(|| "1".to_owned(), |ratio| format!("{:.2}", ratio.median)),
                text::rate(total.statements_per_second),
                text::ms(latency.p50),
                text::ms(latency.p95),
                text::ms(latency.p99),
                text::ms(latency.p999),
                total.counts.errors.to_string(),
                total.reads_on_replicas.map_or_else(|| text::UNKNOWN.to_owned(), text::percent),
                total.primary_cores.map_or_else(unknown, |cores| format!("{cores:.2}")),
            ]
        })
        .collect();
    let heading = [
        "target",
        "tx/s",
        "× first",
        "stmt/s",
        "p50",
        "p95",
        "p99",
        "p99.9",
        "errors",
        "reads on replicas",
        "primary cores",
    ];
    section("In short", "", &table(&heading, &rows))
}

fn row(
    target: &TargetReport,
    colour: usize,
    value: Option<f64>,
    spread: Option<Spread>,
    shown: String,
) -> Row {
    let range = spread.filter(|_| target.rounds.len() > 1).map(|spread| (spread.min, spread.max));
    Row { label: target.name.clone(), value, range, shown, colour }
}

fn throughput(targets: &[TargetReport]) -> String {
    let rows: Vec<Row> = targets
        .iter()
        .enumerate()
        .map(|(colour, target)| {
            let rate = target.total.transactions_per_second;
            let ratio = target.ratio.as_ref().and_then(|ratio| ratio.transactions_per_second);
            let ratio = ratio.map_or_else(String::new, |ratio| format!(" (×{:.2})", ratio.median));
            let shown = format!("{}{ratio}", text::rate(rate));
            row(target, colour, Some(rate), target.spread.transactions_per_second, shown)
        })
        .collect();
    let caption = Caption {
        id: "rate",
        title: "Transactions per second of each target",
        description: &sentence(&rows, "transactions per second"),
    };
    let note = "Transactions a second; more is better. The thin lines reach from the slowest round to the fastest; × is the \
                median ratio to the first target in the same rounds.";
    section("Throughput", note, &plot::bars(&caption, &rows, 0.0, Room::Whole))
}

fn latency(targets: &[TargetReport]) -> String {
    type Of = fn(&TargetReport) -> Option<f64>;
    let percentiles: [(&str, Of); 4] = [
        ("p50", |target| target.total.latency_ms.p50),
        ("p95", |target| target.total.latency_ms.p95),
        ("p99", |target| target.total.latency_ms.p99),
        ("p99.9", |target| target.total.latency_ms.p999),
    ];
    let groups: Vec<(String, Vec<Row>)> = percentiles
        .iter()
        .map(|(name, of)| {
            let row = |(colour, target)| row(target, colour, of(target), None, text::ms(of(target)));
            ((*name).to_owned(), targets.iter().enumerate().map(row).collect())
        })
        .collect();
    let caption = Caption {
        id: "latency",
        title: "Latency percentiles of each target",
        description: "For each percentile a dot per target, on a logarithmic scale of milliseconds; the table above has the \
                      numbers.",
    };
    let note = "Milliseconds from a transaction's arrival (open loop) or first statement (closed loop) to its last answer, on a \
                logarithmic scale; further left is better.";
    let body = plot::legend(names(targets)) + &plot::dots(&caption, &groups);
    section("Latency", note, &body)
}

fn primary(targets: &[TargetReport]) -> String {
    let rows: Vec<Row> = targets
        .iter()
        .enumerate()
        .map(|(colour, target)| {
            let cores = target.total.primary_cores;
            let shown = cores.map_or_else(|| "unknown".to_owned(), |cores| format!("{cores:.2} cores"));
            row(target, colour, cores, target.spread.primary_cores, shown)
        })
        .collect();
    let caption = Caption {
        id: "cpu",
        title: "Cores used by the primary under each target's load",
        description: &sentence(&rows, "cores"),
    };
    let mut note = "Cores that all processes of the primary used, from /proc of this machine.".to_owned();
    for target in targets {
        if let Some(why) = &target.server.primary_unknown_because {
            add(&mut note, format_args!(" Unknown for {}: {why}.", target.name));
        }
    }
    section("The primary's processor", &note, &plot::bars(&caption, &rows, 0.1, Room::Half))
}

fn deflected(targets: &[TargetReport]) -> String {
    let rows: Vec<Row> = targets
        .iter()
        .enumerate()
        .map(|(colour, target)| {
            let share = target.total.reads_on_replicas;
            let shown = share.map_or_else(|| "no router".to_owned(), text::percent);
            row(target, colour, share.map(|share| share * 100.0), None, shown)
        })
        .collect();
    let caption = Caption {
        id: "reads",
        title: "Share of reads that ran on a replica",
        description: &sentence(&rows, "percent"),
    };
    let note = "Percent of sampled reads, as SHOW highwater.last_route tells on the load's own connections.";
    section("Reads on replicas", note, &plot::bars(&caption, &rows, 100.0, Room::Half))
}

fn stale(targets: &[TargetReport]) -> String {
    let share = |missed: u64, reads: u64| if reads == 0 { 0.0 } else { missed as f64 / reads as f64 };
    let (mut rows, mut cells, mut unknown) = (Vec::new(), Vec::new(), String::new());
    for (colour, target) in targets.iter().enumerate() {
        if let Some(why) = &target.stale.unknown_because {
            add(
                &mut unknown,
                format_args!("<p class=\"note\">{}: unknown ({})</p>\n", escape(&target.name), escape(why)),
            );
        }
        let on_replicas = target.total.reads_on_replicas.is_some_and(|share| share > 0.0);
        for level in &target.stale.levels {
            let others = share(level.others_missed, level.others_reads);
            if on_replicas {
                let label = format!("{}, {}", level.level, short_name(&target.name));
                let shown = format!("{} (own: {})", text::percent(others), level.own_missed);
                rows.push(Row { label, value: Some(others * 100.0), range: None, shown, colour });
            }
            cells.push(vec![
                target.name.clone(),
                level.level.clone(),
                format!("{} of {}", level.own_missed, level.own_reads),
                format!("{} of {}", level.others_missed, level.others_reads),
                text::ms(level.age_ms.p50),
                text::ms(level.age_ms.max),
            ]);
        }
    }
    let caption = Caption {
        id: "stale",
        title: "Share of reads that missed a write acknowledged to another connection",
        description: &sentence(&rows, "percent"),
    };
    let plot = if rows.is_empty() { String::new() } else { plot::bars(&caption, &rows, 5.0, Room::Whole) };
    let heading = ["target", "level", "missed own write", "missed another's write", "typical age", "oldest"];
    let table = if cells.is_empty() { String::new() } else { table(&heading, &cells) };
    let note = "A prober's connection raises a counter, and another reads it at once: bars show, for targets with replicas, how \
                many of those reads missed the write; “own” counts reads that missed a write of their own connection, which no \
                level from session up may. The age is how long before the read the missed write had been acknowledged.";
    section("Stale reads", note, &(plot + &table + &unknown))
}

fn course(targets: &[TargetReport]) -> String {
    let line = |colour: usize, target: &'_ TargetReport, values: Vec<Option<f64>>| {
        let points = target.course.at_seconds.iter().copied().zip(values).collect();
        (colour, points)
    };
    let plot = |caption: &Caption<'_>, of: &dyn Fn(&TargetReport) -> Vec<Option<f64>>| {
        let lines: Vec<Line<'_>> = targets
            .iter()
            .enumerate()
            .map(|(colour, target)| {
                let (colour, points) = line(colour, target, of(target));
                Line { label: &target.name, points, colour }
            })
            .collect();
        let marks = targets.first().map_or(&[][..], |target| &target.course.rounds_end_seconds);
        plot::lines(caption, &lines, marks)
    };
    let rate = plot(
        &Caption {
            id: "course-rate",
            title: "Transactions per second over time",
            description: "One line per target.",
        },
        &|target| target.course.transactions_per_second.iter().copied().map(Some).collect(),
    );
    let p95 = plot(
        &Caption {
            id: "course-p95",
            title: "95th percentile of latency over time, in milliseconds",
            description: "One line per target.",
        },
        &|target| target.course.p95_ms.clone(),
    );
    let note = "Each target's measured seconds, round after round (dotted lines: ends of rounds); warm-ups are left out.";
    let legend = plot::legend(names(targets));
    let body = format!(
        "{legend}<p class=\"note\">Transactions a second</p>\n{rate}<p class=\"note\">p95, milliseconds</p>\n{p95}"
    );
    section("Over time", note, &body)
}

fn transactions(targets: &[TargetReport]) -> String {
    let mut rows = Vec::new();
    for target in targets {
        for kind in &target.transactions {
            rows.push(vec![
                target.name.clone(),
                kind.name.clone(),
                if kind.reads { "reads" } else { "writes" }.to_owned(),
                kind.done.to_string(),
                kind.failed.to_string(),
                text::ms(kind.latency_ms.p50),
                text::ms(kind.latency_ms.p95),
                text::ms(kind.latency_ms.p99),
            ]);
        }
    }
    let heading = ["target", "transaction", "", "done", "failed", "p50", "p95", "p99"];
    section("Transactions", "", &table(&heading, &rows))
}

fn errors(targets: &[TargetReport]) -> String {
    let mut rows = Vec::new();
    for target in targets {
        for (code, count) in &target.total.errors {
            let example = target.course.error_examples.get(code).cloned().unwrap_or_default();
            rows.push(vec![target.name.clone(), code.clone(), count.to_string(), example]);
        }
    }
    if rows.is_empty() {
        return section("Errors", "", "<p>None.</p>\n");
    }
    section("Errors", "", &table(&["target", "SQLSTATE", "count", "the first message"], &rows))
}

fn about(report: &Report) -> String {
    let (machine, mut list) = (&report.machine, "<dl>".to_owned());
    let mut item = |term: &str, what: &str| {
        add(&mut list, format_args!("<dt>{}</dt><dd>{what}</dd>", escape(term)));
    };
    item("command", &format!("<code>{}</code>", escape(&report.command)));
    item(
        "machine",
        &escape(&format!(
            "{} cores of {}, {} GiB, Linux {}; load average {:.1} before, {:.1} after",
            machine.cores,
            machine.cpu,
            machine.memory_gib,
            machine.kernel,
            machine.load_average_before,
            report.load_average_after
        )),
    );
    item("highwater", &escape(&report.highwater));
    for target in &report.targets {
        let kind = if target.server.router { "a Highwater router, " } else { "" };
        let what = format!("{}; {kind}PostgreSQL {}", target.dsn, target.server.version);
        item(&target.name, &escape(&what));
    }
    list.push_str("</dl>\n");
    section("How it was measured", "", &list)
}

fn names(targets: &[TargetReport]) -> impl Iterator<Item = &str> {
    targets.iter().map(|target| target.name.as_str())
}

/// The rows in words, for those who do not see the plot.
fn sentence(rows: &[Row], unit: &str) -> String {
    let words: Vec<String> = rows.iter().map(|row| format!("{}: {}", row.label, row.shown)).collect();
    format!("In {unit}. {}.", words.join("; "))
}

/// What fits beside a level.
fn short_name(name: &str) -> String {
    const CHARS_MAX: usize = 18;
    let name = name.strip_prefix("router, ").unwrap_or(name);
    if name.chars().count() <= CHARS_MAX {
        return name.to_owned();
    }
    name.chars().take(CHARS_MAX - 1).chain(['…']).collect()
}

fn unknown() -> String {
    "unknown".to_owned()
}
