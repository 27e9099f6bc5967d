//! Conversations with the console, message by message, without a socket.

use super::*;
use crate::overview::example;
use tokio::sync::mpsc;

fn console(user: &str) -> (Console, mpsc::Receiver<Order>) {
    let (admin, orders) = example::world();
    let user = Arc::from(user);
    (Console { user, admin, statements: BTreeMap::new(), portals: BTreeMap::new(), skipping: false }, orders)
}

/// Sends messages; the tags of what comes back, and all of its bytes as text.
async fn talk(console: &mut Console, input: &[u8]) -> (String, String) {
    let mut out = Vec::new();
    let mut rest = input;
    while let Some(header) = frame::header(rest).unwrap() {
        let (message, behind) = rest.split_at(header.total);
        console.on_message(message, &mut out).await;
        rest = behind;
    }
    let mut tags = String::new();
    let mut rest = &out[..];
    while let Some(header) = frame::header(rest).unwrap() {
        tags.push(char::from(header.tag));
        rest = &rest[header.total..];
    }
    (tags, String::from_utf8_lossy(&out).into_owned())
}

async fn query(user: &str, text: &str) -> (String, String) {
    let mut bytes = Vec::new();
    encode::query(&mut bytes, text).unwrap();
    talk(&mut console(user).0, &bytes).await
}

#[tokio::test]
async fn a_table_is_described_filled_and_followed_by_ready() {
    let (tags, text) = query("ann", "SHOW NODES;").await;
    assert_eq!(tags, "TDCZ");
    assert!(text.contains("10.0.0.1:5432"));
}

#[tokio::test]
async fn an_empty_query_has_an_empty_answer() {
    assert_eq!(query("ann", ";").await.0, "IZ");
}

#[tokio::test]
async fn a_mistake_is_an_error_with_a_hint_and_the_session_goes_on() {
    let (tags, text) = query("ann", "SHOW NODS").await;
    assert_eq!(tags, "EZ");
    assert!(text.contains("Did you mean NODES?"), "{text}");
}

#[tokio::test]
async fn only_admins_change_things_and_everybody_may_look() {
    for command in ["RELOAD", "SHUTDOWN", "DRAIN one", "UNDRAIN one"] {
        let (tags, text) = query("bob", command).await;
        assert!(tags == "EZ" && text.contains("42501"), "{command}: {text}");
    }
    assert_eq!(query("bob", "SHOW NODES").await.0, "TDCZ");
}

#[tokio::test]
async fn draining_an_unknown_node_says_where_names_are() {
    let (_, text) = query("ann", "DRAIN nobody").await;
    assert!(text.contains("no node \"nobody\"") && text.contains("SHOW NODES"), "{text}");
}

#[tokio::test]
async fn a_reload_that_fails_changes_nothing_and_says_why() {
    let (mut console, mut orders) = console("ann");
    let mut bytes = Vec::new();
    encode::query(&mut bytes, "RELOAD").unwrap();
    let refuse = async {
        let Some(Order::Reload(tell)) = orders.recv().await else { panic!("no reload was asked for") };
        tell.send(Err("hw.toml:3:1: no such key".to_owned())).unwrap();
    };
    let ((tags, text), ()) = tokio::join!(talk(&mut console, &bytes), refuse);
    assert_eq!(tags, "EZ");
    assert!(text.contains("nothing was changed: hw.toml:3:1"), "{text}");
}

#[tokio::test]
async fn a_shutdown_is_passed_on() {
    let (mut console, mut orders) = console("ann");
    let mut bytes = Vec::new();
    encode::query(&mut bytes, "shutdown").unwrap();
    assert_eq!(talk(&mut console, &bytes).await.0, "CZ");
    assert!(matches!(orders.recv().await, Some(Order::Shutdown)));
}

#[tokio::test]
async fn a_driver_may_prepare_describe_bind_and_execute() {
    let mut bytes = Vec::new();
    encode::parse(&mut bytes, b"", b"SHOW VERSION", &[]).unwrap();
    encode::describe(&mut bytes, DescribeKind::Statement, b"").unwrap();
    encode::bind_with_statement(&mut bytes, b"", b"", &[0, 0, 0, 0, 0, 0]).unwrap();
    encode::execute(&mut bytes, b"", 0).unwrap();
    encode::sync(&mut bytes);
    assert_eq!(talk(&mut console("ann").0, &bytes).await.0, "1tT2DCZ");
}

#[tokio::test]
async fn parameters_and_binary_results_are_refused_and_the_rest_is_skipped_until_sync() {
    for rest in [&[0, 0, 0, 1, 0, 0, 0, 1, b'x', 0, 0][..], &[0, 0, 0, 0, 0, 1, 0, 1][..]] {
        let mut bytes = Vec::new();
        encode::parse(&mut bytes, b"s", b"SHOW VERSION", &[]).unwrap();
        encode::bind_with_statement(&mut bytes, b"", b"s", rest).unwrap();
        encode::execute(&mut bytes, b"", 0).unwrap();
        encode::sync(&mut bytes);
        let (tags, text) = talk(&mut console("ann").0, &bytes).await;
        assert_eq!(tags, "1EZ");
        assert!(text.contains("simple query protocol"), "{text}");
    }
}

#[tokio::test]
async fn an_unknown_statement_is_an_error() {
    let mut bytes = Vec::new();
    encode::describe(&mut bytes, DescribeKind::Portal, b"nowhere").unwrap();
    encode::sync(&mut bytes);
    assert_eq!(talk(&mut console("ann").0, &bytes).await.0, "EZ");
}

#[tokio::test]
async fn prepared_statements_are_bounded() {
    let mut console = console("ann").0;
    let mut bytes = Vec::new();
    for i in 0..=PREPARED_MAX {
        encode::parse(&mut bytes, format!("s{i}").as_bytes(), b"SHOW VERSION", &[]).unwrap();
    }
    let (tags, _) = talk(&mut console, &bytes).await;
    assert_eq!(tags, "1".repeat(PREPARED_MAX) + "E");
}
