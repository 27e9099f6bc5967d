//! One large transfer at a time: a SELECT of many rows, a COPY out or a COPY in, as fast as it goes.

use std::io::{self, Read, Write};
use std::net::TcpStream;

use wire::encode;
use wire::frame::{self, HEADER_LEN, tag::backend as tag};

use crate::clock::now;
use crate::error::Error;
use crate::fleet::{open, read_frame};
use crate::login::{Target, sqlstate};
use crate::tally::Tally;

/// Bytes read and written at a time.
const CHUNK_BYTES: usize = 256 * 1024;

/// A connection for large transfers.
pub struct Bulk {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// What has been seen of an answer.
#[derive(Default)]
struct Seen {
    rows: u64,
    error: Option<String>,
    ready: bool,
    /// Bytes of the present message's body that are still to come.
    skip: usize,
    header: Vec<u8>,
}

impl Bulk {
    /// Connects and logs in.
    ///
    /// # Errors
    /// [`Error`].
    pub fn open(target: &Target) -> Result<Bulk, Error> {
        Ok(Bulk { stream: open(target)?, buffer: vec![0; CHUNK_BYTES] })
    }

    /// Runs a SELECT or COPY TO STDOUT and counts its rows, which must be this many: anything else counts as a mix-up.
    ///
    /// # Errors
    /// [`Error`].
    pub fn read(&mut self, text: &str, rows: u64) -> Result<Tally, Error> {
        let start = now();
        self.query(text)?;
        let mut tally = Tally::default();
        let mut seen = Seen::default();
        while !seen.ready {
            let count = match self.stream.read(&mut self.buffer) {
                Ok(0) => return Err(Error::Closed),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Error::Io("read", error)),
            };
            tally.bytes_in += count as u64;
            seen.on_bytes(&self.buffer[..count])?;
        }
        tally.elapsed = start.elapsed();
        settle(&mut tally, &seen, rows);
        Ok(tally)
    }

    /// Runs a COPY FROM STDIN and sends this line so often.
    ///
    /// # Errors
    /// [`Error`].
    pub fn write(&mut self, text: &str, line: &[u8], rows: u64) -> Result<Tally, Error> {
        let start = now();
        self.query(text)?;
        let mut frame = Vec::new();
        read_frame(&mut self.stream, &mut frame)?;
        let mut seen = Seen::default();
        if frame.first() == Some(&tag::COPY_IN) {
            self.send_lines(line, rows)?;
        } else {
            seen.on_bytes(&frame)?;
        }
        while !seen.ready {
            read_frame(&mut self.stream, &mut frame)?;
            if frame[0] == tag::COMMAND_COMPLETE {
                seen.rows = copied(&frame);
            }
            seen.on_bytes(&frame)?;
        }
        let mut tally = Tally { elapsed: start.elapsed(), ..Tally::default() };
        settle(&mut tally, &seen, rows);
        Ok(tally)
    }

    fn query(&mut self, text: &str) -> Result<(), Error> {
        let mut out = Vec::new();
        encode::query(&mut out, text).map_err(|error| Error::Protocol(error.to_string()))?;
        self.stream.write_all(&out).map_err(|error| Error::Io("write", error))
    }

    /// One line to a message, as libpq's users send them; many messages to a write.
    fn send_lines(&mut self, line: &[u8], rows: u64) -> Result<(), Error> {
        let mut message = vec![wire::frame::tag::client::COPY_DATA];
        let declared =
            u32::try_from(line.len() + 4).map_err(|_| Error::Protocol("a line too long".to_owned()))?;
        message.extend_from_slice(&declared.to_be_bytes());
        message.extend_from_slice(line);
        let at_once = (CHUNK_BYTES / message.len()).max(1);
        let many = message.repeat(at_once);
        let mut left = rows;
        while left > 0 {
            let now = left.min(at_once as u64);
            let bytes = &many[..now as usize * message.len()];
            self.stream.write_all(bytes).map_err(|error| Error::Io("write", error))?;
            left -= now;
        }
        let mut done = Vec::new();
        encode::copy_done(&mut done);
        self.stream.write_all(&done).map_err(|error| Error::Io("write", error))
    }
}

fn settle(tally: &mut Tally, seen: &Seen, rows: u64) {
    tally.answered = seen.rows;
    match &seen.error {
        Some(code) => tally.error(code),
        None if seen.rows != rows => tally.mix_up(|| format!("{rows} rows were due, {} came", seen.rows)),
        None => {}
    }
    tally.latency.record(tally.elapsed);
}

/// The number at the end of `COPY 1000`.
fn copied(frame: &[u8]) -> u64 {
    let text = frame.get(HEADER_LEN..frame.len() - 1).unwrap_or_default();
    let text = std::str::from_utf8(text).unwrap_or_default();
    text.rsplit(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

impl Seen {
    /// Looks at headers and skips bodies.
    fn on_bytes(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        while !bytes.is_empty() {
            if self.skip > 0 {
                let skipped = self.skip.min(bytes.len());
                self.skip -= skipped;
                bytes = &bytes[skipped..];
                continue;
            }
            if self.header.is_empty()
                && let Some(frame) = whole(bytes)?
            {
                self.on_frame(frame);
                bytes = &bytes[frame.len()..];
                continue;
            }
            // The end of the input, or the rest of a header that began in the bytes before.
            let wanted = HEADER_LEN - self.header.len();
            let taken = wanted.min(bytes.len());
            self.header.extend_from_slice(&bytes[..taken]);
            bytes = &bytes[taken..];
            if self.header.len() == HEADER_LEN {
                let header = std::mem::take(&mut self.header);
                let total = frame::header(&header).map_err(|error| Error::Protocol(error.to_string()))?;
                self.skip = total.expect("five bytes hold a header").total - HEADER_LEN;
                self.on_frame(&header);
            }
        }
        Ok(())
    }

    /// A message, or the header of one that came in pieces.
    fn on_frame(&mut self, frame: &[u8]) {
        match frame[0] {
            tag::DATA_ROW | tag::COPY_DATA => self.rows += 1,
            tag::ERROR_RESPONSE => self.error = Some(sqlstate(frame)),
            tag::READY_FOR_QUERY => self.ready = true,
            _ => {}
        }
    }
}

/// The message at the start, if all of it is there.
fn whole(bytes: &[u8]) -> Result<Option<&[u8]>, Error> {
    let header = frame::header(bytes).map_err(|error| Error::Protocol(error.to_string()))?;
    Ok(header.and_then(|header| bytes.get(..header.total)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::status::TransactionStatus;

    #[test]
    fn rows_are_counted_however_they_are_cut() {
        let mut bytes = Vec::new();
        for _ in 0..3 {
            encode::data_row(&mut bytes, &[Some(b"some text"), None]).expect("a short row");
        }
        encode::command_complete(&mut bytes, "SELECT 3");
        encode::ready_for_query(&mut bytes, TransactionStatus::Idle);
        for step in 1..bytes.len() {
            let mut seen = Seen::default();
            for piece in bytes.chunks(step) {
                seen.on_bytes(piece).expect("in order");
            }
            assert_eq!((seen.rows, seen.ready), (3, true), "in pieces of {step}");
        }
    }

    #[test]
    fn what_a_copy_took_stands_in_its_command_tag() {
        let mut frame = Vec::new();
        encode::command_complete(&mut frame, "COPY 1000000");
        assert_eq!(copied(&frame), 1_000_000);
    }
}
