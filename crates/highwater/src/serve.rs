//! `highwater serve`: the router, in the foreground, until it is told to stop.
//!
//! Loads the configuration, starts the log and hands over to the daemon. Decides nothing.

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
    let running = daemon::run(settings, source, |ready| {
        let listen: Vec<_> = ready.listen.iter().map(ToString::to_string).collect();
        let http = ready.http.map_or_else(|| "off".to_owned(), |address| address.to_string());
        output::note(format!(
            "highwater {}: listening on {}, HTTP on {http}",
            env!("CARGO_PKG_VERSION"),
            listen.join(", ")
        ));
    });
    runtime.block_on(running).map_err(|error| failure::failed(error.to_string()))
}
