//! Looks for stale reads while a target is under load: at each level, one connection writes a counter and reads it
//! again, and another one reads it too.
//!
//! On connections of its own and seldom, so that the load is not disturbed; what counts as stale is judged in `load`.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use load::ask::Asked;
use load::clock::now;
use load::stale::{Judge, Stale, Whose};

use super::tables;
use super::target::Contender;

/// The levels looked at; each has a row of its own.
pub(crate) const LEVELS: [&str; 5] = ["eventual", "bounded", "session", "causal", "strong"];

/// The probers of one target; or in words why there are none.
pub(crate) struct Probes {
    probers: Result<Vec<Prober>, String>,
}

struct Prober {
    level: &'static str,
    writer: Asked,
    reader: Asked,
    judge: Judge,
    /// It has failed: nothing more is asked of it.
    broken: Option<String>,
}

impl Probes {
    /// None, for this reason.
    pub(crate) fn none(why: &str) -> Probes {
        Probes { probers: Err(why.to_owned()) }
    }

    /// Opens the connections.
    pub(crate) fn open(contender: &Contender) -> Probes {
        let open = || -> Result<Vec<Prober>, String> {
            tables::has_probe(contender)?;
            LEVELS.iter().map(|level| Prober::open(contender, level)).collect()
        };
        Probes { probers: open() }
    }

    /// Probes one level after the other until it is told to stop.
    pub(crate) fn run(&mut self, every: Duration, stop: &AtomicBool) {
        let Ok(probers) = &mut self.probers else { return };
        for turn in 0.. {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            let begun = now();
            let index = turn % probers.len();
            probers[index].probe();
            std::thread::sleep(every.saturating_sub(begun.elapsed()));
        }
    }

    /// What was seen so far, by level; or why nothing was.
    pub(crate) fn seen(&self) -> Result<Vec<(&'static str, Stale)>, String> {
        let probers = self.probers.as_ref().map_err(String::clone)?;
        match probers.iter().find_map(|prober| prober.broken.as_ref()) {
            Some(why) if probers.iter().all(|prober| prober.judge.seen().writes == 0) => Err(why.clone()),
            _ => Ok(probers.iter().map(|prober| (prober.level, prober.judge.seen().clone())).collect()),
        }
    }
}

impl Prober {
    fn open(contender: &Contender, level: &'static str) -> Result<Prober, String> {
        let open = || -> anyhow::Result<Asked> {
            let mut asked = contender.ask()?;
            let set = asked.rows(&format!("SET highwater.consistency = '{level}'"));
            set.map_err(|error| contender.explain(&error))?;
            Ok(asked)
        };
        let pair = open().and_then(|writer| Ok((writer, open()?)));
        let (writer, reader) = pair.map_err(|error| error.to_string())?;
        Ok(Prober { level, writer, reader, judge: Judge::default(), broken: None })
    }

    /// One write, and one read on either connection. A server that refuses once may do better the next time; a
    /// connection that is gone stays gone.
    fn probe(&mut self) {
        if self.broken.is_some() {
            return;
        }
        match self.ask() {
            Ok(()) => {}
            Err(load::Error::Refused { .. }) if self.judge.seen().writes > 0 => {}
            Err(error) => self.broken = Some(error.to_string()),
        }
    }

    fn ask(&mut self) -> Result<(), load::Error> {
        let level = self.level;
        let write = format!("UPDATE highwater_bench.probe SET n = n + 1 WHERE level = '{level}' RETURNING n");
        let read = format!("SELECT n FROM highwater_bench.probe WHERE level = '{level}'");
        let written = number(&self.writer.rows(&write)?)?;
        self.judge.on_acknowledged(written, now());
        for whose in [Whose::Others, Whose::Own] {
            let asked = now();
            let rows = match whose {
                Whose::Own => self.writer.rows(&read)?,
                Whose::Others => self.reader.rows(&read)?,
            };
            self.judge.on_read(whose, number(&rows)?, asked);
        }
        Ok(())
    }
}

fn number(rows: &[load::ask::Row]) -> Result<u64, load::Error> {
    let first = rows.first().and_then(|row| row.first()).and_then(Option::as_deref);
    first
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| load::Error::Protocol("the row of the probe is gone".to_owned()))
}
