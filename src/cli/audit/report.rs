//! `daypass audit report`: the record in figures and plots, as a page by itself.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use serde_json::json;

use super::filter::Filter;
use super::{Failure, Source, out, read};
use crate::cli::usage;
use crate::ledger::report::controls::Framework;
use crate::ledger::report::{Remark, Report, page};

/// Arguments of `daypass audit report`.
#[derive(Debug, Args)]
pub(super) struct ReportArgs {
    /// Where the page is written; to the terminal if left out.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Arranges the evidence by the controls of a framework, too.
    #[arg(long, value_enum)]
    control: Option<Framework>,
    #[command(flatten)]
    filter: Filter,
    #[command(flatten)]
    source: Source,
}

pub(super) fn run(args: &ReportArgs) -> Result<ExitCode, Failure> {
    let clone = args.source.open()?;
    let branch = clone.ledger().map_err(super::failure)?;
    // Counted are requests and grants with all that became of them.
    let scope = args.filter.scope(&branch, true)?;
    let (mut report, mut newest) = (Report::default(), "nothing".to_owned());
    let gaps = read(&branch, |entry| {
        newest = format!("event {} {}", entry.seq, entry.hash);
        if args.filter.takes_lives(&entry, &scope) {
            report.take(entry.seq, &entry.event);
        }
        ControlFlow::Continue(())
    })?;
    let text = match args.source.json {
        true => {
            let remarks = |all: Vec<Remark>| -> Vec<_> {
                all.iter().map(|one| json!({ "what": one.what, "evidence": one.evidence })).collect()
            };
            let (suggestions, anomalies) = (remarks(report.suggestions()), remarks(report.anomalies()));
            format!("{:#}\n", json!({ "suggestions": suggestions, "anomalies": anomalies, "partial": gaps.are_some() }))
        }
        false => page(&report, &newest, gaps.are_some(), args.control),
    };
    match &args.output {
        Some(path) => std::fs::write(path, text)
            .with_context(|| format!("{} cannot be written", path.display()))
            .map_err(usage)?,
        None => out::print(text)?,
    }
    Ok(gaps.tell())
}
