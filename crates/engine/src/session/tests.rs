//! Transcripts: what either side sends, and what the session makes of it.
//!
//! A file in `transcripts/` holds inputs (`C:` from the client, `B:` from the backend, `!` for what befalls the
//! session) and, below each, what came of it (`>` to the backend, `<` to the client, `=` what the session wants).
//! The test plays the inputs and compares the whole text. `UPDATE_TRANSCRIPTS=1` writes the files anew: read the diff.

mod language;
mod node;
mod random;
mod rig;

use std::path::PathBuf;

/// Plays one transcript and gives its text with the outputs as they came, and all bytes sent to either side.
fn play(text: &str, cut_every: Option<usize>) -> (String, (Vec<u8>, Vec<u8>)) {
    let mut rig = rig::Rig::new(text, cut_every);
    let mut out = String::new();
    for line in text.lines() {
        if matches!(line.as_bytes().first(), Some(b'>' | b'<' | b'=')) {
            continue;
        }
        out.push_str(line);
        out.push('\n');
        for made in rig.line(line) {
            out.push_str(&made);
            out.push('\n');
        }
    }
    (out, rig.sent)
}

fn transcripts() -> Vec<(PathBuf, String)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/session/transcripts");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .expect("the folder is there")
        .map(|f| f.expect("readable").path())
        .collect();
    files.sort();
    files.into_iter().map(|path| (path.clone(), std::fs::read_to_string(path).expect("readable"))).collect()
}

#[test]
#[expect(clippy::disallowed_methods, reason = "how a person asks for the files to be written anew")]
fn every_transcript_plays_as_written() {
    let update = std::env::var_os("UPDATE_TRANSCRIPTS").is_some();
    let mut wrong = Vec::new();
    for (path, written) in transcripts() {
        let (played, _) = play(&written, None);
        if update {
            std::fs::write(&path, &played).expect("writable");
        } else if played != written {
            wrong.push(format!("{}:\n{}", path.display(), difference(&written, &played)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_transcript_plays_the_same_however_the_bytes_are_cut() {
    for (path, written) in transcripts() {
        let (_, whole) = play(&written, None);
        for size in [1, 2, 3, 5, 7] {
            let (_, cut) = play(&written, Some(size));
            assert!(whole == cut, "{} in pieces of {size}", path.display());
        }
    }
}

fn difference(written: &str, played: &str) -> String {
    let mut lines = Vec::new();
    for (i, (w, p)) in written.lines().zip(played.lines().chain(std::iter::repeat(""))).enumerate() {
        if w != p {
            lines.push(format!("line {}: written {w:?}\n          played {p:?}", i + 1));
            break;
        }
    }
    if lines.is_empty() {
        lines.push(format!("the played one is longer:\n{played}"));
    }
    lines.join("\n")
}
