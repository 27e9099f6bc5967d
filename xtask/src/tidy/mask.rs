//! Tells code, comments and literals of a Rust file apart, so that no rule is fooled by a word in a string.
//!
//! It is a tokenizer for exactly that question, not a parser: everything else is left to the rules.

/// One file in two layers of the same length: what is not of the layer is blank, line ends stay.
pub(crate) struct Layers {
    pub(crate) code: String,
    pub(crate) comments: String,
}

pub(crate) fn layers(text: &str) -> Layers {
    let bytes = text.as_bytes();
    let mut code = blank(bytes);
    let mut comments = code.clone();
    let mut at = 0;
    while at < bytes.len() {
        match region(bytes, at) {
            Some((Region::Comment, end)) => {
                comments[at..end].copy_from_slice(&bytes[at..end]);
                at = end;
            }
            Some((Region::Literal, end)) => at = end,
            None => {
                code[at] = bytes[at];
                at += 1;
            }
        }
    }
    let whole = |layer| String::from_utf8(layer).expect("regions begin and end at ASCII characters");
    Layers { code: whole(code), comments: whole(comments) }
}

fn blank(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().map(|&byte| if byte == b'\n' { b'\n' } else { b' ' }).collect()
}

enum Region {
    Comment,
    Literal,
}

/// The comment or literal that begins at `at`, and where it ends.
fn region(bytes: &[u8], at: usize) -> Option<(Region, usize)> {
    let rest = &bytes[at..];
    match rest {
        [b'/', b'/', ..] => Some((Region::Comment, at + line_len(rest))),
        [b'/', b'*', ..] => Some((Region::Comment, at + block_comment_len(rest))),
        [b'"', ..] => Some((Region::Literal, at + string_len(rest))),
        [b'\'', ..] => char_len(rest).map(|len| (Region::Literal, at + len)),
        [b'r', ..] if starts_word(bytes, at) => raw_string_len(rest).map(|len| (Region::Literal, at + len)),
        _ => None,
    }
}

/// Whether the `r` at `at` is a prefix of its own, or after `b` or `c`, and not the end of a longer name.
fn starts_word(bytes: &[u8], at: usize) -> bool {
    let is_name =
        |index: usize| bytes.get(index).is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    match at.checked_sub(1) {
        None => true,
        Some(before) if matches!(bytes[before], b'b' | b'c') => before == 0 || !is_name(before - 1),
        Some(before) => !is_name(before),
    }
}

fn line_len(rest: &[u8]) -> usize {
    rest.iter().position(|&byte| byte == b'\n').unwrap_or(rest.len())
}

fn block_comment_len(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < rest.len() {
        match rest[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

fn string_len(rest: &[u8]) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// A character literal's length; `None` for a lifetime, which looks the same at its start.
fn char_len(rest: &[u8]) -> Option<usize> {
    if rest.get(1) == Some(&b'\\') {
        let close = rest.iter().skip(3).position(|&byte| byte == b'\'')?;
        return Some(close + 4);
    }
    let first = std::str::from_utf8(&rest[1..rest.len().min(5)])
        .or_else(|error| std::str::from_utf8(&rest[1..1 + error.valid_up_to()]))
        .ok()?
        .chars()
        .next()?;
    let close = 1 + first.len_utf8();
    (rest.get(close) == Some(&b'\'')).then_some(close + 1)
}

fn raw_string_len(rest: &[u8]) -> Option<usize> {
    let hashes = rest[1..].iter().take_while(|&&byte| byte == b'#').count();
    if rest.get(1 + hashes) != Some(&b'"') {
        return None;
    }
    let close: Vec<u8> = std::iter::once(b'"').chain(std::iter::repeat_n(b'#', hashes)).collect();
    let body = 2 + hashes;
    let len = rest[body..].windows(close.len()).position(|window| window == close);
    Some(len.map_or(rest.len(), |len| body + len + close.len()))
}

#[cfg(test)]
mod tests {
    use super::layers;

    #[test]
    fn comments_and_literals_leave_the_code_layer() {
        let text =
            "let a = \"// no\"; // yes \"x\"\nlet b = r#\"a\"b\"#; /* one /* two */ three */ let c = '\"';";
        let layers = layers(text);
        assert_eq!(layers.code.len(), text.len());
        let words: Vec<_> = layers.code.split_whitespace().collect();
        assert_eq!(words, ["let", "a", "=", ";", "let", "b", "=", ";", "let", "c", "=", ";"]);
        let comments: Vec<_> = layers.comments.lines().map(str::trim).collect();
        assert_eq!(comments, ["// yes \"x\"", "/* one /* two */ three */"]);
    }

    #[test]
    fn lifetimes_are_code_and_characters_are_not() {
        let code = |text| layers(text).code.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(code("fn f<'a>(x: &'a str) {}"), ["fn", "f<'a>(x:", "&'a", "str)", "{}"]);
        assert_eq!(code("f('é', '\\'', b'\\\\', '{') end"), ["f(", ",", ",", "b", ",", ")", "end"]);
    }

    #[test]
    fn an_r_at_the_end_of_a_name_opens_no_raw_string() {
        assert_eq!(layers("for\"a\"x br\"\\\"y r#type").code.trim(), "for   x b    y r#type");
    }
}
