//! What to send to one side: ranges of the input that pass through untouched, and bytes made here.
//!
//! The session never copies what passes; the shell writes the pieces in order, in one go where it can.

/// Passing ranges shorter than this are copied into the made bytes once there are any, because one short
/// copy is cheaper than one more element of a vectored write.
const COPY_MAX: usize = 2048;

/// One stretch of bytes to send.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Piece {
    /// A range of the input of the call that made it.
    Input {
        /// First byte.
        start: usize,
        /// One past the last byte.
        end: usize,
    },
    /// A range of [`Pieces::made`].
    Made {
        /// First byte.
        start: usize,
        /// One past the last byte.
        end: usize,
    },
}

/// Bytes for one side, in order.
#[derive(Debug, Default)]
pub struct Pieces {
    list: Vec<Piece>,
    made: Vec<u8>,
}

impl Pieces {
    /// Nothing to send.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Forgets everything, keeps the memory.
    pub fn clear(&mut self) {
        self.list.clear();
        self.made.clear();
    }

    /// The pieces, in order.
    pub fn list(&self) -> &[Piece] {
        &self.list
    }

    /// The bytes that `Piece::Made` refers to.
    pub fn made(&self) -> &[u8] {
        &self.made
    }

    /// The bytes of one piece.
    pub fn bytes<'a>(&'a self, piece: Piece, input: &'a [u8]) -> &'a [u8] {
        match piece {
            Piece::Input { start, end } => &input[start..end],
            Piece::Made { start, end } => &self.made[start..end],
        }
    }

    /// Number of bytes in all pieces.
    pub fn len(&self) -> usize {
        self.list
            .iter()
            .map(|p| match *p {
                Piece::Input { start, end } | Piece::Made { start, end } => end - start,
            })
            .sum()
    }

    /// Lets `input[start..end]` pass.
    pub fn forward(&mut self, input: &[u8], start: usize, end: usize) {
        if start == end {
            return;
        }
        match self.list.last_mut() {
            Some(Piece::Input { end: last, .. }) if *last == start => *last = end,
            Some(Piece::Made { end: last, .. }) if end - start <= COPY_MAX => {
                self.made.extend_from_slice(&input[start..end]);
                *last = self.made.len();
            }
            Some(_) | None => self.list.push(Piece::Input { start, end }),
        }
    }

    /// Appends bytes made by `write`.
    pub fn make(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.made.len();
        write(&mut self.made);
        let end = self.made.len();
        match self.list.last_mut() {
            Some(Piece::Made { end: last, .. }) => *last = end,
            Some(Piece::Input { .. }) | None if start < end => self.list.push(Piece::Made { start, end }),
            Some(Piece::Input { .. }) | None => {}
        }
    }
}
