//! Counts by valgrind, and what has become of them.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};

use crate::step::{STEPS, Step};

/// A step may need this much more or less than is written, in percent.
const TOLERANCE: f64 = 5.0;
/// Exit status: something needed is not installed.
const NOT_INSTALLED: u8 = 3;
/// Exit status: steps differ, but the counts in force were not made here.
const NOT_JUDGED: u8 = 4;

/// The file.
#[derive(Serialize, Deserialize)]
struct Counts {
    /// Compiler and processor; counts of another one are not comparable.
    made_by: String,
    /// Instructions of each step, once.
    instructions: BTreeMap<String, u64>,
}

/// What became of a step.
#[derive(Debug, PartialEq)]
enum Verdict {
    Kept,
    Changed(f64),
}

/// Says something to whoever watches.
#[expect(clippy::print_stderr, reason = "this is the one place")]
pub(crate) fn say(text: &str) {
    eprintln!("{text}");
}

/// Counts and compares.
pub(crate) fn check(file: &Path) -> anyhow::Result<ExitCode> {
    if !has_valgrind() {
        say("steps: NOT CHECKED: valgrind is not installed (apt-get install valgrind)");
        return Ok(ExitCode::from(NOT_INSTALLED));
    }
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let known: Counts =
        serde_json::from_str(&text).with_context(|| format!("{} is not in order", file.display()))?;
    if let Some(name) = known.instructions.keys().find(|name| STEPS.iter().all(|step| step.name != *name)) {
        bail!("{} has '{name}', which is no step: what it counted is not watched any more", file.display());
    }
    let made_by = made_by();
    let mut changed = 0;
    for Step { name, .. } in STEPS {
        let now = count(name)?;
        let Some(&before) = known.instructions.get(*name) else {
            bail!("{} has no step '{name}'", file.display())
        };
        let note = match judge(before, now) {
            Verdict::Kept => String::new(),
            Verdict::Changed(percent) => {
                changed += 1;
                format!("  {percent:+.1} % against {before}")
            }
        };
        say(&format!("{name:<32} {now:>9} instructions{note}"));
    }
    if changed == 0 {
        return Ok(ExitCode::SUCCESS);
    }
    let update = format!(
        "cargo run --release -p steps -- update {}",
        file.strip_prefix(std::env::current_dir()?).unwrap_or(file).display()
    );
    if known.made_by != made_by {
        say(&format!(
            "steps: {changed} differ by more than {TOLERANCE} %, but the file is of {}, this is {made_by}: not judged. To renew it: {update}",
            known.made_by
        ));
        return Ok(ExitCode::from(NOT_JUDGED));
    }
    say(&format!(
        "steps: {changed} of {} steps need more than {TOLERANCE} % more or fewer instructions than {} says. If that is meant, say why in the commit and run: {update}",
        STEPS.len(),
        file.display()
    ));
    Ok(ExitCode::FAILURE)
}

/// Counts and writes.
pub(crate) fn update(file: &Path) -> anyhow::Result<()> {
    if !has_valgrind() {
        bail!("valgrind is not installed (apt-get install valgrind)");
    }
    let mut instructions = BTreeMap::new();
    for Step { name, .. } in STEPS {
        let now = count(name)?;
        say(&format!("{name:<32} {now:>9} instructions"));
        instructions.insert((*name).to_owned(), now);
    }
    let counts = Counts { made_by: made_by(), instructions };
    let text = serde_json::to_string_pretty(&counts)? + "\n";
    std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}

/// The compiler that is in use, and has just made this program if cargo runs it; and the processor, by which the C
/// library chooses how to copy and compare.
fn made_by() -> String {
    let output = Command::new("rustc").arg("--version").output();
    let compiler = output.map_or_else(
        |_| "an unknown compiler".to_owned(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    );
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    format!("{compiler} on {}", processor(&cpuinfo).unwrap_or("an unknown processor"))
}

/// The model that `/proc/cpuinfo` names first.
fn processor(cpuinfo: &str) -> Option<&str> {
    let line = cpuinfo.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim())
}

fn judge(before: u64, now: u64) -> Verdict {
    let percent = (now as f64 / before.max(1) as f64 - 1.0) * 100.0;
    if percent.abs() <= TOLERANCE { Verdict::Kept } else { Verdict::Changed(percent) }
}

fn has_valgrind() -> bool {
    let mut command = Command::new("valgrind");
    command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Instructions of one step: what three times as many rounds need more, shared by them.
fn count(name: &str) -> anyhow::Result<u64> {
    let Step { times, .. } = STEPS.iter().find(|step| step.name == name).context("no such step")?;
    let (few, many) = (collected(name, *times)?, collected(name, times * 3)?);
    Ok(many.saturating_sub(few) / u64::from(times * 2))
}

fn collected(name: &str, times: u32) -> anyhow::Result<u64> {
    let program = std::env::current_exe().context("cannot find this program")?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program)
        .args(["run", name, &times.to_string()])
        .stdin(Stdio::null())
        .output()
        .context("cannot start valgrind")?;
    let text = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        bail!("'{name}' fails under valgrind:\n{text}");
    }
    parse(&text).with_context(|| format!("valgrind does not say what it collected:\n{text}"))
}

/// The number behind `Collected :`.
fn parse(text: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.contains("Collected"))?;
    line.split_once(':')?.1.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_valgrind_collected_is_read() {
        let text = "==7== Events    : Ir\n==7== Collected : 12345678\n==7== \n";
        assert_eq!(parse(text), Some(12_345_678));
        assert_eq!(parse("==7== nothing"), None);
    }

    #[test]
    fn the_processor_is_named() {
        assert_eq!(processor("processor\t: 0\nmodel name\t: A B\nmodel name\t: C\n"), Some("A B"));
        assert_eq!(processor(""), None);
    }

    #[test]
    fn five_percent_are_kept_and_more_is_a_change_either_way() {
        assert_eq!(judge(1000, 1049), Verdict::Kept);
        assert_eq!(judge(1000, 951), Verdict::Kept);
        assert!(matches!(judge(1000, 1060), Verdict::Changed(percent) if percent > 5.9));
        assert!(matches!(judge(1000, 900), Verdict::Changed(percent) if percent < -9.0));
    }
}
