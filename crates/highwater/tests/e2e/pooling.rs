//! Few backends for many clients: exact limits, a fair queue, and nothing of one client ever seen by another.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::harness::raw::{Raw, bind, column, execute, parse, run, sqlstates, sync, tags, values};
use crate::harness::template::{APP_PASSWORD, OTHER_PASSWORD};
use crate::harness::{Fixture, Settings, direct, shared, wait_for};

const PATIENCE: Duration = Duration::from_secs(60);

/// A cluster and router of its own; `None` when the tests run direct.
async fn start(pool_size: u32) -> Option<Fixture> {
    start_with(Settings { pool_size, ..Settings::default() }).await
}

async fn start_with(settings: Settings) -> Option<Fixture> {
    if direct() { None } else { Some(Fixture::start(settings).await) }
}

/// Backends of the role `app` on the primary at this moment.
async fn backends(fixture: &Fixture) -> i64 {
    let client = fixture.cluster.primary.superuser().await;
    let asked =
        "SELECT count(*) FROM pg_stat_activity WHERE usename = 'app' AND backend_type = 'client backend'";
    client.query_one(asked, &[]).await.unwrap().get(0)
}

#[tokio::test]
async fn fifty_clients_share_exactly_five_backends() {
    let Some(fixture) = start(5).await else { return };
    fixture.cluster.run("CREATE TABLE t (client int, backend int)").await;
    let port = fixture.port();
    let finished = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..50)
        .map(|number| {
            std::thread::spawn(move || {
                let mut raw = Raw::login(port, "app", APP_PASSWORD, "app");
                for _ in 0..10 {
                    assert_eq!(tags(&raw.query("BEGIN")), "C ZT");
                    assert_eq!(
                        tags(&raw.query(&format!("INSERT INTO t VALUES ({number}, pg_backend_pid())"))),
                        "C ZT"
                    );
                    assert_eq!(tags(&raw.query("SELECT pg_sleep(0.002)")), "T D C ZT");
                    assert_eq!(tags(&raw.query("COMMIT")), "C ZI");
                }
            })
        })
        .collect();
    let watched = finished.clone();
    let watch = async {
        let superuser = fixture.cluster.primary.superuser().await;
        let mut most = 0;
        while !watched.load(Ordering::Relaxed) {
            let asked = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'app'";
            let now: i64 = superuser.query_one(asked, &[]).await.unwrap().get(0);
            most = most.max(now);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        most
    };
    let join = tokio::task::spawn_blocking(move || {
        let results: Vec<_> = clients.into_iter().map(std::thread::JoinHandle::join).collect();
        finished.store(true, Ordering::Relaxed);
        results
    });
    let (most, results) = futures_util::future::join(watch, join).await;
    assert!(results.unwrap().iter().all(Result::is_ok));
    assert_eq!(most, 5, "never more than the limit, and all of it used");
    let client = fixture.cluster.primary.connect("app").await;
    let row = client
        .query_one("SELECT count(*), count(DISTINCT client), count(DISTINCT backend) FROM t", &[])
        .await;
    let row = row.unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (500, 50));
    assert!(row.get::<_, i64>(2) <= 5);
}

#[tokio::test]
async fn waiting_clients_are_served_in_the_order_they_came() {
    let Some(fixture) = start(1).await else { return };
    fixture.cluster.run("CREATE TABLE served (place serial, client int)").await;
    let mut holder = fixture.raw();
    holder.query("BEGIN");
    holder.query("SELECT pg_current_xact_id()");
    let mut waiting: Vec<Raw> = (0..8).map(|_| fixture.raw()).collect();
    for (number, raw) in waiting.iter_mut().enumerate() {
        raw.send_query(&format!("INSERT INTO served (client) VALUES ({number})"));
        // The next one may come only when this one stands in the queue.
        assert!(raw.silent_for(Duration::from_millis(30)), "there is no backend for it yet");
    }
    holder.query("COMMIT");
    for raw in &mut waiting {
        assert_eq!(tags(&raw.until_ready()), "C ZI");
    }
    let answer =
        fixture.raw().query("/* highwater: route=primary */ SELECT client FROM served ORDER BY place");
    assert_eq!(values(&answer), ["0", "1", "2", "3", "4", "5", "6", "7"]);
}

#[tokio::test]
async fn a_wait_that_is_too_long_ends_in_an_error_that_says_so() {
    let Some(fixture) = start_with(Settings { pool_size: 1, wait: "1s", ..Settings::default() }).await else {
        return;
    };
    let mut holder = fixture.raw();
    holder.query("BEGIN");
    holder.query("SELECT pg_current_xact_id()");
    let mut waiting = fixture.raw();
    let begin = Instant::now();
    waiting.send_query("CREATE TABLE never_made (id int)");
    let mut answer = Vec::new();
    while let Some(message) = waiting.try_receive().unwrap() {
        let last = message.tag == b'Z';
        answer.push(message);
        if last {
            break;
        }
    }
    let took = begin.elapsed();
    assert!(took >= Duration::from_millis(900), "gave up after {took:?}");
    let error = answer.iter().find(|message| message.tag == b'E').unwrap_or_else(|| panic!("{answer:?}"));
    assert!(error.field(b'M').is_some_and(|text| text.contains("query_wait_timeout")), "{error:?}");
    // Whoever held the backend was not disturbed.
    assert_eq!(tags(&holder.query("COMMIT")), "C ZI");
    assert_eq!(fixture.raw().value("SELECT count(*) FROM pg_class WHERE relname = 'never_made'"), "0");
}

#[tokio::test]
async fn in_session_mode_a_client_keeps_its_backend_and_its_state() {
    let settings = Settings { pool_mode: "session", pool_size: 5, ..Settings::default() };
    let Some(fixture) = start_with(settings).await else { return };
    let own = "/* highwater: route=primary */ SELECT pg_backend_pid()";
    let mut clients: Vec<Raw> = (0..3).map(|_| fixture.raw()).collect();
    let mut pids = BTreeSet::new();
    for raw in &mut clients {
        let pid = raw.value(own);
        raw.query("CREATE TEMP TABLE mine AS SELECT 1 AS n");
        assert_eq!(raw.value("SELECT pg_advisory_lock_shared(7) IS NULL"), "f");
        for _ in 0..5 {
            assert_eq!(raw.value(own), pid);
            assert_eq!(raw.value("SELECT count(*) FROM mine"), "1");
        }
        pids.insert(pid);
    }
    assert_eq!(pids.len(), 3, "each has a backend of its own");
    drop(clients);
    nothing_is_left(&fixture).await;
}

/// Waits until no backend of `app` on the primary holds a lock, a temporary table, a transaction or a channel.
async fn nothing_is_left(fixture: &Fixture) {
    let client = fixture.cluster.primary.superuser().await;
    wait_for("the backends to be clean", PATIENCE, async || {
        let asked = "SELECT (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory') \
                     + (SELECT count(*) FROM pg_class WHERE relpersistence = 't') \
                     + (SELECT count(*) FROM pg_stat_activity \
                        WHERE usename IN ('app', 'other') AND state LIKE 'idle in transaction%')";
        client.query_one(asked, &[]).await.unwrap().get::<_, i64>(0) == 0
    })
    .await;
}

#[tokio::test]
async fn a_client_that_vanishes_in_a_transaction_is_rolled_back() {
    let Some(fixture) = start(1).await else { return };
    fixture.cluster.run("CREATE TABLE t (id int PRIMARY KEY)").await;
    for round in 0..5 {
        let mut gone = fixture.raw();
        gone.query("BEGIN");
        assert_eq!(tags(&gone.query("INSERT INTO t VALUES (1)")), "C ZT");
        gone.query("LOCK TABLE t IN ACCESS EXCLUSIVE MODE");
        if round % 2 == 1 {
            // In the middle of a statement, too.
            gone.send_query("SELECT pg_sleep(0.05)");
        }
        gone.vanish();
        let mut next = fixture.raw();
        assert_eq!(next.value("SELECT count(*) FROM t"), "0");
        assert_eq!(tags(&next.query("INSERT INTO t VALUES (1)")), "C ZI");
        assert_eq!(tags(&next.query("DELETE FROM t")), "C ZI");
    }
    nothing_is_left(&fixture).await;
}

#[tokio::test]
async fn half_a_date_style_is_never_mixed_with_anothers() {
    let Some(fixture) = start(1).await else { return };
    let (mut a, mut b) = (fixture.raw(), fixture.raw());
    a.query("SET DateStyle = 'SQL'");
    a.query("SELECT set_config('DateStyle', 'DMY', false)");
    for _ in 0..3 {
        b.query("SET DateStyle TO 'ISO'");
        for ask in ["SHOW DateStyle", "/* highwater: route=primary */ SELECT current_setting('DateStyle')"] {
            assert_eq!(a.value(ask), "SQL, DMY");
            assert_eq!(b.value(ask), "ISO, MDY");
        }
    }
}

#[tokio::test]
async fn settings_of_one_client_are_never_seen_by_another() {
    let Some(fixture) = start(1).await else { return };
    let (mut a, mut b) = (fixture.raw(), fixture.raw());
    let names = [
        "statement_timeout",
        "TimeZone",
        "search_path",
        "application_name",
        "work_mem",
        "extra_float_digits",
    ];
    let show = |raw: &mut Raw| -> Vec<String> {
        names.iter().map(|name| raw.value(&format!("SHOW {name}"))).collect()
    };
    let before = show(&mut b);
    a.query("SET statement_timeout = '5min'; SET TimeZone = 'Asia/Tokyo'; SET search_path = pg_catalog");
    a.query("SET application_name = 'a'");
    a.query("SET work_mem = '5MB'");
    a.query("SELECT set_config('extra_float_digits', '0', false)");
    let changed = show(&mut a);
    assert_eq!(changed, ["5min", "Asia/Tokyo", "pg_catalog", "a", "5MB", "0"]);
    drop(std::mem::replace(&mut a, fixture.raw()));
    assert_eq!(show(&mut a), before, "a new session begins with the defaults");
    a.query("SET TimeZone = 'Asia/Tokyo'");
    for _ in 0..5 {
        assert_eq!(a.value("SHOW TimeZone"), "Asia/Tokyo");
        assert_eq!(b.value("SHOW TimeZone"), before[1]);
        b.query("SET statement_timeout = '7s'");
        assert_eq!(a.value("SHOW statement_timeout"), before[0]);
        assert_eq!(
            b.value("/* highwater: route=primary */ SELECT current_setting('statement_timeout')"),
            "7s"
        );
        b.query("RESET statement_timeout");
    }
    a.query("BEGIN; SET LOCAL work_mem = '9MB'; SET TimeZone = 'Europe/Kyiv'");
    assert_eq!(a.value("SHOW work_mem"), "9MB");
    a.query("ROLLBACK");
    assert_eq!(a.value("SHOW work_mem"), before[4]);
    assert_eq!(a.value("SHOW TimeZone"), "Asia/Tokyo", "a SET that was rolled back did not happen");
    a.query("BEGIN; SET TimeZone = 'Europe/Kyiv'");
    a.query("COMMIT");
    assert_eq!(a.value("SHOW TimeZone"), "Europe/Kyiv");
    a.query("DISCARD ALL");
    assert_eq!(show(&mut a), before);
}

#[tokio::test]
async fn settings_that_outlive_an_error_or_a_rollback_are_their_clients_own() {
    let Some(fixture) = start(1).await else { return };
    let (mut a, mut b) = (fixture.raw(), fixture.raw());
    let shown =
        |raw: &mut Raw| raw.value("/* highwater: route=primary */ SELECT current_setting('work_mem')");
    let before = shown(&mut b);
    let long = format!("SELECT '{}'; SET work_mem = '7MB'", "x".repeat(200_000));
    let cases: [(&[&str], &str); 4] = [
        (&["/* highwater: route=primary */ SET work_mem = '5MB'; COMMIT; SELECT 1/0"], "5MB"),
        (&["BEGIN", "SET work_mem = '6MB'", "COMMIT AND CHAIN", "ROLLBACK"], "6MB"),
        (&["BEGIN", "SET work_mem = '6MB'; COMMIT; BEGIN; SET work_mem = '9MB'", "ROLLBACK"], "6MB"),
        (&[&long], "7MB"),
    ];
    for (texts, after) in cases {
        for text in texts {
            a.query(text);
        }
        assert_eq!(shown(&mut b), before, "after {:.60}", texts[0]);
        assert_eq!(shown(&mut a), after, "after {:.60}", texts[0]);
    }
}

#[tokio::test]
async fn what_a_backend_holds_for_a_client_leaves_with_it() {
    let Some(fixture) = start(2).await else { return };
    for _ in 0..3 {
        let (mut a, mut b) = (fixture.raw(), fixture.raw());
        a.query("CREATE TEMP TABLE private (n int)");
        a.query("INSERT INTO private VALUES (1)");
        assert_eq!(a.value("SELECT pg_try_advisory_lock(42)"), "t");
        a.query("LISTEN private_channel");
        a.query("PREPARE private_plan AS SELECT 'mine'");
        a.query("DECLARE private_cursor CURSOR WITH HOLD FOR SELECT 1");
        // It has them all, whatever others do.
        for _ in 0..3 {
            assert_eq!(sqlstates(&b.query("SELECT * FROM private")), ["42P01"]);
            assert_eq!(b.value("SELECT pg_try_advisory_lock(42)"), "f");
            assert_eq!(sqlstates(&b.query("EXECUTE private_plan")), ["26000"]);
            assert_eq!(sqlstates(&b.query("FETCH 1 FROM private_cursor")), ["34000"]);
            assert_eq!(a.value("SELECT count(*) FROM private"), "1");
            assert_eq!(a.value("EXECUTE private_plan"), "mine");
        }
        b.query("NOTIFY private_channel, 'for a'");
        let mut heard = a.query("SELECT 1");
        let deadline = Instant::now() + PATIENCE;
        while !heard.iter().any(|message| message.tag == b'A') && Instant::now() < deadline {
            heard = a.query("SELECT 1");
        }
        assert!(heard.iter().any(|message| message.tag == b'A'), "the listener hears");
        assert!(b.query("SELECT 1").iter().all(|message| message.tag != b'A'), "nobody else does");
        assert_eq!(a.value("FETCH 1 FROM private_cursor"), "1");
        drop((a, b));
        nothing_is_left(&fixture).await;
        let mut c = fixture.raw();
        for _ in 0..4 {
            assert_eq!(sqlstates(&c.query("SELECT * FROM private")), ["42P01"]);
            assert_eq!(sqlstates(&c.query("EXECUTE private_plan")), ["26000"]);
            assert_eq!(
                c.value("/* highwater: route=primary */ SELECT count(*) FROM pg_listening_channels()"),
                "0"
            );
        }
    }
}

#[tokio::test]
async fn state_made_behind_discard_all_in_one_batch_stays_with_its_session() {
    let Some(fixture) = start(2).await else { return };
    for made in [
        "CREATE TEMP TABLE mine (n int)",
        "SELECT pg_advisory_lock(77)",
        "LISTEN mine",
        "PREPARE mine AS SELECT 1",
    ] {
        let (mut a, mut b) = (fixture.raw(), fixture.raw());
        a.send(&[run("DISCARD ALL", &[]), run(made, &[]), sync()].concat());
        let answer = a.until_ready();
        assert!(sqlstates(&answer).is_empty(), "{answer:?}");
        let seen = "/* highwater: route=primary */ SELECT (SELECT count(*) FROM pg_class WHERE relname = 'mine' AND pg_table_is_visible(oid)) \
                    + (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()) \
                    + (SELECT count(*) FROM pg_listening_channels()) + (SELECT count(*) FROM pg_prepared_statements WHERE name = 'mine')";
        for _ in 0..3 {
            assert_eq!(b.value(seen), "0", "{made}: another session sees it");
            assert_eq!(a.value(seen), "1", "{made}: its own session does not");
        }
        drop((a, b));
        nothing_is_left(&fixture).await;
        assert_eq!(fixture.raw().value(seen), "0", "{made}: the next session sees it");
    }
}

#[tokio::test]
async fn prepared_statements_of_one_client_are_not_those_of_another() {
    let Some(fixture) = start(1).await else { return };
    let (mut a, mut b) = (fixture.raw(), fixture.raw());
    a.send(&[parse("s", "SELECT 'of a'"), sync()].concat());
    assert_eq!(tags(&a.until_ready()), "1 ZI");
    b.send(&[bind("", "s", &[]), execute("", 0), sync()].concat());
    assert_eq!(sqlstates(&b.until_ready()), ["26000"]);
    b.send(&[parse("s", "SELECT 'of b'"), sync()].concat());
    assert_eq!(tags(&b.until_ready()), "1 ZI");
    for _ in 0..10 {
        for (raw, wanted) in [(&mut a, "of a"), (&mut b, "of b")] {
            raw.send(&[bind("", "s", &[]), execute("", 0), sync()].concat());
            assert_eq!(values(&raw.until_ready()), [wanted]);
        }
    }
    a.query("DEALLOCATE ALL");
    a.send(&[bind("", "s", &[]), execute("", 0), sync()].concat());
    assert_eq!(sqlstates(&a.until_ready()), ["26000"]);
    b.send(&[bind("", "s", &[]), execute("", 0), sync()].concat());
    assert_eq!(values(&b.until_ready()), ["of b"]);
}

/// Parses, binds, describes and runs an unnamed statement.
fn unnamed(raw: &mut Raw, sql: &str) -> Vec<crate::harness::raw::Message> {
    raw.send(&[parse("", sql), bind("", "", &[]), execute("", 0), sync()].concat());
    raw.until_ready()
}

#[tokio::test]
async fn the_same_text_means_to_each_client_what_its_own_settings_make_of_it() {
    // One backend on each node, so that all of them meet there.
    let Some(fixture) = start(1).await else { return };
    let sql = "SELECT extract(epoch FROM '2026-01-01 00:00'::timestamptz)::bigint::text";
    let zones = [("UTC", "1767225600"), ("Asia/Tokyo", "1767193200"), ("America/New_York", "1767243600")];
    let mut clients: Vec<Raw> = zones
        .iter()
        .map(|(zone, _)| {
            let parameters = [("user", "app"), ("database", "app"), ("TimeZone", *zone)];
            Raw::login_with(fixture.port(), APP_PASSWORD, &parameters)
        })
        .collect();
    for raw in &mut clients {
        raw.send(&[parse("s", sql), sync()].concat());
        assert_eq!(tags(&raw.until_ready()), "1 ZI");
    }
    for _ in 0..4 {
        for (raw, (zone, wanted)) in clients.iter_mut().zip(zones) {
            raw.send(&[bind("", "s", &[]), execute("", 0), sync()].concat());
            assert_eq!(values(&raw.until_ready()), [wanted], "named, {zone}");
            assert_eq!(values(&unnamed(raw, sql)), [wanted], "unnamed, {zone}");
        }
    }
    // A moment is that of the client's own Parse: were the text given a name, it would stay the same from the second time on.
    let raw = &mut clients[0];
    let mut moment = || {
        let sql = "SELECT extract(epoch FROM 'now'::timestamptz)::float8::text";
        values(&unnamed(raw, sql))[0].parse::<f64>().unwrap()
    };
    let (_first, second) = (moment(), moment());
    wait_for("another moment", Duration::from_secs(10), async || moment() > second).await;
}

#[tokio::test]
async fn an_unnamed_read_is_parsed_once_per_backend_and_survives_a_change_of_its_columns() {
    let Some(fixture) = start(1).await else { return };
    fixture.cluster.run("CREATE TABLE turning (a int); INSERT INTO turning VALUES (1)").await;
    fixture.cluster.caught_up().await;
    let mut raw = fixture.raw();
    let sql = "SELECT * FROM turning";
    wait_for("the router to know the table", PATIENCE, async || {
        raw.query(sql);
        raw.route().0 == "replica"
    })
    .await;
    for _ in 0..8 {
        assert_eq!(tags(&unnamed(&mut raw, sql)), "1 2 D C ZI");
    }
    assert_eq!(raw.route().0, "replica");
    // The first time it is unnamed, then it gets its name.
    assert_eq!(parses(&fixture), (8, 2));
    fixture.cluster.run("ALTER TABLE turning ADD COLUMN b text DEFAULT 'new'").await;
    fixture.cluster.caught_up().await;
    for _ in 0..8 {
        let answer = unnamed(&mut raw, sql);
        assert_eq!(tags(&answer), "1 2 D C ZI", "{:?}", sqlstates(&answer));
        assert_eq!(answer[2].columns().len(), 2);
    }
    assert_eq!(raw.route().0, "replica");
    let (asked, sent) = parses(&fixture);
    // The read that ran again counts twice.
    assert_eq!((asked, sent), (17, 4));
}

/// Parse messages from clients, and sent on to nodes.
fn parses(fixture: &Fixture) -> (u64, u64) {
    let (_, text) = fixture.router().unwrap().get("/metrics").unwrap();
    let value = |side: &str| {
        let name = format!("highwater_parses_total{{side=\"{side}\"}} ");
        let line = text.lines().find_map(|line| line.strip_prefix(name.as_str()));
        line.unwrap_or_else(|| panic!("no {name}in {text}")).parse().unwrap()
    };
    (value("client"), value("node"))
}

#[tokio::test]
async fn users_do_not_share_backends() {
    let Some(fixture) = start(3).await else { return };
    let mut a = fixture.raw();
    let mut b = Raw::login(fixture.port(), "other", OTHER_PASSWORD, "app");
    for _ in 0..5 {
        assert_eq!(a.value("SELECT current_user"), "app");
        assert_eq!(b.value("SELECT current_user"), "other");
        assert_eq!(a.value("/* highwater: route=primary */ SELECT session_user"), "app");
        assert_eq!(b.value("/* highwater: route=primary */ SELECT session_user"), "other");
    }
}

#[tokio::test]
async fn every_answer_is_its_askers_own() {
    // Many clients, few backends, answers of every shape: each carries the nonce of its question.
    let fixture = shared().await;
    let port = fixture.port();
    let clients: Vec<_> = (0..12)
        .map(|number| {
            std::thread::spawn(move || {
                let mut raw = Raw::login(port, "app", APP_PASSWORD, "app");
                for round in 0..60 {
                    let nonce = format!("{number}-{round}");
                    match round % 4 {
                        0 => assert_eq!(raw.value(&format!("SELECT '{nonce}'")), nonce),
                        1 => {
                            let hint = "/* highwater: route=primary */";
                            let sql = format!("{hint} SELECT repeat('{nonce},', 5000)");
                            assert_eq!(raw.value(&sql), format!("{nonce},").repeat(5000));
                        }
                        2 => {
                            let failing = run("SELECT $1::text, 1/(now() IS NULL)::int", &[Some(&nonce)]);
                            let asked =
                                [run("SELECT $1::text", &[Some(&nonce)]), sync(), failing, sync()].concat();
                            raw.send(&asked);
                            assert_eq!(values(&raw.until_ready()), std::slice::from_ref(&nonce));
                            assert_eq!(sqlstates(&raw.until_ready()), ["22012"]);
                        }
                        _ => {
                            raw.query("BEGIN");
                            assert_eq!(raw.value(&format!("SELECT '{nonce}'")), nonce);
                            raw.query("COMMIT");
                        }
                    }
                }
            })
        })
        .collect();
    for client in clients {
        client.join().unwrap();
    }
}

#[tokio::test]
async fn backends_that_nobody_uses_are_kept_for_the_next_client() {
    let Some(fixture) = start(5).await else { return };
    let primary = "/* highwater: route=primary */ SELECT pg_backend_pid()";
    let pid = fixture.raw().value(primary);
    for _ in 0..10 {
        assert_eq!(fixture.raw().value(primary), pid);
    }
    let seen = backends(&fixture).await;
    assert!(seen <= 2, "one backend for one client at a time, and perhaps one of the catalogue: {seen}");
    let answer = fixture.raw().query("SHOW highwater.last_route");
    assert!(sqlstates(&answer).is_empty() && !column(&answer, "role").contains(' '), "{answer:?}");
}
