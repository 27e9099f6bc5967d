//! What a probe asks of Aurora PostgreSQL, whose instances share one storage: there WAL has no positions that functions
//! tell, no timelines and no control file. Not verified on Aurora: written by its documentation, tried on a stand-in.
//!
//! An instance is asked for its own row of `aurora_replica_status()`. What that proves rests on assumptions that stand in
//! PROMISES.md; a row of which it can't be told how old it is proves nothing.

use std::time::Duration;

use tokio_postgres::Row;
use wire::lsn::{Lsn, Timeline};

use super::{Dialect, Facts, Receiver, Sizes, SlowFacts};
use crate::incarnation;

/// Looked up, because a call that fails stands in the server's log; and in the system's own schema, where users can't put
/// anything.
pub(crate) const IS_AURORA: &str = "SELECT to_regproc('pg_catalog.aurora_replica_status') IS NOT NULL \
    AND to_regproc('pg_catalog.aurora_db_instance_identifier') IS NOT NULL";

/// Its own row, the newest if there are several; one that is older than the server's start is of an earlier run.
///
/// The age is taken after the row was made, so that it is at least what it was when the row was read.
const FACTS: &str = "SELECT pg_is_in_recovery(), \
    s.session_id::text IS NOT DISTINCT FROM 'MASTER_SESSION_ID', \
    s.durable_lsn::int8, s.current_read_lsn::int8, \
    extract(epoch FROM clock_timestamp() - s.last_update_timestamp)::float8, \
    s.last_update_timestamp >= pg_postmaster_start_time() \
    FROM (VALUES (1)) AS one LEFT JOIN pg_catalog.aurora_replica_status() AS s \
    ON s.server_id::text = pg_catalog.aurora_db_instance_identifier()::text \
    ORDER BY s.last_update_timestamp DESC NULLS LAST LIMIT 1";

const SLOW_FACTS: &str = "SELECT {incarnation}";

const VERSION: &str = "SELECT current_setting('server_version')";

/// A row that is older than this proves nothing, in seconds.
const ROW_AGE_MAX: f64 = 30.0;

/// The only timeline there is: the storage is one, and goes on where a writer ended.
const TIMELINE: Timeline = Timeline(1);

/// The system of whoever Aurora itself names as an instance of the cluster. Positions of two clusters never meet here.
const SYSTEM: u64 = 1;

/// An instance's own row.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
struct Own {
    in_recovery: bool,
    writer: bool,
    durable: Option<i64>,
    read: Option<i64>,
    /// Seconds since the row was updated, by the instance's own clock.
    age: Option<f64>,
    of_this_run: Option<bool>,
}

impl Own {
    /// Who takes writes says so twice. The writer's position is what the storage has, a reader's what it shows.
    fn facts(self) -> Facts {
        let in_recovery = self.in_recovery || !self.writer;
        let age = self.age.filter(|age| (0.0..=ROW_AGE_MAX).contains(age) && self.of_this_run == Some(true));
        let at_odds = self.in_recovery == self.writer;
        let said = if in_recovery { self.read } else { self.durable };
        let position = age.and(said).and_then(|lsn| u64::try_from(lsn).ok()).filter(|_| !at_odds);
        Facts {
            in_recovery,
            position: position.map_or(Lsn::INVALID, Lsn),
            timeline: Some(TIMELINE),
            position_age: age.map_or(Duration::ZERO, Duration::from_secs_f64),
        }
    }
}

/// Amazon Aurora, which has no positions of WAL. Not verified on Aurora.
pub(super) struct Aurora;

impl Dialect for Aurora {
    fn facts_text(&self) -> &'static str {
        FACTS
    }

    fn slow_facts_text(&self) -> &'static str {
        SLOW_FACTS
    }

    fn sizes_text(&self) -> &'static str {
        VERSION
    }

    fn has_replication(&self) -> bool {
        false
    }

    fn facts(&self, row: &Row) -> Result<Facts, tokio_postgres::Error> {
        let own = Own {
            in_recovery: row.try_get(0)?,
            writer: row.try_get(1)?,
            durable: row.try_get(2)?,
            read: row.try_get(3)?,
            age: row.try_get(4)?,
            of_this_run: row.try_get(5)?,
        };
        Ok(own.facts())
    }

    fn slow_facts(&self, row: &Row) -> Result<SlowFacts, tokio_postgres::Error> {
        let incarnation: &str = row.try_get(0)?;
        Ok(SlowFacts {
            timeline: Some(TIMELINE),
            receiver: Receiver::Hidden,
            replay_paused: false,
            incarnation: incarnation::from_text(incarnation.as_bytes()),
        })
    }

    fn sizes(&self, row: &Row, vouched: bool) -> Result<Sizes, tokio_postgres::Error> {
        Ok(Sizes {
            system_identifier: vouched.then_some(SYSTEM),
            wal_block_bytes: 0,
            wal_segment_bytes: 0,
            version: row.try_get::<_, &str>(0)?.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRITER: Own = Own {
        in_recovery: false,
        writer: true,
        durable: Some(500),
        read: Some(400),
        age: Some(0.25),
        of_this_run: Some(true),
    };
    const READER: Own = Own { in_recovery: true, writer: false, ..WRITER };

    fn check(own: Own, in_recovery: bool, position: u64, age_ms: u64) {
        let expected = Facts {
            in_recovery,
            position: Lsn(position),
            timeline: Some(TIMELINE),
            position_age: Duration::from_millis(age_ms),
        };
        assert_eq!(own.facts(), expected, "{own:?}");
    }

    #[test]
    fn the_writer_stands_where_the_storage_does_and_a_reader_where_it_reads_as_long_ago_as_the_row_is_old() {
        check(WRITER, false, 500, 250);
        check(READER, true, 400, 250);
    }

    #[test]
    fn a_row_whose_age_is_unknown_or_absurd_or_that_is_of_an_earlier_run_has_no_position() {
        for age in [None, Some(-0.001), Some(30.1), Some(f64::NAN), Some(f64::INFINITY)] {
            check(Own { age, ..WRITER }, false, 0, 0);
            check(Own { age, ..READER }, true, 0, 0);
        }
        for of_this_run in [None, Some(false)] {
            check(Own { of_this_run, ..WRITER }, false, 0, 0);
            check(Own { of_this_run, ..READER }, true, 0, 0);
        }
        check(Own { durable: Some(-1), ..WRITER }, false, 0, 250);
        check(Own { read: None, ..READER }, true, 0, 250);
    }

    #[test]
    fn who_is_writer_by_one_word_only_takes_no_writes_and_proves_nothing() {
        check(Own { in_recovery: true, ..WRITER }, true, 0, 250);
        check(Own { writer: false, ..WRITER }, true, 0, 250);
        check(Own::default(), true, 0, 0);
    }
}
