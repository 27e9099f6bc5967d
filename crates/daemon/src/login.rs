//! A client's login: from the first byte to the first ReadyForQuery, on any stream.
//!
//! One message is read at a time and nothing ahead, each only in the state that allows it: the code's order is the
//! state machine. User and database are fixed by the one StartupMessage there can be. Whether a database or user
//! exists is not said before the client has proved who it is. Who may enter, and what a database reports, is
//! asked of the [`House`].

mod encoding;
mod greeting;

use std::future::Future;
use std::io;
use std::sync::Arc;

use engine::route::RouteMode;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use wire::auth::scram::{MECHANISM, ScramError};
use wire::encode::{self, ErrorReply, Severity};
use wire::frame::check_login_tag;
use wire::frontend::{SaslInitialResponse, SaslResponse};
use wire::sqlstate::SqlState;
use wire::startup::{self, Initial, ProtocolVersion, StartupError, StartupParameters, parse_options};
use wire::status::TransactionStatus;

use crate::cancel::{KEY_LEN_LONG, KEY_LEN_SHORT, Registered};
use crate::config::AuthType;
use crate::connect::wrong_password;
use crate::mail::ConnectError;
use crate::messages::{ReadError, exactly, message};
use crate::users::{Users, nonce};
use crate::world::Database;

/// Names of the admin console.
pub(crate) const ADMIN_DATABASES: [&str; 2] = ["highwater", "pgbouncer"];

/// Encryption may be asked for once in each of its two kinds.
const ENCRYPTION_REQUESTS_MAX: usize = 2;

/// Longest message of an exchange, in bytes: the mechanism's name and 1 KiB for it.
const SASL_BYTES_MAX: usize = wire::auth::scram::MESSAGE_LEN_MAX + 64;

/// What a login asks of the rest of the program.
pub(crate) trait House: Sync {
    /// The right to be counted among the clients; given back when dropped.
    type Place: Send;

    /// The users of the settings in force.
    fn users(&self) -> Arc<Users>;

    /// May this user use the admin console?
    fn is_admin(&self, user: &str) -> bool;

    /// A place among the clients, if there is one left.
    fn place(&self) -> Option<Self::Place>;

    /// A cancel key.
    fn cancel_key(&self, key_len: usize) -> Result<(u64, Registered), getrandom::Error>;

    /// The database of this name for this user, who has proved to be that.
    fn enter(&self, database: &str, user: &str)
    -> impl Future<Output = Result<Entered, ConnectError>> + Send;
}

/// A database that a client may enter.
pub(crate) struct Entered {
    /// How it is served.
    pub(crate) database: Arc<Database>,
    /// What the suffix asks for.
    pub(crate) mode: RouteMode,
    /// What a node of its cluster reports at login, by name.
    pub(crate) parameters: Arc<[(String, String)]>,
}

/// How a connection's first conversation ended well.
pub(crate) enum Outcome<P> {
    /// A client that is in.
    Client(Box<LoggedIn<P>>),
    /// An operator who is in.
    Admin(Arc<str>),
    /// A CancelRequest: pid and key as they were quoted.
    Cancel(i32, Vec<u8>),
}

/// A client that is in.
pub(crate) struct LoggedIn<P> {
    pub(crate) number: u64,
    pub(crate) database: Arc<Database>,
    pub(crate) mode: RouteMode,
    pub(crate) user: Arc<str>,
    pub(crate) parameters: Vec<(String, String)>,
    pub(crate) cancel: Registered,
    pub(crate) place: P,
}

/// How it ended otherwise. What was refused has been told to the client.
#[derive(Debug)]
pub(crate) enum LoginError {
    /// The client is gone, or never said anything sensible.
    Gone(io::Error),
    /// It was refused.
    Refused(Refusal),
}

/// What a refused client is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Refusal {
    /// The code.
    pub(crate) sqlstate: SqlState,
    /// The sentence.
    pub(crate) message: String,
}

/// Carries out a login.
pub(crate) async fn login<S, H>(stream: &mut S, house: &H) -> Result<Outcome<H::Place>, LoginError>
where
    S: AsyncRead + AsyncWrite + Unpin,
    H: House,
{
    let mut conversation = Conversation { stream, house, buf: Vec::new(), out: Vec::new() };
    match conversation.hold().await {
        Err(LoginError::Refused(refusal)) => {
            conversation.refuse(&refusal).await;
            Err(LoginError::Refused(refusal))
        }
        outcome => outcome,
    }
}

struct Conversation<'a, S, H> {
    stream: &'a mut S,
    house: &'a H,
    /// The message being read.
    buf: Vec<u8>,
    /// What is to be sent with the next flush.
    out: Vec<u8>,
}

/// What a StartupMessage says, in our own memory.
struct Wanted {
    user: Arc<str>,
    database: String,
    minor: u16,
    settings: Vec<(String, String)>,
}

impl<S, H> Conversation<'_, S, H>
where
    S: AsyncRead + AsyncWrite + Unpin,
    H: House,
{
    async fn hold(&mut self) -> Result<Outcome<H::Place>, LoginError> {
        let wanted = match self.first_packet().await? {
            First::Cancel(pid, key) => return Ok(Outcome::Cancel(pid, key)),
            First::Startup(wanted) => wanted,
        };
        let admin = ADMIN_DATABASES.contains(&wanted.database.as_str());
        // Operators get in when the house is full: that is when they are needed.
        let place = if admin { None } else { Some(self.house.place().ok_or_else(full)?) };
        self.authenticate(&wanted.user).await?;
        match place {
            None => self.let_operator_in(wanted).await,
            Some(place) => self.let_client_in(wanted, place).await,
        }
    }

    async fn first_packet(&mut self) -> Result<First, LoginError> {
        let mut requests = Vec::new();
        loop {
            self.buf.clear();
            exactly(self.stream, &mut self.buf, 4).await?;
            // Judges the length, before that many bytes are waited for.
            startup::initial(&self.buf)?;
            let declared = self.buf.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes));
            exactly(self.stream, &mut self.buf, usize::try_from(declared).unwrap_or(0)).await?;
            let request = match startup::initial(&self.buf)? {
                Some((Initial::Ssl, _)) => Encryption::Tls,
                Some((Initial::GssEnc, _)) => Encryption::Gss,
                Some((Initial::Cancel { pid, key }, _)) => return Ok(First::Cancel(pid, key.to_vec())),
                Some((Initial::Startup(parameters), _)) => {
                    let wanted = wanted(&parameters)?;
                    self.negotiate(wanted.minor)?;
                    return Ok(First::Startup(wanted));
                }
                None => return Err(StartupError::Layout.into()),
            };
            if requests.contains(&request) || requests.len() >= ENCRYPTION_REQUESTS_MAX {
                return Err(refusal(SqlState::PROTOCOL_VIOLATION, "encryption was asked for twice").into());
            }
            requests.push(request);
            self.stream.write_all(b"N").await?;
        }
    }

    /// Newer minor versions and protocol extensions are declined, not refused: new libpq versions try them on purpose.
    fn negotiate(&mut self, spoken: u16) -> Result<(), LoginError> {
        let Ok(Some((Initial::Startup(parameters), _))) = startup::initial(&self.buf) else { return Ok(()) };
        let unsupported: Vec<&str> = parameters.unsupported_options().collect();
        if parameters.protocol.minor > spoken || !unsupported.is_empty() {
            startup::encode_negotiate_protocol_version(&mut self.out, spoken, &unsupported)
                .map_err(|error| refusal(SqlState::PROTOCOL_VIOLATION, error.to_string()))?;
        }
        Ok(())
    }

    async fn authenticate(&mut self, user: &str) -> Result<(), LoginError> {
        let users = self.house.users();
        match users.auth_type() {
            AuthType::Trust => {}
            AuthType::Scram => self.scram(&users, user).await?,
        }
        encode::authentication_ok(&mut self.out);
        Ok(())
    }

    async fn scram(&mut self, users: &Users, user: &str) -> Result<(), LoginError> {
        encode::authentication_sasl(&mut self.out, &[MECHANISM]).map_err(internal)?;
        self.flush().await?;
        let failed = |error: ScramError| match error {
            ScramError::InvalidProof => refusal(SqlState::INVALID_PASSWORD, wrong_password(user)),
            error => refusal(error.sqlstate(), error.to_string()),
        };
        self.sasl_message().await?;
        let first = SaslInitialResponse::parse(&self.buf).map_err(violation)?;
        if first.mechanism != MECHANISM.as_bytes() {
            let message =
                format!("client selected an invalid SASL authentication mechanism; {MECHANISM} is offered");
            return Err(refusal(SqlState::PROTOCOL_VIOLATION, message).into());
        }
        let data = first.data.ok_or_else(|| violation("SASLInitialResponse carries no message"))?;
        let nonce = nonce().map_err(internal)?;
        let (answer, awaiting) = users.exchange(user).client_first(data, &nonce).map_err(failed)?;
        encode::authentication_sasl_continue(&mut self.out, answer.as_bytes()).map_err(internal)?;
        self.flush().await?;
        self.sasl_message().await?;
        let last = SaslResponse::parse(&self.buf).map_err(violation)?;
        let accepted = awaiting.client_final(last.data).map_err(failed)?;
        encode::authentication_sasl_final(&mut self.out, accepted.message.as_bytes()).map_err(internal)?;
        users.on_accepted(user, accepted);
        Ok(())
    }

    async fn sasl_message(&mut self) -> Result<(), LoginError> {
        match message(self.stream, &mut self.buf, |header| check_login_tag(header, SASL_BYTES_MAX)).await {
            Ok(_) => Ok(()),
            Err(ReadError::Io(error)) => Err(LoginError::Gone(error)),
            Err(ReadError::Frame(error)) => Err(refusal(error.sqlstate(), error.to_string()).into()),
        }
    }

    async fn let_operator_in(&mut self, wanted: Wanted) -> Result<Outcome<H::Place>, LoginError> {
        if !self.house.is_admin(&wanted.user) {
            let message =
                format!("user \"{}\" may not use the admin console: see [admin] users", wanted.user);
            return Err(refusal(SqlState::INSUFFICIENT_PRIVILEGE, message).into());
        }
        // Dropped at the end of this function: nothing that an operator runs can be cancelled.
        let (_, registered) = self.house.cancel_key(key_len(wanted.minor)).map_err(internal)?;
        self.greet(&greeting::of_console(&wanted.settings), &registered).await?;
        Ok(Outcome::Admin(wanted.user))
    }

    async fn let_client_in(
        &mut self,
        wanted: Wanted,
        place: H::Place,
    ) -> Result<Outcome<H::Place>, LoginError> {
        let entered = self.house.enter(&wanted.database, &wanted.user).await?;
        let (number, cancel) = self.house.cancel_key(key_len(wanted.minor)).map_err(internal)?;
        let reported = greeting::of_database(&entered.parameters, &wanted.settings, entered.mode);
        self.greet(&reported, &cancel).await?;
        Ok(Outcome::Client(Box::new(LoggedIn {
            number,
            database: entered.database,
            mode: entered.mode,
            user: wanted.user,
            parameters: wanted.settings,
            cancel,
            place,
        })))
    }

    async fn greet(
        &mut self,
        parameters: &[(String, String)],
        cancel: &Registered,
    ) -> Result<(), LoginError> {
        for (name, value) in parameters {
            encode::parameter_status(&mut self.out, name.as_bytes(), value.as_bytes()).map_err(internal)?;
        }
        encode::backend_key_data(&mut self.out, cancel.pid, &cancel.key).map_err(internal)?;
        encode::ready_for_query(&mut self.out, TransactionStatus::Idle);
        self.flush().await?;
        Ok(())
    }

    async fn flush(&mut self) -> io::Result<()> {
        let sent = self.stream.write_all(&self.out).await;
        self.out.clear();
        sent
    }

    /// Tells the client why, as far as it still listens.
    async fn refuse(&mut self, refusal: &Refusal) {
        // What had not been sent yet (such as AuthenticationOk) is part of the story.
        encode::error_response(
            &mut self.out,
            &ErrorReply {
                severity: Severity::Fatal,
                sqlstate: refusal.sqlstate,
                message: &refusal.message,
                detail: None,
                hint: None,
            },
        );
        let _gone = self.flush().await;
        let _gone = self.stream.shutdown().await;
    }
}

enum First {
    Cancel(i32, Vec<u8>),
    Startup(Wanted),
}

#[derive(PartialEq)]
enum Encryption {
    Tls,
    Gss,
}

/// Takes the parameters apart. Settings come in PostgreSQL's order: those of `options` first, so that the others win
/// (`process_startup_options`, `src/backend/utils/init/postinit.c`).
fn wanted(parameters: &StartupParameters<'_>) -> Result<Wanted, LoginError> {
    let mut settings = Vec::new();
    for (name, value) in parameters.iter() {
        match name {
            "replication" if !matches!(value, "false" | "off" | "no" | "0") => {
                let message = "replication connections are not relayed: connect to the node itself";
                return Err(refusal(SqlState::FEATURE_NOT_SUPPORTED, message).into());
            }
            "options" => settings.extend(parse_options(value)?),
            _ => {}
        }
    }
    let not_settings = ["user", "database", "options", "replication"];
    let direct =
        parameters.iter().filter(|(name, _)| !not_settings.contains(name) && !name.starts_with("_pq_."));
    settings.extend(direct.map(|(name, value)| (name.to_owned(), value.to_owned())));
    for (name, value) in &mut settings {
        name.make_ascii_lowercase();
        if name == "client_encoding" {
            let canonical = encoding::canonical(value).ok_or_else(|| {
                let message = format!("invalid value for parameter \"client_encoding\": \"{value}\"");
                refusal(SqlState::INVALID_PARAMETER_VALUE, message)
            })?;
            canonical.clone_into(value);
        }
    }
    Ok(Wanted {
        user: parameters.user().into(),
        database: parameters.database().to_owned(),
        minor: parameters.protocol.minor.min(ProtocolVersion::V3_2.minor),
        settings,
    })
}

/// Keys of more than four bytes came with protocol 3.2.
fn key_len(minor: u16) -> usize {
    if minor >= ProtocolVersion::V3_2.minor { KEY_LEN_LONG } else { KEY_LEN_SHORT }
}

fn refusal(sqlstate: SqlState, message: impl Into<String>) -> Refusal {
    Refusal { sqlstate, message: message.into() }
}

fn full() -> LoginError {
    refusal(SqlState::TOO_MANY_CONNECTIONS, "sorry, too many clients already: max_client_conn is reached")
        .into()
}

fn violation(why: impl std::fmt::Display) -> LoginError {
    refusal(SqlState::PROTOCOL_VIOLATION, why.to_string()).into()
}

fn internal(why: impl std::fmt::Display) -> LoginError {
    refusal(SqlState::INTERNAL_ERROR, why.to_string()).into()
}

impl From<Refusal> for LoginError {
    fn from(refusal: Refusal) -> Self {
        LoginError::Refused(refusal)
    }
}

impl From<io::Error> for LoginError {
    fn from(error: io::Error) -> Self {
        LoginError::Gone(error)
    }
}

impl From<StartupError> for LoginError {
    fn from(error: StartupError) -> Self {
        match error {
            // It speaks TLS: our words would mean nothing to it.
            StartupError::DirectTls => LoginError::Gone(io::Error::other(error.to_string())),
            error => refusal(error.sqlstate(), error.to_string()).into(),
        }
    }
}

impl From<ConnectError> for LoginError {
    fn from(error: ConnectError) -> Self {
        refusal(error.sqlstate, error.message).into()
    }
}

#[cfg(test)]
mod tests;
