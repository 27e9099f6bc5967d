//! Who runs PostgreSQL: the user who called, or, since PostgreSQL refuses to run as root, an unprivileged account.
//!
//! Chooses the account and hands files over to it. Does not start PostgreSQL.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use crate::failure;

/// The account made on a system that has none for PostgreSQL.
const OWN_ACCOUNT: &str = "highwater";

/// Who runs PostgreSQL.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Account {
    /// The caller.
    Caller,
    /// Another account: the caller is root.
    Other {
        /// Its name.
        name: String,
        /// Its user id.
        uid: u32,
        /// Its main group.
        gid: u32,
    },
}

impl Account {
    /// The caller, or for root: `postgres`, else `highwater`, else a new system account of that name.
    pub(crate) fn choose() -> anyhow::Result<Account> {
        if !is_root() {
            return Ok(Account::Caller);
        }
        if let Some(account) = ["postgres", OWN_ACCOUNT].into_iter().find_map(look_up) {
            return Ok(account);
        }
        create();
        look_up(OWN_ACCOUNT).ok_or_else(|| {
            failure::missing(
                "PostgreSQL does not run as root, there is no user 'postgres', and useradd could not make one: run \
                 `highwater up` as an ordinary user, or make a system user named 'highwater' first",
            )
        })
    }

    /// Gives a file or directory (not its contents) to the account.
    pub(crate) fn own(&self, path: &Path) -> anyhow::Result<()> {
        match self {
            Account::Caller => Ok(()),
            Account::Other { name, uid, gid } => chown(path, Some(*uid), Some(*gid))
                .with_context(|| format!("can't give {} to user {name}", path.display())),
        }
    }

    /// The first directory on the way to `path` that the account may not pass, by its permission bits.
    pub(crate) fn blocked_at(&self, path: &Path) -> Option<PathBuf> {
        let Account::Other { uid, gid, .. } = self else { return None };
        let mut way: Vec<&Path> = path.ancestors().collect();
        way.reverse();
        let blocked = way.into_iter().find(|directory| {
            fs::metadata(directory).is_ok_and(|m| !may_pass(m.mode(), m.uid() == *uid, m.gid() == *gid))
        });
        blocked.map(Path::to_path_buf)
    }
}

/// True for the super-user.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Search permission on a directory, by the class the account falls in.
fn may_pass(mode: u32, owner: bool, group: bool) -> bool {
    let bit = if owner {
        0o100
    } else if group {
        0o010
    } else {
        0o001
    };
    mode & bit != 0
}

/// Through `id`, which asks every source of accounts, not only /etc/passwd.
fn look_up(name: &str) -> Option<Account> {
    let number = |flag| -> Option<u32> {
        let output = Command::new("id").args([flag, name]).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().parse().ok())?
    };
    let (uid, gid) = (number("-u")?, number("-g")?);
    (uid != 0).then(|| Account::Other { name: name.to_owned(), uid, gid })
}

/// Whether it worked is seen by looking the account up.
fn create() {
    let _ = Command::new("useradd")
        .args(["--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent"])
        .args(["--shell", "/usr/sbin/nologin", OWN_ACCOUNT])
        .output();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn search_permission_is_judged_by_the_first_class_that_fits() {
        assert!(may_pass(0o755, false, false));
        assert!(!may_pass(0o700, false, false));
        assert!(may_pass(0o710, false, true));
        assert!(
            !may_pass(0o007, true, true),
            "the owner's bits count for the owner, even if others have more"
        );
    }
}
