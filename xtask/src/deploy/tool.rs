//! Runs a tool that may not be installed.

use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

/// What came of a check.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Answer {
    Good,
    Bad,
    /// The tool is not there; the text says which, and how to get it.
    Skipped(String),
}

/// Prints what is wrong, if anything is.
pub(crate) fn report(step: &str, wrong: &[String]) -> Answer {
    for what in wrong {
        println!("{step}: {what}");
    }
    if wrong.is_empty() { Answer::Good } else { Answer::Bad }
}

/// Runs it in a folder. It shows its own output.
pub(crate) fn run(folder: &Path, program: &str, arguments: &[&str], install: &str) -> io::Result<Answer> {
    let mut command = Command::new(program);
    match command.args(arguments).current_dir(folder).stdin(Stdio::null()).status() {
        Ok(status) if status.success() => Ok(Answer::Good),
        Ok(_) => Ok(Answer::Bad),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let what = format!("skipped: {program} is not installed ({install})");
            println!("{what}");
            Ok(Answer::Skipped(what))
        }
        Err(error) => Err(error),
    }
}
