//! A repository as a person sees it, with a token of theirs: for the few things the command line does on GitHub.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use secrecy::SecretString;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::transport::{Transport, segment};
use super::{GithubError, RepositoryInfo};
use crate::policy::name::{CommitId, RepositoryName};

/// A repository, as one person sees it.
pub struct PersonalRepository {
    transport: Transport,
    token: SecretString,
    name: RepositoryName,
}

/// A file that is proposed by a pull request.
#[derive(Debug, Clone, Copy)]
pub struct Proposal<'a> {
    /// The branch that is made for it.
    pub branch: &'a str,
    /// The file, which is new.
    pub path: &'a str,
    /// Its content.
    pub content: &'a str,
    /// Title of the pull request, and message of the commit.
    pub title: &'a str,
    /// Description of the pull request.
    pub body: &'a str,
}

/// A pull request somebody can look at.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Opened {
    /// Its number.
    pub number: u64,
    /// Its page.
    pub html_url: String,
}

#[derive(Deserialize)]
struct Reference {
    object: Object,
}

#[derive(Deserialize)]
struct Object {
    sha: CommitId,
}

impl PersonalRepository {
    /// The repository `name` with somebody's token.
    pub fn new(transport: Transport, token: SecretString, name: RepositoryName) -> Self {
        Self { transport, token, name }
    }

    /// Proposes a new file. If its branch is there already, the pull request that is open for it is the answer.
    ///
    /// # Errors
    ///
    /// What GitHub answered; also if the branch is there and no pull request is open for it.
    pub async fn propose(&self, proposal: Proposal<'_>) -> Result<Opened, GithubError> {
        let info: RepositoryInfo = self.call(Method::GET, "", None).await?;
        let base = segment(&info.default_branch).replace("%2F", "/");
        let head: Reference = self.call(Method::GET, &format!("/git/ref/heads/{base}"), None).await?;
        let reference = json!({ "ref": format!("refs/heads/{}", proposal.branch), "sha": head.object.sha });
        match self.call::<Value>(Method::POST, "/git/refs", Some(&reference)).await {
            Err(GithubError::Invalid { message }) => {
                let (owner, branch) = (segment(self.name.owner()), segment(proposal.branch));
                let open: Vec<Opened> =
                    self.call(Method::GET, &format!("/pulls?state=open&head={owner}:{branch}"), None).await?;
                let left = || GithubError::Invalid {
                    message: format!(
                        "branch {} is there, and no pull request is open for it: {message}",
                        proposal.branch
                    ),
                };
                return open.into_iter().next().ok_or_else(left);
            }
            made => made?,
        };
        let path: Vec<String> = proposal.path.split('/').map(segment).collect();
        let file = json!({ "message": proposal.title, "content": STANDARD.encode(proposal.content), "branch": proposal.branch });
        self.call::<Value>(Method::PUT, &format!("/contents/{}", path.join("/")), Some(&file)).await?;
        let pull = json!({ "title": proposal.title, "head": proposal.branch, "base": info.default_branch, "body": proposal.body });
        self.call(Method::POST, "/pulls", Some(&pull)).await
    }

    /// Comments on a pull request; where the comment can be read.
    ///
    /// # Errors
    ///
    /// What GitHub answered.
    pub async fn comment(&self, number: u64, body: &str) -> Result<String, GithubError> {
        #[derive(Deserialize)]
        struct Made {
            html_url: String,
        }
        let path = format!("/issues/{number}/comments");
        Ok(self.call::<Made>(Method::POST, &path, Some(&json!({ "body": body }))).await?.html_url)
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        rest: &str,
        body: Option<&Value>,
    ) -> Result<T, GithubError> {
        let path = format!("/repos/{}/{}{rest}", segment(self.name.owner()), segment(self.name.name()));
        let answer = self.transport.send(method, &path, &self.token, body, None).await?;
        if answer.status.is_success() {
            let unexpected = |error: serde_json::Error| GithubError::Unexpected { message: format!("{path}: {error}") };
            return serde_json::from_slice(&answer.body).map_err(unexpected);
        }
        Err(match GithubError::from_answer(answer.status, &answer.headers, &answer.body, &path, 0) {
            // The words of these are about the App.
            GithubError::Unauthorized { message } => {
                GithubError::Invalid { message: format!("the token is not accepted: {message}") }
            }
            GithubError::Forbidden { message } => {
                GithubError::Invalid { message: format!("the token may not do this: {message}") }
            }
            GithubError::NotFound { .. } => {
                GithubError::Invalid { message: format!("{path} was not found, or the token may not see it") }
            }
            error => error,
        })
    }
}
