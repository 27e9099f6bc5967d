//! Logins to nodes as scripts: what a node says in which state, and what becomes of it.

use engine::view::NodeId;
use tokio::io::{AsyncReadExt, duplex};
use wire::auth::scram::ServerExchange;
use wire::auth::{ScramVerifier, Secret};
use wire::encode::{Column, ErrorReply, Severity, type_oid};
use wire::frontend::{SaslInitialResponse, SaslResponse};

use super::*;
use crate::config::{AuthSettings, AuthType, UserSecret, UserSettings};

const ALL: [ServerMethod; 4] =
    [ServerMethod::Trust, ServerMethod::Scram, ServerMethod::Md5, ServerMethod::Password];

fn users(secret: Option<UserSecret>) -> Users {
    let users = vec![UserSettings { name: "alice".into(), secret }];
    Users::new(&AuthSettings { auth_type: AuthType::Trust, users }, None).unwrap()
}

fn alice() -> Users {
    users(Some(UserSecret::Plain(Secret::new("wonder"))))
}

/// Plays a node that says all of `script` whatever it is told. What it was told, and how the login ended.
async fn play(
    users: &Users,
    methods: &[ServerMethod],
    script: &[u8],
) -> (Vec<u8>, Result<Ready, ConnectError>) {
    let node = Node { id: NodeId(1), name: "n".into(), source: "config", host: "h".into(), port: 1 };
    let login = Login { node: &node, database: "app", user: "alice", users, methods };
    let (mut server, mut client) = duplex(1 << 20);
    server.write_all(script).await.unwrap();
    server.shutdown().await.unwrap();
    let outcome = login.run(&mut client, Question::RunAndDatabases).await;
    drop(client);
    let mut told = Vec::new();
    server.read_to_end(&mut told).await.unwrap();
    (told, outcome)
}

fn made(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut out);
    out
}

fn error(code: SqlState, message: &str) -> Vec<u8> {
    let reply = ErrorReply { severity: Severity::Fatal, sqlstate: code, message, detail: None, hint: None };
    made(|out| encode::error_response(out, &reply))
}

/// All a node says after AuthenticationOk, the answer to the question included.
fn rest() -> Vec<u8> {
    let columns = ["a", "b", "c"].map(|name| Column { name, type_oid: type_oid::TEXT, format: 0 });
    made(|out| {
        encode::parameter_status(out, b"server_version", b"15.18").unwrap();
        encode::parameter_status(out, b"TimeZone", b"UTC").unwrap();
        encode::parameter_status(out, b"TimeZone", b"GMT").unwrap();
        encode::backend_key_data(out, 5, &[1, 2, 3, 4]).unwrap();
        encode::ready_for_query(out, TransactionStatus::Idle);
        encode::row_description(out, &columns).unwrap();
        encode::data_row(out, &[Some(b"true"), Some(b"1 2 3"), Some(b"app\npostgres")]).unwrap();
        encode::command_complete(out, "SELECT 1");
        encode::ready_for_query(out, TransactionStatus::Idle);
    })
}

fn ok() -> Vec<u8> {
    made(encode::authentication_ok)
}

#[tokio::test]
async fn a_login_yields_what_the_node_said_and_which_run_it_is() {
    let ready = play(&alice(), &ALL, &[ok(), rest()].concat()).await.1.unwrap();
    assert_eq!(ready.told.cancel, Some((5, vec![1, 2, 3, 4])));
    let parameters: Vec<_> =
        ready.told.parameters.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(parameters, ["server_version=15.18", "TimeZone=GMT"]);
    assert_eq!(ready.incarnation, incarnation::from_text(b"1 2 3"));
    assert!(ready.in_recovery);
    assert_eq!(ready.databases, ["app", "postgres"]);
}

#[tokio::test]
async fn a_password_is_given_only_by_a_method_that_is_named() {
    let clear = made(encode::authentication_cleartext_password);
    let md5 = made(|out| encode::authentication_md5_password(out, [1, 2, 3, 4]));
    for (ask, method, sent) in
        [(&clear, ServerMethod::Password, &b"wonder\0"[..]), (&md5, ServerMethod::Md5, &b"md5"[..])]
    {
        let script = [ask.clone(), ok(), rest()].concat();
        let (told, outcome) = play(&alice(), &[method], &script).await;
        assert!(outcome.is_ok() && told.windows(sent.len()).any(|window| window == sent));
        let (told, outcome) = play(&alice(), &[ServerMethod::Scram, ServerMethod::Trust], &script).await;
        assert_eq!(outcome.err().unwrap().fault, ConnectFault::Credentials);
        assert!(!told.contains(&b'p') || !told.windows(6).any(|window| window == b"wonder"));
    }
    let (_, outcome) = play(&alice(), &[ServerMethod::Scram], &[ok(), rest()].concat()).await;
    assert!(outcome.err().unwrap().message.contains("with trust"), "nobody has proved anything");
    let (_, outcome) = play(&users(None), &ALL, &clear).await;
    assert!(outcome.err().unwrap().message.contains("none is configured"));
}

#[tokio::test]
async fn what_a_node_says_becomes_a_fault_and_our_own_words() {
    for (code, fault, words) in [
        (SqlState::CANNOT_CONNECT_NOW, ConnectFault::NotReady, "not ready"),
        (SqlState::ADMIN_SHUTDOWN, ConnectFault::NotReady, "not ready"),
        (SqlState::TOO_MANY_CONNECTIONS, ConnectFault::Full, "too many clients"),
        (
            SqlState::INVALID_PASSWORD,
            ConnectFault::Credentials,
            "password authentication failed for user \"alice\"",
        ),
        (SqlState::INVALID_AUTHORIZATION, ConnectFault::Credentials, "does not let"),
        (SqlState::INVALID_CATALOG_NAME, ConnectFault::Credentials, "database \"app\" does not exist"),
        (SqlState::INSUFFICIENT_PRIVILEGE, ConnectFault::Credentials, "permission denied"),
        (SqlState::INTERNAL_ERROR, ConnectFault::Node, "XX000"),
    ] {
        for before in [vec![], ok()] {
            let script = [before, error(code, "the node's own secret words")].concat();
            let refused = play(&alice(), &ALL, &script).await.1.err().unwrap();
            assert_eq!((refused.fault, refused.sqlstate), (fault, code));
            assert!(
                refused.message.contains(words) && !refused.message.contains("secret"),
                "{}",
                refused.message
            );
        }
    }
}

#[tokio::test]
async fn a_node_out_of_step_is_the_nodes_fault() {
    let long = error(SqlState::INTERNAL_ERROR, &"x".repeat(2000));
    let in_transaction = made(|out| encode::ready_for_query(out, TransactionStatus::InTransaction));
    let clear = made(encode::authentication_cleartext_password);
    let no_answer = made(|out| {
        encode::ready_for_query(out, TransactionStatus::Idle);
        encode::ready_for_query(out, TransactionStatus::Idle);
    });
    for script in [
        vec![],
        b"R".to_vec(),
        b"R\0\0\0\x03".to_vec(),
        b"R\xff\xff\xff\xff".to_vec(),
        b"Esorry, too many clients already\n".to_vec(),
        long,
        made(|out| encode::authentication_sasl_final(out, b"v=x").unwrap()),
        made(|out| encode::ready_for_query(out, TransactionStatus::Idle)),
        [ok(), in_transaction].concat(),
        [ok(), no_answer].concat(),
        [clear.clone(), clear].concat(),
        [ok(), rest()[..40].to_vec()].concat(),
    ] {
        let refused = play(&alice(), &ALL, &script).await.1.err().unwrap();
        assert_eq!(refused.fault, ConnectFault::Node, "{script:?}: {}", refused.message);
    }
}

/// Plays a node that knows `verifier` and answers as SCRAM wants it, but ends as told.
async fn play_scram(users: &Users, verifier: ScramVerifier, end: &[u8]) -> Result<Ready, ConnectError> {
    let node = Node { id: NodeId(1), name: "n".into(), source: "config", host: "h".into(), port: 1 };
    let login = Login { node: &node, database: "app", user: "alice", users, methods: &[ServerMethod::Scram] };
    let (mut server, mut client) = duplex(1 << 20);
    let node = async move {
        let mut startup = [0; 8];
        server.read_exact(&mut startup).await.unwrap();
        let length = u32::from_be_bytes(*startup.first_chunk().unwrap());
        let mut pairs = vec![0; length as usize - 8];
        server.read_exact(&mut pairs).await.unwrap();
        let asked = made(|out| encode::authentication_sasl(out, &["SCRAM-SHA-256-PLUS", MECHANISM]).unwrap());
        server.write_all(&asked).await.unwrap();
        let mut frame = Vec::new();
        message(&mut server, &mut frame, |_| Ok(())).await.unwrap();
        let first = SaslInitialResponse::parse(&frame).unwrap().data.unwrap();
        let (answer, awaiting) =
            ServerExchange::new(verifier).client_first(first, "0123456789abcdefghijklmn").unwrap();
        let answer = made(|out| encode::authentication_sasl_continue(out, answer.as_bytes()).unwrap());
        server.write_all(&answer).await.unwrap();
        if message(&mut server, &mut frame, |_| Ok(())).await.is_err() {
            return;
        }
        let end = match awaiting.client_final(SaslResponse::parse(&frame).unwrap().data) {
            Ok(_) if !end.is_empty() => [end.to_vec(), ok(), rest()].concat(),
            Ok(accepted) => {
                let proof =
                    made(|out| encode::authentication_sasl_final(out, accepted.message.as_bytes()).unwrap());
                [proof, ok(), rest()].concat()
            }
            Err(_) => error(SqlState::INVALID_PASSWORD, "no"),
        };
        server.write_all(&end).await.unwrap();
        server.shutdown().await.unwrap();
        // The question comes while the answer is on its way.
        let _question = message(&mut server, &mut frame, |_| Ok(())).await;
    };
    // Dropped when the login ends, so that the node's side ends too.
    let login = async move { login.run(&mut client, Question::Run).await };
    tokio::join!(login, node).0
}

fn verifier(password: &str) -> ScramVerifier {
    ScramVerifier::from_password(password.as_bytes(), b"0123456789abcdef", 4096)
}

#[tokio::test]
async fn scram_is_spoken_and_its_keys_are_remembered() {
    let users = alice();
    assert!(play_scram(&users, verifier("wonder"), b"").await.is_ok());
    assert!(matches!(users.for_scram("alice", b"0123456789abcdef", 4096), Credential::Keys(_)));
    assert!(play_scram(&users, verifier("wonder"), b"").await.is_ok());
    let refused = play_scram(&users, verifier("other"), b"").await.err().unwrap();
    assert_eq!((refused.fault, refused.sqlstate), (ConnectFault::Credentials, SqlState::INVALID_PASSWORD));
}

#[tokio::test]
async fn a_node_that_does_not_prove_itself_is_not_believed() {
    let forged = made(|out| {
        encode::authentication_sasl_final(out, b"v=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=").unwrap();
    });
    for end in [forged, ok()] {
        let refused = play_scram(&alice(), verifier("wonder"), &end).await.err().unwrap();
        assert_eq!(refused.fault, ConnectFault::Node, "{}", refused.message);
    }
}

#[tokio::test]
async fn with_only_a_verifier_the_clients_own_login_opens_the_node() {
    let users = users(Some(UserSecret::Verifier(verifier("wonder"))));
    let refused = play_scram(&users, verifier("wonder"), b"").await.err().unwrap();
    assert!(refused.message.contains("only a SCRAM verifier"), "{}", refused.message);
    let client = ClientExchange::new("abcdefghijklmnopqrstuvwx", Gs2::Unsupported).unwrap();
    let (first, server) = users
        .exchange("alice")
        .client_first(client.first_message().as_bytes(), "yz0123456789abcdefghijkl")
        .unwrap();
    let (last, _, _) = client.challenge(first.as_bytes()).unwrap().respond_with_password(b"wonder");
    users.on_accepted("alice", server.client_final(last.as_bytes()).unwrap());
    assert!(play_scram(&users, verifier("wonder"), b"").await.is_ok());
}
