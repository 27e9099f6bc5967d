//! What the nodes of one cluster must have in common, and each for itself. Pure: facts in, sentences out.

/// What a node is, by `pg_is_in_recovery()`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Role {
    /// Takes writes.
    Primary,
    /// Replays WAL.
    Replica,
}

impl Role {
    /// The word for the table.
    pub(super) fn name(self) -> &'static str {
        match self {
            Role::Primary => "primary",
            Role::Replica => "replica",
        }
    }
}

/// What one node says of itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Facts {
    /// Its role at this moment.
    pub(super) role: Role,
    /// Of its control file.
    pub(super) timeline: i32,
    /// The same for all nodes with the same origin.
    pub(super) system_identifier: i64,
    /// As printed.
    pub(super) version: String,
    /// As a number: 150014.
    pub(super) version_num: i32,
    /// Whether the monitor's role has `pg_monitor`.
    pub(super) monitors: bool,
    /// State of the WAL receiver, where there is one and it may be seen.
    pub(super) receiver: Option<String>,
    /// `wal_level` and `hot_standby`.
    pub(super) replicates: bool,
    /// Values of [`PARITY`], in its order.
    pub(super) parity: [i32; PARITY.len()],
}

/// Settings that must not be lower on a replica than on the primary, or replay stops
/// (<https://www.postgresql.org/docs/current/hot-standby.html#HOT-STANDBY-ADMIN>).
pub(super) const PARITY: [&str; 5] = [
    "max_connections",
    "max_prepared_transactions",
    "max_locks_per_transaction",
    "max_wal_senders",
    "max_worker_processes",
];

/// The oldest version that is served, as a number.
const VERSION_NUM_MIN: i32 = 140_000;

/// What is wrong with the nodes that answered. `others`: there are nodes that did not, so that the primary may be
/// among them.
pub(super) fn problems(nodes: &[(&str, &Facts)], others: bool) -> Vec<String> {
    let mut found: Vec<String> = nodes.iter().flat_map(|(name, facts)| of_one(name, facts)).collect();
    let primaries: Vec<_> = nodes.iter().filter(|(_, facts)| facts.role == Role::Primary).collect();
    match primaries.as_slice() {
        [] if !others => found.push("no node is a primary: nothing can be written".to_owned()),
        [] => {}
        [(name, primary)] => {
            for (replica, facts) in nodes.iter().filter(|(_, facts)| facts.role == Role::Replica) {
                found.extend(of_pair(name, primary, replica, facts));
            }
        }
        several => {
            let names: Vec<_> = several.iter().map(|(name, _)| *name).collect();
            found.push(format!(
                "{} all take writes: they are no replicas of each other, or one was promoted while another ran on",
                names.join(", ")
            ));
        }
    }
    found
}

fn of_one(name: &str, facts: &Facts) -> Vec<String> {
    let mut found = Vec::new();
    if facts.version_num < VERSION_NUM_MIN {
        found.push(format!("{name}: PostgreSQL {} is older than 14", facts.version));
    }
    if !facts.monitors {
        found.push(format!(
            "{name}: the monitor's role lacks pg_monitor, so the state of replication can't be seen: GRANT pg_monitor TO it \
             on the primary"
        ));
    }
    if !facts.replicates {
        found.push(format!(
            "{name}: wal_level must be replica or logical, and hot_standby on (they are so by default)"
        ));
    }
    if facts.role == Role::Replica && facts.monitors && facts.receiver.as_deref() != Some("streaming") {
        let state = facts.receiver.as_deref().unwrap_or("absent");
        found.push(format!(
            "{name}: is not streaming (its WAL receiver is {state}), so it can't become fresh"
        ));
    }
    found
}

fn of_pair(primary_name: &str, primary: &Facts, name: &str, replica: &Facts) -> Vec<String> {
    if primary.system_identifier != replica.system_identifier {
        return vec![format!(
            "{name}: is a replica of another cluster than {primary_name} (system identifiers differ)"
        )];
    }
    let mut found = Vec::new();
    if primary.timeline < replica.timeline {
        found.push(format!(
            "{name}: is on timeline {}, ahead of {primary_name} on {}: {primary_name} may be an old primary",
            replica.timeline, primary.timeline
        ));
    }
    if primary.version_num / 10_000 != replica.version_num / 10_000 {
        found.push(format!(
            "{name}: PostgreSQL {} is another major version than {primary_name}'s",
            replica.version
        ));
    }
    for ((setting, on_primary), on_replica) in PARITY.iter().zip(primary.parity).zip(replica.parity) {
        if on_replica < on_primary {
            found.push(format!(
                "{name}: {setting} is {on_replica}, lower than {on_primary} on {primary_name}: replay stops when that \
                 changes there"
            ));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn primary() -> Facts {
        Facts {
            role: Role::Primary,
            timeline: 1,
            system_identifier: 7,
            version: "15.4".to_owned(),
            version_num: 150_004,
            monitors: true,
            receiver: None,
            replicates: true,
            parity: [100, 0, 64, 10, 8],
        }
    }

    fn replica() -> Facts {
        Facts { role: Role::Replica, receiver: Some("streaming".to_owned()), ..primary() }
    }

    /// The problems of a primary `p` and a replica `r`.
    fn pair(p: &Facts, r: &Facts) -> Vec<String> {
        problems(&[("p", p), ("r", r)], false)
    }

    #[test]
    fn a_primary_and_its_streaming_replica_are_fine() {
        assert_eq!(pair(&primary(), &replica()), [""; 0]);
    }

    #[test]
    fn each_unfitness_is_named_once() {
        let cases = [
            (Facts { system_identifier: 8, ..replica() }, "another cluster"),
            (Facts { timeline: 2, ..replica() }, "ahead of p"),
            (Facts { version_num: 160_000, ..replica() }, "another major version"),
            (Facts { parity: [50, 0, 64, 10, 8], ..replica() }, "max_connections is 50"),
            (Facts { receiver: None, ..replica() }, "not streaming"),
            (Facts { monitors: false, ..replica() }, "lacks pg_monitor"),
            (Facts { replicates: false, ..replica() }, "wal_level"),
            (Facts { role: Role::Primary, ..primary() }, "all take writes"),
        ];
        for (facts, expected) in cases {
            let found = pair(&primary(), &facts);
            assert_eq!(found.len(), 1, "{expected}: {found:?}");
            assert!(found[0].contains(expected), "{found:?}");
        }
    }

    #[test]
    fn a_missing_primary_is_a_problem_only_when_every_node_answered() {
        let replica = replica();
        assert_eq!(problems(&[("r", &replica)], false).len(), 1);
        assert_eq!(problems(&[("r", &replica)], true), [""; 0]);
    }
}
