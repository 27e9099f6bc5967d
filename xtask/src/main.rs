//! The project's own tasks: `cargo xtask tidy` holds the fences, `cargo xtask ci` is the one gate.
//!
//! It checks and reports; only `cargo xtask dashboard` changes a file of the project.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "a tool for the terminal")]
#![allow(
    clippy::disallowed_methods,
    reason = "a tool reads its environment and the clock where it needs them"
)]

mod book;
mod ci;
mod deploy;
mod terraform;
mod tidy;

use std::path::Path;
use std::process::ExitCode;

const HELP: &str = "\
cargo xtask tidy           floors, module order, sizes, module docs, bans, dead files, links
cargo xtask ci [--full]    the whole gate: format, lints, tidy, docs, dependencies, tests
                           --full adds the slow tests (every PostgreSQL version, long runs)
cargo xtask alerts         alert rules, their tests and the dashboard
cargo xtask kubernetes     the manifests, built and validated
cargo xtask systemd        the unit, verified
cargo xtask terraform      the Terraform modules, as far as that goes without AWS
cargo xtask dashboard      writes deploy/grafana/highwater.json from its table of panels
cargo xtask book           builds docs/book into target/book, if mdBook is installed
cargo xtask book-links     mdBook's preprocessor: what leads out of the book leads into the repository
cargo xtask help           this text";

fn main() -> ExitCode {
    // Cargo says at run time where this checkout is: one build directory may serve several checkouts.
    let here = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_else(|_| env!("CARGO_MANIFEST_DIR").to_owned());
    let root = Path::new(&here).parent().expect("xtask lives in the repository");
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let all_is_well = match words[..] {
        ["tidy"] => tidy::run(root),
        ["ci"] => ci::run(root, ci::Extent::Usual),
        ["ci", "--full"] => ci::run(root, ci::Extent::Full),
        ["alerts"] => deploy::alerts(root).map(|answer| answer != deploy::Answer::Bad),
        ["kubernetes"] => deploy::kubernetes(root).map(|answer| answer != deploy::Answer::Bad),
        ["systemd"] => deploy::systemd(root).map(|answer| answer != deploy::Answer::Bad),
        ["terraform"] => terraform::check(root).map(|answer| answer != deploy::Answer::Bad),
        ["dashboard"] => deploy::write_dashboard(root).map(|()| true),
        ["book"] => book::build(root).map(|answer| answer != deploy::Answer::Bad),
        ["book-links"] => book::rewrite_links(root).map(|()| true),
        ["book-links", "supports", _] => Ok(true),
        ["help" | "--help" | "-h"] => {
            println!("{HELP}");
            Ok(true)
        }
        _ => {
            println!("{HELP}");
            return ExitCode::from(2);
        }
    };
    match all_is_well {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            println!("xtask: cannot read the repository: {error}");
            ExitCode::FAILURE
        }
    }
}
