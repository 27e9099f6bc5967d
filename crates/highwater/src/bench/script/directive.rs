//! The comments of a script that say something: `-- name`, `-- weight`, `-- set`, `-- expect`.

use load::script::Draw;

use super::At;

/// Longest name, and longest random text.
const NAME_CHARS_MAX: usize = 40;
const TEXT_LENGTH_MAX: usize = 100_000;

const DRAWS: &str = "write random FROM TO, zipf FROM TO, real FROM TO, text LENGTH, or choose WORD WORD …";

/// What a comment says.
pub(super) enum Directive {
    Name(String),
    Weight(u64),
    Set(String, Draw),
    Expect(String),
}

/// Reads what stands behind `--`; none if it is a comment for people. `at` is where it stands in the script.
pub(super) fn read(comment: &str, at: usize) -> Result<Option<Directive>, At> {
    let words: Vec<(usize, &str)> = words(comment).map(|(offset, word)| (at + offset, word)).collect();
    let Some((first_at, first)) = words.first().copied() else { return Ok(None) };
    let rest = &words[1..];
    let end = at + comment.trim_end().len();
    Ok(Some(match first {
        "name" => match rest {
            [(_, name)] if name.chars().count() <= NAME_CHARS_MAX => Directive::Name((*name).to_owned()),
            [(at, _)] => return Err((*at, format!("a name has at most {NAME_CHARS_MAX} characters"))),
            _ => return Err((first_at, "a name is one word: -- name WORD".to_owned())),
        },
        "weight" => match rest {
            [(at, weight)] => Directive::Weight(number(weight, *at)?),
            _ => return Err((first_at, "a weight is one number: -- weight 5".to_owned())),
        },
        "expect" => match rest {
            [(_, name)] => Directive::Expect((*name).trim_start_matches(':').to_owned()),
            _ => return Err((first_at, "write -- expect VARIABLE".to_owned())),
        },
        "set" => match rest {
            [(name_at, name), how @ ..] => Directive::Set(variable(name, *name_at)?, draw(how, end)?),
            [] => return Err((first_at, "write -- set NAME and how it is drawn".to_owned())),
        },
        _ => return Ok(None),
    }))
}

fn words(comment: &str) -> impl Iterator<Item = (usize, &str)> {
    let start = comment.as_ptr() as usize;
    comment.split_ascii_whitespace().map(move |word| (word.as_ptr() as usize - start, word))
}

fn variable(name: &str, at: usize) -> Result<String, At> {
    let name = name.trim_start_matches(':');
    let begins = name.chars().next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_');
    if begins && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        return Ok(name.to_owned());
    }
    Err((at, format!("{name:?} can't be a variable's name: letters, digits and _, no digit first")))
}

fn draw(how: &[(usize, &str)], end: usize) -> Result<Draw, At> {
    let (kind_at, kind) = how.first().copied().ok_or((end, format!("how is it drawn? {DRAWS}")))?;
    match (kind, &how[1..]) {
        ("random", [(from_at, from), (to_at, to)]) => {
            let (from, to) = range((from, *from_at), (to, *to_at))?;
            Ok(Draw::Integer { from, to })
        }
        ("zipf", [(from_at, from), (to_at, to)]) => {
            let (from, to) = range((from, *from_at), (to, *to_at))?;
            Ok(Draw::Skewed { from, to })
        }
        ("real", [(from_at, from), (to_at, to)]) => {
            let (from, to): (f64, f64) = (number(from, *from_at)?, number(to, *to_at)?);
            if from.is_finite() && to.is_finite() && from <= to {
                return Ok(Draw::Real { from, to });
            }
            Err((*from_at, "the range is empty".to_owned()))
        }
        ("text", [(at, length)]) => {
            let length = number(length, *at)?;
            if length > TEXT_LENGTH_MAX {
                return Err((*at, format!("a text has at most {TEXT_LENGTH_MAX} characters")));
            }
            Ok(Draw::Text { length })
        }
        ("choose", words) if !words.is_empty() => {
            Ok(Draw::OneOf(words.iter().map(|(_, word)| (*word).to_owned()).collect()))
        }
        _ => Err((kind_at, format!("how is it drawn? {DRAWS}"))),
    }
}

fn range(from: (&str, usize), to: (&str, usize)) -> Result<(i64, i64), At> {
    let (smallest, largest): (i64, i64) = (number(from.0, from.1)?, number(to.0, to.1)?);
    if smallest <= largest {
        return Ok((smallest, largest));
    }
    Err((from.1, format!("the range is empty: {smallest} is larger than {largest}")))
}

fn number<T: std::str::FromStr>(word: &str, at: usize) -> Result<T, At> {
    word.parse().map_err(|_| (at, format!("{word:?} is not a number that can stand here")))
}
