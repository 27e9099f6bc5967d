//! How often nodes are asked, and how long doubt lasts.

use std::time::Duration;

/// Settings of one cluster's monitor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ClusterSettings {
    /// Time between probes of a node when nothing is awaited.
    pub probe_idle_interval: Duration,
    /// Time between probes while a write is not yet proved visible on every replica.
    pub probe_hurried_interval: Duration,
    /// Hurrying after a replica that does not move ends after this…
    pub hurry_max: Duration,
    /// …and goes on in steps of this. So are replicas asked while there is no primary: one of them may become it.
    pub probe_stalled_interval: Duration,
    /// A probe without an answer for this long has failed; the shell gives up then.
    pub probe_timeout: Duration,
    /// Silent probes in a row after which a node is down.
    pub strikes: u32,
    /// Longest time between probes of a node that is down; the first retries are quicker.
    pub retry_max: Duration,
    /// Longest time between attempts of a monitor that the node refuses to log in, so that no account is locked.
    pub credentials_retry_max: Duration,
    /// Samples of the primary that are kept.
    pub samples_max: usize,
    /// An accepted primary that is silent, not proved gone, may be succeeded after this.
    pub takeover_after: Duration,
}

impl Default for ClusterSettings {
    fn default() -> Self {
        ClusterSettings {
            probe_idle_interval: Duration::from_millis(100),
            probe_hurried_interval: Duration::from_millis(1),
            hurry_max: Duration::from_secs(2),
            probe_stalled_interval: Duration::from_millis(20),
            probe_timeout: Duration::from_millis(500),
            strikes: 2,
            retry_max: Duration::from_secs(1),
            credentials_retry_max: Duration::from_secs(60),
            samples_max: 4096,
            takeover_after: Duration::from_secs(10),
        }
    }
}
