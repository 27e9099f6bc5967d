//! Runs a router: builds the world from the settings, starts its threads and tasks, and ends them in order.
//!
//! The world belongs to [`run`]; nothing of it is global, so that two fit in one process. `control` does what workers
//! and operators ask for, `reload` takes over changed settings, `build` makes the world.

mod build;
mod control;
mod reload;

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Sleep, sleep};

use crate::config::{Settings, Source};
use crate::listen::{self, Door};
use crate::mail::{ToControl, ToWorker};
use crate::overview::{AdminWorld, Order};
use crate::supervisor::Supervisor;
use crate::world::Database;
use crate::{http, spawn};
use control::Control;

/// Longest time for what is running to finish after SIGTERM.
const DRAIN_MAX: Duration = Duration::from_secs(30);

/// The deadline of a router that wasn't told to stop: a year from its start, and then a year more.
const NEVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// Where the router can be reached.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ready {
    /// Addresses for clients, in the order of the settings, with the ports really bound.
    pub listen: Vec<SocketAddr>,
    /// The address of the HTTP server, if there is one.
    pub http: Option<SocketAddr>,
}

/// Why a router did not start, or ended by itself.
#[derive(Debug)]
pub enum RunError {
    /// An address can't be listened on.
    Bind {
        /// Which.
        address: SocketAddr,
        /// Why.
        error: io::Error,
    },
    /// The operating system refuses a thread, an epoll instance or a signal handler.
    System(io::Error),
    /// The operating system has no randomness.
    Randomness(getrandom::Error),
    /// A worker has ended without being told to: a bug.
    WorkerEnded,
}

impl std::fmt::Display for RunError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            RunError::Bind { address, error } if error.kind() == io::ErrorKind::AddrInUse => {
                write!(f, "can't listen on {address}: the port is in use; stop what uses it or name another")
            }
            RunError::Bind { address, error } => write!(f, "can't listen on {address}: {error}"),
            RunError::System(error) => write!(f, "can't start: {error}"),
            RunError::Randomness(error) => write!(f, "can't start without randomness: {error}"),
            RunError::WorkerEnded => write!(
                f,
                "a worker thread has ended unexpectedly; this is a bug, please report it with the log"
            ),
        }
    }
}

impl std::error::Error for RunError {}

impl From<io::Error> for RunError {
    fn from(error: io::Error) -> Self {
        RunError::System(error)
    }
}

impl From<getrandom::Error> for RunError {
    fn from(error: getrandom::Error) -> Self {
        RunError::Randomness(error)
    }
}

/// Runs a router on a current-thread runtime until it is told to stop (SIGTERM, SIGINT, `SHUTDOWN`). `ready` is called when
/// clients can connect, and then the supervisor is told; `source` is read again by SIGHUP and `RELOAD`.
///
/// # Errors
/// [`RunError`].
pub async fn run(
    settings: Settings,
    source: Source,
    supervisor: Supervisor,
    ready: impl FnOnce(Ready),
) -> Result<(), RunError> {
    let signals = Signals::new()?;
    let doors = Doors::open(&settings)?;
    let where_to = doors.addresses()?;
    let (orders, orders_in) = mpsc::channel(ORDERS_MAX);
    let built = build::build(settings, source, orders)?;
    let (open, closing) = watch::channel(());
    doors.serve(&built.control, &closing);
    drop(closing);
    let mut inbox = Inbox {
        mail: built.mail,
        orders: orders_in,
        new_databases: built.new_databases,
        worker_ends: built.worker_ends,
        signals,
        supervisor: Arc::new(supervisor),
    };
    tracing::info!(listen = ?where_to.listen, http = ?where_to.http, "ready");
    ready(where_to);
    inbox.supervisor.ready();
    inbox.supervisor.keep_told(Arc::clone(&built.control.admin));
    inbox.serve(&built.control, open).await
}

/// Most orders of operators waiting.
const ORDERS_MAX: usize = 16;

/// The sockets, open before anything else is started: a port in use is the commonest mistake.
struct Doors {
    clients: Vec<TcpListener>,
    http: Option<TcpListener>,
}

impl Doors {
    fn open(settings: &Settings) -> Result<Doors, RunError> {
        let bind = |address: &SocketAddr| {
            listen::bind(*address).map_err(|error| RunError::Bind { address: *address, error })
        };
        Ok(Doors {
            clients: settings.listen.iter().map(bind).collect::<Result<_, _>>()?,
            http: settings.http.as_ref().map(bind).transpose()?,
        })
    }

    fn addresses(&self) -> io::Result<Ready> {
        Ok(Ready {
            listen: self.clients.iter().map(TcpListener::local_addr).collect::<Result<_, _>>()?,
            http: self.http.as_ref().map(TcpListener::local_addr).transpose()?,
        })
    }

    fn serve(self, control: &Arc<Control>, closing: &watch::Receiver<()>) {
        let strangers = Arc::default();
        for listener in self.clients {
            let door = Door {
                front: Arc::clone(&control.front),
                admin: Arc::clone(&control.admin),
                strangers: Arc::clone(&strangers),
            };
            let mut closing = closing.clone();
            spawn::task("listener", async move {
                tokio::select! {
                    () = listen::serve(listener, door) => {}
                    _closed = closing.changed() => {}
                }
            });
        }
        if let Some(listener) = self.http {
            spawn::task("http", serve_http(listener, Arc::clone(&control.admin)));
        }
    }
}

async fn serve_http(listener: TcpListener, admin: Arc<AdminWorld>) {
    if let Err(error) = http::serve(listener, admin).await {
        tracing::error!(%error, "the HTTP server has ended");
    }
}

/// Everything the control thread waits for.
struct Inbox {
    mail: mpsc::Receiver<ToControl>,
    orders: mpsc::Receiver<Order>,
    new_databases: mpsc::Receiver<Arc<Database>>,
    worker_ends: mpsc::Receiver<usize>,
    signals: Signals,
    supervisor: Arc<Supervisor>,
}

impl Inbox {
    /// Serves until the end. `open` is dropped to close the doors.
    async fn serve(&mut self, control: &Arc<Control>, open: watch::Sender<()>) -> Result<(), RunError> {
        let mut open = Some(open);
        let mut ended = 0;
        let deadline = sleep(NEVER);
        tokio::pin!(deadline);
        loop {
            tokio::select! {
                Some(message) = self.mail.recv() => control.on_mail(message),
                Some(database) = self.new_databases.recv() => control.on_new_database(&database),
                Some(order) = self.orders.recv() => match order {
                    Order::Reload(answer) => control.reload(Some(answer)),
                    Order::Shutdown => self.close(control, &mut open, deadline.as_mut()).await,
                },
                told = self.signals.next() => match told {
                    Told::Reload => self.reload(control),
                    Told::Stop if open.is_none() => {
                        tracing::warn!("told to stop a second time: not waiting for what is running");
                        return Ok(());
                    }
                    Told::Stop => self.close(control, &mut open, deadline.as_mut()).await,
                },
                Some(worker) = self.worker_ends.recv() => {
                    if open.is_some() {
                        tracing::error!(worker, "a worker has ended");
                        return Err(RunError::WorkerEnded);
                    }
                    ended += 1;
                    if ended == control.front.workers.len() {
                        tracing::info!("stopped");
                        return Ok(());
                    }
                }
                () = &mut deadline => {
                    if open.is_some() {
                        deadline.set(sleep(NEVER));
                        continue;
                    }
                    tracing::warn!("what was running has not finished in {} s: stopping all the same", DRAIN_MAX.as_secs());
                    return Ok(());
                }
            }
        }
    }

    /// Reads the settings again, as the supervisor is told.
    fn reload(&self, control: &Arc<Control>) {
        let supervisor = Arc::clone(&self.supervisor);
        let (answer, answered) = oneshot::channel();
        supervisor.reloading();
        control.reload(Some(answer));
        spawn::task("tell of the reload", async move {
            let outcome =
                answered.await.unwrap_or_else(|_panicked| Err("the reload has not ended".to_owned()));
            supervisor.reloaded(outcome);
        });
    }

    /// Lets nobody in any more; workers finish what they have.
    async fn close(
        &self,
        control: &Control,
        open: &mut Option<watch::Sender<()>>,
        mut deadline: Pin<&mut Sleep>,
    ) {
        if open.take().is_none() {
            return;
        }
        control.admin.stop();
        self.supervisor.stopping();
        tracing::info!(
            "stopping: no new clients; what is running may finish within {} s",
            DRAIN_MAX.as_secs()
        );
        deadline.set(sleep(DRAIN_MAX));
        for worker in &control.front.workers {
            worker.handle.send(ToWorker::Drain).await;
        }
    }
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Told {
        tokio::select! {
            _signal = self.terminate.recv() => Told::Stop,
            _signal = self.interrupt.recv() => Told::Stop,
            _signal = self.hangup.recv() => Told::Reload,
        }
    }
}

/// What a signal says.
enum Told {
    Stop,
    Reload,
}

/// Tells when a worker thread has ended, by its return or by a panic.
fn watch_worker(index: usize, ended: oneshot::Receiver<()>, ends: mpsc::Sender<usize>) {
    spawn::task("worker watch", async move {
        let _ended_or_panicked = ended.await;
        let _stopping = ends.send(index).await;
    });
}
