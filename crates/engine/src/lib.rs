//! All decisions: where a request goes, how fresh it must be, who may use a backend. Told the time; touches nothing.
//!
//! **Where does a query go?** [`route::decide`] says, and nothing else does. It compares what the statement does
//! ([`sql::Class`]), what the session wishes and has seen ([`freshness::watermark`]) and what is believed of the nodes ([`view`]).
//!
//! # The life of a request
//!
//! 1. The shell shows a session the bytes its client sent: [`session::Session::on_client`].
//! 2. Headers are read, bodies are not copied: `wire::frame`.
//! 3. `session::survey` finds where the request ends and asks `sql` what it does.
//! 4. [`freshness`] turns level, staleness limit and watermark into a bound.
//! 5. [`route::decide`] names a node and the reason; or the request is answered in `session::local` and `session::own`.
//! 6. The shell checks out a backend from a [`pool`], and [`session::Session::on_checked_out`] brings it into line.
//! 7. `session::forward` sends the request on, `session::relay` brings the answer back; `session::rerun` takes a request
//!    back that a replica refused or lost before it had answered.
//! 8. `session::settle`, at ReadyForQuery, raises the watermark and lets the backend go.
//!
//! Beside that, [`cluster`] folds what probes answered into a [`view::View`], which step 5 reads.
//!
//! # The shape of a machine
//!
//! [`session::Session`], [`pool::Pool`] and [`cluster::Cluster`] are plain values. They are told what happened and when (`on_…`,
//! `&mut self`), and asked what to do next (`next_action`, `next_deadline`, or a [`session::Step`] in return). They have no
//! callbacks and start nothing; the one who drives them has the sockets. States are enum variants that own what exists
//! only then. Unknown is a variant, never a default.
//!
//! # What is absent on purpose
//!
//! No socket, clock, task, lock, log line or metric; no address of a node; no setting read from anywhere but the values handed in;
//! no type that can be serialised. Modules know only those before them in this order: `time`, `view`, `freshness` and
//! `pool`, `cluster`, `route`, `session`.
#![forbid(unsafe_code)]

pub mod cluster;
pub mod freshness;
pub mod pool;
pub mod route;
pub mod session;
pub mod time;
pub mod view;
