//! Where does the request at the front of the input end, and what does it do? Before anything of it is sent.
//!
//! A simple query is one message. An extended request is everything up to Sync or Flush. If its end is not in
//! sight within [`HOLD_BYTES_MAX`], what is out of sight counts as unknown.

use std::sync::Arc;

use sql::{Class, Detail, Effects, RouteHint, Verdict, Why};
use wire::frame::{self, tag::client as tag};
use wire::frontend::{Bind, Close, Describe, DescribeKind, Parse, Query};

use super::{Context, HOLD_BYTES_MAX, QUERY_BYTES_MAX, Session};

/// State that another backend would not have, whatever we repeat there.
pub const PINNING: Effects = Effects::UNTRACKED_STATE
    .union(Effects::LISTEN)
    .union(Effects::TEMP_OBJECT)
    .union(Effects::ADVISORY_LOCK)
    .union(Effects::HOLD_CURSOR)
    .union(Effects::PREPARE);

/// What a request is, as far as it can be seen.
#[derive(Clone, Debug)]
pub(super) struct Survey {
    /// Bytes from the start of the input to the end of the request.
    pub(super) bytes: usize,
    /// Of all its statements together.
    pub(super) class: Class,
    /// The rule behind the class.
    pub(super) why: Why,
    /// Of all its statements together.
    pub(super) effects: Effects,
    /// All of it may run again.
    pub(super) rerunnable: bool,
    /// Shape of its first statement.
    pub(super) shape: u64,
    /// Of its first statement with hints.
    pub(super) hints: Option<sql::Hints>,
    /// A transaction it opens, as far as said: `Some(read only?)`.
    pub(super) begins: Option<Option<bool>>,
    /// Its first statement ends a transaction block.
    pub(super) ends: bool,
    /// It concerns our own settings, all of it (`Whole`) or part of it.
    pub(super) own: Own,
    /// Whether the statements it uses are there for certain.
    pub(super) names: Certainty,
    /// For a lone simple statement: its verdict.
    pub(super) simple: Option<Arc<Verdict>>,
}

/// Whether the statements a request uses are there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Certainty {
    /// As far as anything is: their ParseComplete has come, or they are of the same batch.
    Sure,
    /// One is of an earlier batch that is not answered yet.
    Unsure,
}

/// How much of a request is about `highwater.*`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Own {
    /// Nothing.
    None,
    /// Every statement.
    Whole,
    /// Some, with others: refused.
    Mixed,
}

/// The result of looking ahead.
pub(super) enum Outlook {
    /// The request.
    Request(Survey),
    /// Its end is not there yet.
    NeedInput,
}

/// What a batch has made of the client's names: parsed anew, or closed (`None`).
type Made<'a> = Vec<(&'a [u8], Option<Arc<Verdict>>)>;

impl Survey {
    fn new() -> Self {
        Survey {
            bytes: 0,
            class: Class::Reads,
            why: Why::Empty,
            effects: Effects::NONE,
            rerunnable: true,
            shape: 0,
            hints: None,
            begins: None,
            ends: false,
            own: Own::None,
            names: Certainty::Sure,
            simple: None,
        }
    }

    /// A request nothing is known about.
    fn unknown(bytes: usize, why: Why) -> Self {
        Survey { bytes, class: Class::Unknown, why, rerunnable: false, ..Survey::new() }
    }

    /// Takes one more statement in.
    fn add(&mut self, verdict: &Verdict, first: bool) {
        if first || rank(verdict.class) > rank(self.class) {
            self.class = verdict.class;
            self.why = verdict.why;
        }
        if first {
            self.shape = verdict.shape;
            self.ends = super::local::ends_block(verdict);
        }
        self.effects |= verdict.effects;
        self.rerunnable &= verdict.rerunnable;
        if self.hints.is_none() {
            self.hints.clone_from(&verdict.hints);
        }
        if verdict.effects.contains(Effects::TRANSACTION) {
            for read_only in verdict.details.iter().filter_map(begin_of) {
                // Of several blocks one that may write decides: no node but the primary will do for it.
                self.begins = Some(self.begins.filter(|first| *first != Some(true)).unwrap_or(read_only));
            }
        }
        let own = verdict.effects.contains(Effects::OWN);
        self.own = match (first, self.own, own && verdict.statements == 1) {
            (true, _, true) | (false, Own::Whole, true) => Own::Whole,
            (true | false, Own::None, false) if !own => Own::None,
            (true, _, false) if !own => Own::None,
            _ => Own::Mixed,
        };
    }

    /// The route a comment asks for.
    pub(super) fn hinted_route(&self) -> Option<RouteHint> {
        self.hints.as_ref().and_then(|h| h.route)
    }

    /// Would it tie the session to its backend?
    pub(super) fn pins(&self) -> bool {
        self.effects.intersects(PINNING)
    }
}

fn rank(class: Class) -> u8 {
    match class {
        Class::Reads => 0,
        Class::Unknown => 1,
        Class::Writes => 2,
    }
}

fn begin_of(detail: &Detail) -> Option<Option<bool>> {
    match detail {
        Detail::Begin { read_only, isolation, .. } => {
            let serializable = *isolation == Some(sql::Isolation::Serializable);
            Some(if serializable { Some(false) } else { *read_only })
        }
        _ => None,
    }
}

impl Session {
    /// Looks at the request that starts at `input[0]`, which has a valid header.
    pub(super) fn survey(&mut self, input: &[u8], cx: &mut Context<'_>) -> Outlook {
        let Ok(Some(header)) = frame::header(input) else { return Outlook::NeedInput };
        match header.tag {
            tag::QUERY => self.survey_query(input, header.total, cx),
            tag::FUNCTION_CALL => Outlook::Request(Survey::unknown(header.total, Why::UnknownFunction)),
            _ => self.survey_batch(input, cx),
        }
    }

    fn survey_query(&mut self, input: &[u8], total: usize, cx: &mut Context<'_>) -> Outlook {
        if total > QUERY_BYTES_MAX {
            return Outlook::Request(Survey::unknown(total, Why::TooLong));
        }
        let Some(message) = input.get(..total) else { return Outlook::NeedInput };
        // A malformed Query goes to the primary, whose answer is the authoritative one.
        let Ok(query) = Query::parse(message) else {
            return Outlook::Request(Survey::unknown(total, Why::Unparsable));
        };
        let verdict = self.judge(query.text, cx);
        let mut survey = Survey::new();
        survey.bytes = total;
        survey.add(&verdict, true);
        survey.simple = Some(verdict);
        Outlook::Request(survey)
    }

    /// Walks over the messages of an extended request up to its Sync or Flush.
    fn survey_batch(&mut self, input: &[u8], cx: &mut Context<'_>) -> Outlook {
        let mut survey = Survey::new();
        let mut at = 0;
        let mut statements = 0;
        let mut runs = false;
        // What the batch itself has made of each name; batches with more than a few are rare.
        let mut made: Made<'_> = Vec::new();
        loop {
            let rest = input.get(at..).unwrap_or_default();
            let header = match frame::header(rest) {
                Ok(Some(header)) => header,
                Ok(None) | Err(_) => return self.cut_short(survey, at, rest.len(), input.len()),
            };
            let Some(message) = rest.get(..header.total) else {
                return self.cut_short(survey, at, header.total, input.len());
            };
            at += header.total;
            let verdict = self.survey_message(message, &mut survey, &mut made, cx);
            runs |= header.tag == tag::EXECUTE;
            if let Some(verdict) = verdict {
                survey.add(&verdict, statements == 0);
                statements += 1;
            }
            if matches!(header.tag, tag::SYNC | tag::FLUSH | tag::QUERY) {
                // A Query inside an unfinished batch is its own request.
                survey.bytes = if header.tag == tag::QUERY { at - header.total } else { at };
                if header.tag == tag::FLUSH
                    && (runs || statements == 0 || !survey.effects.is_empty())
                    && survey.class == Class::Reads
                {
                    // What follows up to Sync belongs to the same transaction, and may write.
                    survey.class = Class::Unknown;
                    survey.why = Why::Unsure;
                    survey.rerunnable = false;
                }
                return Outlook::Request(survey);
            }
        }
    }

    /// What one message of a batch does, and what it makes of the client's names.
    fn survey_message<'a>(
        &mut self,
        message: &'a [u8],
        survey: &mut Survey,
        made: &mut Made<'a>,
        cx: &mut Context<'_>,
    ) -> Option<Arc<Verdict>> {
        match message[0] {
            tag::PARSE => {
                let parse = Parse::parse(message).ok()?;
                // The unnamed one is replaced, whatever it was.
                if !parse.name.is_empty() {
                    survey.names = survey.names.max(self.certainty(parse.name, made));
                }
                let verdict = self.judge(parse.query, cx);
                let taken = match made.iter().find(|(name, _)| *name == parse.name) {
                    Some((name, verdict)) => !name.is_empty() && verdict.is_some(),
                    None => self.names.is_taken(parse.name, self.pipeline.batch),
                };
                // A name in use stays what it is: the Parse will be refused.
                if !taken {
                    made.retain(|(name, _)| *name != parse.name);
                    made.push((parse.name, Some(Arc::clone(&verdict))));
                }
                Some(verdict)
            }
            tag::BIND => {
                let bind = Bind::parse(message).ok()?;
                survey.names = survey.names.max(self.certainty(bind.statement, made));
                self.bound(bind.statement, made, cx)
            }
            tag::DESCRIBE => {
                let describe = Describe::parse(message).ok()?;
                if describe.kind == DescribeKind::Portal {
                    return None;
                }
                survey.names = survey.names.max(self.certainty(describe.name, made));
                self.bound(describe.name, made, cx)
            }
            tag::CLOSE => {
                let close = Close::parse(message).ok().filter(|c| c.kind == DescribeKind::Statement)?;
                made.retain(|(name, _)| *name != close.name);
                made.push((close.name, None));
                None
            }
            _ => None,
        }
    }

    /// The end of the batch is out of sight: wait for it, or call it unknown.
    fn cut_short(&self, mut survey: Survey, at: usize, next: usize, seen: usize) -> Outlook {
        if seen < HOLD_BYTES_MAX && at + next <= HOLD_BYTES_MAX {
            return Outlook::NeedInput;
        }
        // At least the message whose head was seen belongs to it.
        survey.bytes = at + next.max(1);
        survey.class = Class::Unknown;
        survey.why = Why::TooLong;
        survey.rerunnable = false;
        Outlook::Request(survey)
    }

    /// Does it depend on an answer that has not come whether there is a statement of this name?
    fn certainty(&self, name: &[u8], made: &Made<'_>) -> Certainty {
        let decided = made.iter().any(|(n, _)| *n == name);
        let unsure = !decided && self.names.is_unsure(name, self.pipeline.batch);
        if unsure { Certainty::Unsure } else { Certainty::Sure }
    }

    /// What the statement of this name does: of this batch, or prepared before.
    fn bound(&mut self, name: &[u8], made: &Made<'_>, cx: &mut Context<'_>) -> Option<Arc<Verdict>> {
        if let Some((_, Some(verdict))) = made.iter().find(|(n, _)| *n == name) {
            return Some(Arc::clone(verdict));
        }
        if let Some(verdict) = self.route.own.verdict(name) {
            return Some(verdict);
        }
        let judged_for = (self.judgement_context(cx), cx.catalogue.epoch());
        match self.names.get(name) {
            Some(p) if p.judged_for == judged_for => Some(Arc::clone(&p.verdict)),
            Some(p) => {
                let statement = Arc::clone(&p.statement);
                Some(self.judge(&statement.text, cx))
            }
            // Not ours: perhaps SQL PREPARE; it can only be on a pinned backend.
            None => Some(Arc::new(Verdict::bare(Class::Unknown, Why::Execute))),
        }
    }
}
