//! The nodes file, from which a router takes its nodes: one `host:port [name]` a line, `#` comments, blank lines.
//!
//! Adds and removes single lines, and replaces the file as a whole, so that a reader never sees half of it. Other lines,
//! comments and the file's mode stay.

use std::fs::{self, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::Context;

/// Whether the file had to be changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Change {
    /// It was as wanted.
    None,
    /// It was written.
    Written,
}

/// Puts `address name` in, in place of a line of that address or name. A file that is not there is made, and begins with
/// the primary: a router needs it too.
pub(crate) fn add(file: &Path, address: &str, name: &str, primary: &str) -> anyhow::Result<Change> {
    let before = read(file)?;
    let after = with(before.as_deref(), (address, name), primary);
    write(file, before.as_deref(), &after)
}

/// Takes the replica's line out; a file that is not there is fine.
pub(crate) fn remove(file: &Path, address: &str, name: &str) -> anyhow::Result<Change> {
    let Some(before) = read(file)? else { return Ok(Change::None) };
    write(file, Some(&before), &without(&before, address, name))
}

fn read(file: &Path) -> anyhow::Result<Option<String>> {
    match fs::read_to_string(file) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("can't read the nodes file {}", file.display())),
    }
}

fn write(file: &Path, before: Option<&str>, after: &str) -> anyhow::Result<Change> {
    if before == Some(after) {
        return Ok(Change::None);
    }
    let written = || -> std::io::Result<()> {
        // Through a link, so that the link stays one.
        let file = fs::canonicalize(file).unwrap_or_else(|_| file.to_path_buf());
        let directory = file.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mode = fs::metadata(&file).map_or(0o644, |m| m.permissions().mode() & 0o7777);
        let mut draft = tempfile::NamedTempFile::new_in(directory)?;
        draft.write_all(after.as_bytes())?;
        draft.as_file().set_permissions(Permissions::from_mode(mode))?;
        draft.as_file().sync_all()?;
        draft.persist(&file)?;
        Ok(())
    };
    written().with_context(|| format!("can't write the nodes file {}", file.display()))?;
    Ok(Change::Written)
}

fn with(before: Option<&str>, (address, name): (&str, &str), primary: &str) -> String {
    let line = format!("{address} {name}\n");
    let Some(before) = before else {
        return format!(
            "# The nodes of a cluster, one a line: host:port [name]. Roles are observed.\n{primary}\n{line}"
        );
    };
    if before.lines().any(|there| there.trim() == line.trim()) {
        return before.to_owned();
    }
    let mut text = without(before, address, name);
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text.push_str(&line);
    text
}

fn without(before: &str, address: &str, name: &str) -> String {
    let is_ours = |line: &str| {
        let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
        let (first, second) = (words.next(), words.next());
        first == Some(address) && second.is_none_or(|second| second == name)
            || first.is_some() && second == Some(name)
    };
    before.split_inclusive('\n').filter(|line| !is_ours(line)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_file_begins_with_the_primary() {
        let text = with(None, ("127.0.0.1:5433", "r1"), "10.0.0.1:5432");
        assert!(text.ends_with("10.0.0.1:5432\n127.0.0.1:5433 r1\n"), "{text}");
    }

    #[test]
    fn other_lines_and_comments_stay_and_nothing_is_there_twice() {
        let before = "# ours\na:1\n\nb:2 r1\nc:3 other # why";
        let after = with(Some(before), ("d:4", "r1"), "a:1");
        assert_eq!(after, "# ours\na:1\n\nc:3 other # why\nd:4 r1\n");
        assert_eq!(with(Some(&after), ("d:4", "r1"), "a:1"), after);
        assert_eq!(without(&after, "d:4", "r1"), "# ours\na:1\n\nc:3 other # why\n");
    }

    #[test]
    fn a_file_is_replaced_with_its_mode_and_a_missing_one_is_fine_to_remove_from() {
        let home = tempfile::tempdir().expect("a temporary directory");
        let file = home.path().join("nodes");
        assert_eq!(remove(&file, "a:1", "r1").expect("nothing to do"), Change::None);
        add(&file, "a:1", "r1", "p:1").expect("writable");
        fs::set_permissions(&file, Permissions::from_mode(0o640)).expect("ours");
        assert_eq!(add(&file, "a:1", "r1", "p:1").expect("there"), Change::None);
        assert_eq!(remove(&file, "a:1", "r1").expect("writable"), Change::Written);
        assert_eq!(fs::metadata(&file).expect("there").permissions().mode() & 0o777, 0o640);
        assert!(fs::read_to_string(&file).expect("there").ends_with("p:1\n"));
    }
}
