//! What the book shows is so: whole configurations pass `highwater check`, statements go where their comments say.
//!
//! Of configurations and statements, looks only at blocks that ask for it, by the word `check` behind the language.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::harness::raw::{Raw, column, sqlstates, values};
use crate::harness::router::{binary, write_private};
use crate::harness::{shared, wait_for};

#[test]
fn every_whole_configuration_in_the_book_is_free_of_mistakes() {
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path();
    write_private(&home.join("userlist.txt"), "\"app\" \"secret\"\n\"pooladmin\" \"secret\"\n");
    write_private(&home.join("monitor.secret"), "secret\n");
    let found = blocks("toml,check");
    assert!(found.len() >= 2, "{} configurations", found.len());
    for Block { place, text } in found {
        let file = home.join("highwater.toml");
        write_private(&file, &text.replace("/etc/highwater", home.to_str().unwrap()));
        let mut check = Command::new(binary());
        check.args(["check", "-c"]).arg(&file).env_clear();
        let said = check.output().unwrap();
        let mistakes =
            String::from_utf8_lossy(&said.stdout).into_owned() + &String::from_utf8_lossy(&said.stderr);
        assert!(said.status.success(), "{place}: {mistakes}");
    }
}

#[tokio::test]
async fn statements_in_the_book_go_where_it_says() {
    let fixture = shared().await;
    if fixture.router().is_none() {
        return;
    }
    let sample = include_str!("../../src/setup/sample.sql");
    fixture.connect().await.batch_execute(sample).await.unwrap();
    let found = blocks("sql,check");
    assert!(found.len() >= 4, "{} blocks of statements", found.len());
    for Block { place, text } in found {
        // Not at once: the replica may still be behind, and the catalogue has yet to learn of the sample's table.
        wait_for(&place, Duration::from_secs(30), async || {
            let differing = play(&mut fixture.raw(), &text);
            differing.iter().for_each(|what| println!("{place}: {what}"));
            differing.is_empty()
        })
        .await;
    }
}

/// Runs the lines of a block one by one; answers where an answer is not what the comment behind it says.
fn play(raw: &mut Raw, text: &str) -> Vec<String> {
    let mut differing = Vec::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let (statement, expected) = line.split_once("-- ").unwrap_or((line, ""));
        let answer = raw.query(statement);
        assert!(sqlstates(&answer).is_empty(), "{line}: {answer:?}");
        let said = if statement.contains("last_route") {
            format!("{}, {}", column(&answer, "role"), column(&answer, "reason"))
        } else {
            values(&answer).join(", ")
        };
        if !expected.is_empty() && said != expected.trim() {
            differing.push(format!("{line} ({said})"));
        }
    }
    differing
}

/// Every option that a line for the shell gives to `highwater` is one that the command's help knows.
#[test]
fn the_commands_in_the_book_have_the_options_it_gives_them() {
    let mut seen = 0;
    for Block { place, text } in blocks("sh") {
        for line in text.replace("\\\n", " ").lines() {
            let words = line.split(" #").next().unwrap_or_default().split_whitespace();
            let mut words = words.skip_while(|word| *word == "sudo");
            if words.next().is_none_or(|program| program.rsplit('/').next() != Some("highwater")) {
                continue;
            }
            let words: Vec<&str> = words.collect();
            let is_name = |word: &&&str| word.chars().all(|letter| letter.is_ascii_lowercase());
            let names: Vec<&str> = words.iter().take(2).take_while(is_name).copied().collect();
            let known = help(&names).or_else(|| help(names.get(..1)?));
            let known = known.unwrap_or_else(|| panic!("{place}: {line}: there is no such command"));
            for option in words.iter().filter(|word| word.starts_with('-')) {
                let option = option.split('=').next().unwrap_or_default();
                let is_known = known.split([' ', ',', '\n']).any(|word| word == option);
                assert!(is_known, "{place}: {line}: there is no {option}");
            }
            seen += 1;
        }
    }
    assert!(seen >= 10, "{seen} commands");
}

/// What a command says of itself; nothing if there is no such command.
fn help(names: &[&str]) -> Option<String> {
    let said = Command::new(binary()).args(names).arg("--help").output().expect("the binary can be run");
    said.status.success().then(|| String::from_utf8_lossy(&said.stdout).into_owned())
}

struct Block {
    /// File and line, for messages.
    place: String,
    text: String,
}

/// The blocks of all pages that begin with these words.
fn blocks(words: &str) -> Vec<Block> {
    let mut found = Vec::new();
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        let mut lines = text.lines().enumerate();
        while let Some((number, line)) = lines.next() {
            if line.strip_prefix("```") == Some(words) {
                let inside = lines.by_ref().map(|(_, line)| line).take_while(|line| *line != "```");
                let text = inside.map(|line| format!("{line}\n")).collect();
                found.push(Block { place: format!("{}:{}", page.display(), number + 1), text });
            }
        }
    }
    found
}

fn pages() -> Vec<PathBuf> {
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/book/src")];
    let mut pages = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "md") {
                pages.push(path);
            }
        }
    }
    pages.sort();
    pages
}
