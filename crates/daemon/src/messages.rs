//! One message at a time from an async stream, and not a byte more: after the login the bare socket goes to a worker,
//! and whatever had been read ahead would be lost, or worse, be taken for somebody else's.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};
use wire::frame::{self, FrameError, HEADER_LEN, Header};

/// Memory is taken in steps of this many bytes as the message arrives, whatever length it declared.
const STEP: usize = 16 * 1024;

/// Why there is no message.
#[derive(Debug)]
pub(crate) enum ReadError {
    /// The connection failed, or ended (`UnexpectedEof`).
    Io(io::Error),
    /// What arrived can't be a message here.
    Frame(FrameError),
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        ReadError::Io(error)
    }
}

impl From<FrameError> for ReadError {
    fn from(error: FrameError) -> Self {
        ReadError::Frame(error)
    }
}

impl std::fmt::Display for ReadError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ReadError::Io(error) => error.fmt(f),
            ReadError::Frame(error) => error.fmt(f),
        }
    }
}

/// Reads one message into `buf`, which then holds its whole frame. `check` judges the header before the body is read.
pub(crate) async fn message<S: AsyncRead + Unpin>(
    stream: &mut S,
    buf: &mut Vec<u8>,
    check: impl FnOnce(Header) -> Result<(), FrameError>,
) -> Result<Header, ReadError> {
    buf.clear();
    exactly(stream, buf, HEADER_LEN).await?;
    let header = frame::header(buf)?.expect("a whole header was read");
    check(header)?;
    exactly(stream, buf, header.total).await?;
    Ok(header)
}

/// Reads until `buf` holds `len` bytes.
pub(crate) async fn exactly<S: AsyncRead + Unpin>(
    stream: &mut S,
    buf: &mut Vec<u8>,
    len: usize,
) -> io::Result<()> {
    while buf.len() < len {
        let step = (len - buf.len()).min(STEP);
        let before = buf.len();
        buf.resize(before + step, 0);
        stream.read_exact(&mut buf[before..]).await?;
    }
    Ok(())
}

/// A check that allows any message of at most `max` bytes.
pub(crate) fn at_most(max: usize) -> impl FnOnce(Header) -> Result<(), FrameError> {
    move |header| {
        if header.declared() <= max {
            return Ok(());
        }
        let declared = u32::try_from(header.declared()).unwrap_or(u32::MAX);
        Err(FrameError::TooLong { tag: header.tag, declared, max })
    }
}
