//! A hostile client during its login: its two SCRAM messages, with a line feed between.
//!
//! Beyond not panicking: nobody gets in without the key, nobody at all into a mock exchange, and an honest client with the same nonce always does.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::auth::ScramVerifier;
use wire::auth::scram::{ClientExchange, Gs2, MESSAGE_LEN_MAX, ScramKeys, ServerExchange};

const SALT: &[u8] = b"0123456789abcdef";

fuzz_target!(|data: &[u8]| {
    let cut = data.iter().position(|&byte| byte == b'\n').unwrap_or(data.len());
    let (first, last) = data.split_at(cut);
    let last = last.get(1..).unwrap_or_default();

    for server in [ServerExchange::new(verifier()), ServerExchange::mock(SALT, 4096)] {
        if let Ok((message, waiting)) = server.client_first(first, "s") {
            assert!(message.len() <= MESSAGE_LEN_MAX);
            assert!(waiting.client_final(last).is_err());
        }
    }
    if let Ok(nonce) = std::str::from_utf8(last) {
        honest(nonce);
    }
});

fn verifier() -> ScramVerifier {
    ScramVerifier::from_keys(&keys(), SALT, 4096)
}

fn keys() -> ScramKeys {
    ScramKeys::from_salted_password(&[7; 32])
}

fn honest(nonce: &str) {
    for gs2 in [Gs2::Unsupported, Gs2::NotOffered] {
        let Ok(client) = ClientExchange::new(nonce, gs2) else { return };
        let first = client.first_message();
        let (message, waiting) = ServerExchange::new(verifier()).client_first(first.as_bytes(), "s").unwrap();
        let (last, check) = client.challenge(message.as_bytes()).unwrap().respond(&keys());
        let accepted = waiting.client_final(last.as_bytes()).unwrap();
        assert_eq!(accepted.client_key, keys().client_key);
        check.verify(accepted.message.as_bytes()).unwrap();
    }
}
