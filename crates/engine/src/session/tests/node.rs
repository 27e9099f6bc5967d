//! A small server that keeps to the protocol: what PostgreSQL answers to the few statements the random scripts use.
//!
//! It knows blocks, settings, prepared statements, temporary tables and COPY in, and refuses writes where it is a
//! replica. It is also asked directly, for the answers a client should get.

use std::collections::{BTreeMap, BTreeSet};

use wire::encode::{self, Column, ErrorReply, Severity};
use wire::frame::{self, tag::client as tag};
use wire::frontend::{Bind, Close, Describe, DescribeKind, Execute, Parse, Query};
use wire::sqlstate::SqlState;
use wire::status::TransactionStatus;

/// A statement's outcome: messages already written, or an error.
type Outcome = Result<(), &'static str>;

/// What a rollback brings back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Transactional {
    settings: BTreeMap<String, String>,
    temporary: BTreeSet<String>,
}

/// To which messages it listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Listens {
    All,
    /// COPY FROM STDIN runs: to its data.
    ToCopy,
    /// After an error in a batch: to its Sync.
    ToSync,
}

/// One server process with its connection.
#[derive(Debug)]
pub(super) struct Node {
    writable: bool,
    input: Vec<u8>,
    /// What it has answered.
    pub(super) output: Vec<u8>,
    status: TransactionStatus,
    read_only: bool,
    state: Transactional,
    /// As the transaction began; `None` outside one.
    before: Option<Transactional>,
    statements: BTreeMap<String, String>,
    unnamed: Option<String>,
    portals: BTreeMap<String, String>,
    listens: Listens,
    /// Texts it has begun to run, in order.
    pub(super) ran: Vec<String>,
}

impl Node {
    pub(super) fn new(writable: bool) -> Self {
        Node {
            writable,
            input: Vec::new(),
            output: Vec::new(),
            status: TransactionStatus::Idle,
            read_only: false,
            state: Transactional::default(),
            before: None,
            statements: BTreeMap::new(),
            unnamed: None,
            portals: BTreeMap::new(),
            listens: Listens::All,
            ran: Vec::new(),
        }
    }

    /// Is there anything about it that the next client would notice, but for statements under the router's own names
    /// and this setting?
    pub(super) fn leftovers(&self, work_mem: Option<&str>) -> Option<String> {
        let own = |name: &&String| !name.starts_with("hw_");
        let set = self.state.settings.get("work_mem").map(String::as_str);
        if self.status != TransactionStatus::Idle || self.listens != Listens::All || !self.input.is_empty() {
            Some(format!("not in step: {self:?}"))
        } else if let Some(name) = self.statements.keys().find(own) {
            Some(format!("prepared: {name}"))
        } else if let Some(name) = self.state.temporary.first() {
            Some(format!("temporary: {name}"))
        } else if set != work_mem {
            Some(format!("work_mem is {set:?}, believed {work_mem:?}"))
        } else {
            None
        }
    }

    /// Takes bytes; answers what is whole.
    pub(super) fn take(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
        while let Some(header) = frame::header(&self.input).expect("the router sends well-formed messages") {
            if self.input.len() < header.total {
                return;
            }
            let message: Vec<u8> = self.input.drain(..header.total).collect();
            self.message(header.tag, &message);
        }
    }

    fn message(&mut self, received: u8, message: &[u8]) {
        match self.listens {
            Listens::ToCopy => return self.copy_message(received),
            Listens::ToSync if received != tag::SYNC => return,
            Listens::All | Listens::ToSync => self.listens = Listens::All,
        }
        match received {
            tag::QUERY => {
                let text = Query::parse(message).expect("well-formed").text;
                self.query(&String::from_utf8_lossy(text));
            }
            tag::SYNC => self.ready(),
            // Outside COPY they are ignored; Flush has nothing to do.
            tag::FLUSH | tag::COPY_DATA | tag::COPY_DONE | tag::COPY_FAIL => {}
            tag::FUNCTION_CALL => {
                self.ran.push("function".to_owned());
                self.output.extend([b'V', 0, 0, 0, 8, 0xff, 0xff, 0xff, 0xff]);
                self.ready();
            }
            _ => {
                if let Err(code) = self.extended(received, message) {
                    self.error(code);
                    self.listens = Listens::ToSync;
                }
            }
        }
    }

    fn copy_message(&mut self, received: u8) {
        match received {
            tag::COPY_DONE => {
                self.listens = Listens::All;
                encode::command_complete(&mut self.output, "COPY 1");
                self.ready();
            }
            tag::COPY_FAIL => {
                self.listens = Listens::All;
                self.error("57014");
                self.ready();
            }
            // A Sync is ignored in COPY, as is a Flush.
            _ => {}
        }
    }

    fn query(&mut self, text: &str) {
        self.unnamed = None;
        if text.contains("selec ") {
            self.error("42601");
            return self.ready();
        }
        if text.trim().is_empty() {
            encode::empty_query(&mut self.output);
            return self.ready();
        }
        for statement in text.split(';').map(str::trim).filter(|s| !s.is_empty()) {
            let columns = returns_rows(statement) && !self.refuses(statement);
            if columns {
                self.row_description();
            }
            if let Err(code) = self.run(statement) {
                self.error(code);
                break;
            }
            if self.listens == Listens::ToCopy {
                return;
            }
        }
        self.ready();
    }

    /// Is the block aborted, and this does not end it?
    fn refuses(&self, statement: &str) -> bool {
        let ends = statement.starts_with("commit") || statement.starts_with("rollback");
        self.status == TransactionStatus::Failed && !ends && !statement.is_empty()
    }

    fn row_description(&mut self) {
        let column = Column { name: "a", type_oid: 25, format: 0 };
        encode::row_description(&mut self.output, &[column]).expect("fits");
    }

    fn row(&mut self, value: &str) {
        encode::data_row(&mut self.output, &[Some(value.as_bytes())]).expect("fits");
        encode::command_complete(&mut self.output, "SELECT 1");
    }

    fn done(&mut self, command: &str) {
        encode::command_complete(&mut self.output, command);
    }

    /// Runs one statement; rows have been described.
    fn run(&mut self, statement: &str) -> Outcome {
        if self.refuses(statement) {
            return Err("25P02");
        }
        self.ran.push(statement.to_owned());
        self.before.get_or_insert_with(|| self.state.clone());
        let words: Vec<&str> = statement.split(' ').collect();
        match words.as_slice() {
            [""] => encode::empty_query(&mut self.output),
            ["select", "setting"] => {
                let value = self.state.settings.get("work_mem").cloned();
                self.row(&value.unwrap_or_else(|| "none".to_owned()));
            }
            ["select", "1/0", ..] => return Err("42P01"),
            ["select", value] => self.row(value),
            ["insert", ..] if !self.writable || self.read_only => return Err("25006"),
            ["insert", ..] => self.done("INSERT 0 1"),
            ["begin", rest @ ..] => {
                // Also in a block that is open already.
                self.read_only |= !rest.is_empty();
                self.status = TransactionStatus::InTransaction;
                self.done("BEGIN");
            }
            ["commit", rest @ ..] => self.end(true, rest)?,
            ["rollback", rest @ ..] => self.end(false, rest)?,
            ["set", "work_mem", "=", value] => {
                self.state.settings.insert("work_mem".to_owned(), value.trim_matches('\'').to_owned());
                self.done("SET");
            }
            ["reset" | "RESET", _] => {
                self.state.settings.remove("work_mem");
                self.done("RESET");
            }
            ["prepare", name, ..] => {
                if self.statements.contains_key(*name) {
                    return Err("42P05");
                }
                self.statements.insert((*name).to_owned(), "select 7".to_owned());
                self.done("PREPARE");
            }
            ["deallocate" | "DEALLOCATE", "all"] => {
                self.statements.clear();
                self.done("DEALLOCATE ALL");
            }
            ["deallocate" | "DEALLOCATE", name] => {
                self.statements.remove(*name).ok_or("26000")?;
                self.done("DEALLOCATE");
            }
            ["discard", "all"] => {
                if self.status != TransactionStatus::Idle {
                    return Err("25001");
                }
                self.statements.clear();
                self.state = Transactional::default();
                self.before = None;
                self.done("DISCARD ALL");
            }
            ["create", "temp", "table", ..] if !self.writable || self.read_only => return Err("25006"),
            ["create", "temp", "table", name, ..] => {
                self.state.temporary.insert((*name).to_owned()).then_some(()).ok_or("42P07")?;
                self.done("CREATE TABLE");
            }
            ["copy", ..] if !self.writable || self.read_only => return Err("25006"),
            ["copy", ..] => {
                self.listens = Listens::ToCopy;
                self.output.extend([b'G', 0, 0, 0, 7, 0, 0, 0]);
            }
            other => panic!("the scripts have no statement {other:?}"),
        }
        Ok(())
    }

    fn end(&mut self, commits: bool, rest: &[&str]) -> Outcome {
        let chain = !rest.is_empty();
        if chain && self.status == TransactionStatus::Idle {
            return Err("25P01");
        }
        let kept = commits && self.status != TransactionStatus::Failed;
        if let Some(before) = self.before.take()
            && !kept
        {
            self.state = before;
        }
        self.portals.clear();
        self.read_only &= chain;
        self.status = if chain { TransactionStatus::InTransaction } else { TransactionStatus::Idle };
        self.done(if kept { "COMMIT" } else { "ROLLBACK" });
        Ok(())
    }

    fn extended(&mut self, received: u8, message: &[u8]) -> Outcome {
        let name_of = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match received {
            tag::PARSE => {
                let parse = Parse::parse(message).expect("well-formed");
                self.parse(&name_of(parse.name), name_of(parse.query))?;
            }
            tag::BIND => {
                let bind = Bind::parse(message).expect("well-formed");
                let text = self.statement(&name_of(bind.statement)).ok_or("26000")?;
                if self.refuses(&text) {
                    return Err("25P02");
                }
                self.portals.insert(name_of(bind.portal), text);
                encode::bind_complete(&mut self.output);
            }
            tag::DESCRIBE => {
                let describe = Describe::parse(message).expect("well-formed");
                let name = name_of(describe.name);
                let text = match describe.kind {
                    DescribeKind::Statement => self.statement(&name).ok_or("26000")?,
                    DescribeKind::Portal => self.portals.get(&name).cloned().ok_or("34000")?,
                };
                if self.refuses(&text) && returns_rows(&text) {
                    return Err("25P02");
                }
                if describe.kind == DescribeKind::Statement {
                    encode::parameter_description(&mut self.output, &[]).expect("fits");
                }
                if returns_rows(&text) {
                    self.row_description();
                } else {
                    encode::no_data(&mut self.output);
                }
            }
            tag::EXECUTE => {
                let execute = Execute::parse(message).expect("well-formed");
                let text = self.portals.get(&name_of(execute.portal)).cloned().ok_or("34000")?;
                self.run(&text)?;
            }
            tag::CLOSE => {
                let close = Close::parse(message).expect("well-formed");
                let name = name_of(close.name);
                match close.kind {
                    DescribeKind::Statement if name.is_empty() => self.unnamed = None,
                    DescribeKind::Statement => drop(self.statements.remove(&name)),
                    DescribeKind::Portal => drop(self.portals.remove(&name)),
                }
                encode::close_complete(&mut self.output);
            }
            other => panic!("the scripts have no message {}", char::from(other)),
        }
        Ok(())
    }

    fn statement(&self, name: &str) -> Option<String> {
        if name.is_empty() { self.unnamed.clone() } else { self.statements.get(name).cloned() }
    }

    fn parse(&mut self, name: &str, text: String) -> Outcome {
        if name.is_empty() {
            self.unnamed = None;
        }
        if text.contains("selec ") {
            return Err("42601");
        }
        if self.refuses(&text) {
            return Err("25P02");
        }
        if name.is_empty() {
            self.unnamed = Some(text);
        } else if self.statements.contains_key(name) {
            return Err("42P05");
        } else {
            self.statements.insert(name.to_owned(), text);
        }
        encode::parse_complete(&mut self.output);
        Ok(())
    }

    fn error(&mut self, code: &str) {
        let sqlstate = SqlState::from_bytes(code.as_bytes()).expect("five letters");
        let error =
            ErrorReply { severity: Severity::Error, sqlstate, message: "refused", detail: None, hint: None };
        encode::error_response(&mut self.output, &error);
        self.portals.clear();
        if self.status == TransactionStatus::Idle {
            if let Some(before) = self.before.take() {
                self.state = before;
            }
        } else {
            self.status = TransactionStatus::Failed;
        }
    }

    fn ready(&mut self) {
        if self.status == TransactionStatus::Idle {
            self.before = None;
            self.portals.clear();
        }
        encode::ready_for_query(&mut self.output, self.status);
    }
}

fn returns_rows(statement: &str) -> bool {
    statement.starts_with("select")
}
