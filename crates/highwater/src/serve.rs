//! `highwater serve`: the router, in the foreground, until it is told to stop.
//!
//! Loads the configuration, starts the log and hands over to the daemon. Decides nothing.

use std::time::Duration;

use daemon::Supervisor;

use crate::settings::Flags;
use crate::{failure, files, output};

/// Runs until SIGTERM or SIGINT; SIGHUP reads the configuration again.
pub(crate) fn serve(flags: &Flags) -> anyhow::Result<()> {
    let source = flags.source();
    let settings = source.load().map_err(|mistakes| {
        failure::usage(format!("the configuration has mistakes, nothing was started:\n{mistakes}"))
    })?;
    daemon::log::start(settings.log);
    files::raise_limit(settings.door.clients_max);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let running = daemon::run(settings, source, supervisor()?, |ready| {
        let listen: Vec<_> = ready.listen.iter().map(ToString::to_string).collect();
        let http = ready.http.map_or_else(|| "off".to_owned(), |address| address.to_string());
        output::note(format!(
            "highwater {}: listening on {}, HTTP on {http}",
            env!("CARGO_PKG_VERSION"),
            listen.join(", ")
        ));
    });
    let outcome = runtime.block_on(running);
    // A read of a disk that hangs must not keep a router that has stopped.
    runtime.shutdown_background();
    outcome.map_err(|error| failure::failed(error.to_string()))
}

/// systemd's way to say where it wants to hear of a service of `Type=notify`, and after how much silence it ends one.
#[expect(clippy::disallowed_methods, reason = "said by who started the process: no setting of its owner's")]
fn supervisor() -> anyhow::Result<Supervisor> {
    let Some(address) = std::env::var_os("NOTIFY_SOCKET").filter(|address| !address.is_empty()) else {
        return Ok(Supervisor::default());
    };
    let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    // It may be meant for the process that started this one.
    let is_ours = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
    let patience = number("WATCHDOG_USEC").filter(|micros| is_ours && *micros > 0).map(Duration::from_micros);
    Supervisor::new(&address, patience).map_err(|error| {
        let address = address.to_string_lossy();
        failure::usage(format!("NOTIFY_SOCKET names no socket that can be written to ({address:?}): {error}"))
    })
}
