//! What the null backend answers to a text: a sum, many rows, or what a monitor wants to hear.

use wire::encode::{self, Column, type_oid};

/// What it says it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Primary,
    Replica,
}

/// `pg_lsn` in `src/include/catalog/pg_type.dat`.
const PG_LSN: u32 = 3220;
/// Where the WAL stands, always.
const POSITION: u64 = 0x0300_0060;
/// The server says it started then, and has this system identifier.
const INCARNATION: &str = "7000000000000000001 1700000000000000 1700000000000001";
const SYSTEM_IDENTIFIER: i64 = 7_000_000_000_000_000_001;
/// How `load` begins every statement it checks the answer of.
const SUM: &[u8] = b"SELECT aid + ";
/// A row of a large result: about as wide as one of `pgbench_accounts`.
const FILLER: &[u8] =
    b"the quick brown fox jumps over the lazy dog, again and again, until the row is as wide as it should be";

/// What a text asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// A row with this number plus the key: the parameter, or the number the text ends with.
    Sum { addend: u64, key: Option<u64> },
    /// This many rows.
    Rows(u64),
    /// COPY TO STDOUT of this many rows.
    CopyOut(u64),
    /// COPY FROM STDIN.
    CopyIn,
    /// At most one row of these columns.
    Table { columns: Vec<(&'static str, u32)>, row: Option<Vec<Value>> },
    /// No rows, this command tag, and whether a transaction block begins or ends.
    Done { tag: String, block: Block },
    /// No statement at all.
    Empty,
}

/// What a statement does to the transaction block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Block {
    Begins,
    Ends,
    Stays,
}

/// A value of a [`Answer::Table`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Int4(i32),
    Int8(i64),
    Lsn(u64),
    Text(&'static str),
}

impl Value {
    /// As it stands in a row, in the format asked for.
    pub(crate) fn bytes(&self, binary: bool) -> Option<Vec<u8>> {
        Some(match (self, binary) {
            (Value::Null, _) => return None,
            (Value::Text(text), _) => text.as_bytes().to_vec(),
            (Value::Bool(is), true) => vec![u8::from(*is)],
            (Value::Bool(is), false) => vec![if *is { b't' } else { b'f' }],
            (Value::Int4(number), true) => number.to_be_bytes().to_vec(),
            (Value::Int4(number), false) => number.to_string().into_bytes(),
            (Value::Int8(number), true) => number.to_be_bytes().to_vec(),
            (Value::Int8(number), false) => number.to_string().into_bytes(),
            (Value::Lsn(position), true) => position.to_be_bytes().to_vec(),
            (Value::Lsn(position), false) => {
                format!("{:X}/{:X}", position >> 32, position & 0xffff_ffff).into_bytes()
            }
        })
    }
}

/// Reads a text.
pub(crate) fn of(text: &[u8], role: Role) -> Answer {
    if let Some(rest) = text.strip_prefix(SUM) {
        return Answer::Sum { addend: leading(rest), key: trailing(text) };
    }
    let text = String::from_utf8_lossy(text);
    let text = text.trim().trim_end_matches(';').trim_end();
    if text.is_empty() { Answer::Empty } else { monitor(text, role).unwrap_or_else(|| other(text)) }
}

/// The number at the start.
fn leading(digits: &[u8]) -> u64 {
    digits
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'))
}

/// The number at the end; none where the text ends with `$1`.
fn trailing(text: &[u8]) -> Option<u64> {
    let start = text.iter().rposition(|byte| !byte.is_ascii_digit())? + 1;
    (text[start - 1] != b'$').then(|| leading(&text[start..]))
}

/// What Highwater's monitor and pools ask, and its catalogue keeper.
fn monitor(text: &str, role: Role) -> Option<Answer> {
    let replica = role == Role::Replica;
    let receiving = |value| if replica { value } else { Value::Null };
    let row = |columns: &[(&'static str, u32)], row: Vec<Value>| {
        Some(Answer::Table { columns: columns.to_vec(), row: Some(row) })
    };
    const TEXT: u32 = type_oid::TEXT;
    if text.contains("aurora_db_instance_identifier") {
        return row(&[("?column?", type_oid::BOOL)], vec![Value::Bool(false)]);
    }
    if text.contains("pg_last_wal_replay_lsn()") {
        let columns = [("r", type_oid::BOOL), ("case", PG_LSN), ("case", TEXT), ("case", type_oid::INT4)];
        let walfile = if replica { Value::Null } else { Value::Text("000000010000000000000003") };
        return row(
            &columns,
            vec![Value::Bool(replica), Value::Lsn(POSITION), walfile, receiving(Value::Int4(1))],
        );
    }
    if text.contains("pg_control_recovery()") {
        let columns = [
            ("greatest", type_oid::INT4),
            ("?column?", type_oid::BOOL),
            ("status", TEXT),
            ("case", TEXT),
            ("concat_ws", TEXT),
        ];
        return row(
            &columns,
            vec![
                Value::Int4(1),
                Value::Bool(replica),
                receiving(Value::Text("streaming")),
                receiving(Value::Text("not paused")),
                Value::Text(INCARNATION),
            ],
        );
    }
    if text.contains("bytes_per_wal_segment") {
        let columns = [
            ("system_identifier", type_oid::INT8),
            ("wal_block_size", type_oid::INT4),
            ("bytes_per_wal_segment", type_oid::INT4),
            ("current_setting", TEXT),
        ];
        return row(
            &columns,
            vec![
                Value::Int8(SYSTEM_IDENTIFIER),
                Value::Int4(8192),
                Value::Int4(16 << 20),
                Value::Text("15.0"),
            ],
        );
    }
    if text.contains("pg_is_in_recovery()::text") {
        let columns = [("pg_is_in_recovery", TEXT), ("concat_ws", TEXT), ("databases", TEXT)];
        let databases =
            if text.contains("pg_database") { Value::Text("bench\npostgres") } else { Value::Null };
        let in_recovery = Value::Text(if replica { "true" } else { "false" });
        return row(&columns, vec![in_recovery, Value::Text(INCARNATION), databases]);
    }
    catalogue(text)
}

/// What the catalogue keeper asks.
fn catalogue(text: &str) -> Option<Answer> {
    const TEXT: u32 = type_oid::TEXT;
    let row = |columns: &[(&'static str, u32)], row: Vec<Value>| {
        Some(Answer::Table { columns: columns.to_vec(), row: Some(row) })
    };
    if text.contains("AS epoch") {
        return row(&[("epoch", type_oid::INT8)], vec![Value::Int8(1)]);
    }
    if text.contains("AS persistence") {
        let columns = [("schema", TEXT), ("name", TEXT), ("kind", TEXT), ("persistence", TEXT)];
        return row(&columns, ["public", "pgbench_accounts", "r", "p"].map(Value::Text).to_vec());
    }
    // The other parts of the catalogue: there is nothing in them.
    let parts = text.contains("AS schema");
    parts.then(|| Answer::Table { columns: vec![("schema", TEXT)], row: None })
}

fn other(text: &str) -> Answer {
    let upper = text.to_ascii_uppercase();
    let mut words = upper.split_ascii_whitespace();
    let first = words.next().unwrap_or_default();
    let done = |tag: &str, block| Answer::Done { tag: tag.to_owned(), block };
    match first {
        "BEGIN" | "START" => done("BEGIN", Block::Begins),
        "COMMIT" | "END" => done("COMMIT", Block::Ends),
        "ROLLBACK" | "ABORT" => done("ROLLBACK", Block::Ends),
        "SELECT" if upper.contains(" LIMIT ") => Answer::Rows(trailing(text.as_bytes()).unwrap_or(0)),
        "SELECT" | "SHOW" => {
            Answer::Table { columns: vec![("?column?", type_oid::TEXT)], row: Some(vec![Value::Text("1")]) }
        }
        "COPY" if upper.contains("FROM STDIN") => Answer::CopyIn,
        // `COPY (SELECT … LIMIT 1000) TO STDOUT`.
        "COPY" => {
            let inner = upper.split(')').next().unwrap_or_default();
            Answer::CopyOut(trailing(inner.as_bytes()).unwrap_or(0))
        }
        first => done(first.trim_end_matches(';'), Block::Stays),
    }
}

impl Answer {
    /// The columns of its rows; none if it has no rows.
    pub(crate) fn columns(&self) -> Option<Vec<(&'static str, u32)>> {
        match self {
            Answer::Sum { .. } => Some(vec![("?column?", type_oid::INT4)]),
            Answer::Rows(_) => Some(vec![("aid", type_oid::INT4), ("filler", type_oid::TEXT)]),
            Answer::Table { columns, .. } => Some(columns.clone()),
            Answer::CopyOut(_) | Answer::CopyIn | Answer::Done { .. } | Answer::Empty => None,
        }
    }
}

/// Appends a RowDescription, or NoData if there are no rows to describe. `binary` says which columns are.
pub(crate) fn describe(answer: &Answer, binary: impl Fn(usize) -> bool, out: &mut Vec<u8>) {
    let Some(columns) = answer.columns() else { return encode::no_data(out) };
    let columns: Vec<Column<'_>> = columns
        .iter()
        .enumerate()
        .map(|(index, &(name, type_oid))| Column { name, type_oid, format: i16::from(binary(index)) })
        .collect();
    encode::row_description(out, &columns).expect("a few short names");
}

/// Appends one row of a large result, as DataRow or as the CopyData of its line.
pub(crate) fn large_row(number: u64, copy: bool, out: &mut Vec<u8>) {
    let digits = number.to_string();
    if copy {
        out.push(b'd');
        let length = u32::try_from(4 + digits.len() + 1 + FILLER.len() + 1).expect("a short line");
        out.extend_from_slice(&length.to_be_bytes());
        for part in [digits.as_bytes(), b"\t", FILLER, b"\n"] {
            out.extend_from_slice(part);
        }
    } else {
        encode::data_row(out, &[Some(digits.as_bytes()), Some(FILLER)]).expect("a short row");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_of_load_is_a_sum() {
        let simple = of(b"SELECT aid + 3000000 FROM pgbench_accounts WHERE aid = 17", Role::Primary);
        assert_eq!(simple, Answer::Sum { addend: 3_000_000, key: Some(17) });
        let extended = of(b"SELECT aid + 3000000 FROM pgbench_accounts WHERE aid = $1", Role::Primary);
        assert_eq!(extended, Answer::Sum { addend: 3_000_000, key: None });
    }

    #[test]
    fn commands_get_their_tags_and_blocks() {
        let done = |tag: &str, block| Answer::Done { tag: tag.to_owned(), block };
        assert_eq!(of(b"begin read only", Role::Primary), done("BEGIN", Block::Begins));
        assert_eq!(of(b"COMMIT;", Role::Primary), done("COMMIT", Block::Ends));
        assert_eq!(of(b"SET a = 1", Role::Primary), done("SET", Block::Stays));
        assert_eq!(of(b"DISCARD ALL", Role::Primary), done("DISCARD", Block::Stays));
        assert_eq!(of(b" ; ", Role::Primary), Answer::Empty);
        assert_eq!(of(b"SELECT * FROM pgbench_accounts LIMIT 1000", Role::Primary), Answer::Rows(1000));
        let copy = b"COPY (SELECT * FROM pgbench_accounts LIMIT 50) TO STDOUT";
        assert_eq!(of(copy, Role::Primary), Answer::CopyOut(50));
    }

    #[test]
    fn values_are_written_in_the_format_asked_for() {
        assert_eq!(Value::Lsn(0x1_0000_00ff).bytes(false), Some(b"1/FF".to_vec()));
        assert_eq!(Value::Int4(1).bytes(true), Some(vec![0, 0, 0, 1]));
        assert_eq!(Value::Bool(true).bytes(false), Some(b"t".to_vec()));
        assert_eq!(Value::Null.bytes(true), None);
    }
}
