//! Placeholder of the `engine` crate's map.
