//! How are the messages written that we make ourselves? Each function appends one message to a vector of the caller.
//!
//! Every length is measured from what was written, never taken over from a peer: a message that is rewritten is re-measured
//! (SQL smuggling, CVE-2024-27304, was a length that wrapped). A function that can fail leaves the vector as it was. This module
//! does not decide when to send what.
//!
//! Functions whose content comes from elsewhere return a `Result`. Those that only write words of our own do not: a text of ours
//! that holds a NUL is cut there, which keeps every answer to a client well-formed.

mod client;
mod server;

pub use client::*;
pub use server::*;

use crate::frame::DECLARED_LEN_MAX;

/// A message that cannot be written; nothing was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EncodeError {
    /// The message, or one value in it, would be longer than 1 GiB − 1.
    TooLong,
    /// More items than their 16-bit count can say.
    TooMany,
    /// A name or text holds a NUL, which ends a text in this protocol.
    EmbeddedNul,
    /// Raw bytes that are not what their place asks for (the types of a Parse).
    NotWellFormed,
}

impl std::fmt::Display for EncodeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            EncodeError::TooLong => "the message would be longer than the 1 GiB - 1 that PostgreSQL accepts",
            EncodeError::TooMany => "the message would hold more than 65535 items",
            EncodeError::EmbeddedNul => "a text with a zero byte in it cannot be sent",
            EncodeError::NotWellFormed => {
                "the list of parameter types is not a count and as many type numbers"
            }
        })
    }
}

impl std::error::Error for EncodeError {}

/// Appends one message: the tag, the length of what `write` writes, and that. On an error the vector is as before.
pub(crate) fn message(
    out: &mut Vec<u8>,
    tag: u8,
    write: impl FnOnce(&mut Body<'_>) -> Result<(), EncodeError>,
) -> Result<(), EncodeError> {
    let start = out.len();
    out.push(tag);
    let length_at = out.len();
    out.extend_from_slice(&[0; 4]);
    let result = write(&mut Body { out, start }).and_then(|()| declared_length(out, length_at));
    let written = result.and_then(|declared| {
        let word = out.get_mut(length_at..).and_then(|rest| rest.first_chunk_mut::<4>());
        word.map(|word| *word = declared.to_be_bytes()).ok_or(EncodeError::TooLong)
    });
    if written.is_err() {
        out.truncate(start);
    }
    written
}

/// What a message whose length word is at `length_at` and that ends where `out` ends has to declare.
fn declared_length(out: &[u8], length_at: usize) -> Result<u32, EncodeError> {
    let declared = out.len().checked_sub(length_at).and_then(|len| u32::try_from(len).ok());
    declared.filter(|&len| len <= DECLARED_LEN_MAX).ok_or(EncodeError::TooLong)
}

/// Appends a message that has no body.
pub(crate) fn empty(out: &mut Vec<u8>, tag: u8) {
    out.extend_from_slice(&[tag, 0, 0, 0, 4]);
}

/// The body of the message being written.
pub(crate) struct Body<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
}

impl Body<'_> {
    pub(crate) fn u8(&mut self, value: u8) {
        self.out.push(value);
    }

    pub(crate) fn u16(&mut self, value: u16) {
        self.out.extend_from_slice(&value.to_be_bytes());
    }

    pub(crate) fn i16(&mut self, value: i16) {
        self.out.extend_from_slice(&value.to_be_bytes());
    }

    pub(crate) fn u32(&mut self, value: u32) {
        self.out.extend_from_slice(&value.to_be_bytes());
    }

    pub(crate) fn i32(&mut self, value: i32) {
        self.out.extend_from_slice(&value.to_be_bytes());
    }

    /// Bytes as they are. Refuses before it copies if the message would grow over the limit.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        let so_far = self.out.len().saturating_sub(self.start);
        if so_far.saturating_add(bytes.len()) > DECLARED_LEN_MAX as usize {
            return Err(EncodeError::TooLong);
        }
        self.out.extend_from_slice(bytes);
        Ok(())
    }

    /// A text and its NUL.
    pub(crate) fn cstr(&mut self, text: &[u8]) -> Result<(), EncodeError> {
        if text.contains(&0) {
            return Err(EncodeError::EmbeddedNul);
        }
        self.bytes(text)?;
        self.out.push(0);
        Ok(())
    }

    /// A text of our own and its NUL; cut at a NUL or at [`OWN_TEXT_MAX`] bytes.
    pub(crate) fn own_text(&mut self, text: &str) {
        let text = text.split('\0').next().unwrap_or_default();
        let mut end = text.len().min(OWN_TEXT_MAX);
        while !text.is_char_boundary(end) {
            end = end.saturating_sub(1);
        }
        self.out.extend_from_slice(text.get(..end).unwrap_or_default().as_bytes());
        self.out.push(0);
    }

    /// A 32-bit length and the bytes, or −1 for NULL.
    pub(crate) fn nullable(&mut self, value: Option<&[u8]>) -> Result<(), EncodeError> {
        match value {
            None => self.i32(-1),
            Some(bytes) => {
                self.i32(i32::try_from(bytes.len()).map_err(|_| EncodeError::TooLong)?);
                self.bytes(bytes)?;
            }
        }
        Ok(())
    }

    /// A 16-bit count.
    pub(crate) fn count(&mut self, count: usize) -> Result<(), EncodeError> {
        self.u16(u16::try_from(count).map_err(|_| EncodeError::TooMany)?);
        Ok(())
    }
}

/// The longest text of our own in one field of an answer, in bytes.
pub const OWN_TEXT_MAX: usize = 16 << 10;
