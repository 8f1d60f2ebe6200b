//! What people read on a pull request: the comment, the check's title and summary, and the messages that tell the story.
//!
//! Pure: a judgement and a time in, Markdown out. Every text that comes from outside goes through [`super::markdown`].

use chrono::{DateTime, Utc};

use super::markdown::{block, code, plain};
use crate::access::approval::{ApprovalStatus, Discount, StageState, StageStatus};
use crate::access::change::Subject;
use crate::access::decide::{Decision, Removal, Verdict};
use crate::access::grant::{EndReason, Grant};
use crate::access::judgement::Judgement;
use crate::policy::model::{MergeMode, Settings};
use crate::policy::{Code, Finding, Severity};
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

/// A time as people read it: UTC, to the minute unless seconds matter.
pub(super) fn when(time: DateTime<Utc>) -> String {
    use chrono::Timelike;
    if time.second() == 0 {
        time.format("%Y-%m-%d %H:%M UTC").to_string()
    } else {
        time.format("%Y-%m-%d %H:%M:%S UTC").to_string()
    }
}

/// What is next for an approved pull request.
#[derive(Debug, Clone, Copy)]
pub(super) enum Next {
    /// Whoever the settings name merges it.
    Merge,
    /// It is merged.
    Merged,
}

/// What to publish about a pull request. `effect` tells what a policy change would let people do.
pub(super) fn publication(judgement: &Judgement, settings: &Settings, next: Next, effect: &str) -> Publication {
    let title = title(judgement);
    let mut body = format!("### {title}\n");
    for decision in &judgement.requests {
        body.push_str(&request_section(decision));
    }
    for removal in &judgement.removals {
        body.push_str(&removal_section(removal));
    }
    if let Some(approval) = &judgement.policy_approval {
        body.push_str("\nThis pull request changes the policy: who may get which access.\n");
        body.push_str(effect);
        body.push_str(&approval_section(approval));
    }
    body.push_str(&findings_section(&judgement.all_findings()));
    if judgement.verdict() == Some(Verdict::Approved) {
        body.push_str(match (next, settings.merge) {
            (Next::Merged, _) => "\n**Merged.** What follows is told below.\n",
            (Next::Merge, MergeMode::Manual) => "\n**Next:** somebody merges this pull request.\n",
            (Next::Merge, MergeMode::Auto) => "\n**Next:** Daypass merges this pull request now.\n",
        });
    }
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

fn request_section(decision: &Decision) -> String {
    let request = &decision.request;
    let who = decision.subject.as_ref().map_or_else(|| "?".to_owned(), |subject| subject.login.to_string());
    let mut rows = vec![
        ("Who", code(&who)),
        ("Role", code(request.role.as_str())),
        (
            "For",
            match request.start {
                Some(start) if decision.window.starts_at == start => {
                    format!("{}, from {} to {}", request.duration, when(start), when(decision.window.ends_at))
                }
                _ => format!("{}, from the moment it is merged", request.duration),
            },
        ),
        ("Why", plain(&request.reason)),
    ];
    if let Some(ticket) = &request.ticket {
        rows.push(("Ticket", plain(ticket)));
    }
    if request.break_glass {
        rows.push(("Emergency", "**break-glass**: no approval is awaited".to_owned()));
    }
    for (name, value) in &request.params {
        rows.push(("With", format!("{} = {}", code(name.as_str()), code(&value.to_string()))));
    }
    if let Some(grant) = &decision.replaces {
        let (role, who) = (code(grant.role.as_str()), code(grant.subject.login.as_str()));
        rows.push(("Ends", format!("{role} of {who}, which would last until {}", when(grant.window.ends_at))));
    }
    for entitlement in &decision.entitlements {
        rows.push(("Gives", code(&entitlement.to_string())));
    }
    let mut text = String::from("\n| | |\n|---|---|\n");
    for (name, value) in rows {
        text.push_str(&format!("| **{name}** | {value} |\n"));
    }
    if let Some(approval) = &decision.approval {
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

fn approval_section(approval: &ApprovalStatus) -> String {
    if approval.stages.is_empty() {
        return "\nNo approval is needed.\n".to_owned();
    }
    let mut text = format!("\n**Approval** by rule {}\n\n", code(approval.rule.as_str()));
    for (index, stage) in approval.stages.iter().enumerate() {
        text.push_str(&format!("{}. {}\n", index + 1, stage_line(stage)));
    }
    for account in &approval.objections {
        text.push_str(&format!(
            "\n{} requested changes, which blocks the request until they approve or their review is dismissed.\n",
            code(account.login.as_str())
        ));
    }
    for review in &approval.discounted {
        text.push_str(&format!("\n{}\n", discounted_line(review.by.as_ref().map(|by| by.login.as_str()), &review.why)));
    }
    text
}

fn stage_line(stage: &StageStatus) -> String {
    let name = code(stage.name.as_str());
    let given: Vec<String> = stage.approvals.iter().map(|(by, _)| code(by.login.as_str())).collect();
    let given = if given.is_empty() { String::new() } else { format!(" ({} approved)", given.join(", ")) };
    let who = || {
        let principals: Vec<String> = stage.approvers.iter().map(|principal| code(&principal.to_string())).collect();
        let people: Vec<String> = stage.candidates.iter().take(10).map(|person| code(person.login.as_str())).collect();
        let more = stage.candidates.len().saturating_sub(10);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let people = if people.is_empty() { String::new() } else { format!(": {}{more}", people.join(", ")) };
        let count = if stage.required == 1 { String::new() } else { format!("{} of ", stage.required) };
        format!("{count}{}{people}", principals.join(", "))
    };
    match &stage.state {
        StageState::Satisfied => format!("✅ {name}{given}"),
        StageState::Skipped => format!("➖ {name}: not needed for this request"),
        StageState::Failed(error) => format!("❌ {name}: its condition cannot be evaluated: {}", plain(error)),
        StageState::Open => {
            let widened = match (stage.escalated_at, stage.escalates_at) {
                (Some(at), _) => format!("; widened at {}", when(at)),
                (None, Some(at)) => format!("; widens at {}", when(at)),
                (None, None) => String::new(),
            };
            format!("🟡 {name}: open{given}. Approve with a code review: {}{widened}", who())
        }
        StageState::Waiting => format!("⚪ {name}: after the stage before it{given}. {}", who()),
    }
}

fn discounted_line(login: Option<&str>, why: &Discount) -> String {
    let who = login.map_or_else(|| "somebody whose account is gone".to_owned(), code);
    match why {
        Discount::Stale(_) => {
            format!("The approval of {who} was given before the last push and no longer counts; please review again.")
        }
        Discount::Involved(how) => format!("The approval of {who} does not count: {who} {}.", how.as_str()),
        Discount::NotAnApprover => {
            format!("The approval of {who} does not count: {who} is not an approver of this role.")
        }
        Discount::NotAPerson => format!("The approval of {who} does not count: only people approve."),
        Discount::AfterMerge => format!("The approval of {who} does not count: it was given after the merge."),
    }
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

/// The revert pull request is open.
pub(super) fn ends_soon(grant: &Grant, revert: u64) -> String {
    format!(
        "⏳ Access ends at {}. \\#{revert} takes it back; merge it to end access earlier.",
        when(grant.window.ends_at)
    )
    .replace("\\#", "#")
}

/// Access is gone from every target.
pub(super) fn removed(grant: &Grant, at: DateTime<Utc>, reason: &EndReason, kept: &[String]) -> String {
    let why = match reason {
        EndReason::Expired => "time is up",
        EndReason::Revoked => "its file was removed",
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
