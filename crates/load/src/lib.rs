//! The load generator: many connections to one server or proxy, each asking question after question, from one thread.
//!
//! It is cheap on purpose, so that what it measures is the other side: nonblocking sockets over one poll, requests built in
//! place, answers read where they lie. And it is suspicious: every statement's answer is known beforehand
//! ([`statement`]), so that an answer that belongs to somebody else is found and counted as a mix-up. A run with mix-ups
//! proves nothing but a bug.
//!
//! | module | for |
//! |---|---|
//! | [`fleet`] | connections that stay, in a closed loop: simple, extended, prepared, pipelined, idle |
//! | [`churn`] | connections that come, log in and leave |
//! | [`bulk`] | one large result or COPY at a time |
//! | [`ask`] | a question whose answer is to be read |
//! | [`statement`] | what is asked and what has to come back |
//! | [`histogram`], [`tally`] | what is known after a run |
//! | [`crew`] | a user's load test: connections that ask a script's transactions, in a closed or an open loop |
//! | [`script`], [`pace`], [`random`] | what it asks, when, and by which chance |
//! | [`outcome`] | what is known after it |
//! | [`stale`] | which reads missed a write that somebody had been told of |
//! | [`cpu`], [`machine`] | what a process of this machine spent meanwhile; what machine it is |
//!
//! It starts no threads and no processes, prints nothing, and knows nothing of who listens at the other end.

#![forbid(unsafe_code)]

pub mod ask;
pub mod bulk;
pub mod churn;
pub mod clock;
mod connection;
pub mod cpu;
pub mod crew;
pub mod error;
pub mod fleet;
pub mod histogram;
pub mod login;
pub mod machine;
pub mod outcome;
pub mod pace;
pub mod random;
mod return_way;
pub mod script;
pub mod stale;
pub mod statement;
mod talk;
pub mod tally;
mod timer;

pub use error::Error;
pub use fleet::Fleet;
pub use login::Target;
pub use statement::{Protocol, Statements};
pub use tally::Tally;
