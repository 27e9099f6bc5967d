//! The old password hash: MD5 of password and user, then of that and a salt.
//!
//! Kept for nodes that still ask for it. Whoever has the stored form can log in, so it is handled like a password. Whether it may be used
//! at all is a setting.

use md5::{Digest, Md5};

use super::Secret;

/// What to send in answer to AuthenticationMD5Password with `salt`: `md5` and 32 hexadecimal digits.
pub fn md5_password(user: &[u8], password: &[u8], salt: [u8; 4]) -> Secret {
    md5_response(stored(user, password).expose(), salt).unwrap_or_else(|| Secret::new(""))
}

/// The same, from the stored form (`md5` and 32 hexadecimal digits); `None` if `stored` is not one.
pub fn md5_response(stored: &[u8], salt: [u8; 4]) -> Option<Secret> {
    let digits = digits(stored)?;
    Some(tagged(&[digits, &salt]))
}

/// The form that `pg_authid.rolpassword` holds: `md5` and 32 hexadecimal digits.
pub fn stored(user: &[u8], password: &[u8]) -> Secret {
    tagged(&[password, user])
}

/// The 32 digits of a stored form.
pub(super) fn digits(stored: &[u8]) -> Option<&[u8]> {
    let digits = stored.strip_prefix(b"md5")?;
    let hexadecimal = |digit: &u8| matches!(digit, b'0'..=b'9' | b'a'..=b'f');
    (digits.len() == 32 && digits.iter().all(hexadecimal)).then_some(digits)
}

fn tagged(parts: &[&[u8]]) -> Secret {
    let mut hash = Md5::new();
    parts.iter().for_each(|part| hash.update(part));
    let mut text = b"md5".to_vec();
    for byte in hash.finalize() {
        for nibble in [byte >> 4, byte & 15] {
            text.extend(char::from_digit(u32::from(nibble), 16).map(|digit| digit as u8));
        }
    }
    Secret::new(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stored_form_is_the_one_postgresql_makes() {
        // SELECT rolpassword FROM pg_authid after SET password_encryption = 'md5', PostgreSQL 15.
        assert_eq!(stored(b"alice", b"secret").expose(), STORED_BY_POSTGRESQL);
    }

    #[test]
    fn the_answer_is_the_same_from_the_password_and_from_the_stored_form() {
        let salt = [1, 2, 3, 4];
        let from_password = md5_password(b"alice", b"secret", salt);
        assert_eq!(md5_response(STORED_BY_POSTGRESQL, salt), Some(from_password.clone()));
        assert!(from_password.expose().starts_with(b"md5") && from_password.expose().len() == 35);
        assert_ne!(md5_password(b"alice", b"secret", [1, 2, 3, 5]), from_password);
    }

    #[test]
    fn other_texts_are_not_stored_forms() {
        for text in [
            &b"md5"[..],
            b"secret",
            b"md5ABCDEF0123456789abcdef0123456789ab",
            b"md50123456789abcdef0123456789abcde",
        ] {
            assert_eq!(md5_response(text, [0; 4]), None);
        }
    }

    const STORED_BY_POSTGRESQL: &[u8] = b"md54a0a68b43b6cd5cf266fa02f196e2371";
}
