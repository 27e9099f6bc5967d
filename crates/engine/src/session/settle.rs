//! ReadyForQuery: the request is over. Watermark, settings, block, and whether the backend goes back.

use std::sync::Arc;

use wire::status::TransactionStatus;

use crate::freshness::Level;
use crate::freshness::watermark::ReadFrom;

use super::backend::Backend;
use super::owed::Record;
use super::parameters::Change;
use super::{Block, Context, Event, Lease, Marks, Pin, Session, Side, Want};

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
                self.incoming.marks.clear(Marks::ROLLED_BACK);
            }
        }
        if backend.side == Side::Replica {
            let read = ReadFrom { node: backend.node, incarnation: backend.incarnation, at: cx.now };
            self.watermark.on_replica_read(read);
        }
        // No message of the backend's may come any more to say it with.
        self.say_answered(cx);
        if !self.pipeline.is_empty() {
            return None;
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
        if self.incoming.marks.has(Marks::WROTE) {
            // The mark was set when the write was sent on: another one may be behind this one in the pipeline.
            if self.pipeline.is_empty() && !self.incoming.marks.has(Marks::BATCH_OPEN) {
                self.incoming.marks.clear(Marks::WROTE);
            }
            self.raise(cx, backend);
        }
        let rolled_back = failed || self.incoming.marks.has(Marks::ROLLED_BACK);
        self.incoming.marks.clear(Marks::ROLLED_BACK);
        let pending = std::mem::take(&mut self.settings.pending);
        if rolled_back || pending.is_empty() {
            self.settings.uncertain = false;
            return;
        }
        if std::mem::take(&mut self.settings.uncertain) {
            self.pin = Some(Pin { what: "settings that a savepoint may have taken back" });
        }
        self.apply(&pending, backend);
    }

    /// These changes hold: for the session, and on this backend.
    fn apply(&mut self, changes: &[Change], backend: &mut Backend) {
        let in_line = Arc::ptr_eq(&backend.applied, &self.settings.tracked);
        let mut tracked = (*self.settings.tracked).clone();
        let mut applied = (*backend.applied).clone();
        for change in changes {
            tracked = tracked.changed_over(&self.settings.base, change);
            applied = applied.changed(change);
            if matches!(change, Change::DiscardAll) && !self.incoming.marks.has(Marks::PINNED_BEHIND) {
                self.pin = None;
            }
        }
        self.settings.tracked = Arc::new(tracked);
        backend.applied = if in_line && applied == *self.settings.tracked {
            Arc::clone(&self.settings.tracked)
        } else {
            Arc::new(applied)
        };
    }
}
