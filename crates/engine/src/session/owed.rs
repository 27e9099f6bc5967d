//! Which answers a backend still owes, and what to do with each.
//!
//! Replies are matched to requests by kind and count. Each message sent on has one entry here, so that an
//! answer to something we slipped in is swallowed, and an answer we give ourselves comes in its turn.

use std::collections::VecDeque;

use crate::time::Instant;

/// Memory for kept messages that a session without a request may keep, so that small reads allocate nothing.
const IDLE_BYTES_MAX: usize = 512;

/// An answer that is due, in order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Owed {
    /// Everything up to ReadyForQuery goes to the client: a simple query or a function call.
    Query(Record),
    /// Everything up to ReadyForQuery is ours: settings, a deferred BEGIN. An error in it ends the session.
    Hidden,
    /// ParseComplete for this statement; `shown` to the client or slipped in.
    Parse { id: u64, shown: bool },
    /// ParseComplete for a statement the backend had already: we say it ourselves when its turn comes.
    ParseAnswered,
    /// BindComplete; of this statement, or zero where it has another name than ours.
    Bind { id: u64 },
    /// ParameterDescription and RowDescription or NoData; of this statement, or zero as with `Bind`.
    DescribeStatement { id: u64 },
    /// RowDescription or NoData.
    DescribePortal,
    /// Rows, copy data and what ends them.
    Execute,
    /// CloseComplete, for the client.
    Close,
    /// CloseComplete of a statement that was closed to make room, or to be sure.
    CloseHidden { id: u64 },
    /// CloseComplete we say ourselves.
    CloseAnswered,
    /// CopyDone or CopyFail was sent: no answer of its own; a Sync behind it counts.
    CopyEnd,
    /// ReadyForQuery, for the client.
    Sync(Record),
}

/// What must be known about a request when it is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Record {
    /// Everything in it was a read.
    pub(crate) reads: bool,
    /// It may run again without anybody noticing.
    pub(crate) rerunnable: bool,
    /// When it was routed.
    pub(crate) started: Instant,
    /// Its shape, to learn from a refusal.
    pub(crate) shape: u64,
}

/// Whether the messages of unanswered requests are kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Keeping {
    All,
    Nothing,
}

/// Answers due, and the requests kept for running again.
#[derive(Debug)]
pub(crate) struct Pipeline {
    owed: VecDeque<Owed>,
    /// Client messages whose answers have not begun to reach the client, as received. Only on a replica, outside a block.
    held: Vec<u8>,
    /// For each request in `held`: how many bytes of it are its own.
    held_requests: VecDeque<usize>,
    /// Bytes of `held` that belong to the request being sent on.
    open_bytes: usize,
    /// More was sent than is held: nothing can run again until all is answered.
    keeping: Keeping,
    /// An ErrorResponse has come for the request at the front.
    pub(crate) failed: bool,
    /// Part of the answer at the front has gone to the client.
    pub(crate) begun: bool,
    /// Portals made since all was answered.
    bound: u32,
    /// Syncs sent on: tells batches apart.
    pub(crate) batch: u64,
    /// Ends of requests sent on, each of which brings a ReadyForQuery, unless a COPY swallows it.
    ends: u64,
    /// Bytes of a long backend message that still go to the client, or are dropped.
    pub(crate) passing: super::Passing,
}

impl Default for Pipeline {
    fn default() -> Self {
        Pipeline {
            owed: VecDeque::new(),
            held: Vec::new(),
            held_requests: VecDeque::new(),
            open_bytes: 0,
            keeping: Keeping::All,
            failed: false,
            begun: false,
            bound: 0,
            batch: 0,
            ends: 0,
            passing: super::Passing::None,
        }
    }
}

impl Pipeline {
    /// Will something come that carries the result of a statement?
    pub(crate) fn expects_result(&self) -> bool {
        self.owed.iter().any(|o| matches!(o, Owed::Query(_) | Owed::Execute | Owed::Sync(_)))
    }

    /// Statements whose Parse or Close on the backend is unanswered.
    pub(crate) fn prepared(&self) -> impl Iterator<Item = u64> + '_ {
        self.owed.iter().filter_map(|owed| match *owed {
            Owed::Parse { id, .. } | Owed::CloseHidden { id } => Some(id).filter(|&id| id != 0),
            _ => None,
        })
    }

    /// The statements of ours that unanswered messages use.
    pub(crate) fn used(&self) -> impl Iterator<Item = u64> + '_ {
        self.owed.iter().filter_map(|owed| match *owed {
            Owed::Bind { id } | Owed::DescribeStatement { id } => Some(id).filter(|&id| id != 0),
            _ => None,
        })
    }

    /// Would an error about what is sent next be the first answer, so that it is no answer yet?
    pub(crate) fn opens(&self) -> bool {
        !self.begun && !self.expects_result()
    }

    /// The number of the last request whose end was sent on.
    pub(crate) fn ends(&self) -> u64 {
        self.ends
    }

    /// The number of the last request that is answered to its end.
    pub(crate) fn answered(&self) -> u64 {
        self.ends - self.requests().count() as u64
    }

    /// Is every answer there?
    pub(crate) fn is_empty(&self) -> bool {
        self.owed.is_empty()
    }

    /// The next answer due.
    pub(crate) fn front(&self) -> Option<Owed> {
        self.owed.front().copied()
    }

    /// One more answer is due.
    pub(crate) fn push(&mut self, owed: Owed) {
        self.bound = self.bound.saturating_add(u32::from(matches!(owed, Owed::Bind { .. })));
        self.ends += u64::from(matches!(owed, Owed::Query(_) | Owed::Sync(_)));
        self.owed.push_back(owed);
    }

    /// The answer at the front is complete.
    pub(crate) fn pop(&mut self) {
        self.owed.pop_front();
    }

    /// Is any request's end among the answers due?
    pub(crate) fn requests(&self) -> impl Iterator<Item = Record> + '_ {
        self.owed.iter().filter_map(|o| match o {
            Owed::Query(r) | Owed::Sync(r) => Some(*r),
            Owed::Hidden
            | Owed::Parse { .. }
            | Owed::ParseAnswered
            | Owed::Bind { .. }
            | Owed::DescribeStatement { .. }
            | Owed::DescribePortal
            | Owed::Execute
            | Owed::Close
            | Owed::CloseHidden { .. }
            | Owed::CloseAnswered
            | Owed::CopyEnd => None,
        })
    }

    /// An error came inside an extended batch: nothing up to its Sync will be answered. Tells each answer that is lost.
    pub(crate) fn drop_to_sync(&mut self, mut lost: impl FnMut(Owed)) {
        while let Some(&front) = self.owed.front() {
            if matches!(front, Owed::Sync(_)) {
                break;
            }
            lost(front);
            self.owed.pop_front();
        }
    }

    /// The backend has gone into COPY FROM STDIN and will ignore Syncs up to the end of the data
    /// (PostgreSQL's protocol document, "COPY Operations"). Is the end on its way already?
    pub(crate) fn on_copy_in(&mut self) -> CopyInput {
        let mut kept = VecDeque::with_capacity(self.owed.len());
        let mut ended = CopyInput::Running;
        for (i, owed) in self.owed.drain(..).enumerate() {
            match owed {
                Owed::Sync(_) if i > 0 && ended == CopyInput::Running => {}
                Owed::CopyEnd if ended == CopyInput::Running => ended = CopyInput::Ended,
                other => kept.push_back(other),
            }
        }
        self.owed = kept;
        ended
    }

    /// Keeps a message of the request being sent on.
    pub(crate) fn hold(&mut self, message: &[u8], max: usize) {
        if self.keeping == Keeping::Nothing || self.held.len() + message.len() > max {
            self.unhold();
        } else {
            self.held.extend_from_slice(message);
            self.open_bytes += message.len();
        }
    }

    /// What goes on now is not kept: nothing can run again until all is answered.
    pub(crate) fn unhold(&mut self) {
        self.keeping = Keeping::Nothing;
        self.held.clear();
        self.held_requests.clear();
        self.open_bytes = 0;
    }

    /// The request being sent on has its last message.
    pub(crate) fn end_of_request(&mut self) {
        if self.keeping == Keeping::All {
            self.held_requests.push_back(self.open_bytes);
            self.open_bytes = 0;
        }
    }

    /// The request at the front is answered to the end.
    pub(crate) fn settle(&mut self) {
        self.failed = false;
        self.begun = false;
        if let Some(bytes) = self.held_requests.pop_front() {
            self.held.drain(..bytes);
        }
        if self.owed.is_empty() {
            self.bound = 0;
            self.clear_held();
        }
    }

    /// All that was sent is answered, though the batch is not at its end.
    pub(crate) fn settle_part(&mut self) {
        self.begun = false;
        self.clear_held();
        if self.bound > 0 {
            // What follows may use a portal that only this backend has.
            self.keeping = Keeping::Nothing;
        }
    }

    fn clear_held(&mut self) {
        if self.held.capacity() > IDLE_BYTES_MAX {
            self.held = Vec::new();
        } else {
            self.held.clear();
        }
        self.held_requests.clear();
        self.open_bytes = 0;
        self.keeping = Keeping::All;
    }

    /// Has a Sync been sent whose ReadyForQuery is due?
    pub(crate) fn awaits_sync(&self) -> bool {
        self.owed.iter().any(|o| matches!(o, Owed::Sync(_)))
    }

    /// Are the messages of everything unanswered kept, so that they could run again?
    pub(crate) fn is_held(&self) -> bool {
        self.keeping == Keeping::All && !self.held.is_empty()
    }

    /// Takes the kept messages and forgets every answer due.
    pub(crate) fn take_held(&mut self) -> Vec<u8> {
        let held = std::mem::take(&mut self.held);
        self.reset();
        held
    }

    /// Forgets everything: the backend is gone.
    pub(crate) fn reset(&mut self) {
        self.owed.clear();
        self.failed = false;
        self.begun = false;
        self.passing = super::Passing::None;
        self.bound = 0;
        self.clear_held();
    }

    /// Gives memory of a burst back.
    pub(crate) fn shrink(&mut self) {
        if self.owed.capacity() > 64 {
            self.owed.shrink_to(8);
        }
    }
}

/// How far a client's COPY input is when the backend asks for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum CopyInput {
    /// Data is still to come.
    Running,
    /// CopyDone or CopyFail was sent ahead.
    Ended,
}
