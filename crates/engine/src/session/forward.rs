//! Sending a client's message on: unchanged, under another name, or with something in front of it.

use std::sync::Arc;

use sql::{Class, Detail, Effects, SetValue, Verdict, Why};
use wire::encode;
use wire::frame::{Header, tag::client as tag};
use wire::frontend::{Execute, Query};

use crate::route::RouteMode;

use super::backend::Backend;
use super::client::{Progress, SETTLED_ALONE};
use super::date_style;
use super::owed::{Owed, Record};
use super::parameters::{Change, Pending, Turn};
use super::{Block, Context, HOLD_BYTES_MAX, Marks, Passing, QUERY_BYTES_MAX, Session, Side, Want};

/// What a read-only session is answered when it asks to write after all; PostgreSQL itself raises it, so that the
/// state of the transaction is PostgreSQL's.
pub(super) const REFUSAL: &str = "DO $highwater$ BEGIN RAISE EXCEPTION USING ERRCODE = '25006', \
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

    /// What a query does that was not surveyed. One that is too long to look at may do anything.
    fn judge_query(&mut self, message: &[u8], header: Header, cx: &mut Context<'_>) -> Arc<Verdict> {
        match Query::parse(message) {
            Ok(query) if header.total <= QUERY_BYTES_MAX => self.judge(query.text, cx),
            Ok(_) | Err(_) => {
                self.note_pin(Effects::UNTRACKED_STATE);
                Arc::new(Verdict::bare(Class::Unknown, Why::TooLong))
            }
        }
    }

    fn forward_query(
        &mut self,
        message: &[u8],
        header: Header,
        cx: &mut Context<'_>,
        backend: &mut Backend,
    ) -> Sent {
        let verdict = match self.incoming.current.simple.take() {
            Some(verdict) => verdict,
            None => self.judge_query(message, header, cx),
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
    pub(super) fn forward_malformed(&mut self, owed: Owed) -> Sent {
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
    pub(super) fn note_detail(&mut self, detail: &Detail, backend: &mut Backend) {
        let pending = match detail {
            Detail::Set { name, value: SetValue::Default, local: false, .. } => {
                Pending::Change(Change::Reset { name: name.clone() })
            }
            Detail::Set { name, value: SetValue::Text(value), local: false, text } => {
                let text = date_style::plain(name, value, text.clone());
                Pending::Change(Change::Set { name: name.clone(), text })
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
            Detail::Set { local: true, .. } => return self.incoming.marks.set(Marks::SET_LOCAL),
            Detail::RollbackTo => Pending::Turn(Turn::Savepoint),
            Detail::Commit { .. } | Detail::Rollback { .. } | Detail::PrepareTransaction => {
                Pending::Turn(Turn::End)
            }
            _ => return,
        };
        // A Query's end is on its way already, a batch's is still to come.
        let request = self.pipeline.ends() + u64::from(self.incoming.marks.has(Marks::BATCH_OPEN));
        self.settings.pending.push_back((request, pending));
    }

    /// Would this let a read-only session write on the primary?
    pub(super) fn forbids(&self, verdict: &Verdict, backend: &Backend) -> bool {
        if self.profile.mode != RouteMode::ReadOnly {
            return false;
        }
        if backend.side == Side::Replica {
            // It would be brought along to the primary, once no replica is left.
            return verdict.details.iter().any(|detail| {
                matches!(detail, Detail::Set { name, value: SetValue::Text(value), local: false, .. }
                    if name == "default_transaction_read_only" && value != "on")
            });
        }
        // Until the settings are brought into line again, a new transaction could write.
        let reset = |(_, pending): &(u64, Pending)| {
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
                Detail::SetTransaction { read_only, .. } => *read_only == Some(false),
                Detail::Set { value: SetValue::Text(value), .. } if value == "on" => false,
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
pub(super) enum Sent {
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
