//! The server's side: how Highwater lets a client in.
//!
//! [`ServerExchange`] → [`AwaitClientFinal`] → [`Accepted`]. No password hashing happens here: two HMACs verify a proof. A user who
//! does not exist goes through the same steps with a made-up verifier and fails at the last, so that nobody can tell.

use super::client::Gs2;
use super::keys::{recover_client_key, server_signature};
use super::text::{Attributes, is_nonce, own_nonce, to_base64};
use super::{MESSAGE_LEN_MAX, ScramError};
use crate::auth::{ClientKey, ScramVerifier, ServerKey, StoredKey};

/// Before the client's first message. Leaves by [`client_first`](Self::client_first).
#[derive(Debug)]
pub struct ServerExchange {
    verifier: ScramVerifier,
    fate: Fate,
}

/// Whether the exchange can end well at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Open,
    /// There is no such user, or no way in for it: PostgreSQL's "doomed".
    Doomed,
}

impl ServerExchange {
    /// An exchange with a user whose verifier is known.
    pub fn new(verifier: ScramVerifier) -> Self {
        ServerExchange { verifier, fate: Fate::Open }
    }

    /// An exchange that will end with [`ScramError::InvalidProof`] whatever the client sends. `salt` has to be the same each time for the
    /// same user name, and unpredictable: a keyed hash of the name; `iterations` those of real users.
    pub fn mock(salt: &[u8], iterations: u32) -> Self {
        let keys =
            super::ScramKeys { client_key: ClientKey::new([0; 32]), server_key: ServerKey::new([0; 32]) };
        ServerExchange { verifier: ScramVerifier::from_keys(&keys, salt, iterations), fate: Fate::Doomed }
    }

    /// Reads the client's first message and makes the answer. `nonce` is the server's part and must be fresh and
    /// unpredictable: at least 18 random bytes in base64.
    ///
    /// # Errors
    /// [`ScramError`].
    pub fn client_first(self, message: &[u8], nonce: &str) -> Result<(String, AwaitClientFinal), ScramError> {
        let mut attributes = Attributes::new(message)?;
        let gs2 = match attributes.item()? {
            "n" => Gs2::Unsupported,
            "y" => Gs2::NotOffered,
            flag if flag.starts_with("p=") => return Err(ScramError::Unsupported),
            _ => return Err(ScramError::Malformed),
        };
        match attributes.item()? {
            "" => {}
            identity if identity.starts_with("a=") => return Err(ScramError::Unsupported),
            _ => return Err(ScramError::Malformed),
        }
        let first_bare = attributes.rest().to_owned();
        // PostgreSQL takes the user from the StartupMessage and ignores this one, and so do its clients.
        attributes.attribute('n')?;
        let client_nonce = attributes.attribute('r')?;
        attributes.finish()?;
        if !is_nonce(client_nonce) {
            return Err(ScramError::Malformed);
        }
        let nonce = format!("{client_nonce}{}", own_nonce(nonce)?);
        let salt = to_base64(self.verifier.salt());
        let server_first = format!("r={nonce},s={salt},i={}", self.verifier.iterations());
        if server_first.len() > MESSAGE_LEN_MAX {
            return Err(ScramError::TooLong);
        }
        let first_messages = format!("{first_bare},{server_first}");
        Ok((server_first, AwaitClientFinal { exchange: self, gs2, nonce, first_messages }))
    }
}

/// The salt was sent; the client has to prove itself. Leaves by [`client_final`](Self::client_final).
#[derive(Debug)]
pub struct AwaitClientFinal {
    exchange: ServerExchange,
    gs2: Gs2,
    nonce: String,
    /// Both first messages with a comma between: the beginning of RFC 5802's AuthMessage.
    first_messages: String,
}

impl AwaitClientFinal {
    /// Reads the client's final message and verifies the proof in it.
    ///
    /// # Errors
    /// [`ScramError::InvalidProof`] if the password is wrong or the exchange a mock one; others if the message is not in order.
    pub fn client_final(self, message: &[u8]) -> Result<Accepted, ScramError> {
        let mut attributes = Attributes::new(message)?;
        let whole = attributes.rest();
        let binding = attributes.attribute('c')?;
        let nonce = attributes.attribute('r')?;
        let without_proof =
            whole.rsplit_once(",p=").map(|(before, _)| before).ok_or(ScramError::Malformed)?;
        let proof = attributes.base64('p')?;
        attributes.finish()?;
        if binding != to_base64(self.gs2.header().as_bytes()) {
            return Err(ScramError::ChannelBinding);
        }
        if nonce != self.nonce {
            return Err(ScramError::Nonce);
        }
        let proof: [u8; 32] = proof.try_into().map_err(|_| ScramError::Malformed)?;
        let auth_message = format!("{},{without_proof}", self.first_messages);
        self.judge(&proof, auth_message.as_bytes())
    }

    fn judge(&self, proof: &[u8; 32], auth_message: &[u8]) -> Result<Accepted, ScramError> {
        let verifier = &self.exchange.verifier;
        let client_key = recover_client_key(proof, verifier.stored_key(), auth_message);
        // Everything is computed before the fate is looked at, and keys compare in constant time.
        let proven: StoredKey = client_key.stored_key();
        let signature = server_signature(verifier.server_key(), auth_message);
        let same = proven == *verifier.stored_key();
        match self.exchange.fate {
            Fate::Open if same => {
                Ok(Accepted { message: format!("v={}", to_base64(&signature)), client_key })
            }
            Fate::Open | Fate::Doomed => Err(ScramError::InvalidProof),
        }
    }
}

/// The client knows the password.
#[derive(Debug)]
pub struct Accepted {
    /// The final message, for AuthenticationSASLFinal: proves the server to the client.
    pub message: String,
    /// The client's key: with the verifier's ServerKey it logs in to any node that has the same verifier.
    pub client_key: ClientKey,
}
