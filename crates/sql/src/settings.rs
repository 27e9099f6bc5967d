//! SET, RESET and SHOW (`VariableSetStmt` of PostgreSQL's grammar), and SET said as `SELECT set_config(…)`.
//!
//! Answers `None` for anything that is not exactly one of PostgreSQL's forms, or that only PostgreSQL should read (a
//! string with escapes). Does not know which settings exist.

use crate::Environment;
use crate::cursor::{Cursor, string_value};
use crate::lexer::Kind;
use crate::transaction;
use crate::verdict::{Detail, Isolation, SetValue};

/// What a SET or RESET does.
#[derive(Debug)]
pub(crate) enum Setting {
    /// Can be followed and repeated.
    Tracked(Detail),
    /// Modes of the transaction.
    Transaction(Detail),
    /// SET SESSION CHARACTERISTICS: the settings that it changes.
    Characteristics(Vec<Detail>),
    /// Changes the session in a way that cannot be repeated on another backend.
    Untracked,
    /// SET TRANSACTION SNAPSHOT: belongs to the node that exported it.
    Snapshot,
    /// SET CONSTRAINTS.
    Constraints,
}

/// Our own settings begin so.
pub(crate) const OWN_PREFIX: &str = "highwater.";

/// Settings that change who one is, or hidden state.
const UNTRACKED: [&str; 4] = ["role", "session_authorization", "seed", "is_superuser"];

/// Settings that hold a list of names: PostgreSQL quotes each element (`GUC_LIST_QUOTE`).
const NAME_LISTS: [&str; 5] = [
    "search_path",
    "temp_tablespaces",
    "local_preload_libraries",
    "session_preload_libraries",
    "shared_preload_libraries",
];

/// After the word SET; `start` is where the statement begins.
pub(crate) fn set(cursor: &mut Cursor<'_>, start: usize) -> Option<Setting> {
    if cursor.accept("transaction") {
        return set_transaction(cursor);
    }
    if cursor.accept("constraints") {
        return Some(Setting::Constraints);
    }
    let local = cursor.accept("local");
    let session = !local && cursor.accept("session");
    if session && cursor.accept("characteristics") {
        let modes =
            (cursor.accept("as") && cursor.accept("transaction")).then(|| transaction::modes(cursor))??;
        let details = characteristics(modes);
        return (!details.is_empty()).then_some(Setting::Characteristics(details));
    }
    if cursor.accept_any(&["session", "authorization"]) {
        return (session || local).then_some(Setting::Untracked).filter(|_| skip_words(cursor));
    }
    let (name, value) = assignment(cursor)?;
    if !cursor.at_end() {
        return None;
    }
    Some(named(cursor, start, Assignment { name, value, local }))
}

/// After the word RESET.
pub(crate) fn reset(cursor: &mut Cursor<'_>, start: usize) -> Option<Setting> {
    if cursor.accept("all") {
        return Some(Setting::Tracked(Detail::ResetAll));
    }
    if cursor.accept("session") {
        return cursor.accept("authorization").then_some(Setting::Untracked);
    }
    let name = setting_name(cursor)?;
    if !cursor.at_end() {
        return None;
    }
    Some(named(cursor, start, Assignment { name, value: SetValue::Default, local: false }))
}

/// A statement that is nothing but `SELECT set_config('name', 'value', false)`: how Django and others say SET. `start` is
/// where the statement begins. Any other call of the function is not followed, nor one of a setting that is not a plain
/// value of this session's, since its value could not be understood as SET's is.
pub(crate) fn set_config(cursor: &mut Cursor<'_>, start: usize, env: &Environment<'_>) -> Option<Detail> {
    let mut ahead = Cursor::new(&cursor.text[start..], env.standard_conforming_strings);
    ahead.next();
    let qualified = ahead.accept("pg_catalog");
    let own =
        if qualified { ahead.accept_kind(Kind::Dot) } else { env.catalogue.only_postgresqls(b"set_config") };
    if !own || !ahead.accept("set_config") || !ahead.accept_kind(Kind::OpenParen) {
        return None;
    }
    let name = ahead.next();
    let name = string_value(ahead.slice(name))?.to_ascii_lowercase();
    let literal = ahead.accept_kind(Kind::Comma).then(|| ahead.next())?;
    let value = string_value(ahead.slice(literal)).filter(|value| !value.contains('\\'))?;
    let local = ahead.accept_kind(Kind::Comma).then(|| ahead.accept("true"))?;
    if !local && !ahead.accept("false") || !ahead.accept_kind(Kind::CloseParen) || !ahead.at_end() {
        return None;
    }
    if !is_plain_setting(&name) {
        return None;
    }
    let literal = ahead.slice(literal);
    while !cursor.at_end() {
        cursor.next();
    }
    let text = format!("SELECT pg_catalog.set_config('{name}', {literal}, {local})");
    Some(Detail::Set { name, value: SetValue::Text(value), local, text })
}

/// A setting with a plain name and one value, which changes neither who one is nor how names are looked for.
fn is_plain_setting(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'.');
    !name.is_empty()
        && name.bytes().all(plain)
        && !name.starts_with("transaction_")
        && !name.starts_with(OWN_PREFIX)
        && !UNTRACKED.contains(&name)
        && !NAME_LISTS.contains(&name)
}

/// After the word SHOW. `Some(None)` is a SHOW of PostgreSQL's.
pub(crate) fn show(cursor: &mut Cursor<'_>) -> Option<Option<Detail>> {
    if cursor.accept("all") {
        return Some(None);
    }
    if cursor.accept("session") {
        return cursor.accept("authorization").then_some(None);
    }
    let name = setting_name(cursor)?;
    Some(name.strip_prefix(OWN_PREFIX).map(|own| Detail::ShowOwn { name: own.to_owned() }))
}

struct Assignment {
    name: String,
    value: SetValue,
    local: bool,
}

fn named(cursor: &Cursor<'_>, start: usize, assignment: Assignment) -> Setting {
    let Assignment { name, value, local } = assignment;
    if let Some(own) = name.strip_prefix(OWN_PREFIX) {
        return Setting::Tracked(Detail::SetOwn { name: own.to_owned(), value, local });
    }
    match name.as_str() {
        // Whatever is not plainly on may write.
        "transaction_read_only" => {
            let read_only = Some(matches!(&value, SetValue::Text(text) if is_on(text)));
            Setting::Transaction(Detail::SetTransaction { read_only, isolation: None })
        }
        "transaction_isolation" => {
            let isolation = match &value {
                SetValue::Text(text) => isolation(text),
                SetValue::Default => None,
            };
            Setting::Transaction(Detail::SetTransaction { read_only: None, isolation })
        }
        "transaction_deferrable" => {
            Setting::Transaction(Detail::SetTransaction { read_only: None, isolation: None })
        }
        name if UNTRACKED.contains(&name) => Setting::Untracked,
        _ => {
            let text = cursor.text[start..cursor.taken].to_owned();
            Setting::Tracked(Detail::Set { name, value, local, text })
        }
    }
}

/// What SET SESSION CHARACTERISTICS does, as PostgreSQL's manual has it: a SET of each mode's default.
fn characteristics(modes: transaction::Modes) -> Vec<Detail> {
    let on_or_off = |on: bool| if on { "on" } else { "off" };
    let isolation = modes.isolation.map(|isolation| match isolation {
        Isolation::Serializable => "serializable",
        Isolation::RepeatableRead => "repeatable read",
        Isolation::ReadCommitted => "read committed",
        Isolation::ReadUncommitted => "read uncommitted",
    });
    let said = [
        ("isolation", isolation),
        ("read_only", modes.read_only.map(on_or_off)),
        ("deferrable", modes.deferrable.map(on_or_off)),
    ];
    let set = |(mode, value): (&str, Option<&str>)| {
        let value = value?;
        let text = format!("SET default_transaction_{mode} = '{value}'");
        let name = format!("default_transaction_{mode}");
        Some(Detail::Set { name, value: SetValue::Text(value.to_owned()), local: false, text })
    };
    said.into_iter().filter_map(set).collect()
}

fn set_transaction(cursor: &mut Cursor<'_>) -> Option<Setting> {
    if cursor.accept("snapshot") {
        return cursor.accept_kind(Kind::String).then_some(Setting::Snapshot);
    }
    if cursor.at_end() {
        return None;
    }
    let modes = transaction::modes(cursor)?;
    let detail = Detail::SetTransaction { read_only: modes.read_only, isolation: modes.isolation };
    Some(Setting::Transaction(detail))
}

/// The rest of SET ROLE and SET SESSION AUTHORIZATION.
fn skip_words(cursor: &mut Cursor<'_>) -> bool {
    while !cursor.at_end() {
        cursor.next();
    }
    true
}

/// A setting's name and value, in each of the forms.
fn assignment(cursor: &mut Cursor<'_>) -> Option<(String, SetValue)> {
    let token = cursor.peek();
    let name = setting_name(cursor)?;
    // The forms without TO.
    match name.as_str() {
        "timezone" if cursor.is(token, "time") => {
            let default = cursor.accept_any(&["local", "default"]);
            let value = if default { SetValue::Default } else { SetValue::Text(zone(cursor)?) };
            return Some((name, value));
        }
        "names" => {
            let value = if cursor.at_end() { SetValue::Default } else { values(cursor, false)? };
            return Some(("client_encoding".to_owned(), value));
        }
        "schema" if cursor.peek().kind == Kind::String => {
            return Some(("search_path".to_owned(), values(cursor, true)?));
        }
        "role" | "seed" if !cursor.is(cursor.peek(), "to") => {
            skip_words(cursor);
            return Some((name, SetValue::Default));
        }
        "xml" if cursor.accept("option") => {
            return Some(("xmloption".to_owned(), SetValue::Text(cursor.name()?)));
        }
        _ => {}
    }
    let assign = cursor.peek();
    let equals = assign.kind == Kind::Operator && cursor.slice(assign) == "=";
    if !equals && !cursor.is(assign, "to") {
        return None;
    }
    cursor.next();
    let list = NAME_LISTS.contains(&name.as_str());
    let value = values(cursor, list)?;
    Some((name, value))
}

/// A dotted name in lower case, or the two- and three-word names of settings.
fn setting_name(cursor: &mut Cursor<'_>) -> Option<String> {
    let first = cursor.peek();
    let mut name = cursor.name()?;
    if cursor.is(first, "time") && cursor.accept("zone") {
        return Some("timezone".to_owned());
    }
    if cursor.is(first, "transaction") && cursor.accept("isolation") {
        return cursor.accept("level").then(|| "transaction_isolation".to_owned());
    }
    while cursor.accept_kind(Kind::Dot) {
        name.push('.');
        name.push_str(&cursor.name()?);
    }
    name.make_ascii_lowercase();
    Some(name)
}

/// `DEFAULT`, or values with commas between them.
fn values(cursor: &mut Cursor<'_>, names: bool) -> Option<SetValue> {
    if cursor.accept("default") {
        return Some(SetValue::Default);
    }
    let mut text = value(cursor, names)?;
    while cursor.accept_kind(Kind::Comma) {
        text.push_str(", ");
        text.push_str(&value(cursor, names)?);
    }
    Some(SetValue::Text(text))
}

fn value(cursor: &mut Cursor<'_>, names: bool) -> Option<String> {
    let token = cursor.peek();
    let value = match token.kind {
        Kind::Word | Kind::QuotedWord => cursor.name()?,
        Kind::String => {
            cursor.next();
            string_value(cursor.slice(token))?
        }
        Kind::Number => {
            cursor.next();
            return Some(cursor.slice(token).to_owned());
        }
        Kind::Operator if matches!(cursor.slice(token), "+" | "-") => {
            cursor.next();
            let number = cursor.peek();
            let sign = if cursor.slice(token) == "-" { "-" } else { "" };
            return cursor.accept_kind(Kind::Number).then(|| format!("{sign}{}", cursor.slice(number)));
        }
        _ => return None,
    };
    Some(if names { quoted(&value) } else { value })
}

/// A time zone, which may be an interval with its fields.
fn zone(cursor: &mut Cursor<'_>) -> Option<String> {
    if !cursor.is(cursor.peek(), "interval") {
        return value(cursor, false);
    }
    let start = cursor.next().start;
    let mut end = start;
    while !cursor.at_end() {
        let token = cursor.next();
        if token.kind == Kind::Bad {
            return None;
        }
        end = token.end;
    }
    Some(cursor.text[start..end].to_owned())
}

/// `quote_identifier` of PostgreSQL, but for key words, which need no quotes in a list of names.
fn quoted(name: &str) -> String {
    let plain = name.bytes().enumerate().all(|(i, byte)| match byte {
        b'a'..=b'z' | b'_' => true,
        b'0'..=b'9' => i > 0,
        _ => false,
    });
    if plain && !name.is_empty() { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

/// `parse_bool` of PostgreSQL, for true.
fn is_on(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    let begins = |word: &str| !text.is_empty() && word.starts_with(&text);
    text == "1" || text == "on" || begins("true") || begins("yes")
}

fn isolation(text: &str) -> Option<Isolation> {
    match text.to_ascii_lowercase().as_str() {
        "serializable" => Some(Isolation::Serializable),
        "repeatable read" => Some(Isolation::RepeatableRead),
        "read committed" => Some(Isolation::ReadCommitted),
        "read uncommitted" => Some(Isolation::ReadUncommitted),
        _ => None,
    }
}
