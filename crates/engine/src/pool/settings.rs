//! Sizes, lifetimes and mode of a pool. Names and meaning are PgBouncer's (its `doc/config.md`).

use std::time::Duration;

/// When a backend goes back to its pool.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum PoolMode {
    /// When the client leaves.
    Session,
    /// At the end of each transaction.
    Transaction,
}

/// Settings of one pool (one node, one database, one user).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// When a backend goes back.
    pub mode: PoolMode,
    /// Most backends at a time (`default_pool_size`).
    pub size: u32,
    /// Backends kept open without demand (`min_pool_size`).
    pub min_size: u32,
    /// Longest wait for a backend before the client gets an error (`query_wait_timeout`); zero is for ever.
    pub wait_max: Duration,
    /// An unused backend is closed after this (`server_idle_timeout`); zero is never.
    pub idle_max: Duration,
    /// A backend is not lent again after this age (`server_lifetime`); zero is for ever.
    pub lifetime_max: Duration,
    /// After a failed connect, the next attempt waits this long (`server_login_retry`).
    pub connect_retry: Duration,
}
