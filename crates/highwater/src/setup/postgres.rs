//! Which PostgreSQL is installed here, and how its programs are started.
//!
//! Starts nothing by itself except `postgres --version` and `pg_config --bindir`. Who runs the programs is `account`'s.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::{environment, failure};

/// The oldest PostgreSQL that Highwater serves.
pub(crate) const MAJOR_MIN: u32 = 14;

/// The programs `up` starts.
const PROGRAMS: [&str; 3] = ["postgres", "initdb", "pg_basebackup"];

/// One set of PostgreSQL programs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Installation {
    /// Their directory.
    pub(crate) bin: PathBuf,
    /// First number of the version.
    pub(crate) major: u32,
    /// The version as the program prints it, without the packager's note.
    pub(crate) version: String,
}

/// What there is to choose from: the directory given, or all the usual places. Never empty.
pub(crate) fn find(pg_bin: Option<&Path>) -> anyhow::Result<Vec<Installation>> {
    let found = match pg_bin {
        Some(bin) => vec![installation(bin)?],
        None => search(),
    };
    if found.is_empty() {
        return Err(failure::missing(
            "PostgreSQL's server programs (postgres, initdb, pg_basebackup) are not in PATH, nor where pg_config points, \
             nor in /usr/lib/postgresql/*/bin: install them (Debian, Ubuntu: sudo apt-get install postgresql), \
             or say where they are with --pg-bin DIR",
        ));
    }
    Ok(found)
}

/// The newest, or the one that made the data of an earlier run.
pub(crate) fn choose(found: &[Installation], data_major: Option<u32>) -> anyhow::Result<Installation> {
    let newest = found.iter().max_by_key(|i| i.major).expect("find() gives at least one");
    if let Some(major) = data_major {
        return found.iter().find(|i| i.major == major).cloned().ok_or_else(|| {
            failure::missing(format!(
                "the data was made by PostgreSQL {major}, and here is {}: install that version (Debian, Ubuntu: sudo \
                 apt-get install postgresql-{major}), say where it is with --pg-bin DIR, or choose another --dir",
                newest.version
            ))
        });
    }
    if newest.major < MAJOR_MIN {
        return Err(failure::missing(format!(
            "PostgreSQL {} in {} is too old: {MAJOR_MIN} or newer is needed (Debian, Ubuntu: sudo apt-get install \
             postgresql), or say where it is with --pg-bin DIR",
            newest.version,
            newest.bin.display()
        )));
    }
    Ok(newest.clone())
}

/// The installation in `bin`, or which of its programs is missing.
fn installation(bin: &Path) -> anyhow::Result<Installation> {
    if let Some(program) = PROGRAMS.iter().find(|program| !bin.join(program).is_file()) {
        return Err(failure::missing(format!(
            "there is no {program} in {}: --pg-bin must be the directory of PostgreSQL's server programs, such as \
             /usr/lib/postgresql/15/bin",
            bin.display()
        )));
    }
    let text = answer_of(&bin.join("postgres"), "--version").ok_or_else(|| {
        failure::missing(format!(
            "{} does not run: is it made for this system?",
            bin.join("postgres").display()
        ))
    })?;
    let (major, version) = parse_version(&text).ok_or_else(|| {
        failure::missing(format!("{} says it is '{}'", bin.join("postgres").display(), text.trim()))
    })?;
    Ok(Installation { bin: bin.canonicalize().unwrap_or_else(|_| bin.to_path_buf()), major, version })
}

/// Every complete installation in the usual places.
fn search() -> Vec<Installation> {
    places().iter().filter_map(|bin| installation(bin).ok()).collect()
}

/// The usual places.
fn places() -> Vec<PathBuf> {
    let mut places: Vec<PathBuf> =
        environment::variable("PATH").map(|path| std::env::split_paths(&path).collect()).unwrap_or_default();
    if let Some(bin) = answer_of(Path::new("pg_config"), "--bindir") {
        places.push(PathBuf::from(bin.trim()));
    }
    places.push(PathBuf::from("/usr/local/pgsql/bin"));
    places.extend(versioned("/usr/lib/postgresql", ""));
    places.extend(versioned("/usr", "pgsql-"));
    places.extend(versioned("/opt/homebrew/opt", "postgresql@"));
    places
}

/// `parent/prefix*/bin`, for packagers that keep versions side by side.
fn versioned(parent: &str, prefix: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(parent).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
        .map(|entry| entry.path().join("bin"))
        .filter(|bin| bin.is_dir())
        .collect()
}

fn answer_of(program: &Path, argument: &str) -> Option<String> {
    let output = std::process::Command::new(program).arg(argument).stdin(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// `postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)` → 15, `15.14`; also `18beta1`.
fn parse_version(text: &str) -> Option<(u32, String)> {
    let version = text.split_once("(PostgreSQL) ")?.1.split_whitespace().next()?;
    let digits = version.find(|c: char| !c.is_ascii_digit()).unwrap_or(version.len());
    Some((version[..digits].parse().ok()?, version.to_owned()))
}

/// A `pg_basebackup` that can copy a server of `major`: the installation's own, else the next younger one in the usual
/// places. An older one refuses a younger server (<https://www.postgresql.org/docs/current/app-pgbasebackup.html>).
pub(crate) fn find_pg_basebackup(own: &Path, major: u32) -> Option<Installation> {
    let mut found: Vec<Installation> = std::iter::once(own.to_path_buf())
        .chain(places())
        .filter_map(|bin| versioned_program(&bin, "pg_basebackup"))
        .filter(|one| one.major >= major)
        .collect();
    found.sort_by_key(|one| one.major);
    found.into_iter().next()
}

/// Every directory in the usual places with a `postgres` of `major`, or only the one given; `Err` has the versions found.
pub(crate) fn find_server(pg_bin: Option<&Path>, major: u32) -> Result<Installation, Vec<String>> {
    let places = pg_bin.map_or_else(places, |bin| vec![bin.to_path_buf()]);
    let found: Vec<Installation> =
        places.iter().filter_map(|bin| versioned_program(bin, "postgres")).collect();
    match found.iter().find(|one| one.major == major) {
        Some(one) => Ok(one.clone()),
        None => Err(found.into_iter().map(|one| one.version).collect()),
    }
}

fn versioned_program(bin: &Path, program: &str) -> Option<Installation> {
    let path = bin.join(program);
    // `pg_basebackup (PostgreSQL) 15.14` as `postgres (PostgreSQL) 15.14`.
    let (major, version) = parse_version(&answer_of(&path, "--version").filter(|_| path.is_file())?)?;
    // Where a link leads to, since only there the others stand beside it; a wrapper of another name stays where it is.
    let real = path.canonicalize().ok().filter(|real| real.ends_with(program)).unwrap_or(path);
    Some(Installation { bin: real.parent().unwrap_or(bin).to_path_buf(), major, version })
}

/// True when the installation has this library, as `shared_preload_libraries` names it.
pub(crate) fn has_library(installation: &Installation, library: &str) -> bool {
    if library.starts_with('/') {
        return Path::new(library).exists() || Path::new(&format!("{library}.so")).exists();
    }
    let name = library.trim_start_matches("$libdir/");
    library_places(installation).iter().any(|place| {
        ["so", "dylib"].iter().any(|suffix| place.join(format!("{name}.{suffix}")).is_file())
            || place.join(name).is_file()
    })
}

/// True when the server tells systemd that it is ready (`--with-systemd`): it is linked with its library then.
pub(crate) fn tells_systemd(installation: &Installation) -> bool {
    const LIBRARY: &[u8] = b"libsystemd.so";
    std::fs::read(installation.bin.join("postgres"))
        .is_ok_and(|bytes| bytes.windows(LIBRARY.len()).any(|window| window == LIBRARY))
}

/// True when the installation brings `pg_stat_statements` (a package of its own on some systems).
pub(crate) fn has_pg_stat_statements(installation: &Installation) -> bool {
    has_library(installation, "pg_stat_statements")
}

/// Where an installation keeps its libraries.
fn library_places(installation: &Installation) -> Vec<PathBuf> {
    let mut places = vec![installation.bin.join("../lib"), installation.bin.join("../lib/postgresql")];
    if let Some(directory) = answer_of(&installation.bin.join("pg_config"), "--pkglibdir") {
        places.push(PathBuf::from(directory.trim()));
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::{Status, status_of};

    fn some(major: u32) -> Installation {
        Installation { bin: PathBuf::from(format!("/pg/{major}")), major, version: format!("{major}.1") }
    }

    #[test]
    fn versions_of_releases_packages_and_betas_are_understood() {
        let debian = "postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)\n";
        assert_eq!(parse_version(debian), Some((15, "15.14".to_owned())));
        assert_eq!(parse_version("postgres (PostgreSQL) 18beta1"), Some((18, "18beta1".to_owned())));
        assert_eq!(parse_version("mysqld 8"), None);
    }

    #[test]
    fn the_newest_is_taken_for_new_data_and_the_same_for_old_data() {
        let found = [some(14), some(17), some(15)];
        assert_eq!(choose(&found, None).expect("there are three").major, 17);
        assert_eq!(choose(&found, Some(14)).expect("14 is there").major, 14);
        let error = choose(&found, Some(16)).expect_err("16 is not there");
        assert_eq!(status_of(&error), Status::Missing);
        assert!(error.to_string().contains("postgresql-16"));
    }

    #[test]
    fn something_too_old_is_reported_with_the_command_that_helps() {
        let error = choose(&[some(13)], None).expect_err("nothing fits");
        assert_eq!(status_of(&error), Status::Missing);
        assert!(error.to_string().contains("apt-get install postgresql"));
    }
}
