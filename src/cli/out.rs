//! What commands print. A disk that is full, or a terminal that is gone, is a failure with a sentence, never a panic.

use std::fmt::Display;
use std::io::{ErrorKind, Write};

use anyhow::anyhow;

use super::{Failure, unreachable};

/// Prints a text as it is, on standard output. Whoever reads may stop reading.
pub(super) fn print(text: impl Display) -> Result<(), Failure> {
    let mut out = anstream::stdout().lock();
    match write!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(unreachable(anyhow!("what there is to tell cannot be printed: {error}")))
        }
        _ => Ok(()),
    }
}

/// Prints a line.
pub(super) fn line(text: impl Display) -> Result<(), Failure> {
    print(format_args!("{text}\n"))
}

/// Tells what is beside the answer, on standard error. If nobody can hear it there, there is no other place to say so.
pub(super) fn beside(text: impl Display) {
    let _ = writeln!(anstream::stderr().lock(), "{text}");
}
