//! `highwater check`: every mistake in a configuration at once, and, when asked, whether the nodes are fit for it.
//!
//! What is a mistake is judged by `daemon::config`; what makes a node unfit, by `judge`.

mod judge;
mod node;

use std::fs::File;

use daemon::config::{ClusterSettings, Settings};
use judge::{Facts, problems};
use node::Probe;

use crate::settings::Flags;
use crate::{args, failure, output};

/// Checks, and prints what it found. Problems are an error.
pub(crate) fn check(asked: &args::Check) -> anyhow::Result<()> {
    if asked.print_schema {
        output::text(&daemon::config::json_schema());
        return Ok(());
    }
    let source = Flags::of_file(asked.config.clone()).source();
    if let Some(path) = &source.path {
        File::open(path)
            .map_err(|error| failure::usage(format!("can't read {}: {error}", path.display())))?;
    }
    let settings = source.load().map_err(|mistakes| {
        for mistake in mistakes.iter() {
            output::line(mistake.to_string());
        }
        failure::failed(format!("{} in the configuration", output::count(mistakes.len(), "mistake")))
    })?;
    output::line("configuration: no mistakes");
    if asked.connect { connect(&settings) } else { Ok(()) }
}

fn connect(settings: &Settings) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut found, mut unreachable) = (0, 0);
    for cluster in &settings.clusters {
        output::line(format!("\ncluster {}", cluster.name));
        let mut cluster = cluster.clone();
        if let Some(discover) = &cluster.discover {
            let source = discover.source.name();
            match runtime.block_on(daemon::discover_once(&cluster)) {
                Ok(nodes) => {
                    output::line(format!("  discover: {source} answers"));
                    cluster.nodes = nodes;
                }
                Err(error) => {
                    unreachable += 1;
                    output::line(format!("  problem: discover: {source}: {error}"));
                }
            }
        }
        let cluster = &cluster;
        let probes = runtime.block_on(node::probe_all(cluster));
        output::text(&table(cluster, &probes));
        let facts: Vec<(&str, &Facts)> = cluster
            .nodes
            .iter()
            .zip(&probes)
            .filter_map(|(node, probe)| Some((node.name.as_str(), probe.as_ref().ok()?)))
            .collect();
        for (node, error) in
            cluster.nodes.iter().zip(&probes).filter_map(|(n, p)| Some((n, p.as_ref().err()?)))
        {
            unreachable += 1;
            output::line(format!("  problem: {}: {error}", node.name));
        }
        for problem in problems(&facts, unreachable > 0) {
            found += 1;
            output::line(format!("  problem: {problem}"));
        }
    }
    match (unreachable, found) {
        (0, 0) => Ok(()),
        (0, _) => {
            Err(failure::failed(format!("{} with the nodes, listed above", output::count(found, "problem"))))
        }
        _ => Err(failure::unreachable(format!(
            "{} can't be used, see above",
            output::count(unreachable, "node")
        ))),
    }
}

fn table(cluster: &ClusterSettings, probes: &[Probe]) -> String {
    let rows: Vec<_> = cluster
        .nodes
        .iter()
        .zip(probes)
        .map(|(node, probe)| {
            let address = format!("{}:{}", node.host, node.port);
            match probe {
                Ok(facts) => [
                    node.name.clone(),
                    address,
                    facts.role.name().to_owned(),
                    facts.timeline.to_string(),
                    facts.version.clone(),
                    facts.system_identifier.to_string(),
                    if facts.monitors { "yes" } else { "no" }.to_owned(),
                ],
                Err(_) => {
                    let unknown = || "-".to_owned();
                    [node.name.clone(), address, unknown(), unknown(), unknown(), unknown(), unknown()]
                }
            }
        })
        .collect();
    output::table(
        ["node", "address", "role", "timeline", "version", "system identifier", "pg_monitor"],
        &rows,
    )
}
