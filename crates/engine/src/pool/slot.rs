//! One backend's life, from the permit to connect it until it is closed; and the slots of a pool.
//!
//! The arena is the only place where a slot changes its state, so that the counts shown are the states there are.

use super::{SlotId, WorkerId};
use crate::time::Instant;

/// What is known of a backend that is there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Mark {
    /// The worker that has its socket.
    pub(super) home: WorkerId,
    /// When it was connected.
    pub(super) born: Instant,
    /// Backends of an older round of their worker are not kept.
    pub(super) round: u32,
}

/// The right to one backend and what has become of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Slot {
    /// No backend. → `Connecting`
    Vacant,
    /// A worker was told to have it connected. → `Idle`, `Lent`, `Moving`, `Closing`, `Vacant`
    Connecting {
        /// The worker that gets it.
        home: WorkerId,
        /// As in [`Mark`].
        round: u32,
    },
    /// A backend that nobody uses. → `Lent`, `Moving`, `Closing`, `Vacant`
    Idle {
        mark: Mark,
        /// Since when nobody uses it.
        since: Instant,
    },
    /// A session has it. → `Idle`, `Lent` (to the next waiter), `Moving`, `Closing`
    Lent(Mark),
    /// One worker is handing it to another. → `Idle`, `Lent`, `Moving` (on to a third), `Closing`, `Vacant`
    Moving {
        /// What was known of it where it comes from.
        mark: Mark,
        to: WorkerId,
    },
    /// The worker that has it is about to be told to close it. → `Vacant`, when it has been told
    Closing { home: WorkerId },
}

/// The right to connect one backend more: made by [`Slots::permit`] only, which knows the limit, and used up by
/// [`Slots::connect`].
pub(super) struct Permit(());

/// What one worker has.
#[derive(Clone, Debug, Default)]
struct Share {
    /// Its idle slots; the one used last is on top, so `since` grows upwards.
    idle: Vec<SlotId>,
    connecting: u32,
    /// On their way to it from other workers.
    moving: u32,
}

/// All slots of a pool. Never more than its size are not vacant.
#[derive(Clone, Debug)]
pub(super) struct Slots {
    slots: Vec<Slot>,
    /// Vacant slots, for reuse.
    vacant: Vec<SlotId>,
    shares: Box<[Share]>,
    idle: u32,
    lent: u32,
    connecting: u32,
    moving: u32,
}

impl Slots {
    pub(super) fn new(workers: u16) -> Self {
        Slots {
            slots: Vec::new(),
            vacant: Vec::new(),
            shares: (0..workers).map(|_| Share::default()).collect(),
            idle: 0,
            lent: 0,
            connecting: 0,
            moving: 0,
        }
    }

    /// A right to connect, while fewer than `size` slots are taken.
    pub(super) fn permit(&self, size: u32) -> Option<Permit> {
        (self.present() < size).then_some(Permit(()))
    }

    pub(super) fn connect(&mut self, permit: Permit, home: WorkerId, round: u32) -> SlotId {
        let Permit(()) = permit;
        let id = self.vacant.pop().unwrap_or_else(|| {
            self.slots.push(Slot::Vacant);
            SlotId(count(self.slots.len()) - 1)
        });
        self.put(id, Slot::Connecting { home, round });
        self.connecting += 1;
        self.share(home).connecting += 1;
        id
    }

    /// Takes a slot out of `Connecting`, and tells its home and round; `None` if it is not in that state.
    pub(super) fn end_connecting(&mut self, id: SlotId) -> Option<(WorkerId, u32)> {
        let Slot::Connecting { home, round } = self.slot(id) else { return None };
        self.connecting -= 1;
        self.share(home).connecting -= 1;
        Some((home, round))
    }

    /// Takes a slot out of `Lent`; `None` if it is not in that state.
    pub(super) fn end_lending(&mut self, id: SlotId) -> Option<Mark> {
        let Slot::Lent(mark) = self.slot(id) else { return None };
        self.lent -= 1;
        Some(mark)
    }

    /// Takes a slot out of `Moving`, and tells where from and whereto; `None` if it is not in that state.
    pub(super) fn end_moving(&mut self, id: SlotId) -> Option<(Mark, WorkerId)> {
        let Slot::Moving { mark, to } = self.slot(id) else { return None };
        self.moving -= 1;
        self.share(to).moving -= 1;
        Some((mark, to))
    }

    /// Lends a slot that was just taken out of another state.
    pub(super) fn lend(&mut self, id: SlotId, mark: Mark) {
        self.put(id, Slot::Lent(mark));
        self.lent += 1;
    }

    /// Sends a slot that was just taken out of another state to another worker.
    pub(super) fn send(&mut self, id: SlotId, mark: Mark, to: WorkerId) {
        self.put(id, Slot::Moving { mark, to });
        self.moving += 1;
        self.share(to).moving += 1;
    }

    /// Puts a slot that was just taken out of another state on top of the idle ones of its home.
    pub(super) fn rest(&mut self, id: SlotId, mark: Mark, since: Instant) {
        self.put(id, Slot::Idle { mark, since });
        self.share(mark.home).idle.push(id);
        self.idle += 1;
    }

    /// Takes this worker's idle backend used last.
    pub(super) fn take_idle(&mut self, home: WorkerId) -> Option<(SlotId, Mark)> {
        let id = self.share(home).idle.pop()?;
        self.idle -= 1;
        let Slot::Idle { mark, .. } = self.slot(id) else { unreachable!("only idle slots are stacked") };
        Some((id, mark))
    }

    /// Takes an idle backend of the worker that has most.
    pub(super) fn take_any_idle(&mut self) -> Option<(SlotId, Mark)> {
        if self.idle == 0 {
            return None;
        }
        let shares = (0..).map(WorkerId).zip(&self.shares);
        let (richest, _) = shares.max_by_key(|(_, share)| share.idle.len())?;
        self.take_idle(richest)
    }

    /// Takes this idle backend out; `None` if it is not idle.
    pub(super) fn take_this_idle(&mut self, id: SlotId) -> Option<Mark> {
        let Slot::Idle { mark, .. } = self.slot(id) else { return None };
        let stack = &mut self.share(mark.home).idle;
        let place = stack.iter().position(|&idle| idle == id)?;
        stack.remove(place);
        self.idle -= 1;
        Some(mark)
    }

    /// The idle backend that has been so for longest, and since when.
    pub(super) fn oldest_idle(&self) -> Option<(SlotId, Instant)> {
        let bottom = |share: &Share| {
            let id = *share.idle.first()?;
            let Slot::Idle { since, .. } = self.slot(id) else { unreachable!("only idle slots are stacked") };
            Some((id, since))
        };
        self.shares.iter().filter_map(bottom).min_by_key(|(_, since)| *since)
    }

    /// The idle backend that was connected first, and when.
    pub(super) fn eldest_idle(&self) -> Option<(SlotId, Instant)> {
        let born = |&id: &SlotId| match self.slot(id) {
            Slot::Idle { mark, .. } => Some((id, mark.born)),
            Slot::Vacant
            | Slot::Connecting { .. }
            | Slot::Lent(_)
            | Slot::Moving { .. }
            | Slot::Closing { .. } => None,
        };
        let idle = self.shares.iter().flat_map(|share| &share.idle);
        idle.filter_map(born).min_by_key(|(_, born)| *born)
    }

    /// A slot that was just taken out of another state awaits being closed by the worker that has it.
    pub(super) fn condemn(&mut self, id: SlotId, home: WorkerId) {
        self.put(id, Slot::Closing { home });
    }

    /// A slot has no backend any more.
    pub(super) fn vacate(&mut self, id: SlotId) {
        self.put(id, Slot::Vacant);
        self.vacant.push(id);
    }

    pub(super) fn slot(&self, id: SlotId) -> Slot {
        self.slots.get(id.0 as usize).copied().unwrap_or(Slot::Vacant)
    }

    /// All slots, vacant ones too.
    pub(super) fn ids(&self) -> impl Iterator<Item = SlotId> + use<> {
        (0..count(self.slots.len())).map(SlotId)
    }

    /// Slots that are not vacant: what the limit is about.
    pub(super) fn present(&self) -> u32 {
        count(self.slots.len() - self.vacant.len())
    }

    pub(super) fn idle(&self) -> u32 {
        self.idle
    }

    pub(super) fn lent(&self) -> u32 {
        self.lent
    }

    pub(super) fn connecting(&self) -> u32 {
        self.connecting
    }

    pub(super) fn moving(&self) -> u32 {
        self.moving
    }

    /// Connects under way for this worker.
    pub(super) fn connecting_for(&self, worker: WorkerId) -> u32 {
        self.shares[worker.index()].connecting
    }

    /// Backends on their way to this worker.
    pub(super) fn moving_to(&self, worker: WorkerId) -> u32 {
        self.shares[worker.index()].moving
    }

    fn share(&mut self, worker: WorkerId) -> &mut Share {
        &mut self.shares[worker.index()]
    }

    fn put(&mut self, id: SlotId, slot: Slot) {
        self.slots[id.0 as usize] = slot;
    }

    pub(super) fn check_invariants(&self) {
        let of =
            |wanted: &dyn Fn(&Slot) -> bool| count(self.slots.iter().filter(|slot| wanted(slot)).count());
        assert_eq!(of(&|slot| matches!(slot, Slot::Vacant)), count(self.vacant.len()), "vacant");
        assert_eq!(of(&|slot| matches!(slot, Slot::Idle { .. })), self.idle, "idle");
        assert_eq!(of(&|slot| matches!(slot, Slot::Lent(_))), self.lent, "lent");
        assert_eq!(of(&|slot| matches!(slot, Slot::Connecting { .. })), self.connecting, "connecting");
        assert_eq!(of(&|slot| matches!(slot, Slot::Moving { .. })), self.moving, "moving");
        let mut stacked = 0;
        for (worker, share) in (0..).map(WorkerId).zip(&self.shares) {
            let since = |id: &SlotId| match self.slot(*id) {
                Slot::Idle { mark, since } if mark.home == worker => since,
                other => panic!("{other:?} is on the idle stack of {worker:?}"),
            };
            assert!(share.idle.iter().is_sorted_by_key(since), "idle stack out of order");
            stacked += count(share.idle.len());
            let connects = |slot: &Slot| matches!(slot, Slot::Connecting { home, .. } if *home == worker);
            assert_eq!(of(&connects), share.connecting, "connecting for {worker:?}");
            let moves = |slot: &Slot| matches!(slot, Slot::Moving { to, .. } if *to == worker);
            assert_eq!(of(&moves), share.moving, "moving to {worker:?}");
        }
        assert_eq!(stacked, self.idle, "stacked");
    }
}

fn count(slots: usize) -> u32 {
    u32::try_from(slots).expect("a pool's size is a u32")
}
