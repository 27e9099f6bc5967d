//! What is asked, and what has to come back.
//!
//! Every statement adds a number of its text to the key it looks up, as in `SELECT aid + 3000000 FROM pgbench_accounts
//! WHERE aid = 17`, whose answer is 3000017 on every server that has pgbench's tables and on a null backend that can add. So an
//! answer shows both which statement was run and with which parameter: the answer to another question, or of another
//! client's prepared statement under the same name, is another number.

use std::io::Write as _;

use wire::encode;
use wire::frontend::DescribeKind;

/// Texts in use at a time by [`Statements::Few`], and prepared statements of all connections together.
pub const TEXTS: u32 = 16;
/// Keys each text of [`Statements::Few`] is used with when they stand in the text.
const KEYS: u32 = 32;
/// Prepared statements of each connection.
pub const PREPARED: u32 = 4;
/// What a statement's number is multiplied with; keys stay below.
pub const UNIT: u32 = 1_000_000;

/// How statements are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Query, the key in the text.
    Simple,
    /// Parse, Bind, Describe, Execute, Sync with the unnamed statement and the key as parameter, as libpq's `PQexecParams`.
    Extended,
    /// Bind, Describe, Execute, Sync of a statement that was prepared when the connection was opened, as `PQexecPrepared`.
    Prepared,
}

/// Which statements are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Statements {
    /// The same few hundred texts again and again.
    Few,
    /// Keys are drawn from 1 to this, as `pgbench -S` does.
    Random(u32),
    /// Every text is new: about this many bytes of literals, different each time. Simple protocol only.
    Unseen(usize),
    /// As large as [`Statements::Unseen`], but always the same few texts: what a memory of texts is compared with.
    Seen(usize),
}

/// One question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Question {
    /// The number in the text.
    pub(crate) text: u32,
    /// The key looked up.
    pub(crate) key: u32,
}

impl Question {
    /// The only right answer.
    pub(crate) fn answer(self) -> u32 {
        self.text * UNIT + self.key
    }
}

/// Makes one connection's questions and their bytes.
pub(crate) struct Asker {
    protocol: Protocol,
    statements: Statements,
    connection: u32,
    asked: u32,
    random: u64,
    text: Vec<u8>,
    padding: Vec<u8>,
}

impl Asker {
    pub(crate) fn new(protocol: Protocol, statements: Statements, connection: u32) -> Asker {
        let padding = match statements {
            Statements::Unseen(bytes) | Statements::Seen(bytes) => padding(bytes),
            Statements::Few | Statements::Random(_) => Vec::new(),
        };
        let random = 0x9e37_79b9_7f4a_7c15 ^ u64::from(connection).wrapping_mul(0xd129_0d3e_5f2a_1c4b);
        Asker {
            protocol,
            statements,
            connection,
            asked: connection.wrapping_mul(7),
            random,
            text: Vec::new(),
            padding,
        }
    }

    /// The texts to prepare at first, with their names. A name stands for different texts on different connections, so that
    /// a proxy that mixes up names is found out.
    pub(crate) fn preparations(&self) -> Vec<(String, String)> {
        if self.protocol != Protocol::Prepared {
            return Vec::new();
        }
        (0..PREPARED)
            .map(|slot| {
                (
                    format!("s{slot}"),
                    format!(
                        "SELECT aid + {} FROM pgbench_accounts WHERE aid = $1",
                        self.text_of(slot) * UNIT
                    ),
                )
            })
            .collect()
    }

    fn text_of(&self, slot: u32) -> u32 {
        1 + self.connection.wrapping_add(slot) % TEXTS
    }

    /// Appends the next question's messages.
    pub(crate) fn ask(&mut self, out: &mut Vec<u8>) -> Question {
        self.asked = self.asked.wrapping_add(1);
        let slot = self.asked % PREPARED;
        let key = self.key();
        let question = match self.protocol {
            Protocol::Simple => Question { text: 1 + self.connection % TEXTS, key },
            Protocol::Extended | Protocol::Prepared => Question { text: self.text_of(slot), key },
        };
        match self.protocol {
            Protocol::Simple => self.simple(out, question),
            Protocol::Extended => self.extended(out, question, None),
            Protocol::Prepared => self.extended(out, question, Some(slot)),
        }
        question
    }

    fn key(&mut self) -> u32 {
        match self.statements {
            Statements::Random(max) => 1 + self.draw(max),
            Statements::Few if self.protocol == Protocol::Simple => 1 + self.asked % KEYS,
            Statements::Seen(_) => 1 + self.asked % KEYS,
            // A key of its own for each of 999 connections and each of their last thousand questions.
            Statements::Few | Statements::Unseen(_) => self.connection % 999 * 1000 + self.asked % 1000,
        }
    }

    /// A number below `max`, evenly enough.
    fn draw(&mut self, max: u32) -> u32 {
        // xorshift64*: good enough to choose keys with.
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        let high = self.random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32;
        ((high * u64::from(max)) >> 32) as u32
    }

    fn simple(&mut self, out: &mut Vec<u8>, question: Question) {
        if matches!(self.statements, Statements::Unseen(_)) {
            let fresh = self.draw(100_000_000);
            renew(&mut self.padding, fresh);
        }
        self.text.clear();
        self.begin_text(question.text);
        if !self.padding.is_empty() {
            self.text.extend_from_slice(&self.padding);
        }
        self.text.extend_from_slice(b"aid = ");
        digits(&mut self.text, question.key);
        let text = std::str::from_utf8(&self.text).expect("only ASCII was written");
        encode::query(out, text).expect("a short text without zero bytes can be sent");
    }

    fn begin_text(&mut self, number: u32) {
        self.text.extend_from_slice(b"SELECT aid + ");
        digits(&mut self.text, number * UNIT);
        self.text.extend_from_slice(b" FROM pgbench_accounts WHERE ");
    }

    fn extended(&mut self, out: &mut Vec<u8>, question: Question, slot: Option<u32>) {
        const CAN: &str = "short names and values can be sent";
        let named = [b's', b'0' + slot.unwrap_or(0) as u8];
        let name: &[u8] = if slot.is_some() { &named } else { b"" };
        if slot.is_none() {
            self.text.clear();
            self.begin_text(question.text);
            self.text.extend_from_slice(b"aid = $1");
            encode::parse(out, name, &self.text, b"").expect(CAN);
        }
        // No parameter formats, one parameter; its length comes next.
        self.text.clear();
        self.text.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 0]);
        digits(&mut self.text, question.key);
        self.text[7] = (self.text.len() - 8) as u8;
        self.text.extend_from_slice(&[0, 0]);
        encode::bind_with_statement(out, b"", name, &self.text).expect(CAN);
        encode::describe(out, DescribeKind::Portal, b"").expect(CAN);
        encode::execute(out, b"", 0).expect(CAN);
        encode::sync(out);
    }
}

/// Appends a number in decimal digits.
fn digits(out: &mut Vec<u8>, number: u32) {
    write!(out, "{number}").expect("writing to memory cannot fail");
}

/// A condition that costs nothing and has about this many bytes of literals of nine digits.
fn padding(bytes: usize) -> Vec<u8> {
    let mut text = b"bid NOT IN (".to_vec();
    let count = (bytes.saturating_sub(80) / 11).max(1);
    for index in 0..count {
        if index > 0 {
            text.extend_from_slice(b", ");
        }
        write!(text, "{}", 900_000_000 + index % 1000).expect("writing to memory cannot fail");
    }
    text.extend_from_slice(b") AND ");
    text
}

/// Puts another number into the first literal, in place.
fn renew(padding: &mut [u8], fresh: u32) {
    let start = b"bid NOT IN (9".len();
    let mut rest = fresh;
    for byte in padding[start..start + 8].iter_mut().rev() {
        *byte = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use wire::frame;
    use wire::frontend::{Parse, Query};

    fn texts(statements: Statements, count: u32) -> Vec<String> {
        let mut asker = Asker::new(Protocol::Simple, statements, 3);
        (0..count)
            .map(|_| {
                let mut out = Vec::new();
                asker.ask(&mut out);
                let query = Query::parse(&out).expect("a whole Query was written");
                String::from_utf8_lossy(query.text).into_owned()
            })
            .collect()
    }

    #[test]
    fn the_answer_is_the_texts_number_plus_the_key() {
        let mut asker = Asker::new(Protocol::Simple, Statements::Few, 3);
        let mut out = Vec::new();
        let question = asker.ask(&mut out);
        let text = format!("SELECT aid + 4000000 FROM pgbench_accounts WHERE aid = {}", question.key);
        assert_eq!(Query::parse(&out).map(|query| query.text), Ok(text.as_bytes()));
        assert_eq!(question.answer(), 4_000_000 + question.key);
    }

    #[test]
    fn few_texts_are_few_and_unseen_ones_are_all_different() {
        let distinct = |texts: Vec<String>| texts.into_iter().collect::<BTreeSet<_>>().len();
        assert_eq!(distinct(texts(Statements::Few, 1000)), KEYS as usize);
        assert_eq!(distinct(texts(Statements::Seen(200), 1000)), KEYS as usize);
        assert!(distinct(texts(Statements::Unseen(200), 1000)) > 990);
    }

    #[test]
    fn a_padded_text_has_about_the_length_asked_for() {
        for bytes in [200_usize, 20_000] {
            for text in texts(Statements::Unseen(bytes), 3).iter().chain(&texts(Statements::Seen(bytes), 3)) {
                assert!(text.len().abs_diff(bytes) < bytes / 5, "{bytes}: {}", text.len());
            }
        }
    }

    #[test]
    fn a_name_stands_for_different_texts_on_neighbouring_connections() {
        let of = |connection| Asker::new(Protocol::Prepared, Statements::Few, connection).preparations();
        let (one, next) = (of(0), of(1));
        assert!(one.iter().zip(&next).all(|(a, b)| a.0 == b.0 && a.1 != b.1));
        let all: BTreeSet<String> =
            (0..100).flat_map(|connection| of(connection).into_iter().map(|s| s.1)).collect();
        assert_eq!(all.len(), TEXTS as usize);
    }

    #[test]
    fn an_extended_question_is_five_whole_messages() {
        let mut asker = Asker::new(Protocol::Extended, Statements::Random(100_000), 0);
        let mut out = Vec::new();
        let question = asker.ask(&mut out);
        assert!((1..=100_000).contains(&question.key));
        let (mut rest, mut tags) = (out.as_slice(), Vec::new());
        while let Ok(Some(header)) = frame::header(rest) {
            if header.tag == b'P' {
                assert!(Parse::parse(&rest[..header.total]).is_ok());
            }
            tags.push(header.tag);
            rest = &rest[header.total..];
        }
        assert_eq!((tags.as_slice(), rest.len()), (b"PBDES".as_slice(), 0));
    }
}
