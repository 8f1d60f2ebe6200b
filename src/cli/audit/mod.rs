//! `daypass audit`: what happened, from a plain clone of the policy repository. Nobody is asked, nothing is written.

mod export;
pub(super) mod filter;
mod log;
mod report;
mod show;
mod verify;
mod who;

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::{Failure, out, unreachable, usage};
use crate::ledger::{CloneError, Entry, LedgerBranch, Link, LocalClone};

/// Arguments of `daypass audit`.
#[derive(Debug, Args)]
pub struct AuditArgs {
    #[command(subcommand)]
    command: AuditCommand,
}

#[derive(Debug, Subcommand)]
enum AuditCommand {
    /// Lists what happened, oldest first.
    Log(log::LogArgs),
    /// Tells who had a role, or access on a target, at a time.
    Who(who::WhoArgs),
    /// Tells the whole life of a grant.
    Show(show::ShowArgs),
    /// Writes the record in another form.
    Export(export::ExportArgs),
    /// Writes the record in figures and plots: a page by itself.
    Report(report::ReportArgs),
    /// Looks whether the record is whole, unaltered, and true to the history of the default branch.
    Verify(verify::VerifyArgs),
}

/// Which clone is read, and how the answer is printed.
#[derive(Debug, Args)]
struct Source {
    /// A clone of the policy repository.
    #[arg(long, short = 'C', value_name = "DIR", default_value = ".")]
    repository: PathBuf,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &AuditArgs) -> Result<ExitCode, Failure> {
    match &args.command {
        AuditCommand::Log(args) => log::run(args),
        AuditCommand::Who(args) => who::run(args),
        AuditCommand::Show(args) => show::run(args),
        AuditCommand::Export(args) => export::run(args),
        AuditCommand::Report(args) => report::run(args),
        AuditCommand::Verify(args) => verify::run(args),
    }
}

impl Source {
    fn open(&self) -> Result<LocalClone, Failure> {
        LocalClone::at(&self.repository).map_err(failure)
    }
}

/// What cannot be read is not the user's mistake; everything else is.
pub(super) fn failure(error: CloneError) -> Failure {
    match error {
        error @ CloneError::Broken(_) => unreachable(error),
        error => usage(error),
    }
}

/// What could not be read, in few words: the answer is a part of what there was.
#[derive(Debug, Default)]
pub(super) struct Gaps {
    unreadable: u64,
    /// Lines that can be read, and were edited, moved or put in the place of others.
    altered: u64,
    missing: u64,
    first: Option<String>,
}

impl Gaps {
    pub(super) fn are_some(&self) -> bool {
        self.unreadable + self.altered + self.missing > 0
    }

    /// Says so, and makes that the exit code.
    pub(super) fn tell(&self) -> ExitCode {
        let Some(first) = self.first.as_ref().filter(|_| self.are_some()) else { return ExitCode::SUCCESS };
        let told = format!(
            "daypass: this is a part of what there was: {} lines of the ledger cannot be read, {} do not fit what is around them, {} events are missing. First: {first}. \
             `daypass audit verify` tells more.",
            self.unreadable, self.altered, self.missing
        );
        out::beside(told);
        ExitCode::from(1)
    }

    fn note(&mut self, what: impl FnOnce() -> String) {
        if self.first.is_none() {
            self.first = Some(what());
        }
    }
}

/// Reads all events in order, one at a time. Lines that were edited are read, and counted.
pub(super) fn read(branch: &LedgerBranch<'_>, mut each: impl FnMut(Entry) -> ControlFlow<()>) -> Result<Gaps, Failure> {
    let mut gaps = Gaps::default();
    let (mut last, mut unread) = (Link::default(), 0_u64);
    let walked = branch.walk(|place, _, line| {
        let shown = format!("{}:{}", place.file, place.line);
        match line {
            Ok((entry, fault)) => {
                let next = last.seq + 1;
                let wrong = match fault {
                    Some(fault) => Some(fault.to_string()),
                    None if entry.seq < next => Some(format!("event {} comes after event {}", entry.seq, last.seq)),
                    None if entry.seq == next && entry.prev != last.hash => {
                        Some(format!("event {} does not follow the event {} that is there", entry.seq, last.seq))
                    }
                    None => None,
                };
                if let Some(wrong) = wrong {
                    gaps.altered += 1;
                    gaps.note(|| format!("{shown}: {wrong}"));
                }
                // What could not be read is missing for that very reason.
                let missing = entry.seq.saturating_sub(next).saturating_sub(unread);
                if missing > 0 {
                    gaps.missing += missing;
                    gaps.note(|| format!("{shown}: what came before event {} is missing", entry.seq));
                }
                unread = 0;
                if entry.seq > last.seq {
                    last = entry.link();
                }
                each(entry)
            }
            Err(error) => {
                gaps.unreadable += 1;
                unread += 1;
                gaps.note(|| format!("{shown}: {error}"));
                ControlFlow::Continue(())
            }
        }
    });
    walked.map_err(failure)?;
    Ok(gaps)
}
