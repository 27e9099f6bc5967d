//! What the bench says: results to standard output, how far it is to standard error. And what it asks of its environment.

use std::ffi::OsString;

/// A result.
#[expect(clippy::print_stdout, reason = "this is the one place")]
pub(crate) fn result(text: &str) {
    println!("{text}");
}

/// How far it is, or what is wrong.
#[expect(clippy::print_stderr, reason = "this is the one place")]
pub(crate) fn progress(text: &str) {
    eprintln!("{text}");
}

/// A variable of the environment.
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub(crate) fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}
