//! The metrics there are, as `docs/metrics.md` lists them, and whether an expression asks for others.
//!
//! The page is made from the router's own table and held in step by a test there.

use std::collections::{BTreeMap, BTreeSet};

use super::promql::{Selector, read};

/// Labels that Prometheus gives to every series of a target.
const OF_TARGETS: [&str; 2] = ["job", "instance"];

/// A row of the page.
#[derive(Debug, PartialEq, Eq)]
struct Metric {
    kind: String,
    labels: Vec<String>,
}

/// What may be asked for.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    ours: BTreeMap<String, Metric>,
    /// Names of recording rules.
    recorded: BTreeSet<String>,
}

impl Metrics {
    /// Reads the page and takes the names of recording rules along.
    pub(crate) fn read(page: &str, recorded: impl IntoIterator<Item = String>) -> Self {
        let rows = page.lines().filter_map(|line| line.strip_prefix("| `highwater_"));
        let ours = rows.filter_map(|row| {
            let mut cells = row.split('|').map(str::trim);
            let name = format!("highwater_{}", cells.next()?.trim_end_matches('`'));
            let kind = cells.next()?.to_owned();
            let labels = cells.next()?.split(',').map(|label| label.trim().trim_matches('`').to_owned());
            Some((name, Metric { kind, labels: labels.filter(|label| !label.is_empty()).collect() }))
        });
        Self { ours: ours.collect(), recorded: recorded.into_iter().collect() }
    }

    /// What is wrong with an expression: names and labels that do not exist, counters without a range.
    pub(crate) fn check(&self, expression: &str) -> Vec<String> {
        let asked = read(expression);
        let mut wrong = Vec::new();
        let mut known: BTreeSet<&str> = OF_TARGETS.into();
        let mut is_all_ours = true;
        for selector in &asked.selectors {
            match self.find(&selector.name) {
                Some((metric, suffix)) => {
                    known.extend(metric.labels.iter().map(String::as_str));
                    known.extend((suffix == "_bucket").then_some("le"));
                    wrong.extend(check_selector(selector, metric, suffix));
                }
                None if is_known_elsewhere(&selector.name) || self.recorded.contains(&selector.name) => {
                    is_all_ours = false;
                }
                None => wrong.push(format!("there is no metric {}", selector.name)),
            }
        }
        let strangers = asked.grouped.iter().filter(|label| is_all_ours && !known.contains(label.as_str()));
        wrong.extend(strangers.map(|label| format!("nothing here has the label {label} it groups by")));
        wrong
    }

    /// Names of ours that an expression asks for, without the suffixes of histograms.
    pub(crate) fn used(&self, expression: &str) -> BTreeSet<String> {
        let names = read(expression).selectors.into_iter().map(|selector| selector.name);
        names
            .filter_map(|name| self.find(&name).map(|(_, suffix)| name.trim_end_matches(suffix).to_owned()))
            .collect()
    }

    /// The metric of this name, and the suffix that a histogram's series have.
    fn find(&self, name: &str) -> Option<(&Metric, &'static str)> {
        if let Some(metric) = self.ours.get(name) {
            return (metric.kind != "histogram").then_some((metric, ""));
        }
        ["_bucket", "_sum", "_count"].into_iter().find_map(|suffix| {
            let metric = self.ours.get(name.strip_suffix(suffix)?)?;
            (metric.kind == "histogram").then_some((metric, suffix))
        })
    }
}

/// Prometheus's own series, and those of node_exporter, whose names this project does not make.
fn is_known_elsewhere(name: &str) -> bool {
    matches!(name, "up" | "ALERTS")
        || ["node_cpu_", "node_memory_", "node_filesystem_"].iter().any(|begin| name.starts_with(begin))
}

fn check_selector(selector: &Selector, metric: &Metric, suffix: &str) -> Vec<String> {
    let name = &selector.name;
    let knows = |label: &str| {
        metric.labels.iter().any(|known| known == label)
            || OF_TARGETS.contains(&label)
            || (suffix == "_bucket" && label == "le")
    };
    let strangers = selector.labels.iter().filter(|label| !knows(label));
    let mut wrong: Vec<_> = strangers.map(|label| format!("{name} has no label {label}")).collect();
    if metric.kind != "gauge" && !selector.has_range {
        wrong.push(format!("{name} only grows: ask for its rate or increase over a range"));
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "| name | type | labels | meaning |\n|---|---|---|---|\n\
        | `highwater_clients` | gauge |  | Clients. |\n\
        | `highwater_node_up` | gauge | `cluster`, `node` | Up. |\n\
        | `highwater_reads_total` | counter | `role` | Reads. |\n\
        | `highwater_time_seconds` | histogram | `role` | Time. |\n";

    fn wrong(expression: &str) -> Vec<String> {
        Metrics::read(PAGE, ["a:b:c".to_owned()]).check(expression)
    }

    #[test]
    fn what_exists_may_be_asked_for() {
        for expression in [
            "highwater_clients + sum by (cluster) (highwater_node_up{node=\"a\", instance=\"b\"})",
            "histogram_quantile(0.5, sum by (le, role) (rate(highwater_time_seconds_bucket[5m])))",
            "a:b:c > 1 and up == 1",
        ] {
            assert_eq!(wrong(expression), [""; 0], "{expression}");
        }
    }

    #[test]
    fn what_does_not_exist_is_told() {
        for (expression, what) in [
            ("highwater_client", "no metric"),
            ("highwater_time_seconds", "no metric"),
            ("highwater_clients_bucket", "no metric"),
            ("x:y:z", "no metric"),
            ("highwater_node_up{role=\"a\"}", "no label role"),
            ("sum by (slot) (highwater_node_up)", "the label slot"),
            ("highwater_reads_total > 1", "only grows"),
        ] {
            let said = wrong(expression);
            assert!(said.len() == 1 && said[0].contains(what), "{expression}: {said:?}");
        }
    }

    #[test]
    fn the_names_used_are_those_of_the_page() {
        let used =
            Metrics::read(PAGE, []).used("rate(highwater_time_seconds_count[5m]) > highwater_clients + up");
        assert_eq!(used.into_iter().collect::<Vec<_>>(), ["highwater_clients", "highwater_time_seconds"]);
    }
}
