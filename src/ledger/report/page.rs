//! The report as a page by itself: no script, nothing that is loaded, ready to be printed.

use chrono::TimeDelta;

use super::controls::{self, Framework};
use super::plot::{bars, columns, escape};
use super::{Remark, Report, length, percentile};
use crate::ledger::event::EventKind;
use crate::ledger::tell::when;

/// How many roles and people are shown.
const MOST: usize = 15;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;margin:2em auto;max-width:54em;padding:0 1em;color:#222}\
    h1{font-size:1.6em}h2{font-size:1.15em;margin-top:2em;break-after:avoid}svg{width:100%;max-width:46em;break-inside:avoid}\
    svg text{font:12px system-ui,sans-serif;fill:#333}svg line{stroke:#999}.a{fill:#4a7bb5}.b{fill:#c2503f}table{border-collapse:collapse}\
    th,td{text-align:left;padding:.25em .9em .25em 0;border-bottom:1px solid #ddd}.n{text-align:right}.f{display:flex;flex-wrap:wrap;gap:1.5em}\
    .f div{min-width:7em}.f b{display:block;font-size:1.7em}.w{background:#fdf0d5;padding:.6em 1em}footer{margin-top:3em;overflow-wrap:anywhere;color:#666;font-size:.85em}\
    h3{font-size:1em;margin:1.6em 0 .3em;break-after:avoid}.c{break-inside:avoid}.s{color:#666;font-size:.9em}.l{font-size:.85em}\
    td{overflow-wrap:anywhere}thead{display:table-header-group}tr{break-inside:avoid}code{font-size:.9em}\
    @page{size:A4;margin:18mm}@media print{body{margin:0;max-width:none;padding:0;font-size:10.5pt;color:#000}a{color:inherit;text-decoration:none}\
    .a,.b,.w{print-color-adjust:exact;-webkit-print-color-adjust:exact}footer{color:#333}}";

/// The whole page, with the controls of a framework if one is asked for. `partial` says that some of the ledger could not be read;
/// `newest` is the newest event, with its hash.
pub fn page(report: &Report, newest: &str, partial: bool, framework: Option<Framework>) -> String {
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>Daypass: access</title><style>{STYLE}</style></head><body>\n<h1>Access by Daypass</h1>\n"
    );
    let span = report.first.zip(report.last).map(|(first, last)| format!("From {} to {}.", when(first), when(last)));
    page.push_str(&format!("<p>{}</p>\n", span.unwrap_or_else(|| "Nothing has happened yet.".to_owned())));
    if partial {
        page.push_str("<p class=\"w\">This is a part of what there was: some of the ledger cannot be read.</p>\n");
    }
    figures(report, &mut page);
    let weeks: Vec<(String, usize, usize)> = report
        .weeks()
        .into_iter()
        .map(|(week, one, other)| (week.format("%Y-%m-%d").to_string(), one, other))
        .collect();
    if !weeks.is_empty() {
        section(&mut page, "Grants by week; emergencies in red", &columns(&weeks));
        section(&mut page, "Roles", &bars(&report.ranked(|given| &given.role), MOST));
        section(&mut page, "People", &bars(&report.ranked(|given| &given.subject), MOST));
    }
    approval(report, &mut page);
    durations(report, &mut page);
    use_of_roles(report, &mut page);
    emergencies(report, &mut page);
    remarks(&mut page, "What may be worth a change", &report.suggestions());
    remarks(&mut page, "What is unusual", &report.anomalies());
    if let Some(framework) = framework {
        page.push_str(&controls::part(framework, report, newest));
    }
    page.push_str(&format!(
        "<footer>Made from the ledger alone, up to {}. <code>daypass audit verify</code> tells whether it is whole.</footer></body></html>\n",
        escape(newest)
    ));
    page
}

fn section(page: &mut String, title: &str, content: &str) {
    page.push_str(&format!("<h2>{title}</h2>\n{content}\n"));
}

fn figures(report: &Report, page: &mut String) {
    let emergencies = report.given.values().filter(|given| given.emergency).count();
    let open = report.given.values().filter(|given| given.ended.is_none()).count();
    let unapproved = report.asked.values().filter(|asked| !asked.approved).count();
    let denied = report.count(EventKind::Denied) + report.count(EventKind::Objected);
    let figures = [
        ("requests", report.asked.len()),
        ("grants", report.given.len()),
        ("of them emergencies", emergencies),
        ("running now", open),
        ("requests not granted", unapproved),
        ("denials and objections", usize::try_from(denied).unwrap_or(usize::MAX)),
        ("refused changes", usize::try_from(report.count(EventKind::Refused)).unwrap_or(usize::MAX)),
        ("given by targets", usize::try_from(report.applied.0).unwrap_or(usize::MAX)),
        ("of what was given people had before", usize::try_from(report.applied.1).unwrap_or(usize::MAX)),
        ("failures of targets", usize::try_from(report.count(EventKind::Failed)).unwrap_or(usize::MAX)),
    ];
    let figures: String = figures.iter().map(|(name, number)| format!("<div><b>{number}</b>{name}</div>")).collect();
    page.push_str(&format!("<div class=\"f\">{figures}</div>\n"));
}

fn approval(report: &Report, page: &mut String) {
    let row = |name: &str, times: &[TimeDelta]| {
        let (half, most) = (length(percentile(times, 50)?), length(percentile(times, 95)?));
        Some(format!("<tr><td>{name}</td><td class=\"n\">{}</td><td>{half}</td><td>{most}</td></tr>", times.len()))
    };
    let waited: Vec<TimeDelta> = report.given.values().filter_map(|given| given.waited).collect();
    let stages = report.stages.iter().filter_map(|(stage, times)| row(&format!("stage {}", escape(stage)), times));
    let rows: String = stages.chain(row("from the request to the grant", &waited)).collect();
    if !rows.is_empty() {
        let head = "<tr><th></th><th class=\"n\">approvals</th><th>median</th><th>95 of 100 within</th></tr>";
        section(page, "Time to approval", &format!("<table>{head}{rows}</table>"));
    }
}

fn durations(report: &Report, page: &mut String) {
    let rows: String = report
        .used()
        .iter()
        .filter_map(|(role, (asked, kept))| {
            let (asked_for, used) = (length(percentile(asked, 50)?), length(percentile(kept, 50)?));
            Some(format!(
                "<tr><td>{}</td><td class=\"n\">{}</td><td>{asked_for}</td><td>{used}</td></tr>",
                escape(role),
                kept.len()
            ))
        })
        .collect();
    if !rows.is_empty() {
        let head = "<tr><th>role</th><th class=\"n\">ended</th><th>asked for (median)</th><th>kept (median)</th></tr>";
        section(page, "Asked for, and kept", &format!("<table>{head}{rows}</table>"));
    }
}

fn use_of_roles(report: &Report, page: &mut String) {
    let rows: String = report
        .unused()
        .iter()
        .map(|(role, (all, unused))| {
            format!("<tr><td>{}</td><td class=\"n\">{all}</td><td class=\"n\">{unused}</td></tr>", escape(role))
        })
        .collect();
    let targets: Vec<String> = report.seen_targets.iter().map(|target| escape(target)).collect();
    match rows.is_empty() {
        true => section(
            page,
            "Granted, and not used",
            "<p>Nobody was seen using anything: no target that is asked, or that reports, had a session.</p>",
        ),
        false => {
            let head = "<tr><th>role</th><th class=\"n\">ended</th><th class=\"n\">without a session</th></tr>";
            let note = format!("<p>On targets where sessions were seen at all: {}.</p>", targets.join(", "));
            section(page, "Granted, and not used", &format!("{note}<table>{head}{rows}</table>"));
        }
    }
}

fn emergencies(report: &Report, page: &mut String) {
    let rows: String = report
        .given
        .iter()
        .filter(|(_, given)| given.emergency)
        .take(MOST)
        .map(|(id, given)| {
            let review = report.reviews.get(id).cloned().unwrap_or_default();
            let reviewed = match (review.at, &review.by) {
                (Some(at), Some(by)) => format!("{} by {}", when(at), escape(by)),
                _ => "not yet".to_owned(),
            };
            let due = review.due_at.map(when).unwrap_or_default();
            format!(
                "<tr><td>{}</td><td>{}</td><td>{}</td><td>{due}</td><td>{reviewed}</td></tr>",
                escape(id),
                escape(&given.subject),
                escape(&given.role)
            )
        })
        .collect();
    if !rows.is_empty() {
        let head = "<tr><th>grant</th><th>subject</th><th>role</th><th>review due</th><th>reviewed</th></tr>";
        section(page, "Emergencies", &format!("<table>{head}{rows}</table>"));
    }
}

fn remarks(page: &mut String, title: &str, remarks: &[Remark]) {
    let items: String =
        remarks.iter().map(|one| format!("<li><b>{}</b>: {}</li>", escape(&one.what), escape(&one.evidence))).collect();
    if !items.is_empty() {
        section(page, title, &format!("<ul>{items}</ul>"));
    }
}
