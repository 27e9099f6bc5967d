//! Conversations with the null backend, without a socket.

use super::*;
use wire::startup::encode_startup;

fn server() -> Server {
    Server { role: Role::Primary, verifier: None }
}

fn begun() -> Conversation {
    let mut conversation = Conversation::default();
    let (mut first, mut out) = (Vec::new(), Vec::new());
    encode_startup(&mut first, &[("user", "bench")]).expect("a short packet");
    assert_eq!(conversation.on_bytes(&server(), &first, &mut out), (first.len(), Turn::Stay));
    conversation
}

/// Tags and bodies of what is answered.
fn answers(conversation: &mut Conversation, bytes: &[u8]) -> Vec<(char, Vec<u8>)> {
    let mut out = Vec::new();
    assert_eq!(conversation.on_bytes(&server(), bytes, &mut out), (bytes.len(), Turn::Stay));
    let (mut rest, mut found) = (out.as_slice(), Vec::new());
    while let Ok(Some(header)) = frame::header(rest) {
        found.push((char::from(header.tag), rest[HEADER_LEN..header.total].to_vec()));
        rest = &rest[header.total..];
    }
    found
}

fn tags(found: &[(char, Vec<u8>)]) -> String {
    found.iter().map(|(tag, _)| *tag).collect()
}

fn bind(name: &[u8], key: &str) -> Vec<u8> {
    let mut rest = vec![0, 0, 0, 1, 0, 0, 0, key.len() as u8];
    rest.extend_from_slice(key.as_bytes());
    rest.extend_from_slice(&[0, 0]);
    let mut out = Vec::new();
    encode::bind_with_statement(&mut out, b"", name, &rest).expect("short");
    encode::execute(&mut out, b"", 0).expect("short");
    encode::sync(&mut out);
    out
}

#[test]
fn a_simple_query_is_answered_with_its_sum() {
    let mut out = Vec::new();
    encode::query(&mut out, "SELECT aid + 2000000 FROM pgbench_accounts WHERE aid = 5").expect("short");
    let found = answers(&mut begun(), &out);
    assert_eq!(tags(&found), "TDCZ");
    assert!(found[1].1.ends_with(b"2000005"));
}

#[test]
fn a_prepared_statement_is_the_one_of_its_name() {
    let mut conversation = begun();
    let mut out = Vec::new();
    for (name, addend) in [("a", 1), ("b", 2)] {
        let text = format!("SELECT aid + {addend}000000 FROM pgbench_accounts WHERE aid = $1");
        encode::parse(&mut out, name.as_bytes(), text.as_bytes(), b"").expect("short");
    }
    out.extend_from_slice(&bind(b"b", "7"));
    let found = answers(&mut conversation, &out);
    assert_eq!(tags(&found), "112DCZ");
    assert!(found[3].1.ends_with(b"2000007"));
}

#[test]
fn a_bind_to_a_name_never_parsed_is_refused_and_the_rest_up_to_sync_skipped() {
    let found = answers(&mut begun(), &bind(b"s1", "7"));
    assert_eq!(tags(&found), "EZ");
    assert!(found[0].1.windows(5).any(|five| five == b"26000"));
}

#[test]
fn a_name_may_not_be_parsed_twice() {
    let mut out = Vec::new();
    for _ in 0..2 {
        encode::parse(&mut out, b"s", b"SELECT 1", b"").expect("short");
    }
    encode::sync(&mut out);
    assert_eq!(tags(&answers(&mut begun(), &out)), "1EZ");
}

#[test]
fn a_large_result_comes_in_pieces_and_then_ends() {
    let mut conversation = begun();
    let mut out = Vec::new();
    encode::query(&mut out, "SELECT * FROM pgbench_accounts LIMIT 1000").expect("short");
    assert_eq!(tags(&answers(&mut conversation, &out)), "T");
    let (mut pieces, mut bytes) = (0, Vec::new());
    while conversation.large.is_some() {
        conversation.more(bytes.len() + 10_000, &mut bytes);
        pieces += 1;
    }
    assert!(pieces > 5 && bytes.ends_with(b"Z\0\0\0\x05I"));
}

#[test]
fn copy_in_counts_its_lines() {
    let mut out = Vec::new();
    encode::query(&mut out, "COPY t FROM STDIN").expect("short");
    for _ in 0..3 {
        out.extend_from_slice(b"d\0\0\0\x06x\n");
    }
    encode::copy_done(&mut out);
    let found = answers(&mut begun(), &out);
    assert_eq!((tags(&found).as_str(), found[1].1.as_slice()), ("GCZ", b"COPY 3\0".as_slice()));
}

#[test]
fn a_block_is_reported_until_it_ends() {
    let mut conversation = begun();
    let mut status = |text: &str| {
        let mut out = Vec::new();
        encode::query(&mut out, text).expect("short");
        answers(&mut conversation, &out).pop().map(|(_, body)| body[0])
    };
    assert_eq!(["BEGIN", "SELECT 1", "COMMIT"].map(&mut status), [Some(b'T'), Some(b'T'), Some(b'I')]);
}
