//! Who may take writes: which claim is newer, and who stays fenced.
//!
//! Role is a claim with a timeline, not a boolean. "Not in recovery" alone never makes a node the primary: a
//! replica promoted by mistake and an old primary that came back say the same. All functions are pure; they look
//! at what every node last said, at the history that was accepted, and at who elects primaries, if somebody does.

use std::cmp::Ordering;

use wire::lsn::Timeline;

use super::observation::Authority;
use crate::view::{Incarnation, NodeId, Role};

/// What a node last said about itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Claim {
    /// In recovery it replays, else it claims to take writes.
    pub(crate) in_recovery: bool,
    /// Which database cluster's files it has.
    pub(crate) system: Option<u64>,
    /// Its branch of history.
    pub(crate) timeline: Option<Timeline>,
    /// Which run of the server.
    pub(crate) incarnation: Incarnation,
    /// Whether WAL streams to it.
    pub(crate) receiving: Option<bool>,
}

/// Whether what a node said still holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Hearing {
    /// Not probed yet.
    NeverAsked,
    /// It answers, or has not been silent long enough to say otherwise.
    Answers,
    /// The process is gone.
    Gone,
    /// It may be alive where we cannot hear it, for less than `takeover_after`.
    Silent,
    /// The same, for longer.
    SilentTooLong,
}

/// A node as a witness of who is primary.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Witness {
    pub(crate) node: NodeId,
    pub(crate) hearing: Hearing,
    pub(crate) claim: Option<Claim>,
}

impl Witness {
    /// What it says, if it can be heard.
    fn heard(&self) -> Option<&Claim> {
        self.claim.as_ref().filter(|_| self.hearing == Hearing::Answers)
    }

    /// What it says, if it can be heard and claims to take writes.
    fn claimant(&self) -> Option<&Claim> {
        self.heard().filter(|claim| !claim.in_recovery)
    }
}

/// The accepted primary and its history. Any difference between two of them begins a new epoch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Reign {
    pub(crate) node: NodeId,
    pub(crate) system: Option<u64>,
    pub(crate) timeline: Option<Timeline>,
    pub(crate) incarnation: Incarnation,
}

impl Reign {
    fn of(node: NodeId, claim: &Claim) -> Reign {
        Reign { node, system: claim.system, timeline: claim.timeline, incarnation: claim.incarnation }
    }

    /// Is this what the run that was accepted says of itself?
    fn is_held_by(&self, claim: &Claim) -> bool {
        claim.incarnation == self.incarnation && self.is_continued_by(claim)
    }

    /// Is this what the accepted primary says of itself, restarted perhaps, or promoted under the same address?
    fn is_continued_by(&self, claim: &Claim) -> bool {
        !claim.in_recovery && !contradict(self.system, claim.system) && claim.timeline >= self.timeline
    }
}

/// Whether the systems are known and differ.
fn contradict(one: Option<u64>, other: Option<u64>) -> bool {
    one.zip(other).is_some_and(|(one, other)| one != other)
}

/// The reign in force, given what everybody last said. `left` tells that the accepted primary is not a node of the
/// cluster any more; its witness is still heard.
pub(crate) fn succession(
    reign: Option<Reign>,
    witnesses: &[Witness],
    authority: Authority,
    left: bool,
) -> Option<Reign> {
    match (reign, authority) {
        (None, Authority::Observation) => cold_start(witnesses),
        (Some(reign), Authority::Observation) => Some(observed(reign, witnesses, left)),
        (reign, Authority::Named(named)) => elected(reign, named, witnesses),
    }
}

/// Where nobody elects primaries: the accepted one as long as it goes on, then its successor.
fn observed(reign: Reign, witnesses: &[Witness], left: bool) -> Reign {
    let holder = witnesses.iter().find(|witness| witness.node == reign.node);
    let vacant = match holder.map(|holder| (holder.hearing, &holder.claim)) {
        Some((Hearing::Answers, Some(claim))) if reign.is_continued_by(claim) => {
            return Reign::of(reign.node, claim);
        }
        Some((Hearing::Answers, Some(claim))) if contradict(reign.system, claim.system) => {
            if !is_remembered(&reign, witnesses) {
                // Nobody is left of the cluster that was accepted: its addresses serve another one.
                let other = cold_start(witnesses).filter(|other| contradict(other.system, reign.system));
                return other.unwrap_or(reign);
            }
            true
        }
        Some((Hearing::Answers | Hearing::Gone | Hearing::SilentTooLong, _)) | None => true,
        Some((Hearing::NeverAsked | Hearing::Silent, _)) => false,
    };
    let elsewhere = || same_run(&reign, witnesses).filter(|_| vacant || left);
    let heir = || heir(&reign, witnesses).filter(|_| vacant);
    let moved = || moved(&reign, witnesses).filter(|_| vacant && left);
    elsewhere().or_else(heir).or_else(moved).unwrap_or(reign)
}

/// Where somebody elects primaries: the node that is named, once it claims to take writes itself, on a history that is
/// not older. What was accepted goes on as long as that same run of it does, whatever is said meanwhile: only one that
/// is named *becomes* the primary.
fn elected(reign: Option<Reign>, named: Option<NodeId>, witnesses: &[Witness]) -> Option<Reign> {
    let claim_of = |node: NodeId| witnesses.iter().find(|w| w.node == node).and_then(Witness::claimant);
    let named = named.and_then(|node| Some((node, claim_of(node)?)));
    let Some(reign) = reign else { return named.map(|(node, claim)| Reign::of(node, claim)) };
    // As without an authority: the addresses of the cluster that was accepted serve another one.
    let holder = witnesses.iter().find(|w| w.node == reign.node).and_then(Witness::heard);
    let given_away = holder.is_some_and(|claim| contradict(reign.system, claim.system));
    let follows = |claim: &Claim| match contradict(reign.system, claim.system) {
        true => given_away && !is_remembered(&reign, witnesses),
        false => claim.timeline >= reign.timeline,
    };
    if let Some((node, claim)) = named.filter(|(_, claim)| follows(claim)) {
        return Some(Reign::of(node, claim));
    }
    let goes_on = claim_of(reign.node)
        .filter(|claim| reign.is_held_by(claim))
        .map(|claim| Reign::of(reign.node, claim));
    Some(goes_on.unwrap_or(reign))
}

/// Whether anybody that can be heard is of the system that was accepted.
fn is_remembered(reign: &Reign, witnesses: &[Witness]) -> bool {
    witnesses.iter().any(|witness| witness.heard().is_some_and(|claim| claim.system == reign.system))
}

/// The very run of the server that was accepted, at another address.
fn same_run(reign: &Reign, witnesses: &[Witness]) -> Option<Reign> {
    let held = |claim: &&Claim| reign.is_held_by(claim);
    let mut claims = witnesses.iter().filter_map(|w| Some((w.node, w.claimant().filter(held)?)));
    claims.next().map(|(node, claim)| Reign::of(node, claim))
}

/// The primary that left, started again at another address: the only one that claims its timeline, of the same system,
/// when everybody was asked and nobody knows of a higher one.
fn moved(reign: &Reign, witnesses: &[Witness]) -> Option<Reign> {
    let mut present = witnesses.iter().filter(|witness| witness.node != reign.node);
    let later = |witness: &Witness| witness.heard().is_some_and(|claim| claim.timeline > reign.timeline);
    if present.clone().any(|witness| witness.hearing == Hearing::NeverAsked || later(witness)) {
        return None;
    }
    let qualified = |claim: &&Claim| claim.system == reign.system && claim.timeline == reign.timeline;
    let claims = present.by_ref().filter_map(|w| Some((w.node, w.claimant().filter(qualified)?)));
    highest(claims).map(|(node, claim)| Reign::of(node, claim))
}

/// With nothing accepted: the claim of the highest timeline that anybody speaks of, once everybody was asked. An old
/// primary that answers first must not win by that.
fn cold_start(witnesses: &[Witness]) -> Option<Reign> {
    if witnesses.iter().any(|witness| witness.hearing == Hearing::NeverAsked) {
        return None;
    }
    let (node, claim) = highest(witnesses.iter().filter_map(|w| Some((w.node, w.claimant()?))))?;
    let outvoted = |witness: &Witness| {
        witness.heard().is_some_and(|other| {
            let claims = !other.in_recovery && contradict(claim.system, other.system);
            claims || (!contradict(claim.system, other.system) && other.timeline > claim.timeline)
        })
    };
    if witnesses.iter().any(outvoted) { None } else { Some(Reign::of(node, claim)) }
}

/// The successor of a primary that is gone, by observation: of the same system, on a higher timeline.
fn heir(reign: &Reign, witnesses: &[Witness]) -> Option<Reign> {
    let qualified = |claim: &Claim| {
        claim.system == reign.system && claim.timeline.is_some() && claim.timeline > reign.timeline
    };
    let heirs =
        witnesses.iter().filter_map(|w| Some((w.node, w.claimant().filter(|claim| qualified(claim))?)));
    highest(heirs).map(|(node, claim)| Reign::of(node, claim))
}

/// The claim on the highest timeline, unless two have it. One run of a server at two addresses is one claim.
fn highest<'a>(claims: impl Iterator<Item = (NodeId, &'a Claim)>) -> Option<(NodeId, &'a Claim)> {
    let mut best: Option<(NodeId, &Claim)> = None;
    let mut tied = false;
    for (node, claim) in claims {
        let order = best.map_or(Ordering::Greater, |(_, top)| claim.timeline.cmp(&top.timeline));
        match order {
            Ordering::Less => {}
            Ordering::Equal => tied |= best.is_some_and(|(_, top)| top.incarnation != claim.incarnation),
            Ordering::Greater => {
                best = Some((node, claim));
                tied = false;
            }
        }
    }
    if tied { None } else { best }
}

/// What a node is, given the reign in force. `proved` tells that this run of it was already proved to replay the
/// reign's history: losing sight of its timeline does not undo that, being seen on another does.
pub(crate) fn role(witness: &Witness, reign: Option<&Reign>, witnesses: &[Witness], proved: bool) -> Role {
    let Some(claim) = witness.claim else { return Role::Unknown };
    if reign.is_some_and(|reign| contradict(reign.system, claim.system)) {
        return Role::Unknown;
    }
    if !claim.in_recovery {
        return match reign {
            Some(reign) if reign.node == witness.node && reign.is_held_by(&claim) => Role::Primary,
            Some(_) => Role::Fenced,
            None => Role::Unknown,
        };
    }
    let current = match reign {
        Some(reign) => reign.timeline,
        None => match leaderless_timeline(witnesses) {
            Some(timeline) => Some(timeline),
            None => return Role::Unknown,
        },
    };
    let follows = match claim.timeline {
        Some(timeline) => Some(timeline) == current,
        None => proved || claim.receiving == Some(true),
    };
    if follows { Role::Replica } else { Role::Unknown }
}

/// The newest timeline anybody speaks of, as long as all that can be heard are of one system and nobody has been
/// accepted. Enough for `eventual`; nothing fresher is proved without a primary.
fn leaderless_timeline(witnesses: &[Witness]) -> Option<Timeline> {
    let mut claims = witnesses.iter().filter_map(Witness::heard);
    let system = claims.clone().find_map(|claim| claim.system);
    if claims.clone().any(|claim| contradict(system, claim.system)) {
        return None;
    }
    claims.by_ref().filter_map(|claim| claim.timeline).max()
}

/// Whether a replica's positions may be compared with the reign's samples: proved, not presumed.
pub(crate) fn is_comparable(claim: &Claim, reign: &Reign) -> bool {
    claim.in_recovery
        && claim.timeline.is_some()
        && claim.timeline == reign.timeline
        && claim.system.is_some()
        && claim.system == reign.system
}
