//! Placeholder of the `sql` crate's map.
