//! Runs `testdata/*.cases`: each line says what a statement is, and both tiers must agree with it.
//!
//! ```text
//! # a comment
//! @path public, pg_catalog                          (search_path)
//! @strings off                                      (standard_conforming_strings)
//! @function public.touch 1 2 volatile               (least and most arguments; * is VARIADIC)
//! @operator public.<~> volatile
//! @type public.checked volatile
//! @relation public.users plain permanent
//! @view public.v select …
//! @policy public.users touch(1) > 0
//! class | why | effects, or - | statement           (⏎ is a line break)
//! ```
//! The catalogue is PostgreSQL's own until the first `@` line, and ends with `@end`.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;

use sql::{
    Arity, Catalogue, CatalogueBuilder, Class, Effects, Environment, Persistence, RelationKind, SearchPath,
};
use sql::{Verdict, Volatility, Why};

#[test]
fn every_case_is_what_it_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut report = Report::default();
    for file in files.iter().filter(|file| file.extension().is_some_and(|end| end == "cases")) {
        check(
            &std::fs::read_to_string(file).unwrap(),
            &file.file_name().unwrap().to_string_lossy(),
            &mut report,
        );
    }
    println!(
        "{} cases, {} statements; of {} reads the lexer alone knows {}",
        report.cases,
        report.texts.len(),
        report.reads,
        report.reads_by_lexer
    );
    assert!(report.wrong.is_empty(), "{}", report.wrong);
    assert!(report.texts.len() >= 900, "{} different statements", report.texts.len());
}

#[derive(Default)]
struct Report {
    cases: usize,
    texts: BTreeSet<String>,
    reads: usize,
    reads_by_lexer: usize,
    wrong: String,
}

struct World {
    catalogue: Catalogue,
    path: SearchPath,
    strings: bool,
}

impl World {
    fn plain() -> Self {
        Self { catalogue: Catalogue::builtin(), path: default_path(), strings: true }
    }
}

fn default_path() -> SearchPath {
    SearchPath::parse("\"$user\", public", "app")
}

fn check(cases: &str, file: &str, report: &mut Report) {
    let mut world = World::plain();
    let mut header: Option<(CatalogueBuilder, SearchPath, bool)> = None;
    for (number, line) in cases.lines().enumerate() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(fact) = line.strip_prefix('@') {
            if fact == "end" {
                (world, header) = (World::plain(), None);
                continue;
            }
            let header = header.get_or_insert_with(|| (Catalogue::builder(), default_path(), true));
            read_fact(fact, header);
            continue;
        }
        if let Some((builder, path, strings)) = header.take() {
            world = World { catalogue: builder.finish(1), path, strings };
        }
        run(line, &format!("{file}:{}", number + 1), &world, report);
    }
}

fn run(line: &str, at: &str, world: &World, report: &mut Report) {
    let parts: Vec<&str> = line.splitn(4, '|').map(str::trim).collect();
    let [class, why, effects, statement] = parts[..] else { panic!("{at}: not a case: {line}") };
    let statement = statement.replace('⏎', "\n");
    let env = Environment {
        catalogue: &world.catalogue,
        search_path: &world.path,
        standard_conforming_strings: world.strings,
    };
    let full = sql::classify(statement.as_bytes(), &env);
    let lexer = sql::classify_lexer_only(statement.as_bytes(), &env);
    report.cases += 1;
    report.texts.insert(statement.clone());
    let found = format!("{} | {} | {}", full.class, full.why, names(full.effects));
    let expected = format!("{class} | {why} | {effects}");
    if cfg!(feature = "grammar") && found != expected {
        writeln!(report.wrong, "{at}: {expected} expected, {found} found: {statement}").unwrap();
    }
    if lexer.class == Class::Reads && class != "reads" {
        writeln!(report.wrong, "{at}: the lexer alone says reads: {statement}").unwrap();
    }
    if names(lexer.effects) != effects && !lexer_may_differ(&lexer) {
        writeln!(report.wrong, "{at}: the lexer alone finds {}: {statement}", names(lexer.effects)).unwrap();
    }
    if class == "reads" {
        report.reads += 1;
        report.reads_by_lexer += usize::from(lexer.class == Class::Reads);
    }
}

/// What the lexer leaves to the grammar may have effects that only the grammar sees.
fn lexer_may_differ(verdict: &Verdict) -> bool {
    verdict.class != Class::Reads && verdict.why == Why::Unsure
}

fn names(effects: Effects) -> String {
    let names: Vec<_> = effects.names().collect();
    if names.is_empty() { "-".to_owned() } else { names.join(", ") }
}

fn read_fact(fact: &str, (builder, path, strings): &mut (CatalogueBuilder, SearchPath, bool)) {
    let (kind, rest) = fact.split_once(' ').unwrap();
    match kind {
        "path" => {
            *path = if rest == "unknown" { SearchPath::unknown() } else { SearchPath::parse(rest, "app") }
        }
        "strings" => *strings = rest != "off",
        _ => {
            let (name, rest) = rest.split_once(' ').unwrap();
            let (schema, name) = name.split_once('.').unwrap();
            read_object(builder, kind, (schema, name), rest);
        }
    }
}

fn read_object(builder: &mut CatalogueBuilder, kind: &str, (schema, name): (&str, &str), rest: &str) {
    let words: Vec<&str> = rest.split(' ').collect();
    match kind {
        "function" => {
            let arity = Arity { min: words[0].parse().unwrap(), max: words[1].parse().ok() };
            builder.function(schema, name, arity, volatility(words[2]));
        }
        "operator" => _ = builder.operator(schema, name, volatility(words[0])),
        "type" => _ = builder.r#type(schema, name, volatility(words[0])),
        "relation" => {
            let kind = match words[0] {
                "plain" => RelationKind::Plain,
                "view" => RelationKind::View,
                "matview" => RelationKind::MaterializedView,
                "foreign" => RelationKind::Foreign,
                "sequence" => RelationKind::Sequence,
                other => panic!("no relation kind {other}"),
            };
            let persistence = match words[1] {
                "permanent" => Persistence::Permanent,
                "unlogged" => Persistence::Unlogged,
                "temporary" => Persistence::Temporary,
                other => panic!("no persistence {other}"),
            };
            builder.relation(schema, name, kind, persistence);
        }
        "view" => _ = builder.view(schema, name, rest),
        "policy" => _ = builder.policy(schema, name, rest),
        other => panic!("no fact {other}"),
    }
}

fn volatility(word: &str) -> Volatility {
    Volatility::from_letter(word.as_bytes()[0])
}
