//! The end-to-end suite: the real `highwater` in front of real PostgreSQL servers.
//!
//! One binary, so that it is linked once and the tests can share a cluster. See `harness` for how it is started and
//! for the environment variables it knows.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says why"
)]
#![allow(
    clippy::disallowed_methods,
    reason = "this suite is the outside world: it has a clock, threads and an environment"
)]
#![allow(dead_code, reason = "the harness offers more than each build of the suite uses")]

mod admin;
mod aurora;
mod bench;
mod book;
mod bulk;
mod deploy;
mod discover;
mod drivers;
mod fresh;
mod harness;
mod patroni;
mod pgbench;
mod pooling;
mod prometheus;
mod protocol;
mod replica;
mod routing;
mod serve_cli;
mod smoke;
mod story;
mod watch;
mod workers;
