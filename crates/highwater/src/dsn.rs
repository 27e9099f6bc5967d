//! Connection strings, ready to paste: `postgresql://user:password@host:port/database`.
//!
//! Only writes them; reading is the configuration's business. Escapes by RFC 3986 as libpq expects it
//! (<https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-URIS>).

use std::fmt;

/// Where to connect, and as whom.
#[derive(Clone, Debug)]
pub(crate) struct Dsn<'a> {
    /// Login role.
    pub(crate) user: &'a str,
    /// Its password.
    pub(crate) password: &'a str,
    /// Host name or address.
    pub(crate) host: &'a str,
    /// TCP port.
    pub(crate) port: u16,
    /// Database name.
    pub(crate) database: &'a str,
}

impl fmt::Display for Dsn<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("postgresql://")?;
        escaped(self.user, f)?;
        if !self.password.is_empty() {
            f.write_str(":")?;
            escaped(self.password, f)?;
        }
        if self.host.contains(':') {
            write!(f, "@[{}]:{}/", self.host, self.port)?;
        } else {
            write!(f, "@{}:{}/", self.host, self.port)?;
        }
        escaped(self.database, f)
    }
}

fn escaped(text: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            write!(f, "{}", char::from(byte))?;
        } else {
            write!(f, "%{byte:02X}")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_with_a_meaning_in_a_uri_are_escaped() {
        let dsn = Dsn { user: "a@b", password: "p:/?#", host: "127.0.0.1", port: 6432, database: "app_ro" };
        assert_eq!(dsn.to_string(), "postgresql://a%40b:p%3A%2F%3F%23@127.0.0.1:6432/app_ro");
    }

    #[test]
    fn an_ipv6_host_is_bracketed_and_an_empty_password_left_out() {
        let dsn = Dsn { user: "app", password: "", host: "::1", port: 6432, database: "app" };
        assert_eq!(dsn.to_string(), "postgresql://app@[::1]:6432/app");
    }
}
