//! Webhook payloads: only which place to look at. What they claim is never believed; what they leave out is never missed.

use serde::Deserialize;

use crate::access::facts::Account;
use crate::policy::name::{CommitId, RepositoryName, UserId};

/// What Daypass alone pushes to.
const LEDGER: &str = "refs/heads/daypass/ledger";

/// Where to look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hint {
    /// At a pull request, or an issue.
    Pull {
        /// The repository.
        repository: RepositoryName,
        /// The pull request.
        number: u64,
    },
    /// At the default branch.
    Repository {
        /// The repository.
        repository: RepositoryName,
    },
    /// At check runs: somebody asked for them again.
    Check {
        /// The repository.
        repository: RepositoryName,
    },
    /// At what a merge queue is about to merge.
    Queue {
        /// The repository.
        repository: RepositoryName,
        /// The pull request.
        number: u64,
        /// The commit that needs the check.
        commit: CommitId,
    },
    /// At a button of ours that was pressed on a check run. Who pressed it, nobody else tells.
    Pressed {
        /// The repository.
        repository: RepositoryName,
        /// The pull request, by our own name for the check run.
        number: u64,
        /// The check run.
        check_run: u64,
        /// The button.
        button: String,
        /// Who pressed it.
        by: UserId,
    },
    /// At who belongs where.
    Directory {
        /// The organisation.
        organisation: String,
    },
    /// At where the app is installed.
    Installation,
    /// Nowhere.
    Nowhere,
}

#[derive(Deserialize)]
struct Payload {
    action: Option<String>,
    repository: Option<RawRepository>,
    organization: Option<RawOrganisation>,
    pull_request: Option<Numbered>,
    issue: Option<RawIssue>,
    merge_group: Option<RawGroup>,
    check_run: Option<RawCheck>,
    requested_action: Option<RawAction>,
    sender: Option<RawSender>,
    comment: Option<RawComment>,
    after: Option<CommitId>,
    #[serde(rename = "ref")]
    reference: Option<String>,
}

#[derive(Deserialize)]
struct RawGroup {
    head_sha: CommitId,
    head_ref: String,
}

impl RawGroup {
    /// The pull request a group is for: its branch is called `gh-readonly-queue/BASE/pr-NUMBER-COMMIT`.
    fn number(&self) -> Option<u64> {
        let name = self.head_ref.strip_prefix("refs/heads/gh-readonly-queue/")?.rsplit('/').next()?;
        name.strip_prefix("pr-")?.split('-').next()?.parse().ok()
    }
}

#[derive(Deserialize)]
struct RawCheck {
    id: u64,
    #[serde(default)]
    external_id: Option<String>,
}

#[derive(Deserialize)]
struct RawComment {
    id: u64,
}

#[derive(Deserialize)]
struct RawAction {
    identifier: String,
}

#[derive(Deserialize)]
struct RawSender {
    id: u64,
    #[serde(default)]
    login: String,
    #[serde(rename = "type", default)]
    kind: String,
}

/// Who pushed what: of this only webhooks tell, so what they say is kept.
/// <https://docs.github.com/en/webhooks/webhook-events-and-payloads#push>
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Push {
    /// The repository.
    pub repository: RepositoryName,
    /// The commit a branch, or a pull request, is at since.
    pub commit: CommitId,
    /// Who pushed it.
    pub by: Account,
}

/// Who pushed what, if a webhook is about a push of a person.
pub fn push(event: &str, body: &[u8]) -> Option<Push> {
    if !matches!(event, "push" | "pull_request") {
        return None;
    }
    let payload: Payload = serde_json::from_slice(body).ok()?;
    if event == "pull_request" && payload.action.as_deref() != Some("synchronize") {
        return None;
    }
    let (sender, commit) = (payload.sender?, payload.after?);
    // A branch that was deleted is at no commit.
    let exists = commit.as_str().bytes().any(|digit| digit != b'0');
    let by = Account { id: UserId(sender.id), login: sender.login.parse().ok()?, bot: sender.kind == "Bot" };
    let repository = payload.repository?.full_name;
    (exists && !by.bot).then_some(Push { repository, commit, by })
}

/// The comment that was changed, if a webhook is about one. A comment that is changed within the second it was written does not show
/// it.
pub fn edited(event: &str, body: &[u8]) -> Option<(RepositoryName, u64)> {
    if event != "issue_comment" {
        return None;
    }
    let payload: Payload = serde_json::from_slice(body).ok()?;
    let edited = payload.action.as_deref() == Some("edited");
    payload
        .repository
        .zip(payload.comment)
        .filter(|_| edited)
        .map(|(repository, comment)| (repository.full_name, comment.id))
}

/// The name we give the check run of a pull request.
pub fn external_id(pull: u64) -> String {
    format!("pull-{pull}")
}

/// The button that was pressed, if it is on a check run of ours.
fn pressed(payload: &Payload, repository: &RepositoryName) -> Option<Hint> {
    let (check, action, sender) =
        (payload.check_run.as_ref()?, payload.requested_action.as_ref()?, payload.sender.as_ref()?);
    let number = check.external_id.as_deref()?.strip_prefix("pull-")?.parse().ok()?;
    let (repository, button, by) = (repository.clone(), action.identifier.clone(), UserId(sender.id));
    Some(Hint::Pressed { repository, number, check_run: check.id, button, by })
}

#[derive(Deserialize)]
struct RawRepository {
    full_name: RepositoryName,
}

#[derive(Deserialize)]
struct RawOrganisation {
    login: String,
}

#[derive(Deserialize)]
struct Numbered {
    number: u64,
}

#[derive(Deserialize)]
struct RawIssue {
    number: u64,
}

/// Where a webhook asks to look. Unknown events, unknown actions and malformed payloads ask for nothing.
pub fn hint(event: &str, body: &[u8]) -> Hint {
    let Ok(payload) = serde_json::from_slice::<Payload>(body) else { return Hint::Nowhere };
    let repository = payload.repository.as_ref().map(|repository| repository.full_name.clone());
    let action = payload.action.clone().unwrap_or_default();
    match (event, repository) {
        ("check_run", Some(repository)) if action == "requested_action" => {
            pressed(&payload, &repository).unwrap_or(Hint::Check { repository })
        }
        ("pull_request" | "pull_request_review" | "pull_request_review_comment", Some(repository)) => {
            payload.pull_request.map_or(Hint::Nowhere, |pull| Hint::Pull { repository, number: pull.number })
        }
        ("issue_comment" | "issues", Some(repository)) => match payload.issue {
            Some(RawIssue { number }) => Hint::Pull { repository, number },
            None => Hint::Nowhere,
        },
        ("merge_group", Some(repository)) if action == "checks_requested" => {
            let group = payload.merge_group.and_then(|group| Some((group.number()?, group.head_sha)));
            group.map_or(Hint::Nowhere, |(number, commit)| Hint::Queue { repository, number, commit })
        }
        // The branch of the ledger is looked at before it is written, and with everything else.
        ("push", _) if payload.reference.as_deref() == Some(LEDGER) => Hint::Nowhere,
        ("push" | "repository", Some(repository)) => Hint::Repository { repository },
        ("check_run", Some(repository)) if action == "rerequested" => Hint::Check { repository },
        ("check_suite", Some(repository)) if action == "rerequested" => Hint::Check { repository },
        ("membership" | "team" | "organization" | "member", _) => payload
            .organization
            .map_or(Hint::Nowhere, |organisation| Hint::Directory { organisation: organisation.login }),
        ("installation" | "installation_repositories", _) => Hint::Installation,
        _ => Hint::Nowhere,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_review_asks_to_look_at_its_pull_request() {
        let body = br#"{"action":"submitted","repository":{"full_name":"acme/access"},"pull_request":{"number":7}}"#;
        let repository = "acme/access".parse().unwrap();
        assert_eq!(hint("pull_request_review", body), Hint::Pull { repository, number: 7 });
    }

    #[test]
    fn a_merge_queue_asks_to_look_at_the_commit_it_made() {
        let head = "0123456789012345678901234567890123456789";
        let body = |branch: &str| {
            let group = serde_json::json!({ "head_sha": head, "head_ref": format!("refs/heads/{branch}") });
            let repository = serde_json::json!({ "full_name": "acme/access" });
            serde_json::json!({ "action": "checks_requested", "merge_group": group, "repository": repository })
                .to_string()
        };
        let queued = body(&format!("gh-readonly-queue/release/2.0/pr-104-{head}"));
        let (repository, commit) = ("acme/access".parse().unwrap(), head.parse().unwrap());
        assert_eq!(hint("merge_group", queued.as_bytes()), Hint::Queue { repository, number: 104, commit });
        assert_eq!(hint("merge_group", body("elsewhere/pr-1-x").as_bytes()), Hint::Nowhere);
    }

    #[test]
    fn what_is_unknown_asks_for_nothing() {
        assert_eq!(hint("star", br#"{"repository":{"full_name":"acme/access"}}"#), Hint::Nowhere);
        assert_eq!(hint("push", b"not json"), Hint::Nowhere);
        let ledger = br#"{"ref":"refs/heads/daypass/ledger","repository":{"full_name":"acme/access"}}"#;
        assert_eq!(hint("push", ledger), Hint::Nowhere);
        assert_eq!(hint("push", br#"{"repository":{"full_name":"../../x"}}"#), Hint::Nowhere);
        assert_eq!(hint("pull_request", br#"{"repository":{"full_name":"acme/access"}}"#), Hint::Nowhere);
    }
}
