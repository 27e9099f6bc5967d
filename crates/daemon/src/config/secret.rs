//! The ways to be told a secret besides writing it down: a file, an environment variable, a command.
//!
//! What is read is a [`Secret`] from the first moment; no error repeats any of it.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use wire::auth::Secret;
use zeroize::Zeroizing;

/// Longest secret accepted, in bytes: more is a mistaken file name.
const SECRET_BYTES_MAX: u64 = 64 * 1024;

/// How often a `password_command` is asked whether it has ended, and how many times: ten seconds.
const COMMAND_LOOK_EVERY: Duration = Duration::from_millis(10);
const COMMAND_LOOKS_MAX: u32 = 1_000;

/// Reads a secret from a file: everything up to the end of the first line.
pub(super) fn from_file(path: &Path, open_allowed: bool) -> Result<Secret, String> {
    check_mode(path, open_allowed)?;
    let text = std::fs::read_to_string(path).map_err(|e| format!("can't read {}: {e}", path.display()))?;
    first_line(Zeroizing::new(text)).map_err(|why| format!("{} {why}", path.display()))
}

/// Takes a secret from an environment variable.
pub(super) fn from_env(name: &str, env: &BTreeMap<String, String>) -> Result<Secret, String> {
    match env.get(name) {
        Some(value) if !value.is_empty() => Ok(Secret::new(value.as_str())),
        Some(_) => Err(format!("the environment variable {name} is empty")),
        None => Err(format!("the environment variable {name} is not set")),
    }
}

/// Runs a command with `/bin/sh -c`; the secret is the first line of what it prints.
pub(super) fn from_command(command: &str) -> Result<Secret, String> {
    let mut child = Command::new("/bin/sh")
        .args(["-c", command])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|e| format!("can't run the command: {e}"))?;
    // What a pipe holds is more than any secret, so that nothing need be read before the end.
    for _ in 0..COMMAND_LOOKS_MAX {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => return output_of(&mut child),
            Ok(Some(status)) => return Err(format!("the command failed ({status})")),
            Ok(None) => std::thread::sleep(COMMAND_LOOK_EVERY),
            Err(e) => return Err(format!("the command can't be waited for: {e}")),
        }
    }
    let _already_gone = child.kill();
    let _already_gone = child.wait();
    Err(format!("the command did not end within {} s", (COMMAND_LOOK_EVERY * COMMAND_LOOKS_MAX).as_secs()))
}

fn output_of(child: &mut Child) -> Result<Secret, String> {
    let mut text = Zeroizing::new(String::new());
    let output = child.stdout.take().expect("it was piped");
    output
        .take(SECRET_BYTES_MAX)
        .read_to_string(&mut text)
        .map_err(|e| format!("the command's output can't be read: {e}"))?;
    first_line(text).map_err(|why| format!("the command's output {why}"))
}

/// Refuses a file that others than its owner and group can read, or that the group can write.
pub(super) fn check_mode(path: &Path, open_allowed: bool) -> Result<(), String> {
    use std::os::unix::fs::PermissionsExt;
    if open_allowed {
        return Ok(());
    }
    let metadata = std::fs::metadata(path).map_err(|e| format!("can't read {}: {e}", path.display()))?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & !0o640 & 0o077 != 0 {
        return Err(format!(
            "{} holds a secret and its mode is {mode:04o}: run chmod 0640 on it, or set allow_open_secrets = true",
            path.display()
        ));
    }
    Ok(())
}

fn first_line(text: Zeroizing<String>) -> Result<Secret, &'static str> {
    let line = text.lines().next().unwrap_or("");
    if line.is_empty() {
        return Err("is empty");
    }
    if line.len() as u64 >= SECRET_BYTES_MAX {
        return Err("has a first line that is too long for a password");
    }
    Ok(Secret::new(line))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_file_that_others_can_read_is_refused_unless_allowed() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "hunter2\nrest\n").unwrap();
        for (mode, fine) in
            [(0o600, true), (0o640, true), (0o400, true), (0o644, false), (0o660, false), (0o604, false)]
        {
            std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(from_file(file.path(), false).is_ok(), fine, "{mode:o}");
            assert_eq!(from_file(file.path(), true).unwrap().expose(), b"hunter2");
        }
    }

    #[test]
    fn a_command_gives_its_first_line() {
        assert_eq!(from_command("echo one; echo two").unwrap().expose(), b"one");
        assert!(from_command("exit 3").unwrap_err().contains("failed"));
        assert!(from_command("true").unwrap_err().contains("empty"));
    }
}
