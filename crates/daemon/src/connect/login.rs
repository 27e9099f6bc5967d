//! The login itself, on a stream that is open: start-up, authentication, first question.
//!
//! Reads one message at a time and nothing ahead. A node is not believed to be who it is unless SCRAM has proved it.

use engine::view::Incarnation;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use wire::auth::md5::md5_password;
use wire::auth::scram::{Challenge, ClientExchange, Gs2, MECHANISM, ScramError, ScramKeys};
use wire::backend::{Authentication, BackendKeyData, DataRow, ParameterStatus, ReadyForQuery};
use wire::encode;
use wire::error_response::ErrorFields;
use wire::frame::tag::backend as tag;
use wire::sqlstate::SqlState;
use wire::startup::encode_startup;
use wire::status::TransactionStatus;

use crate::config::ServerMethod;
use crate::incarnation;
use crate::mail::{ConnectError, ConnectFault};
use crate::messages::{ReadError, at_most, message};
use crate::spawn;
use crate::users::{self, Credential, Users};
use crate::world::Node;

/// Longest message read from a node that hasn't let us in, in bytes: its words are a stranger's.
const BEFORE_AUTH_MAX: usize = 1024 + 64;

/// Longest message read after that, in bytes.
const AFTER_AUTH_MAX: usize = 64 * 1024;

/// Most messages of one login: more is a node that never comes to the point.
const MESSAGES_MAX: usize = 500;

/// What a login needs to know.
pub(super) struct Login<'a> {
    pub(super) node: &'a Node,
    pub(super) database: &'a str,
    pub(super) user: &'a str,
    pub(super) users: &'a Users,
    pub(super) methods: &'a [ServerMethod],
}

/// A backend that is in.
pub(super) struct Ready {
    /// What it said at login.
    pub(super) told: Told,
    /// Which run of the server it belongs to.
    pub(super) incarnation: Incarnation,
    /// Whether the server was in recovery when it was asked.
    pub(super) in_recovery: bool,
    /// The databases there are, if that was asked.
    pub(super) databases: Vec<String>,
}

/// What a new backend is asked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Question {
    /// Which run of the server it belongs to.
    Run,
    /// And which databases there are.
    RunAndDatabases,
}

/// The databases that can be connected to, one a line; far below what a message may have.
const DATABASES: &str = "(SELECT pg_catalog.left(pg_catalog.string_agg(datname, pg_catalog.chr(10)), 50000) \
    FROM pg_catalog.pg_database WHERE datallowconn)";

/// What a backend says without being asked.
#[derive(Default)]
pub(super) struct Told {
    pub(super) cancel: Option<(i32, Vec<u8>)>,
    pub(super) parameters: Vec<(String, String)>,
}

impl Login<'_> {
    /// Logs in on `stream`, which is left idle and in step.
    pub(super) async fn run<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: &mut S,
        question: Question,
    ) -> Result<Ready, ConnectError> {
        let mut out = Vec::new();
        encode_startup(&mut out, &[("user", self.user), ("database", self.database)])
            .map_err(|error| self.broken(&error.to_string()))?;
        self.send(stream, &out).await?;
        let mut buf = Vec::new();
        self.authenticate(stream, &mut buf).await?;
        let mut told = Told::default();
        self.until_ready(stream, &mut buf, |frame| told.note(frame)).await?;
        self.ask(stream, &mut buf, (told, question)).await
    }

    async fn authenticate<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: &mut S,
        buf: &mut Vec<u8>,
    ) -> Result<(), ConnectError> {
        let mut asked = false;
        loop {
            match self.authentication(stream, buf).await? {
                Step::Ok => {
                    let allowed = asked || self.methods.contains(&ServerMethod::Trust);
                    return if allowed { Ok(()) } else { Err(self.not_allowed("trust")) };
                }
                _ if asked => return Err(self.broken("it asks for a password twice")),
                Step::Cleartext => self.answer_with_password(stream, ServerMethod::Password, None).await?,
                Step::Md5(salt) => self.answer_with_password(stream, ServerMethod::Md5, Some(salt)).await?,
                Step::Scram => self.scram(stream, buf).await?,
            }
            asked = true;
        }
    }

    /// What the node wants next.
    async fn authentication<S: AsyncRead + Unpin>(
        &self,
        stream: &mut S,
        buf: &mut Vec<u8>,
    ) -> Result<Step, ConnectError> {
        let frame = self.next(stream, buf).await?;
        match Authentication::parse(frame).map_err(|error| self.broken(&error.to_string()))? {
            Authentication::Ok => Ok(Step::Ok),
            Authentication::CleartextPassword => Ok(Step::Cleartext),
            Authentication::Md5Password { salt } => Ok(Step::Md5(salt)),
            Authentication::Sasl(mut mechanisms) => {
                if mechanisms.any(|name| name == MECHANISM.as_bytes()) {
                    Ok(Step::Scram)
                } else {
                    Err(self.not_allowed("a SASL mechanism other than SCRAM-SHA-256"))
                }
            }
            Authentication::Other(code) => Err(self.not_allowed(&format!("authentication method {code}"))),
            Authentication::SaslContinue(_) | Authentication::SaslFinal(_) => {
                Err(self.broken("a SASL message out of turn"))
            }
        }
    }

    async fn answer_with_password<S: AsyncWrite + Unpin>(
        &self,
        stream: &mut S,
        method: ServerMethod,
        salt: Option<[u8; 4]>,
    ) -> Result<(), ConnectError> {
        if !self.methods.contains(&method) {
            return Err(self.not_allowed(if salt.is_some() { "md5" } else { "password" }));
        }
        let Some(password) = self.users.password(self.user) else { return Err(self.no_password()) };
        let mut out = zeroize::Zeroizing::new(Vec::new());
        let hashed = salt.map(|salt| md5_password(self.user.as_bytes(), password.expose(), salt));
        encode::password(&mut out, hashed.as_ref().unwrap_or(password).expose())
            .map_err(|error| self.broken(&error.to_string()))?;
        self.send(stream, &out).await
    }

    async fn scram<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: &mut S,
        buf: &mut Vec<u8>,
    ) -> Result<(), ConnectError> {
        if !self.methods.contains(&ServerMethod::Scram) {
            return Err(self.not_allowed("scram-sha-256"));
        }
        let nonce = users::nonce().map_err(|error| self.broken(&error.to_string()))?;
        let failed = |error: ScramError| self.scram_failed(error);
        let exchange = ClientExchange::new(&nonce, Gs2::Unsupported).map_err(failed)?;
        let mut out = Vec::new();
        let unsent = |error: encode::EncodeError| self.broken(&error.to_string());
        encode::sasl_initial_response(&mut out, MECHANISM, exchange.first_message().as_bytes())
            .map_err(unsent)?;
        self.send(stream, &out).await?;
        let challenge = match self.sasl(stream, buf).await? {
            Authentication::SaslContinue(data) => exchange.challenge(data).map_err(failed)?,
            _ => return Err(self.broken("a SASL message out of turn")),
        };
        let keys = self.keys(&challenge).await?;
        let (last, awaiting) = challenge.respond(&keys);
        out.clear();
        encode::sasl_response(&mut out, last.as_bytes()).map_err(unsent)?;
        self.send(stream, &out).await?;
        match self.sasl(stream, buf).await? {
            Authentication::SaslFinal(data) => awaiting.verify(data).map_err(failed),
            _ => Err(self.broken("it let us in without proving that it knows the password")),
        }
    }

    async fn sasl<'b, S: AsyncRead + Unpin>(
        &self,
        stream: &mut S,
        buf: &'b mut Vec<u8>,
    ) -> Result<Authentication<'b>, ConnectError> {
        let frame = self.next(stream, buf).await?;
        Authentication::parse(frame).map_err(|error| self.broken(&error.to_string()))
    }

    async fn keys(&self, challenge: &Challenge) -> Result<ScramKeys, ConnectError> {
        let (salt, iterations) = (challenge.salt().to_vec(), challenge.iterations());
        match self.users.for_scram(self.user, &salt, iterations) {
            Credential::Keys(keys) => Ok(keys),
            Credential::Password(password) => {
                let derive_with = salt.clone();
                let keys = spawn::blocking(move || ScramKeys::derive(password.expose(), &derive_with, iterations));
                let keys = keys.await.ok_or_else(|| self.broken("deriving its keys failed"))?;
                self.users.remember(self.user, (&salt, iterations), keys.clone());
                Ok(keys)
            }
            Credential::OnlyVerifier => Err(self.refused(
                &format!(
                    "only a SCRAM verifier of user {:?} is known to the router: it must be the same as the node's, and a client must have logged in with it",
                    self.user
                ),
            )),
            Credential::Nothing => Err(self.no_password()),
        }
    }

    /// The question that tells one run of a server from another, on this very connection.
    async fn ask<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: &mut S,
        buf: &mut Vec<u8>,
        (mut told, question): (Told, Question),
    ) -> Result<Ready, ConnectError> {
        let mut out = Vec::new();
        let databases = if question == Question::RunAndDatabases { DATABASES } else { "NULL" };
        let run = incarnation::EXPRESSION;
        let query = format!("SELECT pg_catalog.pg_is_in_recovery()::text, {run}, {databases}");
        encode::query(&mut out, &query).map_err(|error| self.broken(&error.to_string()))?;
        self.send(stream, &out).await?;
        let mut answer = None;
        self.until_ready(stream, buf, |frame| {
            told.note(frame);
            if let Ok(row) = DataRow::parse(frame) {
                let mut values = row.values();
                if let (Some(Some(recovery)), Some(Some(run))) = (values.next(), values.next()) {
                    let list = String::from_utf8_lossy(values.next().flatten().unwrap_or_default());
                    let databases = list.lines().map(str::to_owned).collect();
                    answer = Some((recovery == b"true", incarnation::from_text(run), databases));
                }
            }
        })
        .await?;
        let (in_recovery, incarnation, databases) =
            answer.ok_or_else(|| self.broken("it did not say which run of the server it is"))?;
        Ok(Ready { told, incarnation, in_recovery, databases })
    }

    /// Shows every message to `see`, up to an idle ReadyForQuery.
    async fn until_ready<S: AsyncRead + Unpin>(
        &self,
        stream: &mut S,
        buf: &mut Vec<u8>,
        mut see: impl FnMut(&[u8]),
    ) -> Result<(), ConnectError> {
        for _ in 0..MESSAGES_MAX {
            let header =
                message(stream, buf, at_most(AFTER_AUTH_MAX)).await.map_err(|error| self.lost(&error))?;
            match header.tag {
                tag::ERROR_RESPONSE => return Err(self.error(buf)),
                tag::READY_FOR_QUERY => {
                    let ready = ReadyForQuery::parse(buf).map_err(|error| self.broken(&error.to_string()))?;
                    let idle = ready.status == TransactionStatus::Idle;
                    return if idle { Ok(()) } else { Err(self.broken("it begins inside a transaction")) };
                }
                _ => see(buf),
            }
        }
        Err(self.broken("its login never ends"))
    }

    /// The next message that matters before we are in.
    async fn next<'b, S: AsyncRead + Unpin>(
        &self,
        stream: &mut S,
        buf: &'b mut Vec<u8>,
    ) -> Result<&'b [u8], ConnectError> {
        for _ in 0..MESSAGES_MAX {
            let header =
                message(stream, buf, at_most(BEFORE_AUTH_MAX)).await.map_err(|error| self.lost(&error))?;
            match header.tag {
                tag::AUTHENTICATION => return Ok(buf),
                tag::ERROR_RESPONSE => return Err(self.error(buf)),
                tag::NOTICE_RESPONSE | tag::NEGOTIATE_PROTOCOL_VERSION => {}
                _ => return Err(self.broken("a message out of turn")),
            }
        }
        Err(self.broken("its login never ends"))
    }

    async fn send<S: AsyncWrite + Unpin>(&self, stream: &mut S, bytes: &[u8]) -> Result<(), ConnectError> {
        stream.write_all(bytes).await.map_err(|error| self.lost(&ReadError::Io(error)))
    }

    fn lost(&self, error: &ReadError) -> ConnectError {
        match error {
            ReadError::Io(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                self.broken("it closed the connection during the login")
            }
            error => self.broken(&error.to_string()),
        }
    }

    fn broken(&self, why: &str) -> ConnectError {
        super::node_fault(self.node, why)
    }

    /// The router itself won't or can't go on. Not of class 28: no account was tried, so nothing has to be held back.
    fn refused(&self, message: &str) -> ConnectError {
        let sqlstate = SqlState::CONNECTION_REJECTED;
        ConnectError { fault: ConnectFault::Credentials, sqlstate, message: message.to_owned() }
    }

    fn not_allowed(&self, method: &str) -> ConnectError {
        let message = format!(
            "node {:?} wants to authenticate user {:?} with {method}, which [server_auth] methods does not allow",
            self.node.name, self.user
        );
        self.refused(&message)
    }

    fn no_password(&self) -> ConnectError {
        let message = format!(
            "node {:?} asks for a password of user {:?}, and none is configured",
            self.node.name, self.user
        );
        self.refused(&message)
    }

    fn scram_failed(&self, error: ScramError) -> ConnectError {
        match error {
            ScramError::Refused => ConnectError {
                fault: ConnectFault::Credentials,
                sqlstate: SqlState::INVALID_PASSWORD,
                message: wrong_password(self.user),
            },
            error => self.broken(&error.to_string()),
        }
    }

    /// The node says no. What it says is logged; the client gets our words for it.
    fn error(&self, frame: &[u8]) -> ConnectError {
        let Ok(fields) = ErrorFields::parse(frame) else { return self.broken("its error can't be read") };
        let text: String = fields.message().unwrap_or_default().chars().take(500).collect();
        let sqlstate = fields.sqlstate().unwrap_or(SqlState::CONNECTION_FAILURE);
        tracing::warn!(node = &*self.node.name, user = self.user, database = self.database, %sqlstate, said = ?text, "a node refused a login");
        let (fault, message) = match (sqlstate, &sqlstate.class()) {
            (SqlState::INVALID_PASSWORD, _) => (ConnectFault::Credentials, wrong_password(self.user)),
            (_, b"28") => (
                ConnectFault::Credentials,
                format!("node {:?} does not let user {:?} in", self.node.name, self.user),
            ),
            (SqlState::INVALID_CATALOG_NAME, _) => {
                (ConnectFault::Credentials, format!("database \"{}\" does not exist", self.database))
            }
            (SqlState::INSUFFICIENT_PRIVILEGE, _) => {
                (ConnectFault::Credentials, format!("permission denied for database \"{}\"", self.database))
            }
            (SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, _) => (
                ConnectFault::Credentials,
                format!("database \"{}\" is not currently accepting connections", self.database),
            ),
            (SqlState::TOO_MANY_CONNECTIONS, _) => {
                (ConnectFault::Full, format!("node {:?} has too many clients already", self.node.name))
            }
            (_, b"57") => {
                (ConnectFault::NotReady, format!("node {:?} is not ready for connections", self.node.name))
            }
            _ => (ConnectFault::Node, format!("node {:?} refused the login with {sqlstate}", self.node.name)),
        };
        ConnectError { fault, sqlstate, message }
    }
}

/// PostgreSQL's own words.
pub(crate) fn wrong_password(user: &str) -> String {
    format!("password authentication failed for user \"{user}\"")
}

enum Step {
    Ok,
    Cleartext,
    Md5([u8; 4]),
    Scram,
}

impl Told {
    /// Keeps what has to be known later. What can't be read is as if it hadn't been said: the frame itself was whole.
    fn note(&mut self, frame: &[u8]) {
        if let Ok(status) = ParameterStatus::parse(frame) {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let (name, value) = (text(status.name), text(status.value));
            match self.parameters.iter_mut().find(|(known, _)| *known == name) {
                Some((_, old)) => *old = value,
                None => self.parameters.push((name, value)),
            }
        } else if let Ok(data) = BackendKeyData::parse(frame) {
            self.cancel = Some((data.pid, data.key.to_vec()));
        }
    }
}

#[cfg(test)]
mod tests;
