//! The configuration: file, environment and flags in, [`Settings`] or every [`Mistake`] out.
//!
//! As written (`file`, `env`, `dsn`: names, types and places) becomes as meant (`resolve`: what belongs
//! together). All keys are declared once, in `keys`. The environment and the flags are handed in: nothing here asks
//! the process for them, and nothing remembers what was read.

mod dsn;
mod env;
mod file;
mod keys;
mod mistake;
mod reference;
mod resolve;
mod secret;
mod settings;
mod shown;
mod userlist;
mod value;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(crate) use mistake::nearest;
pub use mistake::{Mistake, Mistakes, Place};
pub use reference::{json_schema, reference};
pub(crate) use settings::{AURORA, SERVER_ID, address};
pub use settings::{
    AdminSettings, AuthSettings, AuthType, ClusterSettings, ConnectSettings, DatabaseName, DatabaseSettings,
    DiscoverSettings, DoorSettings, LogFormat, LogLevel, LogSettings, MonitorSettings, NodeSettings,
    ReadyWhen, ServerMethod, Settings, SourceSettings, Suffixes, UserSecret, UserSettings,
};
pub use shown::ShownSetting;
pub(crate) use value::host_port;

/// What the command line said. No `Debug`: connection strings hold passwords.
#[derive(Clone, Default)]
pub struct Overrides {
    /// `--primary`: a connection string.
    pub primary: Option<String>,
    /// `--replica`, as often as given: connection strings.
    pub replicas: Vec<String>,
    /// `--listen`.
    pub listen: Option<String>,
    /// `--http`.
    pub http: Option<String>,
}

/// Where a configuration came from, so that it can be read again.
#[derive(Clone, Default)]
pub struct Source {
    /// The file, if there was one.
    pub path: Option<PathBuf>,
    /// The process's environment, as it was at the start.
    pub env: BTreeMap<String, String>,
    /// The command line.
    pub overrides: Overrides,
}

impl Source {
    /// Reads everything anew.
    ///
    /// # Errors
    /// All mistakes found.
    pub fn load(&self) -> Result<Settings, Mistakes> {
        load(self.path.as_deref(), self.env.clone(), &self.overrides)
    }
}

/// Largest configuration file read, in bytes.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Reads a configuration: the file, over it the environment, over that the flags.
///
/// # Errors
/// All mistakes found, with their places.
pub fn load(
    path: Option<&Path>,
    env: impl IntoIterator<Item = (String, String)>,
    overrides: &Overrides,
) -> Result<Settings, Mistakes> {
    let Some(path) = path else {
        return resolve_all(None, env.into_iter().collect(), overrides);
    };
    let name: Arc<str> = path.display().to_string().into();
    match read_file(path) {
        Ok(text) => resolve_all(Some((&name, &text)), env.into_iter().collect(), overrides),
        Err(why) => {
            let mut mistakes = Mistakes::default();
            mistakes.add(&Place::WholeFile(name), why);
            Err(mistakes)
        }
    }
}

/// As [`load`], with the file's text in hand; `name` is what it is called in messages and, if it is the path of a
/// file, whose mode is looked at when the text holds secrets.
///
/// # Errors
/// All mistakes found, with their places.
pub fn load_text(
    name: &str,
    text: &str,
    env: impl IntoIterator<Item = (String, String)>,
    overrides: &Overrides,
) -> Result<Settings, Mistakes> {
    resolve_all(Some((&name.into(), text)), env.into_iter().collect(), overrides)
}

fn resolve_all(
    text: Option<(&Arc<str>, &str)>,
    env: BTreeMap<String, String>,
    overrides: &Overrides,
) -> Result<Settings, Mistakes> {
    let mut mistakes = Mistakes::default();
    let read = match text {
        Some((name, text)) => file::read(name, text, &mut mistakes),
        None => Some(file::Table::empty(keys::Section::Top, Place::Nowhere)),
    };
    let broken = read.is_none();
    let mut top = read.unwrap_or_else(|| file::Table::empty(keys::Section::Top, Place::Nowhere));
    let mut dsns = env::overlay(&mut top, &env, &mut mistakes);
    flags(&mut top, overrides, &mut dsns, &mut mistakes);
    // What is missing from a file that could not be read whole says nothing about the file.
    if broken {
        return Err(mistakes.sorted());
    }
    let settings = resolve::resolve(&top, &dsns, &env, &mut mistakes);
    if mistakes.is_empty() { Ok(settings) } else { Err(mistakes.sorted()) }
}

fn flags(top: &mut file::Table, overrides: &Overrides, dsns: &mut env::Dsns, mistakes: &mut Mistakes) {
    if overrides.primary.is_some() || !overrides.replicas.is_empty() {
        *dsns = env::Dsns::default();
    }
    if let Some(primary) = &overrides.primary {
        dsns.add(primary, Place::Flag("--primary"), mistakes);
    }
    for replica in &overrides.replicas {
        dsns.add(replica, Place::Flag("--replica"), mistakes);
    }
    for (name, flag, text) in [("listen", "--listen", &overrides.listen), ("http", "--http", &overrides.http)]
    {
        let Some(text) = text else { continue };
        let key = keys::Section::Top.key(name).expect("a key of the table");
        match value::from_text(key.kind, text) {
            Ok(value) => top.set(key, value, Place::Flag(flag)),
            Err(refusal) => mistakes.add(&Place::Flag(flag), refusal.message),
        }
    }
}

fn read_file(path: &Path) -> Result<String, String> {
    let metadata = std::fs::metadata(path).map_err(|e| format!("can't be read: {e}"))?;
    if metadata.len() > FILE_BYTES_MAX {
        return Err(format!("is larger than {FILE_BYTES_MAX} bytes: surely not a configuration file"));
    }
    let bytes = std::fs::read(path).map_err(|e| format!("can't be read: {e}"))?;
    String::from_utf8(bytes).map_err(|e| format!("is not UTF-8 at byte {}", e.utf8_error().valid_up_to()))
}
