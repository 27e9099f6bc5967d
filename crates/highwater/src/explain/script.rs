//! An SQL script as psql reads it: statements, psql's own commands, and the rows behind COPY … FROM stdin.
//!
//! Only cuts; what a statement does is not asked here. A backslash command is recognised at the beginning of a line
//! between statements, not behind one (`SELECT 1 \gset`).

/// The rest of a script.
#[derive(Clone, Copy, Debug)]
pub(super) struct Script<'t> {
    rest: &'t str,
}

/// One piece of a script.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Piece<'t> {
    /// An SQL statement, without its semicolon.
    Statement {
        /// The statement itself.
        text: &'t str,
        /// The same with the comments before it: hints may be there.
        commented: &'t str,
    },
    /// A line for psql itself, such as `\connect`.
    Command(&'t str),
}

impl<'t> Script<'t> {
    /// A script from its beginning.
    pub(super) fn new(text: &'t str) -> Script<'t> {
        Script { rest: text }
    }

    /// Leaves out the rows of COPY that follow the statement just read: the lines up to `\.`. Answers how many lines
    /// there were; none when there is no such end, because then no rows are there.
    pub(super) fn skip_rows(&mut self) -> usize {
        let Some((_, rows)) = self.rest.split_once('\n') else { return 0 };
        let (mut offset, mut count) = (0, 0);
        for line in rows.split_inclusive('\n') {
            offset += line.len();
            if line.trim_end_matches(['\n', '\r']) == "\\." {
                self.rest = &rows[offset..];
                return count;
            }
            count += 1;
        }
        0
    }
}

impl<'t> Iterator for Script<'t> {
    type Item = Piece<'t>;

    fn next(&mut self) -> Option<Piece<'t>> {
        let (range, next) = sql::first(self.rest, true)?;
        let text = self.rest;
        if text[range.start..].starts_with('\\') {
            let line = text[range.start..].lines().next().unwrap_or_default();
            self.rest = &text[range.start + line.len()..];
            return Some(Piece::Command(line));
        }
        self.rest = &text[next..];
        Some(Piece::Statement { text: &text[range.clone()], commented: &text[..range.end] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Statements and commands as they read.
    fn pieces(script: Script<'_>) -> Vec<&str> {
        script
            .map(|piece| match piece {
                Piece::Statement { text, .. } => text,
                Piece::Command(line) => line,
            })
            .collect()
    }

    #[test]
    fn commands_of_psql_are_told_from_statements() {
        let text = "\\set n 1\n-- x\n\\connect app\nSELECT 1; SELECT 2\n;\n\\q\n";
        assert_eq!(Script::new(text).next(), Some(Piece::Command("\\set n 1")));
        assert_eq!(pieces(Script::new(text)), ["\\set n 1", "\\connect app", "SELECT 1", "SELECT 2", "\\q"]);
    }

    #[test]
    fn rows_of_copy_are_no_statements() {
        let mut script = Script::new("COPY t FROM stdin;\n1\tit's; \"\n2\t\\N\n\\.\nSELECT 1;");
        script.next();
        assert_eq!(script.skip_rows(), 2);
        assert_eq!(pieces(script), ["SELECT 1"]);
    }

    #[test]
    fn a_copy_without_rows_skips_nothing() {
        let mut script = Script::new("COPY t FROM stdin; SELECT 1");
        script.next();
        assert_eq!(script.skip_rows(), 0);
        assert_eq!(pieces(script), ["SELECT 1"]);
    }

    #[test]
    fn comments_stay_with_the_statement_behind_them() {
        let text = "SELECT 1; /* highwater: route=primary */ SELECT 2";
        let second = Script::new(text).nth(1);
        let commented = " /* highwater: route=primary */ SELECT 2";
        assert_eq!(second, Some(Piece::Statement { text: "SELECT 2", commented }));
    }
}
