//! `daypass audit verify`.

use std::process::ExitCode;

use clap::Args;

use super::{Failure, Source, failure, out};
use crate::engine::clock::Clock;
use crate::ledger::verify::{Fault, verify};
use crate::policy::Severity;

/// Arguments of `daypass audit verify`.
#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    #[command(flatten)]
    source: Source,
    /// Warnings fail too.
    #[arg(long)]
    deny_warnings: bool,
}

pub(super) fn run(args: &VerifyArgs) -> Result<ExitCode, Failure> {
    let clone = args.source.open()?;
    let verified = verify(&clone, Clock::system().now()).map_err(failure)?;
    let (errors, warnings) = (verified.errors, verified.warnings);
    match args.source.json {
        true => out::line(serde_json::to_string_pretty(&verified.findings).unwrap_or_default())?,
        false => {
            verified.findings.iter().try_for_each(|fault| out::line(human(fault)))?;
            out::line(format_args!(
                "{} events in {} commits; {} changes of the default branch: {errors} errors, {warnings} warnings.\nNewest: event {} {}",
                verified.events, verified.commits, verified.changes, verified.newest.seq, verified.newest.hash
            ))?;
        }
    }
    let failed = errors > 0 || (args.deny_warnings && warnings > 0);
    Ok(ExitCode::from(u8::from(failed)))
}

fn human(fault: &Fault) -> String {
    let severity = match fault.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Note => "note",
    };
    let place = match (fault.file.is_empty(), fault.line) {
        (true, _) => String::new(),
        (false, 0) => format!("{}: ", fault.file),
        (false, line) => format!("{}:{line}: ", fault.file),
    };
    format!("{severity}[{}]: {place}{}\n  {}\n", fault.code.as_str(), fault.message, fault.help)
}
