//! Nodes from Aurora PostgreSQL: `aurora_replica_status()` of any instance, which says which instances there are and which
//! of them is the writer. Not verified on Aurora: written by its documentation, tried on a stand-in.
//!
//! The endpoints that are written down are asked and are no nodes themselves: each is an instance under another name.
//! Whether an instance has the function is looked up, because a call that fails stands in the server's log. How fresh an
//! instance is, its probe says (`monitor/probe/aurora.rs`).

use std::time::Duration;

use engine::view::NodeId;
use tokio::time::timeout;
use tokio_postgres::Client;

use super::{Elected, Found, FoundNode};
use crate::config::{AURORA, MonitorSettings, NodeSettings, SERVER_ID, address, host_port};
use crate::monitor::probe::aurora::IS_AURORA;
use crate::monitor::probe::{Failure, Login};
use crate::world::Node;

/// Longest time for one instance: to connect, and to answer.
const ASK_MAX: Duration = Duration::from_secs(2);
/// Most instances asked beside the endpoints that are written down.
const LEARNED_MAX: usize = 16;
/// An instance whose row was not updated for this long is not there any more, in seconds.
const ROW_AGE_MAX: f64 = 30.0;
/// Longest identifier of an instance: what a label of a host name may have.
const SERVER_ID_MAX: usize = 63;

/// One row more than may be, so that too many are noticed.
const ROWS: &str = "SELECT server_id::text, session_id::text = 'MASTER_SESSION_ID', \
    server_id::text = pg_catalog.aurora_db_instance_identifier()::text, \
    extract(epoch FROM clock_timestamp() - last_update_timestamp)::float8 \
    FROM pg_catalog.aurora_replica_status() LIMIT 1001";

/// What a row says.
#[derive(Clone, PartialEq, Debug)]
struct Row {
    server_id: Option<String>,
    writer: Option<bool>,
    /// It is the row of the instance that answered.
    own: Option<bool>,
    /// Seconds since it was updated, by the clock of the instance that answered; none in its own row from 13.9 on.
    age: Option<f64>,
}

impl Row {
    /// How old what it says may be, where it may still be believed.
    fn age(&self) -> Option<f64> {
        match self.age {
            // Written by another machine, whose clock may be ahead.
            Some(age) => Some(age.max(0.0)).filter(|_| age <= ROW_AGE_MAX),
            None => (self.own == Some(true)).then_some(0.0),
        }
    }
}

/// The instances of an Aurora cluster.
pub(super) struct AuroraSource {
    template: String,
    seeds: Vec<NodeSettings>,
    login: MonitorSettings,
    /// Instances found.
    learned: Vec<FoundNode>,
    /// The connection on which the last answer came.
    open: Option<Client>,
}

impl AuroraSource {
    pub(super) fn new(template: String, seeds: Vec<NodeSettings>, login: MonitorSettings) -> AuroraSource {
        AuroraSource { template, seeds, login, learned: Vec::new(), open: None }
    }

    pub(super) async fn ask(&mut self) -> Result<Found, String> {
        if let Some(client) = self.open.take()
            && let Ok(found) = self.answer(&client).await
        {
            return Ok(self.keep(client, found));
        }
        let seeds = self.seeds.iter().map(|seed| (seed.host.clone(), seed.port));
        let learned = self.learned.iter().map(|node| (node.host.clone(), node.port));
        let mut first_error = None;
        for (host, port) in seeds.chain(learned).collect::<Vec<_>>() {
            match self.ask_at(&host, port).await {
                Ok((client, found)) => return Ok(self.keep(client, found)),
                Err(why) => drop(first_error.get_or_insert(format!("{}: {why}", address(&host, port)))),
            }
        }
        Err(first_error.unwrap_or_else(|| "there is no endpoint to ask".to_owned()))
    }

    fn keep(&mut self, client: Client, found: Found) -> Found {
        self.open = Some(client);
        self.learned = found.nodes.iter().take(LEARNED_MAX).cloned().collect();
        found
    }

    async fn ask_at(&self, host: &str, port: u16) -> Result<(Client, Found), String> {
        let name = address(host, port).as_str().into();
        let node = Node { id: NodeId(0), name, source: AURORA, host: host.to_owned(), port };
        let MonitorSettings { user, password, database } = &self.login;
        let login = Login::new(&node, user, password.as_ref().map(|secret| secret.expose()), database);
        let connect = async {
            let (client, _ended) = login.connect().await?;
            client.batch_execute("SET statement_timeout = '1900ms'; SET jit = off").await?;
            let is_aurora: bool = client.query_one(IS_AURORA, &[]).await?.try_get(0)?;
            Ok::<_, Failure>((client, is_aurora))
        };
        let (client, is_aurora) =
            timeout(ASK_MAX, connect).await.map_err(|_| late())?.map_err(|failure| failure.message)?;
        if !is_aurora {
            return Err("it is not Aurora PostgreSQL: it has no aurora_replica_status()".to_owned());
        }
        let found = self.answer(&client).await?;
        Ok((client, found))
    }

    async fn answer(&self, client: &Client) -> Result<Found, String> {
        let said = timeout(ASK_MAX, client.query(ROWS, &[])).await.map_err(|_| late())?;
        let row = |row: &tokio_postgres::Row| {
            Ok(Row {
                server_id: row.try_get(0)?,
                writer: row.try_get(1)?,
                own: row.try_get(2)?,
                age: row.try_get(3)?,
            })
        };
        let rows = said.and_then(|said| said.iter().map(row).collect::<Result<Vec<_>, _>>());
        found(&rows.map_err(|error| Failure::from(error).message)?, &self.template)
    }
}

fn late() -> String {
    format!("no answer within {} s", ASK_MAX.as_secs())
}

/// The instances that rows name, and the writer: by the newest row, should several say so.
fn found(rows: &[Row], template: &str) -> Result<Found, String> {
    let mut nodes = Vec::new();
    let mut writer: Option<(f64, (String, u16))> = None;
    for row in rows {
        let (Some(id), Some(age)) = (&row.server_id, row.age()) else { continue };
        let good = |c: char| c.is_ascii_alphanumeric() || c == '-';
        let named = !id.is_empty() && id.len() <= SERVER_ID_MAX && id.chars().all(good);
        let place = host_port(&template.replace(SERVER_ID, id), 5432).filter(|_| named);
        let Some((host, port)) = place else {
            let shown: String = id.chars().take(80).collect();
            return Err(format!(
                "{shown:?} is no identifier of an instance that makes an address of {template:?}"
            ));
        };
        if row.writer == Some(true) && writer.as_ref().is_none_or(|(newest, _)| age < *newest) {
            writer = Some((age, (host.clone(), port)));
        }
        nodes.push(FoundNode { name: Some(id.clone()), ..FoundNode::at(host, port) });
    }
    Ok(Found { nodes, primary: Elected::Named(writer.map(|(_, place)| place)) })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEMPLATE: &str = "{server_id}.abc123.eu-west-1.rds.amazonaws.com";

    fn row(server_id: &str, writer: bool, own: bool, age: Option<f64>) -> Row {
        Row { server_id: Some(server_id.to_owned()), writer: Some(writer), own: Some(own), age }
    }

    /// Nodes as `name=host:port`, and who is named.
    fn check(rows: &[Row], template: &str, nodes: &str, writer: Option<&str>) {
        let found = found(rows, template).unwrap();
        let shown = |node: &FoundNode| {
            format!("{}={}", node.name.as_deref().unwrap_or("-"), address(&node.host, node.port))
        };
        assert_eq!(found.nodes.iter().map(shown).collect::<Vec<_>>().join(" "), nodes);
        let writer = writer.map(|text| host_port(text, 5432).unwrap());
        assert_eq!(found.primary, Elected::Named(writer));
    }

    #[test]
    fn every_row_is_an_instance_at_the_address_that_the_template_makes_of_it_and_one_is_the_writer() {
        check(
            &[row("one", true, true, None), row("two", false, false, Some(0.4))],
            TEMPLATE,
            "one=one.abc123.eu-west-1.rds.amazonaws.com:5432 two=two.abc123.eu-west-1.rds.amazonaws.com:5432",
            Some("one.abc123.eu-west-1.rds.amazonaws.com"),
        );
        check(&[row("7001", false, true, Some(0.0))], "127.0.0.1:{server_id}", "7001=127.0.0.1:7001", None);
        check(&[row("a", true, true, None)], "{server_id}.db:5433", "a=a.db:5433", Some("a.db:5433"));
    }

    #[test]
    fn rows_that_were_not_updated_for_long_or_say_nothing_are_no_nodes() {
        let odd = Row { server_id: None, writer: None, own: None, age: Some(0.0) };
        let rows = [
            row("a", false, true, Some(29.9)),
            row("b", true, false, Some(30.1)),
            row("c", true, false, None),
            row("d", false, false, Some(f64::NAN)),
            row("e", false, false, Some(-5.0)),
            odd,
        ];
        check(&rows, "{server_id}", "a=a:5432 e=e:5432", None);
    }

    #[test]
    fn of_two_rows_of_a_writer_the_newer_one_counts() {
        let rows = [row("old", true, false, Some(4.0)), row("new", true, false, Some(1.0))];
        check(&rows, "{server_id}", "old=old:5432 new=new:5432", Some("new:5432"));
        let rows = [row("self", true, true, None), row("other", true, false, Some(0.1))];
        check(&rows, "{server_id}", "self=self:5432 other=other:5432", Some("self:5432"));
    }

    #[test]
    fn an_identifier_that_would_lead_elsewhere_spoils_the_answer() {
        for id in ["", "a.evil", "a:1", "a b", "{server_id}", &"a".repeat(64)] {
            assert!(found(&[row(id, true, true, None)], TEMPLATE).is_err(), "{id:?}");
        }
        assert!(found(&[row("99999", true, true, None)], "h:{server_id}").is_err(), "no port");
    }
}
