//! Banned calls outside their one place, and marks of unfinished work in comments.

use super::finding::Finding;
use super::source::{Source, words};
use super::tables::{About, BANS, Ban, UNFINISHED_MARKS};

pub(crate) fn check(source: &Source) -> Vec<Finding> {
    let mut findings: Vec<_> =
        BANS.iter().filter(|ban| holds_in(ban, &source.path)).flat_map(|ban| broken(ban, source)).collect();
    findings.extend(unfinished(source));
    findings
}

fn holds_in(ban: &Ban, path: &str) -> bool {
    let begins = |prefix: &&str| path.starts_with(*prefix);
    (ban.within.is_empty() || ban.within.iter().any(begins))
        && !ban.except.iter().any(|(prefix, _)| begins(prefix))
}

fn broken(ban: &Ban, source: &Source) -> Vec<Finding> {
    let hits = ban.words.iter().flat_map(|word| source.find(word).map(move |at| (at, word)));
    hits.filter(|&(at, _)| is_about(ban, source.is_test(at)))
        .map(|(at, word)| {
            let place = (source.path.as_str(), source.line_of(at));
            Finding::new(place, format!("`{word}`"), ban.why, ban.instead)
        })
        .collect()
}

fn is_about(ban: &Ban, is_test: bool) -> bool {
    match ban.about {
        About::Product => !is_test,
        About::Tests => is_test,
        About::Both => true,
    }
}

fn unfinished(source: &Source) -> Vec<Finding> {
    let hits =
        UNFINISHED_MARKS.iter().flat_map(|mark| words(&source.comments, mark).map(move |at| (at, mark)));
    hits.map(|(at, mark)| {
        let place = (source.path.as_str(), source.line_of(at));
        let instead = "finish it, or open an issue and say in the docs what is not covered";
        Finding::new(place, format!("`{mark}`"), "unfinished code is not landed", instead)
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::{Source, check};

    fn whats(path: &str, text: &str) -> Vec<String> {
        check(&Source::new(path, text)).into_iter().map(|finding| finding.what).collect()
    }

    #[test]
    fn the_clock_is_read_in_one_file_only_and_not_even_by_tests() {
        let text = "fn f() { let t = std::time::Instant::now(); }";
        assert_eq!(whats("crates/daemon/src/client.rs", text), ["`Instant::now`"]);
        assert_eq!(whats("crates/engine/src/pool/tests.rs", text), ["`Instant::now`"]);
        assert!(whats("crates/daemon/src/clock.rs", text).is_empty());
        assert!(whats("crates/highwater/tests/routing.rs", text).is_empty());
    }

    #[test]
    fn tasks_are_started_in_one_place_only() {
        let text = "fn f() { tokio::spawn(g()); std::thread::spawn(h); }";
        assert_eq!(whats("crates/daemon/src/monitor.rs", text).len(), 2);
        assert!(whats("crates/daemon/src/run.rs", text).is_empty());
    }

    #[test]
    fn unbounded_channels_are_refused_and_bounded_ones_are_not() {
        assert_eq!(whats("crates/daemon/src/a.rs", "let (a, b) = mpsc::channel();").len(), 1);
        assert!(whats("crates/daemon/src/a.rs", "let (a, b) = mpsc::channel(QUEUE_MAX);").is_empty());
    }

    #[test]
    fn unwrap_and_printing_are_for_tests_and_the_command() {
        let text = "fn f() { println!(\"{}\", x.unwrap()); }";
        assert_eq!(whats("crates/daemon/src/a.rs", text).len(), 2);
        assert_eq!(whats("crates/highwater/src/main.rs", text), ["`.unwrap()`"]);
        assert!(whats("crates/daemon/src/a.rs", &format!("#[cfg(test)]\nmod tests {{ {text} }}")).is_empty());
    }

    #[test]
    fn tests_below_end_to_end_do_not_sleep() {
        let text = "async fn f() { tokio::time::sleep(A).await; }";
        assert_eq!(whats("crates/daemon/src/mail/tests.rs", text), ["`time::sleep`"]);
        assert!(whats("crates/daemon/src/mail.rs", text).is_empty());
        assert!(whats("crates/highwater/tests/e2e/harness/mod.rs", text).is_empty());
    }

    #[test]
    fn pure_crates_neither_read_files_nor_lock() {
        let text = "use std::fs; use std::sync::Mutex;";
        assert_eq!(whats("crates/engine/src/a.rs", text), ["`std::fs`", "`Mutex`"]);
        assert!(whats("crates/daemon/src/a.rs", text).is_empty());
    }

    #[test]
    fn unfinished_marks_are_found_in_comments_and_not_in_strings() {
        assert_eq!(whats("crates/sql/src/a.rs", "// TODO: later\nfn f() { todo!() }").len(), 2);
        assert!(whats("crates/sql/src/a.rs", "const A: &str = \"TODO\"; // see todo lists").is_empty());
    }
}
