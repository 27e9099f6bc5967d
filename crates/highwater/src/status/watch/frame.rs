//! The picture: a status, its history and the last events, laid out for a size. Pure.
//!
//! What is wrong is said first and stands out: on a small terminal columns and rows that matter less are left out, and it is
//! said how many.

use serde_json::Value;

use super::super::figures::{
    bytes, cell, connections, millis, of_clusters, rate, rows, slot_state, state, unknown, uptime,
};
use super::history::{History, Rates};
use super::paint::{Line, Looks, Span, Style, spark};
use super::screen::Size;

/// Lags below this are drawn small, however small the others are. Bytes.
const LAG_TOP_BYTES: f64 = 65_536.0;
/// Rates below this are drawn small. A second.
const RATE_TOP: f64 = 10.0;
/// Widest picture of a series, in characters: a minute.
const SPARK_MAX: usize = 60;
/// Narrowest.
const SPARK_MIN: usize = 8;
/// A terminal of so many columns keeps room for the course of each lag, before the last columns of the nodes.
const WIDE: usize = 100;
const SPARK_KEPT: usize = 20;

/// Whether the picture moves.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Pulse {
    Live,
    /// By the space bar.
    Held,
    /// The router does not answer.
    Silent {
        tries: u32,
        why: String,
    },
}

/// What is shown.
pub(super) struct Picture<'a> {
    pub(super) status: &'a Value,
    pub(super) events: &'a Value,
    pub(super) history: &'a History,
    pub(super) pulse: &'a Pulse,
}

/// The lines, no more than there are rows.
pub(super) fn frame(picture: &Picture<'_>, size: Size, looks: Looks) -> Vec<Line> {
    let mut lines = vec![header(picture, size.columns)];
    lines.extend(trouble(picture));
    lines.extend(traffic(picture, size.columns, looks));
    let footer = 1;
    let sections = [
        nodes(picture, size.columns, looks),
        slots(picture.status, size.columns),
        pools(picture.status, size.columns),
        others(picture.status, size.columns),
        events(picture.events),
    ];
    let room = size.rows.saturating_sub(lines.len() + footer);
    let wanted = sections.each_ref().map(Vec::len);
    let given = share(wanted, room);
    let [listed @ .., mut newest] = sections;
    for (section, rows) in listed.into_iter().zip(given) {
        lines.extend(cut(section, rows));
    }
    // Older events are not missed: they are in SHOW EVENTS.
    newest.truncate(given[EVENTS]);
    lines.extend(newest);
    lines.truncate(size.rows.saturating_sub(footer));
    lines.resize(size.rows.saturating_sub(footer), Line::default());
    lines.push(Line::of(Style::Dim, " q quit   space hold"));
    lines
}

/// Rows for each section. The nodes have at most half of all while others want some; then each is given enough to say something,
/// in the order of [`SHARE_ORDER`]; what is left goes to whoever stands higher.
fn share(wanted: [usize; 5], room: usize) -> [usize; 5] {
    let mut given = [0; 5];
    let mut left = room;
    let mut give = |place: usize, up_to: usize| {
        let more = wanted[place].min(up_to).saturating_sub(given[place]).min(left);
        if given[place] + more >= LEAST_ROWS.min(wanted[place]) {
            given[place] += more;
            left -= more;
        }
    };
    give(0, room.div_ceil(2));
    SHARE_ORDER.into_iter().for_each(|place| give(place, LEAST_ROWS));
    (0..wanted.len()).for_each(|place| give(place, usize::MAX));
    given
}

/// An empty line, a heading and one row: less than this says nothing.
const LEAST_ROWS: usize = 3;

/// Replication slots, pools, events; the streams to others go first.
const SHARE_ORDER: [usize; 4] = [1, 2, EVENTS, 3];
const EVENTS: usize = 4;

/// The first lines of a section; the last of them says how many are left out.
fn cut(mut section: Vec<Line>, rows: usize) -> Vec<Line> {
    if section.len() > rows && rows > 0 {
        let hidden = section.len() - rows + 1;
        section.truncate(rows - 1);
        section.push(Line::of(Style::Dim, format!("  and {hidden} more")));
    }
    section.truncate(rows);
    section
}

fn header(picture: &Picture<'_>, width: usize) -> Line {
    let status = picture.status;
    let waiting: u64 = rows(&status["pools"]).filter_map(|pool| pool["clients_waiting"].as_u64()).sum();
    let line = Line::of(Style::Bold, format!(" highwater {}", cell(&status["version"])))
        .and(Style::Dim, format!("  up {}", uptime(&status["uptime_ms"])))
        .and(Style::Plain, format!("  clients {}", cell(&status["clients"])))
        .and(if waiting > 0 { Style::Bad } else { Style::Plain }, format!("  waiting {waiting}"))
        .and(Style::Plain, format!("  backends {}", cell(&status["backends"])));
    let (style, right) = match picture.pulse {
        Pulse::Live => (Style::Good, "live".to_owned()),
        Pulse::Held => (Style::Warn, "held".to_owned()),
        Pulse::Silent { .. } => (Style::Bad, "no answer".to_owned()),
    };
    line.to(width.saturating_sub(right.len() + 1)).and(style, right)
}

/// What an operator must not overlook.
fn trouble(picture: &Picture<'_>) -> Vec<Line> {
    let mut lines = Vec::new();
    if let Pulse::Silent { tries, why } = picture.pulse {
        lines.push(Line::of(Style::Bad, format!(" asked {tries} times: {why}")));
    }
    for cluster in rows(&picture.status["clusters"]).filter(|cluster| cluster["primary"].is_null()) {
        let name = cell(&cluster["name"]);
        lines.push(Line::of(Style::Bad, format!(" cluster {name} has no primary: writes wait")));
    }
    lines
}

fn traffic(picture: &Picture<'_>, width: usize, looks: Looks) -> Vec<Line> {
    let history = picture.history;
    let share = picture.status["reads"]["share"].as_f64();
    let rates = history.newest();
    let line = |what: &str, of: fn(&Rates) -> f64, p95: Option<Option<f64>>, style: Style| {
        let rate = rates.map_or_else(unknown, |rates| rate(of(rates)));
        let mut line = Line::of(Style::Dim, format!("  {what:<18}")).and(style, format!("{rate:>9}"));
        line = match p95 {
            Some(Some(ms)) => line.and(Style::Dim, format!("  95 % within {}", millis(&ms.into()))),
            Some(None) | None => line,
        };
        let line = line.to(52);
        let room = width.saturating_sub(line.width() + 2).min(SPARK_MAX);
        if room < SPARK_MIN {
            return line;
        }
        line.and(style, spark(&history.course(of), room, RATE_TOP, looks))
    };
    let erring = rates.is_some_and(|rates| rates.errors > 0.0);
    let share = share.map_or_else(String::new, |share| {
        format!(": {:.1} % of all reads so far on replicas", share * 100.0)
    });
    vec![
        Line::default(),
        Line::of(Style::Dim, "  requests").and(Style::Dim, share),
        line("reads on replicas", |r| r.replica, rates.map(|r| r.replica_p95_ms), Style::Good),
        line("reads on primary", |r| r.primary, rates.map(|r| r.primary_p95_ms), Style::Plain),
        line("writes", |r| r.writes, None, Style::Plain),
        line("errors", |r| r.errors, None, if erring { Style::Bad } else { Style::Plain }),
    ]
}

/// A column: its heading, whether numbers stand in it, and how soon it goes where there is no room (0: never).
struct Column {
    title: &'static str,
    right: bool,
    goes: u8,
}

const fn left(title: &'static str, goes: u8) -> Column {
    Column { title, right: false, goes }
}

const fn right(title: &'static str, goes: u8) -> Column {
    Column { title, right: true, goes }
}

/// An empty line, a heading and a line for each row, within a width.
fn table<const N: usize>(columns: &[Column; N], rows: &[[Span; N]], width: usize) -> Vec<Line> {
    let widest = |place: usize| {
        let cells = rows.iter().map(|row| row[place].1.chars().count());
        cells.chain([columns[place].title.len()]).max().unwrap_or(0)
    };
    let widths: [usize; N] = std::array::from_fn(widest);
    let mut shown: Vec<usize> = (0..N).collect();
    let needed = |shown: &[usize]| shown.iter().map(|place| widths[*place] + 2).sum::<usize>();
    while needed(&shown) > width {
        let first = shown.iter().copied().filter(|place| columns[*place].goes > 0);
        let Some(goes) = first.max_by_key(|place| columns[*place].goes) else { break };
        shown.retain(|place| *place != goes);
    }
    let line = |cells: &[Span; N]| {
        shown.iter().fold(Line::default(), |line, &place| {
            let (style, text) = &cells[place];
            let blanks = " ".repeat(widths[place].saturating_sub(text.chars().count()));
            let (before, behind) =
                if columns[place].right { (blanks, String::new()) } else { (String::new(), blanks) };
            line.and(Style::Plain, format!("  {before}")).and(*style, text.as_str()).and(Style::Plain, behind)
        })
    };
    let heading = columns.each_ref().map(|column| (Style::Dim, column.title.to_owned()));
    [Line::default(), line(&heading)].into_iter().chain(rows.iter().map(line)).collect()
}

fn nodes(picture: &Picture<'_>, width: usize, looks: Looks) -> Vec<Line> {
    const COLUMNS: [Column; 11] = [
        left("node", 0),
        left("role", 2),
        left("state", 0),
        right("tl", 7),
        right("staleness", 0),
        right("not written", 5),
        right("not flushed", 6),
        right("not replayed", 0),
        left("stream", 1),
        right("conflicts", 3),
        right("connections", 8),
    ];
    let status = picture.status;
    let rows_of: Vec<_> =
        rows(&status["nodes"]).map(|node| node_row(node, &status["max_staleness_ms"])).collect();
    let pictures_want = if width >= WIDE { SPARK_KEPT + 3 } else { 0 };
    let mut lines = table(&COLUMNS, &rows_of, width.saturating_sub(pictures_want));
    let room = width.saturating_sub(lines[1].width() + 3).min(SPARK_MAX);
    if room >= SPARK_MIN {
        let series = rows(&status["nodes"]).map(|node| {
            if node["role"] == "primary" {
                return Line::default();
            }
            Line::of(Style::Warn, spark(&picture.history.lag(node), room, LAG_TOP_BYTES, looks))
        });
        let title = format!("lag, last {room} s");
        let pictures =
            [Line::default(), Line::of(Style::Dim, format!("{title:>room$}"))].into_iter().chain(series);
        lines = lines
            .into_iter()
            .zip(pictures)
            .map(|(line, picture)| line.and(Style::Plain, "   ").join(picture))
            .collect();
    }
    lines
}

fn node_row(node: &Value, max_staleness_ms: &Value) -> [Span; 11] {
    let plain = |text: String| (Style::Plain, text);
    let primary = node["role"] == "primary";
    let word = state(node);
    let well = match word.as_str() {
        "up" => Style::Good,
        "down" => Style::Bad,
        _ => Style::Warn,
    };
    let stale = match (node["staleness_ms"].as_f64(), max_staleness_ms.as_f64()) {
        (Some(ms), Some(max)) if ms > max => Style::Bad,
        (Some(ms), Some(max)) if ms > max / 2.0 => Style::Warn,
        (None, _) if node["role"] == "replica" => Style::Warn,
        _ => Style::Plain,
    };
    let of_replica = |value: &Value| plain(if primary { String::new() } else { bytes(value) });
    let stream = match (&node["replay_paused"], node["receiver"].as_str()) {
        _ if primary => plain(String::new()),
        (Value::Bool(true), _) => (Style::Bad, "replay paused".to_owned()),
        (_, Some("streaming")) => (Style::Good, "streaming".to_owned()),
        (_, Some("none")) => (Style::Bad, "no receiver".to_owned()),
        (_, Some(other)) => (Style::Warn, other.to_owned()),
        (_, None) => plain(unknown()),
    };
    [
        (Style::Bold, cell(&node["name"])),
        plain(cell(&node["role"])),
        (well, word),
        plain(cell(&node["timeline"])),
        if primary { plain(String::new()) } else { (stale, millis(&node["staleness_ms"])) },
        of_replica(&node["write_lag_bytes"]),
        of_replica(&node["flush_lag_bytes"]),
        of_replica(&node["lag_bytes"]),
        stream,
        plain(cell(&node["conflicts"]["total"])),
        plain(connections(&node["connections"])),
    ]
}

fn slots(status: &Value, width: usize) -> Vec<Line> {
    const COLUMNS: [Column; 7] = [
        left("replication slot", 0),
        left("on", 2),
        left("type", 4),
        left("state", 0),
        right("retained", 0),
        left("WAL", 1),
        right("left before lost", 3),
    ];
    let mut listed: Vec<&Value> = of_clusters(status, "slots").collect();
    // What may fill a disk first.
    listed.sort_by_key(|slot| {
        let retained = slot["retained_bytes"].as_u64().unwrap_or(0);
        (slot["lost"] != true, slot["active"] != false, std::cmp::Reverse(retained))
    });
    let row = |slot: &Value| {
        let plain = |text: String| (Style::Plain, text);
        let word = slot_state(slot);
        let style = match word.as_str() {
            "in use" => Style::Good,
            "lost" => Style::Bad,
            _ => Style::Warn,
        };
        let kept = match slot["wal_status"].as_str() {
            Some("lost" | "unreserved") => Style::Bad,
            Some("extended") => Style::Warn,
            _ => Style::Plain,
        };
        [
            plain(cell(&slot["name"])),
            plain(cell(&slot["node"])),
            plain(cell(&slot["type"])),
            (style, word),
            plain(bytes(&slot["retained_bytes"])),
            (kept, cell(&slot["wal_status"])),
            plain(bytes(&slot["safe_bytes"])),
        ]
    };
    let rows: Vec<_> = listed.into_iter().map(row).collect();
    if rows.is_empty() { Vec::new() } else { table(&COLUMNS, &rows, width) }
}

fn others(status: &Value, width: usize) -> Vec<Line> {
    const COLUMNS: [Column; 5] = [
        left("stream to no node", 0),
        left("from", 2),
        left("address", 3),
        left("state", 0),
        right("not sent", 1),
    ];
    let row = |sender: &Value| {
        let text = |name: &str| (Style::Plain, cell(&sender[name]));
        let behind = (Style::Plain, bytes(&sender["sent_lag_bytes"]));
        [text("application_name"), text("node"), text("client_addr"), text("state"), behind]
    };
    let rows: Vec<_> = of_clusters(status, "other_senders").map(row).collect();
    if rows.is_empty() { Vec::new() } else { table(&COLUMNS, &rows, width) }
}

fn pools(status: &Value, width: usize) -> Vec<Line> {
    const COLUMNS: [Column; 8] = [
        left("pool", 0),
        left("node", 0),
        right("clients", 3),
        right("waiting", 0),
        right("longest wait", 1),
        right("backends", 0),
        right("idle", 4),
        right("size", 2),
    ];
    let mut listed: Vec<&Value> = rows(&status["pools"]).collect();
    let number = |pool: &Value, name: &str| pool[name].as_u64().unwrap_or(0);
    listed.sort_by_key(|pool| {
        std::cmp::Reverse((number(pool, "clients_waiting"), number(pool, "backends_active")))
    });
    let row = |pool: &Value| {
        let plain = |name: &str| (Style::Plain, cell(&pool[name]));
        let waits = if number(pool, "clients_waiting") > 0 { Style::Bad } else { Style::Plain };
        [
            (Style::Plain, format!("{} as {}", cell(&pool["database"]), cell(&pool["user"]))),
            plain("node"),
            plain("clients_active"),
            (waits, cell(&pool["clients_waiting"])),
            (waits, millis(&pool["wait_max_ms"])),
            plain("backends_active"),
            plain("backends_idle"),
            plain("size"),
        ]
    };
    let rows: Vec<_> = listed.into_iter().map(row).collect();
    if rows.is_empty() { Vec::new() } else { table(&COLUMNS, &rows, width) }
}

/// The newest first.
fn events(events: &Value) -> Vec<Line> {
    let mut listed: Vec<&Value> = rows(&events["events"]).collect();
    listed.reverse();
    if listed.is_empty() {
        return Vec::new();
    }
    let line = |event: &Value| {
        // `2026-11-21 06:00:00 UTC`: the day is in SHOW EVENTS.
        let time = event["time"].as_str().and_then(|time| time.get(11..19)).unwrap_or("").to_owned();
        let node = event["node"].as_str().map_or_else(|| cell(&event["cluster"]), ToOwned::to_owned);
        Line::of(Style::Dim, format!("  {time}  "))
            .and(Style::Bold, node)
            .and(Style::Plain, format!(" {}", cell(&event["event"])))
    };
    let heading = [Line::default(), Line::of(Style::Dim, "  events (UTC)")];
    heading.into_iter().chain(listed.into_iter().map(line)).collect()
}

#[cfg(test)]
mod tests;
