//! `daypass demo`.
use std::process::ExitCode;
use super::Failure;
/// Arguments of `daypass demo`.
#[derive(Debug, clap::Args)]
pub struct DemoArgs {}
pub(super) async fn run(_args: DemoArgs) -> Result<ExitCode, Failure> { Ok(ExitCode::SUCCESS) }
