//! Finds the variables in a statement: `:name`, where it is not in a literal, a quoted name, a comment or a cast.

use load::script::Piece;

use super::At;

/// Most variables of one statement; PostgreSQL takes 65,535 parameters.
const VARIABLES_MAX: usize = 1000;

/// Cuts a statement at its variables.
pub(super) fn cut(source: &str, names: &[&str]) -> Result<Vec<Piece>, At> {
    let bytes = source.as_bytes();
    let (mut pieces, mut text_from, mut at, mut found) = (Vec::new(), 0, 0, 0);
    while at < bytes.len() {
        let Some(name) = variable_at(source, at) else {
            at = skip(source, at);
            continue;
        };
        let known = names.iter().position(|known| *known == name);
        let index = known.ok_or_else(|| unknown(name, names, at))?;
        found += 1;
        if found > VARIABLES_MAX {
            return Err((at, format!("a statement has at most {VARIABLES_MAX} variables")));
        }
        if text_from < at {
            pieces.push(Piece::Text(source[text_from..at].to_owned()));
        }
        pieces.push(Piece::Variable(index));
        at += 1 + name.len();
        text_from = at;
    }
    if text_from < bytes.len() {
        pieces.push(Piece::Text(source[text_from..].to_owned()));
    }
    Ok(pieces)
}

fn unknown(name: &str, names: &[&str], at: usize) -> At {
    let known = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    (at, format!("there is no `-- set {name} …` before this statement (set so far: {known})"))
}

/// The name of the variable that begins here, if one does.
fn variable_at(source: &str, at: usize) -> Option<&str> {
    let bytes = source.as_bytes();
    // Behind a word or bracket a colon is a slice of an array: `a[1:n]`, which PostgreSQL wants with a blank then.
    let follows = at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || b"_])".contains(&bytes[at - 1]));
    if bytes[at] != b':' || follows {
        return None;
    }
    let name = &source[at + 1..];
    let first = *name.as_bytes().first()?;
    if !first.is_ascii_alphabetic() && first != b'_' {
        return None;
    }
    let length = name.bytes().take_while(|b| b.is_ascii_alphanumeric() || *b == b'_').count();
    Some(&name[..length])
}

/// One past the character, literal, quoted name, comment or cast that begins here.
fn skip(source: &str, at: usize) -> usize {
    let (bytes, rest) = (source.as_bytes(), &source[at..]);
    let behind = |found: Option<usize>, length: usize| found.map_or(bytes.len(), |to| at + to + length);
    match bytes[at] {
        b'\'' => {
            let escapes = at > 0
                && bytes[at - 1].eq_ignore_ascii_case(&b'e')
                && (at < 2 || !(bytes[at - 2].is_ascii_alphanumeric() || bytes[at - 2] == b'_'));
            literal_end(bytes, at, escapes)
        }
        b'"' => behind(rest[1..].find('"'), 2),
        b'-' if rest.starts_with("--") => behind(rest.find('\n'), 1),
        b'/' if rest.starts_with("/*") => comment_end(bytes, at),
        b':' if rest.starts_with("::") => at + 2,
        b'$' => dollar_end(source, at),
        _ => at + rest.chars().next().map_or(1, char::len_utf8),
    }
}

/// A doubled quote ends one literal and begins the next, which comes to the same.
fn literal_end(bytes: &[u8], at: usize, escapes: bool) -> usize {
    let mut end = at + 1;
    while end < bytes.len() {
        match bytes[end] {
            b'\'' => return end + 1,
            b'\\' if escapes => end += 2,
            _ => end += 1,
        }
    }
    bytes.len()
}

/// Comments nest.
fn comment_end(bytes: &[u8], at: usize) -> usize {
    let (mut depth, mut end) = (0_u32, at);
    while end < bytes.len() {
        if bytes[end..].starts_with(b"/*") {
            depth += 1;
            end += 2;
        } else if bytes[end..].starts_with(b"*/") {
            depth -= 1;
            end += 2;
            if depth == 0 {
                return end;
            }
        } else {
            end += 1;
        }
    }
    bytes.len()
}

/// `$tag$…$tag$`; a dollar that opens none is an ordinary character.
fn dollar_end(source: &str, at: usize) -> usize {
    let rest = &source[at + 1..];
    let tag = rest.bytes().take_while(|b| b.is_ascii_alphanumeric() || *b == b'_').count();
    if rest.as_bytes().get(tag) != Some(&b'$') || rest.as_bytes()[0].is_ascii_digit() {
        return at + 1;
    }
    let mark = &source[at..at + tag + 2];
    let body = at + mark.len();
    source[body..].find(mark).map_or(source.len(), |found| body + found + mark.len())
}
