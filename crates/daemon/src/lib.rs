//! Placeholder of the daemon's map.

pub mod clock;
pub mod config;
pub mod mail;
pub mod stats;
pub mod world;
