// Flat table
//! The error codes Highwater acts on or answers with, and what each means to *us*.
//!
//! Not a list of all SQLSTATEs: one that is not here is passed through untouched. The full list is in the PostgreSQL manual,
//! appendix "PostgreSQL Error Codes". What a code leads to (run again, hold, close) is decided in `engine`.

use std::fmt;

/// Five characters that classify an error; the first two are its class.
#[derive(Copy, Clone, PartialEq, Eq, Hash)]
pub struct SqlState([u8; 5]);

impl SqlState {
    /// The code that `bytes` spell: exactly five digits or upper-case letters.
    pub fn from_bytes(bytes: &[u8]) -> Option<SqlState> {
        let code: [u8; 5] = bytes.try_into().ok()?;
        code.iter().all(|c| c.is_ascii_digit() || c.is_ascii_uppercase()).then_some(SqlState(code))
    }

    /// The five characters.
    pub const fn as_bytes(&self) -> &[u8; 5] {
        &self.0
    }

    /// The five characters as text.
    pub fn as_str(&self) -> &str {
        // Only constants and from_bytes make values, and both hold ASCII.
        std::str::from_utf8(&self.0).unwrap_or("XX000")
    }

    /// The class: the first two characters, such as `08` for trouble with the connection.
    pub const fn class(&self) -> [u8; 2] {
        let [first, second, ..] = self.0;
        [first, second]
    }
}

impl fmt::Display for SqlState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for SqlState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SqlState({self})")
    }
}

macro_rules! sqlstates {
    ($($(#[doc = $doc:literal])+ $name:ident = $code:literal;)+) => {
        impl SqlState {
            $($(#[doc = $doc])+ pub const $name: SqlState = SqlState(*$code);)+

            /// Every code named here, in the order of the table.
            pub const NAMED: &'static [SqlState] = &[$(SqlState::$name),+];
        }
    };
}

sqlstates! {
    /// `00000` successful completion: what a notice without trouble carries.
    SUCCESSFUL_COMPLETION = b"00000";
    /// `01000` warning: the class of notices, for instance "already committed locally".
    WARNING = b"01000";

    /// `08000` connection exception: a backend's connection failed in a way no other code names.
    CONNECTION_EXCEPTION = b"08000";
    /// `08001` the connection could not be made: no node could be reached; nothing was done.
    UNABLE_TO_CONNECT = b"08001";
    /// `08003` the connection does not exist: the session's backend is gone.
    CONNECTION_DOES_NOT_EXIST = b"08003";
    /// `08004` the connection was rejected: a limit or rule of ours refuses this client.
    CONNECTION_REJECTED = b"08004";
    /// `08006` connection failure: the backend's connection broke; by itself it says nothing about what was done.
    CONNECTION_FAILURE = b"08006";
    /// `08007` transaction resolution unknown: the standard's code for an ambiguous commit. We read it as
    /// [`STATEMENT_COMPLETION_UNKNOWN`](Self::STATEMENT_COMPLETION_UNKNOWN), which is the one we send.
    TRANSACTION_RESOLUTION_UNKNOWN = b"08007";
    /// `08P01` protocol violation: malformed or out of order. Always FATAL from us, and the connection is closed.
    PROTOCOL_VIOLATION = b"08P01";

    /// `0A000` feature not supported: we, or a replica, do not do this; on a replica it can mean "run it on the primary".
    FEATURE_NOT_SUPPORTED = b"0A000";

    /// `22023` invalid parameter value: a `highwater.…` setting got a value it does not take.
    INVALID_PARAMETER_VALUE = b"22023";
    /// `22P02` invalid text representation: a token or number could not be read.
    INVALID_TEXT_REPRESENTATION = b"22P02";

    /// `25000` invalid transaction state.
    INVALID_TRANSACTION_STATE = b"25000";
    /// `25001` active transaction: the command cannot run inside a transaction block.
    ACTIVE_TRANSACTION = b"25001";
    /// `25006` read-only transaction: a write reached a replica (or a READ ONLY block). It had no effect in this cluster; check the
    /// node's role at once, run the statement on the primary, remember its shape.
    READ_ONLY_TRANSACTION = b"25006";
    /// `25P01` no active transaction: the command needs a transaction block.
    NO_ACTIVE_TRANSACTION = b"25P01";
    /// `25P02` in a failed transaction: everything but ROLLBACK is refused; also our own answer while a session is in that state.
    IN_FAILED_TRANSACTION = b"25P02";
    /// `25P03` idle in transaction too long: FATAL, this backend is gone and its transaction surely rolled back; the node is well.
    IDLE_IN_TRANSACTION_TIMEOUT = b"25P03";
    /// `25P04` transaction timeout (PostgreSQL 17): FATAL, as `25P03`.
    TRANSACTION_TIMEOUT = b"25P04";

    /// `26000` no such prepared statement: the backend does not have the name; ours and its picture of statements differ.
    INVALID_SQL_STATEMENT_NAME = b"26000";

    /// `28000` invalid authorization: the role may not log in, or no rule lets it. About the user, never about the node.
    INVALID_AUTHORIZATION = b"28000";
    /// `28P01` wrong password: about the user, never about the node. One attempt per back-off step, the verifier is fetched anew.
    INVALID_PASSWORD = b"28P01";

    /// `34000` no such cursor or portal: for instance a portal that ended with its transaction.
    INVALID_CURSOR_NAME = b"34000";
    /// `3B001` no such savepoint.
    INVALID_SAVEPOINT = b"3B001";
    /// `3D000` no such database: about the client's request, never about the node.
    INVALID_CATALOG_NAME = b"3D000";
    /// `3F000` no such schema: on a replica it can mean "not replayed yet".
    INVALID_SCHEMA_NAME = b"3F000";

    /// `40001` serialization failure: from a replica "canceling statement due to conflict with recovery"; says nothing about the
    /// node's health; a read may run elsewhere. We send it where a transaction surely rolled back: retry loops know it.
    SERIALIZATION_FAILURE = b"40001";
    /// `40003` statement completion unknown: what we answer when a write was sent and no answer came. Never run again by us.
    STATEMENT_COMPLETION_UNKNOWN = b"40003";
    /// `40P01` deadlock detected: on a replica also a buffer-pin conflict with recovery, to be read as `40001`.
    DEADLOCK_DETECTED = b"40P01";

    /// `42501` insufficient privilege: about the user; our answer to an admin verb above the role.
    INSUFFICIENT_PRIVILEGE = b"42501";
    /// `42601` syntax error: passed through; the classifier sent the statement to the primary anyway.
    SYNTAX_ERROR = b"42601";
    /// `42602` invalid name.
    INVALID_NAME = b"42602";
    /// `42703` no such column: on a replica it can mean that the DDL has not been replayed yet.
    UNDEFINED_COLUMN = b"42703";
    /// `42704` no such object, such as an unknown setting or type: on a replica as `42703`.
    UNDEFINED_OBJECT = b"42704";
    /// `42883` no such function: on a replica as `42703`.
    UNDEFINED_FUNCTION = b"42883";
    /// `42P01` no such table: on a replica as `42703`.
    UNDEFINED_TABLE = b"42P01";
    /// `42P02` no such parameter: on a replica as `42703`.
    UNDEFINED_PARAMETER = b"42P02";
    /// `42P03` a cursor of this name exists already.
    DUPLICATE_CURSOR = b"42P03";
    /// `42P05` a prepared statement of this name exists already: names went out of step; the backend is closed, not reused.
    DUPLICATE_PREPARED_STATEMENT = b"42P05";

    /// `53000` insufficient resources: one of our budgets is used up.
    INSUFFICIENT_RESOURCES = b"53000";
    /// `53100` disk full: a statement's error; the node is otherwise well.
    DISK_FULL = b"53100";
    /// `53200` out of memory.
    OUT_OF_MEMORY = b"53200";
    /// `53300` too many connections: the node has no slot left. Capacity, not illness: keep what there is, back off. Also our
    /// answer when our own limits are reached.
    TOO_MANY_CONNECTIONS = b"53300";
    /// `54000` program limit exceeded: a message or text above a limit of ours.
    PROGRAM_LIMIT_EXCEEDED = b"54000";

    /// `55000` object not in prerequisite state: for instance a function that does not work during recovery.
    OBJECT_NOT_IN_PREREQUISITE_STATE = b"55000";
    /// `55P02` the setting cannot be changed now.
    CANT_CHANGE_RUNTIME_PARAM = b"55P02";
    /// `55P03` lock not available: passed through, never run again.
    LOCK_NOT_AVAILABLE = b"55P03";

    /// `57000` operator intervention.
    OPERATOR_INTERVENTION = b"57000";
    /// `57014` query cancelled: by the client, by a timeout, or by us for a deadline. Passed through, never run again.
    QUERY_CANCELED = b"57014";
    /// `57P01` admin shutdown: this backend was ended, alone or with its node; a probe decides which. What we send when we stop.
    ADMIN_SHUTDOWN = b"57P01";
    /// `57P02` crash shutdown: another backend crashed and all of the node's are ended; `57P03` follows for a while.
    CRASH_SHUTDOWN = b"57P02";
    /// `57P03` cannot connect now: the node is alive and not ready (starting, stopping, in recovery). Try again soon. Also our answer
    /// when no node can serve and surely nothing was done.
    CANNOT_CONNECT_NOW = b"57P03";
    /// `57P04` the database was dropped: passed through.
    DATABASE_DROPPED = b"57P04";
    /// `57P05` idle session timeout: this idle backend is gone; the node is well.
    IDLE_SESSION_TIMEOUT = b"57P05";

    /// `58000` system error outside PostgreSQL.
    SYSTEM_ERROR = b"58000";
    /// `58P01` undefined file: for instance WAL that was removed.
    UNDEFINED_FILE = b"58P01";
    /// `XX000` internal error: of PostgreSQL, or a broken invariant of ours that ended the session.
    INTERNAL_ERROR = b"XX000";
    /// `XX001` data corrupted.
    DATA_CORRUPTED = b"XX001";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_named_code_is_well_formed_and_named_once() {
        for (at, code) in SqlState::NAMED.iter().enumerate() {
            assert_eq!(SqlState::from_bytes(code.as_bytes()), Some(*code));
            assert!(!SqlState::NAMED[..at].contains(code), "{code} is named twice");
        }
    }

    #[test]
    fn anything_else_is_not_a_code() {
        for bytes in [&b""[..], b"0800", b"08P011", b"08p01", b"08 01", b"\xff\xff\xff\xff\xff"] {
            assert_eq!(SqlState::from_bytes(bytes), None);
        }
    }

    #[test]
    fn codes_print_as_their_five_characters() {
        assert_eq!(SqlState::READ_ONLY_TRANSACTION.to_string(), "25006");
        assert_eq!(format!("{:?}", SqlState::PROTOCOL_VIOLATION), "SqlState(08P01)");
        assert_eq!(&SqlState::ADMIN_SHUTDOWN.class(), b"57");
    }
}
