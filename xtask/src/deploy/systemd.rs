//! The systemd unit: does systemd understand it, and does it take from the router what the router does not need?
//!
//! No service manager is asked. How the router answers one is tested end to end.

use std::path::Path;
use std::{fs, io};

use super::tool::{self, Answer};

const UNIT: &str = "deploy/systemd/highwater.service";
const PROGRAM: &str = "/usr/bin/highwater";

/// Most exposure that `systemd-analyze security` may find, in tenths: 0 is none, 100 is a service without any fence.
const EXPOSURE_MAX: &str = "20";

/// Verifies the unit and its exposure.
pub(crate) fn check(root: &Path) -> io::Result<Answer> {
    let text = fs::read_to_string(root.join(UNIT))?;
    // The program is not installed where it is built, and systemd-analyze wants to see one.
    let stand_in = std::env::current_exe()?;
    let folder = tool::target(root).join("systemd");
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("highwater.service"), text.replace(PROGRAM, &stand_in.display().to_string()))?;
    let install = "apt-get install systemd";
    let verified =
        tool::run(&folder, "systemd-analyze", &["verify", "--man=no", "./highwater.service"], install)?;
    if verified != Answer::Good {
        return Ok(verified);
    }
    let threshold = format!("--threshold={EXPOSURE_MAX}");
    let arguments = ["security", "--offline=yes", "--no-pager", &threshold, "./highwater.service"];
    tool::run_quietly(&folder, "systemd-analyze", &arguments, install)
}
