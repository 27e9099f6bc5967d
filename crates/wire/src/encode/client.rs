//! Messages in the direction of a node: what a client says, or what Highwater says in its place.

use super::{EncodeError, empty, message};
use crate::frame::tag::client as tag;
use crate::frontend::DescribeKind;

/// Appends a Query.
///
/// # Errors
/// [`EncodeError`]; nothing is appended then.
pub fn query(out: &mut Vec<u8>, text: &str) -> Result<(), EncodeError> {
    message(out, tag::QUERY, |body| body.cstr(text.as_bytes()))
}

/// Appends a Parse. `raw_types` is a count and as many type OIDs, as
/// [`Parse::parameter_types`](crate::frontend::Parse::parameter_types) has them; empty means no types.
///
/// # Errors
/// [`EncodeError`]; nothing is appended then.
pub fn parse(out: &mut Vec<u8>, name: &[u8], query: &[u8], raw_types: &[u8]) -> Result<(), EncodeError> {
    let raw_types = if raw_types.is_empty() { &[0, 0] } else { raw_types };
    let well_formed = raw_types.split_first_chunk::<2>().is_some_and(|(&count, oids)| {
        usize::from(u16::from_be_bytes(count)).checked_mul(4) == Some(oids.len())
    });
    if !well_formed {
        return Err(EncodeError::NotWellFormed);
    }
    message(out, tag::PARSE, |body| {
        body.cstr(name)?;
        body.cstr(query)?;
        body.bytes(raw_types)
    })
}

/// Appends a Bind with this portal and statement name; `rest` is everything behind them, as
/// [`Bind::rest`](crate::frontend::Bind::rest) has it and [`Bind::validate`](crate::frontend::Bind::validate) checked it.
///
/// # Errors
/// [`EncodeError`]; nothing is appended then.
pub fn bind_with_statement(
    out: &mut Vec<u8>,
    portal: &[u8],
    statement: &[u8],
    rest: &[u8],
) -> Result<(), EncodeError> {
    message(out, tag::BIND, |body| {
        body.cstr(portal)?;
        body.cstr(statement)?;
        body.bytes(rest)
    })
}

/// Appends a Describe.
///
/// # Errors
/// [`EncodeError`]; nothing is appended then.
pub fn describe(out: &mut Vec<u8>, kind: DescribeKind, name: &[u8]) -> Result<(), EncodeError> {
    message(out, tag::DESCRIBE, |body| {
        body.u8(kind.to_byte());
        body.cstr(name)
    })
}

/// Appends a Close.
///
/// # Errors
/// [`EncodeError`]; nothing is appended then.
pub fn close(out: &mut Vec<u8>, kind: DescribeKind, name: &[u8]) -> Result<(), EncodeError> {
    message(out, tag::CLOSE, |body| {
        body.u8(kind.to_byte());
        body.cstr(name)
    })
}

/// Appends an Execute; `max_rows` 0 means all.
///
/// # Errors
/// [`EncodeError`]; nothing is appended then.
pub fn execute(out: &mut Vec<u8>, portal: &[u8], max_rows: i32) -> Result<(), EncodeError> {
    message(out, tag::EXECUTE, |body| {
        body.cstr(portal)?;
        body.i32(max_rows);
        Ok(())
    })
}

/// Appends a Sync.
pub fn sync(out: &mut Vec<u8>) {
    empty(out, tag::SYNC);
}

/// Appends a Flush.
pub fn flush(out: &mut Vec<u8>) {
    empty(out, tag::FLUSH);
}

/// Appends a Terminate.
pub fn terminate(out: &mut Vec<u8>) {
    empty(out, tag::TERMINATE);
}

/// Appends a CopyDone. The same bytes in both directions.
pub fn copy_done(out: &mut Vec<u8>) {
    empty(out, tag::COPY_DONE);
}

/// Appends a CopyFail.
///
/// # Errors
/// [`EncodeError`]; nothing is appended then.
pub fn copy_fail(out: &mut Vec<u8>, reason: &str) -> Result<(), EncodeError> {
    message(out, tag::COPY_FAIL, |body| body.cstr(reason.as_bytes()))
}

/// Appends a PasswordMessage: a password, or what [`md5_password`](crate::auth::md5::md5_password) made of it.
///
/// # Errors
/// [`EncodeError`]; nothing is appended then.
pub fn password(out: &mut Vec<u8>, secret: &[u8]) -> Result<(), EncodeError> {
    message(out, tag::PASSWORD, |body| body.cstr(secret))
}

/// Appends a SASLInitialResponse.
///
/// # Errors
/// [`EncodeError`]; nothing is appended then.
pub fn sasl_initial_response(out: &mut Vec<u8>, mechanism: &str, data: &[u8]) -> Result<(), EncodeError> {
    message(out, tag::PASSWORD, |body| {
        body.cstr(mechanism.as_bytes())?;
        body.nullable(Some(data))
    })
}

/// Appends a SASLResponse.
///
/// # Errors
/// [`EncodeError`]; nothing is appended then.
pub fn sasl_response(out: &mut Vec<u8>, data: &[u8]) -> Result<(), EncodeError> {
    message(out, tag::PASSWORD, |body| body.bytes(data))
}
