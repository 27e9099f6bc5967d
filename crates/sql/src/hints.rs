//! Hint comments: `/* highwater: route=primary, max_staleness=1s, key=user:42 */`.
//!
//! Only the first and the last comment of a text are looked at (see `classify`). What is not understood is ignored: a
//! comment must never break a statement.

use crate::verdict::{Hints, RouteHint};

/// Reads what follows `highwater:` in a comment into `hints`; what is there already stays.
pub(crate) fn read(comment: &str, hints: &mut Hints) {
    for pair in comment.split(',') {
        let Some((key, value)) = pair.split_once('=') else { continue };
        let value = value.trim().trim_matches('\'');
        if value.is_empty() {
            continue;
        }
        let text = || Some(value.to_owned());
        match key.trim().to_ascii_lowercase().as_str() {
            "route" if hints.route.is_none() => hints.route = route(value),
            "consistency" if hints.consistency.is_none() => hints.consistency = text(),
            "max_staleness" if hints.max_staleness.is_none() => hints.max_staleness = text(),
            "key" if hints.key.is_none() => hints.key = text(),
            _ => {}
        }
    }
}

fn route(value: &str) -> Option<RouteHint> {
    match value.to_ascii_lowercase().as_str() {
        "auto" => Some(RouteHint::Auto),
        "primary" => Some(RouteHint::Primary),
        "replica" => Some(RouteHint::Replica),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_keys_are_read_and_others_ignored() {
        let mut hints = Hints::default();
        read(" route=Primary, max_staleness = 1s ,key='user:42', colour=blue, consistency", &mut hints);
        assert_eq!(hints.route, Some(RouteHint::Primary));
        assert_eq!(hints.max_staleness.as_deref(), Some("1s"));
        assert_eq!(hints.key.as_deref(), Some("user:42"));
        assert_eq!(hints.consistency, None);
    }
}
