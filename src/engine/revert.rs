//! Taking files off the default branch: grants that are over, and content that came from nowhere. Always by pull request, so
//! that git history is the record.

use chrono::TimeDelta;
use sha2::{Digest, Sha256};

use super::in_force::FOLDER;
use super::publish::plain_check;
use super::pull_request::OWN_BRANCH;
use super::words::Publication;
use super::{Engine, EngineError, answers, words};
use crate::access::change::GRANT_LIMIT;
use crate::access::decide::Verdict;
use crate::access::facts::{Change, FileMode, PullRequest, PullState};
use crate::access::grant::{Grant, GrantId, GrantRef, State};
use crate::access::in_force::Files;
use crate::github::{Conclusion, GithubError, MergeOutcome, Repository};
use crate::ledger::details::policy_tree;
use crate::mutants::{self, Mutant};
use crate::policy::model::MergeMethod;
use crate::policy::name::{CommitId, RepositoryName, Slug};
use crate::policy::request::path_of;
use crate::store::{Claim, Job, Published, Refusal};

/// How long a revert waits before it looks again whether access is gone.
const ACCESS_FIRST: TimeDelta = TimeDelta::minutes(1);

/// A change the app proposes by itself.
pub(super) struct Proposal {
    /// The branch it is on.
    pub branch: String,
    /// The paths it changes, and what each is to hold; nothing: it is removed.
    pub changes: Vec<(String, Option<Vec<u8>>)>,
    pub title: String,
    pub message: String,
    pub body: String,
}

impl Engine {
    /// Opens the revert pull request of a grant, and merges it once access is gone.
    pub(super) async fn revert(
        &self,
        claim: &Claim,
        repository: &RepositoryName,
        id: &GrantId,
    ) -> Result<(), EngineError> {
        let Some(row) = self.inner.store.grant(repository, id).await? else { return self.done(claim).await };
        let (github, branch) = self.open(repository).await?;
        let head = github.head(&branch).await?;
        let path = path_of(&id.slug);
        let files = self.files(&github, &head).await?;
        let ended = matches!(row.grant.state, State::Ended { .. });
        if files.get(&path).is_none_or(|file| file.blob != row.grant.blob) {
            self.withdraw(&github, row.revert_pull).await?;
            return self.done(claim).await;
        }
        let reason = match &row.grant.state {
            State::Ended { reason, .. } => reason.as_str(),
            _ => "expiry",
        };
        let ledger = self.ledger_trailer(repository).await?;
        let proposal = Proposal {
            branch: format!("{OWN_BRANCH}revert/{}-{}", id.slug, id.pull_request),
            changes: vec![(path.clone(), None)],
            title: words::revert_title(&row.grant),
            message: words::revert_message(&row.grant, reason) + &ledger,
            body: words::revert_body(&row.grant) + &ledger,
        };
        let pull = self.propose(&github, &branch, &head, &proposal, row.revert_pull).await?;
        let now = self.inner.clock.now();
        if row.revert_pull != Some(pull.number) {
            let mut tx = self.inner.store.begin().await?;
            tx.assert_held(claim).await?;
            tx.set_revert_pull(repository, id, Some(pull.number)).await?;
            if !ended {
                let body = answers::ends_soon(&row.grant, pull.number, now);
                self.say(&mut tx, repository, &row.grant, "ends-soon", body, now).await?;
            }
            tx.commit().await?;
        }
        self.approve_own(&github, repository, &pull, &revert_words(&row.grant)).await?;
        if !ended {
            return self.done(claim).await;
        }
        let holder = GrantRef { repository: repository.clone(), id: id.clone() };
        // At expiry access goes first; the merge is the record that it is gone. Who takes it away also calls for the merge, but
        // may die before.
        if !self.is_gone(&holder, &row.grant.entitlements).await? {
            let tx = self.inner.store.begin().await?;
            return self.finish(claim, tx, Some(now + ACCESS_FIRST)).await;
        }
        self.tell(&holder).await?;
        self.merge_own(claim, &github, repository, &pull).await
    }

    /// Takes refused files off the default branch and reports them.
    pub(super) async fn cleanse(&self, claim: &Claim, repository: &RepositoryName) -> Result<(), EngineError> {
        if mutants::is(Mutant::LeaveRefusedFiles) {
            return self.done(claim).await;
        }
        let refusals = self.inner.store.refusals(repository).await?;
        let (github, branch) = self.open(repository).await?;
        for mut refusal in refusals {
            let head = github.head(&branch).await?;
            let files = self.files(&github, &head).await?;
            let there = match refusal.path == FOLDER {
                true => self.stays_refused(repository, &refusal, &files).await?,
                false => files.get(&refusal.path).is_some_and(|file| file.blob.as_str() == refusal.blob),
            };
            if !there {
                let mut tx = self.inner.store.begin().await?;
                tx.forget_refusal(repository, &refusal).await?;
                tx.commit().await?;
                continue;
            }
            self.report(&github, repository, &mut refusal).await?;
            let proposal = self.cleansing(&github, repository, &refusal, &files).await?;
            let pull = self.propose(&github, &branch, &head, &proposal, refusal.revert_pull).await?;
            refusal.revert_pull = Some(pull.number);
            let mut tx = self.inner.store.begin().await?;
            tx.assert_held(claim).await?;
            tx.put_refusal(repository, &refusal).await?;
            tx.commit().await?;
            let title = proposal.title.clone();
            self.approve_own(&github, repository, &pull, &Publication { title, body: proposal.body.clone() }).await?;
            match merge_somehow(&github, &pull).await? {
                MergeOutcome::Merged(_) => {}
                MergeOutcome::HeadMoved => {
                    return Err(EngineError::NotYet(format!("the head of #{} moved", pull.number)));
                }
                MergeOutcome::Refused(why) => {
                    return Err(EngineError::NotYet(format!("GitHub refuses to merge #{}: {why}", pull.number)));
                }
            }
        }
        let mut tx = self.inner.store.begin().await?;
        tx.schedule(&Job::Sync(repository.clone()), self.inner.clock.now()).await?;
        self.finish(claim, tx, None).await
    }

    /// Whether a policy that is not in force is still on the default branch.
    async fn stays_refused(
        &self,
        repository: &RepositoryName,
        refusal: &Refusal,
        files: &Files,
    ) -> Result<bool, EngineError> {
        let newest = self.policies_on_record(repository).await?.pop();
        let in_force = newest.is_none_or(|newest| newest.policy == refusal.blob);
        Ok(!in_force && policy_tree(files).unwrap_or_default() == refusal.blob)
    }

    /// The change that undoes a refused one: back to what was approved, if something was.
    async fn cleansing(
        &self,
        github: &Repository,
        repository: &RepositoryName,
        refusal: &Refusal,
        files: &Files,
    ) -> Result<Proposal, EngineError> {
        let title = words::refusal_title(&refusal.path);
        let message = format!("{title}\n\nDaypass-Reason: unverified\n");
        let (branch, body) = (refusal_branch(refusal), refusal_body(refusal));
        if refusal.path == FOLDER {
            let newest = self.policies_on_record(repository).await?.pop();
            let changes = match &newest {
                Some(newest) => self.restoration(github, newest, files).await?,
                None => Vec::new(),
            };
            return Ok(Proposal { branch, changes, title, message, body });
        }
        let slug = crate::access::change::slug_of(&refusal.path).ok();
        let live = match &slug {
            Some(slug) => self.inner.store.live_grant(repository, slug).await?,
            None => None,
        };
        let content = match live {
            Some(row) => Some(github.blob(&row.grant.blob, GRANT_LIMIT).await?),
            None => None,
        };
        Ok(Proposal { branch, changes: vec![(refusal.path.clone(), content)], title, message, body })
    }

    /// Opens the issue about a refused file, once.
    async fn report(
        &self,
        github: &Repository,
        repository: &RepositoryName,
        refusal: &mut Refusal,
    ) -> Result<(), EngineError> {
        if refusal.issue.is_some() {
            return Ok(());
        }
        let body = refusal_body(refusal);
        refusal.issue = Some(github.create_issue(&words::refusal_title(&refusal.path), &body).await?);
        let mut tx = self.inner.store.begin().await?;
        tx.put_refusal(repository, refusal).await?;
        Ok(tx.commit().await?)
    }

    /// An open pull request with exactly the proposed change on top of `head`: the one there is, or a new one. What is on the
    /// branch is compared, not trusted: people with write access can push to it.
    pub(super) async fn propose(
        &self,
        github: &Repository,
        base: &str,
        head: &CommitId,
        proposal: &Proposal,
        known: Option<u64>,
    ) -> Result<PullRequest, EngineError> {
        let standing = match known {
            Some(number) => Some(github.pull(number).await?),
            None => github.open_pull_of(&proposal.branch).await?,
        };
        // Somebody else's, from a branch of our name, is not what we propose.
        let standing = match standing {
            Some(pull) if pull.state == PullState::Open && !self.is_own(&pull).await? => {
                github.create_comment(pull.number, &words::not_ours(&proposal.branch)).await?;
                github.close_pull(pull.number).await?;
                None
            }
            standing => standing,
        };
        let change: Vec<(&str, Option<&[u8]>)> =
            proposal.changes.iter().map(|(path, content)| (path.as_str(), content.as_deref())).collect();
        if let Some(pull) = standing.filter(|pull| pull.state == PullState::Open) {
            if self.is_exactly(github, head, &pull.head, proposal).await? {
                return Ok(pull);
            }
            let commit = github.commit_files(head, &change, &proposal.message).await?;
            github.update_branch(&proposal.branch, &commit, true).await?;
            return Ok(PullRequest { head: commit, ..pull });
        }
        let commit = github.commit_files(head, &change, &proposal.message).await?;
        self.make_branch(github, (&proposal.branch, base), &commit).await?;
        Ok(github.create_pull(&proposal.title, &proposal.branch, base, &proposal.body).await?)
    }

    /// Makes a branch of our own. A branch of somebody else whose name is a part of its name is in the way, and has no business there;
    /// unless it is the default branch.
    async fn make_branch(
        &self,
        github: &Repository,
        (branch, default): (&str, &str),
        commit: &CommitId,
    ) -> Result<(), EngineError> {
        let made = match github.create_branch(branch, commit).await {
            Err(GithubError::Invalid { message }) => {
                tracing::warn!(branch, message, "the branch cannot be made; what is in its way is removed");
                let parts = branch.match_indices('/').filter_map(|(at, _)| branch.get(..at));
                for name in parts.filter(|name| *name != default) {
                    github.delete_branch(name).await?;
                }
                github.create_branch(branch, commit).await?
            }
            made => made?,
        };
        if !made {
            github.update_branch(branch, commit, true).await?;
        }
        Ok(())
    }

    /// Whether `commit` is on top of `head` and differs from it by nothing but the proposed change.
    async fn is_exactly(
        &self,
        github: &Repository,
        head: &CommitId,
        commit: &CommitId,
        proposal: &Proposal,
    ) -> Result<bool, EngineError> {
        if !github.is_ancestor(head, commit).await? {
            return Ok(false);
        }
        let mut before = self.files(github, head).await?;
        let mut after = self.files(github, commit).await?;
        for (path, content) in &proposal.changes {
            before.remove(path);
            let wanted = content.as_deref().map(blob_of);
            let there = after.remove(path).filter(|file| file.mode == FileMode::Regular);
            if there.map(|file| file.blob.to_string()) != wanted {
                return Ok(false);
            }
        }
        Ok(before == after)
    }

    /// Puts the required check on a pull request of our own.
    async fn approve_own(
        &self,
        github: &Repository,
        repository: &RepositoryName,
        pull: &PullRequest,
        words: &Publication,
    ) -> Result<(), EngineError> {
        let known = self.inner.store.published(repository.as_str(), pull.number).await?;
        if known.head.as_deref() == Some(pull.head.as_str()) && known.check_id.is_some() {
            return Ok(());
        }
        let external_id = crate::github::events::external_id(pull.number);
        let check = plain_check(&pull.head, Conclusion::Success, words, external_id);
        let id = self.publish_check(github, &known, &pull.head, check).await?;
        let mut tx = self.inner.store.begin().await?;
        let published = Published { head: Some(pull.head.to_string()), check_id: Some(id), ..known };
        tx.set_published(repository.as_str(), pull.number, &published).await?;
        Ok(tx.commit().await?)
    }

    async fn merge_own(
        &self,
        claim: &Claim,
        github: &Repository,
        repository: &RepositoryName,
        pull: &PullRequest,
    ) -> Result<(), EngineError> {
        match merge_somehow(github, pull).await? {
            MergeOutcome::Merged(_) => {
                let mut tx = self.inner.store.begin().await?;
                let now = self.inner.clock.now();
                tx.schedule(&Job::Sync(repository.clone()), now).await?;
                // Once more afterwards, to see that the file is gone and to tidy up the branch.
                self.finish(claim, tx, Some(now)).await
            }
            MergeOutcome::HeadMoved => Err(EngineError::NotYet(format!("the head of #{} moved", pull.number))),
            MergeOutcome::Refused(why) => Err(EngineError::NotYet(format!(
                "GitHub refuses to merge #{}: {why}; access is revoked all the same. Put Daypass on the bypass list of the ruleset",
                pull.number
            ))),
        }
    }

    /// Closes a revert pull request that has nothing left to revert, and deletes its branch.
    async fn withdraw(&self, github: &Repository, pull: Option<u64>) -> Result<(), EngineError> {
        let Some(number) = pull else { return Ok(()) };
        let pull = github.pull(number).await?;
        if pull.state == PullState::Open {
            github.close_pull(number).await?;
        }
        if pull.head_branch.starts_with(OWN_BRANCH) {
            github.delete_branch(&pull.head_branch).await?;
        }
        Ok(())
    }

    /// Looks at an open pull request of our own. Its branch can be pushed to by people: what is on it now is judged by what it
    /// changes. One that only takes away is welcome; anything else is refused.
    pub(super) async fn bless(
        &self,
        claim: &Claim,
        github: &Repository,
        repository: &RepositoryName,
        pull: &PullRequest,
    ) -> Result<(), EngineError> {
        let files = github.pull_files(pull.number).await?;
        let refusals = self.inner.store.refusals(repository).await?;
        let restores = refusals.iter().any(|one| one.path == FOLDER && refusal_branch(one) == pull.head_branch)
            && self
                .restores_policy(github, repository, &pull.head, files.iter().map(|file| file.path.as_str()))
                .await?;
        // One proposal, one path: a second file was pushed by somebody else, and could end the access of others.
        let mut foreign = !restores && files.len() > 1;
        for file in files.into_iter().filter(|_| !restores) {
            let slug = crate::access::change::slug_of(&file.path);
            foreign |= match (file.change, slug) {
                (Change::Removed, slug) => {
                    let revert = slug.ok().is_some_and(|slug| is_revert_of(&pull.head_branch, &slug));
                    let refused =
                        |refusal: &Refusal| refusal.path == file.path && refusal_branch(refusal) == pull.head_branch;
                    !revert && !refusals.iter().any(refused)
                }
                (_, Ok(slug)) => {
                    let live = self.inner.store.live_grant(repository, &slug).await?;
                    live.is_none_or(|row| Some(&row.grant.blob) != file.blob.as_ref())
                }
                (_, Err(_)) => true,
            };
        }
        if foreign {
            let words = Publication {
                title: "Somebody pushed to a branch of Daypass".to_owned(),
                body: "This pull request is opened and merged by Daypass alone. Its branch changes something else, so \
                       it is refused; Daypass puts the branch right before it merges.\n"
                    .to_owned(),
            };
            let published = self.publish(github, repository, pull, Some(Verdict::Refused), &[], &words).await?;
            let mut tx = self.inner.store.begin().await?;
            tx.set_published(repository.as_str(), pull.number, &published).await?;
            return self.finish(claim, tx, None).await;
        }
        let words = Publication { title: pull.title.clone(), body: "Daypass takes back what is over.\n".to_owned() };
        self.approve_own(github, repository, pull, &words).await?;
        self.done(claim).await
    }

    pub(super) async fn done(&self, claim: &Claim) -> Result<(), EngineError> {
        let tx = self.inner.store.begin().await?;
        self.finish(claim, tx, None).await
    }
}

/// The branch on which a refused file is taken away.
fn refusal_branch(refusal: &Refusal) -> String {
    let digest = hex::encode(Sha256::digest(format!("{}\n{}\n{}", refusal.path, refusal.blob, refusal.commit)));
    format!("{OWN_BRANCH}refuse/{}", digest.get(..16).unwrap_or("file"))
}

fn refusal_body(refusal: &Refusal) -> String {
    match refusal.path == FOLDER {
        true => words::policy_refusal_body(&refusal.commit, &refusal.reason),
        false => words::refusal_body(&refusal.path, &refusal.commit, &refusal.reason),
    }
}

/// Git's id of a content.
fn blob_of(content: &[u8]) -> String {
    let id = gix::objs::compute_hash(gix::hash::Kind::Sha1, gix::objs::Kind::Blob, content);
    id.map(|id| id.to_string()).unwrap_or_default()
}

/// Whether a branch is the one on which a grant of this file is taken back.
fn is_revert_of(branch: &str, slug: &Slug) -> bool {
    let number = branch.strip_prefix(OWN_BRANCH).and_then(|name| name.strip_prefix(&format!("revert/{slug}-")));
    number.is_some_and(|number| number.parse::<u64>().is_ok())
}

/// Merges a pull request of our own by whichever method the repository allows; a merge commit is what reads best.
async fn merge_somehow(github: &Repository, pull: &PullRequest) -> Result<MergeOutcome, EngineError> {
    let mut first_refusal = None;
    for method in [MergeMethod::Merge, MergeMethod::Squash, MergeMethod::Rebase] {
        match github.merge(pull.number, &pull.head, method).await? {
            MergeOutcome::Refused(why) => drop(first_refusal.get_or_insert(why)),
            outcome => return Ok(outcome),
        }
    }
    Ok(MergeOutcome::Refused(first_refusal.unwrap_or_default()))
}

fn revert_words(grant: &Grant) -> Publication {
    Publication { title: words::revert_title(grant), body: words::revert_body(grant) }
}
