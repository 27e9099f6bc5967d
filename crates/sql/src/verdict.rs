//! What [`crate::classify`] answers: a class, its reason, and what a session must remember.
//!
//! Plain data. Nothing here decides where a statement goes; that is the engine's.

use crate::class::{Class, Effects, Why};

/// All that is known about one text a client sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What the text may do. With several statements, the most demanding one decides.
    pub class: Class,
    /// The rule that decided.
    pub why: Why,
    /// Marks of all the statements together.
    pub effects: Effects,
    /// Number of statements that are not empty.
    pub statements: u32,
    /// May run a second time on another node without anybody noticing: one read, of immutable, stable or
    /// harmless functions only.
    pub rerunnable: bool,
    /// Hash of the text without its literals, with case and white space folded: texts that differ only in
    /// their values have the same shape.
    pub shape: u64,
    /// One for each statement that needs one, in order.
    pub details: Vec<Detail>,
    /// What a `/* highwater: … */` comment asks for.
    pub hints: Option<Hints>,
}

impl Verdict {
    /// A verdict without effects, details or hints.
    #[must_use]
    pub const fn bare(class: Class, why: Why) -> Self {
        Self {
            class,
            why,
            effects: Effects::NONE,
            statements: 1,
            rerunnable: false,
            shape: 0,
            details: Vec::new(),
            hints: None,
        }
    }
}

/// Isolation levels, as PostgreSQL names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Isolation {
    /// READ UNCOMMITTED, which PostgreSQL treats as READ COMMITTED.
    ReadUncommitted,
    /// READ COMMITTED.
    ReadCommitted,
    /// REPEATABLE READ.
    RepeatableRead,
    /// SERIALIZABLE: a replica refuses it.
    Serializable,
}

/// What one statement asks of its session, precise enough to follow or repeat it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Detail {
    /// BEGIN or START TRANSACTION; `None` means not said.
    Begin {
        /// READ ONLY or READ WRITE.
        read_only: Option<bool>,
        /// ISOLATION LEVEL.
        isolation: Option<Isolation>,
        /// DEFERRABLE or NOT DEFERRABLE.
        deferrable: Option<bool>,
    },
    /// COMMIT or END.
    Commit {
        /// AND CHAIN: a new transaction begins at once.
        chain: bool,
    },
    /// ROLLBACK or ABORT.
    Rollback {
        /// AND CHAIN: a new transaction begins at once.
        chain: bool,
    },
    /// SAVEPOINT.
    Savepoint,
    /// RELEASE SAVEPOINT.
    ReleaseSavepoint,
    /// ROLLBACK TO SAVEPOINT.
    RollbackTo,
    /// PREPARE TRANSACTION.
    PrepareTransaction,
    /// COMMIT PREPARED.
    CommitPrepared,
    /// ROLLBACK PREPARED.
    RollbackPrepared,
    /// SET TRANSACTION …, and SET of `transaction_read_only` or `transaction_isolation`.
    SetTransaction {
        /// READ ONLY or READ WRITE.
        read_only: Option<bool>,
        /// ISOLATION LEVEL.
        isolation: Option<Isolation>,
    },
    /// SET or RESET of one setting, also SET TIME ZONE and SET NAMES, and one for each mode of SET SESSION CHARACTERISTICS
    /// AS TRANSACTION ….
    Set {
        /// The setting, in lower case.
        name: String,
        /// What it becomes.
        value: SetValue,
        /// SET LOCAL: until the end of the transaction.
        local: bool,
        /// The statement's own text, without its semicolon, to be repeated on another backend.
        text: String,
    },
    /// RESET ALL.
    ResetAll,
    /// DISCARD ALL.
    DiscardAll,
    /// DISCARD PLANS, SEQUENCES or TEMP.
    DiscardOther,
    /// DEALLOCATE ALL.
    DeallocateAll,
    /// DEALLOCATE of one name.
    Deallocate {
        /// The prepared statement, folded as PostgreSQL folds it.
        name: String,
    },
    /// SQL PREPARE.
    Prepare {
        /// The prepared statement, folded as PostgreSQL folds it.
        name: String,
    },
    /// SQL EXECUTE.
    Execute {
        /// The prepared statement, folded as PostgreSQL folds it.
        name: String,
    },
    /// SET of one of our own settings.
    SetOwn {
        /// What follows `highwater.`, in lower case.
        name: String,
        /// What it becomes.
        value: SetValue,
        /// SET LOCAL: until the end of the transaction.
        local: bool,
    },
    /// SHOW of one of our own settings.
    ShowOwn {
        /// What follows `highwater.`, in lower case.
        name: String,
    },
}

/// What a SET gives a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SetValue {
    /// TO DEFAULT, RESET, and SET TIME ZONE LOCAL or DEFAULT.
    Default,
    /// The value without its quotes; several values are joined by `, `.
    Text(String),
}

/// What a hint comment asks for. A key that is not known, or a value that is not, is ignored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hints {
    /// `route=`.
    pub route: Option<RouteHint>,
    /// `consistency=`, as written.
    pub consistency: Option<String>,
    /// `max_staleness=`, as written.
    pub max_staleness: Option<String>,
    /// `key=`, as written.
    pub key: Option<String>,
}

/// Values of `route=`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RouteHint {
    /// As the class says.
    Auto,
    /// The primary, whatever the class says.
    Primary,
    /// A replica, if the class allows it.
    Replica,
}
