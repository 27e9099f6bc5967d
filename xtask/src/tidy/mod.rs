//! The fences: what a machine can see that is not in order.
//!
//! Each rule is a function from text to findings and has its own file; this one finds the files and asks all rules.
//! The rules' tables stand in `tables.rs`. What needs types is left to clippy (`clippy.toml`).

mod bans;
mod book;
mod finding;
mod floors;
mod headers;
pub(crate) mod links;
mod mask;
mod modules;
mod reach;
mod sizes;
mod source;
mod tables;

use std::path::Path;
use std::{fs, io};

use finding::Finding;
use source::Source;

/// Checks the repository at `root`, prints what is not in order, and says whether all is.
pub(crate) fn run(root: &Path) -> io::Result<bool> {
    let findings = findings(&Files::read(root)?, root)?;
    for finding in &findings {
        println!("{finding}");
    }
    if !findings.is_empty() {
        println!("tidy: {} to mend", findings.len());
    }
    Ok(findings.is_empty())
}

fn findings(files: &Files, root: &Path) -> io::Result<Vec<Finding>> {
    let mut sources: Vec<_> = files.ending(".rs").map(|(path, text)| Source::new(path, text)).collect();
    let mut findings = reach::check(&mut sources);
    for source in &sources {
        findings.extend(headers::check(source));
        findings.extend(bans::check(source));
        findings.extend(modules::check(source));
    }
    findings.extend(sizes::check(&sources, &fs::read_to_string(root.join(sizes::EXCEPTIONS))?));
    for (path, text) in files.ending("/Cargo.toml").filter(|(path, _)| !path.starts_with("fuzz/")) {
        findings.extend(floors::check(path, text));
    }
    for (path, text) in files.ending(".md") {
        findings.extend(links::check(path, text, |target| root.join(target).exists()));
    }
    findings.extend(book::check(files.ending(".md"), |file| fs::read_to_string(root.join(file)).ok()));
    findings.sort();
    findings.dedup();
    Ok(findings)
}

/// The texts of the repository: path from its root, and content.
struct Files(Vec<(String, String)>);

impl Files {
    fn read(root: &Path) -> io::Result<Self> {
        let mut files = Vec::new();
        read_folder(root, "", &mut files)?;
        files.sort();
        Ok(Self(files))
    }

    fn ending<'a>(&'a self, suffix: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.0
            .iter()
            .filter(move |(path, _)| path.ends_with(suffix))
            .map(|(path, text)| (path.as_str(), text.as_str()))
    }
}

fn read_folder(folder: &Path, prefix: &str, files: &mut Vec<(String, String)>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let path = format!("{prefix}{name}");
        let kind = entry.file_type()?;
        if kind.is_dir() && !is_not_ours(&entry.path(), &name) {
            read_folder(&entry.path(), &format!("{path}/"), files)?;
        } else if kind.is_file() && [".rs", ".md", "/Cargo.toml"].iter().any(|suffix| path.ends_with(suffix))
        {
            files.push((path, fs::read_to_string(entry.path())?));
        }
    }
    Ok(())
}

/// Build output, downloads and Git's own files.
fn is_not_ours(folder: &Path, name: &str) -> bool {
    matches!(name, "target" | "node_modules" | ".git" | ".venv") || folder.join("CACHEDIR.TAG").exists()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    /// The fences hold for the tool that makes them, whatever else the repository holds.
    #[test]
    fn xtask_obeys_its_own_rules() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lives in the repository");
        let files = super::Files::read(root).expect("the repository is readable");
        let findings = super::findings(&files, root).expect("the repository is readable");
        let own: Vec<_> = findings.iter().filter(|finding| finding.path.starts_with("xtask/")).collect();
        assert!(own.is_empty(), "{own:#?}");
    }
}
