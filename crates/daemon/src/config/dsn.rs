//! Connection strings as libpq reads them: `postgres://…` and `host=… user=…`, with several hosts.
//!
//! Only what says where a node is and who logs in is kept. Parameters of libpq that ask for something the router
//! can't give (TLS to the node, Unix sockets) are refused; those that only concern a client are ignored.

use wire::auth::Secret;

use super::value::host_port;

/// What a connection string says.
#[derive(Clone, PartialEq, Debug, Default)]
pub(super) struct Dsn {
    /// Hosts with their ports, at least one.
    pub(super) hosts: Vec<(String, u16)>,
    /// The user.
    pub(super) user: Option<String>,
    /// The password.
    pub(super) password: Option<Secret>,
    /// The database.
    pub(super) database: Option<String>,
}

/// libpq's parameters that don't matter here.
const IGNORED: [&str; 14] = [
    "application_name",
    "fallback_application_name",
    "client_encoding",
    "connect_timeout",
    "options",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_count",
    "tcp_user_timeout",
    "target_session_attrs",
    "load_balance_hosts",
    "gssencmode",
    "channel_binding",
];

/// Splits a list of connection strings at its commas; commas inside one (several hosts) don't split.
pub(super) fn split(list: &str) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for piece in list.split(',') {
        match all.last_mut() {
            Some(last) if !begins_dsn(piece) => {
                last.push(',');
                last.push_str(piece);
            }
            _ => all.push(piece.to_owned()),
        }
    }
    all.into_iter().map(|dsn| dsn.trim().to_owned()).filter(|dsn| !dsn.is_empty()).collect()
}

fn begins_dsn(piece: &str) -> bool {
    let piece = piece.trim_start();
    let keyword = piece.split('=').next().unwrap_or("").trim_end();
    is_uri(piece)
        || (piece.contains('=')
            && !keyword.is_empty()
            && keyword.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'))
}

fn is_uri(text: &str) -> bool {
    text.starts_with("postgres://") || text.starts_with("postgresql://")
}

/// Reads one connection string. The error never repeats the text: it may hold a password.
pub(super) fn parse(text: &str) -> Result<Dsn, String> {
    let parameters = if is_uri(text) { uri(text)? } else { keywords(text)? };
    let mut dsn = Dsn::default();
    let (mut hosts, mut ports) = (Vec::new(), Vec::new());
    for (name, value) in parameters {
        match name.as_str() {
            "host" | "hostaddr" => hosts = value.split(',').map(str::to_owned).collect(),
            "port" => ports = value.split(',').map(str::to_owned).collect(),
            "user" => dsn.user = Some(value).filter(|v| !v.is_empty()),
            "password" => dsn.password = Some(Secret::new(value)).filter(|v| !v.expose().is_empty()),
            "dbname" => dsn.database = Some(value).filter(|v| !v.is_empty()),
            "sslmode" if matches!(value.as_str(), "disable" | "allow" | "prefer") => {}
            "sslmode" => return Err("sslmode asks for TLS to the node, which isn't there yet".into()),
            name if IGNORED.contains(&name) => {}
            name => return Err(format!("{name:?} is not a parameter known in connection strings")),
        }
    }
    dsn.hosts = join(hosts, &ports)?;
    Ok(dsn)
}

fn join(mut hosts: Vec<String>, ports: &[String]) -> Result<Vec<(String, u16)>, String> {
    if hosts.is_empty() {
        hosts.push(String::new());
    }
    if ports.len() > 1 && ports.len() != hosts.len() {
        return Err(format!("{} hosts but {} ports", hosts.len(), ports.len()));
    }
    let port_of = |i: usize| ports.get(i).or(ports.first()).map_or("", String::as_str);
    hosts.iter().enumerate().map(|(i, host)| one(host, port_of(i))).collect()
}

fn one(host: &str, port: &str) -> Result<(String, u16), String> {
    if host.starts_with(['/', '@']) {
        return Err(format!(
            "host {host:?} is a Unix socket; nodes are reached by TCP only: name a host and port"
        ));
    }
    let host = if host.is_empty() { "localhost" } else { host };
    let port = match port {
        "" => 5432,
        port => port.parse().map_err(|_| format!("port {port:?} is not a number from 1 to 65535"))?,
    };
    let text = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    host_port(&text, 5432).ok_or_else(|| format!("{host:?} with port {port} is not a host name or address"))
}

type Parameters = Vec<(String, String)>;

/// `postgres://user:password@host:port,host:port/dbname?name=value`
fn uri(text: &str) -> Result<Parameters, String> {
    let rest = text.split_once("://").map_or("", |(_, rest)| rest);
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (userinfo, places) = authority.rsplit_once('@').unwrap_or(("", authority));
    let mut all = Parameters::new();
    let mut add = |name: &str, value: &str| -> Result<(), String> {
        all.push((name.to_owned(), decode(value).ok_or_else(|| format!("{name} has a bad %-sequence"))?));
        Ok(())
    };
    let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
    for (name, value) in [("user", user), ("password", password), ("dbname", path)] {
        if !value.is_empty() {
            add(name, value)?;
        }
    }
    let (mut hosts, mut ports) = (Vec::new(), Vec::new());
    for place in places.split(',') {
        let colon = match place.rfind(']') {
            Some(bracket) => place.get(bracket..).and_then(|s| s.find(':')).map(|at| bracket + at),
            None => place.rfind(':'),
        };
        let (host, port) = colon.map_or((place, ""), |at| (&place[..at], &place[at + 1..]));
        hosts.push(host.trim_start_matches('[').trim_end_matches(']'));
        ports.push(port);
    }
    add("host", &hosts.join(","))?;
    if ports.iter().any(|port| !port.is_empty()) {
        add("port", &ports.join(","))?;
    }
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').ok_or("a parameter after ? has no value")?;
        add(name, value)?;
    }
    Ok(all)
}

fn decode(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let digit = |b: Option<u8>| (b? as char).to_digit(16);
        let value = digit(bytes.next())? * 16 + digit(bytes.next())?;
        out.push(u8::try_from(value).ok().filter(|v| *v != 0)?);
    }
    String::from_utf8(out).ok()
}

/// `host=… user='…'`, with `\` as escape, as libpq's `conninfo_parse`.
fn keywords(text: &str) -> Result<Parameters, String> {
    let mut all = Parameters::new();
    let mut chars = text.chars().peekable();
    loop {
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
        if chars.peek().is_none() {
            break;
        }
        let mut name = String::new();
        while let Some(c) = chars.next_if(|c| *c != '=' && !c.is_whitespace()) {
            name.push(c);
        }
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
        if chars.next() != Some('=') {
            return Err(
                "not a connection string: write postgres://user@host:port/dbname or host=… user=…".into()
            );
        }
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
        all.push((name, keyword_value(&mut chars)?));
    }
    if all.is_empty() {
        return Err("an empty connection string".into());
    }
    Ok(all)
}

fn keyword_value(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<String, String> {
    let quoted = chars.next_if_eq(&'\'').is_some();
    let mut value = String::new();
    loop {
        match chars.peek() {
            None if quoted => return Err("a quoted value has no closing quote".into()),
            None => return Ok(value),
            Some('\'') if quoted => {
                chars.next();
                return Ok(value);
            }
            Some(c) if !quoted && c.is_whitespace() => return Ok(value),
            Some('\\') => {
                chars.next();
                value.extend(chars.next());
            }
            Some(_) => value.extend(chars.next()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(
        text: &str,
        hosts: &[(&str, u16)],
        user: Option<&str>,
        password: Option<&str>,
        database: Option<&str>,
    ) {
        let dsn = parse(text).unwrap_or_else(|e| panic!("{text}: {e}"));
        let expected: Vec<_> = hosts.iter().map(|(h, p)| ((*h).to_owned(), *p)).collect();
        assert_eq!(dsn.hosts, expected, "{text}");
        assert_eq!(dsn.user.as_deref(), user, "{text}");
        assert_eq!(dsn.password, password.map(Secret::new), "{text}");
        assert_eq!(dsn.database.as_deref(), database, "{text}");
    }

    #[test]
    fn both_forms_of_libpq_are_read() {
        check("postgres://u:p%40ss@db:5433/app", &[("db", 5433)], Some("u"), Some("p@ss"), Some("app"));
        check("postgresql://db", &[("db", 5432)], None, None, None);
        check(
            "postgres://u@[::1]:5433,b:1/x?sslmode=prefer",
            &[("::1", 5433), ("b", 1)],
            Some("u"),
            None,
            Some("x"),
        );
        check("postgres://", &[("localhost", 5432)], None, None, None);
        check("postgres:///x?host=a,b&port=1,2", &[("a", 1), ("b", 2)], None, None, Some("x"));
        check("host=a port=5433 user=u dbname='my db'", &[("a", 5433)], Some("u"), None, Some("my db"));
        check("host=a,b password='it\\'s' ", &[("a", 5432), ("b", 5432)], None, Some("it's"), None);
        check("host = a user = u", &[("a", 5432)], Some("u"), None, None);
    }

    #[test]
    fn what_can_not_be_meant_is_refused() {
        for bad in [
            "",
            "db",
            "host",
            "host='a",
            "postgres://a:99999",
            "host=/tmp",
            "postgres://u@db/?sslmode=require",
            "host=a nosuch=1",
            "postgres://u:%zz@db",
            "postgres://db/?x",
            "host=a,b port=1,2,3",
            "host='a b'",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_error_never_repeats_the_password() {
        for bad in
            ["postgres://u:hunter2@/x?sslmode=require", "postgres://u:hunter2%@db", "password=hunter2 port=x"]
        {
            assert!(!parse(bad).unwrap_err().contains("hunter2"), "{bad}");
        }
    }

    #[test]
    fn a_list_is_split_between_strings_not_inside_them() {
        assert_eq!(
            split("postgres://a:1,b:2/x?y=z,postgres://c"),
            ["postgres://a:1,b:2/x?y=z", "postgres://c"]
        );
        assert_eq!(split("host=a,b user=u,host=c"), ["host=a,b user=u", "host=c"]);
        assert_eq!(split(""), Vec::<String>::new());
    }
}
