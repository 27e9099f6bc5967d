//! What does the client ask? Views over the messages of the simple and extended query protocol and of the login.
//!
//! Each takes a whole frame, tag and length included, borrows from it and must use it up to the last byte. The texts stay bytes:
//! they are in the client's encoding. Messages without a body (Sync, Flush, Terminate, CopyDone) have no view: their header says
//! everything. CopyData and FunctionCall have none because nobody looks inside them.

use crate::cursor::Cursor;
use crate::frame::{HEADER_LEN, tag::client as tag};
use crate::malformed::{Fault, Malformed};

/// Query: one or more statements as text, outside the extended protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Query<'a> {
    /// The statements, without the NUL.
    pub text: &'a [u8],
}

impl<'a> Query<'a> {
    /// Reads a whole Query frame.
    ///
    /// # Errors
    /// [`Malformed`].
    #[inline]
    pub fn parse(frame: &'a [u8]) -> Result<Self, Malformed> {
        let mut body = Cursor::frame(frame, tag::QUERY, "Query")?;
        let text = body.cstr()?;
        body.finish()?;
        Ok(Query { text })
    }
}

/// Parse: make a prepared statement of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parse<'a> {
    /// The client's name for the statement; empty for the unnamed one.
    pub name: &'a [u8],
    /// One statement.
    pub query: &'a [u8],
    /// The types the client chose for the parameters, as they stand in the frame: a 16-bit count and as many 32-bit OIDs.
    pub parameter_types: &'a [u8],
}

impl<'a> Parse<'a> {
    /// Reads a whole Parse frame.
    ///
    /// # Errors
    /// [`Malformed`].
    #[expect(
        clippy::self_named_constructors,
        reason = "the message is called Parse and every view is made by parse"
    )]
    pub fn parse(frame: &'a [u8]) -> Result<Self, Malformed> {
        let mut body = Cursor::frame(frame, tag::PARSE, "Parse")?;
        let name = body.cstr()?;
        let query = body.cstr()?;
        let parameter_types = body.rest();
        let count = body.u16()?;
        body.items(count, 4)?;
        body.finish()?;
        Ok(Parse { name, query, parameter_types })
    }

    /// The parameter types' OIDs; 0 stands for "you choose".
    pub fn type_oids(&self) -> impl Iterator<Item = u32> + use<'a> {
        let mut types = Cursor::new(self.parameter_types.get(2..).unwrap_or_default(), "Parse");
        std::iter::from_fn(move || types.u32().ok())
    }
}

/// Bind: make a portal of a prepared statement and parameters.
///
/// `parse` reads the two names, which is all the relay needs to put another statement name in; [`Bind::validate`] checks the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bind<'a> {
    /// The portal's name; empty for the unnamed one.
    pub portal: &'a [u8],
    /// The client's name of the prepared statement; empty for the unnamed one.
    pub statement: &'a [u8],
    /// Everything behind the statement's name: parameter formats, parameters, result formats.
    pub rest: &'a [u8],
    /// Where in the frame `rest` begins, in bytes.
    pub rest_offset: usize,
}

impl<'a> Bind<'a> {
    /// Reads the names of a whole Bind frame.
    ///
    /// # Errors
    /// [`Malformed`].
    #[inline]
    pub fn parse(frame: &'a [u8]) -> Result<Self, Malformed> {
        let mut body = Cursor::frame(frame, tag::BIND, "Bind")?;
        let portal = body.cstr()?;
        let statement = body.cstr()?;
        let rest = body.take_rest();
        // Five bytes of header, two names and their NULs: what lies before the rest.
        let rest_offset = frame.len().saturating_sub(rest.len());
        Ok(Bind { portal, statement, rest, rest_offset })
    }

    /// Checks every count and length behind the names: all must fit, only −1 (NULL) may be negative, and nothing may be left.
    /// A Bind whose lengths do not add up could hide messages in a parameter, so one that is rewritten must pass this first.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn validate(&self) -> Result<(), Malformed> {
        let mut rest = Cursor::new(self.rest, "Bind");
        let formats = rest.u16()?;
        rest.items(formats, 2)?;
        let parameters = rest.u16()?;
        for _ in 0..parameters {
            rest.nullable()?;
        }
        let result_formats = rest.u16()?;
        rest.items(result_formats, 2)?;
        rest.finish()
    }

    /// How many parameters are bound; `None` if the message is malformed before they begin.
    pub fn parameter_count(&self) -> Option<u16> {
        let mut rest = Cursor::new(self.rest, "Bind");
        let formats = rest.u16().ok()?;
        rest.items(formats, 2).ok()?;
        rest.u16().ok()
    }
}

/// What a Describe or Close is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DescribeKind {
    /// `S`: a prepared statement.
    Statement,
    /// `P`: a portal.
    Portal,
}

impl DescribeKind {
    /// The kind that `byte` stands for.
    pub const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            b'S' => Some(DescribeKind::Statement),
            b'P' => Some(DescribeKind::Portal),
            _ => None,
        }
    }

    /// The byte that stands for this kind.
    pub const fn to_byte(self) -> u8 {
        match self {
            DescribeKind::Statement => b'S',
            DescribeKind::Portal => b'P',
        }
    }
}

/// Describe: ask for the shape of a prepared statement or portal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Describe<'a> {
    /// Statement or portal.
    pub kind: DescribeKind,
    /// Its name; empty for the unnamed one.
    pub name: &'a [u8],
}

impl<'a> Describe<'a> {
    /// Reads a whole Describe frame.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn parse(frame: &'a [u8]) -> Result<Self, Malformed> {
        let (kind, name) = kind_and_name(Cursor::frame(frame, tag::DESCRIBE, "Describe")?)?;
        Ok(Describe { kind, name })
    }
}

/// Close: forget a prepared statement or portal. That it does not exist is no error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Close<'a> {
    /// Statement or portal.
    pub kind: DescribeKind,
    /// Its name; empty for the unnamed one.
    pub name: &'a [u8],
}

impl<'a> Close<'a> {
    /// Reads a whole Close frame.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn parse(frame: &'a [u8]) -> Result<Self, Malformed> {
        let (kind, name) = kind_and_name(Cursor::frame(frame, tag::CLOSE, "Close")?)?;
        Ok(Close { kind, name })
    }
}

fn kind_and_name(mut body: Cursor<'_>) -> Result<(DescribeKind, &[u8]), Malformed> {
    let kind = DescribeKind::from_byte(body.u8()?).ok_or(body.malformed(Fault::UnknownCode))?;
    let name = body.cstr()?;
    body.finish()?;
    Ok((kind, name))
}

/// Execute: run a portal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Execute<'a> {
    /// The portal's name; empty for the unnamed one.
    pub portal: &'a [u8],
    /// The most rows to return before PortalSuspended; 0 or less means all.
    pub max_rows: i32,
}

impl<'a> Execute<'a> {
    /// Reads a whole Execute frame.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn parse(frame: &'a [u8]) -> Result<Self, Malformed> {
        let mut body = Cursor::frame(frame, tag::EXECUTE, "Execute")?;
        let portal = body.cstr()?;
        let max_rows = body.i32()?;
        body.finish()?;
        Ok(Execute { portal, max_rows })
    }
}

/// CopyFail: the client gives up a COPY FROM STDIN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CopyFail<'a> {
    /// Why.
    pub reason: &'a [u8],
}

impl<'a> CopyFail<'a> {
    /// Reads a whole CopyFail frame.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn parse(frame: &'a [u8]) -> Result<Self, Malformed> {
        let mut body = Cursor::frame(frame, tag::COPY_FAIL, "CopyFail")?;
        let reason = body.cstr()?;
        body.finish()?;
        Ok(CopyFail { reason })
    }
}

/// PasswordMessage: the answer to AuthenticationCleartextPassword or AuthenticationMD5Password.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Password<'a> {
    /// The password, or its MD5 form. Do not print.
    pub secret: &'a [u8],
}

impl std::fmt::Debug for Password<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Password { secret: [redacted] }")
    }
}

impl<'a> Password<'a> {
    /// Reads a whole PasswordMessage frame.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn parse(frame: &'a [u8]) -> Result<Self, Malformed> {
        let mut body = Cursor::frame(frame, tag::PASSWORD, "PasswordMessage")?;
        let secret = body.cstr()?;
        body.finish()?;
        Ok(Password { secret })
    }
}

/// SASLInitialResponse: the mechanism the client chose, and its first message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SaslInitialResponse<'a> {
    /// The mechanism, such as `SCRAM-SHA-256`.
    pub mechanism: &'a [u8],
    /// The first message of that mechanism; `None` if the client waits to be asked for it.
    pub data: Option<&'a [u8]>,
}

impl<'a> SaslInitialResponse<'a> {
    /// Reads a whole SASLInitialResponse frame.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn parse(frame: &'a [u8]) -> Result<Self, Malformed> {
        let mut body = Cursor::frame(frame, tag::PASSWORD, "SASLInitialResponse")?;
        let mechanism = body.cstr()?;
        let data = body.nullable()?;
        body.finish()?;
        Ok(SaslInitialResponse { mechanism, data })
    }
}

/// SASLResponse: a later message of the mechanism.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SaslResponse<'a> {
    /// The mechanism's bytes: the whole body.
    pub data: &'a [u8],
}

impl<'a> SaslResponse<'a> {
    /// Reads a whole SASLResponse frame.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn parse(frame: &'a [u8]) -> Result<Self, Malformed> {
        let mut body = Cursor::frame(frame, tag::PASSWORD, "SASLResponse")?;
        Ok(SaslResponse { data: body.take_rest() })
    }
}

/// The body of a frame: all behind its header. Empty if there is none.
pub fn body(frame: &[u8]) -> &[u8] {
    frame.get(HEADER_LEN..).unwrap_or_default()
}
