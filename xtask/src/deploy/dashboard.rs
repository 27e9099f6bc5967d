//! The Grafana dashboard: made from the table of panels, and checked as a reader of it would stumble.
//!
//! Grafana itself is not asked: it is in no package source that this project builds from.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::metrics::Metrics;
use super::panels::{Kind, Mark, Panel, ROWS};
use super::promql;
use super::rules::Rule;

/// Columns of Grafana's grid.
const COLUMNS: u64 = 24;
/// Columns and lines of a panel with one number, and of another.
const SMALL: (u64, u64) = (3, 4);
const LARGE: (u64, u64) = (8, 8);

/// Units used, by Grafana's names: a misspelt one is shown as text behind the number.
const UNITS: [&str; 7] = ["short", "s", "percentunit", "reqps", "ops", "bytes", "Bps"];

/// The dashboard's file.
pub(crate) fn made() -> String {
    let mut place = Place::default();
    let mut panels = Vec::new();
    for row in ROWS {
        let at = place.put((COLUMNS, 1));
        let id = panels.len() + 1;
        panels.push(json!({ "id": id, "type": "row", "title": row.title, "collapsed": false, "gridPos": at, "panels": [] }));
        for panel in row.panels {
            let size = if panel.kind == Kind::Stat { SMALL } else { LARGE };
            panels.push(panel_of(panels.len() + 1, panel, &place.put(size)));
        }
    }
    let dashboard = json!({
        "uid": "highwater",
        "title": "Highwater",
        "description": "A PostgreSQL router and pooler: routing, freshness, nodes, slots, pools. Made by `cargo xtask dashboard`.",
        "tags": ["highwater", "postgresql"],
        "schemaVersion": 37,
        "version": 1,
        "editable": true,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": { "from": "now-3h", "to": "now" },
        "timezone": "",
        "annotations": { "list": [] },
        "links": [],
        "templating": { "list": variables() },
        "panels": panels,
    });
    serde_json::to_string_pretty(&dashboard).expect("values without odd keys can be written") + "\n"
}

/// The next free place of the grid, from left to right and down.
#[derive(Default)]
struct Place {
    x: u64,
    y: u64,
    /// Height of the line being filled.
    line: u64,
}

impl Place {
    fn put(&mut self, (w, h): (u64, u64)) -> Value {
        // Panels of another height begin a line of their own.
        if self.x + w > COLUMNS || (self.x > 0 && self.line != h) {
            (self.x, self.y) = (0, self.y + self.line);
        }
        let at = json!({ "x": self.x, "y": self.y, "w": w, "h": h });
        self.x += w;
        self.line = h;
        at
    }
}

fn source() -> Value {
    json!({ "type": "prometheus", "uid": "${datasource}" })
}

fn variables() -> Value {
    let asked = |name: &str, query: &str| {
        json!({
            "name": name, "label": name, "type": "query", "datasource": source(), "query": { "query": query, "refId": name },
            "definition": query, "refresh": 2, "sort": 1, "multi": true, "includeAll": true, "allValue": ".*",
            "current": { "text": ["All"], "value": ["$__all"] }, "hide": 0, "options": [], "regex": "",
        })
    };
    json!([
        { "name": "datasource", "label": "data source", "type": "datasource", "query": "prometheus", "current": {}, "hide": 0,
          "includeAll": false, "multi": false, "options": [], "refresh": 1, "regex": "" },
        asked("instance", "label_values(highwater_build_info, instance)"),
        asked("cluster", "label_values(highwater_cluster_has_primary{instance=~\"$instance\"}, cluster)"),
        asked("node", "label_values(highwater_node_up{instance=~\"$instance\",cluster=~\"$cluster\"}, node)"),
    ])
}

fn panel_of(id: usize, panel: &Panel, at: &Value) -> Value {
    let letters = 'A'..='Z';
    let targets: Vec<_> = panel.asks.iter().zip(letters).map(|((expression, legend), letter)| {
        json!({ "refId": letter.to_string(), "datasource": source(), "expr": expression, "legendFormat": legend, "range": true,
                "instant": false, "editorMode": "code" })
    }).collect();
    json!({
        "id": id,
        "type": match panel.kind { Kind::Stat => "stat", Kind::Lines | Kind::Stacked => "timeseries", Kind::States => "state-timeline" },
        "title": panel.title,
        "description": description(panel),
        "datasource": source(),
        "gridPos": at,
        "targets": targets,
        "fieldConfig": { "defaults": defaults(panel), "overrides": [] },
        "options": options(panel.kind),
    })
}

fn description(panel: &Panel) -> String {
    match &panel.mark {
        Some(mark) => format!("{} Red where {} fires.", panel.help, mark.alert),
        None => panel.help.to_owned(),
    }
}

fn defaults(panel: &Panel) -> Value {
    let custom = match panel.kind {
        Kind::Stat => json!({}),
        Kind::States => json!({ "fillOpacity": 70, "lineWidth": 0 }),
        Kind::Lines | Kind::Stacked => {
            let is_stacked = panel.kind == Kind::Stacked;
            json!({
                "drawStyle": "line", "lineInterpolation": "linear", "lineWidth": 1, "showPoints": "never", "spanNulls": false,
                "fillOpacity": if is_stacked { 40 } else { 0 },
                "stacking": { "mode": if is_stacked { "normal" } else { "none" }, "group": "A" },
                "thresholdsStyle": { "mode": if panel.mark.is_some() { "dashed" } else { "off" } },
            })
        }
    };
    let by_threshold = panel.kind == Kind::Stat || panel.kind == Kind::States;
    json!({
        "unit": panel.unit,
        "color": { "mode": if by_threshold { "thresholds" } else { "palette-classic" } },
        "custom": custom,
        "thresholds": { "mode": "absolute", "steps": steps(panel.mark.as_ref()) },
    })
}

/// Colours from a value upwards: red is where the alert compares.
fn steps(mark: Option<&Mark>) -> Value {
    let Some(Mark { operator, value, .. }) = mark else {
        return json!([{ "color": "green", "value": null }]);
    };
    if *operator == "==" && *value == 0.0 {
        json!([{ "color": "red", "value": null }, { "color": "green", "value": 1.0 }])
    } else {
        json!([{ "color": "green", "value": null }, { "color": "red", "value": value }])
    }
}

fn options(kind: Kind) -> Value {
    match kind {
        Kind::Stat => json!({
            "reduceOptions": { "calcs": ["lastNotNull"], "fields": "", "values": false },
            "colorMode": "value", "graphMode": "area", "justifyMode": "auto", "orientation": "auto", "textMode": "auto",
        }),
        Kind::Lines | Kind::Stacked => json!({
            "legend": { "displayMode": "list", "placement": "bottom", "showLegend": true },
            "tooltip": { "mode": "multi", "sort": "desc" },
        }),
        Kind::States => json!({
            "legend": { "displayMode": "list", "placement": "bottom", "showLegend": true },
            "tooltip": { "mode": "single", "sort": "none" },
            "mergeValues": true, "showValue": "never", "rowHeight": 0.9, "alignValue": "left",
        }),
    }
}

/// What is wrong with the file.
pub(crate) fn check(text: &str, metrics: &Metrics, rules: &[Rule]) -> Vec<String> {
    let mut wrong = Vec::new();
    if text != made() {
        wrong.push(
            "deploy/grafana/highwater.json is behind its panels: run `cargo xtask dashboard`".to_owned(),
        );
    }
    let Ok(dashboard) = serde_json::from_str::<Value>(text) else {
        return vec!["deploy/grafana/highwater.json is no JSON".to_owned()];
    };
    wrong.extend(check_shape(&dashboard));
    for panel in ROWS.iter().flat_map(|row| row.panels) {
        for (expression, _) in panel.asks {
            wrong.extend(
                metrics.check(expression).into_iter().map(|what| format!("panel {}: {what}", panel.title)),
            );
        }
        wrong.extend(panel.mark.as_ref().and_then(|mark| check_mark(panel, mark, rules)));
    }
    wrong
}

/// A panel turns red where the alert fires, or it misleads.
fn check_mark(panel: &Panel, mark: &Mark, rules: &[Rule]) -> Option<String> {
    let Some(rule) = rules.iter().find(|rule| rule.name == mark.alert) else {
        return Some(format!("panel {}: there is no alert {}", panel.title, mark.alert));
    };
    // The slot's limit is written in powers of 1024.
    let expression = rule.expression.replace("10 * 1024 ^ 3", "10737418240");
    let compares = promql::comparisons(&expression).contains(&(mark.operator.to_owned(), mark.value));
    (!compares).then(|| {
        format!("panel {}: {} does not compare {} {}", panel.title, mark.alert, mark.operator, mark.value)
    })
}

/// Does the file have the shape that Grafana reads?
fn check_shape(dashboard: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    for key in ["uid", "title", "schemaVersion", "time", "templating", "panels"] {
        if dashboard[key].is_null() {
            wrong.push(format!("the dashboard has no {key}"));
        }
    }
    let empty = Vec::new();
    let variables = dashboard["templating"]["list"].as_array().unwrap_or(&empty);
    let known: BTreeSet<&str> = variables.iter().filter_map(|variable| variable["name"].as_str()).collect();
    let (mut ids, mut taken) = (BTreeSet::new(), BTreeSet::new());
    for panel in dashboard["panels"].as_array().unwrap_or(&empty) {
        let title = panel["title"].as_str().unwrap_or_default();
        if title.is_empty() || !ids.insert(panel["id"].as_u64()) {
            wrong.push(format!("a panel has no title, or the id of another one: {title:?}"));
        }
        wrong.extend(check_place(panel, &mut taken).map(|what| format!("panel {title}: {what}")));
        if panel["type"] != "row" {
            wrong.extend(
                check_targets(panel, &known).into_iter().map(|what| format!("panel {title}: {what}")),
            );
        }
    }
    wrong
}

fn check_place(panel: &Value, taken: &mut BTreeSet<(u64, u64)>) -> Option<&'static str> {
    let [x, y, w, h] = ["x", "y", "w", "h"].map(|key| panel["gridPos"][key].as_u64().unwrap_or(u64::MAX / 4));
    if w == 0 || h == 0 || x + w > COLUMNS || h > COLUMNS {
        return Some("it is outside the grid");
    }
    let free = (x..x + w).all(|x| (y..y + h).all(|y| taken.insert((x, y))));
    (!free).then_some("it lies on another one")
}

fn check_targets(panel: &Value, variables: &BTreeSet<&str>) -> Vec<String> {
    let mut wrong = Vec::new();
    if panel["datasource"]["uid"] != "${datasource}"
        || panel["description"].as_str().is_none_or(str::is_empty)
    {
        wrong.push("no data source, or no description".to_owned());
    }
    if panel["fieldConfig"]["defaults"]["unit"].as_str().is_none_or(|unit| !UNITS.contains(&unit)) {
        wrong.push("a unit that is not among those used".to_owned());
    }
    let empty = Vec::new();
    let targets = panel["targets"].as_array().unwrap_or(&empty);
    let mut letters = BTreeSet::new();
    for target in targets {
        let expression = target["expr"].as_str().unwrap_or_default();
        if expression.is_empty() || !letters.insert(target["refId"].as_str()) {
            wrong.push("a target without an expression or with the letter of another one".to_owned());
        }
        let names = expression.split('$').skip(1).map(|rest| {
            rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap_or_default()
        });
        let strange = names.filter(|name| !variables.contains(name) && *name != "__rate_interval");
        wrong.extend(strange.map(|name| format!("there is no variable ${name}")));
    }
    if targets.is_empty() {
        wrong.push("it asks for nothing".to_owned());
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_changed(change: impl Fn(&mut Value)) -> Vec<String> {
        let mut dashboard: Value = serde_json::from_str(&made()).expect("it is JSON");
        change(&mut dashboard);
        check_shape(&dashboard)
    }

    #[test]
    fn what_is_made_has_the_shape() {
        assert_eq!(check_changed(|_| {}), [""; 0]);
    }

    #[test]
    fn what_would_break_a_panel_is_told() {
        let changes: [(&str, Value); 4] = [
            ("/panels/2/gridPos/x", json!(0)),
            ("/panels/1/targets/0/expr", json!("up{job=\"$nothing\"}")),
            ("/panels/1/fieldConfig/defaults/unit", json!("seconds")),
            ("/panels/3/id", json!(2)),
        ];
        for (place, value) in changes {
            let wrong = check_changed(|dashboard| {
                *dashboard.pointer_mut(place).expect("it is there") = value.clone();
            });
            assert_eq!(wrong.len(), 1, "{place}: {wrong:?}");
        }
    }

    #[test]
    fn a_mark_that_is_not_the_alerts_is_told() {
        let rules = super::super::rules::read("      - alert: HighwaterCpuHigh\n        expr: a > 0.9\n");
        let panel = ROWS
            .iter()
            .flat_map(|row| row.panels)
            .find(|panel| panel.title == "Processor")
            .expect("it is there");
        let mark = panel.mark.as_ref().expect("it has one");
        assert!(check_mark(panel, mark, &rules).is_some_and(|what| what.contains("does not compare > 0.7")));
    }
}
