//! Logins as scripts: what a client sends in which state, and what it gets. No socket, no node, no clock.

use std::sync::{Mutex, OnceLock};

use tokio::io::{AsyncReadExt, DuplexStream, duplex};
use wire::auth::scram::{ClientExchange, Gs2};
use wire::auth::{ScramVerifier, Secret};
use wire::backend::{Authentication, BackendKeyData, NegotiateProtocolVersion, ParameterStatus};
use wire::error_response::ErrorFields;
use wire::frame::tag::backend as tag;

use super::*;
use crate::config::{AuthSettings, UserSecret, UserSettings};
use crate::databases::{Databases, tests as databases};
use crate::mail::ConnectFault;

/// A house with the databases `app` (and `app_ro`) and users `alice` (password `wonder`) and `bob` (no password).
struct Doll {
    users: Arc<Users>,
    databases: Databases,
    places: Mutex<usize>,
    keys: Arc<crate::cancel::Keys>,
    entered: Mutex<Vec<String>>,
}

impl Doll {
    fn new(auth_type: AuthType) -> Doll {
        let settings = databases::settings("[[database]]\nname = \"app\"\n");
        let clusters = databases::clusters(&settings);
        Doll {
            users: known(auth_type),
            databases: Databases::new(&settings.databases, &settings.suffixes, (&clusters, None)),
            places: Mutex::new(1),
            keys: Arc::default(),
            entered: Mutex::default(),
        }
    }
}

/// Made once for each type: a verifier takes a while.
fn known(auth_type: AuthType) -> Arc<Users> {
    static KNOWN: [OnceLock<Arc<Users>>; 2] = [OnceLock::new(), OnceLock::new()];
    let made = || {
        let plain = UserSecret::Plain(Secret::new("wonder"));
        let user = |name: &str, secret| UserSettings { name: name.to_owned(), secret };
        let users = vec![user("alice", Some(plain)), user("bob", None)];
        Arc::new(Users::new(&AuthSettings { auth_type, users }, None).unwrap())
    };
    Arc::clone(KNOWN[usize::from(auth_type == AuthType::Scram)].get_or_init(made))
}

impl House for Doll {
    type Place = ();

    fn users(&self) -> Arc<Users> {
        Arc::clone(&self.users)
    }

    fn is_admin(&self, user: &str) -> bool {
        user == "alice"
    }

    fn place(&self) -> Option<()> {
        let mut places = self.places.lock().unwrap();
        *places = places.checked_sub(1)?;
        Some(())
    }

    fn cancel_key(&self, key_len: usize) -> Result<(u64, Registered), getrandom::Error> {
        Ok((7, self.keys.register(7, key_len)?))
    }

    async fn enter(&self, database: &str, user: &str) -> Result<Entered, ConnectError> {
        self.entered.lock().unwrap().push(format!("{user}@{database}"));
        match self.databases.meaning(database) {
            crate::databases::Meaning::Entry(database, mode) => {
                let told =
                    [("server_version", "15.18"), ("client_encoding", "UTF8"), ("in_hot_standby", "on")];
                let told = told.map(|(name, value)| (name.to_owned(), value.to_owned()));
                Ok(Entered { database, mode, parameters: Arc::new(told) })
            }
            _ => Err(ConnectError {
                fault: ConnectFault::Credentials,
                sqlstate: SqlState::INVALID_CATALOG_NAME,
                message: "no such database".into(),
            }),
        }
    }
}

/// What came back: one line per message.
async fn transcript(stream: &mut DuplexStream) -> Vec<String> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.unwrap();
    lines(&bytes)
}

fn lines(mut bytes: &[u8]) -> Vec<String> {
    let mut lines = Vec::new();
    while let Some(&first) = bytes.first() {
        if first == b'N' && bytes.get(1) != Some(&0) || bytes == b"N" {
            lines.push("N".to_owned());
            bytes = &bytes[1..];
            continue;
        }
        let header = wire::frame::header(bytes).unwrap().unwrap();
        let (frame, rest) = bytes.split_at(header.total);
        lines.push(line(header.tag, frame));
        bytes = rest;
    }
    lines
}

fn line(kind: u8, frame: &[u8]) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match kind {
        tag::AUTHENTICATION => match Authentication::parse(frame).unwrap() {
            Authentication::Ok => "ok".to_owned(),
            Authentication::Sasl(names) => format!("sasl {}", names.map(text).collect::<Vec<_>>().join(" ")),
            Authentication::SaslContinue(_) => "continue".to_owned(),
            Authentication::SaslFinal(_) => "final".to_owned(),
            other => format!("{other:?}"),
        },
        tag::PARAMETER_STATUS => {
            let status = ParameterStatus::parse(frame).unwrap();
            format!("{}={}", text(status.name), text(status.value))
        }
        tag::BACKEND_KEY_DATA => format!("key {}", BackendKeyData::parse(frame).unwrap().key.len()),
        tag::READY_FOR_QUERY => "ready".to_owned(),
        tag::NEGOTIATE_PROTOCOL_VERSION => {
            let offer = NegotiateProtocolVersion::parse(frame).unwrap();
            format!(
                "version {} without {}",
                offer.newest,
                offer.unsupported().map(text).collect::<Vec<_>>().join(" ")
            )
        }
        tag::ERROR_RESPONSE => {
            let error = ErrorFields::parse(frame).unwrap();
            assert!(error.is_fatal());
            format!("{} {}", error.sqlstate().unwrap(), error.message().unwrap())
        }
        other => format!("? {other}"),
    }
}

fn packet(code: u32, body: &[u8]) -> Vec<u8> {
    let mut packet = u32::try_from(body.len() + 8).unwrap().to_be_bytes().to_vec();
    packet.extend(code.to_be_bytes());
    packet.extend(body);
    packet
}

const V3: u32 = 3 << 16;
const SSL: u32 = 1234 << 16 | 5679;
const GSS: u32 = 1234 << 16 | 5680;
const CANCEL: u32 = 1234 << 16 | 5678;

fn start(code: u32, pairs: &[(&str, &str)]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, value) in pairs {
        body.extend(format!("{name}\0{value}\0").into_bytes());
    }
    body.push(0);
    packet(code, &body)
}

fn alice() -> Vec<u8> {
    start(V3, &[("user", "alice"), ("database", "app")])
}

fn tagged(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut message = vec![tag];
    message.extend(u32::try_from(body.len() + 4).unwrap().to_be_bytes());
    message.extend(body);
    message
}

/// Sends bytes that need no answer to be made, and returns what came back and how the login ended.
async fn say(house: &Doll, bytes: &[u8]) -> (Vec<String>, Result<Outcome<()>, LoginError>) {
    let (mut client, mut server) = duplex(1 << 20);
    client.write_all(bytes).await.unwrap();
    client.shutdown().await.unwrap();
    let outcome = login(&mut server, house).await;
    drop(server);
    (transcript(&mut client).await, outcome)
}

/// The lines, with a check that a refusal is both told and returned.
async fn check(auth_type: AuthType, bytes: &[u8], expected: &[&str]) {
    let (lines, outcome) = say(&Doll::new(auth_type), bytes).await;
    assert_eq!(lines.len(), expected.len(), "{lines:?} for {expected:?}");
    for (line, expected) in lines.iter().zip(expected) {
        assert!(line.starts_with(expected), "{line:?} is not {expected:?}");
    }
    let told = lines.last().is_some_and(|line| line.as_bytes()[0].is_ascii_digit());
    assert_eq!(told, matches!(outcome, Err(LoginError::Refused(_))), "{lines:?}");
}

const IN: [&str; 6] =
    ["ok", "server_version=15.18", "client_encoding=UTF8", "in_hot_standby=off", "key 4", "ready"];

#[tokio::test]
async fn under_trust_a_startup_message_is_all_it_takes() {
    check(AuthType::Trust, &alice(), &IN).await;
    check(AuthType::Trust, &[packet(SSL, &[]), alice()].concat(), &[&["N"][..], &IN].concat()).await;
    check(
        AuthType::Trust,
        &[packet(GSS, &[]), packet(SSL, &[]), alice()].concat(),
        &[&["N", "N"][..], &IN].concat(),
    )
    .await;
}

#[tokio::test]
async fn a_read_only_name_is_told_to_be_read_only() {
    let bytes = start(V3, &[("user", "bob"), ("database", "app_ro")]);
    check(
        AuthType::Trust,
        &bytes,
        &["ok", "server_version", "client_encoding", "in_hot_standby=on", "key", "ready"],
    )
    .await;
}

#[tokio::test]
async fn encryption_may_be_asked_for_once_in_each_kind() {
    check(AuthType::Trust, &[packet(SSL, &[]), packet(SSL, &[])].concat(), &["N", "08P01"]).await;
    check(
        AuthType::Trust,
        &[packet(GSS, &[]), packet(SSL, &[]), packet(GSS, &[])].concat(),
        &["N", "N", "08P01"],
    )
    .await;
}

#[tokio::test]
async fn newer_versions_and_extensions_are_declined_and_not_refused() {
    let pairs = [("user", "alice"), ("database", "app"), ("_pq_.grease", "1")];
    let (lines, _) = say(&Doll::new(AuthType::Trust), &start(V3 | 9999, &pairs)).await;
    assert_eq!(lines[..2], ["version 3.2 without _pq_.grease", "ok"]);
    assert!(lines.contains(&"key 32".to_owned()), "{lines:?}");
    let (lines, _) = say(&Doll::new(AuthType::Trust), &start(V3, &pairs)).await;
    assert_eq!(lines[0], "version 3.0 without _pq_.grease");
    let (lines, _) = say(&Doll::new(AuthType::Trust), &start(V3 | 2, &pairs[..2])).await;
    assert_eq!((lines[0].as_str(), lines[4].as_str()), ("ok", "key 32"));
}

#[tokio::test]
async fn first_packets_that_are_none_end_the_connection() {
    let pairs = |pairs: &[(&str, &str)]| start(V3, pairs);
    let user = ("user", "alice");
    for (bytes, code) in [
        (packet(2 << 16, b"x"), "0A000"),
        (pairs(&[("database", "app")]), "28000"),
        (packet(V3, b"user\0alice\0"), "08P01"),
        (packet(V3, b"user\0alice\0\0x"), "08P01"),
        (vec![0, 0, 0, 7, 0, 3, 0], "08P01"),
        (vec![0, 0, 0x27, 0x11, 0, 3, 0, 0], "08P01"),
        (vec![0xff, 0xff, 0xff, 0xff, 0], "08P01"),
        (b"p\0\0\0\x0cwonder\0\0".to_vec(), "08P01"),
        (b"Q\0\0\0\x05\0".to_vec(), "08P01"),
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), "08P01"),
        (packet(SSL, b"x"), "08P01"),
        (pairs(&[user, ("options", "-c=")]), "42601"),
        (pairs(&[user, ("options", "-d 5")]), "42601"),
        (pairs(&[user, ("replication", "database")]), "0A000"),
        (pairs(&[user, ("replication", "true")]), "0A000"),
        (pairs(&[user, ("client_encoding", "utf16")]), "22023"),
    ] {
        check(AuthType::Trust, &bytes, &[code]).await;
        check(AuthType::Scram, &bytes, &[code]).await;
    }
}

#[tokio::test]
async fn a_client_that_is_gone_or_speaks_tls_is_told_nothing() {
    for bytes in [&b""[..], b"\0", b"\0\0\0\x20\0\x03", b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03"] {
        let (lines, outcome) = say(&Doll::new(AuthType::Scram), bytes).await;
        assert!(lines.is_empty() && matches!(outcome, Err(LoginError::Gone(_))), "{lines:?}");
    }
    check(AuthType::Scram, &alice(), &["sasl"]).await;
}

#[tokio::test]
async fn a_cancel_request_is_handed_on_and_not_answered() {
    let (lines, outcome) = say(&Doll::new(AuthType::Scram), &packet(CANCEL, &[0, 0, 0, 5, 1, 2, 3, 4])).await;
    assert!(lines.is_empty());
    assert!(matches!(outcome, Ok(Outcome::Cancel(5, key)) if key == [1, 2, 3, 4]));
    check(AuthType::Scram, &packet(CANCEL, &[0, 0, 0, 5]), &["08P01"]).await;
}

#[tokio::test]
async fn only_a_sasl_message_is_taken_where_one_is_due() {
    let sasl = |mechanism: &str, data: &[u8]| {
        let length = u32::try_from(data.len()).unwrap().to_be_bytes();
        tagged(b'p', &[mechanism.as_bytes(), b"\0", &length, data].concat())
    };
    let first = sasl("SCRAM-SHA-256", b"n,,n=,r=abcdefgh");
    for (bytes, code) in [
        (tagged(b'Q', b"select 1\0"), "08P01"),
        (tagged(b'X', b""), "08P01"),
        (tagged(b'p', b""), "08P01"),
        (tagged(b'p', b"wonder\0"), "08P01"),
        (tagged(b'p', &[b'x'; 2000]), "08P01"),
        (b"p\xff\xff\xff\xff".to_vec(), "08P01"),
        (b"p\0\0\0\x03".to_vec(), "08P01"),
        (tagged(b'p', b"SCRAM-SHA-256\0\xff\xff\xff\xff"), "08P01"),
        (tagged(b'p', b"SCRAM-SHA-256\0\x7f\xff\xff\xff"), "08P01"),
        (sasl("SCRAM-SHA-256-PLUS", b"p=tls-server-end-point,,n=,r=abc"), "08P01"),
        (sasl("SCRAM-SHA-256", b"p=tls-server-end-point,,n=,r=abc"), "0A000"),
        (sasl("SCRAM-SHA-256", b"n,,n="), "08P01"),
        // A second StartupMessage instead of an answer: CVE-2026-107350.
        (start(V3, &[("user", "bob"), ("database", "app")]), "08P01"),
    ] {
        check(AuthType::Scram, &[alice(), bytes].concat(), &["sasl SCRAM-SHA-256", code]).await;
    }
    for (bytes, code) in [
        (tagged(b'p', b"c=biws,r=abcdefgh,p=AAAA"), "08P01"),
        (tagged(b'p', b"c=biws,r=abcdefgh"), "08P01"),
        (first.clone(), "08P01"),
        (start(V3, &[("user", "bob")]), "08P01"),
        (tagged(b'Q', b"select 1\0"), "08P01"),
    ] {
        check(AuthType::Scram, &[alice(), first.clone(), bytes].concat(), &["sasl", "continue", code]).await;
    }
}

#[tokio::test]
async fn operators_get_the_console_and_others_do_not() {
    for database in ADMIN_DATABASES {
        let (lines, outcome) =
            say(&Doll::new(AuthType::Trust), &start(V3, &[("user", "alice"), ("database", database)])).await;
        assert!(
            lines.contains(&"ready".to_owned())
                && matches!(outcome, Ok(Outcome::Admin(user)) if &*user == "alice")
        );
        check(AuthType::Trust, &start(V3, &[("user", "bob"), ("database", database)]), &["ok", "42501"])
            .await;
    }
}

#[tokio::test]
async fn a_full_house_says_so_and_still_lets_operators_in() {
    let house = Doll::new(AuthType::Trust);
    *house.places.lock().unwrap() = 0;
    let (lines, _) = say(&house, &alice()).await;
    assert!(lines[0].starts_with("53300"), "{lines:?}");
    let (_, outcome) = say(&house, &start(V3, &[("user", "alice"), ("database", "pgbouncer")])).await;
    assert!(matches!(outcome, Ok(Outcome::Admin(_))));
}

#[tokio::test]
async fn settings_reach_the_worker_in_postgresqls_order_and_the_rest_does_not() {
    let pairs = [
        ("user", "alice"),
        ("database", "app_rw"),
        ("TimeZone", "UTC"),
        ("options", "-c highwater.consistency=bounded --search-path=a"),
        ("client_encoding", "utf-8"),
        ("replication", "false"),
        ("_pq_.x", "y"),
    ];
    let (_, outcome) = say(&Doll::new(AuthType::Trust), &start(V3, &pairs)).await;
    let Ok(Outcome::Client(client)) = outcome else { panic!("not in") };
    let settings: Vec<_> = client.parameters.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(
        settings,
        ["highwater.consistency=bounded", "search_path=a", "timezone=UTC", "client_encoding=UTF8"]
    );
    assert_eq!((client.number, client.mode, &*client.user), (7, RouteMode::Primary, "alice"));
}

/// Plays a whole SCRAM login; the lines that came back.
async fn scram(house: &Doll, user: &str, password: &str, database: &str) -> Vec<String> {
    let (mut client, mut server) = duplex(1 << 16);
    let startup = start(V3, &[("user", user), ("database", database)]);
    let talk = async {
        let mut all = Vec::new();
        client.write_all(&startup).await.unwrap();
        let mut frame = Vec::new();
        message(&mut client, &mut frame, |_| Ok(())).await.unwrap();
        all.extend(lines(&frame));
        let exchange = ClientExchange::new("abcdefghijklmnopqrstuvwx", Gs2::Unsupported).unwrap();
        let mut out = Vec::new();
        encode::sasl_initial_response(&mut out, MECHANISM, exchange.first_message().as_bytes()).unwrap();
        client.write_all(&out).await.unwrap();
        message(&mut client, &mut frame, |_| Ok(())).await.unwrap();
        let Authentication::SaslContinue(data) = Authentication::parse(&frame).unwrap() else {
            panic!("{frame:?}")
        };
        let (last, _, _) = exchange.challenge(data).unwrap().respond_with_password(password.as_bytes());
        all.extend(lines(&frame));
        out.clear();
        encode::sasl_response(&mut out, last.as_bytes()).unwrap();
        client.write_all(&out).await.unwrap();
        client.shutdown().await.unwrap();
        all.extend(transcript(&mut client).await);
        all
    };
    let house = async move {
        let _outcome = login(&mut server, house).await;
        drop(server);
    };
    tokio::join!(talk, house).0
}

#[tokio::test]
async fn with_the_password_a_client_gets_in() {
    let lines = scram(&Doll::new(AuthType::Scram), "alice", "wonder", "app").await;
    assert_eq!(lines, [&["sasl SCRAM-SHA-256", "continue", "final"][..], &IN].concat());
}

#[tokio::test]
async fn a_wrong_password_an_unknown_user_and_one_without_a_password_look_the_same() {
    for user in ["alice", "bob", "nobody"] {
        let house = Doll::new(AuthType::Scram);
        let lines = scram(&house, user, "wrong", "app").await;
        let refused = format!("28P01 password authentication failed for user \"{user}\"");
        assert_eq!(lines, ["sasl SCRAM-SHA-256", "continue", &refused]);
        assert!(house.entered.lock().unwrap().is_empty());
    }
}

#[tokio::test]
async fn that_a_database_does_not_exist_is_said_only_after_the_login() {
    let lines = scram(&Doll::new(AuthType::Scram), "alice", "wonder", "nope").await;
    assert_eq!(lines, ["sasl SCRAM-SHA-256", "continue", "final", "ok", "3D000 no such database"]);
    let lines = scram(&Doll::new(AuthType::Scram), "alice", "wrong", "nope").await;
    assert!(lines[2].starts_with("28P01"), "{lines:?}");
    let lines = scram(&Doll::new(AuthType::Scram), "bob", "wrong", "highwater").await;
    assert!(lines[2].starts_with("28P01"), "{lines:?}");
}

#[tokio::test]
async fn a_verifier_is_as_good_as_the_password_for_a_client() {
    let verifier = ScramVerifier::from_password(b"wonder", b"0123456789abcdef", 4096);
    let users = vec![UserSettings { name: "carol".into(), secret: Some(UserSecret::Verifier(verifier)) }];
    let settings = AuthSettings { auth_type: AuthType::Scram, users };
    let house = Doll { users: Arc::new(Users::new(&settings, None).unwrap()), ..Doll::new(AuthType::Scram) };
    let lines = scram(&house, "carol", "wonder", "app").await;
    assert_eq!(lines.last().unwrap(), "ready");
}

#[tokio::test]
async fn nothing_is_read_beyond_the_login() {
    let (mut client, mut server) = duplex(1 << 16);
    client.write_all(&[alice(), tagged(b'Q', b"select 1\0")].concat()).await.unwrap();
    let house = Doll::new(AuthType::Trust);
    assert!(matches!(login(&mut server, &house).await, Ok(Outcome::Client(_))));
    let mut rest = [0; 14];
    server.read_exact(&mut rest).await.unwrap();
    assert_eq!(rest[..], tagged(b'Q', b"select 1\0")[..]);
}

proptest::proptest! {
    #[test]
    fn whatever_is_sent_a_login_ends(
        tls in proptest::bool::ANY,
        started in proptest::bool::ANY,
        bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200),
        code in proptest::sample::select(vec![V3, V3 | 2, SSL, GSS, CANCEL, 2 << 16]),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut all = if tls { packet(SSL, &[]) } else { Vec::new() };
        all.extend(if started { [alice(), tagged(b'p', &bytes)].concat() } else { packet(code, &bytes) });
        all.extend(&bytes);
        for auth_type in [AuthType::Trust, AuthType::Scram] {
            let house = Doll::new(auth_type);
            let (_, outcome) = runtime.block_on(say(&house, &all));
            let in_by_scram = auth_type == AuthType::Scram && matches!(outcome, Ok(Outcome::Client(_)));
            proptest::prop_assert!(!in_by_scram);
        }
    }
}
