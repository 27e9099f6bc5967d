//! The proof that a replica follows: positions of the primary, and how long after them the replica shows them.
//!
//! Nothing is believed of what the replica or the primary says about lag: a commit is made on the primary, and the time is
//! taken from its acknowledgement until the replica has replayed it, by one clock.

use std::time::Duration;

use anyhow::Context;
use daemon::clock::Clock;
use tokio_postgres::Client;
use wire::lsn::{Lsn, normalise};

use super::facts::Facts;
use crate::failure;

/// Commits that are timed.
const SAMPLES: usize = 9;

/// Between two looks at the replica: what a measured lag may be too long by.
const LOOK_EVERY: Duration = Duration::from_micros(200);

/// Longest time one commit may take to show.
const SAMPLE_MAX: Duration = Duration::from_secs(60);

/// Longest time without any progress while catching up.
const STALL_MAX: Duration = Duration::from_secs(60);

/// What was measured.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Lag {
    pub(crate) median: Duration,
    pub(crate) worst: Duration,
    pub(crate) samples: usize,
}

/// Sizes that a position must be corrected by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wal {
    block: u32,
    segment: u32,
}

impl Wal {
    /// As the primary says.
    pub(crate) fn of(facts: &Facts) -> Wal {
        let size = |name| facts.number(name).and_then(|n| u32::try_from(n).ok()).unwrap_or(0);
        Wal { block: size("wal_block_size"), segment: size("wal_segment_size") }
    }
}

/// Waits until the replica has a WAL receiver and shows what the primary has at this moment. `told` hears, about once a
/// second, how many bytes are missing.
pub(crate) async fn caught_up(
    primary: &Client,
    replica: &Client,
    wal: Wal,
    told: impl Fn(u64),
) -> anyhow::Result<()> {
    const POLL: Duration = Duration::from_millis(50);
    let goal = position(primary, wal).await?;
    let (mut best, mut still, mut looks) = (Lsn::INVALID, Duration::ZERO, 0_u32);
    loop {
        let (replayed, receives) = follows(replica).await?;
        if replayed >= goal && receives {
            return Ok(());
        }
        if replayed > best {
            (best, still) = (replayed, Duration::ZERO);
        }
        if still >= STALL_MAX {
            return Err(failure::failed(format!(
                "the replica does not follow: for {} s it has shown nothing beyond {replayed}, and the primary was at {goal}",
                STALL_MAX.as_secs()
            )));
        }
        looks += 1;
        if looks.is_multiple_of(20) {
            told(goal.distance(replayed));
        }
        tokio::time::sleep(POLL).await;
        still += POLL;
    }
}

/// How far it has replayed, and whether it receives.
async fn follows(replica: &Client) -> anyhow::Result<(Lsn, bool)> {
    let text = "SELECT pg_last_wal_replay_lsn()::text, \
                EXISTS (SELECT FROM pg_stat_wal_receiver WHERE coalesce(status, 'streaming') = 'streaming')";
    let row = replica.query_one(text, &[]).await.context("the replica has stopped answering")?;
    let replayed: Option<String> = row.try_get(0)?;
    Ok((lsn(replayed.as_deref()), row.try_get(1)?))
}

/// Commits on the primary and times the replica.
pub(crate) async fn measure(primary: &Client, replica: &Client, wal: Wal) -> anyhow::Result<Lag> {
    let clock = Clock::new();
    let mut times = Vec::new();
    for _ in 0..SAMPLES {
        let goal = commit(primary, wal).await?;
        let begin = clock.now();
        while replayed(replica).await? < goal {
            let waited = clock.now().since(begin);
            if waited > SAMPLE_MAX {
                return Err(failure::failed(format!(
                    "a commit on the primary does not show on the replica after {} s: is replay paused, or a lock in its way?",
                    SAMPLE_MAX.as_secs()
                )));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        times.push(clock.now().since(begin));
    }
    times.sort();
    let worst = times.last().copied().expect("there are samples");
    Ok(Lag { median: times[SAMPLES / 2], worst, samples: SAMPLES })
}

/// A commit that changes nothing but the WAL, flushed, whatever the primary's default is; and the position behind it.
async fn commit(primary: &Client, wal: Wal) -> anyhow::Result<Lsn> {
    let text = "SET synchronous_commit = local; SELECT pg_logical_emit_message(true, 'highwater', 'lag')";
    primary.batch_execute(text).await.context("can't commit on the primary")?;
    position(primary, wal).await
}

/// Where the primary is: what is flushed, since nothing else is sent.
async fn position(primary: &Client, wal: Wal) -> anyhow::Result<Lsn> {
    let row = primary.query_one("SELECT pg_current_wal_flush_lsn()::text", &[]).await;
    let text: String = row.context("the primary has stopped answering")?.try_get(0)?;
    Ok(normalise(lsn(Some(&text)), wal.block, wal.segment))
}

async fn replayed(replica: &Client) -> anyhow::Result<Lsn> {
    let row = replica.query_one("SELECT pg_last_wal_replay_lsn()::text", &[]).await;
    let text: Option<String> = row.context("the replica has stopped answering")?.try_get(0)?;
    Ok(lsn(text.as_deref()))
}

/// No position is before every other.
pub(crate) fn lsn(text: Option<&str>) -> Lsn {
    text.and_then(|text| text.parse().ok()).unwrap_or(Lsn::INVALID)
}
