//! One probe of one node: the statements, and what their rows say.
//!
//! A probe states facts of one moment. Whether they make a node primary, fresh or gone is judged in `engine::cluster`.
//!
//! What is asked, and how the rows are read, is the server's [`Dialect`]: PostgreSQL's own ([`postgresql`]) or Amazon's
//! ([`aurora`]), found out once for each connection.

pub(crate) mod aurora;
mod postgresql;

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use engine::cluster::{ProbeFault, Report};
use engine::time::Instant;
use engine::view::Incarnation;
use tokio::net::lookup_host;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_postgres::config::SslMode;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Config, NoTls, Row, Statement};
use wire::lsn::{Lsn, Timeline};

use super::name::Name;
use super::replication::Replication;
use crate::clock::Clock;
use crate::config::AURORA;
use crate::incarnation;
use crate::spawn;
use crate::world::Node;

/// Longest time to connect, log in and prepare.
pub(crate) const CONNECT_MAX: Duration = Duration::from_secs(2);
/// Longest time for the answer to a probe.
pub(crate) const PROBE_MAX: Duration = Duration::from_millis(500);
/// How old the slow facts may be.
pub(crate) const SLOW_EVERY: Duration = Duration::from_millis(500);

/// What is asked in every probe.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Facts {
    pub(crate) in_recovery: bool,
    /// Replayed (in recovery) or inserted; [`Lsn::INVALID`] before a replica has replayed anything.
    pub(crate) position: Lsn,
    /// Read from the node's own state in memory; none where it can't be seen.
    pub(crate) timeline: Option<Timeline>,
    /// How old the position was at most when it was asked for; zero where it is read at that moment.
    pub(crate) position_age: Duration,
}

/// What is asked every [`SLOW_EVERY`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct SlowFacts {
    /// Of the control file: never newer than the truth.
    pub(crate) timeline: Option<Timeline>,
    pub(crate) receiver: Receiver,
    /// Replay is paused, or a pause was asked for.
    pub(crate) replay_paused: bool,
    pub(crate) incarnation: Incarnation,
}

/// What is known of a node's WAL receiver.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Receiver {
    /// There is none: a primary, or a replica that gets nothing.
    Absent,
    /// There is one, and the role may not see more (it lacks `pg_monitor`).
    Hidden,
    /// There is one in this state (`pg_stat_wal_receiver.status`).
    State(Arc<str>),
}

impl Receiver {
    /// Whether WAL comes in, as far as can be seen.
    fn is_streaming(&self) -> bool {
        self.streams().unwrap_or(true)
    }

    /// Whether WAL streams in, where that can be seen.
    pub(crate) fn streams(&self) -> Option<bool> {
        match self {
            Receiver::Absent => Some(false),
            Receiver::Hidden => None,
            Receiver::State(state) => Some(&**state == "streaming"),
        }
    }

    /// The word for tables.
    pub(crate) fn name(&self) -> &str {
        match self {
            Receiver::Absent => "none",
            Receiver::Hidden => "running",
            Receiver::State(state) => state,
        }
    }
}

/// What doesn't change on a connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Sizes {
    /// None where nobody vouches for an instance of Aurora.
    pub(crate) system_identifier: Option<u64>,
    pub(crate) wal_block_bytes: u32,
    pub(crate) wal_segment_bytes: u32,
    /// As `SHOW server_version` prints it.
    pub(crate) version: Arc<str>,
}

/// One answered probe.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Answer {
    /// Read before the statement was sent.
    pub(crate) asked: Instant,
    /// Read when its row was there.
    pub(crate) answered: Instant,
    pub(crate) facts: Facts,
    pub(crate) slow: SlowFacts,
    pub(crate) sizes: Sizes,
    /// What the node said last of replication, on a connection of its own; not part of the probe.
    pub(crate) replication: Option<Arc<Replication>>,
}

impl Answer {
    /// As the engine takes it.
    pub(crate) fn report(&self) -> Report {
        Report {
            in_recovery: self.facts.in_recovery,
            position: self.facts.position,
            position_age: self.facts.position_age,
            timeline: self.facts.timeline.or(self.slow.timeline),
            incarnation: self.slow.incarnation,
            system_identifier: self.sizes.system_identifier,
            receiving: Some(self.slow.receiver.is_streaming()),
            replay_paused: self.slow.replay_paused,
            wal_block_size: self.sizes.wal_block_bytes,
            wal_segment_size: self.sizes.wal_segment_bytes,
        }
    }
}

/// Why a probe has no answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Failure {
    pub(crate) fault: ProbeFault,
    /// For the log and the tables: one line.
    pub(crate) message: String,
}

impl Failure {
    /// Nothing was heard for so long.
    pub(super) fn timed_out(max: Duration) -> Failure {
        Failure { fault: ProbeFault::TimedOut, message: format!("no answer within {} ms", max.as_millis()) }
    }
}

/// How the monitor logs in.
#[derive(Clone)]
pub(crate) struct Login {
    config: Config,
    host: String,
    port: u16,
    /// The node's name, for the log.
    pub(super) node: Arc<str>,
    /// Aurora itself has named it as an instance of this cluster.
    vouched: bool,
}

impl Login {
    /// A login to this node, to this database.
    pub(crate) fn new(node: &Node, user: &str, password: Option<&[u8]>, database: &str) -> Login {
        let mut config = Config::new();
        config
            .host(&node.host)
            .port(node.port)
            .user(user)
            .dbname(database)
            .application_name("highwater monitor")
            .ssl_mode(SslMode::Disable)
            .connect_timeout(CONNECT_MAX)
            .keepalives(true)
            .keepalives_idle(Duration::from_secs(5))
            .keepalives_interval(Duration::from_secs(2))
            .keepalives_retries(3);
        if let Some(password) = password {
            config.password(password);
        }
        let vouched = node.source == AURORA;
        Login { config, host: node.host.clone(), port: node.port, node: Arc::clone(&node.name), vouched }
    }

    /// Has the name of the node's host followed.
    pub(super) fn follow(&self) -> Name {
        Name::follow(&self.host, self.port)
    }

    /// Connects. The second value is ready when the connection has ended; it ends when the client is dropped.
    pub(crate) async fn connect(&self) -> Result<(Client, oneshot::Receiver<()>), Failure> {
        Login::connect_as(&self.config).await
    }

    /// As [`Login::connect`], and where that was: the first address of the name at which somebody lets us in.
    async fn connect_at(&self) -> Result<(Client, oneshot::Receiver<()>, IpAddr), Failure> {
        let found = lookup_host((self.host.as_str(), self.port)).await.map_err(|error| Failure {
            fault: ProbeFault::Reset,
            message: format!("the name can't be resolved: {error}"),
        })?;
        let mut last = None;
        for address in found {
            match Login::connect_as(self.config.clone().hostaddr(address.ip())).await {
                Ok((client, ended)) => return Ok((client, ended, address.ip())),
                Err(failure) => last = Some(failure),
            }
        }
        Err(last.unwrap_or_else(|| Failure {
            fault: ProbeFault::Reset,
            message: "the name has no address".to_owned(),
        }))
    }

    async fn connect_as(config: &Config) -> Result<(Client, oneshot::Receiver<()>), Failure> {
        let (client, connection) = in_time(CONNECT_MAX, config.connect(NoTls)).await?;
        let (open, ended) = oneshot::channel();
        spawn::task("monitor connection", async move {
            // Whoever waits for an answer on it gets the error.
            let _error = connection.await;
            drop(open);
        });
        Ok((client, ended))
    }
}

/// By what statements a kind of server is asked, and what their rows say.
trait Dialect: Sync {
    /// Asked in every probe.
    fn facts_text(&self) -> &'static str;
    /// Asked every [`SLOW_EVERY`]; `{incarnation}` stands for [`incarnation::EXPRESSION`].
    fn slow_facts_text(&self) -> &'static str;
    /// Asked once for each connection.
    fn sizes_text(&self) -> &'static str;
    /// Whether PostgreSQL's views show its replication.
    fn has_replication(&self) -> bool;
    fn facts(&self, row: &Row) -> Result<Facts, tokio_postgres::Error>;
    fn slow_facts(&self, row: &Row) -> Result<SlowFacts, tokio_postgres::Error>;
    /// `vouched` tells that a source of nodes has named the server as one of its cluster.
    fn sizes(&self, row: &Row, vouched: bool) -> Result<Sizes, tokio_postgres::Error>;
}

/// A connection ready to probe.
pub(crate) struct Prober {
    client: Client,
    dialect: &'static dyn Dialect,
    ended: oneshot::Receiver<()>,
    /// Where it leads.
    address: IpAddr,
    facts: Statement,
    slow: Statement,
    sizes: Sizes,
    last_slow: Option<(Instant, bool, SlowFacts)>,
}

impl Prober {
    /// Connects and prepares.
    pub(crate) async fn connect(login: &Login) -> Result<Prober, Failure> {
        let (client, ended, address) = login.connect_at().await?;
        let ready = async {
            client.batch_execute("SET statement_timeout = '2s'; SET jit = off").await?;
            let is_aurora: bool = client.query_one(aurora::IS_AURORA, &[]).await?.try_get(0)?;
            let dialect: &dyn Dialect = if is_aurora { &aurora::Aurora } else { &postgresql::PostgreSql };
            let facts = client.prepare(dialect.facts_text()).await?;
            let slow = dialect.slow_facts_text().replace("{incarnation}", incarnation::EXPRESSION);
            let slow = client.prepare(&slow).await?;
            let sizes = dialect.sizes(&client.query_one(dialect.sizes_text(), &[]).await?, login.vouched)?;
            Ok((dialect, facts, slow, sizes))
        };
        let (dialect, facts, slow, sizes) = in_time(CONNECT_MAX, ready).await?;
        Ok(Prober { client, dialect, ended, address, facts, slow, sizes, last_slow: None })
    }

    /// Whether it can be asked about replication.
    pub(super) fn has_replication(&self) -> bool {
        self.dialect.has_replication()
    }

    /// Where it leads.
    pub(super) fn address(&self) -> IpAddr {
        self.address
    }

    /// Ready when the node, or something between, has ended the connection.
    pub(crate) async fn ended(&mut self) {
        let _closed = (&mut self.ended).await;
    }

    /// Asks once.
    pub(crate) async fn probe(&mut self, clock: Clock) -> Result<Answer, Failure> {
        let asked = clock.now();
        let row = in_time(PROBE_MAX, self.client.query_one(&self.facts, &[])).await?;
        let answered = clock.now();
        let facts = self.dialect.facts(&row).map_err(Failure::from)?;
        let slow = self.slow_facts(facts.in_recovery, answered).await?;
        Ok(Answer { asked, answered, facts, slow, sizes: self.sizes.clone(), replication: None })
    }

    async fn slow_facts(&mut self, in_recovery: bool, now: Instant) -> Result<SlowFacts, Failure> {
        if let Some((at, role, known)) = &self.last_slow
            && now.since(*at) < SLOW_EVERY
            && *role == in_recovery
        {
            return Ok(known.clone());
        }
        let row = in_time(PROBE_MAX, self.client.query_one(&self.slow, &[])).await?;
        let slow = self.dialect.slow_facts(&row).map_err(Failure::from)?;
        self.last_slow = Some((now, in_recovery, slow.clone()));
        Ok(slow)
    }
}

async fn in_time<T>(
    max: Duration,
    work: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, Failure> {
    match timeout(max, work).await {
        Ok(outcome) => outcome.map_err(Failure::from),
        Err(_) => Err(Failure::timed_out(max)),
    }
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Failure {
        if let Some(db) = error.as_db_error() {
            return Failure {
                fault: fault_of(db.code()),
                message: format!("{} ({})", db.message(), db.code().code()),
            };
        }
        // The error's own text is only its stage ("error connecting to server"); its source says why.
        let source = std::error::Error::source(&error);
        let io = source.and_then(|source| source.downcast_ref::<io::Error>());
        let fault = match io.map(io::Error::kind) {
            Some(io::ErrorKind::ConnectionRefused) => ProbeFault::Refused,
            Some(io::ErrorKind::TimedOut) => ProbeFault::TimedOut,
            Some(_) => ProbeFault::Reset,
            None if error.is_closed() => ProbeFault::Reset,
            None => ProbeFault::Other,
        };
        Failure { fault, message: source.map_or_else(|| error.to_string(), ToString::to_string) }
    }
}

/// SQLSTATEs that say something about the node itself; PostgreSQL's `errcodes.txt`.
fn fault_of(code: &SqlState) -> ProbeFault {
    match code.code() {
        "57P03" => ProbeFault::NotReady,
        "57P01" | "57P02" => ProbeFault::Reset,
        "57014" => ProbeFault::TimedOut,
        "3D000" => ProbeFault::Credentials,
        code if code.starts_with("28") => ProbeFault::Credentials,
        _ => ProbeFault::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(in_recovery: bool, memory: Option<u32>, file: Option<u32>) -> Answer {
        Answer {
            asked: Instant::START,
            answered: Instant::START,
            facts: Facts {
                in_recovery,
                position: Lsn(0x600_0028),
                timeline: memory.map(Timeline),
                position_age: Duration::ZERO,
            },
            slow: SlowFacts {
                timeline: file.map(Timeline),
                receiver: Receiver::Absent,
                replay_paused: false,
                incarnation: Incarnation(1),
            },
            sizes: Sizes {
                system_identifier: Some(1),
                wal_block_bytes: 8192,
                wal_segment_bytes: 16 << 20,
                version: "15.20".into(),
            },
            replication: None,
        }
    }

    #[test]
    fn a_report_holds_what_was_answered_and_nothing_else() {
        let report = answer(false, Some(7), Some(6)).report();
        assert_eq!(report.position, Lsn(0x600_0028), "the engine takes the page header off");
        assert_eq!((report.in_recovery, report.system_identifier), (false, Some(1)));
        assert_eq!((report.wal_block_size, report.wal_segment_size), (8192, 16 << 20));
        assert_eq!(report.receiving, Some(false));
    }

    #[test]
    fn the_timeline_in_memory_is_believed_before_the_control_files() {
        assert_eq!(answer(true, Some(2), Some(1)).report().timeline, Some(Timeline(2)));
        assert_eq!(answer(true, None, Some(1)).report().timeline, Some(Timeline(1)));
        assert_eq!(answer(true, None, None).report().timeline, None);
    }

    #[test]
    fn a_receiver_that_may_not_be_seen_counts_as_streaming_and_a_stopped_one_does_not() {
        assert!(Receiver::Hidden.is_streaming());
        assert!(Receiver::State("streaming".into()).is_streaming());
        assert!(!Receiver::State("stopping".into()).is_streaming());
        assert!(!Receiver::Absent.is_streaming());
    }

    #[test]
    fn a_node_that_starts_or_refuses_the_login_is_not_gone() {
        assert_eq!(fault_of(&SqlState::from_code("57P03")), ProbeFault::NotReady);
        assert_eq!(fault_of(&SqlState::from_code("53300")), ProbeFault::Other);
        assert_eq!(fault_of(&SqlState::from_code("57P01")), ProbeFault::Reset);
        assert_eq!(fault_of(&SqlState::from_code("28P01")), ProbeFault::Credentials);
    }
}
