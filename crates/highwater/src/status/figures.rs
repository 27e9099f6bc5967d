//! Numbers and names of the router's JSON as people read them. What the router does not know, or did not say, is a dash.

use serde_json::Value;

/// A text or number as it is.
pub(super) fn cell(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => unknown(),
        other => other.to_string(),
    }
}

/// What is not known.
pub(super) fn unknown() -> String {
    "-".to_owned()
}

/// Milliseconds.
pub(super) fn millis(value: &Value) -> String {
    match value.as_f64() {
        None => unknown(),
        Some(ms) if ms < 10.0 => format!("{ms:.1} ms"),
        Some(ms) if ms < 10_000.0 => format!("{ms:.0} ms"),
        Some(ms) if ms < 600_000.0 => format!("{:.1} s", ms / 1e3),
        Some(ms) => span(ms as u64),
    }
}

/// A number of bytes.
pub(super) fn bytes(value: &Value) -> String {
    match value.as_u64() {
        None => unknown(),
        Some(count @ 0..10_240) => format!("{count} B"),
        Some(count @ 10_240..10_485_760) => format!("{} kB", count >> 10),
        Some(count @ 10_485_760..10_737_418_240) => format!("{} MB", count >> 20),
        Some(count) => format!("{} GB", count >> 30),
    }
}

/// A number of things a second.
pub(super) fn rate(per_second: f64) -> String {
    match per_second {
        n if n < 10.0 => format!("{n:.1}/s"),
        n if n < 100_000.0 => format!("{n:.0}/s"),
        n => format!("{:.0}k/s", n / 1e3),
    }
}

/// `used/max`.
pub(super) fn connections(value: &Value) -> String {
    match (value["used"].as_u64(), value["max"].as_u64()) {
        (None, None) => unknown(),
        (used, max) => {
            let number = |n: Option<u64>| n.map_or_else(|| "?".to_owned(), |n| n.to_string());
            format!("{}/{}", number(used), number(max))
        }
    }
}

/// A long time, from milliseconds.
pub(super) fn span(ms: u64) -> String {
    let seconds = ms / 1000;
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

/// Since the start.
pub(super) fn uptime(value: &Value) -> String {
    value.as_u64().map_or_else(unknown, span)
}

/// The state of a node: an operator's wish is said before its health.
pub(super) fn state(node: &Value) -> String {
    if node["drained"] == true { "drained".to_owned() } else { cell(&node["state"]) }
}

/// The state of a replication slot in a word.
pub(super) fn slot_state(slot: &Value) -> String {
    match (&slot["lost"], &slot["active"]) {
        (Value::Bool(true), _) => "lost".to_owned(),
        (_, Value::Bool(true)) => "in use".to_owned(),
        (_, Value::Bool(false)) => "not used".to_owned(),
        _ => unknown(),
    }
}

/// The rows of a list.
pub(super) fn rows(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

/// Slots or other senders of all clusters.
pub(super) fn of_clusters<'a>(status: &'a Value, what: &'a str) -> impl Iterator<Item = &'a Value> {
    rows(&status["clusters"]).flat_map(move |cluster| rows(&cluster[what]))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn figures_have_the_unit_that_keeps_them_short() {
        let cases = [json!(3.25), json!(250), json!(59_999), json!(7_200_000), Value::Null];
        assert_eq!(cases.map(|ms| millis(&ms)), ["3.2 ms", "250 ms", "60.0 s", "2 h 0 min", "-"]);
        let cases = [json!(0), json!(20_480), json!(50 << 20), json!(11_u64 << 30), json!("x")];
        assert_eq!(cases.map(|count| bytes(&count)), ["0 B", "20 kB", "50 MB", "11 GB", "-"]);
        assert_eq!([0.5, 1234.4, 250_000.0].map(rate), ["0.5/s", "1234/s", "250k/s"]);
    }

    #[test]
    fn what_is_half_known_says_so() {
        assert_eq!(connections(&json!({ "used": null, "max": 100 })), "?/100");
        assert_eq!(connections(&json!({ "used": null, "max": null })), "-");
        assert_eq!(slot_state(&json!({ "active": null, "lost": null })), "-");
        assert_eq!(slot_state(&json!({ "active": false, "lost": true })), "lost");
    }
}
