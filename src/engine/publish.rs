//! Publishing what was decided: one check run on the head commit, one comment edited in place.

use sha2::{Digest, Sha256};

use super::words::{COMMENT_MARKER, Publication};
use super::{Engine, EngineError};
use crate::access::decide::Verdict;
use crate::access::facts::PullRequest;
use crate::github::{Annotation, AnnotationLevel, CheckRun, Comment, Conclusion, Repository};
use crate::policy::name::{CommitId, RepositoryName};
use crate::policy::{Finding, Severity};
use crate::store::Published;

/// The name of the check run: part of the contract with rulesets.
pub(super) const CHECK_NAME: &str = "daypass";

impl Engine {
    /// Brings the check run and the comment of a pull request up to date; sends nothing if they say it already. Returns what
    /// stands there now, to be remembered.
    pub(super) async fn publish(
        &self,
        github: &Repository,
        repository: &RepositoryName,
        pull: &PullRequest,
        verdict: Option<Verdict>,
        findings: &[Finding],
        publication: &Publication,
    ) -> Result<Published, EngineError> {
        let mut known = self.inner.store.published(repository.as_str(), pull.number).await?;
        let digest = digest(pull, verdict, findings, publication);
        if known.digest.as_deref() == Some(digest.as_str()) {
            return Ok(known);
        }
        let check = check_run(pull, verdict, findings, publication);
        known.check_id = Some(self.publish_check(github, &known, &pull.head, check).await?);
        known.head = Some(pull.head.to_string());
        if verdict.is_some() {
            let body = format!("{COMMENT_MARKER}\n{}", publication.body);
            known.comment_id = Some(self.publish_comment(github, pull.number, known.comment_id, &body).await?);
        }
        known.digest = Some(digest);
        Ok(known)
    }

    /// Creates the check run, or updates the one that stands on the head. One that a crash made us forget is found again.
    pub(super) async fn publish_check(
        &self,
        github: &Repository,
        known: &Published,
        head: &CommitId,
        check: CheckRun,
    ) -> Result<u64, EngineError> {
        let mut id = known.check_id.filter(|_| known.head.as_deref() == Some(head.as_str()));
        if id.is_none() {
            let app = self.inner.github.id();
            let standing = github.checks(head, CHECK_NAME).await?;
            id = standing.iter().find(|check| check.app_id == Some(app)).map(|check| check.id);
        }
        match id {
            Some(id) => github.update_check(id, &check).await.map(|()| id).map_err(Into::into),
            None => Ok(github.create_check(&check).await?),
        }
    }

    async fn publish_comment(
        &self,
        github: &Repository,
        pull: u64,
        known: Option<u64>,
        body: &str,
    ) -> Result<u64, EngineError> {
        if let Some(id) = known {
            match github.update_comment(id, body).await {
                Ok(()) => return Ok(id),
                // Somebody deleted it: say it again.
                Err(crate::github::GithubError::NotFound { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        } else if let Some(comment) = self.find_comment(github, pull, COMMENT_MARKER).await? {
            github.update_comment(comment.id, body).await?;
            return Ok(comment.id);
        }
        Ok(github.create_comment(pull, body).await?)
    }

    /// Finds a comment of ours that begins with `marker`. Anybody can write the marker; only our app's account is ours.
    pub(super) async fn find_comment(
        &self,
        github: &Repository,
        pull: u64,
        marker: &str,
    ) -> Result<Option<Comment>, EngineError> {
        let me = self.inner.github.me().await?.login();
        let comments = github.comments(pull).await?;
        Ok(comments.into_iter().find(|comment| {
            comment.body.starts_with(marker)
                && comment.author.as_ref().is_some_and(|author| author.bot && author.login.as_str() == me)
        }))
    }
}

/// A finished check run without remarks and buttons.
pub(super) fn plain_check(
    head: &CommitId,
    conclusion: Conclusion,
    words: &Publication,
    external_id: String,
) -> CheckRun {
    CheckRun {
        name: CHECK_NAME.to_owned(),
        head: head.clone(),
        conclusion: Some(conclusion),
        title: words.title.clone(),
        summary: words.body.clone(),
        text: None,
        annotations: Vec::new(),
        external_id,
        actions: Vec::new(),
        details_url: None,
    }
}

fn check_run(
    pull: &PullRequest,
    verdict: Option<Verdict>,
    findings: &[Finding],
    publication: &Publication,
) -> CheckRun {
    let conclusion = match verdict {
        // Neutral satisfies a required check: Daypass has nothing against it.
        None => Some(Conclusion::Neutral),
        Some(Verdict::Approved) => Some(Conclusion::Success),
        Some(Verdict::Refused | Verdict::Objected) => Some(Conclusion::Failure),
        Some(Verdict::Waiting) => None,
    };
    CheckRun {
        name: CHECK_NAME.to_owned(),
        head: pull.head.clone(),
        conclusion,
        title: publication.title.clone(),
        summary: publication.body.clone(),
        text: None,
        annotations: findings.iter().filter(|finding| !finding.file.is_empty()).map(annotation).collect(),
        external_id: crate::github::events::external_id(pull.number),
        actions: Vec::new(),
        details_url: None,
    }
}

fn annotation(finding: &Finding) -> Annotation {
    let help = if finding.help.is_empty() { String::new() } else { format!("\n{}", finding.help) };
    Annotation {
        path: finding.file.clone(),
        line: finding.place.line.max(1),
        column: Some(finding.place.column).filter(|column| *column > 0),
        length: Some(finding.place.length).filter(|length| *length > 0),
        level: match finding.severity {
            Severity::Error => AnnotationLevel::Failure,
            Severity::Warning => AnnotationLevel::Warning,
            Severity::Note => AnnotationLevel::Notice,
        },
        title: finding.code.to_string(),
        message: format!("{}{help}", finding.message),
    }
}

fn digest(pull: &PullRequest, verdict: Option<Verdict>, findings: &[Finding], publication: &Publication) -> String {
    let text = format!("{}\n{verdict:?}\n{findings:?}\n{}\n{}", pull.head, publication.title, publication.body);
    hex::encode(Sha256::digest(text.as_bytes()))
}
