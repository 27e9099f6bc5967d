//! Placeholder of the engine's map.
#![forbid(unsafe_code)]

pub mod cluster;
pub mod freshness;
pub mod pool;
pub mod route;
pub mod session;
pub mod time;
pub mod view;
