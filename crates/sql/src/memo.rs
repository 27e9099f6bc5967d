//! Remembers verdicts by the hash of their text, in bounded memory.
//!
//! Keeps neither texts nor parse trees, and is not shared between threads: each worker has its own. A verdict is kept
//! when its text comes for the second time, so that statements with their values inlined, which never come again, cost
//! no room and push nothing out. When it is full, the entries not asked for since the last round go first (second chance).

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use crate::verdict::{Detail, SetValue};
use crate::{Environment, Verdict, classify};

/// Longer texts are classified anew each time: they are seldom the same twice. Bytes.
pub const KEPT_TEXT_BYTES_MAX: usize = 64 * 1024;

/// Texts seen once that are remembered, as the low bits of their hashes: 64 KiB.
const SEEN: usize = 1 << 14;

/// 128-bit hash of a text in its context (database, search path, `standard_conforming_strings`).
#[must_use]
pub fn hash(text: &[u8], context: u64) -> u128 {
    xxhash_rust::xxh3::xxh3_128_with_seed(text, context)
}

/// Verdicts by the hash of their text.
#[derive(Debug)]
pub struct Memo {
    bytes_max: usize,
    /// Of each text that came once and was not kept: part of its hash, at a place that another part tells.
    seen: Box<[u32]>,
    index: HashMap<u128, u32, BuildHasherDefault<Folded>>,
    /// Of the clock; a free place is `None`.
    places: Vec<Option<Entry>>,
    free: Vec<u32>,
    hand: usize,
    counters: MemoCounters,
}

#[derive(Debug)]
struct Entry {
    key: u128,
    verdict: Arc<Verdict>,
    bytes: usize,
    /// Asked for since the hand passed.
    used: bool,
}

/// Figures of a [`Memo`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoCounters {
    /// Verdicts found.
    pub hits: u64,
    /// Verdicts made.
    pub misses: u64,
    /// Bytes held, about.
    pub bytes: usize,
    /// Verdicts held.
    pub entries: usize,
}

impl Memo {
    /// Holds at most about `bytes_max` bytes.
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        Self {
            bytes_max,
            seen: vec![0; SEEN].into_boxed_slice(),
            index: HashMap::default(),
            places: Vec::new(),
            free: Vec::new(),
            hand: 0,
            counters: MemoCounters::default(),
        }
    }

    /// The verdict on `text`, remembered or made. `context` tells apart whatever the environment may differ in
    /// (database, search path, `standard_conforming_strings`), but for the catalogue's epoch, which is added here.
    pub fn get_or_classify(&mut self, text: &[u8], context: u64, env: &Environment<'_>) -> Arc<Verdict> {
        if text.len() > KEPT_TEXT_BYTES_MAX {
            self.counters.misses += 1;
            return Arc::new(classify(text, env));
        }
        let key = hash(text, mixed(mixed(context) ^ env.catalogue.epoch()));
        if let Some(&place) = self.index.get(&key) {
            let entry = self.places[place as usize].as_mut().expect("the index names no free place");
            entry.used = true;
            self.counters.hits += 1;
            return Arc::clone(&entry.verdict);
        }
        self.counters.misses += 1;
        let verdict = Arc::new(classify(text, env));
        if self.comes_again(key) {
            self.keep(key, &verdict);
        }
        verdict
    }

    /// Has this text come before, as far as is remembered? Notes that it has now.
    #[expect(clippy::cast_possible_truncation, reason = "parts of a hash are hashes")]
    fn comes_again(&mut self, key: u128) -> bool {
        let seen = &mut self.seen[(key >> 96) as usize % SEEN];
        // Zero is a place where nothing was seen.
        let part = (key >> 64) as u32 | 1;
        std::mem::replace(seen, part) == part
    }

    /// Figures so far.
    #[must_use]
    pub const fn counters(&self) -> MemoCounters {
        self.counters
    }

    fn keep(&mut self, key: u128, verdict: &Arc<Verdict>) {
        let bytes = bytes_of(verdict);
        if bytes > self.bytes_max {
            return;
        }
        while self.counters.bytes + bytes > self.bytes_max {
            self.evict();
        }
        let entry = Some(Entry { key, verdict: Arc::clone(verdict), bytes, used: false });
        let place = match self.free.pop() {
            Some(place) => {
                self.places[place as usize] = entry;
                place
            }
            None => {
                let place = u32::try_from(self.places.len()).expect("an entry has more than a byte");
                self.places.push(entry);
                place
            }
        };
        self.index.insert(key, place);
        self.counters.bytes += bytes;
        self.counters.entries += 1;
    }

    /// Moves the hand to the next entry without a second chance and forgets it.
    fn evict(&mut self) {
        debug_assert!(self.counters.entries > 0, "nothing is held, so nothing can be too much");
        loop {
            self.hand = (self.hand + 1) % self.places.len();
            let Some(entry) = &mut self.places[self.hand] else { continue };
            if std::mem::take(&mut entry.used) {
                continue;
            }
            self.index.remove(&entry.key);
            self.counters.bytes -= entry.bytes;
            self.counters.entries -= 1;
            self.places[self.hand] = None;
            self.free.push(u32::try_from(self.hand).expect("places are counted in u32"));
            return;
        }
    }
}

/// What an entry costs: itself, its verdict and its share of the index.
fn bytes_of(verdict: &Verdict) -> usize {
    const FIXED: usize =
        size_of::<Option<Entry>>() + size_of::<Verdict>() + 16 + 2 * size_of::<(u128, u32)>();
    let hints = verdict.hints.as_ref().map_or(0, |hints| {
        [&hints.consistency, &hints.max_staleness, &hints.key]
            .into_iter()
            .flatten()
            .map(String::capacity)
            .sum()
    });
    let details: usize = verdict.details.iter().map(bytes_of_detail).sum();
    FIXED + hints + details + verdict.details.capacity() * size_of::<Detail>()
}

fn bytes_of_detail(detail: &Detail) -> usize {
    let value = |value: &SetValue| match value {
        SetValue::Default => 0,
        SetValue::Text(text) => text.capacity(),
    };
    match detail {
        Detail::Set { name, value: to, text, .. } => name.capacity() + value(to) + text.capacity(),
        Detail::SetOwn { name, value: to, .. } => name.capacity() + value(to),
        Detail::Deallocate { name }
        | Detail::Prepare { name }
        | Detail::Execute { name }
        | Detail::ShowOwn { name } => name.capacity(),
        _ => 0,
    }
}

/// The finalizer of `SplitMix64`: every bit of the input moves every bit of the output.
const fn mixed(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// The keys are hashes already.
#[derive(Clone, Copy, Debug, Default)]
struct Folded(u64);

impl Hasher for Folded {
    fn write(&mut self, _: &[u8]) {
        unreachable!("only u128 keys are hashed");
    }

    fn write_u128(&mut self, key: u128) {
        #[expect(clippy::cast_possible_truncation, reason = "half of a hash is a hash")]
        let low = key as u64;
        self.0 = low;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Catalogue, Class, SearchPath};

    fn ask(memo: &mut Memo, text: &str, context: u64, catalogue: &Catalogue) -> Arc<Verdict> {
        let search_path = SearchPath::unknown();
        let env = Environment { catalogue, search_path: &search_path, standard_conforming_strings: true };
        memo.get_or_classify(text.as_bytes(), context, &env)
    }

    #[test]
    fn a_text_is_kept_when_it_comes_again_in_its_context_and_epoch() {
        let (first, second) = (Catalogue::builder().finish(1), Catalogue::builder().finish(2));
        let mut memo = Memo::new(1 << 20);
        for _ in 0..3 {
            assert_eq!(ask(&mut memo, "select 1", 7, &first).class, Class::Reads);
        }
        assert_eq!((memo.counters().hits, memo.counters().misses), (1, 2));
        ask(&mut memo, "select 1", 8, &first);
        ask(&mut memo, "select 1", 7, &second);
        assert_eq!((memo.counters().hits, memo.counters().misses), (1, 4));
    }

    #[test]
    fn texts_that_come_once_take_no_room() {
        let catalogue = Catalogue::builtin();
        let mut memo = Memo::new(1 << 20);
        for i in 0..10_000 {
            ask(&mut memo, &format!("select {i}"), 0, &catalogue);
        }
        // Two texts may look alike to the little that is remembered of them.
        assert!(memo.counters().entries < 3, "{:?}", memo.counters());
    }

    #[test]
    fn memory_is_bounded_and_what_is_used_stays() {
        let catalogue = Catalogue::builtin();
        let mut memo = Memo::new(10_000);
        ask(&mut memo, "select 0", 0, &catalogue);
        for i in 1..200 {
            ask(&mut memo, &format!("set x.y = '{i}'"), 0, &catalogue);
            ask(&mut memo, &format!("set x.y = '{i}'"), 0, &catalogue);
            ask(&mut memo, "select 0", 0, &catalogue);
            assert!(memo.counters().bytes <= 10_000);
        }
        assert_eq!(memo.counters().hits, 198);
        assert!(memo.counters().entries > 5);
    }

    #[test]
    fn long_texts_are_not_kept() {
        let catalogue = Catalogue::builtin();
        let mut memo = Memo::new(1 << 20);
        let text = format!("select '{}'", "x".repeat(KEPT_TEXT_BYTES_MAX));
        ask(&mut memo, &text, 0, &catalogue);
        assert_eq!(memo.counters().entries, 0);
        assert_eq!(ask(&mut Memo::new(10), "select 1", 0, &catalogue).class, Class::Reads);
    }
}
