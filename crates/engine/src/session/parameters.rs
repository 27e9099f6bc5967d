//! Settings that a session has changed, and bringing a backend into line with them before it serves.
//!
//! A tracked setting is remembered as the statement that made it, so that repeating it on another backend is
//! exact. What can't be repeated pins the session and never comes here.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::date_style;

/// A set of changed settings: name → the statement that makes it so. Immutable and shared: sessions that
/// asked for the same settings and backends that have them hold equal sets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tracked {
    entries: BTreeMap<String, String>,
    facts: Facts,
}

/// What a request's judgement depends on, found out once per set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Facts {
    search_path: bool,
    standard_conforming_strings: bool,
    encoding: Encoding,
    /// Of the settings that can change what a text means when it is parsed; zero when there are none.
    meaning: u64,
}

/// Settings that change nothing about what a text means or how it is planned. Of any other it is not known.
const MEANINGLESS: [&str; 13] = [
    "application_name",
    "client_min_messages",
    "default_transaction_deferrable",
    "default_transaction_isolation",
    "default_transaction_read_only",
    "idle_in_transaction_session_timeout",
    "idle_session_timeout",
    "lock_timeout",
    "statement_timeout",
    "synchronous_commit",
    "tcp_keepalives_idle",
    "tcp_user_timeout",
    "transaction_timeout",
];

/// Whether a text can be read byte by byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Encoding {
    #[default]
    Plain,
    /// The second byte of a character can look like ASCII, a quote or a backslash among it.
    Deceptive,
}

/// One change to the tracked settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// This setting is made by this statement.
    Set {
        /// Lower-case name.
        name: String,
        /// The statement's text.
        text: String,
    },
    /// This setting is back at its default.
    Reset {
        /// Lower-case name.
        name: String,
    },
    /// All settings are back at their defaults.
    ResetAll,
}

/// Something on its way that the settings depend on, in the order it was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pending {
    /// A change, which holds when its transaction ends well.
    Change(Change),
    /// A statement whose CommandComplete decides what becomes of the changes before it.
    Turn(Turn),
}

/// What a statement does to the changes before it, once it is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// COMMIT, ROLLBACK, PREPARE TRANSACTION: its tag tells whether they hold.
    End,
    /// ROLLBACK TO: nobody knows which of them hold.
    Savepoint,
    /// DISCARD ALL: none of them matters any more, and neither does what was there before.
    Discard,
}

impl Tracked {
    /// The settings a client asked for in its start-up message. `set_config` is used because it takes any
    /// value of any setting as one string, lists included.
    pub fn from_startup<'a>(parameters: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let entries = parameters.into_iter().map(|(name, value)| {
            let text = format!("SELECT pg_catalog.set_config({}, {}, false)", quoted(name), quoted(value));
            let name = name.to_ascii_lowercase();
            let text = date_style::plain(&name, value, text);
            (name, text)
        });
        Tracked::of(entries.collect())
    }

    fn of(entries: BTreeMap<String, String>) -> Self {
        let facts = Facts {
            search_path: entries.contains_key("search_path"),
            standard_conforming_strings: entries.contains_key("standard_conforming_strings"),
            encoding: entries.get("client_encoding").map_or(Encoding::Plain, |text| encoding_of(text)),
            meaning: meaning_of(&entries),
        };
        Tracked { entries, facts }
    }

    /// The set after this change; RESET leads to what `base` has.
    pub fn changed_over(&self, base: &Tracked, change: &Change) -> Self {
        let mut entries = self.changed(change).entries;
        match change {
            Change::Reset { name } => {
                if let Some(text) = base.entries.get(name) {
                    entries.insert(name.clone(), text.clone());
                }
            }
            Change::ResetAll => entries.clone_from(&base.entries),
            Change::Set { .. } => {}
        }
        Tracked::of(entries)
    }

    /// The set after this change.
    pub fn changed(&self, change: &Change) -> Self {
        let mut entries = self.entries.clone();
        match change {
            Change::Set { name, text } if name == date_style::NAME => {
                let text = date_style::joined(self.text(name), text);
                entries.insert(name.clone(), text);
            }
            Change::Set { name, text } => {
                entries.insert(name.clone(), text.clone());
            }
            Change::Reset { name } => {
                entries.remove(name);
            }
            Change::ResetAll => entries.clear(),
        }
        Tracked::of(entries)
    }

    /// The statement that made a setting, if the session has changed it.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.entries.get(name).map(String::as_str)
    }

    /// The text that takes a backend with `self` to `wanted`; empty when there is nothing to do.
    pub fn bring_to(&self, wanted: &Tracked) -> String {
        let mut sql = String::new();
        // What is set over another's `DateStyle` may leave half of that in place.
        let mixes = |name: &str| name == date_style::NAME && self.text(name) != wanted.text(name);
        let stays = |name: &str| wanted.entries.contains_key(name) && !mixes(name);
        for name in self.entries.keys().filter(|name| !stays(name)) {
            let _ = writeln!(sql, "RESET {};", identifier(name));
        }
        for (_, text) in wanted.entries.iter().filter(|(name, text)| self.entries.get(*name) != Some(text)) {
            // The line break ends a comment at the end of the client's own text.
            let _ = writeln!(sql, "{text}\n;");
        }
        sql
    }
}

/// Encodings in which the second byte of a character can look like ASCII, a quote or a backslash among it
/// (PostgreSQL, "Character Set Support"): a text in them can't be read byte by byte.
const DECEPTIVE_ENCODINGS: [&str; 11] =
    ["sjis", "shift_jis", "mskanji", "win932", "big5", "win950", "gbk", "win936", "uhc", "gb18030", "johab"];

impl Tracked {
    /// Has the session asked for an encoding whose characters can hide ASCII bytes?
    pub(super) fn encoding_deceives(&self) -> bool {
        self.facts.encoding == Encoding::Deceptive
    }

    /// A key that is the same for sessions to whom every text means the same.
    pub(super) fn meaning(&self) -> u64 {
        self.facts.meaning
    }

    /// Has the session changed its search path?
    pub(super) fn sets_search_path(&self) -> bool {
        self.facts.search_path
    }

    /// Has the session changed how backslashes in strings are read?
    pub(super) fn sets_strings(&self) -> bool {
        self.facts.standard_conforming_strings
    }
}

/// A key for the settings that can change what a text means.
fn meaning_of(entries: &BTreeMap<String, String>) -> u64 {
    entries.iter().filter(|(name, _)| !MEANINGLESS.contains(&name.as_str())).fold(0, |key, (name, text)| {
        let name = sql::hash(name.as_bytes(), key) as u64;
        sql::hash(text.as_bytes(), name) as u64
    })
}

/// The kind of encoding that this statement asks for.
fn encoding_of(text: &str) -> Encoding {
    let text = text.to_ascii_lowercase();
    let deceives = DECEPTIVE_ENCODINGS.iter().any(|name| text.contains(name)) || text.contains("win949");
    if deceives { Encoding::Deceptive } else { Encoding::Plain }
}

/// A string literal that is safe with standard_conforming_strings on and off.
fn quoted(value: &str) -> String {
    let doubled = value.replace('\'', "''");
    if doubled.contains('\\') {
        format!("E'{}'", doubled.replace('\\', "\\\\"))
    } else {
        format!("'{doubled}'")
    }
}

/// A setting's name, each part quoted.
fn identifier(name: &str) -> String {
    name.split('.').map(|part| format!("\"{}\"", part.replace('"', "\"\""))).collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(name: &str, text: &str) -> Change {
        Change::Set { name: name.into(), text: text.into() }
    }

    #[test]
    fn a_backend_in_line_needs_nothing() {
        let a = Tracked::from_startup([("TimeZone", "UTC")]);
        assert_eq!(a.bring_to(&a.clone()), "");
    }

    #[test]
    fn what_the_last_session_set_is_reset_and_what_this_one_set_is_repeated() {
        let before = Tracked::default().changed(&set("work_mem", "SET work_mem = '1MB'"));
        let wanted = Tracked::default().changed(&set("timezone", "set time zone 'UTC' -- mine"));
        assert_eq!(before.bring_to(&wanted), "RESET \"work_mem\";\nset time zone 'UTC' -- mine\n;\n");
    }

    #[test]
    fn half_a_date_style_is_set_over_the_default_and_never_over_another_sessions() {
        let date_style = |value: &str| Tracked::from_startup([("DateStyle", value)]);
        let (other, mine) = (date_style("SQL, DMY"), date_style("ISO"));
        assert_eq!(other.bring_to(&mine), "RESET \"datestyle\";\nSET datestyle = 'ISO'\n;\n");
        let both = mine.changed(&set("datestyle", "SET datestyle = 'YMD'"));
        assert_eq!(Tracked::default().bring_to(&both), "SET datestyle = 'ISO, YMD'\n;\n");
        assert_eq!(mine.bring_to(&mine.clone()), "");
    }

    #[test]
    fn startup_values_are_quoted_whole() {
        let t = Tracked::from_startup([("search_path", "a, b'c\\d")]);
        assert_eq!(
            t.text("search_path"),
            Some("SELECT pg_catalog.set_config('search_path', E'a, b''c\\\\d', false)")
        );
    }

    #[test]
    fn an_encoding_that_hides_ascii_bytes_is_known() {
        assert!(Tracked::from_startup([("client_encoding", "SJIS")]).encoding_deceives());
        assert!(!Tracked::from_startup([("client_encoding", "UTF8")]).encoding_deceives());
        assert!(!Tracked::default().encoding_deceives());
        let changed = Tracked::default().changed(&set("client_encoding", "SET NAMES 'gbk'"));
        assert!(changed.encoding_deceives());
        assert!(!changed.changed(&Change::Reset { name: "client_encoding".into() }).encoding_deceives());
    }

    #[test]
    fn reset_all_leaves_nothing() {
        let t = Tracked::default().changed(&set("a.b", "SET a.b = 1")).changed(&Change::ResetAll);
        assert_eq!(t, Tracked::default());
    }
}
