//! Which schemas an unqualified name is looked for in.
//!
//! Knows nothing of what is in them.

/// A session's `search_path`, ready for look-ups.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SearchPath {
    /// In order, with `pg_catalog` where PostgreSQL looks for it; `None` is any schema.
    schemas: Option<Vec<String>>,
}

const PG_CATALOG: &str = "pg_catalog";

impl SearchPath {
    /// From the text of the setting, with `"$user"` standing for `user`. `pg_catalog` comes first unless it is named
    /// (PostgreSQL documentation, 5.10.5). A text that is not a list of names is [`SearchPath::unknown`].
    #[must_use]
    pub fn parse(text: &str, user: &str) -> Self {
        let Some(names) = names(text) else {
            return Self::unknown();
        };
        let mut schemas: Vec<String> =
            names.into_iter().map(|name| if name == "$user" { user.to_owned() } else { name }).collect();
        if !schemas.iter().any(|schema| schema == PG_CATALOG) {
            schemas.insert(0, PG_CATALOG.to_owned());
        }
        Self { schemas: Some(schemas) }
    }

    /// Not known: every schema counts.
    #[must_use]
    pub const fn unknown() -> Self {
        Self { schemas: None }
    }

    /// The schemas in order; `None` is any schema.
    pub(crate) fn schemas(&self) -> Option<&[String]> {
        self.schemas.as_deref()
    }

    /// True when a name without a schema may be found in this one.
    pub(crate) fn sees(&self, schema: &str) -> bool {
        self.schemas.as_ref().is_none_or(|schemas| schemas.iter().any(|seen| seen == schema))
    }

    /// True when a table made without a schema is a temporary one.
    pub(crate) fn creates_temporary(&self) -> bool {
        let first = self.schemas.iter().flatten().find(|schema| *schema != PG_CATALOG);
        first.is_some_and(|schema| schema.starts_with("pg_temp"))
    }
}

/// `SplitIdentifierString` of `src/backend/utils/adt/varlena.c`.
fn names(text: &str) -> Option<Vec<String>> {
    let mut names = Vec::new();
    let mut rest = text.trim_ascii();
    if rest.is_empty() {
        return Some(names);
    }
    loop {
        let (name, after) = if rest.starts_with('"') { quoted(rest)? } else { plain(rest)? };
        names.push(name);
        rest = after.trim_ascii_start();
        if rest.is_empty() {
            return Some(names);
        }
        rest = rest.strip_prefix(',')?.trim_ascii_start();
    }
}

fn quoted(text: &str) -> Option<(String, &str)> {
    let mut name = String::new();
    let mut rest = &text[1..];
    loop {
        let quote = rest.find('"')?;
        name.push_str(&rest[..quote]);
        rest = &rest[quote + 1..];
        match rest.strip_prefix('"') {
            Some(after) => {
                name.push('"');
                rest = after;
            }
            None => return Some((name, rest)),
        }
    }
}

fn plain(text: &str) -> Option<(String, &str)> {
    let end = text.find(|c: char| c == ',' || c.is_ascii_whitespace()).unwrap_or(text.len());
    let name = text[..end].to_ascii_lowercase();
    (!name.is_empty()).then_some((name, &text[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schemas(text: &str) -> Vec<String> {
        SearchPath::parse(text, "alice").schemas().expect("a known path").to_vec()
    }

    #[test]
    fn the_catalogue_comes_first_unless_named() {
        assert_eq!(schemas(r#""$user", public"#), ["pg_catalog", "alice", "public"]);
        assert_eq!(schemas("public, pg_catalog"), ["public", "pg_catalog"]);
        assert_eq!(schemas(""), ["pg_catalog"]);
    }

    #[test]
    fn quotes_keep_case_and_commas() {
        assert_eq!(schemas(r#"Foo, "Bar", "a,""b""#), ["pg_catalog", "foo", "Bar", "a,\"b"]);
    }

    #[test]
    fn what_is_no_list_sees_every_schema() {
        assert_eq!(SearchPath::parse("a,,b", "u"), SearchPath::unknown());
        assert_eq!(SearchPath::parse("\"a", "u"), SearchPath::unknown());
    }
}
