//! Connects and logs in to nodes for the workers, and asks each new backend which run of which server it is.
//!
//! What comes out is idle and in step. What a node says before it has proved who it is goes to the log, escaped, and
//! never to a client. Which node to connect to, and whether to try again, is decided by the engine.

mod login;
mod pace;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use engine::view::NodeId;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{sleep, timeout};
use wire::encode;
use wire::sqlstate::SqlState;

use crate::clock::Clock;
use crate::config::ConnectSettings;
use crate::mail::{ConnectError, ConnectFault, ReadyBackend};
use crate::users::Users;
use crate::world::Node;
pub(crate) use login::wrong_password;
use login::{Login, Question, Ready};
use pace::{Paces, Refusals};

/// Keepalive of a backend: idle, interval, probes; and how long sent bytes may stay unacknowledged.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(5);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(2);
const KEEPALIVE_PROBES: u32 = 3;
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(5);

/// Makes backends.
pub(crate) struct Connector {
    users: Arc<ArcSwap<Users>>,
    settings: ArcSwap<ConnectSettings>,
    clock: Clock,
    paces: Paces,
    refusals: Refusals,
}

impl Connector {
    /// A connector that logs in as `users`.
    pub(crate) fn new(users: Arc<ArcSwap<Users>>, settings: ConnectSettings, clock: Clock) -> Self {
        Connector {
            users,
            settings: ArcSwap::from_pointee(settings),
            clock,
            paces: Paces::default(),
            refusals: Refusals::default(),
        }
    }

    /// Takes over new settings; users who were refused may try again at once.
    pub(crate) fn reload(&self, settings: ConnectSettings) {
        self.settings.store(Arc::new(settings));
        self.refusals.forget();
    }

    /// Forgets how it went with nodes that are none any more.
    pub(crate) fn forget_but(&self, is_node: impl Fn(NodeId) -> bool) {
        self.paces.forget_but(is_node);
    }

    /// Connects to a node and logs in.
    pub(crate) async fn connect(
        &self,
        node: &Node,
        database: &str,
        user: &str,
    ) -> Result<ReadyBackend, ConnectError> {
        let (stream, ready) = self.within_limits(node, (database, user), Question::Run).await?;
        let lost = |error: io::Error| node_fault(node, &error.to_string());
        let address = stream.peer_addr().map_err(lost)?;
        Ok(ReadyBackend {
            // It stays non-blocking, and nothing was read ahead.
            socket: stream.into_std().map_err(lost)?,
            address,
            cancel: ready.told.cancel,
            parameters: ready.told.parameters,
            incarnation: ready.incarnation,
            in_recovery: ready.in_recovery,
        })
    }

    /// Logs in to a node, looks what it reports, and leaves.
    pub(crate) async fn look(&self, node: &Node, database: &str, user: &str) -> Result<Seen, ConnectError> {
        let (mut stream, ready) =
            self.within_limits(node, (database, user), Question::RunAndDatabases).await?;
        let mut goodbye = Vec::new();
        encode::terminate(&mut goodbye);
        let _gone = stream.write_all(&goodbye).await;
        Ok(Seen { parameters: ready.told.parameters.into(), databases: ready.databases.into() })
    }

    async fn within_limits(
        &self,
        node: &Node,
        (database, user): (&str, &str),
        question: Question,
    ) -> Result<(TcpStream, Ready), ConnectError> {
        let who = (node.id, database.to_owned(), user.to_owned());
        if let Some(refused) = self.refusals.standing(&who, self.clock.now()) {
            return Err(refused);
        }
        let settings = self.settings.load_full();
        let wait = self.paces.reserve(node.id, self.clock.now());
        if wait > settings.connect_max {
            return Err(node_fault(node, "too many connects to it have failed lately"));
        }
        sleep(wait).await;
        let outcome =
            match timeout(settings.connect_max, self.attempt(node, (database, user, question), &settings))
                .await
            {
                Ok(outcome) => outcome,
                Err(_) => Err(node_fault(node, &format!("no answer within {:?}", settings.connect_max))),
            };
        let now = self.clock.now();
        match &outcome {
            Ok(_) => {
                self.paces.on_success(node.id);
                self.refusals.on_success(&who);
            }
            Err(error) => {
                tracing::debug!(node = &*node.name, database, user, error = error.message, "no backend");
                match error.fault {
                    ConnectFault::Credentials => self.refusals.on_refusal(who, error, now),
                    ConnectFault::Node | ConnectFault::NotReady | ConnectFault::Full => {
                        self.paces.on_failure(node.id, now);
                    }
                }
            }
        }
        outcome
    }

    async fn attempt(
        &self,
        node: &Node,
        (database, user, question): (&str, &str, Question),
        settings: &ConnectSettings,
    ) -> Result<(TcpStream, Ready), ConnectError> {
        let mut stream = open(node).await.map_err(|error| node_fault(node, &error.to_string()))?;
        let users = self.users.load_full();
        let login = Login { node, database, user, users: &users, methods: &settings.methods };
        let ready = login.run(&mut stream, question).await?;
        Ok((stream, ready))
    }
}

/// What a node reports to a user of a database.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Seen {
    /// ParameterStatus at login, in order.
    pub(crate) parameters: Arc<[(String, String)]>,
    /// Names of the databases that the cluster has.
    pub(crate) databases: Arc<[String]>,
}

/// The node's fault, in words that name it and nothing inside it.
fn node_fault(node: &Node, why: &str) -> ConnectError {
    ConnectError {
        fault: ConnectFault::Node,
        sqlstate: SqlState::CONNECTION_FAILURE,
        message: format!("could not connect to node {:?}: {why}", node.name),
    }
}

/// Tries the node's addresses in the resolver's order.
async fn open(node: &Node) -> io::Result<TcpStream> {
    let mut last = None;
    for address in lookup_host((node.host.as_str(), node.port)).await? {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                prepare(&stream, address)?;
                return Ok(stream);
            }
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the name has no address")))
}

fn prepare(stream: &TcpStream, address: SocketAddr) -> io::Result<()> {
    stream.set_nodelay(true)?;
    // Connecting to a free port of one's own range can connect to oneself.
    if stream.local_addr()? == address {
        return Err(io::Error::from(io::ErrorKind::ConnectionRefused));
    }
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_IDLE)
        .with_interval(KEEPALIVE_INTERVAL)
        .with_retries(KEEPALIVE_PROBES);
    let socket = SockRef::from(stream);
    socket.set_tcp_keepalive(&keepalive)?;
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED_MAX))
}
