//! The rule files of `deploy/prometheus` and their tests, read by their lines, and what they must have beside promtool's blessing.
//!
//! Only the shape in which these files are written is understood; promtool reads them as YAML.

use std::collections::BTreeSet;

/// A rule: an alert, or something recorded.
#[derive(Debug, Default)]
pub(crate) struct Rule {
    pub(crate) name: String,
    pub(crate) is_alert: bool,
    pub(crate) expression: String,
    severity: String,
    runbook: String,
    summary: String,
    description: String,
}

/// Where the runbooks are read by people.
const RUNBOOKS: &str = "https://github.com/highwater/highwater/blob/main/docs/book/src/runbooks.md#";

/// The rules of a file, in its order.
pub(crate) fn read(text: &str) -> Vec<Rule> {
    let mut rules: Vec<Rule> = Vec::new();
    let mut in_expression = false;
    for line in text.lines() {
        let trimmed = line.trim_start();
        let depth = line.len() - trimmed.len();
        if let Some(name) = trimmed.strip_prefix("- alert: ").or_else(|| trimmed.strip_prefix("- record: ")) {
            let is_alert = trimmed.starts_with("- alert");
            rules.push(Rule { name: name.to_owned(), is_alert, ..Rule::default() });
        }
        let Some(rule) = rules.last_mut() else { continue };
        if in_expression && depth >= 10 {
            rule.expression.push_str(trimmed);
            rule.expression.push('\n');
            continue;
        }
        in_expression = false;
        match trimmed.split_once(':').unwrap_or_default() {
            ("expr", " |") => in_expression = true,
            ("expr", expression) => rule.expression = expression.trim().to_owned(),
            ("severity", severity) => rule.severity = severity.trim().to_owned(),
            ("runbook_url", url) => rule.runbook = url.trim().to_owned(),
            ("summary", text) => rule.summary = text.trim().to_owned(),
            ("description", text) => rule.description = text.trim().to_owned(),
            _ => {}
        }
    }
    rules
}

/// What is wrong with an alert, given the page of the runbooks.
pub(crate) fn check_alert(rule: &Rule, runbooks: &str) -> Vec<String> {
    let name = &rule.name;
    let mut wrong = Vec::new();
    if !["critical", "warning", "info"].contains(&rule.severity.as_str()) {
        wrong.push(format!("{name} has the severity {:?}: critical, warning or info", rule.severity));
    }
    if rule.summary.is_empty() || rule.description.is_empty() {
        wrong.push(format!("{name} lacks a summary or a description"));
    }
    if rule.runbook != format!("{RUNBOOKS}{}", name.to_lowercase()) {
        wrong.push(format!("{name} has the runbook_url {:?}", rule.runbook));
    }
    if !runbooks.lines().any(|line| line.strip_prefix("## ") == Some(name)) {
        wrong.push(format!("docs/book/src/runbooks.md has no section {name}"));
    }
    wrong
}

/// Alerts that a test file expects to fire, and those it expects not to, at some moment.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Expected {
    pub(crate) fired: BTreeSet<String>,
    pub(crate) silent: BTreeSet<String>,
}

/// Reads what a test file expects.
pub(crate) fn expected(text: &str) -> Expected {
    let mut expected = Expected::default();
    let mut alert = String::new();
    for line in text.lines() {
        if let Some((_, behind)) = line.split_once("alertname: ") {
            alert = behind.split(',').next().unwrap_or_default().trim().to_owned();
        }
        if let Some((_, what)) = line.split_once("exp_alerts:") {
            let what = what.trim_matches([' ', '}']);
            if what.is_empty() {
                expected.fired.insert(alert.clone());
            } else if what == "[]" {
                expected.silent.insert(alert.clone());
            }
        }
    }
    expected
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: &str = "groups:\n  - name: g\n    rules:\n      - record: a:b:c\n        expr: x / y\n\
        \x20     - alert: One\n        expr: |\n          x > 1\n            and y < 2\n        for: 1m\n\
        \x20       labels:\n          severity: warning\n        annotations:\n          summary: >-\n            S\n\
        \x20         description: >-\n            D\n          runbook_url: https://github.com/highwater/highwater/blob/main/docs/book/src/runbooks.md#one\n";

    #[test]
    fn a_rule_is_read_with_its_expression_on_several_lines() {
        let rules = read(RULES);
        assert_eq!((rules[0].name.as_str(), rules[0].expression.as_str()), ("a:b:c", "x / y"));
        assert_eq!((rules[1].is_alert, rules[1].expression.as_str()), (true, "x > 1\nand y < 2\n"));
        assert_eq!(check_alert(&rules[1], "# Runbooks\n\n## One\n"), [""; 0]);
    }

    #[test]
    fn an_alert_without_a_runbook_or_a_severity_is_told() {
        let rules = read(&RULES.replace("warning", "loud").replace("#one", "#two"));
        let wrong = check_alert(&rules[1], "## Another\n");
        assert_eq!(wrong.len(), 3, "{wrong:?}");
    }

    #[test]
    fn what_a_test_expects_is_told_apart() {
        let text = "      - eval_time: 1m\n        alertname: One\n        exp_alerts: []\n      - eval_time: 2m\n\
            \x20       alertname: One\n        exp_alerts:\n          - exp_labels:\n      - { eval_time: 1h, alertname: Two, exp_alerts: [] }\n";
        let both = expected(text);
        assert_eq!(both.fired.into_iter().collect::<Vec<_>>(), ["One"]);
        assert_eq!(both.silent.into_iter().collect::<Vec<_>>(), ["One", "Two"]);
    }
}
