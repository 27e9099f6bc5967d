//! The fields of an ErrorResponse or NoticeResponse. Every one of them is optional.
//!
//! A backend is as untrusted as a client: CVE-2026-6666 was a pooler that crashed on an error without an SQLSTATE. What an error
//! leads to is `engine`'s business. Text from a backend that has not been authenticated must not reach a client at all.

use std::borrow::Cow;

use crate::cursor::Cursor;
use crate::frame::tag::backend as tag;
use crate::malformed::{Fault, Malformed};
use crate::sqlstate::SqlState;

/// A view of an ErrorResponse or NoticeResponse.
#[derive(Debug, Clone, Copy)]
pub struct ErrorFields<'a> {
    /// Fields, each a code, text and NUL, up to and without the final NUL. Checked by `parse`.
    fields: &'a [u8],
}

impl<'a> ErrorFields<'a> {
    /// Reads a whole ErrorResponse or NoticeResponse frame.
    ///
    /// # Errors
    /// [`Malformed`] if a field is not terminated, the list is not, or something follows it.
    pub fn parse(frame: &'a [u8]) -> Result<Self, Malformed> {
        let mut body = match frame.first() {
            Some(&tag::NOTICE_RESPONSE) => Cursor::frame(frame, tag::NOTICE_RESPONSE, "NoticeResponse")?,
            _ => Cursor::frame(frame, tag::ERROR_RESPONSE, "ErrorResponse")?,
        };
        let Some((0, fields)) = body.rest().split_last() else {
            return Err(body.malformed(Fault::Unterminated));
        };
        while body.u8()? != 0 {
            body.cstr()?;
        }
        body.finish()?;
        Ok(ErrorFields { fields })
    }

    /// All fields in order: the code, and the text as it was sent.
    pub fn iter(&self) -> impl Iterator<Item = (u8, &'a [u8])> + use<'a> {
        let mut fields = Cursor::new(self.fields, "ErrorResponse");
        std::iter::from_fn(move || {
            let code = fields.u8().ok()?;
            let text = fields.cstr().ok()?;
            Some((code, text))
        })
    }

    /// The first field with this code. Codes are listed in the manual, "Error and Notice Message Fields".
    pub fn field(&self, code: u8) -> Option<&'a [u8]> {
        self.iter().find(|&(found, _)| found == code).map(|(_, text)| text)
    }

    /// ERROR, FATAL, PANIC, WARNING, NOTICE, DEBUG, INFO or LOG. Prefers the field that is never translated (`V`).
    pub fn severity(&self) -> Option<Cow<'a, str>> {
        self.text(b'V').or_else(|| self.text(b'S'))
    }

    /// Does this end the backend's session (FATAL or PANIC)? An error that does not say is taken not to: the connection's end
    /// will tell.
    pub fn is_fatal(&self) -> bool {
        matches!(self.field(b'V').or_else(|| self.field(b'S')), Some(b"FATAL" | b"PANIC"))
    }

    /// The error code, if there is one and it has the form of one.
    pub fn sqlstate(&self) -> Option<SqlState> {
        self.field(b'C').and_then(SqlState::from_bytes)
    }

    /// What happened, in one line.
    pub fn message(&self) -> Option<Cow<'a, str>> {
        self.text(b'M')
    }

    /// More about it.
    pub fn detail(&self) -> Option<Cow<'a, str>> {
        self.text(b'D')
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<Cow<'a, str>> {
        self.text(b'H')
    }

    /// Where in the query text, counted in characters from 1.
    pub fn position(&self) -> Option<u32> {
        std::str::from_utf8(self.field(b'P')?).ok()?.parse().ok()
    }

    /// The call stack inside the database, innermost first.
    pub fn context(&self) -> Option<Cow<'a, str>> {
        self.text(b'W')
    }

    /// The function of PostgreSQL's source that raised it: a stable name where texts are translated.
    pub fn routine(&self) -> Option<Cow<'a, str>> {
        self.text(b'R')
    }

    /// A field as text. Errors from before the client encoding is settled may be in any encoding, hence lossy.
    fn text(&self, code: u8) -> Option<Cow<'a, str>> {
        self.field(code).map(String::from_utf8_lossy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(body: &[u8]) -> Vec<u8> {
        let mut frame = vec![b'E'];
        frame.extend_from_slice(&(body.len() as u32 + 4).to_be_bytes());
        frame.extend_from_slice(body);
        frame
    }

    #[test]
    fn fields_are_found_by_their_code() {
        let frame = frame(b"SFEHLER\0VERROR\0C25006\0Mcannot execute INSERT\0DIt is a replica.\0Huse the primary\0P7\0RPreventCommandIfReadOnly\0\0");
        let error = ErrorFields::parse(&frame).unwrap();
        assert_eq!(error.severity().unwrap(), "ERROR");
        assert_eq!(error.sqlstate(), Some(SqlState::READ_ONLY_TRANSACTION));
        assert_eq!(error.message().unwrap(), "cannot execute INSERT");
        assert_eq!(error.detail().unwrap(), "It is a replica.");
        assert_eq!(error.hint().unwrap(), "use the primary");
        assert_eq!(error.position(), Some(7));
        assert_eq!(error.routine().unwrap(), "PreventCommandIfReadOnly");
        assert_eq!(error.context(), None);
        assert!(!error.is_fatal());
        assert_eq!(error.iter().count(), 8);
    }

    #[test]
    fn cve_2026_6666_an_error_without_an_sqlstate_is_an_error_without_an_sqlstate() {
        let frame = frame(b"SFATAL\0Mgone\0\0");
        let error = ErrorFields::parse(&frame).unwrap();
        assert_eq!(error.sqlstate(), None);
        assert!(error.is_fatal());
    }

    #[test]
    fn an_error_may_have_no_field_at_all_and_an_empty_field() {
        assert_eq!(ErrorFields::parse(&frame(b"\0")).unwrap().message(), None);
        let frame = frame(b"M\0C\0\0");
        let error = ErrorFields::parse(&frame).unwrap();
        assert_eq!(error.message().unwrap(), "");
        assert_eq!(error.sqlstate(), None);
    }

    #[test]
    fn lists_that_do_not_end_where_the_frame_ends_are_malformed() {
        for body in [&b""[..], b"M", b"Mx", b"Mx\0", b"Mx\0\0\0", b"\0\0", b"\0Mx\0\0"] {
            assert!(ErrorFields::parse(&frame(body)).is_err(), "{body:?}");
        }
    }

    #[test]
    fn text_in_another_encoding_is_shown_as_far_as_it_can_be() {
        assert_eq!(ErrorFields::parse(&frame(b"Mcaf\xe9\0\0")).unwrap().message().unwrap(), "caf\u{fffd}");
    }
}
