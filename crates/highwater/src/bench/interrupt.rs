//! Ctrl-C, SIGTERM and SIGHUP, asked about from time to time: the run ends early and says what it has measured.

use tokio::runtime::Runtime;

use crate::setup::signals::Signals;

/// Catches the signals from its making on.
pub(crate) struct Interrupt {
    runtime: Runtime,
    signals: Signals,
    came: bool,
}

impl Interrupt {
    /// Begins to catch.
    pub(crate) fn new() -> std::io::Result<Interrupt> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let signals = runtime.block_on(async { Signals::new() })?;
        Ok(Interrupt { runtime, signals, came: false })
    }

    /// Whether one has come.
    pub(crate) fn came(&mut self) -> bool {
        let signals = &mut self.signals;
        self.came = self.came
            || self.runtime.block_on(async {
                tokio::select! {
                    biased;
                    () = signals.received() => true,
                    () = looked() => false,
                }
            });
        self.came
    }
}

/// Yields often enough for the runtime to have looked at its pipe of signals.
async fn looked() {
    tokio::task::yield_now().await;
    tokio::task::yield_now().await;
}
