//! The book in `docs/book`: its links, and building it.
//!
//! mdBook hands each page to `cargo xtask book-links`. Pages include documents and parts of programs as mdBook itself knows
//! it, and are written so that their links work in the repository; here those that lead out of the book become links to the page that shows that file, or to the repository on the web.
//! Whether they lead to a file at all is `tidy`'s to say.

use std::collections::BTreeMap;
use std::io::{self, Read as _};
use std::path::{Component, Path, PathBuf};
use std::{env, fs};

use serde_json::Value;

use crate::deploy::{Answer, run_tool};
use crate::tidy::links::{outside_code, resolve};

/// Where the pages lie.
pub(crate) const PAGES: &str = "docs/book/src";

/// Where files that are no page can be read.
const REPOSITORY: &str = "https://github.com/highwater/highwater/blob/main";

/// Builds it into `book` of the target directory, if mdBook is installed.
pub(crate) fn build(root: &Path) -> io::Result<Answer> {
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let target = std::path::absolute(target)?;
    let own = target.join("mdbook/bin/mdbook");
    let program = if own.exists() { own.to_string_lossy().into_owned() } else { "mdbook".to_owned() };
    let place = target.join("book").to_string_lossy().into_owned();
    run_tool(&root.join("docs/book"), &program, &["build", "--dest-dir", &place], "./run book installs it")
}

/// mdBook's preprocessor: a JSON list of context and book on standard input, the book on standard output.
pub(crate) fn rewrite_links(root: &Path) -> io::Result<()> {
    let mut said = String::new();
    io::stdin().read_to_string(&mut said)?;
    let Ok(Value::Array(mut said)) = serde_json::from_str(&said) else {
        return Err(io::Error::other(
            "this command is for mdBook, which sends it a list of context and book",
        ));
    };
    let mut book = said.pop().unwrap_or_default();
    let pages = Pages::read(root)?;
    rewrite(&mut book, &pages)?;
    println!("{book}");
    Ok(())
}

/// Every page of the book, wherever in its tree: an object with `content` and `path`.
fn rewrite(value: &mut Value, pages: &Pages<'_>) -> io::Result<()> {
    match value {
        Value::Array(items) => items.iter_mut().try_for_each(|item| rewrite(item, pages)),
        Value::Object(fields) => {
            let path = fields.get("path").and_then(Value::as_str).map(str::to_owned);
            if let (Some(path), Some(Value::String(content))) = (path, fields.get_mut("content")) {
                *content = pages.shown(&format!("{PAGES}/{path}"), content)?;
            }
            fields.values_mut().try_for_each(|field| rewrite(field, pages))
        }
        _ => Ok(()),
    }
}

/// What is shown where.
struct Pages<'r> {
    root: &'r Path,
    /// Files that are shown by a page: the file, the page.
    shown_by: BTreeMap<PathBuf, PathBuf>,
}

impl<'r> Pages<'r> {
    fn read(root: &'r Path) -> io::Result<Self> {
        let mut shown_by = BTreeMap::new();
        let mut folders = vec![root.join(PAGES)];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder)? {
                let path = entry?.path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|end| end == "md") {
                    let page = path.strip_prefix(root).expect("it was found below the root").to_owned();
                    for file in fs::read_to_string(&path)?.lines().filter_map(included_page) {
                        shown_by.insert(resolve(&page.to_string_lossy(), file), page.clone());
                    }
                }
            }
        }
        Ok(Pages { root, shown_by })
    }

    /// A page's text with other documents in their place and with links that work in the book.
    fn shown(&self, page: &str, text: &str) -> io::Result<String> {
        let mut shown = String::new();
        for (line, is_prose) in outside_code(text) {
            match included_page(line).filter(|_| is_prose) {
                Some(file) => {
                    let file = resolve(page, file).to_string_lossy().into_owned();
                    let included = fs::read_to_string(self.root.join(&file))
                        .map_err(|error| io::Error::new(error.kind(), format!("{page}: {file}: {error}")))?;
                    for (line, is_prose) in outside_code(&included) {
                        shown += &self.line(line, is_prose, &file, page);
                    }
                }
                None => match line.strip_prefix("{{#include ").and_then(|rest| rest.strip_suffix("}}")) {
                    Some(part) => shown += &self.part(page, part)?,
                    None => shown += &self.line(line, is_prose, page, page),
                },
            }
        }
        Ok(shown)
    }

    /// What stands between the marks of an anchor, moved to the left. Of a document with links that work on the page.
    fn part(&self, page: &str, include: &str) -> io::Result<String> {
        let (file, anchor) = include.split_once(':').unwrap_or((include, ""));
        let file = resolve(page, file).to_string_lossy().into_owned();
        let text = fs::read_to_string(self.root.join(&file))
            .map_err(|error| io::Error::new(error.kind(), format!("{page}: {include}: {error}")))?;
        let part = between_marks(&text, anchor);
        if !file.ends_with(".md") {
            return Ok(part);
        }
        Ok(outside_code(&part).map(|(line, is_prose)| self.line(line, is_prose, &file, page)).collect())
    }

    /// One line of `document`, shown on `page`.
    fn line(&self, line: &str, is_prose: bool, document: &str, page: &str) -> String {
        let mut parts = line.split("](");
        let mut shown = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            shown += "](";
            match part.split_once(')').filter(|_| is_prose) {
                Some((target, rest)) => shown += &format!("{}){rest}", self.target(target, document, page)),
                None => shown += part,
            }
        }
        shown + "\n"
    }

    fn target(&self, target: &str, document: &str, page: &str) -> String {
        if target.starts_with('#') || target.contains("://") || target.starts_with("mailto:") {
            return target.to_owned();
        }
        let (path, part) =
            target.split_once('#').map_or((target, String::new()), |(path, part)| (path, format!("#{part}")));
        let file = resolve(document, path);
        let shown = self.shown_by.get(&file).unwrap_or(&file);
        if shown.starts_with(PAGES) {
            let from = Path::new(page).parent().unwrap_or(Path::new(""));
            format!("{}{part}", relative(from, shown))
        } else {
            format!("{REPOSITORY}/{}{part}", file.display())
        }
    }
}

/// The document of a line that is nothing but its inclusion.
fn included_page(line: &str) -> Option<&str> {
    let file = line.trim().strip_prefix("{{#include ")?.strip_suffix("}}")?.trim();
    file.ends_with(".md").then_some(file)
}

/// The lines between `ANCHOR: name` and `ANCHOR_END: name`, or all, without marks and common indentation.
fn between_marks(text: &str, anchor: &str) -> String {
    let lines = text.lines().skip_while(|line| !anchor.is_empty() && !marks(line, "ANCHOR", anchor));
    let lines = lines.take_while(|line| anchor.is_empty() || !marks(line, "ANCHOR_END", anchor));
    let lines: Vec<_> =
        lines.filter(|line| !line.contains("ANCHOR: ") && !line.contains("ANCHOR_END: ")).collect();
    let indents = lines.iter().filter(|line| !line.trim().is_empty());
    let indent = indents.map(|line| line.len() - line.trim_start().len()).min().unwrap_or(0);
    lines.iter().map(|line| format!("{}\n", line.get(indent..).unwrap_or_default())).collect()
}

/// Whether a line sets this mark. A comment's end may follow it.
pub(crate) fn marks(line: &str, mark: &str, anchor: &str) -> bool {
    let name = line.split_once(&format!("{mark}: ")).and_then(|(_, rest)| rest.split_whitespace().next());
    name == Some(anchor)
}

fn relative(from: &Path, to: &Path) -> String {
    let (from, to): (Vec<Component<'_>>, Vec<_>) = (from.components().collect(), to.components().collect());
    let common = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
    let mut parts = vec!["..".to_owned(); from.len() - common];
    parts.extend(to[common..].iter().map(|part| part.as_os_str().to_string_lossy().into_owned()));
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(document: &str, page: &str, line: &str) -> String {
        let shown_by = [("docs/config.md", "docs/book/src/reference/config.md")];
        let shown_by = shown_by.map(|(file, page)| (PathBuf::from(file), PathBuf::from(page))).into();
        let pages = Pages { root: Path::new(""), shown_by };
        pages.line(line, true, document, page)
    }

    const PAGE: &str = "docs/book/src/recipes/x.md";

    #[test]
    fn code_between_marks_is_moved_to_the_left() {
        let text = "a\n  # ANCHOR: x\n  b\n    # ANCHOR: y\n\n    c\n  # ANCHOR_END: x\n  d\n";
        assert_eq!(between_marks(text, "x"), "b\n\n  c\n");
        assert_eq!(between_marks("a\n# ANCHOR: x\nb\n", ""), "a\nb\n");
        let page = "<!-- ANCHOR: xy -->\na\n<!-- ANCHOR_END: xy -->\n<!-- ANCHOR: x -->\nb\n<!-- ANCHOR_END: x -->\nc\n";
        assert_eq!(between_marks(page, "x"), "b\n");
    }

    #[test]
    fn a_link_to_a_page_or_the_web_stays() {
        for line in ["[a](../levels.md#try)\n", "[a](#here) [b](https://x.example/y.md)\n", "[a](index.md)\n"]
        {
            assert_eq!(shown(PAGE, PAGE, line.trim_end()), line);
        }
    }

    #[test]
    fn a_link_to_a_file_that_a_page_shows_leads_to_the_page() {
        let line = "see [a](../../../config.md#pool) and [b](../levels.md)";
        let wanted = "see [a](../reference/config.md#pool) and [b](../levels.md)\n";
        assert_eq!(shown(PAGE, PAGE, line), wanted);
    }

    #[test]
    fn a_link_in_an_included_document_is_read_from_its_own_place() {
        let page = "docs/book/src/reference/pooling.md";
        assert_eq!(shown("docs/pooling.md", page, "[a](config.md)"), "[a](config.md)\n");
        let line = shown("docs/pooling.md", page, "[a](adr/0005-several-workers.md)");
        assert_eq!(line, format!("[a]({REPOSITORY}/docs/adr/0005-several-workers.md)\n"));
    }
}
