//! A table as the console sends it: columns with types, rows of cells.
//!
//! It knows neither what it shows nor how it is sent.

use wire::encode::type_oid;

/// Type of a column.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Text,
    Int,
    Big,
    /// What PgBouncer calls `numeric`, since its counters may pass 2^63.
    Numeric,
    Float,
}

impl Kind {
    /// OID of its type (`src/include/catalog/pg_type.dat`).
    pub(super) const fn oid(self) -> u32 {
        match self {
            Kind::Text => type_oid::TEXT,
            Kind::Int => type_oid::INT4,
            Kind::Big => type_oid::INT8,
            Kind::Numeric => 1700,
            Kind::Float => type_oid::FLOAT8,
        }
    }
}

/// A column's name and type.
pub(super) type Column = (&'static str, Kind);

/// A value, or NULL.
pub(super) type Cell = Option<String>;

/// Columns and rows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Table {
    columns: &'static [Column],
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// A table of these rows, each with a cell for every column.
    pub(super) fn new(columns: &'static [Column], rows: impl IntoIterator<Item = Vec<Cell>>) -> Table {
        let rows: Vec<_> = rows.into_iter().collect();
        debug_assert!(rows.iter().all(|row| row.len() == columns.len()), "a row of another width: {rows:?}");
        Table { columns, rows }
    }

    pub(super) fn columns(&self) -> &'static [Column] {
        self.columns
    }

    pub(super) fn rows(&self) -> &[Vec<Cell>] {
        &self.rows
    }

    /// The cell of this row under this column's name.
    #[cfg(test)]
    pub(super) fn cell(&self, row: usize, column: &str) -> Option<&str> {
        let place = self.columns.iter().position(|(name, _)| *name == column).expect("the column is there");
        self.rows[row][place].as_deref()
    }
}

/// A cell with this in it.
pub(super) fn cell(value: impl ToString) -> Cell {
    Some(value.to_string())
}

/// A cell with this in it, or NULL.
pub(super) fn maybe<T: ToString>(value: Option<T>) -> Cell {
    value.map(|value| value.to_string())
}
