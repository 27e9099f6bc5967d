//! The steps, each as something that can be done again and again.

use std::hint::black_box;
use std::time::Duration;

use anyhow::bail;
use engine::freshness::Level;
use engine::freshness::watermark::Watermark;
use engine::route::{Balance, Request, RouteMode, TransactionKind, decide};
use sql::{Class, Environment, Memo, SearchPath, Why};
use wire::encode;
use wire::frame::{self, tag::client as tag};
use wire::frontend::DescribeKind;
use wire::status::TransactionStatus;

use crate::desk::{Desk, catalogue, now, view};

const CAN: &str = "short texts can be sent";
const TEXT: &str = "SELECT abalance FROM pgbench_accounts WHERE aid = 10000000";
const PARAMETER_TEXT: &[u8] = b"SELECT abalance FROM pgbench_accounts WHERE aid = $1";
/// Rounds until a session does the same each time.
const SETTLING: u32 = 16;
const MEMO_BYTES: usize = 4 << 20;

/// Something that can be done again and again.
pub(crate) struct Step {
    pub(crate) name: &'static str,
    /// How often it is done for the smaller of the two counts.
    pub(crate) times: u32,
    /// Does it so often.
    run: fn(u32),
}

const fn step(name: &'static str, times: u32, run: fn(u32)) -> Step {
    Step { name, times, run }
}

/// All of them.
pub(crate) const STEPS: &[Step] = &[
    step("frame_message", 20_000, frame_message),
    step("classify_memo_hit", 5_000, classify_memo_hit),
    step("classify_new_text_60_bytes", 1_000, |times| classify_new_text(60, times)),
    step("classify_new_text_20_kB", 20, |times| classify_new_text(20_000, times)),
    step("decide", 5_000, decide_read),
    step("simple_query", 2_000, simple_query),
    step("extended_query", 1_000, extended_query),
    step("prepared_query", 1_000, prepared_query),
    step("pipelined_16_prepared_queries", 100, pipelined_queries),
    step("relay_1000_rows", 50, relay_rows),
];

/// Runs a step.
pub(crate) fn run(name: &str, times: u32) -> anyhow::Result<()> {
    let Some(step) = STEPS.iter().find(|step| step.name == name) else {
        let names: Vec<&str> = STEPS.iter().map(|step| step.name).collect();
        bail!("there is no step '{name}': {}", names.join(", "));
    };
    (step.run)(times);
    Ok(())
}

/// Finds the end of a message and looks whether a client may send it.
fn frame_message(times: u32) {
    let mut buffer = Vec::new();
    for _ in 0..64 {
        encode::query(&mut buffer, TEXT).expect(CAN);
    }
    let mut left = times;
    while left > 0 {
        let mut rest = black_box(buffer.as_slice());
        while let Ok(Some(header)) = frame::header(rest) {
            black_box(frame::check_client_tag(header, 1 << 28)).expect(CAN);
            rest = &rest[header.total..];
            left = left.saturating_sub(1);
            if left == 0 {
                return;
            }
        }
    }
}

fn with_environment(run: impl FnOnce(&mut Memo, &Environment<'_>)) {
    let catalogue = catalogue();
    let search_path = SearchPath::parse("\"$user\", public", "app");
    let environment =
        Environment { catalogue: &catalogue, search_path: &search_path, standard_conforming_strings: true };
    run(&mut Memo::new(MEMO_BYTES), &environment);
}

fn classify_memo_hit(times: u32) {
    with_environment(|memo, environment| {
        for _ in 0..times {
            let verdict = memo.get_or_classify(black_box(TEXT.as_bytes()), 1, environment);
            assert_eq!(black_box(verdict).class, Class::Reads);
        }
    });
}

/// A text of this size whose literals are new each time.
fn classify_new_text(bytes: usize, times: u32) {
    let mut text = TEXT.as_bytes().to_vec();
    while text.len() + 20 < bytes {
        text.extend_from_slice(b" AND bid <> 1234567");
    }
    // The eight digits of the first literal, in place.
    let digits = TEXT.len() - 8..TEXT.len();
    with_environment(|memo, environment| {
        for round in 0..times {
            text[digits.clone()].copy_from_slice(format!("{:08}", 10_000_000 + round).as_bytes());
            let verdict = memo.get_or_classify(black_box(&text), 1, environment);
            assert_eq!(black_box(verdict).class, Class::Reads);
        }
    });
}

fn decide_read(times: u32) {
    let (view, mut balance) = (view(), Balance::default());
    let request = Request {
        class: Class::Reads,
        why: Why::PlainSelect,
        mode: RouteMode::Auto,
        hint: None,
        transaction: TransactionKind::None,
        learned_write: false,
        level: Level::Session,
        max_staleness: Duration::from_secs(10),
        watermark: Watermark::default(),
        rerun: None,
        pins: false,
    };
    for _ in 0..times {
        black_box(decide(black_box(&request), black_box(&view), now(), &mut balance));
    }
}

/// Asks, answers, and sees to it that the replica was asked and is given back. The first rounds are answered by what came to the
/// backend, since a session may send something else once it knows a statement; all others alike.
fn rounds(desk: &mut Desk, question: &[u8], row_count: u32, times: u32) {
    let mut answer = Vec::new();
    for _ in 0..SETTLING {
        desk.noted = Some(Vec::new());
        desk.on_client(question);
        answer = answer_to(&desk.noted.take().unwrap_or_default(), row_count);
        desk.on_backend(&answer);
    }
    for _ in 0..times {
        desk.on_client(black_box(question));
        assert!(desk.is_on_replica(), "a read goes to the replica");
        desk.on_backend(black_box(&answer));
        assert!(desk.is_quiet(), "the answer is complete");
    }
    black_box(desk.sent);
}

fn simple_query(times: u32) {
    let mut question = Vec::new();
    encode::query(&mut question, TEXT).expect(CAN);
    rounds(&mut Desk::new(), &question, 1, times);
}

fn extended_query(times: u32) {
    let mut question = Vec::new();
    encode::parse(&mut question, b"", PARAMETER_TEXT, b"").expect(CAN);
    bind_and_execute(&mut question, b"");
    rounds(&mut Desk::new(), &question, 1, times);
}

/// A desk that has prepared a statement, and a question that uses it.
fn prepared() -> (Desk, Vec<u8>) {
    let mut desk = Desk::new();
    let mut parse = Vec::new();
    encode::parse(&mut parse, b"s", PARAMETER_TEXT, b"").expect(CAN);
    encode::sync(&mut parse);
    desk.noted = Some(Vec::new());
    desk.on_client(&parse);
    let answer = answer_to(&desk.noted.take().unwrap_or_default(), 0);
    desk.on_backend(&answer);
    let mut question = Vec::new();
    bind_and_execute(&mut question, b"s");
    (desk, question)
}

fn prepared_query(times: u32) {
    let (mut desk, question) = prepared();
    rounds(&mut desk, &question, 1, times);
}

fn pipelined_queries(times: u32) {
    let (mut desk, question) = prepared();
    rounds(&mut desk, &question.repeat(16), 1, times);
}

fn relay_rows(times: u32) {
    let mut question = Vec::new();
    encode::query(&mut question, TEXT).expect(CAN);
    rounds(&mut Desk::new(), &question, 1000, times);
}

fn bind_and_execute(out: &mut Vec<u8>, name: &[u8]) {
    // No formats, one parameter of two bytes, no result formats.
    encode::bind_with_statement(out, b"", name, b"\0\0\0\x01\0\0\0\x0242\0\0").expect(CAN);
    encode::describe(out, DescribeKind::Portal, b"").expect(CAN);
    encode::execute(out, b"", 0).expect(CAN);
    encode::sync(out);
}

/// What a server answers to these messages, with so many rows for each statement.
fn answer_to(sent: &[u8], row_count: u32) -> Vec<u8> {
    let (mut rest, mut out) = (sent, Vec::new());
    while let Ok(Some(header)) = frame::header(rest) {
        match header.tag {
            tag::QUERY => {
                describe(&mut out);
                rows(&mut out, row_count);
                encode::ready_for_query(&mut out, TransactionStatus::Idle);
            }
            tag::PARSE => encode::parse_complete(&mut out),
            tag::BIND => encode::bind_complete(&mut out),
            tag::DESCRIBE => describe(&mut out),
            tag::EXECUTE => rows(&mut out, row_count),
            tag::CLOSE => encode::close_complete(&mut out),
            tag::SYNC => encode::ready_for_query(&mut out, TransactionStatus::Idle),
            _ => {}
        }
        rest = &rest[header.total..];
    }
    out
}

fn describe(out: &mut Vec<u8>) {
    let column = encode::Column { name: "abalance", type_oid: encode::type_oid::INT4, format: 0 };
    encode::row_description(out, &[column]).expect(CAN);
}

fn rows(out: &mut Vec<u8>, count: u32) {
    for _ in 0..count {
        encode::data_row(out, &[Some(b"0")]).expect(CAN);
    }
    encode::command_complete(out, &format!("SELECT {count}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_can_be_done_and_goes_where_it_should() {
        for step in STEPS {
            assert!(run(step.name, 3).is_ok());
        }
        assert!(run("nothing", 1).is_err());
    }
}
