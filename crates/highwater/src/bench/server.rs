//! The PostgreSQL server behind a target, as far as it is on this machine: what it spends of the processor.
//!
//! Needs no privilege on the server: a backend says its process id and the port its client has, and /proc shows whether
//! a process of that number is that backend.

use std::fs;

use load::ask::Asked;
use load::cpu::Cpu;

/// Sent to the primary by a router, and a comment to everybody else.
const WHO: &str = "/* highwater: route=primary */ SELECT pg_backend_pid(), inet_client_port(), \
                   pg_is_in_recovery()";

/// A primary's first process, whose children are its backends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Primary {
    pub(crate) postmaster: u32,
}

/// The primary behind a target; or in words why it is not known.
pub(crate) fn primary_behind(asked: &mut Asked) -> Result<Result<Primary, String>, load::Error> {
    let rows = match asked.rows(WHO) {
        Ok(rows) => rows,
        Err(load::Error::Refused { message, .. }) => return Ok(Err(message)),
        Err(error) => return Err(error),
    };
    let column = |index: usize| rows.first().and_then(|row| row.get(index)).and_then(Option::as_deref);
    if column(2) != Some("f") {
        return Ok(Err("the target is a replica".to_owned()));
    }
    let number = |index| column(index).and_then(|text| text.parse::<u32>().ok());
    let found = number(0).zip(number(1)).and_then(|(pid, port)| postmaster_of(pid, port));
    Ok(found
        .map(|postmaster| Primary { postmaster })
        .ok_or_else(|| "the primary is not a process that this machine's /proc shows".to_owned()))
}

/// The parent of the backend `pid`, if a process of that number here is the backend of a client at this port: a
/// backend's title is `postgres: user database host(port) activity`.
fn postmaster_of(pid: u32, client_port: u32) -> Option<u32> {
    let title = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let title = String::from_utf8_lossy(&title).into_owned();
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    parent_of_backend(&title, &stat, client_port)
}

fn parent_of_backend(title: &str, stat: &str, client_port: u32) -> Option<u32> {
    let is_it = title.starts_with("postgres:") && title.contains(&format!("({client_port})"));
    // proc(5): `pid (name) state ppid …`; the name may contain anything, also brackets.
    let parent = stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()?;
    is_it.then_some(parent)
}

/// Servers of this machine whose processor time is looked at, by name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watched(pub(crate) Vec<(String, u32)>);

impl Watched {
    /// What each has spent so far.
    pub(crate) fn look(&self) -> Vec<Cpu> {
        self.0.iter().map(|(_, pid)| Cpu::of(*pid)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_the_backend_only_if_its_title_has_the_clients_port() {
        let stat = "77 (postgres) S 42 77 77 0 -1";
        let of = |title: &str| parent_of_backend(title, stat, 5001);
        assert_eq!(of("postgres: n0: app app 127.0.0.1(5001) SELECT"), Some(42));
        assert_eq!(of("postgres: app app 127.0.0.1(50011) idle"), None);
        assert_eq!(of("nginx: worker (5001)"), None);
    }
}
