//! The primary as the user named it: where, who, and with which password.
//!
//! Reads the connection string, PGPASSWORD and ~/.pgpass, connects, and turns a refusal into one sentence. What is asked
//! over the connection is `facts`' business. The password is never printed, and written only to the passfile.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::{Client, Config};
use wire::auth::Secret;

use crate::{connection, environment, failure};

/// Where Debian's and most other packages put their sockets.
const SOCKETS: &str = "/var/run/postgresql";

/// A primary to connect to.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// Host name, address, or the directory of its Unix socket.
    pub(crate) host: String,
    /// TCP port.
    pub(crate) port: u16,
    /// Login role.
    pub(crate) user: String,
    /// Database for statements.
    pub(crate) database: String,
    /// What the role logs in with, if a password was found.
    pub(crate) password: Option<Secret>,
    sslmode: &'static str,
}

/// What came of asking whether a server is there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Answer {
    Answers,
    Silent,
}

impl Target {
    /// From `--primary`.
    pub(crate) fn parse(dsn: &str) -> anyhow::Result<Target> {
        // The error never repeats the text: it may hold a password.
        let config: Config = dsn
            .parse()
            .map_err(|error| failure::usage(format!("--primary is not a connection string: {error}")))?;
        let sslmode = match config.get_ssl_mode() {
            SslMode::Disable => "disable",
            SslMode::Prefer => "prefer",
            _ => {
                return Err(failure::usage(
                    "--primary asks for TLS, which highwater does not speak yet: use sslmode=prefer on a network you \
                     trust (pg_basebackup and the replica then use TLS when the primary has it)",
                ));
            }
        };
        let host = match config.get_hosts() {
            [] => default_host(),
            [Host::Tcp(name)] => name.clone(),
            [Host::Unix(directory)] => directory.display().to_string(),
            _ => return Err(failure::usage("--primary names several hosts: name the primary only")),
        };
        let text = |name: &str| environment::variable(name).and_then(|value| value.into_string().ok());
        let port = config.get_ports().first().copied();
        let user = config.get_user().map(str::to_owned).or_else(|| text("PGUSER")).or_else(|| text("USER"));
        let mut target = Target {
            host,
            port: port.or_else(|| text("PGPORT")?.parse().ok()).unwrap_or(5432),
            user: user
                .ok_or_else(|| failure::usage("--primary names no user: write postgresql://USER@HOST"))?,
            database: config.get_dbname().unwrap_or("postgres").to_owned(),
            password: config.get_password().map(Secret::new),
            sslmode,
        };
        if target.password.is_none() {
            target.password = text("PGPASSWORD").map(Secret::new).or_else(|| target.of_pgpass());
        }
        Ok(target)
    }

    /// One that was recorded; the password comes from the environment or ~/.pgpass.
    pub(crate) fn recorded(host: &str, port: u16, user: &str, database: &str) -> Target {
        let mut target = Target {
            host: host.to_owned(),
            port,
            user: user.to_owned(),
            database: database.to_owned(),
            password: None,
            sslmode: "prefer",
        };
        let given = environment::variable("PGPASSWORD").and_then(|value| value.into_string().ok());
        target.password = given.map(Secret::new).or_else(|| target.of_pgpass());
        target
    }

    /// The same place as another role.
    pub(crate) fn with_role(&self, user: &str, password: Option<Secret>) -> Target {
        Target { user: user.to_owned(), password, ..self.clone() }
    }

    /// `host:port` for a router, which knows no Unix sockets.
    pub(crate) fn tcp_address(&self) -> String {
        match self.socket() {
            Some(_) => format!("127.0.0.1:{}", self.port),
            None => self.address(),
        }
    }

    /// `host:port`, for people.
    pub(crate) fn address(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// The directory of its Unix socket, when it is reached by one.
    pub(crate) fn socket(&self) -> Option<&Path> {
        self.host.starts_with('/').then(|| Path::new(&self.host))
    }

    /// Whether anybody answers there, be it with a refusal.
    pub(crate) async fn probe(&self) -> Answer {
        match connection::connect(&self.config()).await {
            Ok(_) => Answer::Answers,
            Err(error) if error.as_db_error().is_some() => Answer::Answers,
            // It asked for a password.
            Err(error) if connection::sentence(&error).contains("password missing") => Answer::Answers,
            Err(_) => Answer::Silent,
        }
    }

    fn config(&self) -> Config {
        let mut config = Config::new();
        match self.socket() {
            Some(directory) => config.host_path(directory),
            None => config.host(&self.host),
        };
        config.port(self.port).user(&self.user).dbname(&self.database);
        if let Some(password) = &self.password {
            config.password(password.expose());
        }
        config
    }

    /// Connects for statements, or says in one sentence why not.
    pub(crate) async fn connect(&self) -> anyhow::Result<Client> {
        connection::connect(&self.config()).await.map_err(|error| self.refused(&error))
    }

    fn refused(&self, error: &tokio_postgres::Error) -> anyhow::Error {
        let (address, user, why) = (self.address(), &self.user, connection::sentence(error));
        let code = error.as_db_error().map(|e| e.code().code().to_owned());
        let sentence = match code.as_deref() {
            Some("28P01") => format!(
                "the primary at {address} refuses the password of user {user}: give the right one in the DSN, in \
                 PGPASSWORD or in ~/.pgpass"
            ),
            Some("28000") if why.starts_with("Peer authentication failed") => format!(
                "the primary at {address} lets user {user} in by its socket only from the account of that name ({why}): go by \
                 TCP and with a password, --primary postgresql://{user}:PASSWORD@127.0.0.1:{}/{}",
                self.port, self.database
            ),
            Some("28000") => format!(
                "the primary at {address} does not let user {user} in ({why}): let its pg_hba.conf allow database \
                 {}, then SELECT pg_reload_conf() there",
                self.database
            ),
            Some("3D000") => {
                format!("{why} on the primary at {address}: name one that exists at the end of the DSN")
            }
            Some(_) => format!("the primary at {address} refuses the connection: {why}"),
            None if why.contains("password missing") => format!(
                "the primary at {address} asks for a password of user {user}, and there is none in the DSN, in PGPASSWORD \
                 or in ~/.pgpass"
            ),
            None => format!(
                "the primary at {address} can't be reached: {why}; is it running, does its listen_addresses include that \
                 address, and does no firewall stand between?"
            ),
        };
        failure::unreachable(sentence)
    }

    /// How `pg_basebackup` and the replica reach it (libpq's keywords). The password is in `passfile`.
    pub(crate) fn conninfo(&self, application_name: &str, passfile: Option<&Path>) -> String {
        let mut text = format!(
            "host={} port={} user={} application_name={} sslmode={} connect_timeout=10",
            keyword_value(&self.host),
            self.port,
            keyword_value(&self.user),
            keyword_value(application_name),
            self.sslmode
        );
        if let Some(path) = passfile {
            text.push_str(&format!(" passfile={}", keyword_value(&path.display().to_string())));
        }
        text
    }

    /// The line of a passfile that holds this password, for whatever database.
    pub(crate) fn passfile_line(&self) -> Option<String> {
        let password = String::from_utf8(self.password.as_ref()?.expose().to_vec()).ok()?;
        let escape = |text: &str| text.replace('\\', "\\\\").replace(':', "\\:");
        Some(format!("{}:{}:*:{}:{}\n", escape(&self.host), self.port, escape(&self.user), escape(&password)))
    }

    fn of_pgpass(&self) -> Option<Secret> {
        let path = environment::variable("PGPASSFILE")
            .map(PathBuf::from)
            .or_else(|| Some(PathBuf::from(environment::variable("HOME")?).join(".pgpass")))?;
        self.in_passfile(&path)
    }

    /// The password in a passfile, which must be for its owner only, as libpq wants it.
    pub(crate) fn in_passfile(&self, path: &Path) -> Option<Secret> {
        let mode = fs::metadata(path).ok()?.permissions().mode();
        if mode & 0o077 != 0 {
            return None;
        }
        let wanted = [&self.host, &self.port.to_string(), &self.database, &self.user].map(Clone::clone);
        password_in(&fs::read_to_string(path).ok()?, &wanted).map(Secret::new)
    }
}

fn default_host() -> String {
    let given = environment::variable("PGHOST").and_then(|value| value.into_string().ok());
    given.unwrap_or_else(|| if Path::new(SOCKETS).is_dir() { SOCKETS } else { "127.0.0.1" }.to_owned())
}

/// A value of libpq's keyword form, in quotes.
fn keyword_value(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// The first line whose host, port, database and user fit
/// (<https://www.postgresql.org/docs/current/libpq-pgpass.html>).
fn password_in(text: &str, wanted: &[String; 4]) -> Option<String> {
    text.lines().filter(|line| !line.starts_with('#')).find_map(|line| {
        let mut fields = fields(line);
        let password = fields.pop().filter(|_| fields.len() == 4)?;
        let fits = fields.iter().zip(wanted).all(|(field, value)| field == "*" || field == value);
        fits.then_some(password)
    })
}

/// Up to five fields with their escapes taken away; the last one takes the rest.
fn fields(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut escaped = false;
    for c in line.chars() {
        match c {
            '\\' if !escaped => {
                escaped = true;
                continue;
            }
            ':' if !escaped && fields.len() < 5 => fields.push(String::new()),
            other => fields.last_mut().expect("there is always one").push(other),
        }
        escaped = false;
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_a_connection_string_are_read_and_tls_is_refused() {
        let uri = Target::parse("postgresql://rep:a%40b@10.0.0.1:5434/app").expect("a DSN");
        assert_eq!((uri.address().as_str(), &*uri.user, &*uri.database), ("10.0.0.1:5434", "rep", "app"));
        assert_eq!(uri.password.expect("given").expose(), b"a@b");
        let pairs = Target::parse("host=/tmp/x user=rep password=p").expect("a DSN");
        assert_eq!((pairs.socket(), &*pairs.database), (Some(Path::new("/tmp/x")), "postgres"));
        assert_eq!(pairs.tcp_address(), "127.0.0.1:5432");
        assert!(Target::parse("host=h user=u sslmode=require").is_err());
        assert!(Target::parse("host=h,i user=u").is_err());
    }

    #[test]
    fn a_mistake_in_the_connection_string_never_shows_the_password() {
        let error = Target::parse("host=h user=u password=hidden nonsense=1").expect_err("a mistake");
        assert!(!format!("{error:#}").contains("hidden"));
    }

    #[test]
    fn a_passfile_is_read_as_libpq_reads_it() {
        let wanted = ["h".to_owned(), "5432".to_owned(), "app".to_owned(), "u".to_owned()];
        assert_eq!(
            password_in("# x\nother:*:*:*:no\nh:5432:*:u:a\\:b\\\\c\n", &wanted).as_deref(),
            Some("a:b\\c")
        );
        assert_eq!(password_in("h:5432:app:v:no\n", &wanted), None);
        assert_eq!(password_in("h:5432\n", &wanted), None);
    }

    #[test]
    fn what_is_written_to_a_passfile_is_read_back() {
        let target = Target::parse("host=a:b user=u password='p:\\\\q'").expect("a DSN");
        let line = target.passfile_line().expect("there is a password");
        let wanted = [target.host, "5432".to_owned(), "replication".to_owned(), "u".to_owned()];
        assert_eq!(password_in(&line, &wanted).as_deref(), Some("p:\\q"));
    }

    #[test]
    fn a_quote_does_not_end_a_value_of_a_conninfo() {
        let target = Target::recorded("/it's", 5432, "u", "postgres");
        assert!(target.conninfo("r1", None).starts_with("host='/it\\'s' port=5432 user='u'"));
    }
}
