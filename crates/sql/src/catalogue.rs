//! What a database knows about its functions, operators and relations, as far as it matters to the class of a
//! statement.
//!
//! Holds facts and answers look-ups. It does not read the catalogue (the daemon does, with its own queries) and it
//! does not classify; [`CatalogueBuilder::finish`] borrows the classifier to judge view definitions.

/// Facts about one database, or about PostgreSQL itself ([`Catalogue::builtin`]).
#[derive(Debug, Default)]
pub struct Catalogue {
    epoch: u64,
}

impl Catalogue {
    /// PostgreSQL's own functions, 14 to 18 together, and no relation: every relation counts as a plain table.
    #[must_use]
    pub fn builtin() -> Self {
        Self::default()
    }

    /// Starts from PostgreSQL's own functions.
    #[must_use]
    pub fn builder() -> CatalogueBuilder {
        CatalogueBuilder::default()
    }

    /// Which reading of the database this is; a memo forgets when it changes.
    #[must_use]
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }
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
    /// A table, a partitioned table, a sequence, a composite type, a TOAST table, an index.
    Plain,
    /// A view; its definition is given by [`CatalogueBuilder::view`].
    View,
    /// A materialized view.
    MaterializedView,
    /// A foreign table, or a table with one among its partitions or children.
    Foreign,
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

/// Gathers the rows of the catalogue queries.
#[derive(Debug, Default)]
pub struct CatalogueBuilder {}

impl CatalogueBuilder {
    /// A function, an aggregate or a window function. An aggregate is as volatile as the worst of its functions.
    pub fn function(&mut self, schema: &str, name: &str, arity: Arity, volatility: Volatility) -> &mut Self {
        let _ = (schema, name, arity, volatility);
        self
    }

    /// An operator, as volatile as its function.
    pub fn operator(&mut self, schema: &str, name: &str, volatility: Volatility) -> &mut Self {
        let _ = (schema, name, volatility);
        self
    }

    /// A type whose input function, cast or domain constraint is as volatile as said.
    pub fn r#type(&mut self, schema: &str, name: &str, volatility: Volatility) -> &mut Self {
        let _ = (schema, name, volatility);
        self
    }

    /// A table, view or other relation.
    pub fn relation(
        &mut self,
        schema: &str,
        name: &str,
        kind: RelationKind,
        persistence: Persistence,
    ) -> &mut Self {
        let _ = (schema, name, kind, persistence);
        self
    }

    /// What a view stands for: `pg_get_viewdef`.
    pub fn view(&mut self, schema: &str, name: &str, definition: &str) -> &mut Self {
        let _ = (schema, name, definition);
        self
    }

    /// An expression of a row-security policy on a table: `pg_get_expr(polqual, polrelid)`.
    pub fn policy(&mut self, schema: &str, table: &str, expression: &str) -> &mut Self {
        let _ = (schema, table, expression);
        self
    }

    /// Judges views and policies and closes the book.
    #[must_use]
    pub fn finish(self, epoch: u64) -> Catalogue {
        Catalogue { epoch }
    }
}
