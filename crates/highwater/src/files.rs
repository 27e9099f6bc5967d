//! How many sockets and files the process may have open: as many as it is allowed, and a warning if those are too few.
//!
//! A shell often gives 1,024, which a router with a few hundred clients uses up; raising it up to the hard limit needs no
//! privilege (setrlimit(2)).

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Sockets that are neither clients nor backends: listeners, monitor, HTTP, logs, and some room.
const OTHERS: u64 = 100;

/// Raises the soft limit to the hard one, and says so in the log when that is too few for so many clients, each with a
/// backend at worst.
pub(crate) fn raise_limit(clients_max: usize) {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let allowed = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(error) => {
            tracing::warn!(%error, "the limit of open files could not be raised");
            limit.current
        }
    };
    let wanted = wanted(clients_max);
    if allowed.is_some_and(|allowed| allowed < wanted) {
        tracing::warn!(
            allowed,
            wanted,
            "fewer open files are allowed than max_client_conn may need: raise the hard limit (ulimit -Hn, or \
             LimitNOFILE= of the systemd unit)"
        );
    }
}

/// Open files that so many clients may need.
fn wanted(clients_max: usize) -> u64 {
    u64::try_from(clients_max).unwrap_or(u64::MAX).saturating_mul(2).saturating_add(OTHERS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_client_may_need_a_backend() {
        assert_eq!(wanted(1000), 2100);
        assert_eq!(wanted(usize::MAX), u64::MAX);
    }

    #[test]
    fn the_limit_is_the_hard_one_afterwards() {
        raise_limit(10);
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
    }
}
