//! The book's table of contents has every page, and what its pages include is there.
//!
//! Links are `links`' to check, and the text of the pages is nobody's.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::finding::Finding;
use super::links::{resolve, targets};
use crate::book::{PAGES, marks};

/// Checks all documents; `read` answers with the text of a file, if it is there.
pub(crate) fn check<'f>(
    documents: impl Iterator<Item = (&'f str, &'f str)>,
    read: impl Fn(&Path) -> Option<String>,
) -> Vec<Finding> {
    let pages: Vec<_> = documents.filter(|(path, _)| path.starts_with(PAGES)).collect();
    let summary = format!("{PAGES}/SUMMARY.md");
    let listed: BTreeSet<PathBuf> = pages
        .iter()
        .filter(|(path, _)| *path == summary)
        .flat_map(|(_, text)| text.lines().flat_map(targets))
        .map(|target| resolve(&summary, target))
        .collect();
    let mut findings = Vec::new();
    for (path, text) in pages {
        if path != summary && !listed.contains(Path::new(path)) {
            let why = "a page that is not in SUMMARY.md is not in the book";
            findings.push(Finding::new((path, 1), "page without a place", why, "list it there"));
        }
        for (index, line) in text.lines().enumerate() {
            if let Some((include, why)) = included(line).and_then(|include| missing(path, include, &read)) {
                let instead = "name a file and an ANCHOR that are there";
                findings.push(Finding::new(
                    (path, index + 1),
                    format!("include of `{include}`"),
                    why,
                    instead,
                ));
            }
        }
    }
    findings
}

fn included(line: &str) -> Option<&str> {
    line.trim().strip_prefix("{{#include ")?.strip_suffix("}}")
}

/// The include, if it shows nothing, and why.
fn missing<'i>(
    page: &str,
    include: &'i str,
    read: &impl Fn(&Path) -> Option<String>,
) -> Option<(&'i str, &'static str)> {
    let (file, anchor) = include.trim().split_once(':').unwrap_or((include.trim(), ""));
    let Some(text) = read(&resolve(page, file)) else { return Some((include, "there is no such file")) };
    let is_marked = |mark: &str| text.lines().any(|line| marks(line, mark, anchor));
    let found = anchor.is_empty() || (is_marked("ANCHOR") && is_marked("ANCHOR_END"));
    (!found).then_some((include, "the file has no such anchor"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(pages: &[(&str, &str)]) -> Vec<(String, usize)> {
        let read = |file: &Path| {
            (file == Path::new("docs/code.py")).then(|| "# ANCHOR: a\nx\n# ANCHOR_END: a\n".to_owned())
        };
        let pages: Vec<_> =
            pages.iter().map(|(name, text)| (format!("{PAGES}/{name}"), (*text).to_owned())).collect();
        let found = check(pages.iter().map(|(path, text)| (path.as_str(), text.as_str())), read);
        found
            .into_iter()
            .map(|finding| (finding.path.replace(&format!("{PAGES}/"), ""), finding.line))
            .collect()
    }

    #[test]
    fn every_page_has_a_place() {
        let summary = ("SUMMARY.md", "[A](a.md)\n- [B](x/b.md)\n");
        assert!(findings(&[summary, ("a.md", ""), ("x/b.md", "")]).is_empty());
        assert_eq!(findings(&[summary, ("a.md", ""), ("b.md", "")]), [("b.md".to_owned(), 1)]);
    }

    #[test]
    fn what_is_included_is_there() {
        let summary = ("SUMMARY.md", "[A](a.md)\n");
        let page = |text| findings(&[summary, ("a.md", text)]);
        assert!(page("{{#include ../../code.py}}\n{{#include ../../code.py:a}}\n").is_empty());
        assert_eq!(page("\n{{#include ../../code.py:b}}\n"), [("a.md".to_owned(), 2)]);
        assert_eq!(page("{{#include code.py}}\n"), [("a.md".to_owned(), 1)]);
    }
}
