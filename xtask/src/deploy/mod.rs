//! The files below `deploy/`: do they fit the router, and do the tools they are for accept them?
//!
//! What can be compared without a tool always is. Where a tool is not installed, the step says so and is skipped.

mod dashboard;
mod kubernetes;
mod metrics;
mod panels;
mod promql;
mod rules;
mod systemd;
mod tool;

use std::collections::BTreeSet;
use std::path::Path;
use std::{fs, io};

pub(crate) use kubernetes::check as kubernetes;
use metrics::Metrics;
use rules::Rule;
pub(crate) use systemd::check as systemd;
pub(crate) use tool::{Answer, run as run_tool, target};

/// Where the dashboard lies.
const DASHBOARD: &str = "deploy/grafana/highwater.json";

/// What `deploy/prometheus` holds, and the pages it must agree with.
struct Files {
    rules: Vec<Rule>,
    metrics: Metrics,
    runbooks: String,
    /// Tests with incidents, one text.
    incidents: String,
    /// The test with an hour of health.
    health: String,
}

impl Files {
    fn read(root: &Path) -> io::Result<Self> {
        let text = |path: &str| {
            fs::read_to_string(root.join(path)).map_err(|e| io::Error::new(e.kind(), format!("{path}: {e}")))
        };
        let mut rules = rules::read(&text("deploy/prometheus/highwater.rules.yml")?);
        rules.extend(rules::read(&text("deploy/prometheus/highwater-hosts.rules.yml")?));
        let recorded = rules.iter().filter(|rule| !rule.is_alert).map(|rule| rule.name.clone());
        let metrics = Metrics::read(&text("docs/metrics.md")?, recorded);
        let incidents = text("deploy/prometheus/tests/incidents.yml")?
            + &text("deploy/prometheus/tests/incidents-hosts.yml")?;
        let health = text("deploy/prometheus/tests/health.yml")?;
        Ok(Files { rules, metrics, runbooks: text("docs/book/src/runbooks.md")?, incidents, health })
    }
}

/// Rules, their tests and the dashboard: first against the metrics there are, then by promtool.
pub(crate) fn alerts(root: &Path) -> io::Result<Answer> {
    let files = Files::read(root)?;
    let mut wrong = check_rules(&files);
    let json = fs::read_to_string(root.join(DASHBOARD))?;
    wrong.extend(dashboard::check(&json, &files.metrics, &files.rules));
    if tool::report("alerts", &wrong) == Answer::Bad {
        return Ok(Answer::Bad);
    }
    let folder = root.join("deploy/prometheus");
    let rules = ["highwater.rules.yml", "highwater-hosts.rules.yml"];
    let tests =
        ["tests/health.yml", "tests/incidents.yml", "tests/incidents-hosts.yml", "tests/thresholds.yml"];
    let install = "apt-get install prometheus, which brings promtool";
    let checked = tool::run(&folder, "promtool", &[&["check", "rules"], &rules[..]].concat(), install)?;
    if checked != Answer::Good {
        return Ok(checked);
    }
    tool::run(&folder, "promtool", &[&["test", "rules"], &tests[..]].concat(), install)
}

/// Writes the dashboard from its panels.
pub(crate) fn write_dashboard(root: &Path) -> io::Result<()> {
    let path = root.join(DASHBOARD);
    fs::create_dir_all(path.parent().expect("the path has a folder"))?;
    fs::write(path, dashboard::made())
}

fn check_rules(files: &Files) -> Vec<String> {
    let mut wrong = Vec::new();
    let incidents = rules::expected(&files.incidents);
    let health = rules::expected(&files.health);
    for rule in &files.rules {
        let told = files.metrics.check(&rule.expression);
        wrong.extend(told.into_iter().map(|what| format!("{}: {what}", rule.name)));
        if !rule.is_alert {
            continue;
        }
        wrong.extend(rules::check_alert(rule, &files.runbooks));
        let named = |set: &BTreeSet<String>| set.contains(&rule.name);
        if !named(&incidents.fired) || !named(&incidents.silent) {
            wrong.push(format!(
                "{} needs a test with an incident: silent before its `for`, then fired",
                rule.name
            ));
        }
        if !named(&health.silent) || named(&health.fired) {
            wrong.push(format!("{} must be silent in tests/health.yml", rule.name));
        }
    }
    wrong.extend(check_health_is_judged(files));
    wrong
}

/// An hour without a series proves nothing about the alerts on it.
fn check_health_is_judged(files: &Files) -> Vec<String> {
    let used: BTreeSet<_> =
        files.rules.iter().flat_map(|rule| files.metrics.used(&rule.expression)).collect();
    let has = |name: &String| {
        ["{", "_bucket{", "_count{"].iter().any(|end| files.health.contains(&format!("'{name}{end}")))
    };
    let unseen = used.into_iter().filter(|name| !has(name));
    unseen.map(|name| format!("tests/health.yml has no series of {name}, which an alert is about")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> &'static Path {
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lives in the repository")
    }

    #[test]
    fn every_rule_asks_for_what_exists_and_has_a_runbook_an_incident_and_an_hour_of_health() {
        assert_eq!(check_rules(&Files::read(root()).expect("the files are there")), [""; 0]);
    }

    #[test]
    fn the_dashboard_is_the_one_its_panels_make_and_asks_for_what_exists() {
        let files = Files::read(root()).expect("the files are there");
        let json = fs::read_to_string(root().join(DASHBOARD)).expect("the dashboard is there");
        assert_eq!(dashboard::check(&json, &files.metrics, &files.rules), [""; 0]);
    }

    #[test]
    fn an_alert_without_its_tests_is_told() {
        let mut files = Files::read(root()).expect("the files are there");
        files.health = files.health.replace("HighwaterDown,", "Other,");
        files.incidents = files.incidents.replace("alertname: HighwaterSlotLost", "alertname: Other");
        files.health = files.health.replace("highwater_slot_active{", "other{");
        assert_eq!(check_rules(&files).len(), 3, "{:#?}", check_rules(&files));
    }
}
