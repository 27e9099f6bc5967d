//! From a text to its verdict: statement by statement, each by its first word.
//!
//! Queries go to `query` and, when that is unsure, to the grammar; the other statements are settled here. What cannot
//! be settled is Unknown.

use crate::catalogue::harmless::effects_of_function;
use crate::class::{Class, Effects, Why};
use crate::cursor::Cursor;
use crate::grammar::{Answer, Grammar};
use crate::judge::Judge;
use crate::lexer::{Kind, Token};
use crate::name::Folded;
use crate::verdict::{Detail, Hints, Verdict};
use crate::{Environment, TEXT_BYTES_MAX, hints, query, settings};

/// What was found out about a statement.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Finding {
    /// Its class.
    pub(crate) class: Class,
    /// The rule.
    pub(crate) why: Why,
}

/// Shorthands, since most statements have nothing more to say.
impl Finding {
    pub(crate) const fn reads(why: Why) -> Self {
        Self { class: Class::Reads, why }
    }

    pub(crate) const fn unknown(why: Why) -> Self {
        Self { class: Class::Unknown, why }
    }

    pub(crate) const fn writes(why: Why) -> Self {
        Self { class: Class::Writes, why }
    }
}

/// The verdict on a text; without a grammar, what the lexer is unsure of stays Unknown.
pub(crate) fn verdict(text: &[u8], env: &Environment<'_>, grammar: Option<&dyn Grammar>) -> Verdict {
    let readable = std::str::from_utf8(text);
    let lossy = String::from_utf8_lossy(if readable.is_ok() { &[] } else { text });
    let force = if readable.is_err() {
        Some(Why::NonUtf8)
    } else if text.len() > TEXT_BYTES_MAX {
        Some(Why::TooLong)
    } else if text.contains(&0) {
        Some(Why::ZeroByte)
    } else {
        None
    };
    let grammar = grammar.filter(|_| force.is_none());
    let mut reader = Reader::new(readable.unwrap_or(&lossy), env, grammar);
    reader.statements();
    let mut verdict = reader.finish();
    let force = if reader.cursor.lexer.backslash_seen() { Some(Why::NonStandardString) } else { force };
    if let Some(why) = force {
        verdict.rerunnable = false;
        if verdict.class == Class::Reads {
            (verdict.class, verdict.why) = (Class::Unknown, why);
        }
    }
    verdict
}

/// Reads the statements of one text.
pub(crate) struct Reader<'t, 'e> {
    /// Where it reads.
    pub(crate) cursor: Cursor<'t>,
    env: &'e Environment<'e>,
    grammar: Option<&'e dyn Grammar>,
    /// Effects of all statements so far.
    pub(crate) effects: Effects,
    /// Details of all statements so far.
    pub(crate) details: Vec<Detail>,
    total: Option<Finding>,
    statements: u32,
    /// Where the statement at hand begins.
    start: usize,
    hints: Option<Hints>,
}

impl<'t, 'e> Reader<'t, 'e> {
    fn new(text: &'t str, env: &'e Environment<'e>, grammar: Option<&'e dyn Grammar>) -> Self {
        Self {
            cursor: Cursor::new(text, env.standard_conforming_strings),
            env,
            grammar,
            effects: Effects::NONE,
            details: Vec::new(),
            total: None,
            statements: 0,
            start: 0,
            hints: None,
        }
    }

    fn statements(&mut self) {
        loop {
            let next = self.cursor.lexer.next_byte();
            if self.statements == 0 {
                self.hint();
            }
            match next {
                b';' => _ = self.cursor.next(),
                0 if self.cursor.peek().kind == Kind::End => break,
                _ => {
                    let finding = self.set_config().unwrap_or_else(|| self.statement());
                    self.add(finding);
                }
            }
        }
        self.hint();
    }

    /// A SET that is said as a query, if the next statement is one. Never inside another statement, where it may not run.
    fn set_config(&mut self) -> Option<Finding> {
        let start = self.cursor.lexer.position();
        if !begins_like_set_config(&self.cursor.text.as_bytes()[start..]) {
            return None;
        }
        let detail = settings::set_config(&mut self.cursor, start, self.env)?;
        self.effects |= Effects::SET;
        self.details.push(detail);
        Some(Finding::reads(Why::Set))
    }

    /// One statement, up to its semicolon.
    fn statement(&mut self) -> Finding {
        self.start = self.cursor.lexer.position();
        let finding = self.body();
        // More than the statement should have: only the grammar can say.
        if self.cursor.at_end() { finding } else { self.unparsed() }
    }

    fn add(&mut self, finding: Finding) {
        self.statements += 1;
        self.total = Some(match self.total {
            None => finding,
            Some(total) if total.class == finding.class => total,
            Some(total) => Finding { class: total.class.max(finding.class), why: Why::SeveralStatements },
        });
    }

    fn hint(&mut self) {
        if let Some((start, end)) = self.cursor.lexer.take_hint() {
            hints::read(&self.cursor.text[start..end], self.hints.get_or_insert_default());
        }
    }

    fn finish(&mut self) -> Verdict {
        let total = self.total.unwrap_or(Finding::reads(Why::Empty));
        let query = matches!(total.why, Why::PlainSelect | Why::Show | Why::Empty | Why::Explain);
        Verdict {
            class: total.class,
            why: total.why,
            effects: self.effects,
            statements: self.statements,
            rerunnable: total.class == Class::Reads
                && self.statements <= 1
                && query
                && self.effects.is_empty(),
            shape: self.cursor.shape.finish(),
            details: std::mem::take(&mut self.details),
            hints: self.hints.take(),
        }
    }

    /// A statement or the inner statement of EXPLAIN, PREPARE, DECLARE or COPY.
    pub(crate) fn body(&mut self) -> Finding {
        let start = self.cursor.lexer.position();
        let first = self.cursor.peek();
        match first.kind {
            Kind::OpenParen => self.query(start),
            Kind::Word => match Folded::new(self.cursor.text, first) {
                Some(word) => match word.as_str() {
                    "select" | "values" | "table" | "with" => self.query(start),
                    verb => self.verb(first, verb),
                },
                None => self.unparsed(),
            },
            _ => self.unparsed(),
        }
    }

    /// A statement that is none we know: only the grammar can say.
    pub(crate) fn unparsed(&mut self) -> Finding {
        self.skip_rest();
        let statement = &self.cursor.text[self.start..self.cursor.lexer.position()];
        let mut judge = Judge::new(self.env);
        match self.grammar.map(|grammar| grammar.judge(statement, &mut judge)) {
            Some(Answer::Refused) => Finding::unknown(Why::Unparsable),
            Some(Answer::Writes(why)) => Finding::writes(why),
            Some(Answer::Query | Answer::Other) | None => Finding::unknown(Why::Unsure),
        }
    }

    /// A query: first tier, then, if need be, second.
    fn query(&mut self, start: usize) -> Finding {
        let text = self.cursor.text;
        let mut judge = Judge::new(self.env);
        let unsure = query::scan(text, &mut self.cursor.lexer, &mut judge, &mut self.cursor.shape);
        self.effects |= judge.effects;
        let found = Finding { class: judge.class, why: judge.why };
        let Some(why) = unsure else { return found };
        if why == Why::NestedTooDeep {
            return Finding::unknown(why);
        }
        let statement = &text[start..self.cursor.lexer.position()];
        let Some(grammar) = self.grammar else {
            return match why {
                _ if found.class != Class::Reads => found,
                Why::UnknownFunction => Finding::writes(why),
                _ => Finding::unknown(why),
            };
        };
        let mut judge = Judge::new(self.env);
        match grammar.judge(statement, &mut judge) {
            Answer::Query => {
                self.effects |= judge.effects;
                Finding { class: judge.class, why: judge.why }
            }
            Answer::Writes(why) => Finding::writes(why),
            Answer::Other => Finding::unknown(Why::Unsure),
            Answer::Refused => Finding::unknown(Why::Unparsable),
        }
    }

    /// The inner query of COPY (…).
    pub(crate) fn inner(&mut self, text: &'t str) -> Finding {
        let mut inner = Reader::new(text, self.env, self.grammar);
        let finding = inner.statement();
        self.effects |= inner.effects;
        if inner.cursor.peek().kind == Kind::End { finding } else { Finding::unknown(Why::Unsure) }
    }

    /// A relation that is read whole: COPY t TO.
    pub(crate) fn relation(&mut self, chain: crate::name::Chain) -> Finding {
        let mut judge = Judge::new(self.env);
        let known = chain.with(self.cursor.text, |name| judge.relation(name));
        self.effects |= judge.effects;
        match known {
            Some(true) => Finding { class: judge.class, why: judge.why },
            Some(false) => Finding::unknown(Why::UnknownRelation),
            None => Finding::unknown(Why::Unsure),
        }
    }

    /// Skips to the semicolon and notes what the rest leaves in the session.
    pub(crate) fn skip_rest(&mut self) {
        let mut depth = 0_u32;
        loop {
            let token = self.cursor.peek();
            match token.kind {
                Kind::End => return,
                Kind::Semicolon if depth == 0 => return,
                Kind::OpenParen => depth += 1,
                Kind::CloseParen => depth = depth.saturating_sub(1),
                Kind::Word | Kind::QuotedWord | Kind::Bad => self.note(token),
                _ => {}
            }
            self.cursor.next();
        }
    }

    /// Notes a name that leaves something in the session, wherever it stands.
    pub(crate) fn note(&mut self, token: Token) {
        let written = self.cursor.slice(token);
        if token.kind == Kind::Bad {
            // A name in Unicode escapes may be any of them.
            if written.starts_with(['u', 'U']) {
                self.effects |= Effects::UNTRACKED_STATE;
            }
            return;
        }
        if !matches!(
            written.trim_start_matches('"').as_bytes().first(),
            Some(b's' | b'S' | b'p' | b'P' | b'd' | b'D')
        ) {
            return;
        }
        if let Some(name) = Folded::new(self.cursor.text, token) {
            self.effects |= effects_of_function(name.as_bytes());
            if name.as_bytes().starts_with(b"pg_temp") {
                self.effects |= Effects::TEMP_OBJECT;
            }
        }
    }

    /// True when an unqualified CREATE makes a temporary object.
    pub(crate) fn creates_temporary(&self) -> bool {
        self.env.search_path.creates_temporary()
    }
}

/// `SELECT set_config` or `SELECT pg_catalog`, so that other queries are not read twice.
fn begins_like_set_config(statement: &[u8]) -> bool {
    let Some((select, rest)) = statement.split_at_checked("select".len()) else { return false };
    let rest = rest.trim_ascii_start();
    let begins = |word: &[u8]| rest.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word));
    matches!(rest.first(), Some(b's' | b'S' | b'p' | b'P'))
        && select.eq_ignore_ascii_case(b"select")
        && (begins(b"set_config") || begins(b"pg_catalog"))
}
