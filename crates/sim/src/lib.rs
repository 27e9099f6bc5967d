//! Placeholder of the `sim` crate's map.
