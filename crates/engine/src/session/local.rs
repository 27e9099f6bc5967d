//! Answers that need no backend: errors of our own, a BEGIN that can wait, a block that was lost.

use sql::{Detail, Effects, Verdict};
use wire::encode::{self, ErrorReply, Severity};
use wire::frame::{self, FrameError, tag::client as tag};
use wire::frontend::{Bind, Describe, DescribeKind, Parse};
use wire::sqlstate::SqlState;
use wire::status::TransactionStatus;

use crate::route::{Reason, RouteMode};

use super::statements::Prepared;
use super::survey::{Own, Survey};
use super::{Block, Context, Deferred, Event, Marks, Session, Step, Want};

/// What a session of the read-only database name is told when it asks to write after all.
const READ_ONLY_NAME: &str = "this database name is read-only: the session cannot be made to write";

/// PostgreSQL's own words.
const ABORTED: &str = "current transaction is aborted, commands ignored until end of transaction block";

impl Session {
    /// Answers the request here, if it can be. Returns how much of the input that deals with.
    pub(super) fn answer_locally(
        &mut self,
        input: &[u8],
        survey: &Survey,
        cx: &mut Context<'_>,
    ) -> Option<usize> {
        if survey.simple.is_some() {
            self.names.drop_unnamed();
        }
        if let Block::Lost { told } = self.block {
            return Some(self.answer_in_lost_block(input, survey, told, cx));
        }
        if self.frees_ours(survey) {
            return Some(self.answer_deallocate(input, survey, cx));
        }
        match survey.own {
            Own::Whole => return Some(self.answer_own(input, survey, cx)),
            Own::Mixed => {
                let message =
                    "highwater settings cannot share a message or a pipeline batch with other statements";
                return Some(self.refuse_request(input, SqlState::FEATURE_NOT_SUPPORTED, message, cx));
            }
            Own::None => {}
        }
        let verdict = survey.simple.as_ref().filter(|v| v.statements == 1)?;
        match &self.block {
            Block::None if self.pin.is_none() => self.defer(input, survey, verdict, cx),
            Block::Deferred(_) => self.extend_deferred(input, survey, verdict, cx),
            Block::None | Block::Open { .. } | Block::Lost { .. } => None,
        }
    }

    /// A BEGIN by itself: answer it, and send it with the first statement, when the node can be chosen.
    fn defer(
        &mut self,
        input: &[u8],
        survey: &Survey,
        verdict: &Verdict,
        cx: &mut Context<'_>,
    ) -> Option<usize> {
        let [Detail::Begin { read_only, isolation, .. }] = verdict.details.as_slice() else { return None };
        let message = input.get(..survey.bytes)?;
        if *read_only == Some(false) && self.profile.mode == RouteMode::ReadOnly {
            return Some(self.refuse_request(input, SqlState::READ_ONLY_TRANSACTION, READ_ONLY_NAME, cx));
        }
        let tag = if starts_with_start(message) { "START TRANSACTION" } else { "BEGIN" };
        let opening = message.to_vec();
        self.block =
            Block::Deferred(Deferred { opening, messages: 1, read_only: *read_only, isolation: *isolation });
        self.answer_command(tag, cx);
        Some(survey.bytes)
    }

    /// SET TRANSACTION, COMMIT or ROLLBACK before the first statement of a deferred block.
    fn extend_deferred(
        &mut self,
        input: &[u8],
        survey: &Survey,
        verdict: &Verdict,
        cx: &mut Context<'_>,
    ) -> Option<usize> {
        let [Detail::SetTransaction { read_only: Some(false), .. }] = verdict.details.as_slice() else {
            return self.extend_permitted(input, survey, verdict, cx);
        };
        if self.profile.mode != RouteMode::ReadOnly {
            return self.extend_permitted(input, survey, verdict, cx);
        }
        self.block = Block::Lost { told: true };
        Some(self.refuse_request(input, SqlState::READ_ONLY_TRANSACTION, READ_ONLY_NAME, cx))
    }

    fn extend_permitted(
        &mut self,
        input: &[u8],
        survey: &Survey,
        verdict: &Verdict,
        cx: &mut Context<'_>,
    ) -> Option<usize> {
        let Block::Deferred(deferred) = &mut self.block else { return None };
        let tag = match verdict.details.as_slice() {
            [Detail::SetTransaction { read_only, isolation }] => {
                deferred.opening.extend_from_slice(input.get(..survey.bytes)?);
                deferred.messages += 1;
                deferred.read_only = read_only.or(deferred.read_only);
                deferred.isolation = isolation.or(deferred.isolation);
                "SET"
            }
            [Detail::Commit { chain: false }] => {
                self.block = Block::None;
                "COMMIT"
            }
            [Detail::Rollback { chain: false }] => {
                self.block = Block::None;
                "ROLLBACK"
            }
            _ => return None,
        };
        if tag != "SET" {
            self.local_wishes = None;
        }
        self.answer_command(tag, cx);
        Some(survey.bytes)
    }

    /// The block's backend is gone: only its end is accepted.
    fn answer_in_lost_block(
        &mut self,
        input: &[u8],
        survey: &Survey,
        told: bool,
        cx: &mut Context<'_>,
    ) -> usize {
        if survey.simple.as_ref().is_some_and(|v| ends_block(v)) {
            self.block = Block::None;
            self.local_wishes = None;
            self.answer_command("ROLLBACK", cx);
            return survey.bytes;
        }
        if survey.ends {
            return self.answer_end_of_lost_block(input, survey, cx);
        }
        self.block = Block::Lost { told: true };
        let (code, message) = if told {
            (SqlState::IN_FAILED_TRANSACTION, ABORTED)
        } else {
            (
                SqlState::SERIALIZATION_FAILURE,
                "the node of this transaction was lost; the transaction has been rolled back",
            )
        };
        self.refuse_request(input, code, message, cx)
    }

    /// The block's end in an extended request, message by message up to its Execute.
    fn answer_end_of_lost_block(&mut self, input: &[u8], survey: &Survey, cx: &mut Context<'_>) -> usize {
        let mut at = 0;
        while at < survey.bytes {
            let Ok(Some(header)) = frame::header(&input[at..]) else { break };
            let Some(message) = input.get(at..at + header.total) else { break };
            match self.answer_end_message(header.tag, message, cx) {
                Some(End::Later) => at += header.total,
                Some(End::Now) => return at + header.total,
                None => {
                    self.refuse(SqlState::IN_FAILED_TRANSACTION, ABORTED, cx);
                    self.incoming.marks.set(Marks::SKIPPING);
                    break;
                }
            }
        }
        at
    }

    /// One message of it; `None`: it has no place in an aborted block.
    fn answer_end_message(&mut self, received: u8, message: &[u8], cx: &mut Context<'_>) -> Option<End> {
        match received {
            tag::PARSE => {
                let parse = Parse::parse(message).ok()?;
                let verdict = self.judge(parse.query, cx);
                if !ends_block(&verdict) {
                    return None;
                }
                let circumstances = self.circumstances();
                let (statement, _) =
                    cx.shared.statements.intern(parse.query, parse.parameter_types, circumstances);
                let judged_for = (self.judgement_context(cx), cx.catalogue.epoch());
                let serial = self.names.next_serial();
                self.names.prepare(parse.name, Prepared { statement, verdict, judged_for, serial });
                cx.to_client.make(encode::parse_complete);
            }
            tag::BIND => {
                let name = Bind::parse(message).ok()?.statement;
                if !self.names.get(name).is_some_and(|p| ends_block(&p.verdict)) {
                    return None;
                }
                cx.to_client.make(encode::bind_complete);
            }
            tag::DESCRIBE => {
                if Describe::parse(message).ok()?.kind == DescribeKind::Statement {
                    cx.to_client.make(|out| encode::parameter_description(out, &[]).expect("no parameters"));
                }
                cx.to_client.make(encode::no_data);
            }
            tag::EXECUTE => {
                self.block = Block::None;
                self.local_wishes = None;
                cx.shared.events.push(Event::Decided(Reason::Local));
                cx.to_client.make(|out| encode::command_complete(out, "ROLLBACK"));
                return Some(End::Now);
            }
            tag::SYNC => self.answer_ready(cx),
            tag::FLUSH => {}
            _ => return None,
        }
        Some(End::Later)
    }

    /// Does the request free statements of which only we know, and nothing else?
    pub(super) fn frees_ours(&self, survey: &Survey) -> bool {
        let Some(verdict) = &survey.simple else { return false };
        let details = verdict.details.as_slice();
        if !verdict.effects.contains(Effects::DEALLOCATE) || verdict.statements as usize != details.len() {
            return false;
        }
        details.iter().enumerate().all(|(i, detail)| match detail {
            // A name that is freed twice is an error, which is PostgreSQL's to make.
            Detail::Deallocate { name } => {
                self.names.get(name.as_bytes()).is_some() && !details[..i].contains(detail)
            }
            Detail::DeallocateAll => details.len() == 1 && self.pin.is_none(),
            _ => false,
        })
    }

    /// DEALLOCATE of statements that backends know by other names.
    fn answer_deallocate(&mut self, input: &[u8], survey: &Survey, cx: &mut Context<'_>) -> usize {
        if self.status() == TransactionStatus::Failed {
            return self.refuse_request(input, SqlState::IN_FAILED_TRANSACTION, ABORTED, cx);
        }
        let details = survey.simple.as_ref().map_or(&[][..], |verdict| verdict.details.as_slice());
        for detail in details {
            let command = match detail {
                Detail::Deallocate { name } => {
                    self.names.free(name.as_bytes());
                    "DEALLOCATE"
                }
                _ => {
                    self.names.free_all();
                    "DEALLOCATE ALL"
                }
            };
            cx.to_client.make(|out| encode::command_complete(out, command));
        }
        cx.shared.events.push(Event::Decided(Reason::Local));
        self.answer_ready(cx);
        survey.bytes
    }

    /// Refuses the request at the front of the input, whole: up to its Sync, now or when it comes.
    pub(super) fn refuse_request(
        &mut self,
        input: &[u8],
        code: SqlState,
        message: &str,
        cx: &mut Context<'_>,
    ) -> usize {
        self.refuse(code, message, cx);
        match frame::header(input) {
            Ok(Some(header)) if matches!(header.tag, tag::QUERY | tag::FUNCTION_CALL) => {
                self.answer_ready(cx);
                let n = header.total.min(input.len());
                if n < header.total {
                    self.incoming.passing = super::Passing::Drop(header.total - n);
                }
                n
            }
            _ => {
                self.incoming.marks.set(Marks::SKIPPING);
                0
            }
        }
    }

    /// An ERROR of our own.
    pub(super) fn refuse(&mut self, code: SqlState, message: &str, cx: &mut Context<'_>) {
        cx.shared.events.push(Event::OwnError(code));
        cx.to_client.make(|out| {
            let error =
                ErrorReply { severity: Severity::Error, sqlstate: code, message, detail: None, hint: None };
            encode::error_response(out, &error);
        });
    }

    /// CommandComplete and ReadyForQuery.
    pub(super) fn answer_command(&mut self, command: &str, cx: &mut Context<'_>) {
        cx.shared.events.push(Event::Decided(Reason::Local));
        cx.to_client.make(|out| encode::command_complete(out, command));
        self.answer_ready(cx);
    }

    /// ReadyForQuery with the status the client should see.
    pub(super) fn answer_ready(&mut self, cx: &mut Context<'_>) {
        let status = self.status();
        cx.to_client.make(|out| encode::ready_for_query(out, status));
    }

    /// The client broke the protocol.
    pub(super) fn broken(&mut self, consumed: usize, error: &FrameError, cx: &mut Context<'_>) -> Step {
        let want = self.end_fatally(error.sqlstate(), &error.to_string(), cx);
        debug_assert_eq!(want, Want::Close);
        Step { consumed, want }
    }
}

/// How far the answer to the end of a lost block is.
enum End {
    /// More messages belong to it.
    Later,
    /// The block is over.
    Now,
}

/// Is it COMMIT or ROLLBACK, and nothing else?
pub(super) fn ends_block(verdict: &Verdict) -> bool {
    verdict.effects.contains(Effects::TRANSACTION)
        && verdict.statements == 1
        && matches!(verdict.details.as_slice(), [Detail::Rollback { .. } | Detail::Commit { .. }])
}

/// Is the first word of this Query START?
fn starts_with_start(message: &[u8]) -> bool {
    let text = message.get(5..).unwrap_or_default();
    let mut words = text.split(|b| !b.is_ascii_alphabetic()).filter(|w| !w.is_empty());
    words.next().is_some_and(|w| w.eq_ignore_ascii_case(b"start"))
}
