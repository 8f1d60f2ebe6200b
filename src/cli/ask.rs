//! `daypass extend` and `daypass revoke`: what a comment on the pull request asks for, written with the token of whoever runs them.
//! What becomes of it is answered there.

use std::process::ExitCode;

use clap::Args;
use secrecy::SecretString;

use super::{Failure, out, unreachable, usage};
use crate::access::grant::GrantId;
use crate::github::{GithubError, PersonalRepository, Transport};
use crate::policy::Duration;
use crate::policy::name::RepositoryName;

/// Where it is asked for.
#[derive(Debug, Args)]
struct Place {
    /// The pull request the access came by, or the grant: `12`, or `alice-orders#12`.
    pull_request: String,
    /// The policy repository, as OWNER/NAME.
    #[arg(long, short = 'R', env = "GITHUB_REPOSITORY")]
    repository: RepositoryName,
    /// Your GitHub token; `gh auth token` prints one.
    #[arg(long, env = "GITHUB_TOKEN", hide_env_values = true)]
    token: SecretString,
    /// GitHub's API.
    #[arg(long, env = "GITHUB_API_URL", default_value = "https://api.github.com")]
    api_url: String,
}

/// Arguments of `daypass extend`.
#[derive(Debug, Args)]
pub struct ExtendArgs {
    #[command(flatten)]
    place: Place,
    /// By how much: 30m, 1h.
    by: Duration,
}

/// Arguments of `daypass revoke`.
#[derive(Debug, Args)]
pub struct RevokeArgs {
    #[command(flatten)]
    place: Place,
}

pub(super) async fn extend(args: ExtendArgs) -> Result<ExitCode, Failure> {
    ask(&args.place, &format!("/daypass extend {}", args.by)).await
}

pub(super) async fn revoke(args: RevokeArgs) -> Result<ExitCode, Failure> {
    ask(&args.place, "/daypass revoke").await
}

async fn ask(place: &Place, command: &str) -> Result<ExitCode, Failure> {
    let grant = place.pull_request.parse::<GrantId>().ok().map(|grant| grant.pull_request);
    let Some(number) = grant.or_else(|| place.pull_request.trim_start_matches('#').parse().ok()) else {
        let why = format!("`{}` is neither a pull request nor a grant, such as `alice-orders#12`", place.pull_request);
        return Err(usage(anyhow::anyhow!(why)));
    };
    let transport = Transport::http(&place.api_url).map_err(usage)?;
    let github = PersonalRepository::new(transport, place.token.clone(), place.repository.clone());
    let address = github.comment(number, command).await.map_err(|error| match error {
        error
        @ (GithubError::Unavailable { .. } | GithubError::RateLimited { .. } | GithubError::Unexpected { .. }) => {
            unreachable(error)
        }
        error => usage(error),
    })?;
    out::line(format_args!("Asked for in #{number}; Daypass answers there: {address}"))?;
    Ok(ExitCode::SUCCESS)
}
