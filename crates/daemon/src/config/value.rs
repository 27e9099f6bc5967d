//! Values as written: from a word of TOML or of the environment to something with a type.
//!
//! Only the type is checked here; what values mean together is `resolve`'s part.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use wire::auth::Secret;

use super::file::Table;
use super::keys::Kind;

/// Longest duration accepted: a year. More is a mistaken unit.
const DURATION_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

/// A value with its type.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Value {
    /// Of [`Kind::Text`].
    Text(String),
    /// Of [`Kind::Secret`].
    Secret(Secret),
    /// Of [`Kind::Flag`].
    Flag(bool),
    /// Of [`Kind::Count`] and [`Kind::Bytes`].
    Count(u64),
    /// Of [`Kind::Duration`].
    Duration(Duration),
    /// Of [`Kind::Choice`] and [`Kind::Choices`].
    Words(Vec<&'static str>),
    /// Of [`Kind::Address`] and [`Kind::Addresses`].
    Addresses(Vec<SocketAddr>),
    /// Of [`Kind::Names`] and [`Kind::Words`].
    Names(Vec<String>),
    /// Of [`Kind::Nodes`], [`Kind::One`] and [`Kind::Many`].
    Tables(Vec<Table>),
}

/// Why a word is not a value of its kind.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Refusal {
    /// What would be right.
    pub(super) message: String,
    /// The words to choose from, where it is a choice: the nearest will be offered.
    pub(super) choices: &'static [&'static str],
}

impl Refusal {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Refusal { message: message.into(), choices: &[] }
    }
}

impl Kind {
    /// What may be written, for people.
    pub(super) fn expected(self) -> String {
        match self {
            Kind::Text | Kind::Secret => "a string".into(),
            Kind::Flag => "true or false".into(),
            Kind::Count(min, max) => format!("a whole number from {min} to {max}"),
            Kind::Bytes(min, max) => format!("a size from {min} to {max} bytes, such as \"64MB\""),
            Kind::Duration => {
                "a duration such as \"10s\", \"500ms\" or \"2min\", or a number of seconds".into()
            }
            Kind::Choice(words) => format!("one of {}", quoted(words)),
            Kind::Choices(words) => format!("a list of {}", quoted(words)),
            Kind::Address => "\"address:port\" or \"off\"".into(),
            Kind::Addresses => "\"address:port\", or a list of them".into(),
            Kind::Names | Kind::Words => "a list of strings".into(),
            Kind::Nodes => "a list of \"host:port\"".into(),
            Kind::One(section) => format!("a table: {}", section.title()),
            Kind::Many(section) => format!("an array of tables: {}", section.title()),
        }
    }
}

/// Reads one word (or, in the environment, a list with commas) as a value of `kind`.
pub(super) fn from_text(kind: Kind, text: &str) -> Result<Value, Refusal> {
    let expected = || Refusal::new(format!("{text:?} is not {}", kind.expected()));
    match kind {
        Kind::Text => Ok(Value::Text(text.to_owned())),
        Kind::Secret => Ok(Value::Secret(Secret::new(text))),
        Kind::Flag => match text {
            "true" | "on" | "yes" | "1" => Ok(Value::Flag(true)),
            "false" | "off" | "no" | "0" => Ok(Value::Flag(false)),
            _ => Err(expected()),
        },
        Kind::Count(min, max) => {
            text.parse().ok().filter(|n| (min..=max).contains(n)).map(Value::Count).ok_or_else(expected)
        }
        Kind::Bytes(min, max) => {
            bytes(text).filter(|n| (min..=max).contains(n)).map(Value::Count).ok_or_else(expected)
        }
        Kind::Duration => duration(text).map(Value::Duration).ok_or_else(expected),
        Kind::Choice(words) => Ok(Value::Words(vec![word(words, text)?])),
        Kind::Choices(words) => {
            pieces(text).map(|piece| word(words, piece)).collect::<Result<_, _>>().map(Value::Words)
        }
        Kind::Address if text == "off" || text.is_empty() => Ok(Value::Addresses(Vec::new())),
        Kind::Address => match addresses(text).as_deref() {
            Some([one]) => Ok(Value::Addresses(vec![*one])),
            Some(_) | None => Err(expected()),
        },
        Kind::Addresses => {
            let mut all = Vec::new();
            for piece in pieces(text) {
                all.extend(
                    addresses(piece)
                        .ok_or_else(|| Refusal::new(format!("{piece:?} is not \"address:port\"")))?,
                );
            }
            if all.is_empty() { Err(expected()) } else { Ok(Value::Addresses(all)) }
        }
        Kind::Names => Ok(Value::Names(pieces(text).map(str::to_owned).collect())),
        // What may hold anything can't be taken apart at its commas.
        Kind::Words | Kind::Nodes | Kind::One(_) | Kind::Many(_) => Err(expected()),
    }
}

/// `host:port`, `[v6]:port` or `host`, as nodes are written.
pub(crate) fn host_port(text: &str, default_port: u16) -> Option<(String, u16)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']')?;
            host.parse::<Ipv6Addr>().ok()?;
            (host, after.strip_prefix(':').or_else(|| after.is_empty().then_some(""))?)
        }
        None if text.parse::<Ipv6Addr>().is_ok() => (text, ""),
        None => text.split_once(':').unwrap_or((text, "")),
    };
    let port = if port.is_empty() && !text.ends_with(':') { default_port } else { port.parse().ok()? };
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '%');
    let named = !host.is_empty() && host.len() <= 253 && host.chars().all(good);
    (named && port != 0).then(|| (host.to_owned(), port))
}

/// A duration in PostgreSQL's units; a bare number is seconds, as in PgBouncer.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = number_and_unit(text)?;
    let seconds = match unit {
        "" | "s" => number,
        "us" => number / 1e6,
        "ms" => number / 1e3,
        "min" => number * 60.0,
        "h" => number * 3600.0,
        "d" => number * 86_400.0,
        _ => return None,
    };
    Duration::try_from_secs_f64(seconds).ok().filter(|d| *d <= DURATION_MAX)
}

/// A size in PostgreSQL's units (powers of 1024).
fn bytes(text: &str) -> Option<u64> {
    let (number, unit) = number_and_unit(text)?;
    let factor = match unit {
        "" | "B" => 1.0,
        "kB" => 1024.0,
        "MB" => 1024.0 * 1024.0,
        "GB" => 1024.0 * 1024.0 * 1024.0,
        _ => return None,
    };
    let size = number * factor;
    // A float holds whole numbers exactly up to 2^53; no limit of ours is near.
    (size.fract() == 0.0 && size < 9e15).then_some(size as u64)
}

/// Splits `12.5 ms`. Only plain decimal numbers: no sign, no exponent.
fn number_and_unit(text: &str) -> Option<(f64, &str)> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let number: f64 = text.get(..end)?.parse().ok()?;
    Some((number, text.get(end..)?.trim_start()))
}

fn word(words: &'static [&'static str], text: &str) -> Result<&'static str, Refusal> {
    if let Some(word) = words.iter().find(|word| **word == text) {
        return Ok(word);
    }
    let message = match text {
        "statement" if words.contains(&"transaction") => {
            "statement pooling isn't there yet: use \"transaction\" or \"session\"".to_owned()
        }
        "md5" | "plain" | "any" | "cert" | "hba" | "pam"
            if words.contains(&"trust") && !words.contains(&"md5") =>
        {
            format!("clients can't log in with {text:?}: use \"scram-sha-256\"")
        }
        _ => format!("{text:?} is not one of {}", quoted(words)),
    };
    Err(Refusal { message, choices: words })
}

/// `address:port`; `*` is both families, `localhost` both loopbacks.
fn addresses(text: &str) -> Option<Vec<SocketAddr>> {
    let (host, port) = text.rsplit_once(':')?;
    let port = port.parse().ok()?;
    let v4 = |ip: Ipv4Addr| SocketAddr::new(IpAddr::V4(ip), port);
    let v6 = |ip: Ipv6Addr| SocketAddr::new(IpAddr::V6(ip), port);
    match host {
        "*" => Some(vec![v4(Ipv4Addr::UNSPECIFIED), v6(Ipv6Addr::UNSPECIFIED)]),
        "localhost" => Some(vec![v4(Ipv4Addr::LOCALHOST)]),
        _ => text.parse().ok().map(|address| vec![address]),
    }
}

fn pieces(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|piece| !piece.is_empty())
}

fn quoted(words: &[&str]) -> String {
    words.iter().map(|word| format!("{word:?}")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_postgresqls_units_and_bare_numbers_are_seconds() {
        let check = |text, millis: Option<u64>| {
            assert_eq!(duration(text), millis.map(Duration::from_millis), "{text}");
        };
        check("10s", Some(10_000));
        check("500ms", Some(500));
        check("2min", Some(120_000));
        check("1.5", Some(1_500));
        check(" 3 h ", Some(10_800_000));
        check("0", Some(0));
        check("365d", Some(365 * 86_400_000));
        for bad in ["", "s", "-1", "1e3", "10 m", "10sec", "366d", "1..2", "99999999999999999999999d", "∞"]
        {
            check(bad, None);
        }
    }

    #[test]
    fn nodes_are_host_and_port() {
        let check = |text, expected: Option<(&str, u16)>| {
            assert_eq!(host_port(text, 5432), expected.map(|(h, p)| (h.to_owned(), p)), "{text}");
        };
        check("10.0.0.1:5433", Some(("10.0.0.1", 5433)));
        check("db-1.internal", Some(("db-1.internal", 5432)));
        check("[::1]:5433", Some(("::1", 5433)));
        check("::1", Some(("::1", 5432)));
        for bad in ["", ":5432", "db:", "db:0", "db:99999", "/tmp:5432", "[::1", "[db]:1", "a b:1", "[::1]x"]
        {
            check(bad, None);
        }
    }

    #[test]
    fn sizes_are_powers_of_1024() {
        assert_eq!(bytes("64kB"), Some(65_536));
        assert_eq!(bytes("1.5kB"), Some(1_536));
        assert_eq!(bytes("7"), Some(7));
        for bad in ["1.5", "64KB", "-1", "9999999999GB"] {
            assert_eq!(bytes(bad), None, "{bad}");
        }
    }
}
