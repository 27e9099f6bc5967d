//! Control groups that limit each server's processor time, of version 2 (`cpu.max`) or 1 (`cpu.cfs_quota_us`).
//!
//! <https://docs.kernel.org/admin-guide/cgroup-v2.html#cpu-interface-files>,
//! <https://docs.kernel.org/scheduler/sched-bwc.html>. Made below our own group or above it, wherever we may; removed when
//! the value is dropped, and what an earlier run that was killed has left behind is removed by the next.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use load::cpu::family;

/// The limit holds over each such time: the kernel's default. With a tenth of it, a server that has more to do than its share
/// allows was throttled in the middle of its work so often that it did a quarter less with the same processor time.
const PERIOD: Duration = Duration::from_millis(100);
/// What our groups are called, before our process id.
const PREFIX: &str = "highwater-bench-";
/// How often a group whose processes are just leaving is tried again.
const REMOVE_TRIES: u32 = 50;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Version {
    One,
    Two,
}

/// Groups, one for each server.
#[derive(Debug)]
pub(super) struct Groups {
    version: Version,
    parent: PathBuf,
    directories: Vec<PathBuf>,
    /// We have let children of the parent be limited, and take that back.
    enabled: bool,
}

impl Groups {
    /// Puts each server (name and process), with all its children, into a group with this many cores; or says why that
    /// can't be.
    pub(super) fn make(servers: &[(String, u32)], cores: f64) -> Result<Groups, String> {
        let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
        let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let mut last = "no control groups for the processor are mounted".to_owned();
        for (version, parent) in parents(&mounts, &own) {
            remove_left_behind(&parent);
            match Groups::make_in(version, parent, servers, cores) {
                Ok(groups) => return Ok(groups),
                Err(why) => last = format!("no control group could be made: {why}"),
            }
        }
        Err(last)
    }

    /// What limits the servers.
    pub(super) fn how(&self) -> &'static str {
        match self.version {
            Version::One => "cgroup v1",
            Version::Two => "cgroup v2",
        }
    }

    fn make_in(
        version: Version,
        parent: PathBuf,
        servers: &[(String, u32)],
        cores: f64,
    ) -> Result<Groups, String> {
        // From here on, whatever was made is removed when this value is dropped.
        let mut groups = Groups { version, parent, directories: Vec::new(), enabled: false };
        groups.enable()?;
        for (name, pid) in servers {
            let directory = groups.parent.join(format!("{PREFIX}{}-{name}", std::process::id()));
            fs::create_dir(&directory).map_err(|error| said(&directory, &error))?;
            groups.directories.push(directory.clone());
            for (file, text) in limit(version, cores) {
                write(&directory.join(file), &text)?;
            }
            move_all(&directory, *pid)?;
        }
        Ok(groups)
    }

    /// Version 2 limits children only where the parent says so.
    fn enable(&mut self) -> Result<(), String> {
        if self.version == Version::One {
            return Ok(());
        }
        let control = self.parent.join("cgroup.subtree_control");
        let enabled = fs::read_to_string(&control).map_err(|error| said(&control, &error))?;
        if !enabled.split_ascii_whitespace().any(|name| name == "cpu") {
            write(&control, "+cpu")?;
            self.enabled = true;
        }
        Ok(())
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        for directory in &self.directories {
            remove(directory, &self.parent);
        }
        if self.enabled {
            // Somebody else may have come to need it meanwhile; then it stays.
            let _ = write(&self.parent.join("cgroup.subtree_control"), "-cpu");
        }
    }
}

/// The files that say so many cores, and what to write into them.
fn limit(version: Version, cores: f64) -> Vec<(&'static str, String)> {
    let (quota, period) = (PERIOD.mul_f64(cores).as_micros(), PERIOD.as_micros());
    match version {
        Version::Two => vec![("cpu.max", format!("{quota} {period}"))],
        Version::One => {
            vec![("cpu.cfs_period_us", period.to_string()), ("cpu.cfs_quota_us", quota.to_string())]
        }
    }
}

/// Where groups may be made, the likeliest first: below our own group, below those above it, and at the root.
fn parents(mounts: &str, own: &str) -> Vec<(Version, PathBuf)> {
    let mut found = Vec::new();
    for line in mounts.lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        let [_, place, kind, options, ..] = fields.as_slice() else { continue };
        let version = match *kind {
            "cgroup2" => Version::Two,
            "cgroup" if options.split(',').any(|option| option == "cpu") => Version::One,
            _ => continue,
        };
        let path = own.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':');
            let (_, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
            let is_it = match version {
                Version::Two => controllers.is_empty(),
                Version::One => controllers.split(',').any(|name| name == "cpu"),
            };
            is_it.then_some(path)
        });
        let below = Path::new(place).join(path.unwrap_or("/").trim_start_matches('/'));
        let ancestors = below.ancestors().take_while(|ancestor| ancestor.starts_with(place));
        let usable = |parent: &&Path| {
            version == Version::One
                || fs::read_to_string(parent.join("cgroup.controllers"))
                    .is_ok_and(|names| names.split_ascii_whitespace().any(|name| name == "cpu"))
        };
        found.extend(ancestors.filter(usable).map(|parent| (version, parent.to_owned())));
    }
    // Where both are mounted, only one of them has the processor; version 2 says itself whether it does.
    found.sort_by_key(|(version, _)| *version == Version::One);
    found
}

/// Moves a process and everything that descends from it; children that are born meanwhile are seen the next time.
fn move_all(directory: &Path, pid: u32) -> Result<(), String> {
    let procs = directory.join("cgroup.procs");
    let mut moved = BTreeSet::new();
    loop {
        let new: Vec<u32> = family(pid).into_iter().filter(|pid| !moved.contains(pid)).collect();
        if new.is_empty() {
            return Ok(());
        }
        for pid in new {
            moved.insert(pid);
            match fs::write(&procs, pid.to_string()) {
                // It has ended meanwhile.
                Err(error) if error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error()) => {}
                other => other.map_err(|error| said(&procs, &error))?,
            }
        }
    }
}

/// Removes a group; what still runs in it goes back to the parent.
fn remove(directory: &Path, parent: &Path) {
    for _ in 0..REMOVE_TRIES {
        let inside = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
        for pid in inside.lines() {
            // It may have ended meanwhile; a parent that may hold no processes is the kernel's to refuse.
            let _ = fs::write(parent.join("cgroup.procs"), pid);
        }
        if fs::remove_dir(directory).is_ok() || !directory.exists() {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// What a run that was killed has left here: its groups are empty, or their processes are about to end.
fn remove_left_behind(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid =
            name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.split('-').next()?.parse::<u32>().ok());
        if pid.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            // Not empty yet: the next run removes it.
            let _ = fs::remove_dir(entry.path());
        }
    }
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|error| said(path, &error))
}

fn said(path: &Path, error: &std::io::Error) -> String {
    format!("{}: {error}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_written_as_each_version_wants_it() {
        assert_eq!(limit(Version::Two, 0.3), [("cpu.max", "30000 100000".to_owned())]);
        let expected =
            [("cpu.cfs_period_us", "100000".to_owned()), ("cpu.cfs_quota_us", "150000".to_owned())];
        assert_eq!(limit(Version::One, 1.5), expected);
    }

    #[test]
    fn groups_are_made_below_our_own_or_at_the_root_of_the_right_hierarchy() {
        let mounts =
            "cgroup /c/cpu cgroup rw,relatime,cpu,cpuacct 0 0\ncgroup /c/memory cgroup rw,memory 0 0\n";
        let own = "4:memory:/elsewhere\n3:cpu,cpuacct:/user/x\n0::/unified\n";
        let found: Vec<_> = parents(mounts, own).into_iter().map(|(_, path)| path).collect();
        assert_eq!(found, ["/c/cpu/user/x", "/c/cpu/user", "/c/cpu"].map(PathBuf::from));
        assert!(parents("tmpfs / tmpfs rw 0 0", own).is_empty());
    }

    #[test]
    fn what_a_killed_run_has_left_is_removed_and_others_groups_are_not() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let make = |name: String| {
            let path = directory.path().join(name);
            fs::create_dir(&path).expect("writable");
            path
        };
        // No process has this number: the kernel's largest is 2^22.
        let left = make(format!("{PREFIX}99999999-primary"));
        let live = make(format!("{PREFIX}{}-primary", std::process::id()));
        let other = make("somebody-else".to_owned());
        remove_left_behind(directory.path());
        assert_eq!((left.exists(), live.exists(), other.exists()), (false, true, true));
    }
}
