//! What people read on a pull request: the comment, the check's title and summary, and the messages that tell the story.
//!
//! Pure: a judgement and a time in, Markdown out. Every text that comes from outside goes through [`super::markdown`].

use chrono::{DateTime, Utc};

use super::markdown::{block, code, plain, sentence};
use crate::access::approval::{ApprovalStatus, StageStatus};
use crate::access::change::Subject;
use crate::access::decide::Verdict;
use crate::access::explain::{ApprovalTree, Status, Tree};
use crate::access::grant::{EndReason, Grant};
use crate::access::judgement::Judgement;
use crate::access::removal::Removal;
use crate::access::text::when;
use crate::policy::model::MergeMode;
use crate::policy::name::CommitId;
use crate::policy::{Code, Finding, Policy, Severity};
use crate::target::Receipt;

/// The first line of the comment that is edited in place; it is found by this.
pub(super) const COMMENT_MARKER: &str = "<!-- daypass:status -->";

/// What to publish about a judgement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Publication {
    /// The check's title, one line of plain text.
    pub title: String,
    /// The comment and the check's summary.
    pub body: String,
}

/// What is next for an approved pull request.
#[derive(Debug, Clone, Copy)]
pub(super) enum Next {
    /// Whoever the settings name merges it.
    Merge,
    /// A merge queue merges it.
    Queued,
    /// It is merged.
    Merged,
}

/// What to publish about a pull request that was judged under `policy`. `effect` tells what a policy change would let people do.
pub(super) fn publication(judgement: &Judgement, policy: &Policy, next: Next, effect: &str) -> Publication {
    let title = title(judgement);
    let mut body = format!("### {title}\n");
    for decision in &judgement.requests {
        body.push_str(&request_section(&Tree::of(decision, policy)));
    }
    for removal in &judgement.removals {
        body.push_str(&removal_section(removal));
    }
    if let Some(approval) = &judgement.policy_approval {
        body.push_str("\nThis pull request changes the policy: who may get which access.\n");
        body.push_str(effect);
        body.push_str(&approval_section(&ApprovalTree::of(approval)));
    }
    if let Some(tally) = &judgement.tests {
        let mark = if tally.failed > 0 { "❌" } else { "✅" };
        body.push_str(&format!("\n**Tests** of the proposed policy: {mark} {tally}\n"));
    }
    body.push_str(&findings_section(&judgement.all_findings()));
    if judgement.verdict() == Some(Verdict::Approved) {
        body.push_str(match (next, policy.settings.merge) {
            (Next::Merged, _) => "\n**Merged.** What follows is told below.\n",
            (Next::Queued, _) => "\n**Next:** the merge queue merges this pull request.\n",
            (Next::Merge, MergeMode::Manual) => "\n**Next:** somebody merges this pull request.\n",
            (Next::Merge, MergeMode::Auto) => "\n**Next:** Daypass merges this pull request now.\n",
        });
    }
    body.push_str("\nA comment with `/daypass help` tells what else can be asked for.\n");
    Publication { title, body }
}

/// What keeps an approved pull request from being merged.
pub(super) fn obstacle(why: &str) -> String {
    format!("🟠 **Not merged yet:** {}. Daypass tries again every minute.", plain(why))
}

/// What to publish when the policy itself is broken: no request can pass, and the requester is not to blame.
pub(super) fn broken_policy(findings: &[Finding]) -> Publication {
    let title = "The policy on the default branch is broken; no request can pass".to_owned();
    let body = format!(
        "### {title}\n\nThis is not the fault of this pull request. A policy owner has to mend `policies/` first; then this \
         check runs again by itself. Grants that are running still end on time.\n{}",
        findings_section(findings)
    );
    Publication { title, body }
}

/// What is told where the default branch holds a policy that is not in force.
pub(super) fn policy_not_in_force(commit: &CommitId) -> String {
    format!(
        "\n⚠️ The default branch holds a change of the policy that nobody approved. It does not count, and is taken back: this is \
         judged under the policy of {}.\n",
        code(commit.short())
    )
}

/// The text about a policy that is not in force.
pub(super) fn policy_refusal_body(commit: &str, reason: &str) -> String {
    format!(
        "Commit {commit} put another policy on the default branch, but {}. **It is not in force**: everything is judged under the \
         policy before it. Daypass takes the change back.\n\nIf it is meant, open a pull request with it; whoever the policy names in \
         `settings.policy_approval` approves it. Where nobody can do that any more, an operator of Daypass can run `daypass policy \
         trust COMMIT` on the server. If none of you did it, find out who can push here.\n",
        plain(reason)
    )
}

/// A change of the policy was merged, but is not in force.
pub(super) fn policy_merged_but_refused(reason: &str) -> String {
    format!(
        "🔴 This was merged, but the policy it brought **is not in force**: {}. Daypass takes it back; propose it again and have it \
         approved.",
        plain(reason)
    )
}

/// What to publish about a pull request that cannot be read in full.
pub(super) fn unread(why: &str) -> Publication {
    let (code, title) = (Code::TooMuch, Code::TooMuch.title());
    let body = format!("### {title}\n\n❌ `{code}`: {}<br>→ {}\n", plain(why), plain(code.explanation()));
    Publication { title: title.to_owned(), body }
}

fn title(judgement: &Judgement) -> String {
    let what = match (&judgement.subject, judgement.requests.as_slice(), judgement.removals.as_slice()) {
        (Subject::Policy, ..) => "Policy change".to_owned(),
        (_, [one], []) => match &one.subject {
            Some(subject) => format!("{} for {}", one.request.role, subject.login),
            None => one.request.role.to_string(),
        },
        (_, [], [one]) => format!("End of {}", one.slug),
        (Subject::Grants(_), [], []) => "Request".to_owned(),
        (Subject::Grants(_), requests, removals) => format!("{} changes to grants", requests.len() + removals.len()),
        (Subject::Unrelated, ..) => return "No access is changed by this pull request".to_owned(),
    };
    let state = match judgement.verdict() {
        Some(Verdict::Refused) => {
            let errors = judgement.all_findings().iter().filter(|f| f.severity == Severity::Error).count();
            format!("refused, {errors} problem{}", if errors == 1 { "" } else { "s" })
        }
        Some(Verdict::Objected) => "changes requested by an approver".to_owned(),
        Some(Verdict::Waiting) => {
            let stage = judgement.approvals().flat_map(ApprovalStatus::open).next();
            stage
                .map_or("waiting for approval".to_owned(), |stage| format!("waiting for approval stage {}", stage.name))
        }
        Some(Verdict::Approved) | None => "approved".to_owned(),
    };
    format!("{what}: {state}")
}

fn request_section(tree: &Tree) -> String {
    let mut text = String::from("\n| | |\n|---|---|\n");
    for row in &tree.summary {
        text.push_str(&format!("| **{}** | {} |\n", row.label, sentence(&row.text)));
    }
    if let Some(approval) = &tree.approval {
        text.push_str(&approval_section(approval));
    }
    text
}

fn removal_section(removal: &Removal) -> String {
    let slug = code(removal.slug.as_str());
    match (&removal.grant, &removal.by) {
        (None, _) => format!("\n{slug} holds no live grant; removing it changes nobody's access.\n"),
        (Some(grant), Some(by)) => format!(
            "\nMerging this ends role {} of {} at once, as {} wants.\n",
            code(grant.role.as_str()),
            code(grant.subject.login.as_str()),
            code(by.login.as_str())
        ),
        (Some(grant), None) => {
            let mut people = vec![code(grant.subject.login.as_str())];
            if grant.requester != grant.subject {
                people.push(code(grant.requester.login.as_str()));
            }
            format!(
                "\nMerging this ends role {} of {} at once. {} or an approver of the role can approve it.\n",
                code(grant.role.as_str()),
                code(grant.subject.login.as_str()),
                people.join(", "),
            )
        }
    }
}

pub(super) fn approval_section(approval: &ApprovalTree) -> String {
    if approval.stages.is_empty() {
        return "\nNo approval is needed.\n".to_owned();
    }
    let mut text = format!("\n**Approval** by rule {}\n\n", code(approval.rule.as_str()));
    for (index, stage) in approval.stages.iter().enumerate() {
        let mark = match stage.status {
            Status::Passed => "✅",
            Status::Skipped => "➖",
            Status::Failed => "❌",
            Status::Open => "🟡",
            Status::Waiting | Status::Unknown => "⚪",
        };
        text.push_str(&format!("{}. {mark} {}\n", index + 1, sentence(&stage.text)));
    }
    for remark in &approval.remarks {
        text.push_str(&format!("\n{}\n", sentence(remark)));
    }
    text
}

fn findings_section(findings: &[Finding]) -> String {
    if findings.is_empty() {
        return String::new();
    }
    let mut text = String::from("\n**Problems**\n\n");
    for finding in findings.iter().take(50) {
        let place = match (finding.file.as_str(), finding.place.line) {
            ("", _) => String::new(),
            (file, 0) => format!(" in {}", code(file)),
            (file, line) => format!(" in {}", code(&format!("{file}:{line}:{}", finding.place.column))),
        };
        let mark = if finding.severity == Severity::Error { "❌" } else { "⚠️" };
        let help = if finding.help.is_empty() { String::new() } else { format!("<br>→ {}", plain(&finding.help)) };
        text.push_str(&format!("- {mark} `{}`{place}: {}{help}\n", finding.code, plain(&finding.message)));
    }
    if findings.len() > 50 {
        text.push_str(&format!("- … and {} more; see the annotations of the check.\n", findings.len() - 50));
    }
    text
}

/// A stage has waited too long, and others may approve it now.
pub(super) fn escalated(stage: &StageStatus) -> String {
    let who: Vec<String> = stage.approvers.iter().map(|principal| code(&principal.to_string())).collect();
    let again = stage.escalates_at.map_or_else(String::new, |at| format!(" It widens again at {}.", when(at)));
    format!(
        "⏫ **Stage {} still waits for approval.** From now on these may give it: {}.{again}",
        code(stage.name.as_str()),
        who.join(", ")
    )
}

/// Access works now.
pub(super) fn applied(grant: &Grant, receipts: &[(String, Option<Receipt>)]) -> String {
    let mut text = format!(
        "🟢 **{} has role {}** until {}.\n",
        code(grant.subject.login.as_str()),
        code(grant.role.as_str()),
        when(grant.window.ends_at)
    );
    for (entitlement, receipt) in receipts {
        match receipt {
            Some(receipt) => text.push_str(&format!("\n- {}: {}\n", code(entitlement), plain(&receipt.summary))),
            None => text.push_str(&format!("\n{}\n", left_alone(entitlement))),
        }
        if let Some(handout) = receipt.as_ref().and_then(|receipt| receipt.handout.as_ref()) {
            text.push_str(&format!("\n{}\n", block(handout)));
        }
    }
    text
}

/// The line that says that access was there before. It is read again when the database was lost, as it is kept nowhere else.
pub(super) fn left_alone(entitlement: &str) -> String {
    format!("- {}: was there before and is left alone", code(entitlement))
}

/// A target refuses to give access, or cannot be reached.
pub(super) fn failing(entitlement: &str, error: &str) -> String {
    format!(
        "🟠 {} could not be applied yet: {}. Daypass keeps trying; other entitlements are not affected.",
        code(entitlement),
        plain(error)
    )
}

/// A target refuses to end access, or cannot be reached.
pub(super) fn not_removed(entitlement: &str, error: &str) -> String {
    format!("🔴 {} could **not be removed yet**: {}. Daypass keeps trying.", code(entitlement), plain(error))
}

/// The grant waits for its start.
pub(super) fn scheduled(grant: &Grant) -> String {
    format!(
        "🕒 Verified. {} gets role {} from {} to {}.",
        code(grant.subject.login.as_str()),
        code(grant.role.as_str()),
        when(grant.window.starts_at),
        when(grant.window.ends_at)
    )
}

/// A planned grant is no longer allowed when its time comes.
pub(super) fn not_started(grant: &Grant, why: &str) -> String {
    format!(
        "🔴 Role {} was planned for now, but **is not given**: {}. It was checked again, under today's policy and teams. Daypass \
         takes the request back; if the access is still needed, ask again.",
        code(grant.role.as_str()),
        plain(why)
    )
}

/// Access is gone from every target.
pub(super) fn removed(grant: &Grant, at: DateTime<Utc>, reason: &EndReason, kept: &[String]) -> String {
    let why = match reason {
        EndReason::Expired => "time is up",
        EndReason::Revoked => "it was ended early",
        EndReason::Replaced => "another request took its place",
        EndReason::Policy => "the policy no longer allows it",
    };
    let mut text = format!(
        "⚫ **{} no longer has role {}** (ended {}: {why}).",
        code(grant.subject.login.as_str()),
        code(grant.role.as_str()),
        when(at)
    );
    for entitlement in kept {
        text.push_str(&format!("\n- {} stays: another grant gives it too, or it was there before.", code(entitlement)));
    }
    text
}

/// Somebody opened a pull request from a branch of Daypass's.
pub(super) fn not_ours(branch: &str) -> String {
    format!(
        "Branches below `daypass/` are Daypass's own, and it needs {} now, so this pull request is closed. Propose the change from \
         a branch of another name.",
        code(branch)
    )
}

/// The title of the pull request that takes a grant back.
pub(super) fn revert_title(grant: &Grant) -> String {
    format!("Revert \"Grant {} to {}\"", grant.role, grant.subject.login)
}

/// The message of the commit that takes a grant back, with trailers for machines.
pub(super) fn revert_message(grant: &Grant, reason: &str) -> String {
    format!("{}\n\nDaypass-Grant: {}\nDaypass-Reason: {reason}\n", revert_title(grant), grant.id)
}

/// The text of the pull request that takes a grant back.
pub(super) fn revert_body(grant: &Grant) -> String {
    format!(
        "Access of {} to role {}, granted by #{}, ends at {}. Daypass revokes it then and merges this pull request. Merge it \
         yourself to end access earlier.\n\nDaypass-Grant: {}\nDaypass-Reason: expiry\n",
        code(grant.subject.login.as_str()),
        code(grant.role.as_str()),
        grant.id.pull_request,
        when(grant.window.ends_at),
        grant.id
    )
}

/// A request was merged, but gives nothing.
pub(super) fn merged_but_refused(path: &str, reason: &str) -> String {
    format!(
        "🔴 {} was merged, but **gives nobody access**: {}. Daypass takes it back; if you still need the access, ask again.",
        code(path),
        plain(reason)
    )
}

/// The title of the issue and the pull request about a refused file.
pub(super) fn refusal_title(path: &str) -> String {
    let name: String = path.chars().filter(|c| !c.is_control()).take(120).collect();
    format!("Revert unverified change of {name}")
}

/// The text about a refused file.
pub(super) fn refusal_body(path: &str, commit: &str, reason: &str) -> String {
    format!(
        "Commit {commit} put {} on the default branch, but {}. **Nobody has access because of it.** Daypass takes the change \
         back.\n\nIf this was a mistake, open a pull request with the request instead. If nobody of you did it, find out who \
         can push here.\n",
        code(path),
        plain(reason)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::change::GrantChanges;
    use crate::access::given;
    use crate::policy::testcase::read_given;

    /// The comment on a request of alice under the starter policy.
    fn comment(request: &str, given: &str) -> String {
        let files =
            crate::sandbox::starter_files().into_iter().filter(|(path, _)| path.starts_with("policies/")).collect();
        let policy = crate::policy::load(&files, None).policy.unwrap();
        let request = crate::policy::request::read("grants/x.yaml", request.as_bytes(), Some(&policy)).unwrap();
        let given = read_given("given.yaml", given.as_bytes()).unwrap();
        let now = "2026-11-30T10:00:00Z".parse().unwrap();
        let decision = given::judge(&request, &"alice".parse().unwrap(), &given, &policy, now);
        let judgement = Judgement {
            subject: Subject::Grants(GrantChanges::default()),
            findings: Vec::new(),
            requests: vec![decision],
            removals: Vec::new(),
            policy_approval: None,
            tests: None,
        };
        publication(&judgement, &policy, Next::Merge, "").body
    }

    #[test]
    fn the_comment_says_who_gets_what_and_who_can_approve_it() {
        let request = "role: orders-db-reader\nduration: 3h\nreason: '@all <b>'\nticket: INC-1\n";
        let given = "teams: { engineering: [alice], data-platform: [dave], security: [erin, frank] }\napproved_by: [alice, bob, dave]\n\
                     changes_requested_by: [erin]\n";
        insta::assert_snapshot!(comment(request, given), @r"
        ### orders-db-reader for alice: changes requested by an approver

        | | |
        |---|---|
        | **Who** | `alice` |
        | **Role** | `orders-db-reader` |
        | **For** | 3h, from the moment it is merged |
        | **Why** | @‌all &lt;b&gt; |
        | **Ticket** | INC\-1 |
        | **Gives** | `role orders_readonly for alice on orders-db` |

        **Approval** by rule `database-owner`

        1. ✅ `owner` (`dave` approved)
        2. 🟡 `security`: open. Approve with a code review: `team:security`: `erin`, `frank`

        `erin` requested changes, which blocks the request until they approve or their review is dismissed.

        The approval of `alice` does not count: `alice` opened the pull request.

        The approval of `bob` does not count: `bob` is not an approver of this role.

        A comment with `/daypass help` tells what else can be asked for.
        ");
    }

    #[test]
    fn the_comment_says_what_is_wrong() {
        let request =
            "role: log-reader\nduration: 30h\nreason: x\nparams: { service: checkout }\nstart: 2026-12-01T22:00:00Z\n";
        insta::assert_snapshot!(comment(request, "teams: { engineering: [alice], security: [erin] }\n"), @r"
        ### log-reader for alice: refused, 2 problems

        | | |
        |---|---|
        | **Who** | `alice` |
        | **Role** | `log-reader` |
        | **For** | 1d6h, from 2026-12-01 22:00 UTC to 2026-12-03 04:00 UTC |
        | **Why** | x |
        | **With** | `service` = `checkout` |
        | **Gives** | `role logs_checkout_reader for alice on logs-db` |

        **Approval** by rule `log-owner`

        1. 🟡 `security`: open. Approve with a code review: `team:security`: `erin`; widens at 2026-11-30 11:00 UTC

        **Problems**

        - ❌ `DP0405` in `grants/x.yaml`: role \`log\-reader\` requires a ticket<br>→ Add \`ticket:‌ …\`.
        - ❌ `DP0404` in `grants/x.yaml:2:11`: \`1d6h\` is longer than role \`log\-reader\` may last:‌ 8h<br>→ Ask for 8h or less.

        A comment with `/daypass help` tells what else can be asked for.
        ");
    }
}
