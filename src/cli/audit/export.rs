//! `daypass audit export`: the record for spreadsheets, programs, log stores and people. One event at a time, whatever there is.

use std::io::{self, Write};
use std::ops::ControlFlow;
use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use super::filter::{Filter, roles, targets};
use super::{Failure, Source, log, read};
use crate::ledger::{Entry, EventKind, Gravity, canonical, tell};

/// Arguments of `daypass audit export`.
#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    /// The form. `ocsf` is that of <https://schema.ocsf.io/1.3.0>, one event a line.
    #[arg(long, value_enum, default_value = "jsonl")]
    format: Form,
    #[command(flatten)]
    filter: Filter,
    #[command(flatten)]
    source: Source,
}

/// The forms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Form {
    /// For spreadsheets.
    Csv,
    /// One array.
    Json,
    /// The lines of the ledger as they are.
    Jsonl,
    /// For log stores that speak the Open Cybersecurity Schema Framework.
    Ocsf,
    /// A page by itself.
    Html,
}

const COLUMNS: [&str; 12] =
    ["seq", "at", "kind", "about", "pull_request", "subject", "by", "role", "target", "what", "id", "hash"];

pub(super) fn run(args: &ExportArgs) -> Result<ExitCode, Failure> {
    let clone = args.source.open()?;
    let branch = clone.ledger().map_err(super::failure)?;
    let format = if args.source.json { Form::Json } else { args.format };
    let scope = args.filter.scope(&branch, false)?;
    let mut out = io::BufWriter::new(io::stdout().lock());
    let mut written = begin(&mut out, format);
    let mut first = true;
    let gaps = read(&branch, |entry| {
        if written.is_err() {
            return ControlFlow::Break(());
        }
        if args.filter.takes(&entry, &scope) {
            written = event(&mut out, format, &entry, first);
            first = false;
        }
        ControlFlow::Continue(())
    })?;
    let note = gaps.are_some().then_some("A part of what there was: some of the ledger cannot be read.");
    let written = written.and_then(|()| end(&mut out, format, note)).and_then(|()| out.flush());
    log::done(written)?;
    Ok(gaps.tell())
}

fn begin(out: &mut impl Write, format: Form) -> io::Result<()> {
    match format {
        Form::Csv => row(out, COLUMNS.map(str::to_owned)),
        Form::Json => out.write_all(b"["),
        Form::Jsonl | Form::Ocsf => Ok(()),
        Form::Html => {
            out.write_all(HEAD.as_bytes())?;
            let heads: String = COLUMNS.iter().map(|name| format!("<th>{name}</th>")).collect();
            writeln!(out, "<thead><tr>{heads}</tr></thead><tbody>")
        }
    }
}

fn event(out: &mut impl Write, format: Form, entry: &Entry, first: bool) -> io::Result<()> {
    match format {
        Form::Csv => row(out, columns(entry)),
        Form::Json => write!(out, "{}\n{}", if first { "" } else { "," }, log::json(entry)),
        Form::Jsonl => writeln!(out, "{}", canonical(&log::json(entry))),
        Form::Ocsf => writeln!(out, "{}", ocsf(entry)),
        Form::Html => {
            let cells: String = columns(entry).iter().map(|cell| format!("<td>{}</td>", escape(cell))).collect();
            writeln!(out, "<tr>{cells}</tr>")
        }
    }
}

fn end(out: &mut impl Write, format: Form, note: Option<&str>) -> io::Result<()> {
    match (format, note) {
        (Form::Json, _) => out.write_all(b"\n]\n"),
        (Form::Html, note) => {
            let note = note.map(|note| format!("<p><strong>{note}</strong></p>")).unwrap_or_default();
            writeln!(out, "</tbody></table>{note}</body></html>")
        }
        _ => Ok(()),
    }
}

/// <https://www.rfc-editor.org/rfc/rfc4180>. A spreadsheet must not take somebody's text for a formula.
fn row(out: &mut impl Write, cells: [String; 12]) -> io::Result<()> {
    let cell = |cell: &String| {
        let formula = cell.starts_with(['=', '+', '-', '@', '\t', '\r']);
        let text = format!("{}{cell}", if formula { "'" } else { "" });
        match text.contains(['"', ',', '\n', '\r']) {
            true => format!("\"{}\"", text.replace('"', "\"\"")),
            false => text,
        }
    };
    write!(out, "{}\r\n", cells.iter().map(cell).collect::<Vec<_>>().join(","))
}

fn columns(entry: &Entry) -> [String; 12] {
    let (event, details) = (&entry.event, &entry.event.details);
    let person = |name: &str| match &details[name] {
        Value::Null => String::new(),
        account => tell::who(account),
    };
    let by = ["by", "requester", "author"].into_iter().map(person).find(|login| !login.is_empty()).unwrap_or_default();
    let of_grant = || details["grant"].as_str().and_then(|grant| grant.split_once('#')?.1.parse().ok());
    let number = details["pull_request"].as_u64().or_else(of_grant);
    [
        entry.seq.to_string(),
        event.at.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true),
        event.kind.to_string(),
        tell::about(event),
        number.map(|number| number.to_string()).unwrap_or_default(),
        person("subject"),
        by,
        roles(details).collect::<Vec<_>>().join(" "),
        targets(details).collect::<Vec<_>>().join(" "),
        tell::sentence(event),
        event.id.clone(),
        entry.hash.clone(),
    ]
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

const HEAD: &str = "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>Daypass: the record</title>\
    <style>body{font:14px/1.4 system-ui,sans-serif;margin:2em}table{border-collapse:collapse}th,td{text-align:left;\
    vertical-align:top;padding:.2em .6em;border-bottom:1px solid #ddd}th{position:sticky;top:0;background:#fff}\
    td:last-child,td:nth-child(11){font:11px monospace;max-width:14em;overflow-wrap:anywhere}</style></head><body>\
    <h1>The record</h1><table>";

/// The version of the schema that is written.
const OCSF: &str = "1.3.0";

/// Access that is given or taken away is User Access Management (3005); everything else is Entity Management (3004) of the grant, the
/// request or the policy. Neither has a place for who did it, beside the person concerned: that is in `unmapped`, with all details.
/// <https://schema.ocsf.io/1.3.0/classes/user_access>
fn ocsf(entry: &Entry) -> Value {
    let (event, details) = (&entry.event, &entry.event.details);
    let (class, activity) = match event.kind {
        EventKind::Applied => (3005, 1),
        EventKind::Removed => (3005, 2),
        EventKind::Requested | EventKind::Granted => (3004, 1),
        EventKind::Decided | EventKind::Approved | EventKind::Objected | EventKind::Merged => (3004, 3),
        EventKind::Started | EventKind::Joined | EventKind::Left | EventKind::PolicyChanged => (3004, 3),
        EventKind::Escalated | EventKind::Reviewed | EventKind::AccessReviewed => (3004, 3),
        EventKind::Emergency | EventKind::ReviewOverdue | EventKind::Drifted => (3004, 99),
        EventKind::Asked | EventKind::PolicyInForce => (3004, 3),
        EventKind::PolicyUnverified => (3004, 99),
        EventKind::SessionOpened | EventKind::SessionClosed => (3004, 2),
        EventKind::Denied | EventKind::Rejected | EventKind::Withdrawn | EventKind::Ended => (3004, 4),
        EventKind::Refused | EventKind::Failed | EventKind::HistoryRewritten | EventKind::LedgerAltered => (3004, 99),
    };
    let severity = match event.kind.gravity() {
        Gravity::Alarming => 4,
        Gravity::Notable => 3,
        Gravity::Ordinary => 1,
    };
    let user = |value: &Value| match value["id"].as_u64() {
        Some(id) => json!({ "name": tell::who(value), "uid": id.to_string() }),
        None => json!({ "name": tell::who(value) }),
    };
    let mut written = json!({
        "activity_id": activity, "category_uid": 3, "class_uid": class, "type_uid": class * 100 + activity, "severity_id": severity,
        "time": event.at.timestamp_millis(), "message": tell::sentence(event),
        "status_id": if event.kind == EventKind::Failed { 2 } else { 1 },
        "metadata": { "version": OCSF, "uid": event.id, "sequence": entry.seq, "log_name": "daypass/ledger",
            "product": { "name": "Daypass", "vendor_name": "Daypass", "version": env!("CARGO_PKG_VERSION") } },
        "unmapped": { "kind": event.kind, "repository": event.repository, "hash": entry.hash, "prev": entry.prev, "details": details },
    });
    if class == 3005 {
        written["user"] = user(&details["subject"]);
        written["privileges"] = json!([tell::entitlement(details)]);
        let target = details["entitlement"]["target"].as_str().unwrap_or_default();
        written["resource"] = json!({ "name": target, "type": "target" });
    } else {
        let kind = if details["grant"].is_string() { "grant" } else { "repository" };
        written["entity"] = json!({ "name": tell::about(event), "uid": event.id, "type": kind });
    }
    written
}
