//! The startup parameter `options`: settings written as command-line switches.
//!
//! Knows `-c name=value`, `-cname=value` and `--name=value`, split at white space with backslash as escape, like
//! `pg_split_opts` in `src/backend/utils/init/postinit.c`. The other switches of `postgres` are refused. Whether a setting exists is
//! not asked here.

use super::{OPTIONS_MAX, StartupError};

/// Splits the `options` parameter into settings, in order. Takes time linear in the text, and at most [`OPTIONS_MAX`] settings.
///
/// # Errors
/// [`StartupError::UnsupportedOption`], [`StartupError::IncompleteOption`] or [`StartupError::TooManyOptions`].
pub fn parse_options(options: &str) -> Result<Vec<(String, String)>, StartupError> {
    let mut settings = Vec::new();
    let mut chars = options.chars();
    while let Some(word) = next_word(&mut chars) {
        let setting = if let Some(setting) = word.strip_prefix("--") {
            parse_setting(setting)?
        } else if word == "-c" {
            let value = next_word(&mut chars).ok_or(StartupError::IncompleteOption)?;
            parse_setting(&value)?
        } else if let Some(setting) = word.strip_prefix("-c") {
            parse_setting(setting)?
        } else {
            return Err(StartupError::UnsupportedOption);
        };
        if settings.len() >= OPTIONS_MAX {
            return Err(StartupError::TooManyOptions);
        }
        settings.push(setting);
    }
    Ok(settings)
}

/// Takes the next word off `chars`: up to white space that no backslash protects.
fn next_word(chars: &mut std::str::Chars<'_>) -> Option<String> {
    let rest = chars.as_str().trim_start_matches(is_space);
    *chars = rest.chars();
    if rest.is_empty() {
        return None;
    }
    let mut word = String::new();
    while let Some(c) = chars.next() {
        match c {
            '\\' => word.extend(chars.next()),
            c if is_space(c) => break,
            c => word.push(c),
        }
    }
    Some(word)
}

/// C's `isspace` in the C locale.
fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c')
}

/// `name=value`. Dashes in the name stand for underscores, as in PostgreSQL's `ParseLongOption`.
fn parse_setting(setting: &str) -> Result<(String, String), StartupError> {
    match setting.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.replace('-', "_"), value.to_owned())),
        _ => Err(StartupError::IncompleteOption),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(options: &str, expected: &[(&str, &str)]) {
        let found = parse_options(options).unwrap();
        let found: Vec<_> = found.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(found, expected, "{options:?}");
    }

    #[test]
    fn the_three_spellings_give_the_same_setting() {
        check("-c geqo=off", &[("geqo", "off")]);
        check("-cgeqo=off", &[("geqo", "off")]);
        check("--geqo=off", &[("geqo", "off")]);
        check("  -c\tgeqo=off  --statement-timeout=5s\n", &[("geqo", "off"), ("statement_timeout", "5s")]);
        check("-c highwater.consistency=bounded", &[("highwater.consistency", "bounded")]);
        check("", &[]);
        check("   ", &[]);
    }

    #[test]
    fn a_backslash_protects_white_space_and_itself() {
        check(r"-c search_path=a,\ b -c x=\\", &[("search_path", "a, b"), ("x", r"\")]);
        check(r"-c x=a\", &[("x", "a")]);
        check(r"-c x=a=b", &[("x", "a=b")]);
        check(r"-c x=", &[("x", "")]);
    }

    #[test]
    fn cve_2026_107349_an_empty_name_is_an_error_and_not_a_loop() {
        for options in ["-c=", "-c =", "--=", "-c =x", "--=x", "-c", "-c ", "--", "-cx", "--x", r"-c \ "] {
            assert_eq!(parse_options(options), Err(StartupError::IncompleteOption), "{options:?}");
        }
    }

    #[test]
    fn other_switches_are_refused() {
        for options in ["-d 5", "geqo=off", "-", "-C x=y", r"\ -c x=y"] {
            assert_eq!(parse_options(options), Err(StartupError::UnsupportedOption), "{options:?}");
        }
    }

    #[test]
    fn settings_are_counted() {
        let setting = "-c x=y ";
        assert_eq!(parse_options(&setting.repeat(OPTIONS_MAX)).unwrap().len(), OPTIONS_MAX);
        assert_eq!(parse_options(&setting.repeat(OPTIONS_MAX + 1)), Err(StartupError::TooManyOptions));
    }
}
