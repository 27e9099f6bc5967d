//! The one place of the command that reads the process's environment.

use std::ffi::OsString;

/// One variable.
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub(crate) fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}
