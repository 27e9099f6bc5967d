//! SCRAM-SHA-256 (RFC 5802, RFC 7677) as client and as server, message by message, without a socket.
//!
//! ```text
//! client                                            server
//!   n,,n=,r=<client nonce>            ──►                        client-first
//!                                     ◄──  r=<both nonces>,s=<salt>,i=<iterations>
//!   c=biws,r=<both nonces>,p=<proof>  ──►                        client-final
//!                                     ◄──  v=<server signature>
//! ```
//!
//! Each step consumes the state before it, so that a message can only be read when its turn is (CVE-2026-107350 was a login taken over by a
//! message out of turn). Parsers take exactly the attributes that PostgreSQL and libpq send, in order; an extension is refused, as
//! are messages above 1 KiB. Channel binding is not implemented. Nonces, salts and the time for the hashing are the caller's.

mod client;
mod keys;
mod server;
mod text;

pub use client::{AwaitServerFinal, Challenge, ClientExchange, Gs2};
pub use keys::ScramKeys;
pub use server::{Accepted, AwaitClientFinal, ServerExchange};

use crate::sqlstate::SqlState;

/// The mechanism's name in SASL messages.
pub const MECHANISM: &str = "SCRAM-SHA-256";
/// The mechanism with channel binding, which we neither offer nor choose.
pub const MECHANISM_PLUS: &str = "SCRAM-SHA-256-PLUS";
/// The longest message of the exchange we read or write, in bytes.
pub const MESSAGE_LEN_MAX: usize = 1024;
/// The most iterations we let a server or verifier ask of us: more would let a hostile server burn our processor.
pub const ITERATIONS_MAX: u32 = 100_000;

/// Why an exchange ended without success.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScramError {
    /// A message longer than [`MESSAGE_LEN_MAX`].
    TooLong,
    /// A message that lacks an attribute, has one too many, or is not of this form at all.
    Malformed,
    /// The peer wants a mandatory extension (`m=`).
    Extension,
    /// The client wants channel binding, or to act as another user.
    Unsupported,
    /// The nonce is not ours with something added, or changed on the way.
    Nonce,
    /// The repeated header (`c=`) is not the one the client began with.
    ChannelBinding,
    /// The number of iterations is 0 or above [`ITERATIONS_MAX`].
    Iterations,
    /// The client does not know the password; or the user does not exist, which must look the same.
    InvalidProof,
    /// The server refused us (`e=`).
    Refused,
    /// The server does not know our password: it is not the server it seems to be.
    InvalidServerSignature,
    /// A nonce handed in that cannot stand in a message: empty, too long, or with a character other than printable ASCII without comma.
    BadOwnNonce,
}

impl ScramError {
    /// What the client is told when an exchange with it ends so.
    pub const fn sqlstate(&self) -> SqlState {
        match self {
            ScramError::InvalidProof | ScramError::Refused | ScramError::InvalidServerSignature => {
                SqlState::INVALID_PASSWORD
            }
            ScramError::Unsupported | ScramError::Extension => SqlState::FEATURE_NOT_SUPPORTED,
            ScramError::TooLong
            | ScramError::Malformed
            | ScramError::Nonce
            | ScramError::ChannelBinding
            | ScramError::Iterations => SqlState::PROTOCOL_VIOLATION,
            ScramError::BadOwnNonce => SqlState::INTERNAL_ERROR,
        }
    }
}

impl std::fmt::Display for ScramError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ScramError::TooLong => write!(f, "SCRAM message is longer than {MESSAGE_LEN_MAX} bytes"),
            ScramError::Malformed => f.write_str("malformed SCRAM message"),
            ScramError::Extension => f.write_str("SCRAM message requires an extension that is not supported"),
            ScramError::Unsupported => {
                f.write_str("SCRAM channel binding and authorization identities are not supported")
            }
            ScramError::Nonce => f.write_str("SCRAM nonce does not match"),
            ScramError::ChannelBinding => f.write_str("unexpected SCRAM channel-binding attribute"),
            ScramError::Iterations => {
                write!(f, "SCRAM iteration count must be between 1 and {ITERATIONS_MAX}")
            }
            ScramError::InvalidProof => f.write_str("password authentication failed"),
            ScramError::Refused => f.write_str("the server refused the password; check the configured one"),
            ScramError::InvalidServerSignature => {
                f.write_str("the server could not prove that it knows the password; it may not be the server it seems to be")
            }
            ScramError::BadOwnNonce => f.write_str("the nonce handed in is not printable ASCII without comma"),
        }
    }
}

impl std::error::Error for ScramError {}

#[cfg(test)]
mod tests;
