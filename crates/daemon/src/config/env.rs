//! The environment's say: `HIGHWATER_LISTEN`, `HIGHWATER_READS__MAX_STALENESS`, … over what the file says.
//!
//! The environment is handed in as pairs; nothing here asks the process for it. Names that are not ours are left
//! alone, because Kubernetes puts `HIGHWATER_SERVICE_HOST` and its like there for a service of that name.

use std::collections::BTreeMap;

use super::dsn;
use super::file::Table;
use super::keys::{Key, Kind, Section};
use super::mistake::{Mistakes, Place, nearest};
use super::value::{Value, from_text};

const PREFIX: &str = "HIGHWATER_";

/// DSNs named in the environment or by flags.
#[derive(Clone, Debug, Default)]
pub(super) struct Dsns {
    /// Of the primary, then of the replicas, each with where it was said.
    pub(super) all: Vec<(dsn::Dsn, Place)>,
}

/// Lays the environment over the file.
pub(super) fn overlay(top: &mut Table, env: &BTreeMap<String, String>, mistakes: &mut Mistakes) -> Dsns {
    let mut dsns = Dsns::default();
    for name in ["HIGHWATER_PRIMARY", "HIGHWATER_REPLICA"] {
        let place = Place::Environment(name.to_owned());
        for text in env.get(name).map(|text| dsn::split(text)).unwrap_or_default() {
            dsns.add(&text, place.clone(), mistakes);
        }
    }
    for (name, text) in env {
        let Some(rest) = name.strip_prefix(PREFIX) else { continue };
        if matches!(rest, "PRIMARY" | "REPLICA") {
            continue;
        }
        let place = Place::Environment(name.clone());
        match find(rest) {
            Some((section, key)) => set(top, (section, key), text, &place, mistakes),
            None => unknown(rest, &place, mistakes),
        }
    }
    dsns
}

impl Dsns {
    /// Reads one more.
    pub(super) fn add(&mut self, text: &str, place: Place, mistakes: &mut Mistakes) {
        match dsn::parse(text) {
            Ok(dsn) => self.all.push((dsn, place)),
            Err(why) => mistakes.add(&place, why),
        }
    }
}

/// The variables and the keys they stand for, in the order of the table.
pub(super) fn variables() -> impl Iterator<Item = (String, &'static Key)> {
    let top = Section::Top.keys().filter(|key| is_scalar(key)).map(|key| (key.name.to_uppercase(), key));
    let singles = Section::SINGLE.into_iter().chain([(Section::Monitor, "monitor")]);
    let rest = singles.flat_map(|(section, title)| {
        section.keys().map(move |key| (format!("{}__{}", title.to_uppercase(), key.name.to_uppercase()), key))
    });
    top.chain(rest)
}

/// Can it be written as one word, or a list of words?
pub(super) fn is_scalar(key: &Key) -> bool {
    !matches!(key.kind, Kind::One(_) | Kind::Many(_) | Kind::Nodes)
}

fn find(rest: &str) -> Option<(Section, &'static Key)> {
    variables().find(|(name, _)| name == rest).map(|(_, key)| (key.section, key))
}

fn set(
    top: &mut Table,
    (section, key): (Section, &'static Key),
    text: &str,
    place: &Place,
    mistakes: &mut Mistakes,
) {
    let value = match from_text(key.kind, text.trim()) {
        Ok(value) => value,
        Err(refusal) => {
            mistakes.add_unknown(place, refusal.message, (text, refusal.choices.iter().copied()));
            return;
        }
    };
    match section {
        Section::Top => top.set(key, value, place.clone()),
        Section::Monitor => {
            let Some(entry) = top.entry_mut("cluster") else { return };
            if let Value::Tables(clusters) = &mut entry.value {
                for cluster in clusters {
                    single(cluster, "monitor").set(key, value.clone(), place.clone());
                }
            }
        }
        section => {
            let title = Section::SINGLE.into_iter().find(|(s, _)| *s == section).map(|(_, title)| title);
            let title = title.expect("variables() makes only these");
            single(top, title).set(key, value, place.clone());
        }
    }
}

/// The one table of this name in `table`, made if it isn't there.
pub(super) fn single<'t>(table: &'t mut Table, name: &'static str) -> &'t mut Table {
    let key = table.section.key(name).expect("a key of the table");
    let Kind::One(section) = key.kind else { unreachable!("{name} is one table") };
    if table.entry(name).is_none() {
        table.set(key, Value::Tables(vec![Table::empty(section, Place::Nowhere)]), Place::Nowhere);
    }
    match table.entry_mut(name).map(|entry| &mut entry.value) {
        Some(Value::Tables(tables)) => tables.first_mut().expect("one table was put there"),
        _ => unreachable!("{name} was just made a table"),
    }
}

/// A name of ours that we don't know is a mistake if it has a section or is nearly one of ours.
fn unknown(rest: &str, place: &Place, mistakes: &mut Mistakes) {
    let names: Vec<String> = variables().map(|(name, _)| name).collect();
    let near = nearest(rest, names.iter().map(String::as_str));
    match near {
        Some(name) => mistakes.add(place, format!("there is no such setting; did you mean {PREFIX}{name}?")),
        None if rest.contains("__") => mistakes.add(place, "there is no such setting"),
        None => {}
    }
}
