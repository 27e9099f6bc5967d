//! Who are you? The password exchanges, without sockets, and the secrets they work on.
//!
//! | module | |
//! |---|---|
//! | [`secret`] | a value that cannot be printed and is wiped when dropped |
//! | [`verifier`] | what `pg_authid.rolpassword` holds, and what can be told from it |
//! | [`scram`] | SCRAM-SHA-256, as client and as server |
//! | [`md5`] | the old hash |
//! | [`saslprep`] | what happens to a password before SCRAM hashes it |
//!
//! Nothing here draws a random number, remembers a password or decides who may use which method; nonces and salts are handed in, and
//! deriving keys from a password takes milliseconds of processor time, which the caller has to keep off its event loop.

pub mod md5;
pub mod saslprep;
pub mod scram;
pub mod secret;
pub mod verifier;

pub use secret::{ClientKey, Secret, ServerKey, StoredKey};
pub use verifier::{ScramVerifier, StoredSecret};
