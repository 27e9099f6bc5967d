//! Text for people: standard output, progress on standard error, and tables with aligned columns.
//!
//! Knows nothing of what it prints. A reader that went away (`| head`) is not an error.

use std::io::{self, Write};

/// One line on standard output, sent at once.
pub(crate) fn line(text: impl AsRef<str>) {
    let mut out = io::stdout().lock();
    // Nobody is left to be told when the reader has closed the pipe.
    let _ = writeln!(out, "{}", text.as_ref()).and_then(|()| out.flush());
}

/// Whether somebody reads what we write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Reader {
    /// As far as we know.
    There,
    /// The pipe is closed.
    Gone,
}

/// Text on standard output, as it is.
pub(crate) fn text(text: &str) -> Reader {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Reader::There,
        Err(_) => Reader::Gone,
    }
}

/// One line on standard error.
pub(crate) fn note(text: impl AsRef<str>) {
    let _ = writeln!(io::stderr().lock(), "{}", text.as_ref());
}

/// A line on standard error that takes the place of the one before, on a terminal.
pub(crate) fn rewrite(text: impl AsRef<str>) {
    let mut out = io::stderr().lock();
    let _ = write!(out, "\r{}\x1b[K", text.as_ref()).and_then(|()| out.flush());
}

/// `1 problem`, `2 problems`.
pub(crate) fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// Rows under a heading, each column as wide as its widest cell. No trailing blanks.
pub(crate) fn table<const N: usize>(heading: [&str; N], rows: &[[String; N]]) -> String {
    let mut widths = heading.map(|cell| cell.chars().count());
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut out = String::new();
    push_row(&mut out, &heading, &widths);
    for row in rows {
        push_row(&mut out, row, &widths);
    }
    out
}

fn push_row<T: AsRef<str>>(out: &mut String, cells: &[T], widths: &[usize]) {
    let mut line = String::new();
    for (cell, width) in cells.iter().zip(widths) {
        let cell = cell.as_ref();
        line.push_str("  ");
        line.push_str(cell);
        line.extend(std::iter::repeat_n(' ', width.saturating_sub(cell.chars().count())));
    }
    out.push_str(line.trim_end());
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_singular() {
        assert_eq!([count(1, "node"), count(0, "node")], ["1 node", "0 nodes"]);
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["primary".to_owned(), "6442".to_owned()], ["r".to_owned(), "-".to_owned()]];
        assert_eq!(table(["node", "port"], &rows), "  node     port\n  primary  6442\n  r        -\n");
    }
}
