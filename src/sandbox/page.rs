//! What the addresses of pull requests and issues show in a browser: the same as the API, as plain text.

use super::Sandbox;
use super::state::Repository;

/// The page at `path`, if there is one.
pub(super) fn of(sandbox: &Sandbox, path: &str) -> Option<String> {
    let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
    let [owner, name, "pull" | "issues", number] = segments.as_slice() else { return None };
    let state = sandbox.state();
    let repository = state.repositories.get(*name).filter(|_| state.organisation.login == *owner)?;
    let number = number.parse().ok()?;
    let issue = repository.issues.get(&number)?;
    let login = |id: u64| state.users.get(&id).map_or("ghost", |user| user.login.as_str());
    let mut page = format!("#{number} {}\n\n", issue.title);
    page.push_str(&format!("{} by {}\n", standing(repository, number), login(issue.author)));
    if let Some(pull) = repository.pulls.get(&number) {
        page.push_str(&format!("{} into {}, head {}\n", pull.head_branch, pull.base_branch, pull.head));
        for check in repository.checks.values().filter(|check| check.head == pull.head) {
            let conclusion = check.conclusion.as_deref().unwrap_or(&check.status);
            page.push_str(&format!("check {}: {conclusion}: {}\n", check.name, check.title.as_deref().unwrap_or("")));
        }
        for review in &pull.reviews {
            page.push_str(&format!("review by {}: {}\n", login(review.author), review.state));
        }
    }
    if let Some(body) = &issue.body {
        page.push_str(&format!("\n{body}\n"));
    }
    for comment in repository.comments.values().filter(|comment| comment.issue == number) {
        let time = comment.created_at.format("%Y-%m-%d %H:%M:%S UTC");
        page.push_str(&format!("\n--- {} at {time}\n\n{}\n", login(comment.author), comment.body));
    }
    Some(page)
}

fn standing(repository: &Repository, number: u64) -> &'static str {
    match (repository.pulls.get(&number), repository.issues.get(&number)) {
        (Some(pull), _) if pull.merged.is_some() => "merged",
        (_, Some(issue)) if issue.open => "open",
        _ => "closed",
    }
}
