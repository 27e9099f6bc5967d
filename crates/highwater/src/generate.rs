//! Shell completions and man pages, made from the declarations in `args`.

use anyhow::Context;
use clap::CommandFactory;
use clap_mangen::Man;

use crate::args::{self, Cli};
use crate::output;

/// Prints the completions for a shell.
pub(crate) fn completions(asked: &args::Completions) -> anyhow::Result<()> {
    let mut text = Vec::new();
    clap_complete::generate(asked.shell, &mut Cli::command(), "highwater", &mut text);
    output::text(&String::from_utf8_lossy(&text));
    Ok(())
}

/// Prints the man page of the whole, or writes one per command.
pub(crate) fn man(asked: &args::Man) -> anyhow::Result<()> {
    if let Some(directory) = &asked.dir {
        return clap_mangen::generate_to(Cli::command(), directory)
            .with_context(|| format!("can't write man pages into {}", directory.display()));
    }
    let mut text = Vec::new();
    Man::new(Cli::command()).render(&mut text)?;
    output::text(&String::from_utf8_lossy(&text));
    Ok(())
}
