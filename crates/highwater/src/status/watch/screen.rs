//! The terminal: taken over, drawn on, and given back as it was, however the program ends.
//!
//! The other screen and raw mode by control sequences that every terminal since the VT100's heirs obeys (ECMA-48, and xterm's
//! private modes 25, 1049 and 2026, which others ignore). Only lines that have changed are written, in one piece.

use std::io::{self, Read as _, Write as _};
use std::panic::{PanicHookInfo, set_hook, take_hook};
use std::time::Duration;

use rustix::termios::{OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use tokio::time::sleep;

use super::paint::{Line, Looks};

/// The other screen, without a cursor.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[2J";
const LEAVE: &str = "\x1b[?2026l\x1b[0m\x1b[?25h\x1b[?1049l";

/// Between these, a terminal that knows them shows nothing half-drawn.
const BEGIN_UPDATE: &str = "\x1b[?2026h";
const END_UPDATE: &str = "\x1b[?2026l";

/// How often keys are looked for.
const KEYS_EVERY: Duration = Duration::from_millis(40);

/// Columns and rows of a terminal that does not tell.
const UNTOLD: Size = Size { columns: 80, rows: 24 };

/// How large the terminal is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Size {
    pub(super) columns: usize,
    pub(super) rows: usize,
}

/// What somebody wants.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Key {
    /// q, or Ctrl-C.
    Quit,
    /// The space bar.
    Hold,
    Other,
}

/// The terminal, until it is dropped.
pub(super) struct Screen {
    before: Termios,
    drawn: Vec<String>,
    size: Option<Size>,
}

impl Screen {
    /// Takes the terminal over.
    pub(super) fn enter() -> io::Result<Screen> {
        let before = tcgetattr(io::stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        // A read returns at once, with what was typed or with nothing.
        raw.special_codes[SpecialCodeIndex::VMIN] = 0;
        raw.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(io::stdin(), OptionalActions::Now, &raw)?;
        give_back_before_panicking(before.clone());
        let screen = Screen { before, drawn: Vec::new(), size: None };
        write(ENTER)?;
        Ok(screen)
    }

    /// How large it is at this moment.
    pub(super) fn size(&self) -> Size {
        match tcgetwinsize(io::stdout()) {
            Ok(size) if size.ws_col > 0 && size.ws_row > 0 => {
                Size { columns: size.ws_col.into(), rows: size.ws_row.into() }
            }
            _ => UNTOLD,
        }
    }

    /// What is on it is not what was drawn: the next drawing is of everything.
    pub(super) fn forget(&mut self) {
        self.size = None;
    }

    /// Draws lines from the top.
    pub(super) fn draw(&mut self, lines: &[Line], size: Size, looks: Looks) -> io::Result<()> {
        let lines: Vec<String> =
            lines.iter().take(size.rows).map(|line| line.painted(size.columns, looks)).collect();
        if self.size.replace(size) != Some(size) {
            self.drawn.clear();
            write("\x1b[2J")?;
        }
        let update = changes(&self.drawn, &lines);
        self.drawn = lines;
        if update.is_empty() { Ok(()) } else { write(&format!("{BEGIN_UPDATE}{update}{END_UPDATE}")) }
    }

    /// The next key.
    pub(super) async fn key(&mut self) -> io::Result<Key> {
        let mut bytes = [0; 64];
        loop {
            match io::stdin().lock().read(&mut bytes) {
                Ok(0) => sleep(KEYS_EVERY).await,
                Ok(length) => return Ok(key(&bytes[..length])),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back(&self.before);
    }
}

/// What was typed.
fn key(bytes: &[u8]) -> Key {
    const CTRL_C: u8 = 3;
    match bytes {
        // Behind an escape come the rest of an arrow key, a mouse's place, what was pasted.
        [0x1b, ..] => Key::Other,
        bytes if bytes.iter().any(|byte| matches!(byte, b'q' | b'Q' | &CTRL_C)) => Key::Quit,
        [b' ', ..] => Key::Hold,
        _ => Key::Other,
    }
}

/// What to send to turn one picture into another.
fn changes(before: &[String], after: &[String]) -> String {
    let mut update = String::new();
    for (row, line) in after.iter().enumerate() {
        if before.get(row) != Some(line) {
            update.push_str(&format!("\x1b[{};1H{line}\x1b[K", row + 1));
        }
    }
    if before.len() > after.len() {
        update.push_str(&format!("\x1b[{};1H\x1b[J", after.len() + 1));
    }
    update
}

fn write(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// A terminal that is gone can't be given back.
fn give_back(before: &Termios) {
    let _gone = write(LEAVE);
    let _gone = tcsetattr(io::stdin(), OptionalActions::Now, before);
}

/// So that a panic's message stands on the screen that stays.
fn give_back_before_panicking(before: Termios) {
    let usual = take_hook();
    set_hook(Box::new(move |info: &PanicHookInfo<'_>| {
        give_back(&before);
        usual(info);
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(ToOwned::to_owned).collect()
    }

    #[test]
    fn only_what_has_changed_is_written() {
        assert_eq!(changes(&lines("a\nb\nc"), &lines("a\nB\nc")), "\x1b[2;1HB\x1b[K");
        assert_eq!(changes(&lines("a\nb"), &lines("a\nb")), "");
        assert_eq!(changes(&[], &lines("a")), "\x1b[1;1Ha\x1b[K");
        assert_eq!(changes(&lines("a\nb\nc"), &lines("a")), "\x1b[2;1H\x1b[J");
    }

    #[test]
    fn q_and_control_c_end_it_and_an_arrow_does_not() {
        for quit in [&b"q"[..], b"Q", b"\x03", b"xq"] {
            assert_eq!(key(quit), Key::Quit, "{quit:?}");
        }
        for other in [&b"\x1b[A"[..], b"\x1b", b"x", b"\x1bOq"] {
            assert_eq!(key(other), Key::Other, "{other:?}");
        }
        assert_eq!(key(b" "), Key::Hold);
    }
}
