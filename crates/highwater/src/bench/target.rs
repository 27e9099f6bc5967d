//! What is measured: a connection string, reached once to learn what answers there.

use std::net::{SocketAddr, ToSocketAddrs};

use load::Target;
use load::ask::Asked;
use tokio_postgres::config::{Host, SslMode};

use super::server::{self, Primary};
use crate::dsn::Dsn;
use crate::{environment, failure};

/// Seen in pg_stat_activity.
const APPLICATION: &str = "highwater bench";

/// A target that answers.
pub(crate) struct Contender {
    /// What it is called in reports.
    pub(crate) name: String,
    /// Its connection string without the password.
    pub(crate) shown: String,
    /// Where to connect, and as whom.
    pub(crate) target: Target,
    /// What it said of itself.
    pub(crate) facts: Facts,
}

/// What a target said of itself.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    /// As `SHOW server_version` has it.
    pub(crate) version: String,
    /// It is a Highwater router: it knows where a statement ran.
    pub(crate) router: bool,
    /// The process of the primary behind it, if it is on this machine; or why that is not known.
    pub(crate) primary: Result<Primary, String>,
}

impl Contender {
    /// Reads `[NAME=]DSN` and reaches it.
    pub(crate) fn reach(text: &str) -> anyhow::Result<Contender> {
        let (name, dsn) = split_name(text);
        // The error never repeats the text: it may hold a password.
        let config: tokio_postgres::Config = dsn
            .parse()
            .map_err(|error| failure::usage(format!("{} is no connection string: {error}", said(name))))?;
        let (host, port) =
            address(&config).map_err(|why| failure::usage(format!("{}: {why}", said(name))))?;
        let user = config.get_user().map(str::to_owned).or_else(|| text_variable("PGUSER"));
        let user = user.or_else(|| text_variable("USER")).ok_or_else(|| {
            failure::usage(format!("{} names no user: postgresql://USER@HOST:PORT/DATABASE", said(name)))
        })?;
        let database = config.get_dbname().unwrap_or(&user).to_owned();
        let shown = Dsn { user: &user, password: "", host: &host, port, database: &database }.to_string();
        let name = name.map_or_else(|| format!("{host}:{port}/{database}"), str::to_owned);
        let password = config.get_password().map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        let mut parameters = vec![(
            "application_name".to_owned(),
            config.get_application_name().unwrap_or(APPLICATION).to_owned(),
        )];
        parameters.extend(config.get_options().map(|options| ("options".to_owned(), options.to_owned())));
        let addresses = resolve(&name, &host, port)?;
        let mut last = None;
        for address in addresses {
            let mut target = Target::new(address, &user, &database);
            target.password = password.clone().or_else(|| text_variable("PGPASSWORD"));
            target.parameters = parameters.clone();
            match Asked::open(&target) {
                Ok(mut asked) => {
                    let facts = look(&mut asked).map_err(|error| explain(&name, &shown, &error))?;
                    return Ok(Contender { name, shown, target, facts });
                }
                Err(error) => last = Some(error),
            }
        }
        let error = last.expect("resolving yields at least one address");
        Err(explain(&name, &shown, &error))
    }

    /// A connection for questions of our own.
    pub(crate) fn ask(&self) -> anyhow::Result<Asked> {
        Asked::open(&self.target).map_err(|error| explain(&self.name, &self.shown, &error))
    }

    /// The error of this target, as a sentence with its exit status.
    pub(crate) fn explain(&self, error: &load::Error) -> anyhow::Error {
        explain(&self.name, &self.shown, error)
    }
}

fn explain(name: &str, shown: &str, error: &load::Error) -> anyhow::Error {
    match error {
        load::Error::Io(..) | load::Error::Closed | load::Error::Stalled(_) => failure::unreachable(format!(
            "can't reach the target {name} ({shown}): {error}; is it running, and is this its address?"
        )),
        load::Error::PasswordWanted => failure::usage(format!(
            "the target {name} ({shown}) asks for a password: put it into the connection string or into PGPASSWORD"
        )),
        load::Error::Refused { sqlstate, message } if sqlstate.starts_with("28") => failure::failed(format!(
            "the target {name} ({shown}) refused the login: {message} ({sqlstate}); check user and password"
        )),
        load::Error::Refused { sqlstate, message } if sqlstate == "53300" => failure::failed(format!(
            "the target {name} ({shown}) has no room for another connection: {message}; ask with fewer --clients"
        )),
        other => failure::failed(format!("the target {name} ({shown}): {other}")),
    }
}

/// `NAME=DSN`, unless the `=` belongs to the connection string itself (`host=… user=…`).
fn split_name(text: &str) -> (Option<&str>, &str) {
    let Some((name, dsn)) = text.split_once('=') else { return (None, text) };
    let is_name = !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || "_-+.,/ ".contains(c));
    let is_dsn = dsn.contains("://") || dsn.split_whitespace().next().is_some_and(|word| word.contains('='));
    if is_name && is_dsn { (Some(name), dsn) } else { (None, text) }
}

fn said(name: Option<&str>) -> String {
    name.map_or_else(|| "the target".to_owned(), |name| format!("the target {name}"))
}

fn address(config: &tokio_postgres::Config) -> Result<(String, u16), String> {
    if config.get_ssl_mode() == SslMode::Require {
        return Err(
            "sslmode asks for TLS, which isn't there yet: use sslmode=disable on a network you trust".into(),
        );
    }
    if config.get_hosts().len() > 1 {
        return Err("it names several hosts: a target is one server or router".into());
    }
    let port = config.get_ports().first().copied().unwrap_or(5432);
    match (config.get_hosts().first(), config.get_hostaddrs().first()) {
        (_, Some(address)) => Ok((address.to_string(), port)),
        (Some(Host::Tcp(host)), None) => Ok((host.clone(), port)),
        (Some(Host::Unix(path)), None) => {
            Err(format!("{} is a Unix socket: targets are reached by TCP", path.display()))
        }
        (None, None) => Ok(("localhost".to_owned(), port)),
    }
}

fn resolve(name: &str, host: &str, port: u16) -> anyhow::Result<Vec<SocketAddr>> {
    let found = (host, port).to_socket_addrs().map(Iterator::collect::<Vec<_>>);
    match found {
        Ok(addresses) if !addresses.is_empty() => Ok(addresses),
        Ok(_) => Err(failure::unreachable(format!("the host of the target {name}, {host}, has no address"))),
        Err(error) => {
            Err(failure::unreachable(format!("the host of the target {name}, {host}, is not found: {error}")))
        }
    }
}

fn look(asked: &mut Asked) -> Result<Facts, load::Error> {
    let first = |rows: Vec<load::ask::Row>| rows.into_iter().next()?.into_iter().next()?;
    let version = first(asked.rows("SHOW server_version")?).unwrap_or_default();
    let router = match asked.rows(load::crew::LAST_ROUTE) {
        Ok(rows) => !rows.is_empty(),
        Err(load::Error::Refused { .. }) => false,
        Err(error) => return Err(error),
    };
    Ok(Facts { version, router, primary: server::primary_behind(asked)? })
}

fn text_variable(name: &str) -> Option<String> {
    environment::variable(name)?.into_string().ok().filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::{Status, status_of};

    #[test]
    fn a_name_is_told_from_a_connection_string_with_equals_signs() {
        assert_eq!(split_name("a b=postgres://u@h/d"), (Some("a b"), "postgres://u@h/d"));
        assert_eq!(split_name("router=host=h user=u"), (Some("router"), "host=h user=u"));
        assert_eq!(split_name("host=h user=u"), (None, "host=h user=u"));
        assert_eq!(split_name("postgres://u@h/d?options=x"), (None, "postgres://u@h/d?options=x"));
    }

    #[test]
    fn what_cannot_be_a_target_is_a_usage_error_without_the_password() {
        for bad in [
            "nonsense",
            "a=postgres://u:hunter2@h/d?sslmode=require",
            "postgres://u:hunter2@a,b/d",
            "host=/tmp user=u password=hunter2",
            "postgres://u:hunter2@h:99999/d",
        ] {
            let error = Contender::reach(bad).err().expect("it is refused");
            assert_eq!(status_of(&error), Status::Usage, "{error}");
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }
}
