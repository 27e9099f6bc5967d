//! One connection of the null backend: messages in, answers out, no socket.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use wire::auth::ScramVerifier;
use wire::auth::scram::{AwaitClientFinal, MECHANISM, ServerExchange};
use wire::encode::{self, ErrorReply, Severity};
use wire::frame::{self, HEADER_LEN, tag::client as tag};
use wire::frontend::{Bind, Parse, Query};
use wire::sqlstate::SqlState;
use wire::startup::{self, Initial};
use wire::status::TransactionStatus;

use super::answer::{self, Answer, Block, Role};

/// What a server of today reports at login; pools compare these.
const PARAMETERS: [(&str, &str); 13] = [
    ("server_version", "15.0"),
    ("server_encoding", "UTF8"),
    ("client_encoding", "UTF8"),
    ("application_name", ""),
    ("default_transaction_read_only", "off"),
    ("is_superuser", "off"),
    ("session_authorization", "bench"),
    ("DateStyle", "ISO, MDY"),
    ("IntervalStyle", "postgres"),
    ("TimeZone", "Etc/UTC"),
    ("integer_datetimes", "on"),
    ("standard_conforming_strings", "on"),
    ("in_hot_standby", "off"),
];

/// What all connections have in common.
pub(crate) struct Server {
    pub(crate) role: Role,
    /// None: everybody is trusted.
    pub(crate) verifier: Option<ScramVerifier>,
}

/// Whether the connection goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    Stay,
    Leave,
}

/// A connection's state.
#[derive(Default)]
pub(crate) struct Conversation {
    phase: Phase,
    statements: HashMap<Box<[u8]>, Answer>,
    portals: HashMap<Box<[u8]>, Portal>,
    status: Status,
    /// An error was answered: everything up to Sync is skipped.
    failed: bool,
    large: Option<Large>,
}

#[derive(Default)]
enum Phase {
    #[default]
    Startup,
    First,
    Final(Box<AwaitClientFinal>),
    /// Lines of a COPY FROM STDIN so far; and whether it came by a simple query.
    CopyIn(u64, Protocol),
    Ready,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protocol {
    Simple,
    Extended,
}

#[derive(Clone, Copy)]
struct Status(TransactionStatus);

impl Default for Status {
    fn default() -> Self {
        Status(TransactionStatus::Idle)
    }
}

/// A statement with its parameter.
struct Portal {
    answer: Answer,
    /// Which result columns are binary: none, all, or these.
    formats: Vec<bool>,
}

/// What is left of a large result.
struct Large {
    sent: u64,
    rows: u64,
    copy: bool,
    protocol: Protocol,
}

impl Conversation {
    /// Takes the whole messages of `bytes`, appends the answers, says how many bytes were used.
    pub(crate) fn on_bytes(&mut self, server: &Server, bytes: &[u8], out: &mut Vec<u8>) -> (usize, Turn) {
        let mut used = 0;
        // A large result is finished before the next message is looked at.
        while self.large.is_none() {
            let rest = &bytes[used..];
            if matches!(self.phase, Phase::Startup) {
                match self.on_startup(server, rest, out) {
                    Some(count) => used += count,
                    None => return (used, if rest.len() > 10_000 { Turn::Leave } else { Turn::Stay }),
                }
                continue;
            }
            let Ok(header) = frame::header(rest) else { return (used, Turn::Leave) };
            let Some(frame) = header.and_then(|header| rest.get(..header.total)) else { break };
            used += frame.len();
            if self.on_message(server, frame, out).is_none() {
                return (used, Turn::Leave);
            }
        }
        (used, Turn::Stay)
    }

    fn on_startup(&mut self, server: &Server, rest: &[u8], out: &mut Vec<u8>) -> Option<usize> {
        let (initial, used) = startup::initial(rest).ok()??;
        match initial {
            Initial::Ssl | Initial::GssEnc => out.push(b'N'),
            Initial::Cancel { .. } => {}
            Initial::Startup(_) if server.verifier.is_some() => {
                encode::authentication_sasl(out, &[MECHANISM]).expect("a short name");
                self.phase = Phase::First;
            }
            Initial::Startup(_) => self.welcome(server, out),
        }
        Some(used)
    }

    fn welcome(&mut self, server: &Server, out: &mut Vec<u8>) {
        encode::authentication_ok(out);
        for (name, value) in PARAMETERS {
            let value = if name == "in_hot_standby" && server.role == Role::Replica { "on" } else { value };
            encode::parameter_status(out, name.as_bytes(), value.as_bytes()).expect("short texts");
        }
        encode::backend_key_data(out, 1, &[0; 4]).expect("a key of four bytes");
        self.ready(out);
        self.phase = Phase::Ready;
    }

    fn ready(&self, out: &mut Vec<u8>) {
        encode::ready_for_query(out, self.status.0);
    }

    /// `None`: the connection is over.
    fn on_message(&mut self, server: &Server, frame: &[u8], out: &mut Vec<u8>) -> Option<()> {
        match frame[0] {
            tag::TERMINATE => return None,
            tag::PASSWORD => return self.on_sasl(server, frame, out),
            tag::SYNC => {
                self.failed = false;
                self.portals.clear();
                self.ready(out);
            }
            tag::COPY_DATA | tag::COPY_DONE | tag::COPY_FAIL => self.on_copy(frame[0], out),
            _ if self.failed => {}
            tag::QUERY => {
                let query = Query::parse(frame).ok()?;
                let answer = answer::of(query.text, server.role);
                self.run(&answer, &[], Protocol::Simple, out);
            }
            tag::PARSE => self.on_parse(server, frame, out)?,
            tag::BIND => self.on_bind(frame, out)?,
            tag::DESCRIBE => self.on_describe(frame, out)?,
            tag::EXECUTE => {
                let (name, _) = text(frame.get(HEADER_LEN..)?)?;
                match self.portals.remove(name) {
                    Some(portal) => self.run(&portal.answer, &portal.formats, Protocol::Extended, out),
                    None => self.fail("34000", "the portal was never bound", out),
                }
            }
            tag::CLOSE => {
                let body = frame.get(HEADER_LEN..)?;
                let (name, _) = text(body.get(1..)?)?;
                if body[0] == b'S' {
                    drop(self.statements.remove(name))
                } else {
                    drop(self.portals.remove(name))
                }
                encode::close_complete(out);
            }
            tag::FLUSH => {}
            _ => return None,
        }
        Some(())
    }

    fn on_sasl(&mut self, server: &Server, frame: &[u8], out: &mut Vec<u8>) -> Option<()> {
        let verifier = server.verifier.clone()?;
        match std::mem::take(&mut self.phase) {
            Phase::First => {
                let (mechanism, rest) = text(frame.get(HEADER_LEN..)?)?;
                let mut bytes = [0; 18];
                getrandom::fill(&mut bytes).ok()?;
                let exchange = ServerExchange::new(verifier);
                let (answer, next) = exchange.client_first(rest.get(4..)?, &BASE64.encode(bytes)).ok()?;
                encode::authentication_sasl_continue(out, answer.as_bytes()).ok()?;
                self.phase = Phase::Final(Box::new(next));
                (mechanism == MECHANISM.as_bytes()).then_some(())
            }
            Phase::Final(exchange) => match exchange.client_final(frame.get(HEADER_LEN..)?) {
                Ok(accepted) => {
                    encode::authentication_sasl_final(out, accepted.message.as_bytes()).ok()?;
                    self.welcome(server, out);
                    Some(())
                }
                Err(error) => {
                    report(Severity::Fatal, error.sqlstate(), "wrong password", out);
                    None
                }
            },
            _ => None,
        }
    }

    fn on_parse(&mut self, server: &Server, frame: &[u8], out: &mut Vec<u8>) -> Option<()> {
        let parse = Parse::parse(frame).ok()?;
        if !parse.name.is_empty() && self.statements.contains_key(parse.name) {
            self.fail("42P05", "this name is taken: it was parsed before and never closed", out);
            return Some(());
        }
        let answer = answer::of(parse.query, server.role);
        // The unnamed statement is replaced each time; its place in the map stays.
        match self.statements.get_mut(parse.name) {
            Some(place) => *place = answer,
            None => drop(self.statements.insert(parse.name.into(), answer)),
        }
        encode::parse_complete(out);
        Some(())
    }

    fn on_bind(&mut self, frame: &[u8], out: &mut Vec<u8>) -> Option<()> {
        let bind = Bind::parse(frame).ok()?;
        let Some(statement) = self.statements.get(bind.statement) else {
            self.fail("26000", "no statement was parsed under this name on this connection", out);
            return Some(());
        };
        let (parameter, formats) = parameters(bind.rest)?;
        let answer = match statement {
            Answer::Sum { addend, key: None } => Answer::Sum { addend: *addend, key: Some(parameter?) },
            other => other.clone(),
        };
        let portal = Portal { answer, formats };
        match self.portals.get_mut(bind.portal) {
            Some(place) => *place = portal,
            None => drop(self.portals.insert(bind.portal.into(), portal)),
        }
        encode::bind_complete(out);
        Some(())
    }

    fn on_describe(&mut self, frame: &[u8], out: &mut Vec<u8>) -> Option<()> {
        let body = frame.get(HEADER_LEN..)?;
        let (name, _) = text(body.get(1..)?)?;
        if body[0] == b'S' {
            let Some(statement) = self.statements.get(name) else {
                self.fail("26000", "no statement was parsed under this name on this connection", out);
                return Some(());
            };
            let types: &[u32] = if matches!(statement, Answer::Sum { key: None, .. }) { &[23] } else { &[] };
            encode::parameter_description(out, types).expect("one type");
            answer::describe(statement, |_| false, out);
        } else {
            match self.portals.get(name) {
                Some(portal) => {
                    answer::describe(&portal.answer, |index| is_binary(&portal.formats, index), out)
                }
                None => self.fail("34000", "the portal was never bound", out),
            }
        }
        Some(())
    }

    /// Answers a statement: all of it, or the beginning of a large result.
    fn run(&mut self, answer: &Answer, formats: &[bool], protocol: Protocol, out: &mut Vec<u8>) {
        if protocol == Protocol::Simple && answer.columns().is_some() {
            answer::describe(answer, |_| false, out);
        }
        match answer {
            Answer::Sum { addend, key } => {
                let sum = (addend + key.unwrap_or(0)).to_string();
                encode::data_row(out, &[Some(sum.as_bytes())]).expect("a short row");
                encode::command_complete(out, "SELECT 1");
            }
            Answer::Table { row, .. } => {
                let Some(row) = row else {
                    encode::command_complete(out, "SELECT 0");
                    return self.end(protocol, out);
                };
                let values: Vec<Option<Vec<u8>>> = row
                    .iter()
                    .enumerate()
                    .map(|(index, value)| value.bytes(is_binary(formats, index)))
                    .collect();
                let values: Vec<Option<&[u8]>> = values.iter().map(Option::as_deref).collect();
                encode::data_row(out, &values).expect("a short row");
                encode::command_complete(out, "SELECT 1");
            }
            Answer::Rows(rows) => {
                self.large = Some(Large { sent: 0, rows: *rows, copy: false, protocol });
                return;
            }
            Answer::CopyOut(rows) => {
                out.extend_from_slice(&[b'H', 0, 0, 0, 11, 0, 0, 2, 0, 0, 0, 0]);
                self.large = Some(Large { sent: 0, rows: *rows, copy: true, protocol });
                return;
            }
            Answer::CopyIn => {
                out.extend_from_slice(&[b'G', 0, 0, 0, 11, 0, 0, 2, 0, 0, 0, 0]);
                self.phase = Phase::CopyIn(0, protocol);
                return;
            }
            Answer::Done { tag, block } => {
                self.status = Status(match block {
                    Block::Begins => TransactionStatus::InTransaction,
                    Block::Ends => TransactionStatus::Idle,
                    Block::Stays => self.status.0,
                });
                if tag == "DISCARD" || tag == "DEALLOCATE" {
                    self.statements.clear();
                }
                encode::command_complete(out, tag);
            }
            Answer::Empty => encode::empty_query(out),
        }
        self.end(protocol, out);
    }

    fn end(&self, protocol: Protocol, out: &mut Vec<u8>) {
        if protocol == Protocol::Simple {
            self.ready(out);
        }
    }

    /// Appends more of a large result, until there are this many bytes or it is over.
    pub(crate) fn more(&mut self, bytes: usize, out: &mut Vec<u8>) {
        let Some(large) = &mut self.large else { return };
        while large.sent < large.rows && out.len() < bytes {
            large.sent += 1;
            answer::large_row(large.sent, large.copy, out);
        }
        if large.sent < large.rows {
            return;
        }
        if large.copy {
            encode::copy_done(out);
        }
        let command = if large.copy { "COPY" } else { "SELECT" };
        encode::command_complete(out, &format!("{command} {}", large.rows));
        let protocol = large.protocol;
        self.large = None;
        self.end(protocol, out);
    }

    fn on_copy(&mut self, message: u8, out: &mut Vec<u8>) {
        let Phase::CopyIn(lines, protocol) = &mut self.phase else { return };
        if message == tag::COPY_DATA {
            *lines += 1;
            return;
        }
        let (lines, protocol) = (*lines, *protocol);
        self.phase = Phase::Ready;
        if message == tag::COPY_FAIL {
            self.fail("57014", "the client gave the COPY up", out);
        } else {
            encode::command_complete(out, &format!("COPY {lines}"));
        }
        self.end(protocol, out);
    }

    fn fail(&mut self, sqlstate: &str, message: &str, out: &mut Vec<u8>) {
        let code = SqlState::from_bytes(sqlstate.as_bytes()).expect("a code of five characters");
        report(Severity::Error, code, message, out);
        self.failed = true;
    }
}

fn report(severity: Severity, sqlstate: SqlState, message: &str, out: &mut Vec<u8>) {
    encode::error_response(out, &ErrorReply { severity, sqlstate, message, detail: None, hint: None });
}

fn is_binary(formats: &[bool], index: usize) -> bool {
    match formats {
        [] => false,
        [all] => *all,
        each => each.get(index).copied().unwrap_or(false),
    }
}

/// A text up to its NUL, and what is behind.
fn text(body: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = body.iter().position(|&byte| byte == 0)?;
    Some((&body[..end], &body[end + 1..]))
}

/// The first parameter as a number, and which result columns are to be binary.
fn parameters(rest: &[u8]) -> Option<(Option<u64>, Vec<bool>)> {
    let mut rest = rest;
    let u16 = |rest: &mut &[u8]| -> Option<u16> {
        let (head, tail) = rest.split_first_chunk::<2>()?;
        *rest = tail;
        Some(u16::from_be_bytes(*head))
    };
    let mut binary = false;
    for _ in 0..u16(&mut rest)? {
        binary = u16(&mut rest)? == 1;
    }
    let mut first = None;
    for index in 0..u16(&mut rest)? {
        let (head, tail) = rest.split_first_chunk::<4>()?;
        let length = usize::try_from(i32::from_be_bytes(*head)).unwrap_or(0);
        let value = tail.get(..length)?;
        if index == 0 {
            first = number(value, binary);
        }
        rest = &tail[length..];
    }
    let formats = (0..u16(&mut rest)?).map(|_| u16(&mut rest).map(|format| format == 1));
    Some((first, formats.collect::<Option<_>>()?))
}

fn number(value: &[u8], binary: bool) -> Option<u64> {
    if binary {
        return value.try_into().ok().map(u32::from_be_bytes).map(u64::from);
    }
    std::str::from_utf8(value).ok()?.parse().ok()
}

#[cfg(test)]
mod tests;
