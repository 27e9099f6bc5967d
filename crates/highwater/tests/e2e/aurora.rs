//! Nodes from Aurora, on a stand-in: functions of Aurora's names and columns, as its documentation has them, on a real
//! primary and its replica. It shows that the router does what is meant with such answers, and nothing about Aurora.

use std::time::Duration;

use crate::discover::{cluster_of, nodes_become};
use crate::harness::cluster::Node;
use crate::harness::raw::{Raw, sqlstates, values};
use crate::harness::template::APP_PASSWORD;
use crate::harness::{Cluster, Router, Settings, direct, wait_for};

const PATIENCE: Duration = Duration::from_secs(60);

/// The functions for two servers, whose ports are their identifiers. A server knows of the other one by its stream.
fn stand_in(one: u16, two: u16) -> String {
    format!(
        "CREATE FUNCTION pg_catalog.aurora_version() RETURNS text LANGUAGE sql AS $$ SELECT '15.0.stand-in' $$;
         CREATE FUNCTION pg_catalog.aurora_db_instance_identifier() RETURNS text LANGUAGE sql
             AS $$ SELECT current_setting('port') $$;
         CREATE FUNCTION pg_catalog.aurora_replica_status() RETURNS TABLE (server_id text, session_id text,
             durable_lsn bigint, highest_lsn_rcvd bigint, current_read_lsn bigint, cur_replay_latency_in_usec bigint,
             active_txns int, is_current boolean, last_transport_error int, last_error_timestamp timestamptz,
             last_update_timestamp timestamptz, feedback_xmin bigint, feedback_epoch int, replica_lag_in_msec int,
             log_stream_speed_in_kib_per_second float8)
         LANGUAGE sql VOLATILE SECURITY DEFINER AS $$
             SELECT id, CASE WHEN (id = me) <> r THEN 'MASTER_SESSION_ID' ELSE md5(id) END,
                 at, at, CASE WHEN r THEN at END, 0::bigint, 0, true, 0, NULL::timestamptz,
                 CASE WHEN id = me THEN clock_timestamp()
                      WHEN r THEN (SELECT last_msg_receipt_time FROM pg_stat_wal_receiver)
                      ELSE (SELECT max(reply_time) FROM pg_stat_replication) END,
                 0::bigint, 0, 0, 0::float8
             FROM (SELECT r, current_setting('port') AS me,
                     (CASE WHEN r THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_flush_lsn() END - '0/0')::bigint AS at
                     FROM (SELECT pg_is_in_recovery() AS r) AS role) AS own
             CROSS JOIN unnest(ARRAY['{one}', '{two}']) AS id $$;"
    )
}

/// Where a read is answered.
fn answered_by(client: &mut Raw) -> String {
    values(&client.query("SELECT current_setting('port')")).concat()
}

/// A stand-in with a router in front of it that is told of the primary's address only.
async fn start(cluster: &Cluster) -> Router {
    let (one, two) = (&cluster.primary, cluster.replica());
    for node in [one, two] {
        // What is acknowledged before it is durable is in no row of the writer's.
        node.set("synchronous_commit", "on").await;
    }
    for database in ["postgres", "app"] {
        let functions = stand_in(one.port, two.port);
        superuser_of(one, database).await.batch_execute(&functions).await.unwrap();
    }
    cluster.caught_up().await;
    let nodes = format!(
        "nodes = [\"127.0.0.1:{}\"]\ndiscover = {{ aurora = \"127.0.0.1:{{server_id}}\", every = \"100ms\", \
         leave_after = \"300ms\" }}",
        one.port
    );
    Router::start(cluster, Settings { nodes: Some(nodes), ..Settings::default() }).await
}

async fn superuser_of(node: &Node, database: &str) -> tokio_postgres::Client {
    let mut config = tokio_postgres::Config::new();
    config.host("127.0.0.1").port(node.port).user("postgres").dbname(database);
    let (client, connection) = config.connect(tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

#[tokio::test]
async fn on_a_stand_in_for_aurora_reads_leave_the_writer_own_writes_are_seen_and_a_failover_is_followed() {
    if direct() {
        return;
    }
    let cluster = Cluster::start(1).await;
    let router = start(&cluster).await;
    let (one, two) = (cluster.primary.port.to_string(), cluster.replica().port.to_string());
    nodes_become(&router, &[(&one, "primary"), (&two, "replica")]).await;
    assert_eq!(cluster_of(&router)["discovery"]["source"], "aurora");
    let mut client = Raw::login(router.port, "app", APP_PASSWORD, "app");
    assert!(sqlstates(&client.query("CREATE TABLE counter AS SELECT 0 AS n")).is_empty());
    wait_for("the reader to be proved fresh", PATIENCE, async || answered_by(&mut client) == two).await;

    for n in 1..=200 {
        assert!(sqlstates(&client.query(&format!("UPDATE counter SET n = {n}"))).is_empty());
        assert_eq!(values(&client.query("SELECT n FROM counter")), [n.to_string()], "an own write is seen");
    }
    wait_for("the reader to be proved fresh again", PATIENCE, async || answered_by(&mut client) == two).await;

    cluster.replica().pause_replay().await;
    assert!(sqlstates(&client.query("UPDATE counter SET n = 1000")).is_empty());
    for _ in 0..50 {
        assert_eq!(values(&client.query("SELECT n FROM counter")), ["1000"]);
        assert_eq!(answered_by(&mut client), one, "a reader that does not show the write is not asked");
    }
    cluster.replica().resume_replay().await;
    wait_for("the reader to catch up", PATIENCE, async || answered_by(&mut client) == two).await;

    cluster.primary.stop();
    cluster.replica().superuser().await.batch_execute("SELECT pg_promote()").await.unwrap();
    nodes_become(&router, &[(&two, "primary")]).await;
    let mut client = Raw::login(router.port, "app", APP_PASSWORD, "app");
    assert!(sqlstates(&client.query("UPDATE counter SET n = n + 1")).is_empty());
    assert_eq!(values(&client.query("SELECT n FROM counter")), ["1001"]);
}
