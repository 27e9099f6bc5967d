//! Bytes from the client: which of them go where, and what must happen first.

use sql::Effects;
use wire::frame::{self, Header, tag::client as tag};
use wire::sqlstate::SqlState;
use wire::status::TransactionStatus;

use crate::freshness::Level;
use crate::route::{self, Decision, Reason, Request, RouteMode, Target, TransactionKind};

use super::backend::Backend;
use super::survey::{Certainty, Outlook, Own, Survey};
use super::{
    Block, Context, Current, Event, HOLD_BYTES_MAX, Lasts, Lease, Marks, PARSE_BYTES_MAX, Passing, Pin,
    Session, Side, Step, Want, kind_of, side_of,
};

/// What is settled at ReadyForQuery, and so must be the only thing under way.
pub(super) const SETTLED_ALONE: Effects =
    Effects::SET.union(Effects::TRANSACTION).union(Effects::DISCARD).union(Effects::DEALLOCATE);

/// What became of the message at the front of the input.
pub(super) enum Progress {
    /// This many bytes are dealt with.
    Bytes(usize),
    /// Nothing more can be done for this reason.
    Stop(Want),
}

impl Session {
    /// Bytes from the client, the first of them not consumed before. `backend` is the one it holds.
    pub fn on_client(
        &mut self,
        input: &[u8],
        cx: &mut Context<'_>,
        mut backend: Option<&mut Backend>,
    ) -> Step {
        debug_assert_eq!(
            backend.is_some(),
            self.node().is_some(),
            "the shell hands over exactly the backend that is held"
        );
        let mut at = 0;
        loop {
            if at == input.len() {
                return Step { consumed: at, want: Want::Input };
            }
            if self.incoming.passing != Passing::None {
                at = self.pass(input, at, cx);
                continue;
            }
            let rest = &input[at..];
            let header = match frame::header(rest) {
                Ok(None) => return Step { consumed: at, want: Want::Input },
                Ok(Some(header)) => header,
                Err(e) => return self.broken(at, &e, cx),
            };
            if let Err(e) = frame::check_client_tag(header, self.profile.message_bytes_max) {
                return self.broken(at, &e, cx);
            }
            let progress = match (&self.lease, backend.as_deref_mut()) {
                (Lease::Held { .. }, Some(backend)) => self.next_with_backend(input, at, header, cx, backend),
                (Lease::None, _) => self.next_without_backend(input, at, header, cx),
                (Lease::Waiting { .. } | Lease::Held { .. }, _) => Progress::Stop(Want::Answers),
            };
            match progress {
                Progress::Bytes(n) => at += n,
                Progress::Stop(want) => return Step { consumed: at, want },
            }
        }
    }

    /// Sends on, or drops, the rest of a long message.
    fn pass(&mut self, input: &[u8], at: usize, cx: &mut Context<'_>) -> usize {
        let (left, forward) = match self.incoming.passing {
            Passing::Forward(n) => (n, true),
            Passing::Drop(n) => (n, false),
            Passing::None => (0, false),
        };
        let n = left.min(input.len() - at);
        if forward {
            cx.to_backend.forward(input, at, at + n);
        }
        self.incoming.budget = self.incoming.budget.saturating_sub(n);
        self.incoming.passing = match (left - n, forward) {
            (0, _) => Passing::None,
            (left, true) => Passing::Forward(left),
            (left, false) => Passing::Drop(left),
        };
        at + n
    }

    /// A message while no backend is held.
    fn next_without_backend(
        &mut self,
        input: &[u8],
        at: usize,
        header: Header,
        cx: &mut Context<'_>,
    ) -> Progress {
        match header.tag {
            tag::TERMINATE => Progress::Stop(Want::Close),
            tag::SYNC => {
                self.incoming.marks.clear(Marks::SKIPPING);
                self.answer_ready(cx);
                Progress::Bytes(header.total)
            }
            _ if self.incoming.marks.has(Marks::SKIPPING) => self.drop_message(input, at, header),
            tag::FLUSH => Progress::Bytes(header.total),
            // What is left of a COPY that failed: PostgreSQL drops it too.
            tag::COPY_DATA | tag::COPY_DONE | tag::COPY_FAIL => self.drop_message(input, at, header),
            tag::PARSE if header.total > PARSE_BYTES_MAX => {
                self.refuse(
                    SqlState::PROGRAM_LIMIT_EXCEEDED,
                    "the statement to prepare is longer than 16 MiB",
                    cx,
                );
                self.incoming.marks.set(Marks::SKIPPING);
                self.drop_message(input, at, header)
            }
            tag::PARSE if input.len() - at < header.total => Progress::Stop(Want::Input),
            _ => self.open_request(&input[at..], cx),
        }
    }

    /// Drops a message, now or as its bytes come.
    pub(super) fn drop_message(&mut self, input: &[u8], at: usize, header: Header) -> Progress {
        let n = header.total.min(input.len() - at);
        if n < header.total {
            self.incoming.passing = Passing::Drop(header.total - n);
        }
        self.incoming.budget = self.incoming.budget.saturating_sub(n);
        Progress::Bytes(n)
    }

    /// The first message of a request, with no backend: answer it here, or choose a node.
    fn open_request(&mut self, input: &[u8], cx: &mut Context<'_>) -> Progress {
        let survey = match self.survey(input, cx) {
            Outlook::NeedInput => return Progress::Stop(Want::Input),
            Outlook::Request(survey) => survey,
        };
        if let Some(bytes) = self.answer_locally(input, &survey, cx) {
            return Progress::Bytes(bytes);
        }
        let decision = self.decide(&survey, cx);
        self.begin(&survey, decision, cx);
        self.wait_for(decision, survey.bytes, cx)
    }

    /// Waits for the decision's node, or for a view with a node.
    fn wait_for(&mut self, decision: Decision, budget: usize, cx: &Context<'_>) -> Progress {
        let since = self.waiting_since().unwrap_or(cx.now);
        self.lease = Lease::Waiting { decision, budget, since };
        match side_of(decision.target) {
            Some((node, _)) => Progress::Stop(Want::CheckOut(node)),
            None => Progress::Stop(Want::Hold),
        }
    }

    /// A request is on its way: remember what it is.
    fn begin(&mut self, survey: &Survey, decision: Decision, cx: &mut Context<'_>) {
        self.incoming.current = Current {
            reads: survey.class == sql::Class::Reads
                && !survey.effects.intersects(Effects::SET | Effects::TRANSACTION),
            rerunnable: survey.rerunnable,
            shape: survey.shape,
            started: cx.now,
            simple: survey.simple.clone(),
        };
        self.route.last.decision = Some(decision);
        self.route.last.level = Some(survey.wished_freshness().over(self.wishes()).0);
        self.route.last.reran = self.route.rerun.take().is_some();
        self.note_pin(survey.effects);
        cx.shared.events.push(Event::Decided(decision.reason));
    }

    /// Asks `route::decide`, with everything it may know.
    fn decide(&mut self, survey: &Survey, cx: &mut Context<'_>) -> Decision {
        let wishes = self.wishes();
        let transaction = match (self.transaction_kind(), survey.begins) {
            (TransactionKind::None, Some(read_only)) => kind_of(read_only, None, self.reads_by_default()),
            (kind, _) => kind,
        };
        let (mut level, max_staleness) = survey.wished_freshness().over(wishes);
        if self.is_serializable_by_default() && !matches!(self.block, Block::Open { .. }) {
            level = Level::Strong;
        }
        let request = Request {
            class: survey.class,
            why: survey.why,
            mode: self.profile.mode,
            hint: survey.hinted_route().or(wishes.route),
            transaction,
            learned_write: cx.shared.learned.contains(survey.shape),
            level,
            max_staleness,
            watermark: self.watermark,
            rerun: self.route.rerun,
            pins: survey.pins(),
        };
        route::decide(&request, cx.view, cx.now, &mut cx.shared.balance)
    }

    /// The view has changed, or the chosen node could not be had: choose again. `Want::Hold` keeps waiting.
    pub fn on_view(&mut self, input: &[u8], cx: &mut Context<'_>) -> Want {
        if !matches!(self.lease, Lease::Waiting { .. }) {
            return Want::Input;
        }
        let Outlook::Request(survey) = self.survey(input, cx) else { return Want::Hold };
        let decision = self.decide(&survey, cx);
        self.route.last.decision = Some(decision);
        match self.wait_for(decision, survey.bytes, cx) {
            Progress::Stop(want) => want,
            Progress::Bytes(_) => Want::Hold,
        }
    }

    /// Whether a backend will do for the decision that is waited on: it must be of the run that was judged, which may
    /// not be the one that the view speaks of by now.
    pub fn accepts(&self, backend: &Backend) -> bool {
        match self.lease {
            Lease::Waiting { decision, .. } => decision.accepts(backend.incarnation),
            Lease::None | Lease::Held { .. } => true,
        }
    }

    /// The node that was chosen can't be reached: a read may go elsewhere.
    pub fn on_no_backend(&mut self) {
        if let Lease::Waiting { decision, .. } = self.lease
            && matches!(decision.target, Target::Replica(_))
        {
            self.route.rerun = Some(Reason::ReplicaFailed);
        }
    }

    /// The wait is over without a backend: the request at the front of the input gets this error.
    /// Returns how much of the input that deals with.
    pub fn on_wait_failed(
        &mut self,
        input: &[u8],
        code: SqlState,
        message: &str,
        cx: &mut Context<'_>,
    ) -> usize {
        let Lease::Waiting { .. } = self.lease else { return 0 };
        self.lease = Lease::None;
        self.route.rerun = None;
        if matches!(self.block, Block::Deferred(_)) {
            self.block = Block::Lost { told: true };
        }
        self.refuse_request(input, code, message, cx)
    }

    /// A backend of the chosen node is ours: bring it into line before the request goes on.
    pub fn on_checked_out(&mut self, backend: &mut Backend, cx: &mut Context<'_>) {
        let Lease::Waiting { decision, budget, .. } = self.lease else { return };
        let side = side_of(decision.target).map_or(backend.side, |(_, side)| side);
        self.lease = Lease::Held { node: backend.node, side, decision };
        self.route.last.node = Some(backend.node);
        self.route.last.side = Some(side);
        self.incoming.budget = budget;
        self.settings.strings = Some(backend.strings);
        self.note_suspect(self.incoming.current.shape, cx);
        cx.shared.balance.lent(backend.node);
        self.bring_into_line(backend, cx);
        self.send_deferred(cx);
    }

    /// A message while a backend is held.
    fn next_with_backend(
        &mut self,
        input: &[u8],
        at: usize,
        header: Header,
        cx: &mut Context<'_>,
        backend: &mut Backend,
    ) -> Progress {
        if header.tag == tag::TERMINATE {
            return Progress::Stop(Want::Close);
        }
        self.tell_strings(cx);
        if self.incoming.marks.has(Marks::SKIPPING) && header.tag != tag::SYNC {
            return self.drop_message(input, at, header);
        }
        if self.incoming.budget == 0 {
            let stop = if self.goes_on_unasked(header) {
                self.next_in_block(&input[at..], header, cx)
            } else {
                self.next_request(&input[at..], cx)
            };
            if let Some(stop) = stop {
                return stop;
            }
        }
        self.forward_message(input, at, header, cx, backend)
    }

    /// Does this message belong to what the backend is already doing?
    fn goes_on_unasked(&self, header: Header) -> bool {
        if matches!(header.tag, tag::COPY_DATA | tag::COPY_DONE | tag::COPY_FAIL | tag::SYNC | tag::FLUSH) {
            return true;
        }
        let marks = self.incoming.marks;
        let in_block = self.pin.is_some() || matches!(self.block, Block::Open { .. });
        marks.has(Marks::BATCH_OPEN) || (in_block && !marks.has(Marks::BARRIER))
    }

    /// A message inside a block, or on a pinned backend: a new request is noted, and answered here if it is about us.
    fn next_in_block(&mut self, input: &[u8], header: Header, cx: &mut Context<'_>) -> Option<Progress> {
        let starts = matches!(
            header.tag,
            tag::QUERY
                | tag::PARSE
                | tag::BIND
                | tag::EXECUTE
                | tag::FUNCTION_CALL
                | tag::DESCRIBE
                | tag::CLOSE
        );
        if !starts {
            return None;
        }
        if self.incoming.marks.has(Marks::BATCH_OPEN) {
            return self.wait_for_name(input, header).map(Progress::Stop);
        }
        let looks =
            matches!(header.tag, tag::QUERY | tag::PARSE) || self.pin.is_some() || self.names.has_unsaid();
        if looks || !self.route.own.is_empty() {
            let survey = match self.survey(input, cx) {
                Outlook::NeedInput => return Some(Progress::Stop(Want::Input)),
                Outlook::Request(survey) => survey,
            };
            if survey.own != Own::None || self.frees_ours(&survey) {
                if !self.pipeline.is_empty() {
                    return Some(Progress::Stop(Want::Answers));
                }
                return self.answer_locally(input, &survey, cx).map(Progress::Bytes);
            }
            let unsure = survey.names == Certainty::Unsure;
            if (unsure || survey.effects.intersects(SETTLED_ALONE)) && !self.pipeline.is_empty() {
                return Some(Progress::Stop(Want::Answers));
            }
            self.note_pin(survey.effects);
            self.note_suspect(survey.shape, cx);
        }
        let Lease::Held { decision, .. } = self.lease else { return None };
        let reason = if self.pin.is_some() { Reason::Pinned } else { Reason::OpenTransaction };
        self.incoming.current = Current { started: cx.now, ..Current::unknown() };
        self.route.last.decision = Some(Decision { reason, ..decision });
        self.route.last.level = Some(self.wishes().level);
        self.route.last.reran = false;
        cx.shared.events.push(Event::Decided(reason));
        None
    }

    /// One more request while the backend works on earlier ones (or, pinned or in a block, behind a barrier).
    /// `None`: it may go on there.
    fn next_request(&mut self, input: &[u8], cx: &mut Context<'_>) -> Option<Progress> {
        if self.incoming.marks.has(Marks::BARRIER) || self.pipeline.is_empty() {
            return Some(Progress::Stop(Want::Answers));
        }
        let survey = match self.survey(input, cx) {
            Outlook::NeedInput => return Some(Progress::Stop(Want::Input)),
            Outlook::Request(survey) => survey,
        };
        let Lease::Held { side, decision, .. } = self.lease else {
            return Some(Progress::Stop(Want::Answers));
        };
        let plain = survey.effects.is_empty() && survey.hints.is_none() && survey.own == Own::None;
        let follows = match side {
            Side::Primary => {
                survey.own == Own::None
                    && !survey.effects.intersects(SETTLED_ALONE)
                    && !self.frees_ours(&survey)
            }
            Side::Replica => {
                plain && (survey.class == sql::Class::Reads || self.profile.mode == RouteMode::ReadOnly)
            }
        };
        let unsure = survey.names == Certainty::Unsure;
        if !follows || unsure || (side == Side::Replica && cx.shared.learned.contains(survey.shape)) {
            return Some(Progress::Stop(Want::Answers));
        }
        let reason = if side == Side::Primary { Reason::PipelineFollows } else { decision.reason };
        self.begin(&survey, Decision { reason, ..decision }, cx);
        self.note_suspect(survey.shape, cx);
        self.incoming.budget = survey.bytes;
        None
    }

    /// What a replica has refused as a write counts as one on the primary, whatever its text says: a function that is
    /// declared STABLE and writes all the same.
    fn note_suspect(&mut self, shape: u64, cx: &Context<'_>) {
        if matches!(self.lease, Lease::Held { side: Side::Primary, .. }) && cx.shared.learned.contains(shape)
        {
            self.incoming.marks.set(Marks::WROTE);
        }
    }

    /// Remembers that the session will be tied to its backend by statements with these effects, all that go on together.
    pub(super) fn note_pin(&mut self, effects: Effects) {
        if !effects.intersects(super::survey::PINNING) {
            return;
        }
        let ends = effects.contains(Effects::TRANSACTION);
        let aborted = self.status() == TransactionStatus::Failed && !self.incoming.marks.has(Marks::BARRIER);
        if aborted && !ends {
            // Nothing is done before the block's end.
            return;
        }
        self.incoming.marks.set(Marks::PINNED_BEHIND);
        let lasting =
            effects.intersects(Effects::UNTRACKED_STATE | Effects::ADVISORY_LOCK | Effects::PREPARE);
        let lasts = if lasting || ends || self.incoming.marks.has(Marks::BARRIER) {
            Lasts::Long
        } else {
            Lasts::Tentative
        };
        if let Some(pin) = &mut self.pin {
            if lasts == Lasts::Long {
                pin.lasts = lasts;
            }
            return;
        }
        let what = [
            (Effects::TEMP_OBJECT, "a temporary table"),
            (Effects::LISTEN, "LISTEN"),
            (Effects::ADVISORY_LOCK, "an advisory lock"),
            (Effects::HOLD_CURSOR, "a cursor WITH HOLD"),
            (Effects::PREPARE, "a statement prepared by SQL PREPARE"),
        ];
        let what = what
            .iter()
            .find(|(e, _)| effects.contains(*e))
            .map_or("settings that cannot be repeated", |(_, w)| w);
        self.pin = Some(Pin { what, lasts });
    }

    /// Longest part of a message that is looked at.
    pub(super) const fn looked_at(total: usize) -> usize {
        if total < HOLD_BYTES_MAX { total } else { HOLD_BYTES_MAX }
    }
}
