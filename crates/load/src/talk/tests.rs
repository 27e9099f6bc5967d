//! A connection of a load test against a server that is played by hand.

use std::time::Duration;

use super::*;
use crate::script::{Draw, Piece, Transaction, Variable};
use wire::encode::{ErrorReply, Severity};
use wire::frontend::{Parse, Query};
use wire::sqlstate::SqlState;

fn statement(text: &str, expect: Option<usize>) -> Statement {
    let mut pieces = Vec::new();
    for (index, part) in text.split(":id").enumerate() {
        if index > 0 {
            pieces.push(Piece::Variable(0));
        }
        pieces.push(Piece::Text(part.to_owned()));
    }
    Statement::new(pieces, expect)
}

fn script(statements: Vec<Statement>) -> Arc<Script> {
    let reads = statements.len() == 1;
    Arc::new(Script {
        variables: vec![Variable { name: "id".to_owned(), draw: Draw::Integer { from: 7, to: 7 } }],
        transactions: vec![Transaction { name: "t".to_owned(), weight: 1, reads, statements }],
    })
}

struct Rig {
    talk: Talk,
    outcome: Outcome,
    now: Instant,
    out: Vec<u8>,
}

fn rig(protocol: Protocol, route_every: u32, statements: Vec<Statement>) -> Rig {
    let talk = Talk::new(script(statements), protocol, route_every);
    let mut rig = Rig { talk, outcome: Outcome::new(1), now: crate::clock::now(), out: Vec::new() };
    rig.talk.begin(rig.now, &mut rig.out);
    rig
}

impl Rig {
    /// Tags and texts of what was sent since the last look.
    fn sent(&mut self) -> String {
        let (bytes, mut said) = (std::mem::take(&mut self.out), Vec::new());
        let mut rest = bytes.as_slice();
        while let Ok(Some(header)) = frame::header(rest) {
            let frame = &rest[..header.total];
            said.push(match header.tag {
                b'Q' => String::from_utf8_lossy(Query::parse(frame).unwrap().text).into_owned(),
                b'P' => format!("P {}", String::from_utf8_lossy(Parse::parse(frame).unwrap().query)),
                tag => char::from(tag).to_string(),
            });
            rest = &rest[header.total..];
        }
        said.join(" | ")
    }

    fn answer(&mut self, after: Duration, bytes: &[u8]) -> Turn {
        self.now += after;
        self.talk.on_bytes(bytes, self.now, &mut self.out, &mut self.outcome).unwrap()
    }
}

fn ready(status: TransactionStatus) -> Vec<u8> {
    let mut out = Vec::new();
    encode::ready_for_query(&mut out, status);
    out
}

fn row(columns: &[&str], status: TransactionStatus) -> Vec<u8> {
    let mut out = Vec::new();
    let columns: Vec<_> = columns.iter().map(|column| Some(column.as_bytes())).collect();
    encode::data_row(&mut out, &columns).unwrap();
    out.extend(ready(status));
    out
}

fn error(status: TransactionStatus) -> Vec<u8> {
    let mut out = Vec::new();
    let reply = ErrorReply {
        severity: Severity::Error,
        sqlstate: SqlState::INTERNAL_ERROR,
        message: "no",
        detail: None,
        hint: None,
    };
    encode::error_response(&mut out, &reply);
    out.extend(ready(status));
    out
}

const MS: Duration = Duration::from_millis(1);

#[test]
fn a_block_is_asked_statement_by_statement_and_timed_as_a_whole() {
    let block = ["BEGIN", "UPDATE t SET n = :id", "COMMIT"].map(|text| statement(text, None)).to_vec();
    let mut rig = rig(Protocol::Simple, 0, block);
    assert_eq!(rig.sent(), "BEGIN");
    assert_eq!(rig.answer(MS, &ready(TransactionStatus::InTransaction)), Turn::Waiting);
    assert_eq!(rig.sent(), "UPDATE t SET n = 7");
    assert_eq!(rig.answer(MS, &ready(TransactionStatus::InTransaction)), Turn::Waiting);
    assert_eq!(rig.sent(), "COMMIT");
    assert_eq!(rig.answer(MS, &ready(TransactionStatus::Idle)), Turn::Done);
    assert_eq!((rig.outcome.transactions(), rig.outcome.statements), (1, 3));
    assert_eq!(rig.outcome.latency.max(), 3 * MS);
}

#[test]
fn a_block_that_fails_is_rolled_back_and_counted_by_its_sqlstate() {
    let block = ["BEGIN", "UPDATE t SET n = 1", "COMMIT"].map(|text| statement(text, None)).to_vec();
    let mut rig = rig(Protocol::Prepared, 0, block);
    assert_eq!(rig.sent(), "BEGIN");
    rig.answer(MS, &ready(TransactionStatus::InTransaction));
    assert_eq!(rig.sent(), "P UPDATE t SET n = 1 | B | D | E | S");
    assert_eq!(rig.answer(MS, &error(TransactionStatus::Failed)), Turn::Waiting);
    assert_eq!(rig.sent(), "ROLLBACK");
    assert_eq!(rig.answer(MS, &ready(TransactionStatus::Idle)), Turn::Done);
    let outcome = &rig.outcome;
    assert_eq!((outcome.transactions(), outcome.failed(), outcome.statements), (0, 1, 1));
    assert_eq!(outcome.faults.errors.get("XX000"), Some(&1));
    assert_eq!(outcome.faults.examples.get("XX000").map(String::as_str), Some("no"));
    assert_eq!(outcome.latency.count(), 0);
}

#[test]
fn a_statement_is_prepared_once_on_a_connection_and_again_on_the_next() {
    let mut rig = rig(Protocol::Prepared, 0, vec![statement("SELECT :id", None)]);
    assert_eq!(rig.sent(), "P SELECT $1 | B | D | E | S");
    let mut answer = Vec::new();
    encode::parse_complete(&mut answer);
    answer.extend(ready(TransactionStatus::Idle));
    assert_eq!(rig.answer(MS, &answer), Turn::Done);
    rig.talk.begin(rig.now, &mut rig.out);
    assert_eq!(rig.sent(), "B | D | E | S");
    rig.talk.on_lost("gone", &mut rig.outcome);
    assert_eq!(rig.outcome.faults.errors.get(LOST), Some(&1));
    rig.talk.begin(rig.now, &mut rig.out);
    assert_eq!(rig.sent(), "P SELECT $1 | B | D | E | S");
}

#[test]
fn the_answer_to_another_question_is_a_mix_up_however_the_bytes_are_cut() {
    for (told, mixed_up) in [("7", 0), ("8", 1)] {
        let answer = row(&[told], TransactionStatus::Idle);
        for cut in 0..answer.len() {
            let mut rig = rig(Protocol::Extended, 0, vec![statement("SELECT :id", Some(0))]);
            rig.answer(MS, &answer[..cut]);
            assert_eq!(rig.answer(MS, &answer[cut..]), Turn::Done);
            assert_eq!(rig.outcome.faults.mixed_up, mixed_up);
        }
    }
}

#[test]
fn every_second_read_is_looked_up_and_that_is_no_part_of_its_latency() {
    let mut rig = rig(Protocol::Simple, 2, vec![statement("SELECT 1", None)]);
    assert_eq!(rig.answer(MS, &ready(TransactionStatus::Idle)), Turn::Done);
    rig.talk.begin(rig.now, &mut rig.out);
    rig.sent();
    assert_eq!(rig.answer(MS, &ready(TransactionStatus::Idle)), Turn::Waiting);
    assert_eq!(rig.sent(), LAST_ROUTE);
    let route = row(&["replica-1", "replica", "fresh_replica", "session"], TransactionStatus::Idle);
    assert_eq!(rig.answer(9 * MS, &route), Turn::Done);
    assert_eq!((rig.outcome.routes.deflected(), rig.outcome.statements), (Some(1.0), 2));
    assert_eq!(rig.outcome.latency.max(), MS);
}

#[test]
fn of_many_connections_that_read_once_some_look_where_it_was() {
    let asks = |place| {
        let mut talk = Talk::new(script(vec![statement("SELECT 1", None)]), Protocol::Simple, 4);
        talk.take_place(place, 8);
        let mut rig = Rig { talk, outcome: Outcome::new(1), now: crate::clock::now(), out: Vec::new() };
        rig.talk.begin(rig.now, &mut rig.out);
        rig.answer(MS, &ready(TransactionStatus::Idle)) == Turn::Waiting
    };
    assert_eq!((0..8).filter(|place| asks(*place)).count(), 2);
}

#[test]
fn a_server_that_knows_no_routes_is_asked_once_and_that_is_no_error() {
    let mut rig = rig(Protocol::Simple, 1, vec![statement("SELECT 1", None)]);
    rig.answer(MS, &ready(TransactionStatus::Idle));
    assert_eq!(rig.answer(MS, &error(TransactionStatus::Idle)), Turn::Done);
    rig.talk.begin(rig.now, &mut rig.out);
    assert_eq!(rig.answer(MS, &ready(TransactionStatus::Idle)), Turn::Done);
    assert_eq!((rig.outcome.faults.count(), rig.outcome.routes.deflected()), (0, None));
}

#[test]
fn what_is_not_answered_before_the_end_has_its_wait_for_a_latency() {
    let mut rig = rig(Protocol::Simple, 0, vec![statement("SELECT 1", None)]);
    rig.talk.on_given_up(rig.now + 50 * MS, &mut rig.outcome);
    assert_eq!(rig.outcome.latency.max(), 50 * MS);
    assert_eq!(rig.outcome.faults.errors.get(UNANSWERED), Some(&1));
    assert!(!rig.talk.is_busy());
}
