//! The shapes of published vulnerabilities that concern parsing, one test each; SCRAM's are with SCRAM, the startup packet's with it.

use super::{frame as framed, read_with_every_view};
use crate::backend::{self, Authentication};
use crate::encode::{self, EncodeError};
use crate::frame::{self, FrameError};
use crate::frontend;
use crate::malformed::{Fault, Malformed};
use crate::startup;

/// PgBouncer 1.26.1: a second StartupMessage in the middle of SASL was read as one, and changed the user. Where a password is due, its
/// bytes are a message of an unknown type.
#[test]
fn cve_2026_107350_a_second_startup_message_during_login_is_not_read() {
    let mut second = Vec::new();
    startup::encode_startup(&mut second, &[("user", "somebody_else")]).unwrap();
    let header = frame::header(&second).unwrap_or(None);
    assert!(
        header.is_none_or(|header| frame::check_login_tag(header, 1 << 16) == Err(FrameError::UnknownTag(0)))
    );
    assert_eq!(read_with_every_view(&second), 0);
}

/// PgBouncer 1.25.2: a length of 0xFFFFFFFF in SASLInitialResponse wrapped around in `read_pos + len > write_pos`.
#[test]
fn cve_2026_6664_a_huge_inner_length_is_compared_and_never_added() {
    for (len, fault) in
        [(-1_i32, None), (-2, Some(Fault::NegativeLength)), (i32::MIN, Some(Fault::NegativeLength))]
            .into_iter()
            .chain([(1, Some(Fault::Truncated)), (i32::MAX, Some(Fault::Truncated))])
    {
        let body = [&b"SCRAM-SHA-256\0"[..], &len.to_be_bytes()].concat();
        let frame = framed(b'p', &body);
        let read = frontend::SaslInitialResponse::parse(&frame);
        match fault {
            None => assert_eq!(read.unwrap().data, None),
            Some(fault) => assert_eq!(read.unwrap_err().fault, fault, "{len}"),
        }
    }
}

/// PgBouncer 1.26.0 and 1.26.1: doubling a buffer to a length from a five-byte header overflowed and never ended.
#[test]
fn cve_2026_6668_and_107348_a_five_byte_header_cannot_ask_for_more_than_a_gibibyte() {
    for declared in [0x4000_0000_u32, 0x7fff_ffff, 0x8000_0000, 0xffff_fffc, 0xffff_ffff] {
        let header = [&b"Q"[..], &declared.to_be_bytes()].concat();
        assert_eq!(
            frame::header(&header),
            Err(FrameError::TooLong { tag: b'Q', declared, max: 0x3fff_ffff })
        );
    }
}

/// pgx, Npgsql, sqlx: a value over 4 GiB wrapped the message's length, and its tail was read as new messages.
#[test]
fn cve_2024_27304_a_message_is_measured_from_what_was_written() {
    let rest = framed(b'Q', b"DROP TABLE users\0");
    let mut out = Vec::new();
    encode::bind_with_statement(&mut out, b"", b"a much longer name than the client's", &rest).unwrap();
    let header = frame::header(&out).unwrap().unwrap();
    assert_eq!(header.total, out.len(), "nothing is left over that could be read as a message");
}

/// The same, from the side of the limit: 1 GiB − 1 is refused, and nothing stays behind.
#[test]
fn cve_2024_27304_a_message_above_the_limit_is_refused() {
    // Never touched: zeroed memory that nobody reads costs nothing.
    let large = vec![0; 0x3fff_ffff];
    let mut out = Vec::new();
    assert_eq!(encode::sasl_response(&mut out, &large), Err(EncodeError::TooLong));
    assert_eq!(encode::data_row(&mut out, &[Some(&large[..1000]), Some(&large)]), Err(EncodeError::TooLong));
    assert!(out.is_empty());
}

/// sqlx, pgproto3: lengths inside Bind that do not add up.
#[test]
fn counts_and_lengths_inside_a_bind_must_add_up() {
    let bad: [(&[u8], Fault); 9] = [
        (&[], Fault::Truncated),
        (&[0, 1], Fault::CountTooLarge),
        (&[0xff, 0xff, 0, 0], Fault::CountTooLarge),
        (&[0, 0, 0, 1], Fault::Truncated),
        (&[0, 0, 0, 1, 0xff, 0xff, 0xff, 0xfe, 0, 0], Fault::NegativeLength),
        (&[0, 0, 0, 1, 0, 0, 0, 3, b'a', b'b'], Fault::Truncated),
        (&[0, 0, 0, 1, 0x7f, 0xff, 0xff, 0xff, 0, 0], Fault::Truncated),
        (&[0, 0, 0, 0, 0xff, 0xff], Fault::CountTooLarge),
        (&[0, 0, 0, 0, 0, 0, 0], Fault::TrailingBytes),
    ];
    for (rest, fault) in bad {
        let frame = framed(b'B', &[b"\0\0", rest].concat());
        let bind = frontend::Bind::parse(&frame).unwrap();
        assert_eq!(bind.validate(), Err(Malformed { message: "Bind", fault }), "{rest:?}");
    }
}

/// tokio-postgres (RUSTSEC-2026-0178): a DataRow shorter than its count.
#[test]
fn rustsec_2026_0178_a_short_data_row_is_an_error() {
    for body in
        [&b""[..], &[0], &[0, 1], &[0, 1, 0, 0, 0, 1], &[0, 2, 255, 255, 255, 255], &[255, 255, 0, 0, 0, 0]]
    {
        assert!(backend::DataRow::parse(&framed(b'D', body)).is_err(), "{body:?}");
    }
}

/// psqlODBC (CVE-2026-120060): counts from a server were believed.
#[test]
fn counts_from_a_backend_are_not_believed() {
    for tag in *b"TtD" {
        assert_eq!(read_with_every_view(&framed(tag, &[0xff, 0xff])), 0);
    }
    let negative = framed(b'v', &[0, 3, 0, 0, 0xff, 0xff, 0xff, 0xff]);
    assert_eq!(backend::NegotiateProtocolVersion::parse(&negative).unwrap_err().fault, Fault::NegativeLength);
    let many = framed(b'v', &[0, 3, 0, 0, 0x7f, 0xff, 0xff, 0xff, b'x', 0]);
    assert!(backend::NegotiateProtocolVersion::parse(&many).is_err());
}

/// PgBouncer 1.5.5 (CVE-2015-4054): a password packet where another message was due. Here: any message read as any other.
#[test]
fn cve_2015_4054_a_view_reads_only_its_own_message() {
    for tag in 0..=u8::MAX {
        let read = read_with_every_view(&framed(tag, b"\0"));
        assert!(read <= 3, "only the three password messages share a tag, not {}", tag as char);
    }
}

#[test]
fn a_frame_whose_length_is_not_its_own_is_refused() {
    let mut frame = framed(b'Q', b"SELECT 1\0");
    frame.push(0);
    assert_eq!(frontend::Query::parse(&frame).unwrap_err().fault, Fault::WrongLength);
    assert_eq!(frontend::Query::parse(&frame[..5]).unwrap_err().fault, Fault::WrongLength);
    assert_eq!(frontend::Query::parse(&frame[..4]).unwrap_err().fault, Fault::Truncated);
    assert_eq!(frontend::Query::parse(&[b'Q', 0, 0, 0, 0]).unwrap_err().fault, Fault::WrongLength);
}

#[test]
fn views_use_their_frame_up_to_the_last_byte() {
    let complete: [(u8, &[u8]); 8] = [
        (b'Q', b"SELECT 1\0"),
        (b'P', b"s\0SELECT $1\0\0\x01\0\0\0\x17"),
        (b'D', b"Ss\0"),
        (b'C', b"Ps\0"),
        (b'Z', b"I"),
        (b'S', b"TimeZone\0UTC\0"),
        (b'T', b"\0\x01n\0\0\0\0\0\0\0\0\0\0\x17\0\x04\xff\xff\xff\xff\0\0"),
        (b'A', b"\0\0\0\x07c\0payload\0"),
    ];
    for (tag, body) in complete {
        assert_ne!(read_with_every_view(&framed(tag, body)), 0, "{}", tag as char);
        for len in 0..body.len() {
            assert_eq!(read_with_every_view(&framed(tag, &body[..len])), 0, "{} cut to {len}", tag as char);
        }
        assert_eq!(
            read_with_every_view(&framed(tag, &[body, b"\0"].concat())),
            0,
            "{} and a byte",
            tag as char
        );
    }
}

#[test]
fn kinds_and_states_outside_their_lists_are_refused() {
    assert_eq!(frontend::Describe::parse(&framed(b'D', b"Xs\0")).unwrap_err().fault, Fault::UnknownCode);
    assert_eq!(backend::ReadyForQuery::parse(&framed(b'Z', b"X")).unwrap_err().fault, Fault::UnknownCode);
    assert!(matches!(Authentication::parse(&framed(b'R', &[0, 0, 0, 7])), Ok(Authentication::Other(7))));
    assert!(Authentication::parse(&framed(b'R', &[0, 0, 0, 0, 0])).is_err());
    assert!(Authentication::parse(&framed(b'R', &[0, 0, 0, 5, 1, 2, 3])).is_err());
    assert!(Authentication::parse(&framed(b'R', b"\0\0\0\x0aSCRAM-SHA-256\0")).is_err());
}

#[test]
fn cancel_keys_have_4_to_256_bytes() {
    for (len, ok) in [(0, false), (3, false), (4, true), (32, true), (256, true), (257, false)] {
        let frame = framed(b'K', &vec![0; 4 + len]);
        assert_eq!(backend::BackendKeyData::parse(&frame).is_ok(), ok, "{len}");
    }
}

#[test]
fn passwords_and_keys_do_not_show_in_debug_output() {
    let password = framed(b'p', b"hunter2\0");
    let key = framed(b'K', &[0, 0, 0, 1, 77, 77, 77, 77]);
    let shown =
        format!("{:?} {:?}", frontend::Password::parse(&password), backend::BackendKeyData::parse(&key));
    assert!(!shown.contains("hunter2") && !shown.contains("104") && !shown.contains("77"), "{shown}");
}
