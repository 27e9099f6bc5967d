//! The one error of every message view: which message, and which rule of the protocol it breaks.
//!
//! It never carries bytes of the message: those may be a password, and may be hostile. What to tell the peer is always the
//! same: FATAL, SQLSTATE 08P01, and close; a connection that said something malformed is never reused.

use crate::sqlstate::SqlState;

/// A frame that is not the message its reader expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed {
    /// The protocol's name of the message, as in the manual ("Bind", "RowDescription").
    pub message: &'static str,
    /// The rule that was broken.
    pub fault: Fault,
}

/// How a message can be malformed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The first byte is not the tag of this message.
    WrongTag,
    /// The declared length is not the length of the frame that was handed in.
    WrongLength,
    /// The frame ends before the message does.
    Truncated,
    /// A string has no terminating NUL inside the frame.
    Unterminated,
    /// Bytes are left over behind the message.
    TrailingBytes,
    /// A length below −1, or a count below 0.
    NegativeLength,
    /// A count larger than the frame can hold.
    CountTooLarge,
    /// A one-byte code (the kind of a Describe, the status of a ReadyForQuery, …) outside its list.
    UnknownCode,
    /// Text that must be ASCII or UTF-8 and is not.
    NotText,
    /// A length outside the limits the manual sets for this field, such as a cancel key above 256 bytes.
    OutOfRange,
}

impl Malformed {
    /// What the peer is told: always `08P01`, protocol violation.
    pub const fn sqlstate(&self) -> SqlState {
        SqlState::PROTOCOL_VIOLATION
    }
}

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let fault = match self.fault {
            Fault::WrongTag => "it does not begin with that message's tag",
            Fault::WrongLength => "its declared length is not its length",
            Fault::Truncated => "it ends too early",
            Fault::Unterminated => "a string in it has no terminating zero byte",
            Fault::TrailingBytes => "bytes are left over behind it",
            Fault::NegativeLength => "it holds a length below -1",
            Fault::CountTooLarge => "it holds a count larger than itself",
            Fault::UnknownCode => "it holds a code the protocol does not know",
            Fault::NotText => "a text in it is not valid UTF-8",
            Fault::OutOfRange => "a field in it is shorter or longer than the protocol allows",
        };
        write!(f, "malformed {} message: {fault}; the connection must be closed", self.message)
    }
}

impl std::error::Error for Malformed {}
