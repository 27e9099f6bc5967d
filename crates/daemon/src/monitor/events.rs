//! What has happened to the nodes of a cluster, in words, for people: the last few changes of what was believed.
//!
//! Found by comparing what was believed before with what is believed after, so that whoever causes a change need not tell. Nothing
//! is decided by an event. Oldest are forgotten first.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use engine::view::{Health, NodeView, Role, View};

use super::NodeStatus;
use super::probe::{Answer, Receiver};
use super::replication::{Replication, Slot};

/// Events kept of one cluster.
const EVENTS_MAX: usize = 256;

/// Something that happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Event {
    pub(crate) at: SystemTime,
    pub(crate) news: News,
}

/// What happened, and to which node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct News {
    pub(crate) kind: Kind,
    /// None when it is about the cluster.
    pub(crate) node: Option<Arc<str>>,
    /// A phrase that follows the node's name.
    pub(crate) text: String,
}

/// What an event is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// Which node takes writes.
    Primary,
    /// Which nodes there are.
    Nodes,
    /// What a node is.
    Role,
    /// Whether a node answers.
    Health,
    /// An operator has drained a node, or has taken that back.
    Drain,
    /// Replay was paused or resumed.
    Replay,
    /// WAL streams to a replica, or does not.
    Receiver,
    /// A replication slot.
    Slot,
}

impl Kind {
    /// The word for tables.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Kind::Primary => "primary",
            Kind::Nodes => "nodes",
            Kind::Role => "role",
            Kind::Health => "health",
            Kind::Drain => "drain",
            Kind::Replay => "replay",
            Kind::Receiver => "receiver",
            Kind::Slot => "slot",
        }
    }
}

/// The last events of a cluster. Copies are of the same list.
#[derive(Clone, Debug, Default)]
pub(crate) struct Events(Arc<Mutex<VecDeque<Event>>>);

impl Events {
    /// Notes what happened.
    pub(super) fn note(&self, at: SystemTime, news: Vec<News>) {
        if news.is_empty() {
            return;
        }
        let mut events = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for news in news {
            if events.len() == EVENTS_MAX {
                events.pop_front();
            }
            events.push_back(Event { at, news });
        }
    }

    /// All that are kept, the oldest first.
    pub(crate) fn all(&self) -> Vec<Event> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

/// What a new view says that the one before did not.
pub(super) fn of_views(before: &View, after: &View) -> Vec<News> {
    let mut news = Vec::new();
    let name = |view: &View| view.primary.and_then(|id| view.node(id)).map(|node| Arc::clone(&node.name));
    match (name(before), name(after)) {
        (old, Some(new)) if before.primary != after.primary => {
            let instead = old.map_or_else(String::new, |old| format!(" after {old}"));
            let text = format!("is the primary{instead} (epoch {})", after.epoch.0);
            news.push(News { kind: Kind::Primary, node: Some(new), text });
        }
        (Some(old), None) => {
            let text = "is no primary any more: nobody takes writes".to_owned();
            news.push(News { kind: Kind::Primary, node: Some(old), text });
        }
        (Some(node), Some(_)) if before.epoch != after.epoch => {
            let text = format!("has begun another history (epoch {})", after.epoch.0);
            news.push(News { kind: Kind::Primary, node: Some(node), text });
        }
        _ => {}
    }
    for node in &after.nodes {
        match before.node(node.id) {
            Some(old) => news.extend(of_node(old, node)),
            // The first view of all has every node.
            None if before.nodes.is_empty() => {}
            None => news.push(about(node, Kind::Nodes, "has joined the cluster".to_owned())),
        }
    }
    for node in before.nodes.iter().filter(|node| after.node(node.id).is_none()) {
        news.push(about(node, Kind::Nodes, "has left the cluster".to_owned()));
    }
    news
}

fn of_node(old: &NodeView, node: &NodeView) -> Vec<News> {
    let mut news = Vec::new();
    if answers(old.health) != answers(node.health) {
        let text = match node.health {
            Health::Up | Health::Suspect => "answers".to_owned(),
            Health::Down => "is down".to_owned(),
            Health::Unknown => "is not known to answer".to_owned(),
        };
        news.push(about(node, Kind::Health, text));
    }
    if old.role != node.role {
        let timeline = node.timeline.map_or_else(String::new, |timeline| format!(" on timeline {timeline}"));
        let text = match node.role {
            Role::Unknown => "has no role that could be believed".to_owned(),
            Role::Primary => format!("takes writes{timeline}"),
            Role::Replica => format!("is a replica{timeline}"),
            Role::Fenced => format!("claims to take writes{timeline}, and is fenced"),
        };
        news.push(about(node, Kind::Role, text));
    }
    if old.drained != node.drained {
        let text = if node.drained { "was drained by an operator" } else { "was undrained by an operator" };
        news.push(about(node, Kind::Drain, text.to_owned()));
    }
    news
}

/// A node that is suspect answers until it is down.
fn answers(health: Health) -> Option<bool> {
    match health {
        Health::Unknown => None,
        Health::Up | Health::Suspect => Some(true),
        Health::Down => Some(false),
    }
}

fn about(node: &NodeView, kind: Kind, text: String) -> News {
    News { kind, node: Some(Arc::clone(&node.name)), text }
}

/// What an answer says that the node's status did not.
pub(super) fn of_answer(name: &Arc<str>, before: &NodeStatus, answer: &Answer) -> Vec<News> {
    let mut news = Vec::new();
    let mut say = |kind, text| news.push(News { kind, node: Some(Arc::clone(name)), text });
    if before.probes > 0 && before.replay_paused != answer.slow.replay_paused {
        let text = if answer.slow.replay_paused { "replay is paused" } else { "replay goes on" };
        say(Kind::Replay, text.to_owned());
    }
    let streams = |receiver: &Receiver| receiver.streams();
    match (before.receiver.as_ref().and_then(streams), streams(&answer.slow.receiver)) {
        (Some(false), Some(true)) => say(Kind::Receiver, "WAL streams in".to_owned()),
        (Some(true), Some(false)) if answer.facts.in_recovery => {
            say(Kind::Receiver, format!("no WAL streams in (receiver: {})", answer.slow.receiver.name()));
        }
        _ => {}
    }
    if let (Some(before), Some(after)) = (&before.replication, &answer.replication)
        && !Arc::ptr_eq(before, after)
    {
        for text in of_slots(before, after) {
            say(Kind::Slot, text);
        }
    }
    news
}

/// Slots of one node, before and after; temporary ones come and go with every backup and are left out.
fn of_slots(before: &Replication, after: &Replication) -> Vec<String> {
    let (Some(old), Some(new)) = (&before.slots, &after.slots) else { return Vec::new() };
    // Of a list that was cut, what is missing is not gone.
    if [old, new].iter().any(|slots| slots.total > slots.some.len() as u64) {
        return Vec::new();
    }
    let kept = |slot: &&Slot| slot.temporary != Some(true);
    let find = |slots: &[Slot], name: &str| slots.iter().find(|slot| slot.name == name).cloned();
    let mut said = Vec::new();
    for slot in new.some.iter().filter(kept) {
        let name = &slot.name;
        match find(&old.some, name) {
            None => said.push(format!("replication slot {name} was made")),
            Some(was) if was.is_lost() != Some(true) && slot.is_lost() == Some(true) => {
                said.push(format!("replication slot {name} is lost: WAL that it needs is gone"));
            }
            Some(was) => match (was.active, slot.active) {
                (Some(true), Some(false)) => {
                    said.push(format!("replication slot {name} is not used, and keeps WAL"));
                }
                (Some(false), Some(true)) => said.push(format!("replication slot {name} is used")),
                _ => {}
            },
        }
    }
    for slot in old.some.iter().filter(kept).filter(|slot| find(&new.some, &slot.name).is_none()) {
        said.push(format!("replication slot {} was dropped", slot.name));
    }
    said
}

#[cfg(test)]
mod tests;
