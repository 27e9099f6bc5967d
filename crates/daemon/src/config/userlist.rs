//! PgBouncer's `userlist.txt`: lines of `"user" "secret"`.
//!
//! The form is that of PgBouncer's `doc/config.md`, "Authentication file format": two quoted words, a quote inside
//! one is doubled, anything behind them and lines that begin with `;` are ignored. MD5 hashes are refused, because
//! nobody can log in with SCRAM against one.

use std::sync::Arc;

use wire::auth::StoredSecret;

use super::mistake::{Mistakes, Place};
use super::settings::{UserSecret, UserSettings};

/// Reads the file's text.
pub(super) fn read(file: &Arc<str>, text: &str, mistakes: &mut Mistakes) -> Vec<UserSettings> {
    let mut users = Vec::new();
    for (i, line) in text.lines().enumerate() {
        let place = Place::File { file: file.clone(), line: i + 1, column: 1 };
        let line = line.trim();
        if line.is_empty() || line.starts_with(';') {
            continue;
        }
        let Some((name, secret)) = entry(line) else {
            mistakes.add(&place, "expected a line like \"user\" \"password\"");
            continue;
        };
        let secret = match StoredSecret::parse(&secret) {
            Ok(StoredSecret::Scram(verifier)) => Some(UserSecret::Verifier(verifier)),
            // PgBouncer's way to say that there is none.
            Ok(StoredSecret::Plain(secret)) if secret.expose().is_empty() => None,
            Ok(StoredSecret::Plain(secret)) => Some(UserSecret::Plain(secret)),
            Ok(StoredSecret::Md5(_)) => {
                mistakes.add(
                    &place,
                    format!(
                        "user {name:?} has an MD5 hash, which SCRAM-SHA-256 can't use: write the password or a SCRAM verifier"
                    ),
                );
                continue;
            }
            Err(error) => {
                mistakes.add(&place, format!("user {name:?}: {error}"));
                continue;
            }
        };
        users.push(UserSettings { name, secret });
    }
    users
}

fn entry(line: &str) -> Option<(String, String)> {
    let (name, rest) = word(line)?;
    let (secret, _) = word(rest.trim_start())?;
    (!name.is_empty()).then_some((name, secret))
}

/// A quoted word and what stands behind it.
fn word(text: &str) -> Option<(String, &str)> {
    let mut word = String::new();
    let mut chars = text.strip_prefix('"')?.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        if c != '"' {
            word.push(c);
        } else if chars.next_if(|(_, next)| *next == '"').is_some() {
            word.push('"');
        } else {
            // One for the opening quote, one for the closing one.
            return Some((word, text.get(at + 2..)?));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pgbouncers_file_is_read_as_pgbouncer_reads_it() {
        let mut mistakes = Mistakes::default();
        let text = "; comment\n\"app\" \"secret\" ignored\n\n\"o\"\"brien\" \"x\"\"y\"\n\"nopass\" \"\"\n";
        let users = read(&"userlist.txt".into(), text, &mut mistakes);
        assert!(mistakes.is_empty(), "{mistakes}");
        let names: Vec<_> = users.iter().map(|u| u.name.as_str()).collect();
        assert_eq!(names, ["app", "o\"brien", "nopass"]);
        assert!(matches!(&users[1].secret, Some(UserSecret::Plain(s)) if s.equals(b"x\"y")));
        assert!(users[2].secret.is_none());
    }

    #[test]
    fn what_scram_can_not_use_is_refused_with_its_line() {
        let mut mistakes = Mistakes::default();
        let md5 =
            "\"a\" \"md53175bce1d3201d16594cebf9d7eb3f9d\"\nb c\n\"d\" \"SCRAM-SHA-256$x\"\n\"\" \"x\"\n";
        assert!(read(&"u".into(), md5, &mut mistakes).is_empty());
        let lines: Vec<_> = mistakes.iter().map(|m| m.place.to_string()).collect();
        assert_eq!(lines, ["u:1:1", "u:2:1", "u:3:1", "u:4:1"]);
    }
}
