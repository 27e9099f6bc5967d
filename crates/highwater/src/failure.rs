//! How the command ends when it cannot do what was asked: one sentence and an exit status.
//!
//! A [`Failure`] travels inside `anyhow::Error`; [`status_of`] finds it again under any context. It prints nothing.

use std::fmt;

/// The exit statuses of CONTRACT.md, beside 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Status {
    /// The thing asked for failed, or problems were found.
    Failed = 1,
    /// Usage or configuration.
    Usage = 2,
    /// Something needed is not installed.
    Missing = 3,
    /// A server cannot be reached.
    Unreachable = 4,
}

/// One sentence for the user: what, where, what to do next.
#[derive(Debug)]
pub(crate) struct Failure {
    status: Status,
    sentence: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

impl std::error::Error for Failure {}

/// [`Status::Failed`] with a sentence.
pub(crate) fn failed(sentence: impl Into<String>) -> anyhow::Error {
    Failure { status: Status::Failed, sentence: sentence.into() }.into()
}

/// [`Status::Usage`] with a sentence.
pub(crate) fn usage(sentence: impl Into<String>) -> anyhow::Error {
    Failure { status: Status::Usage, sentence: sentence.into() }.into()
}

/// [`Status::Missing`] with a sentence that says how to get it.
pub(crate) fn missing(sentence: impl Into<String>) -> anyhow::Error {
    Failure { status: Status::Missing, sentence: sentence.into() }.into()
}

/// [`Status::Unreachable`] with a sentence.
pub(crate) fn unreachable(sentence: impl Into<String>) -> anyhow::Error {
    Failure { status: Status::Unreachable, sentence: sentence.into() }.into()
}

/// The exit status an error asks for; an error that says nothing about it is a plain failure.
pub(crate) fn status_of(error: &anyhow::Error) -> Status {
    error.downcast_ref::<Failure>().map_or(Status::Failed, |failure| failure.status)
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn the_status_survives_context() {
        let result: anyhow::Result<()> = Err(missing("no initdb"));
        let error = result.context("while setting up").expect_err("it is an error");
        assert_eq!(status_of(&error), Status::Missing);
        assert_eq!(format!("{error:#}"), "while setting up: no initdb");
    }

    #[test]
    fn an_error_without_a_status_is_a_plain_failure() {
        assert_eq!(status_of(&anyhow::anyhow!("oops")), Status::Failed);
    }
}
