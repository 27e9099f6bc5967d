//! A replication connection to the primary: the proof that one is let in, and the commands about slots.
//!
//! `tokio-postgres` cannot ask for one (`replication=true` at the start,
//! <https://www.postgresql.org/docs/current/protocol-replication.html>), so this logs in by itself and knows simple
//! queries only. WAL does not pass through here: `pg_basebackup` and the replica fetch it.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use wire::auth::Secret;
use wire::auth::md5::md5_password;
use wire::auth::scram::{ClientExchange, Gs2, MECHANISM};
use wire::backend::{Authentication, DataRow};
use wire::encode;
use wire::error_response::ErrorFields;
use wire::frame::{self, HEADER_LEN, tag::backend as tag};
use wire::startup::encode_startup;

use super::target::Target;
use crate::setup::place;

/// Longest time for a login or a command.
const ANSWER_MAX: Duration = Duration::from_secs(20);

/// Longest message read, in bytes: the answers here are short.
const MESSAGE_BYTES_MAX: usize = 1 << 20;

/// A row of an answer, as text.
pub(crate) type Row = Vec<Option<String>>;

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The server said no: its SQLSTATE and its words.
    Said(String, String),
    /// No connection, or one that broke.
    Broken(String),
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Refused::Said(_, words) | Refused::Broken(words) => f.write_str(words),
        }
    }
}

impl std::error::Error for Refused {}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// A connection that is in.
pub(crate) struct Replication {
    stream: Box<dyn Stream>,
    frame: Vec<u8>,
}

/// Which server answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    /// Its system identifier.
    pub(crate) system: String,
    /// Its timeline.
    pub(crate) timeline: String,
}

impl Replication {
    /// Logs in for physical replication.
    pub(crate) async fn open(target: &Target) -> Result<Replication, Refused> {
        within(async {
            let stream: Box<dyn Stream> = match target.socket() {
                Some(directory) => {
                    let path = directory.join(format!(".s.PGSQL.{}", target.port));
                    Box::new(UnixStream::connect(path).await.map_err(broken)?)
                }
                None => Box::new(TcpStream::connect((&*target.host, target.port)).await.map_err(broken)?),
            };
            let mut connection = Replication { stream, frame: Vec::new() };
            let mut out = Vec::new();
            let pairs = [("user", &*target.user), ("replication", "true"), ("application_name", "highwater")];
            encode_startup(&mut out, &pairs).map_err(broken)?;
            connection.send(&out).await?;
            connection.authenticate(target).await?;
            connection.rows_until_ready().await?;
            Ok(connection)
        })
        .await
    }

    /// `IDENTIFY_SYSTEM`.
    pub(crate) async fn identify(&mut self) -> Result<Identity, Refused> {
        let rows = self.command("IDENTIFY_SYSTEM").await?;
        let mut row = rows.into_iter().next().unwrap_or_default().into_iter();
        match (row.next().flatten(), row.next().flatten()) {
            (Some(system), Some(timeline)) => Ok(Identity { system, timeline }),
            _ => Err(Refused::Broken("it did not say which system it is".to_owned())),
        }
    }

    /// Whether the server is itself a replica.
    pub(crate) async fn is_replica(&mut self) -> Result<bool, Refused> {
        let rows = self.command("SHOW in_hot_standby").await?;
        match rows.into_iter().next().unwrap_or_default().into_iter().next().flatten().as_deref() {
            Some("on") => Ok(true),
            Some("off") => Ok(false),
            _ => Err(Refused::Broken("it did not say whether it is a replica".to_owned())),
        }
    }

    /// Makes a physical slot that keeps WAL from this moment on.
    pub(crate) async fn create_slot(&mut self, slot: &str) -> Result<(), Refused> {
        self.command(&format!("CREATE_REPLICATION_SLOT {slot} PHYSICAL RESERVE_WAL")).await.map(|_| ())
    }

    /// Drops a slot; that there is none is fine.
    pub(crate) async fn drop_slot(&mut self, slot: &str) -> Result<(), Refused> {
        const UNDEFINED_OBJECT: &str = "42704";
        match self.command(&format!("DROP_REPLICATION_SLOT {slot} WAIT")).await {
            Err(Refused::Said(code, _)) if code == UNDEFINED_OBJECT => Ok(()),
            other => other.map(|_| ()),
        }
    }

    async fn command(&mut self, text: &str) -> Result<Vec<Row>, Refused> {
        within(async {
            let mut out = Vec::new();
            encode::query(&mut out, text).map_err(broken)?;
            self.send(&out).await?;
            self.rows_until_ready().await
        })
        .await
    }

    async fn authenticate(&mut self, target: &Target) -> Result<(), Refused> {
        loop {
            let password = || {
                target.password.clone().ok_or_else(|| {
                    let user = &target.user;
                    Refused::Said(
                        "28P01".to_owned(),
                        format!("it asks for a password of user {user}, and none is known"),
                    )
                })
            };
            let mut out = Vec::new();
            match self.authentication().await? {
                Step::In => return Ok(()),
                Step::Clear => encode::password(&mut out, password()?.expose()).map_err(broken)?,
                Step::Md5(salt) => {
                    let hashed = md5_password(target.user.as_bytes(), password()?.expose(), salt);
                    encode::password(&mut out, hashed.expose()).map_err(broken)?;
                }
                Step::Scram => self.scram(&password()?).await?,
            }
            self.send(&out).await?;
        }
    }

    async fn scram(&mut self, password: &Secret) -> Result<(), Refused> {
        let nonce = place::password().map_err(|error| Refused::Broken(format!("{error:#}")))?;
        let exchange = ClientExchange::new(&nonce, Gs2::Unsupported).map_err(broken)?;
        let mut out = Vec::new();
        encode::sasl_initial_response(&mut out, MECHANISM, exchange.first_message().as_bytes())
            .map_err(broken)?;
        self.send(&out).await?;
        self.next().await?;
        let challenge = match Authentication::parse(&self.frame).map_err(broken)? {
            Authentication::SaslContinue(data) => exchange.challenge(data).map_err(broken)?,
            _ => return Err(out_of_turn()),
        };
        let (last, awaiting, _) = challenge.respond_with_password(password.expose());
        out.clear();
        encode::sasl_response(&mut out, last.as_bytes()).map_err(broken)?;
        self.send(&out).await?;
        self.next().await?;
        match Authentication::parse(&self.frame).map_err(broken)? {
            Authentication::SaslFinal(data) => awaiting.verify(data).map_err(broken),
            _ => Err(out_of_turn()),
        }
    }

    async fn authentication(&mut self) -> Result<Step, Refused> {
        self.next().await?;
        match Authentication::parse(&self.frame).map_err(broken)? {
            Authentication::Ok => Ok(Step::In),
            Authentication::CleartextPassword => Ok(Step::Clear),
            Authentication::Md5Password { salt } => Ok(Step::Md5(salt)),
            Authentication::Sasl(mut mechanisms) => {
                match mechanisms.find(|name| *name == MECHANISM.as_bytes()) {
                    Some(_) => Ok(Step::Scram),
                    None => Err(unknown_method()),
                }
            }
            _ => Err(unknown_method()),
        }
    }

    /// Rows up to ReadyForQuery, or the error in place of them.
    async fn rows_until_ready(&mut self) -> Result<Vec<Row>, Refused> {
        let mut rows = Vec::new();
        let mut failed = None;
        loop {
            match self.message().await? {
                tag::READY_FOR_QUERY => return failed.map_or(Ok(rows), Err),
                tag::ERROR_RESPONSE => {
                    let (refused, fatal) = self.error();
                    if fatal {
                        return Err(refused);
                    }
                    failed = Some(refused);
                }
                tag::DATA_ROW => {
                    let row = DataRow::parse(&self.frame).map_err(broken)?;
                    let text = |value: Option<&[u8]>| value.map(|v| String::from_utf8_lossy(v).into_owned());
                    rows.push(row.values().map(text).collect());
                }
                _ => {}
            }
        }
    }

    /// The next message of a login.
    async fn next(&mut self) -> Result<(), Refused> {
        loop {
            match self.message().await? {
                tag::AUTHENTICATION => return Ok(()),
                tag::ERROR_RESPONSE => return Err(self.error().0),
                tag::NOTICE_RESPONSE | tag::NEGOTIATE_PROTOCOL_VERSION => {}
                _ => return Err(out_of_turn()),
            }
        }
    }

    /// Reads one message into `frame` and says which.
    async fn message(&mut self) -> Result<u8, Refused> {
        self.frame.resize(HEADER_LEN, 0);
        self.stream.read_exact(&mut self.frame).await.map_err(broken)?;
        let header = frame::header(&self.frame).map_err(broken)?.expect("a whole header was read");
        if header.total > MESSAGE_BYTES_MAX {
            return Err(Refused::Broken(format!("it sends a message of {} bytes", header.total)));
        }
        self.frame.resize(header.total, 0);
        self.stream.read_exact(&mut self.frame[HEADER_LEN..]).await.map_err(broken)?;
        Ok(header.tag)
    }

    fn error(&self) -> (Refused, bool) {
        let Ok(fields) = ErrorFields::parse(&self.frame) else {
            return (Refused::Broken("its error can't be read".to_owned()), true);
        };
        let code = fields.sqlstate().map_or_else(String::new, |code| code.to_string());
        let words = fields.message().unwrap_or_default().into_owned();
        (Refused::Said(code, words), fields.is_fatal())
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<(), Refused> {
        self.stream.write_all(bytes).await.map_err(broken)
    }
}

enum Step {
    In,
    Clear,
    Md5([u8; 4]),
    Scram,
}

fn broken(error: impl std::fmt::Display) -> Refused {
    Refused::Broken(error.to_string())
}

fn unknown_method() -> Refused {
    Refused::Broken("it wants a way to log in that highwater does not know".to_owned())
}

fn out_of_turn() -> Refused {
    Refused::Broken("it sends a message out of turn: is it PostgreSQL?".to_owned())
}

async fn within<T>(work: impl Future<Output = Result<T, Refused>>) -> Result<T, Refused> {
    let late = || Refused::Broken(format!("no answer within {} s", ANSWER_MAX.as_secs()));
    tokio::time::timeout(ANSWER_MAX, work).await.unwrap_or_else(|_| Err(late()))
}
