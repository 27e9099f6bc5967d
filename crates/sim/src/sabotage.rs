//! Negative controls: each takes one rule away, and the checkers must notice. A check that notices nothing proves
//! nothing.

/// Which rule is broken on purpose.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Sabotage {
    /// None.
    Nothing,
    /// The primary is sampled by its flush position.
    FlushPosition,
    /// A sample counts as asked when it was answered, so that a write acknowledged meanwhile seems proved.
    LateStamp,
    /// Runs of a server are not told apart, neither by the monitor nor at check-out.
    NoIncarnation,
    /// Every replica is taken to be on the primary's timeline.
    NoTimeline,
    /// The page header behind an insert position is left on.
    NoNormalise,
    /// A session forgets which replica it has read from.
    NoReadOrder,
    /// A session forgets its writes after fifty milliseconds, as a time to live would make it.
    ForgottenWrite,
}

impl Sabotage {
    /// Every control.
    pub const ALL: [Sabotage; 7] = [
        Sabotage::FlushPosition,
        Sabotage::LateStamp,
        Sabotage::NoIncarnation,
        Sabotage::NoTimeline,
        Sabotage::NoNormalise,
        Sabotage::NoReadOrder,
        Sabotage::ForgottenWrite,
    ];
}
