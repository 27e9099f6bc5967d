//! May a request run again, and what the client is told when it may not.
//!
//! A request runs again only if nothing of its answer has reached the client and nothing it did can have been
//! kept. A replica's refusal (25006) proves the second; a lost replica needs a request that is rerunnable.

use std::collections::{HashSet, VecDeque};

use wire::encode;
use wire::frame;
use wire::sqlstate::SqlState;

use crate::route::{Reason, RouteMode};

use super::backend::Backend;
use super::relay::Opening;
use super::{Block, Context, Event, Incoming, Lease, Marks, Passing, Session, Side, Step, Want};

/// Shapes remembered after a refusal.
const LEARNED_MAX: usize = 4096;

/// Shapes of statements that a replica has refused: they go to the primary at once.
#[derive(Debug, Default)]
pub struct Learned {
    shapes: HashSet<u64>,
    order: VecDeque<u64>,
}

impl Learned {
    /// Has a replica refused this shape?
    pub fn contains(&self, shape: u64) -> bool {
        !self.shapes.is_empty() && self.shapes.contains(&shape)
    }

    /// A replica has refused this shape. The oldest is forgotten when there are too many. `true`: it was not known.
    pub fn insert(&mut self, shape: u64) -> bool {
        if !self.shapes.insert(shape) {
            return false;
        }
        self.order.push_back(shape);
        if self.order.len() > LEARNED_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.shapes.remove(&oldest);
        }
        true
    }
}

impl Session {
    /// What an error at the beginning of an answer means for running again.
    pub(super) fn judge_refusal(&self, code: Option<SqlState>, error_end: usize) -> Opening {
        let Some(code) = code else { return Opening::Answer };
        let rerunnable = self.pipeline.requests().all(|r| r.rerunnable);
        let auto = self.profile.mode == RouteMode::Auto;
        let (again, learn, reason) = match code {
            // Writes, temporary or unlogged tables, functions that need a primary: nothing was done.
            SqlState::READ_ONLY_TRANSACTION | SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE => {
                (auto, true, Reason::RefusedByReplica)
            }
            // "cached plan must not change result type": of the statement's age, not of the replica.
            SqlState::FEATURE_NOT_SUPPORTED if self.pipeline.used().next().is_some() => {
                (rerunnable, false, Reason::RefusedByReplica)
            }
            SqlState::FEATURE_NOT_SUPPORTED => (auto && rerunnable, true, Reason::RefusedByReplica),
            // DDL that this replica has not replayed yet looks like a mistake.
            SqlState::UNDEFINED_TABLE
            | SqlState::UNDEFINED_COLUMN
            | SqlState::UNDEFINED_FUNCTION
            | SqlState::UNDEFINED_OBJECT
            | SqlState::INVALID_SCHEMA_NAME => (rerunnable, false, Reason::RefusedByReplica),
            // Recovery conflicts, and a node that goes down in order.
            SqlState::SERIALIZATION_FAILURE
            | SqlState::DEADLOCK_DETECTED
            | SqlState::ADMIN_SHUTDOWN
            | SqlState::CRASH_SHUTDOWN
            | SqlState::CANNOT_CONNECT_NOW => (rerunnable, false, Reason::ReplicaFailed),
            _ => (false, false, Reason::ReplicaFailed),
        };
        if again && self.route.last.reran {
            return Opening::Answer;
        }
        if again { Opening::Again { reason, learn, error_end } } else { Opening::Answer }
    }

    /// Takes everything unanswered back, to run it on another node.
    pub(super) fn run_again(
        &mut self,
        input: &[u8],
        end: usize,
        why: (Reason, bool),
        cx: &mut Context<'_>,
        backend: &mut Backend,
    ) -> Step {
        let (reason, learn) = why;
        // What was prepared on the way to the error may be there or not.
        for id in self.pipeline.prepared() {
            backend.known.on_unanswered(id);
        }
        for id in self.pipeline.used() {
            backend.known.doubt(id);
        }
        backend.unnamed = None;
        let requests = self.pipeline.requests().count();
        if learn
            && let Some(record) = self.pipeline.requests().next()
            && cx.shared.learned.insert(record.shape)
        {
            cx.shared.events.push(Event::Learned(record.shape));
        }
        // With one request, and its ReadyForQuery the last thing here, the backend owes nothing more.
        let ready = frame::header(&input[end..]).ok().flatten();
        let ready =
            ready.filter(|h| h.tag == frame::tag::backend::READY_FOR_QUERY && end + h.total == input.len());
        let in_step = requests == 1 && ready.is_some() && !self.incoming.marks.has(Marks::BATCH_OPEN);
        self.take_back(reason, cx);
        Step { consumed: input.len(), want: Want::Rerun { in_step } }
    }

    /// The session lets go of its backend; what is held will run again.
    fn take_back(&mut self, reason: Reason, cx: &mut Context<'_>) {
        cx.shared.events.push(Event::Rerun(reason));
        self.route.rerun = Some(reason);
        self.lease = Lease::None;
    }

    /// The client messages to show again, in front of whatever input there is.
    pub fn take_rerun(&mut self) -> Vec<u8> {
        let held = self.pipeline.take_held();
        self.names.undo_all();
        self.settings.pending.clear();
        self.settings.uncertain = false;
        self.incoming = Incoming::new();
        held
    }

    /// Could what runs on this backend run elsewhere, without the client noticing?
    pub fn may_move(&self, backend: &Backend) -> bool {
        backend.side == Side::Replica
            && self.pin.is_none()
            && !self.is_inside_answer()
            && !self.pipeline.begun
            && self.pipeline.is_held()
            && !self.pipeline.is_empty()
            && self.pipeline.requests().all(|r| r.rerunnable)
            && self.incoming.current.rerunnable
    }

    /// The held backend is gone, without having been asked to go.
    pub fn on_backend_lost(&mut self, cx: &mut Context<'_>, backend: &Backend) -> Want {
        if self.is_inside_answer() {
            return Want::Close;
        }
        if let Some(pin) = self.pin {
            let message = format!("the node was lost, and with it {} of this session", pin.what);
            return self.end_fatally(SqlState::ADMIN_SHUTDOWN, &message, cx);
        }
        if self.may_move(backend) {
            self.take_back(Reason::ReplicaFailed, cx);
            return Want::Rerun { in_step: false };
        }
        self.lease = Lease::None;
        if self.incoming.marks.has(Marks::WROTE) && backend.side == Side::Primary {
            // Whatever was sent may have been committed before the connection broke.
            self.watermark.on_write(cx.now);
            cx.shared.events.push(Event::Wrote(cx.now));
        }
        self.answer_loss(cx);
        Want::GiveBack
    }

    /// Tells the client what has become of everything it was waiting for.
    fn answer_loss(&mut self, cx: &mut Context<'_>) {
        let in_block = matches!(self.block, Block::Open { .. });
        let wrote = self.incoming.marks.has(Marks::WROTE);
        let batch_open = self.incoming.marks.has(Marks::BATCH_OPEN);
        // A request of which only our own opening was sent is still in the client's input, and gets its answer there.
        let waiting = self.pipeline.requests().next().is_some() || batch_open;
        self.block = match (in_block, waiting) {
            (true, told) => Block::Lost { told },
            (false, _) => Block::None,
        };
        let (code, message) = if wrote && waiting {
            (
                SqlState::STATEMENT_COMPLETION_UNKNOWN,
                "the connection to the node was lost; whether the statement took effect is not known",
            )
        } else {
            (
                SqlState::SERIALIZATION_FAILURE,
                "the connection to the node was lost before the statement was answered; nothing it did was kept",
            )
        };
        let mut failed = self.pipeline.failed;
        let ends = self.pipeline.requests().count();
        for _ in 0..ends {
            if !failed {
                self.refuse(code, message, cx);
            }
            failed = false;
            self.answer_ready(cx);
        }
        let mut incoming = Incoming::new();
        // A message that has come in part is over for the backend, but its rest is still to come.
        incoming.passing = match self.incoming.passing {
            Passing::None => Passing::None,
            Passing::Forward(left) | Passing::Drop(left) => Passing::Drop(left),
        };
        if batch_open {
            if !failed {
                self.refuse(code, message, cx);
            }
            incoming.marks.set(Marks::SKIPPING);
        }
        self.incoming = incoming;
        self.names.undo_all();
        self.settings.pending.clear();
        self.settings.uncertain = false;
        self.pipeline.reset();
    }

    /// Has the client got part of a message whose rest is still to come? Nothing we say then would be understood.
    fn is_inside_answer(&self) -> bool {
        matches!(self.pipeline.passing, Passing::Forward(_))
    }

    /// Ends the conversation with a FATAL error.
    pub fn end_fatally(&mut self, code: SqlState, message: &str, cx: &mut Context<'_>) -> Want {
        cx.shared.events.push(Event::OwnError(code));
        if self.is_inside_answer() {
            return Want::Close;
        }
        cx.to_client.make(|out| {
            let error = encode::ErrorReply {
                severity: encode::Severity::Fatal,
                sqlstate: code,
                message,
                detail: None,
                hint: None,
            };
            encode::error_response(out, &error);
        });
        Want::Close
    }
}
