//! The place of the simulated world: a modelled cluster with a seed, and checkers that stand outside the code they judge.
//!
//! It is empty; test only, and nothing of the product may use it.
#![forbid(unsafe_code)]
