//! Runs a tool that may not be installed.

use std::io;
use std::path::{Path, PathBuf};
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

/// The build directory, where tools may leave what they make.
pub(crate) fn target(root: &Path) -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |folder| root.join(folder))
}

/// Says that nothing was judged, and why.
pub(crate) fn skipped(why: &str) -> Answer {
    let what = format!("skipped: {why}");
    println!("{what}");
    Answer::Skipped(what)
}

/// Runs it in a folder. It shows its own output.
pub(crate) fn run(folder: &Path, program: &str, arguments: &[&str], install: &str) -> io::Result<Answer> {
    judge(Command::new(program).args(arguments).current_dir(folder), program, install)
}

/// The same, for a tool that says much even when all is well: its last line is enough.
pub(crate) fn run_quietly(
    folder: &Path,
    program: &str,
    arguments: &[&str],
    install: &str,
) -> io::Result<Answer> {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(folder).stdin(Stdio::null());
    match command.output() {
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            let complaint = String::from_utf8_lossy(&output.stderr);
            if complaint.contains("unrecognized option") {
                return Ok(skipped(&format!("this {program} is too old: {}", complaint.trim())));
            }
            let is_well = output.status.success();
            let shown = if is_well { said.trim_end().lines().last().unwrap_or_default() } else { &said };
            println!("{shown}{complaint}");
            Ok(if is_well { Answer::Good } else { Answer::Bad })
        }
        Err(error) => missing(error, program, install),
    }
}

fn judge(command: &mut Command, program: &str, install: &str) -> io::Result<Answer> {
    match command.stdin(Stdio::null()).status() {
        Ok(status) if status.success() => Ok(Answer::Good),
        Ok(_) => Ok(Answer::Bad),
        Err(error) => missing(error, program, install),
    }
}

fn missing(error: io::Error, program: &str, install: &str) -> io::Result<Answer> {
    if error.kind() == io::ErrorKind::NotFound {
        Ok(skipped(&format!("{program} is not installed ({install})")))
    } else {
        Err(error)
    }
}
