//! `highwater status`: what a running router says of itself, as tables, as the JSON it gave, or live in the terminal.
//!
//! Shows only; every number is the router's. The JSON's shape is made in the daemon and read here by name, so that a
//! newer router's extra fields do no harm.

#[cfg(test)]
mod example;
mod figures;
mod text;
mod watch;

use std::io::IsTerminal as _;
use std::time::Duration;

use crate::{args, environment, http, output};

/// Between two questions of `--watch`.
const REFRESH: Duration = Duration::from_secs(1);

/// Asks once, or again and again with `--watch`.
pub(crate) fn status(asked: &args::Status) -> anyhow::Result<()> {
    if asked.watch && !asked.json && can_draw() {
        return watch::watch(&asked.http);
    }
    loop {
        let status = http::json(&asked.http, "/api/v1/status")?;
        let text = if asked.json { format!("{status}\n") } else { text::render(&status) };
        if output::text(&text) == output::Reader::Gone || !asked.watch {
            return Ok(());
        }
        std::thread::sleep(REFRESH);
        if !asked.json && output::text("\n") == output::Reader::Gone {
            return Ok(());
        }
    }
}

/// Whether both ends are a terminal that understands more than lines.
fn can_draw() -> bool {
    let dumb = environment::variable("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
    std::io::stdin().is_terminal() && std::io::stdout().is_terminal() && !dumb
}
