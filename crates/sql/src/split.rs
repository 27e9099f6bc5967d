//! One simple-query text into its statements.
//!
//! Cuts where psql would cut: at semicolons outside brackets and outside the BEGIN ATOMIC body of a function.

use std::ops::Range;

use crate::lexer::{Kind, Lexer};

/// The byte ranges of the statements of `text`, without their semicolons; empty ones are left out.
#[must_use]
pub fn split(text: &str, standard_conforming_strings: bool) -> Vec<Range<usize>> {
    let (mut ranges, mut offset) = (Vec::new(), 0);
    while let Some((range, next)) = first(&text[offset..], standard_conforming_strings) {
        ranges.push(offset + range.start..offset + range.end);
        offset += next;
    }
    ranges
}

/// The first statement of `text` that is not empty, and where what follows its semicolon begins. For scripts that hold
/// more than SQL behind a statement, such as the rows of COPY.
#[must_use]
pub fn first(text: &str, standard_conforming_strings: bool) -> Option<(Range<usize>, usize)> {
    let mut lexer = Lexer::new(text, standard_conforming_strings);
    let mut current: Option<Range<usize>> = None;
    let (mut brackets, mut blocks, mut create) = (0_u32, 0_u32, false);
    loop {
        let token = lexer.next();
        let is =
            |word: &str| token.kind == Kind::Word && text[token.start..token.end].eq_ignore_ascii_case(word);
        match token.kind {
            Kind::End => return current.map(|range| (range, text.len())),
            Kind::Semicolon if brackets == 0 && blocks == 0 => match current {
                Some(range) => return Some((range, token.end)),
                None => continue,
            },
            Kind::OpenParen => brackets += 1,
            Kind::CloseParen => brackets = brackets.saturating_sub(1),
            _ if current.is_none() => create = is("create"),
            Kind::Word if create && (is("begin") || (blocks > 0 && is("case"))) => blocks += 1,
            Kind::Word if create && is("end") => blocks = blocks.saturating_sub(1),
            _ => {}
        }
        let start = current.as_ref().map_or(token.start, |range| range.start);
        current = Some(start..token.end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(text: &str) -> Vec<&str> {
        split(text, true).into_iter().map(|range| &text[range]).collect()
    }

    #[test]
    fn semicolons_in_literals_comments_and_brackets_cut_nothing() {
        assert_eq!(
            pieces(
                "select ';' /* ; */ ; -- ;\n;select $$;$$, \";\"; create rule r as on insert to t do (a;b)"
            ),
            ["select ';'", "select $$;$$, \";\"", "create rule r as on insert to t do (a;b)"]
        );
    }

    #[test]
    fn what_follows_the_first_statement_is_left_alone() {
        let text = ";; copy t from stdin;\n1\tit's\n\\.\n";
        let (range, next) = first(text, true).expect("there is one");
        assert_eq!((&text[range], &text[next..]), ("copy t from stdin", "\n1\tit's\n\\.\n"));
        assert_eq!(first(" -- nothing\n;", true), None);
    }

    #[test]
    fn an_atomic_body_is_one_statement() {
        let text = "create function f() returns int begin atomic select case when true then 1 end; select 2; end; select 3";
        assert_eq!(pieces(text).len(), 2);
        assert_eq!(pieces("begin; select 1; end").len(), 3);
    }
}
