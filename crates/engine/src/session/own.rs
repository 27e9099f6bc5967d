//! `SET highwater.…` and `SHOW highwater.…`: answered by the router itself, in both query protocols.
//!
//! On a plain PostgreSQL server the same statements are harmless, because the names have two parts.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use sql::{Detail, RouteHint, SetValue, Verdict};
use wire::encode::{self, Column, type_oid};
use wire::frame::{self, tag::client as tag};
use wire::frontend::{Bind, Close, Describe, DescribeKind, Execute, Parse};
use wire::sqlstate::SqlState;
use wire::status::TransactionStatus;

use crate::freshness::Level;
use crate::route::{Reason, RouteMode};

use super::backend::Side;
use super::survey::Survey;
use super::{Block, Context, Event, Marks, Session, Wishes};

/// A refused own setting: what to tell the client.
pub type Refusal = (SqlState, String);

/// Names of the own settings that can be set and shown.
const SETTINGS: [&str; 3] = ["consistency", "max_staleness", "route"];

/// Own statements a client has prepared or bound, by its names.
#[derive(Debug, Default)]
pub(super) struct OwnStatements {
    statements: HashMap<Box<[u8]>, Arc<Verdict>>,
    portals: HashMap<Box<[u8]>, (Arc<Verdict>, i16)>,
}

impl OwnStatements {
    /// What the own statement of this name does.
    pub(super) fn verdict(&self, name: &[u8]) -> Option<Arc<Verdict>> {
        self.statements.get(name).cloned()
    }

    /// None prepared?
    pub(super) fn is_empty(&self) -> bool {
        self.statements.is_empty()
    }
}

/// Would this own setting be accepted? For start-up parameters, before the session exists.
///
/// # Errors
/// What to tell the client: an unknown name or a value that does not fit.
pub fn check(name: &str, value: &str) -> Result<(), Refusal> {
    let blank = Wishes { level: Level::Session, max_staleness: Duration::ZERO, route: None };
    wished(blank, name, Some(value), blank).map(|_| ())
}

/// The wishes after one own setting; `None` is the default of the database.
fn wished(mut wishes: Wishes, name: &str, value: Option<&str>, default: Wishes) -> Result<Wishes, Refusal> {
    let bad = |expected: &str| {
        let given = value.unwrap_or_default();
        (
            SqlState::INVALID_PARAMETER_VALUE,
            format!("invalid value for highwater.{name}: \"{given}\"; it takes {expected}"),
        )
    };
    match (name, value) {
        ("consistency", None) => wishes.level = default.level,
        ("consistency", Some(v)) => {
            let level = Level::from_name(&v.to_ascii_lowercase());
            wishes.level =
                level.ok_or_else(|| bad("eventual, bounded, session, causal, global or strong"))?;
        }
        ("max_staleness", None) => wishes.max_staleness = default.max_staleness,
        ("max_staleness", Some(v)) => {
            wishes.max_staleness =
                duration(v).ok_or_else(|| bad("a time with its unit, such as 500ms, 10s or 2min"))?;
        }
        ("route", None) => wishes.route = default.route,
        ("route", Some(v)) => {
            wishes.route = match v.to_ascii_lowercase().as_str() {
                "auto" => None,
                "primary" => Some(RouteHint::Primary),
                "replica" => Some(RouteHint::Replica),
                _ => return Err(bad("auto, primary or replica")),
            };
        }
        _ => return Err(unknown(name)),
    }
    Ok(wishes)
}

fn unknown(name: &str) -> Refusal {
    let names = SETTINGS.map(|s| format!("highwater.{s}")).join(", ");
    (
        SqlState::UNDEFINED_OBJECT,
        format!(
            "there is no setting highwater.{name}; there are {names} and, for SHOW, highwater.last_route"
        ),
    )
}

/// A time with its unit, as in PostgreSQL's settings.
fn duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    let unit_at = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = text.split_at(unit_at);
    let number: f64 = number.parse().ok()?;
    let seconds = match unit.trim() {
        "us" => number / 1e6,
        "ms" => number / 1e3,
        "s" => number,
        "min" => number * 60.0,
        "h" => number * 3600.0,
        "d" => number * 86400.0,
        _ => return None,
    };
    Duration::try_from_secs_f64(seconds).ok()
}

/// Freshness wished for by a comment, where it says so.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wished {
    level: Option<Level>,
    max_staleness: Option<Duration>,
}

impl Wished {
    /// With the session's wishes where the comment says nothing.
    pub(super) fn over(self, wishes: Wishes) -> (Level, Duration) {
        (self.level.unwrap_or(wishes.level), self.max_staleness.unwrap_or(wishes.max_staleness))
    }
}

impl Survey {
    /// Freshness that the request's comment asks for. A value that does not fit asks for the primary's own view.
    pub(super) fn wished_freshness(&self) -> Wished {
        let Some(hints) = &self.hints else { return Wished { level: None, max_staleness: None } };
        let level = hints.consistency.as_deref().map(|l| Level::from_name(l).unwrap_or(Level::Strong));
        let max_staleness = hints.max_staleness.as_deref().map(|s| duration(s).unwrap_or(Duration::ZERO));
        Wished { level, max_staleness }
    }
}

impl Session {
    /// Sets one of the own settings; `local` until the end of the block.
    pub(super) fn set_own(&mut self, name: &str, value: Option<&str>, local: bool) -> Result<(), Refusal> {
        let default =
            Wishes { level: self.profile.level, max_staleness: self.profile.max_staleness, route: None };
        let before = if local { self.wishes() } else { self.wishes };
        let after = wished(before, name, value, default)?;
        if local {
            if !matches!(self.block, Block::None) {
                self.local_wishes = Some(after);
            }
        } else {
            self.wishes = after;
            self.local_wishes = None;
        }
        Ok(())
    }

    /// Answers a request that is all about own settings. Returns how much of the input that deals with.
    pub(super) fn answer_own(&mut self, input: &[u8], survey: &Survey, cx: &mut Context<'_>) -> usize {
        if self.status() == TransactionStatus::Failed {
            let message = "current transaction is aborted, commands ignored until end of transaction block";
            return self.refuse_request(input, SqlState::IN_FAILED_TRANSACTION, message, cx);
        }
        cx.shared.events.push(Event::Decided(Reason::Local));
        if let Some(verdict) = &survey.simple {
            let verdict = Arc::clone(verdict);
            self.describe_own(&verdict, 0, cx);
            if let Err((code, message)) = self.execute_own(&verdict, cx) {
                cx.to_client.clear();
                self.refuse(code, &message, cx);
            }
            self.answer_ready(cx);
            return survey.bytes;
        }
        let mut at = 0;
        while at < survey.bytes {
            let Ok(Some(header)) = frame::header(&input[at..]) else { break };
            let message = &input[at..at + header.total];
            at += header.total;
            if let Err((code, text)) = self.answer_own_message(header.tag, message, cx) {
                self.refuse(code, &text, cx);
                self.incoming.marks.set(Marks::SKIPPING);
                break;
            }
        }
        at
    }

    /// One message of an extended request about own settings.
    fn answer_own_message(
        &mut self,
        received: u8,
        message: &[u8],
        cx: &mut Context<'_>,
    ) -> Result<(), Refusal> {
        let malformed = |_| (SqlState::PROTOCOL_VIOLATION, "malformed message".to_owned());
        match received {
            tag::PARSE => {
                let parse = Parse::parse(message).map_err(malformed)?;
                let verdict = self.judge(parse.query, cx);
                if self.route.own.statements.len() >= 100 {
                    self.route.own.statements.clear();
                }
                self.route.own.statements.insert(parse.name.into(), verdict);
                cx.to_client.make(encode::parse_complete);
            }
            tag::BIND => {
                let bind = Bind::parse(message).map_err(malformed)?;
                let verdict = self.route.own.verdict(bind.statement).ok_or_else(no_statement)?;
                let format = i16::from(bind.rest.ends_with(&[0, 1, 0, 1]));
                if self.route.own.portals.len() >= 100 {
                    self.route.own.portals.clear();
                }
                self.route.own.portals.insert(bind.portal.into(), (verdict, format));
                cx.to_client.make(encode::bind_complete);
            }
            tag::DESCRIBE => {
                let describe = Describe::parse(message).map_err(malformed)?;
                if describe.kind == DescribeKind::Statement {
                    let verdict = self.route.own.verdict(describe.name).ok_or_else(no_statement)?;
                    cx.to_client.make(|out| encode::parameter_description(out, &[]).expect("no parameters"));
                    self.describe_own_or_nothing(&verdict, 0, cx);
                } else {
                    let (verdict, format) = self.own_portal(describe.name)?;
                    self.describe_own_or_nothing(&verdict, format, cx);
                }
            }
            tag::EXECUTE => {
                let execute = Execute::parse(message).map_err(malformed)?;
                let (verdict, _) = self.own_portal(execute.portal)?;
                self.execute_own(&verdict, cx)?;
            }
            tag::CLOSE => {
                let close = Close::parse(message).map_err(malformed)?;
                match close.kind {
                    DescribeKind::Statement => drop(self.route.own.statements.remove(close.name)),
                    DescribeKind::Portal => drop(self.route.own.portals.remove(close.name)),
                }
                cx.to_client.make(encode::close_complete);
            }
            tag::SYNC => {
                self.route.own.portals.clear();
                self.answer_ready(cx);
            }
            _ => {}
        }
        Ok(())
    }

    fn own_portal(&self, name: &[u8]) -> Result<(Arc<Verdict>, i16), Refusal> {
        let missing = || (SqlState::INVALID_CURSOR_NAME, "portal does not exist".to_owned());
        self.route.own.portals.get(name).cloned().ok_or_else(missing)
    }

    /// RowDescription for a SHOW, nothing for a SET.
    fn describe_own(&self, verdict: &Verdict, format: i16, cx: &mut Context<'_>) -> bool {
        let [Detail::ShowOwn { name }] = verdict.details.as_slice() else { return false };
        let title = format!("highwater.{name}");
        let names: &[&str] = if name == "last_route" { &LAST_ROUTE } else { &[title.as_str()] };
        let columns: Vec<Column<'_>> =
            names.iter().map(|name| Column { name, type_oid: type_oid::TEXT, format }).collect();
        cx.to_client.make(|out| encode::row_description(out, &columns).expect("a few short names"));
        true
    }

    fn describe_own_or_nothing(&self, verdict: &Verdict, format: i16, cx: &mut Context<'_>) {
        if !self.describe_own(verdict, format, cx) {
            cx.to_client.make(encode::no_data);
        }
    }

    /// Does it: rows and CommandComplete.
    fn execute_own(&mut self, verdict: &Verdict, cx: &mut Context<'_>) -> Result<(), Refusal> {
        match verdict.details.as_slice() {
            [Detail::SetOwn { name, value, local }] => {
                let value = match value {
                    SetValue::Default => None,
                    SetValue::Text(text) => Some(text.as_str()),
                };
                self.set_own(name, value, *local)?;
                cx.to_client.make(|out| encode::command_complete(out, "SET"));
            }
            [Detail::ShowOwn { name }] => {
                let row = self.show_own(name, cx)?;
                let values: Vec<Option<&[u8]>> =
                    row.iter().map(|v| v.as_deref().map(str::as_bytes)).collect();
                cx.to_client.make(|out| {
                    encode::data_row(out, &values).expect("a few short values");
                    encode::command_complete(out, "SHOW");
                });
            }
            _ => {
                return Err((
                    SqlState::FEATURE_NOT_SUPPORTED,
                    "this highwater statement is not known".to_owned(),
                ));
            }
        }
        Ok(())
    }

    /// The row of a SHOW.
    fn show_own(&self, name: &str, cx: &Context<'_>) -> Result<Vec<Option<String>>, Refusal> {
        let wishes = self.wishes();
        let value = match name {
            "consistency" => wishes.level.name().to_owned(),
            "max_staleness" => format!("{}ms", wishes.max_staleness.as_millis()),
            "route" => match (self.profile.mode, wishes.route) {
                (RouteMode::Auto, None | Some(RouteHint::Auto)) => "auto".to_owned(),
                (RouteMode::Auto, Some(RouteHint::Primary)) | (RouteMode::Primary, _) => "primary".to_owned(),
                (RouteMode::Auto, Some(RouteHint::Replica)) | (RouteMode::ReadOnly, _) => {
                    "replica".to_owned()
                }
            },
            "last_route" => return Ok(self.last_route(cx)),
            _ => return Err(unknown(name)),
        };
        Ok(vec![Some(value)])
    }

    /// The row of `SHOW highwater.last_route`; all NULL before the first statement.
    fn last_route(&self, cx: &Context<'_>) -> Vec<Option<String>> {
        let last = self.route.last;
        let node = last.node.and_then(|id| cx.view.node(id));
        let on_replica = last.side == Some(Side::Replica);
        let staleness =
            node.filter(|_| on_replica).and_then(|n| n.fresh_as_of).map(|t| cx.now.since(t).as_millis());
        vec![
            node.map(|n| n.name.to_string()),
            last.side
                .map(|side| if side == Side::Replica { "replica".to_owned() } else { "primary".to_owned() }),
            last.decision.map(|d| d.reason.name().to_owned()),
            last.level.map(|level| level.name().to_owned()),
            staleness.map(|ms| ms.to_string()),
            node.filter(|_| on_replica).and_then(|n| n.lag_bytes).map(|b| b.to_string()),
            Some(if last.reran { "true" } else { "false" }.to_owned()),
        ]
    }
}

/// Columns of `SHOW highwater.last_route`.
const LAST_ROUTE: [&str; 7] = ["node", "role", "reason", "level", "staleness_ms", "lag_bytes", "reran"];

fn no_statement() -> Refusal {
    (SqlState::INVALID_SQL_STATEMENT_NAME, "prepared statement does not exist".to_owned())
}
