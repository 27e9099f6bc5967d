//! The task that owns the one monitor connection to a node: asks when told to, connects when it has to.
//!
//! It keeps no schedule: when to ask, and how long to leave a node alone that failed, is the engine's word.

use std::time::Duration;

use engine::cluster::ProbeFault;
use engine::time::Instant;
use engine::view::NodeId;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::probe::{Answer, CONNECT_MAX, Failure, Login, PROBE_MAX, Prober};
use super::replication::{self, Inquiry};
use crate::clock::Clock;

/// What became of a probe.
pub(super) struct Finding {
    pub(super) node: NodeId,
    pub(super) at: Instant,
    pub(super) outcome: Result<Box<Answer>, Failure>,
    /// Whether this is the answer to being asked; else the connection ended by itself.
    pub(super) asked_for: bool,
}

/// A node, and the way to it.
pub(super) struct Watch {
    pub(super) node: NodeId,
    pub(super) login: Login,
    pub(super) clock: Clock,
    pub(super) findings: mpsc::Sender<Finding>,
}

impl Watch {
    /// Probes once for every message, until nobody can send one.
    pub(super) async fn run(self, mut asks: mpsc::Receiver<()>) {
        let mut prober: Option<Prober> = None;
        let mut inquiry = replication::watch(&self.login, self.clock);
        let mut name = self.login.follow();
        // A node that is slow to be connected to is as silent as one that is slow to answer, and found out as soon; one that
        // has been silent for a while, or was never heard, may be far away.
        let mut connect_max = CONNECT_MAX;
        loop {
            let asked_for = tokio::select! {
                ask = asks.recv() => match ask {
                    Some(()) => true,
                    None => return,
                },
                () = name.moved_from(prober.as_ref().map(Prober::address)) => {
                    tracing::info!(node = &*self.login.node, "the node's host name leads elsewhere: connecting anew");
                    (prober, inquiry) = (None, replication::watch(&self.login, self.clock));
                    continue;
                }
                () = ended(&mut prober) => false,
            };
            let outcome = if asked_for {
                self.attempt(&mut prober, &mut inquiry, connect_max).await
            } else {
                Err(lost())
            };
            connect_max = match (&outcome, &prober) {
                (Ok(_), _) | (Err(_), Some(_)) => PROBE_MAX,
                (Err(_), None) => CONNECT_MAX,
            };
            if outcome.is_err() {
                prober = None;
            }
            let finding = Finding { node: self.node, at: self.clock.now(), outcome, asked_for };
            if self.findings.send(finding).await.is_err() {
                return;
            }
        }
    }

    async fn attempt(
        &self,
        prober: &mut Option<Prober>,
        inquiry: &mut Inquiry,
        connect_max: Duration,
    ) -> Result<Box<Answer>, Failure> {
        let prober = match prober {
            Some(prober) => prober,
            None => prober.insert(self.connect(connect_max).await?),
        };
        let mut answer = prober.probe(self.clock).await?;
        if prober.has_replication() {
            answer.replication = inquiry.newest(answer.answered);
        }
        Ok(Box::new(answer))
    }

    async fn connect(&self, max: Duration) -> Result<Prober, Failure> {
        timeout(max, Prober::connect(&self.login)).await.unwrap_or_else(|_| {
            Err(Failure {
                fault: ProbeFault::TimedOut,
                message: format!("no connection within {} ms", max.as_millis()),
            })
        })
    }
}

fn lost() -> Failure {
    Failure { fault: ProbeFault::Reset, message: "the monitor's connection was ended".to_owned() }
}

async fn ended(prober: &mut Option<Prober>) {
    match prober {
        Some(prober) => prober.ended().await,
        None => std::future::pending().await,
    }
}
