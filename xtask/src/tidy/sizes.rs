//! Files and functions stay under the wall; the list of exceptions can only shrink.
//!
//! A line of the list is `path lines` for a file and `path fn name lines` for a function.

use std::collections::BTreeMap;

use super::finding::Finding;
use super::source::{Source, closing, name_at};
use super::tables::{FILE_LINES_MAX, FUNCTION_LINES_MAX};

pub(crate) const EXCEPTIONS: &str = "xtask/size-exceptions.txt";

/// What is measured: a file, or a function of it.
struct Measure {
    /// As the list of exceptions names it.
    key: String,
    line: usize,
    lines: usize,
    lines_max: usize,
}

/// Checks all files against the walls and the text of the list of exceptions.
pub(crate) fn check(sources: &[Source], exceptions: &str) -> Vec<Finding> {
    let (mut listed, mut findings) = read_exceptions(exceptions);
    for source in sources.iter().filter(|source| !source.is_flat_table()) {
        for measure in measures(source).into_iter().filter(|measure| measure.lines > measure.lines_max) {
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
    lines: usize,
    at: usize,
}

fn verdict(source: &Source, measure: &Measure, exception: Option<Exception>) -> Option<Finding> {
    let Measure { key, line, lines, lines_max } = measure;
    match exception {
        Some(exception) if *lines == exception.lines => None,
        Some(exception) if *lines < exception.lines => {
            let what = format!("`{key}` has shrunk to {lines} lines");
            Some(Finding::new(
                (EXCEPTIONS, exception.at),
                what,
                "the list only shrinks",
                format!("write {lines}"),
            ))
        }
        _ => {
            let why = "what does not fit a reader's head hides its mistakes";
            let instead = "cut where one parent keeps the branches and the leaves only compute";
            Some(Finding::new(
                (&source.path, *line),
                format!("`{key}` has {lines} lines, the wall is {lines_max}"),
                why,
                instead,
            ))
        }
    }
}

fn read_exceptions(text: &str) -> (BTreeMap<String, Exception>, Vec<Finding>) {
    let (mut listed, mut findings) = (BTreeMap::new(), Vec::new());
    for (index, line) in
        text.lines().enumerate().filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
    {
        let parsed =
            line.rsplit_once(' ').and_then(|(key, lines)| Some((key.to_owned(), lines.parse().ok()?)));
        match parsed {
            Some((key, lines)) => _ = listed.insert(key, Exception { lines, at: index + 1 }),
            None => {
                let instead = "write `path lines` or `path fn name lines`";
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
        lines: source.product_lines(),
        lines_max: FILE_LINES_MAX,
    };
    let functions =
        source.find("fn ").filter(|&at| !source.is_test(at)).filter_map(|at| function(source, at));
    std::iter::once(file).chain(functions).collect()
}

/// The function whose `fn` stands at `at`; `None` if it has no name or no body.
fn function(source: &Source, at: usize) -> Option<Measure> {
    let code = &source.code;
    let name = name_at(code, at + "fn ".len());
    let open = body_start(code, at).filter(|_| !name.is_empty())?;
    let body = &code[at..closing(code, open)];
    let lines = body.lines().filter(|line| !line.trim().is_empty()).count();
    let key = format!("{} fn {name}", source.path);
    Some(Measure { key, line: source.line_of(at), lines, lines_max: FUNCTION_LINES_MAX })
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
