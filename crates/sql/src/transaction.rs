//! BEGIN, COMMIT, ROLLBACK, SAVEPOINT and their kin, and the modes of transactions.
//!
//! Answers `None` for anything that is not exactly one of PostgreSQL's forms.

use crate::cursor::Cursor;
use crate::lexer::Kind;
use crate::verdict::{Detail, Isolation};

/// Modes as written; `None` is not said.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Modes {
    pub(crate) read_only: Option<bool>,
    pub(crate) isolation: Option<Isolation>,
    pub(crate) deferrable: Option<bool>,
}

/// BEGIN or START, after that word.
pub(crate) fn begin(cursor: &mut Cursor<'_>, start: bool) -> Option<Detail> {
    let transaction = cursor.accept("transaction");
    if start && !transaction {
        return None;
    }
    if !start && !transaction {
        cursor.accept("work");
    }
    let Modes { read_only, isolation, deferrable } = modes(cursor)?;
    Some(Detail::Begin { read_only, isolation, deferrable })
}

/// COMMIT or END, after that word.
pub(crate) fn commit(cursor: &mut Cursor<'_>) -> Option<Detail> {
    if cursor.accept("prepared") {
        return cursor.accept_kind(Kind::String).then_some(Detail::CommitPrepared);
    }
    Some(Detail::Commit { chain: chain(cursor)? })
}

/// ROLLBACK or ABORT, after that word.
pub(crate) fn rollback(cursor: &mut Cursor<'_>) -> Option<Detail> {
    if cursor.accept("prepared") {
        return cursor.accept_kind(Kind::String).then_some(Detail::RollbackPrepared);
    }
    cursor.accept_any(&["work", "transaction"]);
    if cursor.accept("to") {
        savepoint_name(cursor)?;
        return Some(Detail::RollbackTo);
    }
    Some(Detail::Rollback { chain: chain(cursor)? })
}

/// SAVEPOINT, after that word.
pub(crate) fn savepoint(cursor: &mut Cursor<'_>) -> Option<Detail> {
    cursor.name().map(|_| Detail::Savepoint)
}

/// RELEASE, after that word.
pub(crate) fn release(cursor: &mut Cursor<'_>) -> Option<Detail> {
    savepoint_name(cursor).map(|()| Detail::ReleaseSavepoint)
}

/// `[SAVEPOINT] name`, where the name may be `savepoint` itself.
fn savepoint_name(cursor: &mut Cursor<'_>) -> Option<()> {
    let word = cursor.accept("savepoint");
    if word && cursor.at_end() {
        return Some(());
    }
    cursor.name().map(|_| ())
}

/// `[WORK | TRANSACTION] [AND [NO] CHAIN]`.
fn chain(cursor: &mut Cursor<'_>) -> Option<bool> {
    cursor.accept_any(&["work", "transaction"]);
    if !cursor.accept("and") {
        return Some(false);
    }
    let no = cursor.accept("no");
    cursor.accept("chain").then_some(!no)
}

/// Transaction modes up to the end of the statement, with or without commas.
pub(crate) fn modes(cursor: &mut Cursor<'_>) -> Option<Modes> {
    let mut modes = Modes::default();
    while !cursor.at_end() {
        mode(cursor, &mut modes)?;
        if cursor.accept_kind(Kind::Comma) && cursor.at_end() {
            return None;
        }
    }
    Some(modes)
}

fn mode(cursor: &mut Cursor<'_>, modes: &mut Modes) -> Option<()> {
    if cursor.accept("isolation") {
        modes.isolation = Some(isolation(cursor)?);
    } else if cursor.accept("read") {
        let only = cursor.accept("only");
        modes.read_only = Some(only);
        return (only || cursor.accept("write")).then_some(());
    } else if cursor.accept("not") {
        modes.deferrable = Some(false);
        return cursor.accept("deferrable").then_some(());
    } else if cursor.accept("deferrable") {
        modes.deferrable = Some(true);
    } else {
        return None;
    }
    Some(())
}

fn isolation(cursor: &mut Cursor<'_>) -> Option<Isolation> {
    if !cursor.accept("level") {
        return None;
    }
    if cursor.accept("serializable") {
        return Some(Isolation::Serializable);
    }
    if cursor.accept("repeatable") {
        return cursor.accept("read").then_some(Isolation::RepeatableRead);
    }
    if !cursor.accept("read") {
        return None;
    }
    if cursor.accept("committed") {
        return Some(Isolation::ReadCommitted);
    }
    cursor.accept("uncommitted").then_some(Isolation::ReadUncommitted)
}
