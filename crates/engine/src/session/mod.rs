//! One client's conversation: bytes of either side in, pieces to send and one wish out.
//!
//! The shell hands over what it has read ([`Session::on_client`], [`Session::on_backend`]); the session says how
//! much of it is dealt with, what to send to either side (in the [`Context`]'s pieces) and what it wants next.
//! What is not consumed is shown again, with more behind it. A session never sees a socket, and never more than one
//! backend at a time.
//!
//! The life of a request: `survey` finds where it ends and what it does, [`route::decide`](crate::route::decide)
//! names a node, the shell checks out a backend, `forward` sends it on, `relay` brings the answer back,
//! `settle` draws the balance at ReadyForQuery. `local` answers what needs no backend; `rerun` takes
//! a request back when a replica refuses or dies before its first answer byte.

pub mod backend;
mod client;
pub mod date_style;
mod forward;
mod judge;
mod local;
mod names;
mod origin;
mod owed;
mod own;
pub mod parameters;
pub mod pieces;
mod prepared;
mod relay;
mod rerun;
mod settle;
pub mod statements;
mod survey;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use sql::{Catalogue, Isolation, Memo, RouteHint, Verdict};
use wire::sqlstate::SqlState;
use wire::status::TransactionStatus;

use crate::freshness::Level;
use crate::freshness::watermark::Watermark;
use crate::pool::{PoolMode, WorkerId};
use crate::route::{Balance, Decision, Reason, RouteMode, Target, TransactionKind};
use crate::time::Instant;
use crate::view::{NodeId, View};

pub use backend::{Backend, Side, Strings};
pub use origin::Origin;
pub use own::{Refusal, check as check_own};
pub use pieces::{Piece, Pieces};
pub use rerun::Learned;
pub use survey::PINNING;

use names::Names;
use owed::Pipeline;
use parameters::{Change, Pending, Tracked};
use statements::Statements;

/// Request bytes kept so that it can run again, and the most of a request that is looked at before it is routed.
pub const HOLD_BYTES_MAX: usize = 64 << 10;

/// Longest Parse message that is taken: its text must be kept to prepare it on other backends.
pub const PARSE_BYTES_MAX: usize = 16 << 20;

/// Longest simple query whose text is read for what it leaves in the session; a longer one ties the session to its
/// backend.
pub const QUERY_BYTES_MAX: usize = 16 << 20;

/// Most prepared statements of one client.
pub const PREPARED_MAX: usize = 5_000;

/// What is fixed when a client logs in.
#[derive(Clone, Debug)]
pub struct Profile {
    /// From the name of the database it chose.
    pub mode: RouteMode,
    /// When its backend goes back.
    pub pool_mode: PoolMode,
    /// Freshness unless the session says otherwise.
    pub level: Level,
    /// Staleness bound unless the session says otherwise.
    pub max_staleness: Duration,
    /// Largest message accepted, in bytes.
    pub message_bytes_max: usize,
    /// Longest wait while no node may take a request; zero is for ever.
    pub wait_max: Duration,
    /// Tells memo entries of different databases apart.
    pub database_key: u64,
    /// The user it logged in as: `"$user"` of a search path.
    pub user: Arc<str>,
}

/// What a session works with during one call.
pub struct Context<'a> {
    /// Read after the bytes of this call had arrived.
    pub now: Instant,
    /// The cluster as believed now.
    pub view: &'a View,
    /// Functions and relations of the client's database.
    pub catalogue: &'a Catalogue,
    /// The search path its user gets in its database without asking, as far as known.
    pub default_search_path: Option<&'a str>,
    /// What the worker shares among its sessions.
    pub shared: &'a mut Shared,
    /// To send to the backend.
    pub to_backend: &'a mut Pieces,
    /// To send to the client.
    pub to_client: &'a mut Pieces,
}

impl Shared {
    /// Nothing remembered yet; the memo may grow to this many bytes. `place` is the worker's among so many.
    pub fn new(memo_bytes_max: usize, place: (WorkerId, u16)) -> Self {
        Shared {
            memo: Memo::new(memo_bytes_max),
            statements: Statements::new(place),
            learned: Learned::default(),
            balance: Balance::default(),
            events: Vec::new(),
        }
    }
}

/// What the sessions of one worker share.
#[derive(Debug)]
pub struct Shared {
    /// Verdicts by text.
    pub memo: Memo,
    /// Prepared statements by text.
    pub statements: Statements,
    /// Shapes that a replica refused.
    pub learned: Learned,
    /// Requests outstanding per node.
    pub balance: Balance,
    /// What happened, for counters and logs; the shell empties it.
    pub events: Vec<Event>,
}

/// What can be counted or logged about a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// A request was routed.
    Decided(Reason),
    /// A request was answered to the end.
    Answered {
        /// By which kind of node.
        side: Side,
        /// Was it a read?
        reads: bool,
        /// From routing to the last byte.
        took: Duration,
    },
    /// A transaction (a lone statement counts as one) is over.
    TransactionEnded,
    /// Something that may have written was acknowledged at this instant.
    Wrote(Instant),
    /// A request was taken back and runs again, for this reason.
    Rerun(Reason),
    /// An ErrorResponse of a node went to the client.
    NodeError(Option<SqlState>),
    /// The router answered with an error of its own.
    OwnError(SqlState),
    /// A replica refused a statement of this shape, for the first time: other workers should know.
    Learned(u64),
    /// A primary refused a write with 25006: it is not what it was.
    PrimaryRefusedWrite(NodeId),
    /// A Parse came from the client.
    ParseReceived,
    /// A Parse went to a node.
    ParseSent,
    /// A Bind came from the client.
    BindReceived,
}

/// How a call ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Step {
    /// Bytes of the input that are dealt with; the rest must be shown again.
    pub consumed: usize,
    /// What must happen before the session goes on.
    pub want: Want,
}

/// What a session waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Want {
    /// More bytes from the client (or, after `on_backend`, from the backend).
    Input,
    /// Answers of the backend; client input must wait.
    Answers,
    /// A backend of this node.
    CheckOut(NodeId),
    /// No node may take the request now: ask again when the view has changed.
    Hold,
    /// The backend is not needed any more and in step: give it back, then show the client's input again.
    GiveBack,
    /// The request runs again: give the backend back (`in_step`) or close it, put [`Session::take_rerun`] in front
    /// of the client's input, and show that.
    Rerun {
        /// The backend owes nothing.
        in_step: bool,
    },
    /// The conversation is over: send what there is to send, then close the client. The backend, if there
    /// is one, is closed too.
    Close,
}

/// Freshness and routing wishes that can change during a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Wishes {
    level: Level,
    max_staleness: Duration,
    route: Option<RouteHint>,
}

/// The transaction block as the client sees it.
#[derive(Debug)]
enum Block {
    /// None open. Ways out: `Deferred` (BEGIN), `Open` (a BEGIN that could not be deferred).
    None,
    /// BEGIN was answered here and not sent yet. Ways out: `Open` (first statement), `None` (COMMIT, ROLLBACK).
    Deferred(Deferred),
    /// Open on the backend. Ways out: `None` (the backend says idle), `Lost` (the backend is gone).
    Open {
        /// As the backend said last.
        status: TransactionStatus,
    },
    /// The backend is gone: refuse everything until the client ends the block. Way out: `None`.
    Lost {
        /// The client has been told with 40001; from here on it gets 25P02, as from PostgreSQL.
        told: bool,
    },
}

/// A BEGIN, and perhaps SET TRANSACTION, that waits for the first statement to know its node.
#[derive(Debug)]
struct Deferred {
    /// Query messages to send first, in order.
    opening: Vec<u8>,
    /// How many messages that is.
    messages: u32,
    read_only: Option<bool>,
    isolation: Option<Isolation>,
}

/// Whether the session has a backend.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Lease {
    None,
    /// A node is chosen (or awaited) for the request at the front of the input.
    Waiting {
        decision: Decision,
        budget: usize,
        since: Instant,
    },
    /// A backend of this node is ours.
    Held {
        node: NodeId,
        side: Side,
        decision: Decision,
    },
}

/// The request whose messages are being sent on.
#[derive(Debug)]
struct Current {
    /// Everything in it is a read.
    reads: bool,
    /// All of it may run again without anybody noticing.
    rerunnable: bool,
    /// Its shape, to learn from a refusal.
    shape: u64,
    /// When it was routed.
    started: Instant,
    /// Of a lone simple query that is yet to be sent on: its verdict.
    simple: Option<Arc<Verdict>>,
}

impl Current {
    /// A request that nothing is known about.
    fn unknown() -> Self {
        Current { reads: false, rerunnable: false, shape: 0, started: Instant::START, simple: None }
    }
}

/// What is known about the client's input between calls.
#[derive(Debug)]
struct Incoming {
    /// Bytes of a message that go on (or are dropped) unread.
    passing: Passing,
    /// Surveyed bytes that still belong to the request being sent on.
    budget: usize,
    marks: Marks,
    current: Current,
}

/// A few facts that are true or not, each for its own stretch of the conversation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Marks(u8);

impl Marks {
    /// An extended-protocol batch has begun on the backend and no Sync has been sent.
    const BATCH_OPEN: Marks = Marks(1);
    /// COPY FROM STDIN runs, and its end has not been sent.
    const COPYING: Marks = Marks(2);
    /// After an error: the client's messages up to Sync are dropped.
    const SKIPPING: Marks = Marks(4);
    /// No further request goes on before all answers are there.
    const BARRIER: Marks = Marks(8);
    /// Something sent since the last idle moment may have written.
    const WROTE: Marks = Marks(16);
    /// Something that pins was sent behind the last DISCARD ALL.
    const PINNED_BEHIND: Marks = Marks(32);
    /// A setting was sent on that lasts as long as the transaction.
    const SET_LOCAL: Marks = Marks(64);

    fn has(self, mark: Marks) -> bool {
        self.0 & mark.0 != 0
    }

    fn set(&mut self, mark: Marks) {
        self.0 |= mark.0;
    }

    fn clear(&mut self, mark: Marks) {
        self.0 &= !mark.0;
    }
}

/// Bytes of a message longer than what was read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Passing {
    None,
    Forward(usize),
    Drop(usize),
}

/// Settings of the session and what is still undecided about them.
#[derive(Debug)]
struct Settings {
    /// What the start-up message asked for: where RESET leads.
    base: Arc<Tracked>,
    tracked: Arc<Tracked>,
    /// Sent, and decided when the request or the block ends; each with the number of its request.
    pending: VecDeque<(u64, Pending)>,
    /// A savepoint was rolled back while changes were pending: nobody knows which of them hold.
    uncertain: bool,
    search_path: Option<judge::KnownPath>,
    /// As the backend it had last said; `None` before it had one.
    strings: Option<Strings>,
    /// As the client was told, so that it quotes what it sends in the same way.
    told_strings: Strings,
}

/// What ties a session to its backend.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pin {
    /// The kind of state that is there.
    pub what: &'static str,
    lasts: Lasts,
}

/// How long what pins is there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Lasts {
    /// A rollback does not take it away.
    Long,
    /// It was made in this transaction, and goes if that is rolled back.
    Tentative,
}

/// The previous statement's route, for `SHOW highwater.last_route`.
#[derive(Clone, Copy, Debug)]
struct LastRoute {
    decision: Option<Decision>,
    /// What was asked for, by the statement's comment or else by the session.
    level: Option<Level>,
    node: Option<NodeId>,
    side: Option<Side>,
    reran: bool,
}

/// One client's conversation.
#[derive(Debug)]
pub struct Session {
    profile: Profile,
    wishes: Wishes,
    /// Wishes of SET LOCAL, until the block ends.
    local_wishes: Option<Wishes>,
    watermark: Watermark,
    names: Names,
    settings: Settings,
    block: Block,
    lease: Lease,
    pipeline: Pipeline,
    incoming: Incoming,
    pin: Option<Pin>,
    route: RouteMemory,
}

/// What the session remembers about routing.
#[derive(Debug)]
struct RouteMemory {
    last: LastRoute,
    /// The request at the front of the input has run on a replica, in vain.
    rerun: Option<Reason>,
    /// Own statements the client has prepared, by its names.
    own: own::OwnStatements,
}

impl Session {
    /// A session that has just logged in. `startup` are the settings of its start-up message.
    pub fn new(profile: Profile, startup: &[(String, String)]) -> Self {
        let wishes = Wishes { level: profile.level, max_staleness: profile.max_staleness, route: None };
        let settings = startup.iter().filter(|(name, _)| !name.starts_with("highwater."));
        let mut tracked = Tracked::from_startup(settings.map(|(n, v)| (n.as_str(), v.as_str())));
        if profile.mode == RouteMode::ReadOnly {
            tracked = tracked.changed(&read_only_session());
        }
        let tracked = Arc::new(tracked);
        let mut session = Session {
            profile,
            wishes,
            local_wishes: None,
            watermark: Watermark::default(),
            names: Names::default(),
            settings: Settings {
                base: Arc::clone(&tracked),
                tracked,
                pending: VecDeque::new(),
                uncertain: false,
                search_path: None,
                strings: None,
                told_strings: judge::told_at_login(startup),
            },
            block: Block::None,
            lease: Lease::None,
            pipeline: Pipeline::default(),
            incoming: Incoming::new(),
            pin: None,
            route: RouteMemory {
                last: LastRoute { decision: None, level: None, node: None, side: None, reran: false },
                rerun: None,
                own: own::OwnStatements::default(),
            },
        };
        for (name, value) in startup {
            if let Some(own) = name.strip_prefix("highwater.") {
                // A bad value was refused at login by the same function; here it changes nothing.
                let _ = session.set_own(own, Some(value), false);
            }
        }
        session
    }

    /// The transaction status the client was last told, or would be told now.
    pub fn status(&self) -> TransactionStatus {
        match &self.block {
            Block::None => TransactionStatus::Idle,
            Block::Deferred(_) => TransactionStatus::InTransaction,
            Block::Open { status } => *status,
            Block::Lost { .. } => TransactionStatus::Failed,
        }
    }

    /// The node whose backend it has.
    pub fn node(&self) -> Option<NodeId> {
        match self.lease {
            Lease::Held { node, .. } => Some(node),
            Lease::None | Lease::Waiting { .. } => None,
        }
    }

    /// Does it wait for a backend, and since when?
    pub fn waiting_since(&self) -> Option<Instant> {
        match self.lease {
            Lease::Waiting { since, .. } => Some(since),
            Lease::None | Lease::Held { .. } => None,
        }
    }

    /// What ties it to its backend.
    pub fn pin(&self) -> Option<Pin> {
        self.pin
    }

    /// Is there nothing under way: no request, no block, no half-read message?
    pub fn is_idle(&self) -> bool {
        matches!(self.block, Block::None)
            && self.pipeline.is_empty()
            && !self.incoming.marks.has(Marks::BATCH_OPEN)
            && matches!(self.lease, Lease::None | Lease::Held { .. })
    }

    /// May its backend go back to the pool when the client leaves now, after a ROLLBACK if a block is open?
    pub fn leaves_backend_clean(&self) -> bool {
        self.pin.is_none()
            && self.pipeline.is_empty()
            && !self.incoming.marks.has(Marks::BATCH_OPEN)
            && self.settings.pending.is_empty()
            && matches!(self.incoming.passing, Passing::None)
    }

    /// The wishes in force.
    fn wishes(&self) -> Wishes {
        self.local_wishes.unwrap_or(self.wishes)
    }

    /// The kind of block a request now belongs to, as far as routing is concerned.
    fn transaction_kind(&self) -> TransactionKind {
        match &self.block {
            Block::None | Block::Lost { .. } => TransactionKind::None,
            Block::Deferred(d) => kind_of(d.read_only, d.isolation, self.reads_by_default()),
            Block::Open { .. } => TransactionKind::ReadWrite,
        }
    }

    /// Has the session asked for SERIALIZABLE by default? A replica refuses it, as it does in a BEGIN.
    fn is_serializable_by_default(&self) -> bool {
        let asked = self.settings.tracked.text("default_transaction_isolation");
        asked.is_some_and(|text| text.to_ascii_lowercase().contains("serializable"))
    }

    /// Has the session asked for read-only transactions by default?
    fn reads_by_default(&self) -> bool {
        self.profile.mode == RouteMode::ReadOnly
            || self.settings.tracked.text("default_transaction_read_only").is_some_and(says_on)
    }
}

/// The change that makes every transaction of a session read-only.
fn read_only_session() -> Change {
    Change::Set {
        name: "default_transaction_read_only".into(),
        text: "SET default_transaction_read_only = on".into(),
    }
}

/// Does the text of a tracked SET of a boolean end in a true value?
fn says_on(text: &str) -> bool {
    let value = text.rsplit(['=', ' ', ',']).map(str::trim).find(|w| !w.is_empty() && *w != "false)");
    let value = value.unwrap_or("").trim_matches(['\'', '"', ')', ';']).to_ascii_lowercase();
    matches!(value.as_str(), "on" | "true" | "yes" | "1" | "t" | "y")
}

/// What a block's own words make of it.
fn kind_of(read_only: Option<bool>, isolation: Option<Isolation>, by_default: bool) -> TransactionKind {
    // A replica refuses SERIALIZABLE: https://www.postgresql.org/docs/current/hot-standby.html
    let serializable = isolation == Some(Isolation::Serializable);
    if read_only.unwrap_or(by_default) && !serializable {
        TransactionKind::ReadOnly
    } else {
        TransactionKind::ReadWrite
    }
}

impl Incoming {
    fn new() -> Self {
        Incoming { passing: Passing::None, budget: 0, marks: Marks(0), current: Current::unknown() }
    }
}

/// Which side of the cluster a target is.
fn side_of(target: Target) -> Option<(NodeId, Side)> {
    match target {
        Target::Primary(node) => Some((node, Side::Primary)),
        Target::Replica(node) => Some((node, Side::Replica)),
        Target::Hold => None,
    }
}
