//! The reference page and the JSON schema, made from the table of keys.

use std::fmt::Write as _;

use serde_json::{Map, Value as Json, json};

use super::env;
use super::keys::{Key, Kind, Section};

/// The text of `docs/config.md`.
pub fn reference() -> String {
    let mut page = String::from(INTRODUCTION);
    for section in Section::ALL {
        let _ = write!(page, "\n## {}\n\n", heading(section));
        page.push_str("| key | type | default | meaning |\n|---|---|---|---|\n");
        for key in section.keys() {
            let default = if key.default.is_empty() { String::new() } else { format!("`{}`", key.default) };
            let kind = cell(&key.kind.expected());
            let _ = writeln!(page, "| `{}` | {kind} | {default} | {} |", key.name, cell(key.doc));
        }
    }
    page.push_str("\n## Environment\n\n");
    page.push_str(ENVIRONMENT);
    page.push_str("\n| variable | key |\n|---|---|\n");
    for (name, key) in env::variables() {
        let _ = writeln!(page, "| `HIGHWATER_{name}` | `{}` of {} |", key.name, heading(key.section));
    }
    page
}

const INTRODUCTION: &str = "\
# Configuration

<!-- Made from crates/daemon/src/config/keys.rs; `UPDATE_DOCS=1 cargo test -p daemon config` writes it anew. -->

Highwater is told what to do by a TOML file, by the environment and by flags; the file is overruled by the environment,
and the environment by flags. Every key is optional but a cluster's `name` and `nodes` (or `discover`). Unknown keys and bad values are
errors, all of them reported together with line and column (`highwater check`). A changed file is applied by SIGHUP or
`RELOAD`; a file with mistakes changes nothing.

Durations are written as `\"10s\"`, `\"500ms\"`, `\"2min\"`, `\"1h\"` or `\"1d\"`, or as a number of seconds; sizes as `\"64kB\"`, `\"256MB\"`
or `\"1GB\"` (powers of 1024), or as a number of bytes. A file that holds a secret must not be readable by others than its owner
and group, nor writable by its group (mode 0640 or less).
";

const ENVIRONMENT: &str = "\
`HIGHWATER_PRIMARY` is the connection string of the primary and `HIGHWATER_REPLICA` those of replicas, separated by commas;
they take the place of the only cluster's nodes, and their user and password become the monitor's and a `[[user]]`.
Lists are separated by commas. `HIGHWATER_MONITOR__…` holds for every cluster. Another variable that begins with `HIGHWATER_` is a mistake if
it has `__` in it or is nearly one of these; the rest are left alone, since Kubernetes makes some for a service of that name.
";

fn heading(section: Section) -> String {
    match section {
        Section::Top => "Top of the file".into(),
        Section::Node => "Nodes of a cluster (`nodes = [{ … }]`)".into(),
        Section::Discover => "Where nodes are found (`discover = { … }`)".into(),
        Section::Monitor => "Monitor of a cluster (`monitor = { … }`)".into(),
        other => format!("`{}`", other.title()),
    }
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

/// A JSON schema of the file, for editors.
pub fn json_schema() -> String {
    let mut schema = table_schema(Section::Top);
    if let Json::Object(object) = &mut schema {
        object.insert("$schema".into(), json!("https://json-schema.org/draft/2020-12/schema"));
        object.insert("title".into(), json!("Highwater's configuration"));
    }
    serde_json::to_string_pretty(&schema).expect("a tree of texts and numbers has a JSON form")
}

fn table_schema(section: Section) -> Json {
    let properties: Map<String, Json> =
        section.keys().map(|key| (key.name.to_owned(), key_schema(key))).collect();
    json!({ "type": "object", "additionalProperties": false, "properties": properties })
}

fn key_schema(key: &Key) -> Json {
    let mut schema = match key.kind {
        Kind::Text | Kind::Secret | Kind::Address => json!({ "type": "string" }),
        Kind::Flag => json!({ "type": "boolean" }),
        Kind::Count(min, max) => json!({ "type": "integer", "minimum": min, "maximum": max }),
        Kind::Bytes(..) => json!({ "type": ["string", "integer"] }),
        Kind::Duration => json!({ "type": ["string", "number"], "minimum": 0 }),
        Kind::Choice(words) => json!({ "enum": words }),
        Kind::Choices(words) => json!({ "type": "array", "items": { "enum": words } }),
        Kind::Addresses => json!({ "type": ["string", "array"], "items": { "type": "string" } }),
        Kind::Names | Kind::Words => json!({ "type": "array", "items": { "type": "string" } }),
        Kind::Nodes => {
            let node = json!({ "anyOf": [{ "type": "string" }, table_schema(Section::Node)] });
            json!({ "type": "array", "items": node })
        }
        Kind::One(section) => table_schema(section),
        Kind::Many(section) => json!({ "type": "array", "items": table_schema(section) }),
    };
    if let Json::Object(object) = &mut schema {
        object.insert("description".into(), json!(key.doc));
        if !key.default.is_empty() {
            object.insert("default".into(), json!(key.default));
        }
    }
    schema
}
