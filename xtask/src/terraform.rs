//! The Terraform modules, by their own check (`deploy/terraform/check/check.py`): started here, judged there. It leaves it to that
//! script what is checked; what the script could not do for want of a tool or of the network is said, and is not a failure.

use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::deploy::{self, Answer};

/// What the check exits with when terraform is not there.
const NOT_INSTALLED: i32 = 3;
/// What it exits with when the packages it needs could not be fetched.
const ONLY_FORMAT: i32 = 4;

/// Checks the modules, and with the router that was just built the configuration that they render.
pub(crate) fn check(root: &Path) -> io::Result<Answer> {
    for program in ["terraform", "python3"] {
        if !is_there(program) {
            println!("skipped: {program} is not installed");
            return Ok(skipped("skipped: terraform or python3 is not installed"));
        }
    }
    // The cargo that started this tool, so that the toolchain is the same.
    let built = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .current_dir(root)
        .args(["build", "--quiet", "-p", "highwater"])
        .stdin(Stdio::null())
        .status()?;
    if !built.success() {
        return Ok(Answer::Bad);
    }
    let target = deploy::target(root);
    let status = Command::new("python3")
        .current_dir(root)
        .arg("deploy/terraform/check/check.py")
        .arg("--cache")
        .arg(target.join("terraform"))
        .arg("--highwater")
        .arg(target.join("debug/highwater"))
        .stdin(Stdio::null())
        .status()?;
    Ok(match status.code() {
        Some(0) => Answer::Good,
        Some(NOT_INSTALLED) => skipped("skipped: terraform is not installed"),
        Some(ONLY_FORMAT) => skipped("only the format: its packages could not be fetched"),
        _ => Answer::Bad,
    })
}

fn skipped(why: &str) -> Answer {
    Answer::Skipped(why.to_owned())
}

fn is_there(program: &str) -> bool {
    let mut version = Command::new(program);
    version.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    version.status().is_ok_and(|status| status.success())
}
