//! The comma-separated attributes of SCRAM messages. Reads strictly, in order, and to the end.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::{MESSAGE_LEN_MAX, ScramError};

/// The longest nonce of our own, in characters. PostgreSQL uses 24.
const OWN_NONCE_LEN_MAX: usize = 128;

/// What is left of a message.
pub(super) struct Attributes<'a>(Option<&'a str>);

impl<'a> Attributes<'a> {
    /// Starts at the beginning of a message. None is longer than [`MESSAGE_LEN_MAX`] or holds a NUL or anything outside UTF-8.
    pub(super) fn new(message: &'a [u8]) -> Result<Self, ScramError> {
        if message.len() > MESSAGE_LEN_MAX {
            return Err(ScramError::TooLong);
        }
        let text = std::str::from_utf8(message).map_err(|_| ScramError::Malformed)?;
        if text.contains('\0') { Err(ScramError::Malformed) } else { Ok(Attributes(Some(text))) }
    }

    /// All that is left.
    pub(super) fn rest(&self) -> &'a str {
        self.0.unwrap_or_default()
    }

    /// Takes the text up to the next comma, and the comma.
    pub(super) fn item(&mut self) -> Result<&'a str, ScramError> {
        let rest = self.0.ok_or(ScramError::Malformed)?;
        match rest.split_once(',') {
            Some((item, rest)) => {
                self.0 = Some(rest);
                Ok(item)
            }
            None => {
                self.0 = None;
                Ok(rest)
            }
        }
    }

    /// Takes the attribute `name`, which must come next, and returns its value.
    pub(super) fn attribute(&mut self, name: char) -> Result<&'a str, ScramError> {
        let item = self.item()?;
        if item.starts_with("m=") {
            return Err(ScramError::Extension);
        }
        item.strip_prefix(name).and_then(|item| item.strip_prefix('=')).ok_or(ScramError::Malformed)
    }

    /// Takes the attribute `name` and decodes its value from base64, which must be canonical.
    pub(super) fn base64(&mut self, name: char) -> Result<Vec<u8>, ScramError> {
        BASE64.decode(self.attribute(name)?).map_err(|_| ScramError::Malformed)
    }

    /// Ends the message: nothing may be left, not even a comma.
    pub(super) fn finish(self) -> Result<(), ScramError> {
        if self.0.is_none() { Ok(()) } else { Err(ScramError::Malformed) }
    }
}

pub(super) fn to_base64(bytes: &[u8]) -> String {
    BASE64.encode(bytes)
}

/// May this stand as a nonce: printable ASCII without comma, at least one character?
pub(super) fn is_nonce(nonce: &str) -> bool {
    !nonce.is_empty() && nonce.bytes().all(|c| c.is_ascii_graphic() && c != b',')
}

/// Checks a nonce of our own.
pub(super) fn own_nonce(nonce: &str) -> Result<&str, ScramError> {
    if is_nonce(nonce) && nonce.len() <= OWN_NONCE_LEN_MAX { Ok(nonce) } else { Err(ScramError::BadOwnNonce) }
}
