//! Parse, Bind, Describe, Execute, Close, Flush, Sync: pipelines, portals, prepared statements, errors in the middle.

use std::time::Duration;

use crate::harness::raw::{
    Raw, bind, close, describe, execute, flush, frame, parse, query, run, sqlstates, sync, tags, values,
};
use crate::harness::{Fixture, shared};

/// Fails when it is executed, not when it is planned: so the answers before the error are always the same.
const FAILS: &str = "SELECT 1/(now() IS NULL)::int";

/// A fresh table of this name with `rows` rows (id, text), there for the replica too.
async fn table(fixture: &Fixture, name: &str, rows: u32) {
    let script = format!(
        "DROP TABLE IF EXISTS {name}; CREATE TABLE {name} (id int PRIMARY KEY, word text); \
         INSERT INTO {name} SELECT n, 'word ' || n FROM generate_series(1, {rows}) n"
    );
    fixture.cluster.run(&script).await;
}

#[tokio::test]
async fn an_extended_query_gives_what_postgresql_gives() {
    let fixture = shared().await;
    let mut raw = fixture.raw();
    raw.send(&[run("SELECT $1::int + 1", &[Some("41")]), sync()].concat());
    let answer = raw.until_ready();
    assert_eq!(tags(&answer), "1 2 T D C ZI");
    assert_eq!(values(&answer), ["42"]);
}

#[tokio::test]
async fn a_pipeline_of_many_syncs_is_answered_in_order() {
    let mut raw = shared().await.raw();
    let mut sent = Vec::new();
    for number in 0..200 {
        sent.extend(run("SELECT $1::int", &[Some(&number.to_string())]));
        sent.extend(sync());
    }
    raw.send(&sent);
    for number in 0..200 {
        let answer = raw.until_ready();
        assert_eq!(tags(&answer), "1 2 T D C ZI");
        assert_eq!(values(&answer), [number.to_string()]);
    }
}

#[tokio::test]
async fn reads_and_writes_in_one_pipeline_see_each_other() {
    let fixture = shared().await;
    table(fixture, "pipeline_mixed", 0).await;
    let mut raw = fixture.raw();
    let mut sent = Vec::new();
    for number in 0..50 {
        sent.extend(run("INSERT INTO pipeline_mixed VALUES ($1, 'x')", &[Some(&number.to_string())]));
        sent.extend(sync());
        sent.extend(run("SELECT count(*) FROM pipeline_mixed", &[]));
        sent.extend(sync());
    }
    raw.send(&sent);
    for number in 0..50 {
        assert_eq!(tags(&raw.until_ready()), "1 2 n C ZI");
        let read = raw.until_ready();
        assert_eq!(values(&read), [(number + 1).to_string()], "{read:?}");
    }
}

#[tokio::test]
async fn an_error_in_a_pipeline_skips_to_its_sync_and_no_further() {
    let fixture = shared().await;
    table(fixture, "pipeline_error", 3).await;
    let mut raw = fixture.raw();
    let first = [run("SELECT 1", &[]), run(FAILS, &[]), run("SELECT 2", &[]), sync()].concat();
    let second = [run("INSERT INTO pipeline_error VALUES (10, 'ten')", &[]), sync()].concat();
    let third = [run("SELECT nothing FROM pipeline_error", &[]), run("SELECT 3", &[]), sync()].concat();
    let fourth = [run("SELECT word FROM pipeline_error WHERE id = 10", &[]), sync()].concat();
    raw.send(&[first, second, third, fourth].concat());
    let answer = raw.until_ready();
    assert_eq!(tags(&answer), "1 2 T D C 1 2 T E ZI", "{answer:?}");
    assert_eq!(sqlstates(&answer), ["22012"]);
    assert_eq!(tags(&raw.until_ready()), "1 2 n C ZI");
    let answer = raw.until_ready();
    assert_eq!(tags(&answer), "E ZI", "{answer:?}");
    assert_eq!(sqlstates(&answer), ["42703"]);
    let answer = raw.until_ready();
    assert_eq!(values(&answer), ["ten"], "{answer:?}");
}

#[tokio::test]
async fn an_error_before_a_write_in_one_pipeline_leaves_no_write() {
    let fixture = shared().await;
    table(fixture, "pipeline_skip", 0).await;
    let mut raw = fixture.raw();
    let write = run("INSERT INTO pipeline_skip VALUES (1, 'never')", &[]);
    raw.send(&[run(FAILS, &[]), write, sync()].concat());
    assert_eq!(tags(&raw.until_ready()), "1 2 T E ZI");
    let write = run("INSERT INTO pipeline_skip VALUES (2, 'undone')", &[]);
    raw.send(&[write, run(FAILS, &[]), sync()].concat());
    assert_eq!(tags(&raw.until_ready()), "1 2 n C 1 2 T E ZI");
    assert_eq!(raw.value("SELECT count(*) FROM pipeline_skip"), "0");
}

#[tokio::test]
async fn a_pipeline_without_sync_is_one_transaction() {
    let fixture = shared().await;
    table(fixture, "pipeline_implicit", 0).await;
    let mut raw = fixture.raw();
    let mut sent = Vec::new();
    for number in 0..5 {
        sent.extend(run("INSERT INTO pipeline_implicit VALUES ($1, 'x')", &[Some(&number.to_string())]));
    }
    sent.extend(run("INSERT INTO pipeline_implicit VALUES (0, 'twice')", &[]));
    raw.send(&[sent, sync()].concat());
    let answer = raw.until_ready();
    assert_eq!(sqlstates(&answer), ["23505"], "{answer:?}");
    assert_eq!(raw.value("SELECT count(*) FROM pipeline_implicit"), "0");
}

#[tokio::test]
async fn a_named_statement_works_on_whatever_backend_comes_next() {
    let fixture = shared().await;
    table(fixture, "named", 20).await;
    let mut clients: Vec<Raw> = (0..6).map(|_| fixture.raw()).collect();
    for (place, raw) in clients.iter_mut().enumerate() {
        // The same name, another text for each client.
        raw.send(
            &[parse("s1", &format!("SELECT word || ' for {place}' FROM named WHERE id = $1::int")), sync()]
                .concat(),
        );
        assert_eq!(tags(&raw.until_ready()), "1 ZI");
    }
    for round in 1..=10 {
        for (place, raw) in clients.iter_mut().enumerate() {
            let id = round.to_string();
            raw.send(&[bind("", "s1", &[Some(&id)]), execute("", 0), sync()].concat());
            let answer = raw.until_ready();
            assert_eq!(tags(&answer), "2 D C ZI", "{answer:?}");
            assert_eq!(values(&answer), [format!("word {round} for {place}")]);
        }
    }
}

#[tokio::test]
async fn a_named_statement_reads_and_one_writes_on_their_own_nodes() {
    let fixture = shared().await;
    table(fixture, "named_both", 1).await;
    let mut raw = fixture.raw();
    let both = [
        parse("put", "INSERT INTO named_both VALUES ($1::int, $2)"),
        parse("ask", "SELECT word FROM named_both WHERE id = $1::int"),
        sync(),
    ];
    raw.send(&both.concat());
    assert_eq!(tags(&raw.until_ready()), "1 1 ZI");
    for id in 2..30 {
        let (id, word) = (id.to_string(), format!("put {id}"));
        raw.send(&[bind("", "put", &[Some(&id), Some(&word)]), execute("", 0), sync()].concat());
        assert_eq!(tags(&raw.until_ready()), "2 C ZI");
        raw.send(&[bind("", "ask", &[Some(&id)]), execute("", 0), sync()].concat());
        assert_eq!(values(&raw.until_ready()), [word]);
    }
}

#[tokio::test]
async fn a_name_in_use_and_a_name_never_made_are_errors() {
    let mut raw = shared().await.raw();
    raw.send(&[parse("twice", "SELECT 1"), parse("twice", "SELECT 2"), sync()].concat());
    let answer = raw.until_ready();
    assert_eq!(tags(&answer), "1 E ZI");
    assert_eq!(sqlstates(&answer), ["42P05"]);
    raw.send(&[bind("", "never_made", &[]), execute("", 0), sync()].concat());
    let answer = raw.until_ready();
    assert_eq!(tags(&answer), "E ZI");
    assert_eq!(sqlstates(&answer), ["26000"]);
    raw.send(
        &[close(b'S', "twice"), parse("twice", "SELECT 3"), bind("", "twice", &[]), execute("", 0), sync()]
            .concat(),
    );
    let answer = raw.until_ready();
    assert_eq!(tags(&answer), "3 1 2 D C ZI");
    assert_eq!(values(&answer), ["3"]);
    raw.send(&[close(b'S', "not there"), sync()].concat());
    assert_eq!(tags(&raw.until_ready()), "3 ZI");
}

#[tokio::test]
async fn a_failed_parse_in_a_pipeline_harms_no_statement_around_it() {
    // As drivers prepare several statements at once: each with a Sync of its own, none waiting for an answer.
    let mut raw = shared().await.raw();
    let prepare = |name: &str, sql: &str| [parse(name, sql), describe(b'S', name), sync()].concat();
    let ask = |name: &str| [bind("", name, &[]), execute("", 0), sync()].concat();
    for round in 0..3 {
        let names = ["a", "b", "c", "d"].map(|name| format!("{name}{round}"));
        let texts = ["SELECT 'a'", "SELECT no_such_column", "SELECT 'c'", "SELECT 'd'"];
        let sent: Vec<_> = names.iter().zip(texts).flat_map(|(name, sql)| prepare(name, sql)).collect();
        raw.send(&sent);
        for wanted in ["1 t T ZI", "E ZI", "1 t T ZI", "1 t T ZI"] {
            let answer = raw.until_ready();
            assert_eq!(tags(&answer), wanted, "{answer:?}");
        }
        raw.send(&[ask(&names[0]), ask(&names[2]), ask(&names[3])].concat());
        for wanted in ["a", "c", "d"] {
            let answer = raw.until_ready();
            assert_eq!(values(&answer), [wanted], "{answer:?}");
        }
    }
}

#[tokio::test]
async fn a_name_outlives_an_error_behind_its_parse() {
    let mut raw = shared().await.raw();
    raw.send(
        &[
            parse("kept", "SELECT 7 / ($1::int + (now() IS NULL)::int)"),
            bind("", "kept", &[Some("0")]),
            execute("", 0),
            sync(),
        ]
        .concat(),
    );
    let answer = raw.until_ready();
    assert_eq!((tags(&answer).as_str(), sqlstates(&answer)), ("1 2 E ZI", vec!["22012".to_owned()]));
    for _ in 0..3 {
        raw.send(&[bind("", "kept", &[Some("1")]), execute("", 0), sync()].concat());
        let answer = raw.until_ready();
        assert_eq!(values(&answer), ["7"], "{answer:?}");
    }
    raw.send(&[parse("kept_too", "SELECT 'too'"), describe(b'S', "never_made"), sync()].concat());
    assert_eq!(tags(&raw.until_ready()), "1 E ZI");
    raw.send(&[describe(b'S', "kept_too"), bind("", "kept_too", &[]), execute("", 0), sync()].concat());
    let answer = raw.until_ready();
    assert_eq!(tags(&answer), "t T 2 D C ZI", "{answer:?}");
}

#[tokio::test]
async fn a_failed_parse_of_the_unnamed_statement_leaves_none() {
    let mut raw = shared().await.raw();
    raw.send(
        &[parse("", "SELECT 'first'"), sync(), parse("", "SELEC"), sync(), bind("", "", &[]), sync()]
            .concat(),
    );
    assert_eq!(tags(&raw.until_ready()), "1 ZI");
    assert_eq!(sqlstates(&raw.until_ready()), ["42601"]);
    assert_eq!(sqlstates(&raw.until_ready()), ["26000"]);
}

#[tokio::test]
async fn what_is_prepared_behind_discard_all_in_one_pipeline_is_there() {
    let mut raw = shared().await.raw();
    for _ in 0..2 {
        let behind = [parse("d", "SELECT 'behind'"), bind("", "d", &[]), execute("", 0), sync()];
        raw.send(&[run("DISCARD ALL", &[]), behind.concat()].concat());
        let answer = raw.until_ready();
        assert_eq!(tags(&answer), "1 2 n C 1 2 D C ZI", "{answer:?}");
        raw.send(&[bind("", "d", &[]), execute("", 0), sync()].concat());
        assert_eq!(values(&raw.until_ready()), ["behind"]);
    }
}

#[tokio::test]
async fn a_setting_holds_in_the_very_next_batch_of_whatever_kind() {
    let mut raw = shared().await.raw();
    for value in ["5MB", "6MB"] {
        raw.query(&format!("SET work_mem = '{value}'"));
        raw.send(&[close(b'S', "never_made"), sync()].concat());
        assert_eq!(tags(&raw.until_ready()), "3 ZI");
        let local = run("SELECT set_config('work_mem', '7MB', true)", &[]);
        raw.send(&[run("SHOW work_mem", &[]), flush(), local, flush(), sync()].concat());
        let answer = raw.until_ready();
        assert_eq!(values(&answer), [value, "7MB"], "{answer:?}");
        assert_eq!(raw.value("SHOW work_mem"), value);
    }
}

#[tokio::test]
async fn a_failed_parse_leaves_no_name_behind() {
    let mut raw = shared().await.raw();
    raw.send(&[parse("broken", "SELEC 1"), sync()].concat());
    assert_eq!(sqlstates(&raw.until_ready()), ["42601"]);
    raw.send(&[bind("", "broken", &[]), execute("", 0), sync()].concat());
    assert_eq!(sqlstates(&raw.until_ready()), ["26000"]);
    raw.send(&[parse("broken", "SELECT 'whole'"), bind("", "broken", &[]), execute("", 0), sync()].concat());
    let answer = raw.until_ready();
    assert_eq!(values(&answer), ["whole"], "{answer:?}");
}

#[tokio::test]
async fn the_unnamed_statement_outlives_its_sync() {
    let mut raw = shared().await.raw();
    raw.send(&[parse("", "SELECT 'kept ' || $1::text"), describe(b'S', ""), sync()].concat());
    assert_eq!(tags(&raw.until_ready()), "1 t T ZI");
    for word in ["a", "b"] {
        raw.send(&[bind("", "", &[Some(word)]), execute("", 0), sync()].concat());
        assert_eq!(values(&raw.until_ready()), [format!("kept {word}")]);
    }
}

#[tokio::test]
async fn describe_tells_parameters_and_columns() {
    let fixture = shared().await;
    table(fixture, "described", 1).await;
    let mut raw = fixture.raw();
    raw.send(&[parse("d", "SELECT id, word FROM described WHERE id = $1 AND word = $2"), sync()].concat());
    raw.until_ready();
    for _ in 0..3 {
        raw.send(&[describe(b'S', "d"), sync()].concat());
        let answer = raw.until_ready();
        assert_eq!(tags(&answer), "t T ZI");
        assert_eq!(answer[0].body, [&[0, 2][..], &23_u32.to_be_bytes(), &25_u32.to_be_bytes()].concat());
        assert_eq!(answer[1].body[..2], [0, 2]);
    }
    raw.send(&[parse("w", "INSERT INTO described VALUES ($1, $2)"), describe(b'S', "w"), sync()].concat());
    assert_eq!(tags(&raw.until_ready()), "1 t n ZI");
}

#[tokio::test]
async fn a_portal_gives_its_rows_in_portions() {
    let fixture = shared().await;
    table(fixture, "portions", 10).await;
    let mut raw = fixture.raw();
    let select = "SELECT word FROM portions ORDER BY id";
    let all =
        [parse("", select), bind("p", "", &[]), execute("p", 4), execute("p", 4), execute("p", 4), sync()];
    raw.send(&all.concat());
    let answer = raw.until_ready();
    assert_eq!(tags(&answer), "1 2 D D D D s D D D D s D D C ZI");
    // In a transaction a portal lives across Sync.
    assert_eq!(tags(&raw.query("BEGIN")), "C ZT");
    raw.send(&[parse("", select), bind("q", "", &[]), execute("q", 6), sync()].concat());
    assert_eq!(tags(&raw.until_ready()), "1 2 D D D D D D s ZT");
    raw.send(&[execute("q", 6), close(b'P', "q"), sync()].concat());
    assert_eq!(tags(&raw.until_ready()), "D D D D C 3 ZT");
    assert_eq!(tags(&raw.query("COMMIT")), "C ZI");
    // Outside one it does not.
    raw.send(&[execute("q", 1), sync()].concat());
    assert_eq!(sqlstates(&raw.until_ready()), ["34000"]);
}

#[tokio::test]
async fn flush_brings_answers_without_sync() {
    let mut raw = shared().await.raw();
    raw.send(&[parse("", "SELECT 'early'"), bind("", "", &[]), describe(b'P', ""), flush()].concat());
    assert_eq!(tags(&raw.until(b'T')), "1 2 T");
    raw.send(&[execute("", 0), flush()].concat());
    let answer = raw.until(b'C');
    assert_eq!(values(&answer), ["early"]);
    raw.send(&sync());
    assert_eq!(tags(&raw.until_ready()), "ZI");
}

#[tokio::test]
async fn an_error_after_flush_waits_for_sync() {
    let mut raw = shared().await.raw();
    raw.send(&[run(FAILS, &[]), flush()].concat());
    assert_eq!(sqlstates(&raw.until(b'E')), ["22012"]);
    raw.send(&[run("SELECT 1", &[]), flush()].concat());
    assert!(raw.silent_for(Duration::from_millis(200)));
    raw.send(&sync());
    assert_eq!(tags(&raw.until_ready()), "ZI");
    assert_eq!(raw.value("SELECT 1"), "1");
}

#[tokio::test]
async fn a_transaction_by_extended_messages_shows_its_status() {
    let fixture = shared().await;
    table(fixture, "extended_block", 0).await;
    let mut raw = fixture.raw();
    raw.send(&[run("BEGIN", &[]), sync()].concat());
    assert_eq!(tags(&raw.until_ready()), "1 2 n C ZT");
    raw.send(&[run("INSERT INTO extended_block VALUES (1, 'a')", &[]), sync()].concat());
    assert_eq!(tags(&raw.until_ready()), "1 2 n C ZT");
    raw.send(&[run(FAILS, &[]), sync()].concat());
    assert_eq!(tags(&raw.until_ready()), "1 2 T E ZE");
    raw.send(&[run("SELECT 1", &[]), sync()].concat());
    let answer = raw.until_ready();
    assert_eq!(sqlstates(&answer), ["25P02"]);
    raw.send(&[run("COMMIT", &[]), sync()].concat());
    let answer = raw.until_ready();
    assert_eq!(tags(&answer), "1 2 n C ZI");
    assert_eq!(answer.iter().find(|message| message.tag == b'C').unwrap().text(), "ROLLBACK");
    assert_eq!(raw.value("SELECT count(*) FROM extended_block"), "0");
}

#[tokio::test]
async fn begin_insert_commit_in_one_pipeline_commits() {
    let fixture = shared().await;
    table(fixture, "pipelined_block", 0).await;
    let mut raw = fixture.raw();
    let block = [
        run("BEGIN", &[]),
        run("INSERT INTO pipelined_block VALUES (1, 'a')", &[]),
        run("COMMIT", &[]),
        sync(),
        run("SELECT count(*) FROM pipelined_block", &[]),
        sync(),
    ];
    raw.send(&block.concat());
    assert_eq!(tags(&raw.until_ready()), "1 2 n C 1 2 n C 1 2 n C ZI");
    assert_eq!(values(&raw.until_ready()), ["1"]);
}

#[tokio::test]
async fn simple_and_extended_messages_may_follow_each_other_unanswered() {
    let mut raw = shared().await.raw();
    raw.send(
        &[query("SELECT 'one'"), run("SELECT 'two'", &[]), sync(), query("SELECT 'three'; SELECT 'four'")]
            .concat(),
    );
    assert_eq!(values(&raw.until_ready()), ["one"]);
    assert_eq!(values(&raw.until_ready()), ["two"]);
    assert_eq!(values(&raw.until_ready()), ["three", "four"]);
}

#[tokio::test]
async fn an_empty_query_and_several_statements_answer_as_postgresql_does() {
    let fixture = shared().await;
    table(fixture, "several", 0).await;
    let mut raw = fixture.raw();
    assert_eq!(tags(&raw.query("")), "I ZI");
    assert_eq!(tags(&raw.query(" -- nothing\n;")), "I ZI");
    raw.send(&[run("", &[]), sync()].concat());
    assert_eq!(tags(&raw.until_ready()), "1 2 n I ZI");
    let answer = raw.query("SELECT 1; INSERT INTO several VALUES (1, 'a'); SELECT word FROM several");
    assert_eq!(tags(&answer), "T D C C T D C ZI");
    let answer = raw.query("INSERT INTO several VALUES (2, 'b'); SELECT 1/(now() IS NULL)::int; SELECT 1");
    assert_eq!(tags(&answer), "C T E ZI", "{answer:?}");
    assert_eq!(raw.value("SELECT count(*) FROM several"), "1");
    let answer = raw.query("BEGIN; INSERT INTO several VALUES (3, 'c')");
    assert_eq!(tags(&answer), "C C ZT");
    assert_eq!(tags(&raw.query("ROLLBACK; SELECT 1")), "C T D C ZI");
}

#[tokio::test]
async fn notices_arrive_in_their_place() {
    let mut raw = shared().await.raw();
    let answer = raw.query("DO $$ BEGIN RAISE NOTICE 'hear this'; END $$");
    assert_eq!(tags(&answer), "N C ZI");
    assert_eq!(answer[0].field(b'M').as_deref(), Some("hear this"));
    raw.send(&[run("DROP TABLE IF EXISTS never_was_there", &[]), sync()].concat());
    assert_eq!(tags(&raw.until_ready()), "1 2 n N C ZI");
}

#[tokio::test]
async fn a_change_of_a_reported_setting_is_reported() {
    let mut raw = shared().await.raw();
    for zone in ["Asia/Tokyo", "Europe/Kyiv"] {
        let answer = raw.query(&format!("SET TimeZone = '{zone}'"));
        let report = answer.iter().find(|message| message.tag == b'S');
        let report = report.unwrap_or_else(|| panic!("no ParameterStatus in {answer:?}"));
        assert_eq!(report.body, format!("TimeZone\0{zone}\0").as_bytes());
        assert_eq!(raw.value("SHOW TimeZone"), zone);
    }
}

#[tokio::test]
async fn a_function_call_is_answered() {
    let mut raw = shared().await.raw();
    // FunctionCall of int4pl (oid 177) with two binary integers.
    let mut body = 177_u32.to_be_bytes().to_vec();
    body.extend([0, 1, 0, 1, 0, 2]);
    for number in [40_u32, 2] {
        body.extend(4_u32.to_be_bytes());
        body.extend(number.to_be_bytes());
    }
    body.extend([0, 1]);
    raw.send(&frame(b'F', &body));
    let answer = raw.until_ready();
    assert_eq!(tags(&answer), "V ZI", "{answer:?}");
    assert_eq!(answer[0].body[4..], 42_u32.to_be_bytes());
}

#[tokio::test]
async fn every_message_may_be_split_at_every_byte() {
    let mut raw = shared().await.raw();
    let sent = [run("SELECT 'split ' || $1::text", &[Some("up")]), sync(), query("SELECT 'simple'")].concat();
    for cut in 1..sent.len() {
        raw.send(&sent[..cut]);
        // Not a wait for something to happen: gives the reader a chance to see the first part by itself.
        std::thread::yield_now();
        raw.send(&sent[cut..]);
        assert_eq!(tags(&raw.until_ready()), "1 2 T D C ZI", "cut at {cut}");
        assert_eq!(values(&raw.until_ready()), ["simple"], "cut at {cut}");
    }
    for byte in &sent {
        raw.send(&[*byte]);
    }
    assert_eq!(values(&raw.until_ready()), ["split up"]);
    assert_eq!(values(&raw.until_ready()), ["simple"]);
}
