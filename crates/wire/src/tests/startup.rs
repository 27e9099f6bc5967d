//! The first packet, from friends and from strangers.

use crate::frame;
use crate::sqlstate::SqlState;
use crate::startup::{
    self, EncodeStartupError, Initial, PAIRS_MAX, ProtocolVersion, StartupError, StartupParameters, initial,
};
use proptest::prelude::*;

fn packet(code: u32, body: &[u8]) -> Vec<u8> {
    [&(body.len() as u32 + 8).to_be_bytes()[..], &code.to_be_bytes(), body].concat()
}

const V3: u32 = 3 << 16;
const CANCEL: u32 = 1234 << 16 | 5678;
const SSL: u32 = 1234 << 16 | 5679;
const GSSENC: u32 = 1234 << 16 | 5680;

#[track_caller]
fn parameters(packet: &[u8]) -> StartupParameters<'_> {
    match initial(packet) {
        Ok(Some((Initial::Startup(parameters), len))) if len == packet.len() => parameters,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn check_refused(packet: &[u8], expected: StartupError) {
    assert_eq!(initial(packet).unwrap_err(), expected);
}

#[test]
fn a_startup_message_says_who_wants_what() {
    let packet =
        packet(V3 | 2, b"user\0alice\0database\0app\0application_name\0psql\0_pq_.report_parameters\0x\0\0");
    let parameters = parameters(&packet);
    assert_eq!(parameters.protocol, ProtocolVersion::V3_2);
    assert_eq!((parameters.user(), parameters.database()), ("alice", "app"));
    assert_eq!(parameters.get("application_name"), Some("psql"));
    assert_eq!(parameters.get("options"), None);
    assert_eq!(parameters.iter().count(), 4);
    assert!(parameters.unsupported_options().eq(["_pq_.report_parameters"]));
}

#[test]
fn the_database_is_the_users_name_if_none_is_given_and_the_last_value_counts() {
    assert_eq!(parameters(&packet(V3, b"user\0alice\0\0")).database(), "alice");
    assert_eq!(parameters(&packet(V3, b"user\0alice\0database\0\0\0")).database(), "alice");
    assert_eq!(parameters(&packet(V3, b"user\0alice\0user\0bob\0\0")).user(), "bob");
}

#[test]
fn newer_minor_versions_are_taken_and_other_major_ones_refused() {
    assert_eq!(
        parameters(&packet(V3 | 9999, b"user\0a\0\0")).protocol,
        ProtocolVersion { major: 3, minor: 9999 }
    );
    for major in [0, 1, 2, 4, 1234, 65535] {
        let version = ProtocolVersion { major, minor: 0 };
        check_refused(&packet(version.to_code(), b"user\0a\0\0"), StartupError::UnsupportedProtocol(version));
    }
}

#[test]
fn requests_without_content_are_known_by_their_code_and_have_eight_bytes() {
    assert!(matches!(initial(&packet(SSL, b"")), Ok(Some((Initial::Ssl, 8)))));
    assert!(matches!(initial(&packet(GSSENC, b"")), Ok(Some((Initial::GssEnc, 8)))));
    check_refused(&packet(SSL, b"\0"), StartupError::RequestLength);
    check_refused(&packet(GSSENC, b"user\0a\0\0"), StartupError::RequestLength);
}

/// CVE-2021-3935, CVE-2021-43766: what follows an SSLRequest in the same read must be seen, not swallowed.
#[test]
fn cve_2021_3935_bytes_behind_an_ssl_request_are_not_part_of_it() {
    let stuffed = [packet(SSL, b""), packet(V3, b"user\0a\0\0")].concat();
    let Ok(Some((Initial::Ssl, len))) = initial(&stuffed) else { panic!() };
    assert!(len < stuffed.len(), "the caller sees that something follows");
}

#[test]
fn a_cancel_request_quotes_a_key_of_4_to_256_bytes() {
    for len in [4, 32, 256] {
        let packet = packet(CANCEL, &[&7_i32.to_be_bytes()[..], &vec![9; len]].concat());
        assert!(
            matches!(initial(&packet), Ok(Some((Initial::Cancel { pid: 7, key }, _))) if key == vec![9; len])
        );
    }
    for len in [0, 3, 257, 9000] {
        check_refused(&packet(CANCEL, &vec![0; 4 + len]), StartupError::RequestLength);
    }
    check_refused(&packet(CANCEL, &[0; 3]), StartupError::RequestLength);
    check_refused(&packet(CANCEL, &[]), StartupError::RequestLength);
}

#[test]
fn a_first_packet_shows_names_and_values_but_no_cancel_key() {
    let startup = packet(V3, b"user\0alice\0\0");
    assert_eq!(format!("{:?}", initial(&startup).unwrap().unwrap().0), r#"Startup(3.0 {"user": "alice"})"#);
    let cancel = packet(CANCEL, &[0, 0, 0, 7, 77, 77, 77, 77]);
    assert_eq!(format!("{:?}", initial(&cancel).unwrap().unwrap().0), "Cancel { pid: 7, key: [redacted] }");
}

#[test]
fn lengths_are_refused_as_soon_as_they_are_read() {
    for declared in [0_u32, 1, 4, 7, 10_001, 1 << 16, 1 << 31, u32::MAX] {
        check_refused(&declared.to_be_bytes(), StartupError::Length { declared });
    }
    for declared in [8_u32, 10_000] {
        assert!(matches!(initial(&declared.to_be_bytes()), Ok(None)));
    }
    check_refused(&[0x16, 3, 1, 2, 0, 1], StartupError::DirectTls);
}

#[test]
fn the_largest_packet_is_read() {
    let mut body = b"user\0a\0options\0".to_vec();
    body.resize(startup::PACKET_LEN_MAX - 8 - 2, b'x');
    body.extend_from_slice(b"\0\0");
    assert_eq!(parameters(&packet(V3, &body)).get("options").unwrap().len(), 10_000 - 8 - 2 - 15);
}

#[test]
fn pairs_must_be_complete_and_the_terminator_the_last_byte() {
    for body in [
        &b""[..],
        b"user",
        b"user\0",
        b"user\0a",
        b"user\0a\0",
        b"user\0a\0\0\0",
        b"user\0a\0\0user\0b\0\0",
        b"user\0a\0database\0",
        b"user\0a\0database\0b",
        b"user\0a\0\0x",
    ] {
        check_refused(&packet(V3, body), StartupError::Layout);
    }
    check_refused(&packet(V3, b"user\0\xff\0\0"), StartupError::NotUtf8);
    check_refused(&packet(V3, b"user\0a\0\xff\0x\0\0"), StartupError::NotUtf8);
}

#[test]
fn somebody_has_to_be_named() {
    for body in [&b"\0"[..], b"database\0a\0\0", b"user\0\0\0", b"user\0a\0user\0\0\0"] {
        check_refused(&packet(V3, body), StartupError::NoUser);
    }
}

#[test]
fn pairs_are_counted() {
    let body = |pairs: usize| [b"user\0a\0".repeat(pairs), vec![0]].concat();
    assert_eq!(parameters(&packet(V3, &body(PAIRS_MAX))).iter().count(), PAIRS_MAX);
    check_refused(&packet(V3, &body(PAIRS_MAX + 1)), StartupError::TooManyPairs);
}

/// CVE-2012-4575: a database name as long as a packet can be is a name like any other.
#[test]
fn cve_2012_4575_an_over_long_database_name_is_only_a_long_name() {
    let body = [&b"user\0a\0database\0"[..], &[b'd'; 9000], b"\0\0"].concat();
    assert_eq!(parameters(&packet(V3, &body)).database().len(), 9000);
}

#[test]
fn what_we_send_to_a_node_is_a_startup_packet() {
    let mut out = Vec::new();
    startup::encode_startup(&mut out, &[("user", "highwater"), ("options", "")]).unwrap();
    assert_eq!(parameters(&out).protocol, ProtocolVersion::V3_0);
    assert!(parameters(&out).iter().eq([("user", "highwater"), ("options", "")]));
    out.clear();
    startup::encode_ssl_request(&mut out);
    assert!(matches!(initial(&out), Ok(Some((Initial::Ssl, 8)))));
    out.clear();
    startup::encode_cancel_request(&mut out, -5, &[1, 2, 3, 4]).unwrap();
    assert!(matches!(initial(&out), Ok(Some((Initial::Cancel { pid: -5, key: [1, 2, 3, 4] }, 16)))));
}

#[test]
fn what_cannot_be_sent_leaves_nothing_behind() {
    let mut out = Vec::new();
    assert_eq!(startup::encode_startup(&mut out, &[("user", "a\0b")]), Err(EncodeStartupError::NotAText));
    assert_eq!(startup::encode_startup(&mut out, &[("", "a")]), Err(EncodeStartupError::NotAText));
    let long = "x".repeat(10_000);
    assert_eq!(startup::encode_startup(&mut out, &[("user", &long)]), Err(EncodeStartupError::TooLong));
    assert_eq!(startup::encode_cancel_request(&mut out, 0, &[]), Err(EncodeStartupError::KeyLength));
    assert!(startup::encode_negotiate_protocol_version(&mut out, 0, &["a\0"]).is_err());
    assert!(out.is_empty());
}

/// The bytes that PostgreSQL 15 sends for an unknown `_pq_.x`.
#[test]
fn a_version_is_negotiated_as_postgresql_does() {
    let mut out = Vec::new();
    startup::encode_negotiate_protocol_version(&mut out, 0, &["_pq_.x"]).unwrap();
    assert_eq!(out, b"v\0\0\0\x13\0\x03\0\0\0\0\0\x01_pq_.x\0");
    assert_eq!(frame::header(&out).unwrap().unwrap().total, out.len());
    let read = crate::backend::NegotiateProtocolVersion::parse(&out).unwrap();
    assert_eq!(read.newest, ProtocolVersion::V3_0);
    assert!(read.unsupported().eq([b"_pq_.x".as_slice()]));
}

#[test]
fn each_mistake_has_postgresqls_code_for_it() {
    assert_eq!(StartupError::NoUser.sqlstate(), SqlState::INVALID_AUTHORIZATION);
    assert_eq!(
        StartupError::UnsupportedProtocol(ProtocolVersion::V3_0).sqlstate(),
        SqlState::FEATURE_NOT_SUPPORTED
    );
    assert_eq!(StartupError::Layout.sqlstate(), SqlState::PROTOCOL_VIOLATION);
}

proptest! {
    #[test]
    fn a_packet_is_the_same_however_it_is_cut(names in proptest::collection::vec(("[a-z]{1,9}", "[^\0]{0,9}"), 0..8)) {
        let mut pairs = vec![("user", "alice")];
        pairs.extend(names.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        let mut out = Vec::new();
        startup::encode_startup(&mut out, &pairs).unwrap();
        for cut in 0..out.len() {
            prop_assert!(matches!(initial(&out[..cut]), Ok(None)), "cut at {cut}");
        }
        out.extend_from_slice(b"more");
        let Ok(Some((Initial::Startup(read), len))) = initial(&out) else { panic!() };
        prop_assert_eq!(len, out.len() - 4);
        prop_assert!(read.iter().eq(pairs));
    }

    #[test]
    fn any_bytes_are_a_packet_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..60), code in proptest::sample::select(&[V3, SSL, GSSENC, CANCEL][..])) {
        let _ = initial(&bytes);
        if let Ok(Some((Initial::Startup(read), _))) = initial(&packet(code, &bytes)) {
            prop_assert!(!read.user().is_empty() && !read.database().is_empty());
        }
    }

    #[test]
    fn any_options_are_settings_or_an_error(options in r"(-c|--|=|\\| |[a-z.]|\t|é){0,40}") {
        for (name, _) in startup::parse_options(&options).unwrap_or_default() {
            prop_assert!(!name.is_empty());
        }
    }
}
