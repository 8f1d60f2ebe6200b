//! Findings as people and machines read them. Files are hostile: nothing of theirs reaches a terminal or a log unescaped.

use std::collections::{BTreeMap, BTreeSet};

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use serde_json::json;

use super::{Code, Finding, Place, Severity};

/// The shapes findings can be printed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// With the lines they are about.
    Human,
    /// One JSON array.
    Json,
    /// Workflow commands, which GitHub shows as annotations.
    Github,
    /// SARIF 2.1.0, which code scanning and editors read.
    Sarif,
}

/// All findings in one text. `sources` are the files they are about, for the excerpts.
pub fn render(findings: &[Finding], sources: &BTreeMap<String, Vec<u8>>, format: Format, colour: bool) -> String {
    match format {
        Format::Human => findings.iter().map(|finding| human(finding, sources, colour) + "\n").collect(),
        Format::Json => {
            let list: Vec<_> = findings.iter().map(json).collect();
            serde_json::to_string_pretty(&list).unwrap_or_default() + "\n"
        }
        Format::Sarif => serde_json::to_string_pretty(&sarif(findings)).unwrap_or_default() + "\n",
        Format::Github => findings.iter().map(|finding| github(finding) + "\n").collect(),
    }
}

/// A finding as the commands print it in JSON.
pub(crate) fn json(finding: &Finding) -> serde_json::Value {
    json!({
        "file": finding.file,
        "line": finding.place.line,
        "column": finding.place.column,
        "end_column": end_column(finding.place),
        "severity": finding.severity,
        "code": finding.code,
        "message": finding.message,
        "help": finding.help,
    })
}

/// The column behind the last character; 0 if it is not known.
fn end_column(place: Place) -> u32 {
    if place.column > 0 && place.length > 0 { place.column.saturating_add(place.length) } else { 0 }
}

/// <https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html>
fn sarif(findings: &[Finding]) -> serde_json::Value {
    let codes: BTreeSet<Code> = findings.iter().map(|finding| finding.code).collect();
    let rules: Vec<_> = codes
        .iter()
        .map(|code| {
            json!({
                "id": code,
                "shortDescription": { "text": code.title() },
                "help": { "text": code.explanation() },
            })
        })
        .collect();
    let results: Vec<_> = findings.iter().map(sarif_result).collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": { "name": "daypass", "version": env!("CARGO_PKG_VERSION"), "rules": rules } },
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

fn sarif_result(finding: &Finding) -> serde_json::Value {
    let level = match finding.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Note => "note",
    };
    let place = finding.place;
    // Lines and columns count from 1 there. GitHub shows nothing that has no place, so what is about a whole file is at its beginning.
    let (line, column) = (place.line.max(1), place.column.max(1));
    let region =
        json!({ "startLine": line, "startColumn": column, "endLine": line, "endColumn": column + place.length.max(1) });
    let location = json!({ "artifactLocation": { "uri": uri(&finding.file) }, "region": region });
    let help = if finding.help.is_empty() { String::new() } else { format!(". {}", finding.help) };
    json!({
        "ruleId": finding.code,
        "level": level,
        "message": { "text": tame_lines(&format!("{}{help}", finding.message)) },
        "locations": [{ "physicalLocation": location }],
    })
}

/// A path as a relative reference: <https://www.rfc-editor.org/rfc/rfc3986#section-4.2>.
fn uri(path: &str) -> String {
    const KEPT: &percent_encoding::AsciiSet =
        &percent_encoding::NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.').remove(b'~');
    percent_encoding::utf8_percent_encode(path, KEPT).to_string()
}

fn human(finding: &Finding, sources: &BTreeMap<String, Vec<u8>>, colour: bool) -> String {
    let (message, file, help) = (tame(&finding.message), tame(&finding.file), tame(&finding.help));
    let level = match finding.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
        Severity::Note => Level::NOTE,
    };
    let title = level.primary_title(message.as_str()).id(finding.code.as_str());
    let text = sources.get(&finding.file).map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    let line =
        text.as_deref().and_then(|text| text.lines().nth(usize::try_from(finding.place.line).ok()?.checked_sub(1)?));
    let shown = line.map(tame);
    let mut report = Vec::new();
    if let Some(shown) = &shown {
        let start = usize::try_from(finding.place.column.saturating_sub(1)).unwrap_or(0);
        let start = shown.char_indices().nth(start).map_or(shown.len(), |(at, _)| at);
        let length = usize::try_from(finding.place.length.max(1)).unwrap_or(1);
        let rest = shown.get(start..).unwrap_or_default();
        let end = start + rest.char_indices().nth(length).map_or(rest.len(), |(at, _)| at);
        let snippet = Snippet::source(shown.as_str())
            .path(file.as_str())
            .line_start(usize::try_from(finding.place.line).unwrap_or(1))
            .annotation(AnnotationKind::Primary.span(start..end));
        report.push(title.element(snippet));
    } else {
        let origin = annotate_snippets::Origin::path(file.as_str());
        report.push(Group::with_title(title).element(origin));
    }
    if !help.is_empty() {
        report.push(Group::with_title(Level::HELP.secondary_title(help.as_str())));
    }
    let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
    renderer.render(&report)
}

/// <https://docs.github.com/en/actions/reference/workflow-commands-for-github-actions>
fn github(finding: &Finding) -> String {
    let level = match finding.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Note => "notice",
    };
    let data = |text: &str| text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    let property = |text: &str| data(text).replace(':', "%3A").replace(',', "%2C");
    let mut place = format!("file={}", property(&finding.file));
    if finding.place.line > 0 {
        place.push_str(&format!(",line={}", finding.place.line));
    }
    if finding.place.column > 0 {
        place.push_str(&format!(",col={}", finding.place.column));
    }
    if end_column(finding.place) > 0 {
        // Here it is the last character itself, as in check runs.
        place.push_str(&format!(",endColumn={}", end_column(finding.place) - 1));
    }
    let help = if finding.help.is_empty() { String::new() } else { format!("\n{}", finding.help) };
    format!("::{level} {place},title={}::{}", finding.code, data(&tame_lines(&format!("{}{help}", finding.message))))
}

/// One line without anything a terminal would obey.
pub(crate) fn tame(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c == '\t' {
                ' '
            } else if c.is_control() || super::request::is_deceptive(c) {
                '\u{fffd}'
            } else {
                c
            }
        })
        .collect()
}

fn tame_lines(text: &str) -> String {
    text.split('\n').map(tame).collect::<Vec<_>>().join("\n")
}
