//! One connection of a load test: the transaction it is in, what has come back, and what to send next.
//!
//! It is handed bytes and hands out bytes; sockets, the clock and the choice of when to begin are the crew's.

use std::sync::Arc;
use std::time::Instant;

use wire::backend::DataRow;
use wire::error_response::ErrorFields;
use wire::frame::tag::backend as tag;
use wire::frame::{self, HEADER_LEN};
use wire::frontend::DescribeKind;
use wire::{encode, status::TransactionStatus};

use crate::error::Error;
use crate::login::sqlstate;
use crate::outcome::{LOST, Outcome, UNANSWERED};
use crate::random::Random;
use crate::script::{Script, Statement};
use crate::statement::Protocol;

/// What a router is asked to learn where the last statement ran.
pub const LAST_ROUTE: &str = "SHOW highwater.last_route";

/// A connection that is logged in.
pub(crate) struct Talk {
    script: Arc<Script>,
    protocol: Protocol,
    random: Random,
    values: Vec<String>,
    /// Whether this connection has prepared a statement, by transaction and statement.
    prepared: Vec<Vec<bool>>,
    /// The router is asked where a read ran after every so many of them; never if 0.
    route_every: u32,
    reads: u32,
    task: Option<Task>,
    /// The beginning of a message whose end has not come.
    partial: Vec<u8>,
    text: String,
}

/// The transaction under way.
struct Task {
    kind: usize,
    statement: usize,
    /// When it arrived.
    due: Instant,
    doing: Doing,
    got: Got,
    failed: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Doing {
    Statement,
    /// A statement of a block has failed.
    Rollback,
    /// The transaction is over; the router is asked where it ran.
    Route,
}

/// What the statement under way has got so far.
#[derive(Default)]
struct Got {
    rows: u64,
    error: bool,
    /// The first row, when somebody wants to look at it.
    first: Option<Vec<u8>>,
}

/// Whether the transaction is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Turn {
    Waiting,
    Done,
}

impl Talk {
    pub(crate) fn new(script: Arc<Script>, protocol: Protocol, route_every: u32) -> Talk {
        let prepared =
            script.transactions.iter().map(|transaction| vec![false; transaction.statements.len()]);
        Talk {
            prepared: prepared.collect(),
            script,
            protocol,
            random: Random::new(0, 0),
            values: Vec::new(),
            route_every,
            reads: 0,
            task: None,
            partial: Vec::new(),
            text: String::new(),
        }
    }

    /// What is asked from here on follows from this.
    pub(crate) fn seed(&mut self, random: Random) {
        self.random = random;
    }

    /// This is connection `place` of so many. They ask in turn where a read ran: all beginning at the same count, they would
    /// ask together, or in a short run not at all.
    pub(crate) fn take_place(&mut self, place: u32, connections: u32) {
        let share = u64::from(self.route_every) * u64::from(place) / u64::from(connections.max(1));
        self.reads = u32::try_from(share).unwrap_or(0);
    }

    /// Whether a transaction is under way.
    pub(crate) fn is_busy(&self) -> bool {
        self.task.is_some()
    }

    /// Begins a transaction that arrived at `due`.
    pub(crate) fn begin(&mut self, due: Instant, out: &mut Vec<u8>) {
        let kind = self.script.choose(&mut self.random);
        self.script.draw(&mut self.random, &mut self.values);
        let task =
            Task { kind, statement: 0, due, doing: Doing::Statement, got: Got::default(), failed: false };
        self.task = Some(task);
        self.ask(out);
    }

    /// The connection is gone: what was under way has failed, and the next connection has nothing prepared.
    pub(crate) fn on_lost(&mut self, why: &str, outcome: &mut Outcome) {
        self.fail(LOST, why, outcome);
    }

    /// No answer will be waited for.
    pub(crate) fn on_given_up(&mut self, now: Instant, outcome: &mut Outcome) {
        if let Some(task) = &self.task {
            outcome.waited(now.saturating_duration_since(task.due));
        }
        self.fail(UNANSWERED, "", outcome);
    }

    fn fail(&mut self, code: &str, why: &str, outcome: &mut Outcome) {
        if let Some(task) = self.task.take()
            && task.doing != Doing::Route
        {
            outcome.error(code, why);
            outcome.failed_one(task.kind);
        }
        self.partial.clear();
        self.prepared.iter_mut().flatten().for_each(|prepared| *prepared = false);
    }

    /// Bytes have come; appends what to send next.
    pub(crate) fn on_bytes(
        &mut self,
        bytes: &[u8],
        now: Instant,
        out: &mut Vec<u8>,
        outcome: &mut Outcome,
    ) -> Result<Turn, Error> {
        let mut all = std::mem::take(&mut self.partial);
        let input = if all.is_empty() {
            bytes
        } else {
            all.extend_from_slice(bytes);
            &all
        };
        let (mut used, mut turn) = (0, Turn::Waiting);
        loop {
            let rest = &input[used..];
            let header = frame::header(rest).map_err(|error| Error::Protocol(error.to_string()))?;
            let Some(frame) = header.and_then(|header| rest.get(..header.total)) else { break };
            if self.on_message(frame, now, out, outcome)? == Turn::Done {
                turn = Turn::Done;
            }
            used += frame.len();
        }
        self.partial = input[used..].to_vec();
        Ok(turn)
    }

    fn on_message(
        &mut self,
        frame: &[u8],
        now: Instant,
        out: &mut Vec<u8>,
        outcome: &mut Outcome,
    ) -> Result<Turn, Error> {
        let Some(task) = &mut self.task else { return unasked(frame) };
        match frame[0] {
            tag::DATA_ROW => {
                let statement = &self.script.transactions[task.kind].statements[task.statement];
                if task.got.rows == 0 && (task.doing == Doing::Route || statement.expect().is_some()) {
                    task.got.first = Some(frame.to_vec());
                }
                task.got.rows += 1;
            }
            tag::ERROR_RESPONSE => {
                task.got.error = true;
                if task.doing != Doing::Route {
                    task.failed = true;
                    let fields = ErrorFields::parse(frame).ok();
                    let message = fields.and_then(|fields| fields.message().map(|text| text.into_owned()));
                    outcome.error(&sqlstate(frame), &message.unwrap_or_default());
                }
            }
            tag::PARSE_COMPLETE if self.protocol == Protocol::Prepared => {
                self.prepared[task.kind][task.statement] = true;
            }
            tag::COPY_IN => {
                encode::copy_fail(out, "a load test sends no rows")
                    .map_err(|error| Error::Protocol(error.to_string()))?;
            }
            tag::READY_FOR_QUERY => {
                let status = frame.get(HEADER_LEN).and_then(|byte| TransactionStatus::from_byte(*byte));
                let status =
                    status.ok_or_else(|| Error::Protocol("ReadyForQuery without a status".to_owned()))?;
                return Ok(self.on_ready(status, now, out, outcome));
            }
            _ => {}
        }
        Ok(Turn::Waiting)
    }

    fn on_ready(
        &mut self,
        status: TransactionStatus,
        now: Instant,
        out: &mut Vec<u8>,
        outcome: &mut Outcome,
    ) -> Turn {
        let Some(task) = &mut self.task else { return Turn::Waiting };
        let got = std::mem::take(&mut task.got);
        if task.doing == Doing::Route {
            self.note_route(&got, outcome);
            self.task = None;
            return Turn::Done;
        }
        let transaction = &self.script.transactions[task.kind];
        if task.doing == Doing::Statement && !got.error {
            outcome.statements += 1;
            check(&transaction.statements[task.statement], &got, &self.values, outcome);
        }
        if task.failed && status != TransactionStatus::Idle {
            task.doing = Doing::Rollback;
            query(out, "ROLLBACK");
            return Turn::Waiting;
        }
        if !task.failed && task.statement + 1 < transaction.statements.len() {
            task.statement += 1;
            self.ask(out);
            return Turn::Waiting;
        }
        if task.failed {
            outcome.failed_one(task.kind);
        } else {
            outcome.done(task.kind, now.saturating_duration_since(task.due));
        }
        if transaction.reads && !task.failed && self.route_every > 0 {
            self.reads += 1;
            if self.reads >= self.route_every {
                self.reads = 0;
                task.doing = Doing::Route;
                query(out, LAST_ROUTE);
                return Turn::Waiting;
            }
        }
        self.task = None;
        Turn::Done
    }

    /// A router that does not know is not asked again.
    fn note_route(&mut self, got: &Got, outcome: &mut Outcome) {
        let row = got.first.as_deref().and_then(|frame| DataRow::parse(frame).ok());
        let columns: Vec<String> = row
            .iter()
            .flat_map(DataRow::values)
            .map(|value| String::from_utf8_lossy(value.unwrap_or_default()).into_owned())
            .collect();
        match <[String; 3]>::try_from(columns.into_iter().take(3).collect::<Vec<_>>()) {
            Ok([node, role, reason]) if !got.error => outcome.routes.sample(node, role, reason),
            _ => self.route_every = 0,
        }
    }

    /// Appends the bytes of the statement at hand.
    fn ask(&mut self, out: &mut Vec<u8>) {
        let Some(task) = &self.task else { return };
        let statement = &self.script.transactions[task.kind].statements[task.statement];
        if self.protocol == Protocol::Simple || statement.is_control() {
            self.text.clear();
            statement.write(&self.script, &self.values, &mut self.text);
            return query(out, &self.text);
        }
        let name = match self.protocol {
            Protocol::Prepared => format!("highwater_{}_{}", task.kind, task.statement),
            _ => String::new(),
        };
        let known = self.protocol == Protocol::Prepared && self.prepared[task.kind][task.statement];
        extended(out, &name, known, statement, &self.values);
    }
}

/// Messages that may come at any time; anything else without a question ends the connection.
fn unasked(frame: &[u8]) -> Result<Turn, Error> {
    match frame[0] {
        tag::PARAMETER_STATUS | tag::NOTICE_RESPONSE | tag::NOTIFICATION_RESPONSE => Ok(Turn::Waiting),
        // What a server says before it goes, such as 57P01: the end follows.
        tag::ERROR_RESPONSE => Ok(Turn::Waiting),
        other => Err(Error::Protocol(format!("message {:?} was not asked for", char::from(other)))),
    }
}

fn check(statement: &Statement, got: &Got, values: &[String], outcome: &mut Outcome) {
    let Some(variable) = statement.expect() else { return };
    let row = got.first.as_deref().and_then(|frame| DataRow::parse(frame).ok());
    let first = row.and_then(|row| row.values().next().flatten().map(<[u8]>::to_vec));
    if first.as_deref() != Some(values[variable].as_bytes()) {
        let told = first.map_or_else(|| "nothing".to_owned(), |v| String::from_utf8_lossy(&v).into_owned());
        outcome.faults.mix_up(|| format!("asked for {}, was told {told}", values[variable]));
    }
}

fn query(out: &mut Vec<u8>, text: &str) {
    // A script's texts have no zero bytes: its reader refuses them.
    encode::query(out, text).expect("a text without zero bytes can be sent");
}

fn extended(out: &mut Vec<u8>, name: &str, known: bool, statement: &Statement, values: &[String]) {
    const CAN: &str = "names and values without zero bytes can be sent";
    if !known {
        encode::parse(out, name.as_bytes(), statement.numbered().as_bytes(), b"").expect(CAN);
    }
    let count = u16::try_from(statement.parameters().len()).expect("a script has few variables");
    // No parameter formats, then the parameters as text, then no result formats.
    let mut bind = vec![0, 0];
    bind.extend_from_slice(&count.to_be_bytes());
    for variable in statement.parameters() {
        let value = values[*variable].as_bytes();
        let length = u32::try_from(value.len()).expect("values are short");
        bind.extend_from_slice(&length.to_be_bytes());
        bind.extend_from_slice(value);
    }
    bind.extend_from_slice(&[0, 0]);
    encode::bind_with_statement(out, b"", name.as_bytes(), &bind).expect(CAN);
    encode::describe(out, DescribeKind::Portal, b"").expect(CAN);
    encode::execute(out, b"", 0).expect(CAN);
    encode::sync(out);
}

#[cfg(test)]
mod tests;
