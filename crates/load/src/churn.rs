//! Connections that come, log in and leave: how many a second, and how long from connect to ReadyForQuery.

use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use wire::{encode, frame};

use crate::clock::now;
use crate::error::Error;
use crate::login::{Login, Progress, Target};
use crate::tally::Tally;

/// A run in which nothing comes for this long has failed.
const STALL: Duration = Duration::from_secs(10);
/// Bytes read at a time; what a server says at login is less.
const READ_BYTES: usize = 16 * 1024;

/// Keeps this many logins under way for this long; each connection leaves as soon as it is in. A refused login is counted as an
/// error and tried again.
///
/// # Errors
/// [`Error`], if a socket cannot be made or nothing answers.
pub fn drive(target: &Target, at_a_time: u32, time: Duration) -> Result<Tally, Error> {
    let mut poll = Poll::new().map_err(|error| Error::Io("epoll", error))?;
    let mut tally = Tally::default();
    let start = now();
    let mut guests = Vec::with_capacity(at_a_time as usize);
    for number in 0..at_a_time as usize {
        guests.push(Some(Guest::come(target, &poll, number)?));
    }
    let mut present = guests.len();
    let mut events = Events::with_capacity(guests.len().max(1));
    let mut buffer = vec![0; READ_BYTES];
    while present > 0 {
        match poll.poll(&mut events, Some(STALL)) {
            Ok(()) if events.is_empty() => return Err(Error::Stalled(STALL)),
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Error::Io("epoll_wait", error)),
        }
        for event in &events {
            let number = event.token().0;
            let Some(guest) = guests.get_mut(number).and_then(Option::as_mut) else { continue };
            match guest.on_event(target, &mut buffer) {
                Ok(Progress::Waiting) => continue,
                Ok(Progress::Ready) => {
                    tally.answered += 1;
                    tally.latency.record(guest.since.elapsed());
                }
                Err(Error::Refused { sqlstate, .. }) => tally.error(&sqlstate),
                Err(Error::Closed) => tally.error("closed"),
                Err(error) => return Err(error),
            }
            guests[number] = None;
            if start.elapsed() < time {
                guests[number] = Some(Guest::come(target, &poll, number)?);
            } else {
                present -= 1;
            }
        }
    }
    tally.elapsed = start.elapsed();
    Ok(tally)
}

/// A connection on its way in.
struct Guest {
    stream: TcpStream,
    login: Login,
    since: Instant,
    /// What the socket has not taken yet.
    out: Vec<u8>,
    /// What has come and is not a whole message yet.
    input: Vec<u8>,
}

impl Guest {
    fn come(target: &Target, poll: &Poll, number: usize) -> Result<Guest, Error> {
        let since = now();
        let mut stream = TcpStream::connect(target.address).map_err(|error| Error::Io("connect", error))?;
        poll.registry()
            .register(&mut stream, Token(number), Interest::READABLE | Interest::WRITABLE)
            .map_err(|error| Error::Io("epoll_ctl", error))?;
        let mut out = Vec::new();
        let login = Login::begin(target, &mut out)?;
        Ok(Guest { stream, login, since, out, input: Vec::new() })
    }

    fn on_event(&mut self, target: &Target, buffer: &mut [u8]) -> Result<Progress, Error> {
        loop {
            self.flush()?;
            match self.stream.read(buffer) {
                Ok(0) => return Err(Error::Closed),
                Ok(count) => self.input.extend_from_slice(&buffer[..count]),
                Err(error) if not_yet(&error) => return Ok(Progress::Waiting),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Err(Error::Closed),
                Err(error) => return Err(Error::Io("read", error)),
            }
            if self.on_input(target)? == Progress::Ready {
                // Goodbye fits the socket's buffer, and whoever is gone need not be told.
                encode::terminate(&mut self.out);
                let _gone = self.stream.write(&self.out);
                return Ok(Progress::Ready);
            }
        }
    }

    fn on_input(&mut self, target: &Target) -> Result<Progress, Error> {
        let mut used = 0;
        loop {
            let rest = &self.input[used..];
            let header = frame::header(rest).map_err(|error| Error::Protocol(error.to_string()))?;
            let Some(frame) = header.and_then(|header| rest.get(..header.total)) else { break };
            if self.login.on_frame(target, frame, &mut self.out)? == Progress::Ready {
                return Ok(Progress::Ready);
            }
            used += frame.len();
        }
        self.input.drain(..used);
        Ok(Progress::Waiting)
    }

    fn flush(&mut self) -> Result<(), Error> {
        while !self.out.is_empty() {
            match self.stream.write(&self.out) {
                Ok(sent) => drop(self.out.drain(..sent)),
                Err(error) if not_yet(&error) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Err(Error::Closed),
                Err(error) => return Err(Error::Io("write", error)),
            }
        }
        Ok(())
    }
}

/// Not connected yet, or nothing to read.
fn not_yet(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected)
}
