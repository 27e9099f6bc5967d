//! The file as written: TOML to tables of typed values, each with its place. Knows keys and types, not meanings.
//!
//! Reading goes on after a mistake, so that all of them are found together; what was wrong is left out of the result.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::keys::{Key, Kind, Section};
use super::mistake::{Mistakes, Place};
use super::value::{Refusal, Value, from_text, host_port};

/// A table as written.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Table {
    /// Which table it is.
    pub(super) section: Section,
    /// Where it begins.
    pub(super) place: Place,
    entries: BTreeMap<&'static str, Entry>,
    /// Keys whose value was no good: they are not missing.
    refused: BTreeSet<&'static str>,
}

/// A value, and where it stands.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Entry {
    /// The value.
    pub(super) value: Value,
    /// Where.
    pub(super) place: Place,
}

impl Table {
    /// A table in which nothing is written.
    pub(super) fn empty(section: Section, place: Place) -> Self {
        Table { section, place, entries: BTreeMap::new(), refused: BTreeSet::new() }
    }

    /// What was written for a key.
    pub(super) fn entry(&self, name: &str) -> Option<&Entry> {
        debug_assert!(self.section.key(name).is_some(), "{name} is not a key of {:?}", self.section);
        self.entries.get(name)
    }

    /// Is there neither a value nor a mistake for this key?
    pub(super) fn lacks(&self, name: &str) -> bool {
        !self.entries.contains_key(name) && !self.refused.contains(name)
    }

    /// What was written for a key, to be changed.
    pub(super) fn entry_mut(&mut self, name: &str) -> Option<&mut Entry> {
        self.entries.get_mut(name)
    }

    /// Writes a key, over what was there.
    pub(super) fn set(&mut self, key: &'static Key, value: Value, place: Place) {
        self.entries.insert(key.name, Entry { value, place });
    }

    /// What was written, or else the default of the table of keys.
    pub(super) fn value(&self, name: &str) -> Option<Value> {
        self.entry(name).map(|entry| entry.value.clone()).or_else(|| default_of(self.section, name))
    }

    /// A text, written or by default.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        match self.value(name)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A flag, written or by default.
    pub(super) fn flag(&self, name: &str) -> bool {
        matches!(self.value(name), Some(Value::Flag(true)))
    }

    /// A number, written or by default.
    pub(super) fn count(&self, name: &str) -> Option<u64> {
        match self.value(name)? {
            Value::Count(n) => Some(n),
            _ => None,
        }
    }

    /// A duration, written or by default.
    pub(super) fn duration(&self, name: &str) -> Option<Duration> {
        match self.value(name)? {
            Value::Duration(duration) => Some(duration),
            _ => None,
        }
    }

    /// Words chosen, written or by default.
    pub(super) fn words(&self, name: &str) -> Vec<&'static str> {
        match self.value(name) {
            Some(Value::Words(words)) => words,
            _ => Vec::new(),
        }
    }

    /// The strings of a list.
    pub(super) fn names(&self, name: &str) -> Vec<String> {
        match self.value(name) {
            Some(Value::Names(names)) => names,
            _ => Vec::new(),
        }
    }

    /// The one word chosen, written or by default.
    pub(super) fn word(&self, name: &str) -> Option<&'static str> {
        self.words(name).first().copied()
    }

    /// The place of a key, or of its table when it isn't written.
    pub(super) fn place_of(&self, name: &str) -> &Place {
        self.entry(name).map_or(&self.place, |entry| &entry.place)
    }

    /// Is a secret written in the file itself, here or in a table below?
    pub(super) fn holds_secret(&self) -> bool {
        self.entries.values().any(|entry| match &entry.value {
            Value::Secret(_) => matches!(entry.place, Place::File { .. }),
            Value::Tables(tables) => tables.iter().any(Table::holds_secret),
            _ => false,
        })
    }

    /// The tables of a key that holds tables.
    pub(super) fn tables(&self, name: &str) -> &[Table] {
        match self.entry(name).map(|entry| &entry.value) {
            Some(Value::Tables(tables)) => tables,
            _ => &[],
        }
    }
}

/// The default of a key, if it has one.
pub(super) fn default_of(section: Section, name: &str) -> Option<Value> {
    let key = section.key(name)?;
    if key.default.is_empty() {
        return None;
    }
    Some(from_text(key.kind, key.default).expect("a test reads every default"))
}

/// Reads a file's text. `None`: it is not TOML, which has been noted.
pub(super) fn read(file: &Arc<str>, text: &str, mistakes: &mut Mistakes) -> Option<Table> {
    let (document, errors) = DeTable::parse_recoverable(text);
    let mut reader = Reader { file, text, mistakes };
    let broken = !errors.is_empty();
    for error in errors {
        let place = reader.place(error.span().unwrap_or(0..0));
        reader.mistakes.add(&place, error.message().to_owned());
    }
    // What recovery made of a broken file may lack keys or have half of them: reporting those too would
    // bury the real mistake, so unknown names are only looked for in a sound file.
    if broken {
        return None;
    }
    Some(reader.table(Section::Top, document.get_ref(), 0..0))
}

struct Reader<'a> {
    file: &'a Arc<str>,
    text: &'a str,
    mistakes: &'a mut Mistakes,
}

impl Reader<'_> {
    fn table(&mut self, section: Section, written: &DeTable<'_>, span: Range<usize>) -> Table {
        let mut table = Table::empty(section, self.place(span));
        for (name, value) in written {
            let Some(key) = self.known(section, name) else { continue };
            let place = self.place(value.span());
            match self.value(key, value) {
                Ok(Some(value)) => table.set(key, value, place),
                Ok(None) => drop(table.refused.insert(key.name)),
                Err(refusal) => {
                    table.refused.insert(key.name);
                    let message = format!("{}: {}", key.name, refusal.message);
                    let text = value.get_ref().as_str().unwrap_or("");
                    self.mistakes.add_unknown(&place, message, (text, refusal.choices.iter().copied()));
                }
            }
        }
        table
    }

    fn known(&mut self, section: Section, name: &Spanned<DeString<'_>>) -> Option<&'static Key> {
        let written: &str = name.get_ref();
        let key = section.key(written);
        if key.is_none() {
            let place = self.place(name.span());
            // Sections that stand once come first: they set a thing for everybody.
            let singles = Section::SINGLE.into_iter().map(|(section, _)| section);
            let elsewhere = singles.chain(Section::ALL).find(|s| *s != section && s.key(written).is_some());
            let short: String = written.chars().take(80).collect();
            match elsewhere {
                Some(other) => {
                    let message = format!(
                        "{short:?} is not a key of {}; it belongs to {}",
                        section.title(),
                        other.title()
                    );
                    self.mistakes.add(&place, message);
                }
                None => {
                    let message = format!("{short:?} is not a key of {}", section.title());
                    self.mistakes.add_unknown(&place, message, (written, section.keys().map(|key| key.name)));
                }
            }
        }
        key
    }

    /// `None` when the mistakes inside have been noted already.
    fn value(&mut self, key: &Key, written: &Spanned<DeValue<'_>>) -> Result<Option<Value>, Refusal> {
        let wrong = || {
            Refusal::new(format!("expected {}, found {}", key.kind.expected(), type_name(written.get_ref())))
        };
        match (key.kind, written.get_ref()) {
            (Kind::One(section), DeValue::Table(table)) => {
                Ok(Some(Value::Tables(vec![self.table(section, table, written.span())])))
            }
            (Kind::Many(section), DeValue::Array(items)) => {
                let mut tables = Vec::new();
                for item in items.iter() {
                    match item.get_ref() {
                        DeValue::Table(table) => tables.push(self.table(section, table, item.span())),
                        _ => return Err(wrong()),
                    }
                }
                Ok(Some(Value::Tables(tables)))
            }
            (Kind::Many(section), DeValue::Table(_)) => Err(Refusal::new(format!(
                "write {}, with two brackets: there can be several",
                section.title()
            ))),
            (Kind::Nodes, DeValue::Array(items)) => {
                let nodes: Vec<Table> = items.iter().filter_map(|item| self.node(item)).collect();
                let whole = nodes.len() == items.len();
                Ok(whole.then_some(Value::Tables(nodes)))
            }
            (Kind::Addresses | Kind::Names | Kind::Choices(_), DeValue::Array(items)) => {
                let mut texts = Vec::new();
                for item in items.iter() {
                    match item.get_ref() {
                        // A comma inside an item would become two items.
                        DeValue::String(text) if !text.contains(',') => texts.push(text.as_ref()),
                        _ => return Err(wrong()),
                    }
                }
                from_text(key.kind, &texts.join(",")).map(Some)
            }
            (Kind::Words, DeValue::Array(items)) => {
                let words = items.iter().map(|item| item.get_ref().as_str().map(str::to_owned));
                let words: Option<Vec<String>> = words.collect();
                words.map(|words| Some(Value::Names(words))).ok_or_else(wrong)
            }
            (kind, value) => match scalar(kind, value) {
                Some(text) => from_text(kind, &text).map(Some),
                None => Err(wrong()),
            },
        }
    }

    fn node(&mut self, written: &Spanned<DeValue<'_>>) -> Option<Table> {
        let place = self.place(written.span());
        match written.get_ref() {
            DeValue::Table(table) => Some(self.table(Section::Node, table, written.span())),
            DeValue::String(text) => {
                let node = node_of(text, &place);
                if node.is_none() {
                    self.mistakes.add(&place, format!("nodes: {text:?} is not \"host:port\"; {NO_SOCKETS}"));
                }
                node
            }
            other => {
                let message = format!("nodes: expected \"host:port\" or a table, found {}", type_name(other));
                self.mistakes.add(&place, message);
                None
            }
        }
    }

    fn place(&self, span: Range<usize>) -> Place {
        let before = self.text.get(..span.start.min(self.text.len())).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Place::File {
            file: self.file.clone(),
            line: before.matches('\n').count() + 1,
            column: before.get(line_start..).map_or(0, |line| line.chars().count()) + 1,
        }
    }
}

/// Said with every refused node.
pub(super) const NO_SOCKETS: &str = "nodes are reached by TCP only";

/// The table that `"host:port"` stands for.
pub(super) fn node_of(text: &str, place: &Place) -> Option<Table> {
    let (host, port) = host_port(text, 5432)?;
    let mut node = Table::empty(Section::Node, place.clone());
    let key = |name| Section::Node.key(name).expect("a key of the table");
    node.set(key("host"), Value::Text(host), place.clone());
    node.set(key("port"), Value::Count(u64::from(port)), place.clone());
    Some(node)
}

/// The text of a scalar, if its TOML type suits the kind.
fn scalar(kind: Kind, value: &DeValue<'_>) -> Option<String> {
    let number = matches!(kind, Kind::Duration | Kind::Bytes(..));
    match (kind, value) {
        (Kind::Flag, DeValue::Boolean(flag)) => Some(flag.to_string()),
        (Kind::Flag | Kind::Count(..) | Kind::Names | Kind::Choices(_), DeValue::String(_)) => None,
        (_, DeValue::String(text)) => Some(text.to_string()),
        (Kind::Count(..) | Kind::Duration | Kind::Bytes(..), DeValue::Integer(n)) => {
            i64::from_str_radix(n.as_str(), n.radix()).ok().map(|n| n.to_string())
        }
        (_, DeValue::Float(n)) if number => Some(n.as_str().to_owned()),
        _ => None,
    }
}

fn type_name(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
