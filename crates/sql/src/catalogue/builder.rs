//! From the rows of the catalogue queries to a [`Catalogue`].
//!
//! Judges each view and each policy by classifying its text against the catalogue made so far, again and again until
//! nothing changes, so that a view over a writing view writes too.

use super::{
    Answer, Arity, Catalogue, Fate, Function, PG_CATALOG, Persistence, Relation, RelationKind, Volatility,
};
use super::{builtin, harmless};
use crate::class::{Class, Why};
use crate::search_path::SearchPath;
use crate::verdict::Verdict;
use crate::{Environment, classify};

/// Gathers the rows of the catalogue queries.
#[derive(Debug)]
pub struct CatalogueBuilder {
    catalogue: Catalogue,
    texts: Vec<Text>,
}

/// What reading a relation runs, as SQL.
#[derive(Debug)]
struct Text {
    schema: Box<str>,
    relation: Box<str>,
    query: String,
}

impl CatalogueBuilder {
    /// Knows PostgreSQL's own functions and relations.
    pub(super) fn new() -> Self {
        let mut builder = Self { catalogue: Catalogue::default(), texts: Vec::new() };
        for (name, min, max, volatility) in builtin::FUNCTIONS {
            let max = (max != builtin::VARIADIC).then_some(u16::from(max));
            builder.function("pg_catalog", name, Arity { min: u16::from(min), max }, volatility);
        }
        for name in builtin::RELATIONS {
            let relation = Relation { schema: PG_CATALOG.into(), fate: Fate::by_name(name.as_bytes()) };
            builder.catalogue.relations.add(name.as_bytes(), relation);
        }
        builder
    }

    /// A function, an aggregate or a window function. An aggregate is as volatile as the worst of its functions.
    pub fn function(&mut self, schema: &str, name: &str, arity: Arity, volatility: Volatility) -> &mut Self {
        let answer = if schema == "pg_catalog" {
            own_answer(name, volatility)
        } else if volatility == Volatility::Volatile {
            Answer::Volatile
        } else {
            Answer::Harmless
        };
        let function = Function { schema: schema.as_bytes().into(), arity, answer };
        self.catalogue.functions.add(name.as_bytes(), function);
        self
    }

    /// An operator, as volatile as its function.
    pub fn operator(&mut self, schema: &str, name: &str, volatility: Volatility) -> &mut Self {
        if volatility == Volatility::Volatile {
            self.catalogue.volatile_operators.add(name.as_bytes(), schema.as_bytes().into());
        }
        self
    }

    /// A type whose input function, cast or domain constraint is as volatile as said.
    pub fn r#type(&mut self, schema: &str, name: &str, volatility: Volatility) -> &mut Self {
        if volatility == Volatility::Volatile {
            let written = ALIASES.iter().filter(|(own, _)| schema == "pg_catalog" && *own == name);
            for name in written.map(|(_, alias)| *alias).chain([name]) {
                self.catalogue.volatile_types.add(name.as_bytes(), schema.as_bytes().into());
            }
        }
        self
    }

    /// A table, view or other relation. Once one is given, a relation that is not is unknown.
    pub fn relation(
        &mut self,
        schema: &str,
        name: &str,
        kind: RelationKind,
        persistence: Persistence,
    ) -> &mut Self {
        let fate = match (kind, persistence) {
            (_, Persistence::Temporary) => Fate::Judged(Class::Unknown, Why::TempTable),
            (_, Persistence::Unlogged) => Fate::Judged(Class::Unknown, Why::UnloggedTable),
            (RelationKind::Foreign, _) => Fate::Judged(Class::Unknown, Why::ForeignTable),
            (RelationKind::Sequence, _) => Fate::Judged(Class::Unknown, Why::NodeLocal),
            _ => Fate::by_name(name.as_bytes()),
        };
        let relation = Relation { schema: schema.as_bytes().into(), fate };
        self.catalogue.relations.add(name.as_bytes(), relation);
        self.complete()
    }

    /// All relations of the database are given, even if there is none: a name that is not among them is unknown.
    pub const fn complete(&mut self) -> &mut Self {
        self.catalogue.relations_known = true;
        self
    }

    /// What a view stands for: `pg_get_viewdef`.
    pub fn view(&mut self, schema: &str, name: &str, definition: &str) -> &mut Self {
        self.texts.push(Text { schema: schema.into(), relation: name.into(), query: definition.to_owned() });
        self
    }

    /// An expression of a row-security policy on a table: `pg_get_expr(polqual, polrelid)`.
    pub fn policy(&mut self, schema: &str, table: &str, expression: &str) -> &mut Self {
        let query = format!("SELECT ({expression})");
        self.texts.push(Text { schema: schema.into(), relation: table.into(), query });
        self
    }

    /// Judges views and policies and closes the book. `epoch` names this reading of the database.
    #[must_use]
    pub fn finish(mut self, epoch: u64) -> Catalogue {
        self.catalogue.epoch = epoch;
        // A definition is printed with every schema it needs, so that any path may do for the rest; the worst counts.
        let path = SearchPath::unknown();
        let mut open = self.texts;
        loop {
            let before = open.len();
            let catalogue = &self.catalogue;
            let env = Environment { catalogue, search_path: &path, standard_conforming_strings: true };
            let judged: Vec<_> =
                open.iter().map(|text| fate_of(&classify(text.query.as_bytes(), &env))).collect();
            let mut fates = judged.into_iter();
            open.retain(|text| match fates.next().flatten() {
                Some(fate) => {
                    worsen(&mut self.catalogue, text, fate);
                    false
                }
                None => true,
            });
            if open.len() == before {
                return self.catalogue;
            }
        }
    }
}

/// SQL's words for PostgreSQL's types; of words with a blank, the first.
const ALIASES: [(&str, &str); 19] = [
    ("int2", "smallint"),
    ("int4", "int"),
    ("int4", "integer"),
    ("int8", "bigint"),
    ("float4", "real"),
    ("float4", "float"),
    ("float8", "float"),
    ("float8", "double"),
    ("bool", "boolean"),
    ("numeric", "decimal"),
    ("numeric", "dec"),
    ("varchar", "character"),
    ("varchar", "char"),
    ("varchar", "national"),
    ("bpchar", "character"),
    ("bpchar", "char"),
    ("bpchar", "nchar"),
    ("timestamptz", "timestamp"),
    ("timetz", "time"),
];

/// `None` while nothing is wrong with it.
const fn fate_of(verdict: &Verdict) -> Option<Fate> {
    match verdict.class {
        Class::Reads => None,
        Class::Unknown => Some(Fate::Judged(Class::Unknown, verdict.why)),
        Class::Writes => Some(Fate::Judged(Class::Writes, Why::WritingView)),
    }
}

fn worsen(catalogue: &mut Catalogue, text: &Text, fate: Fate) {
    for relation in catalogue.relations.get_mut(text.relation.as_bytes()) {
        if *relation.schema == *text.schema.as_bytes() {
            relation.fate = relation.fate.max(fate);
        }
    }
}

/// PostgreSQL's own functions do more or less than their volatility says.
fn own_answer(name: &str, volatility: Volatility) -> Answer {
    let listed = |list: &[&str]| list.contains(&name);
    if listed(harmless::WRITING_FUNCTIONS) {
        Answer::Volatile
    } else if listed(harmless::NODE_LOCAL_FUNCTIONS) || name.starts_with(harmless::NODE_LOCAL_FUNCTION_PREFIX)
    {
        Answer::NodeLocal
    } else if volatility != Volatility::Volatile || listed(harmless::HARMLESS_FUNCTIONS) {
        Answer::Harmless
    } else {
        Answer::Volatile
    }
}
