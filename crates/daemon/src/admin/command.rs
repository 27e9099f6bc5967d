//! What an operator typed → a command.
//!
//! Words are case-insensitive, a semicolon may follow, comments are skipped. One command at a time. It knows which
//! commands there are, not what they do.

use std::fmt;

use crate::config::nearest;

/// What the console can do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Command {
    /// Nothing was asked.
    Empty,
    /// `SHOW …`
    Show(Subject),
    /// `SHOW` of a PostgreSQL setting that drivers ask for, with the answer.
    Setting(&'static str, &'static str),
    /// `SELECT 1`: a driver's or balancer's way to ask whether anybody is there.
    SelectOne,
    /// Something drivers send by habit and that means nothing here; the tag of its answer.
    Ignored(&'static str),
    /// `RELOAD`
    Reload,
    /// `DRAIN node`
    Drain(String),
    /// `UNDRAIN node`
    Undrain(String),
    /// `SHUTDOWN`
    Shutdown,
}

macro_rules! subjects {
    ($($variant:ident = $name:literal, $doc:literal;)+) => {
        /// What can be shown.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub(super) enum Subject { $(#[doc = $doc] $variant,)+ }

        impl Subject {
            /// All of them, in the order of the help.
            pub(super) const ALL: &'static [Subject] = &[$(Subject::$variant),+];

            /// The word behind `SHOW`.
            pub(super) const fn name(self) -> &'static str {
                match self { $(Subject::$variant => $name),+ }
            }

            /// What it shows.
            pub(super) const fn meaning(self) -> &'static str {
                match self { $(Subject::$variant => $doc),+ }
            }
        }
    };
}

subjects! {
    Nodes = "NODES", "Nodes with their roles, health and positions.";
    Replication = "REPLICATION", "Streams of WAL, and how far each is behind.";
    Slots = "SLOTS", "Replication slots, and the WAL they retain.";
    Events = "EVENTS", "What has happened to the nodes, the newest last.";
    Freshness = "FRESHNESS", "What each node is proved to show.";
    Routes = "ROUTES", "Requests by the rule that chose their node.";
    Pools = "POOLS", "Clients and backends by database and user.";
    NodePools = "NODE_POOLS", "The same by database, user and node.";
    Clients = "CLIENTS", "Clients logged in.";
    Servers = "SERVERS", "Connections to nodes.";
    Databases = "DATABASES", "Databases clients can name.";
    Stats = "STATS", "Totals since the start, and averages.";
    StatsTotals = "STATS_TOTALS", "Totals since the start.";
    StatsAverages = "STATS_AVERAGES", "Averages over the last minute or two.";
    Lists = "LISTS", "How many there are of what.";
    Config = "CONFIG", "Settings in force.";
    Users = "USERS", "Users that may log in.";
    State = "STATE", "Whether clients are served.";
    Version = "VERSION", "Release of this router.";
    Help = "HELP", "What can be typed here.";
}

/// The other commands, for the help.
pub(super) const ACTIONS: [(&str, &str); 5] = [
    ("RELOAD", "Reads the configuration again; a bad one changes nothing."),
    ("DRAIN node", "Gives the node no new work."),
    ("UNDRAIN node", "Gives the node work again."),
    ("SHUTDOWN", "Finishes what is running, and ends the router."),
    ("SELECT 1", "Answers 1."),
];

/// Answers to questions that drivers ask before they do anything else, as PgBouncer's console gives them.
const SETTINGS: [(&str, &str); 6] = [
    ("client_encoding", "UTF8"),
    ("default_transaction_isolation", "read committed"),
    ("standard_conforming_strings", "on"),
    ("datestyle", "ISO"),
    ("timezone", "GMT"),
    ("extra_float_digits", "2"),
];

/// Commands that drivers send by habit.
const IGNORED: [(&str, &str); 6] = [
    ("set", "SET"),
    ("begin", "BEGIN"),
    ("commit", "COMMIT"),
    ("rollback", "ROLLBACK"),
    ("discard", "DISCARD"),
    ("deallocate", "DEALLOCATE"),
];

const VERBS: [&str; 6] = ["SHOW", "RELOAD", "DRAIN", "UNDRAIN", "SHUTDOWN", "SELECT"];

/// Why a text is no command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum CommandError {
    /// No command begins with this word.
    Unknown { word: String, nearest: Option<&'static str> },
    /// There is nothing of this name to show.
    UnknownSubject { word: String, nearest: Option<&'static str> },
    /// The command needs the name of a node.
    NodeMissing(&'static str),
    /// There is more behind the end of the command.
    TooMuch(String),
    /// A quote or comment doesn't end.
    Unfinished,
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CommandError::Unknown { word, .. } => write!(f, "there is no command {word:?} in this console"),
            CommandError::UnknownSubject { word, .. } => {
                write!(f, "there is nothing called {word:?} to show")
            }
            CommandError::NodeMissing(verb) => write!(f, "{verb} needs the name of one node"),
            CommandError::TooMuch(word) => write!(f, "{word:?} was not expected: one command at a time"),
            CommandError::Unfinished => write!(f, "a quote or a comment does not end"),
        }
    }
}

impl CommandError {
    /// What to type instead.
    pub(super) fn hint(&self) -> String {
        let near =
            |nearest: &Option<&str>| nearest.map_or(String::new(), |name| format!("Did you mean {name}? "));
        let subjects = || Subject::ALL.iter().map(|subject| subject.name()).collect::<Vec<_>>().join(", ");
        match self {
            CommandError::Unknown { nearest, .. } => {
                format!(
                    "{}Valid are SHOW, RELOAD, DRAIN node, UNDRAIN node and SHUTDOWN; SHOW HELP explains them.",
                    near(nearest)
                )
            }
            CommandError::UnknownSubject { nearest, .. } => {
                format!("{}Valid are {}.", near(nearest), subjects())
            }
            CommandError::NodeMissing(_) => "SHOW NODES lists their names.".to_owned(),
            CommandError::TooMuch(_) | CommandError::Unfinished => {
                "SHOW HELP explains what can be typed.".to_owned()
            }
        }
    }
}

/// Reads one command.
pub(super) fn parse(text: &str) -> Result<Command, CommandError> {
    let words = words(text)?;
    let Some((verb, rest)) = words.split_first() else { return Ok(Command::Empty) };
    let verb = verb.to_ascii_lowercase();
    if let Some((_, tag)) = IGNORED.iter().find(|(word, _)| *word == verb) {
        return Ok(Command::Ignored(tag));
    }
    match verb.as_str() {
        "show" => show(rest),
        "reload" => alone(rest, Command::Reload),
        "shutdown" => alone(rest, Command::Shutdown),
        "drain" => one_node("DRAIN", rest).map(Command::Drain),
        "undrain" => one_node("UNDRAIN", rest).map(Command::Undrain),
        "select" if rest == ["1"] => Ok(Command::SelectOne),
        _ => Err(CommandError::Unknown { nearest: nearest(&verb, VERBS), word: words[0].clone() }),
    }
}

fn show(rest: &[String]) -> Result<Command, CommandError> {
    let Some((word, rest)) = rest.split_first() else { return Ok(Command::Show(Subject::Help)) };
    if let Some(&(name, value)) = SETTINGS.iter().find(|(name, _)| word.eq_ignore_ascii_case(name)) {
        return alone(rest, Command::Setting(name, value));
    }
    let found = Subject::ALL.iter().find(|subject| word.eq_ignore_ascii_case(subject.name()));
    let Some(&subject) = found else {
        let names = Subject::ALL.iter().map(|subject| subject.name());
        return Err(CommandError::UnknownSubject { nearest: nearest(word, names), word: word.clone() });
    };
    alone(rest, Command::Show(subject))
}

fn alone(rest: &[String], command: Command) -> Result<Command, CommandError> {
    match rest.first() {
        None => Ok(command),
        Some(word) => Err(CommandError::TooMuch(word.clone())),
    }
}

fn one_node(verb: &'static str, rest: &[String]) -> Result<String, CommandError> {
    match rest {
        [] => Err(CommandError::NodeMissing(verb)),
        [node] => Ok(node.clone()),
        [_, more, ..] => Err(CommandError::TooMuch(more.clone())),
    }
}

/// Words and quoted names, without comments and without the semicolons at the end.
fn words(text: &str) -> Result<Vec<String>, CommandError> {
    let mut words = Vec::new();
    let mut rest = text.trim_end_matches(|c: char| c.is_whitespace() || c == ';' || c == '\0');
    loop {
        rest = rest.trim_start();
        let Some(first) = rest.chars().next() else { return Ok(words) };
        if let Some(comment) = rest.strip_prefix("--") {
            rest = comment.split_once('\n').map_or("", |(_, rest)| rest);
        } else if let Some(comment) = rest.strip_prefix("/*") {
            rest = comment.split_once("*/").ok_or(CommandError::Unfinished)?.1;
        } else if first == '"' || first == '\'' {
            let (word, behind) = rest[1..].split_once(first).ok_or(CommandError::Unfinished)?;
            words.push(word.to_owned());
            rest = behind;
        } else {
            let end = rest.find(|c: char| c.is_whitespace() || c == ';').unwrap_or(rest.len()).max(1);
            words.push(rest[..end].to_owned());
            rest = &rest[end..];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_blanks_comments_and_semicolons_do_not_matter() {
        for text in
            ["SHOW POOLS", " show  pools ; ", "Show /* all */ Pools;;", "-- mine\nSHOW POOLS -- yours"]
        {
            assert_eq!(parse(text), Ok(Command::Show(Subject::Pools)), "{text:?}");
        }
        for text in ["", ";", " -- nothing\n", "/* nothing */ ;"] {
            assert_eq!(parse(text), Ok(Command::Empty), "{text:?}");
        }
    }

    #[test]
    fn every_subject_can_be_shown_and_show_alone_helps() {
        for &subject in Subject::ALL {
            assert_eq!(parse(&format!("SHOW {}", subject.name())), Ok(Command::Show(subject)));
        }
        assert_eq!(parse("SHOW;"), Ok(Command::Show(Subject::Help)));
    }

    #[test]
    fn a_nodes_name_may_be_quoted_and_keeps_its_case() {
        assert_eq!(parse("DRAIN 10.0.0.2:5432"), Ok(Command::Drain("10.0.0.2:5432".to_owned())));
        assert_eq!(parse("undrain \"Node two\";"), Ok(Command::Undrain("Node two".to_owned())));
        assert_eq!(parse("DRAIN"), Err(CommandError::NodeMissing("DRAIN")));
        assert_eq!(parse("DRAIN a b"), Err(CommandError::TooMuch("b".to_owned())));
    }

    #[test]
    fn a_mistyped_word_is_answered_with_the_nearest_and_with_all() {
        let error = parse("SHOW POLS").unwrap_err();
        assert!(error.hint().starts_with("Did you mean POOLS? Valid are NODES, "), "{}", error.hint());
        let error = parse("RELAOD").unwrap_err();
        assert!(error.hint().contains("Did you mean RELOAD?"), "{}", error.hint());
        assert!(parse("DROP TABLE x").unwrap_err().to_string().contains("\"DROP\""));
    }

    #[test]
    fn what_drivers_send_by_habit_does_no_harm() {
        assert_eq!(parse("SET extra_float_digits = 3"), Ok(Command::Ignored("SET")));
        assert_eq!(parse("BEGIN"), Ok(Command::Ignored("BEGIN")));
        assert_eq!(parse("select 1"), Ok(Command::SelectOne));
        assert_eq!(parse("show client_encoding"), Ok(Command::Setting("client_encoding", "UTF8")));
    }

    #[test]
    fn one_command_at_a_time() {
        assert_eq!(parse("SHOW POOLS; RELOAD"), Err(CommandError::TooMuch(";".to_owned())));
        assert_eq!(parse("RELOAD 'x"), Err(CommandError::Unfinished));
    }
}
