//! Stored secrets: what `pg_authid.rolpassword`, a user list or an auth query holds for a role.
//!
//! Parsing follows `get_password_type` and `parse_scram_secret` (`src/backend/libpq/crypt.c`, `auth-scram.c`), but more strictly: iterations
//! beyond our limit and keys that are not 32 bytes are an error, never a plain password. Which methods a stored form allows is decided
//! by the daemon.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::scram::{ITERATIONS_MAX, ScramKeys};
use super::{Secret, ServerKey, StoredKey, md5};

/// Iterations PostgreSQL uses by default, and the fewest we generate with.
pub const ITERATIONS_DEFAULT: u32 = 4096;
/// The longest salt we take, in bytes. PostgreSQL makes 16.
pub const SALT_LEN_MAX: usize = 256;

const PREFIX: &str = "SCRAM-SHA-256$";

/// A secret in one of the forms in which they are stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoredSecret {
    /// `SCRAM-SHA-256$…`: can verify a user, cannot log in as them.
    Scram(ScramVerifier),
    /// `md5…`: whoever has it can log in with MD5.
    Md5(Secret),
    /// The password itself.
    Plain(Secret),
}

impl StoredSecret {
    /// Tells the forms apart: what does not begin like a hashed form is a password.
    ///
    /// # Errors
    /// [`ParseVerifierError`] if the text begins with `SCRAM-SHA-256$` and is no verifier. Taking it for a password, as PostgreSQL does,
    /// would let whoever reads a damaged or foreign verifier log in with its text.
    pub fn parse(text: &str) -> Result<Self, ParseVerifierError> {
        if text.starts_with(PREFIX) {
            ScramVerifier::parse(text).map(StoredSecret::Scram)
        } else if md5::digits(text.as_bytes()).is_some() {
            Ok(StoredSecret::Md5(Secret::new(text)))
        } else {
            Ok(StoredSecret::Plain(Secret::new(text)))
        }
    }
}

/// What a server must know to verify a user by SCRAM-SHA-256.
#[derive(Clone, PartialEq, Eq)]
pub struct ScramVerifier {
    iterations: u32,
    salt: Vec<u8>,
    stored_key: StoredKey,
    server_key: ServerKey,
}

impl ScramVerifier {
    /// Reads `SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>`, all but the number in base64.
    ///
    /// # Errors
    /// [`ParseVerifierError`].
    pub fn parse(text: &str) -> Result<Self, ParseVerifierError> {
        let rest = text.strip_prefix(PREFIX).ok_or(ParseVerifierError)?;
        let (parameters, keys) = rest.split_once('$').ok_or(ParseVerifierError)?;
        let (iterations, salt) = parameters.split_once(':').ok_or(ParseVerifierError)?;
        let (stored_key, server_key) = keys.split_once(':').ok_or(ParseVerifierError)?;
        let salt = BASE64.decode(salt).map_err(|_| ParseVerifierError)?;
        if salt.is_empty() || salt.len() > SALT_LEN_MAX {
            return Err(ParseVerifierError);
        }
        Ok(ScramVerifier {
            iterations: parse_iterations(iterations.as_bytes()).ok_or(ParseVerifierError)?,
            salt,
            stored_key: StoredKey::new(key(stored_key)?),
            server_key: ServerKey::new(key(server_key)?),
        })
    }

    /// Makes one from a password. Takes processor time in proportion to `iterations`; these are brought into the range from 1 to
    /// [`ITERATIONS_MAX`].
    pub fn from_password(password: &[u8], salt: &[u8], iterations: u32) -> Self {
        let iterations = iterations.clamp(1, ITERATIONS_MAX);
        let keys = ScramKeys::derive(password, salt, iterations);
        ScramVerifier::from_keys(&keys, salt, iterations)
    }

    /// Makes one from keys that were derived with this salt and these iterations.
    pub fn from_keys(keys: &ScramKeys, salt: &[u8], iterations: u32) -> Self {
        ScramVerifier {
            iterations,
            salt: salt.to_vec(),
            stored_key: keys.client_key.stored_key(),
            server_key: keys.server_key.clone(),
        }
    }

    /// Is this the password? For logins that send the password itself. Takes as long as deriving keys does.
    pub fn accepts(&self, password: &[u8]) -> bool {
        ScramKeys::derive(password, &self.salt, self.iterations).client_key.stored_key() == self.stored_key
    }

    /// As PostgreSQL stores it.
    pub fn to_secret(&self) -> Secret {
        Secret::new(format!(
            "{PREFIX}{}:{}${}:{}",
            self.iterations,
            BASE64.encode(&self.salt),
            BASE64.encode(self.stored_key.expose()),
            BASE64.encode(self.server_key.expose())
        ))
    }

    /// How often the hash is applied.
    pub fn iterations(&self) -> u32 {
        self.iterations
    }

    /// The salt, decoded. Not a secret: the server tells it to anybody who asks.
    pub fn salt(&self) -> &[u8] {
        &self.salt
    }

    /// The key that verifies the user.
    pub fn stored_key(&self) -> &StoredKey {
        &self.stored_key
    }

    /// The key that proves to the user that the server knows them.
    pub fn server_key(&self) -> &ServerKey {
        &self.server_key
    }
}

impl fmt::Debug for ScramVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ScramVerifier([redacted])")
    }
}

/// A text that is not a SCRAM verifier. Says nothing of the text: it may be a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParseVerifierError;

impl fmt::Display for ParseVerifierError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "not a SCRAM verifier: SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey> with at most {ITERATIONS_MAX} iterations is needed"
        )
    }
}

impl std::error::Error for ParseVerifierError {}

/// A count of iterations: digits only, from 1 to [`ITERATIONS_MAX`].
pub(super) fn parse_iterations(digits: &[u8]) -> Option<u32> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let iterations = std::str::from_utf8(digits).ok()?.parse().ok()?;
    (1..=ITERATIONS_MAX).contains(&iterations).then_some(iterations)
}

fn key(base64: &str) -> Result<[u8; 32], ParseVerifierError> {
    BASE64.decode(base64).ok().and_then(|key| key.try_into().ok()).ok_or(ParseVerifierError)
}

#[cfg(test)]
mod tests;
