//! One backend's life, from the permit to connect it until it is closed; and the slots of a pool.
//!
//! The arena is the only place where a slot changes its state, so that the counts shown are the states there are.

use super::SlotId;
use crate::time::Instant;

/// The right to one backend and what has become of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Slot {
    /// No backend. → `Connecting`
    Vacant,
    /// The shell was told to connect. → `Idle`, `Closing`, `Vacant`
    Connecting {
        /// Backends of an older round are not kept.
        round: u32,
    },
    /// A backend that nobody uses. → `Lent`, `Closing`, `Vacant`
    Idle {
        /// When it was connected.
        born: Instant,
        /// Since when nobody uses it.
        since: Instant,
        round: u32,
    },
    /// A session has it. → `Idle`, `Lent` (to the next waiter), `Closing`
    Lent {
        /// When it was connected.
        born: Instant,
        round: u32,
    },
    /// The shell is about to be told to close it. → `Vacant`, when it has been told
    Closing,
}

/// The right to connect one backend more: made by [`Slots::permit`] only, which knows the limit, and used up by
/// [`Slots::connect`].
pub(super) struct Permit(());

/// All slots of a pool. Never more than its size are not vacant.
#[derive(Clone, Debug, Default)]
pub(super) struct Slots {
    slots: Vec<Slot>,
    /// Vacant slots, for reuse.
    vacant: Vec<SlotId>,
    /// Idle slots; the one used last is on top, so `since` grows upwards.
    idle: Vec<SlotId>,
    connecting: u32,
    lent: u32,
}

impl Slots {
    /// A right to connect, while fewer than `size` slots are taken.
    pub(super) fn permit(&self, size: u32) -> Option<Permit> {
        (self.present() < size).then_some(Permit(()))
    }

    pub(super) fn connect(&mut self, permit: Permit, round: u32) -> SlotId {
        let Permit(()) = permit;
        let id = self.vacant.pop().unwrap_or_else(|| {
            self.slots.push(Slot::Vacant);
            SlotId(count(self.slots.len()) - 1)
        });
        self.put(id, Slot::Connecting { round });
        self.connecting += 1;
        id
    }

    /// Takes a slot out of `Connecting`, and tells its round; `None` if it is not in that state.
    pub(super) fn end_connecting(&mut self, id: SlotId) -> Option<u32> {
        let Slot::Connecting { round } = self.slot(id) else { return None };
        self.connecting -= 1;
        Some(round)
    }

    /// Takes a slot out of `Lent`, and tells its birth and round; `None` if it is not in that state.
    pub(super) fn end_lending(&mut self, id: SlotId) -> Option<(Instant, u32)> {
        let Slot::Lent { born, round } = self.slot(id) else { return None };
        self.lent -= 1;
        Some((born, round))
    }

    /// Lends a slot that was just taken out of another state.
    pub(super) fn lend(&mut self, id: SlotId, born: Instant, round: u32) {
        self.put(id, Slot::Lent { born, round });
        self.lent += 1;
    }

    /// Puts a slot that was just taken out of another state on top of the idle ones.
    pub(super) fn rest(&mut self, id: SlotId, born: Instant, round: u32, since: Instant) {
        self.put(id, Slot::Idle { born, since, round });
        self.idle.push(id);
    }

    /// Takes the idle backend used last.
    pub(super) fn take_idle(&mut self) -> Option<(SlotId, Instant, u32)> {
        let id = self.idle.pop()?;
        let Slot::Idle { born, round, .. } = self.slot(id) else {
            unreachable!("only idle slots are stacked")
        };
        Some((id, born, round))
    }

    /// Takes this idle backend out; `false` if it is not idle.
    pub(super) fn take_this_idle(&mut self, id: SlotId) -> bool {
        let place = self.idle.iter().position(|&idle| idle == id);
        place.map(|place| self.idle.remove(place)).is_some()
    }

    /// The idle backend that has been so for longest, and since when.
    pub(super) fn oldest_idle(&self) -> Option<(SlotId, Instant)> {
        let id = *self.idle.first()?;
        let Slot::Idle { since, .. } = self.slot(id) else { unreachable!("only idle slots are stacked") };
        Some((id, since))
    }

    /// The idle backend that was connected first, and when.
    pub(super) fn eldest_idle(&self) -> Option<(SlotId, Instant)> {
        let born = |&id: &SlotId| match self.slot(id) {
            Slot::Idle { born, .. } => Some((id, born)),
            Slot::Vacant | Slot::Connecting { .. } | Slot::Lent { .. } | Slot::Closing => None,
        };
        self.idle.iter().filter_map(born).min_by_key(|(_, born)| *born)
    }

    /// A slot that was just taken out of another state awaits being closed.
    pub(super) fn condemn(&mut self, id: SlotId) {
        self.put(id, Slot::Closing);
    }

    /// A slot has no backend any more.
    pub(super) fn vacate(&mut self, id: SlotId) {
        self.put(id, Slot::Vacant);
        self.vacant.push(id);
    }

    pub(super) fn slot(&self, id: SlotId) -> Slot {
        self.slots.get(id.0 as usize).copied().unwrap_or(Slot::Vacant)
    }

    /// Slots that are not vacant: what the limit is about.
    pub(super) fn present(&self) -> u32 {
        count(self.slots.len() - self.vacant.len())
    }

    pub(super) fn idle(&self) -> u32 {
        count(self.idle.len())
    }

    pub(super) fn lent(&self) -> u32 {
        self.lent
    }

    pub(super) fn connecting(&self) -> u32 {
        self.connecting
    }

    fn put(&mut self, id: SlotId, slot: Slot) {
        self.slots[id.0 as usize] = slot;
    }

    pub(super) fn check_invariants(&self) {
        let of = |wanted: fn(&Slot) -> bool| self.slots.iter().filter(|slot| wanted(slot)).count();
        assert_eq!(of(|slot| matches!(slot, Slot::Vacant)), self.vacant.len(), "vacant");
        assert_eq!(of(|slot| matches!(slot, Slot::Idle { .. })), self.idle.len(), "idle");
        assert_eq!(of(|slot| matches!(slot, Slot::Lent { .. })), self.lent as usize, "lent");
        assert_eq!(
            of(|slot| matches!(slot, Slot::Connecting { .. })),
            self.connecting as usize,
            "connecting"
        );
        let since = |id: &SlotId| match self.slot(*id) {
            Slot::Idle { since, .. } => since,
            Slot::Vacant | Slot::Connecting { .. } | Slot::Lent { .. } | Slot::Closing => {
                panic!("a slot on the idle stack is not idle")
            }
        };
        assert!(self.idle.iter().is_sorted_by_key(since), "idle stack out of order");
    }
}

fn count(slots: usize) -> u32 {
    u32::try_from(slots).expect("a pool's size is a u32")
}
