//! Random conversations, held twice: with PostgreSQL itself, and through the router. Every answer must be the same.
//!
//! A conversation is a seed, so a failure can be repeated: `HIGHWATER_TEST_SEED=<seed>` runs that one alone.

use std::time::Duration;

use crate::harness::raw::{
    Message, Raw, bind, close, column, cstring, describe, execute, flush, frame, parse, query, sync, tags,
};
use crate::harness::template::APP_PASSWORD;
use crate::harness::{Fixture, Settings, full};

/// Chance that can be repeated (SplitMix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % limit as u64).expect("below a usize")
    }

    fn one_of<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.below(choices.len())]
    }
}

/// Statements without parameters; `$t` stands for the conversation's own table.
const STATEMENTS: &[&str] = &[
    "SELECT 1",
    "SELECT count(*) FROM $t",
    "SELECT id FROM $t ORDER BY id",
    "SELECT id FROM $t ORDER BY id LIMIT 3",
    "INSERT INTO $t (word) VALUES ('x')",
    "INSERT INTO $t (word) VALUES ('y') RETURNING word",
    "UPDATE $t SET word = word || '+'",
    "DELETE FROM $t WHERE id % 3 = 0",
    "SELECT 1/(now() IS NULL)::int",
    "SELECT no_such_column",
    "SELEC",
    "",
    "BEGIN",
    "BEGIN READ ONLY",
    "BEGIN ISOLATION LEVEL REPEATABLE READ",
    "SET TRANSACTION READ ONLY",
    "COMMIT",
    "COMMIT",
    "ROLLBACK",
    "ROLLBACK",
    "COMMIT AND CHAIN",
    "SAVEPOINT a",
    "ROLLBACK TO a",
    "RELEASE a",
    "SET work_mem = '5MB'",
    "SET LOCAL work_mem = '6MB'",
    "SHOW work_mem",
    "RESET work_mem",
    "SELECT current_setting('work_mem')",
    "SELECT set_config('work_mem', '7MB', true)",
    "PREPARE p AS SELECT 'prepared'",
    "EXECUTE p",
    "DEALLOCATE p",
    "DEALLOCATE ALL",
    "DECLARE c CURSOR FOR SELECT n FROM generate_series(1, 5) n",
    "DECLARE c CURSOR WITH HOLD FOR SELECT n FROM generate_series(1, 5) n",
    "FETCH 2 FROM c",
    "CLOSE c",
    "CREATE TEMP TABLE IF NOT EXISTS mine (n int)",
    "INSERT INTO mine VALUES (1)",
    "SELECT count(*) FROM mine",
    "DROP TABLE IF EXISTS mine",
    "DO $$ BEGIN RAISE NOTICE 'heard'; END $$",
    "DISCARD ALL",
    "EXPLAIN (COSTS OFF) SELECT 1",
    "VALUES (1), (2)",
    "COPY (SELECT id FROM $t ORDER BY id) TO STDOUT",
];

/// Simple queries of several statements.
const SEVERAL: &[&str] = &[
    "SELECT 1; SELECT 2",
    "INSERT INTO $t (word) VALUES ('z'); SELECT count(*) FROM $t",
    "SELECT 1; SELECT 1/(now() IS NULL)::int; SELECT 2",
    "BEGIN; INSERT INTO $t (word) VALUES ('b'); COMMIT",
    "BEGIN; INSERT INTO $t (word) VALUES ('c')",
    "INSERT INTO $t (word) VALUES ('d'); ROLLBACK; SELECT 1",
    "COMMIT; BEGIN; SELECT count(*) FROM $t",
    "SET work_mem = '8MB'; SHOW work_mem",
];

/// A piece of a conversation: bytes to be sent at once, and how many ReadyForQuery they bring.
struct Piece {
    bytes: Vec<u8>,
    answers: usize,
    /// In words, for the report of a failure.
    words: String,
}

fn piece(dice: &mut Dice, manners: Manners) -> Piece {
    let mut piece = Piece { bytes: Vec::new(), answers: 0, words: String::new() };
    for _ in 0..=dice.below(3) {
        match (dice.below(5), manners) {
            (0 | 1, _) => simple(dice, &mut piece),
            (2, _) if dice.below(3) == 0 => copy_in(&mut piece),
            (_, Manners::Driver) => driver_batch(dice, &mut piece),
            (_, Manners::Wild) => batch(dice, &mut piece),
        }
        piece.answers += 1;
    }
    piece
}

/// How extended messages are put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manners {
    /// As drivers do: whole statements, names closed before they are used again.
    Driver,
    /// Anything the protocol allows.
    Wild,
}

impl Manners {
    /// How many conversations are held. Among more wild ones than these are some that end PostgreSQL 15.20 itself, asked
    /// directly, with a segmentation fault.
    fn conversations(self) -> u64 {
        match (self, full()) {
            (Manners::Driver, true) => 1000,
            (Manners::Wild, true) | (Manners::Driver | Manners::Wild, false) => 150,
        }
    }
}

fn perhaps_flush(dice: &mut Dice, piece: &mut Piece) {
    if dice.below(8) == 0 {
        piece.bytes.extend(flush());
        piece.words += "\n  Flush";
    }
}

fn end_batch(piece: &mut Piece) {
    piece.bytes.extend(sync());
    piece.words += "\n  Sync";
}

/// Whole statements up to a Sync.
fn driver_batch(dice: &mut Dice, piece: &mut Piece) {
    for _ in 0..=dice.below(3) {
        let name = dice.one_of(&["", "", "s1", "s2"]);
        let (bytes, words) = whole(dice, name);
        piece.bytes.extend(bytes);
        piece.words += &format!("\n  {words}");
        perhaps_flush(dice, piece);
    }
    end_batch(piece);
}

fn simple(dice: &mut Dice, piece: &mut Piece) {
    let sql = if dice.below(6) == 0 { dice.one_of(SEVERAL) } else { dice.one_of(STATEMENTS) };
    piece.bytes.extend(query(sql));
    piece.words += &format!("\n  Query {sql:?}");
}

fn copy_in(piece: &mut Piece) {
    piece.bytes.extend(query("COPY $t (word) FROM STDIN"));
    // Sent without knowing whether the server will take it; outside COPY these messages are ignored.
    piece.bytes.extend([frame(b'd', b"copied\n"), frame(b'c', &[])].concat());
    piece.words += "\n  COPY in";
}

/// Extended messages up to a Sync.
fn batch(dice: &mut Dice, piece: &mut Piece) {
    for _ in 0..=dice.below(6) {
        let name = dice.one_of(&["", "", "s1", "s2"]);
        let portal = dice.one_of(&["", "", "", "p1"]);
        let (bytes, words) = match dice.below(12) {
            0..=3 => {
                let sql = dice.one_of(STATEMENTS);
                (parse(name, sql), format!("Parse {name:?} {sql:?}"))
            }
            4 | 5 => (bind(portal, name, &[]), format!("Bind {portal:?} {name:?}")),
            6 | 7 => {
                let rows = u32::try_from(dice.below(3)).expect("small");
                (execute(portal, rows), format!("Execute {portal:?} {rows}"))
            }
            8 => (describe(b'S', name), format!("Describe S {name:?}")),
            9 => (describe(b'P', portal), format!("Describe P {portal:?}")),
            10 => (
                close(*dice.one_of(&["S", "P"]).as_bytes().first().expect("one"), name),
                format!("Close {name:?}"),
            ),
            _ => whole(dice, name),
        };
        piece.bytes.extend(bytes);
        piece.words += &format!("\n  {words}");
        perhaps_flush(dice, piece);
    }
    end_batch(piece);
}

/// Parse, Bind, Describe, Execute of one statement, as drivers send it.
fn whole(dice: &mut Dice, name: &str) -> (Vec<u8>, String) {
    let sql = dice.one_of(STATEMENTS);
    let bytes =
        [close(b'S', name), parse(name, sql), bind("", name, &[]), describe(b'P', ""), execute("", 0)];
    (bytes.concat(), format!("Close, Parse, Bind, Describe, Execute {name:?} {sql:?}"))
}

/// What is compared of one answer.
#[derive(PartialEq, Eq)]
struct Answer {
    /// Order and kinds of messages.
    tags: String,
    /// Values, row counts, SQLSTATEs.
    details: Vec<String>,
    /// How it ended, other than by ReadyForQuery.
    end: Option<String>,
}

impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {:?}{}", self.tags, self.details, self.end.as_deref().unwrap_or_default())
    }
}

fn summary(answer: &[Message], end: Option<String>) -> Answer {
    let details = answer.iter().filter_map(|message| match message.tag {
        b'D' => Some(format!("{:?}", message.columns())),
        b'C' => Some(message.text()),
        b'd' => Some(String::from_utf8_lossy(&message.body).into_owned()),
        b'E' | b'N' => message.field(b'C'),
        _ => None,
    });
    Answer { tags: tags(answer), details: details.collect(), end }
}

/// The differences that are documented as limits. The conversation ends there, because what follows may differ too.
fn is_a_limit(wanted: &Answer, got: &Answer, told: &str, router: &mut Raw) -> bool {
    cannot_be_prepared(wanted, got)
        || was_prepared_before(wanted, got)
        || stays_on_a_replica(wanted, got, told, router)
}

/// PostgreSQL describes a statement without rows in an aborted block too (limits, L10); a backend that does not have it
/// cannot be given it there.
fn cannot_be_prepared(wanted: &Answer, got: &Answer) -> bool {
    let Some(before) = got.tags.strip_suffix("E ZE") else { return false };
    got.details.last().is_some_and(|code| code == "25P02") && wanted.tags.starts_with(&format!("{before}t n"))
}

/// A text that the backend has prepared is acknowledged without asking it again; what has made it invalid since shows
/// one message later, at its Bind (limits, L10).
fn was_prepared_before(wanted: &Answer, got: &Answer) -> bool {
    let at = got.tags.rfind("1 E Z");
    at.is_some_and(|at| wanted.tags == [&got.tags[..at], &got.tags[at + 2..]].concat())
        && wanted.details == got.details
        && got.details.last().is_some_and(|code| code == "42P01")
}

/// What pins inside BEGIN READ ONLY, or a block begun in the message that ends it, makes later writes fail (limits, L9):
/// the router says so itself.
fn stays_on_a_replica(wanted: &Answer, got: &Answer, told: &str, router: &mut Raw) -> bool {
    let refused = |answer: &Answer| answer.details.iter().any(|code| code == "25006");
    if refused(wanted) || !refused(got) {
        return false;
    }
    router.query("ROLLBACK");
    let route = router.query("SHOW highwater.last_route");
    let stays = match column(&route, "reason").as_str() {
        "pinned" => true,
        "open_transaction" => told.contains("COMMIT; BEGIN") || told.contains("AND CHAIN"),
        _ => false,
    };
    stays && column(&route, "role") == "replica"
}

/// The same bytes with the table's name in place of `$t`; the names are of one length, and so are the messages.
fn with_table(bytes: &[u8], table: &str) -> Vec<u8> {
    assert_eq!(table.len(), 2, "as long as what it stands for");
    let mut bytes = bytes.to_vec();
    for at in 0..bytes.len().saturating_sub(1) {
        if &bytes[at..at + 2] == b"$t" {
            bytes[at..at + 2].copy_from_slice(table.as_bytes());
        }
    }
    bytes
}

/// Holds one conversation with both; the error tells where they part.
fn converse(seed: u64, manners: Manners, ports: [u16; 2], tables: [&str; 2]) -> Result<(), String> {
    let mut dice = Dice(seed);
    let mut ends = ports.map(|port| Raw::login(port, "app", APP_PASSWORD, "app"));
    for (raw, table) in ends.iter_mut().zip(tables) {
        raw.patience(Duration::from_secs(15));
        raw.query(&format!("DROP TABLE IF EXISTS {table}; CREATE TABLE {table} (id serial, word text)"));
    }
    let mut told = String::new();
    for _ in 0..12 {
        let piece = piece(&mut dice, manners);
        told += &piece.words;
        told += "\n  --";
        let mut summaries: Vec<Vec<Answer>> = Vec::new();
        for (raw, table) in ends.iter_mut().zip(tables) {
            raw.send(&with_table(&piece.bytes, table));
            summaries.push((0..piece.answers).map(|_| answer(raw)).collect());
        }
        for (number, (wanted, got)) in summaries[0].iter().zip(&summaries[1]).enumerate() {
            if wanted != got && is_a_limit(wanted, got, &told, &mut ends[1]) {
                return Ok(());
            }
            if wanted != got {
                return Err(format!(
                    "seed {seed}, answer {number} of the last piece:\n  wanted {wanted}\n  got    {got}{told}"
                ));
            }
        }
    }
    Ok(())
}

fn answer(raw: &mut Raw) -> Answer {
    let mut messages = Vec::new();
    loop {
        match raw.try_receive() {
            Ok(Some(message)) => {
                let last = message.tag == b'Z';
                messages.push(message);
                if last {
                    return summary(&messages, None);
                }
            }
            Ok(None) => return summary(&messages, Some(", closed".to_owned())),
            Err(error) => return summary(&messages, Some(format!(", then nothing: {error}"))),
        }
    }
}

#[tokio::test]
async fn random_conversations_as_drivers_hold_them_are_answered_as_by_postgresql() {
    compare(Manners::Driver).await;
}

#[tokio::test]
async fn wild_conversations_are_answered_as_by_postgresql() {
    compare(Manners::Wild).await;
}

async fn compare(manners: Manners) {
    let fixture = Fixture::start(Settings { pool_size: 10, ..Settings::default() }).await;
    let ports = [fixture.cluster.primary.port, fixture.port()];
    let seeds: Vec<u64> = match std::env::var("HIGHWATER_TEST_SEED") {
        Ok(seed) => vec![seed.parse().expect("HIGHWATER_TEST_SEED is a number")],
        Err(_) => (0..manners.conversations()).collect(),
    };
    // Four at a time, so that sessions meet on backends that others have used.
    let lanes: Vec<_> = (0..4_usize)
        .map(|lane| {
            let mine: Vec<u64> = seeds.iter().copied().skip(lane).step_by(4).collect();
            std::thread::spawn(move || {
                let tables = [["a0", "b0"], ["a1", "b1"], ["a2", "b2"], ["a3", "b3"]][lane];
                mine.into_iter()
                    .filter_map(|seed| converse(seed, manners, ports, tables).err())
                    .collect::<Vec<_>>()
            })
        })
        .collect();
    let mut failures: Vec<String> = lanes.into_iter().flat_map(|lane| lane.join().unwrap()).collect();
    failures.sort_by_key(String::len);
    let most = std::env::var("HIGHWATER_TEST_SHOW").ok().and_then(|most| most.parse().ok()).unwrap_or(3);
    let shown: Vec<_> = failures.iter().take(most).map(String::as_str).collect();
    assert!(failures.is_empty(), "{} of {} differ:\n{}", failures.len(), seeds.len(), shown.join("\n\n"));
}

#[test]
fn cstring_and_names_keep_their_length() {
    assert_eq!(with_table(&cstring("SELECT 1 FROM $t"), "a0"), cstring("SELECT 1 FROM a0"));
}
