//! The second tier: PostgreSQL's real grammar, behind a trait of our own.
//!
//! It reports calls, relations, operators and types to the same [`Judge`] as the first tier. Only the cargo feature
//! `grammar` brings an implementation; without it, what the first tier is unsure of is Unknown.

#[cfg(feature = "grammar")]
mod postgres;

#[cfg(feature = "grammar")]
pub(crate) use postgres::Postgres;

use crate::class::Why;
use crate::judge::Judge;

/// A parser of one statement.
pub(crate) trait Grammar {
    /// Parses `statement` and, if it is a query, reports what is in it.
    fn judge(&self, statement: &str, judge: &mut Judge<'_>) -> Answer;
}

/// What a grammar makes of a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "grammar"), expect(dead_code, reason = "only an implementation makes one"))]
pub(crate) enum Answer {
    /// A query; the judge knows it.
    Query,
    /// A statement that writes.
    Writes(Why),
    /// One statement of another kind, or several.
    Other,
    /// No statement at all.
    Refused,
}
