//! Both sides of SCRAM against published vectors, against PostgreSQL and libpq, and against each other.

use super::*;
use crate::auth::{ClientKey, ScramVerifier, Secret, ServerKey};
use proptest::prelude::*;

/// One whole exchange: password, salt and the four messages.
struct Transcript {
    password: &'static str,
    salt: &'static [u8],
    server_nonce: &'static str,
    messages: [&'static str; 4],
}

/// The example of RFC 7677, section 3. Its user name is in the first message, which Highwater as a client leaves out.
const RFC_7677: Transcript = Transcript {
    password: "pencil",
    salt: &[0x5b, 0x6d, 0x99, 0x68, 0x9d, 0x12, 0x35, 0x8e, 0xec, 0xa0, 0x4b, 0x14, 0x12, 0x36, 0xfa, 0x81],
    server_nonce: "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
    messages: [
        "n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
        "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
        "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
        "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
    ],
};

/// Highwater's client against PostgreSQL 15.20.
const WITH_POSTGRESQL: Transcript = Transcript {
    password: "hunter2",
    salt: &[0x98, 0x59, 0x51, 0xef, 0x20, 0x14, 0xe2, 0xaf, 0xbf, 0x7d, 0xfa, 0x60, 0xa7, 0x62, 0xc6, 0xa3],
    server_nonce: "M9Q/pDo7iSYU+MW7DCP8qHjy",
    messages: [
        "n,,n=,r=fyko+d2lbbFgONRv9qkxdawL",
        "r=fyko+d2lbbFgONRv9qkxdawLM9Q/pDo7iSYU+MW7DCP8qHjy,s=mFlR7yAU4q+/ffpgp2LGow==,i=4096",
        "c=biws,r=fyko+d2lbbFgONRv9qkxdawLM9Q/pDo7iSYU+MW7DCP8qHjy,p=f96GfnAB0upGX8k/ZRSv18TF0g2Ky40ql0Zaa8Oq9W0=",
        "v=Z97U2Uxx//C2YA1JRqe3wIhFsgvLgLrgNyz8jJCg8ys=",
    ],
};

/// libpq 15.20 against Highwater's server.
const WITH_LIBPQ: Transcript = Transcript {
    password: "geheim",
    salt: b"0123456789abcdef",
    server_nonce: "3rfcNHYJY1ZVvWVs7j",
    messages: [
        "n,,n=,r=hiou/vxcVGGbLkqceCqyg09m",
        "r=hiou/vxcVGGbLkqceCqyg09m3rfcNHYJY1ZVvWVs7j,s=MDEyMzQ1Njc4OWFiY2RlZg==,i=4096",
        "c=biws,r=hiou/vxcVGGbLkqceCqyg09m3rfcNHYJY1ZVvWVs7j,p=ByvzgdWFjK7dujRzyBVn1ACkHGdunlQkKA7NcZ7Ftr0=",
        "v=63sjpQMOa74nDmzglsfkuauHdbxPICUuzlM2IZvTqyk=",
    ],
};

#[test]
fn the_server_says_what_the_transcripts_say() {
    for transcript in [RFC_7677, WITH_POSTGRESQL, WITH_LIBPQ] {
        let [client_first, server_first, client_final, server_final] = transcript.messages;
        let verifier = ScramVerifier::from_password(transcript.password.as_bytes(), transcript.salt, 4096);
        let keys = ScramKeys::derive(transcript.password.as_bytes(), transcript.salt, 4096);
        let (said, waiting) = ServerExchange::new(verifier)
            .client_first(client_first.as_bytes(), transcript.server_nonce)
            .unwrap();
        assert_eq!(said, server_first);
        let accepted = waiting.client_final(client_final.as_bytes()).unwrap();
        assert_eq!(accepted.message, server_final);
        assert_eq!(accepted.client_key, keys.client_key, "the client's key comes out for pass-through");
    }
}

#[test]
fn the_client_says_what_the_transcripts_say() {
    for transcript in [WITH_POSTGRESQL, WITH_LIBPQ] {
        let [client_first, server_first, client_final, server_final] = transcript.messages;
        let exchange = ClientExchange::new(&client_first["n,,n=,r=".len()..], Gs2::Unsupported).unwrap();
        assert_eq!(exchange.first_message(), client_first);
        let challenge = exchange.challenge(server_first.as_bytes()).unwrap();
        assert_eq!((challenge.salt(), challenge.iterations()), (transcript.salt, 4096));
        let (said, waiting, _) = challenge.respond_with_password(transcript.password.as_bytes());
        assert_eq!(said, client_final);
        assert_eq!(waiting.verify(server_final.as_bytes()), Ok(()));
    }
}

/// Highwater in the middle: the client's key, recovered from its login, logs in to a node with the same verifier.
#[test]
fn the_key_recovered_from_a_client_logs_in_to_a_node_with_the_same_verifier() {
    let verifier = ScramVerifier::from_password(b"pencil", b"salt of pg_authid", 10);
    let (to_highwater, waiting) = log_in(&verifier, Gs2::NotOffered, b"pencil");
    let accepted = waiting.client_final(to_highwater.as_bytes()).unwrap();

    let keys = ScramKeys { client_key: accepted.client_key, server_key: verifier.server_key().clone() };
    let exchange = ClientExchange::new("second", Gs2::Unsupported).unwrap();
    let (server_first, node) =
        ServerExchange::new(verifier).client_first(exchange.first_message().as_bytes(), "node").unwrap();
    let (to_node, check) = exchange.challenge(server_first.as_bytes()).unwrap().respond(&keys);
    assert_eq!(check.verify(node.client_final(to_node.as_bytes()).unwrap().message.as_bytes()), Ok(()));
}

/// A client with this password up to its final message, and the server that waits for it.
fn log_in(verifier: &ScramVerifier, gs2: Gs2, password: &[u8]) -> (String, AwaitClientFinal) {
    respond_to(ServerExchange::new(verifier.clone()), gs2, password)
}

fn respond_to(server: ServerExchange, gs2: Gs2, password: &[u8]) -> (String, AwaitClientFinal) {
    let exchange = ClientExchange::new("clientnonce", gs2).unwrap();
    let (server_first, waiting) =
        server.client_first(exchange.first_message().as_bytes(), "servernonce").unwrap();
    let challenge = exchange.challenge(server_first.as_bytes()).unwrap();
    (challenge.respond_with_password(password).0, waiting)
}

#[test]
fn a_wrong_password_and_a_user_who_does_not_exist_look_the_same() {
    let verifier = ScramVerifier::from_password(b"pencil", b"saltsaltsaltsalt", 10);
    let (message, waiting) = log_in(&verifier, Gs2::Unsupported, b"pen");
    assert_eq!(waiting.client_final(message.as_bytes()).unwrap_err(), ScramError::InvalidProof);

    let mock = || ServerExchange::mock(b"saltsaltsaltsalt", 10);
    let (message, waiting) = respond_to(mock(), Gs2::Unsupported, b"pencil");
    assert_eq!(waiting.client_final(message.as_bytes()).unwrap_err(), ScramError::InvalidProof);
    // The made-up keys can be read in the source. Even the proof that fits them does not let anybody in.
    let made_up = ScramKeys { client_key: ClientKey::new([0; 32]), server_key: ServerKey::new([0; 32]) };
    let fits = |server: ServerExchange| {
        let exchange = ClientExchange::new("clientnonce", Gs2::Unsupported).unwrap();
        let first = exchange.first_message();
        let (server_first, waiting) = server.client_first(first.as_bytes(), "servernonce").unwrap();
        let (message, _) = exchange.challenge(server_first.as_bytes()).unwrap().respond(&made_up);
        waiting.client_final(message.as_bytes()).map(|_| ())
    };
    assert_eq!(fits(mock()), Err(ScramError::InvalidProof));
    let theirs = ScramVerifier::from_keys(&made_up, b"saltsaltsaltsalt", 10);
    assert_eq!(fits(ServerExchange::new(theirs)), Ok(()));
}

#[track_caller]
fn check_client_first(message: &str, expected: ScramError) {
    let verifier = ScramVerifier::from_password(b"x", b"salt", 1);
    let result = ServerExchange::new(verifier).client_first(message.as_bytes(), "server");
    assert_eq!(result.map(|(said, _)| said), Err(expected), "{message:?}");
}

#[test]
fn a_first_message_of_the_client_has_exactly_its_attributes() {
    for message in [
        "",
        "n",
        "n,",
        "n,,",
        "n,,n=",
        "n,,n=,",
        "n,,n=,r=",
        "n,,r=abc",
        "n,,r=abc,n=",
        "n,,n=,r=abc,",
        "n,,n=,r=abc,x=y",
        "x,,n=,r=abc",
        "n,b,n=,r=abc",
        "n,,n=,r=a b",
        "n,,n=,r=a\u{e9}",
        "n=,r=abc",
        "n,,n=,r=abc\0",
        "p,,n=,r=abc",
    ] {
        check_client_first(message, ScramError::Malformed);
    }
    check_client_first("n,,m=ext,n=,r=abc", ScramError::Extension);
    check_client_first("n,,n=,m=ext,r=abc", ScramError::Extension);
    check_client_first("n,a=root,n=,r=abc", ScramError::Unsupported);
    check_client_first("p=tls-server-end-point,,n=,r=abc", ScramError::Unsupported);
}

#[track_caller]
fn check_client_final(edit: impl Fn(&str) -> String, expected: ScramError) {
    let verifier = ScramVerifier::from_password(b"pencil", b"salt", 1);
    let (message, waiting) = log_in(&verifier, Gs2::Unsupported, b"pencil");
    let message = edit(&message);
    assert_eq!(waiting.client_final(message.as_bytes()).unwrap_err(), expected, "{message:?}");
}

#[test]
fn cve_2026_19888_a_final_message_without_a_mandatory_attribute_is_an_error() {
    check_client_final(|_| String::new(), ScramError::Malformed);
    check_client_final(|message| message.replace("c=biws,", ""), ScramError::Malformed);
    check_client_final(|message| message.replace("r=clientnonceservernonce,", ""), ScramError::Malformed);
    check_client_final(|message| message[..message.find(",p=").unwrap()].to_owned(), ScramError::Malformed);
    check_client_final(
        |message| message[..message.find(",p=").unwrap() + 3].to_owned(),
        ScramError::Malformed,
    );
}

#[test]
fn a_final_message_of_the_client_is_checked_attribute_by_attribute() {
    check_client_final(|message| format!("{message},"), ScramError::Malformed);
    check_client_final(|message| format!("{message},x=y"), ScramError::Malformed);
    check_client_final(|message| message.replace(",p=", ",x=y,p="), ScramError::Malformed);
    check_client_final(|message| message.replace(",p=", ",m=y,p="), ScramError::Extension);
    check_client_final(|message| message.replace("c=biws", "c=eSws"), ScramError::ChannelBinding);
    check_client_final(|message| message.replace("c=biws", "c="), ScramError::ChannelBinding);
    check_client_final(|message| message.replace("nonceserver", "nonceServer"), ScramError::Nonce);
    check_client_final(|message| message.replace("servernonce", "servernonceX"), ScramError::Nonce);
    check_client_final(|message| message.replace("servernonce", ""), ScramError::Nonce);
    check_client_final(|message| message[..message.len() - 4].to_owned(), ScramError::Malformed);
    check_client_final(|message| format!("{}AAAA=", &message[..message.len() - 1]), ScramError::Malformed);
}

#[track_caller]
fn check_server_first(message: &str, expected: ScramError) {
    let exchange = ClientExchange::new("client", Gs2::Unsupported).unwrap();
    assert_eq!(exchange.challenge(message.as_bytes()).unwrap_err(), expected, "{message:?}");
}

#[test]
fn a_first_message_of_the_server_is_checked_attribute_by_attribute() {
    for message in [
        "",
        "r=clientX",
        "r=clientX,s=YWJj",
        "r=clientX,s=,i=1",
        "r=clientX,s=YWJ,i=1",
        "s=YWJj,r=clientX,i=1",
        "r=clientX,s=YWJj,i=1,",
        "r=clientX,s=YWJj,i=1,x=y",
        "r=client X,s=YWJj,i=1",
        "e=other-error",
    ] {
        check_server_first(message, ScramError::Malformed);
    }
    check_server_first("m=x,r=clientX,s=YWJj,i=1", ScramError::Extension);
    for message in ["r=client,s=YWJj,i=1", "r=other,s=YWJj,i=1", "r=clien,s=YWJj,i=1", "r=,s=YWJj,i=1"] {
        let exchange = ClientExchange::new("client", Gs2::Unsupported).unwrap();
        assert!(exchange.challenge(message.as_bytes()).is_err(), "{message:?}");
    }
}

#[test]
fn cve_2026_6669_a_server_cannot_choose_how_long_we_hash() {
    for iterations in
        ["0", "100001", "4294967296", "99999999999999999999", "-1", "+1", " 1", "1e3", "", "0x10"]
    {
        check_server_first(&format!("r=clientX,s=YWJj,i={iterations}"), ScramError::Iterations);
    }
    for iterations in ["1", "100000", "0004096"] {
        let exchange = ClientExchange::new("client", Gs2::Unsupported).unwrap();
        let message = format!("r=clientX,s=YWJj,i={iterations}");
        assert!(exchange.challenge(message.as_bytes()).is_ok(), "{message}");
    }
}

/// PgBouncer copied the nonce into a buffer of 512 bytes, and after the first mend still did for 456 to 499 bytes.
#[test]
fn cve_2026_6665_nonces_of_every_length_are_read_or_refused() {
    let fixed = "r=,s=YWJj,i=1".len();
    for len in (1..=600).chain(MESSAGE_LEN_MAX - fixed - 1..=MESSAGE_LEN_MAX - fixed + 1) {
        let message = format!("r={:x<len$},s=YWJj,i=1", "client");
        let exchange = ClientExchange::new("client", Gs2::Unsupported).unwrap();
        let result = exchange.challenge(message.as_bytes());
        match message.len() {
            _ if len <= 6 => assert_eq!(result.unwrap_err(), ScramError::Nonce),
            total if total > MESSAGE_LEN_MAX => assert_eq!(result.unwrap_err(), ScramError::TooLong),
            _ => assert!(result.is_ok(), "{len}"),
        }
    }
}

#[test]
fn a_nonce_of_the_client_that_leaves_no_room_for_an_answer_is_refused() {
    for len in 850..MESSAGE_LEN_MAX - 8 {
        let message = format!("n,,n=,r={:x<len$}", "");
        let verifier = ScramVerifier::from_password(b"x", b"saltsaltsaltsalt", 1);
        match ServerExchange::new(verifier).client_first(message.as_bytes(), "servernonceservernonce") {
            Ok((said, _)) => assert!(said.len() <= MESSAGE_LEN_MAX),
            Err(error) => assert_eq!(error, ScramError::TooLong),
        }
    }
}

#[test]
fn a_server_that_cannot_prove_itself_is_not_believed() {
    let waiting = || {
        let challenge =
            ClientExchange::new("client", Gs2::Unsupported).unwrap().challenge(b"r=clientX,s=YWJj,i=1");
        challenge.unwrap().respond_with_password(b"pencil").1
    };
    let zero = format!("v={}", text::to_base64(&[0; 32]));
    let short = format!("v={}", text::to_base64(&[0; 31]));
    for message in [zero.as_str(), &short, "v="] {
        assert_eq!(
            waiting().verify(message.as_bytes()),
            Err(ScramError::InvalidServerSignature),
            "{message}"
        );
    }
    assert_eq!(waiting().verify(b"e=invalid-proof"), Err(ScramError::Refused));
    for message in ["", "v", "x=y", "v=?", &format!("{zero},x=y")] {
        assert_eq!(waiting().verify(message.as_bytes()), Err(ScramError::Malformed), "{message}");
    }
}

#[test]
fn a_nonce_of_our_own_must_fit_into_a_message() {
    for nonce in ["", "a,b", "a b", "a\n", "\u{e9}", &"x".repeat(129)] {
        assert_eq!(ClientExchange::new(nonce, Gs2::Unsupported).unwrap_err(), ScramError::BadOwnNonce);
    }
}

#[test]
fn no_key_or_password_shows_in_debug_output() {
    let verifier = ScramVerifier::from_password(b"pencil", b"salt", 1);
    let (message, waiting) = log_in(&verifier, Gs2::Unsupported, b"pencil");
    let keys = ScramKeys::derive(b"pencil", b"salt", 1);
    let accepted = waiting.client_final(message.as_bytes()).unwrap();
    let shown =
        format!("{keys:?} {accepted:?} {:?} {:?}", ServerExchange::new(verifier), Secret::new("pencil"));
    assert!(shown.matches("[redacted]").count() >= 4 && !shown.contains("pencil"), "{shown}");
}

proptest! {
    #[test]
    fn whoever_knows_the_password_gets_in_and_nobody_else(
        password in proptest::collection::vec(any::<u8>(), 0..24),
        other in proptest::collection::vec(any::<u8>(), 0..24),
        salt in proptest::collection::vec(any::<u8>(), 1..40),
        iterations in 1_u32..20,
    ) {
        let verifier = ScramVerifier::from_password(&password, &salt, iterations);
        let (message, waiting) = log_in(&verifier, Gs2::Unsupported, &password);
        prop_assert!(waiting.client_final(message.as_bytes()).is_ok());
        let (message, waiting) = log_in(&verifier, Gs2::NotOffered, &other);
        let same = crate::auth::saslprep::prepare(&password) == crate::auth::saslprep::prepare(&other);
        prop_assert_eq!(waiting.client_final(message.as_bytes()).is_ok(), same);
    }

    #[test]
    fn any_bytes_are_an_answer_or_an_error(message in proptest::collection::vec(any::<u8>(), 0..80)) {
        let verifier = ScramVerifier::from_password(b"pencil", b"salt", 1);
        let _ = ServerExchange::new(verifier.clone()).client_first(&message, "server");
        let (_, waiting) = log_in(&verifier, Gs2::Unsupported, b"pencil");
        prop_assert!(waiting.client_final(&message).is_err());
        let exchange = ClientExchange::new("client", Gs2::Unsupported).unwrap();
        prop_assert!(exchange.challenge(&message).is_err());
    }
}
