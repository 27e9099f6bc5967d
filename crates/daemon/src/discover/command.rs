//! Nodes from a command, which prints them as a file would list them. It is started as it is written, without a shell,
//! and is ended when it takes too long or says too much.

use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::Command;
use tokio::time::timeout;

use super::{Found, listing};

/// Longest time for the command.
const COMMAND_MAX: Duration = Duration::from_secs(10);
/// Most it may print, in bytes, on either of its outputs.
const OUTPUT_BYTES_MAX: u64 = 1024 * 1024;
/// How much of what it complains of is repeated, in characters.
const COMPLAINT_MAX: usize = 200;

/// A command that prints nodes.
pub(super) struct CommandSource {
    program: String,
    arguments: Vec<String>,
}

impl CommandSource {
    pub(super) fn new(program: String, arguments: Vec<String>) -> CommandSource {
        CommandSource { program, arguments }
    }

    pub(super) async fn ask(&self) -> Result<Found, String> {
        let printed = timeout(COMMAND_MAX, self.run()).await;
        let printed =
            printed.unwrap_or_else(|_| Err(format!("took longer than {} s", COMMAND_MAX.as_secs())));
        printed.and_then(|text| listing::read(&text)).map_err(|why| format!("{}: {why}", self.program))
    }

    async fn run(&self) -> Result<String, String> {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // It ends when nobody waits for it any more: after the time, or when this source is dropped. So does what it has
        // started, which has its process group.
        command.process_group(0).kill_on_drop(true);
        let mut child = command.spawn().map_err(|error| format!("can't be started: {error}"))?;
        let mut group = Group(child.id());
        let stdout = child.stdout.take().expect("it was piped");
        let stderr = child.stderr.take().expect("it was piped");
        let (printed, complaint) = tokio::join!(text_of(stdout), text_of(stderr));
        let printed = printed?;
        let status = child.wait().await.map_err(|error| format!("can't be waited for: {error}"))?;
        group.0 = None;
        if !status.success() {
            let complaint = complaint.unwrap_or_default();
            let first: String =
                complaint.lines().next().unwrap_or_default().chars().take(COMPLAINT_MAX).collect();
            let said = if first.is_empty() { String::new() } else { format!(": {first}") };
            return Err(format!("ended with {status}{said}"));
        }
        Ok(printed)
    }
}

/// The process group of a command nobody has waited for yet, so that its number is still its own; ended when dropped.
struct Group(Option<u32>);

impl Drop for Group {
    fn drop(&mut self) {
        let leader = self.0.and_then(|id| Pid::from_raw(id.cast_signed()));
        if let Some(leader) = leader {
            // It fails if all of them are gone.
            let _ = kill_process_group(leader, Signal::KILL);
        }
    }
}

async fn text_of(stream: impl AsyncRead + Unpin) -> Result<String, String> {
    let mut bytes = Vec::new();
    let read = stream.take(OUTPUT_BYTES_MAX + 1).read_to_end(&mut bytes).await;
    let read = read.map_err(|error| format!("its output can't be read: {error}"))?;
    if read as u64 > OUTPUT_BYTES_MAX {
        return Err(format!("printed more than {OUTPUT_BYTES_MAX} bytes"));
    }
    String::from_utf8(bytes).map_err(|_| "printed something that is not UTF-8".to_owned())
}
