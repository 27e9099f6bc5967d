//! ReadyForQuery: the request is over. Watermark, settings, block, and whether the backend goes back.

use std::collections::VecDeque;
use std::sync::Arc;

use wire::status::TransactionStatus;

use crate::freshness::Level;
use crate::freshness::watermark::ReadFrom;

use super::backend::Backend;
use super::owed::Record;
use super::parameters::{Pending, Tracked, Turn};
use super::{Block, Context, Event, Lasts, Lease, Marks, Pin, Session, Side, Want};

/// What became of a transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Outcome {
    /// What was done in it holds.
    Kept,
    /// It was rolled back.
    Undone,
}

impl Session {
    /// The backend has answered one request to the end and reported this status.
    pub(super) fn settle(
        &mut self,
        record: Record,
        status: TransactionStatus,
        cx: &mut Context<'_>,
        backend: &mut Backend,
    ) -> Option<Want> {
        let failed = self.pipeline.failed;
        self.pipeline.settle();
        let took = cx.now.since(record.started);
        cx.shared.events.push(Event::Answered { side: backend.side, reads: record.reads, took });
        if self.wishes().level == Level::Causal {
            // Across primary and replicas: what any answer of the primary has shown must not be missing later.
            self.raise(cx, backend);
        }
        match status {
            TransactionStatus::Idle => {
                self.settle_transaction(failed, cx, backend);
                self.block = Block::None;
            }
            TransactionStatus::InTransaction | TransactionStatus::Failed => {
                self.block = Block::Open { status };
                self.keep_changes();
            }
        }
        if backend.side == Side::Replica {
            let read = ReadFrom { node: backend.node, incarnation: backend.incarnation, at: cx.now };
            self.watermark.on_replica_read(read);
        }
        // No message of the backend's may come any more to say it with.
        self.say_answered(cx);
        if !self.pipeline.is_empty() {
            // The rest of an open batch may have waited for what this request has made of a name.
            return self.incoming.marks.has(Marks::BATCH_OPEN).then_some(Want::Answers);
        }
        self.pipeline.settle_part();
        self.incoming.marks.clear(Marks::BARRIER);
        self.names.none_freeing();
        self.pipeline.shrink();
        self.after_last_answer(status)
    }

    /// The session has seen the primary as it was before now: the write that was acknowledged lies before, because
    /// `now` was read after the acknowledgement had arrived.
    fn raise(&mut self, cx: &mut Context<'_>, backend: &Backend) {
        if backend.side == Side::Primary {
            self.watermark.on_write(cx.now);
            cx.shared.events.push(Event::Wrote(cx.now));
        }
    }

    /// Every answer is there: keep the backend, or let it go.
    fn after_last_answer(&mut self, status: TransactionStatus) -> Option<Want> {
        let busy = self.incoming.marks.has(Marks::BATCH_OPEN) || self.incoming.budget > 0;
        if status != TransactionStatus::Idle || busy || self.pin.is_some() {
            // Input may have waited for these answers.
            return Some(Want::Answers);
        }
        self.lease = Lease::None;
        Some(Want::GiveBack)
    }

    /// A transaction is over, well or not.
    fn settle_transaction(&mut self, failed: bool, cx: &mut Context<'_>, backend: &mut Backend) {
        cx.shared.events.push(Event::TransactionEnded);
        if self.pipeline.is_empty() && !self.incoming.marks.has(Marks::BATCH_OPEN) {
            self.names.portals.clear();
        }
        self.local_wishes = None;
        if self.pipeline.is_empty() {
            self.incoming.marks.clear(Marks::SET_LOCAL);
        }
        if self.incoming.marks.has(Marks::WROTE) {
            // The mark was set when the write was sent on: another one may be behind this one in the pipeline.
            if self.pipeline.is_empty() && !self.incoming.marks.has(Marks::BATCH_OPEN) {
                self.incoming.marks.clear(Marks::WROTE);
            }
            self.raise(cx, backend);
        }
        let outcome = if failed { Outcome::Undone } else { Outcome::Kept };
        if outcome == Outcome::Kept || self.pipeline.is_empty() {
            // Otherwise what pins may be under way behind it.
            self.end_tentative(outcome);
        }
        self.end_pending(self.due(), outcome, backend);
    }

    /// How many of the pending things are of requests that are answered to their end.
    fn due(&self) -> usize {
        if self.settings.pending.is_empty() {
            return 0;
        }
        let answered = self.pipeline.answered();
        self.settings.pending.iter().take_while(|(request, _)| *request <= answered).count()
    }

    /// What pinned the session in this transaction stays, or is gone with it.
    fn end_tentative(&mut self, outcome: Outcome) {
        let tentative = self.pin.as_mut().filter(|pin| pin.lasts == Lasts::Tentative);
        match (outcome, tentative) {
            (Outcome::Kept, Some(pin)) => pin.lasts = Lasts::Long,
            (Outcome::Undone, Some(_)) => self.pin = None,
            (Outcome::Kept | Outcome::Undone, None) => {}
        }
    }

    /// The CommandComplete of a statement that decides what becomes of the settings before it.
    pub(super) fn turn(&mut self, outcome: Outcome, backend: &mut Backend) {
        let current = self.pipeline.answered() + 1;
        let pending = &mut self.settings.pending;
        let turn =
            pending.iter().position(|(request, p)| *request <= current && matches!(p, Pending::Turn(_)));
        let Some(at) = turn else { return };
        match pending.remove(at) {
            Some((_, Pending::Turn(Turn::Savepoint))) => self.settings.uncertain |= at > 0,
            Some((_, Pending::Turn(Turn::Discard))) => {
                pending.drain(..at);
                self.discarded(backend);
            }
            Some((_, Pending::Turn(Turn::End))) => {
                self.end_tentative(outcome);
                self.end_pending(at, outcome, backend);
            }
            Some((_, Pending::Change(_))) | None => {}
        }
    }

    /// DISCARD ALL was done: the session is as it was after login.
    fn discarded(&mut self, backend: &mut Backend) {
        self.settings.uncertain = false;
        self.settings.tracked = Arc::clone(&self.settings.base);
        backend.applied = Arc::new(Tracked::default());
        let another = self.settings.pending.iter().any(|(_, p)| *p == Pending::Turn(Turn::Discard));
        if !another && !self.incoming.marks.has(Marks::PINNED_BEHIND) {
            self.pin = None;
        }
    }

    /// A transaction is over: the first changes, so many, hold, or do not. What was to decide and has not did not run.
    fn end_pending(&mut self, count: usize, outcome: Outcome, backend: &mut Backend) {
        let uncertain = std::mem::take(&mut self.settings.uncertain);
        if count == 0 {
            return;
        }
        let behind = self.settings.pending.split_off(count);
        let pending = std::mem::replace(&mut self.settings.pending, behind);
        if outcome == Outcome::Undone {
            return;
        }
        if uncertain {
            let what = "settings that a savepoint may have taken back";
            self.pin = Some(Pin { what, lasts: Lasts::Long });
        }
        self.apply(&pending, backend);
    }

    /// The request did not end its block: what was to decide and has not did not run.
    fn keep_changes(&mut self) {
        if !self.settings.pending.is_empty() {
            let answered = self.pipeline.answered();
            self.settings
                .pending
                .retain(|(request, p)| *request > answered || matches!(p, Pending::Change(_)));
        }
    }

    /// These changes hold: for the session, and on this backend.
    fn apply(&mut self, pending: &VecDeque<(u64, Pending)>, backend: &mut Backend) {
        let in_line = Arc::ptr_eq(&backend.applied, &self.settings.tracked);
        let mut tracked = (*self.settings.tracked).clone();
        let mut applied = (*backend.applied).clone();
        for (_, pending) in pending {
            let Pending::Change(change) = pending else { continue };
            tracked = tracked.changed_over(&self.settings.base, change);
            applied = applied.changed(change);
        }
        self.settings.tracked = Arc::new(tracked);
        backend.applied = if in_line && applied == *self.settings.tracked {
            Arc::clone(&self.settings.tracked)
        } else {
            Arc::new(applied)
        };
    }
}
