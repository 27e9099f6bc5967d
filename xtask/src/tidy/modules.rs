//! Arrows between the modules of `engine` point down, as the compiler holds it between crates.
//!
//! Reads `crate::…` and `super::…` paths in product code; tests may put machines together as they like.

use super::finding::Finding;
use super::source::{Source, closing, name_at};
use super::tables::ENGINE_ORDER;

const ROOT: &str = "crates/engine/src/";
const WHY: &str = "arrows between the engine's modules point down";

pub(crate) fn check(source: &Source) -> Vec<Finding> {
    let Some(module) = module_path(&source.path) else { return Vec::new() };
    let Some(top) = module.first() else { return Vec::new() };
    let Some(own_rank) = rank(top) else {
        let instead = "give it a place in ENGINE_ORDER (xtask/src/tidy/tables.rs) and in ARCHITECTURE.md";
        return vec![Finding::new((&source.path, 1), format!("module `{top}` has no place"), WHY, instead)];
    };
    let names = names_used(source, module.len());
    names.into_iter().filter_map(|(at, used)| arrow(source, at, top, own_rank, &used)).collect()
}

fn arrow(source: &Source, at: usize, top: &str, own_rank: usize, used: &str) -> Option<Finding> {
    let place = (source.path.as_str(), source.line_of(at));
    if used == top {
        return None;
    }
    if used.starts_with(char::is_uppercase) {
        let instead = "name the module it lives in";
        return Some(Finding::new(
            place,
            format!("`crate::{used}`"),
            "a path through the crate's root hides its arrow",
            instead,
        ));
    }
    let used_rank = rank(used)?;
    (used_rank >= own_rank).then(|| {
        let instead = "move what both need into a lower module, or hand it in";
        Finding::new(place, format!("`{top}` uses `{used}`"), WHY, instead)
    })
}

fn rank(module: &str) -> Option<usize> {
    ENGINE_ORDER.iter().position(|line| line.contains(&module))
}

/// `crates/engine/src/pool/slot.rs` is `[pool, slot]`, `lib.rs` is `[]`; `None` outside `engine`.
fn module_path(path: &str) -> Option<Vec<&str>> {
    let inside = path.strip_prefix(ROOT)?.strip_suffix(".rs")?;
    let mut parts: Vec<_> = inside.split('/').collect();
    if matches!(parts.last(), Some(&"mod" | &"lib")) {
        parts.pop();
    }
    Some(parts)
}

/// Top-level names that product code reaches, each with its offset.
fn names_used(source: &Source, depth: usize) -> Vec<(usize, String)> {
    let climb = "super::".repeat(depth);
    let from_root = source.find("crate::").map(|at| at + "crate::".len());
    let from_below =
        source.find(&climb).filter(|&at| !source.code[..at].ends_with("::")).map(|at| at + climb.len());
    from_root
        .chain(from_below)
        .filter(|&at| !source.is_test(at))
        .flat_map(|at| heads(&source.code, at).into_iter().map(move |head| (at, head)))
        .collect()
}

/// The first names of a path or of a `{group}` of paths at `at`.
fn heads(code: &str, at: usize) -> Vec<String> {
    if !code[at..].starts_with('{') {
        return vec![name_at(code, at).to_owned()];
    }
    let (mut heads, mut depth, mut fresh) = (Vec::new(), 0_usize, true);
    for offset in at + 1..closing(code, at) - 1 {
        match code.as_bytes()[offset] {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            b',' if depth == 0 => fresh = true,
            byte if fresh && !byte.is_ascii_whitespace() => {
                heads.push(name_at(code, offset).to_owned());
                fresh = false;
            }
            _ => {}
        }
    }
    heads
}

#[cfg(test)]
mod tests {
    use super::{Source, check};

    fn whats(path: &str, text: &str) -> Vec<String> {
        check(&Source::new(path, text)).into_iter().map(|finding| finding.what).collect()
    }

    #[test]
    fn arrows_down_are_fine_however_they_are_written() {
        let text = "use crate::{pool::{Pool, slot::Slot}, time::Instant};\nuse crate::view::View;\nuse super::super::error::Error;";
        assert!(whats("crates/engine/src/route/balance.rs", text).is_empty());
    }

    #[test]
    fn arrows_up_are_found_however_they_are_written() {
        assert_eq!(
            whats("crates/engine/src/pool/mod.rs", "use crate::route::Decision;"),
            ["`pool` uses `route`"]
        );
        let group = "use crate::{time::Instant, session::{self, pin::Pin}};";
        assert_eq!(whats("crates/engine/src/pool/slot.rs", group), ["`pool` uses `session`"]);
        assert_eq!(
            whats("crates/engine/src/pool/slot.rs", "use super::super::route::Reason;"),
            ["`pool` uses `route`"]
        );
        assert_eq!(
            whats("crates/engine/src/view.rs", "fn f(_: super::event::Event) {}"),
            ["`view` uses `event`"]
        );
    }

    #[test]
    fn neighbours_do_not_know_each_other() {
        assert_eq!(whats("crates/engine/src/pool/mod.rs", "use crate::freshness::Bound;").len(), 1);
    }

    #[test]
    fn the_root_and_tests_may_name_every_module() {
        assert!(whats("crates/engine/src/lib.rs", "pub use crate::session::Session;").is_empty());
        assert!(whats("crates/engine/src/pool/tests.rs", "use crate::session::Session;").is_empty());
    }

    #[test]
    fn re_exports_and_unplaced_modules_hide_no_arrow() {
        assert_eq!(whats("crates/engine/src/pool/mod.rs", "use crate::Session;"), ["`crate::Session`"]);
        assert_eq!(whats("crates/engine/src/misc.rs", ""), ["module `misc` has no place"]);
    }
}
