//! What people read about emergencies. Pure, as [`super::words`].

use chrono::{DateTime, Utc};

use super::markdown::{code, mention, plain};
use crate::access::command::Mistake;
use crate::access::facts::Account;
use crate::access::grant::Grant;
use crate::access::text::when;

/// What somebody wrote is not what ends a review.
pub(super) fn mistake(mistake: &Mistake) -> String {
    let why = match mistake {
        Mistake::Edited => format!("👎 {mistake}."),
        _ => "👎 That is no command here.".to_owned(),
    };
    format!("{why} A review is ended by a comment that says `/daypass reviewed`, and nothing else in that line.\n")
}

/// The title of the issue.
pub(super) fn title(grant: &Grant) -> String {
    format!("Review the emergency access of {} to {}", grant.subject.login, grant.role)
}

/// The text of the issue. `reviewers` are mentioned, so that GitHub tells them.
pub(super) fn body(grant: &Grant, due: DateTime<Utc>, reviewers: &[String]) -> String {
    let ticket =
        grant.ticket.as_deref().map_or(String::new(), |ticket| format!("| **Ticket** | {} |\n", plain(ticket)));
    format!(
        "🚨 {} broke the glass: **nobody approved this access**.\n\n| | |\n|---|---|\n| **Who** | {} |\n| **Role** | {} |\n\
         | **Why** | {} |\n{ticket}| **From** | {} |\n| **Until** | {} |\n| **Request** | #{} |\n\n\
         {}: please look at what was done with it. One of you ends this review with a comment that says `/daypass reviewed`, by \
         {}. Whoever asked for the access, or had it, cannot. Until then this issue stays open.\n",
        code(grant.requester.login.as_str()),
        code(grant.subject.login.as_str()),
        code(grant.role.as_str()),
        plain(&grant.reason),
        when(grant.window.starts_at),
        when(grant.window.ends_at),
        grant.id.pull_request,
        if reviewers.is_empty() {
            "Nobody is named in the policy who could have approved it".to_owned()
        } else {
            reviewers.join(", ")
        },
        when(due),
    )
}

/// What is said on the request itself.
pub(super) fn told_on_request(grant: &Grant, issue: u64, due: DateTime<Utc>) -> String {
    format!(
        "🚨 **Break-glass:** nobody approved this access of {}. Its use has to be reviewed in #{issue} by {}.",
        code(grant.subject.login.as_str()),
        when(due)
    )
}

/// Somebody may not review it.
pub(super) fn may_not_review(by: &Account, grant: &Grant) -> String {
    let why = if *by == grant.subject || *by == grant.requester {
        "whoever asked for the access, or had it, cannot review its use"
    } else {
        "only somebody who could have approved it reviews its use"
    };
    format!("{}: {why}.", mention(by))
}

/// Somebody closed the issue without a review.
pub(super) fn reopened() -> String {
    "This is not reviewed yet, so it stays open. A reviewer comments `/daypass reviewed`.".to_owned()
}

/// The time is over.
pub(super) fn overdue(grant: &Grant, reviewers: &[String]) -> String {
    let who = if reviewers.is_empty() { String::new() } else { format!("{}: ", reviewers.join(", ")) };
    format!(
        "🔴 **This review is overdue.** {who}{} had role {}, and nobody has looked at it since.",
        code(grant.subject.login.as_str()),
        code(grant.role.as_str())
    )
}

/// It is reviewed.
pub(super) fn reviewed(by: &Account) -> String {
    format!("✅ Reviewed by {}.", code(by.login.as_str()))
}
