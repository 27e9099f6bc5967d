//! A map from names to the objects that share them.
//!
//! Names are bytes as PostgreSQL folds them. The hash is fixed: names come from the owner of the database.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// Objects by name.
#[derive(Clone, Debug)]
pub(super) struct Names<T>(HashMap<Box<[u8]>, Vec<T>, BuildHasherDefault<NameHasher>>);

impl<T> Default for Names<T> {
    fn default() -> Self {
        Self(HashMap::default())
    }
}

impl<T> Names<T> {
    /// All objects of this name.
    pub(super) fn get(&self, name: &[u8]) -> impl Iterator<Item = &T> {
        self.0.get(name).into_iter().flatten()
    }

    /// All objects of this name, to be changed.
    pub(super) fn get_mut(&mut self, name: &[u8]) -> impl Iterator<Item = &mut T> {
        self.0.get_mut(name).into_iter().flatten()
    }

    /// Adds one more object of this name.
    pub(super) fn add(&mut self, name: &[u8], object: T) {
        self.0.entry(name.into()).or_default().push(object);
    }

    /// True when there is no object at all.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// xxh3 of the bytes written.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct NameHasher(u64);

impl Hasher for NameHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0 ^= xxhash_rust::xxh3::xxh3_64(bytes);
    }

    fn write_usize(&mut self, length: usize) {
        self.0 ^= length as u64;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
