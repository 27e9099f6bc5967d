//! Sending a client's message on: unchanged, under another name, or with something in front of it.

use std::sync::Arc;

use sql::{Class, Detail, Effects, SetValue, Verdict, Why};
use wire::encode;
use wire::frame::{Header, tag::client as tag};
use wire::frontend::{Bind, Close, Describe, DescribeKind, Execute, Parse, Query};
use wire::status::TransactionStatus;

use crate::route::RouteMode;

use super::backend::Backend;
use super::client::{Progress, SETTLED_ALONE};
use super::owed::{Owed, Record};
use super::parameters::{Change, Pending, Turn};
use super::statements::{PREFIX, Preparation, Prepared, Statement, backend_name};
use super::{Block, Context, Event, HOLD_BYTES_MAX, Marks, Passing, QUERY_BYTES_MAX, Session, Side, Want};

/// A name no backend has: binding to it makes PostgreSQL say that the statement does not exist.
const NO_SUCH: &[u8] = b"hw_none";

/// What the backend is told for a DEALLOCATE of a statement that only we know by the client's name. A statement of
/// that name is made just before it runs, so that its outcome in an aborted block is PostgreSQL's.
const DEALLOCATE_GONE: &[u8] = b"DEALLOCATE hw_gone";

/// The name that `DEALLOCATE_GONE` frees, and that stands for every name in use.
const GONE: &[u8] = b"hw_gone";

/// What a read-only session is answered when it asks to write after all; PostgreSQL itself raises it, so that the
/// state of the transaction is PostgreSQL's.
const REFUSAL: &str = "DO $highwater$ BEGIN RAISE EXCEPTION USING ERRCODE = '25006', \
    MESSAGE = 'this database name is read-only: the session cannot be made to write', \
    HINT = 'Connect to the database without the read-only suffix.'; END $highwater$";

impl Session {
    /// Sends one message of the held backend's request on.
    pub(super) fn forward_message(
        &mut self,
        input: &[u8],
        at: usize,
        header: Header,
        cx: &mut Context<'_>,
        backend: &mut Backend,
    ) -> Progress {
        let here = input.len() - at;
        let needed = match header.tag {
            tag::COPY_DATA => 5,
            // Its function's OID.
            tag::FUNCTION_CALL => 9.min(header.total),
            tag::QUERY if header.total > QUERY_BYTES_MAX => 5,
            tag::BIND => Self::looked_at(header.total),
            _ => header.total,
        };
        if here < needed {
            return Progress::Stop(Want::Input);
        }
        let n = header.total.min(here);
        let message = &input[at..at + n];
        self.keep(message, header, backend);
        let done = match header.tag {
            tag::QUERY => self.forward_query(message, header, cx, backend),
            tag::PARSE => self.forward_parse(message, cx, backend),
            tag::BIND => self.forward_bind(message, cx, backend),
            tag::DESCRIBE => self.forward_describe(message, cx, backend),
            tag::CLOSE => self.forward_close(message, cx),
            tag::SYNC => self.forward_sync(backend),
            tag::FUNCTION_CALL => self.forward_function_call(message, cx, backend),
            _ => self.forward_plain(message, header, backend),
        };
        if done == Sent::Unchanged {
            cx.to_backend.forward(input, at, at + n);
        }
        if n < header.total {
            let left = header.total - n;
            let goes_on = done == Sent::Unchanged || header.tag == tag::BIND;
            self.incoming.passing = if goes_on { Passing::Forward(left) } else { Passing::Drop(left) };
        }
        self.incoming.budget = self.incoming.budget.saturating_sub(n);
        if header.tag == tag::FLUSH {
            self.say_answered(cx);
        }
        Progress::Bytes(n)
    }

    /// Keeps a message so that its request can run again, where that may be wanted.
    fn keep(&mut self, message: &[u8], header: Header, backend: &Backend) {
        // A pin that came with the request being kept does not end its keeping.
        let pinned = self.pin.is_some() && !self.pipeline.is_held();
        if backend.side == Side::Primary || !matches!(self.block, Block::None) || pinned {
            return;
        }
        if message.len() < header.total {
            self.pipeline.unhold();
        } else {
            self.pipeline.hold(message, HOLD_BYTES_MAX);
            if matches!(header.tag, tag::QUERY | tag::SYNC | tag::FUNCTION_CALL) {
                self.pipeline.end_of_request();
            }
        }
    }

    /// The account of the request whose last message goes on now.
    fn record(&self) -> Record {
        let current = &self.incoming.current;
        Record {
            reads: current.reads,
            rerunnable: current.rerunnable,
            started: current.started,
            shape: current.shape,
        }
    }

    fn forward_query(
        &mut self,
        message: &[u8],
        header: Header,
        cx: &mut Context<'_>,
        backend: &mut Backend,
    ) -> Sent {
        let verdict = match (self.incoming.current.simple.take(), Query::parse(message)) {
            (Some(verdict), _) => verdict,
            (None, Ok(query)) if header.total <= QUERY_BYTES_MAX => self.judge(query.text, cx),
            (None, Ok(_) | Err(_)) => {
                self.note_pin(Effects::UNTRACKED_STATE);
                Arc::new(Verdict::bare(Class::Unknown, Why::TooLong))
            }
        };
        backend.unnamed = None;
        self.names.drop_unnamed();
        self.pipeline.push(Owed::Query(self.record()));
        if self.note_statement(&verdict, backend) == Permit::Refused {
            cx.to_backend.make(|out| encode::query(out, REFUSAL).expect("our own text has no zero byte"));
            return Sent::Replaced;
        }
        Sent::Unchanged
    }

    fn forward_parse(&mut self, message: &[u8], cx: &mut Context<'_>, backend: &mut Backend) -> Sent {
        self.incoming.marks.set(Marks::BATCH_OPEN);
        cx.shared.events.push(Event::ParseReceived);
        let Ok(parse) = Parse::parse(message) else {
            return self.forward_malformed(Owed::Parse { id: 0, shown: true });
        };
        let verdict = self.judge(parse.query, cx);
        let refused = self.forbids(&verdict, backend);
        let judged_for = (self.judgement_context(cx), cx.catalogue.epoch());
        let (statement, verdict) = if refused {
            let refusal = cx.shared.statements.intern(REFUSAL.as_bytes(), &[0, 0]);
            (refusal, Arc::new(Verdict::bare(Class::Writes, Why::DoBlock)))
        } else {
            (cx.shared.statements.intern(parse.query, parse.parameter_types), verdict)
        };
        let batch = self.pipeline.batch;
        if self.names.is_taken(parse.name, batch) {
            // PostgreSQL refuses a name in use, if it has nothing worse to say of the text; it does so itself.
            self.make_gone(cx);
            cx.to_backend.make(|out| write_parse(out, GONE, &statement));
            self.pipeline.push(Owed::Parse { id: 0, shown: true });
            self.names.parse_in_vain(parse.name, batch);
            return Sent::Replaced;
        }
        let serial = self.names.next_serial();
        let prepared = Prepared { statement: Arc::clone(&statement), verdict, judged_for, serial };
        self.names.parse(parse.name, prepared, batch);
        if parse.name.is_empty() {
            backend.unnamed = Some(statement.id);
            self.pipeline.push(Owed::Parse { id: 0, shown: true });
            cx.shared.events.push(Event::ParseSent);
            if !refused {
                return Sent::Unchanged;
            }
            cx.to_backend.make(|out| write_parse(out, b"", &statement));
        } else {
            if self.may_be_aborted() {
                backend.known.doubt(statement.id);
            }
            if self.prepare(&statement, true, cx, backend) == Preparation::Ready {
                self.pipeline.push(Owed::ParseAnswered);
            }
        }
        Sent::Replaced
    }

    /// Could the block be an aborted one when what goes on now gets there? Then PostgreSQL refuses a Parse.
    fn may_be_aborted(&self) -> bool {
        match self.block {
            Block::Open { status: TransactionStatus::InTransaction } => {
                self.pipeline.requests().next().is_some()
            }
            Block::Open { status } => status == TransactionStatus::Failed,
            Block::None | Block::Deferred(_) | Block::Lost { .. } => false,
        }
    }

    /// Makes sure that the backend has the statement, or will have it before what comes next.
    fn prepare(
        &mut self,
        statement: &Statement,
        shown: bool,
        cx: &mut Context<'_>,
        backend: &mut Backend,
    ) -> Preparation {
        let preparation = backend.known.prepare(statement.id, self.pipeline.batch);
        if let Preparation::CloseThenParse(old) = preparation {
            cx.to_backend.make(|out| {
                let name = backend_name(old);
                encode::close(out, DescribeKind::Statement, name.as_bytes()).expect("a short name");
            });
            self.pipeline.push(Owed::CloseHidden { id: old });
        }
        if preparation != Preparation::Ready {
            cx.to_backend.make(|out| write_parse(out, backend_name(statement.id).as_bytes(), statement));
            cx.shared.events.push(Event::ParseSent);
            self.pipeline.push(Owed::Parse { id: statement.id, shown });
        }
        preparation
    }

    fn forward_bind(&mut self, message: &[u8], cx: &mut Context<'_>, backend: &mut Backend) -> Sent {
        self.incoming.marks.set(Marks::BATCH_OPEN);
        cx.shared.events.push(Event::BindReceived);
        let Some((portal, name, rest)) = bind_names(message) else {
            return self.forward_malformed(Owed::Bind);
        };
        let total = u32::from_be_bytes([message[1], message[2], message[3], message[4]]);
        self.names.bind(portal, name);
        let known_as = match self.names.get(name).cloned() {
            // It may have been parsed where it was harmless.
            Some(prepared) if self.forbids(&prepared.verdict, backend) => {
                let refusal = cx.shared.statements.intern(REFUSAL.as_bytes(), &[0, 0]);
                self.prepare(&refusal, false, cx, backend);
                BackendName::Other(Some(refusal.id))
            }
            // Backends know what it frees by another name.
            Some(prepared) if self.deallocates_ours(&prepared.verdict) => {
                self.make_gone(cx);
                let freeing = cx.shared.statements.intern(DEALLOCATE_GONE, &[0, 0]);
                self.prepare(&freeing, false, cx, backend);
                BackendName::Other(Some(freeing.id))
            }
            Some(_) | None => self.on_backend_as(name, cx, backend),
        };
        let sent = match known_as {
            BackendName::AsIs => Sent::Unchanged,
            BackendName::Other(id) => {
                let new = id.map_or(backend_name(0), backend_name);
                let new = if id.is_some() { new.as_bytes() } else { NO_SUCH };
                cx.to_backend.make(|out| write_bind(out, total, portal, name, new, &message[rest..]));
                Sent::Replaced
            }
        };
        self.pipeline.push(Owed::Bind);
        sent
    }

    fn forward_describe(&mut self, message: &[u8], cx: &mut Context<'_>, backend: &mut Backend) -> Sent {
        self.incoming.marks.set(Marks::BATCH_OPEN);
        let Ok(describe) = Describe::parse(message) else {
            return self.forward_malformed(Owed::DescribePortal);
        };
        if describe.kind == DescribeKind::Portal {
            self.pipeline.push(Owed::DescribePortal);
            return Sent::Unchanged;
        }
        let sent = match self.on_backend_as(describe.name, cx, backend) {
            BackendName::AsIs => Sent::Unchanged,
            BackendName::Other(id) => {
                let name = id.map(backend_name);
                let name = name.as_ref().map_or(NO_SUCH, |n| n.as_bytes());
                cx.to_backend
                    .make(|out| encode::describe(out, DescribeKind::Statement, name).expect("a short name"));
                Sent::Replaced
            }
        };
        self.pipeline.push(Owed::DescribeStatement);
        sent
    }

    /// Under which name the backend has (or after this call will have) the client's statement.
    fn on_backend_as(&mut self, name: &[u8], cx: &mut Context<'_>, backend: &mut Backend) -> BackendName {
        let Some(prepared) = self.names.get(name).cloned() else {
            // SQL PREPARE makes names on a pinned backend; our own prefix and the unnamed one are never guessed at.
            let reserved = name.is_empty() || name.starts_with(PREFIX.as_bytes());
            return if reserved { BackendName::Other(None) } else { BackendName::AsIs };
        };
        if name.is_empty() {
            let statement = &prepared.statement;
            if backend.unnamed == Some(statement.id) {
                return BackendName::AsIs;
            }
            cx.to_backend.make(|out| write_parse(out, b"", statement));
            cx.shared.events.push(Event::ParseSent);
            backend.unnamed = Some(statement.id);
            self.pipeline.push(Owed::Parse { id: 0, shown: false });
            return BackendName::AsIs;
        }
        self.prepare(&prepared.statement, false, cx, backend);
        BackendName::Other(Some(prepared.statement.id))
    }

    fn forward_close(&mut self, message: &[u8], _cx: &mut Context<'_>) -> Sent {
        self.incoming.marks.set(Marks::BATCH_OPEN);
        let Ok(close) = Close::parse(message) else {
            return self.forward_malformed(Owed::Close);
        };
        if close.kind == DescribeKind::Statement {
            let ours = close.name.is_empty() || self.names.get(close.name).is_some();
            if ours || self.pin.is_none() {
                self.names.close(close.name, self.pipeline.batch);
                self.pipeline.push(Owed::CloseAnswered);
                return Sent::Replaced;
            }
        }
        self.pipeline.push(Owed::Close);
        Sent::Unchanged
    }

    fn forward_sync(&mut self, backend: &mut Backend) -> Sent {
        // Which unnamed statement the backend has is certain only within a batch: after an error, Parse is skipped.
        backend.unnamed = None;
        let marks = &mut self.incoming.marks;
        marks.clear(Marks::SKIPPING);
        // PostgreSQL ignores a Sync while it waits for COPY data.
        if !marks.has(Marks::COPYING) {
            marks.clear(Marks::BATCH_OPEN);
            self.pipeline.batch += 1;
            self.pipeline.push(Owed::Sync(self.record()));
        }
        Sent::Unchanged
    }

    /// A function called by its number may do anything with the session, `set_config` included.
    fn forward_function_call(&mut self, message: &[u8], cx: &mut Context<'_>, backend: &mut Backend) -> Sent {
        self.incoming.marks.set(Marks::WROTE);
        self.pipeline.push(Owed::Query(self.record()));
        let function = message.get(5..9).and_then(|oid| oid.try_into().ok()).map_or(0, u32::from_be_bytes);
        if LARGE_OBJECT_FUNCTIONS.contains(&function) {
            return Sent::Unchanged;
        }
        if self.profile.mode == RouteMode::ReadOnly && backend.side == Side::Primary {
            backend.unnamed = None;
            cx.to_backend.make(|out| encode::query(out, REFUSAL).expect("our own text has no zero byte"));
            return Sent::Replaced;
        }
        self.note_pin(Effects::UNTRACKED_STATE);
        Sent::Unchanged
    }

    /// Execute, Flush and copy data go on as they are.
    fn forward_plain(&mut self, message: &[u8], header: Header, backend: &mut Backend) -> Sent {
        match header.tag {
            tag::EXECUTE => {
                self.incoming.marks.set(Marks::BATCH_OPEN);
                self.pipeline.push(Owed::Execute);
                let portal = Execute::parse(message).ok().map(|e| e.portal);
                match portal.and_then(|name| self.names.portals.get(name).cloned()) {
                    // Whether it may run was settled when it was parsed.
                    Some(verdict) => {
                        let _ = self.note_statement(&verdict, backend);
                    }
                    // A cursor of SQL's, or a statement that SQL prepared.
                    None => self.incoming.marks.set(Marks::WROTE),
                }
            }
            tag::COPY_DONE | tag::COPY_FAIL => {
                if self.incoming.marks.has(Marks::COPYING) {
                    self.incoming.marks.clear(Marks::COPYING);
                } else if !self.pipeline.is_empty() {
                    self.pipeline.push(Owed::CopyEnd);
                }
            }
            _ => {}
        }
        Sent::Unchanged
    }

    /// PostgreSQL's own answer to a malformed message is the right one.
    fn forward_malformed(&mut self, owed: Owed) -> Sent {
        self.pipeline.push(owed);
        Sent::Unchanged
    }

    /// Notes what a statement that goes on now leaves behind.
    fn note_statement(&mut self, verdict: &Verdict, backend: &mut Backend) -> Permit {
        if verdict.class != Class::Reads {
            self.incoming.marks.set(Marks::WROTE);
        }
        if self.forbids(verdict, backend) {
            return Permit::Refused;
        }
        if verdict.effects.is_empty() {
            return Permit::Given;
        }
        self.note_pin(verdict.effects);
        if verdict.effects.intersects(SETTLED_ALONE) {
            self.incoming.marks.set(Marks::BARRIER);
        }
        for detail in &verdict.details {
            self.note_detail(detail, backend);
        }
        Permit::Given
    }

    /// Notes what one statement of a text that goes on now does to the session's settings and names.
    fn note_detail(&mut self, detail: &Detail, backend: &mut Backend) {
        let pending = match detail {
            Detail::Set { name, value: SetValue::Default, local: false, .. } => {
                Pending::Change(Change::Reset { name: name.clone() })
            }
            Detail::Set { name, value: SetValue::Text(_), local: false, text } => {
                Pending::Change(Change::Set { name: name.clone(), text: text.clone() })
            }
            Detail::SetSessionCharacteristics { read_only: Some(on) } => {
                let text = format!("SET default_transaction_read_only = {}", if *on { "on" } else { "off" });
                Pending::Change(Change::Set { name: "default_transaction_read_only".to_owned(), text })
            }
            Detail::SetSessionCharacteristics { read_only: None } => {
                return self.note_pin(Effects::UNTRACKED_STATE);
            }
            Detail::ResetAll => Pending::Change(Change::ResetAll),
            Detail::DiscardAll => {
                backend.known.doubt_all();
                self.incoming.marks.clear(Marks::PINNED_BEHIND);
                self.names.freeing_all();
                Pending::Turn(Turn::Discard)
            }
            Detail::DeallocateAll => {
                backend.known.doubt_all();
                return self.names.freeing_all();
            }
            Detail::Deallocate { name } => return self.note_deallocate(name.as_bytes(), backend),
            Detail::RollbackTo => Pending::Turn(Turn::Savepoint),
            Detail::Commit { .. } | Detail::Rollback { .. } | Detail::PrepareTransaction => {
                Pending::Turn(Turn::End)
            }
            _ => return,
        };
        self.settings.pending.push_back(pending);
    }

    /// Does it free a statement that the client has prepared by the protocol?
    pub(super) fn deallocates_ours(&self, verdict: &Verdict) -> bool {
        matches!(verdict.details.as_slice(), [Detail::Deallocate { name }]
            if verdict.statements == 1 && !name.is_empty() && self.names.get(name.as_bytes()).is_some())
    }

    /// Makes the statement that `DEALLOCATE_GONE` frees. PostgreSQL takes an empty text in an aborted block too.
    fn make_gone(&mut self, cx: &mut Context<'_>) {
        cx.to_backend.make(|out| {
            encode::close(out, DescribeKind::Statement, GONE).expect("a short name");
            encode::parse(out, GONE, b"", &[0, 0]).expect("a short name");
        });
        self.pipeline.push(Owed::CloseHidden { id: 0 });
        self.pipeline.push(Owed::Parse { id: 0, shown: false });
    }

    /// DEALLOCATE of one name goes on.
    fn note_deallocate(&mut self, name: &[u8], backend: &mut Backend) {
        if self.names.get(name).is_none() && name.starts_with(PREFIX.as_bytes()) {
            // It may have been another session's.
            backend.spent = true;
        }
        self.names.freeing(name);
    }

    /// Would this let a read-only session write on the primary?
    fn forbids(&self, verdict: &Verdict, backend: &Backend) -> bool {
        if self.profile.mode != RouteMode::ReadOnly || backend.side == Side::Replica {
            return false;
        }
        // Until the settings are brought into line again, a new transaction could write.
        let reset = |pending: &Pending| {
            matches!(pending, Pending::Change(Change::ResetAll) | Pending::Turn(Turn::Discard))
        };
        if self.settings.pending.iter().any(reset) && verdict.class != Class::Reads {
            return true;
        }
        if verdict.effects.is_empty() {
            return false;
        }
        verdict.effects.contains(Effects::UNTRACKED_STATE)
            || verdict.details.iter().any(|detail| match detail {
                Detail::Begin { read_only, .. } => *read_only == Some(false),
                Detail::SetTransaction { read_only, .. }
                | Detail::SetSessionCharacteristics { read_only } => *read_only == Some(false),
                Detail::Set { name, .. } => name.ends_with("transaction_read_only"),
                Detail::ResetAll | Detail::DiscardAll => self.pin.is_some() || verdict.statements > 1,
                _ => false,
            })
    }

    /// Sends the settings that differ, in front of everything else.
    pub(super) fn bring_into_line(&mut self, backend: &mut Backend, cx: &mut Context<'_>) {
        if Arc::ptr_eq(&backend.applied, &self.settings.tracked) {
            return;
        }
        if *backend.applied == *self.settings.tracked {
            // One set for all who asked for the same, so that the next comparison is of two addresses.
            self.settings.tracked = Arc::clone(&backend.applied);
            return;
        }
        let sql = backend.applied.bring_to(&self.settings.tracked);
        backend.applied = Arc::clone(&self.settings.tracked);
        if !sql.is_empty() {
            backend.unnamed = None;
            cx.to_backend
                .make(|out| encode::query(out, &sql).expect("settings came as texts without zero bytes"));
            self.pipeline.push(Owed::Hidden);
        }
    }

    /// Sends the BEGIN that waited for its first statement.
    pub(super) fn send_deferred(&mut self, cx: &mut Context<'_>) {
        if !matches!(self.block, Block::Deferred(_)) {
            return;
        }
        let open = Block::Open { status: wire::status::TransactionStatus::InTransaction };
        let Block::Deferred(deferred) = std::mem::replace(&mut self.block, open) else { return };
        cx.to_backend.make(|out| out.extend_from_slice(&deferred.opening));
        for _ in 0..deferred.messages {
            self.pipeline.push(Owed::Hidden);
        }
    }
}

/// Functions of large objects that drivers call by number (`lo_*`, `loread`, `lowrite`); they leave nothing behind
/// in the session. From PostgreSQL's `pg_proc.dat`.
const LARGE_OBJECT_FUNCTIONS: [u32; 13] =
    [715, 764, 952, 953, 954, 955, 956, 957, 958, 964, 1004, 3170, 3171];

/// How a message went on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Sent {
    /// It goes as it came.
    Unchanged,
    /// Something else went, or nothing.
    Replaced,
}

/// Whether a read-only session may do this.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Permit {
    Given,
    Refused,
}

/// What to call a client's statement on the backend.
enum BackendName {
    /// As the client does.
    AsIs,
    /// By its number; `None`: by a name that does not exist.
    Other(Option<u64>),
}

/// Portal, statement, and where the rest begins; the message need not be whole.
fn bind_names(message: &[u8]) -> Option<(&[u8], &[u8], usize)> {
    if let Ok(bind) = Bind::parse(message) {
        return Some((bind.portal, bind.statement, bind.rest_offset));
    }
    let body = message.get(5..)?;
    let portal_end = body.iter().position(|&b| b == 0)?;
    let after = body.get(portal_end + 1..)?;
    let statement_end = after.iter().position(|&b| b == 0)?;
    Some((&body[..portal_end], &after[..statement_end], 5 + portal_end + 1 + statement_end + 1))
}

/// Writes the Parse of a statement under this name.
fn write_parse(out: &mut Vec<u8>, name: &[u8], statement: &Statement) {
    encode::parse(out, name, &statement.text, &statement.types)
        .expect("it came in a well-formed Parse message of a bounded length");
}

/// Writes a Bind whose statement has another name; `rest` may be only the part that has arrived. The length is
/// measured anew from the old one: both names were inside it.
fn write_bind(out: &mut Vec<u8>, declared: u32, portal: &[u8], old: &[u8], new: &[u8], rest: &[u8]) {
    let length = u64::from(declared) - old.len() as u64 + new.len() as u64;
    let length = u32::try_from(length).expect("a message of at most 1 GiB and a name of a few bytes");
    out.push(tag::BIND);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(portal);
    out.push(0);
    out.extend_from_slice(new);
    out.push(0);
    out.extend_from_slice(rest);
}
