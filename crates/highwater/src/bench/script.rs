//! Reads a script: the statements of a load test with their weights, and the variables in them.
//!
//! The language is in docs/book/src/bench.md. The built-in workloads are written in it too, so that whatever a file can
//! say has been tried.

mod directive;
mod pieces;

use std::fmt;

use load::script::{Script, Statement, Transaction, Variable};
use sql::{Catalogue, Class, Environment, SearchPath};

use directive::Directive;

/// A transaction has at most this many statements, and a script at most this many transactions.
const STATEMENTS_MAX: usize = 1000;

/// What is wrong with a script, and where. Lines and columns count from 1.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Mistake {
    pub(crate) line: usize,
    pub(crate) column: usize,
    pub(crate) why: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: {}", self.line, self.column, self.why)
    }
}

/// What is wrong, and at which byte.
pub(super) type At = (usize, String);

/// Reads a whole script.
pub(crate) fn parse(text: &str) -> Result<Script, Mistake> {
    let mistake = |(at, why): At| {
        let before = &text[..at.min(text.len())];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Mistake {
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            why,
        }
    };
    let mut reader = Reader {
        catalogue: Catalogue::builtin(),
        script: Script::default(),
        next: Next::default(),
        block: None,
    };
    reader.read(text).map_err(mistake)?;
    Ok(reader.script)
}

struct Reader {
    /// Says which functions write.
    catalogue: Catalogue,
    script: Script,
    /// What the comments say of the next transaction.
    next: Next,
    /// The block whose end has not come, and where it began.
    block: Option<(usize, Vec<Statement>)>,
}

#[derive(Default)]
struct Next {
    name: Option<String>,
    weight: Option<u64>,
    /// Of the next statement.
    expect: Option<String>,
}

impl Reader {
    fn read(&mut self, text: &str) -> Result<(), At> {
        if let Some(zero) = text.find('\0') {
            return Err((zero, "a zero byte can't be sent to a server".to_owned()));
        }
        let mut offset = 0;
        while let Some((range, next)) = sql::first(&text[offset..], true) {
            let (start, end) = (offset + range.start, offset + range.end);
            self.comments(text, offset, start)?;
            self.statement(text, start, end)?;
            offset += next;
        }
        self.comments(text, offset, text.len())?;
        if let Some((began, _)) = self.block {
            return Err((began, "this block has no COMMIT, END or ROLLBACK".to_owned()));
        }
        if self.next.name.is_some() || self.next.weight.is_some() || self.next.expect.is_some() {
            return Err((text.trim_end().len(), "no statement follows the comments above".to_owned()));
        }
        match self.script.transactions.iter().map(|transaction| transaction.weight).sum() {
            0_u64 if self.script.transactions.is_empty() => Err((0, "there is no statement".to_owned())),
            0 => Err((0, "every weight is 0: there is nothing to do".to_owned())),
            _ => Ok(()),
        }
    }

    fn comments(&mut self, text: &str, from: usize, to: usize) -> Result<(), At> {
        let mut at = from;
        for line in text[from..to].split_inclusive('\n') {
            let begin = at;
            at += line.len();
            let Some(comment) = line.trim_start().strip_prefix("--") else { continue };
            let offset = begin + (line.len() - line.trim_start().len()) + 2;
            if let Some(directive) = directive::read(comment, offset)? {
                self.directive(directive, offset)?;
            }
        }
        Ok(())
    }

    fn directive(&mut self, directive: Directive, at: usize) -> Result<(), At> {
        if self.block.is_some() && matches!(directive, Directive::Name(_) | Directive::Weight(_)) {
            return Err((at, "a name or weight belongs before the BEGIN of a block".to_owned()));
        }
        match directive {
            Directive::Name(name) => {
                if self.script.transactions.iter().any(|known| known.name == name) {
                    return Err((at, format!("the name {name:?} is taken already")));
                }
                self.next.name = Some(name);
            }
            Directive::Weight(weight) => self.next.weight = Some(weight),
            Directive::Expect(variable) => self.next.expect = Some(variable),
            Directive::Set(name, draw) => {
                if self.script.variables.iter().any(|known| known.name == name) {
                    return Err((at, format!("{name:?} is set already")));
                }
                self.script.variables.push(Variable { name, draw });
            }
        }
        Ok(())
    }

    fn statement(&mut self, text: &str, start: usize, end: usize) -> Result<(), At> {
        let source = &text[start..end];
        if source.starts_with('\\') {
            return Err((start, "psql's and pgbench's commands are not known here: see `-- set`".to_owned()));
        }
        let names: Vec<&str> = self.script.variables.iter().map(|variable| variable.name.as_str()).collect();
        let pieces = pieces::cut(source, &names).map_err(|(at, why)| (start + at, why))?;
        let expect = match self.next.expect.take() {
            None => None,
            Some(name) => match names.iter().position(|known| *known == name) {
                Some(variable) => Some(variable),
                None => {
                    return Err((start, format!("-- expect {name}: there is no `-- set {name} …` before")));
                }
            },
        };
        let statement = Statement::new(pieces, expect);
        match Edge::of(source) {
            Edge::Opens if self.block.is_some() => {
                Err((start, "a block within a block: PostgreSQL has savepoints for that".to_owned()))
            }
            Edge::Opens => {
                self.block = Some((start, vec![statement]));
                Ok(())
            }
            Edge::Closes => match self.block.take() {
                None => Err((start, "no block is open here: there is no BEGIN before".to_owned())),
                Some((_, mut statements)) => {
                    statements.push(statement);
                    self.transaction(statements, false, start)
                }
            },
            Edge::None => match &mut self.block {
                Some((_, statements)) => {
                    statements.push(statement);
                    (statements.len() < STATEMENTS_MAX)
                        .then_some(())
                        .ok_or((start, format!("a block has at most {STATEMENTS_MAX} statements")))
                }
                None => {
                    let reads = only_reads(&self.catalogue, &statement);
                    self.transaction(vec![statement], reads, start)
                }
            },
        }
    }

    fn transaction(&mut self, statements: Vec<Statement>, reads: bool, at: usize) -> Result<(), At> {
        if self.script.transactions.len() == STATEMENTS_MAX {
            return Err((at, format!("a script has at most {STATEMENTS_MAX} transactions")));
        }
        let name =
            self.next.name.take().unwrap_or_else(|| format!("#{}", self.script.transactions.len() + 1));
        let weight = self.next.weight.take().unwrap_or(1);
        self.script.transactions.push(Transaction { name, weight, reads, statements });
        Ok(())
    }
}

/// What a statement does to blocks.
enum Edge {
    Opens,
    Closes,
    None,
}

impl Edge {
    fn of(source: &str) -> Edge {
        let mut words = source.split(|c: char| !c.is_ascii_alphabetic()).filter(|word| !word.is_empty());
        let mut word = || words.next().unwrap_or_default().to_ascii_lowercase();
        let (first, second, third) = (word(), word(), word());
        match first.as_str() {
            "begin" => Edge::Opens,
            "start" if second == "transaction" => Edge::Opens,
            "rollback" | "abort" if second == "to" || third == "to" => Edge::None,
            "commit" | "rollback" if second == "prepared" => Edge::None,
            "commit" | "end" | "rollback" | "abort" => Edge::Closes,
            _ => Edge::None,
        }
    }
}

/// By PostgreSQL's own functions: a user's function counts as a write here.
fn only_reads(catalogue: &Catalogue, statement: &Statement) -> bool {
    let search_path = SearchPath::unknown();
    let environment = Environment { catalogue, search_path: &search_path, standard_conforming_strings: true };
    sql::classify(statement.numbered().as_bytes(), &environment).class == Class::Reads
}

#[cfg(test)]
mod tests;
