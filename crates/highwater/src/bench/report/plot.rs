//! Plots as inline SVG: bars, dots on a scale of powers, lines. Text and shapes only, coloured by the page's style sheet.
//!
//! Knows numbers, labels and places, nothing of load tests. Every plot has a title and a description for those who do
//! not see it; the page has the same numbers in tables.

use std::fmt::Write as _;

/// Colours of the style sheet, `--c0` and on; a ninth series begins again.
const COLOURS: usize = 8;
/// Size of a plot in its own units; the page scales it.
const WIDTH: f64 = 760.0;
const LABELS: f64 = 190.0;
const VALUES: f64 = 130.0;
const ROW: f64 = 30.0;
const BAR: f64 = 18.0;
const AXIS: f64 = 30.0;
/// Of plots of lines.
const HEIGHT: f64 = 260.0;
const LEFT: f64 = 62.0;

/// How much of the page's width a plot of bars has: its text is as large either way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Room {
    Whole,
    Half,
}

impl Room {
    /// Width of all, of the labels and of the values behind the longest bar.
    fn widths(self) -> (f64, f64, f64) {
        match self {
            Room::Whole => (WIDTH, LABELS, VALUES),
            Room::Half => (WIDTH * 0.47, LABELS * 0.72, VALUES * 0.66),
        }
    }
}

/// What a plot is called, and what it shows in words.
pub(super) struct Caption<'a> {
    /// Unique in the page.
    pub(super) id: &'a str,
    pub(super) title: &'a str,
    pub(super) description: &'a str,
}

/// A bar, or a dot, in a row of its own.
pub(super) struct Row {
    pub(super) label: String,
    /// None when it is not known.
    pub(super) value: Option<f64>,
    /// From the lowest to the highest round.
    pub(super) range: Option<(f64, f64)>,
    /// The value for people.
    pub(super) shown: String,
    pub(super) colour: usize,
}

/// A line.
pub(super) struct Line<'a> {
    pub(super) label: &'a str,
    pub(super) points: Vec<(f64, Option<f64>)>,
    pub(super) colour: usize,
}

/// Horizontal bars from zero.
pub(super) fn bars(caption: &Caption<'_>, rows: &[Row], at_least: f64, room: Room) -> String {
    let (width, labels, values) = room.widths();
    let highest = rows.iter().flat_map(|row| [row.value, row.range.map(|range| range.1)]).flatten();
    let scale = Scale::from_zero(highest.fold(at_least, f64::max));
    let place = |value: f64| labels + value / scale.to * (width - labels - values);
    let mut svg = begin(caption, width, rows.len() as f64 * ROW + AXIS);
    grid(&mut svg, &scale.ticks, place, rows.len());
    for (index, row) in rows.iter().enumerate() {
        let top = index as f64 * ROW + (ROW - BAR) / 2.0;
        let middle = top + BAR / 2.0;
        text(&mut svg, (labels - 10.0, middle + 4.5), "label end", &row.label);
        let Some(value) = row.value else {
            text(&mut svg, (labels + 6.0, middle + 4.5), "value faint", &row.shown);
            continue;
        };
        let colour = row.colour % COLOURS;
        add(
            &mut svg,
            format_args!(
                "<rect class=\"c{colour}\" x=\"{labels:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{BAR}\" rx=\"2\"/>",
                (place(value) - labels).max(1.0)
            ),
        );
        let mut end = place(value);
        if let Some((low, high)) = row.range.filter(|(low, high)| high > low) {
            let (low, high) = (place(low), place(high));
            add(
                &mut svg,
                format_args!(
                    "<path class=\"whisker\" d=\"M{low:.1} {middle:.1}H{high:.1}M{low:.1} {:.1}v8M{high:.1} {:.1}v8\"/>",
                    middle - 4.0,
                    middle - 4.0
                ),
            );
            end = end.max(high);
        }
        text(&mut svg, (end + 8.0, middle + 4.5), "value", &row.shown);
    }
    svg.push_str("</svg>\n");
    svg
}

/// Groups of dots on a scale of powers of ten: for values that differ by orders of magnitude.
pub(super) fn dots(caption: &Caption<'_>, groups: &[(String, Vec<Row>)]) -> String {
    let values = || groups.iter().flat_map(|(_, rows)| rows).filter_map(|row| row.value).filter(|v| *v > 0.0);
    let (low, high) = (values().fold(f64::INFINITY, f64::min), values().fold(0.0, f64::max));
    if high <= 0.0 {
        return String::new();
    }
    let scale = Scale::powers(low, high);
    let (from, to) = (scale.from.log10(), scale.to.log10());
    let place = |value: f64| LABELS + (value.log10() - from) / (to - from) * (WIDTH - LABELS - VALUES);
    let count: usize = groups.iter().map(|(_, rows)| rows.len()).sum();
    let gaps = groups.len() as f64 * 10.0;
    let mut svg = begin(caption, WIDTH, count as f64 * 20.0 + gaps + AXIS);
    grid_of(&mut svg, &scale.ticks, place, count as f64 * 20.0 + gaps);
    let mut top = 0.0;
    for (name, rows) in groups {
        text(&mut svg, (LABELS - 10.0, top + rows.len() as f64 * 10.0 + 4.5), "label end strong", name);
        for row in rows {
            let middle = top + 10.0;
            if let Some(value) = row.value.filter(|value| *value > 0.0) {
                let (at, colour) = (place(value), row.colour % COLOURS);
                add(
                    &mut svg,
                    format_args!(
                        "<path class=\"stem\" d=\"M{LABELS} {middle:.1}H{at:.1}\"/><circle class=\"c{colour}\" cx=\"{at:.1}\" \
                     cy=\"{middle:.1}\" r=\"6\"><title>{}: {}</title></circle>",
                        escape(&row.label),
                        escape(&row.shown)
                    ),
                );
                text(&mut svg, (at + 12.0, middle + 4.5), "value", &row.shown);
            }
            top += 20.0;
        }
        top += 10.0;
    }
    svg.push_str("</svg>\n");
    svg
}

/// Lines over time, from zero; a value that is missing leaves a gap.
pub(super) fn lines(caption: &Caption<'_>, lines: &[Line<'_>], marks: &[f64]) -> String {
    let points = || lines.iter().flat_map(|line| &line.points);
    let until = points().map(|(at, _)| *at).fold(0.0, f64::max);
    let scale = Scale::from_zero(points().filter_map(|(_, value)| *value).fold(0.0, f64::max));
    let times = Scale::from_zero(until.max(1e-3));
    let bottom = HEIGHT - AXIS;
    let x = |at: f64| LEFT + at / until.max(1e-3) * (WIDTH - LEFT - 16.0);
    let y = |value: f64| bottom - value / scale.to * (bottom - 10.0);
    let mut svg = begin(caption, WIDTH, HEIGHT);
    for tick in &scale.ticks {
        add(
            &mut svg,
            format_args!("<path class=\"grid\" d=\"M{LEFT} {:.1}H{:.1}\"/>", y(*tick), WIDTH - 16.0),
        );
        text(&mut svg, (LEFT - 8.0, y(*tick) + 4.0), "tick end", &number(*tick));
    }
    for tick in times.ticks.iter().filter(|tick| **tick <= until) {
        text(&mut svg, (x(*tick), HEIGHT - 10.0), "tick middle", &format!("{} s", number(*tick)));
    }
    for mark in marks.iter().filter(|mark| **mark < until) {
        add(&mut svg, format_args!("<path class=\"mark\" d=\"M{:.1} 10V{bottom}\"/>", x(*mark)));
    }
    for line in lines {
        let (mut path, mut pen) = (String::new(), 'M');
        for (at, value) in &line.points {
            match value {
                Some(value) => {
                    add(&mut path, format_args!("{pen}{:.1} {:.1}", x(*at), y(*value)));
                    pen = 'L';
                }
                None => pen = 'M',
            }
        }
        let colour = line.colour % COLOURS;
        add(
            &mut svg,
            format_args!(
                "<path class=\"line l{colour}\" d=\"{path}\"><title>{}</title></path>",
                escape(line.label)
            ),
        );
    }
    svg.push_str("</svg>\n");
    svg
}

/// Names beside their colours.
pub(super) fn legend<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let mut out = "<ul class=\"legend\">".to_owned();
    for (index, name) in names.enumerate() {
        add(&mut out, format_args!("<li><span class=\"k{}\"></span>{}</li>", index % COLOURS, escape(name)));
    }
    out.push_str("</ul>\n");
    out
}

/// A text that is no markup.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

pub(super) fn add(out: &mut String, what: std::fmt::Arguments<'_>) {
    out.write_fmt(what).expect("a String takes everything");
}

fn begin(caption: &Caption<'_>, width: f64, height: f64) -> String {
    let Caption { id, title, description } = caption;
    format!(
        "<svg viewBox=\"0 0 {width:.0} {height:.0}\" role=\"img\" aria-labelledby=\"{id}-t {id}-d\"><title id=\"{id}-t\">{}</title>\
         <desc id=\"{id}-d\">{}</desc>",
        escape(title),
        escape(description)
    )
}

fn grid(svg: &mut String, ticks: &[f64], place: impl Fn(f64) -> f64, rows: usize) {
    grid_of(svg, ticks, place, rows as f64 * ROW);
}

fn grid_of(svg: &mut String, ticks: &[f64], place: impl Fn(f64) -> f64, bottom: f64) {
    for tick in ticks {
        let at = place(*tick);
        add(svg, format_args!("<path class=\"grid\" d=\"M{at:.1} 0V{bottom:.1}\"/>"));
        text(svg, (at, bottom + 18.0), "tick middle", &number(*tick));
    }
}

fn text(svg: &mut String, (x, y): (f64, f64), class: &str, what: &str) {
    add(svg, format_args!("<text x=\"{x:.1}\" y=\"{y:.1}\" class=\"{class}\">{}</text>", escape(what)));
}

/// An axis.
struct Scale {
    from: f64,
    to: f64,
    ticks: Vec<f64>,
}

impl Scale {
    /// From zero to a round number that is not below the highest value, with about four ticks.
    fn from_zero(highest: f64) -> Scale {
        let highest = if highest > 0.0 { highest } else { 1.0 };
        let rough = highest / 4.0;
        let power = 10_f64.powf(rough.log10().floor());
        let step =
            [1.0, 2.0, 2.5, 5.0, 10.0].map(|step| step * power).into_iter().find(|step| *step >= rough);
        let step = step.unwrap_or(10.0 * power);
        let count = (highest / step - 1e-9).ceil().max(1.0);
        Scale {
            from: 0.0,
            to: count * step,
            ticks: (0..=count as u32).map(|n| f64::from(n) * step).collect(),
        }
    }

    /// Between powers of ten, or halves of them, around the values.
    fn powers(low: f64, high: f64) -> Scale {
        let mut ticks: Vec<f64> =
            (-6..9).flat_map(|power| [1.0, 3.0].map(|digit| digit * 10_f64.powi(power))).collect();
        let first = ticks.iter().rposition(|tick| *tick <= low).unwrap_or(0);
        let last = ticks.iter().position(|tick| *tick >= high).unwrap_or(ticks.len() - 1).max(first + 1);
        ticks.truncate(last + 1);
        ticks.drain(..first);
        Scale { from: ticks[0], to: ticks[ticks.len() - 1], ticks }
    }
}

/// As short as it can be said.
fn number(value: f64) -> String {
    if value >= 10_000.0 {
        return format!("{}k", number(value / 1000.0));
    }
    let text = format!("{value:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_end_at_round_numbers_around_the_values() {
        assert_eq!(Scale::from_zero(1807.0).ticks, [0.0, 500.0, 1000.0, 1500.0, 2000.0]);
        assert_eq!(Scale::from_zero(0.0).ticks, [0.0, 0.25, 0.5, 0.75, 1.0]);
        assert_eq!(Scale::from_zero(1.0).to, 1.0);
        assert_eq!(Scale::powers(4.0, 432.0).ticks, [3.0, 10.0, 30.0, 100.0, 300.0, 1000.0]);
        assert_eq!(Scale::powers(3.0, 3.0).ticks, [3.0, 10.0]);
    }

    #[test]
    fn numbers_are_as_short_as_they_can_be() {
        assert_eq!([0.0, 0.25, 1500.0, 20_000.0].map(number), ["0", "0.25", "1500", "20k"]);
    }

    #[test]
    fn a_missing_value_is_a_gap_and_no_zero() {
        let caption = Caption { id: "x", title: "t <1>", description: "d" };
        let points = vec![(0.0, Some(1.0)), (1.0, None), (2.0, Some(2.0))];
        let svg = lines(&caption, &[Line { label: "a", points, colour: 9 }], &[1.0]);
        assert!(svg.contains("d=\"M62.0 120.0M744.0 10.0\""), "two pieces: {svg}");
        assert!(svg.contains("t &lt;1&gt;") && svg.contains("class=\"line l1\""));
    }

    #[test]
    fn what_is_unknown_has_no_bar() {
        let row = |value| Row { label: "r".to_owned(), value, range: None, shown: "s".to_owned(), colour: 0 };
        let caption = Caption { id: "x", title: "t", description: "d" };
        assert_eq!(bars(&caption, &[row(None)], 1.0, Room::Half).matches("<rect").count(), 0);
        assert_eq!(bars(&caption, &[row(Some(0.5))], 1.0, Room::Whole).matches("<rect").count(), 1);
    }
}
