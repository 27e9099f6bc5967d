//! Stories of one pool, and what must hold after any sequence of events.

mod workers;

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

/// The only worker.
const ME: WorkerId = WorkerId(0);

const fn at(ms: u64) -> Instant {
    Instant::from_nanos(ms * 1_000_000)
}

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn settings(size: u32) -> Settings {
    Settings {
        mode: PoolMode::Transaction,
        size,
        min_size: 0,
        wait_max: ms(10_000),
        idle_max: ms(60_000),
        lifetime_max: ms(600_000),
        connect_retry: ms(15_000),
    }
}

fn actions(pool: &mut Pool) -> Vec<Action> {
    let actions = std::iter::from_fn(|| pool.next_action(ME)).collect();
    pool.check_invariants();
    actions
}

fn queue(pool: &mut Pool, now: Instant, waiters: std::ops::Range<u64>) {
    for waiter in waiters {
        assert_eq!(pool.check_out(now, ME, WaiterId(waiter)), CheckOut::Queued);
    }
}

/// A pool with this many backends, all lent to sessions 0, 1, ….
fn lent(settings: Settings, backends: u32) -> Pool {
    let mut pool = Pool::new(settings, 1);
    for backend in 0..backends {
        queue(&mut pool, at(0), backend.into()..u64::from(backend) + 1);
        assert_eq!(actions(&mut pool), [connect(backend)]);
        pool.on_connected(at(0), ME, SlotId(backend));
        let waiter = WaiterId(backend.into());
        assert_eq!(actions(&mut pool), [Action::Grant { waiter, slot: SlotId(backend) }]);
    }
    pool
}

fn connect(slot: u32) -> Action {
    Action::Connect { slot: SlotId(slot), home: ME }
}

fn grant(waiter: u64, slot: u32) -> Action {
    Action::Grant { waiter: WaiterId(waiter), slot: SlotId(slot) }
}

#[test]
fn a_backend_is_connected_when_somebody_waits_and_lent_again_without_waiting() {
    let mut pool = lent(settings(3), 1);
    pool.give_back(at(1), ME, SlotId(0), Condition::Clean);
    assert_eq!(actions(&mut pool), []);
    assert_eq!(pool.check_out(at(2), ME, WaiterId(7)), CheckOut::Ready(SlotId(0)));
    assert_eq!(pool.counts(), Counts { idle: 0, lent: 1, connecting: 0, moving: 0, waiting: 0 });
}

#[test]
fn the_backend_used_last_is_lent_first() {
    let mut pool = lent(settings(3), 3);
    for slot in [1, 0, 2] {
        pool.give_back(at(1), ME, SlotId(slot), Condition::Clean);
    }
    for slot in [2, 0, 1] {
        assert_eq!(pool.check_out(at(2), ME, WaiterId(7)), CheckOut::Ready(SlotId(slot)));
    }
}

#[test]
fn the_size_is_never_passed_and_connects_come_a_few_at_a_time() {
    let mut pool = Pool::new(settings(6), 1);
    queue(&mut pool, at(0), 0..10);
    assert_eq!(actions(&mut pool).len(), 4);
    for slot in 0..4 {
        pool.on_connected(at(1), ME, SlotId(slot));
    }
    let connects = actions(&mut pool).iter().filter(|a| matches!(a, Action::Connect { .. })).count();
    assert_eq!(connects, 2);
    assert_eq!(pool.counts(), Counts { idle: 0, lent: 4, connecting: 2, moving: 0, waiting: 6 });
}

#[test]
fn waiters_are_served_in_the_order_of_coming() {
    let mut pool = lent(settings(1), 1);
    queue(&mut pool, at(1), 10..13);
    for waiter in 10..13 {
        pool.give_back(at(2), ME, SlotId(0), Condition::Clean);
        assert_eq!(actions(&mut pool), [grant(waiter, 0)]);
    }
}

#[test]
fn no_more_is_connected_than_is_waited_for() {
    let mut pool = Pool::new(settings(9), 1);
    queue(&mut pool, at(0), 0..2);
    assert_eq!(actions(&mut pool), [connect(0), connect(1)]);
    assert_eq!(pool.abandon(ME, WaiterId(0)), Abandoned::WasQueued);
    assert_eq!(pool.abandon(ME, WaiterId(0)), Abandoned::Unknown);
    queue(&mut pool, at(0), 2..3);
    assert_eq!(actions(&mut pool), []);
}

#[test]
fn one_who_leaves_while_being_granted_a_backend_passes_it_on() {
    let mut pool = lent(settings(1), 1);
    queue(&mut pool, at(1), 10..12);
    pool.give_back(at(2), ME, SlotId(0), Condition::Clean);
    assert_eq!(pool.abandon(ME, WaiterId(10)), Abandoned::WasQueued);
    assert_eq!(actions(&mut pool), [grant(11, 0)]);
}

#[test]
fn a_broken_backend_is_closed_and_another_is_connected_for_those_who_wait() {
    let mut pool = lent(settings(1), 1);
    queue(&mut pool, at(1), 10..11);
    pool.give_back(at(2), ME, SlotId(0), Condition::Broken);
    assert_eq!(actions(&mut pool), [Action::Close(SlotId(0)), connect(0)]);
    pool.on_connected(at(3), ME, SlotId(0));
    assert_eq!(actions(&mut pool), [grant(10, 0)]);
}

#[test]
fn a_wait_ends_at_wait_max_and_says_how_long_it_was() {
    let mut pool = lent(settings(1), 1);
    queue(&mut pool, at(500), 10..11);
    queue(&mut pool, at(700), 11..12);
    assert_eq!(pool.next_deadline(), Some(at(10_500)));
    assert_eq!(pool.longest_wait(at(900)), ms(400));
    pool.on_deadline(at(10_499), ME);
    assert_eq!(actions(&mut pool), []);
    pool.on_deadline(at(10_500), ME);
    assert_eq!(actions(&mut pool), [Action::TimedOut { waiter: WaiterId(10), waited: ms(10_000) }]);
    assert_eq!(pool.next_deadline(), Some(at(10_700)));
}

#[test]
fn without_wait_max_nobody_is_sent_away() {
    let mut pool = lent(Settings { wait_max: Duration::ZERO, ..settings(1) }, 1);
    queue(&mut pool, at(0), 10..11);
    pool.on_deadline(at(1_000_000), ME);
    assert_eq!(actions(&mut pool), []);
    assert_eq!(pool.next_deadline(), None);
}

#[test]
fn unused_backends_are_closed_down_to_min_size() {
    let mut pool = lent(Settings { min_size: 1, ..settings(3) }, 3);
    for slot in 0..3 {
        pool.give_back(at(slot.into()), ME, SlotId(slot), Condition::Clean);
    }
    assert_eq!(pool.next_deadline(), Some(at(60_000)));
    pool.on_deadline(at(60_001), ME);
    assert_eq!(actions(&mut pool), [Action::Close(SlotId(0)), Action::Close(SlotId(1))]);
    // The last one stays for as long as its age allows.
    assert_eq!(pool.next_deadline(), Some(at(600_000)));
}

#[test]
fn a_backend_past_its_age_is_not_lent_again() {
    let mut pool = lent(Settings { idle_max: Duration::ZERO, ..settings(2) }, 2);
    pool.give_back(at(599_999), ME, SlotId(0), Condition::Clean);
    pool.give_back(at(600_000), ME, SlotId(1), Condition::Clean);
    assert_eq!(actions(&mut pool), [Action::Close(SlotId(1))]);
    assert_eq!(pool.next_deadline(), Some(at(600_000)));
    // Even if the deadline is late.
    assert_eq!(pool.check_out(at(600_001), ME, WaiterId(5)), CheckOut::Queued);
    assert_eq!(actions(&mut pool), [Action::Close(SlotId(0)), connect(1)]);
}

#[test]
fn min_size_is_kept_without_demand() {
    let mut pool = Pool::new(Settings { min_size: 2, ..settings(3) }, 1);
    assert_eq!(pool.next_deadline(), Some(at(0)));
    pool.on_deadline(at(5), ME);
    assert_eq!(actions(&mut pool), [connect(0), connect(1)]);
    pool.on_connected(at(6), ME, SlotId(0));
    pool.on_connected(at(6), ME, SlotId(1));
    pool.on_closed(at(7), ME, SlotId(0));
    assert_eq!(actions(&mut pool), [connect(0)]);
}

#[test]
fn a_dead_node_sends_waiters_away_to_decide_anew_and_is_tried_ever_more_rarely() {
    let mut pool = Pool::new(Settings { wait_max: Duration::ZERO, ..settings(1) }, 1);
    let mut now = at(0);
    let mut pauses = Vec::new();
    for waiter in 0..10 {
        queue(&mut pool, now, waiter..waiter + 1);
        if let Some(until) = pool.next_deadline().filter(|_| waiter > 0) {
            pauses.push(until.since(now).as_millis());
            now = until;
            pool.on_deadline(now, ME);
        }
        assert_eq!(actions(&mut pool), [connect(0)]);
        pool.on_connect_failed(now, ME, SlotId(0), Fault::Node);
        let refused = Action::Refuse { waiter: WaiterId(waiter), fault: Fault::Node };
        assert_eq!(actions(&mut pool), [refused]);
    }
    assert_eq!(pauses, [100, 200, 400, 800, 1600, 3200, 6400, 12_800, 15_000]);
}

#[test]
fn a_node_that_is_starting_up_is_tried_at_least_every_second() {
    let mut pool = Pool::new(settings(1), 1);
    queue(&mut pool, at(0), 0..1);
    let mut now = at(0);
    for _ in 0..9 {
        assert_eq!(actions(&mut pool), [connect(0)]);
        pool.on_connect_failed(now, ME, SlotId(0), Fault::NotReady);
        actions(&mut pool);
        queue(&mut pool, now, 1..2);
        now = pool.next_deadline().expect("another try");
        pool.on_deadline(now, ME);
    }
    assert!(now <= at(100 + 200 + 400 + 800 + 5 * 1000), "{now:?}");
}

#[test]
fn those_who_wait_beside_live_backends_go_on_waiting_when_a_connect_fails() {
    for fault in [Fault::Node, Fault::NotReady, Fault::Full] {
        let mut pool = lent(settings(2), 1);
        queue(&mut pool, at(1), 10..11);
        assert_eq!(actions(&mut pool), [connect(1)]);
        pool.on_connect_failed(at(2), ME, SlotId(1), fault);
        assert_eq!(actions(&mut pool), [], "{fault:?}");
        pool.give_back(at(3), ME, SlotId(0), Condition::Clean);
        assert_eq!(actions(&mut pool), [grant(10, 0)]);
    }
}

#[test]
fn a_full_node_keeps_its_waiters_and_is_asked_again() {
    let mut pool = Pool::new(settings(2), 1);
    queue(&mut pool, at(0), 0..1);
    actions(&mut pool);
    pool.on_connect_failed(at(1), ME, SlotId(0), Fault::Full);
    assert_eq!(actions(&mut pool), []);
    assert_eq!(pool.next_deadline(), Some(at(101)));
    pool.on_deadline(at(101), ME);
    assert_eq!(actions(&mut pool), [connect(0)]);
}

#[test]
fn refused_credentials_send_everybody_away_at_once() {
    let mut pool = lent(settings(3), 1);
    queue(&mut pool, at(1), 10..12);
    actions(&mut pool);
    pool.on_connect_failed(at(2), ME, SlotId(1), Fault::Credentials);
    let refused = |waiter| Action::Refuse { waiter: WaiterId(waiter), fault: Fault::Credentials };
    assert_eq!(actions(&mut pool), [refused(10), refused(11)]);
    // The backend that is there goes on serving.
    pool.give_back(at(3), ME, SlotId(0), Condition::Clean);
    assert_eq!(pool.check_out(at(3), ME, WaiterId(12)), CheckOut::Ready(SlotId(0)));
}

#[test]
fn after_a_failure_one_connect_is_tried_and_success_opens_the_way() {
    let mut pool = Pool::new(settings(4), 1);
    queue(&mut pool, at(0), 0..1);
    actions(&mut pool);
    pool.on_connect_failed(at(0), ME, SlotId(0), Fault::Full);
    queue(&mut pool, at(1), 1..4);
    assert_eq!(actions(&mut pool), []);
    pool.on_deadline(at(100), ME);
    assert_eq!(actions(&mut pool).len(), 1);
    pool.on_connected(at(101), ME, SlotId(0));
    assert_eq!(actions(&mut pool).len(), 1 + 3);
}

#[test]
fn a_node_known_to_be_back_is_tried_at_once() {
    let mut pool = Pool::new(settings(1), 1);
    queue(&mut pool, at(0), 0..1);
    actions(&mut pool);
    pool.on_connect_failed(at(0), ME, SlotId(0), Fault::Full);
    pool.retry_now(at(10), ME);
    assert_eq!(actions(&mut pool), [connect(0)]);
}

#[test]
fn recycling_closes_every_backend_once_nobody_uses_it() {
    let mut pool = lent(settings(3), 2);
    pool.give_back(at(1), ME, SlotId(1), Condition::Clean);
    queue(&mut pool, at(2), 5..5);
    assert_eq!(pool.check_out(at(2), ME, WaiterId(5)), CheckOut::Ready(SlotId(1)));
    queue(&mut pool, at(2), 6..7);
    pool.recycle(ME);
    assert_eq!(actions(&mut pool), [connect(2)]);
    // Under way when the order came: it may be to the old address.
    pool.on_connected(at(3), ME, SlotId(2));
    pool.give_back(at(4), ME, SlotId(0), Condition::Clean);
    let told = actions(&mut pool);
    assert_eq!(told[..2], [Action::Close(SlotId(2)), Action::Close(SlotId(0))]);
    assert!(matches!(told[2..], [Action::Connect { .. }]));
}

#[test]
fn a_smaller_size_closes_what_is_above_it_as_it_becomes_free() {
    let mut pool = lent(settings(3), 3);
    pool.give_back(at(1), ME, SlotId(0), Condition::Clean);
    pool.resize(at(2), ME, settings(1));
    assert_eq!(actions(&mut pool), [Action::Close(SlotId(0))]);
    pool.give_back(at(3), ME, SlotId(1), Condition::Clean);
    assert_eq!(actions(&mut pool), [Action::Close(SlotId(1))]);
    pool.give_back(at(4), ME, SlotId(2), Condition::Clean);
    assert_eq!(actions(&mut pool), []);
    assert_eq!(pool.counts().idle, 1);
}

#[test]
fn a_pool_without_backends_and_waiters_is_unused() {
    let mut pool = lent(settings(1), 1);
    assert!(!pool.is_unused());
    pool.give_back(at(1), ME, SlotId(0), Condition::Clean);
    pool.close_idle(ME);
    assert!(!pool.is_unused());
    assert_eq!(actions(&mut pool), [Action::Close(SlotId(0))]);
    assert!(pool.is_unused());
}

/// What may happen to a pool; numbers choose among what is there.
#[derive(Clone, Copy, Debug)]
enum Event {
    CheckOut,
    Abandon(usize),
    GiveBack(usize, Condition),
    Connected(usize),
    ConnectFailed(usize, Fault),
    Died(usize),
    Pass(u64),
    Deadline,
    Recycle,
    CloseIdle,
    RetryNow,
    Resize(u32, u32),
}

fn any_event() -> impl Strategy<Value = Event> {
    let fault = prop::sample::select(vec![Fault::Node, Fault::NotReady, Fault::Full, Fault::Credentials]);
    prop_oneof![
        8 => Just(Event::CheckOut),
        2 => any::<usize>().prop_map(Event::Abandon),
        6 => any::<usize>().prop_map(|n| Event::GiveBack(n, Condition::Clean)),
        1 => any::<usize>().prop_map(|n| Event::GiveBack(n, Condition::Broken)),
        6 => any::<usize>().prop_map(Event::Connected),
        2 => (any::<usize>(), fault).prop_map(|(n, fault)| Event::ConnectFailed(n, fault)),
        1 => any::<usize>().prop_map(Event::Died),
        3 => (0_u64..20_000).prop_map(Event::Pass),
        2 => Just(Event::Deadline),
        1 => Just(Event::Recycle),
        1 => Just(Event::CloseIdle),
        1 => Just(Event::RetryNow),
        1 => (0_u32..7, 0_u32..4).prop_map(|(size, min)| Event::Resize(size, min)),
    ]
}

/// The shell, as far as a pool can tell, with its own account of who has what.
struct Shell {
    pool: Pool,
    now: Instant,
    settings: Settings,
    next_waiter: u64,
    waiting: Vec<(WaiterId, Instant)>,
    lent: BTreeMap<SlotId, WaiterId>,
    idle: BTreeSet<SlotId>,
    connecting: BTreeSet<SlotId>,
    closing: BTreeSet<SlotId>,
}

impl Shell {
    fn new(settings: Settings) -> Self {
        Shell {
            pool: Pool::new(settings.clone(), 1),
            now: at(0),
            settings,
            next_waiter: 0,
            waiting: Vec::new(),
            lent: BTreeMap::new(),
            idle: BTreeSet::new(),
            connecting: BTreeSet::new(),
            closing: BTreeSet::new(),
        }
    }

    fn step(&mut self, event: Event) {
        let now = self.now;
        match event {
            Event::CheckOut => {
                let waiter = WaiterId(self.next_waiter);
                self.next_waiter += 1;
                match self.pool.check_out(now, ME, waiter) {
                    CheckOut::Queued => self.waiting.push((waiter, now)),
                    CheckOut::Ready(slot) => {
                        assert!(self.waiting.is_empty(), "jumped the queue");
                        assert!(self.idle.remove(&slot), "lent what was not idle");
                        self.lent.insert(slot, waiter);
                    }
                }
            }
            Event::Abandon(n) => {
                if let Some(place) = n.checked_rem(self.waiting.len()) {
                    let (waiter, _) = self.waiting.remove(place);
                    assert_eq!(self.pool.abandon(ME, waiter), Abandoned::WasQueued);
                }
            }
            Event::GiveBack(n, condition) => {
                if let Some(slot) = nth(self.lent.keys(), n) {
                    self.lent.remove(&slot);
                    self.closing.insert(slot);
                    self.pool.give_back(now, ME, slot, condition);
                }
            }
            Event::Connected(n) => {
                if let Some(slot) = nth(self.connecting.iter(), n) {
                    self.connecting.remove(&slot);
                    self.closing.insert(slot);
                    self.pool.on_connected(now, ME, slot);
                }
            }
            Event::ConnectFailed(n, fault) => {
                if let Some(slot) = nth(self.connecting.iter(), n) {
                    self.connecting.remove(&slot);
                    self.pool.on_connect_failed(now, ME, slot, fault);
                }
            }
            Event::Died(n) => {
                if let Some(slot) = nth(self.idle.iter(), n) {
                    self.idle.remove(&slot);
                    self.pool.on_closed(now, ME, slot);
                }
            }
            Event::Pass(by) => self.now = now + ms(by),
            Event::Deadline => {
                self.now = self.pool.next_deadline().map_or(now, |deadline| deadline.max(now));
                self.pool.on_deadline(self.now, ME);
            }
            Event::Recycle => self.pool.recycle(ME),
            Event::CloseIdle => self.pool.close_idle(ME),
            Event::RetryNow => self.pool.retry_now(now, ME),
            Event::Resize(size, min_size) => {
                self.settings = Settings { size, min_size, ..self.settings.clone() };
                self.pool.resize(now, ME, self.settings.clone());
            }
        }
        self.pool.check_invariants();
        self.obey();
    }

    /// Does as it is told, and checks that it may be told so.
    fn obey(&mut self) {
        while let Some(action) = self.pool.next_action(ME) {
            self.pool.check_invariants();
            match action {
                Action::Connect { slot, .. } => {
                    self.settle();
                    assert!(self.connecting.insert(slot), "connects twice");
                    assert!(!self.lent.contains_key(&slot) && !self.idle.contains(&slot), "slot in use");
                    let present = self.lent.len() + self.idle.len() + self.connecting.len();
                    assert!(present <= self.settings.size as usize, "limit passed");
                }
                Action::Close(slot) => {
                    assert!(self.idle.remove(&slot) || self.closing.remove(&slot), "closes what is in use");
                }
                Action::HandOver { .. } => unreachable!("there is one worker"),
                Action::Grant { waiter, slot } => {
                    assert_eq!(self.waiting.remove(0).0, waiter, "not first come, first served");
                    assert!(self.closing.remove(&slot) || self.idle.remove(&slot), "grants what is in use");
                    assert_eq!(self.lent.insert(slot, waiter), None);
                }
                Action::TimedOut { waiter, waited } => {
                    let (first, since) = self.waiting.remove(0);
                    assert_eq!((first, self.now.since(since)), (waiter, waited));
                    assert!(waited >= self.settings.wait_max, "sent away too early");
                }
                Action::Refuse { waiter, .. } => assert_eq!(self.waiting.remove(0).0, waiter),
            }
        }
        self.settle();
        let counts = self.pool.counts();
        assert_eq!(counts.idle as usize, self.idle.len());
        assert_eq!(counts.lent as usize, self.lent.len());
        assert_eq!(counts.connecting as usize, self.connecting.len());
        assert_eq!(counts.waiting as usize, self.waiting.len());
    }

    /// What was given back or connected and is neither closed nor granted rests.
    fn settle(&mut self) {
        self.idle.append(&mut self.closing);
    }
}

fn nth<'a>(slots: impl ExactSizeIterator<Item = &'a SlotId>, n: usize) -> Option<SlotId> {
    let place = n.checked_rem(slots.len())?;
    slots.copied().nth(place)
}

#[test]
fn a_retired_pool_sends_everybody_away_lets_what_is_lent_finish_and_then_has_nothing() {
    let mut pool = lent(settings(2), 2);
    pool.give_back(at(1), ME, SlotId(0), Condition::Clean);
    let mut full = lent(settings(1), 1);
    queue(&mut full, at(1), 7..9);
    full.retire(at(2), ME);
    let refuse = |waiter| Action::Refuse { waiter: WaiterId(waiter), fault: Fault::Node };
    assert_eq!(actions(&mut full), [refuse(7), refuse(8)]);
    pool.retire(at(2), ME);
    assert_eq!(actions(&mut pool), [Action::Close(SlotId(0))]);
    // One who had decided for this node before it left.
    queue(&mut pool, at(3), 9..10);
    assert_eq!(actions(&mut pool), [refuse(9)]);
    // A reload does not bring it back.
    pool.resize(at(4), ME, Settings { min_size: 2, ..settings(5) });
    assert_eq!(actions(&mut pool), []);
    assert!(!pool.is_unused() && pool.is_retired());
    pool.give_back(at(5), ME, SlotId(1), Condition::Clean);
    assert_eq!(actions(&mut pool), [Action::Close(SlotId(1))]);
    assert!(pool.is_unused());
    assert_eq!(pool.next_deadline(), None);
}

proptest! {
    #[test]
    fn the_limit_holds_and_nobody_is_forgotten(
        size in 1_u32..6,
        min_size in 0_u32..3,
        events in prop::collection::vec(any_event(), 1..200),
    ) {
        let mut shell = Shell::new(Settings { min_size, ..settings(size) });
        for event in events {
            shell.step(event);
        }
        // From here on everything succeeds, and time alone must be enough to serve all who wait.
        shell.step(Event::Resize(size, min_size));
        for _ in 0..1000 {
            if shell.waiting.is_empty() {
                break;
            }
            shell.step(Event::GiveBack(0, Condition::Clean));
            shell.step(Event::Connected(0));
            if shell.lent.is_empty() && shell.connecting.is_empty() && !shell.waiting.is_empty() {
                prop_assert!(shell.pool.next_deadline().is_some(), "nothing will ever happen");
                shell.step(Event::Deadline);
            }
        }
        prop_assert!(shell.waiting.is_empty(), "somebody is forgotten");
        // And when its node leaves the cluster, nothing is left of it once everything lent has come back.
        let now = shell.now;
        shell.pool.retire(now, ME);
        for _ in 0..20 {
            shell.step(Event::Resize(size, min_size));
            shell.step(Event::CheckOut);
            shell.step(Event::GiveBack(0, Condition::Clean));
            shell.step(Event::Connected(0));
        }
        prop_assert!(shell.waiting.is_empty() && shell.pool.is_unused(), "something is left of a retired pool");
    }
}
