//! Placeholder of the daemon's map.

#[allow(dead_code, reason = "run starts it")]
mod admin;
pub mod clock;
pub mod config;
#[allow(dead_code, reason = "run starts it")]
mod http;
#[allow(dead_code, reason = "run starts it")]
mod incarnation;
pub mod mail;
#[allow(dead_code, reason = "run starts it")]
mod metrics;
#[allow(dead_code, reason = "run starts it")]
mod monitor;
#[allow(dead_code, reason = "run starts it")]
mod overview;
#[allow(dead_code, reason = "run starts it")]
mod spawn;
pub mod stats;
pub mod worker;
pub mod world;
