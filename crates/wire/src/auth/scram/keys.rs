//! The arithmetic of RFC 5802, section 3: from a password to keys, from keys to a proof, and from a proof back to a key.

use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::ITERATIONS_MAX;
use crate::auth::{ClientKey, ServerKey, StoredKey, saslprep};

/// All that is needed to log in by SCRAM where salt and iterations are the ones these were derived with. Worth remembering: deriving
/// costs about a millisecond for 4096 iterations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScramKeys {
    /// Proves us to the server.
    pub client_key: ClientKey,
    /// Proves the server to us.
    pub server_key: ServerKey,
}

impl ScramKeys {
    /// Derives the keys from a password; SASLprep is applied. Takes processor time in proportion to `iterations`, which are brought
    /// into the range from 1 to [`ITERATIONS_MAX`].
    pub fn derive(password: &[u8], salt: &[u8], iterations: u32) -> Self {
        let prepared = Zeroizing::new(saslprep::prepare(password).into_owned());
        let mut salted_password = Zeroizing::new([0; 32]);
        let iterations = iterations.clamp(1, ITERATIONS_MAX);
        pbkdf2::pbkdf2_hmac::<Sha256>(&prepared, salt, iterations, salted_password.as_mut_slice());
        ScramKeys::from_salted_password(&salted_password)
    }

    /// Derives the keys from RFC 5802's SaltedPassword. Cheap.
    pub fn from_salted_password(salted_password: &[u8; 32]) -> Self {
        ScramKeys {
            client_key: ClientKey::new(hmac(salted_password, &[b"Client Key"])),
            server_key: ServerKey::new(hmac(salted_password, &[b"Server Key"])),
        }
    }
}

impl ClientKey {
    /// The key that verifies this one.
    pub fn stored_key(&self) -> StoredKey {
        StoredKey::new(Sha256::digest(self.expose()).into())
    }
}

/// ClientProof = ClientKey XOR HMAC(StoredKey, AuthMessage).
pub(super) fn client_proof(client_key: &ClientKey, auth_message: &[u8]) -> [u8; 32] {
    xor(client_key.expose(), &hmac(client_key.stored_key().expose(), &[auth_message]))
}

/// The ClientKey that a proof shows its sender to have: the same equation read backwards. It is the user's if its hash is the StoredKey.
pub(super) fn recover_client_key(proof: &[u8; 32], stored_key: &StoredKey, auth_message: &[u8]) -> ClientKey {
    ClientKey::new(xor(proof, &hmac(stored_key.expose(), &[auth_message])))
}

/// ServerSignature = HMAC(ServerKey, AuthMessage).
pub(super) fn server_signature(server_key: &ServerKey, auth_message: &[u8]) -> [u8; 32] {
    hmac(server_key.expose(), &[auth_message])
}

/// HMAC-SHA-256 over the parts in a row.
fn hmac(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of every length");
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

fn xor(left: &[u8; 32], right: &[u8; 32]) -> [u8; 32] {
    let mut result = *left;
    result.iter_mut().zip(right).for_each(|(byte, other)| *byte ^= other);
    result
}
