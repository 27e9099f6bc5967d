//! One PostgreSQL server, as far as routing can tell: what it has written, flushed and replayed, and how it fails.
//!
//! Not modelled: rows, locks, synchronous replication, conflicts. A server answers what it is asked at the moment
//! it is asked; delays of the network are the world's.

use std::collections::VecDeque;

use engine::cluster::Report;
use engine::view::Incarnation;
use wire::lsn::{Lsn, Timeline};

use crate::history::{BranchId, History, Point};

/// `wal_block_size`, in bytes.
pub(crate) const BLOCK: u64 = 8192;
/// `wal_segment_size`, in bytes; small, so that segments end now and then.
pub(crate) const SEGMENT: u64 = 64 * BLOCK;
/// Longest header of a WAL page: no record ends inside one.
const HEADER: u64 = 40;

/// A server by its number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct ServerId(pub(crate) usize);

/// Whether a server can be talked to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum State {
    /// It answers.
    Running,
    /// Its process is gone. → `Running`, as another run
    Gone,
    /// It runs, and the router alone is refused. → `Running`
    Isolated,
    /// Stopped until then: what it was asked is answered after. → `Running`
    Frozen(u64),
}

/// One server.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    pub(crate) state: State,
    /// Changes with each run.
    pub(crate) run: u64,
    pub(crate) role: Role,
    /// The branch it is on.
    pub(crate) branch: BranchId,
}

/// What a server does, with what it has then only.
#[derive(Clone, Debug)]
pub(crate) enum Role {
    /// Takes writes.
    Primary(Writing),
    /// Replays what another wrote.
    Replica(Replaying),
}

/// How far a primary is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Writing {
    /// The end of the last record.
    pub(crate) inserted: u64,
    /// What survives a crash and goes to replicas.
    pub(crate) flushed: u64,
}

/// How far a replica is.
#[derive(Clone, Debug)]
pub(crate) struct Replaying {
    /// What its readers see.
    pub(crate) replayed: u64,
    /// What it has received, replayed or not.
    pub(crate) received: u64,
    /// When it will have replayed what.
    arrivals: VecDeque<(u64, u64)>,
    /// Whom it follows.
    pub(crate) upstream: ServerId,
    /// Time between receiving and replaying, in nanoseconds.
    pub(crate) lag: u64,
    /// Replay is paused by an operator.
    pub(crate) paused: bool,
    /// Nothing streams to it.
    pub(crate) cut: bool,
}

impl Server {
    pub(crate) fn primary(run: u64, branch: BranchId, at: u64) -> Self {
        let role = Role::Primary(Writing { inserted: at, flushed: at });
        Server { state: State::Running, run, role, branch }
    }

    pub(crate) fn replica(run: u64, branch: BranchId, at: u64, upstream: ServerId) -> Self {
        let replaying = Replaying {
            replayed: at,
            received: at,
            arrivals: VecDeque::new(),
            upstream,
            lag: 0,
            paused: false,
            cut: false,
        };
        Server { state: State::Running, run, role: Role::Replica(replaying), branch }
    }

    /// What its readers see at this moment.
    pub(crate) fn visible(&mut self, now: u64) -> Point {
        let lsn = match &mut self.role {
            Role::Primary(writing) => writing.inserted,
            Role::Replica(replaying) => replaying.replay(now),
        };
        Point { branch: self.branch, lsn }
    }

    /// Inserts a record of so many bytes; `None` on a replica.
    pub(crate) fn insert(&mut self, bytes: u64) -> Option<Point> {
        let Role::Primary(writing) = &mut self.role else { return None };
        writing.inserted += bytes;
        let offset = writing.inserted % BLOCK;
        if (1..=HEADER).contains(&offset) {
            writing.inserted += HEADER + 8 - offset;
        }
        Some(Point { branch: self.branch, lsn: writing.inserted })
    }

    /// Fills the page, or the segment, so that its last record ends exactly at the end.
    pub(crate) fn fill(&mut self, unit: u64) {
        if let Role::Primary(writing) = &mut self.role {
            writing.inserted = writing.inserted.next_multiple_of(unit);
        }
    }

    /// Flushes up to there; `None` when that had been flushed, or this is no primary.
    pub(crate) fn flush(&mut self, up_to: u64) -> Option<u64> {
        let Role::Primary(writing) = &mut self.role else { return None };
        let flushed = up_to.min(writing.inserted);
        (flushed > writing.flushed).then(|| {
            writing.flushed = flushed;
            flushed
        })
    }

    /// The answer to a probe.
    pub(crate) fn report(&mut self, id: ServerId, now: u64, history: &History) -> Report {
        let visible = self.visible(now).lsn;
        let (in_recovery, position, receiving, replay_paused) = match &self.role {
            Role::Primary(_) => (false, as_reported(visible), None, false),
            Role::Replica(replaying) => (true, visible, Some(!replaying.cut), replaying.paused),
        };
        Report {
            in_recovery,
            position: Lsn(position),
            position_age: std::time::Duration::ZERO,
            timeline: Some(Timeline(history.timeline(self.branch))),
            incarnation: self.incarnation(id),
            system_identifier: Some(7),
            receiving,
            replay_paused,
            wal_block_size: u32::try_from(BLOCK).expect("a page is small"),
            wal_segment_size: u32::try_from(SEGMENT).expect("a segment is small"),
        }
    }

    pub(crate) fn incarnation(&self, id: ServerId) -> Incarnation {
        Incarnation(id.0 as u64 * 1000 + self.run)
    }

    pub(crate) fn is_primary(&self) -> bool {
        matches!(self.role, Role::Primary(_))
    }
}

/// `pg_current_wal_insert_lsn()` after a record that ended exactly at a page's end lies behind the next header.
fn as_reported(inserted: u64) -> u64 {
    if inserted.is_multiple_of(SEGMENT) {
        inserted + 40
    } else if inserted.is_multiple_of(BLOCK) {
        inserted + 24
    } else {
        inserted
    }
}

impl Replaying {
    /// Takes in what has come by now.
    pub(crate) fn replay(&mut self, now: u64) -> u64 {
        while !self.paused && self.arrivals.front().is_some_and(|(due, _)| *due <= now) {
            let (_, lsn) = self.arrivals.pop_front().expect("there is a first one");
            self.replayed = self.replayed.max(lsn);
        }
        self.replayed
    }

    /// Receives everything up to there, and will have replayed it at `due` and its lag.
    pub(crate) fn receive(&mut self, due: u64, lsn: u64) {
        if lsn > self.received {
            self.received = lsn;
            // Replayed in order, also when the lag has become smaller.
            let before = self.arrivals.back().map_or(0, |(due, _)| *due);
            self.arrivals.push_back((before.max(due + self.lag), lsn));
        }
    }

    /// Crashes and comes back showing `visible`, with what it had received still to be replayed.
    pub(crate) fn go_back_to(&mut self, visible: u64, now: u64) {
        self.replayed = visible;
        self.arrivals.clear();
        self.arrivals.push_back((now + self.lag.max(crate::world::MS * 20), self.received));
    }

    /// Replays at once all there is, as a promotion does.
    pub(crate) fn finish(&mut self) -> u64 {
        self.arrivals.clear();
        self.replayed = self.received;
        self.replayed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_shows_what_has_come_in_time_and_nothing_while_paused() {
        let (_, branch) = History::new();
        let mut server = Server::replica(0, branch, 100, ServerId(0));
        let Role::Replica(replaying) = &mut server.role else { panic!("a replica") };
        replaying.lag = 10;
        replaying.receive(5, 200);
        assert_eq!((replaying.replay(14), replaying.replay(15)), (100, 200));
        replaying.receive(20, 300);
        replaying.paused = true;
        assert_eq!(replaying.replay(99), 200);
        replaying.paused = false;
        assert_eq!(replaying.replay(99), 300);
    }

    #[test]
    fn no_record_ends_inside_a_page_header_and_a_full_page_is_reported_behind_it() {
        let (history, branch) = History::new();
        let mut server = Server::primary(0, branch, BLOCK - 10);
        let point = server.insert(30).expect("a primary");
        assert_eq!(point.lsn % BLOCK, 48);
        server.fill(BLOCK);
        assert_eq!(server.report(ServerId(0), 0, &history).position.0 % BLOCK, 24);
        server.fill(SEGMENT);
        assert_eq!(server.report(ServerId(0), 0, &history).position.0 % SEGMENT, 40);
    }
}
