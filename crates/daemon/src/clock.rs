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

/// A time of day for people: `2026-11-21 06:00:00 UTC`, PgBouncer's form. After H. Hinnant's "chrono-compatible low-level date algorithms".
pub(crate) fn time_of_day(at: std::time::SystemTime) -> String {
    let seconds = at.duration_since(std::time::SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}
