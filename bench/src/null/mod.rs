//! The null backend: speaks PostgreSQL's protocol, answers at almost no cost, and has no data.
//!
//! With it behind a proxy, what a query costs is the proxy. It adds up what `load` asks and so proves which statement was run with
//! which parameter; it refuses a Bind to a name that was never parsed on that connection. It answers the questions Highwater's
//! monitor, catalogue keeper and pools ask, so that it passes for a primary or a replica whose WAL never moves. One thread,
//! one poll.

mod answer;
mod conversation;

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener as BlockingListener};

use anyhow::Context as _;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use slab::Slab;
use wire::auth::ScramVerifier;

use conversation::{Conversation, Server, Turn};

pub(crate) use answer::Role;

/// Bytes read at a time.
const READ_BYTES: usize = 256 * 1024;
/// A large result is made in pieces of about this size, each when the one before has gone out.
const OUT_BYTES: usize = 256 * 1024;
/// Sockets taken from one poll.
const EVENTS: usize = 1024;
/// Connections waiting to be accepted: a proxy may open thousands at once.
const BACKLOG: i32 = 4096;
const LISTENER: Token = Token(usize::MAX);

/// What to serve.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Where to listen
    #[arg(long, default_value = "127.0.0.1:5432")]
    listen: SocketAddr,
    /// Say that it is in recovery, and stream
    #[arg(long)]
    replica: bool,
    /// Ask for this password by SCRAM-SHA-256; without it everybody is trusted
    #[arg(long)]
    password: Option<String>,
}

/// Serves until it is killed.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let server = Server {
        role: if options.replica { Role::Replica } else { Role::Primary },
        verifier: options
            .password
            .as_ref()
            .map(|password| ScramVerifier::from_password(password.as_bytes(), b"null backend salt", 4096)),
    };
    let mut poll = Poll::new()?;
    let mut listener =
        listen(options.listen).with_context(|| format!("cannot listen on {}", options.listen))?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut guests: Slab<Guest> = Slab::new();
    let mut events = Events::with_capacity(EVENTS);
    let mut buffer = vec![0; READ_BYTES];
    loop {
        match poll.poll(&mut events, None) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error.into()),
        }
        for event in &events {
            if event.token() == LISTENER {
                accept(&listener, &poll, &mut guests)?;
                continue;
            }
            let Some(guest) = guests.get_mut(event.token().0) else { continue };
            if guest.on_event(&server, &mut buffer) == Turn::Leave {
                guests.remove(event.token().0);
            }
        }
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = BlockingListener::bind(address)?;
    // A second `listen` on the same socket only lengthens its queue.
    rustix::net::listen(&listener, BACKLOG)?;
    listener.set_nonblocking(true)?;
    Ok(TcpListener::from_std(listener))
}

fn accept(listener: &TcpListener, poll: &Poll, guests: &mut Slab<Guest>) -> io::Result<()> {
    loop {
        let mut stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
            Err(error) => return Err(error),
        };
        stream.set_nodelay(true)?;
        let place = guests.vacant_entry();
        poll.registry().register(&mut stream, Token(place.key()), Interest::READABLE | Interest::WRITABLE)?;
        place.insert(Guest {
            stream,
            conversation: Conversation::default(),
            input: Vec::new(),
            out: Vec::new(),
        });
    }
}

/// A connection.
struct Guest {
    stream: TcpStream,
    conversation: Conversation,
    /// The beginning of a message whose end has not come.
    input: Vec<u8>,
    /// What the socket did not take.
    out: Vec<u8>,
}

impl Guest {
    fn on_event(&mut self, server: &Server, buffer: &mut [u8]) -> Turn {
        match self.turn(server, buffer) {
            Ok(turn) => turn,
            // Whoever was here is gone.
            Err(_) => Turn::Leave,
        }
    }

    fn turn(&mut self, server: &Server, buffer: &mut [u8]) -> io::Result<Turn> {
        self.flush()?;
        if self.out.is_empty() && !self.input.is_empty() {
            // What came behind a statement with a large result waited for its end.
            let turn = self.on_bytes(server, &[]);
            self.flush()?;
            if turn == Turn::Leave {
                return Ok(Turn::Leave);
            }
        }
        // Nothing is read from one who does not read: then the output would have no bound.
        while self.out.is_empty() {
            let count = match self.stream.read(buffer) {
                Ok(0) => return Ok(Turn::Leave),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Turn::Stay),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let turn = self.on_bytes(server, &buffer[..count]);
            self.flush()?;
            if turn == Turn::Leave {
                return Ok(Turn::Leave);
            }
            if count < buffer.len() {
                return Ok(Turn::Stay);
            }
        }
        Ok(Turn::Stay)
    }

    fn on_bytes(&mut self, server: &Server, bytes: &[u8]) -> Turn {
        if self.input.is_empty() {
            let (used, turn) = self.conversation.on_bytes(server, bytes, &mut self.out);
            self.input.extend_from_slice(&bytes[used..]);
            return turn;
        }
        let mut all = std::mem::take(&mut self.input);
        all.extend_from_slice(bytes);
        let (used, turn) = self.conversation.on_bytes(server, &all, &mut self.out);
        all.drain(..used);
        self.input = all;
        turn
    }

    /// Writes what there is, and makes more of a large result as long as the socket takes it.
    fn flush(&mut self) -> io::Result<()> {
        loop {
            let mut sent = 0;
            while sent < self.out.len() {
                match self.stream.write(&self.out[sent..]) {
                    Ok(count) => sent += count,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        self.out.drain(..sent);
                        return Ok(());
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
            self.out.clear();
            self.conversation.more(OUT_BYTES, &mut self.out);
            if self.out.is_empty() {
                return Ok(());
            }
        }
    }
}
