//! What this process asked of GitHub, by kind, so that somebody can see what it costs and why.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use http::{Method, StatusCode};

/// One kind of request, with one kind of answer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Asked {
    /// `GET`, `POST`, …
    pub method: String,
    /// The path without names and numbers: `repos/pulls/reviews`.
    pub endpoint: String,
    /// The status of the answer; 0 if there was none.
    pub status: u16,
}

/// How often each kind of request was sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Usage(BTreeMap<Asked, u64>);

impl Usage {
    /// Requests that were sent.
    pub fn calls(&self) -> u64 {
        self.0.values().sum()
    }

    /// Those that count against GitHub's limit: an answer of "not modified" does not.
    /// <https://docs.github.com/en/rest/using-the-rest-api/best-practices-for-using-the-rest-api#use-conditional-requests-if-appropriate>
    pub fn counted(&self) -> u64 {
        let free = |asked: &Asked| asked.status == StatusCode::NOT_MODIFIED.as_u16();
        self.0.iter().filter(|(asked, _)| !free(asked)).map(|(_, times)| times).sum()
    }

    /// Each kind with its number.
    pub fn iter(&self) -> impl Iterator<Item = (&Asked, u64)> {
        self.0.iter().map(|(asked, times)| (asked, *times))
    }

    /// What came since `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let more = |(asked, times): (&Asked, &u64)| {
            let more = times - earlier.0.get(asked).unwrap_or(&0);
            (more > 0).then(|| (asked.clone(), more))
        };
        Self(self.0.iter().filter_map(more).collect())
    }
}

/// The count, while it goes on.
#[derive(Debug, Default)]
pub(super) struct Counter(Mutex<Usage>);

impl Counter {
    /// A request was answered, or not.
    pub fn count(&self, method: &Method, path: &str, status: Option<StatusCode>) {
        let status = status.map_or(0, |status| status.as_u16());
        let asked = Asked { method: method.to_string(), endpoint: endpoint(path), status };
        *self.usage().0.entry(asked).or_default() += 1;
    }

    /// What was counted so far.
    pub fn read(&self) -> Usage {
        self.usage().clone()
    }

    fn usage(&self) -> MutexGuard<'_, Usage> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The words of the API in a path. Everything else in it is somebody's name: it would make the number of kinds unbounded.
fn endpoint(path: &str) -> String {
    const WORDS: [&str; 24] = [
        "access_tokens",
        "app",
        "attempts",
        "blobs",
        "check-runs",
        "comments",
        "commits",
        "deliveries",
        "dismissals",
        "events",
        "files",
        "git",
        "hook",
        "installation",
        "installations",
        "issues",
        "keys",
        "merge",
        "permission",
        "pulls",
        "reactions",
        "requested_reviewers",
        "reviews",
        "trees",
    ];
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let mut segments = path.split('/').filter(|segment| !segment.is_empty());
    let mut words = Vec::new();
    while let Some(segment) = segments.next() {
        // What follows these is a name, whatever it reads like. The second of a pair is how the links to next pages call the first.
        let (word, names) = match segment {
            "repos" => ("repos", 2),
            "repositories" => ("repos", 1),
            "orgs" | "organizations" => ("orgs", 1),
            "users" | "user" => ("users", 1),
            "teams" | "branches" | "members" | "memberships" | "collaborators" => (segment, 1),
            "ref" | "refs" => ("refs", usize::MAX),
            "contents" | "compare" => (segment, usize::MAX),
            _ if WORDS.contains(&segment) => (segment, 0),
            _ => continue,
        };
        words.push(word);
        // Not `nth`: a path may end before its last name.
        segments.by_ref().take(names).for_each(drop);
    }
    words.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_left_out() {
        assert_eq!(endpoint("/repos/acme/access/pulls/12/reviews?per_page=100&page=2"), "repos/pulls/reviews");
        assert_eq!(endpoint("/repos/pulls/issues/git/refs/heads/reviews"), "repos/git/refs");
        assert_eq!(endpoint("/orgs/acme/teams/members/memberships/teams"), "orgs/teams/memberships");
        assert_eq!(endpoint("/repositories/12/pulls?page=2"), "repos/pulls", "as links to next pages have it");
        assert_eq!(endpoint("/app/installations/7/access_tokens"), "app/installations/access_tokens");
        assert_eq!(endpoint("/repos/a/b/collaborators/alice/permission"), "repos/collaborators/permission");
    }

    #[test]
    fn what_was_not_modified_does_not_count() {
        let counter = Counter::default();
        counter.count(&Method::GET, "/app", Some(StatusCode::OK));
        let before = counter.read();
        counter.count(&Method::GET, "/app", Some(StatusCode::OK));
        counter.count(&Method::GET, "/app", Some(StatusCode::NOT_MODIFIED));
        counter.count(&Method::GET, "/app", None);
        let usage = counter.read();
        assert_eq!((usage.calls(), usage.counted()), (4, 3));
        assert_eq!((usage.since(&before).calls(), usage.since(&before).counted()), (3, 2));
    }
}
