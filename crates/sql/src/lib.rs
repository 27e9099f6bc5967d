//! What does this statement do?
//!
//! [`classify`] reads the text of a statement and says whether it only reads, and what it leaves behind in its session.
//! **Its promise: it never says [`Class::Reads`] when the statement may write, or when its answer depends on the node
//! that runs it.** Unsure means [`Class::Unknown`], which goes to the primary.
//!
//! Two tiers: our own lexer (`lexer`, `query`, `verbs`), which allocates nothing for a common query, and PostgreSQL's real
//! grammar (`grammar`), asked when the first is unsure. A [`Catalogue`] says what functions, operators and relations do; a
//! [`Memo`] remembers verdicts.
//!
//! # Limits
//!
//! - A function called by column notation (`t.f` for `f(t)`), by an implicit cast, by a type's output or comparison
//!   function, or by a constraint cannot be seen in a text.
//! - A function that is declared STABLE or IMMUTABLE and writes all the same is believed.
//! - What a function, DO or CALL does to the session inside the server cannot be seen, but for tell-tale words in DO.
//! - Texts are read as UTF-8. In a `client_encoding` where a byte below 0x80 may be part of a character (SJIS, BIG5, GBK,
//!   UHC, GB18030, JOHAB), a text that is not pure ASCII must not be trusted to [`classify`].
//!
//! No I/O, no clock, no global: the same text in the same [`Environment`] gives the same [`Verdict`].

#![forbid(unsafe_code)]

mod catalogue;
mod class;
mod classify;
mod cursor;
mod fingerprint;
mod grammar;
mod hints;
mod judge;
mod keywords;
mod lexer;
mod memo;
mod name;
mod query;
mod search_path;
mod settings;
mod split;
mod transaction;
mod verbs;
mod verdict;

pub use catalogue::{Arity, Catalogue, CatalogueBuilder, Persistence, RelationKind, Volatility};
pub use class::{Class, Effects, Why};
pub use memo::{KEPT_TEXT_BYTES_MAX, Memo, MemoCounters, hash};
pub use search_path::SearchPath;
pub use split::{first, split};
pub use verdict::{Detail, Hints, Isolation, RouteHint, SetValue, Verdict};

/// Longer texts are never taken for reads; they are [`Why::TooLong`]. Bytes.
pub const TEXT_BYTES_MAX: usize = 64 * 1024;

/// Deeper nesting of brackets is [`Why::NestedTooDeep`].
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
    #[cfg(feature = "grammar")]
    return classify::verdict(text, env, Some(&grammar::Postgres));
    #[cfg(not(feature = "grammar"))]
    classify_lexer_only(text, env)
}

/// [`classify`] without the grammar: what the lexer is unsure of is Unknown. For tests, and for builds without a C
/// compiler.
#[must_use]
pub fn classify_lexer_only(text: &[u8], env: &Environment<'_>) -> Verdict {
    classify::verdict(text, env, None)
}
