//! The statements that are not queries, each by its first word.
//!
//! Says what each leaves in the session. Queries inside (EXPLAIN, PREPARE, DECLARE, COPY) go back to `classify`.

use crate::class::{Class, Effects, Why};
use crate::classify::{Finding, Reader};
use crate::lexer::{Kind, Token};
use crate::settings::{self, Setting};
use crate::transaction;
use crate::verdict::{Detail, SetValue};

impl Reader<'_, '_> {
    /// The statement whose first word is `verb` (in lower case), which is next.
    pub(crate) fn verb(&mut self, first: Token, verb: &str) -> Finding {
        match verb {
            "insert" | "update" | "delete" | "merge" | "truncate" => self.rest(Finding::writes(Why::Dml)),
            "create" => self.create(),
            "alter" | "drop" | "comment" | "grant" | "revoke" | "security" | "import" | "reassign" => {
                self.rest(Finding::writes(Why::Ddl))
            }
            "begin" | "start" | "commit" | "end" | "rollback" | "abort" | "savepoint" | "release" => {
                self.transaction(verb)
            }
            "set" | "reset" => self.setting(first, verb),
            "show" => self.show(),
            "explain" => self.explain(),
            "copy" => self.copy(),
            "prepare" => self.prepare(),
            "execute" => self.execute(),
            "deallocate" => self.deallocate(),
            "discard" => self.discard(),
            "declare" => self.declare(),
            "fetch" | "move" | "close" => self.rest(Finding::unknown(Why::Cursor)),
            "do" => self.do_block(),
            "call" => self.rest(Finding::writes(Why::Call)),
            "lock" => self.rest(Finding::writes(Why::LockTable)),
            "notify" => self.rest(Finding::writes(Why::Notify)),
            "listen" => self.with_effect(Effects::LISTEN, Finding::writes(Why::Notify)),
            "unlisten" => self.with_effect(Effects::UNLISTEN, Finding::writes(Why::Notify)),
            "load" => self.with_effect(Effects::UNTRACKED_STATE, Finding::writes(Why::Utility)),
            "vacuum" | "analyze" | "analyse" | "cluster" | "reindex" | "refresh" | "checkpoint"
            | "repack" => self.rest(Finding::writes(Why::Utility)),
            _ => self.unparsed(),
        }
    }

    /// Nothing more to learn from the rest of the statement but its effects.
    fn rest(&mut self, finding: Finding) -> Finding {
        self.skip_rest();
        finding
    }

    fn with_effect(&mut self, effect: Effects, finding: Finding) -> Finding {
        self.effects |= effect;
        self.rest(finding)
    }

    /// CREATE. The body of a function in BEGIN ATOMIC … END has semicolons of its own; counted as psql counts them
    /// (`src/fe_utils/psqlscan.l`).
    fn create(&mut self) -> Finding {
        self.cursor.next();
        self.cursor.accept_any(&["global", "local"]);
        if self.cursor.accept_any(&["temp", "temporary"]) || self.creates_temporary() {
            self.effects |= Effects::TEMP_OBJECT;
        }
        let (mut brackets, mut blocks) = (0_u32, 0_u32);
        loop {
            let token = self.cursor.peek();
            match token.kind {
                Kind::End => break,
                Kind::Semicolon if brackets == 0 && blocks == 0 => break,
                Kind::OpenParen => brackets += 1,
                Kind::CloseParen => brackets = brackets.saturating_sub(1),
                Kind::Word if self.cursor.is(token, "begin") => blocks += 1,
                Kind::Word if self.cursor.is(token, "case") && blocks > 0 => blocks += 1,
                Kind::Word if self.cursor.is(token, "end") => blocks = blocks.saturating_sub(1),
                Kind::Word | Kind::QuotedWord | Kind::Bad => self.note(token),
                _ => {}
            }
            self.cursor.next();
        }
        Finding::writes(Why::Ddl)
    }

    fn transaction(&mut self, verb: &str) -> Finding {
        self.cursor.next();
        let cursor = &mut self.cursor;
        let detail = match verb {
            "begin" => transaction::begin(cursor, false),
            "start" => transaction::begin(cursor, true),
            "commit" | "end" => transaction::commit(cursor),
            "savepoint" => transaction::savepoint(cursor),
            "release" => transaction::release(cursor),
            _ => transaction::rollback(cursor),
        };
        self.effects |= Effects::TRANSACTION;
        match detail {
            Some(detail @ (Detail::CommitPrepared | Detail::RollbackPrepared)) => {
                self.details.push(detail);
                Finding::writes(Why::TwoPhase)
            }
            Some(detail) => {
                self.details.push(detail);
                Finding::reads(Why::TransactionControl)
            }
            None => self.unparsed(),
        }
    }

    fn setting(&mut self, first: Token, verb: &str) -> Finding {
        self.cursor.next();
        let setting = match verb {
            "set" => settings::set(&mut self.cursor, first.start),
            _ => settings::reset(&mut self.cursor, first.start),
        };
        match setting {
            Some(Setting::Tracked(detail)) => {
                let own = matches!(detail, Detail::SetOwn { .. });
                self.effects |= if own { Effects::OWN } else { Effects::SET };
                if makes_temporary(&detail) {
                    self.effects |= Effects::TEMP_OBJECT;
                }
                self.details.push(detail);
                Finding::reads(Why::Set)
            }
            Some(Setting::Transaction(detail)) => {
                self.effects |= Effects::TRANSACTION;
                self.details.push(detail);
                Finding::reads(Why::Set)
            }
            Some(Setting::Characteristics(details)) => {
                self.effects |= Effects::SET;
                self.details.extend(details);
                Finding::reads(Why::Set)
            }
            Some(Setting::Untracked) => {
                self.effects |= Effects::UNTRACKED_STATE;
                Finding::reads(Why::UntrackedState)
            }
            Some(Setting::Snapshot) => {
                self.with_effect(Effects::TRANSACTION, Finding::unknown(Why::NodeLocal))
            }
            Some(Setting::Constraints) => self.rest(Finding::writes(Why::Utility)),
            None => {
                self.effects |= Effects::UNTRACKED_STATE;
                self.skip_rest();
                Finding::unknown(Why::UntrackedState)
            }
        }
    }

    fn show(&mut self) -> Finding {
        self.cursor.next();
        match settings::show(&mut self.cursor) {
            Some(own) => {
                if let Some(detail) = own {
                    self.effects |= Effects::OWN;
                    self.details.push(detail);
                }
                Finding::reads(Why::Show)
            }
            None => self.unparsed(),
        }
    }

    /// EXPLAIN needs the primary's plan for what would run there.
    fn explain(&mut self) -> Finding {
        self.cursor.next();
        let mut analyze = false;
        if self.cursor.peek().kind == Kind::OpenParen && self.is_option_list() {
            analyze = self.explain_options();
        } else {
            loop {
                if self.cursor.accept_any(&["analyze", "analyse"]) {
                    analyze = true;
                } else if !self.cursor.accept("verbose") {
                    break;
                }
            }
        }
        let inner = self.body();
        match (inner.class, analyze) {
            (Class::Reads, true) => Finding::reads(Why::ExplainAnalyze),
            (Class::Reads, false) => Finding::reads(Why::Explain),
            (_, true) => inner,
            (class, false) => Finding { class, why: Why::Explain },
        }
    }

    /// `EXPLAIN (SELECT …)` has no options.
    fn is_option_list(&self) -> bool {
        let mut ahead = self.cursor.lexer.clone();
        ahead.next();
        let word = ahead.next();
        word.kind == Kind::Word
            && !["select", "with", "values", "table"].iter().any(|query| self.cursor.is(word, query))
    }

    /// `(ANALYZE, BUFFERS off)`: whether it analyzes.
    fn explain_options(&mut self) -> bool {
        let mut analyze = false;
        self.cursor.next();
        loop {
            let option = self.cursor.next();
            match option.kind {
                Kind::CloseParen | Kind::End => return analyze,
                Kind::Word if self.cursor.is(option, "analyze") || self.cursor.is(option, "analyse") => {
                    let off = ["false", "off", "0"];
                    analyze =
                        !off.contains(&self.cursor.slice(self.cursor.peek()).to_ascii_lowercase().as_str());
                }
                _ => {}
            }
        }
    }

    fn copy(&mut self) -> Finding {
        self.cursor.next();
        let inner = if self.cursor.peek().kind == Kind::OpenParen {
            match self.cursor.bracket() {
                Some(query) => self.inner(query),
                None => return self.unparsed(),
            }
        } else {
            self.cursor.accept("binary");
            let Some(chain) = self.cursor.chain() else { return self.unparsed() };
            if self.cursor.peek().kind == Kind::OpenParen {
                self.cursor.bracket();
            }
            if self.cursor.accept("from") {
                if self.cursor.accept_any(&["stdin", "stdout"]) {
                    self.effects |= Effects::COPY_IN;
                }
                return self.rest(Finding::writes(Why::CopyFrom));
            }
            self.relation(chain)
        };
        if !self.cursor.accept("to") {
            return self.unparsed();
        }
        if !self.cursor.accept_any(&["stdin", "stdout"]) {
            return self.rest(Finding::writes(Why::CopyToFile));
        }
        self.effects |= Effects::COPY_OUT;
        self.skip_rest();
        if inner.class == Class::Reads { Finding::reads(Why::CopyTo) } else { inner }
    }

    fn prepare(&mut self) -> Finding {
        self.cursor.next();
        if self.cursor.is(self.cursor.peek(), "transaction") {
            self.cursor.next();
            if self.cursor.accept_kind(Kind::String) {
                self.effects |= Effects::TRANSACTION;
                self.details.push(Detail::PrepareTransaction);
                return Finding::writes(Why::TwoPhase);
            }
            return self.prepare_as("transaction".to_owned());
        }
        match self.cursor.name() {
            Some(name) => self.prepare_as(name),
            None => {
                self.effects |= Effects::PREPARE;
                self.unparsed()
            }
        }
    }

    fn prepare_as(&mut self, name: String) -> Finding {
        self.effects |= Effects::PREPARE;
        self.details.push(Detail::Prepare { name });
        if self.cursor.peek().kind == Kind::OpenParen && self.cursor.bracket().is_none() {
            return self.unparsed();
        }
        if !self.cursor.accept("as") {
            return self.unparsed();
        }
        let inner = self.body();
        if inner.class == Class::Reads { Finding::reads(Why::Prepare) } else { inner }
    }

    fn execute(&mut self) -> Finding {
        self.cursor.next();
        self.effects |= Effects::EXECUTE;
        if let Some(name) = self.cursor.name() {
            self.details.push(Detail::Execute { name });
        }
        self.rest(Finding::unknown(Why::Execute))
    }

    fn deallocate(&mut self) -> Finding {
        self.cursor.next();
        self.effects |= Effects::DEALLOCATE;
        let word = self.cursor.accept("prepare");
        if self.cursor.accept("all") {
            self.details.push(Detail::DeallocateAll);
        } else if word && self.cursor.at_end() {
            self.details.push(Detail::Deallocate { name: "prepare".to_owned() });
        } else if let Some(name) = self.cursor.name() {
            self.details.push(Detail::Deallocate { name });
        } else {
            return self.unparsed();
        }
        Finding::reads(Why::Deallocate)
    }

    fn discard(&mut self) -> Finding {
        self.cursor.next();
        self.effects |= Effects::DISCARD;
        if self.cursor.accept("all") {
            self.details.push(Detail::DiscardAll);
        } else if self.cursor.accept_any(&["plans", "sequences", "temp", "temporary"]) {
            self.details.push(Detail::DiscardOther);
        } else {
            return self.unparsed();
        }
        Finding::reads(Why::Discard)
    }

    /// DECLARE name … CURSOR … FOR query.
    fn declare(&mut self) -> Finding {
        self.cursor.next();
        // The name, which may be one in Unicode escapes.
        if self.cursor.at_end() {
            return self.unparsed();
        }
        let mut before = self.cursor.next();
        loop {
            let token = self.cursor.peek();
            if token.kind != Kind::Word {
                return self.unparsed();
            }
            self.cursor.next();
            if self.cursor.is(token, "for") {
                break;
            }
            if self.cursor.is(token, "hold") && self.cursor.is(before, "with") {
                self.effects |= Effects::HOLD_CURSOR;
            }
            before = token;
        }
        let inner = self.body();
        if inner.class == Class::Reads { Finding::reads(Why::Cursor) } else { inner }
    }

    /// DO. Its body is not read, but for words that change the session.
    fn do_block(&mut self) -> Finding {
        self.cursor.next();
        loop {
            let token = self.cursor.peek();
            match token.kind {
                Kind::End | Kind::Semicolon => break,
                Kind::String | Kind::DollarString if changes_session(self.cursor.slice(token)) => {
                    self.effects |= Effects::UNTRACKED_STATE;
                }
                _ => {}
            }
            self.cursor.next();
        }
        Finding::writes(Why::DoBlock)
    }
}

/// With the temporary schema in the path, a plain CREATE TABLE may make a temporary one.
fn makes_temporary(detail: &Detail) -> bool {
    match detail {
        Detail::Set { name, value: SetValue::Text(path), .. } => {
            name == "search_path" && path.contains("pg_temp")
        }
        _ => false,
    }
}

/// Whether a procedural body may leave something in the session, by its words.
fn changes_session(body: &str) -> bool {
    const WORDS: [&str; 13] = [
        "set",
        "reset",
        "set_config",
        "setseed",
        "temp",
        "temporary",
        "listen",
        "unlisten",
        "load",
        "prepare",
        "hold",
        "deallocate",
        "discard",
    ];
    body.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).any(|word| {
        WORDS.iter().any(|known| word.eq_ignore_ascii_case(known))
            || word.get(..7).is_some_and(|start| start.eq_ignore_ascii_case("pg_temp"))
            || word.to_ascii_lowercase().contains("advisory")
            || word.get(..6).is_some_and(|start| start.eq_ignore_ascii_case("dblink"))
    })
}
