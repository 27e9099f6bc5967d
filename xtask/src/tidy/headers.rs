//! How a file begins: what it is for, and the promise that nothing in it is `unsafe`.

use super::finding::Finding;
use super::source::Source;

pub(crate) fn check(source: &Source) -> Vec<Finding> {
    module_docs(source).into_iter().chain(unsafe_promise(source)).chain(unsafe_code(source)).collect()
}

/// The first line that is neither blank, nor a plain comment, nor an inner attribute must be `//!` prose.
fn module_docs(source: &Source) -> Option<Finding> {
    let opening = source.text.lines().find(|line| {
        let line = line.trim_start();
        !line.is_empty() && !line.starts_with("#!") && (line.starts_with("//!") || !line.starts_with("//"))
    });
    let prose = opening
        .and_then(|line| line.trim_start().strip_prefix("//!"))
        .is_some_and(|rest| !rest.trim().is_empty());
    (!prose).then(|| {
        let why = "a reader meets the file before its author";
        let instead = "open it with `//!`: what it is for and what it deliberately does not do";
        Finding::new((&source.path, 1), "no module docs", why, instead)
    })
}

fn unsafe_promise(source: &Source) -> Option<Finding> {
    if !is_crate_root(&source.path) {
        return None;
    }
    let promise = "#![forbid(unsafe_code)]";
    (!source.code.contains(promise)).then(|| {
        let why = "memory safety is the compiler's promise here";
        Finding::new((&source.path, 1), format!("no `{promise}`"), why, "add it below the crate's docs")
    })
}

fn unsafe_code(source: &Source) -> Vec<Finding> {
    let hits = source
        .find("unsafe")
        .chain(source.find("allow(unsafe_code)"))
        .chain(source.find("expect(unsafe_code)"));
    hits.map(|at| {
        let why = "memory safety is the compiler's promise here";
        let instead = "use what the standard library or a dependency offers safely (rustix)";
        Finding::new((&source.path, source.line_of(at)), "`unsafe`", why, instead)
    })
    .collect()
}

/// Roots of libraries and commands; integration tests and fuzz targets are roots too, but nothing of ours links them.
fn is_crate_root(path: &str) -> bool {
    path.ends_with("/src/lib.rs") || path.ends_with("/src/main.rs") || path.contains("/src/bin/")
}

#[cfg(test)]
mod tests {
    use super::{Source, check};

    fn whats(path: &str, text: &str) -> Vec<String> {
        check(&Source::new(path, text)).into_iter().map(|finding| finding.what).collect()
    }

    #[test]
    fn a_file_opens_with_what_it_is_for() {
        assert!(whats("crates/sql/src/a.rs", "// Flat table\n//! Names of things.\n").is_empty());
        assert_eq!(whats("crates/sql/src/a.rs", "use x;\n//! Too late.\n"), ["no module docs"]);
        assert_eq!(whats("crates/sql/src/a.rs", "//!\nuse x;\n"), ["no module docs"]);
        assert_eq!(whats("crates/sql/src/a.rs", ""), ["no module docs"]);
    }

    #[test]
    fn every_crate_forbids_unsafe_code() {
        assert!(whats("crates/sql/src/lib.rs", "//! Map.\n#![forbid(unsafe_code)]\n").is_empty());
        assert_eq!(whats("crates/sql/src/lib.rs", "//! Map.\n"), ["no `#![forbid(unsafe_code)]`"]);
        assert_eq!(
            whats("crates/daemon/src/lib.rs", "//! Map.\n#![deny(unsafe_code)]\n"),
            ["no `#![forbid(unsafe_code)]`"]
        );
    }

    #[test]
    fn unsafe_stands_nowhere() {
        let text = "//! Docs, unsafe in prose.\nfn f() { unsafe { g() } }";
        assert_eq!(whats("crates/daemon/src/client.rs", text), ["`unsafe`"]);
    }
}
