//! A fixed result, as a table and as a page.

use std::collections::BTreeMap;

use super::figures::{
    Counts, Course, Figures, KindReport, Latency, LevelReport, NodeShare, QueueReport, ReadsReport,
    ServerFacts, Spread, Spreads, StaleReport,
};
use super::*;

#[test]
fn the_table_shows_every_figure_and_says_what_is_unknown() {
    let expected = include_str!("testdata/table.txt");
    let rendered = text::render(&report());
    assert_eq!(rendered, expected, "rendered:\n{rendered}");
}

#[test]
fn the_page_is_whole_and_needs_nothing_from_elsewhere() {
    let page = page::render(&report());
    for tag in ["html", "main", "section", "svg", "table", "tr", "ul", "dl"] {
        let (opened, closed) =
            (page.matches(&format!("<{tag}")).count(), page.matches(&format!("</{tag}>")).count());
        assert!(opened == closed && opened > 0, "{tag}: {opened} opened, {closed} closed");
    }
    assert_eq!(page.matches("role=\"img\" aria-labelledby").count(), page.matches("<svg").count());
    for foreign in ["<script", "http:", "https:", "@import", "url("] {
        assert!(!page.contains(foreign), "{foreign}");
    }
    // Names are the user's: they must not become markup.
    assert!(page.contains("&lt;b&gt;router") && !page.contains("<b>router"));
    assert!(page.contains("unknown") && page.contains("division by zero") && page.contains("CAN'T"));
}

#[test]
fn the_bars_of_throughput_are_drawn_as_they_were() {
    let page = page::render(&report());
    let begin = page.find("<svg").expect("throughput is the first plot");
    let end = begin + page[begin..].find("</svg>").expect("it ends");
    assert_eq!(
        format!("{}\n", page[begin..end].replace("><", ">\n<")),
        include_str!("testdata/throughput.svg.txt")
    );
}

#[test]
fn the_json_has_the_documented_fields_and_null_for_what_is_unknown() {
    let json = serde_json::to_value(report()).expect("plain values");
    assert_eq!(json["format"], 1);
    assert!(json["targets"][0]["ratio"].is_null() && json["targets"][0]["total"]["primary_cores"].is_null());
    assert_eq!(json["targets"][1]["total"]["latency_ms"]["p999"], 40.0);
    assert_eq!(json["servers"]["shows_scaling"], false);
}

#[test]
fn a_command_line_is_repeated_without_passwords() {
    let words = [
        "/usr/bin/highwater",
        "bench",
        "--dsn=a=postgres://u:hun/ter@2@h:1/d?x=y",
        "--against",
        "host=h password='hun ter2' user=u",
        "postgres://u:hunter2@h",
        "postgres://u@h/d?password=hunter2&a=b",
    ];
    let text = command(words.iter().map(|word| (*word).to_owned()));
    assert!(!text.contains("hun") && !text.contains("ter2"), "{text}");
    assert!(text.starts_with("highwater bench '--dsn=a=postgres://u@h:1/d?x=y' --against "), "{text}");
}

/// A closed-loop target without a router and without a primary to be seen, and an open-loop one with everything.
fn report() -> Report {
    let first = target("direct", 1000.0, None);
    let second = target("<b>router", 2500.0, Some(0.75));
    Report {
        format: FORMAT,
        highwater: "0.1.0".to_owned(),
        command: "highwater bench --dsn direct=postgresql://app@h:1/app".to_owned(),
        machine: Machine {
            cpu: "Some Processor".to_owned(),
            cores: 2,
            memory_gib: 8,
            kernel: "6.1".to_owned(),
            load_average_before: 0.5,
        },
        load_average_after: 1.5,
        run: RunReport {
            workload: "api".to_owned(),
            write_ratio: Some(0.1),
            scale: Some(1),
            protocol: "extended".to_owned(),
            level: Some("session".to_owned()),
            clients: 16,
            rate: Some(1500.0),
            arrivals: Some("poisson".to_owned()),
            queue_max: Some(10_000),
            seconds: 20.0,
            warmup_seconds: 1.0,
            rounds: 2,
        },
        servers: Some(ServersReport {
            cores: None,
            how: "none".to_owned(),
            note: "the servers shared everything: this CAN'T show what a replica adds".to_owned(),
            shows_scaling: false,
        }),
        interrupted: false,
        warnings: second.warnings(),
        targets: vec![first, second],
    }
}

fn latency(scale: f64) -> Latency {
    let at = |ms: f64| Some(ms * scale);
    Latency { mean: at(2.0), p50: at(1.0), p95: at(5.0), p99: at(10.0), p999: at(40.0), max: at(50.0) }
}

fn figures(rate: f64, replicas: Option<f64>) -> Figures {
    let routed = replicas.is_some();
    Figures {
        round: None,
        seconds: 20.0,
        counts: Counts {
            transactions: 20_000,
            failed: 3,
            statements: 25_000,
            errors: if routed { 3 } else { 0 },
            mixed_up: 0,
        },
        transactions_per_second: rate,
        statements_per_second: rate * 1.25,
        latency_ms: latency(if routed { 1.0 } else { 2.0 }),
        errors: if routed { BTreeMap::from([("22012".to_owned(), 3)]) } else { BTreeMap::new() },
        queue: routed.then_some(QueueReport { arrived: 30_000, turned_away: 2, unserved: 1, longest: 40 }),
        reads_on_replicas: replicas,
        primary_cores: replicas.map(|_| 0.25),
        server_cores: BTreeMap::new(),
        generator_cores: 0.3,
    }
}

fn target(name: &str, rate: f64, replicas: Option<f64>) -> TargetReport {
    let routed = replicas.is_some();
    let spread = |median: f64| Some(Spread { median, min: median * 0.9, max: median * 1.1 });
    let spreads =
        |median| Spreads { transactions_per_second: spread(median), p95: None, primary_cores: None };
    let node =
        |node: &str, role: &str, share| NodeShare { node: node.to_owned(), role: role.to_owned(), share };
    let level = |level: &str, own_missed, others_missed| LevelReport {
        level: level.to_owned(),
        writes: 100,
        own_reads: 100,
        own_missed,
        others_reads: 100,
        others_missed,
        age_ms: latency(1.0),
    };
    TargetReport {
        name: name.to_owned(),
        dsn: "postgresql://app@h:1/app".to_owned(),
        server: ServerFacts {
            version: "15.20".to_owned(),
            router: routed,
            primary_unknown_because: (!routed).then(|| "it is elsewhere".to_owned()),
        },
        total: figures(rate, replicas),
        spread: spreads(rate),
        ratio: routed.then(|| spreads(2.5)),
        transactions: ["point", "add"]
            .map(|kind| KindReport {
                name: kind.to_owned(),
                reads: kind == "point",
                done: 10_000,
                failed: 0,
                latency_ms: latency(1.0),
            })
            .into(),
        first_mix_up: None,
        reads: ReadsReport {
            source: routed.then(|| "asked".to_owned()),
            sampled: if routed { 400 } else { 0 },
            nodes: if routed {
                vec![node("n0", "primary", 0.25), node("n1", "replica", 0.75)]
            } else {
                Vec::new()
            },
            reasons: BTreeMap::new(),
        },
        stale: StaleReport {
            unknown_because: (!routed).then(|| "there is no table".to_owned()),
            levels: if routed { vec![level("eventual", 7, 40), level("session", 0, 30)] } else { Vec::new() },
        },
        rounds: vec![figures(rate * 0.9, replicas), figures(rate * 1.1, replicas)],
        course: Course {
            step_seconds: 1.0,
            at_seconds: vec![0.0, 1.0],
            transactions_per_second: vec![rate * 0.9, rate * 1.1],
            p95_ms: vec![Some(5.0), None],
            errors: vec![0, 3],
            rounds_end_seconds: vec![1.0, 2.0],
            error_examples: BTreeMap::from([("22012".to_owned(), "division by zero".to_owned())]),
        },
    }
}
