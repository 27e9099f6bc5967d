//! Files, functions and structs stay under the wall; the list of exceptions can only shrink.
//!
//! A line of the list is `path lines`, `path fn name lines` or `path struct name fields`. What is a table rather than a
//! story says `// Flat table` above itself, or on the first line for the whole file, and is not measured.

use std::collections::BTreeMap;
use std::ops::Range;

use super::finding::Finding;
use super::source::{Source, closing, name_at};
use super::tables::{FILE_LINES_MAX, FUNCTION_LINES_MAX, STRUCT_FIELDS_MAX};

pub(crate) const EXCEPTIONS: &str = "xtask/size-exceptions.txt";

/// What is measured: a file, or a function or struct of it.
struct Measure {
    /// As the list of exceptions names it.
    key: String,
    line: usize,
    size: usize,
    size_max: usize,
    unit: &'static str,
}

/// Checks all files against the walls and the text of the list of exceptions.
pub(crate) fn check(sources: &[Source], exceptions: &str) -> Vec<Finding> {
    let (mut listed, mut findings) = read_exceptions(exceptions);
    for source in sources.iter().filter(|source| !source.is_flat_table()) {
        for measure in measures(source).into_iter().filter(|measure| measure.size > measure.size_max) {
            let exception = listed.remove(&measure.key);
            findings.extend(verdict(source, &measure, exception));
        }
    }
    findings.extend(listed.into_iter().map(|(key, exception)| {
        let what = format!("exception for `{key}` is not needed");
        Finding::new((EXCEPTIONS, exception.at), what, "the list only shrinks", "delete the line")
    }));
    findings
}

struct Exception {
    size: usize,
    at: usize,
}

fn verdict(source: &Source, measure: &Measure, exception: Option<Exception>) -> Option<Finding> {
    let Measure { key, line, size, size_max, unit } = measure;
    match exception {
        Some(exception) if *size == exception.size => None,
        Some(exception) if *size < exception.size => {
            let what = format!("`{key}` has shrunk to {size} {unit}");
            Some(Finding::new(
                (EXCEPTIONS, exception.at),
                what,
                "the list only shrinks",
                format!("write {size}"),
            ))
        }
        _ => {
            let what = format!("`{key}` has {size} {unit}, the wall is {size_max}");
            let why = "what does not fit a reader's head hides its mistakes";
            let instead = "cut where one parent keeps the branches and the leaves only compute";
            Some(Finding::new((&source.path, *line), what, why, instead))
        }
    }
}

fn read_exceptions(text: &str) -> (BTreeMap<String, Exception>, Vec<Finding>) {
    let (mut listed, mut findings) = (BTreeMap::new(), Vec::new());
    for (index, line) in
        text.lines().enumerate().filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
    {
        let parsed = line.rsplit_once(' ').and_then(|(key, size)| Some((key.to_owned(), size.parse().ok()?)));
        match parsed {
            Some((key, size)) => _ = listed.insert(key, Exception { size, at: index + 1 }),
            None => {
                let instead = "write `path lines`, `path fn name lines` or `path struct name fields`";
                findings.push(Finding::new(
                    (EXCEPTIONS, index + 1),
                    "unreadable line",
                    "the list is read by a machine",
                    instead,
                ));
            }
        }
    }
    (listed, findings)
}

fn measures(source: &Source) -> Vec<Measure> {
    let file = Measure {
        key: source.path.clone(),
        line: 1,
        size: source.product_lines(),
        size_max: FILE_LINES_MAX,
        unit: "lines",
    };
    let is_measured = |at: &usize| !source.is_test(*at) && !is_flat_table(source, *at);
    let functions = source.find("fn ").filter(is_measured).filter_map(|at| function(source, at));
    let structs = source.find("struct ").filter(is_measured).filter_map(|at| structure(source, at));
    std::iter::once(file).chain(functions).chain(structs).collect()
}

/// Whether the comments and attributes above the item at `at` call it a table.
fn is_flat_table(source: &Source, at: usize) -> bool {
    let above: Vec<&str> = source.text.lines().take(source.line_of(at) - 1).map(str::trim_start).collect();
    let head = above.iter().rev().take_while(|line| line.starts_with("//") || line.starts_with("#["));
    head.into_iter().any(|line| line.starts_with("// Flat table"))
}

/// The function whose `fn` stands at `at`; `None` if it has no name or no body.
fn function(source: &Source, at: usize) -> Option<Measure> {
    let (name, body) = named_body(&source.code, at, "fn ")?;
    Some(Measure {
        key: format!("{} fn {name}", source.path),
        line: source.line_of(at),
        size: source.code[at..body.end].lines().filter(|line| !line.trim().is_empty()).count(),
        size_max: FUNCTION_LINES_MAX,
        unit: "lines",
    })
}

/// The struct whose `struct` stands at `at`; `None` if its fields have no names.
fn structure(source: &Source, at: usize) -> Option<Measure> {
    let (name, body) = named_body(&source.code, at, "struct ")?;
    Some(Measure {
        key: format!("{} struct {name}", source.path),
        line: source.line_of(at),
        size: fields(&source.code[body.start + 1..body.end - 1]),
        size_max: STRUCT_FIELDS_MAX,
        unit: "fields",
    })
}

/// Counts the single colons that stand in no bracket.
fn fields(body: &str) -> usize {
    let (mut count, mut depth) = (0, 0_usize);
    let body = body.replace("::", "  ");
    for byte in body.bytes() {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            b':' if depth == 0 => count += 1,
            _ => {}
        }
    }
    count
}

/// The name after `keyword` at `at`, and the range of the braces that follow it.
fn named_body<'a>(code: &'a str, at: usize, keyword: &str) -> Option<(&'a str, Range<usize>)> {
    let name = name_at(code, at + keyword.len());
    let open = body_start(code, at).filter(|_| !name.is_empty())?;
    Some((name, open..closing(code, open)))
}

/// The brace that opens the body; `None` for a signature alone. A `;` may stand in a type (`[u8; 2]`).
fn body_start(code: &str, at: usize) -> Option<usize> {
    let mut depth = 0_usize;
    for (offset, byte) in code.bytes().enumerate().skip(at) {
        match byte {
            b'(' | b'[' => depth += 1,
            b')' | b']' => depth = depth.saturating_sub(1),
            b'{' if depth == 0 => return Some(offset),
            b';' if depth == 0 => return None,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{Source, check};

    fn long_function(lines: usize) -> Source {
        let body = "    step();\n\n    // why\n".repeat(lines - 2);
        Source::new("crates/x/src/a.rs", &format!("fn long(a: [u8; 2])\n{{\n{body}}}\n"))
    }

    fn whats(source: Source, exceptions: &str) -> Vec<String> {
        check(&[source], exceptions).into_iter().map(|finding| finding.what).collect()
    }

    #[test]
    fn a_function_up_to_the_wall_is_fine_and_one_line_more_is_not() {
        assert!(whats(long_function(69), "").is_empty());
        assert_eq!(
            whats(long_function(71), ""),
            ["`crates/x/src/a.rs fn long` has 72 lines, the wall is 70"]
        );
    }

    #[test]
    fn a_struct_up_to_the_wall_is_fine_and_one_field_more_is_not() {
        let with = |fields: usize| {
            format!("/// A.\nstruct Wide<T: Ord> {{\n{}}}\n", "    a: std::fmt::Error,\n".repeat(fields))
        };
        assert!(whats(Source::new("crates/x/src/a.rs", &with(12)), "").is_empty());
        let wide = whats(Source::new("crates/x/src/a.rs", &with(13)), "");
        assert_eq!(wide, ["`crates/x/src/a.rs struct Wide` has 13 fields, the wall is 12"]);
        let table = format!("// Flat table: counters.\n#[derive(Debug)]\n{}", with(13));
        assert!(whats(Source::new("crates/x/src/a.rs", &table), "").is_empty());
        assert!(whats(Source::new("crates/x/src/a.rs", "struct Pair(u8, u8);\nstruct Unit;"), "").is_empty());
    }

    #[test]
    fn a_file_counts_without_its_tests_and_a_flat_table_not_at_all() {
        let text = "fn a() {}\n".repeat(600);
        let tests = format!("#[cfg(test)]\nmod tests {{\n{text}}}\n");
        assert!(whats(Source::new("crates/x/src/a.rs", &format!("{text}{tests}")), "").is_empty());
        assert_eq!(whats(Source::new("crates/x/src/a.rs", &format!("{text}\n")), "").len(), 1);
        assert!(whats(Source::new("crates/x/src/a.rs", &format!("// Flat table\n{text}")), "").is_empty());
    }

    #[test]
    fn an_exception_holds_for_exactly_the_size_it_names() {
        let key = "# why\ncrates/x/src/a.rs fn long";
        assert!(whats(long_function(71), &format!("{key} 72\n")).is_empty());
        assert_eq!(whats(long_function(71), &format!("{key} 71\n")).len(), 1);
        assert_eq!(
            whats(long_function(71), &format!("{key} 80\n")),
            ["`crates/x/src/a.rs fn long` has shrunk to 72 lines"]
        );
    }

    #[test]
    fn an_exception_that_nobody_needs_is_found() {
        let unneeded = whats(long_function(60), "crates/x/src/a.rs fn long 72\n");
        assert_eq!(unneeded, ["exception for `crates/x/src/a.rs fn long` is not needed"]);
        assert_eq!(whats(long_function(60), "gibberish\n"), ["unreadable line"]);
    }
}
