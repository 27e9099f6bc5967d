//! `highwater explain`: where each statement of a text would go, and why.
//!
//! Asks the same classifier and the same `decide` as the router, with a view in which every node is well and the replica
//! is fresh, each statement alone: what an earlier statement leaves behind in the session is not carried on.

mod live;
mod script;

use std::fs;
use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use daemon::world::Reads;
use engine::freshness::Level;
use engine::freshness::watermark::Watermark;
use engine::route::{self, Balance, Request, RouteMode, Target, TransactionKind};
use engine::session::PINNING;
use engine::time::Instant;
use engine::view::{Health, NodeId, Role, View};
use script::{Piece, Script};
use serde::Serialize;
use sql::{Catalogue, Detail, Effects, Environment, SearchPath, Verdict};

use crate::settings::Flags;
use crate::{args, failure, output};

/// What is said about one statement. The order of the fields is that of the JSON.
#[derive(Debug, Serialize)]
struct Explanation {
    statement: String,
    class: &'static str,
    target: &'static str,
    reason: &'static str,
    effects: Vec<&'static str>,
    /// The classifier's rule behind the class.
    rule: &'static str,
    /// The freshness a replica must be proved to have; none when the primary is asked.
    freshness: Option<&'static str>,
}

/// What the words of the statements mean, and what is promised to who sends them.
struct Setting {
    catalogue: Catalogue,
    search_path: SearchPath,
    reads: Reads,
}

/// Explains what the arguments name.
pub(crate) fn explain(asked: &args::Explain) -> anyhow::Result<()> {
    let text = text_of(asked)?;
    let setting = setting_of(asked)?;
    let mut explanations = Vec::new();
    let mut script = Script::new(&text);
    while let Some(piece) = script.next() {
        match piece {
            Piece::Command(line) => output::note(format!("left out, for psql itself: {line}")),
            Piece::Statement { text: statement, commented } => {
                let verdict = setting.judge(commented);
                if verdict.effects.contains(Effects::COPY_IN) {
                    let rows = script.skip_rows();
                    if rows > 0 {
                        output::note(format!(
                            "left out, {} of: {}",
                            output::count(rows, "row"),
                            one_line(statement)
                        ));
                    }
                }
                explanations.push(setting.explain(statement, &verdict));
            }
        }
    }
    if explanations.is_empty() {
        return Err(failure::usage("there is no statement to explain"));
    }
    if asked.json {
        for explanation in &explanations {
            output::line(serde_json::to_string(explanation)?);
        }
    } else {
        output::text(&render(&explanations));
    }
    Ok(())
}

fn text_of(asked: &args::Explain) -> anyhow::Result<String> {
    let bytes = match (&asked.file, asked.sql.as_deref()) {
        (None, None) => {
            return Err(failure::usage(
                "say which SQL: as an argument, with --file, or - for standard input",
            ));
        }
        (None, Some(sql)) if sql != "-" => return Ok(sql.to_owned()),
        (Some(path), _) if path.as_os_str() != "-" => fs::read(path)
            .map_err(|error| failure::usage(format!("can't read {}: {error}", path.display())))?,
        _ => {
            let mut bytes = Vec::new();
            std::io::stdin().lock().read_to_end(&mut bytes).context("can't read standard input")?;
            bytes
        }
    };
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The offline answer needs nothing; a DSN brings the catalogue; a configuration brings that and the freshness settings.
fn setting_of(asked: &args::Explain) -> anyhow::Result<Setting> {
    let mut reads = Reads { level: Level::Session, max_staleness: Duration::from_secs(10) };
    let live = match (&asked.dsn, &asked.config) {
        (Some(dsn), _) => live::of_dsn(dsn)?,
        (None, Some(path)) => {
            let settings = Flags::of_file(Some(path.clone()))
                .source()
                .load()
                .map_err(|mistakes| failure::usage(format!("the configuration has mistakes:\n{mistakes}")))?;
            let database = settings.databases.first().expect("settings have at least one database");
            reads = database.reads;
            live::of_settings(&settings, database)?
        }
        (None, None) => live::Live { catalogue: Catalogue::builtin(), search_path: SearchPath::unknown() },
    };
    Ok(Setting { catalogue: live.catalogue, search_path: live.search_path, reads })
}

impl Setting {
    fn judge(&self, statement: &str) -> Verdict {
        let environment = Environment {
            catalogue: &self.catalogue,
            search_path: &self.search_path,
            standard_conforming_strings: true,
        };
        sql::classify(statement.as_bytes(), &environment)
    }

    fn explain(&self, statement: &str, verdict: &Verdict) -> Explanation {
        let request = Request {
            class: verdict.class,
            why: verdict.why,
            mode: RouteMode::Auto,
            hint: verdict.hints.as_ref().and_then(|hints| hints.route),
            transaction: transaction_of(verdict),
            learned_write: false,
            level: self.level_of(verdict),
            max_staleness: self.reads.max_staleness,
            watermark: Watermark::default(),
            rerun: None,
            pins: verdict.effects.intersects(PINNING),
        };
        let decision = route::decide(&request, &healthy_view(), Instant::START, &mut Balance::new());
        let on_replica = matches!(decision.target, Target::Replica(_));
        Explanation {
            statement: statement.to_owned(),
            class: verdict.class.name(),
            target: if on_replica { "replica" } else { "primary" },
            reason: decision.reason.name(),
            effects: verdict.effects.names().collect(),
            rule: verdict.why.name(),
            freshness: on_replica.then(|| request.level.name()),
        }
    }

    /// A comment's wish goes over the setting.
    fn level_of(&self, verdict: &Verdict) -> Level {
        let wished = verdict.hints.as_ref().and_then(|hints| Level::from_name(hints.consistency.as_deref()?));
        wished.unwrap_or(self.reads.level)
    }
}

/// The block that the statement opens, or for other transaction control, the block it must be in.
fn transaction_of(verdict: &Verdict) -> TransactionKind {
    let opened = verdict.details.iter().find_map(|detail| match detail {
        Detail::Begin { read_only, .. } => Some(*read_only),
        _ => None,
    });
    match opened {
        None if verdict.effects.contains(Effects::TRANSACTION) => TransactionKind::ReadWrite,
        None => TransactionKind::None,
        Some(Some(true)) => TransactionKind::ReadOnly,
        Some(Some(false) | None) => TransactionKind::ReadWrite,
    }
}

/// A primary and a replica that shows everything there is to show.
fn healthy_view() -> View {
    let (primary, replica) = (NodeId(0), NodeId(1));
    let mut view = View::unknown([(primary, Arc::from("primary")), (replica, Arc::from("replica"))]);
    view.primary = Some(primary);
    for (node, role) in view.nodes.iter_mut().zip([Role::Primary, Role::Replica]) {
        node.role = role;
        node.health = Health::Up;
        node.fresh_as_of = Some(Instant::START);
    }
    view
}

fn render(explanations: &[Explanation]) -> String {
    if let [one] = explanations {
        let meaning = route::Reason::ALL.iter().find(|r| r.name() == one.reason).map_or("", |r| r.meaning());
        return format!(
            "class      {}\ntarget     {}\nreason     {}: {}\nrule       {}\neffects    {}\nfreshness  {}\n",
            one.class,
            one.target,
            one.reason,
            meaning,
            one.rule,
            effects(one),
            one.freshness.unwrap_or("-"),
        );
    }
    let rows: Vec<_> = explanations
        .iter()
        .map(|e| {
            let words = [e.class, e.target, e.reason, e.rule].map(str::to_owned);
            let [class, target, reason, rule] = words;
            [class, target, reason, rule, effects(e), one_line(&e.statement)]
        })
        .collect();
    output::table(["class", "target", "reason", "rule", "effects", "statement"], &rows)
}

fn effects(explanation: &Explanation) -> String {
    if explanation.effects.is_empty() { "-".to_owned() } else { explanation.effects.join(",") }
}

/// The beginning of a statement, in one line.
fn one_line(statement: &str) -> String {
    const SHOWN_MAX: usize = 100;
    let mut line = statement.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some((end, _)) = line.char_indices().nth(SHOWN_MAX) {
        line.truncate(end);
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explained(statement: &str) -> Explanation {
        let reads = Reads { level: Level::Session, max_staleness: Duration::from_secs(10) };
        let setting = Setting { catalogue: Catalogue::builtin(), search_path: SearchPath::unknown(), reads };
        setting.explain(statement, &setting.judge(statement))
    }

    #[test]
    fn class_target_and_reason_are_the_routers_own() {
        let cases = [
            ("SELECT 1", "reads", "replica", "fresh_replica"),
            ("INSERT INTO t VALUES (1)", "writes", "primary", "write"),
            ("SELECT * FROM t FOR UPDATE", "writes", "primary", "locking_read"),
            ("SELECT my_function(1)", "writes", "primary", "volatile_function"),
            ("/* highwater: route=primary */ SELECT 1", "reads", "primary", "route_is_primary"),
            ("COMMIT", "reads", "primary", "read_write_transaction"),
            ("BEGIN READ ONLY", "reads", "replica", "read_only_transaction"),
            ("/* highwater: consistency=strong */ SELECT 1", "reads", "primary", "level_is_strong"),
        ];
        for (statement, class, target, reason) in cases {
            let e = explained(statement);
            assert_eq!((e.class, e.target, e.reason), (class, target, reason), "{statement}");
        }
    }

    #[test]
    fn the_json_has_the_fields_that_tools_rely_on() {
        let json = serde_json::to_value(explained("LISTEN x")).expect("plain data");
        for key in ["statement", "class", "target", "reason", "effects"] {
            assert!(json.get(key).is_some(), "{key}");
        }
        assert_eq!(json["effects"], serde_json::json!(["listen"]));
    }

    #[test]
    fn a_long_statement_is_shown_by_its_beginning() {
        assert_eq!(one_line("SELECT\n  1"), "SELECT 1");
        assert_eq!(one_line(&"é".repeat(200)).chars().count(), 101);
    }
}
