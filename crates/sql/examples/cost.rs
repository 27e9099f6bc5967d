//! What classifying costs: nanoseconds per text, by the lexer, by both tiers, and by a memo that knows the text.
//!
//! Not a benchmark to compare machines by; run it twice, before and after a change.
#![expect(clippy::print_stdout, clippy::disallowed_methods, reason = "an example that measures")]

use std::hint::black_box;
use std::time::Instant;

use sql::{Catalogue, Environment, Memo, SearchPath};

const ROUNDS: u32 = 1_000;

fn main() {
    let catalogue = Catalogue::builtin();
    let search_path = SearchPath::parse("\"$user\", public", "app");
    let env =
        Environment { catalogue: &catalogue, search_path: &search_path, standard_conforming_strings: true };
    let mut memo = Memo::new(1 << 20);
    println!("{:>8} {:>8} {:>8}  text", "lexer", "both", "memo");
    for text in [
        "SELECT 1",
        "SELECT abalance FROM pgbench_accounts WHERE aid = 1",
        "SELECT abalance FROM pgbench_accounts WHERE aid = $1",
        "SELECT count(*), max(u.created_at) FROM users u JOIN orders o ON o.user_id = u.id WHERE lower(u.email) = $1",
        "UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid = 1",
        "BEGIN",
        "SET search_path = app, public",
        "WITH x AS (SELECT a FROM t WHERE b = 1) SELECT * FROM x",
    ] {
        let text = black_box(text.as_bytes());
        let lexer = nanoseconds(|| drop(black_box(sql::classify_lexer_only(text, &env))));
        let both = nanoseconds(|| drop(black_box(sql::classify(text, &env))));
        let hit = nanoseconds(|| drop(black_box(memo.get_or_classify(text, 1, &env))));
        println!("{lexer:>8.1} {both:>8.1} {hit:>8.1}  {}", String::from_utf8_lossy(text));
    }
}

/// The least of many short runs, since the machine has other things to do.
fn nanoseconds(mut run: impl FnMut()) -> f64 {
    let rounds = (0..500).map(|_| {
        let start = Instant::now();
        for _ in 0..ROUNDS {
            run();
        }
        start.elapsed().as_secs_f64() * 1e9 / f64::from(ROUNDS)
    });
    rounds.fold(f64::INFINITY, f64::min)
}
