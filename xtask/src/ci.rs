//! The one gate, the same on a laptop and in CI: runs every step, goes on after a failure, sums up at the end.
//!
//! The tests run last and in one go, so that the test runner's closing line counts all of them.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, io};

use crate::book;
use crate::deploy::{self, Answer};
use crate::{terraform, tidy};

/// How much is tested.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    Usual,
    /// Also what the suite marks as slow: it looks for `HIGHWATER_TEST_FULL=1`.
    Full,
}

/// What became of a step.
#[derive(PartialEq, Eq, Debug)]
enum Outcome {
    Passed,
    /// What was judged is well; the text says what was not.
    PassedWithout(String),
    Failed,
    /// Nothing was judged; the text says why: the tool is not installed, or what it compares with was made elsewhere.
    Skipped(String),
}

struct Step {
    name: &'static str,
    outcome: Outcome,
    took: Duration,
}

/// Runs the gate and says whether every step passed.
pub(crate) fn run(root: &Path, extent: Extent) -> io::Result<bool> {
    let mut steps = vec![
        step("format", || cargo(root, &["fmt", "--all", "--check"], &[]))?,
        step("tidy", || tidy::run(root).map(verdict))?,
        step("lints", || {
            cargo(root, &["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"], &[])
        })?,
        step("docs", || {
            cargo(root, &["doc", "--workspace", "--no-deps", "--quiet"], &[("RUSTDOCFLAGS", "-D warnings")])
        })?,
        step("dependencies", || dependencies(root))?,
        step("instructions", || instructions(root))?,
        step("book", || book::build(root).map(outcome))?,
        step("alerts", || deploy::alerts(root).map(outcome))?,
        step("terraform", || terraform::check(root).map(outcome))?,
        step("kubernetes", || deploy::kubernetes(root).map(outcome))?,
        step("systemd", || deploy::systemd(root).map(outcome))?,
        step("doc tests", || cargo(root, &["test", "--workspace", "--doc", "--quiet"], &[]))?,
    ];
    steps.push(step("tests", || every_test(root, extent))?);
    print_summary(&steps);
    Ok(!steps.iter().any(|step| matches!(step.outcome, Outcome::Failed)))
}

fn every_test(root: &Path, extent: Extent) -> io::Result<Outcome> {
    let file = deploy::target(root).join("tests-left-out.txt");
    match fs::remove_file(&file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let path = file.to_string_lossy();
    let mut environment = vec![("HIGHWATER_TEST_LEFT_OUT", &*path)];
    if extent == Extent::Full {
        environment.push(("HIGHWATER_TEST_FULL", "1"));
    }
    let runner: &[&str] =
        if has_subcommand(root, "nextest")? { &["nextest", "run"] } else { &["test", "--all-targets"] };
    let arguments = [runner, &["--workspace", "--no-fail-fast"]].concat();
    let outcome = cargo(root, &arguments, &environment)?;
    Ok(with_left_out(outcome, &fs::read_to_string(&file).unwrap_or_default()))
}

/// What tests did not judge for want of something, a line each time, is said once, behind their own output and in the summary.
fn with_left_out(outcome: Outcome, lines: &str) -> Outcome {
    let distinct: BTreeSet<&str> = lines.lines().collect();
    for line in &distinct {
        println!("left out: {line}");
    }
    let subjects: BTreeSet<&str> = distinct.iter().filter_map(|line| line.split(':').next()).collect();
    match outcome {
        Outcome::Passed if !subjects.is_empty() => {
            Outcome::PassedWithout(subjects.into_iter().collect::<Vec<_>>().join("; "))
        }
        other => other,
    }
}

/// What `steps check` exits with when counts differ and were made elsewhere.
const STEPS_NOT_JUDGED: i32 = 4;

/// Instructions of the pure steps, against the counts in the repository. In release: the counts of another profile say nothing.
fn instructions(root: &Path) -> io::Result<Outcome> {
    let mut valgrind = Command::new("valgrind");
    valgrind.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if !valgrind.status().is_ok_and(|status| status.success()) {
        let what = "skipped: valgrind is not installed (apt-get install valgrind)";
        println!("{what}");
        return Ok(Outcome::Skipped(what.to_owned()));
    }
    let mut check = Command::new(cargo_path());
    check.current_dir(root).args(["run", "--release", "--quiet", "-p", "steps", "--"]);
    check.args(["check", "bench/steps.json"]);
    let status = check.stdin(Stdio::null()).status()?;
    if status.code() == Some(STEPS_NOT_JUDGED) {
        return Ok(Outcome::Skipped(
            "not judged: the counts are of another compiler or processor".to_owned(),
        ));
    }
    Ok(verdict(status.success()))
}

fn dependencies(root: &Path) -> io::Result<Outcome> {
    if !has_subcommand(root, "deny")? {
        let what = "skipped: cargo-deny is not installed (cargo install --locked cargo-deny)";
        println!("{what}");
        return Ok(Outcome::Skipped(what.to_owned()));
    }
    cargo(root, &["deny", "--all-features", "check", "licenses", "bans", "sources"], &[])
}

fn step(name: &'static str, run: impl FnOnce() -> io::Result<Outcome>) -> io::Result<Step> {
    println!("\n== {name}");
    let started = Instant::now();
    let outcome = run()?;
    Ok(Step { name, outcome, took: started.elapsed() })
}

fn cargo(root: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> io::Result<Outcome> {
    let mut command = Command::new(cargo_path());
    command.current_dir(root).args(arguments).envs(environment.iter().copied()).stdin(Stdio::null());
    command.status().map(|status| verdict(status.success()))
}

fn has_subcommand(root: &Path, name: &str) -> io::Result<bool> {
    let mut command = Command::new(cargo_path());
    command.current_dir(root).args([name, "--version"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().map(|status| status.success())
}

/// The cargo that started this tool, so that every step uses the same toolchain.
fn cargo_path() -> std::ffi::OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

fn verdict(is_well: bool) -> Outcome {
    if is_well { Outcome::Passed } else { Outcome::Failed }
}

fn outcome(answer: Answer) -> Outcome {
    match answer {
        Answer::Good => Outcome::Passed,
        Answer::Bad => Outcome::Failed,
        Answer::Skipped(what) => Outcome::Skipped(what),
    }
}

fn print_summary(steps: &[Step]) {
    println!("\n== summary");
    for Step { name, outcome, took } in steps {
        let word = match outcome {
            Outcome::Passed => "ok",
            Outcome::Failed => "FAILED",
            Outcome::PassedWithout(what) => &format!("ok, without {what}"),
            Outcome::Skipped(what) => what,
        };
        println!("{name:<14}{:>8.1} s  {word}", took.as_secs_f64());
    }
    let total: Duration = steps.iter().map(|step| step.took).sum();
    println!("{:<14}{:>8.1} s", "total", total.as_secs_f64());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_tests_left_out_is_in_the_summary_once_and_saves_no_failure() {
        let lines = "Patroni: etcd is not installed\nPrometheus: it is not installed\nPatroni: etcd is not installed\n";
        let outcome = with_left_out(Outcome::Passed, lines);
        assert_eq!(outcome, Outcome::PassedWithout("Patroni; Prometheus".to_owned()));
        assert_eq!(with_left_out(Outcome::Failed, lines), Outcome::Failed);
        assert_eq!(with_left_out(Outcome::Passed, ""), Outcome::Passed);
    }
}
