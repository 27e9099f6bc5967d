//! Connections that stay: each asks, waits for all its answers, and asks again.
//!
//! A fleet is opened first and then driven as often as wanted, to warm up and to measure. It is quiet between two drives:
//! every question asked has been answered, so that what a proxy spent between them belongs to the answers counted.

use std::io::{self, Read, Write};
use std::net::TcpStream as BlockingStream;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use wire::encode;
use wire::frame::{self, tag::backend as tag};

use crate::clock::now;
use crate::connection::Connection;
use crate::error::Error;
use crate::login::{Login, Progress, Target, refused, sqlstate};
use crate::statement::{Asker, Protocol, Statements};
use crate::tally::Tally;

/// A run in which nothing comes for this long has failed.
const STALL: Duration = Duration::from_secs(10);
/// Longest time to connect and log in.
const LOGIN_MAX: Duration = Duration::from_secs(20);
/// Bytes read at a time.
const READ_BYTES: usize = 256 * 1024;
/// Sockets taken from one poll.
const EVENTS: usize = 1024;

/// What the connections do.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// How many connections.
    pub clients: u32,
    /// How many questions each asks at once; 1 is no pipelining.
    pub depth: u32,
    /// How they are sent.
    pub protocol: Protocol,
    /// Which.
    pub statements: Statements,
}

/// Connections that are logged in.
pub struct Fleet {
    plan: Plan,
    poll: Poll,
    crew: Vec<Member>,
    buffer: Vec<u8>,
    out: Vec<u8>,
}

struct Member {
    stream: TcpStream,
    connection: Connection,
    /// What the socket did not take.
    unsent: Vec<u8>,
}

impl Fleet {
    /// Opens the connections one after the other, and prepares statements where the plan says so.
    ///
    /// # Errors
    /// [`Error`], for the first connection that fails.
    pub fn open(target: &Target, plan: Plan) -> Result<Fleet, Error> {
        let poll = Poll::new().map_err(|error| Error::Io("epoll", error))?;
        let mut crew = Vec::with_capacity(plan.clients as usize);
        for place in 0..plan.clients {
            let asker = Asker::new(plan.protocol, plan.statements, place);
            let mut stream = open(target)?;
            prepare(&mut stream, &asker.preparations())?;
            stream.set_nonblocking(true).map_err(|error| Error::Io("set_nonblocking", error))?;
            stream.set_read_timeout(None).map_err(|error| Error::Io("set_read_timeout", error))?;
            let mut stream = TcpStream::from_std(stream);
            poll.registry()
                .register(&mut stream, Token(place as usize), Interest::READABLE | Interest::WRITABLE)
                .map_err(|error| Error::Io("epoll_ctl", error))?;
            crew.push(Member { stream, connection: Connection::new(asker, now()), unsent: Vec::new() });
        }
        Ok(Fleet { plan, poll, crew, buffer: vec![0; READ_BYTES], out: Vec::new() })
    }

    /// How many connections there are.
    pub fn len(&self) -> usize {
        self.crew.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.crew.is_empty()
    }

    /// Asks for this long, and then waits for what is still to come.
    ///
    /// # Errors
    /// [`Error`]: the connections are of no use then.
    pub fn drive(&mut self, time: Duration) -> Result<Tally, Error> {
        let mut tally = Tally::default();
        let start = now();
        for member in &mut self.crew {
            member.ask(self.plan.depth, now(), &mut self.out)?;
        }
        self.answer(self.crew.len(), start + time, &mut tally)?;
        tally.elapsed = start.elapsed();
        Ok(tally)
    }

    /// Lets each connection ask once, one after the other: never two at the same time.
    ///
    /// # Errors
    /// [`Error`]: the connections are of no use then.
    pub fn ask_in_turn(&mut self) -> Result<Tally, Error> {
        let mut tally = Tally::default();
        let start = now();
        for index in 0..self.crew.len() {
            self.crew[index].ask(1, now(), &mut self.out)?;
            self.answer(1, start, &mut tally)?;
        }
        tally.elapsed = start.elapsed();
        Ok(tally)
    }

    /// Waits for answers until none of so many busy connections is; before `end`, each asks again.
    fn answer(&mut self, mut busy: usize, end: Instant, tally: &mut Tally) -> Result<(), Error> {
        let mut events = Events::with_capacity(EVENTS);
        while busy > 0 {
            match self.poll.poll(&mut events, Some(STALL)) {
                Ok(()) if events.is_empty() => return Err(Error::Stalled(STALL)),
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Error::Io("epoll_wait", error)),
            }
            for event in &events {
                let member = &mut self.crew[event.token().0];
                if event.is_writable() && !member.unsent.is_empty() {
                    member.flush()?;
                }
                if event.is_readable() && member.read(&mut self.buffer, tally)? == Turn::Done {
                    let at = now();
                    if at < end {
                        member.ask(self.plan.depth, at, &mut self.out)?;
                    } else {
                        busy -= 1;
                    }
                }
            }
        }
        Ok(())
    }

    /// Says goodbye on every connection.
    pub fn close(self) {
        let mut goodbye = Vec::new();
        encode::terminate(&mut goodbye);
        for mut member in self.crew {
            // Whoever is gone need not be told.
            let _gone = member.stream.write(&goodbye);
        }
    }
}

/// Whether a connection has just got its last answer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    Waiting,
    Done,
}

impl Member {
    fn ask(&mut self, depth: u32, at: Instant, out: &mut Vec<u8>) -> Result<(), Error> {
        out.clear();
        self.connection.ask(depth, at, out);
        let sent = send(&mut self.stream, out)?;
        self.unsent.extend_from_slice(&out[sent..]);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Error> {
        let sent = send(&mut self.stream, &self.unsent)?;
        self.unsent.drain(..sent);
        Ok(())
    }

    /// Reads until there is nothing more. Readiness is told once, so a read that fills the buffer is repeated.
    fn read(&mut self, buffer: &mut [u8], tally: &mut Tally) -> Result<Turn, Error> {
        let was_quiet = self.connection.is_quiet();
        loop {
            match self.stream.read(buffer) {
                Ok(0) => return Err(Error::Closed),
                Ok(count) => {
                    self.connection.on_bytes(&buffer[..count], now(), tally)?;
                    if count < buffer.len() {
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::Io("read", error)),
            }
        }
        Ok(if self.connection.is_quiet() && !was_quiet { Turn::Done } else { Turn::Waiting })
    }
}

/// Writes what the socket takes and says how much that was.
pub(crate) fn send(stream: &mut TcpStream, bytes: &[u8]) -> Result<usize, Error> {
    let mut sent = 0;
    while sent < bytes.len() {
        match stream.write(&bytes[sent..]) {
            Ok(0) => return Err(Error::Closed),
            Ok(count) => sent += count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Error::Io("write", error)),
        }
    }
    Ok(sent)
}

/// Connects and logs in, blocking.
pub(crate) fn open(target: &Target) -> Result<BlockingStream, Error> {
    let mut stream = BlockingStream::connect_timeout(&target.address, LOGIN_MAX)
        .map_err(|error| Error::Io("connect", error))?;
    stream.set_nodelay(true).map_err(|error| Error::Io("TCP_NODELAY", error))?;
    stream.set_read_timeout(Some(LOGIN_MAX)).map_err(|error| Error::Io("set_read_timeout", error))?;
    let mut out = Vec::new();
    let mut login = Login::begin(target, &mut out)?;
    let mut frame = Vec::new();
    loop {
        stream.write_all(&out).map_err(|error| Error::Io("write", error))?;
        out.clear();
        read_frame(&mut stream, &mut frame)?;
        if login.on_frame(target, &frame, &mut out)? == Progress::Ready {
            return Ok(stream);
        }
    }
}

/// Reads one whole message, and nothing behind it.
pub(crate) fn read_frame(stream: &mut BlockingStream, frame: &mut Vec<u8>) -> Result<(), Error> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::UnexpectedEof => Error::Closed,
        io::ErrorKind::WouldBlock => Error::Stalled(LOGIN_MAX),
        _ => Error::Io("read", error),
    };
    frame.resize(frame::HEADER_LEN, 0);
    stream.read_exact(frame).map_err(failed)?;
    let header = frame::header(frame).map_err(|error| Error::Protocol(error.to_string()))?;
    let total = header.expect("five bytes hold a header").total;
    frame.resize(total, 0);
    stream.read_exact(&mut frame[frame::HEADER_LEN..]).map_err(failed)
}

/// Runs a text whose rows nobody wants to see.
pub(crate) fn run(stream: &mut BlockingStream, text: &str) -> Result<(), Error> {
    let mut out = Vec::new();
    encode::query(&mut out, text).map_err(|error| Error::Protocol(error.to_string()))?;
    stream.write_all(&out).map_err(|error| Error::Io("write", error))?;
    let (mut frame, mut failed) = (Vec::new(), None);
    loop {
        read_frame(stream, &mut frame)?;
        match frame[0] {
            tag::READY_FOR_QUERY => return failed.map_or(Ok(()), Err),
            tag::ERROR_RESPONSE => failed = Some(refused(&frame)),
            _ => {}
        }
    }
}

/// Prepares statements, one round trip for all.
fn prepare(stream: &mut BlockingStream, statements: &[(String, String)]) -> Result<(), Error> {
    if statements.is_empty() {
        return Ok(());
    }
    let mut out = Vec::new();
    for (name, text) in statements {
        encode::parse(&mut out, name.as_bytes(), text.as_bytes(), b"")
            .map_err(|error| Error::Protocol(error.to_string()))?;
    }
    encode::sync(&mut out);
    stream.write_all(&out).map_err(|error| Error::Io("write", error))?;
    let mut frame = Vec::new();
    loop {
        read_frame(stream, &mut frame)?;
        match frame[0] {
            tag::READY_FOR_QUERY => return Ok(()),
            tag::ERROR_RESPONSE => {
                return Err(Error::Protocol(format!("Parse was answered with error {}", sqlstate(&frame))));
            }
            _ => {}
        }
    }
}
