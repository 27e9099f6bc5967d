//! Where replicas live, and what is remembered of each.
//!
//! ```text
//! REGISTRY/NAME                one replica: its directory, or a link to it
//! DIR/highwater-replica.json   the record: what was made, here and on the primary
//! DIR/highwater-replica.lock   held while a command works on it
//! DIR/passfile                 the password it replicates with, for PostgreSQL's account only
//! DIR/data, DIR/run, DIR/log, DIR/tablespaces
//! ```
//!
//! The record is written before a thing is made, so that whatever was made is known, also after a `kill -9`. Data
//! directories belong to PostgreSQL's account, which is not trusted with root's rights: files in them are replaced by
//! renaming, never written through, and never read through a link.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, fchown, symlink};
use std::path::{Path, PathBuf};

use anyhow::Context;
use rustix::fs::{FlockOperation, OFlags, flock};
use serde::{Deserialize, Serialize};

use crate::failure;
use crate::setup::account::Account;
use crate::setup::place;

/// The layout this program writes.
const FORMAT: u32 = 1;
const RECORD: &str = "highwater-replica.json";
const LOCK: &str = "highwater-replica.lock";

/// Longest name of a replica, so that the names made of it fit PostgreSQL's 63 bytes.
const NAME_BYTES_MAX: usize = 40;

/// What is known of a replica.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) format: u32,
    /// Its name, also its `application_name`.
    pub(crate) name: String,
    /// How far it is.
    pub(crate) state: State,
    /// Whom it was made from.
    pub(crate) primary: Upstream,
    /// Its system identifier.
    pub(crate) system: String,
    /// Which programs run it.
    pub(crate) postgres: Programs,
    /// Where it listens.
    pub(crate) listen: String,
    /// Its TCP port.
    pub(crate) port: u16,
    /// Its slot on the primary.
    pub(crate) slot: String,
    /// The super-user who is let in by the socket in `DIR/run`.
    pub(crate) superuser: String,
    /// True when `DIR/data` holds a whole copy.
    pub(crate) copied: bool,
    /// What was made outside of the directory.
    pub(crate) outside: Outside,
}

/// How far a replica is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    /// `create` has begun and not finished.
    Making,
    /// It was seen streaming.
    Replica,
    /// `promote` has made it a primary.
    Promoted,
    /// `remove` has begun and not finished.
    Removing,
}

/// A primary, without any password.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Upstream {
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Who made the replica.
    pub(crate) user: String,
    pub(crate) database: String,
    /// Whom it replicates as.
    pub(crate) replicates_as: String,
}

/// PostgreSQL's programs.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Programs {
    pub(crate) bin: PathBuf,
    pub(crate) major: u32,
    pub(crate) version: String,
}

/// What was made outside of the replica's directory.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Outside {
    /// The role made on the primary for it.
    pub(crate) role: Option<String>,
    /// The systemd unit.
    pub(crate) unit: Option<PathBuf>,
    /// The file that names it to a router.
    pub(crate) nodes_file: Option<PathBuf>,
}

impl Record {
    /// The format of this program.
    pub(crate) const FORMAT: u32 = FORMAT;

    /// `host:port` of the replica, as a router on another machine would reach it.
    pub(crate) fn address(&self) -> String {
        let anywhere = ["*", "0.0.0.0", "::"].contains(&&*self.listen);
        let host = if anywhere { host_name() } else { self.listen.clone() };
        if host.contains(':') { format!("[{host}]:{}", self.port) } else { format!("{host}:{}", self.port) }
    }
}

fn host_name() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    if name.trim().is_empty() { "localhost".to_owned() } else { name.trim().to_owned() }
}

/// The directory of all replicas of this machine.
#[derive(Clone, Debug)]
pub(crate) struct Registry(PathBuf);

impl Registry {
    /// The one asked for, or the default.
    pub(crate) fn open(asked: Option<&Path>) -> anyhow::Result<Registry> {
        match asked {
            Some(path) => Ok(Registry(std::path::absolute(path)?)),
            None => Ok(Registry(place::default_directory()?.join(place::REPLICAS))),
        }
    }

    /// Where the registry has the replica of that name, whether it is there or not.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The names in it.
    pub(crate) fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).into_iter().flatten().flatten();
        let mut names: Vec<_> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.retain(|name| is_name(name));
        names.sort();
        names
    }

    /// The replica of that name with its record.
    pub(crate) fn find(&self, name: &str) -> anyhow::Result<(Home, Record)> {
        let known = || {
            let names = self.names();
            if names.is_empty() {
                "there is none".to_owned()
            } else {
                format!("there are: {}", names.join(", "))
            }
        };
        let home = Home::at(&self.path(name))?;
        match home.record()? {
            Some(record) => Ok((home, record)),
            None => Err(failure::usage(format!(
                "no replica is called {name} in {}: {}",
                self.0.display(),
                known()
            ))),
        }
    }

    /// Makes `home` known, if it is elsewhere.
    pub(crate) fn link(&self, name: &str, home: &Home) -> anyhow::Result<()> {
        let path = self.path(name);
        place::make_directory(&self.0, 0o755)?;
        if path.canonicalize().ok().as_deref() == Some(home.root()) {
            return Ok(());
        }
        if path.is_symlink() && !path.exists() {
            fs::remove_file(&path)?;
        }
        symlink(home.root(), &path).with_context(|| format!("can't make the link {}", path.display()))
    }

    /// Forgets a link; a directory has gone by itself.
    pub(crate) fn unlink(&self, name: &str) {
        let path = self.path(name);
        if path.is_symlink() {
            let _ = fs::remove_file(path);
        }
    }
}

/// True for a name that can be a directory, an `application_name` and a part of a systemd unit.
pub(crate) fn is_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    name.len() <= NAME_BYTES_MAX
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(plain)
}

/// One replica's directory.
#[derive(Clone, Debug)]
pub(crate) struct Home {
    root: PathBuf,
}

impl Home {
    /// The directory at `path`, by its real path if it is there. Touches nothing.
    pub(crate) fn at(path: &Path) -> anyhow::Result<Home> {
        let root = path.canonicalize().or_else(|_| std::path::absolute(path))?;
        Ok(Home { root })
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.root.join("data")
    }

    pub(crate) fn tablespaces(&self) -> PathBuf {
        self.root.join("tablespaces")
    }

    pub(crate) fn passfile(&self) -> PathBuf {
        self.root.join("passfile")
    }

    pub(crate) fn sockets(&self) -> PathBuf {
        self.root.join("run")
    }

    pub(crate) fn log(&self, name: &str) -> PathBuf {
        self.root.join("log").join(format!("{name}.log"))
    }

    /// True when there is nothing in it that we did not make.
    pub(crate) fn is_free(&self) -> bool {
        let Ok(entries) = fs::read_dir(&self.root) else { return !self.root.exists() };
        self.root.join(RECORD).exists()
            || entries.flatten().all(|e| e.file_name() == LOCK || e.file_name() == "lost+found")
    }

    /// Makes it and what is in it beside the data.
    pub(crate) fn prepare(&mut self, account: &Account) -> anyhow::Result<()> {
        place::make_directory(&self.root, 0o755)?;
        self.root = self.root.canonicalize()?;
        for private in [self.sockets(), self.tablespaces()] {
            place::make_directory(&private, 0o700)?;
            account.own(&private)?;
        }
        place::make_directory(&self.root.join("log"), 0o755)
    }

    /// Empties the data directory and its tablespaces.
    pub(crate) fn clear_data(&self, account: &Account) -> anyhow::Result<()> {
        for directory in [self.data(), self.tablespaces()] {
            remove_directory(&directory)?;
            place::make_directory(&directory, 0o700)?;
            account.own(&directory)?;
        }
        Ok(())
    }

    /// Holds the directory for this process.
    pub(crate) fn lock(&self) -> anyhow::Result<File> {
        let path = self.root.join(LOCK);
        let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
        let file = file.map_err(|error| {
            failure::failed(format!("{} can't be written ({error}): run this as its owner", path.display()))
        })?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(file),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(failure::failed(format!(
                "another `highwater replica` is at work in {}: wait for it, or stop it",
                self.root.display()
            ))),
            Err(error) => Err(error).with_context(|| format!("can't lock {}", path.display())),
        }
    }

    /// What was recorded, if anything.
    pub(crate) fn record(&self) -> anyhow::Result<Option<Record>> {
        let path = self.root.join(RECORD);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                return Ok(None);
            }
            Err(error) => {
                return Err(failure::failed(format!(
                    "{} can't be read ({error}): run this as the user who made the replica",
                    path.display()
                )));
            }
        };
        let record: Record = serde_json::from_str(&text).map_err(|error| {
            failure::failed(format!(
                "{} is damaged or of another version of highwater ({error})",
                path.display()
            ))
        })?;
        if record.format != FORMAT {
            let (format, path) = (record.format, path.display());
            return Err(failure::failed(format!(
                "{path} was written by another version of highwater (format {format})"
            )));
        }
        Ok(Some(record))
    }

    /// Remembers.
    pub(crate) fn write(&self, record: &Record) -> anyhow::Result<()> {
        let text = serde_json::to_string_pretty(record)?;
        put(&self.root.join(RECORD), &format!("{text}\n"), 0o600, &Account::Caller)
    }

    /// Removes all of it; with `keep_data`, all but the data.
    pub(crate) fn remove(&self, keep_data: bool) -> anyhow::Result<()> {
        if !keep_data {
            remove_directory(&self.data())?;
            remove_directory(&self.tablespaces())?;
        }
        for directory in [self.sockets(), self.root.join("log")] {
            remove_directory(&directory)?;
        }
        for file in [self.passfile(), self.root.join(RECORD), self.root.join(LOCK)] {
            remove_file(&file)?;
        }
        if !keep_data {
            match fs::remove_dir(&self.root) {
                Err(error)
                    if !matches!(
                        error.kind(),
                        ErrorKind::NotFound | ErrorKind::DirectoryNotEmpty | ErrorKind::ResourceBusy
                    ) =>
                {
                    return Err(error).with_context(|| format!("can't remove {}", self.root.display()));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Removes a file; that there is none is fine.
pub(crate) fn remove_file(path: &Path) -> anyhow::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("can't remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

fn remove_directory(path: &Path) -> anyhow::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("can't remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// Writes a file, whole or not at all, and gives it to `account`.
pub(crate) fn put(path: &Path, text: &str, mode: u32, account: &Account) -> anyhow::Result<()> {
    let draft = path.with_extension("highwater-draft");
    let written = || -> std::io::Result<()> {
        let _ = fs::remove_file(&draft);
        let mut file = OpenOptions::new().create_new(true).write(true).mode(mode).open(&draft)?;
        if let Account::Other { uid, gid, .. } = account {
            fchown(&file, Some(*uid), Some(*gid))?;
        }
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&draft, path)
    };
    written().map_err(|error| {
        let _ = fs::remove_file(&draft);
        if error.kind() == ErrorKind::StorageFull {
            return crate::setup::disk::full(path.parent().unwrap_or(path));
        }
        anyhow::Error::new(error).context(format!("can't write {}", path.display()))
    })
}

/// The text of a file that is no link; `None` when there is none.
pub(crate) fn plain_text(path: &Path) -> anyhow::Result<Option<String>> {
    let no_link = i32::try_from(OFlags::NOFOLLOW.bits()).expect("the flag is a bit of a C int");
    let read = || -> std::io::Result<String> {
        let mut text = Vec::new();
        OpenOptions::new().read(true).custom_flags(no_link).open(path)?.read_to_end(&mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    };
    match read() {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("can't read {}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_good_for_a_directory_a_slot_and_a_unit() {
        assert!(is_name("r5433") && is_name("eu-1") && is_name("r1") && is_name("a_b"));
        for bad in ["", "-x", "../x", "a/b", "A", "a b", "é", &"x".repeat(41)] {
            assert!(!is_name(bad), "{bad:?}");
        }
    }

    #[test]
    fn a_directory_with_something_else_in_it_is_not_free() {
        let place = tempfile::tempdir().expect("a temporary directory");
        let home = Home::at(place.path()).expect("it is there");
        assert!(home.is_free());
        drop(home.lock().expect("ours"));
        assert!(home.is_free());
        fs::write(place.path().join("PG_VERSION"), "15").expect("writable");
        assert!(!home.is_free());
    }

    #[test]
    fn a_link_in_a_data_directory_is_neither_read_nor_written_through() {
        let place = tempfile::tempdir().expect("a temporary directory");
        let (secret, link) = (place.path().join("secret"), place.path().join("postgresql.conf"));
        fs::write(&secret, "root's").expect("writable");
        symlink(&secret, &link).expect("writable");
        plain_text(&link).expect_err("it is a link");
        put(&link, "ours", 0o600, &Account::Caller).expect("writable");
        assert_eq!(fs::read_to_string(&secret).expect("there"), "root's");
        assert_eq!(plain_text(&link).expect("a file").as_deref(), Some("ours"));
    }

    #[test]
    fn two_commands_do_not_work_on_one_replica_at_once() {
        let place = tempfile::tempdir().expect("a temporary directory");
        let home = Home::at(place.path()).expect("it is there");
        let _held = home.lock().expect("free");
        home.lock().expect_err("held");
    }
}
