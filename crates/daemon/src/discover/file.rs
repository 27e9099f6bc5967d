//! Nodes from a file. It is read again each time: small, and so no change is missed, however it came to pass. Whoever
//! writes it renames a whole file into place; one that is written in place may be seen half written, which changes nothing
//! as long as a line makes no sense or none is there.

use std::future::Future;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::Duration;

use tokio::time::timeout;

use super::{Found, listing};
use crate::spawn;

/// Largest file read, in bytes.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// Longest time that is waited for a read, which may be of a network's disk.
const READ_MAX: Duration = Duration::from_secs(5);

/// A file with nodes.
pub(super) struct FileSource {
    path: PathBuf,
    /// A read that took too long. None is begun beside it, so that a disk that hangs costs one thread.
    reading: Option<Reading>,
}

type Reading = Pin<Box<dyn Future<Output = Option<Result<String, String>>> + Send>>;

impl FileSource {
    pub(super) fn new(path: PathBuf) -> FileSource {
        FileSource { path, reading: None }
    }

    pub(super) async fn ask(&mut self) -> Result<Found, String> {
        let path = self.path.clone();
        let mut reading =
            self.reading.take().unwrap_or_else(|| Box::pin(spawn::blocking(move || read(&path))));
        let text = match timeout(READ_MAX, &mut reading).await {
            Ok(text) => text.unwrap_or_else(|| Err("can't be read".to_owned())),
            Err(_) => {
                self.reading = Some(reading);
                Err(format!("can't be read within {} s", READ_MAX.as_secs()))
            }
        };
        text.and_then(|text| listing::read(&text)).map_err(|why| format!("{}: {why}", self.path.display()))
    }
}

fn read(path: &Path) -> Result<String, String> {
    // Before it is opened: opening a pipe waits for somebody who writes.
    let metadata = std::fs::metadata(path).map_err(|error| format!("can't be read: {error}"))?;
    if !metadata.is_file() {
        return Err("is not a file".to_owned());
    }
    let file = std::fs::File::open(path).map_err(|error| format!("can't be read: {error}"))?;
    let mut text = String::new();
    let read = file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text);
    let read = read.map_err(|error| format!("can't be read: {error}"))?;
    if read as u64 > FILE_BYTES_MAX {
        return Err(format!("is larger than {FILE_BYTES_MAX} bytes"));
    }
    Ok(text)
}
