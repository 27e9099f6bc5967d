//! What a load test asks: transactions with weights, made of statements with variables.
//!
//! Plain values, ready to be drawn from and written to a connection. Reading them from a file is the caller's.

use std::fmt::Write as _;

use crate::random::Random;

/// The digits behind the point of a [`Draw::Real`].
const REAL_DIGITS: usize = 5;

/// Everything a load test may ask.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Script {
    /// What may stand in the texts.
    pub variables: Vec<Variable>,
    /// What is asked; at least one has a weight above 0.
    pub transactions: Vec<Transaction>,
}

/// A name and where its values come from.
#[derive(Clone, PartialEq, Debug)]
pub struct Variable {
    /// Without the colon.
    pub name: String,
    /// Drawn anew for each transaction.
    pub draw: Draw,
}

/// Where values come from. Both ends belong to a range.
#[derive(Clone, PartialEq, Debug)]
pub enum Draw {
    /// Evenly among whole numbers.
    Integer {
        /// The smallest.
        from: i64,
        /// The largest.
        to: i64,
    },
    /// Among whole numbers, small ones much more often: the chance of the n-th is about 1/n (Zipf's law).
    Skewed {
        /// The smallest, and most frequent.
        from: i64,
        /// The largest.
        to: i64,
    },
    /// Evenly between two numbers, with five digits behind the point.
    Real {
        /// The smallest.
        from: f64,
        /// The largest.
        to: f64,
    },
    /// So many characters out of 0 to 9 and a to f.
    Text {
        /// How many.
        length: usize,
    },
    /// One of these.
    OneOf(Vec<String>),
}

/// Statements that are asked one after the other, each when the one before is answered.
#[derive(Clone, PartialEq, Debug)]
pub struct Transaction {
    /// What it is called in reports.
    pub name: String,
    /// How often, relative to the others.
    pub weight: u64,
    /// It is one statement that only reads.
    pub reads: bool,
    /// At least one.
    pub statements: Vec<Statement>,
}

/// A statement with its variables in place.
#[derive(Clone, PartialEq, Debug)]
pub struct Statement {
    pieces: Vec<Piece>,
    /// The same with `$1`, `$2`, … in the variables' places.
    numbered: String,
    /// The variables in the order of their numbers.
    parameters: Vec<usize>,
    /// The first column of the first row has to be this variable's value.
    expect: Option<usize>,
    /// Opens or ends a block: sent as a simple query in every protocol, as drivers do.
    control: bool,
}

/// A part of a statement.
#[derive(Clone, PartialEq, Debug)]
pub enum Piece {
    /// As it is.
    Text(String),
    /// The value of this variable, by its place in [`Script::variables`].
    Variable(usize),
}

impl Statement {
    /// A statement made of pieces.
    #[must_use]
    pub fn new(pieces: Vec<Piece>, expect: Option<usize>) -> Statement {
        let (mut numbered, mut parameters) = (String::new(), Vec::new());
        for piece in &pieces {
            match piece {
                Piece::Text(text) => numbered.push_str(text),
                Piece::Variable(variable) => {
                    let known = parameters.iter().position(|known| known == variable);
                    let number = known.unwrap_or_else(|| {
                        parameters.push(*variable);
                        parameters.len() - 1
                    });
                    write!(numbered, "${}", number + 1).expect("a String takes everything");
                }
            }
        }
        let first = numbered.split_ascii_whitespace().next().unwrap_or_default().to_ascii_lowercase();
        let control = parameters.is_empty()
            && matches!(first.as_str(), "begin" | "start" | "commit" | "end" | "rollback" | "abort");
        Statement { pieces, numbered, parameters, expect, control }
    }

    /// Its text for the extended protocol.
    #[must_use]
    pub fn numbered(&self) -> &str {
        &self.numbered
    }

    /// The variables behind `$1`, `$2`, ….
    #[must_use]
    pub fn parameters(&self) -> &[usize] {
        &self.parameters
    }

    /// Whether it opens or ends a block.
    #[must_use]
    pub fn is_control(&self) -> bool {
        self.control
    }

    /// Whose value the first column of the first row has to be.
    #[must_use]
    pub fn expect(&self) -> Option<usize> {
        self.expect
    }

    /// Its text for the simple protocol, with the values as literals.
    pub fn write(&self, script: &Script, values: &[String], out: &mut String) {
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Variable(index) => literal(&script.variables[*index].draw, &values[*index], out),
            }
        }
    }
}

impl Script {
    /// One of the transactions, by weight.
    pub fn choose(&self, random: &mut Random) -> usize {
        let total: u64 = self.transactions.iter().map(|transaction| transaction.weight).sum();
        let mut left = random.below(total);
        for (index, transaction) in self.transactions.iter().enumerate() {
            if left < transaction.weight {
                return index;
            }
            left -= transaction.weight;
        }
        0
    }

    /// Draws a value for every variable. All of them, so that a seed gives the same values whatever is chosen.
    pub fn draw(&self, random: &mut Random, values: &mut Vec<String>) {
        values.resize(self.variables.len(), String::new());
        for (variable, value) in self.variables.iter().zip(values) {
            value.clear();
            variable.draw.draw(random, value);
        }
    }
}

impl Draw {
    fn draw(&self, random: &mut Random, out: &mut String) {
        let written = match self {
            Draw::Integer { from, to } => {
                let offset = random.below(to.abs_diff(*from).saturating_add(1));
                write!(out, "{}", from.wrapping_add_unsigned(offset))
            }
            Draw::Skewed { from, to } => {
                // The inverse of the logarithm, which the sum of 1/n follows.
                let count = to.abs_diff(*from) as f64 + 1.0;
                let offset = count.powf(random.unit()) - 1.0;
                write!(out, "{}", from.wrapping_add_unsigned(offset as u64).min(*to))
            }
            Draw::Real { from, to } => {
                write!(out, "{:.REAL_DIGITS$}", from + (to - from) * random.unit())
            }
            Draw::Text { length } => (0..*length)
                .try_for_each(|_| out.write_char(char::from(b"0123456789abcdef"[random.below(16) as usize]))),
            Draw::OneOf(words) => {
                write!(out, "{}", words.get(random.below(words.len() as u64) as usize).map_or("", |w| w))
            }
        };
        written.expect("a String takes everything");
    }
}

fn literal(draw: &Draw, value: &str, out: &mut String) {
    match draw {
        // A minus sign behind an operator would be another operator, or a comment.
        Draw::Integer { .. } | Draw::Skewed { .. } | Draw::Real { .. } if value.starts_with('-') => {
            out.push('(');
            out.push_str(value);
            out.push(')');
        }
        Draw::Integer { .. } | Draw::Skewed { .. } | Draw::Real { .. } => out.push_str(value),
        Draw::Text { .. } | Draw::OneOf(_) => {
            out.push('\'');
            out.push_str(&value.replace('\'', "''"));
            out.push('\'');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(draw: Draw) -> Script {
        let text = |text: &str| Piece::Text(text.to_owned());
        let pieces =
            vec![text("SELECT 1-"), Piece::Variable(0), text(" WHERE "), Piece::Variable(0), text(" > 0")];
        let transaction = |weight, name: &str| Transaction {
            name: name.to_owned(),
            weight,
            reads: true,
            statements: vec![Statement::new(pieces.clone(), None)],
        };
        Script {
            variables: vec![Variable { name: "x".to_owned(), draw }],
            transactions: vec![transaction(3, "often"), transaction(0, "never"), transaction(1, "seldom")],
        }
    }

    fn values(draw: Draw, count: usize) -> Vec<String> {
        let (script, mut random, mut values) = (script(draw), Random::new(5, 0), Vec::new());
        (0..count)
            .map(|_| {
                script.draw(&mut random, &mut values);
                values[0].clone()
            })
            .collect()
    }

    #[test]
    fn transactions_are_chosen_by_their_weight() {
        let (script, mut random) = (script(Draw::Text { length: 3 }), Random::new(5, 0));
        let mut chosen = [0_u32; 3];
        (0..4000).for_each(|_| chosen[script.choose(&mut random)] += 1);
        assert!((2800..3200).contains(&chosen[0]) && chosen[1] == 0, "{chosen:?}");
    }

    #[test]
    fn values_stay_in_their_range_and_reach_both_ends() {
        let drawn = values(Draw::Integer { from: -2, to: 2 }, 200);
        let mut kinds = drawn.clone();
        kinds.sort();
        kinds.dedup();
        assert_eq!(kinds, ["-1", "-2", "0", "1", "2"]);
        let skewed: Vec<i64> = values(Draw::Skewed { from: 1, to: 1000 }, 2000)
            .iter()
            .map(|value| value.parse().expect("a number"))
            .collect();
        assert!(skewed.iter().all(|value| (1..=1000).contains(value)));
        assert!(skewed.iter().filter(|value| **value <= 31).count() > 800, "half of all are below the root");
        assert!(values(Draw::Real { from: 0.5, to: 1.0 }, 50).iter().all(|value| value.len() == 7));
        assert!(values(Draw::Integer { from: i64::MIN, to: i64::MAX }, 5).len() == 5);
    }

    #[test]
    fn a_literal_cannot_become_an_operator_or_end_its_string() {
        let render = |draw: Draw, value: &str| {
            let (script, mut out) = (script(draw), String::new());
            script.transactions[0].statements[0].write(&script, &[value.to_owned()], &mut out);
            out
        };
        assert_eq!(render(Draw::Integer { from: 0, to: 1 }, "-5"), "SELECT 1-(-5) WHERE (-5) > 0");
        assert_eq!(render(Draw::OneOf(Vec::new()), "it's"), "SELECT 1-'it''s' WHERE 'it''s' > 0");
    }

    #[test]
    fn a_variable_has_one_number_however_often_it_stands_there() {
        let statement = &script(Draw::Text { length: 3 }).transactions[0].statements[0];
        assert_eq!(statement.numbered(), "SELECT 1-$1 WHERE $1 > 0");
        assert_eq!(statement.parameters(), [0]);
        assert!(!statement.is_control());
        assert!(Statement::new(vec![Piece::Text("BEGIN".to_owned())], None).is_control());
    }
}
