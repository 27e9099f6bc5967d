//! What PostgreSQL says: the frontend/backend protocol, version 3, as values over bytes.
//!
//! This crate is the vocabulary of Highwater. It finds where messages end, gives names to what is inside them,
//! writes the few messages Highwater makes itself, and carries out the password exchanges. It is written against the
//! chapter "Frontend/Backend Protocol" of the PostgreSQL manual (<https://www.postgresql.org/docs/current/protocol.html>).
//!
//! # What it deliberately does not do
//!
//! * **No input or output.** Bytes are handed in as slices and written to vectors that the caller owns. There is no
//!   socket, clock, thread, lock or source of chance here: salts and nonces are arguments.
//! * **No copying on the way through.** Views ([`frontend`], [`backend`]) borrow from the frame they were made from.
//! * **No opinion.** Where a statement goes and what an error leads to is decided in `engine`.
//!
//! # What it promises
//!
//! * **Total.** Every parser takes any bytes and returns a value or an error. None panics, loops for ever or allocates
//!   more than its input is long. The crate compiles with `indexing_slicing`, `arithmetic_side_effects`, `panic` and
//!   `unwrap_used` denied outside tests.
//! * **Exact.** A view consumes its frame to the last byte; a count that does not fit its frame is an error, so nothing can
//!   hide behind a length.
//! * **Re-measured.** Encoders compute every length from the bytes they write and refuse a message above 1 GiB − 1; no
//!   length a peer declared is ever copied into a message.
//! * **Tight-lipped.** Secrets are [`auth::Secret`] and friends: wiped when dropped, `[redacted]` when printed.
//!
//! # The map, in reading order
//!
//! | module | question it answers |
//! |---|---|
//! | [`frame`] | where does this message end, and may it be that long? |
//! | [`startup`] | what does a connection want, before it has a state? |
//! | [`frontend`] | what does the client ask? |
//! | [`backend`] | what does the backend answer? |
//! | [`error_response`] | what went wrong, field by field? |
//! | [`sqlstate`] | which error codes do we act on, and what do they mean to us? |
//! | [`status`] | is a transaction open? |
//! | [`lsn`] | where in the write-ahead log? |
//! | [`encode`] | how are the messages written that we make ourselves? |
//! | [`auth`] | who are you? SCRAM-SHA-256 both ways, MD5, stored secrets |
//! | [`malformed`] | how does a view say what is wrong with a frame? |
//!
//! # From bytes to a view
//!
//! ```
//! use wire::{frame, frontend, encode};
//!
//! // What a client might send: a simple query, and the first bytes of the next message.
//! let mut received = Vec::new();
//! encode::query(&mut received, "SELECT 1").unwrap();
//! received.push(frame::tag::client::SYNC);
//!
//! // The header is enough to know where the message ends and whether it may be that long...
//! let header = frame::header(&received).unwrap().expect("five bytes or more are there");
//! frame::check_client_tag(header, 1 << 20).unwrap();
//! assert_eq!(header.tag, frame::tag::client::QUERY);
//!
//! // ...and only who wants to know what it says looks inside.
//! let (message, rest) = received.split_at(header.total);
//! assert_eq!(frontend::Query::parse(message).unwrap().text, b"SELECT 1");
//! assert_eq!(frame::header(rest), Ok(None)); // the next header is not complete yet
//! ```

#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(
        clippy::indexing_slicing,
        clippy::string_slice,
        clippy::arithmetic_side_effects,
        clippy::panic,
        clippy::unwrap_used
    )
)]

pub mod auth;
pub mod backend;
mod cursor;
pub mod encode;
pub mod error_response;
pub mod frame;
pub mod frontend;
pub mod lsn;
pub mod malformed;
pub mod sqlstate;
pub mod startup;
pub mod status;

#[cfg(test)]
mod tests;
