//! What a run found, as one value: everything that the table, the JSON and the page show is in it.
//!
//! Its fields are the JSON's: they are added, never renamed or removed, within one `format`. What is unknown is null,
//! never zero.

mod figures;
mod page;
mod plot;
pub(crate) mod text;

use std::path::Path;

use load::machine::{Machine, load_average};
use serde::Serialize;

use self::figures::TargetReport;
use super::args::{self, Shown};
use super::rounds::{End, Lane, Plan};
use super::workload::Workload;
use crate::{failure, output};

/// Raised when a field is renamed or removed.
const FORMAT: u32 = 1;
/// A generator that uses more of a core than this may be what limits the figures.
const GENERATOR_MAX: f64 = 0.85;

/// A whole run.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    format: u32,
    highwater: String,
    /// The command line; passwords are left out.
    command: String,
    machine: Machine,
    load_average_after: f64,
    run: RunReport,
    /// How the servers of `bench local` were limited; null elsewhere.
    pub(crate) servers: Option<ServersReport>,
    /// The run was ended before its time.
    interrupted: bool,
    pub(crate) warnings: Vec<String>,
    targets: Vec<TargetReport>,
}

/// What was run.
#[derive(Debug, Serialize)]
pub(crate) struct RunReport {
    workload: String,
    write_ratio: Option<f64>,
    /// Of the tables; null for a file.
    scale: Option<u32>,
    protocol: String,
    /// What connections set; null for the router's own default.
    level: Option<String>,
    clients: u32,
    /// Arrivals a second of an open loop; null for a closed one.
    rate: Option<f64>,
    arrivals: Option<String>,
    queue_max: Option<usize>,
    /// Of each target, all rounds together.
    seconds: f64,
    warmup_seconds: f64,
    rounds: u32,
}

/// How the servers of `bench local` shared the processor.
#[derive(Debug, Serialize)]
pub(crate) struct ServersReport {
    /// Cores of each; null without a limit.
    pub(crate) cores: Option<f64>,
    /// `cgroup v2`, `cgroup v1`, `pinned` or `none`.
    pub(crate) how: String,
    /// A sentence for people.
    pub(crate) note: String,
    /// Each server had its own share, so that more of them can do more.
    pub(crate) shows_scaling: bool,
}

impl Report {
    /// Before the run: the machine is looked at.
    pub(crate) fn begin(run: &args::Run, workload: &Workload, scale: u32, plan: &Plan) -> Report {
        let write_ratio = match workload {
            Workload::Api(ratio) => Some(*ratio),
            Workload::Tpcb | Workload::Own(..) => None,
        };
        let open = run.timing.rate.is_some();
        let run = RunReport {
            workload: workload.name().to_owned(),
            write_ratio,
            scale: (!matches!(workload, Workload::Own(..))).then_some(scale),
            protocol: args::word(&run.asking.protocol),
            level: run.asking.level.as_ref().map(args::word),
            clients: run.asking.clients,
            rate: run.timing.rate,
            arrivals: open.then(|| args::word(&run.timing.arrivals)),
            queue_max: open.then_some(run.timing.queue),
            seconds: plan.time.as_secs_f64(),
            warmup_seconds: plan.warmup.as_secs_f64(),
            rounds: plan.rounds,
        };
        Report {
            format: FORMAT,
            highwater: env!("CARGO_PKG_VERSION").to_owned(),
            command: command(std::env::args()),
            machine: Machine::look(),
            load_average_after: 0.0,
            run,
            servers: None,
            interrupted: false,
            warnings: Vec::new(),
            targets: Vec::new(),
        }
    }

    /// After the run.
    pub(crate) fn finish(&mut self, lanes: &[Lane], plan: &Plan, end: Option<End>) {
        self.load_average_after = load_average();
        self.interrupted = end != Some(End::Whole);
        if self.interrupted {
            self.warnings.push("the run ended early: these are the figures up to there".to_owned());
        }
        let measured: Vec<&Lane> = lanes.iter().filter(|lane| !lane.turns.is_empty()).collect();
        self.targets = measured.iter().map(|lane| TargetReport::of(lane, measured[0], plan)).collect();
        for (lane, target) in measured.iter().zip(&self.targets) {
            let name = &lane.contender.name;
            let busiest = lane.turns.iter().map(|turn| turn.generator).fold(0.0, f64::max);
            if busiest > GENERATOR_MAX {
                self.warnings.push(format!(
                    "the load generator used {busiest:.2} cores against {name}: it may be what limits the figures"
                ));
            }
            self.warnings.extend(target.warnings());
        }
    }

    /// Prints it, and writes the files that were asked for.
    pub(crate) fn write(&self, shown: &Shown) -> anyhow::Result<()> {
        let json = || serde_json::to_string_pretty(self).map(|text| text + "\n");
        match shown.json.as_deref() {
            Some(path) if path == Path::new("-") => {
                output::text(&json()?);
            }
            Some(path) => {
                output::text(&text::render(self));
                save(path, &json()?)?;
            }
            None => {
                output::text(&text::render(self));
            }
        }
        match shown.html.as_deref() {
            Some(path) => save(path, &page::render(self)),
            None => Ok(()),
        }
    }

    /// A run that measured nothing, or got the answers to other questions, has failed, however well it is reported.
    pub(crate) fn verdict(&self) -> anyhow::Result<()> {
        for TargetReport { name, total, course, first_mix_up, .. } in &self.targets {
            if let Some(first) = first_mix_up {
                return Err(failure::failed(format!(
                    "{name} gave answers that were not those to their questions, the first: {first}: report it"
                )));
            }
            if total.counts.transactions == 0 && total.counts.errors > 0 {
                let (code, first) = course.error_examples.iter().next().unzip();
                return Err(failure::failed(format!(
                    "no transaction on {name} succeeded, so nothing was measured there: {} ({}); mend the statements or the target",
                    first.map_or("no error was kept", String::as_str),
                    code.map_or("-", String::as_str)
                )));
            }
        }
        Ok(())
    }
}

/// Whether the files that were asked for can be written, before minutes are spent on what goes into them.
pub(crate) fn check_files(shown: &Shown) -> anyhow::Result<()> {
    let paths = shown.json.iter().chain(&shown.html).filter(|path| path.as_path() != Path::new("-"));
    for path in paths {
        let there = path.exists();
        if let Err(error) = std::fs::OpenOptions::new().append(true).create(true).open(path) {
            return Err(failure::usage(format!(
                "can't write {}: {error}; give a file in a directory that is there and writable",
                path.display()
            )));
        }
        if !there {
            let _ = std::fs::remove_file(path);
        }
    }
    Ok(())
}

fn save(path: &Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(path, text)
        .map_err(|error| failure::failed(format!("can't write {}: {error}", path.display())))
}

/// The command line without passwords: `user:password@` and `password=…` lose theirs.
fn command(words: impl Iterator<Item = String>) -> String {
    let shown = words.enumerate().map(|(index, word)| {
        if index == 0 {
            return word.rsplit('/').next().unwrap_or_default().to_owned();
        }
        let word = without_password(&word);
        let quoted = word.contains([' ', '\'', '"', '&', '?']);
        if quoted { format!("'{}'", word.replace('\'', "'\\''")) } else { word }
    });
    shown.collect::<Vec<_>>().join(" ")
}

fn without_password(word: &str) -> String {
    let mut text = word.to_owned();
    if let Some(begin) = text.find("://").map(|at| at + 3) {
        let end = text[begin..].find('/').map_or(text.len(), |slash| begin + slash);
        // A password may hold an unescaped `@` or `/`: the last `@` of the whole ends it.
        let at = text[begin..end].rfind('@').or_else(|| text[begin..].rfind('@')).map(|at| begin + at);
        if let Some(at) = at
            && let Some(colon) = text[begin..at].find(':')
        {
            text.replace_range(begin + colon..at, "");
        }
    }
    while let Some(begin) = text.find("password=") {
        let value = begin + "password=".len();
        let quoted = text[value..].starts_with('\'');
        let end = if quoted {
            text[value + 1..].find('\'').map_or(text.len(), |quote| value + quote + 2)
        } else {
            text[value..].find([' ', '&']).map_or(text.len(), |blank| value + blank)
        };
        text.replace_range(begin..end, "password_left_out");
    }
    text
}

#[cfg(test)]
mod tests;
