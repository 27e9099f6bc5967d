//! The setting `DateStyle`, whose value has two halves: how dates are written, and in which order their fields are read.
//!
//! A SET may name one half, and the other stays as it was. So that what a session has is one statement, whichever backend
//! repeats it, the halves are joined here. Does not judge values: what it can't read is PostgreSQL's to refuse.

use std::fmt;

/// The setting's name, in lower case.
pub(super) const NAME: &str = "datestyle";

const BEGINS: &str = "SET datestyle = '";

/// What a value says of either half.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DateStyle {
    style: Option<&'static str>,
    order: Option<&'static str>,
}

impl DateStyle {
    /// What a value says; nothing when a word of it is none of PostgreSQL's (`check_datestyle`).
    pub fn read(value: &str) -> Option<DateStyle> {
        let mut read = DateStyle::default();
        for word in value.split(',') {
            match word.trim().trim_matches('"').to_ascii_lowercase().as_str() {
                "iso" => read.style = Some("ISO"),
                "sql" => read.style = Some("SQL"),
                "german" => read.style = Some("German"),
                word if word.starts_with("postgres") => read.style = Some("Postgres"),
                "mdy" | "us" => read.order = Some("MDY"),
                word if word.starts_with("noneuro") => read.order = Some("MDY"),
                word if word == "dmy" || word.starts_with("euro") => read.order = Some("DMY"),
                "ymd" => read.order = Some("YMD"),
                _ => return None,
            }
        }
        if read.style == Some("German") {
            read.order = read.order.or(Some("DMY"));
        }
        Some(read)
    }

    /// This, where it says something, else `older`.
    #[must_use]
    pub fn over(self, older: DateStyle) -> DateStyle {
        DateStyle { style: self.style.or(older.style), order: self.order.or(older.order) }
    }

    /// The statement that sets what this says.
    fn statement(self) -> String {
        format!("{BEGINS}{self}'")
    }

    /// What one of our own statements sets.
    fn of_statement(text: &str) -> Option<DateStyle> {
        text.strip_prefix(BEGINS)?.strip_suffix('\'').and_then(DateStyle::read)
    }
}

impl fmt::Display for DateStyle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let halves: Vec<_> = self.style.into_iter().chain(self.order).collect();
        f.write_str(&halves.join(", "))
    }
}

/// The statement for a setting that was given this value: a `DateStyle` in our own words, anything else as it came.
pub(super) fn plain(name: &str, value: &str, text: String) -> String {
    let read = (name == NAME).then(|| DateStyle::read(value)).flatten();
    read.map_or(text, DateStyle::statement)
}

/// The statement that does what `older` and then `newer` do.
pub(super) fn joined(older: Option<&str>, newer: &str) -> String {
    let of = DateStyle::of_statement;
    let joined = older.and_then(of).zip(of(newer)).map(|(older, newer)| newer.over(older).statement());
    joined.unwrap_or_else(|| newer.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The second value set over the first one.
    fn check(older: &str, newer: &str, expected: &str) {
        let [older, newer] = [older, newer].map(|value| plain(NAME, value, format!("as it came: {value}")));
        assert_eq!(joined(Some(&older), &newer), expected);
    }

    #[test]
    fn the_half_that_is_not_named_stays_as_it_was() {
        check("SQL", "dmy", "SET datestyle = 'SQL, DMY'");
        check("sql, european", "ISO", "SET datestyle = 'ISO, DMY'");
        check("German", "ymd", "SET datestyle = 'German, YMD'");
        check("YMD", "German", "SET datestyle = 'German, DMY'");
        check("iso", "Postgres, us", "SET datestyle = 'Postgres, MDY'");
        check("ISO, DMY", "noneuropean", "SET datestyle = 'ISO, MDY'");
    }

    #[test]
    fn what_is_not_understood_goes_as_it_came() {
        check("SQL", "default, dmy", "as it came: default, dmy");
        check("default", "dmy", "SET datestyle = 'DMY'");
        assert_eq!(plain("work_mem", "iso", "SET work_mem = iso".to_owned()), "SET work_mem = iso");
        assert_eq!(joined(None, "SET datestyle = 'ISO'"), "SET datestyle = 'ISO'");
    }
}
