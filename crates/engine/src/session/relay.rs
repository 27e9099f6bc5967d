//! Bytes from the backend: forward, swallow, or answer in their place. Looks at headers, not bodies.

use wire::backend::{CommandComplete, ParameterStatus, ReadyForQuery};
use wire::encode;
use wire::error_response::ErrorFields;
use wire::frame::{self, Header, tag::backend as tag};
use wire::sqlstate::SqlState;
use wire::status::TransactionStatus;

use crate::route::{Reason, RouteMode};

use super::backend::{Backend, Strings};
use super::owed::{CopyInput, Owed};
use super::settle::Outcome;
use super::{Context, Event, Lease, Marks, Passing, Session, Side, Step, Want};

/// Answer bytes that may be withheld while it is open whether the request must run again.
const WITHHELD_BYTES_MAX: usize = 16 << 10;

/// Longest ErrorResponse or NoticeResponse taken from a node.
const REPORT_BYTES_MAX: usize = 1 << 20;

/// What the beginning of an answer says about running again.
pub(super) enum Opening {
    /// It is an answer: let it pass.
    Answer,
    /// Nothing decisive yet.
    Wait,
    /// An error for which the request runs again; the error message ends at this offset of the input.
    Again { reason: Reason, learn: bool, error_end: usize },
}

impl Session {
    /// Bytes from the held backend, the first of them not consumed before.
    pub fn on_backend(&mut self, input: &[u8], cx: &mut Context<'_>, backend: &mut Backend) -> Step {
        let mut at = 0;
        while at < input.len() {
            if self.pipeline.passing != Passing::None {
                at = self.pass_back(input, at, cx);
                continue;
            }
            let header = match frame::header(&input[at..]) {
                Ok(Some(header)) => header,
                Ok(None) => return Step { consumed: at, want: Want::Input },
                Err(_) => return Step { consumed: at, want: self.on_garbage(backend, cx) },
            };
            if self.may_run_again() {
                match self.opening(&input[at..]) {
                    Opening::Answer => self.pipeline.begun = true,
                    Opening::Wait => return Step { consumed: at, want: Want::Input },
                    Opening::Again { reason, learn, error_end } => {
                        return self.run_again(input, at + error_end, (reason, learn), cx, backend);
                    }
                }
            }
            let whole = !matches!(
                header.tag,
                tag::DATA_ROW | tag::COPY_DATA | tag::ROW_DESCRIPTION | tag::FUNCTION_CALL_RESPONSE
            );
            if whole && input.len() - at < header.total {
                if header.total > REPORT_BYTES_MAX {
                    return Step { consumed: at, want: self.on_garbage(backend, cx) };
                }
                return Step { consumed: at, want: Want::Input };
            }
            let n = header.total.min(input.len() - at);
            if let Some(want) = self.on_message(input, at, header, cx, backend) {
                return Step { consumed: at + n, want };
            }
            at += n;
        }
        Step { consumed: at, want: Want::Input }
    }

    /// Lets the rest of a long message pass, or drops it.
    fn pass_back(&mut self, input: &[u8], at: usize, cx: &mut Context<'_>) -> usize {
        let (left, forward) = match self.pipeline.passing {
            Passing::Forward(n) => (n, true),
            Passing::Drop(n) => (n, false),
            Passing::None => (0, false),
        };
        let n = left.min(input.len() - at);
        if forward {
            cx.to_client.forward(input, at, at + n);
        }
        self.pipeline.passing = match (left - n, forward) {
            (0, _) => Passing::None,
            (left, true) => Passing::Forward(left),
            (left, false) => Passing::Drop(left),
        };
        at + n
    }

    /// One message. `Some`: the conversation needs something else now.
    fn on_message(
        &mut self,
        input: &[u8],
        at: usize,
        header: Header,
        cx: &mut Context<'_>,
        backend: &mut Backend,
    ) -> Option<Want> {
        let n = header.total.min(input.len() - at);
        let message = &input[at..at + n];
        self.say_answered(cx);
        let front = self.pipeline.front();
        match header.tag {
            tag::NOTICE_RESPONSE | tag::PARAMETER_STATUS | tag::NOTIFICATION_RESPONSE => {
                if header.tag == tag::PARAMETER_STATUS {
                    self.note_parameter(message, backend);
                }
                // What our own settings cause is not the client's business.
                if front != Some(Owed::Hidden) {
                    cx.to_client.forward(input, at, at + n);
                }
                return None;
            }
            tag::ERROR_RESPONSE => return self.on_error(input, at, message, cx, backend),
            _ => {}
        }
        let Some(front) = front else { return Some(self.on_garbage(backend, cx)) };
        if front == Owed::Hidden {
            return self.on_hidden(header, n);
        }
        match self.advance(front, header.tag, backend) {
            Advance::Show => {}
            Advance::Swallow => return None,
            Advance::Ready => {
                let Ok(ready) = ReadyForQuery::parse(message) else {
                    return Some(self.on_garbage(backend, cx));
                };
                cx.to_client.forward(input, at, at + n);
                return self.on_ready(ready.status, front, cx, backend);
            }
            Advance::OutOfStep => return Some(self.on_garbage(backend, cx)),
        }
        match header.tag {
            tag::COMMAND_COMPLETE => self.note_command(message, backend),
            tag::COPY_IN => {
                let copy = self.pipeline.on_copy_in();
                self.on_copy_in(front, copy);
                cx.to_client.forward(input, at, at + n);
                // What waits for a ReadyForQuery will not see it before the end of the data.
                return Some(Want::Answers);
            }
            _ => {}
        }
        cx.to_client.forward(input, at, at + n);
        if n < header.total {
            self.pipeline.passing = Passing::Forward(header.total - n);
        }
        self.say_answered(cx);
        if self.pipeline.is_empty() {
            self.pipeline.settle_part();
        }
        None
    }

    /// COPY FROM STDIN has begun. The Sync sent with its Execute does not count, so the batch is open again
    /// unless another one was sent behind the data.
    fn on_copy_in(&mut self, front: Owed, input: CopyInput) {
        match input {
            CopyInput::Running => self.incoming.marks.set(Marks::COPYING),
            CopyInput::Ended => self.incoming.marks.clear(Marks::COPYING),
        }
        if front == Owed::Execute && !self.pipeline.awaits_sync() {
            self.incoming.marks.set(Marks::BATCH_OPEN);
        }
    }

    /// An answer to something we slipped in.
    fn on_hidden(&mut self, header: Header, n: usize) -> Option<Want> {
        if header.tag == tag::READY_FOR_QUERY {
            self.pipeline.pop();
        } else if n < header.total {
            self.pipeline.passing = Passing::Drop(header.total - n);
        }
        None
    }

    /// Moves the account of what is owed on by one message.
    fn advance(&mut self, front: Owed, received: u8, backend: &mut Backend) -> Advance {
        let (done, advance) = match (front, received) {
            (Owed::Query(_) | Owed::Sync(_), tag::READY_FOR_QUERY) => (true, Advance::Ready),
            (Owed::Query(_), _) => (false, Advance::Show),
            (Owed::Parse { id, shown }, tag::PARSE_COMPLETE) => {
                backend.known.on_parsed(id);
                if shown {
                    self.names.said();
                }
                (true, if shown { Advance::Show } else { Advance::Swallow })
            }
            (Owed::Close, tag::CLOSE_COMPLETE) => (true, Advance::Show),
            (Owed::CloseHidden { .. }, tag::CLOSE_COMPLETE) => (true, Advance::Swallow),
            (Owed::Bind { .. }, tag::BIND_COMPLETE) => (true, Advance::Show),
            (Owed::DescribeStatement { .. }, tag::PARAMETER_DESCRIPTION) => (false, Advance::Show),
            (Owed::DescribeStatement { .. } | Owed::DescribePortal, tag::ROW_DESCRIPTION | tag::NO_DATA) => {
                (true, Advance::Show)
            }
            (Owed::Execute, tag::COMMAND_COMPLETE | tag::EMPTY_QUERY | tag::PORTAL_SUSPENDED) => {
                (true, Advance::Show)
            }
            (
                Owed::Execute,
                tag::DATA_ROW
                | tag::COPY_IN
                | tag::COPY_OUT
                | tag::COPY_BOTH
                | tag::COPY_DATA
                | tag::COPY_DONE,
            ) => (false, Advance::Show),
            _ => (false, Advance::OutOfStep),
        };
        if done {
            self.pipeline.pop();
        }
        advance
    }

    /// ReadyForQuery of a request of the client's.
    fn on_ready(
        &mut self,
        status: TransactionStatus,
        front: Owed,
        cx: &mut Context<'_>,
        backend: &mut Backend,
    ) -> Option<Want> {
        let (Owed::Query(record) | Owed::Sync(record)) = front else {
            return Some(self.on_garbage(backend, cx));
        };
        self.settle(record, status, cx, backend)
    }

    /// An ErrorResponse.
    fn on_error(
        &mut self,
        input: &[u8],
        at: usize,
        message: &[u8],
        cx: &mut Context<'_>,
        backend: &mut Backend,
    ) -> Option<Want> {
        let fields = ErrorFields::parse(message).ok();
        let code = fields.as_ref().and_then(ErrorFields::sqlstate);
        if fields.as_ref().is_none_or(ErrorFields::is_fatal) {
            // The connection ends behind it; what that means for the client is decided in one place.
            backend.spent = true;
            return None;
        }
        cx.shared.events.push(Event::NodeError(code));
        if backend.side == Side::Primary
            && code == Some(SqlState::READ_ONLY_TRANSACTION)
            && self.profile.mode != RouteMode::ReadOnly
        {
            cx.shared.events.push(Event::PrimaryRefusedWrite(backend.node));
        }
        match self.pipeline.front() {
            Some(Owed::Hidden) => {
                let text = fields.as_ref().and_then(ErrorFields::message).unwrap_or_default().into_owned();
                backend.spent = true;
                let message = format!("a setting of this session could not be made on the backend: {text}");
                return Some(self.end_fatally(code.unwrap_or(SqlState::INTERNAL_ERROR), &message, cx));
            }
            Some(Owed::Query(_)) | None => {}
            Some(_) => {
                // "cached plan must not change result type": its statements are out of date.
                if code == Some(SqlState::FEATURE_NOT_SUPPORTED) {
                    backend.spent = true;
                    if let Some(id) = self.pipeline.used().next() {
                        cx.shared.statements.retire(id);
                    }
                }
                self.fail_batch(backend);
            }
        }
        self.pipeline.failed = true;
        self.pipeline.begun = true;
        self.incoming.marks.clear(Marks::COPYING);
        cx.to_client.forward(input, at, at + message.len());
        None
    }

    /// PostgreSQL answers nothing more up to the batch's Sync.
    fn fail_batch(&mut self, backend: &mut Backend) {
        let failed = matches!(self.pipeline.front(), Some(Owed::Parse { shown: true, .. }));
        let mut unsaid = 0;
        self.pipeline.drop_to_sync(|lost| match lost {
            Owed::Parse { id, shown } => {
                unsaid += usize::from(shown);
                if id != 0 {
                    backend.known.on_unanswered(id);
                }
            }
            Owed::ParseAnswered | Owed::CloseAnswered => unsaid += 1,
            Owed::CloseHidden { id } if id != 0 => backend.known.on_unanswered(id),
            Owed::Query(_)
            | Owed::Hidden
            | Owed::Bind { .. }
            | Owed::DescribeStatement { .. }
            | Owed::DescribePortal
            | Owed::Execute
            | Owed::Close
            | Owed::CloseHidden { .. }
            | Owed::CopyEnd
            | Owed::Sync(_) => {}
        });
        self.names.undo(unsaid, failed);
        backend.unnamed = None;
        if self.pipeline.is_empty() {
            self.incoming.marks.set(Marks::SKIPPING);
        }
    }

    /// ParameterStatus: how the backend reads texts from here on.
    fn note_parameter(&mut self, message: &[u8], backend: &mut Backend) {
        let parameter = ParameterStatus::parse(message).ok();
        if let Some(strings) = parameter.and_then(|p| Strings::reported(p.name, p.value)) {
            backend.strings = strings;
            self.settings.strings = Some(strings);
            if self.pipeline.front() != Some(Owed::Hidden) {
                self.settings.told_strings = strings;
            }
        }
    }

    /// Tells the client how the backend reads strings, where that is not what it believes: libpq and other drivers
    /// quote by it.
    pub(super) fn tell_strings(&mut self, cx: &mut Context<'_>) {
        let Some(strings) = self.settings.strings.filter(|&s| s != self.settings.told_strings) else {
            return;
        };
        if self.pipeline.is_empty() && self.pipeline.passing == Passing::None {
            self.settings.told_strings = strings;
            cx.to_client.make(|out| {
                encode::parameter_status(out, Strings::SETTING.as_bytes(), strings.value())
                    .expect("a short name and value");
            });
        }
    }

    /// CommandComplete: some statements decide about what was sent before them.
    fn note_command(&mut self, message: &[u8], backend: &mut Backend) {
        let Ok(command) = CommandComplete::parse(message) else { return };
        match command.tag {
            b"COMMIT" | b"PREPARE TRANSACTION" => self.turn(Outcome::Kept, backend),
            b"ROLLBACK" => self.turn(Outcome::Undone, backend),
            b"DISCARD ALL" => {
                self.turn(Outcome::Kept, backend);
                self.names.freed();
            }
            b"DEALLOCATE" | b"DEALLOCATE ALL" => self.names.freed(),
            _ => {}
        }
    }

    /// Says what we answer ourselves, once its turn has come.
    pub(super) fn say_answered(&mut self, cx: &mut Context<'_>) {
        loop {
            match self.pipeline.front() {
                Some(Owed::ParseAnswered) => {
                    self.names.said();
                    cx.to_client.make(encode::parse_complete);
                }
                Some(Owed::CloseAnswered) => {
                    self.names.said();
                    cx.to_client.make(encode::close_complete);
                }
                Some(Owed::CopyEnd) => {}
                Some(_) | None => return,
            }
            self.pipeline.begun = true;
            self.pipeline.pop();
        }
    }

    /// The backend sends what nobody asked for: it can't be trusted any more.
    fn on_garbage(&mut self, backend: &mut Backend, cx: &mut Context<'_>) -> Want {
        backend.spent = true;
        self.end_fatally(
            SqlState::PROTOCOL_VIOLATION,
            "the node broke the protocol; the session was ended to be safe",
            cx,
        )
    }

    /// Could the request at the front run again, as nothing of its answer has gone out?
    pub(super) fn may_run_again(&self) -> bool {
        matches!(self.lease, Lease::Held { side: Side::Replica, .. })
            && !self.pipeline.begun
            && self.pipeline.is_held()
            && !matches!(self.pipeline.front(), Some(Owed::Hidden) | None)
    }

    /// Looks at the beginning of an answer: is it one, or a reason to run again?
    fn opening(&self, input: &[u8]) -> Opening {
        let mut at = 0;
        loop {
            let rest = input.get(at..).unwrap_or_default();
            let Ok(Some(header)) = frame::header(rest) else { break };
            match header.tag {
                tag::PARSE_COMPLETE
                | tag::BIND_COMPLETE
                | tag::CLOSE_COMPLETE
                | tag::PARAMETER_DESCRIPTION
                | tag::ROW_DESCRIPTION
                | tag::NO_DATA
                | tag::NOTICE_RESPONSE
                | tag::PARAMETER_STATUS => {}
                tag::ERROR_RESPONSE if rest.len() >= header.total => {
                    let code = ErrorFields::parse(&rest[..header.total]).ok().and_then(|f| f.sqlstate());
                    return self.judge_refusal(code, at + header.total);
                }
                tag::ERROR_RESPONSE => break,
                _ => return Opening::Answer,
            }
            if rest.len() < header.total {
                break;
            }
            at += header.total;
        }
        if input.len() > WITHHELD_BYTES_MAX || !self.pipeline.expects_result() {
            Opening::Answer
        } else {
            Opening::Wait
        }
    }
}

/// What a message does to the account.
enum Advance {
    /// It goes to the client.
    Show,
    /// It is ours.
    Swallow,
    /// A request is over.
    Ready,
    /// It does not fit.
    OutOfStep,
}
