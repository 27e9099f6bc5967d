//! The words of a verdict: [`Class`], [`Why`] and [`Effects`].
//!
//! Only names live here; the rules that choose among them are in `classify`, `calls`, `relations` and `utility`.

use std::fmt;

/// What a statement may do to the data of the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Changes nothing and asks nothing that only one node can answer: any fresh node may run it.
    Reads,
    /// May not be a plain read, and nothing is certain about it: the primary runs it.
    Unknown,
    /// Changes data, takes locks, or runs a function that may: the primary runs it.
    Writes,
}

impl Class {
    /// The word for logs, metrics and `highwater explain`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Reads => "reads",
            Self::Unknown => "unknown",
            Self::Writes => "writes",
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Declares [`Why`] with its names, so that no rule can be without one.
macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident => $name:literal,)*) => {
        /// The rule that gave a statement its class: one name for each rule.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Why { $($(#[$doc])* $variant,)* }

        impl Why {
            /// Every rule, for tables and documentation.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The word for logs, metrics and `highwater explain`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

reasons! {
    /// A query (SELECT, VALUES, TABLE) in which nothing was found that writes.
    PlainSelect => "plain_select",
    /// Nothing but white space and comments.
    Empty => "empty",
    /// INSERT, UPDATE, DELETE or MERGE inside WITH.
    ModifyingCte => "modifying_cte",
    /// SELECT … INTO creates a table.
    SelectInto => "select_into",
    /// FOR UPDATE, FOR NO KEY UPDATE, FOR SHARE, FOR KEY SHARE.
    LockingClause => "locking_clause",
    /// A function that is declared VOLATILE and not known to be harmless.
    VolatileFunction => "volatile_function",
    /// A function that the catalogue does not know.
    UnknownFunction => "unknown_function",
    /// An operator whose function is declared VOLATILE.
    VolatileOperator => "volatile_operator",
    /// A cast or a type whose functions are declared VOLATILE.
    VolatileType => "volatile_type",
    /// INSERT, UPDATE, DELETE, MERGE, TRUNCATE.
    Dml => "dml",
    /// CREATE, ALTER, DROP and their kin.
    Ddl => "ddl",
    /// A maintenance or administration command.
    Utility => "utility",
    /// LOCK TABLE.
    LockTable => "lock_table",
    /// COPY … FROM.
    CopyFrom => "copy_from",
    /// COPY … TO.
    CopyTo => "copy_to",
    /// COPY … TO a file or a program of the node.
    CopyToFile => "copy_to_file",
    /// EXPLAIN without ANALYZE.
    Explain => "explain",
    /// EXPLAIN ANALYZE, which runs its statement.
    ExplainAnalyze => "explain_analyze",
    /// DO.
    DoBlock => "do_block",
    /// CALL.
    Call => "call",
    /// DECLARE, FETCH, MOVE, CLOSE: bound to the backend that has the cursor.
    Cursor => "cursor",
    /// PREPARE.
    Prepare => "prepare",
    /// EXECUTE.
    Execute => "execute",
    /// DEALLOCATE.
    Deallocate => "deallocate",
    /// DISCARD.
    Discard => "discard",
    /// BEGIN, COMMIT, ROLLBACK, SAVEPOINT and their kin.
    TransactionControl => "transaction_control",
    /// PREPARE TRANSACTION, COMMIT PREPARED, ROLLBACK PREPARED.
    TwoPhase => "two_phase",
    /// SET, RESET.
    Set => "set",
    /// A change to the session that cannot be repeated on another backend.
    UntrackedState => "untracked_state",
    /// SHOW.
    Show => "show",
    /// Statements in one text that do not agree; the most demanding one decides.
    SeveralStatements => "several_statements",
    /// The grammar refuses it.
    Unparsable => "unparsable",
    /// A construct that only the grammar can judge, and the grammar is not built in.
    Unsure => "unsure",
    /// More than [`crate::TEXT_BYTES_MAX`].
    TooLong => "too_long",
    /// Nested deeper than [`crate::NESTING_MAX`].
    NestedTooDeep => "nested_too_deep",
    /// The answer differs from node to node.
    NodeLocal => "node_local",
    /// An unlogged table, which a replica does not have.
    UnloggedTable => "unlogged_table",
    /// A foreign table: its freshness cannot be proved.
    ForeignTable => "foreign_table",
    /// A temporary table.
    TempTable => "temp_table",
    /// A view, or a table with a row-security policy, that runs something which writes.
    WritingView => "writing_view",
    /// A relation that the catalogue does not know.
    UnknownRelation => "unknown_relation",
    /// NOTIFY, LISTEN, UNLISTEN.
    Notify => "notify",
    /// Not valid UTF-8.
    NonUtf8 => "non_utf8",
    /// A zero byte, which ends the text for PostgreSQL.
    ZeroByte => "zero_byte",
    /// A backslash in a plain string while `standard_conforming_strings` is off.
    NonStandardString => "non_standard_string",
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a statement leaves behind in its session, or asks of it: a set of marks.
#[derive(Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Effects(u32);

/// Declares the marks of [`Effects`] with their names.
macro_rules! effects {
    ($($(#[$doc:meta])* $constant:ident = $bit:literal, $name:literal;)*) => {
        impl Effects {
            $($(#[$doc])* pub const $constant: Self = Self(1 << $bit);)*

            const NAMES: &'static [(Self, &'static str)] = &[$((Self::$constant, $name),)*];
        }
    };
}

effects! {
    /// A tracked SET or RESET; each has its [`crate::Detail`].
    SET = 0, "set";
    /// Changes the session in a way that cannot be repeated on another backend: `set_config` but for one form, LOAD, SET ROLE,
    /// SET SESSION AUTHORIZATION, `setseed`.
    UNTRACKED_STATE = 1, "untracked_state";
    /// LISTEN.
    LISTEN = 2, "listen";
    /// UNLISTEN.
    UNLISTEN = 3, "unlisten";
    /// Creates or names a temporary object.
    TEMP_OBJECT = 4, "temp_object";
    /// Takes or returns an advisory lock of the session.
    ADVISORY_LOCK = 5, "advisory_lock";
    /// DECLARE … WITH HOLD.
    HOLD_CURSOR = 6, "hold_cursor";
    /// SQL PREPARE.
    PREPARE = 7, "prepare";
    /// SQL EXECUTE.
    EXECUTE = 8, "execute";
    /// SQL DEALLOCATE.
    DEALLOCATE = 9, "deallocate";
    /// DISCARD.
    DISCARD = 10, "discard";
    /// Transaction control; each has its [`crate::Detail`].
    TRANSACTION = 11, "transaction";
    /// COPY … FROM STDIN.
    COPY_IN = 12, "copy_in";
    /// COPY … TO STDOUT.
    COPY_OUT = 13, "copy_out";
    /// Concerns one of our own settings, `highwater.*`.
    OWN = 14, "own";
}

impl Effects {
    /// No effect.
    pub const NONE: Self = Self(0);

    /// True when every mark of `other` is in this set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// True when the sets share a mark.
    #[must_use]
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Both sets together.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// True when there is no mark.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The names of the marks, in the order of their declaration.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES.iter().filter(move |(mark, _)| self.contains(*mark)).map(|(_, name)| *name)
    }
}

impl std::ops::BitOr for Effects {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        self.union(other)
    }
}

impl std::ops::BitOrAssign for Effects {
    fn bitor_assign(&mut self, other: Self) {
        *self = self.union(other);
    }
}

impl fmt::Debug for Effects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}
