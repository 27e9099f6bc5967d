//! Cancel requests, and bytes that no driver sends: nobody but their sender may notice.

use std::time::{Duration, Instant};

use crate::harness::raw::{
    Raw, cancel, frame, parse, query, request, run, sqlstates, startup, sync, tags, values,
};
use crate::harness::{Fixture, shared, wait_for};

/// Sends a CancelRequest as libpq does: on a connection of its own, waiting for the server to close it.
fn send_cancel(fixture: &Fixture, key: &[u8]) {
    let mut connection = Raw::connect(fixture.port());
    connection.send(&cancel(key));
    assert!(connection.until_closed().is_empty());
}

/// Waits until one more query with this mark runs on some node.
async fn running(fixture: &Fixture, mark: &str) {
    wait_for("the query to run", Duration::from_secs(30), async || {
        let mut found = false;
        for node in [&fixture.cluster.primary, fixture.cluster.replica()] {
            let client = node.superuser().await;
            let asked = "SELECT FROM pg_stat_activity \
                         WHERE state = 'active' AND query LIKE '%' || $1 || '%' AND pid <> pg_backend_pid()";
            found |= !client.query(asked, &[&mark]).await.unwrap().is_empty();
        }
        found
    })
    .await;
}

#[tokio::test]
async fn a_cancel_request_ends_its_own_query() {
    let fixture = shared().await;
    for mark in ["/* cancel read */", "/* cancel write */ LOCK TABLE pg_class IN ACCESS SHARE MODE;"] {
        let mut raw = fixture.raw();
        raw.send_query(&format!("{mark} SELECT pg_sleep(60)"));
        running(fixture, &mark[..15]).await;
        let begin = Instant::now();
        send_cancel(fixture, &raw.key);
        let answer = raw.until_ready();
        assert_eq!(sqlstates(&answer), ["57014"], "{answer:?}");
        assert!(begin.elapsed() < Duration::from_secs(30), "the query ended because of the cancel request");
        assert_eq!(raw.value("SELECT 1"), "1");
    }
}

#[tokio::test]
async fn a_cancel_request_of_an_idle_client_hits_nobody() {
    let fixture = shared().await;
    let mut idle = fixture.raw();
    idle.query("SELECT 1");
    let mut others: Vec<Raw> = (0..4).map(|_| fixture.raw()).collect();
    for other in &mut others {
        other.send_query("/* bystander */ SELECT pg_sleep(1), 'whole'");
    }
    running(fixture, "/* bystander */").await;
    for _ in 0..20 {
        send_cancel(fixture, &idle.key);
    }
    for other in &mut others {
        let answer = other.until_ready();
        assert!(sqlstates(&answer).is_empty(), "{answer:?}");
    }
    assert_eq!(idle.value("SELECT 'still here'"), "still here");
}

#[tokio::test]
async fn a_late_cancel_request_never_hits_the_next_query_of_the_backend() {
    let fixture = shared().await;
    let mut first = fixture.raw();
    let mut second = fixture.raw();
    for round in 0..40 {
        first.send_query("SELECT pg_sleep(0.002)");
        let key = first.key.clone();
        let port = fixture.port();
        let canceller = std::thread::spawn(move || {
            let mut connection = Raw::connect(port);
            connection.send(&cancel(&key));
            connection.until_closed();
        });
        let answer = first.until_ready();
        assert!(sqlstates(&answer).iter().all(|state| state == "57014"), "{answer:?}");
        let answer = second.query("SELECT pg_sleep(0.002), 'untouched'");
        assert!(sqlstates(&answer).is_empty(), "round {round}: {answer:?}");
        canceller.join().unwrap();
    }
}

#[tokio::test]
async fn a_cancel_request_with_a_wrong_key_does_nothing() {
    let fixture = shared().await;
    let mut raw = fixture.raw();
    raw.send_query("/* wrong key */ SELECT pg_sleep(1), 'whole'");
    running(fixture, "/* wrong key */").await;
    let mut key = raw.key.clone();
    *key.last_mut().unwrap() ^= 1;
    send_cancel(fixture, &key);
    let answer = raw.until_ready();
    assert!(sqlstates(&answer).is_empty(), "{answer:?}");
}

#[tokio::test]
async fn a_message_of_many_megabytes_passes_in_both_directions() {
    let mut raw = shared().await.raw();
    let big = "x".repeat(20 << 20);
    let answer = raw.query(&format!("SELECT length('{big}')"));
    assert_eq!(values(&answer), [big.len().to_string()]);
    raw.send(&[run("SELECT upper($1::text)", &[Some(&big)]), sync()].concat());
    let answer = raw.until_ready();
    let value = values(&answer).remove(0);
    assert!(value.len() == big.len() && value.bytes().all(|byte| byte == b'X'));
}

#[tokio::test]
async fn garbage_before_login_is_answered_by_closing_and_harms_nobody() {
    let fixture = shared().await;
    let mut bystander = fixture.raw();
    let huge_length = [0x7f, 0xff, 0xff, 0xff, 0, 3, 0, 0];
    let inputs: Vec<Vec<u8>> = vec![
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        vec![0; 64],
        vec![0xff; 64],
        huge_length.to_vec(),
        vec![0, 0, 0, 4],
        vec![0, 0, 0, 7, 0, 3, 0],
        vec![0, 0, 0, 8, 0, 3, 0, 0],
        [0, 0, 0, 12, 0, 3, 0, 0].into_iter().chain(*b"user").collect(),
        startup(0x0003_0000, &[("database", "app")]),
        startup(0x0003_0000, &[("user", "app"), ("options", "-c =")]),
        [request(80_877_103), request(80_877_103), request(80_877_103), request(80_877_104)].concat(),
        [startup(0x0003_0000, &[("user", "app")]), query("SELECT 1")].concat(),
        frame(b'p', b"no startup message\0"),
        cancel(&[0; 8]),
        cancel(&[]),
        cancel(&[1; 300]),
    ];
    for input in inputs {
        let mut raw = Raw::connect(fixture.port());
        raw.try_send(&input).ok();
        raw.half_close();
        // Whatever was answered, the connection ends soon and nobody is logged in by it.
        let answer = raw.rest();
        assert!(!answer.windows(6).any(|bytes| bytes == [b'Z', 0, 0, 0, 5, b'I']), "logged in by {input:?}");
        assert_eq!(bystander.value("SELECT 'fine'"), "fine");
    }
}

#[tokio::test]
async fn a_broken_message_after_login_ends_that_connection_only() {
    let fixture = shared().await;
    let mut bystander = fixture.raw();
    let inputs: Vec<Vec<u8>> = vec![
        frame(b'#', b"no such message"),
        vec![b'Q', 0, 0, 0, 3],
        vec![b'Q', 0xff, 0xff, 0xff, 0xff, 0],
        vec![b'B', 0x80, 0, 0, 0, 0],
        frame(b'S', b"a Sync has no body")[..5].to_vec(),
    ];
    for input in inputs {
        let mut raw = fixture.raw();
        raw.try_send(&input).ok();
        raw.half_close();
        let answer = raw.rest();
        assert!(!answer.windows(6).any(|bytes| bytes == [b'Z', 0, 0, 0, 5, b'T']), "{answer:?}");
        assert_eq!(bystander.value("SELECT 'fine'"), "fine");
    }
    // Bind, Parse and Close whose inside is broken: an error, and the connection goes on or ends; nobody else notices.
    for input in [frame(b'P', b"no zero"), frame(b'B', &[0, 0, 0, 9]), frame(b'C', b"X"), frame(b'E', b"")] {
        let mut raw = fixture.raw();
        raw.try_send(&[input, sync()].concat()).ok();
        let first = raw.try_receive().unwrap_or_default();
        assert!(first.as_ref().is_none_or(|message| message.tag == b'E'), "{first:?}");
        assert_eq!(bystander.value("SELECT 'fine'"), "fine");
    }
}

#[tokio::test]
async fn a_client_that_leaves_before_its_answer_leaves_the_backend_clean() {
    let fixture = shared().await;
    let mut bystander = fixture.raw();
    for _ in 0..10 {
        let mut raw = fixture.raw();
        raw.send(&[run("SELECT generate_series(1, 20000)", &[]), sync(), parse("left", "SELECT 1")].concat());
        raw.receive();
        raw.vanish();
        assert_eq!(bystander.value("SELECT 'mine'"), "mine");
    }
    assert_eq!(tags(&bystander.query("SELECT 1")), "T D C ZI");
}

#[tokio::test]
async fn terminate_ends_the_connection_without_a_word() {
    let mut raw = shared().await.raw();
    raw.send(&frame(b'X', &[]));
    assert!(raw.until_closed().is_empty());
}
