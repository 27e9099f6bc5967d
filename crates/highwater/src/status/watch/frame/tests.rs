//! Pictures of the made-up status, as text.

use serde_json::json;

use super::*;
use crate::status::example;

const LOOKS: Looks = Looks { colours: false, blocks: true };

fn drawn(status: &Value, pulse: &Pulse, size: Size) -> Vec<String> {
    let mut history = History::default();
    for second in 0..30_u64 {
        let mut then = status.clone();
        then["nodes"][1]["lag_bytes"] = json!(second * 4096);
        let times = json!({ "bounds_us": [100, 800], "buckets": [second * 90, second * 10, 0] });
        let stats = json!({
            "uptime_ms": 1000 * second, "reads": { "replica": second * second * 10, "primary": second * 20 },
            "writes": second * 5, "errors": { "all": 0 }, "times": { "replica": times, "primary": times },
        });
        history.push(&then, &stats);
    }
    let events = json!({ "events": [
        { "time": "2026-11-21 05:59:50 UTC", "cluster": "main", "node": "primary", "event": "is the primary (epoch 1)" },
        { "time": "2026-11-21 05:59:52 UTC", "cluster": "main", "node": "replica-1", "event": "replay is paused" },
    ]});
    let picture = Picture { status, events: &events, history: &history, pulse };
    let lines = frame(&picture, size, LOOKS);
    lines.iter().map(|line| line.painted(size.columns, LOOKS).trim_end().to_owned()).collect()
}

fn text(columns: usize, rows: usize) -> String {
    drawn(&example::status(), &Pulse::Live, Size { columns, rows }).join("\n")
}

#[test]
fn a_wide_terminal_shows_everything() {
    assert_eq!(text(140, 36).trim_end(), include_str!("wide.txt").trim_end());
}

#[test]
fn a_small_terminal_shows_what_matters_most() {
    assert_eq!(text(80, 24).trim_end(), include_str!("small.txt").trim_end());
}

#[test]
fn no_size_makes_it_wider_or_longer_than_the_terminal() {
    for columns in [0, 1, 7, 20, 33, 60, 80, 132, 400] {
        for rows in [0, 1, 2, 5, 9, 13, 24, 60] {
            let lines = drawn(&example::status(), &Pulse::Live, Size { columns, rows });
            assert!(lines.len() <= rows.max(1), "{columns} x {rows}: {} lines", lines.len());
            assert!(lines.iter().all(|line| line.chars().count() <= columns), "{columns} x {rows}");
        }
    }
}

#[test]
fn trouble_is_said_at_the_top() {
    let mut status = example::status();
    status["clusters"][0]["primary"] = Value::Null;
    let silent = Pulse::Silent { tries: 3, why: "no router answers".to_owned() };
    let lines = drawn(&status, &silent, Size { columns: 80, rows: 24 });
    assert!(lines[0].ends_with("no answer"), "{}", lines[0]);
    assert_eq!(lines[1], " asked 3 times: no router answers");
    assert_eq!(lines[2], " cluster main has no primary: writes wait");
}

#[test]
fn a_status_without_anything_is_drawn_too() {
    let lines = drawn(&json!({ "nodes": [{}, {}] }), &Pulse::Held, Size { columns: 80, rows: 24 });
    assert!(lines[0].ends_with("held"));
}

#[test]
fn rows_are_shared_so_that_every_section_says_something() {
    assert_eq!(share([5, 4, 6, 0, 10], 40), [5, 4, 6, 0, 10]);
    assert_eq!(share([5, 4, 6, 0, 10], 16), [5, 4, 4, 0, 3]);
    assert_eq!(share([40, 4, 6, 3, 10], 20), [11, 3, 3, 0, 3]);
    assert_eq!(share([5, 4, 6, 3, 10], 15), [5, 4, 3, 0, 3]);
    assert_eq!(share([5, 4, 6, 0, 10], 5), [5, 0, 0, 0, 0]);
    assert_eq!(share([5, 4, 6, 3, 1], 0), [0; 5]);
}

#[test]
fn what_is_left_out_is_counted() {
    let lines: Vec<Line> = (0..6).map(|n| Line::of(Style::Plain, n.to_string())).collect();
    let cut: Vec<_> = cut(lines, 4).iter().map(|line| line.painted(80, LOOKS)).collect();
    assert_eq!(cut, ["0", "1", "2", "  and 3 more"]);
}
