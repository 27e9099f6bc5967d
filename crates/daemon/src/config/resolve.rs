//! As written → as meant: what belongs together, what excludes what, what is missing.
//!
//! Always makes a whole [`Settings`]; it is only worth something when no mistake was added on the way.

mod auth;
mod cluster;
mod database;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::env::Dsns;
use super::file::Table;
use super::keys::Section;
use super::mistake::{Mistakes, Place};
use super::secret;
use super::settings::{
    AdminSettings, ConnectSettings, DoorSettings, LogFormat, LogLevel, LogSettings, ReadyWhen, ServerMethod,
    Settings, Suffixes,
};
use super::shown::shown;
use super::value::Value;

/// Resolves a configuration.
pub(super) fn resolve(
    top: &Table,
    dsns: &Dsns,
    env: &BTreeMap<String, String>,
    mistakes: &mut Mistakes,
) -> Settings {
    let mut resolver = Resolver { top, dsns, env, mistakes };
    resolver.check_file_mode();
    let clusters = resolver.clusters();
    let suffixes = resolver.suffixes();
    let databases = resolver.databases(&clusters);
    let auth = resolver.auth();
    let admin = AdminSettings {
        users: resolver.admin_users(&auth),
        ready_when: if top.word("ready_when") == Some("reads") {
            ReadyWhen::Reads
        } else {
            ReadyWhen::Primary
        },
        reads: resolver.reads(None),
    };
    let listen = match top.value("listen") {
        Some(Value::Addresses(addresses)) => addresses,
        _ => Vec::new(),
    };
    resolver.check_trust(&auth, &listen);
    let http = match top.value("http") {
        Some(Value::Addresses(addresses)) => addresses.first().copied(),
        _ => None,
    };
    let workers =
        top.count("workers").and_then(|count| count.try_into().ok()).unwrap_or_else(workers_of_machine);
    let pool = resolver.section("pool");
    let door = DoorSettings {
        clients_max: usize::try_from(pool.count("max_client_conn").expect("has a default"))
            .unwrap_or(usize::MAX),
        login_max: pool.duration("client_login_timeout").expect("has a default"),
    };
    if door.login_max.is_zero() {
        let place = pool.place_of("client_login_timeout").clone();
        resolver.mistakes.add(&place, "client_login_timeout: a login must have a limit");
    }
    let connect = resolver.connect(&pool);
    let log = resolver.log();
    let shown = shown(top, workers);
    Settings { listen, http, workers, clusters, databases, suffixes, auth, connect, door, admin, log, shown }
}

/// One for each core that this process may use, up to a number that serves more than most networks bring.
fn workers_of_machine() -> u16 {
    const WORKERS_UNASKED_MAX: u16 = 4;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    u16::try_from(cores).unwrap_or(u16::MAX).min(WORKERS_UNASKED_MAX)
}

struct Resolver<'a> {
    top: &'a Table,
    dsns: &'a Dsns,
    env: &'a BTreeMap<String, String>,
    mistakes: &'a mut Mistakes,
}

impl Resolver<'_> {
    /// A section that stands once; empty when nothing is written.
    fn section(&self, name: &'static str) -> Table {
        let section =
            Section::SINGLE.into_iter().find(|(_, title)| *title == name).map(|(section, _)| section);
        let section = section.expect("a single section");
        self.top.tables(name).first().cloned().unwrap_or_else(|| Table::empty(section, Place::Nowhere))
    }

    fn open_allowed(&self) -> bool {
        self.top.flag("allow_open_secrets")
    }

    fn file(&self) -> Option<&Arc<str>> {
        match &self.top.place {
            Place::File { file, .. } | Place::WholeFile(file) => Some(file),
            Place::Environment(_) | Place::Flag(_) | Place::Nowhere => None,
        }
    }

    fn check_file_mode(&mut self) {
        let Some(file) = self.file().cloned() else { return };
        if !self.top.holds_secret() || !Path::new(&*file).is_file() {
            return;
        }
        if let Err(why) = secret::check_mode(Path::new(&*file), self.open_allowed()) {
            self.mistakes.add(&Place::WholeFile(file), why);
        }
    }

    /// A path as written, relative to the file it is written in.
    fn path(&self, written: &str) -> PathBuf {
        let base = self.file().and_then(|file| Path::new(&**file).parent().map(Path::to_owned));
        base.unwrap_or_default().join(written)
    }

    fn suffixes(&mut self) -> Suffixes {
        let table = self.section("suffixes");
        let suffixes = Suffixes {
            read_only: table.text("read_only").unwrap_or_default(),
            primary: table.text("primary").unwrap_or_default(),
        };
        if suffixes.read_only == suffixes.primary && !suffixes.primary.is_empty() {
            self.mistakes.add(table.place_of("primary"), "the two suffixes must differ");
        }
        suffixes
    }

    fn connect(&mut self, pool: &Table) -> ConnectSettings {
        let methods = self.section("server_auth").words("methods");
        let methods = methods.into_iter().map(|method| match method {
            "trust" => ServerMethod::Trust,
            "md5" => ServerMethod::Md5,
            "password" => ServerMethod::Password,
            _ => ServerMethod::Scram,
        });
        let connect_max = pool.duration("server_connect_timeout").expect("has a default");
        if connect_max.is_zero() {
            let place = pool.place_of("server_connect_timeout").clone();
            self.mistakes.add(&place, "server_connect_timeout: connecting must have a limit");
        }
        ConnectSettings { methods: methods.collect(), connect_max }
    }

    fn log(&self) -> LogSettings {
        let table = self.section("log");
        let level = match table.word("level") {
            Some("error") => LogLevel::Error,
            Some("warn") => LogLevel::Warn,
            Some("debug") => LogLevel::Debug,
            Some("trace") => LogLevel::Trace,
            _ => LogLevel::Info,
        };
        let format = if table.word("format") == Some("json") { LogFormat::Json } else { LogFormat::Text };
        LogSettings { level, format }
    }

    /// A name that must be there.
    fn required(&mut self, table: &Table, name: &str) -> Option<String> {
        let text = table.text(name).filter(|text| !text.is_empty());
        if text.is_none() && (table.lacks(name) || table.entry(name).is_some()) {
            let message = format!("{}: {name} is missing", table.section.title());
            self.mistakes.add(table.place_of(name), message);
        }
        text
    }
}
