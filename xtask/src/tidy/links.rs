//! Links in Markdown files to files of this repository lead somewhere.
//!
//! Links into the web are not followed, and headings (`#…`) are not checked.

use std::path::{Component, Path, PathBuf};

use super::finding::Finding;

/// Checks one document; `exists` answers for a path from the repository's root.
pub(crate) fn check(path: &str, text: &str, exists: impl Fn(&Path) -> bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, line) in prose_lines(text) {
        for target in targets(&line) {
            let file = resolve(path, target);
            if !exists(&file) {
                let instead = "point it at the file's place, or take it out";
                findings.push(Finding::new(
                    (path, index + 1),
                    format!("link to `{target}`"),
                    "there is no such file",
                    instead,
                ));
            }
        }
    }
    findings
}

/// Lines outside code fences, with code spans taken out.
fn prose_lines(text: &str) -> Vec<(usize, String)> {
    let prose = outside_code(text).enumerate().filter(|(_, (_, is_prose))| *is_prose);
    prose.map(|(index, (line, _))| (index, line.split('`').step_by(2).collect())).collect()
}

/// Each line, and whether it is outside of code fences.
pub(crate) fn outside_code(text: &str) -> impl Iterator<Item = (&str, bool)> {
    let mut fenced = false;
    text.lines().map(move |line| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        (line, !fenced && !fence)
    })
}

/// What `](…)` points at, unless it is the web, mail or a heading of the same page.
pub(crate) fn targets(line: &str) -> Vec<&str> {
    line.split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next())
        .map(|target| target.split([' ', '#']).next().unwrap_or_default())
        .filter(|target| !target.is_empty() && !target.contains("://") && !target.starts_with("mailto:"))
        .collect()
}

/// The file that a link in `document` means, from the root.
pub(crate) fn resolve(document: &str, target: &str) -> PathBuf {
    let start = if target.starts_with('/') {
        Path::new("")
    } else {
        Path::new(document).parent().unwrap_or(Path::new(""))
    };
    let mut file = PathBuf::new();
    for part in start.join(target.trim_start_matches('/')).components() {
        match part {
            Component::ParentDir => _ = file.pop(),
            Component::Normal(name) => file.push(name),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    file
}

#[cfg(test)]
mod tests {
    use super::check;

    fn lines(path: &str, text: &str) -> Vec<usize> {
        let exists = |file: &std::path::Path| {
            ["README.md", "docs/a.md"].iter().any(|known| file == std::path::Path::new(known))
        };
        check(path, text, exists).into_iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn links_that_lead_somewhere_are_fine() {
        let text =
            "[a](../README.md) ![b](a.md#part \"title\") [c](https://x.example/y) [d](#here) [e](/docs/a.md)";
        assert!(lines("docs/b.md", text).is_empty());
    }

    #[test]
    fn a_dead_link_is_found_with_its_line() {
        assert_eq!(lines("docs/b.md", "fine\n[a](README.md)\n"), [2]);
    }

    #[test]
    fn code_is_not_read_as_links() {
        assert!(lines("README.md", "`a[0](x.md)`\n```\n[a](nothing.md)\n```\n").is_empty());
    }
}
