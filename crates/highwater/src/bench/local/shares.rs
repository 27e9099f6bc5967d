//! Each server's share of the processor: a limit of its own, else cores of its own, else nothing, and then the report says
//! so.

use super::cgroup::Groups;
use super::pin;
use crate::bench::report::ServersReport;

/// How the servers share the processor. What was changed for it is taken back at the end of this value's life.
pub(super) struct Shares {
    kind: Kind,
    machine_cores: usize,
}

enum Kind {
    /// Each in a group with this limit.
    Limited(Groups, f64),
    /// Each has a core for itself.
    Pinned,
    /// No shares, for this reason.
    None(String),
}

impl Shares {
    /// Gives each server (name and process) this many cores, as far as this machine lets us.
    pub(super) fn give(servers: &[(String, u32)], cores: f64) -> Shares {
        let kind = match Groups::make(servers, cores) {
            Ok(groups) => Kind::Limited(groups, cores),
            Err(no_group) => match pin::apart(servers) {
                Ok(()) => Kind::Pinned,
                Err(no_cores) => Kind::None(format!("{no_group}; {no_cores}")),
            },
        };
        Shares { kind, machine_cores: machine_cores() }
    }

    /// No shares.
    pub(super) fn none(why: &str) -> Shares {
        Shares { kind: Kind::None(why.to_owned()), machine_cores: machine_cores() }
    }

    /// What that means for so many servers, in a sentence.
    pub(super) fn note(&self, servers: usize) -> String {
        let all = self.machine_cores;
        match &self.kind {
            Kind::Limited(groups, cores) if self.fits(servers) => format!(
                "Each of the {servers} PostgreSQL servers had {cores:.2} cores of its own ({}), as on a machine of its own: a \
                 replica added capacity; router and load generator had the rest of {all} cores",
                groups.how()
            ),
            Kind::Limited(groups, cores) => format!(
                "The {servers} PostgreSQL servers were limited to {cores:.2} cores each ({}), but this machine has only {all} cores \
                 for them, the router and the load generator: it CAN'T SHOW what a replica adds; see --server-cpu",
                groups.how()
            ),
            Kind::Pinned => format!(
                "Each of the {servers} PostgreSQL servers had a core for itself (pinned; no control group could be made), out of \
                 {all}: a replica added capacity"
            ),
            Kind::None(why) => format!(
                "The {servers} PostgreSQL servers, the router and the load generator shared the {all} cores of this machine without \
                 limits ({why}): this run CAN'T SHOW what a replica adds on a machine of its own"
            ),
        }
    }

    /// The same for the report.
    pub(super) fn report(&self, servers: usize) -> ServersReport {
        let (how, cores) = match &self.kind {
            Kind::Limited(groups, cores) => (groups.how(), Some(*cores)),
            Kind::Pinned => ("pinned", Some(1.0)),
            Kind::None(_) => ("none", None),
        };
        ServersReport {
            cores,
            how: how.to_owned(),
            note: self.note(servers),
            shows_scaling: !matches!(self.kind, Kind::None(_)) && self.fits(servers),
        }
    }

    /// Something has to be left for the router and the generator.
    fn fits(&self, servers: usize) -> bool {
        match &self.kind {
            Kind::Limited(_, cores) => servers as f64 * cores < self.machine_cores as f64,
            Kind::Pinned | Kind::None(_) => true,
        }
    }
}

fn machine_cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_shares_the_report_says_that_it_shows_nothing_of_scaling() {
        let report = Shares::none("--server-cpu off").report(3);
        assert!(!report.shows_scaling && report.cores.is_none());
        assert!(
            report.note.contains("CAN'T SHOW") && report.note.contains("--server-cpu off"),
            "{}",
            report.note
        );
    }
}
