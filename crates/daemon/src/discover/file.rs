//! Nodes from a file. It is read again each time: small, and so no change is missed, however it came to pass. Whoever
//! writes it renames a whole file into place; one that is written in place may be seen half written, which changes nothing
//! as long as a line makes no sense or none is there.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::{Found, listing};
use crate::spawn;

/// Largest file read, in bytes.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// A file with nodes.
pub(super) struct FileSource {
    path: PathBuf,
}

impl FileSource {
    pub(super) fn new(path: PathBuf) -> FileSource {
        FileSource { path }
    }

    pub(super) async fn ask(&self) -> Result<Found, String> {
        let path = self.path.clone();
        let shown = path.display().to_string();
        // A file may lie on a network: reading it may take its time.
        let text = spawn::blocking(move || read(&path)).await.unwrap_or_else(|| Err("can't be read".into()));
        text.and_then(|text| listing::read(&text)).map_err(|why| format!("{shown}: {why}"))
    }
}

fn read(path: &Path) -> Result<String, String> {
    let file = std::fs::File::open(path).map_err(|error| format!("can't be read: {error}"))?;
    if !file.metadata().is_ok_and(|metadata| metadata.is_file()) {
        return Err("is not a file".to_owned());
    }
    let mut text = String::new();
    let read = file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text);
    let read = read.map_err(|error| format!("can't be read: {error}"))?;
    if read as u64 > FILE_BYTES_MAX {
        return Err(format!("is larger than {FILE_BYTES_MAX} bytes"));
    }
    Ok(text)
}
