//! One name per routing rule: the metric label, the `SHOW` column, the log field and the row in the docs.

macro_rules! reasons {
    ($($variant:ident = $name:literal, $doc:literal;)+) => {
        /// Why a request went where it went.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[repr(u8)]
        pub enum Reason { $(#[doc = $doc] $variant,)+ }

        impl Reason {
            /// Every reason, in the order of the table.
            pub const ALL: &'static [Reason] = &[$(Reason::$variant),+];
            /// How many there are: reasons index arrays of counters.
            pub const COUNT: usize = Reason::ALL.len();

            /// The one word used everywhere outside the code.
            pub const fn name(self) -> &'static str {
                match self { $(Reason::$variant => $name),+ }
            }

            /// What it means, as the documentation says it.
            pub const fn meaning(self) -> &'static str {
                match self { $(Reason::$variant => $doc),+ }
            }
        }
    };
}

reasons! {
    FreshReplica = "fresh_replica", "A read; this replica is proved fresh enough for this session.";
    Write = "write", "The statement writes, or does something only the primary can do.";
    UnknownStatement = "unknown_statement", "What the statement does is not known for certain, so it counts as a write.";
    VolatileFunction = "volatile_function", "The statement calls a function that is volatile or not in the catalogue.";
    LockingRead = "locking_read", "The SELECT locks rows.";
    NodeLocal = "node_local", "The statement reads something that differs from node to node.";
    ReadWriteTransaction = "read_write_transaction", "Part of a transaction block that may write.";
    ReadOnlyTransaction = "read_only_transaction", "Part of a block declared READ ONLY, on a replica proved fresh enough.";
    OpenTransaction = "open_transaction", "The block stays on the node where it began.";
    PipelineFollows = "pipeline_follows", "Sent behind earlier requests of the same pipeline that are on the primary.";
    Pinned = "pinned", "The session holds state on its backend (temporary table, LISTEN, advisory lock, …).";
    RouteIsPrimary = "route_is_primary", "The database name, a setting or a comment asks for the primary.";
    LevelIsStrong = "level_is_strong", "The freshness level, or SERIALIZABLE as the session's default, asks for the primary's own view.";
    LearnedWrite = "learned_write", "A replica has refused a statement of this shape before.";
    RefusedByReplica = "refused_by_replica", "A replica refused the statement, so it ran again on the primary.";
    ReplicaFailed = "replica_failed", "The replica failed before it had answered, so the read ran again elsewhere.";
    OwnWriteNotReplayed = "own_write_not_replayed", "No replica is proved to show this session's last write yet.";
    WouldGoBackInTime = "would_go_back_in_time", "No replica is proved to show what another replica has shown this session.";
    TooStale = "too_stale", "No replica is proved fresh within max_staleness.";
    NoReplica = "no_replica", "There is no replica that may serve reads.";
    NoPrimary = "no_primary", "No primary is known: the request waits, or a read goes to a replica.";
    SessionSetting = "session_setting", "Only changes settings that the router tracks and brings along.";
    Local = "local", "Answered by the router itself.";
}
