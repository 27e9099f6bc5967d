//! Placeholder of the `daemon` crate's map.
