//! Messages in the direction of a client: what Highwater answers in a node's place.

use super::{Body, EncodeError, empty, message};
use crate::frame::tag::backend as tag;
use crate::sqlstate::SqlState;
use crate::status::TransactionStatus;

/// Appends AuthenticationOk.
pub fn authentication_ok(out: &mut Vec<u8>) {
    out.extend_from_slice(&[tag::AUTHENTICATION, 0, 0, 0, 8, 0, 0, 0, 0]);
}

/// Appends AuthenticationCleartextPassword.
pub fn authentication_cleartext_password(out: &mut Vec<u8>) {
    out.extend_from_slice(&[tag::AUTHENTICATION, 0, 0, 0, 8, 0, 0, 0, 3]);
}

/// Appends AuthenticationMD5Password with this salt.
pub fn authentication_md5_password(out: &mut Vec<u8>, salt: [u8; 4]) {
    out.extend_from_slice(&[tag::AUTHENTICATION, 0, 0, 0, 12, 0, 0, 0, 5]);
    out.extend_from_slice(&salt);
}

/// Appends AuthenticationSASL with these mechanisms.
///
/// # Errors
/// [`EncodeError`]; nothing is appended then.
pub fn authentication_sasl(out: &mut Vec<u8>, mechanisms: &[&str]) -> Result<(), EncodeError> {
    message(out, tag::AUTHENTICATION, |body| {
        body.u32(10);
        mechanisms.iter().try_for_each(|name| body.cstr(name.as_bytes()))?;
        body.u8(0);
        Ok(())
    })
}

/// Appends AuthenticationSASLContinue.
///
/// # Errors
/// [`EncodeError`]; nothing is appended then.
pub fn authentication_sasl_continue(out: &mut Vec<u8>, data: &[u8]) -> Result<(), EncodeError> {
    message(out, tag::AUTHENTICATION, |body| {
        body.u32(11);
        body.bytes(data)
    })
}

/// Appends AuthenticationSASLFinal.
///
/// # Errors
/// [`EncodeError`]; nothing is appended then.
pub fn authentication_sasl_final(out: &mut Vec<u8>, data: &[u8]) -> Result<(), EncodeError> {
    message(out, tag::AUTHENTICATION, |body| {
        body.u32(12);
        body.bytes(data)
    })
}

/// Appends a ParameterStatus.
///
/// # Errors
/// [`EncodeError`]; nothing is appended then.
pub fn parameter_status(out: &mut Vec<u8>, name: &[u8], value: &[u8]) -> Result<(), EncodeError> {
    message(out, tag::PARAMETER_STATUS, |body| {
        body.cstr(name)?;
        body.cstr(value)
    })
}

/// Appends a BackendKeyData; the key has 4 bytes under protocol 3.0.
///
/// # Errors
/// [`EncodeError`]; nothing is appended then.
pub fn backend_key_data(out: &mut Vec<u8>, pid: i32, key: &[u8]) -> Result<(), EncodeError> {
    if !crate::startup::CANCEL_KEY_LEN.contains(&key.len()) {
        return Err(EncodeError::NotWellFormed);
    }
    message(out, tag::BACKEND_KEY_DATA, |body| {
        body.i32(pid);
        body.bytes(key)
    })
}

/// Appends a ReadyForQuery.
pub fn ready_for_query(out: &mut Vec<u8>, status: TransactionStatus) {
    out.extend_from_slice(&[tag::READY_FOR_QUERY, 0, 0, 0, 5, status.to_byte()]);
}

/// Appends a CommandComplete with a command tag such as `SELECT 1`.
pub fn command_complete(out: &mut Vec<u8>, command_tag: &str) {
    own_message(out, tag::COMMAND_COMPLETE, |body| body.own_text(command_tag));
}

/// Appends an EmptyQueryResponse.
pub fn empty_query(out: &mut Vec<u8>) {
    empty(out, tag::EMPTY_QUERY);
}

/// Appends a ParseComplete.
pub fn parse_complete(out: &mut Vec<u8>) {
    empty(out, tag::PARSE_COMPLETE);
}

/// Appends a BindComplete.
pub fn bind_complete(out: &mut Vec<u8>) {
    empty(out, tag::BIND_COMPLETE);
}

/// Appends a CloseComplete.
pub fn close_complete(out: &mut Vec<u8>) {
    empty(out, tag::CLOSE_COMPLETE);
}

/// Appends a NoData.
pub fn no_data(out: &mut Vec<u8>) {
    empty(out, tag::NO_DATA);
}

/// Appends a PortalSuspended.
pub fn portal_suspended(out: &mut Vec<u8>) {
    empty(out, tag::PORTAL_SUSPENDED);
}

/// Appends a ParameterDescription with these type OIDs.
///
/// # Errors
/// [`EncodeError`]; nothing is appended then.
pub fn parameter_description(out: &mut Vec<u8>, type_oids: &[u32]) -> Result<(), EncodeError> {
    message(out, tag::PARAMETER_DESCRIPTION, |body| {
        body.count(type_oids.len())?;
        type_oids.iter().for_each(|&oid| body.u32(oid));
        Ok(())
    })
}

/// A column of a result Highwater makes itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column<'a> {
    /// Its name.
    pub name: &'a str,
    /// OID of its type: one of [`type_oid`], as a rule.
    pub type_oid: u32,
    /// 0 for text, 1 for binary.
    pub format: i16,
}

/// OIDs of the types Highwater's own results use (`src/include/catalog/pg_type.dat`).
pub mod type_oid {
    /// `boolean`.
    pub const BOOL: u32 = 16;
    /// `bigint`.
    pub const INT8: u32 = 20;
    /// `integer`.
    pub const INT4: u32 = 23;
    /// `text`.
    pub const TEXT: u32 = 25;
    /// `double precision`.
    pub const FLOAT8: u32 = 701;

    /// The size in bytes a RowDescription states for a type: −1 for variable, and for those not named here.
    pub(super) const fn size(oid: u32) -> i16 {
        match oid {
            BOOL => 1,
            INT4 => 4,
            INT8 | FLOAT8 => 8,
            _ => -1,
        }
    }
}

/// Appends a RowDescription.
///
/// # Errors
/// [`EncodeError`]; nothing is appended then.
pub fn row_description(out: &mut Vec<u8>, columns: &[Column<'_>]) -> Result<(), EncodeError> {
    message(out, tag::ROW_DESCRIPTION, |body| {
        body.count(columns.len())?;
        for column in columns {
            body.cstr(column.name.as_bytes())?;
            // No table and no attribute: the column is ours.
            body.u32(0);
            body.i16(0);
            body.u32(column.type_oid);
            body.i16(type_oid::size(column.type_oid));
            body.i32(-1);
            body.i16(column.format);
        }
        Ok(())
    })
}

/// Appends a DataRow; `None` is NULL.
///
/// # Errors
/// [`EncodeError`]; nothing is appended then.
pub fn data_row(out: &mut Vec<u8>, values: &[Option<&[u8]>]) -> Result<(), EncodeError> {
    message(out, tag::DATA_ROW, |body| {
        body.count(values.len())?;
        values.iter().try_for_each(|value| body.nullable(*value))
    })
}

/// How bad an error or notice of ours is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Severity {
    /// The statement failed; the session goes on.
    Error,
    /// The session ends.
    Fatal,
    /// In a notice: something is probably wrong.
    Warning,
    /// In a notice: something worth knowing.
    Notice,
}

impl Severity {
    /// As it stands in the message.
    pub const fn as_str(self) -> &'static str {
        match self {
            Severity::Error => "ERROR",
            Severity::Fatal => "FATAL",
            Severity::Warning => "WARNING",
            Severity::Notice => "NOTICE",
        }
    }
}

/// An error or notice that Highwater itself raises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErrorReply<'a> {
    /// How bad it is.
    pub severity: Severity,
    /// Its code.
    pub sqlstate: SqlState,
    /// What happened, in one line.
    pub message: &'a str,
    /// More about it.
    pub detail: Option<&'a str>,
    /// What to do about it.
    pub hint: Option<&'a str>,
}

/// Appends an ErrorResponse of our own.
pub fn error_response(out: &mut Vec<u8>, error: &ErrorReply<'_>) {
    report(out, tag::ERROR_RESPONSE, error);
}

/// Appends a NoticeResponse of our own.
pub fn notice_response(out: &mut Vec<u8>, notice: &ErrorReply<'_>) {
    report(out, tag::NOTICE_RESPONSE, notice);
}

fn report(out: &mut Vec<u8>, tag: u8, reply: &ErrorReply<'_>) {
    own_message(out, tag, |body| {
        let mut field = |code: u8, text: &str| {
            body.u8(code);
            body.own_text(text);
        };
        field(b'S', reply.severity.as_str());
        field(b'V', reply.severity.as_str());
        field(b'C', reply.sqlstate.as_str());
        field(b'M', reply.message);
        reply.detail.into_iter().for_each(|text| field(b'D', text));
        reply.hint.into_iter().for_each(|text| field(b'H', text));
        body.u8(0);
    });
}

/// A message made of a handful of own texts, each of at most [`OWN_TEXT_MAX`](super::OWN_TEXT_MAX) bytes.
fn own_message(out: &mut Vec<u8>, tag: u8, write: impl FnOnce(&mut Body<'_>)) {
    message(out, tag, |body| {
        write(body);
        Ok(())
    })
    .expect("a few short texts cannot reach the limit of 1 GiB");
}
