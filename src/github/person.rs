//! What people do themselves, with a token of their own: the command line writes for them what they could write on the page.

use http::{Method, StatusCode};
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::json;

use super::transport::segment;
use super::{GithubError, Transport};
use crate::policy::name::RepositoryName;

/// Comments on a pull request as whoever `token` is of; where the comment can be read.
///
/// # Errors
///
/// If GitHub does not take it: the token is no good, there is no such pull request, or it cannot be reached.
pub async fn comment_as(
    transport: &Transport,
    token: &SecretString,
    repository: &RepositoryName,
    number: u64,
    body: &str,
) -> Result<String, GithubError> {
    #[derive(Deserialize)]
    struct Made {
        html_url: String,
    }
    let path =
        format!("/repos/{}/{}/issues/{number}/comments", segment(repository.owner()), segment(repository.name()));
    let answer = transport.send(Method::POST, &path, token, Some(&json!({ "body": body })), None).await?;
    match answer.status {
        StatusCode::CREATED => {
            let made = serde_json::from_slice::<Made>(&answer.body);
            made.map(|made| made.html_url).map_err(|error| GithubError::Unexpected { message: error.to_string() })
        }
        StatusCode::UNAUTHORIZED => {
            Err(GithubError::Invalid { message: "GitHub does not accept the token; make a new one".to_owned() })
        }
        StatusCode::NOT_FOUND | StatusCode::GONE | StatusCode::FORBIDDEN => Err(GithubError::Invalid {
            message: format!("there is no #{number} in {repository}, or the token may not comment there"),
        }),
        status => Err(GithubError::Unavailable { message: format!("GitHub answered {status}") }),
    }
}
