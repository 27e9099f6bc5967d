//! The only place that reads the clock.

use std::sync::OnceLock;

use engine::time::Instant;

/// The process's monotonic clock; copies of it agree.
///
/// The origin is shared by all threads because instants travel between them: a sample taken by the monitor
/// is compared with an acknowledgement seen by a worker. CLOCK_MONOTONIC makes that comparison sound.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: std::time::Instant,
}

impl Clock {
    /// The process's clock. The first call fixes the origin.
    #[expect(clippy::disallowed_methods, reason = "this is the one place")]
    pub fn new() -> Self {
        static ORIGIN: OnceLock<std::time::Instant> = OnceLock::new();
        Clock { origin: *ORIGIN.get_or_init(std::time::Instant::now) }
    }

    /// Now.
    #[expect(clippy::disallowed_methods, reason = "this is the one place")]
    pub fn now(&self) -> Instant {
        let nanos = std::time::Instant::now().saturating_duration_since(self.origin).as_nanos();
        // One nanosecond on, so that `Instant::START` is before everything that happened.
        Instant::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX).saturating_add(1))
    }

    /// The time of day, to be shown to people: nothing is decided by it, because it may jump.
    #[expect(clippy::disallowed_methods, reason = "this is the one place")]
    pub fn wall(&self) -> std::time::SystemTime {
        std::time::SystemTime::now()
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}
