//! Two statements of `crates/sql/testdata`, cut and joined with something between.

use std::sync::LazyLock;

static STATEMENTS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let files = [
        include_str!("../../../crates/sql/testdata/catalogue.cases"),
        include_str!("../../../crates/sql/testdata/functions.cases"),
        include_str!("../../../crates/sql/testdata/misroutes.cases"),
        include_str!("../../../crates/sql/testdata/programs.cases"),
        include_str!("../../../crates/sql/testdata/queries.cases"),
        include_str!("../../../crates/sql/testdata/session.cases"),
        include_str!("../../../crates/sql/testdata/statements.cases"),
    ];
    let lines = files.iter().flat_map(|file| file.lines()).filter(|line| !line.starts_with(['#', '@']));
    lines.filter_map(|line| Some(line.splitn(4, '|').nth(3)?.trim().replace('⏎', "\n"))).collect()
});

/// Six bytes choose the statements and where they are cut; the rest goes between.
pub fn text(choices: &[u8]) -> String {
    let byte = |i: usize| usize::from(choices.get(i).copied().unwrap_or(0));
    let statement = |i: usize| STATEMENTS[(byte(i) * 256 + byte(i + 1)) % STATEMENTS.len()].as_str();
    let (first, last) = (statement(0), statement(2));
    let (before, after) = (cut(first, byte(4)), cut(last, byte(5)));
    let between = String::from_utf8_lossy(choices.get(6..).unwrap_or_default());
    format!("{}{between}{}", &first[..before], &last[after..])
}

/// A place in a text; 255 is its end.
fn cut(text: &str, place: usize) -> usize {
    let mut at = text.len() * place / 255;
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}
