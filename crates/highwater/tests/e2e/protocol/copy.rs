//! COPY in and out, by simple and extended queries, with success and failure.

use crate::harness::raw::{
    Raw, bind, cstring, execute, frame, parse, query, run, sqlstates, sync, tags, values,
};
use crate::harness::{Fixture, shared};

async fn table(fixture: &Fixture, name: &str) {
    fixture
        .cluster
        .run(&format!("DROP TABLE IF EXISTS {name}; CREATE TABLE {name} (id int, word text)"))
        .await;
}

fn data(text: &str) -> Vec<u8> {
    frame(b'd', text.as_bytes())
}

fn done() -> Vec<u8> {
    frame(b'c', &[])
}

fn fail(why: &str) -> Vec<u8> {
    frame(b'f', &cstring(why))
}

#[tokio::test]
async fn copy_in_by_a_simple_query() {
    let fixture = shared().await;
    table(fixture, "copy_simple").await;
    let mut raw = fixture.raw();
    raw.send_query("COPY copy_simple FROM STDIN");
    assert_eq!(tags(&raw.until(b'G')), "G");
    raw.send(&[data("1\tone\n2\t"), data("two\n"), done()].concat());
    let answer = raw.until_ready();
    assert_eq!(tags(&answer), "C ZI");
    assert_eq!(answer[0].text(), "COPY 2");
    assert_eq!(values(&raw.query("SELECT word FROM copy_simple ORDER BY id")), ["one", "two"]);
}

#[tokio::test]
async fn copy_in_sent_without_waiting_for_the_answer() {
    let fixture = shared().await;
    table(fixture, "copy_eager").await;
    let mut raw = fixture.raw();
    let copy = [
        query("COPY copy_eager FROM STDIN"),
        data("1\tone\n"),
        done(),
        query("SELECT count(*) FROM copy_eager"),
    ];
    raw.send(&copy.concat());
    assert_eq!(tags(&raw.until_ready()), "G C ZI");
    assert_eq!(values(&raw.until_ready()), ["1"]);
}

#[tokio::test]
async fn copy_in_by_extended_messages() {
    let fixture = shared().await;
    table(fixture, "copy_extended").await;
    let mut raw = fixture.raw();
    raw.send(&[run("COPY copy_extended FROM STDIN", &[]), sync()].concat());
    assert_eq!(tags(&raw.until(b'G')), "1 2 n G");
    raw.send(&[data("5\tfive\n"), done(), sync()].concat());
    assert_eq!(tags(&raw.until_ready()), "C ZI");
    assert_eq!(raw.value("SELECT word FROM copy_extended"), "five");
}

#[tokio::test]
async fn copy_fail_leaves_no_row_and_a_usable_connection() {
    let fixture = shared().await;
    table(fixture, "copy_fail").await;
    let mut raw = fixture.raw();
    raw.send_query("COPY copy_fail FROM STDIN");
    raw.until(b'G');
    raw.send(&[data("1\tone\n"), fail("changed my mind")].concat());
    let answer = raw.until_ready();
    assert_eq!(tags(&answer), "E ZI");
    assert_eq!(sqlstates(&answer), ["57014"]);
    raw.send(&[run("COPY copy_fail FROM STDIN", &[]), sync()].concat());
    raw.until(b'G');
    raw.send(&[fail("again"), sync()].concat());
    let answer = raw.until_ready();
    assert_eq!(sqlstates(&answer), ["57014"], "{answer:?}");
    assert_eq!(raw.value("SELECT count(*) FROM copy_fail"), "0");
}

#[tokio::test]
async fn bad_copy_data_is_an_error_and_what_follows_it_is_skipped() {
    let fixture = shared().await;
    table(fixture, "copy_bad").await;
    let mut raw = fixture.raw();
    raw.send_query("COPY copy_bad FROM STDIN");
    raw.until(b'G');
    // The data that the client goes on sending, not knowing of the error, is ignored.
    raw.send(&[data("not a number\tone\n"), data("2\ttwo\n"), data("3\tthree\n"), done()].concat());
    let answer = raw.until_ready();
    assert_eq!(sqlstates(&answer), ["22P02"], "{answer:?}");
    assert_eq!(raw.value("SELECT count(*) FROM copy_bad"), "0");
    raw.send(&[run("COPY copy_bad FROM STDIN", &[]), sync()].concat());
    raw.until(b'G');
    raw.send(&[data("bad\tone\n"), data("2\ttwo\n"), done(), sync()].concat());
    let answer = raw.until_ready();
    assert_eq!(tags(&answer), "E ZI", "{answer:?}");
    assert_eq!(raw.value("SELECT count(*) FROM copy_bad"), "0");
}

#[tokio::test]
async fn copy_out_by_simple_and_extended_queries() {
    let fixture = shared().await;
    table(fixture, "copy_out").await;
    fixture.cluster.run("INSERT INTO copy_out SELECT n, 'w' || n FROM generate_series(1, 3) n").await;
    let mut raw = fixture.raw();
    for copy in ["COPY copy_out TO STDOUT", "COPY (SELECT * FROM copy_out ORDER BY id) TO STDOUT"] {
        let answer = raw.query(copy);
        assert_eq!(tags(&answer), "H d d d c C ZI");
        assert_eq!(answer[1].body, b"1\tw1\n");
        raw.send(&[parse("", copy), bind("", "", &[]), execute("", 0), sync()].concat());
        assert_eq!(tags(&raw.until_ready()), "1 2 H d d d c C ZI");
    }
}

#[tokio::test]
async fn copy_in_the_middle_of_several_statements() {
    let fixture = shared().await;
    table(fixture, "copy_middle").await;
    let mut raw = fixture.raw();
    raw.send_query(
        "SELECT 1; COPY copy_middle FROM STDIN; SELECT count(*) FROM copy_middle; COPY copy_middle TO STDOUT",
    );
    assert_eq!(tags(&raw.until(b'G')), "T D C G");
    raw.send(&[data("7\tseven\n"), done()].concat());
    assert_eq!(tags(&raw.until_ready()), "C T D C H d c C ZI");
}

#[tokio::test]
async fn copy_in_a_transaction_is_undone_with_it() {
    let fixture = shared().await;
    table(fixture, "copy_block").await;
    let mut raw = fixture.raw();
    raw.query("BEGIN");
    raw.send_query("COPY copy_block FROM STDIN");
    raw.until(b'G');
    raw.send(&[data("1\tone\n"), done()].concat());
    assert_eq!(tags(&raw.until_ready()), "C ZT");
    assert_eq!(raw.value("SELECT count(*) FROM copy_block"), "1");
    assert_eq!(tags(&raw.query("ROLLBACK")), "C ZI");
    assert_eq!(raw.value("SELECT count(*) FROM copy_block"), "0");
}

#[tokio::test]
async fn a_client_that_leaves_in_the_middle_of_copy_leaves_no_row() {
    let fixture = shared().await;
    table(fixture, "copy_gone").await;
    let mut gone: Raw = fixture.raw();
    gone.send_query("COPY copy_gone FROM STDIN");
    gone.until(b'G');
    gone.send(&data("1\tone\n"));
    gone.vanish();
    let mut raw = fixture.raw();
    for _ in 0..5 {
        assert_eq!(raw.value("SELECT count(*) FROM copy_gone"), "0");
    }
}
