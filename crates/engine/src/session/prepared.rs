//! A client's prepared statements on a backend: under which name, and when they are parsed there.
//!
//! Which statements there are is the business of `names` (the client's) and `statements` (the backend's).

use std::sync::Arc;

use sql::{Class, Detail, Verdict, Why};
use wire::encode;
use wire::frame::{Header, tag::client as tag};
use wire::frontend::{Bind, Close, Describe, DescribeKind, Parse};
use wire::status::TransactionStatus;

use super::backend::Backend;
use super::forward::{REFUSAL, Sent};
use super::owed::Owed;
use super::statements::{Age, Circumstances, PREFIX, Preparation, Prepared, Statement, backend_name};
use super::{Block, Context, Event, Marks, Session, Side, Want};

/// A name no backend has: binding to it makes PostgreSQL say that the statement does not exist.
const NO_SUCH: &[u8] = b"hw_none";

/// What the backend is told for a DEALLOCATE of a statement that only we know by the client's name. A statement of
/// that name is made just before it runs, so that its outcome in an aborted block is PostgreSQL's.
const DEALLOCATE_GONE: &[u8] = b"DEALLOCATE hw_gone";

/// The name that `DEALLOCATE_GONE` frees, and that stands for every name in use.
const GONE: &[u8] = b"hw_gone";

/// Of texts that mean the same whatever the settings are.
const ANYWHERE: Circumstances = Circumstances::Settings(0);

impl Session {
    pub(super) fn forward_parse(
        &mut self,
        message: &[u8],
        cx: &mut Context<'_>,
        backend: &mut Backend,
    ) -> Sent {
        self.incoming.marks.set(Marks::BATCH_OPEN);
        cx.shared.events.push(Event::ParseReceived);
        let Ok(parse) = Parse::parse(message) else {
            return self.forward_malformed(Owed::Parse { id: 0, shown: true });
        };
        let verdict = self.judge(parse.query, cx);
        let refused = self.forbids(&verdict, backend);
        let judged_for = (self.judgement_context(cx), cx.catalogue.epoch());
        let (statement, age, verdict) = if refused {
            let (refusal, _) = cx.shared.statements.intern(REFUSAL.as_bytes(), &[0, 0], ANYWHERE);
            (refusal, Age::New, Arc::new(Verdict::bare(Class::Writes, Why::DoBlock)))
        } else {
            let circumstances = self.circumstances();
            let (statement, age) =
                cx.shared.statements.intern(parse.query, parse.parameter_types, circumstances);
            (statement, age, verdict)
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
        if parse.name.is_empty() && age == Age::Seen && self.may_name(&statement, backend) {
            if self.prepare(&statement, true, cx, backend) == Preparation::Ready {
                self.pipeline.push(Owed::ParseAnswered);
            }
        } else if parse.name.is_empty() {
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

    /// In the middle of a batch: does this message use a name about which an earlier batch decides, which is not answered
    /// yet? What a batch uses up to its first Flush is known before it goes on; this is for what comes behind.
    pub(super) fn wait_for_name(&self, input: &[u8], header: Header) -> Option<Want> {
        let undecided = self.names.has_unsaid() && self.pipeline.requests().next().is_some();
        if !undecided || self.incoming.marks.has(Marks::COPYING) {
            return None;
        }
        let needed = if header.tag == tag::BIND { Self::looked_at(header.total) } else { header.total };
        let Some(message) = input.get(..needed) else { return Some(Want::Input) };
        let name = match header.tag {
            // The unnamed one is replaced, whatever it was.
            tag::PARSE => Parse::parse(message).ok().map(|parse| parse.name).filter(|name| !name.is_empty()),
            tag::BIND => bind_names(message).map(|(_, name, _)| name),
            tag::DESCRIBE => {
                let describe = Describe::parse(message).ok();
                describe.filter(|d| d.kind == DescribeKind::Statement).map(|d| d.name)
            }
            _ => None,
        };
        name.filter(|name| self.names.is_left_open(name, self.pipeline.batch)).map(|_| Want::Answers)
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

    pub(super) fn forward_bind(
        &mut self,
        message: &[u8],
        cx: &mut Context<'_>,
        backend: &mut Backend,
    ) -> Sent {
        self.incoming.marks.set(Marks::BATCH_OPEN);
        cx.shared.events.push(Event::BindReceived);
        let Some((portal, name, rest)) = bind_names(message) else {
            return self.forward_malformed(Owed::Bind { id: 0 });
        };
        let total = u32::from_be_bytes([message[1], message[2], message[3], message[4]]);
        self.names.bind(portal, name);
        let known_as = match self.names.get(name).cloned() {
            // It may have been parsed where it was harmless.
            Some(prepared) if self.forbids(&prepared.verdict, backend) => {
                let (refusal, _) = cx.shared.statements.intern(REFUSAL.as_bytes(), &[0, 0], ANYWHERE);
                self.prepare(&refusal, false, cx, backend);
                BackendName::Other(Some(refusal.id))
            }
            // Backends know what it frees by another name.
            Some(prepared) if self.deallocates_ours(&prepared.verdict) => {
                self.make_gone(cx);
                let (freeing, _) = cx.shared.statements.intern(DEALLOCATE_GONE, &[0, 0], ANYWHERE);
                self.prepare(&freeing, false, cx, backend);
                BackendName::Other(Some(freeing.id))
            }
            Some(_) | None => self.on_backend_as(name, cx, backend),
        };
        let id = known_as.id();
        let sent = match known_as {
            BackendName::AsIs => Sent::Unchanged,
            BackendName::Other(id) => {
                let new = id.map_or(backend_name(0), backend_name);
                let new = if id.is_some() { new.as_bytes() } else { NO_SUCH };
                cx.to_backend.make(|out| write_bind(out, total, portal, name, new, &message[rest..]));
                Sent::Replaced
            }
        };
        self.pipeline.push(Owed::Bind { id });
        sent
    }

    pub(super) fn forward_describe(
        &mut self,
        message: &[u8],
        cx: &mut Context<'_>,
        backend: &mut Backend,
    ) -> Sent {
        self.incoming.marks.set(Marks::BATCH_OPEN);
        let Ok(describe) = Describe::parse(message) else {
            return self.forward_malformed(Owed::DescribePortal);
        };
        if describe.kind == DescribeKind::Portal {
            self.pipeline.push(Owed::DescribePortal);
            return Sent::Unchanged;
        }
        let known_as = self.on_backend_as(describe.name, cx, backend);
        let id = known_as.id();
        let sent = match known_as {
            BackendName::AsIs => Sent::Unchanged,
            BackendName::Other(id) => {
                let name = id.map(backend_name);
                let name = name.as_ref().map_or(NO_SUCH, |n| n.as_bytes());
                cx.to_backend
                    .make(|out| encode::describe(out, DescribeKind::Statement, name).expect("a short name"));
                Sent::Replaced
            }
        };
        self.pipeline.push(Owed::DescribeStatement { id });
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
            if self.may_name(statement, backend) && backend.known.has(statement.id, self.pipeline.batch) {
                self.prepare(statement, false, cx, backend);
                return BackendName::Other(Some(statement.id));
            }
            cx.to_backend.make(|out| write_parse(out, b"", statement));
            cx.shared.events.push(Event::ParseSent);
            backend.unnamed = Some(statement.id);
            self.pipeline.push(Owed::Parse { id: 0, shown: false });
            return BackendName::AsIs;
        }
        let mut statement = prepared.statement;
        let elsewhere =
            statement.circumstances != Circumstances::Own && statement.circumstances != self.circumstances();
        if elsewhere && !backend.known.has(statement.id, self.pipeline.batch) {
            // Parsed under other settings it may mean something else, which must not become the others' statement.
            statement = cx.shared.statements.own(&statement.text, &statement.types);
            self.names.replace(name, Arc::clone(&statement));
        }
        self.prepare(&statement, false, cx, backend);
        BackendName::Other(Some(statement.id))
    }

    /// In which circumstances would the backend parse a text that is sent now?
    pub(super) fn circumstances(&self) -> Circumstances {
        // What pins a session may be a setting that nobody has counted, or a table that hides another one.
        let counted = self.pin.is_none() && self.settings.pending.is_empty();
        if counted && !self.incoming.marks.has(Marks::SET_LOCAL) {
            Circumstances::Settings(self.settings.tracked.meaning())
        } else {
            Circumstances::Own
        }
    }

    /// May a client's unnamed statement have a name on the backend, so that it is parsed and planned once? A read that
    /// can run again: should its result have changed its columns meanwhile, PostgreSQL refuses to run a
    /// named statement, where an unnamed one would have been parsed anew. So nothing that is sent before it may be
    /// answered first, or it could not run again.
    fn may_name(&self, statement: &Statement, backend: &Backend) -> bool {
        statement.circumstances != Circumstances::Own
            && backend.side == Side::Replica
            && self.pipeline.is_held()
            && self.pipeline.opens()
            && self.incoming.current.rerunnable
            && !self.route.last.reran
    }

    pub(super) fn forward_close(&mut self, message: &[u8], _cx: &mut Context<'_>) -> Sent {
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
    pub(super) fn note_deallocate(&mut self, name: &[u8], backend: &mut Backend) {
        if self.names.get(name).is_none() && name.starts_with(PREFIX.as_bytes()) {
            // It may have been another session's.
            backend.spent = true;
        }
        self.names.freeing(name);
    }
}

/// What to call a client's statement on the backend.
enum BackendName {
    /// As the client does.
    AsIs,
    /// By its number; `None`: by a name that does not exist.
    Other(Option<u64>),
}

impl BackendName {
    /// The number, or zero.
    fn id(&self) -> u64 {
        match *self {
            BackendName::Other(Some(id)) => id,
            BackendName::Other(None) | BackendName::AsIs => 0,
        }
    }
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
