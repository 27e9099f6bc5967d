//! Several workers share a pool: stories, and what must hold after any sequence of events, whoever is late in obeying.

use std::collections::{BTreeMap, VecDeque};

use super::*;

const A: WorkerId = WorkerId(0);
const B: WorkerId = WorkerId(1);

fn all_of(pool: &mut Pool, by: WorkerId) -> Vec<Action> {
    let actions = std::iter::from_fn(|| pool.next_action(by)).collect();
    pool.check_invariants();
    actions
}

/// A pool for two workers in which A has this many idle backends.
fn idle_at_a(settings: Settings, backends: u32) -> Pool {
    let mut pool = Pool::new(settings, 2);
    for slot in 0..backends {
        assert_eq!(pool.check_out(at(0), A, WaiterId(slot.into())), CheckOut::Queued);
        assert_eq!(all_of(&mut pool, A), [Action::Connect { slot: SlotId(slot), home: A }]);
        pool.on_connected(at(0), A, SlotId(slot));
        assert_eq!(all_of(&mut pool, A), [grant(slot.into(), slot)]);
    }
    for slot in 0..backends {
        pool.give_back(at(0), A, SlotId(slot), Condition::Clean);
    }
    assert_eq!(all_of(&mut pool, A), []);
    pool
}

fn hand_over(slot: u32, to: WorkerId) -> Action {
    Action::HandOver { slot: SlotId(slot), to }
}

#[test]
fn an_idle_backend_of_another_worker_is_handed_over_to_one_who_would_wait() {
    let mut pool = idle_at_a(settings(1), 1);
    assert_eq!(pool.check_out(at(1), B, WaiterId(9)), CheckOut::Queued);
    assert_eq!(pool.pending().collect::<Vec<_>>(), [A]);
    assert_eq!(all_of(&mut pool, A), [hand_over(0, B)]);
    pool.on_arrived(at(2), B, SlotId(0));
    assert_eq!(all_of(&mut pool, B), [grant(9, 0)]);
    pool.give_back(at(3), B, SlotId(0), Condition::Clean);
    assert_eq!(pool.check_out(at(4), B, WaiterId(9)), CheckOut::Ready(SlotId(0)), "it has a new home");
}

#[test]
fn who_needs_a_backend_of_another_worker_gets_one_of_its_own_too_while_there_is_room() {
    let mut pool = idle_at_a(settings(2), 1);
    assert_eq!(pool.check_out(at(1), B, WaiterId(9)), CheckOut::Queued);
    assert_eq!(all_of(&mut pool, B), [Action::Connect { slot: SlotId(1), home: B }]);
    assert_eq!(all_of(&mut pool, A), [hand_over(0, B)]);
    pool.on_arrived(at(2), B, SlotId(0));
    assert_eq!(all_of(&mut pool, B), [grant(9, 0)]);
    pool.on_connected(at(3), B, SlotId(1));
    assert_eq!(all_of(&mut pool, B), []);
    assert_eq!(pool.counts(), Counts { idle: 1, lent: 1, connecting: 0, moving: 0, waiting: 0 });
}

#[test]
fn a_backend_given_back_stays_with_its_worker_unless_another_workers_waiter_has_waited_much_longer() {
    let give_back_when_a_came_after = |later: u64| {
        let mut pool = idle_at_a(settings(1), 1);
        assert_eq!(pool.check_out(at(0), A, WaiterId(1)), CheckOut::Ready(SlotId(0)));
        assert_eq!(pool.check_out(at(10), B, WaiterId(2)), CheckOut::Queued);
        assert_eq!(pool.check_out(at(10 + later), A, WaiterId(3)), CheckOut::Queued);
        pool.give_back(at(100), A, SlotId(0), Condition::Clean);
        all_of(&mut pool, A)
    };
    assert_eq!(give_back_when_a_came_after(5), [grant(3, 0)]);
    assert_eq!(give_back_when_a_came_after(6), [hand_over(0, B)]);
}

#[test]
fn for_the_sake_of_order_one_backend_moves_at_a_time() {
    let mut pool = idle_at_a(settings(2), 2);
    for slot in [1, 0] {
        assert_eq!(pool.check_out(at(0), A, WaiterId(slot)), CheckOut::Ready(SlotId(slot as u32)));
    }
    for waiter in [4, 5] {
        assert_eq!(pool.check_out(at(1), B, WaiterId(waiter)), CheckOut::Queued);
        assert_eq!(pool.check_out(at(50), A, WaiterId(waiter + 10)), CheckOut::Queued);
    }
    pool.give_back(at(60), A, SlotId(0), Condition::Clean);
    pool.give_back(at(60), A, SlotId(1), Condition::Clean);
    assert_eq!(all_of(&mut pool, A), [hand_over(0, B), grant(14, 1)]);
}

#[test]
fn a_backend_that_dies_on_the_way_is_replaced_for_the_one_who_waits() {
    let mut pool = idle_at_a(settings(1), 1);
    assert_eq!(pool.check_out(at(1), B, WaiterId(9)), CheckOut::Queued);
    assert_eq!(all_of(&mut pool, A), [hand_over(0, B)]);
    pool.on_lost(at(2), B, SlotId(0));
    assert_eq!(all_of(&mut pool, B), [Action::Connect { slot: SlotId(0), home: B }]);
}

#[test]
fn a_backend_that_dies_before_it_is_handed_over_is_not_handed_over() {
    let mut pool = idle_at_a(settings(1), 1);
    assert_eq!(pool.check_out(at(1), B, WaiterId(9)), CheckOut::Queued);
    pool.on_closed(at(1), A, SlotId(0));
    // A asks for it: it is the one that noticed.
    assert_eq!(all_of(&mut pool, A), [Action::Connect { slot: SlotId(0), home: B }]);
}

#[test]
fn a_backend_that_arrives_too_old_is_replaced_by_an_idle_one_for_the_one_who_waits() {
    let mut pool = Pool::new(settings(2), 2);
    for (slot, born) in [(0, at(0)), (1, at(300_000))] {
        assert_eq!(pool.check_out(born, A, WaiterId(slot.into())), CheckOut::Queued);
        assert_eq!(all_of(&mut pool, A), [Action::Connect { slot: SlotId(slot), home: A }]);
        pool.on_connected(born, A, SlotId(slot));
        assert_eq!(all_of(&mut pool, A), [grant(slot.into(), slot)]);
    }
    pool.give_back(at(599_998), A, SlotId(0), Condition::Clean);
    assert_eq!(pool.check_out(at(599_999), B, WaiterId(9)), CheckOut::Queued);
    assert_eq!(all_of(&mut pool, A), [hand_over(0, B)]);
    pool.give_back(at(599_999), A, SlotId(1), Condition::Clean);
    assert_eq!(all_of(&mut pool, A), []);
    pool.on_arrived(at(600_000), B, SlotId(0));
    assert_eq!(pool.next_action(A), Some(hand_over(1, B)));
    pool.check_invariants();
}

#[test]
fn one_who_leaves_while_a_backend_is_on_its_way_leaves_it_to_the_next() {
    let mut pool = idle_at_a(settings(1), 1);
    assert_eq!(pool.check_out(at(1), B, WaiterId(9)), CheckOut::Queued);
    assert_eq!(all_of(&mut pool, A), [hand_over(0, B)]);
    assert_eq!(pool.abandon(B, WaiterId(9)), Abandoned::WasQueued);
    assert_eq!(pool.check_out(at(1), A, WaiterId(10)), CheckOut::Queued);
    pool.on_arrived(at(2), B, SlotId(0));
    assert_eq!(all_of(&mut pool, B), [hand_over(0, A)]);
    pool.on_arrived(at(3), A, SlotId(0));
    assert_eq!(all_of(&mut pool, A), [grant(10, 0)]);
}

#[test]
fn recycling_concerns_what_the_worker_itself_has() {
    let mut pool = idle_at_a(settings(2), 1);
    pool.recycle(B);
    assert_eq!((all_of(&mut pool, A), all_of(&mut pool, B)), (vec![], vec![]));
    pool.recycle(A);
    assert_eq!(all_of(&mut pool, A), [Action::Close(SlotId(0))]);
}

#[test]
fn a_worker_that_ends_leaves_its_slots_to_the_others() {
    let mut pool = idle_at_a(settings(1), 1);
    assert_eq!(pool.check_out(at(0), A, WaiterId(1)), CheckOut::Ready(SlotId(0)));
    assert_eq!(pool.check_out(at(1), B, WaiterId(9)), CheckOut::Queued);
    pool.leave(at(2), A);
    assert_eq!(all_of(&mut pool, A), [Action::Connect { slot: SlotId(0), home: B }]);
    pool.on_connected(at(3), B, SlotId(0));
    assert_eq!(all_of(&mut pool, B), [grant(9, 0)]);
}

/// What may happen; numbers choose among what is there.
#[derive(Clone, Copy, Debug)]
enum Event {
    CheckOut(u16),
    Abandon(u16, usize),
    GiveBack(usize, Condition),
    Connected(usize),
    ConnectFailed(usize, Fault),
    Arrived(usize),
    Lost(usize),
    Died(usize),
    Obey(u16),
    Pass(u64),
    Deadline(u16),
    Recycle(u16),
    Resize(u16, u32, u32),
    Leave(u16),
}

fn any_event() -> impl Strategy<Value = Event> {
    let fault = prop::sample::select(vec![Fault::Node, Fault::NotReady, Fault::Full, Fault::Credentials]);
    prop_oneof![
        12 => any::<u16>().prop_map(Event::CheckOut),
        2 => (any::<u16>(), any::<usize>()).prop_map(|(w, n)| Event::Abandon(w, n)),
        9 => any::<usize>().prop_map(|n| Event::GiveBack(n, Condition::Clean)),
        1 => any::<usize>().prop_map(|n| Event::GiveBack(n, Condition::Broken)),
        8 => any::<usize>().prop_map(Event::Connected),
        1 => (any::<usize>(), fault).prop_map(|(n, fault)| Event::ConnectFailed(n, fault)),
        5 => any::<usize>().prop_map(Event::Arrived),
        1 => any::<usize>().prop_map(Event::Lost),
        1 => any::<usize>().prop_map(Event::Died),
        6 => any::<u16>().prop_map(Event::Obey),
        4 => (0_u64..30).prop_map(Event::Pass),
        1 => (0_u64..20_000).prop_map(Event::Pass),
        1 => any::<u16>().prop_map(Event::Deadline),
        1 => any::<u16>().prop_map(Event::Recycle),
        1 => (any::<u16>(), 0_u32..7, 0_u32..4).prop_map(|(w, size, min)| Event::Resize(w, size, min)),
        1 => any::<u16>().prop_map(Event::Leave),
    ]
}

/// Where a backend is, by the account of those who carry out what they are told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    Connecting(WorkerId),
    /// At this worker, with nobody, or about to be closed, granted or handed over.
    With(WorkerId),
    Lent(WorkerId),
    /// From, to.
    Between(WorkerId, WorkerId),
}

/// Several workers with an account of their own of who has what. Each obeys after its own calls, and else when it is told to.
struct Workers {
    pool: Pool,
    now: Instant,
    settings: Settings,
    next_waiter: u64,
    waiting: Vec<VecDeque<(WaiterId, Instant)>>,
    places: BTreeMap<SlotId, Place>,
    left: Vec<bool>,
}

impl Workers {
    fn new(settings: Settings, workers: u16) -> Self {
        Workers {
            pool: Pool::new(settings.clone(), workers),
            now: at(0),
            settings,
            next_waiter: 0,
            waiting: (0..workers).map(|_| VecDeque::new()).collect(),
            places: BTreeMap::new(),
            left: vec![false; workers.into()],
        }
    }

    /// A worker that has not ended.
    fn worker(&self, n: u16) -> WorkerId {
        let present: Vec<_> = (0_u16..).zip(&self.left).filter(|(_, left)| !**left).map(|(w, _)| w).collect();
        WorkerId(present[usize::from(n) % present.len()])
    }

    fn nth(&self, n: usize, wanted: impl Fn(Place) -> bool) -> Option<(SlotId, Place)> {
        let found: Vec<_> = self
            .places
            .iter()
            .filter(|(_, place)| wanted(**place))
            .map(|(slot, place)| (*slot, *place))
            .collect();
        found.get(n.checked_rem(found.len())?).copied()
    }

    fn step(&mut self, event: Event) {
        let by = match event {
            Event::CheckOut(w) => self.check_out(self.worker(w)),
            Event::Abandon(w, n) => self.abandon(self.worker(w), n),
            Event::Leave(w) => self.leave(self.worker(w)),
            Event::Pass(by) => {
                self.now = self.now + ms(by);
                None
            }
            Event::Obey(w) => Some(self.worker(w)),
            Event::Deadline(w) => {
                let by = self.worker(w);
                self.now = self.pool.next_deadline().map_or(self.now, |deadline| deadline.max(self.now));
                self.pool.on_deadline(self.now, by);
                Some(by)
            }
            Event::Recycle(w) => {
                self.pool.recycle(self.worker(w));
                Some(self.worker(w))
            }
            Event::Resize(w, size, min_size) => {
                self.settings = Settings { size, min_size, ..self.settings.clone() };
                self.pool.resize(self.now, self.worker(w), self.settings.clone());
                Some(self.worker(w))
            }
            Event::GiveBack(..)
            | Event::Connected(_)
            | Event::ConnectFailed(..)
            | Event::Arrived(_)
            | Event::Lost(_)
            | Event::Died(_) => self.on_backend(event),
        };
        self.pool.check_invariants();
        if let Some(by) = by {
            self.obey(by);
        }
    }

    fn check_out(&mut self, by: WorkerId) -> Option<WorkerId> {
        let waiter = WaiterId(self.next_waiter);
        self.next_waiter += 1;
        match self.pool.check_out(self.now, by, waiter) {
            CheckOut::Queued => self.waiting[by.index()].push_back((waiter, self.now)),
            CheckOut::Ready(slot) => {
                assert_eq!(
                    self.places.insert(slot, Place::Lent(by)),
                    Some(Place::With(by)),
                    "not its to lend"
                );
            }
        }
        Some(by)
    }

    fn abandon(&mut self, by: WorkerId, n: usize) -> Option<WorkerId> {
        let place = n.checked_rem(self.waiting[by.index()].len())?;
        let (waiter, _) = self.waiting[by.index()].remove(place)?;
        assert_eq!(self.pool.abandon(by, waiter), Abandoned::WasQueued);
        Some(by)
    }

    fn leave(&mut self, by: WorkerId) -> Option<WorkerId> {
        if self.left.iter().filter(|left| !**left).count() == 1 {
            return None;
        }
        self.pool.leave(self.now, by);
        self.left[by.index()] = true;
        self.waiting[by.index()].clear();
        self.places.retain(|_, place| match *place {
            Place::Connecting(home) | Place::With(home) | Place::Lent(home) => home != by,
            Place::Between(_, to) => to != by,
        });
        Some(by)
    }

    fn on_backend(&mut self, event: Event) -> Option<WorkerId> {
        let now = self.now;
        match event {
            Event::GiveBack(n, condition) => {
                let (slot, place) = self.nth(n, |place| matches!(place, Place::Lent(_)))?;
                let Place::Lent(home) = place else { return None };
                self.places.insert(slot, Place::With(home));
                self.pool.give_back(now, home, slot, condition);
                Some(home)
            }
            Event::Connected(n) => {
                let (slot, place) = self.nth(n, |place| matches!(place, Place::Connecting(_)))?;
                let Place::Connecting(home) = place else { return None };
                self.places.insert(slot, Place::With(home));
                self.pool.on_connected(now, home, slot);
                Some(home)
            }
            Event::ConnectFailed(n, fault) => {
                let (slot, place) = self.nth(n, |place| matches!(place, Place::Connecting(_)))?;
                let Place::Connecting(home) = place else { return None };
                self.places.remove(&slot);
                self.pool.on_connect_failed(now, home, slot, fault);
                Some(home)
            }
            Event::Arrived(n) => {
                let (slot, place) = self.nth(n, |place| matches!(place, Place::Between(..)))?;
                let Place::Between(_, to) = place else { return None };
                self.places.insert(slot, Place::With(to));
                self.pool.on_arrived(now, to, slot);
                Some(to)
            }
            Event::Lost(n) => {
                let (slot, place) = self.nth(n, |place| matches!(place, Place::Between(..)))?;
                let Place::Between(_, to) = place else { return None };
                self.places.remove(&slot);
                self.pool.on_lost(now, to, slot);
                Some(to)
            }
            Event::Died(n) => {
                let (slot, place) = self.nth(n, |place| matches!(place, Place::With(_)))?;
                let Place::With(home) = place else { return None };
                self.places.remove(&slot);
                self.pool.on_closed(now, home, slot);
                Some(home)
            }
            other => unreachable!("{other:?} is not about a backend"),
        }
    }

    /// One worker does as it is told, and checks that it may be told so.
    fn obey(&mut self, by: WorkerId) {
        while let Some(action) = self.pool.next_action(by) {
            self.pool.check_invariants();
            match action {
                Action::Connect { slot, home } => {
                    assert!(!self.left[home.index()], "connects for one who is gone");
                    assert_eq!(self.places.insert(slot, Place::Connecting(home)), None, "slot in use");
                    assert!(self.places.len() <= self.settings.size as usize, "limit passed");
                }
                Action::Close(slot) => {
                    let place = self.places.remove(&slot);
                    assert!(matches!(place, None | Some(Place::With(_))), "closes {place:?}");
                    assert!(
                        place.is_none_or(|place| place == Place::With(by)),
                        "closes what it does not have"
                    );
                }
                Action::HandOver { slot, to } => {
                    assert!(!self.left[to.index()] && to != by);
                    assert_eq!(self.places.insert(slot, Place::Between(by, to)), Some(Place::With(by)));
                }
                Action::Grant { waiter, slot } => {
                    let (first, since) = self.waiting[by.index()].pop_front().expect("somebody waits");
                    assert_eq!(first, waiter, "not first come, first served");
                    assert_eq!(self.places.insert(slot, Place::Lent(by)), Some(Place::With(by)));
                    self.check_order(by, since);
                }
                Action::TimedOut { waiter, waited } => {
                    let (first, _) = self.waiting[by.index()].pop_front().expect("somebody waits");
                    assert_eq!(first, waiter);
                    assert!(waited >= self.settings.wait_max, "sent away too early");
                }
                Action::Refuse { waiter, .. } => {
                    assert_eq!(self.waiting[by.index()].pop_front().expect("somebody waits").0, waiter);
                }
            }
        }
    }

    /// One who came at `since` is served: those of other workers who came much earlier have a backend on its way.
    fn check_order(&self, by: WorkerId, since: Instant) {
        let told = self.pool.pending();
        for (worker, queue) in (0..).map(WorkerId).zip(&self.waiting) {
            // The first may have been told the end of its wait, and not know it yet.
            if worker == by || told.has(worker) || self.pool.slots.moving_to(worker) > 0 {
                continue;
            }
            let first = queue.front().map_or(since, |(_, since)| *since);
            assert!(first + OVERTAKEN_MAX >= since, "overtaken by {:?}", since.since(first));
        }
    }

    /// Everybody obeys; whatever is between workers arrives.
    fn come_to_rest(&mut self) {
        for _ in 0..100 {
            for worker in 0..self.left.len() {
                self.obey(WorkerId(u16::try_from(worker).unwrap()));
            }
            self.step(Event::Arrived(0));
            let between = self.places.values().any(|place| matches!(place, Place::Between(..)));
            if self.pool.pending().is_empty() && !between {
                break;
            }
        }
        let counts = self.pool.counts();
        let count = |wanted: fn(&Place) -> bool| self.places.values().filter(|place| wanted(place)).count();
        assert_eq!(counts.moving, 0, "a backend is passed on and on");
        assert_eq!(counts.idle as usize, count(|place| matches!(place, Place::With(_))));
        assert_eq!(counts.lent as usize, count(|place| matches!(place, Place::Lent(_))));
        assert_eq!(counts.connecting as usize, count(|place| matches!(place, Place::Connecting(_))));
        assert_eq!(counts.waiting as usize, self.waiting.iter().map(VecDeque::len).sum::<usize>());
        assert!(counts.waiting == 0 || counts.idle == 0, "somebody waits while a backend is idle");
    }
}

proptest! {
    #[test]
    fn workers_share_a_limit_exactly_and_nobody_waits_beside_an_idle_backend(
        workers in 1_u16..5,
        size in 1_u32..6,
        min_size in 0_u32..3,
        events in prop::collection::vec(any_event(), 1..200),
        rests in 1_usize..20,
    ) {
        let mut world = Workers::new(Settings { min_size, ..settings(size) }, workers);
        for (place, event) in events.into_iter().enumerate() {
            world.step(event);
            if place % rests == 0 {
                world.come_to_rest();
            }
        }
        // From here on everything succeeds, and time alone must be enough to serve all who wait.
        world.step(Event::Resize(0, size, min_size));
        for _ in 0..1000 {
            world.come_to_rest();
            if world.pool.counts().waiting == 0 {
                break;
            }
            world.step(Event::GiveBack(0, Condition::Clean));
            world.step(Event::Connected(0));
            let busy = |place: &Place| matches!(place, Place::Lent(_) | Place::Connecting(_));
            if world.pool.counts().waiting > 0 && !world.places.values().any(busy) && world.pool.pending().is_empty() {
                prop_assert!(world.pool.next_deadline().is_some(), "nothing will ever happen");
                world.step(Event::Deadline(0));
            }
        }
        prop_assert!(world.waiting.iter().all(VecDeque::is_empty), "somebody is forgotten");
    }
}
