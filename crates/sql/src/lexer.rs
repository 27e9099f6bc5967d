//! Tokens by PostgreSQL's quoting rules (`src/backend/parser/scan.l`), without allocating.
//!
//! Sees where a token begins and ends, not what it is worth: literals are not decoded, numbers not read. Whatever it is not
//! sure about is a [`Kind::Bad`], and the statement goes to the grammar.

/// The kinds of token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An identifier or key word without quotes.
    Word,
    /// `"…"`.
    QuotedWord,
    /// `'…'`, `E'…'`, `B'…'`, `X'…'`, `U&'…'`, with continuations on later lines.
    String,
    /// `$tag$…$tag$`.
    DollarString,
    /// A number.
    Number,
    /// `$1`.
    Param,
    /// A run of operator characters.
    Operator,
    /// `(`.
    OpenParen,
    /// `)`.
    CloseParen,
    /// `[`.
    OpenBracket,
    /// `]`.
    CloseBracket,
    /// `,`.
    Comma,
    /// `;`.
    Semicolon,
    /// `.`.
    Dot,
    /// `:` and `:=`.
    Colon,
    /// `::`.
    Cast,
    /// Not a token, or one that this lexer does not judge: `U&"…"`, junk after a number, an unfinished literal.
    Bad,
    /// The end of the text.
    End,
}

/// A token: its kind and where it stands in the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    /// What it is.
    pub(crate) kind: Kind,
    /// First byte.
    pub(crate) start: usize,
    /// One past the last byte.
    pub(crate) end: usize,
}

/// Reads one token after the other.
#[derive(Clone, Debug)]
pub(crate) struct Lexer<'a> {
    bytes: &'a [u8],
    at: usize,
    /// `standard_conforming_strings`.
    standard_strings: bool,
    /// A plain string had a backslash while `standard_conforming_strings` is off.
    backslash_seen: bool,
    /// A comment that may be a hint, without its marks, with nothing but semicolons after it.
    hint: Option<(usize, usize)>,
}

/// What a hint comment begins with, after white space.
const HINT_MARK: &[u8] = b"highwater:";

impl<'a> Lexer<'a> {
    /// Starts at the beginning of `text`.
    pub(crate) const fn new(text: &'a str, standard_strings: bool) -> Self {
        Self { bytes: text.as_bytes(), at: 0, standard_strings, backslash_seen: false, hint: None }
    }

    /// Where the next token is looked for.
    pub(crate) const fn position(&self) -> usize {
        self.at
    }

    /// True once a plain string had a backslash that `standard_conforming_strings = off` gives a meaning.
    pub(crate) const fn backslash_seen(&self) -> bool {
        self.backslash_seen
    }

    /// Takes the hint comment before the next token, or before the end.
    pub(crate) const fn take_hint(&mut self) -> Option<(usize, usize)> {
        self.hint.take()
    }

    /// The next token; [`Kind::End`] for ever after the last.
    pub(crate) fn next(&mut self) -> Token {
        let finished = self.skip_blank();
        let start = self.at;
        let kind = if finished { self.token() } else { self.unfinished() };
        if !matches!(kind, Kind::Semicolon | Kind::End) {
            // A comment in the middle is no hint.
            self.hint = None;
        }
        Token { kind, start, end: self.at }
    }

    /// The next token, without moving.
    pub(crate) fn peek(&self) -> Token {
        self.clone().next()
    }

    /// The first byte of the next token; 0 at the end. Moves past white space and comments only.
    pub(crate) fn next_byte(&mut self) -> u8 {
        let before = self.at;
        if self.skip_blank() {
            return self.byte(0);
        }
        self.at = before;
        0
    }

    fn byte(&self, offset: usize) -> u8 {
        self.bytes.get(self.at + offset).copied().unwrap_or(0)
    }

    fn unfinished(&mut self) -> Kind {
        self.at = self.bytes.len();
        Kind::Bad
    }

    fn one(&mut self, kind: Kind) -> Kind {
        self.at += 1;
        kind
    }

    fn token(&mut self) -> Kind {
        let Some(&first) = self.bytes.get(self.at) else {
            return Kind::End;
        };
        match first {
            b'a'..=b'z' | b'A'..=b'Z' | b'_' | 0x80.. => self.word(first),
            b'0'..=b'9' => self.number(),
            b'\'' => self.string(self.standard_strings, !self.standard_strings),
            b'"' => self.quoted_word(),
            b'$' => self.dollar(),
            b'(' => self.one(Kind::OpenParen),
            b')' => self.one(Kind::CloseParen),
            b'[' => self.one(Kind::OpenBracket),
            b']' => self.one(Kind::CloseBracket),
            b',' => self.one(Kind::Comma),
            b';' => self.one(Kind::Semicolon),
            b'.' if self.byte(1).is_ascii_digit() => self.number(),
            b'.' => self.one(Kind::Dot),
            b':' if self.byte(1) == b':' => {
                self.at += 2;
                Kind::Cast
            }
            b':' => self.one(Kind::Colon),
            _ if is_operator(first) => self.operator(),
            _ => self.one(Kind::Bad),
        }
    }

    /// White space and comments; false when a comment does not end. PostgreSQL 15 and older do not take a vertical tab
    /// for white space: they refuse the text, so that it cannot matter to them.
    fn skip_blank(&mut self) -> bool {
        loop {
            match self.byte(0) {
                b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c => self.at += 1,
                b'-' if self.byte(1) == b'-' => self.skip_line_comment(),
                b'/' if self.byte(1) == b'*' => {
                    if !self.skip_block_comment() {
                        return false;
                    }
                }
                _ => return true,
            }
        }
    }

    fn skip_line_comment(&mut self) {
        while self.at < self.bytes.len() && !matches!(self.bytes[self.at], b'\n' | b'\r') {
            self.at += 1;
        }
    }

    fn skip_block_comment(&mut self) -> bool {
        let inside = self.at + 2;
        let mut depth = 1_u32;
        self.at = inside;
        while depth > 0 {
            match (self.byte(0), self.byte(1)) {
                (b'/', b'*') => (depth, self.at) = (depth + 1, self.at + 2),
                (b'*', b'/') => (depth, self.at) = (depth - 1, self.at + 2),
                _ if self.at >= self.bytes.len() => return false,
                _ => self.at += 1,
            }
        }
        let body = &self.bytes[inside..self.at - 2];
        let blank = body.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        if body[blank..].starts_with(HINT_MARK) {
            self.hint = Some((inside + blank + HINT_MARK.len(), self.at - 2));
        }
        true
    }

    fn word(&mut self, first: u8) -> Kind {
        match (first, self.byte(1), self.byte(2)) {
            (b'e' | b'E', b'\'', _) => {
                self.at += 1;
                return self.string(false, false);
            }
            (b'b' | b'B' | b'x' | b'X', b'\'', _) => {
                self.at += 1;
                return self.string(true, false);
            }
            (b'u' | b'U', b'&', b'\'') => {
                self.at += 2;
                return self.string(true, false);
            }
            (b'u' | b'U', b'&', b'"') => {
                self.at += 2;
                self.quoted_word();
                return Kind::Bad;
            }
            _ => {}
        }
        let rest = &self.bytes[self.at..];
        self.at += rest.iter().position(|&byte| !is_word(byte)).unwrap_or(rest.len());
        Kind::Word
    }

    /// From the opening quote. With `standard`, only a doubled quote does not end it; `report` notes a backslash.
    fn string(&mut self, standard: bool, report: bool) -> Kind {
        loop {
            self.at += 1;
            loop {
                match self.byte(0) {
                    b'\'' if self.byte(1) == b'\'' => self.at += 2,
                    b'\'' => break,
                    b'\\' if !standard => {
                        self.backslash_seen |= report;
                        self.at += 2;
                    }
                    _ if self.at >= self.bytes.len() => return self.unfinished(),
                    _ => self.at += 1,
                }
            }
            self.at += 1;
            if !self.continues() {
                return Kind::String;
            }
        }
    }

    /// A string goes on after white space with a line break in it, in the same kind of string. Moves to the quote.
    fn continues(&mut self) -> bool {
        let after = self.at;
        let mut line_break = false;
        loop {
            match self.byte(0) {
                b'\n' | b'\r' => (line_break, self.at) = (true, self.at + 1),
                b' ' | b'\t' | 0x0b | 0x0c => self.at += 1,
                b'-' if self.byte(1) == b'-' => self.skip_line_comment(),
                b'\'' if line_break => return true,
                _ => {
                    self.at = after;
                    return false;
                }
            }
        }
    }

    fn quoted_word(&mut self) -> Kind {
        self.at += 1;
        loop {
            match self.byte(0) {
                b'"' if self.byte(1) == b'"' => self.at += 2,
                b'"' => return self.one(Kind::QuotedWord),
                _ if self.at >= self.bytes.len() => return self.unfinished(),
                _ => self.at += 1,
            }
        }
    }

    /// `$1`, or `$tag$ … $tag$`.
    fn dollar(&mut self) -> Kind {
        let rest = &self.bytes[self.at + 1..];
        if rest.first().is_some_and(u8::is_ascii_digit) {
            let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
            self.at += 1 + digits;
            return self.unless_junk(Kind::Param);
        }
        let tag = rest.iter().take_while(|&&byte| is_word(byte) && byte != b'$').count();
        if rest.get(tag) != Some(&b'$') {
            return self.one(Kind::Bad);
        }
        let mark = &self.bytes[self.at..self.at + tag + 2];
        let mut at = self.at + mark.len();
        loop {
            let Some(dollar) = self.bytes[at..].iter().position(|&byte| byte == b'$') else {
                return self.unfinished();
            };
            at += dollar;
            if self.bytes[at..].starts_with(mark) {
                self.at = at + mark.len();
                return Kind::DollarString;
            }
            at += 1;
        }
    }

    /// Decimal, fractional, exponential, and the other bases of PostgreSQL 16 and later.
    fn number(&mut self) -> Kind {
        let hex =
            self.byte(0) == b'0' && matches!(self.byte(1), b'x' | b'X' | b'o' | b'O' | b'b' | b'B' | b'_');
        if hex {
            // Older versions read `0x1F` as a number and a label.
            self.at += 1;
            self.skip_word();
            return Kind::Bad;
        }
        self.skip_digits();
        if self.byte(0) == b'.' && self.byte(1) != b'.' {
            self.at += 1;
            self.skip_digits();
        }
        if matches!(self.byte(0), b'e' | b'E') {
            let sign = usize::from(matches!(self.byte(1), b'+' | b'-'));
            if self.byte(1 + sign).is_ascii_digit() {
                self.at += 1 + sign;
                self.skip_digits();
            }
        }
        self.unless_junk(Kind::Number)
    }

    fn skip_digits(&mut self) {
        while self.byte(0).is_ascii_digit() {
            self.at += 1;
        }
    }

    fn skip_word(&mut self) {
        while self.at < self.bytes.len() && is_word(self.bytes[self.at]) {
            self.at += 1;
        }
    }

    /// Versions differ on letters that follow a number at once.
    fn unless_junk(&mut self, kind: Kind) -> Kind {
        if self.at < self.bytes.len() && is_word(self.bytes[self.at]) && self.bytes[self.at] != b'$' {
            self.skip_word();
            return Kind::Bad;
        }
        kind
    }

    /// A run of operator characters up to a comment. A final `+` or `-` belongs to what follows, unless the run has one
    /// of the characters that no SQL operator has.
    fn operator(&mut self) -> Kind {
        let rest = &self.bytes[self.at..];
        let mut length = 1;
        while length < rest.len() && is_operator(rest[length]) {
            let comment =
                matches!((rest[length], rest.get(length + 1)), (b'/', Some(b'*')) | (b'-', Some(b'-')));
            if comment {
                break;
            }
            length += 1;
        }
        if !rest[..length].iter().any(|byte| b"~!@#^&|`?%".contains(byte)) {
            while length > 1 && matches!(rest[length - 1], b'+' | b'-') {
                length -= 1;
            }
        }
        self.at += length;
        Kind::Operator
    }
}

const fn is_operator(byte: u8) -> bool {
    matches!(
        byte,
        b'~' | b'!'
            | b'@'
            | b'#'
            | b'^'
            | b'&'
            | b'|'
            | b'`'
            | b'?'
            | b'+'
            | b'-'
            | b'*'
            | b'/'
            | b'%'
            | b'<'
            | b'>'
            | b'='
    )
}

const fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | 0x80..)
}
