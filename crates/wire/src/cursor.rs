//! Reads a message from left to right and cannot run off its end. Private: views are what the rest of Highwater sees.
//!
//! Every step either takes bytes that are there or returns [`Malformed`]; lengths are compared with what is left, never
//! added to a position, so that no declared length can wrap (the shape of CVE-2026-6664).

use std::ffi::CStr;

use crate::frame;
use crate::malformed::{Fault, Malformed};

/// What is left of one message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cursor<'a> {
    rest: &'a [u8],
    message: &'static str,
}

impl<'a> Cursor<'a> {
    /// Starts at the first byte of `body`, which belongs to a message called `message` in the manual.
    #[inline]
    pub(crate) fn new(body: &'a [u8], message: &'static str) -> Self {
        Cursor { rest: body, message }
    }

    /// Starts at the body of `frame`, a whole message with tag and length, after checking both.
    #[inline]
    pub(crate) fn frame(frame: &'a [u8], tag: u8, message: &'static str) -> Result<Self, Malformed> {
        let cursor = Cursor { rest: frame, message };
        let Some((head, body)) = frame.split_first_chunk::<{ frame::HEADER_LEN }>() else {
            return Err(cursor.malformed(Fault::Truncated));
        };
        let [found, l0, l1, l2, l3] = *head;
        if found != tag {
            return Err(cursor.malformed(Fault::WrongTag));
        }
        let declared = u64::from(u32::from_be_bytes([l0, l1, l2, l3]));
        if declared.checked_sub(4) != Some(body.len() as u64) {
            return Err(cursor.malformed(Fault::WrongLength));
        }
        Ok(Cursor { rest: body, message })
    }

    /// The error "this message is malformed in this way".
    #[inline]
    pub(crate) fn malformed(&self, fault: Fault) -> Malformed {
        Malformed { message: self.message, fault }
    }

    /// The bytes not read yet.
    #[inline]
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Takes exactly `N` bytes.
    #[inline]
    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        match self.rest.split_first_chunk::<N>() {
            Some((head, rest)) => {
                self.rest = rest;
                Ok(*head)
            }
            None => Err(self.malformed(Fault::Truncated)),
        }
    }

    /// Takes exactly `len` bytes.
    #[inline]
    pub(crate) fn take(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        match self.rest.split_at_checked(len) {
            Some((head, rest)) => {
                self.rest = rest;
                Ok(head)
            }
            None => Err(self.malformed(Fault::Truncated)),
        }
    }

    /// Takes all that is left.
    #[inline]
    pub(crate) fn take_rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    /// Takes a byte.
    #[inline]
    pub(crate) fn u8(&mut self) -> Result<u8, Malformed> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// Takes a big-endian 16-bit number. Counts are read as unsigned, as PostgreSQL's `pq_getmsgint(…, 2)` does: a Bind
    /// may carry 65 535 parameters.
    #[inline]
    pub(crate) fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_be_bytes)
    }

    /// Takes a big-endian signed 16-bit number.
    #[inline]
    pub(crate) fn i16(&mut self) -> Result<i16, Malformed> {
        self.array().map(i16::from_be_bytes)
    }

    /// Takes a big-endian 32-bit number.
    #[inline]
    pub(crate) fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_be_bytes)
    }

    /// Takes a big-endian signed 32-bit number.
    #[inline]
    pub(crate) fn i32(&mut self) -> Result<i32, Malformed> {
        self.array().map(i32::from_be_bytes)
    }

    /// Takes a string up to its NUL, and the NUL; returns it without the NUL.
    #[inline]
    pub(crate) fn cstr(&mut self) -> Result<&'a [u8], Malformed> {
        // CStr looks for the NUL a word at a time, which matters for long queries.
        let Ok(found) = CStr::from_bytes_until_nul(self.rest) else {
            return Err(self.malformed(Fault::Unterminated));
        };
        let string = self.take(found.count_bytes())?;
        self.u8()?;
        Ok(string)
    }

    /// Takes a 32-bit length and as many bytes; −1 stands for NULL, anything below is malformed.
    #[inline]
    pub(crate) fn nullable(&mut self) -> Result<Option<&'a [u8]>, Malformed> {
        match self.i32()? {
            -1 => Ok(None),
            len => match usize::try_from(len) {
                Ok(len) => self.take(len).map(Some),
                Err(_) => Err(self.malformed(Fault::NegativeLength)),
            },
        }
    }

    /// Takes `count` items of `size` bytes each.
    #[inline]
    pub(crate) fn items(&mut self, count: u16, size: usize) -> Result<&'a [u8], Malformed> {
        match usize::from(count).checked_mul(size).and_then(|len| self.rest.split_at_checked(len)) {
            Some((items, rest)) => {
                self.rest = rest;
                Ok(items)
            }
            None => Err(self.malformed(Fault::CountTooLarge)),
        }
    }

    /// Ends the message: nothing may be left.
    #[inline]
    pub(crate) fn finish(self) -> Result<(), Malformed> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.malformed(Fault::TrailingBytes)) }
    }
}
