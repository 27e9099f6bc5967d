//! Sessions: each thinks, reads or writes, and keeps a watermark, as the engine's session does.

use std::time::Duration;

use engine::freshness::Level;
use engine::freshness::watermark::{ReadFrom, Watermark};
use engine::pool::{Condition, SlotId};
use engine::route::{Decision, Reason, Request, RouteMode, Target, TransactionKind, decide};
use engine::view::Incarnation;
use sql::{Class, Why};

use crate::check::Answer;
use crate::history::Point;
use crate::postgres::{ServerId, State};
use crate::run::{CALM, Event, Run, node_id};
use crate::sabotage::Sabotage;
use crate::world::{Chance, MS, US};

/// The staleness bound of every session, in nanoseconds.
const MAX_STALENESS: u64 = 300 * MS;
/// A request is tried this often before its client gets an error.
const ATTEMPTS_MAX: u32 = 6;
/// A watermark with a time to live forgets after this (a negative control), in nanoseconds.
const TIME_TO_LIVE: u64 = 50 * MS;

/// A client's conversation.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    level: Level,
    watermark: Watermark,
    phase: Phase,
    /// Counts its requests' stations, so that what is late can be told.
    turn: u64,
    request: Asked,
}

/// What a session asks.
#[derive(Clone, Copy, Debug, Default)]
struct Asked {
    write: bool,
    started: u64,
    attempts: u32,
    rerun: Option<Reason>,
    /// What was accepted when its node was chosen.
    reign: Option<Point>,
}

/// Where its request is.
#[derive(Clone, Copy, Debug)]
enum Phase {
    /// Nowhere. → `Asking`
    Thinking,
    /// To be routed, or held. → `Waiting`, `Running`, `Thinking`
    Asking,
    /// Waiting for a backend of the decision's node. → `Running`, `Asking`, `Thinking`
    Waiting(Decision),
    /// On a backend. → `Thinking`, `Asking`
    Running { on: Backend, effect: Option<Effect> },
}

#[derive(Clone, Copy, Debug)]
struct Backend {
    node: usize,
    slot: SlotId,
    server: ServerId,
    run: u64,
    by_replica: bool,
}

/// What the server did.
#[derive(Clone, Copy, Debug)]
enum Effect {
    Read(Point),
    Committed(Point),
    Refused,
}

impl Session {
    pub(crate) fn new(chance: &mut Chance) -> Self {
        let levels = [Level::Session, Level::Session, Level::Causal, Level::Bounded, Level::Eventual];
        Session {
            level: chance.pick(&levels),
            watermark: Watermark::default(),
            phase: Phase::Thinking,
            turn: 0,
            request: Asked::default(),
        }
    }
}

impl Run {
    pub(crate) fn on_think(&mut self, session: usize) {
        let write =
            self.plan.writes_until > self.agenda.nanos() && self.chance.percent(self.plan.write_percent);
        self.sessions[session].request = Asked { write, started: self.agenda.nanos(), ..Asked::default() };
        self.route(session);
    }

    pub(crate) fn on_route(&mut self, session: usize, turn: u64) {
        if self.sessions[session].turn == turn {
            self.route(session);
        }
    }

    /// Asks again after a while.
    pub(crate) fn route_later(&mut self, session: usize, nanos: u64) {
        self.sessions[session].phase = Phase::Asking;
        let turn = self.next_turn(session);
        self.agenda.after(nanos, Event::Route { session, turn });
    }

    fn route(&mut self, session: usize) {
        self.sessions[session].phase = Phase::Asking;
        let attempts = &mut self.sessions[session].request.attempts;
        *attempts += 1;
        let wanted = self.wanted(session);
        let decision = decide(&wanted, &self.monitor.view, self.agenda.now(), &mut self.balance);
        self.reference.tally.decided(decision);
        self.sessions[session].request.reign = self.reference.reign;
        let node = match decision.target {
            Target::Hold => {
                // Holding is no attempt: it ends with the world.
                self.sessions[session].request.attempts -= 1;
                self.route_later(session, 10 * MS);
                return;
            }
            Target::Primary(node) | Target::Replica(node) => node.index(),
        };
        if self.sessions[session].request.attempts > ATTEMPTS_MAX {
            self.fail(session);
            return;
        }
        self.sessions[session].phase = Phase::Waiting(decision);
        if let Some(slot) = self.check_out(session, node) {
            self.run_on(session, node, slot);
        }
    }

    fn wanted(&self, session: usize) -> Request {
        let Session { level, watermark, request, .. } = self.sessions[session];
        let now = self.agenda.nanos();
        let young = |at: &engine::time::Instant| now < at.as_nanos() + TIME_TO_LIVE;
        let watermark = match self.sabotage {
            Sabotage::NoReadOrder => Watermark { read_from: None, ..watermark },
            Sabotage::ForgottenWrite => Watermark { wrote_at: watermark.wrote_at.filter(young), ..watermark },
            Sabotage::Nothing
            | Sabotage::FlushPosition
            | Sabotage::LateStamp
            | Sabotage::NoIncarnation
            | Sabotage::NoTimeline
            | Sabotage::NoNormalise => watermark,
        };
        let (class, why) =
            if request.write { (Class::Writes, Why::Dml) } else { (Class::Reads, Why::PlainSelect) };
        Request {
            class,
            why,
            mode: RouteMode::Auto,
            hint: None,
            transaction: TransactionKind::None,
            learned_write: false,
            level,
            max_staleness: Duration::from_nanos(MAX_STALENESS),
            watermark,
            rerun: request.rerun,
            pins: false,
        }
    }

    /// A session has got a backend. It must be of the run that the decision is about.
    pub(crate) fn run_on(&mut self, session: usize, node: usize, slot: SlotId) {
        let Phase::Waiting(decision) = self.sessions[session].phase else {
            unreachable!("only who waits is granted a backend")
        };
        let by_replica = matches!(decision.target, Target::Replica(_));
        let backend = self.pools[node].backends.get(&slot).copied();
        let (server, run) = backend.expect("a backend that was granted is connected");
        let on = Backend { node, slot, server, run, by_replica };
        self.sessions[session].phase = Phase::Running { on, effect: None };
        let turn = self.next_turn(session);
        let incarnation = Incarnation(server.0 as u64 * 1000 + run);
        if !decision.accepts(incarnation) && self.sabotage != Sabotage::NoIncarnation {
            self.tell_monitor_of(node);
            self.send_away(session, on);
            return;
        }
        let delay = self.delay();
        self.agenda.after(delay, Event::Execute { session, turn });
    }

    pub(crate) fn on_execute(&mut self, session: usize, turn: u64) {
        let Some((on, _)) = self.running(session, turn) else { return };
        let now = self.agenda.nanos();
        if self.servers[on.server.0].run != on.run {
            return;
        }
        match self.servers[on.server.0].state {
            State::Frozen(until) => {
                self.agenda.at(until, Event::Execute { session, turn });
                return;
            }
            // Whoever ended the run has told the session.
            State::Gone => return,
            State::Isolated => {
                self.agenda.after(US * 50, Event::Lost { session, turn });
                return;
            }
            State::Running => {}
        }
        let mut wait = 0;
        let effect = if !self.sessions[session].request.write {
            Effect::Read(self.servers[on.server.0].visible(now))
        } else {
            let bytes = self.chance.between(60, 900);
            match self.servers[on.server.0].insert(bytes) {
                None => Effect::Refused,
                Some(point) => {
                    wait = self.commit(on, point);
                    Effect::Committed(point)
                }
            }
        };
        self.sessions[session].phase = Phase::Running { on, effect: Some(effect) };
        let delay = self.delay();
        self.agenda.after(wait + delay, Event::Answered { session, turn });
    }

    /// Lets a commit's record be flushed, and tells how long the acknowledgement waits for that.
    fn commit(&mut self, on: Backend, point: Point) -> u64 {
        let flush = Event::Flush { server: on.server, run: on.run, up_to: point.lsn };
        if self.chance.percent(self.plan.async_percent) {
            let later = self.chance.between(5 * MS, 40 * MS);
            self.agenda.after(later, flush);
            0
        } else {
            let soon = self.chance.between(100 * US, 900 * US);
            self.agenda.after(soon, flush);
            soon
        }
    }

    pub(crate) fn on_answered(&mut self, session: usize, turn: u64) {
        let Some((on, Some(effect))) = self.running(session, turn) else { return };
        let now = self.agenda.now();
        let Session { level, request, .. } = self.sessions[session];
        let watermark = &mut self.sessions[session].watermark;
        match effect {
            Effect::Read(seen) => {
                if on.by_replica {
                    let incarnation = Incarnation(on.server.0 as u64 * 1000 + on.run);
                    watermark.on_replica_read(ReadFrom { node: node_id(on.node), incarnation, at: now });
                    self.monitor.calm_replica_reads += u64::from(now.as_nanos() > CALM);
                } else if level == Level::Causal {
                    watermark.on_write(now);
                }
                let Asked { started, reign, .. } = request;
                let answer = Answer { session, level, started, seen, by_replica: on.by_replica, reign };
                self.reference.on_answer(now.as_nanos(), answer, MAX_STALENESS, &self.history);
            }
            Effect::Committed(point) => {
                watermark.on_write(now);
                self.reference.on_acknowledged(now.as_nanos(), Some(session), point);
                self.tell_monitor_of_write();
            }
            Effect::Refused => {
                self.reference.tally.errors += 1;
                self.tell_monitor_of(on.node);
            }
        }
        self.rest(session);
        self.give_back(on.node, on.slot, Condition::Clean);
    }

    pub(crate) fn on_lost(&mut self, session: usize, turn: u64) {
        let Some((on, _)) = self.running(session, turn) else { return };
        self.tell_monitor_of(on.node);
        let now = self.agenda.now();
        let lost = &mut self.sessions[session];
        if lost.request.write {
            // It may have been committed: its session must not read what is older.
            lost.watermark.on_write(now);
            self.reference.tally.errors += 1;
            self.rest(session);
            self.give_back(on.node, on.slot, Condition::Broken);
        } else {
            lost.request.rerun = on.by_replica.then_some(Reason::ReplicaFailed);
            self.send_away(session, on);
        }
    }

    /// Tells all that run on a server whose run has ended.
    pub(crate) fn lose_running(&mut self, server: ServerId, run: u64) {
        for session in 0..self.sessions.len() {
            if let Phase::Running { on, .. } = self.sessions[session].phase
                && (on.server, on.run) == (server, run)
            {
                let turn = self.sessions[session].turn;
                self.agenda.after(US * 50, Event::Lost { session, turn });
            }
        }
    }

    pub(crate) fn is_lent(&self, node: usize, slot: SlotId) -> bool {
        let has = |session: &Session| match session.phase {
            Phase::Running { on, .. } => (on.node, on.slot) == (node, slot),
            Phase::Thinking | Phase::Asking | Phase::Waiting(_) => false,
        };
        self.sessions.iter().any(has)
    }

    /// The client gets an error, and goes on.
    pub(crate) fn fail(&mut self, session: usize) {
        self.reference.tally.errors += 1;
        self.rest(session);
    }

    /// The backend will not do: gives it up and asks anew.
    fn send_away(&mut self, session: usize, on: Backend) {
        self.route_later(session, US * 200);
        self.give_back(on.node, on.slot, Condition::Broken);
    }

    fn rest(&mut self, session: usize) {
        self.sessions[session].phase = Phase::Thinking;
        self.next_turn(session);
        let think = self.plan.think;
        let pause = if self.chance.percent(30) { 50 * US } else { self.chance.between(think / 4, think) };
        self.agenda.after(pause, Event::Think(session));
    }

    fn running(&self, session: usize, turn: u64) -> Option<(Backend, Option<Effect>)> {
        match self.sessions[session].phase {
            Phase::Running { on, effect } if self.sessions[session].turn == turn => Some((on, effect)),
            Phase::Running { .. } | Phase::Thinking | Phase::Asking | Phase::Waiting(_) => None,
        }
    }

    fn next_turn(&mut self, session: usize) -> u64 {
        self.sessions[session].turn += 1;
        self.sessions[session].turn
    }
}
