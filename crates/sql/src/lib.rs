//! What does this statement do?
//!
//! [`classify`] reads the text of a statement and says whether it only reads, and what it leaves behind in its session.
//! **Its promise: it never says [`Class::Reads`] when the statement may write, or when its answer depends on the node
//! that runs it.** Unsure means [`Class::Unknown`], which goes to the primary.
//!
//! No I/O, no clock, no global: the same text in the same [`Environment`] gives the same [`Verdict`].

#![forbid(unsafe_code)]

mod catalogue;
mod class;
mod memo;
mod search_path;
mod verdict;

pub use catalogue::{Arity, Catalogue, CatalogueBuilder, Persistence, RelationKind, Volatility};
pub use class::{Class, Effects, Why};
pub use memo::{Memo, MemoCounters, hash};
pub use search_path::SearchPath;
pub use verdict::{Detail, Hints, Isolation, RouteHint, SetValue, Verdict};

/// Longer texts are not read; they are [`Why::TooLong`]. Bytes.
pub const TEXT_BYTES_MAX: usize = 64 * 1024;

/// Deeper nesting of brackets, CASE and subqueries is [`Why::NestedTooDeep`]. The grammar recurses in C.
pub const NESTING_MAX: u32 = 200;

/// What the words of a text mean: the session's database and settings.
#[derive(Clone, Copy, Debug)]
pub struct Environment<'a> {
    /// Functions, operators and relations of the database.
    pub catalogue: &'a Catalogue,
    /// Where unqualified names are looked for.
    pub search_path: &'a SearchPath,
    /// The setting of that name: whether a backslash in a plain string is an ordinary character.
    pub standard_conforming_strings: bool,
}

/// What the text of a simple query or of a Parse message does.
#[must_use]
pub fn classify(text: &[u8], env: &Environment<'_>) -> Verdict {
    let _ = (text, env);
    Verdict::bare(Class::Unknown, Why::Unsure)
}
