//! How events become lines: on standard error, for people or as JSON.
//!
//! What is worth an event is decided where it happens. No event carries a secret: their types cannot be printed.

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{LogFormat, LogLevel, LogSettings};

/// The crates whose events follow the setting. What libraries have to say is heard from `warn` on: below that they
/// print statements and their parameters.
const OURS: [&str; 2] = ["daemon", "highwater"];

/// Starts writing. A second call in a process is ignored, so that a test can start a router beside another.
pub fn start(settings: LogSettings) {
    let level = match settings.level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    let filter = Targets::new()
        .with_default(level.min(LevelFilter::WARN))
        .with_targets(OURS.map(|target| (target, level)));
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(false);
    let registry = tracing_subscriber::registry().with(filter);
    let _started_before = match settings.format {
        LogFormat::Text => registry.with(lines.compact().with_ansi(false)).try_init(),
        LogFormat::Json => registry.with(lines.json().flatten_event(true)).try_init(),
    };
}
