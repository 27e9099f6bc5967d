//! Fresh by default: own writes are always seen, time never runs backwards, and a replica that is behind, stopped or
//! crashed costs nobody an error.

use std::time::{Duration, Instant};

use tokio_postgres::{Client, SimpleQueryMessage};

use crate::harness::raw::{Raw, close, flush, parse, run, sqlstates, sync, tags, values};
use crate::harness::template::APP_PASSWORD;
use crate::harness::{Cluster, Fixture, Router, Settings, direct, wait_for};

const PATIENCE: Duration = Duration::from_secs(60);

/// A cluster of its own with a table `t (id int, word text)`; `None` when the tests run direct.
async fn start(settings: Settings, replicas: usize) -> Option<(Cluster, Router)> {
    if direct() {
        return None;
    }
    let cluster = Cluster::start(replicas).await;
    cluster.run("CREATE TABLE t (id int, word text); INSERT INTO t VALUES (0, 'old')").await;
    let router = Router::start(&cluster, settings).await;
    reads_reach(&router, "replica").await;
    Some((cluster, router))
}

/// Waits until a new session's read is served by a node of this role.
async fn reads_reach(router: &Router, role: &str) {
    wait_for(&format!("reads to reach the {role}"), PATIENCE, async || {
        let client = router.connect("app").await;
        client.simple_query("SELECT count(*) FROM t").await.unwrap();
        route(&client).await.0 == role
    })
    .await;
}

/// Role and reason of the previous statement.
async fn route(client: &Client) -> (String, String) {
    let answer = client.simple_query("SHOW highwater.last_route").await.unwrap();
    let row = answer.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some((row.get("role")?.to_owned(), row.get("reason")?.to_owned())),
        _ => None,
    });
    row.unwrap_or_else(|| panic!("{answer:?}"))
}

async fn count(client: &Client) -> i64 {
    client.query_one("SELECT count(*) FROM t", &[]).await.unwrap().get(0)
}

#[tokio::test]
async fn a_session_sees_its_own_writes_on_a_delayed_replica() {
    let Some((cluster, router)) = start(Settings::default(), 1).await else { return };
    cluster.replica().apply_delay("150ms").await;
    let client = router.connect("app").await;
    let insert = client.prepare("INSERT INTO t VALUES ($1, 'own')").await.unwrap();
    let select = client.prepare("SELECT count(*) FROM t WHERE id = $1").await.unwrap();
    for id in 1..=60_i32 {
        client.execute(&insert, &[&id]).await.unwrap();
        for _ in 0..3 {
            assert_eq!(client.query_one(&select, &[&id]).await.unwrap().get::<_, i64>(0), 1, "row {id}");
        }
    }
    // Once the replica has caught up, this session's reads go back to it.
    wait_for("reads to return to the replica", PATIENCE, async || {
        assert_eq!(count(&client).await, 61);
        route(&client).await.0 == "replica"
    })
    .await;
}

#[tokio::test]
async fn while_replay_is_paused_a_writer_never_sees_the_old_row() {
    let Some((cluster, router)) = start(Settings::default(), 1).await else { return };
    let reader = router.connect("app").await;
    assert_eq!(count(&reader).await, 1);
    cluster.replica().pause_replay().await;
    let writer = router.connect("app").await;
    for round in 2..=30 {
        writer.execute("INSERT INTO t VALUES (1, 'new')", &[]).await.unwrap();
        assert_eq!(count(&writer).await, round);
        writer.execute("UPDATE t SET word = 'changed' WHERE id = 0", &[]).await.unwrap();
        let word = writer.query_one("SELECT word FROM t WHERE id = 0", &[]).await.unwrap();
        assert_eq!(word.get::<_, &str>(0), "changed");
    }
    let (role, reason) = route(&writer).await;
    assert_eq!((role.as_str(), reason.as_str()), ("primary", "own_write_not_replayed"));
    cluster.replica().resume_replay().await;
    wait_for("the writer's reads to return to the replica", PATIENCE, async || {
        assert_eq!(count(&writer).await, 30);
        route(&writer).await.0 == "replica"
    })
    .await;
    // By then the replica has it all, so the reader sees it as well.
    assert_eq!(count(&reader).await, 30);
}

#[tokio::test]
async fn what_is_flushed_first_in_a_pipeline_does_not_take_its_reads_to_a_stale_replica() {
    let Some((cluster, router)) = start(Settings::default(), 1).await else { return };
    cluster.replica().pause_replay().await;
    let mut raw = Raw::login(router.port, "app", APP_PASSWORD, "app");
    for (round, first) in
        ["SET work_mem = '5MB'", "SELECT 1", "SHOW work_mem", "", "BEGIN READ ONLY"].iter().enumerate()
    {
        raw.query("INSERT INTO t VALUES (5, 'own')");
        raw.send(&[parse("first", first), flush()].concat());
        assert_eq!(tags(&raw.until(b'1')), "1");
        raw.send(&[run("SELECT count(*) FROM t", &[]), close(b'S', "first"), sync()].concat());
        let answer = raw.until_ready();
        assert_eq!(values(&answer), [(round + 2).to_string()], "behind {first:?}: {answer:?}");
        raw.send(
            &[parse("first", first), run("SELECT count(*) FROM t", &[]), close(b'S', "first"), sync()]
                .concat(),
        );
        assert_eq!(values(&raw.until_ready()), [(round + 2).to_string()], "behind {first:?}");
    }
}

#[tokio::test]
async fn a_write_in_a_transaction_counts_from_its_commit() {
    let Some((cluster, router)) = start(Settings::default(), 1).await else { return };
    cluster.replica().pause_replay().await;
    let mut client = router.connect("app").await;
    for round in 2..=10 {
        let transaction = client.transaction().await.unwrap();
        transaction.execute("INSERT INTO t VALUES (2, 'block')", &[]).await.unwrap();
        transaction.commit().await.unwrap();
        assert_eq!(count(&client).await, round);
    }
    // Several statements in one message, COPY, and a procedure that commits.
    client.batch_execute("INSERT INTO t VALUES (3, 'a'); INSERT INTO t VALUES (3, 'b')").await.unwrap();
    assert_eq!(count(&client).await, 12);
    client.batch_execute("DO $$ BEGIN INSERT INTO t VALUES (4, 'do'); COMMIT; END $$").await.unwrap();
    assert_eq!(count(&client).await, 13);
}

#[tokio::test]
async fn a_replica_that_is_too_stale_serves_nobody_until_it_has_caught_up() {
    let settings = Settings { max_staleness: "1s", ..Settings::default() };
    let Some((cluster, router)) = start(settings, 1).await else { return };
    cluster.replica().pause_replay().await;
    let writer = cluster.primary.connect("app").await;
    writer.execute("INSERT INTO t VALUES (1, 'past the router')", &[]).await.unwrap();
    let acknowledged = Instant::now();
    let reader = router.connect("app").await;
    loop {
        let begin = acknowledged.elapsed();
        let seen = count(&reader).await;
        // What was acknowledged longer than `max_staleness` before the read began must be seen.
        assert!(seen == 2 || begin < Duration::from_secs(1), "stale after {begin:?}");
        if begin > Duration::from_secs(3) {
            break;
        }
    }
    let (role, reason) = route(&reader).await;
    assert_eq!((role.as_str(), reason.as_str()), ("primary", "too_stale"));
    cluster.replica().resume_replay().await;
    reads_reach(&router, "replica").await;
}

#[tokio::test]
async fn an_idle_primary_does_not_make_a_replica_stale() {
    let settings = Settings { max_staleness: "1s", ..Settings::default() };
    let Some((_cluster, router)) = start(settings, 1).await else { return };
    let client = router.connect("app").await;
    // Three bounds long: were idleness taken for staleness, two thirds of the reads would be on the primary. A machine that
    // gives the router no processor for a second makes it honestly unsure for a moment, no more.
    let begin = Instant::now();
    let (mut on_primary, mut all) = (0_u32, 0_u32);
    while begin.elapsed() < Duration::from_secs(3) {
        count(&client).await;
        all += 1;
        on_primary += u32::from(route(&client).await.0 == "primary");
    }
    assert!(
        on_primary * 2 < all,
        "nothing was written, so the replica was fresh: {on_primary} of {all} on the primary"
    );
}

#[tokio::test]
async fn time_never_runs_backwards_between_replicas() {
    let Some((cluster, router)) = start(Settings::default(), 2).await else { return };
    cluster.replicas[1].apply_delay("400ms").await;
    cluster.run("CREATE TABLE clock (tick int); INSERT INTO clock VALUES (0)").await;
    let writer = router.connect("app").await;
    let mut readers = Vec::new();
    for _ in 0..4 {
        readers.push((router.connect("app").await, 0_i32));
    }
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(4) {
        writer.execute("UPDATE clock SET tick = tick + 1", &[]).await.unwrap();
        for (reader, seen) in &mut readers {
            let row = reader.query_one("SELECT tick, served_by() FROM clock", &[]).await.unwrap();
            let (tick, node) = (row.get::<_, i32>(0), row.get::<_, i32>(1));
            if node == i32::from(cluster.primary.port) {
                continue;
            }
            assert!(tick >= *seen, "a session that saw {seen} on a replica then saw {tick} on {node}");
            *seen = tick;
        }
    }
    assert!(readers.iter().all(|(_, seen)| *seen > 0));
}

#[tokio::test]
async fn a_stopped_replica_costs_nobody_an_error_and_reads_return_when_it_is_back() {
    let Some((cluster, router)) = start(Settings::default(), 1).await else { return };
    let mut readers = Vec::new();
    for _ in 0..4 {
        readers.push(router.connect("app").await);
    }
    for crash in [false, true] {
        let read_all = async || {
            for reader in &readers {
                assert_eq!(count(reader).await, 1);
            }
        };
        read_all().await;
        if crash {
            cluster.replica().crash()
        } else {
            cluster.replica().stop()
        }
        for _ in 0..25 {
            read_all().await;
        }
        assert_eq!(route(&readers[0]).await.0, "primary");
        // The read-only name goes on too, and refuses writes by promise and not by luck.
        let mut raw = Raw::login(router.port, "app", APP_PASSWORD, "app_ro");
        assert_eq!(raw.value("SELECT count(*) FROM t"), "1");
        assert_eq!(sqlstates(&raw.query("INSERT INTO t VALUES (1, 'no')")), ["25006"]);
        assert_eq!(sqlstates(&raw.query("BEGIN; INSERT INTO t VALUES (1, 'no')")), ["25006"]);
        raw.query("ROLLBACK");
        cluster.replica().start().await;
        reads_reach(&router, "replica").await;
        wait_for("the old sessions' reads to return", PATIENCE, async || {
            count(&readers[0]).await;
            route(&readers[0]).await.0 == "replica"
        })
        .await;
    }
}

#[tokio::test]
async fn reads_under_way_survive_the_stop_of_their_replica() {
    let Some((cluster, router)) = start(Settings::default(), 1).await else { return };
    let port = router.port;
    let readers = (0..4).map(|_| {
        std::thread::spawn(move || {
            let mut raw = Raw::login(port, "app", APP_PASSWORD, "app");
            let begin = Instant::now();
            let mut errors = Vec::new();
            while begin.elapsed() < Duration::from_secs(3) {
                let answer = raw.query("SELECT count(*) FROM t");
                errors.extend(answer.iter().filter(|message| message.tag == b'E').cloned());
            }
            errors
        })
    });
    let readers: Vec<_> = readers.collect();
    tokio::time::sleep(Duration::from_millis(500)).await;
    cluster.replica().stop();
    for reader in readers {
        let errors = reader.join().unwrap();
        assert!(errors.is_empty(), "{errors:?}");
    }
    assert_eq!(count(&router.connect("app").await).await, 1);
}

#[tokio::test]
async fn without_any_replica_reads_go_to_the_primary_in_silence() {
    if direct() {
        return;
    }
    let cluster = Cluster::start(0).await;
    cluster.run("CREATE TABLE t (id int, word text)").await;
    let router = Router::start(&cluster, Settings::default()).await;
    let client = router.connect("app").await;
    assert_eq!(count(&client).await, 0);
    let (role, reason) = route(&client).await;
    assert_eq!((role.as_str(), reason.as_str()), ("primary", "no_replica"));
    assert_eq!(router.connect("app_ro").await.query_one("SELECT 1", &[]).await.unwrap().get::<_, i32>(0), 1);
}

#[tokio::test]
async fn a_new_replica_row_is_seen_by_all_once_it_is_old_enough() {
    // A check of the harness itself: without the router, a paused replica does show the old row.
    let fixture = Fixture::start(Settings::default()).await;
    fixture.cluster.run("CREATE TABLE t (id int, word text)").await;
    fixture.cluster.replica().pause_replay().await;
    fixture
        .cluster
        .primary
        .connect("app")
        .await
        .execute("INSERT INTO t VALUES (1, 'new')", &[])
        .await
        .unwrap();
    assert_eq!(count(&fixture.cluster.replica().connect("app").await).await, 0);
    fixture.cluster.replica().resume_replay().await;
    fixture.cluster.caught_up().await;
    assert_eq!(count(&fixture.cluster.replica().connect("app").await).await, 1);
}
