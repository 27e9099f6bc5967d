//! A load test's connections to one target: each asks transaction after transaction of a script, as fast as answers
//! come or as arrivals come, from one thread over one poll.
//!
//! What a server refuses, and a connection that is lost, is counted and the test goes on: lost connections are made
//! again. Only what makes the whole test impossible is an error.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use wire::encode;

use crate::clock::now;
use crate::error::Error;
use crate::fleet;
use crate::login::Target;
use crate::outcome::{Outcome, UNREACHABLE};
use crate::pace::{Arrivals, Queue};
use crate::random::Random;
use crate::return_way::{Arrival, Coming};
use crate::script::Script;
use crate::statement::Protocol;
pub use crate::talk::LAST_ROUTE;
use crate::talk::{Talk, Turn};
use crate::timer::Timer;

/// Whoever has asked and hears nothing for this long after the end is given up.
const SILENCE_MAX: Duration = Duration::from_secs(10);
/// Between a lost connection and the next attempt.
const AGAIN_AFTER: Duration = Duration::from_millis(200);
/// How often whoever watches is told.
const WATCH_EVERY: Duration = Duration::from_millis(100);
/// Bytes read at a time.
const READ_BYTES: usize = 256 * 1024;
/// Sockets taken from one poll.
const EVENTS: usize = 1024;
/// The timer's token; connections have their place for one.
const TIMER: Token = Token(usize::MAX);
/// The stream of chance that arrivals come from; connections have their place for one.
const ARRIVALS_STREAM: u64 = u64::MAX;

/// What the connections are like.
#[derive(Clone, Debug)]
pub struct Terms {
    /// How many there are.
    pub clients: u32,
    /// How they ask.
    pub protocol: Protocol,
    /// What each runs first, such as a SET; one simple query.
    pub setup: Option<String>,
    /// A router is asked where a read ran after every so many reads of a connection; never if 0.
    pub route_every: u32,
}

/// When to ask.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Pace {
    /// Each connection as soon as it has its answer.
    Closed,
    /// As arrivals come.
    Open {
        /// Arrivals a second; above 0.
        rate: f64,
        /// How they are spread.
        arrivals: Arrivals,
        /// How many may wait for a free connection.
        queue_max: usize,
    },
}

/// A time of asking.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Stint {
    /// How long.
    pub time: Duration,
    /// When.
    pub pace: Pace,
    /// What is asked follows from this.
    pub seed: u64,
    /// Length of a step of the outcome's course of time.
    pub step: Duration,
}

/// Whether to go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Go {
    /// Yes.
    On,
    /// Enough: what is under way is waited for.
    Stop,
}

/// Connections that are logged in, or on their way back.
pub struct Crew {
    target: Target,
    terms: Terms,
    script: Arc<Script>,
    poll: Poll,
    timer: Timer,
    members: Vec<Member>,
    buffer: Vec<u8>,
    out: Vec<u8>,
}

struct Member {
    link: Link,
    talk: Talk,
    /// What the socket did not take.
    unsent: Vec<u8>,
}

enum Link {
    Up(TcpStream),
    Coming(Box<Coming>),
    Down { until: Instant },
}

/// A stint under way.
struct Run {
    start: Instant,
    end: Instant,
    /// Nothing is begun any more.
    over: bool,
    queue: Option<Queue>,
    /// Connections that may ask.
    idle: VecDeque<usize>,
    outcome: Outcome,
}

impl Crew {
    /// Opens the connections one after the other.
    ///
    /// # Errors
    /// [`Error`], for the first that fails.
    pub fn open(target: &Target, script: Arc<Script>, terms: Terms) -> Result<Crew, Error> {
        let poll = Poll::new().map_err(|error| Error::Io("epoll", error))?;
        let timer = Timer::new(poll.registry(), TIMER)?;
        let mut members = Vec::with_capacity(terms.clients as usize);
        for place in 0..terms.clients as usize {
            let mut stream = fleet::open(target)?;
            if let Some(setup) = &terms.setup {
                fleet::run(&mut stream, setup)?;
            }
            stream.set_nonblocking(true).map_err(|error| Error::Io("set_nonblocking", error))?;
            let mut stream = TcpStream::from_std(stream);
            poll.registry()
                .register(&mut stream, Token(place), Interest::READABLE | Interest::WRITABLE)
                .map_err(|error| Error::Io("epoll_ctl", error))?;
            let mut talk = Talk::new(Arc::clone(&script), terms.protocol, terms.route_every);
            talk.take_place(place as u32, terms.clients);
            members.push(Member { link: Link::Up(stream), talk, unsent: Vec::new() });
        }
        let (target, buffer) = (target.clone(), vec![0; READ_BYTES]);
        Ok(Crew { target, terms, script, poll, timer, members, buffer, out: Vec::new() })
    }

    /// Asks for this long, and then waits for what is still to come. `watch` is told ten times a second how far it is.
    ///
    /// # Errors
    /// [`Error`], if the poll fails.
    pub fn drive(
        &mut self,
        stint: &Stint,
        watch: &mut dyn FnMut(&Outcome, Duration) -> Go,
    ) -> Result<Outcome, Error> {
        let mut run = self.begin(stint);
        let mut events = Events::with_capacity(EVENTS);
        let mut watched = run.start;
        loop {
            let at = now();
            run.outcome.on_time(at.min(run.end) - run.start, stint.step);
            if at >= watched + WATCH_EVERY {
                watched = at;
                if watch(&run.outcome, at - run.start) == Go::Stop && !run.over {
                    run.end = run.end.min(at);
                }
            }
            if at >= run.end && !run.over {
                run.close(at);
            }
            if run.over && self.is_over(at, &mut run) {
                break;
            }
            self.ask_whoever_is_due(at, &mut run)?;
            self.come_back(at, &mut run);
            match self.poll.poll(&mut events, Some(WATCH_EVERY)) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Error::Io("epoll_wait", error)),
            }
            for event in events.iter().filter(|event| event.token() != TIMER) {
                self.on_event(event.token().0, event.is_writable(), &mut run);
            }
        }
        run.outcome.finish(run.end - run.start, stint.step);
        run.outcome.queue = run.queue.map(|queue| queue.seen);
        Ok(run.outcome)
    }

    /// Says goodbye on every connection.
    pub fn close(self) {
        let mut goodbye = Vec::new();
        encode::terminate(&mut goodbye);
        for member in self.members {
            if let Link::Up(mut stream) = member.link {
                // Whoever is gone need not be told.
                let _gone = io::Write::write(&mut stream, &goodbye);
            }
        }
    }

    fn begin(&mut self, stint: &Stint) -> Run {
        for (place, member) in self.members.iter_mut().enumerate() {
            member.talk.seed(Random::new(stint.seed, place as u64));
        }
        let queue = match stint.pace {
            Pace::Closed => None,
            Pace::Open { rate, arrivals, queue_max } => {
                let random = Random::new(stint.seed, ARRIVALS_STREAM);
                Some(Queue::new(arrivals, rate, stint.time, queue_max, random))
            }
        };
        let up = |member: &Member| matches!(member.link, Link::Up(_));
        let idle = (0..self.members.len()).filter(|place| up(&self.members[*place])).collect();
        let (start, outcome) = (now(), Outcome::new(self.script.transactions.len()));
        Run { start, end: start + stint.time, over: false, queue, idle, outcome }
    }

    /// Whether nobody is waiting for an answer any more. Who waits too long is given up, with the connection.
    fn is_over(&mut self, at: Instant, run: &mut Run) -> bool {
        let patient = at < run.end + SILENCE_MAX;
        for member in self.members.iter_mut().filter(|member| member.talk.is_busy()) {
            if patient {
                return false;
            }
            member.talk.on_given_up(at, &mut run.outcome);
            member.link = Link::Down { until: at };
        }
        true
    }

    fn ask_whoever_is_due(&mut self, at: Instant, run: &mut Run) -> Result<(), Error> {
        if run.over {
            return Ok(());
        }
        run.on_time(at);
        while !run.idle.is_empty() {
            let Some(due) = run.next_due(at) else { break };
            let place = run.idle.pop_front().expect("it was just seen not to be empty");
            self.ask(place, due, run);
        }
        match run.queue.as_ref().and_then(Queue::next_arrival) {
            Some(next) => self.timer.set((run.start + next).saturating_duration_since(now())),
            None => Ok(()),
        }
    }

    fn ask(&mut self, place: usize, due: Instant, run: &mut Run) {
        let member = &mut self.members[place];
        self.out.clear();
        member.talk.begin(due, &mut self.out);
        if let Err(error) = member.send(&self.out) {
            self.lose(place, &error, run);
        }
    }

    fn on_event(&mut self, place: usize, writable: bool, run: &mut Run) {
        let Crew { members, buffer, out, .. } = self;
        let member = &mut members[place];
        let result = match &mut member.link {
            Link::Up(_) => member.on_ready(writable, buffer, out, &mut run.outcome),
            Link::Coming(coming) => {
                match coming.on_ready(&self.target, self.terms.setup.as_deref(), buffer) {
                    Ok(Arrival::Waiting) => Ok(Turn::Waiting),
                    Ok(Arrival::There(stream)) => {
                        member.link = Link::Up(stream);
                        Ok(Turn::Done)
                    }
                    Err(error) => return self.stay_away(place, &error, run),
                }
            }
            Link::Down { .. } => return,
        };
        match result {
            Ok(Turn::Waiting) => {}
            Ok(Turn::Done) if run.over => {}
            Ok(Turn::Done) if run.queue.is_some() => run.idle.push_back(place),
            Ok(Turn::Done) => {
                let at = now();
                if at < run.end {
                    self.ask(place, at, run);
                } else {
                    run.idle.push_back(place);
                }
            }
            Err(error) => self.lose(place, &error, run),
        }
    }

    /// A connection is of no use any more.
    fn lose(&mut self, place: usize, error: &Error, run: &mut Run) {
        let member = &mut self.members[place];
        member.talk.on_lost(&error.to_string(), &mut run.outcome);
        member.unsent.clear();
        member.link = Link::Down { until: now() + AGAIN_AFTER };
        run.idle.retain(|idle| *idle != place);
    }

    /// No connection could be made; there will be another attempt.
    fn stay_away(&mut self, place: usize, error: &Error, run: &mut Run) {
        if !run.over {
            let (code, message) = match error {
                Error::Refused { sqlstate, message } => (sqlstate.as_str(), message.clone()),
                other => (UNREACHABLE, other.to_string()),
            };
            run.outcome.error(code, &message);
        }
        self.members[place].link = Link::Down { until: now() + AGAIN_AFTER };
    }

    /// Begins the logins that are due.
    fn come_back(&mut self, at: Instant, run: &mut Run) {
        for place in 0..self.members.len() {
            match &self.members[place].link {
                Link::Down { until } if *until <= at => {}
                Link::Coming(coming) if coming.is_too_old(at) => {
                    self.stay_away(place, &Error::Stalled(SILENCE_MAX), run);
                    continue;
                }
                _ => continue,
            }
            match Coming::begin(&self.target, &self.poll, place, at) {
                Ok(coming) => self.members[place].link = Link::Coming(Box::new(coming)),
                Err(error) => self.stay_away(place, &error, run),
            }
        }
    }
}

impl Run {
    /// It is this late: who has arrived meanwhile waits.
    fn on_time(&mut self, at: Instant) {
        if let Some(queue) = &mut self.queue {
            queue.on_time(at - self.start);
        }
    }

    /// From when the latency of the next transaction counts, if there is one to begin: in an open loop from its arrival,
    /// however late it is begun.
    fn next_due(&mut self, at: Instant) -> Option<Instant> {
        match &mut self.queue {
            None => Some(at),
            Some(queue) => queue.take().map(|due| self.start + due),
        }
    }

    /// The time is over: nothing is begun any more, and who still waits has waited in vain.
    fn close(&mut self, at: Instant) {
        // Those count too who came since the last look.
        self.on_time(at);
        self.over = true;
        self.end = at;
        if let Some(queue) = &mut self.queue {
            let age = at - self.start;
            for due in queue.close() {
                self.outcome.waited(age.saturating_sub(due));
            }
        }
    }
}

impl Member {
    fn send(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let Link::Up(stream) = &mut self.link else { return Err(Error::Closed) };
        let sent = if self.unsent.is_empty() { fleet::send(stream, bytes)? } else { 0 };
        self.unsent.extend_from_slice(&bytes[sent..]);
        Ok(())
    }

    /// Reads until there is nothing more. Readiness is told once, so a read that fills the buffer is repeated.
    fn on_ready(
        &mut self,
        writable: bool,
        buffer: &mut [u8],
        out: &mut Vec<u8>,
        outcome: &mut Outcome,
    ) -> Result<Turn, Error> {
        if writable && !self.unsent.is_empty() {
            let unsent = std::mem::take(&mut self.unsent);
            self.send(&unsent)?;
        }
        let mut turn = Turn::Waiting;
        loop {
            let Link::Up(stream) = &mut self.link else { return Err(Error::Closed) };
            match stream.read(buffer) {
                Ok(0) => return Err(Error::Closed),
                Ok(count) => {
                    out.clear();
                    if self.talk.on_bytes(&buffer[..count], now(), out, outcome)? == Turn::Done {
                        turn = Turn::Done;
                    }
                    self.send(out)?;
                    if count < buffer.len() {
                        return Ok(turn);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(turn),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::Io("read", error)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// A second of a hundred arrivals, of whom ten may wait.
    fn open_loop() -> Run {
        let queue = Queue::new(Arrivals::Uniform, 100.0, ms(1000), 10, Random::new(1, 0));
        let start = now();
        let outcome = Outcome::new(1);
        Run { start, end: start + ms(1000), over: false, queue: Some(queue), idle: VecDeque::new(), outcome }
    }

    #[test]
    fn a_late_transaction_of_an_open_loop_counts_from_its_arrival_and_one_of_a_closed_loop_from_its_beginning()
     {
        let mut run = open_loop();
        let late = run.start + ms(55);
        run.on_time(late);
        let start = run.start;
        let due: Vec<_> = std::iter::from_fn(|| run.next_due(late)).map(|due| due - start).collect();
        assert_eq!(due, [0, 10, 20, 30, 40, 50].map(ms));
        run.queue = None;
        assert_eq!(run.next_due(late), Some(late));
    }

    #[test]
    fn who_is_not_served_until_the_end_has_waited_for_so_long() {
        let mut run = open_loop();
        let (start, at) = (run.start, run.start + ms(25));
        run.on_time(at);
        assert_eq!(run.next_due(at), Some(start));
        // Two more arrive before the end is noticed.
        run.close(start + ms(45));
        let seen = run.queue.map(|queue| queue.seen).expect("it is an open loop");
        assert_eq!((seen.arrived, seen.unserved, run.outcome.latency.count()), (5, 4, 4));
        assert!(run.outcome.latency.quantile(0.99) >= ms(30), "{:?}", run.outcome.latency.max());
    }
}
