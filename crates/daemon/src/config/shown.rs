//! The settings in force as text, for `SHOW CONFIG`: what was written or, where nothing was, the default. No secrets, and
//! nothing of the tables that can stand several times: the console has tables of its own for those.

use super::env::is_scalar;
use super::file::{Table, default_of};
use super::keys::Section;
use super::mistake::Place;
use super::value::Value;

/// One setting.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ShownSetting {
    /// Its name; PgBouncer's settings stand alone, others behind their section.
    pub key: String,
    /// Its value.
    pub value: String,
    /// What it would be if nothing was written.
    pub default: Option<String>,
    /// Whether a reload applies a new value; else a restart does.
    pub changeable: bool,
}

/// Keys that are looked at only when the router starts.
const NEED_RESTART: [&str; 5] = ["listen", "http", "workers", "level", "format"];

/// All of them, in the order of the table of keys. `workers` is the number in force, which the machine tells when nothing is written.
pub(super) fn shown(top: &Table, workers: u16) -> Vec<ShownSetting> {
    let mut all = of_section(top, "");
    for setting in all.iter_mut().filter(|setting| setting.key == "workers") {
        setting.value = workers.to_string();
    }
    for (section, title) in Section::SINGLE {
        let empty = Table::empty(section, Place::Nowhere);
        let table = top.tables(title).first().unwrap_or(&empty);
        // PgBouncer has one flat section, and tools look for its names.
        let prefix = if section == Section::Pool { String::new() } else { format!("{title}.") };
        all.extend(of_section(table, &prefix));
    }
    all
}

fn of_section(table: &Table, prefix: &str) -> Vec<ShownSetting> {
    let shown = table.section.keys().filter(|key| is_scalar(key)).map(|key| ShownSetting {
        key: format!("{prefix}{}", key.name),
        value: table.value(key.name).and_then(|value| text(&value)).unwrap_or_default(),
        default: default_of(table.section, key.name).and_then(|value| text(&value)),
        changeable: !NEED_RESTART.contains(&key.name),
    });
    shown.collect()
}

fn text(value: &Value) -> Option<String> {
    let list = |items: Vec<String>| items.join(", ");
    match value {
        Value::Text(text) => Some(text.clone()),
        Value::Flag(flag) => Some(flag.to_string()),
        Value::Count(n) => Some(n.to_string()),
        // Seconds, as PgBouncer shows its timeouts.
        Value::Duration(duration) => Some(duration.as_secs_f64().to_string()),
        Value::Words(words) => Some(words.join(", ")),
        Value::Addresses(addresses) if addresses.is_empty() => Some("off".to_owned()),
        Value::Addresses(addresses) => Some(list(addresses.iter().map(ToString::to_string).collect())),
        Value::Names(names) => Some(list(names.clone())),
        Value::Secret(_) | Value::Tables(_) => None,
    }
}
