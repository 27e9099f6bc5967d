//! The shell: sockets, timers and files. It asks the engine and does as told.
//!
//! Two kinds of thread. A *worker* ([`worker`]) owns clients that are in, their sessions and the backends they use: one
//! epoll loop. The *control thread* ([`run`]) does what may wait: it lets clients in (`listen`,
//! `login`), connects to nodes (`connect`), carries cancel requests (`cancel`), watches the clusters (`monitor`), and
//! talks to operators (`admin`, `http`). They share [`world`] and the pools' account of who may use what (`pools`), and write to each other ([`mail`]).
//!
//! Nothing here decides where a statement goes, who gets a backend or who is primary: `engine` does.

#![forbid(unsafe_code)]

mod admin;
mod cancel;
mod catalog;
mod catalog_queries;
pub mod clock;
pub mod config;
mod connect;
mod databases;
mod discover;
mod front;
mod http;
mod incarnation;
mod listen;
pub mod log;
mod login;
pub mod mail;
mod messages;
#[cfg_attr(not(test), allow(dead_code, reason = "its reference pages are made by tests"))]
mod metrics;
mod monitor;
mod overview;
mod pools;
mod run;
mod spawn;
pub mod stats;
mod supervisor;
mod users;
mod welcome;
pub mod worker;
pub mod world;

pub use catalog::{ReadError, load as load_catalogue};
pub use discover::discover_once;
pub use run::{Ready, RunError, run};
pub use supervisor::Supervisor;
