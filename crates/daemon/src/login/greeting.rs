//! What a client is told of its session's settings at login: what a node reports, as the client's own start-up
//! parameters change it, and never the role of the one node that happened to be asked.
//!
//! The backends are brought in line when they are lent; values are not checked here.

use engine::route::RouteMode;
use engine::session::date_style::DateStyle;

/// Settings that PostgreSQL reports and a client may set at login (`GUC_REPORT` in `guc_tables.c`), as reported.
const REPORTED: [&str; 7] = [
    "application_name",
    "client_encoding",
    "default_transaction_read_only",
    "IntervalStyle",
    "search_path",
    "standard_conforming_strings",
    "TimeZone",
];

/// The parameters for a client of a database.
pub(super) fn of_database(
    node: &[(String, String)],
    asked: &[(String, String)],
    mode: RouteMode,
) -> Vec<(String, String)> {
    let mut all = node.to_vec();
    for (name, value) in &mut all {
        // The session is on no node yet. `app_ro` keeps its promise wherever it is; `app` and `app_rw` can write.
        match (name.as_str(), mode) {
            ("in_hot_standby", RouteMode::ReadOnly)
            | ("default_transaction_read_only", RouteMode::ReadOnly) => {
                "on".clone_into(value);
            }
            ("in_hot_standby", RouteMode::Auto | RouteMode::Primary) => "off".clone_into(value),
            _ => {}
        }
    }
    for (name, value) in asked {
        let (name, value) = if name == "datestyle" {
            let known =
                all.iter().find(|(known, _)| known == "DateStyle").map_or("ISO, MDY", |(_, value)| value);
            ("DateStyle", date_style(value, known))
        } else {
            let Some(name) = REPORTED.iter().find(|known| known.eq_ignore_ascii_case(name)) else { continue };
            (*name, value.clone())
        };
        // What the node doesn't report (older versions know fewer) is not reported for it.
        if let Some((_, old)) = all.iter_mut().find(|(known, _)| known == name) {
            *old = value;
        }
    }
    all
}

/// `DateStyle` has two halves, and a client may name one: the other stays.
fn date_style(asked: &str, known: &str) -> String {
    let [asked, known] = [asked, known].map(|value| DateStyle::read(value).unwrap_or_default());
    asked.over(known).to_string()
}

/// The parameters for an operator: those that drivers look for.
pub(super) fn of_console(asked: &[(String, String)]) -> Vec<(String, String)> {
    let pairs = [
        ("server_version", concat!(env!("CARGO_PKG_VERSION"), "/highwater")),
        ("server_encoding", "UTF8"),
        ("client_encoding", "UTF8"),
        ("application_name", ""),
        ("DateStyle", "ISO, MDY"),
        ("IntervalStyle", "postgres"),
        ("TimeZone", "GMT"),
        ("integer_datetimes", "on"),
        ("standard_conforming_strings", "on"),
        ("is_superuser", "on"),
    ];
    let pairs: Vec<_> = pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    // The console speaks UTF-8 only, whatever is asked.
    let asked: Vec<_> = asked.iter().filter(|(name, _)| name == "application_name").cloned().collect();
    of_database(&pairs, &asked, RouteMode::Auto)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(all: &[(&str, &str)]) -> Vec<(String, String)> {
        all.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn what_the_client_asked_for_is_what_it_is_told() {
        let node = pairs(&[
            ("server_version", "15.18"),
            ("client_encoding", "UTF8"),
            ("DateStyle", "ISO, DMY"),
            ("TimeZone", "Etc/UTC"),
            ("application_name", ""),
        ]);
        let asked = pairs(&[
            ("client_encoding", "LATIN1"),
            ("datestyle", "SQL"),
            ("timezone", "Asia/Tokyo"),
            ("application_name", "x"),
            ("server_version", "1"),
            ("extra_float_digits", "2"),
            ("search_path", "a"),
        ]);
        let expected = pairs(&[
            ("server_version", "15.18"),
            ("client_encoding", "LATIN1"),
            ("DateStyle", "SQL, DMY"),
            ("TimeZone", "Asia/Tokyo"),
            ("application_name", "x"),
        ]);
        assert_eq!(of_database(&node, &asked, RouteMode::Auto), expected);
    }

    #[test]
    fn the_role_reported_is_the_names_promise_and_not_the_nodes() {
        for (mode, expected) in
            [(RouteMode::Auto, "off"), (RouteMode::Primary, "off"), (RouteMode::ReadOnly, "on")]
        {
            for node in ["on", "off"] {
                let told = of_database(&pairs(&[("in_hot_standby", node)]), &[], mode);
                assert_eq!(told, pairs(&[("in_hot_standby", expected)]));
            }
        }
        let told = of_database(&pairs(&[("default_transaction_read_only", "off")]), &[], RouteMode::ReadOnly);
        assert_eq!(told, pairs(&[("default_transaction_read_only", "on")]));
        assert_eq!(of_database(&[], &[], RouteMode::ReadOnly), []);
    }

    #[test]
    fn half_a_date_style_keeps_the_other_half() {
        for (asked, expected) in [
            ("ISO", "ISO, DMY"),
            ("MDY", "SQL, MDY"),
            ("Postgres, YMD", "Postgres, YMD"),
            ("german", "German, DMY"),
            ("nonsense", "SQL, DMY"),
        ] {
            assert_eq!(date_style(asked, "SQL, DMY"), expected);
        }
    }
}
