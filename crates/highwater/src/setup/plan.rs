//! What will be done, in order, from what exists. Pure: looks at no file and starts nothing.
//!
//! The primary comes first and alone, because which replicas can be used again is only known once it answers (a
//! replica without its slot on the primary is worthless). Roles here are what `up` makes; what a node is afterwards
//! the router observes.

/// What the directory and the marker say about a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Data {
    /// No directory, or an empty one.
    Absent,
    /// Begun and not finished: an earlier run was interrupted.
    Partial,
    /// Finished.
    Complete,
}

/// What the running primary says about a replica's slot (`pg_replication_slots`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Slot {
    /// No slot of that name.
    Absent,
    /// Its WAL is gone (`wal_status` is `lost`): the replica cannot follow any more.
    Lost,
    /// Holds what the replica needs.
    Usable,
}

/// One thing to do about the primary.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum PrimaryStep {
    /// Empty its directory.
    Clear,
    /// `initdb`.
    Initialise,
    /// Start it and wait until it accepts connections.
    Start,
    /// Roles, database, extension and sample data.
    Fill,
}

/// One thing to do about a replica, by its number from 1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ReplicaStep {
    /// Drop its slot on the primary.
    DropSlot(u16),
    /// Empty its directory.
    Clear(u16),
    /// `pg_basebackup` with a new slot.
    Copy(u16),
    /// Start it.
    Start(u16),
    /// Remove its directory and forget it.
    Forget(u16),
}

/// What to do about the primary; `filled` when an earlier run has finished [`PrimaryStep::Fill`].
pub(crate) fn primary(data: Data, filled: bool) -> Vec<PrimaryStep> {
    let mut steps = match data {
        Data::Absent => vec![PrimaryStep::Initialise],
        Data::Partial => vec![PrimaryStep::Clear, PrimaryStep::Initialise],
        Data::Complete => Vec::new(),
    };
    steps.push(PrimaryStep::Start);
    if !filled || data != Data::Complete {
        steps.push(PrimaryStep::Fill);
    }
    steps
}

/// What to do about the replicas: `found` has one entry for each that exists or is wanted, `wanted` is how many
/// there shall be. Everything is copied before anything is started, so that the copies do not compete with replay.
pub(crate) fn replicas(found: &[(Data, Slot)], wanted: u16) -> Vec<ReplicaStep> {
    let numbered = || (1..=u16::MAX).zip(found.iter().copied());
    let mut steps = Vec::new();
    for (number, (data, slot)) in numbered().filter(|(number, _)| *number <= wanted) {
        if data == Data::Complete && slot == Slot::Usable {
            continue;
        }
        if slot != Slot::Absent {
            steps.push(ReplicaStep::DropSlot(number));
        }
        if data != Data::Absent {
            steps.push(ReplicaStep::Clear(number));
        }
        steps.push(ReplicaStep::Copy(number));
    }
    // From the last: what is left after an interruption is numbered without gaps.
    for (number, (_, slot)) in
        numbered().filter(|(number, _)| *number > wanted).collect::<Vec<_>>().into_iter().rev()
    {
        if slot != Slot::Absent {
            steps.push(ReplicaStep::DropSlot(number));
        }
        steps.push(ReplicaStep::Forget(number));
    }
    steps.extend((1..=wanted).map(ReplicaStep::Start));
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_first_run_makes_everything() {
        assert_eq!(
            primary(Data::Absent, false),
            [PrimaryStep::Initialise, PrimaryStep::Start, PrimaryStep::Fill]
        );
        assert_eq!(
            replicas(&[(Data::Absent, Slot::Absent); 2], 2),
            [ReplicaStep::Copy(1), ReplicaStep::Copy(2), ReplicaStep::Start(1), ReplicaStep::Start(2)]
        );
    }

    #[test]
    fn a_later_run_only_starts() {
        assert_eq!(primary(Data::Complete, true), [PrimaryStep::Start]);
        assert_eq!(replicas(&[(Data::Complete, Slot::Usable)], 1), [ReplicaStep::Start(1)]);
    }

    #[test]
    fn an_interrupted_run_is_cleared_and_done_again() {
        assert_eq!(
            primary(Data::Partial, false),
            [PrimaryStep::Clear, PrimaryStep::Initialise, PrimaryStep::Start, PrimaryStep::Fill]
        );
        assert_eq!(primary(Data::Complete, false), [PrimaryStep::Start, PrimaryStep::Fill]);
        assert_eq!(
            replicas(&[(Data::Partial, Slot::Usable)], 1),
            [ReplicaStep::DropSlot(1), ReplicaStep::Clear(1), ReplicaStep::Copy(1), ReplicaStep::Start(1)]
        );
    }

    #[test]
    fn a_replica_whose_wal_is_gone_is_copied_anew() {
        assert_eq!(
            replicas(&[(Data::Complete, Slot::Lost)], 1),
            [ReplicaStep::DropSlot(1), ReplicaStep::Clear(1), ReplicaStep::Copy(1), ReplicaStep::Start(1)]
        );
        assert_eq!(
            replicas(&[(Data::Complete, Slot::Absent)], 1),
            [ReplicaStep::Clear(1), ReplicaStep::Copy(1), ReplicaStep::Start(1)]
        );
    }

    #[test]
    fn replicas_beyond_the_wanted_number_are_removed_with_their_slots() {
        let found = [(Data::Complete, Slot::Usable); 3];
        assert_eq!(
            replicas(&found, 1),
            [
                ReplicaStep::DropSlot(3),
                ReplicaStep::Forget(3),
                ReplicaStep::DropSlot(2),
                ReplicaStep::Forget(2),
                ReplicaStep::Start(1)
            ]
        );
        assert_eq!(replicas(&[(Data::Absent, Slot::Absent)], 0), [ReplicaStep::Forget(1)]);
    }
}
