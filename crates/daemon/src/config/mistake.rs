//! What is wrong with a configuration, and where: all of it at once, each with the nearest valid name.
//!
//! Mistakes are collected, never returned one at a time: who corrects a file should see everything in one go.

use std::fmt;
use std::sync::Arc;

/// Where something was said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Place {
    /// In a file.
    File {
        /// Its name, as it was given.
        file: Arc<str>,
        /// Line, from 1.
        line: usize,
        /// Column in characters, from 1.
        column: usize,
    },
    /// The file as a whole.
    WholeFile(Arc<str>),
    /// An environment variable.
    Environment(String),
    /// A flag of the command line.
    Flag(&'static str),
    /// Nowhere: a default, or something missing altogether.
    Nowhere,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::File { file, line, column } => write!(f, "{file}:{line}:{column}"),
            Place::WholeFile(file) => write!(f, "{file}"),
            Place::Environment(name) => write!(f, "environment {name}"),
            Place::Flag(name) => write!(f, "{name}"),
            Place::Nowhere => write!(f, "configuration"),
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mistake {
    /// Where it stands.
    pub place: Place,
    /// What is wrong, and what would be right.
    pub message: String,
    /// The valid name nearest to what was written, when one is near.
    pub nearest: Option<String>,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)?;
        match &self.nearest {
            Some(name) => write!(f, "; did you mean {name:?}?"),
            None => Ok(()),
        }
    }
}

/// Everything that is wrong, in the order of the file.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Mistakes(Vec<Mistake>);

impl Mistakes {
    /// Adds one.
    pub(super) fn add(&mut self, place: &Place, message: impl Into<String>) {
        self.0.push(Mistake { place: place.clone(), message: message.into(), nearest: None });
    }

    /// Adds one about a name that does not exist.
    pub(super) fn add_unknown<'n>(
        &mut self,
        place: &Place,
        message: impl Into<String>,
        (written, valid): (&str, impl IntoIterator<Item = &'n str>),
    ) {
        let nearest = nearest(written, valid).map(str::to_owned);
        self.0.push(Mistake { place: place.clone(), message: message.into(), nearest });
    }

    /// The mistakes.
    pub fn iter(&self) -> impl Iterator<Item = &Mistake> {
        self.0.iter()
    }

    /// Are there none?
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// By place, so that they read along with the file.
    pub(super) fn sorted(mut self) -> Self {
        self.0.sort_by_key(|mistake| match &mistake.place {
            Place::WholeFile(_) => (0, 0, 0),
            Place::File { line, column, .. } => (1, *line, *column),
            Place::Environment(_) => (2, 0, 0),
            Place::Flag(_) => (3, 0, 0),
            Place::Nowhere => (4, 0, 0),
        });
        self.0.dedup();
        self
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, mistake) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{mistake}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Mistakes {}

/// The valid name nearest to `written`, if it is near enough to have been meant: a quarter of its letters may differ.
pub(crate) fn nearest<'n>(written: &str, valid: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    // Longer than any name by far: nobody meant one of ours.
    if written.len() > 64 {
        return None;
    }
    let lower = written.to_ascii_lowercase();
    valid
        .into_iter()
        .map(|name| (distance(&lower, &name.to_ascii_lowercase()), name))
        .filter(|(distance, name)| *distance <= (name.len().max(written.len()) / 4).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// Edits (insert, remove, replace, swap neighbours) between two names.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replaced = above[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = replaced.min(above[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut above, row);
    }
    above[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_offered_only_when_it_is_near() {
        let names = ["listen", "http", "pool_mode", "default_pool_size"];
        let check = |written, expected| assert_eq!(nearest(written, names), expected, "{written}");
        check("lisen", Some("listen"));
        check("litsen", Some("listen"));
        check("Pool_Mode", Some("pool_mode"));
        check("pool_size", None);
        check("default_pool_sise", Some("default_pool_size"));
        check("xyz", None);
        check("", None);
    }
}
