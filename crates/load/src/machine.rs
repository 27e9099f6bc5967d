//! The machine: what it is, and whether others are using it.

use std::fs;
use std::time::Duration;

use serde::Serialize;

/// What the figures were measured on.
#[derive(Debug, Clone, Serialize)]
pub struct Machine {
    /// The processor's name.
    pub cpu: String,
    /// How many cores we may use.
    pub cores: usize,
    /// Memory, rounded up.
    pub memory_gib: u64,
    /// The kernel's release.
    pub kernel: String,
    /// Processes that ran or wanted to, in the minute before.
    pub load_average_before: f64,
}

impl Machine {
    /// This one, now.
    #[must_use]
    pub fn look() -> Machine {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let after_colon = |text: &str, key: &str| -> String {
            let line = text.lines().find(|line| line.starts_with(key)).unwrap_or_default();
            line.split_once(':').map_or_else(String::new, |(_, value)| value.trim().to_owned())
        };
        let memory = after_colon(&read("/proc/meminfo"), "MemTotal");
        let kib: u64 = memory.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0);
        Machine {
            cpu: after_colon(&read("/proc/cpuinfo"), "model name"),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_gib: kib.div_ceil(1 << 20),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            load_average_before: load_average(),
        }
    }
}

/// Of the last minute.
#[must_use]
pub fn load_average() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0.0)
}

/// What all processes together have used, in ticks of 10 ms; and what the hypervisor took.
#[derive(Debug, Clone, Copy, Default)]
pub struct Busy(u64);

impl Busy {
    /// Up to now.
    #[must_use]
    pub fn now() -> Busy {
        let text = fs::read_to_string("/proc/stat").unwrap_or_default();
        let first = text.lines().next().unwrap_or_default();
        let fields: Vec<u64> =
            first.split_ascii_whitespace().skip(1).filter_map(|field| field.parse().ok()).collect();
        // user nice system idle iowait irq softirq steal; what guests use is in user already.
        Busy(fields.iter().take(8).sum::<u64>() - fields.get(3).unwrap_or(&0) - fields.get(4).unwrap_or(&0))
    }

    /// Since then.
    #[must_use]
    pub fn since(self, before: Busy) -> Duration {
        Duration::from_millis(self.0.saturating_sub(before.0) * 10)
    }
}
