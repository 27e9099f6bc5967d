//! The client's own names: of its prepared statements and portals, and which of them are certain.
//!
//! A name counts once PostgreSQL (or we in its place) has said ParseComplete, and goes once CloseComplete was said. An
//! error in between takes both back. What the backend calls a statement is not known here.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use sql::Verdict;

use super::PREPARED_MAX;
use super::statements::{Prepared, Statement};

/// The client's own names of its prepared statements.
#[derive(Debug, Default)]
pub(super) struct Names {
    pub(super) named: HashMap<Box<[u8]>, Prepared>,
    pub(super) unnamed: Option<Prepared>,
    /// Names whose ParseComplete has not been said yet, in order; empty for the unnamed one, `None` for one
    /// that will be refused; each with the number of its batch. They are lost with an error.
    pub(super) unconfirmed: VecDeque<(u64, Option<Box<[u8]>>)>,
    /// For each CloseComplete that we say ourselves and have not said yet: what it closes. An error before it gives that back.
    pub(super) closing: VecDeque<Option<(Box<[u8]>, Prepared)>>,
    /// What the portals bound in this transaction do.
    pub(super) portals: HashMap<Box<[u8]>, Arc<Verdict>>,
    /// Counts what was prepared.
    pub(super) serial: u64,
}

impl Names {
    /// The next ParseComplete has been said.
    pub(super) fn confirm(&mut self) {
        self.unconfirmed.pop_front();
    }

    /// Is the ParseComplete of this name still to come?
    pub(super) fn is_unconfirmed(&self, name: &[u8]) -> bool {
        self.unconfirmed.iter().any(|(_, n)| n.as_deref() == Some(name))
    }

    /// Is any ParseComplete still to come?
    pub(super) fn has_unconfirmed(&self) -> bool {
        !self.unconfirmed.is_empty()
    }

    /// The next ParseCompletes, so many, will not be said: those statements do not exist.
    pub(super) fn lose_unconfirmed(&mut self, count: usize) {
        let count = count.min(self.unconfirmed.len());
        for name in self.unconfirmed.drain(..count).filter_map(|(_, name)| name) {
            if name.is_empty() {
                self.unnamed = None;
            } else {
                self.named.remove(&name);
            }
        }
    }

    /// The next CloseComplete of ours will not be said: the statement is still there.
    pub(super) fn reopen(&mut self) {
        if let Some((name, prepared)) = self.closing.pop_front().flatten() {
            self.named.entry(name).or_insert(prepared);
        }
    }

    /// No CloseComplete of ours will be said for what was asked.
    pub(super) fn reopen_all(&mut self) {
        while !self.closing.is_empty() {
            self.reopen();
        }
    }

    /// A portal is made of the statement of this name.
    pub(super) fn bind(&mut self, portal: &[u8], statement: &[u8]) {
        let prepared = if statement.is_empty() { self.unnamed.as_ref() } else { self.named.get(statement) };
        match prepared.map(|p| Arc::clone(&p.verdict)) {
            Some(verdict) if self.portals.len() < PREPARED_MAX => {
                self.portals.insert(portal.into(), verdict);
            }
            // Unknown counts as a write when it is executed.
            Some(_) | None => drop(self.portals.remove(portal)),
        }
    }

    /// A DISCARD ALL or DEALLOCATE ALL was done after so much had been prepared.
    pub(super) fn forget_up_to(&mut self, serial: u64) {
        self.named.retain(|_, prepared| prepared.serial > serial);
        self.unnamed.take_if(|prepared| prepared.serial <= serial);
    }

    /// The statement that has this name for certain (a discard on its way takes those up to its serial), once this batch has come so far: an error before that ends it.
    pub(super) fn taken(&self, name: &[u8], batch: u64, discarded: u64) -> Option<Arc<Statement>> {
        let unsure = self.unconfirmed.iter().any(|(b, n)| *b != batch && n.as_deref() == Some(name));
        self.named.get(name).filter(|p| !unsure && p.serial > discarded).map(|p| Arc::clone(&p.statement))
    }
}
