//! What a rule says: where, what, why, and what to do instead.

use std::fmt;

/// One break of a rule, printed as one line.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    pub(crate) path: String,
    pub(crate) line: usize,
    pub(crate) what: String,
    pub(crate) why: String,
    pub(crate) instead: String,
}

impl Finding {
    pub(crate) fn new(
        place: (&str, usize),
        what: impl Into<String>,
        why: &str,
        instead: impl Into<String>,
    ) -> Self {
        Self {
            path: place.0.to_owned(),
            line: place.1,
            what: what.into(),
            why: why.to_owned(),
            instead: instead.into(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {} — {} — {}", self.path, self.line, self.what, self.why, self.instead)
    }
}
