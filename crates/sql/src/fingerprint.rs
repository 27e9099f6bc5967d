//! The shape of a statement: its text without literals, with case and white space folded, as a hash.
//!
//! Two shapes that meet by accident cost a read on the primary, never a write on a replica; so a fast hash will do.

use crate::lexer::{Kind, Token};

/// A running hash over tokens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fingerprint {
    hash: u64,
    /// A literal, and the comma after it, if any: a list of literals counts as one.
    list: List,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum List {
    Outside,
    Literal,
    Comma,
}

const PRIME: u64 = 0x9e37_79b9_7f4a_7c15;

impl Fingerprint {
    /// Of nothing.
    pub(crate) const fn new() -> Self {
        Self { hash: PRIME, list: List::Outside }
    }

    /// Adds a token.
    pub(crate) fn token(&mut self, text: &str, token: Token) {
        match (token.kind, self.list) {
            (Kind::End, _) => {}
            (Kind::String | Kind::DollarString | Kind::Number | Kind::Param, List::Comma) => {
                self.list = List::Literal;
            }
            (Kind::String | Kind::DollarString | Kind::Number | Kind::Param, _) => {
                self.list = List::Literal;
                self.mix(u64::from(b'?'));
            }
            (Kind::Comma, List::Literal) => self.list = List::Comma,
            (Kind::Word, _) => {
                self.settle();
                self.bytes(text.as_bytes(), token, 0x2020_2020_2020_2020);
            }
            _ => {
                self.settle();
                self.bytes(text.as_bytes(), token, 0);
            }
        }
    }

    /// The hash so far.
    pub(crate) const fn finish(self) -> u64 {
        self.hash ^ (self.hash >> 29)
    }

    /// A comma that did not lead to another literal counts after all.
    fn settle(&mut self) {
        if self.list == List::Comma {
            self.mix(u64::from(b','));
        }
        self.list = List::Outside;
    }

    const fn mix(&mut self, value: u64) {
        self.hash = (self.hash ^ value).wrapping_mul(PRIME).rotate_left(31);
    }

    /// Eight bytes at a time. In a word, bit 5 is the case of an ASCII letter, and no two other characters of a word
    /// differ in it alone, but for letters beyond ASCII; so `fold` sets it.
    fn bytes(&mut self, text: &[u8], token: Token, fold: u64) {
        let mut at = token.start;
        while at < token.end {
            self.mix(eight_bytes(text, at, token.end) | fold);
            at += 8;
        }
        self.mix((token.end - token.start) as u64);
    }
}

/// The bytes from `at`, at most eight and not beyond `end`, as one number.
fn eight_bytes(text: &[u8], at: usize, end: usize) -> u64 {
    let length = (end - at).min(8);
    if let Some(eight) = text[at..].first_chunk::<8>() {
        return u64::from_le_bytes(*eight) & (u64::MAX >> (64 - 8 * length));
    }
    let mut eight = [0; 8];
    eight[..length].copy_from_slice(&text[at..at + length]);
    u64::from_le_bytes(eight)
}
