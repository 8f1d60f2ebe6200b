//! `daypass schema`: the shapes of policy and request files, for editors.

use std::process::ExitCode;

use clap::Args;

use super::{Failure, out};
use crate::policy::schema::Shape;

/// Arguments of `daypass schema`.
#[derive(Debug, Args)]
pub struct SchemaArgs {
    /// Which file it is for.
    #[arg(value_enum)]
    shape: Shape,
}

pub(super) fn run(args: &SchemaArgs) -> Result<ExitCode, Failure> {
    out::line(format_args!("{:#}", args.shape.schema()))?;
    Ok(ExitCode::SUCCESS)
}
