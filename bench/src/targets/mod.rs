//! What is compared: each target with its process, configured alike: one worker, sixteen connections to the server, no log of connections.

mod backends;
mod proxies;

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, bail};
use load::ask::Asked;
use tempfile::TempDir;

use crate::process::{Account, Service, run};
use crate::terminal::variable;
pub(crate) use backends::Backends;

/// How the directory of a run is called, with the number of its process behind.
const PREFIX: &str = "highwater-bench-";
/// Connections to each server.
pub(crate) const POOL_SIZE: u32 = 16;
/// Everywhere the same.
pub(crate) const USER: &str = "bench";
/// Where proxies ask for a password.
pub(crate) const PASSWORD: &str = "a password of the bench";
/// Longest time until a target answers.
const READY_MAX: Duration = Duration::from_secs(20);

/// What kind of thing a target is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    /// No proxy at all.
    Direct,
    /// HAProxy in TCP mode: moves bytes, pools nothing.
    Haproxy(PathBuf),
    /// PgBouncer of this version.
    PgBouncer(PathBuf, (u32, u32)),
    /// Highwater, with every statement on the primary.
    HighwaterOff(PathBuf),
    /// Highwater, with reads on the replica at level `session` and so many workers.
    Highwater(PathBuf, u32),
}

/// A target by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Contender {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    /// What it says of its version.
    pub(crate) version: String,
}

/// Which servers stand behind the targets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Behind {
    /// Two null backends.
    Null,
    /// PostgreSQL, primary and streaming replica, with pgbench's tables of this scale.
    Postgres { scale: u32 },
}

/// How clients log in to the targets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Auth {
    Trust,
    Scram,
}

/// A target that runs.
pub(crate) struct Target {
    pub(crate) contender: Contender,
    pub(crate) at: load::Target,
    /// None for `direct`.
    pub(crate) service: Option<Service>,
}

/// Everything that is needed to start targets.
pub(crate) struct Place {
    pub(crate) account: Account,
    directory: TempDir,
    /// The bench's own program, to run null backends with.
    pub(crate) bench: PathBuf,
}

impl Place {
    /// A new directory below this one, and copies of our own programs in it: a build during the run must not change what is measured,
    /// and another user must be able to run them.
    pub(crate) fn new(below: Option<&Path>) -> anyhow::Result<Place> {
        let below = below.map_or_else(std::env::temp_dir, Path::to_owned);
        remove_left_behind(&below);
        let directory =
            tempfile::Builder::new().prefix(&format!("{PREFIX}{}-", std::process::id())).tempdir_in(&below);
        let directory = directory.context("cannot make a directory for the servers")?;
        let account = Account::find()?;
        account.own(directory.path())?;
        let mut place = Place { account, directory, bench: PathBuf::new() };
        place.bench = place.copy(&std::env::current_exe().context("cannot find the bench's own program")?)?;
        Ok(place)
    }

    /// A file or directory of this name.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes a file that the servers' user can read.
    pub(crate) fn write(&self, name: &str, text: &str) -> anyhow::Result<PathBuf> {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.path(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        self.account.own(&path)?;
        Ok(path)
    }

    /// Copies a program.
    pub(crate) fn copy(&self, program: &Path) -> anyhow::Result<PathBuf> {
        let name = program.file_name().context("a program has a name")?.to_string_lossy().into_owned();
        let copy = (0..100).map(|number| self.path(&format!("{name}-{number}"))).find(|path| !path.exists());
        let copy = copy.context("too many copies of one program")?;
        fs::copy(program, &copy).with_context(|| format!("cannot copy {}", program.display()))?;
        self.account.own(&copy)?;
        Ok(copy)
    }
}

/// Removes the directories of runs that were killed: their names hold a process that is gone.
fn remove_left_behind(below: &Path) {
    for entry in fs::read_dir(below).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid =
            name.to_str().and_then(|name| name.strip_prefix(PREFIX)).and_then(|rest| rest.split('-').next());
        let Some(pid) = pid.and_then(|pid| pid.parse::<u32>().ok()) else { continue };
        // Also of one that has ended and that nobody has waited for.
        if fs::read_link(format!("/proc/{pid}/exe")).is_err() {
            // Somebody else's, maybe.
            let _kept = fs::remove_dir_all(entry.path());
        }
    }
}

/// An address on loopback that is free now.
pub(crate) fn free_address() -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).context("there is no free port")?;
    Ok(listener.local_addr()?)
}

impl Contender {
    /// Finds what a name stands for.
    pub(crate) fn find(
        name: &str,
        highwater: &Path,
        builds: &[(String, PathBuf)],
    ) -> anyhow::Result<Contender> {
        let ours = |kind: fn(PathBuf) -> Kind, path: &Path| -> anyhow::Result<(Kind, String)> {
            let version = run(Command::new(path).arg("--version")).with_context(|| {
                format!("build it with: cargo build --release -p highwater ({})", path.display())
            })?;
            Ok((kind(path.to_owned()), version))
        };
        let (kind, version) = match name {
            "direct" => (Kind::Direct, String::new()),
            "haproxy" => {
                let path = program("haproxy", "/usr/sbin")?;
                let version = run(Command::new(&path).arg("-v"))?;
                (Kind::Haproxy(path), first_line(&version))
            }
            "pgbouncer" => match variable("PGBOUNCER") {
                Some(path) => pgbouncer(PathBuf::from(path))?,
                None => pgbouncer(program("pgbouncer", "/usr/sbin")?)?,
            },
            "pgbouncer-system" => pgbouncer(program("pgbouncer", "/usr/sbin")?)?,
            "highwater-off" => ours(Kind::HighwaterOff, highwater)?,
            "highwater" => ours(|path| Kind::Highwater(path, 1), highwater)?,
            "highwater-2" => ours(|path| Kind::Highwater(path, 2), highwater)?,
            name => match builds.iter().find(|(known, _)| known == name) {
                Some((_, path)) => ours(|path| Kind::Highwater(path, 1), path)?,
                None => bail!(
                    "there is no target '{name}': direct, haproxy, pgbouncer, pgbouncer-system, highwater-off, highwater, highwater-2, or one named by --build"
                ),
            },
        };
        Ok(Contender { name: name.to_owned(), kind, version })
    }

    /// Whether prepared statements survive transaction pooling there.
    pub(crate) fn prepares(&self) -> bool {
        !matches!(self.kind, Kind::PgBouncer(_, version) if version < (1, 21))
    }

    /// Starts it in front of these servers and waits until it answers.
    pub(crate) fn start(&self, place: &Place, backends: &Backends, auth: Auth) -> anyhow::Result<Target> {
        let address = free_address()?;
        let start = proxies::Start { place, backends, auth, address, name: &self.name };
        let (database, service) = match &self.kind {
            Kind::Direct => {
                let at = backends.login(backends.primary.address, backends.database, Auth::Trust);
                return Ok(Target { contender: self.clone(), at, service: None });
            }
            Kind::Haproxy(program) => (backends.database, start.haproxy(program)?),
            Kind::PgBouncer(program, version) => (backends.database, start.pgbouncer(program, *version)?),
            Kind::HighwaterOff(program) => (backends.database_rw, start.highwater(program, 1)?),
            Kind::Highwater(program, workers) => (backends.database, start.highwater(program, *workers)?),
        };
        // HAProxy lets the server ask, and the servers trust.
        let auth = if matches!(self.kind, Kind::Haproxy(_)) { Auth::Trust } else { auth };
        let at = backends.login(address, database, auth);
        let mut service = service;
        service.wait_for(&self.name, READY_MAX, || self.answers(&at))?;
        Ok(Target { contender: self.clone(), at, service: Some(service) })
    }

    /// Whether it answers, from where it should.
    fn answers(&self, at: &load::Target) -> anyhow::Result<()> {
        let mut asked = Asked::open(at)?;
        asked.rows("SELECT aid + 1000000 FROM pgbench_accounts WHERE aid = 1")?;
        let wanted = match self.kind {
            Kind::Highwater(..) => "replica",
            Kind::HighwaterOff(_) => "primary",
            _ => return Ok(()),
        };
        let rows = asked.rows("SHOW highwater.last_route")?;
        let role = rows.first().and_then(|row| row.get(1)).and_then(Option::as_deref);
        if role != Some(wanted) {
            bail!("a read went to {role:?}, not to the {wanted}: {rows:?}");
        }
        Ok(())
    }
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

/// A program on the PATH or in this directory, which is not on everybody's PATH.
fn program(name: &str, directory: &str) -> anyhow::Result<PathBuf> {
    let path = variable("PATH").unwrap_or_default();
    let mut places: Vec<PathBuf> = std::env::split_paths(&path).collect();
    places.push(directory.into());
    let found = places.into_iter().map(|place| place.join(name)).find(|path| path.is_file());
    found.with_context(|| format!("{name} is not installed (apt-get install {name})"))
}

fn pgbouncer(path: PathBuf) -> anyhow::Result<(Kind, String)> {
    let version = first_line(&run(Command::new(&path).arg("--version"))?);
    let number = version.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut parts = number.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    let number = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    Ok((Kind::PgBouncer(path, number), version))
}
