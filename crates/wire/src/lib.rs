//! Placeholder of the `wire` crate's map.
