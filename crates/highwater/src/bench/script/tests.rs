//! What scripts are read as, case by case; mistakes with their line and column.

use load::script::Draw;

use super::*;

/// What a script is read as, one line for each transaction: name, weight, `reads` if it does, and its statements with
/// numbered parameters; or the mistake.
fn read(text: &str) -> String {
    match parse(text) {
        Err(mistake) => format!("{mistake}\n"),
        Ok(script) => script
            .transactions
            .iter()
            .map(|transaction| {
                let statements: Vec<_> = transaction.statements.iter().map(Statement::numbered).collect();
                let reads = if transaction.reads { " reads" } else { "" };
                format!("{} {}{reads}: {}\n", transaction.name, transaction.weight, statements.join(" | "))
            })
            .collect(),
    }
}

#[test]
fn every_case_is_read_as_it_says() {
    let cases = include_str!("cases.txt");
    let mut count = 0;
    for case in cases.split("\n====\n") {
        let (input, expected) = case.split_once("\n----\n").unwrap_or_else(|| panic!("no ---- in {case:?}"));
        assert_eq!(read(input).trim_end(), expected.trim_end(), "{input}");
        count += 1;
    }
    assert!(count > 25, "only {count} cases were found");
}

#[test]
fn every_way_to_draw_can_be_written() {
    let text = "-- set a random -1 10\n-- set b zipf 1 100\n-- set c real 0.5 1\n-- set d text 8\n\
                -- set e choose x y\nSELECT 1";
    let draws: Vec<_> = parse(text).unwrap().variables.into_iter().map(|variable| variable.draw).collect();
    let expected = [
        Draw::Integer { from: -1, to: 10 },
        Draw::Skewed { from: 1, to: 100 },
        Draw::Real { from: 0.5, to: 1.0 },
        Draw::Text { length: 8 },
        Draw::OneOf(vec!["x".to_owned(), "y".to_owned()]),
    ];
    assert_eq!(draws, expected);
}

#[test]
fn whatever_is_read_no_text_makes_the_reader_fail() {
    let text = include_str!("cases.txt");
    for start in text.char_indices().map(|(at, _)| at).step_by(7) {
        for length in [1, 9, 40, 400] {
            let end = (start + length).min(text.len());
            if text.is_char_boundary(end) {
                let _any = read(&text[start..end]);
            }
        }
    }
}
