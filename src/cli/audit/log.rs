//! `daypass audit log`.

use std::io::Write;
use std::ops::ControlFlow;
use std::process::ExitCode;

use clap::Args;

use super::filter::Filter;
use super::{Failure, Source, read};
use crate::cli::unreachable;
use crate::ledger::{Entry, tell};

/// Arguments of `daypass audit log`.
#[derive(Debug, Args)]
pub(super) struct LogArgs {
    #[command(flatten)]
    filter: Filter,
    #[command(flatten)]
    source: Source,
}

pub(super) fn run(args: &LogArgs) -> Result<ExitCode, Failure> {
    let clone = args.source.open()?;
    let branch = clone.ledger().map_err(super::failure)?;
    let scope = args.filter.scope(&branch, false)?;
    let mut out = std::io::BufWriter::new(anstream::stdout().lock());
    let (mut written, mut count) = (Ok(()), 0_u64);
    if args.source.json {
        written = write!(out, "{{\"events\":[");
    }
    let gaps = read(&branch, |entry| {
        if written.is_err() {
            return ControlFlow::Break(());
        }
        if args.filter.takes(&entry, &scope) {
            let comma = if count == 0 { "" } else { "," };
            count += 1;
            written = match args.source.json {
                true => write!(out, "{comma}\n{}", json(&entry)),
                false => writeln!(out, "{}", line(&entry)),
            };
        }
        ControlFlow::Continue(())
    })?;
    if args.source.json {
        written = written.and_then(|()| writeln!(out, "\n],\"partial\":{}}}", gaps.are_some()));
    }
    done(written.and_then(|()| out.flush()))?;
    Ok(gaps.tell())
}

/// Whoever reads may stop reading.
pub(super) fn done(written: std::io::Result<()>) -> Result<(), Failure> {
    match written {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(unreachable),
    }
}

/// An event with its place in the chain.
pub(super) fn json(entry: &Entry) -> serde_json::Value {
    let mut value = serde_json::to_value(&entry.event).unwrap_or_default();
    value["seq"] = entry.seq.into();
    value["prev"] = entry.prev.clone().into();
    value["hash"] = entry.hash.clone().into();
    value
}

/// An event in a line.
pub(super) fn line(entry: &Entry) -> String {
    let event = &entry.event;
    let at = tell::when(event.at);
    format!("{at}  {:<17} {:<24} {}", event.kind, tell::about(event), tell::sentence(event))
}
