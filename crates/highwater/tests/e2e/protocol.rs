//! The wire protocol, byte by byte: what a client sends in unusual ways must get the answer PostgreSQL gives.

mod copy;
mod extended;
mod hostile;
mod random;
mod startup;
