//! The console: an operator's SQL session with the router itself.
//!
//! A client that logged in to the database `highwater` or `pgbouncer` talks to this. `command` reads what was typed, `show` makes
//! tables, `answer` writes them; here is the conversation. It changes nothing by itself: it asks the monitors and `run`.

mod answer;
mod command;
mod replication;
mod show;
mod stats;
mod table;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::timeout;
use wire::encode;
use wire::frame::{self, tag};
use wire::frontend::{self, DescribeKind};
use wire::malformed::Malformed;
use wire::sqlstate::SqlState;
use wire::status::TransactionStatus;

use crate::overview::{AdminWorld, Order};
use answer::{Answer, Refusal};
use command::Command;

/// Largest message taken from an operator, in bytes.
const MESSAGE_BYTES_MAX: usize = 16 * 1024;
/// Most prepared statements and portals of a session.
const PREPARED_MAX: usize = 64;
/// Longest time to write an answer to an operator who doesn't read.
const WRITE_MAX: Duration = Duration::from_secs(30);
/// Longest wait for a reload.
const RELOAD_MAX: Duration = Duration::from_secs(30);

/// Talks to an operator, whose login is complete and who got the first ReadyForQuery, until one of them ends it.
pub(crate) async fn serve(mut stream: TcpStream, user: Arc<str>, admin: Arc<AdminWorld>) {
    let mut console =
        Console { user, admin, statements: BTreeMap::new(), portals: BTreeMap::new(), skipping: false };
    let mut input = Vec::new();
    loop {
        match read_frame(&mut stream, &mut input).await {
            Ok(Some(length)) => {
                let mut out = Vec::new();
                let next = console.on_message(&input[..length], &mut out).await;
                input.drain(..length);
                let written = timeout(WRITE_MAX, stream.write_all(&out)).await;
                if next == Next::End || !matches!(written, Ok(Ok(()))) {
                    return;
                }
            }
            Ok(None) => return,
            Err(why) => {
                let mut out = Vec::new();
                answer::fatal(&mut out, &Refusal::new(SqlState::PROTOCOL_VIOLATION, why.to_string()));
                let _gone = timeout(WRITE_MAX, stream.write_all(&out)).await;
                return;
            }
        }
    }
}

/// Reads until `input` begins with a whole message; its length. `None`: the operator is gone.
async fn read_frame(stream: &mut TcpStream, input: &mut Vec<u8>) -> Result<Option<usize>, frame::FrameError> {
    loop {
        if let Some(header) = frame::header(input)? {
            frame::check_client_tag(header, MESSAGE_BYTES_MAX)?;
            if input.len() >= header.total {
                return Ok(Some(header.total));
            }
        }
        let read: io::Result<usize> = stream.read_buf(input).await;
        if !matches!(read, Ok(1..)) {
            return Ok(None);
        }
    }
}

/// Whether the conversation goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Next {
    Message,
    End,
}

/// One operator's session.
struct Console {
    user: Arc<str>,
    admin: Arc<AdminWorld>,
    statements: BTreeMap<Vec<u8>, Command>,
    portals: BTreeMap<Vec<u8>, Command>,
    /// After an error in the extended protocol everything up to Sync is passed over.
    skipping: bool,
}

impl Console {
    async fn on_message(&mut self, frame: &[u8], out: &mut Vec<u8>) -> Next {
        match frame[0] {
            tag::client::TERMINATE => return Next::End,
            tag::client::SYNC => {
                self.skipping = false;
                encode::ready_for_query(out, TransactionStatus::Idle);
            }
            tag::client::FLUSH => {}
            _ if self.skipping => {}
            tag::client::QUERY => self.on_query(frame, out).await,
            _ => {
                if let Err(refusal) = self.on_extended(frame, out).await {
                    answer::refused(out, &refusal);
                    self.skipping = true;
                }
            }
        }
        Next::Message
    }

    async fn on_query(&mut self, frame: &[u8], out: &mut Vec<u8>) {
        let command = frontend::Query::parse(frame).map_err(malformed).and_then(|query| read(query.text));
        match command {
            Ok(command) => {
                let answer = self.run(&command).await;
                if matches!(answer, Answer::Rows(_) | Answer::Value(..)) {
                    answer::description(out, &answer);
                }
                answer::body(out, &answer);
            }
            Err(refusal) => answer::refused(out, &refusal),
        }
        encode::ready_for_query(out, TransactionStatus::Idle);
    }

    /// As much of the extended protocol as drivers need to send a text without parameters.
    async fn on_extended(&mut self, frame: &[u8], out: &mut Vec<u8>) -> Result<(), Refusal> {
        match frame[0] {
            tag::client::PARSE => {
                let parse = frontend::Parse::parse(frame).map_err(malformed)?;
                keep(&mut self.statements, parse.name, read(parse.query)?)?;
                encode::parse_complete(out);
            }
            tag::client::BIND => {
                let bind = frontend::Bind::parse(frame).map_err(malformed)?;
                bind.validate().map_err(malformed)?;
                plain_bind(&bind)?;
                let command = known(&self.statements, bind.statement)?.clone();
                keep(&mut self.portals, bind.portal, command)?;
                encode::bind_complete(out);
            }
            tag::client::DESCRIBE => {
                let describe = frontend::Describe::parse(frame).map_err(malformed)?;
                let of = match describe.kind {
                    DescribeKind::Statement => &self.statements,
                    DescribeKind::Portal => &self.portals,
                };
                let shape = self.shape(known(of, describe.name)?).await;
                if describe.kind == DescribeKind::Statement {
                    encode::parameter_description(out, &[]).expect("no parameters fit any limit");
                }
                answer::description(out, &shape);
            }
            tag::client::EXECUTE => {
                let execute = frontend::Execute::parse(frame).map_err(malformed)?;
                let answer = self.run(known(&self.portals, execute.portal)?).await;
                answer::body(out, &answer);
                self.skipping = matches!(answer, Answer::Refused(_));
            }
            tag::client::CLOSE => {
                let close = frontend::Close::parse(frame).map_err(malformed)?;
                match close.kind {
                    DescribeKind::Statement => self.statements.remove(close.name),
                    DescribeKind::Portal => self.portals.remove(close.name),
                };
                encode::close_complete(out);
            }
            _ => {
                let message = "this console takes queries only: no COPY, no function calls";
                return Err(Refusal::new(SqlState::FEATURE_NOT_SUPPORTED, message));
            }
        }
        Ok(())
    }

    /// The answer a command would have, as far as its columns go.
    async fn shape(&self, command: &Command) -> Answer {
        match command {
            Command::Show(_) | Command::Setting(..) | Command::SelectOne => self.run(command).await,
            Command::Empty
            | Command::Ignored(_)
            | Command::Reload
            | Command::Drain(_)
            | Command::Undrain(_)
            | Command::Shutdown => Answer::Empty,
        }
    }

    async fn run(&self, command: &Command) -> Answer {
        let outcome = match command {
            Command::Empty => Ok(Answer::Empty),
            Command::Show(subject) => Ok(Answer::Rows(show::table(*subject, &self.admin.overview().await))),
            Command::Setting(name, value) => Ok(Answer::Value(name, (*value).to_owned())),
            Command::SelectOne => Ok(Answer::Value("?column?", "1".to_owned())),
            Command::Ignored(tag) => Ok(Answer::Done(tag, Some("this has no effect in the console"))),
            Command::Reload => self.reload().await,
            Command::Drain(node) => self.drain(node, Drain::On).await,
            Command::Undrain(node) => self.drain(node, Drain::Off).await,
            Command::Shutdown => self.shutdown().await,
        };
        outcome.unwrap_or_else(Answer::Refused)
    }

    async fn reload(&self) -> Result<Answer, Refusal> {
        self.may_change()?;
        let (tell, told) = oneshot::channel();
        self.order(Order::Reload(tell)).await?;
        match timeout(RELOAD_MAX, told).await {
            Ok(Ok(Ok(()))) => Ok(Answer::Done("RELOAD", None)),
            Ok(Ok(Err(why))) => {
                let refusal =
                    Refusal::new(SqlState::INVALID_PARAMETER_VALUE, format!("nothing was changed: {why}"));
                Err(refusal.with_hint("Correct the configuration and RELOAD again."))
            }
            Ok(Err(_)) | Err(_) => Err(ending()),
        }
    }

    async fn drain(&self, name: &str, drain: Drain) -> Result<Answer, Refusal> {
        self.may_change()?;
        let Some((node, monitor)) = self.admin.find_node(name) else {
            let refusal = Refusal::new(SqlState::UNDEFINED_OBJECT, format!("there is no node {name:?}"));
            return Err(refusal.with_hint("SHOW NODES lists their names."));
        };
        tracing::info!(user = &*self.user, node = name, ?drain, "an operator drains or undrains a node");
        let (done, tag) = match drain {
            Drain::On => (monitor.drain(node).await, "DRAIN"),
            Drain::Off => (monitor.undrain(node).await, "UNDRAIN"),
        };
        if done { Ok(Answer::Done(tag, None)) } else { Err(ending()) }
    }

    async fn shutdown(&self) -> Result<Answer, Refusal> {
        self.may_change()?;
        tracing::info!(user = &*self.user, "an operator ends the router");
        self.order(Order::Shutdown).await?;
        Ok(Answer::Done("SHUTDOWN", None))
    }

    async fn order(&self, order: Order) -> Result<(), Refusal> {
        self.admin.orders.send(order).await.map_err(|_| ending())
    }

    fn may_change(&self) -> Result<(), Refusal> {
        if self.admin.served.load().admin_users.contains(&self.user) {
            return Ok(());
        }
        let message = format!("{} may look, and change nothing", self.user);
        let refusal = Refusal::new(SqlState::INSUFFICIENT_PRIVILEGE, message);
        Err(refusal.with_hint("Users who may are listed in the configuration, in admin_users."))
    }
}

/// Which way a node's drain is turned.
#[derive(Clone, Copy, Debug)]
enum Drain {
    On,
    Off,
}

fn read(text: &[u8]) -> Result<Command, Refusal> {
    let text = String::from_utf8_lossy(text);
    command::parse(&text)
        .map_err(|error| Refusal::new(SqlState::SYNTAX_ERROR, error.to_string()).with_hint(error.hint()))
}

fn keep(names: &mut BTreeMap<Vec<u8>, Command>, name: &[u8], command: Command) -> Result<(), Refusal> {
    if names.len() >= PREPARED_MAX && !names.contains_key(name) {
        let message = format!("more than {PREPARED_MAX} prepared statements or portals in the console");
        return Err(Refusal::new(SqlState::FEATURE_NOT_SUPPORTED, message));
    }
    names.insert(name.to_vec(), command);
    Ok(())
}

fn known<'a>(names: &'a BTreeMap<Vec<u8>, Command>, name: &[u8]) -> Result<&'a Command, Refusal> {
    names.get(name).ok_or_else(|| {
        let message = format!("there is no prepared statement or portal {:?}", String::from_utf8_lossy(name));
        Refusal::new(SqlState::INVALID_SQL_STATEMENT_NAME, message)
    })
}

/// Refuses parameters and binary results: there is nothing to put the first into, and the second are not made.
fn plain_bind(bind: &frontend::Bind<'_>) -> Result<(), Refusal> {
    let parameters = bind.parameter_count().unwrap_or(0);
    // Result formats are the last thing in the message; without parameters, the first behind two counts.
    let formats = bind.rest.get(4..).and_then(|rest| rest.get(2..)).unwrap_or(&[]);
    let no_parameter_formats = bind.rest.starts_with(&[0, 0]);
    if parameters > 0 || !no_parameter_formats || formats.iter().any(|&byte| byte != 0) {
        let refusal = Refusal::new(
            SqlState::FEATURE_NOT_SUPPORTED,
            "the console takes no parameters and gives no binary results",
        );
        return Err(refusal.with_hint("Use the simple query protocol, as psql does."));
    }
    Ok(())
}

fn malformed(error: Malformed) -> Refusal {
    Refusal::new(SqlState::PROTOCOL_VIOLATION, error.to_string())
}

fn ending() -> Refusal {
    Refusal::new(SqlState::ADMIN_SHUTDOWN, "the router is ending")
}

#[cfg(test)]
mod tests;
