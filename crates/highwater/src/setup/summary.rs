//! What `up` says when everything runs: the nodes, the connection strings, the addresses. Text only.

use super::cluster::APP;
use super::place::Marker;
use super::router::{Seen, http_port};
use super::server::SUPERUSER;
use crate::dsn::Dsn;
use crate::output;

/// Everything but the line `ready`.
pub(crate) fn summary(nodes: &[Seen], marker: &Marker, port: u16, seconds: f64) -> String {
    let mut text = String::from("\n");
    text.push_str(&output::table(
        ["node", "role", "port", "staleness", "lag"],
        &nodes.iter().map(node_row).collect::<Vec<_>>(),
    ));
    text.push('\n');
    text.push_str(&output::table(["database", "DSN", ""], &databases(marker, port)));
    let dsn = dsn(SUPERUSER, &marker.passwords.superuser, port, "highwater");
    text.push_str(&format!("\n  console  psql {dsn} -c 'SHOW NODES'\n"));
    text.push_str(&format!("  http     http://127.0.0.1:{}/metrics\n", http_port(port)));
    text.push_str(&format!("  status   highwater status --http 127.0.0.1:{}\n", http_port(port)));
    text.push_str(&format!("\n  {seconds:.1} s; Ctrl-C stops everything\n"));
    text
}

fn node_row(node: &Seen) -> [String; 5] {
    let port = node.address.rsplit_once(':').map_or(node.address.as_str(), |(_, port)| port);
    let staleness = node.staleness_ms.parse::<f64>().ok().filter(|_| node.role != "primary");
    let lag = &node.lag_bytes;
    [
        node.name.clone(),
        node.role.clone(),
        port.to_owned(),
        staleness.map_or_else(|| "-".to_owned(), |ms| format!("{ms:.0} ms")),
        if lag.is_empty() { "-".to_owned() } else { format!("{lag} bytes") },
    ]
}

fn databases(marker: &Marker, port: u16) -> [[String; 3]; 3] {
    let row = |database: &str, meaning: &str| {
        [database.to_owned(), dsn(APP, &marker.passwords.app, port, database), meaning.to_owned()]
    };
    [
        row(APP, "writes on the primary, reads on a fresh replica"),
        row("app_ro", "read-only"),
        row("app_rw", "always the primary"),
    ]
}

fn dsn(user: &str, password: &str, port: u16, database: &str) -> String {
    Dsn { user, password, host: "127.0.0.1", port, database }.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_database_has_a_dsn_that_can_be_pasted() {
        let marker = Marker::new(15, 6442).expect("random numbers");
        let node = Seen {
            name: "replica-1".to_owned(),
            address: "127.0.0.1:6443".to_owned(),
            role: "replica".to_owned(),
            staleness_ms: "15.25".to_owned(),
            lag_bytes: "0".to_owned(),
        };
        let text = summary(&[node], &marker, 6432, 1.0);
        for database in ["app", "app_ro", "app_rw"] {
            let dsn = format!("postgresql://app:{}@127.0.0.1:6432/{database} ", marker.passwords.app);
            assert!(text.contains(&dsn), "{text}");
        }
        assert!(text.contains("  replica-1  replica  6443  15 ms      0 bytes\n"), "{text}");
    }
}
