//! Arrows between crates point down: each `Cargo.toml` against the table of floors. And no crate opts out of the lints.

use super::finding::Finding;
use super::tables::{FLOORS, Floor, OUTSIDE_CRATES};

/// Checks one crate's manifest.
pub(crate) fn check(path: &str, text: &str) -> Vec<Finding> {
    let manifest: toml::Table = match text.parse() {
        Ok(manifest) => manifest,
        Err(error) => {
            return vec![Finding::new((path, 1), "not TOML", &error.to_string(), "mend the file")];
        }
    };
    let Some(name) =
        manifest.get("package").and_then(|package| package.get("name")).and_then(toml::Value::as_str)
    else {
        return Vec::new();
    };
    let Some(floor) = FLOORS.iter().find(|floor| floor.name == name) else {
        let instead = "add it to FLOORS in xtask/src/tidy/tables.rs and to ARCHITECTURE.md";
        return vec![Finding::new(
            (path, 1),
            format!("crate `{name}` has no floor"),
            "every crate has its place",
            instead,
        )];
    };
    let used = dependencies(&manifest);
    used.iter().filter_map(|used| arrow(path, text, floor, used)).chain(lints(path, &manifest)).collect()
}

fn lints(path: &str, manifest: &toml::Table) -> Option<Finding> {
    let inherits =
        manifest.get("lints").and_then(|lints| lints.get("workspace")) == Some(&toml::Value::Boolean(true));
    (!inherits).then(|| {
        let why = "one table of lints holds for all crates";
        Finding::new((path, 1), "no `[lints] workspace = true`", why, "add it")
    })
}

/// Names of all dependencies, for the product, its tests, its build script and single platforms.
fn dependencies(manifest: &toml::Table) -> Vec<String> {
    let mut names = Vec::new();
    for (key, value) in manifest {
        let Some(table) = value.as_table() else { continue };
        match key.as_str() {
            "dependencies" | "dev-dependencies" | "build-dependencies" => {
                names.extend(table.iter().map(|(name, detail)| real_name(name, detail)));
            }
            "target" => names.extend(table.values().filter_map(toml::Value::as_table).flat_map(dependencies)),
            _ => {}
        }
    }
    names
}

fn real_name(name: &str, detail: &toml::Value) -> String {
    detail.get("package").and_then(toml::Value::as_str).unwrap_or(name).to_owned()
}

fn arrow(path: &str, text: &str, floor: &Floor, used: &str) -> Option<Finding> {
    let place = (path, line_of_key(text, used));
    if FLOORS.iter().any(|other| other.name == used) {
        if floor.may_use.contains(&used) {
            return None;
        }
        let may = if floor.may_use.is_empty() {
            "no crate of this workspace".into()
        } else {
            floor.may_use.join(", ")
        };
        let instead = format!(
            "`{}` may use {may}; hand the value down as an argument, or move the code up",
            floor.name
        );
        return Some(Finding::new(
            place,
            format!("`{}` uses `{used}`", floor.name),
            "arrows point down",
            instead,
        ));
    }
    let family = |name: &str| {
        used == name || used.starts_with(&format!("{name}-")) || used.starts_with(&format!("{name}_"))
    };
    let outside =
        OUTSIDE_CRATES.iter().find(|outside| family(outside.name) && floor.floor < outside.lowest_floor)?;
    let what = format!("`{}` on floor {} uses `{used}`", floor.name, floor.floor);
    let instead = format!(
        "it may stand on floor {} and above: do it there and hand the result in",
        outside.lowest_floor
    );
    Some(Finding::new(place, what, outside.why, instead))
}

fn line_of_key(text: &str, key: &str) -> usize {
    let is_key = |line: &str| {
        line.trim_start().strip_prefix(key).is_some_and(|rest| rest.starts_with([' ', '.', '=']))
    };
    text.lines().position(is_key).map_or(1, |index| index + 1)
}

#[cfg(test)]
mod tests {
    use super::check;

    fn manifest(name: &str, dependencies: &str) -> String {
        format!("[package]\nname = \"{name}\"\n[lints]\nworkspace = true\n[dependencies]\n{dependencies}\n")
    }

    #[test]
    fn an_arrow_down_is_fine() {
        assert!(
            check("Cargo.toml", &manifest("engine", "wire.workspace = true\nsql = { path = \"../sql\" }"))
                .is_empty()
        );
        assert!(
            check(
                "Cargo.toml",
                &manifest("daemon", "tokio-postgres.workspace = true\nengine.workspace = true")
            )
            .is_empty()
        );
    }

    #[test]
    fn an_arrow_up_or_sideways_is_found_with_its_line() {
        let up = check("Cargo.toml", &manifest("engine", "wire.workspace = true\ndaemon.workspace = true"));
        assert_eq!((up.len(), up[0].line, up[0].what.as_str()), (1, 7, "`engine` uses `daemon`"));
        assert_eq!(check("Cargo.toml", &manifest("wire", "sql.workspace = true")).len(), 1);
    }

    #[test]
    fn the_shells_crates_stay_on_the_upper_floors() {
        assert_eq!(check("Cargo.toml", &manifest("engine", "serde_json.workspace = true")).len(), 1);
        assert_eq!(check("Cargo.toml", &manifest("daemon", "clap = \"4\"")).len(), 1);
        let renamed = "[package]\nname = \"sql\"\n[lints]\nworkspace = true\n[target.'cfg(unix)'.dev-dependencies]\nrt = { package = \"tokio\" }";
        assert_eq!(check("Cargo.toml", renamed).len(), 1);
    }

    #[test]
    fn a_crate_that_leaves_the_lints_is_found() {
        assert_eq!(
            check("Cargo.toml", "[package]\nname = \"sql\"\n")[0].what,
            "no `[lints] workspace = true`"
        );
    }

    #[test]
    fn a_crate_without_a_floor_is_found() {
        assert_eq!(check("Cargo.toml", &manifest("common", "")).len(), 1);
        assert!(check("Cargo.toml", "[workspace]\nmembers = []").is_empty());
    }
}
