//! Running grants and open requests that would be judged differently under the new policy. The judge is the one that judges pull
//! requests: [`decide`].

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};

use super::{Danger, Effect, Sentence, Topic};
use crate::access::approval::{ApprovalStatus, StageState};
use crate::access::case::{Case, PullFacts};
use crate::access::decide::{Verdict, decide};
use crate::access::facts::{Account, Directory, PullRequest, PullState};
use crate::access::history::History;
use crate::access::principals::Needs;
use crate::access::reach::{Answer, answer};
use crate::policy::entitlement::Entitlement;
use crate::policy::name::CommitId;
use crate::policy::{Code, Policy, Request, Severity};

/// How a running grant would be judged if it were asked for now.
struct Standing {
    /// Why it would be refused.
    obstacles: BTreeSet<(Code, String)>,
    /// What it would give.
    gives: Vec<Entitlement>,
    /// It would be refused, unless its subject is in one of these teams.
    unless: Option<String>,
}

/// What the new policy says to a running grant that the old one did not. `author` is who asked for it; `None` if nobody knows:
/// then only what does not depend on people is judged, unless the request names its subject.
pub fn running_grant(
    request: &Request,
    author: Option<&Account>,
    (old, new): (&Policy, &Policy),
    directory: &Directory,
    now: DateTime<Utc>,
) -> Option<Effect> {
    let stand = |policy| standing(request, author, policy, directory, now);
    let (before, after) = (stand(old)?, stand(new)?);
    let name = Sentence::new("running grant {}", &[&request.path()]);
    let name = match request.subject.as_ref().or(author.map(|author| &author.login)) {
        Some(login) => name.then(Sentence::new(" of {}", &[login])),
        None => name,
    };
    let effect = |danger, sentence| {
        Some(Effect {
            danger,
            topic: Topic::Grant,
            role: Some(request.role.clone()),
            sentence: name.clone().then(sentence),
        })
    };
    let news = after.obstacles.difference(&before.obstacles).next();
    match (before.obstacles.is_empty(), news) {
        (true, Some((code, message))) => effect(
            Danger::Neutral,
            Sentence::default().say(&format!(" would be refused ({code}): ")).quote(unquoted(message)),
        ),
        (false, None) if after.obstacles.is_empty() => {
            effect(Danger::Low, Sentence::default().say(" would be allowed; under the policy until now it is not"))
        }
        (true, None) if before.unless.is_none() && after.unless.is_some() => {
            let teams = after.unless.unwrap_or_default();
            effect(Danger::Neutral, Sentence::new(" would be refused, unless its subject is in one of: {}", &[&teams]))
        }
        (true, None) if before.gives != after.gives => {
            let gained = after.gives.iter().filter(|given| !before.gives.contains(given));
            let lost = before.gives.iter().filter(|given| !after.gives.contains(given));
            let (gained, lost): (Vec<_>, Vec<_>) = (gained.collect(), lost.collect());
            let sentence = Sentence::default().say(" would give other things if it were asked for again: ");
            let sentence = match (gained.is_empty(), lost.is_empty()) {
                (false, true) => sentence.list(gained.into_iter(), 5),
                (true, _) => sentence.say("no longer ").list(lost.into_iter(), 5),
                (false, false) => sentence.list(gained.into_iter(), 5).say(" instead of ").list(lost.into_iter(), 5),
            };
            effect(Danger::Neutral, sentence)
        }
        _ => None,
    }
}

fn standing(
    request: &Request,
    author: Option<&Account>,
    policy: &Policy,
    directory: &Directory,
    now: DateTime<Utc>,
) -> Option<Standing> {
    let subject = match &request.subject {
        Some(login) => directory.account(login).cloned(),
        None => author.cloned(),
    };
    // Whether somebody else was allowed to ask for it is over.
    let asking = subject.clone().or_else(|| author.cloned());
    let mut request = request.clone();
    request.subject = None;
    let Some(asking) = asking else {
        let findings = crate::policy::judge::judge(&request, policy);
        let errors = findings.into_iter().filter(|finding| finding.severity == Severity::Error);
        return Some(Standing {
            obstacles: errors.map(|finding| (finding.code, finding.message)).collect(),
            gives: Vec::new(),
            unless: None,
        });
    };
    let facts = nothing_but(&asking, now)?;
    let decision = decide(&request, Case { policy, directory, facts: &facts, now });
    let role = policy.roles.get(&request.role);
    let unless = role.and_then(|role| {
        let who = match (&role.break_glass, request.break_glass) {
            (Some(path), true) => &path.requesters,
            _ => &role.requesters,
        };
        match answer(who, &asking, policy, directory) {
            Answer::IfIn(teams) => Some(teams.iter().map(|slug| format!("team:{slug}")).collect::<Vec<_>>().join(", ")),
            Answer::Yes | Answer::No => None,
        }
    });
    // Asked for by somebody who may be in a team nobody told of: what depends on it is not judged.
    let guessed = |code: Code| match code {
        Code::RequesterNotAllowed => unless.is_some(),
        Code::ConditionFalse | Code::ConditionFailed => role.is_some_and(|role| {
            Needs::of_role(role, policy).teams.iter().any(|slug| !directory.teams.contains_key(slug))
        }),
        _ => false,
    };
    // What was approved and planned is not approved and planned again.
    let past = [Code::NobodyCanApprove, Code::CommitAuthorUnknown, Code::StartTooFar, Code::WindowOver];
    let obstacles = decision
        .findings
        .into_iter()
        .filter(|finding| finding.severity == Severity::Error)
        .filter(|finding| !past.contains(&finding.code) && !guessed(finding.code))
        .map(|finding| (finding.code, finding.message))
        .collect();
    // A certificate carries the time: it is of no interest here.
    let mut gives = decision.entitlements;
    gives.iter_mut().for_each(timeless);
    Some(Standing { obstacles, gives, unless })
}

fn timeless(entitlement: &mut Entitlement) {
    if let crate::policy::entitlement::Access::Ssh { not_before, not_after, .. } = &mut entitlement.access {
        (*not_before, *not_after) = (DateTime::UNIX_EPOCH, DateTime::UNIX_EPOCH);
    }
}

/// A pull request of which nothing is known but who opened it.
fn nothing_but(author: &Account, now: DateTime<Utc>) -> Option<PullFacts> {
    let head: CommitId = "0".repeat(40).parse().ok()?;
    let pull = PullRequest {
        number: 0,
        title: String::new(),
        author: Some(author.clone()),
        state: PullState::Open,
        draft: false,
        head,
        head_branch: String::new(),
        from_fork: false,
        base_branch: String::new(),
        created_at: now,
        labels: BTreeSet::new(),
    };
    Some(PullFacts { pull, commits: Vec::new(), reviews: Vec::new(), extends: None, history: History::default() })
}

/// What the new policy says to an open request that the old one does not. `case` is the request's pull request under the old one.
pub fn open_request(request: &Request, case: Case<'_>, new: &Policy) -> Option<Effect> {
    let before = decide(request, case);
    let after = decide(request, Case { policy: new, ..case });
    let open = |approval: &Option<ApprovalStatus>| -> Vec<String> {
        let stages = approval.iter().flat_map(|approval| &approval.stages);
        let missing = stages.filter(|stage| matches!(stage.state, StageState::Open | StageState::Waiting));
        missing.map(|stage| stage.name.to_string()).collect()
    };
    let say = |words: &str| Sentence::default().say(words);
    let (danger, sentence) = match (before.verdict(), after.verdict()) {
        (Verdict::Approved, Verdict::Approved) | (Verdict::Objected, Verdict::Objected) => return None,
        (_, Verdict::Approved) => (Danger::Critical, say(" would be approved at once")),
        (Verdict::Refused, Verdict::Refused) => return None,
        (Verdict::Refused, _) => (Danger::Medium, say(" would no longer be refused")),
        (_, Verdict::Refused) => {
            let finding = after.findings.iter().find(|finding| finding.severity == Severity::Error);
            let why = finding.map(|finding| finding.message.clone()).unwrap_or_default();
            (Danger::Narrower, say(" would be refused: ").quote(unquoted(&why)))
        }
        (Verdict::Objected, _) => (Danger::High, say(" would no longer be held up by an objection")),
        (_, Verdict::Objected) => (Danger::Narrower, say(" would be held up by an objection")),
        (Verdict::Approved, Verdict::Waiting) => {
            (Danger::Narrower, say(" would wait for approval: ").list(open(&after.approval).into_iter(), 5))
        }
        (Verdict::Waiting, Verdict::Waiting) => {
            let (missing, missing_after) = (open(&before.approval), open(&after.approval));
            if missing == missing_after {
                return None;
            }
            let sentence = say(" would wait for ").list(missing_after.into_iter(), 5);
            (Danger::Neutral, sentence.say("; now it waits for ").list(missing.into_iter(), 5))
        }
    };
    let who = case.facts.pull.author.as_ref();
    let who = after.subject.as_ref().or(who).map(|account| account.login.to_string()).unwrap_or_default();
    let name = say(&format!("open request in pull request {} for ", case.facts.pull.number)).quote(who);
    Some(Effect { danger, topic: Topic::Request, role: Some(request.role.clone()), sentence: name.then(sentence) })
}

/// A message that is quoted as a whole.
fn unquoted(message: &str) -> String {
    message.replace('`', "'")
}
