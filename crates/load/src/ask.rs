//! A question whose answer is to be read, such as a version or where a statement went. Not for measuring.

use std::io::Write;
use std::net::TcpStream;

use wire::backend::DataRow;
use wire::encode;
use wire::error_response::ErrorFields;
use wire::frame::tag::backend as tag;

use crate::error::Error;
use crate::fleet::{open, read_frame};
use crate::login::{Target, sqlstate};

/// A row's columns as text; none is NULL.
pub type Row = Vec<Option<String>>;

/// A connection to ask on.
pub struct Asked {
    stream: TcpStream,
}

impl Asked {
    /// Connects and logs in.
    ///
    /// # Errors
    /// [`Error`].
    pub fn open(target: &Target) -> Result<Asked, Error> {
        Ok(Asked { stream: open(target)? })
    }

    /// Runs a text as a simple query and returns all its rows.
    ///
    /// # Errors
    /// [`Error`]; what the server answers in an ErrorResponse is [`Error::Refused`].
    pub fn rows(&mut self, text: &str) -> Result<Vec<Row>, Error> {
        let mut out = Vec::new();
        encode::query(&mut out, text).map_err(|error| Error::Protocol(error.to_string()))?;
        self.stream.write_all(&out).map_err(|error| Error::Io("write", error))?;
        let (mut rows, mut refused, mut frame) = (Vec::new(), None, Vec::new());
        loop {
            read_frame(&mut self.stream, &mut frame)?;
            match frame[0] {
                tag::DATA_ROW => {
                    let row = DataRow::parse(&frame).map_err(|error| Error::Protocol(error.to_string()))?;
                    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
                    rows.push(row.values().map(|value| value.map(text)).collect());
                }
                tag::ERROR_RESPONSE => {
                    let fields = ErrorFields::parse(&frame);
                    let message =
                        fields.ok().and_then(|fields| fields.message().map(|text| text.into_owned()));
                    let message = message.unwrap_or_default();
                    refused = Some(Error::Refused { sqlstate: sqlstate(&frame), message });
                }
                tag::READY_FOR_QUERY => return refused.map_or(Ok(rows), Err),
                _ => {}
            }
        }
    }
}
