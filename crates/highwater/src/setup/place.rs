//! The directory of a local cluster: where everything lies in it, its marker file, and its lock.
//!
//! ```text
//! DIR/highwater.json     what is here: version, ports, passwords (readable by its owner only)
//! DIR/highwater.toml     the router's configuration, written at every start
//! DIR/highwater.lock     held while `up` runs
//! DIR/primary, DIR/replica-1, …   PostgreSQL data directories
//! DIR/log/               what each PostgreSQL prints
//! DIR/run/               Unix sockets
//! ```
//!
//! Does not know what PostgreSQL keeps in its data directories.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::Context;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use super::account::{Account, is_root};
use crate::{environment, failure};

/// The layout this program writes; another one belongs to another version.
const FORMAT: u32 = 1;
const MARKER: &str = "highwater.json";
const LOCK: &str = "highwater.lock";
const DRAFT: &str = ".highwater.new";

/// Where `highwater replica` keeps its own, in the same directory when nobody says otherwise.
pub(crate) const REPLICAS: &str = "replicas";

/// Longest path of a Unix socket that PostgreSQL accepts, in bytes (`sun_path` is 108 with its final zero).
const SOCKET_PATH_BYTES_MAX: usize = 107;

/// What an earlier run has left in the directory.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Marker {
    format: u32,
    /// First number of the PostgreSQL version that made the data.
    pub(crate) postgres_major: u32,
    /// The primary's port and whether its data is complete.
    pub(crate) primary: NodeRecord,
    /// True when roles, database and sample data are there.
    pub(crate) filled: bool,
    /// The replicas, the first is number 1.
    pub(crate) replicas: Vec<NodeRecord>,
    /// Passwords of the roles.
    pub(crate) passwords: Passwords,
}

/// What is remembered of one node.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct NodeRecord {
    /// The port it had last.
    pub(crate) port: u16,
    /// True when its data directory was finished: the primary's by `initdb`, a replica's when it first took connections.
    pub(crate) complete: bool,
}

/// Generated on the first run.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Passwords {
    /// Of the super-user `highwater`, who may also use the console.
    pub(crate) superuser: String,
    /// Of the role `app`.
    pub(crate) app: String,
    /// Of the role the router's monitor uses.
    pub(crate) monitor: String,
}

impl Marker {
    /// For a directory in which nothing is there yet.
    pub(crate) fn new(postgres_major: u32, port: u16) -> anyhow::Result<Marker> {
        Ok(Marker {
            format: FORMAT,
            postgres_major,
            primary: NodeRecord { port, complete: false },
            filled: false,
            replicas: Vec::new(),
            passwords: Passwords { superuser: password()?, app: password()?, monitor: password()? },
        })
    }
}

/// The directory, locked for as long as this value lives.
#[derive(Debug)]
pub(crate) struct Place {
    root: PathBuf,
    _lock: File,
    temporary: Option<tempfile::TempDir>,
    sockets_elsewhere: Option<tempfile::TempDir>,
}

impl Place {
    /// A directory under the system's temporary directory that is removed by [`Place::remove_if_temporary`].
    pub(crate) fn temporary() -> anyhow::Result<Place> {
        let directory = tempfile::Builder::new()
            .prefix("highwater-")
            .permissions(Permissions::from_mode(0o711))
            .tempdir()
            .with_context(|| format!("can't make a directory in {}", std::env::temp_dir().display()))?;
        let root = directory.path().to_path_buf();
        let lock = lock(&root)?;
        Ok(Place { root, _lock: lock, temporary: Some(directory), sockets_elsewhere: None })
    }

    /// Opens or makes `directory`; one that has something else in it is refused.
    pub(crate) fn open(directory: &Path, account: &Account) -> anyhow::Result<Place> {
        let root = std::path::absolute(directory)?;
        refuse_blocked(&root, account)?;
        make_directory(&root, 0o755)?;
        let root = root.canonicalize()?;
        if !root.join(MARKER).exists() && !is_unused(&root)? {
            return Err(failure::usage(format!(
                "{} has something in it that `highwater up` did not make (there is no {MARKER}): choose another \
                 directory with --dir",
                root.display()
            )));
        }
        let lock = lock(&root)?;
        Ok(Place { root, _lock: lock, temporary: None, sockets_elsewhere: None })
    }

    /// The directory itself.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The data directory of a node.
    pub(crate) fn data(&self, node: &str) -> PathBuf {
        self.root.join(node)
    }

    /// Where a node's output goes.
    pub(crate) fn log(&self, node: &str) -> PathBuf {
        self.root.join("log").join(format!("{node}.log"))
    }

    /// The directory of the Unix sockets: `DIR/run`, or a temporary one when sockets cannot be there.
    pub(crate) fn sockets(&self) -> PathBuf {
        self.sockets_elsewhere.as_ref().map_or_else(|| self.root.join("run"), |t| t.path().to_path_buf())
    }

    /// Makes the directories beside the data directories and gives them to who runs PostgreSQL.
    pub(crate) fn prepare(&mut self, account: &Account) -> anyhow::Result<()> {
        refuse_blocked(&self.root, account)?;
        if !fits_sockets(&self.root.join("run")) {
            let directory = tempfile::Builder::new().prefix("highwater-").tempdir();
            self.sockets_elsewhere = Some(directory.context("can't make a directory for the Unix sockets")?);
        }
        let sockets = self.sockets();
        make_directory(&sockets, 0o700)?;
        account.own(&sockets)?;
        make_directory(&self.root.join("log"), 0o755)
    }

    /// An empty data directory for `node`, for PostgreSQL only.
    pub(crate) fn make_data(&self, node: &str, account: &Account) -> anyhow::Result<()> {
        let data = self.data(node);
        make_directory(&data, 0o700)?;
        account.own(&data)
    }

    /// Removes the data directory of `node`, if there is one.
    pub(crate) fn clear_data(&self, node: &str) -> anyhow::Result<()> {
        let data = self.data(node);
        match fs::remove_dir_all(&data) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(error).with_context(|| format!("can't remove {}", data.display()))
            }
            _ => Ok(()),
        }
    }

    /// What an earlier run has written, if there was one.
    pub(crate) fn marker(&self) -> anyhow::Result<Option<Marker>> {
        let path = self.root.join(MARKER);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("can't read {}", path.display())),
        };
        read_marker(&text).map(Some).map_err(|why| {
            failure::usage(format!("{}: {why}; choose another directory with --dir", path.display()))
        })
    }

    /// Writes the marker.
    pub(crate) fn write_marker(&self, marker: &Marker) -> anyhow::Result<()> {
        self.write(MARKER, &serde_json::to_string_pretty(marker)?).map(|_| ())
    }

    /// Writes the router's configuration and says where.
    pub(crate) fn write_configuration(&self, text: &str) -> anyhow::Result<PathBuf> {
        self.write("highwater.toml", text)
    }

    /// Writes a file that only its owner can read, whole or not at all.
    fn write(&self, name: &str, text: &str) -> anyhow::Result<PathBuf> {
        let (path, draft) = (self.root.join(name), self.root.join(DRAFT));
        let written = || -> std::io::Result<()> {
            let mut file =
                OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&draft)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&draft, &path)
        };
        written().with_context(|| format!("can't write {}", path.display()))?;
        Ok(path)
    }

    /// Removes a temporary directory with all that is in it; leaves any other alone.
    pub(crate) fn remove_if_temporary(self) -> anyhow::Result<()> {
        match self.temporary {
            Some(directory) => {
                directory.close().with_context(|| format!("can't remove {}", self.root.display()))
            }
            None => Ok(()),
        }
    }
}

/// Where the cluster is kept when nobody says: system-wide for root, else among the user's own data.
pub(crate) fn default_directory() -> anyhow::Result<PathBuf> {
    if is_root() {
        return Ok(PathBuf::from("/var/lib/highwater"));
    }
    let absolute =
        |name: &str| environment::variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_DATA_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/share")))
        .map(|data| data.join("highwater"))
        .ok_or_else(|| failure::usage("neither XDG_DATA_HOME nor HOME is set: say where with --dir DIR"))
}

fn read_marker(text: &str) -> Result<Marker, String> {
    #[derive(Deserialize)]
    struct Format {
        format: u32,
    }
    let Format { format } = serde_json::from_str(text).map_err(|_| "not written by highwater".to_owned())?;
    if format != FORMAT {
        return Err(format!("written by another version of highwater (format {format}, here {FORMAT})"));
    }
    serde_json::from_str(text).map_err(|error| format!("damaged ({error})"))
}

/// True when there is nothing but our own lock, a half-written marker, `highwater replica`'s, or what `mkfs` leaves.
fn is_unused(root: &Path) -> anyhow::Result<bool> {
    let entries = fs::read_dir(root).with_context(|| format!("can't read {}", root.display()))?;
    Ok(entries
        .flatten()
        .all(|e| [LOCK, DRAFT, REPLICAS, "lost+found"].iter().any(|name| e.file_name() == *name)))
}

pub(crate) fn make_directory(path: &Path, mode: u32) -> anyhow::Result<()> {
    let made = fs::create_dir_all(path).and_then(|()| {
        // A directory that somebody else made keeps its mode, as long as it can be used.
        if fs::read_dir(path)?.next().is_none() {
            fs::set_permissions(path, Permissions::from_mode(mode))
        } else {
            Ok(())
        }
    });
    made.with_context(|| format!("can't make or use the directory {}", path.display()))
}

fn lock(root: &Path) -> anyhow::Result<File> {
    let path = root.join(LOCK);
    let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
    let file = file.map_err(|error| match error.kind() {
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => failure::failed(format!(
            "{} is not writable ({error}): choose another directory with --dir, or change its owner",
            root.display()
        )),
        _ => anyhow::Error::new(error).context(format!("can't make {}", path.display())),
    })?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(failure::failed(format!(
            "another `highwater up` is running in {}: stop it, or choose another directory with --dir (and another \
             --port)",
            root.display()
        ))),
        Err(error) => Err(error).with_context(|| format!("can't lock {}", path.display())),
    }
}

pub(crate) fn refuse_blocked(directory: &Path, account: &Account) -> anyhow::Result<()> {
    let (Some(at), Account::Other { name, .. }) = (account.blocked_at(directory), account) else {
        return Ok(());
    };
    Err(failure::failed(format!(
        "PostgreSQL runs as user {name} here, who may not pass through {}: choose a directory outside of it with --dir",
        at.display()
    )))
}

/// True when sockets can be there: the path of the longest name, `.s.PGSQL.` and five digits, is short enough, and
/// holds no character that ends a name in a list of directories or of hosts, or that is not UTF-8.
pub(crate) fn fits_sockets(directory: &Path) -> bool {
    let length = directory.as_os_str().len() + "/.s.PGSQL.65535".len();
    length <= SOCKET_PATH_BYTES_MAX && directory.to_str().is_some_and(|path| !path.contains([',', '"']))
}

/// 96 random bits in hexadecimal: no character that a DSN, SQL or a shell would have to escape.
pub(crate) fn password() -> anyhow::Result<String> {
    let mut bytes = [0_u8; 12];
    getrandom::fill(&mut bytes).map_err(|error| failure::failed(format!("no random numbers: {error}")))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::{Status, status_of};

    #[test]
    fn a_marker_is_read_back_as_it_was_written() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let place = Place::open(directory.path(), &Account::Caller).expect("it is empty");
        assert_eq!(place.marker().expect("readable"), None);
        let marker = Marker::new(15, 6442).expect("random numbers");
        place.write_marker(&marker).expect("writable");
        assert_eq!(place.marker().expect("readable"), Some(marker));
    }

    #[test]
    fn a_directory_with_something_else_in_it_is_refused_as_a_usage_error() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        fs::write(directory.path().join("PG_VERSION"), "15\n").expect("writable");
        let error = Place::open(directory.path(), &Account::Caller).expect_err("it is foreign");
        assert_eq!(status_of(&error), Status::Usage);
    }

    #[test]
    fn a_directory_is_used_by_one_run_at_a_time() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let open = || Place::open(directory.path(), &Account::Caller);
        let first = open().expect("it is empty");
        assert_eq!(status_of(&open().expect_err("locked")), Status::Failed);
        drop(first);
        open().expect("free again");
    }

    #[test]
    fn sockets_go_elsewhere_when_their_path_is_too_long_or_would_be_two() {
        assert!(fits_sockets(Path::new("/var/lib/highwater/run")));
        assert!(fits_sockets(Path::new("/home/it's me/run")));
        assert!(!fits_sockets(Path::new("/a,b/run")));
        assert!(!fits_sockets(Path::new(&"/x".repeat(50))));
    }

    #[test]
    fn a_marker_of_another_version_is_named_as_such() {
        assert!(read_marker("{\"format\": 99}").expect_err("newer").contains("another version"));
        assert!(read_marker("hello").expect_err("no JSON").contains("not written by highwater"));
    }
}
