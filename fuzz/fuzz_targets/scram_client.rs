//! A hostile server during our login: its two SCRAM messages, with a line feed between.
//!
//! Beyond not panicking: no server that does not know the keys is believed, and no challenge asks for more work than is allowed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::auth::scram::{ClientExchange, Gs2, ITERATIONS_MAX, MESSAGE_LEN_MAX, ScramError, ScramKeys};
use wire::auth::{ScramVerifier, StoredSecret, saslprep};

fuzz_target!(|data: &[u8]| {
    let cut = data.iter().position(|&byte| byte == b'\n').unwrap_or(data.len());
    let (first, last) = data.split_at(cut);
    let last = last.get(1..).unwrap_or_default();

    // Deriving keys is what a hostile server would have us do; it is left out, for speed.
    let keys = ScramKeys::from_salted_password(&[7; 32]);
    if let Ok(challenge) = exchange().challenge(first) {
        assert!((1..=ITERATIONS_MAX).contains(&challenge.iterations()) && !challenge.salt().is_empty());
        let (message, waiting) = challenge.respond(&keys);
        assert!(message.len() <= MESSAGE_LEN_MAX + 128);
        assert!(matches!(
            waiting.verify(last),
            Err(ScramError::InvalidServerSignature | ScramError::Refused | ScramError::Malformed | ScramError::Extension | ScramError::TooLong)
        ));
    }

    let _ = saslprep::prepare(last);
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = StoredSecret::parse(text);
        if let Ok(verifier) = ScramVerifier::parse(text) {
            let printed = verifier.to_secret();
            assert_eq!(ScramVerifier::parse(std::str::from_utf8(printed.expose()).unwrap()), Ok(verifier));
        }
    }
});

fn exchange() -> ClientExchange {
    ClientExchange::new("n", Gs2::Unsupported).unwrap()
}
