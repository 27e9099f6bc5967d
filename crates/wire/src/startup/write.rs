//! Writes the packets of the start-up phase: what Highwater sends to a node, and the version it offers to a client.

use super::{CANCEL_KEY_LEN, CANCEL_REQUEST_CODE, PACKET_LEN_MAX, ProtocolVersion, SSL_REQUEST_CODE};
use crate::encode::{self, EncodeError};

/// A packet that cannot be written; nothing was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EncodeStartupError {
    /// A name or value holds a NUL, or a name is empty.
    NotAText,
    /// The packet would be longer than [`PACKET_LEN_MAX`].
    TooLong,
    /// A cancel key shorter than 4 or longer than 256 bytes.
    KeyLength,
}

impl std::fmt::Display for EncodeStartupError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            EncodeStartupError::NotAText => {
                f.write_str("a startup parameter is empty or holds a zero byte and cannot be sent")
            }
            EncodeStartupError::TooLong => {
                write!(
                    f,
                    "the startup parameters are longer than the {PACKET_LEN_MAX} bytes PostgreSQL accepts"
                )
            }
            EncodeStartupError::KeyLength => f.write_str("a cancel key must have 4 to 256 bytes"),
        }
    }
}

impl std::error::Error for EncodeStartupError {}

/// Appends a StartupMessage for protocol 3.0 with these name–value pairs, `user` among them.
///
/// # Errors
/// [`EncodeStartupError`]; nothing is appended then.
pub fn encode_startup(out: &mut Vec<u8>, pairs: &[(&str, &str)]) -> Result<(), EncodeStartupError> {
    let mut body = Vec::new();
    for (name, value) in pairs {
        if name.is_empty() || name.contains('\0') || value.contains('\0') {
            return Err(EncodeStartupError::NotAText);
        }
        for text in [name, value] {
            body.extend_from_slice(text.as_bytes());
            body.push(0);
        }
    }
    body.push(0);
    packet(out, ProtocolVersion::V3_0.to_code(), &body)
}

/// Appends an SSLRequest.
pub fn encode_ssl_request(out: &mut Vec<u8>) {
    out.extend_from_slice(&8_u32.to_be_bytes());
    out.extend_from_slice(&SSL_REQUEST_CODE.to_be_bytes());
}

/// Appends a CancelRequest that quotes `pid` and `key` of a node's BackendKeyData.
///
/// # Errors
/// [`EncodeStartupError::KeyLength`]; nothing is appended then.
pub fn encode_cancel_request(out: &mut Vec<u8>, pid: i32, key: &[u8]) -> Result<(), EncodeStartupError> {
    if !CANCEL_KEY_LEN.contains(&key.len()) {
        return Err(EncodeStartupError::KeyLength);
    }
    let mut body = pid.to_be_bytes().to_vec();
    body.extend_from_slice(key);
    packet(out, CANCEL_REQUEST_CODE, &body)
}

/// Appends a NegotiateProtocolVersion: the newest minor version of protocol 3 on offer, and the protocol extensions that are not.
///
/// The manual speaks of the minor version only; PostgreSQL sends, and libpq expects, major and minor in one word
/// (`SendNegotiateProtocolVersion`, `src/backend/tcop/backend_startup.c`).
///
/// # Errors
/// [`EncodeError`] if a name holds a NUL; nothing is appended then.
pub fn encode_negotiate_protocol_version(
    out: &mut Vec<u8>,
    newest_minor: u16,
    unsupported: &[&str],
) -> Result<(), EncodeError> {
    let newest = ProtocolVersion { major: 3, minor: newest_minor };
    encode::message(out, crate::frame::tag::backend::NEGOTIATE_PROTOCOL_VERSION, |body| {
        body.u32(newest.to_code());
        body.u32(u32::try_from(unsupported.len()).map_err(|_| EncodeError::TooMany)?);
        unsupported.iter().try_for_each(|name| body.cstr(name.as_bytes()))
    })
}

fn packet(out: &mut Vec<u8>, code: u32, body: &[u8]) -> Result<(), EncodeStartupError> {
    let len = body.len().saturating_add(8);
    if len > PACKET_LEN_MAX {
        return Err(EncodeStartupError::TooLong);
    }
    let len = u32::try_from(len).map_err(|_| EncodeStartupError::TooLong)?;
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(&code.to_be_bytes());
    out.extend_from_slice(body);
    Ok(())
}
