//! Waking a poll at a time more exact than its milliseconds: a timerfd beside the sockets.

use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

use crate::error::Error;

/// A timer that makes a poll return.
pub(crate) struct Timer {
    fd: OwnedFd,
}

impl Timer {
    pub(crate) fn new(registry: &Registry, token: Token) -> Result<Timer, Error> {
        let failed = |error: rustix::io::Errno| Error::Io("timerfd", error.into());
        let fd = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)
            .map_err(failed)?;
        // Readiness is told at each expiry, whether or not the one before was read.
        registry
            .register(&mut SourceFd(&fd.as_raw_fd()), token, Interest::READABLE)
            .map_err(|error| Error::Io("epoll_ctl", error))?;
        Ok(Timer { fd })
    }

    /// The poll returns after this, and not at an earlier setting of this timer.
    pub(crate) fn set(&self, after: Duration) -> Result<(), Error> {
        // Zero would disarm it.
        let after = after.max(Duration::from_nanos(1));
        let value = Timespec {
            tv_sec: i64::try_from(after.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: after.subsec_nanos().into(),
        };
        let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: value };
        timerfd_settime(&self.fd, TimerfdTimerFlags::empty(), &once)
            .map(drop)
            .map_err(|error| Error::Io("timerfd", error.into()))
    }
}
