//! One Rust file as the rules look at it: its layers, its lines, and which of them are tests.

use super::mask;

/// A Rust file, read once for all rules.
pub(crate) struct Source {
    /// From the repository's root, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
    /// The text without comments and literals; same length, same lines.
    pub(crate) code: String,
    /// The text's comments alone; same length, same lines.
    pub(crate) comments: String,
    line_starts: Vec<usize>,
    test_lines: Vec<bool>,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let layers = mask::layers(text);
        let line_starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        let mut source = Self {
            path: path.to_owned(),
            text: text.to_owned(),
            code: layers.code,
            comments: layers.comments,
            line_starts,
            test_lines: Vec::new(),
        };
        source.test_lines = source.mark_tests();
        source
    }

    /// The line, counted from 1, of a byte offset.
    pub(crate) fn line_of(&self, offset: usize) -> usize {
        self.line_starts.partition_point(|&start| start <= offset)
    }

    pub(crate) fn is_test(&self, offset: usize) -> bool {
        self.test_lines[self.line_of(offset) - 1]
    }

    /// The whole file is a test: its parent declares it under `#[cfg(test)]`.
    pub(crate) fn mark_whole_as_test(&mut self) {
        self.test_lines.fill(true);
    }

    /// Lines that are not tests, comments and blank ones included.
    pub(crate) fn product_lines(&self) -> usize {
        let last = self.text.lines().count();
        self.test_lines.iter().take(last).filter(|&&test| !test).count()
    }

    /// A table of data rather than code to follow, as its first line says.
    pub(crate) fn is_flat_table(&self) -> bool {
        self.text.lines().next().is_some_and(|line| line.starts_with("// Flat table"))
    }

    /// Byte offsets in the code layer where `needle` stands as a word of its own.
    pub(crate) fn find<'a>(&'a self, needle: &'a str) -> impl Iterator<Item = usize> + 'a {
        words(&self.code, needle)
    }

    fn mark_tests(&self) -> Vec<bool> {
        let whole = is_test_path(&self.path) || self.code.contains("#![cfg(test)]");
        let mut marks = vec![whole; self.line_starts.len()];
        for attribute in ["#[cfg(test)]", "#[cfg(all(test,", "#[test]"] {
            for (start, _) in self.code.match_indices(attribute) {
                let end = item_end(&self.code, start);
                marks[self.line_of(start) - 1..self.line_of(end)].fill(true);
            }
        }
        marks
    }
}

/// Offsets of `needle` in `code` that are not part of a longer name.
pub(crate) fn words<'a>(code: &'a str, needle: &'a str) -> impl Iterator<Item = usize> + 'a {
    let is_name = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    let (first, last) = (needle.as_bytes().first(), needle.as_bytes().last());
    code.match_indices(needle).map(|(at, _)| at).filter(move |&at| {
        let before = at.checked_sub(1).and_then(|before| code.as_bytes().get(before));
        let after = code.as_bytes().get(at + needle.len());
        let is_part = (is_name(first) && is_name(before)) || (is_name(last) && is_name(after));
        !is_part
    })
}

/// The name that begins at `at`, or an empty string.
pub(crate) fn name_at(code: &str, at: usize) -> &str {
    let rest = &code[at..];
    let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
    &rest[..end]
}

/// Where the item whose first attribute begins at `start` ends: at its `;` or its closing brace.
fn item_end(code: &str, start: usize) -> usize {
    let mut at = start;
    while code[at..].trim_start().starts_with("#[") {
        at = closing(code, at + code[at..].find('[').expect("just seen"));
    }
    let mut depth = 0_usize;
    for (offset, byte) in code.bytes().enumerate().skip(at) {
        match byte {
            b'{' if depth == 0 => return closing(code, offset) - 1,
            b';' if depth == 0 => return offset,
            b'(' | b'[' => depth += 1,
            b')' | b']' | b'}' if depth == 0 => return offset,
            b')' | b']' => depth -= 1,
            _ => {}
        }
    }
    code.len().saturating_sub(1)
}

/// The offset just after the bracket that closes the one at `open`.
pub(crate) fn closing(code: &str, open: usize) -> usize {
    let mut depth = 0_usize;
    for (offset, byte) in code.bytes().enumerate().skip(open) {
        match byte {
            b'{' | b'(' | b'[' => depth += 1,
            b'}' | b')' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return offset + 1;
        }
    }
    code.len()
}

fn is_test_path(path: &str) -> bool {
    ["/tests/", "/benches/", "/examples/"].iter().any(|part| path.contains(part))
        || path.ends_with("/tests.rs")
        || path.starts_with("fuzz/")
}

#[cfg(test)]
mod tests {
    use super::Source;

    const MIXED: &str = "fn a() {}\n\n#[cfg(test)]\n#[allow(x)]\nmod tests {\n    fn b() {}\n}\nfn c() {}\n";

    #[test]
    fn test_modules_are_not_product_lines() {
        let source = Source::new("crates/x/src/a.rs", MIXED);
        assert_eq!(source.product_lines(), 3);
        assert!(source.is_test(MIXED.find("fn b").expect("it is there")));
        assert!(!source.is_test(MIXED.find("fn c").expect("it is there")));
    }

    #[test]
    fn test_files_are_known_by_their_place() {
        for path in ["crates/x/tests/a.rs", "crates/x/src/a/tests.rs", "fuzz/fuzz_targets/a.rs"] {
            assert_eq!(Source::new(path, MIXED).product_lines(), 0, "{path}");
        }
    }

    #[test]
    fn a_needle_inside_a_longer_name_is_not_found() {
        let source =
            Source::new("a.rs", "eprintln!(); println!(); MyInstant::now(); std::time::Instant::now();");
        assert_eq!(source.find("println!").count(), 1);
        assert_eq!(source.find("Instant::now").count(), 1);
    }
}
