//! Who may use a backend: slots, waiters, limits. Pure; the shell connects and closes as told.

pub mod settings;

pub use settings::{PoolMode, Settings};

/// A slot of one pool: the right to one backend.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct SlotId(pub u32);

/// Who waits for a backend: the shell's key of a session. Unique among live sessions of a worker.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct WaiterId(pub u64);
