//! One reading of a database's catalogue: runs the queries of `catalog_queries` in one snapshot and hands their rows on.
//!
//! What the rows mean is said there and judged in `sql`; how often to read is the keeper's.

use sql::{Arity, Catalogue, CatalogueBuilder, Persistence, RelationKind, Volatility};
use tokio_postgres::{Client, Error, IsolationLevel, Row, Statement};

use crate::catalog_queries::{EPOCH, FUNCTIONS, OPERATORS, POLICIES, RELATIONS, TYPES, VIEWS};
use crate::spawn;

/// A catalogue with more rows of one kind than this is not kept.
pub(super) const ROWS_MAX: usize = 200_000;

/// Why there is no catalogue.
#[derive(Debug)]
pub enum ReadError {
    /// The node said so, or the connection broke.
    Node(Error),
    /// More rows than can be kept.
    TooMany,
    /// The classifier panicked over a view or policy.
    Panicked,
}

impl std::fmt::Display for ReadError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ReadError::Node(error) => write!(f, "the catalogue can't be read: {error}"),
            ReadError::TooMany => write!(f, "there are more than {ROWS_MAX} functions or relations"),
            ReadError::Panicked => {
                write!(f, "a view or policy can't be judged; this is a bug, please report it")
            }
        }
    }
}

impl std::error::Error for ReadError {}

impl From<Error> for ReadError {
    fn from(error: Error) -> Self {
        ReadError::Node(error)
    }
}

/// Makes a connection ready for the queries, and plans the one that is asked often.
pub(super) async fn prepare(client: &Client) -> Result<Statement, Error> {
    client.batch_execute("SET search_path = ''; SET statement_timeout = '30s'; SET jit = off").await?;
    client.prepare(EPOCH).await
}

/// The number that changes when the catalogue does.
pub(super) async fn epoch(client: &Client, prepared: &Statement) -> Result<i64, Error> {
    client.query_one(prepared, &[]).await?.try_get(0)
}

/// Reads everything in one snapshot, and names it by the number of the reading.
pub(super) async fn catalogue(client: &mut Client, reading: u64) -> Result<(i64, Catalogue), ReadError> {
    let snapshot = client.build_transaction().read_only(true).isolation_level(IsolationLevel::RepeatableRead);
    let transaction = snapshot.start().await?;
    let epoch = transaction.query_one(EPOCH, &[]).await?.try_get(0)?;
    let mut builder = Catalogue::builder();
    builder.complete();
    for (query, take) in PARTS {
        let rows = transaction.query(&format!("{query} LIMIT {}", ROWS_MAX + 1), &[]).await?;
        if rows.len() > ROWS_MAX {
            return Err(ReadError::TooMany);
        }
        for row in &rows {
            take(&mut builder, row)?;
        }
    }
    transaction.commit().await?;
    // Views are judged by the classifier: thousands of them take too long for the thread that watches the nodes.
    let catalogue = spawn::blocking(move || builder.finish(reading)).await.ok_or(ReadError::Panicked)?;
    Ok((epoch, catalogue))
}

type Take = fn(&mut CatalogueBuilder, &Row) -> Result<(), Error>;

const PARTS: [(&str, Take); 6] = [
    (FUNCTIONS, |builder, row| {
        let max = row.try_get::<_, Option<i32>>("max_args")?;
        let arity = Arity { min: arguments(row.try_get("min_args")?), max: max.map(arguments) };
        let volatility = volatility(row.try_get("volatility")?);
        builder.function(row.try_get("schema")?, row.try_get("name")?, arity, volatility);
        Ok(())
    }),
    (OPERATORS, |builder, row| {
        let volatility = volatility(row.try_get("volatility")?);
        builder.operator(row.try_get("schema")?, row.try_get("name")?, volatility);
        Ok(())
    }),
    (TYPES, |builder, row| {
        let volatility = volatility(row.try_get("volatility")?);
        builder.r#type(row.try_get("schema")?, row.try_get("name")?, volatility);
        Ok(())
    }),
    (RELATIONS, |builder, row| {
        let (kind, persistence) = (kind(row.try_get("kind")?), persistence(row.try_get("persistence")?));
        builder.relation(row.try_get("schema")?, row.try_get("name")?, kind, persistence);
        Ok(())
    }),
    (VIEWS, |builder, row| {
        builder.view(row.try_get("schema")?, row.try_get("name")?, row.try_get("definition")?);
        Ok(())
    }),
    (POLICIES, |builder, row| {
        builder.policy(row.try_get("schema")?, row.try_get("name")?, row.try_get("expression")?);
        Ok(())
    }),
];

/// A number that makes no sense fits any call.
fn arguments(count: i32) -> u16 {
    u16::try_from(count).unwrap_or(0)
}

fn volatility(letter: &str) -> Volatility {
    Volatility::from_letter(letter.bytes().next().unwrap_or(b'v'))
}

/// A kind that is not known reads what we can't see.
fn kind(letter: &str) -> RelationKind {
    match letter {
        "r" | "p" => RelationKind::Plain,
        "v" => RelationKind::View,
        "m" => RelationKind::MaterializedView,
        "S" => RelationKind::Sequence,
        _ => RelationKind::Foreign,
    }
}

fn persistence(letter: &str) -> Persistence {
    match letter {
        "p" => Persistence::Permanent,
        "u" => Persistence::Unlogged,
        _ => Persistence::Temporary,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_that_is_not_known_is_taken_for_the_worst() {
        assert_eq!(volatility("s"), Volatility::Stable);
        assert_eq!((volatility("?"), volatility("")), (Volatility::Volatile, Volatility::Volatile));
        assert_eq!((kind("p"), kind("?")), (RelationKind::Plain, RelationKind::Foreign));
        assert_eq!((persistence("p"), persistence("?")), (Persistence::Permanent, Persistence::Temporary));
    }
}
