//! Approvals that were given and no longer count, because the pull request is not what it was: its head moved on, or it was closed
//! and reopened meanwhile.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::facts::{Account, Dismissal, PullRequest, Review, ReviewState};
use crate::mutants::{self, Mutant};
use crate::policy::name::{CommitId, Login};

/// Why an approval no longer counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forfeit {
    /// It was given for an earlier commit.
    Pushed,
    /// It was given before the pull request was closed and reopened.
    Reopened,
}

/// What is left of a pull request that was reopened: it is as old as that, and nobody has approved it yet. An objection stays; only
/// who made it, or a dismissal, takes it back.
pub fn reopen(pull: &mut PullRequest, reviews: &mut [Review], reopened_at: Option<DateTime<Utc>>) {
    let Some(reopened_at) = reopened_at else { return };
    pull.created_at = pull.created_at.max(reopened_at);
    for review in reviews.iter_mut().filter(|review| is_from_before(review, Some(reopened_at))) {
        review.state = ReviewState::Dismissed;
    }
}

/// Gives back the objections that were dismissed by whoever has a hand in the request: who asks does not take back what others
/// object. `subjects` are those who would get access, as the request names them.
pub fn stand_by(reviews: &mut [Review], dismissals: &[Dismissal], involved: &[&Account], subjects: &[Login]) {
    let theirs = |by: &Account| involved.contains(&by) || subjects.contains(&by.login);
    for review in reviews.iter_mut().filter(|review| review.state == ReviewState::Dismissed) {
        let of_it = |one: &&Dismissal| one.review == review.id && one.was_objection;
        // Of an account that is gone nobody knows whose it was.
        let last = dismissals.iter().rfind(of_it);
        if last.is_some_and(|one| one.by.as_ref().is_none_or(theirs)) {
            review.state = ReviewState::ChangesRequested;
        }
    }
}

/// The approvals that people may take to count, and which do not any more: the latest word of each, if it is a yes. `reviews` as GitHub
/// reports them.
pub fn forfeited<'a>(
    reviews: &'a [Review],
    head: &CommitId,
    reopened_at: Option<DateTime<Utc>>,
) -> Vec<(&'a Review, Forfeit)> {
    let mut latest = BTreeMap::new();
    for review in reviews {
        let Some(author) = review.author.as_ref().filter(|author| !author.bot) else { continue };
        match review.state {
            ReviewState::Commented | ReviewState::Pending | ReviewState::Unknown => {}
            ReviewState::Approved | ReviewState::ChangesRequested | ReviewState::Dismissed => {
                latest.insert(author.id, review);
            }
        }
    }
    let yes = latest.into_values().filter(|review| review.state == ReviewState::Approved);
    yes.filter_map(|review| {
        if is_from_before(review, reopened_at) {
            Some((review, Forfeit::Reopened))
        } else {
            let stale = review.commit.as_ref() != Some(head) && !mutants::is(Mutant::CountStaleReviews);
            stale.then_some((review, Forfeit::Pushed))
        }
    })
    .collect()
}

/// Whether an approval was given before the reopening; in the same second counts as before, and so does one without a time.
fn is_from_before(review: &Review, reopened_at: Option<DateTime<Utc>>) -> bool {
    !mutants::is(Mutant::CountReviewsBeforeReopening)
        && review.state == ReviewState::Approved
        && reopened_at.is_some_and(|reopened| review.submitted_at.is_none_or(|given| given <= reopened))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::name::UserId;

    fn review(id: u64, by: u64, state: ReviewState, commit: char, at: i64) -> Review {
        Review {
            id,
            author: Some(Account { id: UserId(by), login: format!("u{by}").parse().unwrap(), bot: false }),
            state,
            commit: Some(commit.to_string().repeat(40).parse().unwrap()),
            submitted_at: DateTime::from_timestamp(at, 0),
        }
    }

    #[test]
    fn an_objection_is_taken_back_by_others_than_those_who_ask() {
        let account = |id: u64, login: &str| Account { id: UserId(id), login: login.parse().unwrap(), bot: false };
        let (alice, bob, erin) = (account(8, "alice"), account(9, "bob"), account(3, "erin"));
        let after = |by: Option<Account>, was_objection: bool| {
            let mut reviews = [review(1, 1, ReviewState::Dismissed, 'a', 10)];
            stand_by(&mut reviews, &[Dismissal { review: 1, was_objection, by }], &[&alice], &["Bob".parse().unwrap()]);
            reviews[0].state
        };
        assert_eq!(after(Some(alice.clone()), true), ReviewState::ChangesRequested, "she asks");
        assert_eq!(after(Some(bob), true), ReviewState::ChangesRequested, "he would get it");
        assert_eq!(after(None, true), ReviewState::ChangesRequested);
        assert_eq!(after(Some(erin), true), ReviewState::Dismissed);
        assert_eq!(after(Some(alice.clone()), false), ReviewState::Dismissed, "it was no objection");
    }

    #[test]
    fn a_yes_for_another_commit_or_another_life_is_forfeited() {
        use ReviewState::{Approved, ChangesRequested};
        let reviews = [
            review(1, 1, Approved, 'a', 10),
            review(2, 2, Approved, 'b', 10),
            review(3, 3, Approved, 'b', 30),
            review(4, 4, Approved, 'a', 10),
            review(5, 4, ChangesRequested, 'a', 11),
        ];
        let head = "b".repeat(40).parse().unwrap();
        let why = |reopened| -> Vec<(u64, Forfeit)> {
            forfeited(&reviews, &head, reopened).into_iter().map(|(review, why)| (review.id, why)).collect()
        };
        assert_eq!(why(None), [(1, Forfeit::Pushed)]);
        assert_eq!(why(DateTime::from_timestamp(20, 0)), [(1, Forfeit::Reopened), (2, Forfeit::Reopened)]);
    }
}
