//! Prepared statements, known by their text: interned once per worker, named anew on each backend.
//!
//! A client's name means nothing to a backend and the other way round. The text (with its parameter types)
//! gets a number; a backend that has prepared it knows it as `hw_<number>`.
//!
//! A text means what it meant when PostgreSQL parsed it: `'2026-01-01'::timestamptz` is a point in time from then on, by
//! the time zone of that moment. So clients share a statement only if they would have parsed it in the same
//! [`Circumstances`], and not at all if its meaning depends on when that was.

use std::collections::HashMap;
use std::sync::Arc;

use sql::Verdict;

use crate::pool::WorkerId;

/// Most prepared statements kept on one backend; the least recently used goes (`max_prepared_statements`).
pub const KNOWN_MAX: usize = 200;

/// Interned text, in bytes, above which unused statements are let go.
const TEXT_BYTES_MAX: usize = 32 << 20;

/// Prefix of the names that backends know.
pub(crate) const PREFIX: &str = "hw_";

/// One text with its parameter types.
#[derive(Debug, PartialEq, Eq)]
pub struct Statement {
    /// Its number; never used twice in the process, because backends are handed from worker to worker.
    pub id: u64,
    /// The SQL text as the client sent it.
    pub text: Box<[u8]>,
    /// Count and OIDs of the parameter types, as in the Parse message.
    pub types: Box<[u8]>,
    /// For whom it means the same.
    pub circumstances: Circumstances,
}

/// What the meaning of a text depends on, besides the text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Circumstances {
    /// These settings, as a key.
    Settings(u64),
    /// More than can be said: what is prepared is for one session only.
    Own,
}

/// A statement as a client has prepared it: the text and what it does.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// The text.
    pub statement: Arc<Statement>,
    /// What it does, as of the catalogue epoch below.
    pub verdict: Arc<Verdict>,
    /// The memo's context and the catalogue's epoch for which the verdict holds.
    pub judged_for: (u64, u64),
    /// Counts what the client has prepared, so that a DISCARD ALL forgets only what came before it.
    pub serial: u64,
}

/// Whether a text has come before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Age {
    /// Not that anybody remembers.
    New,
    /// From this client or another one.
    Seen,
}

/// All statements that a worker's clients have prepared.
#[derive(Debug)]
pub struct Statements {
    by_hash: HashMap<u128, Arc<Statement>>,
    text_bytes: usize,
    /// The next sweep comes when there is this much text: twice what the last one left, so that sweeps stay rare.
    sweep_at: usize,
    next_id: u64,
    /// How many workers give numbers.
    step: u64,
}

impl Statements {
    /// None yet; of so many workers, this one takes every so many-th number.
    pub(crate) fn new((worker, workers): (WorkerId, u16)) -> Self {
        Statements {
            by_hash: HashMap::new(),
            text_bytes: 0,
            sweep_at: 0,
            next_id: u64::from(worker.0) + 1,
            step: workers.into(),
        }
    }

    /// The statement with this text and these types in these circumstances, made if it is new.
    pub fn intern(
        &mut self,
        text: &[u8],
        types: &[u8],
        circumstances: Circumstances,
    ) -> (Arc<Statement>, Age) {
        let Circumstances::Settings(settings) = circumstances else {
            return (self.own(text, types), Age::New);
        };
        let hash = sql::hash(text, types_key(types) ^ settings);
        if let Some(found) = self.by_hash.get(&hash)
            && *found.text == *text
            && *found.types == *types
            && found.circumstances == circumstances
        {
            return (Arc::clone(found), Age::Seen);
        }
        if depends_on_when(text) {
            return (self.own(text, types), Age::New);
        }
        self.make_room();
        let statement = self.make(text, types, circumstances);
        self.text_bytes += text.len();
        if let Some(old) = self.by_hash.insert(hash, Arc::clone(&statement)) {
            self.text_bytes -= old.text.len();
        }
        (statement, Age::New)
    }

    /// A statement that is one session's own.
    pub fn own(&mut self, text: &[u8], types: &[u8]) -> Arc<Statement> {
        self.make(text, types, Circumstances::Own)
    }

    /// The plan of this statement is out of date on some backend: who prepares its text from now on gets another one.
    pub(crate) fn retire(&mut self, id: u64) {
        let retired = self.by_hash.extract_if(|_, statement| statement.id == id);
        self.text_bytes -= retired.map(|(_, statement)| statement.text.len()).sum::<usize>();
    }

    fn make(&mut self, text: &[u8], types: &[u8], circumstances: Circumstances) -> Arc<Statement> {
        let id = self.next_id;
        self.next_id += self.step;
        Arc::new(Statement { id, text: text.into(), types: types.into(), circumstances })
    }

    /// Lets go of statements that no client has any more, once there is much text.
    fn make_room(&mut self) {
        if self.text_bytes < self.sweep_at.max(TEXT_BYTES_MAX) {
            return;
        }
        let mut bytes = 0;
        self.by_hash.retain(|_, s| {
            let used = Arc::strong_count(s) > 1;
            bytes += if used { s.text.len() } else { 0 };
            used
        });
        self.text_bytes = bytes;
        self.sweep_at = bytes.saturating_mul(2);
    }
}

/// Could its meaning depend on the moment at which it was parsed? PostgreSQL turns the literals `'now'`, `'today'`,
/// `'tomorrow'` and `'yesterday'` into points in time when it parses them ("Date/Time Types", Special Values). Without
/// telling literals from the rest: a word that only looks so costs a Parse. A backslash may spell any of them.
fn depends_on_when(text: &[u8]) -> bool {
    if !text.iter().any(|&b| matches!(b, b'\'' | b'$')) {
        return false;
    }
    if text.contains(&b'\\') {
        return true;
    }
    let is_word = |b: &u8| b.is_ascii_alphanumeric() || *b == b'_';
    let mut rest = text;
    while let Some(start) = rest.iter().position(is_word) {
        let word = &rest[start..];
        let (word, after) = word.split_at(word.iter().position(|b| !is_word(b)).unwrap_or(word.len()));
        // `now()` is a call, which is made anew each time.
        if SPECIAL_WORDS.iter().any(|special| word.eq_ignore_ascii_case(special))
            && !(word.len() == 3 && after.first() == Some(&b'('))
        {
            return true;
        }
        rest = after;
    }
    false
}

/// Inputs of date and time types that PostgreSQL turns into a point in time as it reads them.
const SPECIAL_WORDS: [&[u8]; 4] = [b"now", b"today", b"tomorrow", b"yesterday"];

/// A key for the parameter types, so that the same text with other types hashes apart.
fn types_key(types: &[u8]) -> u64 {
    if types.iter().all(|&b| b == 0) { types.len() as u64 } else { sql::hash(types, 1) as u64 }
}

/// Which statements one backend has prepared.
#[derive(Debug, Default)]
pub struct Known {
    by_id: HashMap<u64, Use>,
    tick: u64,
}

#[derive(Clone, Copy, Debug)]
struct Use {
    tick: u64,
    state: State,
}

impl Use {
    fn is_there(&self, batch: u64) -> bool {
        self.state == State::Ready || self.state == State::Parsing { batch }
    }
}

/// What is known of one statement on one backend.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// ParseComplete has come. → `Unsure`
    Ready,
    /// Its Parse is on the way, in this batch. → `Ready`, `Unsure`
    Parsing { batch: u64 },
    /// An error came in the batch that parsed or closed it: it may be there or not. → `Parsing`
    Unsure,
}

/// What must be sent before a statement can be used on a backend.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Preparation {
    /// Nothing: it is there, or its Parse is on the way.
    Ready,
    /// A Parse.
    Parse,
    /// A Close of this statement (another one, or itself when it may be there), then a Parse.
    CloseThenParse(u64),
}

impl Known {
    /// Is it there, or will it be before what comes next in this batch?
    pub fn has(&self, id: u64, batch: u64) -> bool {
        self.by_id.get(&id).is_some_and(|known| known.is_there(batch))
    }

    /// Marks a statement as used in this batch (a number that differs from Sync to Sync) and tells what must be sent first.
    pub fn prepare(&mut self, id: u64, batch: u64) -> Preparation {
        self.tick += 1;
        let parsing = Use { tick: self.tick, state: State::Parsing { batch } };
        if let Some(known) = self.by_id.get_mut(&id) {
            if known.is_there(batch) {
                known.tick = parsing.tick;
                return Preparation::Ready;
            }
            // Whether it is there is decided by an answer that has not come yet, or was lost: a Close is never wrong.
            *known = parsing;
            return Preparation::CloseThenParse(id);
        }
        let evicted = if self.by_id.len() >= KNOWN_MAX { self.least_recent() } else { None };
        if let Some(old) = evicted {
            self.by_id.remove(&old);
        }
        self.by_id.insert(id, parsing);
        evicted.map_or(Preparation::Parse, Preparation::CloseThenParse)
    }

    /// ParseComplete came for this statement.
    pub fn on_parsed(&mut self, id: u64) {
        if let Some(known) = self.by_id.get_mut(&id)
            && matches!(known.state, State::Parsing { .. })
        {
            known.state = State::Ready;
        }
    }

    /// A Parse or Close of this statement will not be answered, because an error came before it in its batch.
    pub fn on_unanswered(&mut self, id: u64) {
        let tick = self.tick;
        self.by_id.entry(id).or_insert(Use { tick, state: State::Unsure }).state = State::Unsure;
    }

    /// This statement may be gone, if it was there: it is closed before it is parsed again.
    pub fn doubt(&mut self, id: u64) {
        if let Some(known) = self.by_id.get_mut(&id) {
            known.state = State::Unsure;
        }
    }

    /// DISCARD ALL or DEALLOCATE ALL is on its way: whatever becomes of it, each statement may be gone.
    pub fn doubt_all(&mut self) {
        for known in self.by_id.values_mut() {
            known.state = State::Unsure;
        }
    }

    /// How many it has.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// None at all?
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// The statement used longest ago whose Parse is not on the way.
    fn least_recent(&self) -> Option<u64> {
        self.by_id
            .iter()
            .filter(|(_, known)| !matches!(known.state, State::Parsing { .. }))
            .min_by_key(|(_, known)| known.tick)
            .map(|(&id, _)| id)
    }
}

/// Appends the name that backends know a statement by.
pub(crate) fn backend_name(id: u64) -> BackendName {
    let mut name = BackendName { bytes: [0; 24], len: 0 };
    for &b in PREFIX.as_bytes() {
        name.push(b);
    }
    let mut digits = [0_u8; 20];
    let mut n = id;
    let mut count = 0;
    while n > 0 || count == 0 {
        digits[count] = b'0' + (n % 10) as u8;
        n /= 10;
        count += 1;
    }
    for &d in digits[..count].iter().rev() {
        name.push(d);
    }
    name
}

/// A backend's name for a statement, without allocation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BackendName {
    bytes: [u8; 24],
    len: usize,
}

impl BackendName {
    fn push(&mut self, byte: u8) {
        self.bytes[self.len] = byte;
        self.len += 1;
    }

    /// The name's bytes, without terminator.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn words_that_stand_for_a_moment_are_found_in_literals_only_where_there_can_be_some() {
        for text in
            ["select 'now'::timestamptz", "select 'Tomorrow 10:00'::timestamp", "select $$today$$::date"]
        {
            assert!(depends_on_when(text.as_bytes()), "{text}");
        }
        assert!(depends_on_when(br"select e'\x6eow'::timestamptz"));
        for text in
            ["select now()", "select now() - '1 day'", "select today from t", "select 'nowhere', 'know'"]
        {
            assert!(!depends_on_when(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn a_text_is_shared_by_those_to_whom_it_means_the_same() {
        let mut all = Statements::new((WorkerId(0), 1));
        let here = Circumstances::Settings(1);
        let (first, age) = all.intern(b"select 1", &[0, 0], here);
        assert_eq!(age, Age::New);
        let (second, age) = all.intern(b"select 1", &[0, 0], here);
        assert_eq!((second.id, age), (first.id, Age::Seen));
        for other in [Circumstances::Settings(2), Circumstances::Own, Circumstances::Own] {
            let (third, age) = all.intern(b"select 1", &[0, 0], other);
            assert!(third.id > second.id && age == Age::New);
        }
    }

    #[test]
    fn a_text_with_other_parameter_types_is_another_statement() {
        let mut all = Statements::new((WorkerId(0), 1));
        let here = Circumstances::Settings(1);
        let types: [&[u8]; 4] = [&[0, 0], &[0, 1, 0, 0, 0, 0], &[0, 1, 0, 0, 0, 23], &[0, 1, 0, 0, 0, 25]];
        let ids = types.map(|types| all.intern(b"select $1", types, here).0.id);
        assert_eq!(ids.into_iter().collect::<BTreeSet<_>>().len(), types.len());
        assert_eq!(types.map(|types| all.intern(b"select $1", types, here).0.id), ids);
    }

    #[test]
    fn no_two_workers_give_the_same_number() {
        let mut given = BTreeSet::new();
        for worker in 0..3 {
            let mut all = Statements::new((WorkerId(worker), 3));
            for _ in 0..50 {
                assert!(given.insert(all.own(b"select 1", &[0, 0]).id));
            }
        }
    }

    #[test]
    fn a_full_backend_loses_the_statement_used_longest_ago_whose_parse_is_answered() {
        let mut known = Known::default();
        let last = KNOWN_MAX as u64 - 1;
        for id in 0..=last {
            assert_eq!(known.prepare(id, 1), Preparation::Parse);
        }
        for id in 1..=last {
            known.on_parsed(id);
        }
        assert_eq!(known.prepare(1, 2), Preparation::Ready);
        // 0 is the oldest, but its Parse is still on the way; 1 has just been used.
        assert_eq!(known.prepare(last + 1, 2), Preparation::CloseThenParse(2));
        assert_eq!(known.len(), KNOWN_MAX);
        assert!(known.has(0, 1) && known.has(1, 2) && !known.has(2, 2));
    }
}
