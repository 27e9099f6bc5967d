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
                self.word(&text.as_bytes()[token.start..token.end]);
            }
            _ => {
                self.settle();
                self.bytes(&text.as_bytes()[token.start..token.end]);
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

    fn bytes(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            self.mix(word_of(chunk));
        }
        self.mix(bytes.len() as u64);
    }

    /// Bit 5 is the case of an ASCII letter, and no two other characters of a word differ in it alone, but for
    /// letters beyond ASCII.
    fn word(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            self.mix(word_of(chunk) | 0x2020_2020_2020_2020);
        }
        self.mix(bytes.len() as u64);
    }
}

fn word_of(chunk: &[u8]) -> u64 {
    let mut eight = [0; 8];
    eight[..chunk.len()].copy_from_slice(chunk);
    u64::from_le_bytes(eight)
}
