//! What goes wrong with servers, and what they do by themselves: flush, stream, and take others' writes.

use crate::history::Point;
use crate::postgres::{Role, Server, ServerId, State};
use crate::run::{Event, Run};
use crate::world::{MS, US};

/// Positions a crashed replica can fall behind what it had shown, in bytes.
const BACK_MAX: u64 = 40_000;

/// One thing done to a server, or by its operator.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fault {
    /// A replica replays so many nanoseconds after receiving.
    Lag(ServerId, u64),
    /// An operator pauses a replica's replay.
    Pause(ServerId),
    /// And resumes it.
    Resume(ServerId),
    /// Nothing streams to a replica any more.
    Cut(ServerId),
    /// It streams again.
    Mend(ServerId),
    /// Its processes are killed. A primary loses what was not flushed; a replica comes back showing less.
    Crash(ServerId),
    /// It is started again.
    Start(ServerId),
    /// All its processes stop until then.
    Freeze(ServerId, u64),
    /// They go on.
    Thaw(ServerId),
    /// The router alone cannot reach it.
    Isolate(ServerId),
    /// It can again.
    Rejoin(ServerId),
    /// A replica becomes a primary on a new timeline.
    Promote(ServerId),
    /// A replica follows another server, if it has nothing that that one lacks.
    Follow(ServerId, ServerId),
    /// It is made anew as a replica of another.
    Rebuild(ServerId, ServerId),
    /// The node at this place leaves the cluster.
    Leave(usize),
    /// The one at this place, which was not there at the start, joins it.
    Join(usize),
    /// The log is written up to the very end of a page or segment of so many bytes.
    Fill(ServerId, u64),
}

pub(crate) fn apply(run: &mut Run, fault: Fault) {
    match fault {
        Fault::Lag(server, lag) => run.on_replica(server, |replica, _| replica.lag = lag),
        Fault::Pause(server) => run.on_replica(server, |replica, _| replica.paused = true),
        Fault::Resume(server) => run.on_replica(server, |replica, _| replica.paused = false),
        Fault::Cut(server) => run.on_replica(server, |replica, _| replica.cut = true),
        Fault::Mend(server) => {
            run.on_replica(server, |replica, _| replica.cut = false);
            run.resume_streaming(server);
        }
        Fault::Crash(server) => run.crash(server),
        Fault::Start(server) => run.start(server),
        Fault::Freeze(server, until) => run.servers[server.0].state = State::Frozen(until),
        Fault::Thaw(server) | Fault::Rejoin(server) => run.servers[server.0].state = State::Running,
        Fault::Isolate(server) => run.servers[server.0].state = State::Isolated,
        Fault::Promote(server) => run.promote(server),
        Fault::Follow(server, upstream) => run.follow(server, upstream),
        Fault::Rebuild(server, upstream) => run.rebuild(server, upstream),
        Fault::Leave(node) => run.leave(node),
        Fault::Join(node) => run.join(node),
        Fault::Fill(server, unit) => {
            run.servers[server.0].fill(unit);
            run.flush_all(server);
        }
    }
}

impl Run {
    pub(crate) fn on_flush(&mut self, server: ServerId, run: u64, up_to: u64) {
        let it = &mut self.servers[server.0];
        match it.state {
            _ if it.run != run => {}
            State::Gone => {}
            State::Frozen(until) => self.agenda.at(until, Event::Flush { server, run, up_to }),
            State::Running | State::Isolated => {
                if let Some(flushed) = it.flush(up_to) {
                    self.stream(server, flushed);
                }
            }
        }
    }

    pub(crate) fn on_outside_write(&mut self, server: ServerId) {
        let (low, high) = self.plan.outside_every;
        let pause = self.chance.between(low, high);
        self.agenda.after(pause, Event::OutsideWrite(server));
        let able = matches!(self.servers[server.0].state, State::Running | State::Isolated);
        if !able || self.agenda.nanos() > self.plan.writes_until {
            return;
        }
        let bytes = self.chance.between(60, 3000);
        if let Some(point) = self.servers[server.0].insert(bytes) {
            self.flush_all(server);
            self.agenda.after(500 * US, Event::OutsideAcknowledged(point));
        }
    }

    /// Sends what was flushed to those who follow.
    fn stream(&mut self, server: ServerId, flushed: u64) {
        for place in 0..self.servers.len() {
            let delay = self.chance.between(50 * US, 500 * US);
            let due = self.agenda.nanos() + delay;
            let follower = &mut self.servers[place];
            if let Role::Replica(replica) = &mut follower.role
                && replica.upstream == server
                && !replica.cut
                && follower.state != State::Gone
            {
                replica.receive(due, flushed);
            }
        }
    }

    fn flush_all(&mut self, server: ServerId) {
        if let Some(flushed) = self.servers[server.0].flush(u64::MAX) {
            self.stream(server, flushed);
        }
    }

    fn on_replica(&mut self, server: ServerId, change: impl FnOnce(&mut crate::postgres::Replaying, u64)) {
        let now = self.agenda.nanos();
        if let Role::Replica(replica) = &mut self.servers[server.0].role {
            // What has come by now came under the old rules.
            replica.replay(now);
            change(replica, now);
        }
    }

    fn crash(&mut self, server: ServerId) {
        let it = &mut self.servers[server.0];
        let run = it.run;
        it.state = State::Gone;
        if let Role::Primary(writing) = &mut it.role {
            let (before, flushed) = (it.branch, writing.flushed);
            writing.inserted = flushed;
            let after = self.history.lose(Point { branch: before, lsn: flushed });
            self.reference.on_loss(before, after);
            // Whoever follows has nothing but what was flushed.
            for other in self.servers.iter_mut().filter(|other| other.branch == before) {
                let follows = matches!(&other.role, Role::Replica(replica) if replica.upstream == server);
                if follows || other.is_primary() {
                    other.branch = after;
                }
            }
        }
        self.lose_running(server, run);
        self.lose_idle_backends(server, run);
    }

    fn start(&mut self, server: ServerId) {
        let now = self.agenda.nanos();
        let back = self.chance.between(0, BACK_MAX);
        let it = &mut self.servers[server.0];
        it.state = State::Running;
        it.run += 1;
        match &mut it.role {
            // The end of recovery is a record too.
            Role::Primary(_) => {
                it.insert(120);
                self.flush_all(server);
            }
            Role::Replica(replica) => {
                let visible = replica.replay(now).saturating_sub(back).max(1000);
                replica.go_back_to(visible, now);
                self.resume_streaming(server);
            }
        }
    }

    fn promote(&mut self, server: ServerId) {
        let it = &mut self.servers[server.0];
        let Role::Replica(replica) = &mut it.role else { return };
        let end = replica.finish();
        let branch = self.history.promote(Point { branch: it.branch, lsn: end });
        *it = Server { state: it.state, run: it.run, ..Server::primary(it.run, branch, end) };
        it.insert(150);
        self.flush_all(server);
    }

    fn follow(&mut self, server: ServerId, upstream: ServerId) {
        let branch = self.servers[upstream.0].branch;
        let end = match &self.servers[upstream.0].role {
            Role::Primary(writing) => Point { branch, lsn: writing.flushed },
            Role::Replica(_) => return,
        };
        let it = &mut self.servers[server.0];
        if let Role::Replica(replica) = &mut it.role
            && self.history.contains(end, Point { branch: it.branch, lsn: replica.received })
        {
            replica.upstream = upstream;
            it.branch = branch;
            self.resume_streaming(server);
        }
    }

    fn rebuild(&mut self, server: ServerId, upstream: ServerId) {
        let Role::Primary(writing) = &self.servers[upstream.0].role else { return };
        let (flushed, branch) = (writing.flushed, self.servers[upstream.0].branch);
        let run = self.servers[server.0].run;
        self.servers[server.0].state = State::Gone;
        self.lose_running(server, run);
        self.lose_idle_backends(server, run);
        self.servers[server.0] = Server::replica(run + 1, branch, flushed, upstream);
    }

    /// A replica asks its upstream for what it lacks, and gets it if the two have not parted.
    fn resume_streaming(&mut self, server: ServerId) {
        let now = self.agenda.nanos();
        let Role::Replica(replica) = &self.servers[server.0].role else { return };
        let upstream = &self.servers[replica.upstream.0];
        let same = upstream.branch == self.servers[server.0].branch && upstream.state != State::Gone;
        if let (Role::Primary(writing), true, false) = (&upstream.role, same, replica.cut) {
            let flushed = writing.flushed;
            if let Role::Replica(replica) = &mut self.servers[server.0].role {
                replica.receive(now + MS, flushed);
            }
        }
    }
}
