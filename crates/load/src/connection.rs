//! One connection of a fleet: what it has asked, what has come back, and whether that was the right answer.
//!
//! It is handed bytes and hands out bytes; sockets and the clock are the fleet's.

use std::collections::VecDeque;
use std::time::Instant;

use wire::frame::tag::backend as tag;
use wire::frame::{self, HEADER_LEN};

use crate::error::Error;
use crate::login::sqlstate;
use crate::statement::{Asker, Question};
use crate::tally::Tally;

/// A connection that is logged in.
pub(crate) struct Connection {
    asker: Asker,
    /// Asked and not yet answered, in order.
    asked: VecDeque<Question>,
    /// What the first of them has got so far.
    got: Got,
    /// The beginning of a message whose end has not come.
    partial: Vec<u8>,
    /// When the questions that are out were written.
    since: Instant,
}

/// What a question has got so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Got {
    Nothing,
    Row(Option<u32>),
    TooMuch,
    Error,
}

impl Connection {
    pub(crate) fn new(asker: Asker, now: Instant) -> Connection {
        Connection { asker, asked: VecDeque::new(), got: Got::Nothing, partial: Vec::new(), since: now }
    }

    /// Asks this many questions at once: appends their bytes.
    pub(crate) fn ask(&mut self, depth: u32, now: Instant, out: &mut Vec<u8>) {
        for _ in 0..depth {
            let question = self.asker.ask(out);
            self.asked.push_back(question);
        }
        self.since = now;
    }

    /// Whether every question is answered.
    pub(crate) fn is_quiet(&self) -> bool {
        self.asked.is_empty()
    }

    /// Bytes have come.
    pub(crate) fn on_bytes(&mut self, bytes: &[u8], now: Instant, tally: &mut Tally) -> Result<(), Error> {
        tally.bytes_in += bytes.len() as u64;
        if self.partial.is_empty() {
            let used = self.on_messages(bytes, now, tally)?;
            self.partial.extend_from_slice(&bytes[used..]);
            return Ok(());
        }
        let mut all = std::mem::take(&mut self.partial);
        all.extend_from_slice(bytes);
        let used = self.on_messages(&all, now, tally)?;
        all.drain(..used);
        self.partial = all;
        Ok(())
    }

    /// Takes the whole messages and says how many bytes they were.
    fn on_messages(&mut self, bytes: &[u8], now: Instant, tally: &mut Tally) -> Result<usize, Error> {
        let mut used = 0;
        loop {
            let rest = &bytes[used..];
            let header = frame::header(rest).map_err(|error| Error::Protocol(error.to_string()))?;
            let Some(frame) = header.and_then(|header| rest.get(..header.total)) else { return Ok(used) };
            self.on_message(frame, now, tally)?;
            used += frame.len();
        }
    }

    fn on_message(&mut self, frame: &[u8], now: Instant, tally: &mut Tally) -> Result<(), Error> {
        match frame[0] {
            tag::DATA_ROW => {
                self.got = match self.got {
                    Got::Nothing => Got::Row(number(&frame[HEADER_LEN..])),
                    _ => Got::TooMuch,
                };
            }
            tag::ERROR_RESPONSE => {
                tally.error(&sqlstate(frame));
                self.got = Got::Error;
            }
            tag::READY_FOR_QUERY => self.on_ready(now, tally)?,
            tag::ROW_DESCRIPTION
            | tag::COMMAND_COMPLETE
            | tag::PARSE_COMPLETE
            | tag::BIND_COMPLETE
            | tag::CLOSE_COMPLETE
            | tag::PARAMETER_DESCRIPTION
            | tag::PARAMETER_STATUS
            | tag::NOTICE_RESPONSE => {}
            other => {
                return Err(Error::Protocol(format!("message {:?} was not asked for", char::from(other))));
            }
        }
        Ok(())
    }

    fn on_ready(&mut self, now: Instant, tally: &mut Tally) -> Result<(), Error> {
        let Some(question) = self.asked.pop_front() else {
            return Err(Error::Protocol("ReadyForQuery without a question".to_owned()));
        };
        let got = std::mem::replace(&mut self.got, Got::Nothing);
        let right = matches!(got, Got::Error) || got == Got::Row(Some(question.answer()));
        if !right {
            tally.mix_up(|| format!("asked for {}, was told {got:?}", question.answer()));
        }
        tally.answered += 1;
        tally.latency.record(now.saturating_duration_since(self.since));
        Ok(())
    }
}

/// The number that the only column of a row holds as text.
#[inline]
fn number(row: &[u8]) -> Option<u32> {
    let [0, 1, _, _, _, length, digits @ ..] = row else { return None };
    if digits.len() != usize::from(*length) {
        return None;
    }
    digits.iter().try_fold(0_u32, |sum, digit| {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 { None } else { sum.checked_mul(10)?.checked_add(u32::from(digit)) }
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::statement::{Protocol, Statements};
    use wire::encode;
    use wire::status::TransactionStatus;

    fn asked(depth: u32) -> (Connection, Instant, Vec<u32>) {
        let now = crate::clock::now();
        let mut connection = Connection::new(Asker::new(Protocol::Simple, Statements::Few, 0), now);
        connection.ask(depth, now, &mut Vec::new());
        let answers = connection.asked.iter().map(|question| question.answer()).collect();
        (connection, now, answers)
    }

    fn reply(values: &[u32]) -> Vec<u8> {
        let mut out = Vec::new();
        for value in values {
            encode::data_row(&mut out, &[Some(value.to_string().as_bytes())]).expect("a short row");
            encode::command_complete(&mut out, "SELECT 1");
            encode::ready_for_query(&mut out, TransactionStatus::Idle);
        }
        out
    }

    #[test]
    fn the_right_answers_count_however_they_are_cut() {
        let (_, _, answers) = asked(3);
        let bytes = reply(&answers);
        for cut in 0..bytes.len() {
            let (mut connection, now, _) = asked(3);
            let (later, mut tally) = (now + Duration::from_millis(2), Tally::default());
            connection.on_bytes(&bytes[..cut], later, &mut tally).expect("in order");
            connection.on_bytes(&bytes[cut..], later, &mut tally).expect("in order");
            assert!(connection.is_quiet());
            assert_eq!((tally.answered, tally.void()), (3, None));
            assert_eq!(tally.latency.max(), Duration::from_millis(2));
        }
    }

    #[test]
    fn an_answer_to_another_question_is_a_mix_up() {
        let (mut connection, now, answers) = asked(2);
        let mut tally = Tally::default();
        let swapped: Vec<u32> = answers.iter().rev().copied().collect();
        connection.on_bytes(&reply(&swapped), now, &mut tally).expect("in order");
        assert_eq!((tally.answered, tally.mixed_up), (2, 2));
    }

    #[test]
    fn no_row_and_two_rows_are_mix_ups_and_an_error_is_an_error() {
        let (mut connection, now, answers) = asked(3);
        let mut tally = Tally::default();
        let mut bytes = Vec::new();
        encode::ready_for_query(&mut bytes, TransactionStatus::Idle);
        encode::data_row(&mut bytes, &[Some(b"1")]).expect("a short row");
        bytes.extend_from_slice(&reply(&answers[1..2]));
        let error = encode::ErrorReply {
            severity: encode::Severity::Error,
            sqlstate: wire::sqlstate::SqlState::INTERNAL_ERROR,
            message: "no",
            detail: None,
            hint: None,
        };
        encode::error_response(&mut bytes, &error);
        encode::ready_for_query(&mut bytes, TransactionStatus::Idle);
        connection.on_bytes(&bytes, now, &mut tally).expect("in order");
        assert_eq!((tally.answered, tally.mixed_up, tally.errors.get("XX000")), (3, 2, Some(&1)));
    }

    #[test]
    fn an_answer_without_a_question_ends_the_run() {
        let (mut connection, now, _) = asked(0);
        assert!(connection.on_bytes(&reply(&[1]), now, &mut Tally::default()).is_err());
    }
}
