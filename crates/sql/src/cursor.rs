//! Reads a statement word by word, for the statements that are not queries.
//!
//! Every token passes here once, so that the shape of the text is complete. Does not judge.

use crate::fingerprint::Fingerprint;
use crate::lexer::{Kind, Lexer, Token};
use crate::name::{self, Chain};

/// A lexer with the words it reads.
#[derive(Debug)]
pub(crate) struct Cursor<'t> {
    /// The text, of which offsets speak.
    pub(crate) text: &'t str,
    /// Where it stands.
    pub(crate) lexer: Lexer<'t>,
    /// The shape so far.
    pub(crate) shape: Fingerprint,
    /// One past the token taken last.
    pub(crate) taken: usize,
}

impl<'t> Cursor<'t> {
    /// At the beginning of `text`.
    pub(crate) const fn new(text: &'t str, standard_strings: bool) -> Self {
        Self { text, lexer: Lexer::new(text, standard_strings), shape: Fingerprint::new(), taken: 0 }
    }

    /// Takes the next token.
    pub(crate) fn next(&mut self) -> Token {
        let token = self.lexer.next();
        self.shape.token(self.text, token);
        self.taken = token.end;
        token
    }

    /// The next token, without taking it.
    pub(crate) fn peek(&self) -> Token {
        self.lexer.peek()
    }

    /// The token's text.
    pub(crate) fn slice(&self, token: Token) -> &'t str {
        &self.text[token.start..token.end]
    }

    /// True when the token is this key word (in lower case).
    pub(crate) fn is(&self, token: Token, word: &str) -> bool {
        token.kind == Kind::Word && self.slice(token).eq_ignore_ascii_case(word)
    }

    /// Takes the next token if it is this key word.
    pub(crate) fn accept(&mut self, word: &str) -> bool {
        let yes = self.is(self.peek(), word);
        if yes {
            self.next();
        }
        yes
    }

    /// Takes the next token if it is one of these key words.
    pub(crate) fn accept_any(&mut self, words: &[&str]) -> bool {
        words.iter().any(|word| self.accept(word))
    }

    /// Takes the next token if it is of this kind.
    pub(crate) fn accept_kind(&mut self, kind: Kind) -> bool {
        let yes = self.peek().kind == kind;
        if yes {
            self.next();
        }
        yes
    }

    /// True when the statement is over.
    pub(crate) fn at_end(&self) -> bool {
        matches!(self.peek().kind, Kind::End | Kind::Semicolon)
    }

    /// A name, folded. Takes nothing when there is none.
    pub(crate) fn name(&mut self) -> Option<String> {
        let token = self.peek();
        let name = name::owned(self.text, token)?;
        self.next();
        Some(name)
    }

    /// A dotted name.
    pub(crate) fn chain(&mut self) -> Option<Chain> {
        let first = self.peek();
        if !matches!(first.kind, Kind::Word | Kind::QuotedWord) {
            return None;
        }
        self.next();
        let mut chain = Chain { schema: None, object: first };
        while self.accept_kind(Kind::Dot) {
            let part = self.peek();
            if !matches!(part.kind, Kind::Word | Kind::QuotedWord) {
                return None;
            }
            self.next();
            chain = Chain { schema: Some(chain.object), object: part };
        }
        Some(chain)
    }

    /// Takes a whole bracket, of which the opening is next; answers what is between.
    pub(crate) fn bracket(&mut self) -> Option<&'t str> {
        let open = self.next();
        let mut depth = 1_u32;
        loop {
            let token = self.next();
            match token.kind {
                Kind::OpenParen => depth += 1,
                Kind::CloseParen if depth == 1 => return Some(&self.text[open.end..token.start]),
                Kind::CloseParen => depth -= 1,
                Kind::End => return None,
                _ => {}
            }
        }
    }
}

/// The value of a string literal. `None` when it has escapes or continuations, which only PostgreSQL should read.
pub(crate) fn string_value(literal: &str) -> Option<String> {
    let body = match literal.as_bytes() {
        [b'\'', .., b'\''] => &literal[1..literal.len() - 1],
        [b'e' | b'E', b'\'', .., b'\''] if !literal.contains('\\') => &literal[2..literal.len() - 1],
        _ => return None,
    };
    let value = body.replace("''", "\u{0}");
    if value.contains('\'') {
        return None;
    }
    Some(value.replace('\u{0}', "'"))
}
