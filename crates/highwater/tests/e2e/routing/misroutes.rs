//! The misroutes other poolers are known for (design notes on peers, 1 to 11), each as a statement sent end to end.

use crate::harness::raw::{Raw, frame, sqlstates, tags, values};
use crate::harness::{Fixture, Settings, alone};

use super::{PRIMARY, REPLICA, ready, route_of};

/// The statement runs on the primary and does what it should.
fn writes(raw: &mut Raw, sql: &str) {
    let answer = raw.query(sql);
    assert!(sqlstates(&answer).is_empty(), "{sql}: {answer:?}");
    assert_eq!(raw.route().0, PRIMARY, "{sql}");
}

fn reads(raw: &mut Raw) {
    assert_eq!(values(&raw.query("SELECT count(*) FROM fixed")), ["2"]);
}

#[tokio::test]
async fn n1_a_write_that_no_parser_knows_does_not_follow_the_read_before_it() {
    let Some(fixture) = ready().await else { return };
    let mut raw = fixture.raw();
    reads(&mut raw);
    assert_eq!(raw.route().0, REPLICA);
    // Only the server may judge it, and only the primary would be right if it were a write.
    assert_eq!(sqlstates(&raw.query("UPSERT INTO scratch VALUES (1)")), ["42601"]);
    assert_eq!(raw.route().0, PRIMARY);
    writes(&mut raw, "INSERT INTO scratch VALUES (1, U&'\\0061') ON CONFLICT DO NOTHING");
}

#[tokio::test]
async fn n2_a_data_changing_cte_is_a_write() {
    let Some(fixture) = ready().await else { return };
    let mut raw = fixture.raw();
    reads(&mut raw);
    writes(&mut raw, "WITH x AS (UPDATE scratch SET word = 'n2' RETURNING id) SELECT * FROM x");
    writes(
        &mut raw,
        "WITH a AS (SELECT 1), b AS (DELETE FROM scratch WHERE false RETURNING 1) SELECT * FROM a",
    );
}

#[tokio::test]
async fn n3_a_function_of_the_user_that_writes_is_a_write() {
    let Some(fixture) = ready().await else { return };
    let mut raw = fixture.raw();
    reads(&mut raw);
    writes(&mut raw, "SELECT writes_honestly()");
    writes(&mut raw, "SELECT public.\"writes_honestly\"() FROM fixed LIMIT 1");
}

#[tokio::test]
async fn n4_what_looks_like_a_select_and_is_none() {
    let Some(fixture) = ready().await else { return };
    let mut raw = fixture.raw();
    raw.query("DROP TABLE IF EXISTS made_by_select");
    let mut raw = fixture.raw();
    reads(&mut raw);
    writes(&mut raw, "SELECT * INTO made_by_select FROM fixed");
    writes(&mut raw, "COPY (DELETE FROM scratch WHERE false RETURNING id) TO STDOUT");
    writes(&mut raw, "SELECT pg_notify('x', 'y')");
    writes(&mut raw, "SELECT lo_unlink(lo_create(0))");
    writes(&mut raw, "SELECT pg_current_xact_id()");
}

#[tokio::test]
async fn n5_a_write_behind_a_read_in_one_message() {
    let Some(fixture) = ready().await else { return };
    let mut raw = fixture.raw();
    reads(&mut raw);
    writes(&mut raw, "SELECT 1; UPDATE scratch SET word = 'n5'");
    writes(&mut raw, "SELECT ';'; SELECT 2 /* ; */; DELETE FROM scratch WHERE false; SELECT 3");
}

#[tokio::test]
async fn n6_begin_read_write_commit() {
    let Some(fixture) = ready().await else { return };
    let mut raw = fixture.raw();
    assert_eq!(tags(&raw.query("BEGIN")), "C ZT");
    reads(&mut raw);
    assert!(sqlstates(&raw.query("INSERT INTO scratch VALUES (6, 'n6')")).is_empty());
    assert_eq!(raw.value("SELECT word FROM scratch WHERE word = 'n6' LIMIT 1"), "n6");
    assert_eq!(tags(&raw.query("COMMIT")), "C ZI");
}

#[tokio::test]
async fn n7_a_write_behind_a_read_in_session_mode() {
    if ready().await.is_none() {
        return;
    }
    let _alone = alone().await;
    let fixture = Fixture::start(Settings { pool_mode: "session", ..Settings::default() }).await;
    fixture.cluster.run("CREATE TABLE t (id int)").await;
    let mut raw = fixture.raw();
    for round in 1..5 {
        assert_eq!(raw.value("SELECT count(*) FROM t"), (round - 1).to_string());
        assert!(sqlstates(&raw.query("INSERT INTO t VALUES (1)")).is_empty());
    }
}

#[tokio::test]
async fn n8_a_temporary_table_that_hides_a_real_one() {
    let Some(fixture) = ready().await else { return };
    fixture
        .cluster
        .run("DROP TABLE IF EXISTS hidden; CREATE TABLE hidden (w text); INSERT INTO hidden VALUES ('real')")
        .await;
    let mut raw = fixture.raw();
    assert_eq!(raw.value("SELECT w FROM hidden"), "real");
    writes(&mut raw, "CREATE TEMP TABLE hidden (w text)");
    assert!(sqlstates(&raw.query("INSERT INTO hidden VALUES ('temporary')")).is_empty());
    for _ in 0..5 {
        assert_eq!(raw.value("SELECT w FROM hidden"), "temporary");
    }
    assert!(sqlstates(&raw.query("DROP TABLE hidden")).is_empty());
    assert_eq!(raw.value("SELECT w FROM hidden"), "real");
    assert_eq!(fixture.raw().value("SELECT w FROM hidden"), "real");
}

#[tokio::test]
async fn n9_a_table_made_and_read_in_one_block() {
    let Some(fixture) = ready().await else { return };
    fixture.cluster.run("DROP TABLE IF EXISTS made_in_block").await;
    let mut raw = fixture.raw();
    raw.query("BEGIN");
    assert!(sqlstates(&raw.query("CREATE TABLE made_in_block (id int)")).is_empty());
    assert_eq!(raw.value("SELECT count(*) FROM made_in_block"), "0");
    assert_eq!(tags(&raw.query("COMMIT")), "C ZI");
    assert_eq!(raw.value("SELECT count(*) FROM made_in_block"), "0");
}

#[tokio::test]
async fn n10_a_block_made_read_write_after_its_begin() {
    let Some(fixture) = ready().await else { return };
    for set in
        ["SET transaction_read_only = 0", "SET TRANSACTION READ WRITE", "SET transaction_read_only TO off"]
    {
        let mut raw = fixture.raw();
        raw.query("SET default_transaction_read_only = on");
        raw.query("BEGIN");
        assert!(sqlstates(&raw.query(set)).is_empty(), "{set}");
        assert!(sqlstates(&raw.query("INSERT INTO scratch VALUES (10, 'n10')")).is_empty(), "{set}");
        assert_eq!(tags(&raw.query("COMMIT")), "C ZI");
    }
}

#[tokio::test]
async fn n11_functions_are_told_apart_by_schema_and_followed_through_views_and_operators() {
    let Some(fixture) = ready().await else { return };
    let client = fixture.cluster.primary.connect("app").await;
    client
        .batch_execute(
            "DROP SCHEMA IF EXISTS calm, wild CASCADE; CREATE SCHEMA calm; CREATE SCHEMA wild;
             CREATE FUNCTION calm.f(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1';
             CREATE FUNCTION wild.f(int) RETURNS int VOLATILE LANGUAGE plpgsql AS
                 'BEGIN INSERT INTO scratch VALUES ($1, ''wild''); RETURN $1; END';
             CREATE OPERATOR wild.### (FUNCTION = wild.f, RIGHTARG = int);
             CREATE VIEW wild.v AS SELECT wild.f(1) AS one;
             CREATE VIEW wild.around AS SELECT one FROM (SELECT * FROM wild.v) x",
        )
        .await
        .unwrap();
    fixture.cluster.caught_up().await;
    let calm = async || route_of(fixture, "SELECT calm.f(1)").0 == REPLICA;
    crate::harness::wait_for("the router to know calm.f", std::time::Duration::from_secs(60), calm).await;
    for sql in [
        "SELECT wild.f(1)",
        "SELECT OPERATOR(wild.###) 1",
        "SELECT * FROM wild.v",
        "SELECT * FROM wild.around",
        "SET search_path = wild, public; SELECT f(1)",
    ] {
        assert_eq!(route_of(fixture, sql).0, PRIMARY, "{sql}");
    }
    let mut raw = fixture.raw();
    raw.query("SET search_path = wild, public");
    assert!(sqlstates(&raw.query("SELECT f(1)")).is_empty());
    assert_eq!(raw.route().0, PRIMARY);
    raw.query("SET search_path = calm, public");
    raw.query("SELECT f(1)");
    raw.send(&frame(b'X', &[]));
}
