//! What happens to a password before SCRAM hashes it: SASLprep (RFC 4013), with PostgreSQL's leniency.
//!
//! PostgreSQL does not know a client's encoding when it logs in. Where the RFC would refuse a password, PostgreSQL and libpq go on with
//! its bytes as they are (`pg_be_scram_build_secret`, `src/backend/libpq/auth-scram.c`), and so must we, or such users could not log in.

use std::borrow::Cow;

/// The bytes to be hashed for `password`.
///
/// Unchanged if it is not UTF-8, holds a character that SASLprep prohibits, mixes writing directions in a prohibited way, or would be
/// empty afterwards.
pub fn prepare(password: &[u8]) -> Cow<'_, [u8]> {
    let prepared = std::str::from_utf8(password).ok().and_then(|text| stringprep::saslprep(text).ok());
    match prepared {
        Some(Cow::Owned(text)) if !text.is_empty() => Cow::Owned(text.into_bytes()),
        Some(_) | None => Cow::Borrowed(password),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(password: &str, expected: &str) {
        assert_eq!(prepare(password.as_bytes()), expected.as_bytes(), "{password:?}");
    }

    #[test]
    fn the_examples_of_rfc_4013_come_out() {
        check("I\u{ad}X", "IX");
        check("user", "user");
        check("USER", "USER");
        check("\u{aa}", "a");
        check("\u{2168}", "IX");
        check("a\u{a0}b", "a b");
    }

    #[test]
    fn what_saslprep_refuses_is_hashed_as_it_is() {
        check("\u{7}", "\u{7}");
        check("\u{627}1", "\u{627}1");
        check("a\u{e000}\u{aa}", "a\u{e000}\u{aa}");
        check("\u{ad}", "\u{ad}");
        check("", "");
        assert_eq!(prepare(b"caf\xe9"), b"caf\xe9".as_slice());
    }
}
