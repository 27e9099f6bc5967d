//! Where does this message end? Reads the five bytes in front of every message after the start-up phase: a tag and a length.
//!
//! The relay needs nothing else to pass a message on. This module never looks into a body and never copies; what is inside is
//! [`frontend`](crate::frontend)'s and [`backend`](crate::backend)'s business, and the messages that have no tag are
//! [`startup`](crate::startup)'s.

use crate::sqlstate::SqlState;

/// Bytes in front of a body: one of tag and four of length.
pub const HEADER_LEN: usize = 5;

/// The largest length a message may declare: 1 GiB − 1, the largest PostgreSQL allocates for one (`MaxAllocSize`,
/// `src/include/utils/memutils.h`).
pub const DECLARED_LEN_MAX: u32 = 0x3fff_ffff;

/// The largest length of a message that only carries names and numbers; PostgreSQL's `PQ_SMALL_MESSAGE_LIMIT`
/// (`src/include/libpq/libpq.h`).
pub const SMALL_LEN_MAX: usize = 10_000;

/// The first byte of each message. The same letter can mean different things in the two directions.
pub mod tag {
    /// Tags of messages that a client sends.
    pub mod client {
        /// Query: a simple query.
        pub const QUERY: u8 = b'Q';
        /// Parse: make a prepared statement.
        pub const PARSE: u8 = b'P';
        /// Bind: make a portal of a prepared statement.
        pub const BIND: u8 = b'B';
        /// Describe a prepared statement or portal.
        pub const DESCRIBE: u8 = b'D';
        /// Execute a portal.
        pub const EXECUTE: u8 = b'E';
        /// Close a prepared statement or portal.
        pub const CLOSE: u8 = b'C';
        /// Sync: end of a pipeline's unit.
        pub const SYNC: u8 = b'S';
        /// Flush: send what is ready.
        pub const FLUSH: u8 = b'H';
        /// CopyData of a COPY FROM STDIN.
        pub const COPY_DATA: u8 = b'd';
        /// CopyDone: the COPY's data ended well.
        pub const COPY_DONE: u8 = b'c';
        /// CopyFail: the client gives the COPY up.
        pub const COPY_FAIL: u8 = b'f';
        /// Terminate: goodbye.
        pub const TERMINATE: u8 = b'X';
        /// FunctionCall: the old fast path.
        pub const FUNCTION_CALL: u8 = b'F';
        /// PasswordMessage, SASLInitialResponse and SASLResponse: told apart by what was asked.
        pub const PASSWORD: u8 = b'p';
    }

    /// Tags of messages that a backend sends.
    pub mod backend {
        /// Authentication requests, and AuthenticationOk.
        pub const AUTHENTICATION: u8 = b'R';
        /// ParameterStatus: a setting's value, at the start and at each change.
        pub const PARAMETER_STATUS: u8 = b'S';
        /// BackendKeyData: what a CancelRequest must quote.
        pub const BACKEND_KEY_DATA: u8 = b'K';
        /// ReadyForQuery: the unit is over; carries the transaction status.
        pub const READY_FOR_QUERY: u8 = b'Z';
        /// ErrorResponse.
        pub const ERROR_RESPONSE: u8 = b'E';
        /// NoticeResponse: may come at any time.
        pub const NOTICE_RESPONSE: u8 = b'N';
        /// NotificationResponse of LISTEN: may come at any time.
        pub const NOTIFICATION_RESPONSE: u8 = b'A';
        /// RowDescription: the columns of the rows that follow.
        pub const ROW_DESCRIPTION: u8 = b'T';
        /// DataRow.
        pub const DATA_ROW: u8 = b'D';
        /// CommandComplete.
        pub const COMMAND_COMPLETE: u8 = b'C';
        /// EmptyQueryResponse: instead of CommandComplete for an empty text.
        pub const EMPTY_QUERY: u8 = b'I';
        /// ParseComplete.
        pub const PARSE_COMPLETE: u8 = b'1';
        /// BindComplete.
        pub const BIND_COMPLETE: u8 = b'2';
        /// CloseComplete.
        pub const CLOSE_COMPLETE: u8 = b'3';
        /// NoData: the described thing returns no rows.
        pub const NO_DATA: u8 = b'n';
        /// ParameterDescription: the parameter types of a described statement.
        pub const PARAMETER_DESCRIPTION: u8 = b't';
        /// PortalSuspended: Execute reached its row limit.
        pub const PORTAL_SUSPENDED: u8 = b's';
        /// CopyInResponse: the backend waits for COPY data.
        pub const COPY_IN: u8 = b'G';
        /// CopyOutResponse: COPY data follow.
        pub const COPY_OUT: u8 = b'H';
        /// CopyBothResponse: streaming replication.
        pub const COPY_BOTH: u8 = b'W';
        /// CopyData of a COPY TO STDOUT.
        pub const COPY_DATA: u8 = b'd';
        /// CopyDone: the COPY's data ended.
        pub const COPY_DONE: u8 = b'c';
        /// FunctionCallResponse.
        pub const FUNCTION_CALL_RESPONSE: u8 = b'V';
        /// NegotiateProtocolVersion: the client asked for more than there is.
        pub const NEGOTIATE_PROTOCOL_VERSION: u8 = b'v';
    }
}

/// The header of one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The message's tag, from [`tag::client`] or [`tag::backend`].
    pub tag: u8,
    /// Bytes of the whole message: the tag, the length word and the body. Between 5 and 1 GiB.
    pub total: usize,
}

impl Header {
    /// The length the message declared: all of it but the tag.
    pub const fn declared(self) -> usize {
        self.total.saturating_sub(1)
    }
}

/// A header that ends the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameError {
    /// A length that does not even count itself (below 4).
    TooShort {
        /// The message's tag.
        tag: u8,
        /// The declared length in bytes.
        declared: u32,
    },
    /// A length above what this message may have.
    TooLong {
        /// The message's tag.
        tag: u8,
        /// The declared length in bytes.
        declared: u32,
        /// The largest length allowed here, in bytes.
        max: usize,
    },
    /// A message without a body (Sync, Flush, Terminate, CopyDone) that declares one.
    NotEmpty {
        /// The message's tag.
        tag: u8,
    },
    /// A tag that has no meaning in this direction at this time.
    UnknownTag(u8),
}

impl FrameError {
    /// What the peer is told before the connection is closed: always `08P01`, protocol violation.
    pub const fn sqlstate(&self) -> SqlState {
        SqlState::PROTOCOL_VIOLATION
    }
}

impl std::fmt::Display for FrameError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {
            FrameError::TooShort { tag, declared } => {
                write!(f, "invalid length {declared} of a message of type {}: at least 4 is needed", Tag(tag))
            }
            FrameError::TooLong { tag, declared, max } => {
                write!(
                    f,
                    "length {declared} of a message of type {} is over the limit of {max} bytes",
                    Tag(tag)
                )
            }
            FrameError::NotEmpty { tag } => {
                write!(f, "a message of type {} must be empty and is not", Tag(tag))
            }
            FrameError::UnknownTag(tag) => write!(f, "unexpected message of type {}", Tag(tag)),
        }
    }
}

impl std::error::Error for FrameError {}

/// Prints a tag as its letter, or as a number if it is not printable: it may be any byte a stranger sent.
struct Tag(u8);

impl std::fmt::Display for Tag {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.is_ascii_graphic() {
            write!(f, "'{}'", char::from(self.0))
        } else {
            write!(f, "0x{:02x}", self.0)
        }
    }
}

/// Reads the header at the start of `buf`. `None`: fewer than five bytes are there, more must be read.
///
/// # Errors
/// [`FrameError::TooShort`] and [`FrameError::TooLong`]: no message can begin like this, in either direction.
#[inline]
pub fn header(buf: &[u8]) -> Result<Option<Header>, FrameError> {
    let Some(&[tag, l0, l1, l2, l3]) = buf.first_chunk::<HEADER_LEN>() else {
        return Ok(None);
    };
    let declared = u32::from_be_bytes([l0, l1, l2, l3]);
    if declared < 4 {
        return Err(FrameError::TooShort { tag, declared });
    }
    if declared > DECLARED_LEN_MAX {
        return Err(FrameError::TooLong { tag, declared, max: DECLARED_LEN_MAX as usize });
    }
    // At most 1 GiB: fits usize wherever PostgreSQL runs.
    Ok(Some(Header { tag, total: (declared as usize).saturating_add(1) }))
}

/// May a client that has logged in send a message with this header? Knows the tags and how long each may be; whether the
/// message fits the conversation is the session's business.
///
/// `max_message` is the largest declared length of the messages that carry data (Query, Parse, Bind, CopyData, FunctionCall),
/// in bytes. The others carry names and numbers and get PostgreSQL's own limit of 10 000 bytes; Sync, Flush, Terminate and
/// CopyDone carry nothing. After `SocketBackend` in `src/backend/tcop/postgres.c`.
///
/// # Errors
/// [`FrameError::UnknownTag`], [`FrameError::NotEmpty`] or [`FrameError::TooLong`]: the client gets FATAL 08P01.
#[inline]
pub fn check_client_tag(h: Header, max_message: usize) -> Result<(), FrameError> {
    use tag::client as c;
    match h.tag {
        c::QUERY | c::PARSE | c::BIND | c::COPY_DATA | c::FUNCTION_CALL => at_most(h, max_message),
        c::DESCRIBE | c::EXECUTE | c::CLOSE | c::COPY_FAIL => at_most(h, SMALL_LEN_MAX),
        c::SYNC | c::FLUSH | c::TERMINATE | c::COPY_DONE => {
            if h.total == HEADER_LEN {
                Ok(())
            } else {
                Err(FrameError::NotEmpty { tag: h.tag })
            }
        }
        other => Err(FrameError::UnknownTag(other)),
    }
}

/// May a client that is logging in send a message with this header? Only a password or SASL message, and only up to
/// `max_message` bytes of declared length.
///
/// # Errors
/// [`FrameError::UnknownTag`] or [`FrameError::TooLong`]: the client gets FATAL 08P01.
pub fn check_login_tag(h: Header, max_message: usize) -> Result<(), FrameError> {
    if h.tag == tag::client::PASSWORD { at_most(h, max_message) } else { Err(FrameError::UnknownTag(h.tag)) }
}

#[inline]
fn at_most(h: Header, max: usize) -> Result<(), FrameError> {
    if h.declared() <= max {
        return Ok(());
    }
    let declared = u32::try_from(h.declared()).unwrap_or(u32::MAX);
    Err(FrameError::TooLong { tag: h.tag, declared, max })
}
