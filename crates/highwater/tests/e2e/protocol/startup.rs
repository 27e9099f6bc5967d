//! Before the first query: encryption requests, versions, authentication, unknown names.

use crate::harness::raw::{Raw, request, startup, tags};
use crate::harness::template::APP_PASSWORD;
use crate::harness::{direct, shared};

const SSL_REQUEST: u32 = 80_877_103;
const GSSENC_REQUEST: u32 = 80_877_104;
const PLAIN: &[(&str, &str)] = &[("user", "app"), ("database", "app")];

#[tokio::test]
async fn encryption_requests_are_refused_with_n_and_the_login_goes_on() {
    let port = shared().await.port();
    let mut raw = Raw::connect(port);
    if !direct() {
        // PostgreSQL itself may be built with GSSAPI.
        raw.send(&request(GSSENC_REQUEST));
        assert_eq!(raw.receive_byte(), b'N');
    }
    raw.send(&request(SSL_REQUEST));
    assert_eq!(raw.receive_byte(), b'N');
    raw.send(&startup(0x0003_0000, PLAIN));
    raw.authenticate(APP_PASSWORD).unwrap();
    assert_eq!(raw.value("SELECT 1"), "1");
}

#[tokio::test]
async fn a_login_reports_the_parameters_that_drivers_read() {
    let raw = shared().await.raw();
    let named =
        |name: &str| raw.parameters.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    assert!(named("server_version").is_some_and(|version| version.starts_with(|c: char| c.is_ascii_digit())));
    assert_eq!(named("server_encoding"), Some("UTF8"));
    assert_eq!(named("client_encoding"), Some("UTF8"));
    assert_eq!(named("standard_conforming_strings"), Some("on"));
    assert_eq!(named("integer_datetimes"), Some("on"));
    assert!(named("DateStyle").is_some() && named("TimeZone").is_some());
    assert!(raw.key.len() >= 8, "BackendKeyData is sent");
}

#[tokio::test]
async fn a_newer_minor_version_is_negotiated_down() {
    let fixture = shared().await;
    for asked in [0x0003_0002, 0x0003_0000 + 9999] {
        let mut raw = Raw::connect(fixture.port());
        raw.send(&startup(asked, &[PLAIN, &[("_pq_.unheard_of", "1")]].concat()));
        let first = raw.receive();
        assert_eq!(first.tag, b'v', "{first:?} is not NegotiateProtocolVersion");
        let minor = u32::from_be_bytes(first.body[..4].try_into().unwrap());
        assert!(minor & 0xffff <= 2, "minor version {minor} was never asked for");
        assert!(String::from_utf8_lossy(&first.body).contains("_pq_.unheard_of"), "{first:?}");
        raw.authenticate(APP_PASSWORD).unwrap();
        assert_eq!(raw.value("SELECT 1"), "1");
    }
}

#[tokio::test]
async fn an_older_or_newer_major_version_is_refused() {
    let port = shared().await.port();
    for asked in [0x0002_0000, 0x0004_0000] {
        let mut raw = Raw::connect(port);
        raw.send(&startup(asked, PLAIN));
        let answer = raw.until_closed();
        assert!(answer.len() <= 1, "{answer:?}");
        assert!(answer.iter().all(|message| message.tag == b'E'), "{answer:?}");
    }
}

#[tokio::test]
async fn a_wrong_password_is_refused_with_28p01() {
    let port = shared().await.port();
    let mut raw = Raw::connect(port);
    raw.send(&startup(0x0003_0000, PLAIN));
    let refusal = raw.authenticate("not the password").unwrap_err();
    assert_eq!(refusal.field(b'C').as_deref(), Some("28P01"), "{refusal:?}");
    assert_eq!(refusal.field(b'S').as_deref(), Some("FATAL"), "{refusal:?}");
    assert!(raw.until_closed().is_empty());
}

#[tokio::test]
async fn an_unknown_user_is_asked_for_a_password_and_then_refused() {
    let port = shared().await.port();
    let mut raw = Raw::connect(port);
    raw.send(&startup(0x0003_0000, &[("user", "nobody_here"), ("database", "app")]));
    let refusal = raw.authenticate("any").unwrap_err();
    assert_eq!(refusal.field(b'C').as_deref(), Some("28P01"), "{refusal:?}");
}

#[tokio::test]
async fn an_unknown_database_is_refused_only_after_the_password() {
    let port = shared().await.port();
    let mut raw = Raw::connect(port);
    raw.send(&startup(0x0003_0000, &[("user", "app"), ("database", "no_such_database")]));
    let refusal = raw.authenticate(APP_PASSWORD).unwrap_err();
    assert_eq!(refusal.field(b'C').as_deref(), Some("3D000"), "{refusal:?}");
    let mut raw = Raw::connect(port);
    raw.send(&startup(0x0003_0000, &[("user", "app"), ("database", "no_such_database")]));
    let refusal = raw.authenticate("wrong").unwrap_err();
    assert_eq!(refusal.field(b'C').as_deref(), Some("28P01"), "{refusal:?}");
}

#[tokio::test]
async fn settings_in_the_startup_message_hold_in_the_session() {
    let port = shared().await.port();
    let parameters = [
        PLAIN,
        &[("application_name", "startup test"), ("options", "-c statement_timeout=12345 -c geqo=off")],
    ];
    let mut raw = Raw::login_with(port, APP_PASSWORD, &parameters.concat());
    assert_eq!(raw.value("SHOW statement_timeout"), "12345ms");
    assert_eq!(raw.value("SHOW geqo"), "off");
    assert_eq!(raw.value("SELECT current_setting('application_name')"), "startup test");
    let reported = raw.parameters.iter().find(|(name, _)| name == "application_name");
    assert_eq!(reported.map(|(_, value)| value.as_str()), Some("startup test"));
}

#[tokio::test]
async fn a_login_split_at_every_byte_succeeds() {
    let port = shared().await.port();
    let message = startup(0x0003_0000, PLAIN);
    let mut raw = Raw::connect(port);
    for byte in message {
        raw.send(&[byte]);
    }
    raw.authenticate(APP_PASSWORD).unwrap();
    assert_eq!(tags(&raw.query("SELECT 1")), "T D C ZI");
}
