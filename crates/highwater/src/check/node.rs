//! Asks a node, as the monitor's role, for the facts that `judge` wants. One connection, two statements.

use std::fmt::Write as _;
use std::time::Duration;

use daemon::config::{ClusterSettings, MonitorSettings, NodeSettings};
use tokio_postgres::{Client, Row};

use super::judge::{Facts, PARITY, Role};
use crate::connection;

/// Longest time for one node, from connecting to the last answer.
const NODE_MAX: Duration = Duration::from_secs(5);

/// Facts, or in one sentence why there are none.
pub(super) type Probe = Result<Facts, String>;

/// Asks every node, in the order of the settings.
pub(super) async fn probe_all(cluster: &ClusterSettings) -> Vec<Probe> {
    let mut probes = Vec::new();
    for node in &cluster.nodes {
        let probe = tokio::time::timeout(NODE_MAX, probe(node, &cluster.monitor)).await;
        probes.push(match probe {
            Ok(Ok(facts)) => Ok(facts),
            Ok(Err(error)) => Err(connection::sentence(&error)),
            Err(_) => Err(format!("no answer within {} s", NODE_MAX.as_secs())),
        });
    }
    probes
}

async fn probe(node: &NodeSettings, monitor: &MonitorSettings) -> Result<Facts, tokio_postgres::Error> {
    let client = connection::connect(&connection::of_monitor(node, monitor, &monitor.database)).await?;
    let row = client.query_one(&statement(), &[]).await?;
    let receiver = receiver(&client).await?;
    facts(&row, receiver)
}

fn statement() -> String {
    // Aurora isn't asked for its control file, which it may refuse: its instances have one storage, named by itself.
    let mut text = "SELECT pg_is_in_recovery(), \
                    CASE WHEN to_regproc('pg_catalog.aurora_replica_status') IS NULL \
                    THEN (SELECT timeline_id FROM pg_control_checkpoint()) ELSE 1 END, \
                    CASE WHEN to_regproc('pg_catalog.aurora_replica_status') IS NULL \
                    THEN (SELECT system_identifier FROM pg_control_system()) ELSE 1 END, \
                    current_setting('server_version'), \
                    current_setting('server_version_num')::int, pg_has_role('pg_monitor', 'USAGE'), \
                    current_setting('wal_level') <> 'minimal' AND current_setting('hot_standby')::bool"
        .to_owned();
    for name in PARITY {
        write!(text, ", current_setting('{name}')::int").expect("a String takes everything");
    }
    text
}

fn facts(row: &Row, receiver: Option<String>) -> Result<Facts, tokio_postgres::Error> {
    const PARITY_FROM: usize = 7;
    let mut parity = [0; PARITY.len()];
    for (index, value) in parity.iter_mut().enumerate() {
        *value = row.try_get(PARITY_FROM + index)?;
    }
    Ok(Facts {
        role: if row.try_get(0)? { Role::Replica } else { Role::Primary },
        timeline: row.try_get(1)?,
        system_identifier: row.try_get(2)?,
        version: row.try_get(3)?,
        version_num: row.try_get(4)?,
        monitors: row.try_get(5)?,
        replicates: row.try_get(6)?,
        receiver,
        parity,
    })
}

async fn receiver(client: &Client) -> Result<Option<String>, tokio_postgres::Error> {
    // A reader of Aurora receives nothing that could stop streaming.
    let asked = "SELECT CASE WHEN to_regproc('pg_catalog.aurora_replica_status') IS NULL \
                 THEN (SELECT status FROM pg_stat_wal_receiver) ELSE 'streaming' END";
    let row = client.query_opt(asked, &[]).await?;
    row.map_or(Ok(None), |row| row.try_get(0))
}
