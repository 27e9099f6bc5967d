//! The client's own names: of its prepared statements and portals, and which of them are certain.
//!
//! A name changes when the message that changes it goes on, so that what follows in the pipeline finds it. Until the
//! answer has been said the change can be undone: an error takes back what its batch had still to do. What the
//! backend calls a statement is not known here.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use sql::Verdict;

use super::PREPARED_MAX;
use super::statements::{Prepared, Statement};

/// The client's own names of its prepared statements.
#[derive(Debug, Default)]
pub(super) struct Names {
    named: HashMap<Box<[u8]>, Prepared>,
    unnamed: Option<Prepared>,
    /// Changes whose ParseComplete or CloseComplete has not been said, in order.
    unsaid: VecDeque<Unsaid>,
    /// What each DEALLOCATE and DISCARD ALL on its way frees, in order.
    freeing: VecDeque<Freed>,
    /// What the portals bound in this transaction do.
    pub(super) portals: HashMap<Box<[u8]>, Arc<Verdict>>,
    /// Counts what was prepared.
    serial: u64,
}

/// A change of a name, made and not yet answered.
#[derive(Debug)]
struct Unsaid {
    batch: u64,
    /// Empty: the unnamed statement.
    name: Box<[u8]>,
    undo: Undo,
}

/// What takes a change back.
#[derive(Debug)]
enum Undo {
    /// The name was this before.
    Restore(Option<Prepared>),
    /// Nothing: the message will be refused, or a later one has overtaken it for good.
    Nothing,
}

/// What a statement frees once it is done.
#[derive(Debug)]
enum Freed {
    /// What was prepared up to this serial.
    All(u64),
    /// One name, if it was prepared up to this serial.
    One(Box<[u8]>, u64),
}

impl Freed {
    fn frees(&self, name: &[u8], prepared: &Prepared) -> bool {
        match self {
            Freed::All(serial) => prepared.serial <= *serial,
            Freed::One(freed, serial) => **freed == *name && prepared.serial <= *serial,
        }
    }
}

impl Names {
    /// The client's statement of this name, as the messages sent on so far leave it.
    pub(super) fn get(&self, name: &[u8]) -> Option<&Prepared> {
        if name.is_empty() {
            return self.unnamed.as_ref();
        }
        self.named.get(name).filter(|prepared| !self.freeing.iter().any(|f| f.frees(name, prepared)))
    }

    /// A Parse of this name goes on in this batch.
    pub(super) fn parse(&mut self, name: &[u8], prepared: Prepared, batch: u64) {
        if !name.is_empty() && self.named.len() >= PREPARED_MAX && !self.named.contains_key(name) {
            return self.unsaid.push_back(Unsaid { batch, name: name.into(), undo: Undo::Nothing });
        }
        let before = self.put(name, Some(prepared));
        self.unsaid.push_back(Unsaid { batch, name: name.into(), undo: Undo::Restore(before) });
    }

    /// A Parse of a name in use goes on: it will be refused.
    pub(super) fn parse_in_vain(&mut self, name: &[u8], batch: u64) {
        self.unsaid.push_back(Unsaid { batch, name: name.into(), undo: Undo::Nothing });
    }

    /// A Close of this name is taken in this batch.
    pub(super) fn close(&mut self, name: &[u8], batch: u64) {
        let before = self.put(name, None);
        self.unsaid.push_back(Unsaid { batch, name: name.into(), undo: Undo::Restore(before) });
    }

    /// The statement of this name is another one on the backends from now on, with the same text.
    pub(super) fn replace(&mut self, name: &[u8], statement: Arc<Statement>) {
        if let Some(prepared) = self.named.get_mut(name) {
            prepared.statement = statement;
        }
    }

    /// Prepared at once, with its answer.
    pub(super) fn prepare(&mut self, name: &[u8], prepared: Prepared) {
        self.put(name, Some(prepared));
    }

    /// Freed at once, with its answer.
    pub(super) fn free(&mut self, name: &[u8]) {
        self.named.remove(name);
    }

    /// All freed at once, with the answer. The unnamed statement is not among them (`DropAllPreparedStatements`).
    pub(super) fn free_all(&mut self) {
        self.named.clear();
    }

    /// A simple query begins by destroying the unnamed statement (PostgreSQL, "Simple Query").
    pub(super) fn drop_unnamed(&mut self) {
        self.unnamed = None;
        for unsaid in self.unsaid.iter_mut().filter(|u| u.name.is_empty()) {
            unsaid.undo = Undo::Nothing;
        }
    }

    /// A statement that frees this name goes on.
    pub(super) fn freeing(&mut self, name: &[u8]) {
        self.freeing.push_back(Freed::One(name.into(), self.serial));
    }

    /// A statement that frees all named statements goes on.
    pub(super) fn freeing_all(&mut self) {
        self.freeing.push_back(Freed::All(self.serial));
    }

    /// The next of the statements that free has been done.
    pub(super) fn freed(&mut self) {
        let Some(freed) = self.freeing.pop_front() else { return };
        self.named.retain(|name, prepared| !freed.frees(name, prepared));
        for unsaid in &mut self.unsaid {
            if let Undo::Restore(before) = &mut unsaid.undo
                && !unsaid.name.is_empty()
            {
                before.take_if(|prepared| freed.frees(&unsaid.name, prepared));
            }
        }
    }

    /// Whatever was to free something and has not done so by now will not.
    pub(super) fn none_freeing(&mut self) {
        self.freeing.clear();
    }

    /// The next answer that a change waits for has been said.
    pub(super) fn said(&mut self) {
        self.unsaid.pop_front();
    }

    /// The next answers, so many, will not be said: those changes do not take place. `failed`: the error answers
    /// the first of them.
    pub(super) fn undo(&mut self, count: usize, failed: bool) {
        for i in 0..count {
            let Some(unsaid) = self.unsaid.pop_front() else { return };
            let Undo::Restore(before) = unsaid.undo else { continue };
            // PostgreSQL destroys the unnamed statement before it looks at the new one (`exec_parse_message`).
            let before = if i == 0 && failed && unsaid.name.is_empty() { None } else { before };
            let later = self.unsaid.iter_mut().filter(|later| later.name == unsaid.name);
            match later.map(|later| &mut later.undo).find(|undo| matches!(undo, Undo::Restore(_))) {
                Some(later) => *later = Undo::Restore(before),
                None => drop(self.put(&unsaid.name, before)),
            }
        }
    }

    /// No answer will be said any more.
    pub(super) fn undo_all(&mut self) {
        self.undo(self.unsaid.len(), false);
        self.freeing.clear();
    }

    /// Is a change of this name, made in an earlier batch, still unanswered?
    pub(super) fn is_unsure(&self, name: &[u8], batch: u64) -> bool {
        self.unsaid.iter().any(|u| u.batch != batch && *u.name == *name)
    }

    /// Is the last change of this name one of an earlier batch, and unanswered?
    pub(super) fn is_left_open(&self, name: &[u8], batch: u64) -> bool {
        let last = self.unsaid.iter().rfind(|u| *u.name == *name);
        last.is_some_and(|u| u.batch != batch)
    }

    /// Is any answer still to be said?
    pub(super) fn has_unsaid(&self) -> bool {
        !self.unsaid.is_empty()
    }

    /// A portal is made of the statement of this name.
    pub(super) fn bind(&mut self, portal: &[u8], statement: &[u8]) {
        match self.get(statement).map(|p| Arc::clone(&p.verdict)) {
            Some(verdict) if self.portals.len() < PREPARED_MAX => {
                self.portals.insert(portal.into(), verdict);
            }
            // Unknown counts as a write when it is executed.
            Some(_) | None => drop(self.portals.remove(portal)),
        }
    }

    /// Is there a statement of this name for certain, once this batch has come so far?
    pub(super) fn is_taken(&self, name: &[u8], batch: u64) -> bool {
        !name.is_empty() && !self.is_unsure(name, batch) && self.get(name).is_some()
    }

    /// A number for what is prepared next.
    pub(super) fn next_serial(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    fn put(&mut self, name: &[u8], prepared: Option<Prepared>) -> Option<Prepared> {
        match prepared {
            prepared if name.is_empty() => std::mem::replace(&mut self.unnamed, prepared),
            Some(prepared) => self.named.insert(name.into(), prepared),
            None => self.named.remove(name),
        }
    }
}
