//! The way back of a connection that was lost: connect, log in and set up, without keeping anybody waiting.

use std::io::{self, Read};
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Interest, Poll, Token};
use wire::encode;
use wire::frame::{self, tag::backend as tag};

use crate::error::Error;
use crate::fleet;
use crate::login::{Login, Progress, Target, refused};

/// Longest time to connect, log in and set up.
const WAY_MAX: Duration = Duration::from_secs(10);

/// A connection on its way in.
pub(crate) struct Coming {
    stream: Option<TcpStream>,
    login: Login,
    stage: Stage,
    since: Instant,
    /// What the socket has not taken yet.
    out: Vec<u8>,
    /// What has come and is not a whole message yet.
    input: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    LoggingIn,
    SettingUp,
}

/// Whether it is there.
pub(crate) enum Arrival {
    Waiting,
    There(TcpStream),
}

impl Coming {
    /// Sets out.
    pub(crate) fn begin(target: &Target, poll: &Poll, place: usize, at: Instant) -> Result<Coming, Error> {
        let mut stream = TcpStream::connect(target.address).map_err(|error| Error::Io("connect", error))?;
        poll.registry()
            .register(&mut stream, Token(place), Interest::READABLE | Interest::WRITABLE)
            .map_err(|error| Error::Io("epoll_ctl", error))?;
        let mut out = Vec::new();
        let login = Login::begin(target, &mut out)?;
        let stage = Stage::LoggingIn;
        Ok(Coming { stream: Some(stream), login, stage, since: at, out, input: Vec::new() })
    }

    /// Whether it has taken too long.
    pub(crate) fn is_too_old(&self, at: Instant) -> bool {
        at.saturating_duration_since(self.since) > WAY_MAX
    }

    /// Its socket is ready for something.
    pub(crate) fn on_ready(
        &mut self,
        target: &Target,
        setup: Option<&str>,
        buffer: &mut [u8],
    ) -> Result<Arrival, Error> {
        loop {
            let stream = self.stream.as_mut().ok_or(Error::Closed)?;
            match fleet::send(stream, &self.out) {
                Ok(sent) => drop(self.out.drain(..sent)),
                Err(Error::Io(_, error)) if error.kind() == io::ErrorKind::NotConnected => {
                    return Ok(Arrival::Waiting);
                }
                Err(error) => return Err(error),
            }
            match stream.read(buffer) {
                Ok(0) => return Err(Error::Closed),
                Ok(count) => self.input.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Arrival::Waiting),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Error::Io("read", error)),
            }
            if self.on_input(target, setup)? == Progress::Ready {
                return self.stream.take().map(Arrival::There).ok_or(Error::Closed);
            }
        }
    }

    fn on_input(&mut self, target: &Target, setup: Option<&str>) -> Result<Progress, Error> {
        let mut used = 0;
        loop {
            let rest = &self.input[used..];
            let header = frame::header(rest).map_err(|error| Error::Protocol(error.to_string()))?;
            let Some(frame) = header.and_then(|header| rest.get(..header.total)) else { break };
            used += frame.len();
            let ready = match self.stage {
                Stage::LoggingIn => self.login.on_frame(target, frame, &mut self.out)? == Progress::Ready,
                Stage::SettingUp if frame[0] == tag::ERROR_RESPONSE => return Err(refused(frame)),
                Stage::SettingUp => frame[0] == tag::READY_FOR_QUERY,
            };
            match (ready, self.stage, setup) {
                (false, _, _) => {}
                (true, Stage::LoggingIn, Some(setup)) => {
                    self.stage = Stage::SettingUp;
                    encode::query(&mut self.out, setup)
                        .map_err(|error| Error::Protocol(error.to_string()))?;
                }
                (true, _, _) => return Ok(Progress::Ready),
            }
        }
        self.input.drain(..used);
        Ok(Progress::Waiting)
    }
}
