//! What does the backend answer? Views over the messages that Highwater has to understand, each over a whole frame.
//!
//! A backend is not trusted more than a client: counts and lengths are checked before anything is returned, so that the iterators
//! cannot fail. Messages without a body (ParseComplete, NoData, …) have no view. ErrorResponse and NoticeResponse are in
//! [`error_response`](crate::error_response).

use crate::cursor::Cursor;
use crate::frame::tag::backend as tag;
use crate::malformed::{Fault, Malformed};
use crate::startup::{CANCEL_KEY_LEN, ProtocolVersion};
use crate::status::TransactionStatus;

/// Authentication: how the node wants to know who we are, or that it does.
#[derive(Debug, Clone, Copy)]
pub enum Authentication<'a> {
    /// 0: we are in.
    Ok,
    /// 3: send the password itself.
    CleartextPassword,
    /// 5: send the password hashed with this salt.
    Md5Password {
        /// Four random bytes.
        salt: [u8; 4],
    },
    /// 10: choose one of these mechanisms.
    Sasl(Mechanisms<'a>),
    /// 11: the mechanism's next message from the node.
    SaslContinue(&'a [u8]),
    /// 12: the mechanism's last message from the node.
    SaslFinal(&'a [u8]),
    /// Any other method (Kerberos, GSSAPI, SSPI): not supported.
    Other(u32),
}

impl<'a> Authentication<'a> {
    /// Reads a whole Authentication… frame.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn parse(frame: &'a [u8]) -> Result<Self, Malformed> {
        let mut body = Cursor::frame(frame, tag::AUTHENTICATION, "Authentication")?;
        let authentication = match body.u32()? {
            0 => Authentication::Ok,
            3 => Authentication::CleartextPassword,
            5 => Authentication::Md5Password { salt: body.array()? },
            10 => Authentication::Sasl(Mechanisms::read(&mut body)?),
            11 => Authentication::SaslContinue(body.take_rest()),
            12 => Authentication::SaslFinal(body.take_rest()),
            other => {
                body.take_rest();
                Authentication::Other(other)
            }
        };
        body.finish()?;
        Ok(authentication)
    }
}

/// The SASL mechanisms a node offers, best first in its opinion. An iterator over their names.
#[derive(Debug, Clone, Copy)]
pub struct Mechanisms<'a>(Cursor<'a>);

impl<'a> Mechanisms<'a> {
    fn read(body: &mut Cursor<'a>) -> Result<Self, Malformed> {
        let list = *body;
        while !body.cstr()?.is_empty() {}
        Ok(Mechanisms(list))
    }
}

impl<'a> Iterator for Mechanisms<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        match self.0.cstr() {
            Ok(name) if !name.is_empty() => Some(name),
            Ok(_) | Err(_) => {
                self.0.take_rest();
                None
            }
        }
    }
}

/// ParameterStatus: a setting the node reports, at login and whenever it changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParameterStatus<'a> {
    /// The setting's name.
    pub name: &'a [u8],
    /// Its value.
    pub value: &'a [u8],
}

impl<'a> ParameterStatus<'a> {
    /// Reads a whole ParameterStatus frame.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn parse(frame: &'a [u8]) -> Result<Self, Malformed> {
        let mut body = Cursor::frame(frame, tag::PARAMETER_STATUS, "ParameterStatus")?;
        let name = body.cstr()?;
        let value = body.cstr()?;
        body.finish()?;
        Ok(ParameterStatus { name, value })
    }
}

/// BackendKeyData: what a CancelRequest for this backend must quote. A node may never send it; then it cannot be cancelled.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct BackendKeyData<'a> {
    /// The backend's process number.
    pub pid: i32,
    /// The key, 4 to 256 bytes (exactly 4 under protocol 3.0). Whoever has it can cancel: do not print.
    pub key: &'a [u8],
}

impl std::fmt::Debug for BackendKeyData<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "BackendKeyData {{ pid: {}, key: [redacted] }}", self.pid)
    }
}

impl<'a> BackendKeyData<'a> {
    /// Reads a whole BackendKeyData frame.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn parse(frame: &'a [u8]) -> Result<Self, Malformed> {
        let mut body = Cursor::frame(frame, tag::BACKEND_KEY_DATA, "BackendKeyData")?;
        let pid = body.i32()?;
        let key = body.take_rest();
        if !CANCEL_KEY_LEN.contains(&key.len()) {
            return Err(body.malformed(Fault::OutOfRange));
        }
        Ok(BackendKeyData { pid, key })
    }
}

/// ReadyForQuery: the unit is over and the next may come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadyForQuery {
    /// Whether a transaction block is open.
    pub status: TransactionStatus,
}

impl ReadyForQuery {
    /// Reads a whole ReadyForQuery frame.
    ///
    /// # Errors
    /// [`Malformed`].
    #[inline]
    pub fn parse(frame: &[u8]) -> Result<Self, Malformed> {
        let mut body = Cursor::frame(frame, tag::READY_FOR_QUERY, "ReadyForQuery")?;
        let status = TransactionStatus::from_byte(body.u8()?).ok_or(body.malformed(Fault::UnknownCode))?;
        body.finish()?;
        Ok(ReadyForQuery { status })
    }
}

/// CommandComplete: a statement ended well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommandComplete<'a> {
    /// The command tag, such as `INSERT 0 1`.
    pub tag: &'a [u8],
}

impl<'a> CommandComplete<'a> {
    /// Reads a whole CommandComplete frame.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn parse(frame: &'a [u8]) -> Result<Self, Malformed> {
        let mut body = Cursor::frame(frame, tag::COMMAND_COMPLETE, "CommandComplete")?;
        let tag = body.cstr()?;
        body.finish()?;
        Ok(CommandComplete { tag })
    }
}

/// One column of a RowDescription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ColumnDescription<'a> {
    /// The column's name.
    pub name: &'a [u8],
    /// OID of the table it comes from, or 0.
    pub table_oid: u32,
    /// Its number in that table, or 0.
    pub attribute: i16,
    /// OID of its type.
    pub type_oid: u32,
    /// The type's size in bytes; negative for variable.
    pub type_size: i16,
    /// The type's modifier, or −1.
    pub type_modifier: i32,
    /// 0 for text, 1 for binary.
    pub format: i16,
}

/// RowDescription: the columns of the rows that follow.
#[derive(Debug, Clone, Copy)]
pub struct RowDescription<'a> {
    count: u16,
    columns: Cursor<'a>,
}

impl<'a> RowDescription<'a> {
    /// Reads a whole RowDescription frame.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn parse(frame: &'a [u8]) -> Result<Self, Malformed> {
        let mut body = Cursor::frame(frame, tag::ROW_DESCRIPTION, "RowDescription")?;
        let count = body.u16()?;
        let columns = body;
        for _ in 0..count {
            column(&mut body)?;
        }
        body.finish()?;
        Ok(RowDescription { count, columns })
    }

    /// How many columns there are.
    pub fn len(&self) -> usize {
        usize::from(self.count)
    }

    /// Are there none? `SELECT` without a list has no column.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The columns, from the left.
    pub fn columns(&self) -> impl Iterator<Item = ColumnDescription<'a>> + use<'a> {
        let mut columns = self.columns;
        std::iter::from_fn(move || column(&mut columns).ok())
    }
}

fn column<'a>(body: &mut Cursor<'a>) -> Result<ColumnDescription<'a>, Malformed> {
    Ok(ColumnDescription {
        name: body.cstr()?,
        table_oid: body.u32()?,
        attribute: body.i16()?,
        type_oid: body.u32()?,
        type_size: body.i16()?,
        type_modifier: body.i32()?,
        format: body.i16()?,
    })
}

/// DataRow: one row.
#[derive(Debug, Clone, Copy)]
pub struct DataRow<'a> {
    count: u16,
    values: Cursor<'a>,
}

impl<'a> DataRow<'a> {
    /// Reads a whole DataRow frame.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn parse(frame: &'a [u8]) -> Result<Self, Malformed> {
        let mut body = Cursor::frame(frame, tag::DATA_ROW, "DataRow")?;
        let count = body.u16()?;
        let values = body;
        for _ in 0..count {
            body.nullable()?;
        }
        body.finish()?;
        Ok(DataRow { count, values })
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        usize::from(self.count)
    }

    /// Are there none?
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The values, from the left; `None` is NULL.
    pub fn values(&self) -> impl Iterator<Item = Option<&'a [u8]>> + use<'a> {
        let mut values = self.values;
        std::iter::from_fn(move || values.nullable().ok())
    }
}

/// ParameterDescription: the parameter types of a described statement.
#[derive(Debug, Clone, Copy)]
pub struct ParameterDescription<'a> {
    types: Cursor<'a>,
}

impl<'a> ParameterDescription<'a> {
    /// Reads a whole ParameterDescription frame.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn parse(frame: &'a [u8]) -> Result<Self, Malformed> {
        let mut body = Cursor::frame(frame, tag::PARAMETER_DESCRIPTION, "ParameterDescription")?;
        let count = body.u16()?;
        let types = Cursor::new(body.items(count, 4)?, "ParameterDescription");
        body.finish()?;
        Ok(ParameterDescription { types })
    }

    /// The OIDs of the types, from `$1` on.
    pub fn type_oids(&self) -> impl Iterator<Item = u32> + use<'a> {
        let mut types = self.types;
        std::iter::from_fn(move || types.u32().ok())
    }
}

/// NotificationResponse: a NOTIFY reached a backend that listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotificationResponse<'a> {
    /// The notifying backend's process number.
    pub pid: i32,
    /// The channel.
    pub channel: &'a [u8],
    /// The payload; may be empty.
    pub payload: &'a [u8],
}

impl<'a> NotificationResponse<'a> {
    /// Reads a whole NotificationResponse frame.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn parse(frame: &'a [u8]) -> Result<Self, Malformed> {
        let mut body = Cursor::frame(frame, tag::NOTIFICATION_RESPONSE, "NotificationResponse")?;
        let pid = body.i32()?;
        let channel = body.cstr()?;
        let payload = body.cstr()?;
        body.finish()?;
        Ok(NotificationResponse { pid, channel, payload })
    }
}

/// NegotiateProtocolVersion: the node speaks less than was asked for.
#[derive(Debug, Clone, Copy)]
pub struct NegotiateProtocolVersion<'a> {
    /// The newest version the node speaks. Nodes send major and minor; a bare minor version, as the manual has it, is read as 3.minor.
    pub newest: ProtocolVersion,
    unsupported: Cursor<'a>,
}

impl<'a> NegotiateProtocolVersion<'a> {
    /// Reads a whole NegotiateProtocolVersion frame.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn parse(frame: &'a [u8]) -> Result<Self, Malformed> {
        let mut body = Cursor::frame(frame, tag::NEGOTIATE_PROTOCOL_VERSION, "NegotiateProtocolVersion")?;
        let [major, minor] = [body.u16()?, body.u16()?];
        let newest = ProtocolVersion { major: if major == 0 { 3 } else { major }, minor };
        let count = body.i32()?;
        let count = u32::try_from(count).map_err(|_| body.malformed(Fault::NegativeLength))?;
        let unsupported = body;
        for _ in 0..count {
            body.cstr()?;
        }
        body.finish()?;
        Ok(NegotiateProtocolVersion { newest, unsupported })
    }

    /// The protocol extensions the node does not know.
    pub fn unsupported(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let mut names = self.unsupported;
        std::iter::from_fn(move || names.cstr().ok())
    }
}
