//! `daypass demo`.
use super::Failure;
use std::process::ExitCode;
/// Arguments of `daypass demo`.
#[derive(Debug, clap::Args)]
pub struct DemoArgs {}
pub(super) async fn run(_args: DemoArgs) -> Result<ExitCode, Failure> {
    Ok(ExitCode::SUCCESS)
}
