//! What people read in answer to what they asked for in comments and by buttons, and about requests that end before they began.
//!
//! Pure, as [`super::words`]; every text from outside goes through [`super::markdown`].

use chrono::{DateTime, TimeDelta, Utc};

use super::markdown::{code, mention, plain, sentence};
use super::words::approval_section;
use crate::access::command::Mistake;
use crate::access::explain::{Status, Tree};
use crate::access::facts::{Account, Review};
use crate::access::forfeit::Forfeit;
use crate::access::grant::{Grant, State};
use crate::access::text::when;
use crate::policy::Duration;
use crate::policy::name::{RoleName, Slug};

/// What can be asked for.
pub(super) fn help() -> String {
    let rows = [
        ("/daypass deny REASON", "an approver refuses the request; it is closed"),
        (
            "/daypass extend 1h",
            "whoever has the access, or asked for it, asks for more of it; that is approved like the first request",
        ),
        ("/daypass revoke", "whoever has the access, asked for it or may approve it ends it at once"),
        ("/daypass explain", "why it stands as it does, rule by rule"),
        ("/daypass recheck", "look again now"),
        ("/daypass help", "this"),
    ];
    let mut text = String::from("| A comment with this line | |\n|---|---|\n");
    for (command, meaning) in rows {
        text.push_str(&format!("| `{command}` | {meaning} |\n"));
    }
    text.push_str("\nOne command a comment, at the beginning of a line. Approving is a code review. Closing a pull request withdraws it.\n");
    text
}

/// What looked like a command is none.
pub(super) fn mistake(mistake: &Mistake) -> String {
    format!("{mistake}.\n\n{}", help())
}

/// A sentence of ours that answers somebody.
pub(super) fn refused(why: &str) -> String {
    format!("👎 {why}\n")
}

/// An answer to somebody who pressed a button.
pub(super) fn pressed(by: &Account, label: &str, said: &str) -> String {
    format!("{} pressed **{label}**.\n\n{said}", code(by.login.as_str()))
}

/// A request was denied.
pub(super) fn denied(by: &Account, reason: &str) -> String {
    format!(
        "⛔ **Denied** by {}: {}\n\nThis pull request is closed. A new request can be opened once that is settled.\n",
        code(by.login.as_str()),
        plain(reason)
    )
}

/// Access was ended early.
pub(super) fn revoked(grant: &Grant, by: &Account) -> String {
    format!(
        "🛑 {} ends role {} of {} now, ahead of {}. Daypass takes the access back at once and then the file.\n",
        code(by.login.as_str()),
        code(grant.role.as_str()),
        code(grant.subject.login.as_str()),
        when(grant.window.ends_at)
    )
}

/// Where an answer is that belongs to another pull request.
pub(super) fn elsewhere(grant: &Grant) -> String {
    format!("🛑 Done; what follows is told in #{}.\n", grant.id.pull_request)
}

/// Who may end a grant.
pub(super) fn may_not_end(grant: &Grant) -> String {
    format!("{} or an approver of role {} can end this.", people(grant), code(grant.role.as_str()))
}

/// Who may ask for more of a grant.
pub(super) fn may_not_extend(grant: &Grant) -> String {
    format!("Only {} can ask to extend this.", people(grant))
}

fn people(grant: &Grant) -> String {
    let subject = code(grant.subject.login.as_str());
    match grant.requester == grant.subject {
        true => subject,
        false => format!("{subject}, {}", code(grant.requester.login.as_str())),
    }
}

/// An extension is asked for.
pub(super) fn asked(grant: &Grant, by: Duration, pull: u64) -> String {
    format!(
        "⏩ #{pull} asks for {by} more of role {}, until {}. It is approved like the first request; until it is merged, and if it is \
         not, the access ends at {}.\n",
        code(grant.role.as_str()),
        when(grant.window.ends_at + by.delta()),
        when(grant.window.ends_at)
    )
}

/// An extension is asked for already.
pub(super) fn asked_already(pull: u64) -> String {
    format!("#{pull} asks to extend this already. Close it first if you want to ask for something else.")
}

/// The ceiling leaves no room for an extension.
pub(super) fn above_ceiling(role: &RoleName, ceiling: Duration, has: Duration) -> String {
    let role = code(role.as_str());
    match Duration::from_seconds(ceiling.seconds().saturating_sub(has.seconds())) {
        Some(left) => {
            format!("Role {role} may last {ceiling} in all, extensions included; {left} more can be asked for.")
        }
        None => format!(
            "Role {role} may last {ceiling} in all, extensions included, and it lasts that long already. Ask anew."
        ),
    }
}

/// The file of a grant cannot be changed by Daypass.
pub(super) fn cannot_write(slug: &Slug) -> String {
    format!(
        "The duration in {} cannot be changed by Daypass; edit the file in a pull request of your own.",
        code(slug.as_str())
    )
}

/// The title of the pull request that asks for an extension.
pub(super) fn extension_title(grant: &Grant, total: Duration) -> String {
    format!("Extend {} for {} to {total}", grant.role, grant.subject.login)
}

/// The message of its commit, with a trailer for machines. The trailer says what is meant, and proves nothing.
pub(super) fn extension_message(grant: &Grant, total: Duration) -> String {
    format!("{}\n\nDaypass-Extends: {}\n", extension_title(grant, total), grant.id)
}

/// The text of the pull request that asks for an extension.
pub(super) fn extension_body(grant: &Grant, by: Duration, total: Duration, asker: &Account) -> String {
    format!(
        "{} asks in #{} for {by} more of role {}: {total} in all, until {}.\n\nThe access goes on until {} whatever happens here. If \
         this is merged before, it goes on without a gap; if not, it ends and this is closed.\n\nDaypass-Extends: {}\n",
        code(asker.login.as_str()),
        grant.id.pull_request,
        code(grant.role.as_str()),
        when(grant.window.ends_at + by.delta()),
        when(grant.window.ends_at),
        grant.id
    )
}

/// Every rule a request has to keep, and where its approval stands.
pub(super) fn explanation(tree: &Tree) -> String {
    let mut text = String::from("**Rules**\n\n");
    for rule in &tree.rules {
        let mark = match rule.status {
            Status::Passed => "✅",
            Status::Failed => "❌",
            Status::Skipped => "➖",
            Status::Unknown | Status::Open | Status::Waiting => "⚪",
        };
        text.push_str(&format!("- {mark} {}\n", sentence(&rule.text)));
        for finding in &rule.findings {
            text.push_str(&format!("  - `{}`: {}\n", finding.code, plain(&finding.message)));
        }
    }
    if let Some(approval) = &tree.approval {
        text.push_str(&approval_section(approval));
    }
    text.push_str(&format!(
        "\nMerged now, access would last from {} to {}.\n",
        when(tree.window.starts_at),
        when(tree.window.ends_at)
    ));
    text
}

/// Where a grant stands.
pub(super) fn standing(grant: &Grant) -> String {
    let approvers: Vec<String> = grant.approvers.iter().map(|account| code(account.login.as_str())).collect();
    let begun = match grant.state {
        State::Scheduled => format!("gets role {} at {}", code(grant.role.as_str()), when(grant.window.starts_at)),
        _ => format!("has role {} since {}", code(grant.role.as_str()), when(grant.since())),
    };
    let approved = match approvers.is_empty() {
        true => "nobody had to approve it".to_owned(),
        false => format!("{} approved it", approvers.join(", ")),
    };
    format!(
        "{} {begun}, until {}. {} asked, {approved}; the reason is: {}\n",
        code(grant.subject.login.as_str()),
        when(grant.window.ends_at),
        code(grant.requester.login.as_str()),
        plain(&grant.reason)
    )
}

/// An approval no longer counts.
pub(super) fn forfeited(review: &Review, by: &Account, why: Forfeit) -> String {
    let login = code(by.login.as_str());
    let commit = review.commit.as_ref().map_or_else(|| "an unknown commit".to_owned(), |id| code(id.short()));
    let since = match why {
        Forfeit::Pushed => format!("for {commit}, before the last push: what would be merged is not what they read"),
        Forfeit::Reopened => "before this pull request was closed and reopened".to_owned(),
    };
    format!(
        "🔁 The approval of {login} no longer counts: it was given {since}. Daypass asks them to review it again; only a new approval \
         counts.\n"
    )
}

/// The same for the review itself, as plain text.
pub(super) const fn dismissal(why: Forfeit) -> &'static str {
    match why {
        Forfeit::Pushed => "Given for an earlier commit; please read the change again.",
        Forfeit::Reopened => "Given before the pull request was closed and reopened; please read it again.",
    }
}

/// A request nobody approved in time.
pub(super) fn timed_out(after: Duration) -> String {
    format!("⌛ Nobody approved this within {after}, so it is closed. If the access is still needed, ask again.\n")
}

/// What an extension would extend is over.
pub(super) const EXTENSION_OVER: &str =
    "⌛ The access this would extend is over, so this is closed. If it is still needed, ask anew.\n";

/// The revert pull request is open.
pub(super) fn ends_soon(grant: &Grant, revert: u64, now: DateTime<Utc>) -> String {
    format!(
        "⏳ {}: access to role {} ends in {}, at {}. #{revert} takes it back; merge it to end access earlier. To keep it longer, comment \
         `/daypass extend 1h` here.",
        mention(&grant.subject),
        code(grant.role.as_str()),
        time_left(grant.window.ends_at - now),
        when(grant.window.ends_at)
    )
}

/// A length of time to the minute, at least one.
fn time_left(left: TimeDelta) -> String {
    let minutes = u64::try_from((left.num_seconds() + 30) / 60).unwrap_or(0).max(1);
    Duration::from_seconds(minutes * 60).map_or_else(|| "a while".to_owned(), |left| left.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::name::UserId;

    #[test]
    fn a_reason_cannot_pretend() {
        let erin = Account { id: UserId(1), login: "erin".parse().unwrap(), bot: false };
        let text = denied(&erin, "no @acme/all <b> [x](y) \u{202e}**sure**");
        insta::assert_snapshot!(text, @r"
        ⛔ **Denied** by `erin`: no @‌acme/all &lt;b&gt; \[x\]\(y\) [U+202E]\*\*sure\*\*

        This pull request is closed. A new request can be opened once that is settled.
        ");
    }

    #[test]
    fn what_is_left_is_told_to_the_minute() {
        assert_eq!(time_left(TimeDelta::seconds(3_629)), "1h");
        assert_eq!(time_left(TimeDelta::seconds(3)), "1m");
        assert_eq!(time_left(TimeDelta::minutes(-3)), "1m");
    }
}
