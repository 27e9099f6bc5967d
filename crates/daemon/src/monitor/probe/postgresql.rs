//! The statements of a probe for PostgreSQL itself, and what their rows say.
//!
//! Three, by how fast their answers change. [`FACTS`] costs the node about 12 µs; [`SLOW_FACTS`] reads the control file;
//! [`SIZES`] don't change while a connection lasts. Each works for an ordinary role, on PostgreSQL 14 to 18, on a primary
//! and on a replica; a role with `pg_monitor` also sees the WAL receiver, whose timeline is exact where the control file's
//! lags.

use std::time::Duration;

use tokio_postgres::Row;
use tokio_postgres::types::PgLsn;
use wire::lsn::{Lsn, Timeline};

use super::{Dialect, Facts, Receiver, Sizes, SlowFacts};
use crate::incarnation;

/// Role, position and timeline in one row.
///
/// The role is read once, in a subquery that the planner may not flatten (its function is volatile), so that a promotion
/// between two columns can't pair "in recovery" with an insert position. Functions that raise in the other role stand in
/// CASE branches; all are volatile or take a volatile argument, so that none is evaluated while planning. The receiver's
/// timeline stands behind the replay position because columns are evaluated in order: a timeline read later than the
/// position can only be one that contains it.
const FACTS: &str = "SELECT r, \
    CASE WHEN r THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_insert_lsn() END, \
    CASE WHEN r THEN NULL ELSE pg_walfile_name(pg_current_wal_insert_lsn()) END, \
    CASE WHEN r THEN (SELECT received_tli FROM pg_stat_get_wal_receiver()) END \
    FROM (SELECT pg_is_in_recovery() AS r) AS role";

/// Both timelines of the control file are those of WAL that this replica has replayed: at most the one it is on.
const SLOW_FACTS: &str = "SELECT \
    greatest(m.min_recovery_end_timeline, c.timeline_id), \
    w.pid IS NOT NULL, w.status, \
    CASE WHEN pg_is_in_recovery() THEN pg_get_wal_replay_pause_state() END, \
    {incarnation} \
    FROM pg_control_recovery() AS m CROSS JOIN pg_control_checkpoint() AS c \
    LEFT JOIN pg_stat_get_wal_receiver() AS w ON true";

const SIZES: &str = "SELECT s.system_identifier, i.wal_block_size, i.bytes_per_wal_segment, \
    current_setting('server_version') \
    FROM pg_control_system() AS s CROSS JOIN pg_control_init() AS i";

/// PostgreSQL, 14 to 18.
pub(super) struct PostgreSql;

impl Dialect for PostgreSql {
    fn facts_text(&self) -> &'static str {
        FACTS
    }

    fn slow_facts_text(&self) -> &'static str {
        SLOW_FACTS
    }

    fn sizes_text(&self) -> &'static str {
        SIZES
    }

    fn has_replication(&self) -> bool {
        true
    }

    fn facts(&self, row: &Row) -> Result<Facts, tokio_postgres::Error> {
        let in_recovery: bool = row.try_get(0)?;
        let position: Option<PgLsn> = row.try_get(1)?;
        let walfile: Option<&str> = row.try_get(2)?;
        let received: Option<i32> = row.try_get(3)?;
        Ok(Facts {
            in_recovery,
            position: position.map_or(Lsn::INVALID, |lsn| Lsn(u64::from(lsn))),
            timeline: if in_recovery {
                timeline(received)
            } else {
                walfile.and_then(Timeline::from_walfile_name)
            },
            position_age: Duration::ZERO,
        })
    }

    fn slow_facts(&self, row: &Row) -> Result<SlowFacts, tokio_postgres::Error> {
        let has_receiver: bool = row.try_get(1)?;
        let status: Option<&str> = row.try_get(2)?;
        let pause: Option<&str> = row.try_get(3)?;
        let incarnation: &str = row.try_get(4)?;
        Ok(SlowFacts {
            timeline: timeline(row.try_get(0)?),
            receiver: match (has_receiver, status) {
                (false, _) => Receiver::Absent,
                (true, None) => Receiver::Hidden,
                (true, Some(status)) => Receiver::State(status.into()),
            },
            replay_paused: pause.is_some_and(|state| state != "not paused"),
            incarnation: incarnation::from_text(incarnation.as_bytes()),
        })
    }

    fn sizes(&self, row: &Row, _vouched: bool) -> Result<Sizes, tokio_postgres::Error> {
        let bytes = |index| -> Result<u32, tokio_postgres::Error> {
            // Sizes are powers of two up to 1 GiB; 0 makes `normalise` change nothing.
            Ok(u32::try_from(row.try_get::<_, i32>(index)?).unwrap_or(0))
        };
        Ok(Sizes {
            system_identifier: Some(row.try_get::<_, i64>(0)?.cast_unsigned()),
            wal_block_bytes: bytes(1)?,
            wal_segment_bytes: bytes(2)?,
            version: row.try_get::<_, &str>(3)?.into(),
        })
    }
}

/// Timeline 0 is PostgreSQL's "none".
fn timeline(id: Option<i32>) -> Option<Timeline> {
    id.and_then(|id| u32::try_from(id).ok()).filter(|&id| id != 0).map(Timeline)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_timeline_is_not_timeline_zero() {
        assert_eq!(timeline(Some(0)), None);
        assert_eq!(timeline(Some(-1)), None);
        assert_eq!(timeline(Some(3)), Some(Timeline(3)));
    }
}
