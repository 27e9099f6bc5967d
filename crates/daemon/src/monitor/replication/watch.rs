//! The task that asks a node about replication, on a connection of its own, whenever it is told to.
//!
//! It is told only after a probe was answered: a node that is down is not asked, and one that refuses the login is not asked
//! more often than the probe allows.

use std::sync::Arc;
use std::time::Duration;

use engine::cluster::ProbeFault;
use engine::time::Instant;
use tokio::sync::{mpsc, oneshot, watch as cell};
use tokio::time::timeout;
use tokio_postgres::{Client, Statement};

use super::super::probe::{CONNECT_MAX, Failure, Login};
use super::read::{question, read};
use super::{ASK_EVERY, Replication};
use crate::clock::Clock;
use crate::spawn;

/// Longest time for an answer; the server gives up a little earlier.
const ANSWER_MAX: Duration = Duration::from_secs(3);

/// The near end: what was learned last, and the way to have it learned anew.
pub(in crate::monitor) struct Inquiry {
    ask: mpsc::Sender<()>,
    newest: cell::Receiver<Option<Arc<Replication>>>,
    asked: Option<Instant>,
}

impl Inquiry {
    /// What the node said last, if it said anything. Has it asked again, if that is due at this moment.
    pub(in crate::monitor) fn newest(&mut self, now: Instant) -> Option<Arc<Replication>> {
        if self.asked.is_none_or(|asked| now.since(asked) >= ASK_EVERY) {
            self.asked = Some(now);
            // Full: it is at it.
            let _full = self.ask.try_send(());
        }
        self.newest.borrow().clone()
    }
}

/// Starts the task; it ends with the near end.
pub(in crate::monitor) fn watch(login: &Login, clock: Clock) -> Inquiry {
    let (ask, asks) = mpsc::channel(1);
    let (publish, newest) = cell::channel(None);
    spawn::task("replication watch", run(login.clone(), clock, (asks, publish)));
    Inquiry { ask, newest, asked: None }
}

type Ends = (mpsc::Receiver<()>, cell::Sender<Option<Arc<Replication>>>);

async fn run(login: Login, clock: Clock, (mut asks, publish): Ends) {
    let mut asker: Option<Asker> = None;
    let mut failing = false;
    while asks.recv().await.is_some() {
        match attempt(&mut asker, &login, clock).await {
            Ok(said) => {
                failing = false;
                publish.send_replace(Some(Arc::new(said)));
            }
            Err(failure) => {
                if !failing {
                    tracing::warn!(
                        node = &*login.node,
                        error = failure.message,
                        "the node does not tell about replication"
                    );
                }
                (asker, failing) = (None, true);
                publish.send_replace(None);
            }
        }
    }
}

async fn attempt(asker: &mut Option<Asker>, login: &Login, clock: Clock) -> Result<Replication, Failure> {
    // A connection that has ended since is of a server that was restarted, which answers on another.
    let asker = match asker.take().filter(|asker| !asker.client.is_closed()) {
        Some(open) => asker.insert(open),
        None => asker.insert(in_time(CONNECT_MAX, Asker::connect(login)).await?),
    };
    in_time(ANSWER_MAX, asker.ask(clock)).await
}

/// A connection ready to ask.
struct Asker {
    client: Client,
    question: Statement,
    _ended: oneshot::Receiver<()>,
}

impl Asker {
    async fn connect(login: &Login) -> Result<Asker, Failure> {
        let (client, ended) = login.connect().await?;
        client.batch_execute("SET statement_timeout = '2s'; SET jit = off").await?;
        let question = client.prepare(&question()).await?;
        Ok(Asker { client, question, _ended: ended })
    }

    async fn ask(&self, clock: Clock) -> Result<Replication, Failure> {
        let row = self.client.query_one(&self.question, &[]).await?;
        let answer: &str = row.try_get(0)?;
        read(answer, clock.now()).ok_or_else(|| Failure {
            fault: ProbeFault::Other,
            message: "the answer can't be read".to_owned(),
        })
    }
}

async fn in_time<T>(max: Duration, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    timeout(max, work).await.unwrap_or_else(|_| Err(Failure::timed_out(max)))
}
