//! Lines of styled text, cut to a width; and small pictures of a series of numbers.
//!
//! Knows nothing of what it paints. Characters that a terminal would obey (a name may hold anything) are shown as a question mark.

/// What the terminal can show.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Looks {
    pub(super) colours: bool,
    /// Block elements of Unicode; else ASCII.
    pub(super) blocks: bool,
}

/// How a piece of text looks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Style {
    Plain,
    Dim,
    Bold,
    Good,
    Warn,
    Bad,
}

impl Style {
    /// ECMA-48 "select graphic rendition".
    fn code(self) -> &'static str {
        match self {
            Style::Plain => "",
            Style::Dim => "\x1b[2m",
            Style::Bold => "\x1b[1m",
            Style::Good => "\x1b[32m",
            Style::Warn => "\x1b[33m",
            Style::Bad => "\x1b[1;31m",
        }
    }
}

/// Text in a style.
pub(super) type Span = (Style, String);

/// One line.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Line(Vec<Span>);

impl Line {
    /// A line of one style.
    pub(super) fn of(style: Style, text: impl Into<String>) -> Line {
        Line::default().and(style, text)
    }

    /// The line with more behind it.
    pub(super) fn and(mut self, style: Style, text: impl Into<String>) -> Line {
        let text: String = text.into();
        self.0.push((style, text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()));
        self
    }

    /// The line with another behind it.
    pub(super) fn join(mut self, other: Line) -> Line {
        self.0.extend(other.0);
        self
    }

    /// The line with blanks up to this width.
    pub(super) fn to(self, width: usize) -> Line {
        let blanks = width.saturating_sub(self.width());
        self.and(Style::Plain, " ".repeat(blanks))
    }

    /// In characters, of which each is taken to be one cell wide.
    pub(super) fn width(&self) -> usize {
        self.0.iter().map(|(_, text)| text.chars().count()).sum()
    }

    /// As the terminal gets it, no wider than `width`; what does not fit ends in a dot.
    pub(super) fn painted(&self, width: usize, looks: Looks) -> String {
        let mut out = String::new();
        let mut left = if self.width() > width { width.saturating_sub(1) } else { width };
        let cut = self.width() > width && width > 0;
        for (style, text) in &self.0 {
            let fitting: String = text.chars().take(left).collect();
            left -= fitting.chars().count();
            if fitting.is_empty() {
                continue;
            }
            match style.code() {
                code if looks.colours && !code.is_empty() => {
                    out.push_str(code);
                    out.push_str(&fitting);
                    out.push_str("\x1b[0m");
                }
                _ => out.push_str(&fitting),
            }
        }
        if cut {
            out.push(if looks.blocks { '…' } else { '.' });
        }
        out
    }
}

const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
const ASCII: [char; 8] = ['_', '.', '-', '~', '=', '+', '*', '#'];

/// The last `width` numbers, one character each, the newest at the right; the tallest is `top` or more. Unknown is a blank.
pub(super) fn spark(series: &[Option<f64>], width: usize, top: f64, looks: Looks) -> String {
    let marks = if looks.blocks { BLOCKS } else { ASCII };
    let shown = &series[series.len().saturating_sub(width)..];
    let top = shown.iter().flatten().fold(top, |top, value| top.max(*value));
    let mark = |value: &Option<f64>| match value {
        None => ' ',
        Some(value) if *value > 0.0 && top > 0.0 => {
            let step = (value / top * 7.0).ceil().clamp(1.0, 7.0);
            marks[step as usize]
        }
        Some(_) => marks[0],
    };
    let drawn: String = shown.iter().map(mark).collect();
    format!("{drawn:>width$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Looks = Looks { colours: false, blocks: true };

    #[test]
    fn a_line_is_cut_where_the_terminal_ends() {
        let line = Line::of(Style::Bold, "one ").and(Style::Plain, "two");
        assert_eq!(line.painted(10, PLAIN), "one two");
        assert_eq!(line.painted(7, PLAIN), "one two");
        assert_eq!(line.painted(6, PLAIN), "one t…");
        assert_eq!(line.painted(3, PLAIN), "on…");
        assert_eq!(line.painted(0, PLAIN), "");
        assert_eq!(line.painted(7, Looks { colours: true, ..PLAIN }), "\x1b[1mone \x1b[0mtwo");
    }

    #[test]
    fn a_name_cannot_command_the_terminal() {
        assert_eq!(Line::of(Style::Plain, "a\x1b[2Jb\n").painted(20, PLAIN), "a?[2Jb?");
    }

    #[test]
    fn a_series_rises_to_its_greatest_and_the_unknown_is_blank() {
        let series = [Some(9.0), Some(0.0), None, Some(1.0), Some(4.0), Some(8.0)];
        assert_eq!(spark(&series, 5, 0.0, PLAIN), "▁ ▂▅█");
        assert_eq!(spark(&series, 8, 0.0, PLAIN), "  █▁ ▂▅█");
        assert_eq!(spark(&series, 5, 80.0, PLAIN), "▁ ▂▂▂", "what is small beside the usual stays small");
        assert_eq!(spark(&series, 5, 0.0, Looks { blocks: false, ..PLAIN }), "_ .=#");
        assert_eq!(spark(&[], 3, 0.0, PLAIN), "   ");
    }
}
