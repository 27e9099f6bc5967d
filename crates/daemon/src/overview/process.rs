//! What the operating system says of this process: what it has used, and what it may use.
//!
//! Linux only (proc(5), cgroups(7)). What can't be read is absent, so that no alarm compares with a zero.

use std::collections::BTreeMap;

/// What it has used, and what it may use.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub(crate) struct Process {
    /// User and system time used, in seconds.
    pub(crate) cpu_seconds: f64,
    /// Memory resident, in bytes.
    pub(crate) resident_bytes: u64,
    /// Open files and sockets.
    pub(crate) open_fds: u64,
    /// Processor cores it may use: by its affinity and by the quotas of its control groups.
    pub(crate) cpu_cores: Option<f64>,
    /// Memory it may use: the least limit of its control groups, or else what the machine has.
    pub(crate) memory_limit_bytes: Option<u64>,
}

impl Process {
    /// At this moment.
    pub(super) fn read() -> Process {
        let read = |path: &str| std::fs::read_to_string(path).ok();
        let text = |path| read(path).unwrap_or_default();
        let status = text("/proc/self/status");
        let groups = Groups::new(&text("/proc/self/cgroup"), &text("/proc/self/mountinfo"));
        Process {
            cpu_seconds: cpu_seconds(&text("/proc/self/stat")).unwrap_or_default(),
            resident_bytes: kib(&status, "VmRSS:").unwrap_or_default(),
            open_fds: std::fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64),
            cpu_cores: least(cores_allowed(&status).map(|cores| cores as f64), groups.cpu_quota(read)),
            memory_limit_bytes: least(kib(&text("/proc/meminfo"), "MemTotal:"), groups.memory_limit(read)),
        }
    }
}

/// Fields 14 and 15 of `/proc/self/stat`, in ticks of 1/100 s, which is what Linux shows user space on every architecture.
fn cpu_seconds(stat: &str) -> Option<f64> {
    // The second field is the command in brackets and may hold blanks.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user.saturating_add(system) as f64 / 100.0)
}

/// A line `name: n kB`, in bytes.
fn kib(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    let kib: u64 = line.split_ascii_whitespace().nth(1)?.parse().ok()?;
    kib.checked_mul(1024)
}

/// The length of `Cpus_allowed_list: 0-3,8`.
fn cores_allowed(status: &str) -> Option<u64> {
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
    list.trim().split(',').try_fold(0, |sum, range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
        Some(sum + (last + 1).checked_sub(first)?)
    })
}

/// The lesser of what is known.
fn least<T: PartialOrd>(a: Option<T>, b: Option<T>) -> Option<T> {
    match (a, b) {
        (Some(a), Some(b)) => Some(if b < a { b } else { a }),
        (a, b) => a.or(b),
    }
}

/// Directories of the process's control groups, from its own up to the topmost that can be seen: a limit of any of them holds.
#[derive(PartialEq, Debug, Default)]
struct Groups {
    /// By controller in version 1; version 2 has one tree for all, under the empty name.
    directories: BTreeMap<String, Vec<String>>,
}

impl Groups {
    /// From `/proc/self/cgroup` (lines `id:controllers:path`) and `/proc/self/mountinfo`.
    fn new(own: &str, mounts: &str) -> Groups {
        let mounts: Vec<Mount> = mounts.lines().filter_map(Mount::read).collect();
        let mut directories = BTreeMap::new();
        for line in own.lines() {
            let mut fields = line.splitn(3, ':');
            let (Some(_), Some(controllers), Some(path)) = (fields.next(), fields.next(), fields.next())
            else {
                continue;
            };
            for controller in controllers.split(',') {
                if let Some(mount) = mounts.iter().find(|mount| mount.has(controller)) {
                    directories.insert(controller.to_owned(), mount.directories(path));
                }
            }
        }
        Groups { directories }
    }

    fn of(&self, controller: &str) -> impl Iterator<Item = &String> {
        self.directories.get(controller).into_iter().flatten()
    }

    /// Cores by quota: `cpu.max` holds `quota period` or `max period`; version 1 has a file for each, and -1 for no quota.
    fn cpu_quota(&self, read: impl Fn(&str) -> Option<String>) -> Option<f64> {
        let cores = |quota: f64, period: f64| (quota > 0.0 && period > 0.0).then_some(quota / period);
        let v2 = self.of("").filter_map(|directory| {
            let text = read(&format!("{directory}/cpu.max"))?;
            let (quota, period) = text.trim().split_once(' ')?;
            cores(quota.parse().ok()?, period.parse().ok()?)
        });
        let v1 = self.of("cpu").filter_map(|directory| {
            let number = |file| read(&format!("{directory}/{file}"))?.trim().parse().ok();
            cores(number("cpu.cfs_quota_us")?, number("cpu.cfs_period_us")?)
        });
        v2.chain(v1).fold(None, |sum, cores| least(sum, Some(cores)))
    }

    /// Version 1 says "none" with a number near 2^63, which is more than any machine has; version 2 with `max`.
    fn memory_limit(&self, read: impl Fn(&str) -> Option<String>) -> Option<u64> {
        let limit = |directory: &String, file| read(&format!("{directory}/{file}"))?.trim().parse().ok();
        let v2 = self.of("").filter_map(|directory| limit(directory, "memory.max"));
        let v1 = self.of("memory").filter_map(|directory| limit(directory, "memory.limit_in_bytes"));
        v2.chain(v1).fold(None, |sum, bytes| least(sum, Some(bytes)))
    }
}

/// A mounted hierarchy of control groups.
struct Mount {
    /// The group that is its root.
    root: String,
    point: String,
    /// Of version 1; version 2 has the empty name.
    controllers: Vec<String>,
}

impl Mount {
    /// A line of `mountinfo`: `id parent device root point options … - type source super-options`.
    fn read(line: &str) -> Option<Mount> {
        let (place, kind) = line.split_once(" - ")?;
        let mut place = place.split(' ').skip(3);
        let (root, point) = (place.next()?.to_owned(), place.next()?.to_owned());
        let mut kind = kind.split(' ');
        let controllers = match kind.next()? {
            "cgroup2" => vec![String::new()],
            "cgroup" => kind.nth(1)?.split(',').map(ToOwned::to_owned).collect(),
            _ => return None,
        };
        Some(Mount { root, point, controllers })
    }

    fn has(&self, controller: &str) -> bool {
        self.controllers.iter().any(|has| has == controller)
    }

    /// The directory of a group, and those above it. A group that is not below the mount's root (a container may be shown the
    /// host's path) is taken for the root.
    fn directories(&self, group: &str) -> Vec<String> {
        let root = self.root.trim_end_matches('/');
        let below =
            group.strip_prefix(root).filter(|rest| rest.is_empty() || rest.starts_with('/')).unwrap_or("");
        let mut directories = Vec::new();
        let mut rest = below.trim_end_matches('/');
        while let Some((above, _)) = rest.rsplit_once('/') {
            directories.push(format!("{}{rest}", self.point));
            rest = above;
        }
        directories.push(self.point.clone());
        directories
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn process_figures_are_read_from_what_linux_prints() {
        let stat = "4021 (a) b (c) S 1 4021 4021 0 -1 4194560 9 0 0 0 150 50 0 0 20 0 3 0 99 1 1";
        assert_eq!(cpu_seconds(stat), Some(2.0));
        assert_eq!(kib("VmPeak:\t 10 kB\nVmRSS:\t    2048 kB\n", "VmRSS:"), Some(2 << 20));
        assert_eq!(cpu_seconds(""), None);
        assert_eq!(cores_allowed("Name:\tx\nCpus_allowed_list:\t0-3,8,10-11\n"), Some(7));
        assert_eq!(cores_allowed("Cpus_allowed_list:\t0\n"), Some(1));
        assert_eq!(cores_allowed("Cpus_allowed_list:\t\n"), None);
    }

    const V1_MOUNTS: &str = "\
        30 25 0:26 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:11 - cgroup cgroup rw,cpu,cpuacct\n\
        31 25 0:27 / /sys/fs/cgroup/memory rw shared:12 - cgroup cgroup rw,memory\n\
        32 25 0:28 / /proc rw - proc proc rw\n";

    fn file<'a>(files: &'a [(&str, &str)]) -> impl Fn(&str) -> Option<String> + 'a {
        |path| files.iter().find(|(name, _)| *name == path).map(|(_, text)| (*text).to_owned())
    }

    #[test]
    fn limits_of_version_1_are_found_in_the_group_and_above_it() {
        let groups = Groups::new("5:cpu,cpuacct:/a/b\n4:memory:/a\n0::/x\n", V1_MOUNTS);
        let files = [
            ("/sys/fs/cgroup/cpu,cpuacct/a/b/cpu.cfs_quota_us", "-1\n"),
            ("/sys/fs/cgroup/cpu,cpuacct/a/b/cpu.cfs_period_us", "100000\n"),
            ("/sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us", "150000\n"),
            ("/sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us", "100000\n"),
            ("/sys/fs/cgroup/memory/a/memory.limit_in_bytes", "1048576\n"),
            ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
        ];
        assert_eq!(groups.cpu_quota(file(&files)), Some(1.5));
        assert_eq!(groups.memory_limit(file(&files)), Some(1 << 20));
    }

    #[test]
    fn limits_of_version_2_are_the_least_on_the_way_up() {
        let mounts = "30 25 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n";
        let groups = Groups::new("0::/system.slice/highwater.service\n", mounts);
        let files = [
            ("/sys/fs/cgroup/system.slice/highwater.service/cpu.max", "200000 100000\n"),
            ("/sys/fs/cgroup/system.slice/highwater.service/memory.max", "max\n"),
            ("/sys/fs/cgroup/system.slice/cpu.max", "50000 100000\n"),
            ("/sys/fs/cgroup/system.slice/memory.max", "4096\n"),
        ];
        assert_eq!(groups.cpu_quota(file(&files)), Some(0.5));
        assert_eq!(groups.memory_limit(file(&files)), Some(4096));
    }

    #[test]
    fn a_container_sees_its_own_group_as_the_root_of_the_mount() {
        let mounts = "30 25 0:26 /docker/abc /sys/fs/cgroup rw - cgroup2 cgroup rw\n";
        for own in ["0::/docker/abc\n", "0::/\n", "0::/docker/abcdef/x\n"] {
            assert_eq!(Groups::new(own, mounts).directories[""], ["/sys/fs/cgroup"], "{own}");
        }
        let inner = Groups::new("0::/docker/abc/inner\n", mounts);
        assert_eq!(inner.directories[""], ["/sys/fs/cgroup/inner", "/sys/fs/cgroup"]);
    }

    #[test]
    fn without_limits_there_are_none() {
        let groups = Groups::new("0::/\n", "30 25 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup rw\n");
        let files = [("/sys/fs/cgroup/cpu.max", "max 100000\n"), ("/sys/fs/cgroup/memory.max", "max\n")];
        assert_eq!((groups.cpu_quota(file(&files)), groups.memory_limit(file(&files))), (None, None));
        assert_eq!(Groups::new("", "").cpu_quota(|_| None), None);
        assert_eq!(least(Some(4.0), None), Some(4.0));
        assert_eq!((least(Some(4.0), Some(0.5)), least(None, Some(2))), (Some(0.5), Some(2)));
    }
}
