//! Webhook payloads: only which place to look at. What they claim is never believed; what they leave out is never missed.

use serde::Deserialize;

use crate::policy::name::RepositoryName;

/// What Daypass alone pushes to.
const LEDGER: &str = "refs/heads/daypass/ledger";

/// Where to look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hint {
    /// At a pull request.
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
    #[serde(rename = "ref")]
    reference: Option<String>,
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
    pull_request: Option<serde::de::IgnoredAny>,
}

/// Where a webhook asks to look. Unknown events, unknown actions and malformed payloads ask for nothing.
pub fn hint(event: &str, body: &[u8]) -> Hint {
    let Ok(payload) = serde_json::from_slice::<Payload>(body) else { return Hint::Nowhere };
    let repository = payload.repository.map(|repository| repository.full_name);
    let action = payload.action.unwrap_or_default();
    match (event, repository) {
        ("pull_request" | "pull_request_review" | "pull_request_review_comment", Some(repository)) => {
            payload.pull_request.map_or(Hint::Nowhere, |pull| Hint::Pull { repository, number: pull.number })
        }
        ("issue_comment", Some(repository)) => match payload.issue {
            Some(RawIssue { number, pull_request: Some(_) }) => Hint::Pull { repository, number },
            _ => Hint::Nowhere,
        },
        // The branch of the ledger is looked at before it is written, and with everything else.
        ("push", _) if payload.reference.as_deref() == Some(LEDGER) => Hint::Nowhere,
        ("push" | "repository", Some(repository)) => Hint::Repository { repository },
        ("check_run", Some(repository)) if action == "rerequested" || action == "requested_action" => {
            Hint::Check { repository }
        }
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
    fn what_is_unknown_asks_for_nothing() {
        assert_eq!(hint("star", br#"{"repository":{"full_name":"acme/access"}}"#), Hint::Nowhere);
        assert_eq!(hint("push", b"not json"), Hint::Nowhere);
        let ledger = br#"{"ref":"refs/heads/daypass/ledger","repository":{"full_name":"acme/access"}}"#;
        assert_eq!(hint("push", ledger), Hint::Nowhere);
        assert_eq!(hint("push", br#"{"repository":{"full_name":"../../x"}}"#), Hint::Nowhere);
        assert_eq!(hint("pull_request", br#"{"repository":{"full_name":"acme/access"}}"#), Hint::Nowhere);
    }
}
