//! Reads the printed form of a tree (`{:?}`) as tokens, so that nothing in a string is taken for a node.

/// A token of the printed form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Token {
    /// A name of a node or a field.
    Word(String),
    /// A string, without its quotes.
    Text(String),
    /// A number.
    Number(i64),
    /// Anything else.
    Mark(char),
}

/// All tokens of a printed form.
pub fn tokens(printed: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut chars = printed.chars().peekable();
    while let Some(c) = chars.next() {
        if c == '"' {
            let mut text = String::new();
            while let Some(c) = chars.next() {
                match c {
                    '"' => break,
                    '\\' => text.extend(chars.next()),
                    c => text.push(c),
                }
            }
            tokens.push(Token::Text(text));
        } else if c.is_alphabetic() || c == '_' {
            let mut word = String::from(c);
            while let Some(c) = chars.next_if(|c| c.is_alphanumeric() || *c == '_') {
                word.push(c);
            }
            tokens.push(Token::Word(word));
        } else if c.is_ascii_digit() || c == '-' {
            let mut number = String::from(c);
            while let Some(c) = chars.next_if(char::is_ascii_digit) {
                number.push(c);
            }
            tokens.push(Token::Number(number.parse().unwrap_or(0)));
        } else if !c.is_whitespace() {
            tokens.push(Token::Mark(c));
        }
    }
    tokens
}

/// What follows each `name:`.
pub fn fields<'a>(tokens: &'a [Token], name: &'a str) -> impl Iterator<Item = &'a [Token]> {
    tokens.windows(2).enumerate().filter_map(move |(i, pair)| {
        let field = matches!(&pair[0], Token::Word(word) if word == name) && pair[1] == Token::Mark(':');
        field.then(|| &tokens[i + 2..])
    })
}

/// The string in `Some("…")`, if one comes next; also past the colon of a field.
pub fn first_string(tokens: &[Token]) -> Option<&str> {
    let tokens = tokens.strip_prefix(&[Token::Mark(':')]).unwrap_or(tokens);
    match tokens {
        [Token::Word(some), Token::Mark('('), Token::Text(text), ..] if some == "Some" => Some(text),
        _ => None,
    }
}

/// The number that comes next.
pub fn first_number(tokens: &[Token]) -> Option<i64> {
    match tokens.first() {
        Some(Token::Number(number)) => Some(*number),
        _ => None,
    }
}

/// True when some `name:` is `true`.
pub fn is_true(tokens: &[Token], name: &str) -> bool {
    fields(tokens, name).any(|value| matches!(value.first(), Some(Token::Word(word)) if word == "true"))
}

/// The names of a list of strings, such as `funcname: [String(String { sval: Some("f"), .. })]`.
pub fn strings_of<'a>(tokens: &'a [Token], field: &'a str) -> Vec<&'a str> {
    let Some(list) = fields(tokens, field).next() else { return Vec::new() };
    let mut depth = 0;
    let mut strings = Vec::new();
    for token in list {
        match token {
            Token::Mark('[') => depth += 1,
            Token::Mark(']') => depth -= 1,
            Token::Text(text) => strings.push(text.as_str()),
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    strings
}

/// The tokens of the node whose `{` comes first.
pub fn until_close(tokens: &[Token]) -> &[Token] {
    let mut depth = 0;
    for (i, token) in tokens.iter().enumerate() {
        match token {
            Token::Mark('{') => depth += 1,
            Token::Mark('}') => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return &tokens[..i];
        }
    }
    tokens
}

/// True when what was printed last before this is the list of names of a type.
pub fn in_type_name(before: &[Token]) -> bool {
    let words = before.iter().rev().filter_map(|token| match token {
        Token::Word(word) => Some(word.as_str()),
        _ => None,
    });
    words.take(12).find(|word| !["String", "sval", "Some"].contains(word)) == Some("names")
}

/// The name before this one in a list of names: its schema.
pub fn name_before(before: &[Token]) -> Option<&str> {
    let list = before.iter().rev().take_while(|token| **token != Token::Mark('['));
    list.filter_map(|token| match token {
        Token::Text(text) => Some(text.as_str()),
        _ => None,
    })
    .next()
}
