//! Positions in the write-ahead log: parse, print, compare, and the one correction they need.
//!
//! An [`Lsn`] is a number of bytes on one timeline. Two LSNs of different timelines must not be compared without the history
//! that joins them: that knowledge lives in `engine`, so [`Timeline`] stands beside and not inside.

use std::fmt;
use std::str::FromStr;

/// A position in the write-ahead log, in bytes since its beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lsn(pub u64);

impl Lsn {
    /// `0/0`: PostgreSQL's "no position" (`InvalidXLogRecPtr`); no record begins there.
    pub const INVALID: Lsn = Lsn(0);

    /// Reads the `X/X` form from bytes as they stand in a result column; `None` if they are not one.
    pub fn from_text(text: &[u8]) -> Option<Lsn> {
        std::str::from_utf8(text).ok()?.parse().ok()
    }

    /// Bytes from `earlier` to here; 0 if this position is not ahead.
    pub const fn distance(self, earlier: Lsn) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// As PostgreSQL prints one: two hexadecimal halves, `16/B374D848`.
impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xffff_ffff)
    }
}

/// A text that is not an LSN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParseLsnError;

impl fmt::Display for ParseLsnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a log position: two hexadecimal numbers of up to 8 digits with a slash between are needed, as in 16/B374D848")
    }
}

impl std::error::Error for ParseLsnError {}

impl FromStr for Lsn {
    type Err = ParseLsnError;

    /// Accepts what `pg_lsn_in` accepts: one to eight hexadecimal digits on each side of the slash.
    fn from_str(text: &str) -> Result<Lsn, ParseLsnError> {
        let (high, low) = text.split_once('/').ok_or(ParseLsnError)?;
        Ok(Lsn(u64::from(half(high)?) << 32 | u64::from(half(low)?)))
    }
}

fn half(digits: &str) -> Result<u32, ParseLsnError> {
    // from_str_radix alone would take a sign.
    if !(1..=8).contains(&digits.len()) || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Err(ParseLsnError);
    }
    u32::from_str_radix(digits, 16).map_err(|_| ParseLsnError)
}

/// A branch of the cluster's history. Grows by at least one with each promotion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timeline(pub u32);

impl fmt::Display for Timeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Timeline {
    /// The timeline in the name of a WAL file (its first eight digits), as `pg_walfile_name` returns it.
    pub fn from_walfile_name(name: &str) -> Option<Timeline> {
        if name.len() != 24 || !name.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        u32::from_str_radix(name.get(..8)?, 16).ok().map(Timeline)
    }
}

/// Size of the header of a WAL page, which every page but a segment's first has (`SizeOfXLogShortPHD`).
const SHORT_PAGE_HEADER_BYTES: u64 = 24;
/// Size of the header of a segment's first page (`SizeOfXLogLongPHD`).
const LONG_PAGE_HEADER_BYTES: u64 = 40;

/// The position up to which a replica must have replayed in order to have replayed everything before `lsn`.
///
/// When the last record ends exactly at a page's end, PostgreSQL reports the insert position behind the *next* page's header,
/// where no record ends. A replica stops at the page's end until more is written, so that on a quiet primary it would seem
/// behind for ever. This takes the header off again. Positions that are not just behind a header come back unchanged, and so does
/// everything if a size is 0 (not known).
///
/// Both sizes are in bytes, as `wal_block_size` and `wal_segment_size` show them.
pub fn normalise(lsn: Lsn, wal_block_size: u32, wal_segment_size: u32) -> Lsn {
    let behind = |size: u32, header: u64| lsn.0.checked_rem(u64::from(size)) == Some(header);
    if behind(wal_segment_size, LONG_PAGE_HEADER_BYTES) {
        Lsn(lsn.0.saturating_sub(LONG_PAGE_HEADER_BYTES))
    } else if behind(wal_block_size, SHORT_PAGE_HEADER_BYTES) {
        Lsn(lsn.0.saturating_sub(SHORT_PAGE_HEADER_BYTES))
    } else {
        lsn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: u32 = 8192;
    const SEGMENT: u32 = 16 << 20;

    fn lsn(text: &str) -> Lsn {
        text.parse().unwrap()
    }

    #[test]
    fn positions_print_as_postgresql_prints_them() {
        for text in ["0/0", "0/1", "16/B374D848", "FFFFFFFF/FFFFFFFF", "1/0"] {
            assert_eq!(lsn(text).to_string(), text);
        }
        assert_eq!(lsn("16/b374d848"), Lsn(0x16_b374_d848));
        assert_eq!(lsn("0/00000028"), Lsn(0x28));
        assert_eq!(Lsn::from_text(b"0/6000028"), Some(Lsn(0x600_0028)));
    }

    #[test]
    fn anything_else_is_not_a_position() {
        for text in ["", "/", "0", "0/", "/0", "0/0/0", "0/000000000", "+1/0", "0/-1", "0x1/0", " 0/0", "0/g"]
        {
            assert_eq!(text.parse::<Lsn>(), Err(ParseLsnError), "{text:?}");
        }
        assert_eq!(Lsn::from_text(b"\xff/0"), None);
    }

    #[test]
    fn positions_are_ordered_across_the_slash_and_distance_never_wraps() {
        assert!(lsn("0/FFFFFFFF") < lsn("1/0"));
        assert_eq!(lsn("1/0").distance(lsn("0/FFFFFFFF")), 1);
        assert_eq!(lsn("0/1").distance(lsn("1/0")), 0);
    }

    #[test]
    fn a_position_behind_a_page_header_falls_back_to_the_page_boundary() {
        // Measured: insert 0/6000028 while flush, receive and replay stood at 0/6000000 (a segment's first page).
        assert_eq!(normalise(lsn("0/6000028"), BLOCK, SEGMENT), lsn("0/6000000"));
        assert_eq!(normalise(lsn("0/6002018"), BLOCK, SEGMENT), lsn("0/6002000"));
        for ordinary in ["0/6000000", "0/6000029", "0/6000030", "0/6002000", "0/6002028", "0/6002040", "0/0"]
        {
            assert_eq!(normalise(lsn(ordinary), BLOCK, SEGMENT), lsn(ordinary), "{ordinary}");
        }
    }

    #[test]
    fn other_block_and_segment_sizes_are_obeyed_and_unknown_sizes_change_nothing() {
        assert_eq!(normalise(Lsn(32768 + 24), 32768, 64 << 20), Lsn(32768));
        assert_eq!(normalise(Lsn(8192 + 24), 32768, 64 << 20), Lsn(8192 + 24));
        assert_eq!(normalise(Lsn((64 << 20) + 40), 32768, 64 << 20), Lsn(64 << 20));
        assert_eq!(normalise(Lsn(0x28), 0, 0), Lsn(0x28));
        assert_eq!(normalise(Lsn(u64::MAX), BLOCK, SEGMENT), Lsn(u64::MAX));
    }

    #[test]
    fn the_timeline_is_read_from_a_wal_file_name() {
        assert_eq!(Timeline::from_walfile_name("0000000200000000000000E5"), Some(Timeline(2)));
        assert_eq!(Timeline::from_walfile_name("00000002"), None);
        assert_eq!(Timeline::from_walfile_name("00000002.history"), None);
        assert!(Timeline(9) < Timeline(10));
    }
}
