//! What an expression of PromQL asks for: the names of series, their labels, and the labels it groups or matches by.
//!
//! It reads tokens, not grammar: whether the expression is one is promtool's to say.

/// A series that an expression selects.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Selector {
    pub(crate) name: String,
    /// Labels in its braces.
    pub(crate) labels: Vec<String>,
    /// Followed by a range, as a counter must be.
    pub(crate) has_range: bool,
}

/// What an expression asks for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) selectors: Vec<Selector>,
    /// Labels behind `by`, `without`, `on`, `ignoring`, `group_left` and `group_right`.
    pub(crate) grouped: Vec<String>,
}

const GROUPING: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];
const OPERATORS: [&str; 5] = ["and", "or", "unless", "offset", "bool"];

/// Reads an expression.
pub(crate) fn read(expression: &str) -> Asked {
    let mut asked = Asked::default();
    let mut rest = expression.trim_start();
    while let Some(first) = rest.chars().next() {
        if first == '"' {
            rest = after_string(rest);
        } else if first.is_ascii_digit() {
            rest = rest.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '.');
        } else if is_word(first) {
            let (word, behind) = split_word(rest);
            rest = read_word(word, behind.trim_start(), &mut asked);
        } else {
            rest = &rest[first.len_utf8()..];
        }
        rest = rest.trim_start();
    }
    asked
}

/// Takes what belongs to the word and returns what is behind it.
fn read_word<'a>(word: &str, behind: &'a str, asked: &mut Asked) -> &'a str {
    if GROUPING.contains(&word)
        && let Some(list) = behind.strip_prefix('(')
    {
        let (list, behind) = list.split_once(')').unwrap_or((list, ""));
        asked.grouped.extend(list.split(',').map(|label| label.trim().to_owned()).filter(|l| !l.is_empty()));
        return behind;
    }
    // `sum by (…) (…)` is a call, too.
    let is_call = behind.starts_with('(') || ["by", "without"].contains(&split_word(behind).0);
    if OPERATORS.contains(&word) || is_call {
        return behind;
    }
    let (labels, behind) = read_braces(behind);
    let has_range = behind.starts_with('[');
    let behind = if has_range { behind.split_once(']').map_or("", |(_, behind)| behind) } else { behind };
    asked.selectors.push(Selector { name: word.to_owned(), labels, has_range });
    behind
}

fn read_braces(text: &str) -> (Vec<String>, &str) {
    let mut labels = Vec::new();
    let Some(mut rest) = text.strip_prefix('{') else { return (labels, text) };
    while let Some(first) = rest.chars().next() {
        if first == '}' {
            return (labels, rest[1..].trim_start());
        }
        if first == '"' {
            rest = after_string(rest);
        } else if is_word(first) {
            let (word, behind) = split_word(rest);
            labels.push(word.to_owned());
            rest = behind;
        } else {
            rest = &rest[first.len_utf8()..];
        }
    }
    (labels, "")
}

fn split_word(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !is_word(c) && !c.is_ascii_digit()).unwrap_or(text.len());
    text.split_at(end)
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphabetic() || c == '_' || c == ':'
}

/// What is behind the string that `text` begins with.
fn after_string(text: &str) -> &str {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            '"' if !escaped => return &text[at + 1..],
            _ => escaped = c == '\\' && !escaped,
        }
    }
    ""
}

/// Every number an expression compares with, with its operator: `> 0.7`.
pub(crate) fn comparisons(expression: &str) -> Vec<(String, f64)> {
    let words: Vec<&str> = expression.split_whitespace().collect();
    let pairs = words.windows(2).filter(|pair| matches!(pair[0], ">" | ">=" | "<" | "<=" | "=="));
    pairs.filter_map(|pair| Some((pair[0].to_owned(), pair[1].parse().ok()?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(expression: &str) -> Vec<String> {
        read(expression).selectors.into_iter().map(|selector| selector.name).collect()
    }

    #[test]
    fn functions_operators_durations_and_strings_are_no_series() {
        assert_eq!(
            names("sum by (le) (rate(a_bucket[5m])) / 10 and b offset 10m > bool 2"),
            ["a_bucket", "b"]
        );
        assert_eq!(names(r#"label_replace(up{job="x{y}\" z"}, "a", "$1", "b", ".*") == 1"#), ["up"]);
        assert_eq!(names("instance:x:ratio_rate5m > 0.7"), ["instance:x:ratio_rate5m"]);
    }

    #[test]
    fn labels_are_told_apart_from_their_values() {
        let asked = read(r#"a{role=~"b|c", le="0.5"}[5m] / ignoring (slot, node) group_left () d"#);
        assert_eq!(asked.selectors[0].labels, ["role", "le"]);
        assert!(asked.selectors[0].has_range && !asked.selectors[1].has_range);
        assert_eq!(asked.grouped, ["slot", "node"]);
    }

    #[test]
    fn comparisons_are_numbers_with_their_operator() {
        assert_eq!(
            comparisons("a > 0.7 and b == 1 or c > d"),
            [(">".to_owned(), 0.7), ("==".to_owned(), 1.0)]
        );
    }
}
