//! Is this machine ready for the replica? Programs, room, port, directories: everything that is not the primary's.
//!
//! Looks and makes nothing.

use std::fs;
use std::net::{IpAddr, TcpListener};
use std::path::{Path, PathBuf};

use super::facts::Facts;
use super::home::Home;
use super::judge::{Problem, Verdict};
use crate::args::replica::Create;
use crate::failure::Status;
use crate::setup::account::Account;
use crate::setup::postgres::{self, Installation};
use crate::setup::{disk, place, ports, server};

/// The minor versions from which `pg_basebackup` does not follow links of a hostile server (CVE-2026-6475).
const CAREFUL_FROM: [(u32, u32); 5] = [(14, 23), (15, 18), (16, 14), (17, 10), (18, 4)];

/// The programs for one replica.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    /// The server that will run.
    pub(crate) server: Installation,
    /// What copies.
    pub(crate) pg_basebackup: Installation,
}

/// What is asked of this machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) create: &'a Create,
    pub(crate) home: &'a Home,
    pub(crate) account: &'a Account,
    /// The copy is there already.
    pub(crate) copied: bool,
}

/// Programs if they are there, and everything that is in the way.
pub(crate) fn look(asked: &Asked<'_>, facts: &Facts) -> (Option<Programs>, Verdict) {
    let mut verdict = Verdict::default();
    let programs = programs(asked.create.pg_bin.as_deref(), facts, &mut verdict);
    if let Some(programs) = &programs {
        libraries(&programs.server, facts, &mut verdict);
    }
    directory(asked, &mut verdict);
    port(asked, &mut verdict);
    if !asked.copied {
        room(asked.home, facts, &mut verdict);
    }
    outside(asked, &mut verdict);
    (programs, verdict)
}

fn programs(pg_bin: Option<&Path>, facts: &Facts, out: &mut Verdict) -> Option<Programs> {
    let (major, version) = (facts.major, &facts.version);
    let server = match postgres::find_server(pg_bin, major) {
        Ok(server) => server,
        Err(found) => {
            let found = if found.is_empty() { "none".to_owned() } else { found.join(", ") };
            out.problems.push(missing(format!(
                "the primary is PostgreSQL {version}, and a replica must run the same major version; here is: {found}: \
                 install PostgreSQL {major} (Debian, Ubuntu: sudo apt-get install postgresql-{major}), or say where it is \
                 with --pg-bin DIR"
            )));
            return None;
        }
    };
    let Some(pg_basebackup) = postgres::find_pg_basebackup(&server.bin, major) else {
        out.problems.push(missing(format!(
            "there is no pg_basebackup of version {major} or newer, in {} or the usual places: install it (Debian, Ubuntu: \
             sudo apt-get install postgresql-client-{major})",
            server.bin.display()
        )));
        return None;
    };
    if is_careless(&pg_basebackup) {
        out.remarks.push(format!(
            "pg_basebackup {} follows links that a hostile primary could send (CVE-2026-6475): update PostgreSQL here if \
             you do not trust the primary",
            pg_basebackup.version
        ));
    }
    Some(Programs { server, pg_basebackup })
}

fn is_careless(program: &Installation) -> bool {
    let minor = program.version.split_once('.').and_then(|(_, minor)| minor.parse::<u32>().ok());
    let from = CAREFUL_FROM.iter().find(|(major, _)| *major == program.major);
    matches!((minor, from), (Some(minor), Some((_, from))) if minor < *from)
}

fn missing(text: String) -> Problem {
    Problem { status: Status::Missing, text }
}

fn libraries(server: &Installation, facts: &Facts, out: &mut Verdict) {
    let named = facts.setting("shared_preload_libraries").unwrap_or_default();
    let names = named.split(',').map(|name| name.trim().trim_matches('"')).filter(|name| !name.is_empty());
    for name in names.filter(|name| !postgres::has_library(server, name)) {
        out.problems.push(missing(format!(
            "the primary loads the library {name} (shared_preload_libraries), which PostgreSQL {} in {} does not have: \
             install the same extension here (Debian, Ubuntu: apt-cache search postgresql-{}), or take it out of the \
             setting on the primary",
            server.version,
            server.bin.display(),
            server.major
        )));
    }
}

fn directory(asked: &Asked<'_>, out: &mut Verdict) {
    let root = asked.home.root();
    if !asked.home.is_free() {
        out.problems.push(Problem {
            status: Status::Usage,
            text: format!(
                "{} has something in it that `highwater replica` did not make: choose another directory with --dir, or empty \
                 it",
                root.display()
            ),
        });
    }
    if let Err(error) = place::refuse_blocked(root, asked.account) {
        out.problems.push(Problem::new(format!("{error:#}")));
    }
    if !place::fits_sockets(&asked.home.sockets()) {
        out.problems.push(Problem {
            status: Status::Usage,
            text: format!(
                "{} is too long a path for a Unix socket, or has a comma or a quote in it: choose another directory with \
                 --dir",
                root.display()
            ),
        });
    }
    if let Some(there) = nearest(root).filter(|there| !is_writable(there)) {
        out.problems.push(Problem::new(format!(
            "{} is not writable for this user: run this as root, or choose another directory with --dir",
            there.display()
        )));
    }
}

/// The directory itself, or the first one above that is there.
fn nearest(path: &Path) -> Option<PathBuf> {
    path.ancestors().find(|path| path.is_dir()).map(Path::to_path_buf)
}

fn is_writable(directory: &Path) -> bool {
    use rustix::fs::{Access, access};
    access(directory, Access::WRITE_OK | Access::EXEC_OK).is_ok()
}

fn port(asked: &Asked<'_>, out: &mut Verdict) {
    let (port, listen) = (asked.create.port, &asked.create.listen);
    // Ours, from an earlier run.
    if server::running_on(&asked.home.data()).is_some() {
        return;
    }
    let address: Option<IpAddr> = match listen.as_str() {
        "*" => "0.0.0.0".parse().ok(),
        "localhost" => "127.0.0.1".parse().ok(),
        other => other.parse().ok(),
    };
    let Some(address) = address else {
        out.problems.push(Problem {
            status: Status::Usage,
            text: format!(
                "--listen {listen} is no address: give one of this machine, such as 127.0.0.1, or *"
            ),
        });
        return;
    };
    if let Err(error) = TcpListener::bind((address, port)) {
        let owner = ports::holder(port).map_or_else(String::new, |who| format!(" by {who}"));
        let what = if error.kind() == std::io::ErrorKind::AddrInUse {
            format!("is in use{owner}: stop that, or choose another with --port")
        } else {
            format!(
                "can't be listened on ({error}): choose another address with --listen or port with --port"
            )
        };
        out.problems.push(Problem::new(format!("port {port} on {address}, wanted for the replica, {what}")));
    }
}

/// Room for the files, and for as much WAL as the primary lets pile up between two checkpoints.
fn room(home: &Home, facts: &Facts, out: &mut Verdict) {
    let (Some(bytes), Some(there)) = (facts.bytes, nearest(home.root())) else { return };
    let Some(free) = disk::free_bytes(&there) else { return };
    let wal = facts.number("max_wal_size").and_then(|mb| u64::try_from(mb).ok()).unwrap_or(1024) << 20;
    let least = bytes + bytes / 20 + (WAL_SEGMENTS_LEAST << 20);
    let (needed_mb, free_mb) = (least >> 20, free >> 20);
    if free < least {
        out.problems.push(Problem::new(format!(
            "the disk that holds {} has {free_mb} MB free, and the copy needs about {needed_mb} MB: free some, or choose \
             another with --dir",
            home.root().display()
        )));
    } else if free < least.saturating_add(wal) {
        out.remarks.push(format!(
            "the disk that holds {} has {free_mb} MB free, enough for the copy ({needed_mb} MB) but not also for the {} MB of \
             WAL that max_wal_size allows",
            home.root().display(),
            wal >> 20
        ));
    }
}

/// MB: three segments of 16 MB.
const WAL_SEGMENTS_LEAST: u64 = 48;

/// Places outside of the directory that will be written to.
fn outside(asked: &Asked<'_>, out: &mut Verdict) {
    if let Some(directory) = asked.create.unit.unit_dir.as_deref().filter(|path| !path.is_dir()) {
        out.problems.push(Problem {
            status: Status::Usage,
            text: format!("--unit-dir {} is no directory: make it, or use --no-unit", directory.display()),
        });
    }
    if let Some(file) = &asked.create.nodes_file {
        let directory = file.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if !directory.is_dir() || !is_writable(directory) || fs::metadata(file).is_ok_and(|m| m.is_dir()) {
            out.problems.push(Problem {
                status: Status::Usage,
                text: format!(
                    "--nodes-file {} can't be written: give a file in a directory that is there and writable",
                    file.display()
                ),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pg_basebackup_below_the_careful_minor_version_is_remarked() {
        let program = |major, version: &str| Installation {
            bin: PathBuf::from("/pg"),
            major,
            version: version.to_owned(),
        };
        assert!(is_careless(&program(15, "15.14")));
        assert!(!is_careless(&program(15, "15.18")));
        assert!(!is_careless(&program(19, "19.0")));
        assert!(!is_careless(&program(18, "18beta1")));
    }

    #[test]
    fn the_room_is_looked_for_where_the_directory_will_be() {
        let place = tempfile::tempdir().expect("a temporary directory");
        assert_eq!(nearest(&place.path().join("a/b/c")).as_deref(), Some(place.path()));
    }
}
