//! What was written, on which branch: the truth that the checkers judge by.
//!
//! A branch begins where a primary was promoted, or restarted after a crash that lost what was not flushed. Two
//! branches may use the same positions, and even the same timeline, for different things; the engine is never shown
//! a branch.

/// A branch of what was written.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct BranchId(pub(crate) usize);

/// A position on a branch: everything up to it, also on the branches it comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Point {
    pub(crate) branch: BranchId,
    pub(crate) lsn: u64,
}

#[derive(Clone, Copy, Debug)]
struct Branch {
    timeline: u32,
    parent: Option<Point>,
}

/// All branches there have been.
#[derive(Clone, Debug)]
pub(crate) struct History {
    branches: Vec<Branch>,
}

impl History {
    /// The first branch, on timeline 1.
    pub(crate) fn new() -> (Self, BranchId) {
        (History { branches: vec![Branch { timeline: 1, parent: None }] }, BranchId(0))
    }

    /// A promotion: a new branch on a timeline that nobody has had.
    pub(crate) fn promote(&mut self, at: Point) -> BranchId {
        let timeline = 1 + self.branches.iter().map(|branch| branch.timeline).max().unwrap_or(0);
        self.fork(at, timeline)
    }

    /// A crash that lost what came after: a new branch on the same timeline.
    pub(crate) fn lose(&mut self, at: Point) -> BranchId {
        self.fork(at, self.timeline(at.branch))
    }

    fn fork(&mut self, at: Point, timeline: u32) -> BranchId {
        self.branches.push(Branch { timeline, parent: Some(at) });
        BranchId(self.branches.len() - 1)
    }

    pub(crate) fn timeline(&self, branch: BranchId) -> u32 {
        self.branches[branch.0].timeline
    }

    /// Whether who has everything up to `state` has `point`.
    pub(crate) fn contains(&self, state: Point, point: Point) -> bool {
        let mut at = state;
        while at.branch != point.branch {
            match self.branches[at.branch.0].parent {
                None => return false,
                Some(parent) => at = Point { branch: parent.branch, lsn: parent.lsn.min(at.lsn) },
            }
        }
        point.lsn <= at.lsn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_before_a_fork_is_on_both_sides_and_what_came_after_on_one() {
        let (mut history, first) = History::new();
        let second = history.promote(Point { branch: first, lsn: 100 });
        let third = history.lose(Point { branch: second, lsn: 200 });
        assert_eq!([first, second, third].map(|b| history.timeline(b)), [1, 2, 2]);
        let has = |a: BranchId, lsn, b: BranchId, point| {
            history.contains(Point { branch: a, lsn }, Point { branch: b, lsn: point })
        };
        assert!(has(second, 150, first, 100) && !has(second, 150, first, 101));
        assert!(has(third, 250, second, 200) && !has(third, 250, second, 201));
        assert!(has(third, 250, first, 100) && !has(third, 90, first, 100));
        assert!(!has(first, 999, second, 101));
    }
}
