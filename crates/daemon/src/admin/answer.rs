//! What the console's answers look like on the wire.
//!
//! Results are text. It decides nothing: what to answer is said by the caller.

use wire::encode::{self, Column, ErrorReply, Severity};
use wire::sqlstate::SqlState;

use super::table::Table;

/// What became of a command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Answer {
    /// Nothing was asked.
    Empty,
    /// Rows.
    Rows(Table),
    /// One row with one column of this name.
    Value(&'static str, String),
    /// It was done; the tag, and something to say.
    Done(&'static str, Option<&'static str>),
    /// It was not.
    Refused(Refusal),
}

/// Why a command was not carried out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Refusal {
    pub(super) sqlstate: SqlState,
    pub(super) message: String,
    pub(super) hint: Option<String>,
}

impl Refusal {
    pub(super) fn new(sqlstate: SqlState, message: impl Into<String>) -> Refusal {
        Refusal { sqlstate, message: message.into(), hint: None }
    }

    pub(super) fn with_hint(mut self, hint: impl Into<String>) -> Refusal {
        self.hint = Some(hint.into());
        self
    }
}

/// A RowDescription, or NoData.
pub(super) fn description(out: &mut Vec<u8>, answer: &Answer) {
    let columns: Vec<Column<'_>> = match answer {
        Answer::Rows(table) => {
            let columns = table.columns().iter();
            columns.map(|(name, kind)| Column { name, type_oid: kind.oid(), format: 0 }).collect()
        }
        Answer::Value(name, _) => vec![Column { name, type_oid: encode::type_oid::TEXT, format: 0 }],
        Answer::Empty | Answer::Done(..) | Answer::Refused(_) => {
            encode::no_data(out);
            return;
        }
    };
    encode::row_description(out, &columns).expect("our columns are few and their names short");
}

/// What follows the description: rows and the end of the command.
pub(super) fn body(out: &mut Vec<u8>, answer: &Answer) {
    match answer {
        Answer::Empty => encode::empty_query(out),
        Answer::Rows(table) => {
            for row in table.rows() {
                let values: Vec<_> = row.iter().map(|cell| cell.as_deref().map(str::as_bytes)).collect();
                encode::data_row(out, &values).expect("our rows are short");
            }
            encode::command_complete(out, "SHOW");
        }
        Answer::Value(_, value) => {
            encode::data_row(out, &[Some(value.as_bytes())]).expect("our rows are short");
            encode::command_complete(out, "SHOW");
        }
        Answer::Done(tag, said) => {
            if let Some(message) = said {
                notice(out, message);
            }
            encode::command_complete(out, tag);
        }
        Answer::Refused(refusal) => refused(out, refusal),
    }
}

/// An ErrorResponse; the session goes on.
pub(super) fn refused(out: &mut Vec<u8>, refusal: &Refusal) {
    report(out, Severity::Error, refusal);
}

/// An ErrorResponse; the session ends.
pub(super) fn fatal(out: &mut Vec<u8>, refusal: &Refusal) {
    report(out, Severity::Fatal, refusal);
}

fn report(out: &mut Vec<u8>, severity: Severity, refusal: &Refusal) {
    let Refusal { sqlstate, message, hint } = refusal;
    let error = ErrorReply { severity, sqlstate: *sqlstate, message, detail: None, hint: hint.as_deref() };
    encode::error_response(out, &error);
}

fn notice(out: &mut Vec<u8>, message: &str) {
    let notice = ErrorReply {
        severity: Severity::Notice,
        sqlstate: SqlState::SUCCESSFUL_COMPLETION,
        message,
        detail: None,
        hint: None,
    };
    encode::notice_response(out, &notice);
}
