//! What is known about one pooled connection to a node, beyond who may use it.
//!
//! The shell keeps this beside the socket and hands it to whichever session has the backend.

use std::sync::Arc;

use crate::session::parameters::Tracked;
use crate::session::statements::Known;
use crate::view::{Incarnation, NodeId};

/// Which kind of node a backend is connected to.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Side {
    /// The primary.
    Primary,
    /// A replica.
    Replica,
}

/// What a backslash means in a plain string: `standard_conforming_strings`, as a backend reports it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Strings {
    /// On, PostgreSQL's default: nothing.
    Standard,
    /// Off: it takes away what the next character means, a quote's meaning too.
    Escaping,
}

impl Strings {
    /// The name of the setting.
    pub(super) const SETTING: &str = "standard_conforming_strings";

    /// The setting's value.
    pub(super) fn value(self) -> &'static [u8] {
        match self {
            Strings::Standard => b"on",
            Strings::Escaping => b"off",
        }
    }

    /// What one reported parameter says of it, if it is about it.
    pub fn reported(name: &[u8], value: &[u8]) -> Option<Self> {
        let escaping = (name == Self::SETTING.as_bytes()).then_some(value != b"on")?;
        Some(if escaping { Strings::Escaping } else { Strings::Standard })
    }
}

/// One backend's state.
#[derive(Debug)]
pub struct Backend {
    /// Its node.
    pub node: NodeId,
    /// The kind of node, as asked on this very connection when it was made.
    pub side: Side,
    /// The run of the server it is connected to.
    pub incarnation: Incarnation,
    /// Settings that have been changed on it.
    pub applied: Arc<Tracked>,
    /// Statements prepared on it.
    pub known: Known,
    /// Number of the statement that is its unnamed one; `None`: there is none, or it is not known.
    pub unnamed: Option<u64>,
    /// How it reads strings at this moment: as its user and database have it, and as it has reported since.
    pub strings: Strings,
    /// It must not be lent again.
    pub spent: bool,
}

impl Backend {
    /// A backend that has just logged in.
    pub fn new(node: NodeId, side: Side, incarnation: Incarnation) -> Self {
        Backend {
            node,
            side,
            incarnation,
            applied: Arc::new(Tracked::default()),
            known: Known::default(),
            unnamed: None,
            strings: Strings::Standard,
            spent: false,
        }
    }
}
