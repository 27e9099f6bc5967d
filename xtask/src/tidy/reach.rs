//! No dead files: every Rust file of a crate is a root or declared by a `mod` that is reached from one.
//!
//! Also tells which files are tests because their parent declares them under `#[cfg(test)]`.

use std::collections::{BTreeMap, BTreeSet};

use super::finding::Finding;
use super::source::{Source, name_at};

/// `mod name;` as it stands in a file.
struct Declaration {
    name: String,
    is_test: bool,
}

/// Marks files that are declared as tests, and finds those that nobody declares.
pub(crate) fn check(sources: &mut [Source]) -> Vec<Finding> {
    let index: BTreeMap<String, usize> =
        sources.iter().enumerate().map(|(index, source)| (source.path.clone(), index)).collect();
    let mut reached = BTreeSet::new();
    let mut open: Vec<(String, bool)> =
        index.keys().filter(|path| is_root(path)).map(|path| (path.clone(), false)).collect();
    while let Some((path, is_test)) = open.pop() {
        let Some(&at) = index.get(&path) else { continue };
        if is_test {
            sources[at].mark_whole_as_test();
        }
        if reached.insert(path.clone()) {
            for declaration in declarations(&sources[at]) {
                let is_test = is_test || declaration.is_test;
                open.extend(candidates(&path, &declaration.name).map(|child| (child, is_test)));
            }
        }
    }
    let dead = index.keys().filter(|path| !reached.contains(*path));
    let mut findings: Vec<_> = dead.map(|path| dead_file(path)).collect();
    findings.extend(sources.iter().flat_map(path_attributes));
    findings
}

fn dead_file(path: &str) -> Finding {
    let why = "a file that is not compiled is not true";
    Finding::new((path, 1), "no `mod` reaches this file", why, "declare it or delete it")
}

fn path_attributes(source: &Source) -> Vec<Finding> {
    let hits = source.find("#[path").map(|at| source.line_of(at));
    let why = "a module is found where its name says";
    hits.map(|line| Finding::new((&source.path, line), "`#[path]`", why, "move the file")).collect()
}

/// Files that Cargo compiles without being told by a `mod`.
fn is_root(path: &str) -> bool {
    let (folder, file) = path.rsplit_once('/').unwrap_or(("", path));
    let (above, folder_name) = folder.rsplit_once('/').unwrap_or(("", folder));
    match folder_name {
        "src" => matches!(file, "lib.rs" | "main.rs"),
        _ if holds_roots(folder) => true,
        _ => file == "build.rs" || (file == "main.rs" && holds_roots(above)),
    }
}

/// Folders of which Cargo compiles every file, and every `main.rs` one folder below: `src/bin`, but not `src/foo/tests`.
fn holds_roots(folder: &str) -> bool {
    let (above, name) = folder.rsplit_once('/').unwrap_or(("", folder));
    match name {
        "bin" => above.ends_with("/src"),
        "tests" | "benches" | "examples" | "fuzz_targets" => !above.contains("/src"),
        _ => false,
    }
}

fn declarations(source: &Source) -> Vec<Declaration> {
    let hits = source.find("mod ").filter_map(|at| {
        let name = name_at(&source.code, at + "mod ".len());
        let ends = source.code[at + "mod ".len() + name.len()..].starts_with(';');
        (ends && !name.is_empty()).then(|| Declaration { name: name.to_owned(), is_test: source.is_test(at) })
    });
    hits.collect()
}

/// Where `mod name;` in `parent` may live.
fn candidates(parent: &str, name: &str) -> impl Iterator<Item = String> + use<> {
    let (folder, file) = parent.rsplit_once('/').unwrap_or(("", parent));
    let own_folder = if file == "mod.rs" || is_root(parent) {
        folder.to_owned()
    } else {
        format!("{folder}/{}", file.trim_end_matches(".rs"))
    };
    [format!("{own_folder}/{name}.rs"), format!("{own_folder}/{name}/mod.rs")].into_iter()
}

#[cfg(test)]
mod tests {
    use super::{Source, check};

    fn tree(files: &[(&str, &str)]) -> Vec<Source> {
        files.iter().map(|(path, text)| Source::new(path, text)).collect()
    }

    #[test]
    fn files_reached_by_mod_are_alive() {
        let mut sources = tree(&[
            ("crates/x/src/lib.rs", "mod a;\npub(crate) mod b;"),
            ("crates/x/src/a.rs", "mod inner;"),
            ("crates/x/src/a/inner.rs", ""),
            ("crates/x/src/b/mod.rs", "mod c;"),
            ("crates/x/src/b/c.rs", ""),
            ("crates/x/tests/routing.rs", "mod harness;"),
            ("crates/x/tests/harness/mod.rs", ""),
            ("crates/x/tests/end/main.rs", "mod copy;"),
            ("crates/x/tests/end/copy.rs", ""),
        ]);
        assert!(check(&mut sources).is_empty());
    }

    #[test]
    fn a_file_nobody_declares_is_dead() {
        let mut sources = tree(&[("crates/x/src/lib.rs", "// mod a;\nmod b { }"), ("crates/x/src/a.rs", "")]);
        let findings = check(&mut sources);
        assert_eq!((findings.len(), findings[0].path.as_str()), (1, "crates/x/src/a.rs"));
    }

    #[test]
    fn a_module_declared_for_tests_is_a_test_with_all_below_it() {
        let mut sources = tree(&[
            ("crates/x/src/lib.rs", "#[cfg(test)]\nmod probe;\n"),
            ("crates/x/src/probe.rs", "mod inner;\n"),
            ("crates/x/src/probe/inner.rs", "fn f() {}\n"),
        ]);
        assert!(check(&mut sources).is_empty());
        assert_eq!(sources.iter().map(Source::product_lines).collect::<Vec<_>>(), [0, 0, 0]);
    }

    #[test]
    fn a_module_elsewhere_than_its_name_says_is_found() {
        let mut sources = tree(&[("crates/x/src/lib.rs", "#[path = \"y.rs\"]\nmod a;")]);
        assert_eq!(check(&mut sources)[0].what, "`#[path]`");
    }
}
