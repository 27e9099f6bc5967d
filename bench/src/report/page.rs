//! A page with plots that needs nothing else: no script, no font, no other file.

use std::fmt::Write as _;

use super::table;
use crate::sample::{Report, figure};

const WIDTH: f64 = 640.0;
const LEFT: f64 = 130.0;
const BAR: f64 = 18.0;

const STYLE: &str = "body{font:14px/1.5 system-ui,sans-serif;max-width:1000px;margin:2em auto;padding:0 1em;color:#223}\
    h2{margin:2em 0 .3em;font-size:1.1em}svg{display:block;margin:.3em 0}text{font:12px system-ui,sans-serif;fill:#223}\
    pre{overflow-x:auto;font-size:12px}.w{color:#a30}@media(prefers-color-scheme:dark)\
    {body{background:#14181d;color:#dde}text{fill:#dde}.w{color:#fa8}}";

/// The whole page.
pub(crate) fn html(report: &Report) -> String {
    let mut page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Highwater bench</title><style>{STYLE}</style>\
         <h1>What a query costs</h1><p>{} · {} cores · Linux {} · {} rounds of {} s, targets taking turns. Bars are medians, thin lines reach \
         from the least to the greatest round; behind them the ratio to {} of the same round.</p>",
        escape(&report.machine.cpu),
        report.machine.cores,
        escape(&report.machine.kernel),
        report.rounds,
        report.seconds,
        escape(&report.base),
    );
    for warning in &report.warnings {
        let _infallible = write!(page, "<p class=\"w\">{}</p>", escape(warning));
    }
    for workload in &report.workloads {
        let _infallible = write!(page, "<h2>{}</h2>", escape(workload));
        let figures: &[(&str, &str)] = if workload.starts_with("idle/") {
            &[(figure::PER_CLIENT, "KiB for each client"), (figure::IDLE, "percent of a core")]
        } else {
            &[
                (figure::CPU, "CPU of the proxy, µs for each answer"),
                (figure::P99, "p99, µs"),
                (figure::RATE, "answers per second"),
            ]
        };
        for (name, title) in figures {
            plot(report, workload, name, title, &mut page);
        }
    }
    let _infallible = writeln!(page, "<h2>All of it</h2><pre>{}</pre></html>", escape(&table::text(report)));
    page
}

fn plot(report: &Report, workload: &str, name: &str, title: &str, page: &mut String) {
    let rows: Vec<_> = report
        .targets
        .iter()
        .filter_map(|(target, _)| report.spread(workload, target, name).map(|spread| (target, spread)))
        .collect();
    let most = rows.iter().map(|(_, spread)| spread.max).fold(0.0, f64::max);
    if most <= 0.0 {
        return;
    }
    let scale = (WIDTH - LEFT - 130.0) / most;
    let height = BAR * (rows.len() as f64 + 1.0) + 8.0;
    let _infallible = write!(
        page,
        "<svg width=\"{WIDTH}\" height=\"{height}\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{workload}: {title}\">\
         <text x=\"0\" y=\"13\" font-weight=\"bold\">{title}</text>"
    );
    for (index, (target, spread)) in rows.iter().enumerate() {
        let top = BAR * (index as f64 + 1.0) + 4.0;
        let (base, middle) = (top + 12.0, top + 7.0);
        let colour = if target.starts_with("highwater") { "#2a7de1" } else { "#9aa5b1" };
        let ratio = report.ratio(workload, target, name);
        let ratio = ratio.map_or_else(String::new, |ratio| format!(" ({:.2}×)", ratio.median));
        let _infallible = write!(
            page,
            "<text x=\"0\" y=\"{base}\">{}</text><rect x=\"{LEFT}\" y=\"{top}\" width=\"{:.1}\" height=\"14\" fill=\"{colour}\"/>\
             <path d=\"M{:.1} {middle}H{:.1}\" stroke=\"#e4572e\" stroke-width=\"2\"/><text x=\"{:.1}\" y=\"{base}\">{}{ratio}</text>",
            escape(target),
            spread.median * scale,
            LEFT + spread.min * scale,
            LEFT + spread.max * scale,
            LEFT + spread.max * scale + 6.0,
            table::number(spread.median),
        );
    }
    page.push_str("</svg>");
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::tests::report;

    #[test]
    fn the_page_has_a_bar_for_each_target_and_refers_to_nothing_else() {
        let report = report(&[("simple/16", "pgbouncer", 0, 8.0), ("simple/16", "highwater", 0, 6.0)]);
        let page = html(&report);
        // Two targets, and a plot for processor time and one for the rate.
        assert_eq!(page.matches("<rect").count(), 4);
        assert!(page.contains("6.00 (0.75×)"));
        assert!(!page.contains("<script") && !page.contains("http"));
    }

    #[test]
    fn what_others_call_themselves_is_not_markup() {
        assert_eq!(escape("<b> & \"c\""), "&lt;b&gt; &amp; &quot;c&quot;");
    }
}
