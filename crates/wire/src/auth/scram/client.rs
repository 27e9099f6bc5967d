//! The client's side: how Highwater logs in to a node.
//!
//! [`ClientExchange`] → [`Challenge`] → [`AwaitServerFinal`] → done. Login has succeeded only when the last step has: a server that
//! sends AuthenticationOk without its signature must not be believed.

use subtle::ConstantTimeEq;

use super::keys::{client_proof, server_signature};
use super::text::{Attributes, is_nonce, own_nonce, to_base64};
use super::{ScramError, ScramKeys};
use crate::auth::verifier::{SALT_LEN_MAX, parse_iterations};

/// What the first message says about channel binding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gs2 {
    /// `n`: the client cannot do it (no TLS on this connection, for instance).
    Unsupported,
    /// `y`: the client could, but believes the server cannot: no `-PLUS` mechanism was offered.
    NotOffered,
}

impl Gs2 {
    /// The header in front of the first message.
    pub(super) const fn header(self) -> &'static str {
        match self {
            Gs2::Unsupported => "n,,",
            Gs2::NotOffered => "y,,",
        }
    }
}

/// Before the first message. Leaves by [`challenge`](Self::challenge).
#[derive(Debug)]
pub struct ClientExchange {
    gs2: Gs2,
    nonce: String,
    /// The first message without its header, as it goes into RFC 5802's AuthMessage.
    first_bare: String,
}

impl ClientExchange {
    /// Begins an exchange. `nonce` must be fresh and unpredictable: at least 18 random bytes in base64 (24 characters).
    ///
    /// # Errors
    /// [`ScramError::BadOwnNonce`].
    pub fn new(nonce: &str, gs2: Gs2) -> Result<Self, ScramError> {
        let nonce = own_nonce(nonce)?.to_owned();
        // The user's name is left out, as libpq does: it stood in the StartupMessage.
        let first_bare = format!("n=,r={nonce}");
        Ok(ClientExchange { gs2, nonce, first_bare })
    }

    /// The message to send in SASLInitialResponse.
    pub fn first_message(&self) -> String {
        format!("{}{}", self.gs2.header(), self.first_bare)
    }

    /// Reads the server's first message.
    ///
    /// # Errors
    /// [`ScramError`]: not a first message, not for our nonce, or with too many iterations.
    pub fn challenge(self, server_first: &[u8]) -> Result<Challenge, ScramError> {
        let mut attributes = Attributes::new(server_first)?;
        let whole = attributes.rest().to_owned();
        let nonce = attributes.attribute('r')?.to_owned();
        let salt = attributes.base64('s')?;
        let iterations = attributes.attribute('i')?;
        attributes.finish()?;
        if !is_nonce(&nonce) {
            return Err(ScramError::Malformed);
        }
        // The server has to add something, or it could be an echo.
        if nonce.strip_prefix(self.nonce.as_str()).is_none_or(str::is_empty) {
            return Err(ScramError::Nonce);
        }
        if salt.is_empty() || salt.len() > SALT_LEN_MAX {
            return Err(ScramError::Malformed);
        }
        let iterations = parse_iterations(iterations.as_bytes()).ok_or(ScramError::Iterations)?;
        let first_messages = format!("{},{whole}", self.first_bare);
        Ok(Challenge { gs2: self.gs2, nonce, first_messages, salt, iterations })
    }
}

/// The server has asked. Leaves by [`respond`](Self::respond).
#[derive(Debug)]
pub struct Challenge {
    gs2: Gs2,
    nonce: String,
    /// Both first messages with a comma between: the beginning of RFC 5802's AuthMessage.
    first_messages: String,
    salt: Vec<u8>,
    iterations: u32,
}

impl Challenge {
    /// The salt to derive keys with.
    pub fn salt(&self) -> &[u8] {
        &self.salt
    }

    /// The iterations to derive keys with, 1 to 100 000.
    pub fn iterations(&self) -> u32 {
        self.iterations
    }

    /// Makes the final message from keys that belong to this salt and these iterations: derived from a password, remembered, or recovered from a
    /// client's own login.
    pub fn respond(self, keys: &ScramKeys) -> (String, AwaitServerFinal) {
        let without_proof = format!("c={},r={}", to_base64(self.gs2.header().as_bytes()), self.nonce);
        let auth_message = format!("{},{without_proof}", self.first_messages);
        let proof = client_proof(&keys.client_key, auth_message.as_bytes());
        let signature = server_signature(&keys.server_key, auth_message.as_bytes());
        (format!("{without_proof},p={}", to_base64(&proof)), AwaitServerFinal { signature })
    }

    /// As [`respond`](Self::respond), from the password: derives the keys first, which takes processor time in proportion to the
    /// iterations. Returns the keys too, to be remembered.
    pub fn respond_with_password(self, password: &[u8]) -> (String, AwaitServerFinal, ScramKeys) {
        let keys = ScramKeys::derive(password, &self.salt, self.iterations);
        let (message, next) = self.respond(&keys);
        (message, next, keys)
    }
}

/// The proof was sent; the server has to prove itself. Leaves by [`verify`](Self::verify).
#[derive(Debug)]
pub struct AwaitServerFinal {
    signature: [u8; 32],
}

impl AwaitServerFinal {
    /// Reads the server's final message. `Ok`: both sides know the password.
    ///
    /// # Errors
    /// [`ScramError::Refused`] if the server says no; [`ScramError::InvalidServerSignature`] if it says yes and cannot know.
    pub fn verify(self, server_final: &[u8]) -> Result<(), ScramError> {
        let mut attributes = Attributes::new(server_final)?;
        if attributes.rest().starts_with("e=") {
            // The text is a stranger's and is not kept.
            return Err(ScramError::Refused);
        }
        let signature = attributes.base64('v')?;
        attributes.finish()?;
        let same: bool = self.signature.as_slice().ct_eq(signature.as_slice()).into();
        if same { Ok(()) } else { Err(ScramError::InvalidServerSignature) }
    }
}
