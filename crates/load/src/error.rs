//! Why a run could not be made or finished. What a server answers to a statement is no error here: it is counted.

use std::fmt;
use std::io;
use std::time::Duration;

/// Why a run ended early.
#[derive(Debug)]
pub enum Error {
    /// Connecting, reading or writing failed; the text says which.
    Io(&'static str, io::Error),
    /// The server did not let us in, or refused a statement whose answer was needed.
    Refused {
        /// Its SQLSTATE, if it gave one.
        sqlstate: String,
        /// Its words.
        message: String,
    },
    /// The server asks for a password and none was given.
    PasswordWanted,
    /// The server closed the connection.
    Closed,
    /// The server sent what the protocol does not allow here.
    Protocol(String),
    /// No answer came for this long.
    Stalled(Duration),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Io(doing, error) => write!(f, "{doing}: {error}"),
            Error::Refused { sqlstate, message } => {
                write!(f, "the server refused: {message} ({sqlstate})")
            }
            Error::PasswordWanted => f.write_str("the server asks for a password and none was given"),
            Error::Closed => f.write_str("the server closed a connection"),
            Error::Protocol(what) => write!(f, "the server broke the protocol: {what}"),
            Error::Stalled(wait) => write!(f, "no answer on any connection for {} s", wait.as_secs()),
        }
    }
}

// No `source`: the cause stands in the text already, and would be printed twice.
impl std::error::Error for Error {}
