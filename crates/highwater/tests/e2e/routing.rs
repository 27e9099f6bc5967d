//! Every statement where it belongs: writes on the primary, reads on the replica, and nothing by luck.

use std::time::Duration;

use tokio_postgres::error::SqlState;

use crate::harness::raw::{Raw, column, run, sqlstates, sync, tags, values};
use crate::harness::template::{APP_PASSWORD, OTHER_PASSWORD};
use crate::harness::{Fixture, Settings, direct, shared, wait_for};

mod misroutes;

const REPLICA: &str = "replica";
const PRIMARY: &str = "primary";

/// What the statements of this module's tests name; every test may read it and write what is in `scratch`.
const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS fixed (id int PRIMARY KEY, word text);
    INSERT INTO fixed VALUES (1, 'one'), (2, 'two') ON CONFLICT DO NOTHING;
    CREATE TABLE IF NOT EXISTS scratch (id int, word text);
    CREATE SEQUENCE IF NOT EXISTS numbers;
    CREATE OR REPLACE FUNCTION writes_honestly() RETURNS int VOLATILE LANGUAGE plpgsql AS
        $$ BEGIN INSERT INTO scratch VALUES (0, 'honest'); RETURN 1; END $$;
    CREATE OR REPLACE FUNCTION reads_honestly() RETURNS bigint STABLE LANGUAGE sql AS $$ SELECT count(*) FROM fixed $$;
    CREATE OR REPLACE FUNCTION computes(a int) RETURNS int IMMUTABLE LANGUAGE sql AS $$ SELECT a + 1 $$;
    CREATE OR REPLACE PROCEDURE does_something() LANGUAGE sql AS $$ INSERT INTO scratch VALUES (0, 'procedure') $$;
    CREATE OR REPLACE VIEW harmless AS SELECT word FROM fixed;
    CREATE OR REPLACE VIEW harmful AS SELECT writes_honestly() AS one;
";

/// The shared fixture with [`SCHEMA`] loaded, and a router that has seen it.
async fn ready() -> Option<&'static Fixture> {
    static LOADED: tokio::sync::OnceCell<()> = tokio::sync::OnceCell::const_new();
    static TRIED: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);
    let fixture = shared().await;
    fixture.router()?;
    let load = async || {
        let tried = TRIED.swap(true, std::sync::atomic::Ordering::Relaxed);
        assert!(!tried, "the router did not learn the schema: see the first test that failed");
        fixture.cluster.run(SCHEMA).await;
        // The router learns of new functions by itself; until then they count as writes.
        wait_for("the router to know the new functions", Duration::from_secs(60), async || {
            let mut raw = fixture.raw();
            raw.query("SELECT reads_honestly(), computes(1)");
            raw.route().0 == REPLICA
        })
        .await;
    };
    LOADED.get_or_init(load).await;
    Some(fixture)
}

/// Where the statement ran and why, in a session that has done nothing before.
fn route_of(fixture: &Fixture, sql: &str) -> (String, String) {
    let mut raw = fixture.raw();
    let answer = raw.query(sql);
    assert!(sqlstates(&answer).is_empty(), "{sql}: {answer:?}");
    raw.route()
}

#[tokio::test]
async fn reads_go_to_the_replica() {
    let Some(fixture) = ready().await else { return };
    for sql in [
        "SELECT 1",
        "SELECT * FROM fixed WHERE id = 1",
        "select word from fixed order by id limit 1 -- for update",
        "WITH a AS (SELECT * FROM fixed) SELECT count(*) FROM a",
        "VALUES (1), (2)",
        "TABLE fixed",
        "(SELECT 1) UNION ALL (SELECT id FROM fixed)",
        "SELECT 'INSERT INTO scratch', $tag$DELETE FROM scratch$tag$",
        "SELECT now(), random() < 2, clock_timestamp(), gen_random_uuid() IS NOT NULL",
        "SELECT reads_honestly(), computes(1)",
        "SELECT * FROM harmless",
        "EXPLAIN SELECT * FROM fixed",
        "EXPLAIN (ANALYZE) SELECT * FROM fixed",
        "COPY fixed TO STDOUT",
        "COPY (SELECT word FROM fixed) TO STDOUT",
        "SELECT 1; SELECT 2",
        "/* a comment */ SELECT count(*) FROM fixed f JOIN fixed g USING (id)",
    ] {
        let (role, reason) = route_of(fixture, sql);
        assert_eq!((role.as_str(), reason.as_str()), (REPLICA, "fresh_replica"), "{sql}");
    }
}

#[tokio::test]
async fn writes_and_whatever_may_write_go_to_the_primary() {
    let Some(fixture) = ready().await else { return };
    for sql in [
        "INSERT INTO scratch VALUES (1, 'a')",
        "UPDATE scratch SET word = 'b' WHERE id = 1",
        "DELETE FROM scratch WHERE id = 1",
        "TRUNCATE scratch",
        "SELECT * FROM fixed WHERE id = 1 FOR UPDATE",
        "SELECT * FROM fixed WHERE id = 1 FOR NO KEY UPDATE",
        "SELECT * FROM fixed WHERE id = 1 FOR SHARE SKIP LOCKED",
        "SELECT * FROM (SELECT id FROM fixed FOR KEY SHARE) x",
        "WITH a AS (INSERT INTO scratch VALUES (2, 'cte') RETURNING id) SELECT * FROM a",
        "EXPLAIN ANALYZE INSERT INTO scratch VALUES (3, 'explained')",
        "DO $$ BEGIN PERFORM 1; END $$",
        "CALL does_something()",
        "SELECT nextval('numbers')",
        "SELECT setval('numbers', 10)",
        "SELECT writes_honestly()",
        "SELECT * FROM harmful",
        "SELECT 1 WHERE EXISTS (SELECT writes_honestly())",
        "SELECT pg_notify('channel', 'x')",
        "SELECT pg_current_xact_id()",
        "SELECT txid_current()",
        "NOTIFY channel",
        "CREATE TABLE IF NOT EXISTS scratch_ddl (id int)",
        "ALTER TABLE scratch ALTER word SET DEFAULT 'x'",
        "ANALYZE scratch",
        "VACUUM scratch",
        "SELECT pg_advisory_xact_lock(1)",
        "SELECT 1; INSERT INTO scratch VALUES (4, 'second')",
        "INSERT INTO scratch VALUES (4, 'first'); SELECT 1",
    ] {
        let (role, _) = route_of(fixture, sql);
        assert_eq!(role, PRIMARY, "{sql}");
    }
}

#[tokio::test]
async fn the_node_that_the_router_names_is_the_node_that_answers() {
    let Some(fixture) = ready().await else { return };
    let (primary, replica) =
        (fixture.cluster.primary.port.to_string(), fixture.cluster.replica().port.to_string());
    let mut raw = fixture.raw();
    assert_eq!(raw.value("SELECT served_by()"), replica);
    let answer = raw.query("SHOW highwater.last_route");
    assert_eq!(column(&answer, "role"), REPLICA);
    assert!(column(&answer, "node").contains(&replica), "{answer:?}");
    assert_eq!(column(&answer, "level"), "session");
    assert!(column(&answer, "staleness_ms").parse::<f64>().is_ok_and(|age| age < 10_000.0), "{answer:?}");
    assert_eq!(raw.value("/* highwater: route=primary */ SELECT served_by()"), primary);
    let answer = raw.query("SHOW highwater.last_route");
    assert_eq!(column(&answer, "reason"), "route_is_primary");
    assert!(column(&answer, "node").contains(&primary), "{answer:?}");
    assert_eq!(
        raw.value("WITH w AS (INSERT INTO scratch VALUES (9, 'x') RETURNING 1) SELECT served_by() FROM w"),
        primary
    );
}

#[tokio::test]
async fn prepared_statements_are_routed_like_simple_ones() {
    let Some(fixture) = ready().await else { return };
    let (primary, replica) =
        (i32::from(fixture.cluster.primary.port), i32::from(fixture.cluster.replica().port));
    // Two sessions: after a statement that may have written, a session's reads stay on the primary for a moment.
    let (reader, locker) = (fixture.connect().await, fixture.connect().await);
    let read = reader.prepare("SELECT served_by() WHERE 1 = $1::int").await.unwrap();
    let lock = locker.prepare("SELECT served_by() FROM fixed WHERE id = $1 FOR UPDATE").await.unwrap();
    for _ in 0..5 {
        assert_eq!(reader.query_one(&read, &[&1]).await.unwrap().get::<_, i32>(0), replica);
        assert_eq!(locker.query_one(&lock, &[&1]).await.unwrap().get::<_, i32>(0), primary);
    }
}

#[tokio::test]
async fn the_name_with_rw_is_the_primary_whatever_is_asked() {
    let Some(fixture) = ready().await else { return };
    let mut raw = Raw::login(fixture.port(), "app", APP_PASSWORD, "app_rw");
    assert_eq!(raw.value("SELECT served_by()"), fixture.cluster.primary.port.to_string());
    assert_eq!(raw.route(), (PRIMARY.to_owned(), "route_is_primary".to_owned()));
    assert_eq!(raw.value("SELECT current_database()"), "app");
    assert!(sqlstates(&raw.query("INSERT INTO scratch VALUES (5, 'rw')")).is_empty());
}

#[tokio::test]
async fn the_name_with_ro_reads_on_the_replica_and_refuses_writes() {
    let Some(fixture) = ready().await else { return };
    let mut raw = Raw::login(fixture.port(), "app", APP_PASSWORD, "app_ro");
    assert_eq!(raw.value("SELECT served_by()"), fixture.cluster.replica().port.to_string());
    for sql in [
        "INSERT INTO scratch VALUES (6, 'ro')",
        "CREATE TABLE never_made (id int)",
        "SELECT nextval('numbers')",
        "SELECT writes_honestly()",
        "WITH a AS (DELETE FROM scratch RETURNING id) SELECT count(*) FROM a",
    ] {
        let answer = raw.query(sql);
        assert_eq!(sqlstates(&answer), ["25006"], "{sql}: {answer:?}");
    }
    raw.send(&[run("INSERT INTO scratch VALUES (6, 'ro')", &[]), sync()].concat());
    assert_eq!(sqlstates(&raw.until_ready()), ["25006"]);
    assert_eq!(raw.value("SELECT 1"), "1");
}

#[tokio::test]
async fn a_read_only_block_runs_on_the_replica_from_begin_to_end() {
    let Some(fixture) = ready().await else { return };
    let replica = fixture.cluster.replica().port.to_string();
    for begin in [
        "BEGIN READ ONLY",
        "START TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY",
        "BEGIN; SET TRANSACTION READ ONLY",
    ] {
        let mut raw = fixture.raw();
        for part in begin.split("; ") {
            assert!(sqlstates(&raw.query(part)).is_empty(), "{part}");
        }
        for _ in 0..3 {
            assert_eq!(raw.value("SELECT served_by()"), replica, "{begin}");
        }
        assert_eq!(raw.route().0, REPLICA);
        assert_eq!(sqlstates(&raw.query("INSERT INTO scratch VALUES (7, 'no')")), ["25006"], "{begin}");
        assert_eq!(tags(&raw.query("ROLLBACK")), "C ZI");
        assert!(sqlstates(&raw.query("INSERT INTO scratch VALUES (7, 'yes')")).is_empty(), "after {begin}");
    }
}

#[tokio::test]
async fn a_block_that_may_write_runs_on_the_primary_from_begin_to_end() {
    let Some(fixture) = ready().await else { return };
    let primary = fixture.cluster.primary.port.to_string();
    let mut raw = fixture.raw();
    assert_eq!(tags(&raw.query("BEGIN")), "C ZT");
    assert_eq!(raw.value("SELECT served_by()"), primary);
    assert!(sqlstates(&raw.query("INSERT INTO scratch VALUES (8, 'block')")).is_empty());
    assert_eq!(raw.value("SELECT served_by()"), primary);
    assert_eq!(tags(&raw.query("SAVEPOINT a")), "C ZT");
    assert_eq!(tags(&raw.query("ROLLBACK TO a")), "C ZT");
    assert_eq!(raw.value("SELECT count(*) FROM scratch WHERE word = 'block'"), "1");
    assert_eq!(tags(&raw.query("COMMIT")), "C ZI");
}

#[tokio::test]
async fn a_session_that_is_read_only_by_default_reads_on_the_replica() {
    let Some(fixture) = ready().await else { return };
    for set in
        ["SET default_transaction_read_only = on", "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY"]
    {
        let mut raw = fixture.raw();
        assert!(sqlstates(&raw.query(set)).is_empty());
        raw.query("BEGIN");
        assert_eq!(raw.value("SELECT served_by()"), fixture.cluster.replica().port.to_string(), "{set}");
        raw.query("COMMIT");
        assert_eq!(sqlstates(&raw.query("INSERT INTO scratch VALUES (10, 'x')")), ["25006"], "{set}");
        assert_eq!(tags(&raw.query("BEGIN READ WRITE")), "C ZT");
        assert!(sqlstates(&raw.query("INSERT INTO scratch VALUES (10, 'x')")).is_empty(), "{set}");
        raw.query("COMMIT");
    }
}

#[tokio::test]
async fn the_isolation_that_a_session_has_by_default_goes_with_it_and_ties_it_to_no_node() {
    let Some(fixture) = ready().await else { return };
    let isolation = |raw: &mut Raw| raw.value("SHOW default_transaction_isolation");
    for (set, expected) in [
        ("SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL REPEATABLE READ", "repeatable read"),
        (
            "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ WRITE",
            "serializable",
        ),
        ("SET default_transaction_isolation = 'serializable'", "serializable"),
    ] {
        let mut raw = fixture.raw();
        assert!(sqlstates(&raw.query(set)).is_empty());
        assert_eq!(isolation(&mut raw), expected);
        let reader = raw.value("SELECT served_by()");
        let replica = reader == fixture.cluster.replica().port.to_string();
        assert_eq!(replica, expected != "serializable", "{set}: a replica refuses SERIALIZABLE");
        assert!(sqlstates(&raw.query("INSERT INTO scratch VALUES (11, 'x')")).is_empty(), "{set}");
        assert_eq!(isolation(&mut raw), expected);
        raw.query("BEGIN READ ONLY");
        assert_eq!(raw.value("SHOW transaction_isolation"), expected);
        raw.query("COMMIT");
        let mut other = fixture.raw();
        assert_eq!(isolation(&mut other), "read committed", "{set}: seen by another");
        assert_eq!(other.value("SELECT served_by()"), fixture.cluster.replica().port.to_string(), "{set}");
    }
}

#[tokio::test]
async fn a_session_can_ask_for_a_route_and_take_it_back() {
    let Some(fixture) = ready().await else { return };
    let (primary, replica) =
        (fixture.cluster.primary.port.to_string(), fixture.cluster.replica().port.to_string());
    let mut raw = fixture.raw();
    assert_eq!(tags(&raw.query("SET highwater.route = 'primary'")), "C ZI");
    assert_eq!(raw.value("SELECT served_by()"), primary);
    assert_eq!(tags(&raw.query("SET highwater.route TO auto")), "C ZI");
    assert_eq!(raw.value("SELECT served_by()"), replica);
    assert_eq!(tags(&raw.query("SET highwater.consistency = 'strong'")), "C ZI");
    assert_eq!(raw.value("SELECT served_by()"), primary);
    assert_eq!(tags(&raw.query("RESET highwater.consistency")), "C ZI");
    assert_eq!(raw.value("SELECT served_by()"), replica);
    let asked = [("user", "app"), ("database", "app"), ("options", "-c highwater.route=primary")];
    let mut raw = Raw::login_with(fixture.port(), APP_PASSWORD, &asked);
    assert_eq!(raw.value("SELECT served_by()"), primary);
}

/// A function that claims to be STABLE and writes: PostgreSQL refuses INSERT inside such a function, not a call of
/// another that does it.
const LIAR: &str = "
    CREATE TABLE IF NOT EXISTS lies (id serial, word text);
    CREATE OR REPLACE FUNCTION tells_no_lies(w text) RETURNS void VOLATILE LANGUAGE plpgsql AS
        $$ BEGIN INSERT INTO lies (word) VALUES (w); END $$;
    CREATE OR REPLACE FUNCTION lies_to_all(w text) RETURNS text STABLE LANGUAGE plpgsql AS
        $$ BEGIN PERFORM tells_no_lies(w); RETURN 'wrote ' || w; END $$;";

#[tokio::test]
async fn a_write_that_the_replica_refuses_runs_once_on_the_primary_and_is_remembered() {
    let Some(fixture) = ready().await else { return };
    fixture.cluster.run(LIAR).await;
    let count = async |word: &str| -> i64 {
        let client = fixture.cluster.primary.connect("app").await;
        client.query_one("SELECT count(*) FROM lies WHERE word = $1", &[&word]).await.unwrap().get(0)
    };
    // Until the router knows the function, it takes it for a write; each word has a shape of its own.
    let mut healed = None;
    wait_for("the router to believe the lie", Duration::from_secs(60), async || {
        static ROUND: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let round = ROUND.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let (word, columns) = (format!("w{round}"), ", 1".repeat(round as usize + 1));
        let sql = format!("SELECT lies_to_all('{word}'){columns}");
        let mut raw = fixture.raw();
        assert_eq!(values(&raw.query(&sql)), [format!("wrote {word}")]);
        let route = raw.query("SHOW highwater.last_route");
        assert_eq!(column(&route, "role"), PRIMARY);
        assert_eq!(count(&word).await, 1, "{word} was written once");
        if column(&route, "reason") == "refused_by_replica" {
            assert!(["t", "true", "on", "1", "yes"].contains(&column(&route, "reran").as_str()), "{route:?}");
            healed = Some((raw, sql));
        }
        healed.is_some()
    })
    .await;
    let (mut raw, sql) = healed.expect("the wait ended");
    raw.query(&sql);
    assert_eq!(raw.route(), (PRIMARY.to_owned(), "learned_write".to_owned()));
    let mut other = fixture.raw();
    other.query(&sql.replace("'w", "'other w"));
    assert_eq!(other.route(), (PRIMARY.to_owned(), "learned_write".to_owned()), "a shape is known to all");

    // By extended messages, in a pipeline with reads around it.
    let mut raw = fixture.raw();
    let liar = run("SELECT lies_to_all($1), 'extended'", &[Some("extended")]);
    raw.send(&[run("SELECT 1", &[]), sync(), liar, sync(), run("SELECT 3", &[]), sync()].concat());
    assert_eq!(values(&raw.until_ready()), ["1"]);
    let answer = raw.until_ready();
    assert_eq!(tags(&answer), "1 2 T D C ZI", "{answer:?}");
    assert_eq!(values(&answer), ["wrote extended"]);
    assert_eq!(values(&raw.until_ready()), ["3"]);
    assert_eq!(count("extended").await, 1);

    // Whoever asked for read-only gets the error.
    let mut raw = Raw::login(fixture.port(), "app", APP_PASSWORD, "app_ro");
    assert_eq!(sqlstates(&raw.query("SELECT lies_to_all('never'), 'ro'")), ["25006"]);
    let mut raw = fixture.raw();
    raw.query("BEGIN READ ONLY");
    assert_eq!(sqlstates(&raw.query("SELECT lies_to_all('never'), 'block'")), ["25006"]);
    raw.query("ROLLBACK");
    assert_eq!(count("never").await, 0);
}

#[tokio::test]
async fn settings_follow_a_session_to_both_nodes() {
    let Some(fixture) = ready().await else { return };
    let mut raw = fixture.raw();
    raw.query("SET statement_timeout = '54321ms'");
    raw.query("SET search_path = pg_catalog, public");
    raw.query("SET application_name = 'my app'");
    for route in ["primary", "auto"] {
        let hint = format!("/* highwater: route={route} */");
        let shown = |name: &str| {
            format!("{hint} SELECT setting FROM (SELECT current_setting('{name}') AS setting) s")
        };
        assert_eq!(raw.value(&shown("statement_timeout")), "54321ms", "{route}");
        assert_eq!(raw.value(&shown("search_path")), "pg_catalog, public", "{route}");
        assert_eq!(raw.value(&shown("application_name")), "my app", "{route}");
    }
}

#[tokio::test]
async fn errors_of_reads_are_those_of_postgresql() {
    let Some(fixture) = ready().await else { return };
    let client = fixture.connect().await;
    let error = client.query("SELECT no_such_column FROM fixed", &[]).await.unwrap_err();
    assert_eq!(error.code(), Some(&SqlState::UNDEFINED_COLUMN));
    let error = client.query("SELECT * FROM no_such_table", &[]).await.unwrap_err();
    assert_eq!(error.code(), Some(&SqlState::UNDEFINED_TABLE));
    let error = client.query("SELECT 1 / (id - id) FROM fixed", &[]).await.unwrap_err();
    assert_eq!(error.code(), Some(&SqlState::DIVISION_BY_ZERO));
    assert_eq!(client.query_one("SELECT 1", &[]).await.unwrap().get::<_, i32>(0), 1);
}

#[tokio::test]
async fn a_role_whose_strings_take_backslashes_is_read_so_and_told_so() {
    if direct() {
        return;
    }
    let fixture = Fixture::start(Settings::default()).await;
    fixture.cluster.run("CREATE SEQUENCE numbers; GRANT ALL ON SEQUENCE numbers TO app").await;
    let superuser = fixture.cluster.primary.superuser().await;
    superuser.batch_execute("ALTER ROLE other SET standard_conforming_strings = off").await.unwrap();
    let mut other = Raw::login(fixture.port(), "other", OTHER_PASSWORD, "app");
    // Two columns and a comment where backslashes escape quotes; where they do not, two strings that hide the function.
    let text = r"SELECT 'x\', ', nextval($$numbers$$) -- , ' || '";
    let hidden = r"SELECT 'x\', ', nextval($$numbers$$), ' || ' -- '";
    let answer = other.query(text);
    assert_eq!(answer[0].tag, b'S', "the client is told before it gets an answer");
    assert_eq!(answer[0].body, b"standard_conforming_strings\0off\0");
    assert_eq!(values(&answer), ["x', "]);
    for (number, text) in [text, hidden, hidden].into_iter().enumerate() {
        assert_eq!(sqlstates(&other.query(text)), Vec::<String>::new());
        let route = other.query("SHOW highwater.last_route");
        let told = ["role", "reason", "reran"].map(|name| column(&route, name));
        assert_eq!(told, [PRIMARY, "volatile_function", "false"], "{number}: {text}");
    }
    let mut app = Raw::login(fixture.port(), "app", APP_PASSWORD, "app");
    app.query("SELECT 1");
    assert_eq!(values(&app.query(hidden)), [r"x\"], "others read it as the standard says");
    assert_ne!(app.route().1, "volatile_function");
}
