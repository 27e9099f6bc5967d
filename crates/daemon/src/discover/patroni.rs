//! Nodes from Patroni's REST API: `GET /cluster` of any member, which says who belongs to the cluster and who leads it.
//!
//! Patroni says which nodes there are and who *should* take writes. Its figures of lag, its states and its roles of replicas
//! are not used: each node proves for itself what it is and how fresh. See Patroni's `cluster_as_json` for the answer.

use std::time::Duration;

use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::get::{Origin, get};
use super::{Elected, Found, FoundNode};
use crate::spawn;

/// The next member is asked as well when one has not answered for this long.
const PATIENCE: Duration = Duration::from_millis(250);
/// Most members that are asked beside those that are written down.
const LEARNED_MAX: usize = 16;

/// Members of a Patroni cluster.
pub(super) struct PatroniSource {
    /// Those to ask, as they are written down.
    written: Vec<Origin>,
    /// Where the members that were found say that they can be asked.
    learned: Vec<Origin>,
    /// Who answered last, and is asked first.
    last: Option<Origin>,
    /// Whose cluster was last found to be the one that is served, with its members.
    vouched: Option<(Origin, Vec<FoundNode>)>,
}

/// What a member says.
struct Members {
    found: Found,
    /// Where its like can be asked.
    origins: Vec<Origin>,
}

impl PatroniSource {
    pub(super) fn new(written: &[(String, u16)]) -> PatroniSource {
        let written = written.iter().map(|(host, port)| Origin { host: host.clone(), port: *port }).collect();
        PatroniSource { written, learned: Vec::new(), last: None, vouched: None }
    }

    /// `system` is that of the cluster which is served, where that is known: a member of another one is not believed.
    pub(super) async fn ask(&mut self, system: Option<u64>) -> Result<Found, String> {
        let (origin, members) = self.first_good(system).await?;
        if system.is_some() {
            self.vouched = Some((origin.clone(), members.found.nodes.clone()));
        }
        self.last = Some(origin);
        self.learned = members.origins;
        Ok(members.found)
    }

    /// Who is asked, in order: who answered last, then who is written down, then who was found.
    fn order(&self) -> Vec<Origin> {
        let mut order: Vec<Origin> = Vec::new();
        for origin in self.last.iter().chain(&self.written).chain(&self.learned) {
            if !order.contains(origin) {
                order.push(origin.clone());
            }
        }
        order
    }

    /// Asks one after the other, and the next one already when one takes its time.
    async fn first_good(&self, system: Option<u64>) -> Result<(Origin, Members), String> {
        let order = self.order();
        let (tell, mut told) = mpsc::channel(order.len().max(1));
        let mut left = order.iter();
        let mut under_way: usize = 0;
        let mut tasks = Vec::new();
        let mut first_error = None;
        loop {
            if let Some(origin) = left.next() {
                let (origin, tell) = (origin.clone(), tell.clone());
                let vouched = self.vouched.clone();
                tasks.push(spawn::task("ask patroni", async move {
                    let answer = ask_member(&origin, system, vouched.as_ref()).await;
                    let _late = tell.send((origin, answer)).await;
                }));
                under_way += 1;
            } else if under_way == 0 {
                return Err(first_error.unwrap_or_else(|| "there is no member to ask".to_owned()));
            }
            let more = left.len() > 0;
            tokio::select! {
                Some((origin, answer)) = told.recv(), if under_way > 0 => {
                    under_way -= 1;
                    match answer {
                        Ok(members) => {
                            tasks.iter().for_each(|task| task.abort());
                            return Ok((origin, members));
                        }
                        Err(why) => drop(first_error.get_or_insert(format!("{origin}: {why}"))),
                    }
                }
                () = sleep(PATIENCE), if more => {}
            }
        }
    }
}

async fn ask_member(
    origin: &Origin,
    system: Option<u64>,
    vouched: Option<&(Origin, Vec<FoundNode>)>,
) -> Result<Members, String> {
    let (status, body) = get(origin, "/cluster").await?;
    if status != 200 {
        return Err(format!("/cluster is answered with status {status}"));
    }
    let members = members(&body)?;
    let known = vouched.is_some_and(|(by, nodes)| by == origin && *nodes == members.found.nodes);
    if let Some(system) = system.filter(|_| !known) {
        let (_, body) = get(origin, "/patroni").await?;
        check_system(&body, system)?;
    }
    Ok(members)
}

/// Refuses a member of another cluster than the one that is served. A member that has no data directory yet knows of no
/// system, and is believed: its nodes have to prove themselves anyway.
fn check_system(body: &[u8], served: u64) -> Result<(), String> {
    let said: Value = serde_json::from_slice(body).map_err(|_| "/patroni is not JSON".to_owned())?;
    let system = said["database_system_identifier"].as_str().and_then(|text| text.parse::<u64>().ok());
    match system {
        Some(system) if system != served => Err(format!(
            "it belongs to another cluster: its database system is {system}, and the one served is {served}; \
             restart the router if the cluster was made anew"
        )),
        Some(_) | None => Ok(()),
    }
}

/// What the answer to `/cluster` says.
fn members(body: &[u8]) -> Result<Members, String> {
    let said: Value = serde_json::from_slice(body).map_err(|_| "/cluster is not JSON".to_owned())?;
    let listed = said["members"].as_array().ok_or("/cluster has no list of members")?;
    let (mut nodes, mut origins, mut leader) = (Vec::new(), Vec::new(), None);
    for member in listed {
        // One that is being made has no address yet.
        let (Some(host), Some(port)) = (member["host"].as_str(), port_of(member)) else { continue };
        if host.is_empty() {
            continue;
        }
        // The leader of a standby cluster follows another cluster: it takes no writes.
        if matches!(member["role"].as_str(), Some("leader" | "master" | "primary")) {
            leader = Some((host.to_owned(), port));
        }
        nodes.push(FoundNode {
            name: member["name"].as_str().map(str::to_owned),
            host: host.to_owned(),
            port,
            spared: member["tags"]["noloadbalance"] == Value::Bool(true),
        });
        let origin = member["api_url"].as_str().and_then(|url| url.strip_prefix("http://"));
        let origin = origin.and_then(|rest| crate::config::host_port(rest.split('/').next()?, 8008));
        origins.extend(origin.map(|(host, port)| Origin { host, port }));
    }
    origins.truncate(LEARNED_MAX);
    Ok(Members { found: Found { nodes, primary: Elected::Named(leader) }, origins })
}

fn port_of(member: &Value) -> Option<u16> {
    match &member["port"] {
        Value::Null => Some(5432),
        port => port.as_u64().and_then(|port| u16::try_from(port).ok()).filter(|&port| port != 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of Patroni 3.0.2, shortened.
    const CLUSTER: &str = r#"{"members": [
        {"name": "pg0", "role": "leader", "state": "running", "api_url": "http://10.0.0.1:8008/patroni",
         "host": "10.0.0.1", "port": 5432, "timeline": 3},
        {"name": "pg1", "role": "sync_standby", "state": "streaming", "api_url": "http://10.0.0.2:8008/patroni",
         "host": "10.0.0.2", "port": 5433, "timeline": 3, "tags": {"noloadbalance": true, "nofailover": true}, "lag": 0},
        {"name": "pg2", "role": "replica", "state": "starting", "api_url": "https://10.0.0.3:8008/patroni",
         "host": "10.0.0.3", "lag": "unknown"},
        {"name": "pg3", "role": "replica", "state": "creating replica", "lag": "unknown"}
    ], "pause": true}"#;

    /// Nodes as `name=host:port`, `!` behind one that is spared, and who is named.
    fn check(body: &str, expected: Result<(&str, Option<&str>), &str>) {
        let seen = members(body.as_bytes()).map(|members| {
            let node = |node: &FoundNode| {
                let name = node.name.as_deref().unwrap_or("-");
                format!("{name}={}:{}{}", node.host, node.port, if node.spared { "!" } else { "" })
            };
            let Elected::Named(named) = members.found.primary else { panic!("Patroni elects primaries") };
            let nodes: Vec<_> = members.found.nodes.iter().map(node).collect();
            (nodes.join(" "), named.map(|(host, port)| format!("{host}:{port}")))
        });
        let expected = expected.map(|(nodes, named)| (nodes.to_owned(), named.map(str::to_owned)));
        assert_eq!(seen, expected.map_err(str::to_owned), "{body}");
    }

    #[test]
    fn every_member_with_an_address_is_a_node_whatever_its_state_and_the_leader_is_named() {
        check(CLUSTER, Ok(("pg0=10.0.0.1:5432 pg1=10.0.0.2:5433! pg2=10.0.0.3:5432", Some("10.0.0.1:5432"))));
        let origins = members(CLUSTER.as_bytes()).unwrap().origins;
        let shown: Vec<_> = origins.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["http://10.0.0.1:8008", "http://10.0.0.2:8008"], "https is not spoken");
    }

    #[test]
    fn without_a_leader_and_in_a_standby_cluster_nobody_is_named() {
        check(
            &CLUSTER.replace("\"leader\"", "\"replica\""),
            Ok(("pg0=10.0.0.1:5432 pg1=10.0.0.2:5433! pg2=10.0.0.3:5432", None)),
        );
        check(
            r#"{"members": [{"name": "a", "role": "standby_leader", "state": "running", "host": "h", "port": 1}]}"#,
            Ok(("a=h:1", None)),
        );
    }

    #[test]
    fn odd_answers_are_no_answers_and_odd_members_no_nodes() {
        check("<html>", Err("/cluster is not JSON"));
        check("{}", Err("/cluster has no list of members"));
        check(r#"{"members": {"a": 1}}"#, Err("/cluster has no list of members"));
        let odd = r#"{"members": [1, null, {}, {"host": 7, "port": 1}, {"host": "", "port": 1}, {"host": "h", "port": 99999},
            {"host": "h", "port": "5432"}, {"host": "g", "port": 2, "role": 3, "tags": [], "api_url": 4}]}"#;
        check(odd, Ok(("-=g:2", None)));
    }

    #[test]
    fn a_member_of_another_system_is_refused_and_one_that_knows_of_none_is_not() {
        let said = |system: &str| check_system(system.as_bytes(), 7);
        assert_eq!(said(r#"{"database_system_identifier": "7"}"#), Ok(()));
        assert_eq!(said(r#"{"state": "starting"}"#), Ok(()));
        assert!(said(r#"{"database_system_identifier": "8"}"#).unwrap_err().contains("another cluster"));
        assert!(said("nonsense").is_err());
    }
}
