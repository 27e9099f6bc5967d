//! One non-blocking socket of a worker: bytes in, bytes out, and what could not go out yet.

use std::io::{ErrorKind, IoSlice, Read, Write};

use engine::session::{Piece, Pieces};
use mio::net::TcpStream;

/// Pieces of one vectored write.
const SLICES_MAX: usize = 32;

/// Below this many bytes in several pieces, one copy and one plain write cost less than a vectored write.
const GATHER_BYTES_MAX: usize = 16 << 10;

/// Memory for unsent bytes that a socket may keep when nothing is unsent.
const KEPT_BYTES_MAX: usize = 0;

/// A socket with its unsent bytes.
#[derive(Debug)]
pub(super) struct Socket {
    stream: TcpStream,
    /// What the kernel did not take; goes first.
    unsent: Vec<u8>,
    sent: usize,
    readiness: Readiness,
    /// The peer has ended its side, or the connection is broken.
    pub(super) ended: bool,
}

/// What the events have said about reading.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Readiness {
    /// All there was has been read.
    Empty,
    /// There may be something.
    Something,
    /// The peer's end was announced: read up to it.
    UntilEnd,
}

/// What a read brought.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Received {
    /// This many bytes.
    Bytes(usize),
    /// Nothing for now.
    Nothing,
    /// The connection is over.
    End,
}

impl Socket {
    pub(super) fn new(stream: TcpStream) -> Self {
        // The first bytes may have come before the socket was registered.
        Socket { stream, unsent: Vec::new(), sent: 0, readiness: Readiness::Something, ended: false }
    }

    pub(super) fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    /// The socket was registered anew: what came meanwhile has no event.
    pub(super) fn look_again(&mut self) {
        self.readiness = Readiness::Something;
    }

    /// An event has come.
    pub(super) fn on_event(&mut self, event: &mio::event::Event) {
        if event.is_read_closed() || event.is_error() {
            self.readiness = Readiness::UntilEnd;
        } else if event.is_readable() && self.readiness == Readiness::Empty {
            self.readiness = Readiness::Something;
        }
    }

    /// May there be something to read?
    pub(super) fn may_read(&self) -> bool {
        self.readiness != Readiness::Empty
    }

    /// Reads once.
    pub(super) fn receive(&mut self, buffer: &mut [u8]) -> Received {
        if self.readiness == Readiness::Empty {
            return Received::Nothing;
        }
        loop {
            match self.stream.read(buffer) {
                Ok(0) => {
                    self.ended = true;
                    return Received::End;
                }
                Ok(n) => {
                    // A short read has emptied the socket; an event will tell of more (epoll(7)), unless the end
                    // was announced together with these bytes.
                    if n < buffer.len() && self.readiness == Readiness::Something {
                        self.readiness = Readiness::Empty;
                    }
                    return Received::Bytes(n);
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    self.readiness = Readiness::Empty;
                    return Received::Nothing;
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(_) => {
                    self.ended = true;
                    return Received::End;
                }
            }
        }
    }

    /// Bytes that wait for the peer to read.
    pub(super) fn unsent(&self) -> usize {
        self.unsent.len() - self.sent
    }

    /// Sends the pieces, keeps what the kernel does not take. Returns how many bytes they were.
    pub(super) fn send(&mut self, pieces: &Pieces, input: &[u8], gather: &mut Vec<u8>) -> usize {
        let total = pieces.len();
        if total == 0 {
            return 0;
        }
        if self.unsent() > 0 {
            for &piece in pieces.list() {
                self.unsent.extend_from_slice(pieces.bytes(piece, input));
            }
            return total;
        }
        match pieces.list() {
            [piece] => self.send_bytes(pieces.bytes(*piece, input)),
            list if total <= GATHER_BYTES_MAX => {
                gather.clear();
                for &piece in list {
                    gather.extend_from_slice(pieces.bytes(piece, input));
                }
                self.send_bytes(gather);
            }
            list => self.send_vectored(list, pieces, input),
        }
        total
    }

    /// Sends bytes, keeps what the kernel does not take.
    pub(super) fn send_bytes(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        if self.unsent() == 0 {
            rest = &bytes[self.write_some(bytes)..];
        }
        self.unsent.extend_from_slice(rest);
    }

    fn send_vectored(&mut self, list: &[Piece], pieces: &Pieces, input: &[u8]) {
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let mut used = 0;
        let mut first_rest = list.len();
        for (i, &piece) in list.iter().enumerate() {
            if used == SLICES_MAX {
                first_rest = i;
                break;
            }
            slices[used] = IoSlice::new(pieces.bytes(piece, input));
            used += 1;
        }
        let mut written =
            if self.ended { 0 } else { self.stream.write_vectored(&slices[..used]).unwrap_or(0) };
        for slice in &slices[..used] {
            let skip = written.min(slice.len());
            written -= skip;
            if skip < slice.len() {
                self.unsent.extend_from_slice(&slice[skip..]);
            }
        }
        for &piece in &list[first_rest..] {
            self.unsent.extend_from_slice(pieces.bytes(piece, input));
        }
        self.flush();
    }

    /// Sends what could not go before. `true`: nothing is left.
    pub(super) fn flush(&mut self) -> bool {
        while self.sent < self.unsent.len() {
            let unsent = std::mem::take(&mut self.unsent);
            let n = self.write_some(&unsent[self.sent..]);
            self.unsent = unsent;
            self.sent += n;
            if n == 0 {
                if self.ended {
                    break;
                }
                return false;
            }
        }
        self.sent = 0;
        if self.unsent.capacity() > KEPT_BYTES_MAX {
            self.unsent = Vec::new();
        }
        true
    }

    /// One write; zero when the kernel takes nothing. A broken connection counts as ended; the bytes are lost.
    fn write_some(&mut self, bytes: &[u8]) -> usize {
        let mut written = 0;
        while written < bytes.len() && !self.ended {
            match self.stream.write(&bytes[written..]) {
                Ok(n) => written += n,
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(_) => self.ended = true,
            }
        }
        if self.ended { bytes.len() } else { written }
    }
}
