//! The facts `decide` may look at.

use std::time::Duration;

use sql::{Class, RouteHint, Why};

use crate::freshness::Level;
use crate::freshness::watermark::Watermark;
use crate::route::Reason;

/// How the database name the client chose (or `SET highwater.route`) wants statements routed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum RouteMode {
    /// By what each statement does (`app`).
    Auto,
    /// Replicas; the primary only in a read-only session (`app_ro`).
    ReadOnly,
    /// Always the primary (`app_rw`).
    Primary,
}

/// The transaction this request opens or is the first statement of.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum TransactionKind {
    /// Outside a transaction block.
    None,
    /// A block that may write.
    ReadWrite,
    /// A block declared READ ONLY before its first statement.
    ReadOnly,
}

/// One request, as far as routing is concerned.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// What the statements do.
    pub class: Class,
    /// The classifier's rule.
    pub why: Why,
    /// From the database name or the session.
    pub mode: RouteMode,
    /// From `SET highwater.route` or a comment; stronger than `mode` where it asks for the primary.
    pub hint: Option<RouteHint>,
    /// The block it belongs to.
    pub transaction: TransactionKind,
    /// A replica has refused this statement's shape before (25006).
    pub learned_write: bool,
    /// Freshness asked for.
    pub level: Level,
    /// The bound that every level but `eventual` and `strong` implies.
    pub max_staleness: Duration,
    /// What the session has written and seen.
    pub watermark: Watermark,
    /// It has run on a replica that refused or failed, for this reason: a read goes to the primary now, or, while
    /// there is none, to any replica that qualifies.
    pub rerun: Option<Reason>,
    /// It would tie the session to its backend, so it belongs on the primary (in `Auto` mode).
    pub pins: bool,
}
