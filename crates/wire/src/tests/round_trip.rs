//! What an encoder writes, its view reads back, and nothing else fits.

use super::read_with_every_view;
use crate::backend::{self, Authentication};
use crate::encode::{self, Column, EncodeError, ErrorReply, Severity};
use crate::error_response::ErrorFields;
use crate::frame;
use crate::frontend::{self, DescribeKind};
use crate::sqlstate::SqlState;
use crate::status::TransactionStatus;
use proptest::prelude::*;

type Bytes = Vec<u8>;
/// An encoder of a message without a body.
type Writer = fn(&mut Bytes);

/// Bytes that can stand as a text: no NUL.
fn text() -> impl Strategy<Value = Bytes> {
    proptest::collection::vec(1_u8.., 0..30)
}

fn bytes() -> impl Strategy<Value = Bytes> {
    proptest::collection::vec(any::<u8>(), 0..30)
}

/// Writes one message and checks that it is one frame.
fn written<E: std::fmt::Debug>(write: impl FnOnce(&mut Bytes) -> Result<(), E>) -> Bytes {
    let mut out = Vec::new();
    write(&mut out).unwrap();
    let header = frame::header(&out).unwrap().unwrap();
    assert_eq!(header.total, out.len());
    out
}

/// A Bind body behind the names.
fn bind_rest(formats: &[u16], parameters: &[Option<Bytes>], results: &[u16]) -> Bytes {
    let mut rest = Vec::new();
    let words = |rest: &mut Bytes, words: &[u16]| {
        rest.extend_from_slice(&(words.len() as u16).to_be_bytes());
        words.iter().for_each(|word| rest.extend_from_slice(&word.to_be_bytes()));
    };
    words(&mut rest, formats);
    rest.extend_from_slice(&(parameters.len() as u16).to_be_bytes());
    for parameter in parameters {
        match parameter {
            None => rest.extend_from_slice(&(-1_i32).to_be_bytes()),
            Some(value) => {
                rest.extend_from_slice(&(value.len() as u32).to_be_bytes());
                rest.extend_from_slice(value);
            }
        }
    }
    words(&mut rest, results);
    rest
}

proptest! {
    #[test]
    fn what_a_client_says(name in text(), query in text(), oids in proptest::collection::vec(any::<u32>(), 0..9), rows in any::<i32>()) {
        let raw_types = [(oids.len() as u16).to_be_bytes().to_vec(), oids.iter().flat_map(|oid| oid.to_be_bytes()).collect()].concat();
        let out = written(|out| encode::parse(out, &name, &query, &raw_types));
        let parse = frontend::Parse::parse(&out).unwrap();
        prop_assert_eq!((parse.name, parse.query, parse.parameter_types), (&name[..], &query[..], &raw_types[..]));
        prop_assert!(parse.type_oids().eq(oids));

        let out = written(|out| encode::execute(out, &name, rows));
        prop_assert_eq!(frontend::Execute::parse(&out), Ok(frontend::Execute { portal: &name, max_rows: rows }));
        for kind in [DescribeKind::Statement, DescribeKind::Portal] {
            let out = written(|out| encode::describe(out, kind, &name));
            prop_assert_eq!(frontend::Describe::parse(&out), Ok(frontend::Describe { kind, name: &name }));
            let out = written(|out| encode::close(out, kind, &name));
            prop_assert_eq!(frontend::Close::parse(&out), Ok(frontend::Close { kind, name: &name }));
        }
        let out = written(|out| encode::password(out, &name));
        prop_assert_eq!(frontend::Password::parse(&out).unwrap().secret, &name[..]);
        let query = String::from_utf8_lossy(&query).into_owned();
        let out = written(|out| encode::query(out, &query));
        prop_assert_eq!(frontend::Query::parse(&out), Ok(frontend::Query { text: query.as_bytes() }));
        let out = written(|out| encode::copy_fail(out, &query));
        prop_assert_eq!(frontend::CopyFail::parse(&out).unwrap().reason, query.as_bytes());
    }

    #[test]
    fn a_bind_gets_another_statement_name_and_keeps_everything_else(
        portal in text(), statement in text(), other in text(),
        formats in proptest::collection::vec(0_u16..2, 0..4),
        parameters in proptest::collection::vec(proptest::option::of(bytes()), 0..4),
        results in proptest::collection::vec(0_u16..2, 0..4),
    ) {
        let rest = bind_rest(&formats, &parameters, &results);
        let out = written(|out| encode::bind_with_statement(out, &portal, &statement, &rest));
        let bind = frontend::Bind::parse(&out).unwrap();
        prop_assert_eq!((bind.portal, bind.statement, bind.rest), (&portal[..], &statement[..], &rest[..]));
        prop_assert_eq!(&out[bind.rest_offset..], &rest[..]);
        prop_assert_eq!(bind.validate(), Ok(()));
        prop_assert_eq!(bind.parameter_count(), Some(parameters.len() as u16));

        let renamed = written(|out| encode::bind_with_statement(out, bind.portal, &other, bind.rest));
        let renamed = frontend::Bind::parse(&renamed).unwrap();
        prop_assert_eq!((renamed.portal, renamed.statement, renamed.rest), (&portal[..], &other[..], &rest[..]));

        for len in 0..rest.len() {
            let cut = frontend::Bind { rest: &rest[..len], ..bind };
            prop_assert!(cut.validate().is_err(), "cut to {len}");
        }
    }

    #[test]
    fn what_a_backend_says(
        name in text(), value in text(), pid in any::<i32>(),
        key in proptest::collection::vec(any::<u8>(), 4..=256),
        values in proptest::collection::vec(proptest::option::of(bytes()), 0..9),
        oids in proptest::collection::vec(any::<u32>(), 0..9),
    ) {
        let out = written(|out| encode::parameter_status(out, &name, &value));
        prop_assert_eq!(backend::ParameterStatus::parse(&out), Ok(backend::ParameterStatus { name: &name, value: &value }));
        let out = written(|out| encode::backend_key_data(out, pid, &key));
        prop_assert_eq!(backend::BackendKeyData::parse(&out), Ok(backend::BackendKeyData { pid, key: &key }));
        let values: Vec<_> = values.iter().map(Option::as_deref).collect();
        let out = written(|out| encode::data_row(out, &values));
        prop_assert!(backend::DataRow::parse(&out).unwrap().values().eq(values));
        let out = written(|out| encode::parameter_description(out, &oids));
        prop_assert!(backend::ParameterDescription::parse(&out).unwrap().type_oids().eq(oids.iter().copied()));
        let name = String::from_utf8_lossy(&name);
        let columns: Vec<_> = oids.iter().map(|&type_oid| Column { name: &name, type_oid, format: 1 }).collect();
        let out = written(|out| encode::row_description(out, &columns));
        let row = backend::RowDescription::parse(&out).unwrap();
        let read: Vec<_> = row.columns().map(|c| (c.name.to_vec(), c.type_oid, c.format)).collect();
        prop_assert_eq!(read, columns.iter().map(|c| (c.name.as_bytes().to_vec(), c.type_oid, 1)).collect::<Vec<_>>());
    }

    #[test]
    fn any_bytes_are_a_message_or_an_error(tag in any::<u8>(), body in proptest::collection::vec(any::<u8>(), 0..60)) {
        read_with_every_view(&super::frame(tag, &body));
        read_with_every_view(&body);
    }

    /// The tags that exist, over bodies that look like something.
    #[test]
    fn no_likely_bytes_make_a_view_panic(
        tag in proptest::sample::select(&b"QPBDECSHdcfXFpRKZENATI123ntsGWVv"[..]),
        body in proptest::collection::vec(proptest::sample::select(&[0_u8, 0, 0, 0, 1, 2, 4, 10, 255, b'S', b'P', b'a'][..]), 0..60),
    ) {
        read_with_every_view(&super::frame(tag, &body));
    }

    #[test]
    fn our_own_errors_say_what_they_were_told_to(message in ".{0,40}", detail in proptest::option::of("[^\0]{0,40}")) {
        let reply = ErrorReply {
            severity: Severity::Fatal, sqlstate: SqlState::CANNOT_CONNECT_NOW,
            message: &message, detail: detail.as_deref(), hint: None,
        };
        let out = written(|out| -> Result<(), ()> { encode::error_response(out, &reply); Ok(()) });
        let error = ErrorFields::parse(&out).unwrap();
        prop_assert!(error.is_fatal());
        prop_assert_eq!(error.sqlstate(), Some(SqlState::CANNOT_CONNECT_NOW));
        prop_assert_eq!(error.message().unwrap(), message.split('\0').next().unwrap());
        prop_assert_eq!(error.detail().map(|text| text.into_owned()), detail);
        prop_assert_eq!(error.hint(), None);
    }
}

#[test]
fn logins_are_asked_for_and_answered() {
    let mechanisms = ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"];
    let out = written(|out| encode::authentication_sasl(out, &mechanisms));
    let Ok(Authentication::Sasl(read)) = Authentication::parse(&out) else { panic!() };
    assert!(read.eq(mechanisms.map(str::as_bytes)));
    let out = written(|out| encode::authentication_sasl_continue(out, b"r=x"));
    assert!(matches!(Authentication::parse(&out), Ok(Authentication::SaslContinue(b"r=x"))));
    let out = written(|out| encode::authentication_sasl_final(out, b"v=x"));
    assert!(matches!(Authentication::parse(&out), Ok(Authentication::SaslFinal(b"v=x"))));
    let mut out = Vec::new();
    encode::authentication_ok(&mut out);
    assert!(matches!(Authentication::parse(&out), Ok(Authentication::Ok)));
    out.clear();
    encode::authentication_cleartext_password(&mut out);
    assert!(matches!(Authentication::parse(&out), Ok(Authentication::CleartextPassword)));
    out.clear();
    encode::authentication_md5_password(&mut out, [1, 2, 3, 4]);
    assert!(matches!(Authentication::parse(&out), Ok(Authentication::Md5Password { salt: [1, 2, 3, 4] })));

    let out = written(|out| encode::sasl_initial_response(out, "SCRAM-SHA-256", b"n,,"));
    let read = frontend::SaslInitialResponse::parse(&out).unwrap();
    assert_eq!((read.mechanism, read.data), (&b"SCRAM-SHA-256"[..], Some(&b"n,,"[..])));
    let out = written(|out| encode::sasl_response(out, b"c=biws"));
    assert_eq!(frontend::SaslResponse::parse(&out).unwrap().data, b"c=biws");
}

#[test]
fn messages_without_a_body_are_five_bytes() {
    let writers: [(Writer, u8); 10] = [
        (encode::sync, b'S'),
        (encode::flush, b'H'),
        (encode::terminate, b'X'),
        (encode::copy_done, b'c'),
        (encode::empty_query, b'I'),
        (encode::parse_complete, b'1'),
        (encode::bind_complete, b'2'),
        (encode::close_complete, b'3'),
        (encode::no_data, b'n'),
        (encode::portal_suspended, b's'),
    ];
    for (write, tag) in writers {
        let mut out = Vec::new();
        write(&mut out);
        assert_eq!(out, [tag, 0, 0, 0, 4]);
    }
}

#[test]
fn the_end_of_a_command_and_of_a_unit_is_read_back() {
    let mut out = Vec::new();
    encode::command_complete(&mut out, "SELECT 1\0never sent");
    assert_eq!(backend::CommandComplete::parse(&out).unwrap().tag, b"SELECT 1");
    for status in [TransactionStatus::Idle, TransactionStatus::InTransaction, TransactionStatus::Failed] {
        let mut out = Vec::new();
        encode::ready_for_query(&mut out, status);
        assert_eq!(backend::ReadyForQuery::parse(&out), Ok(backend::ReadyForQuery { status }));
    }
}

#[test]
fn a_message_that_cannot_be_written_leaves_nothing_behind() {
    let mut out = b"before".to_vec();
    assert_eq!(encode::query(&mut out, "a\0b"), Err(EncodeError::EmbeddedNul));
    assert_eq!(encode::parse(&mut out, b"", b"", &[0, 2, 0, 0, 0, 1]), Err(EncodeError::NotWellFormed));
    assert_eq!(encode::describe(&mut out, DescribeKind::Portal, b"\0"), Err(EncodeError::EmbeddedNul));
    assert_eq!(encode::data_row(&mut out, &vec![None; 65_536]), Err(EncodeError::TooMany));
    assert_eq!(encode::parameter_description(&mut out, &vec![0; 65_536]), Err(EncodeError::TooMany));
    assert_eq!(encode::backend_key_data(&mut out, 1, b"abc"), Err(EncodeError::NotWellFormed));
    assert_eq!(out, b"before");
}

#[test]
fn our_own_texts_are_cut_at_a_character() {
    let mut out = Vec::new();
    let long = "\u{20ac}".repeat(encode::OWN_TEXT_MAX);
    encode::command_complete(&mut out, &long);
    let tag = backend::CommandComplete::parse(&out).unwrap().tag;
    assert!(tag.len() <= encode::OWN_TEXT_MAX && tag.len() > encode::OWN_TEXT_MAX - 3);
    assert!(std::str::from_utf8(tag).is_ok());
}
