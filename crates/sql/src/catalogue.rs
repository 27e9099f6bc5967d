//! What a database knows about its functions, operators, types and relations, as far as it matters to the class of a
//! statement.
//!
//! Holds facts and answers look-ups. It does not read the catalogue (the daemon does, with its own queries), and
//! [`CatalogueBuilder`] borrows the classifier to judge view definitions.

mod builder;
mod builtin;
pub(crate) mod harmless;
mod names;

use crate::class::{Class, Why};
use crate::search_path::SearchPath;
use names::Names;

pub use builder::CatalogueBuilder;

/// Facts about one database, or about PostgreSQL itself ([`Catalogue::builtin`]).
#[derive(Clone, Debug, Default)]
pub struct Catalogue {
    epoch: u64,
    functions: Names<Function>,
    relations: Names<Relation>,
    /// Only those declared VOLATILE, by their schemas.
    volatile_operators: Names<Box<[u8]>>,
    /// Only those that run something declared VOLATILE, by their schemas.
    volatile_types: Names<Box<[u8]>>,
    /// The relations of the database are here; a name that is not, is unknown.
    relations_known: bool,
}

impl Catalogue {
    /// PostgreSQL's own functions, 14 to 18 together, and no relation: every relation counts as a plain table.
    #[must_use]
    pub fn builtin() -> Self {
        Self::builder().finish(0)
    }

    /// Starts from PostgreSQL's own functions and relations.
    #[must_use]
    pub fn builder() -> CatalogueBuilder {
        CatalogueBuilder::new()
    }

    /// Which reading of the database this is; a memo forgets when it changes.
    #[must_use]
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// What calling a function of this name may do. `None` arguments fits any number. The worst of all the functions
    /// that may be meant decides: their argument types are not known here.
    pub(crate) fn call(&self, name: &Name<'_>, arguments: Option<u32>, path: &SearchPath) -> Answer {
        self.functions
            .get(name.object)
            .filter(|function| name.may_mean(&function.schema, path) && function.takes(arguments))
            .map(|function| function.answer)
            .max()
            .unwrap_or(Answer::Unknown)
    }

    /// True when a function of this name outside `pg_catalog` may be meant and is declared VOLATILE.
    pub(crate) fn own_volatile(&self, object: &[u8]) -> bool {
        self.functions.get(object).any(|own| &*own.schema != PG_CATALOG && own.answer == Answer::Volatile)
    }

    /// True when nobody but PostgreSQL is known to have a function of this name.
    pub(crate) fn only_postgresqls(&self, object: &[u8]) -> bool {
        self.functions.get(object).all(|function| &*function.schema == PG_CATALOG)
    }

    /// What reading a relation of this name may do.
    pub(crate) fn relation(&self, name: &Name<'_>, path: &SearchPath) -> Fate {
        let found = match (name.schema, path.schemas()) {
            (None, Some(schemas)) => self.first_seen(name.object, schemas),
            (schema, _) => {
                let meant = |relation: &&Relation| schema.is_none_or(|schema| schema == &*relation.schema);
                self.relations.get(name.object).filter(meant).map(|relation| relation.fate).max()
            }
        };
        match found {
            Some(fate) => fate,
            None if name.schema == Some(b"information_schema") => Fate::Plain,
            None if self.relations_known => Fate::Unknown,
            None => Fate::by_name(name.object),
        }
    }

    /// The first schema of the path that has the relation decides.
    fn first_seen(&self, object: &[u8], schemas: &[String]) -> Option<Fate> {
        let place =
            |relation: &Relation| schemas.iter().position(|schema| schema.as_bytes() == &*relation.schema);
        let seen = self.relations.get(object).filter_map(|relation| Some((place(relation)?, relation.fate)));
        let (_, fate) = seen.min_by_key(|(place, _)| *place)?;
        Some(fate)
    }

    /// True when a relation of this name, in any schema, is more than a plain table.
    pub(crate) fn special_relation(&self, object: &[u8]) -> bool {
        self.relations.get(object).any(|relation| relation.fate != Fate::Plain)
    }

    /// True when an operator of this name may be meant that is declared VOLATILE.
    pub(crate) fn volatile_operator(&self, name: &Name<'_>, path: &SearchPath) -> bool {
        !self.volatile_operators.is_empty()
            && self.volatile_operators.get(name.object).any(|schema| name.may_mean(schema, path))
    }

    /// True when an operator that key words stand for (IN, LIKE, BETWEEN, CASE, USING, …) may be a VOLATILE one.
    pub(crate) fn implicit_operator_volatile(&self) -> bool {
        !self.volatile_operators.is_empty()
            && IMPLICIT_OPERATORS.iter().any(|name| self.volatile_operators.get(name).next().is_some())
    }

    /// True when a type of this name may be meant that runs something declared VOLATILE.
    pub(crate) fn volatile_type(&self, name: &Name<'_>, path: &SearchPath) -> bool {
        !self.volatile_types.is_empty()
            && self.volatile_types.get(name.object).any(|schema| name.may_mean(schema, path))
    }
}

const PG_CATALOG: &[u8] = b"pg_catalog";

const IMPLICIT_OPERATORS: [&[u8]; 11] =
    [b"=", b"<>", b"<", b">", b"<=", b">=", b"~~", b"!~~", b"~~*", b"!~~*", b"~"];

/// A name as PostgreSQL folds it, perhaps with its schema.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Name<'a> {
    /// The schema, when it is written.
    pub(crate) schema: Option<&'a [u8]>,
    /// The object.
    pub(crate) object: &'a [u8],
}

impl Name<'_> {
    fn may_mean(&self, schema: &[u8], path: &SearchPath) -> bool {
        match self.schema {
            Some(own) => own == schema,
            None => std::str::from_utf8(schema).is_ok_and(|schema| path.sees(schema)),
        }
    }
}

/// What a call may do; the greater is the worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Answer {
    /// Nothing that outlives it; may run again.
    Harmless,
    /// Tells about the node or backend that runs it.
    NodeLocal,
    /// May write.
    Volatile,
    /// No such function is known.
    Unknown,
}

#[derive(Clone, Debug)]
struct Function {
    schema: Box<[u8]>,
    arity: Arity,
    answer: Answer,
}

impl Function {
    fn takes(&self, arguments: Option<u32>) -> bool {
        let Some(arguments) = arguments else { return true };
        arguments >= u32::from(self.arity.min) && self.arity.max.is_none_or(|max| arguments <= u32::from(max))
    }
}

/// What reading a relation means; the greater is the worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fate {
    /// The same on every fresh node.
    Plain,
    /// As said.
    Judged(Class, Why),
    /// Not in the catalogue.
    Unknown,
}

impl Fate {
    /// PostgreSQL's own relations, and statistics views of extensions.
    fn by_name(object: &[u8]) -> Self {
        let local =
            harmless::NODE_LOCAL_RELATION_PREFIXES.iter().any(|prefix| object.starts_with(prefix.as_bytes()))
                || harmless::NODE_LOCAL_RELATIONS.iter().any(|name| name.as_bytes() == object);
        if local { Self::Judged(Class::Unknown, Why::NodeLocal) } else { Self::Plain }
    }
}

#[derive(Clone, Debug)]
struct Relation {
    schema: Box<[u8]>,
    fate: Fate,
}

/// `pg_proc.provolatile`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Volatility {
    /// The same answer for ever.
    Immutable,
    /// The same answer within a statement.
    Stable,
    /// May do anything.
    Volatile,
}

impl Volatility {
    /// From PostgreSQL's letter; any other letter is the worst.
    #[must_use]
    pub const fn from_letter(letter: u8) -> Self {
        match letter {
            b'i' => Self::Immutable,
            b's' => Self::Stable,
            _ => Self::Volatile,
        }
    }
}

/// How many arguments a function takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Arity {
    /// Arguments without a default.
    pub min: u16,
    /// All arguments; `None` for VARIADIC.
    pub max: Option<u16>,
}

/// `pg_class.relkind`, as far as it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RelationKind {
    /// A table, a partitioned table, a composite type, a TOAST table, an index.
    Plain,
    /// A view; its definition is given by [`CatalogueBuilder::view`].
    View,
    /// A materialized view.
    MaterializedView,
    /// A foreign table, or a table with one among its partitions or children.
    Foreign,
    /// A sequence: on a replica it runs ahead of the primary's.
    Sequence,
}

impl RelationKind {
    /// From PostgreSQL's letter.
    #[must_use]
    pub const fn from_letter(letter: u8) -> Self {
        match letter {
            b'v' => Self::View,
            b'm' => Self::MaterializedView,
            b'f' => Self::Foreign,
            b'S' => Self::Sequence,
            _ => Self::Plain,
        }
    }
}

/// `pg_class.relpersistence`; the worst of a table and its partitions or children.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Persistence {
    /// Written to WAL.
    Permanent,
    /// Not on replicas.
    Unlogged,
    /// Of one session.
    Temporary,
}

impl Persistence {
    /// From PostgreSQL's letter; any other letter is not on replicas.
    #[must_use]
    pub const fn from_letter(letter: u8) -> Self {
        match letter {
            b'p' => Self::Permanent,
            b't' => Self::Temporary,
            _ => Self::Unlogged,
        }
    }
}
