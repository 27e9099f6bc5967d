//! What the book shows is so: whole configurations pass `highwater check`, statements go where their comments say.
//!
//! Looks only at blocks that ask for it, by the word `check` behind the language.

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
