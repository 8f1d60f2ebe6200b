//! What must be true, written from the promises and not from the code: who asked, who approved what, when it was merged, and
//! therefore who may have which access now.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};

use crate::history::{PEOPLE, ROLES};

/// The policies of the simulated organisation; the model below says the same in another language. In the second, whoever reads needs
/// two to say yes; in the third, nobody writes; in the fourth, whoever reads needs nobody.
pub fn policy(merge_method: &str, variant: usize) -> String {
    let whole = whole_policy(merge_method);
    match variant {
        1 => whole.replace("approval: one,", "approval: two,"),
        3 => whole.replace("approval: one,", "approval: none,"),
        2 => {
            let (before, rest) = whole.split_once("  writer:").unwrap();
            format!("{before}  helper:{}", rest.split_once("  helper:").unwrap().1)
        }
        _ => whole,
    }
}

/// How many policies there are.
pub const POLICIES: usize = 4;

/// Whose yes a role takes under a policy; nothing: there is no such role.
fn stages(role: usize, policy: usize) -> Option<&'static [&'static str]> {
    match (ROLES[role], policy) {
        ("reader", 1) => Some(&["data-platform", "security"]),
        ("reader", 3) => Some(&[]),
        ("reader", _) => Some(&["data-platform"]),
        ("writer", 2) => None,
        ("writer", _) => Some(&["data-platform", "security"]),
        ("helper", _) => Some(&[]),
        _ => None,
    }
}

fn whole_policy(merge_method: &str) -> String {
    let people: String = PEOPLE.iter().map(|login| format!("  {login}: {{ postgres: {login} }}\n")).collect();
    format!(
        "version: 1\nsettings: {{ max_duration: 4h, merge_method: {merge_method}, policy_approval: two }}\npeople:\n{people}\
         targets: {{ orders-db: postgres, github: github }}\nroles:\n  \
         reader: {{ requesters: [team:engineering], max_duration: 4h, approval: one, \
         break_glass: {{ requesters: [team:security], max_duration: 30m, review_within: 4h }}, \
         entitlements: [{{ postgres: {{ target: orders-db, role: r }} }}] }}\n  \
         writer: {{ requesters: [team:engineering], max_duration: 4h, limit: 1, approval: two, entitlements: \
         [{{ postgres: {{ target: orders-db, role: r }} }}, {{ postgres: {{ target: orders-db, role: w }} }}] }}\n  \
         helper: {{ requesters: [team:engineering], max_duration: 4h, approval: none, entitlements: \
         [{{ postgres: {{ target: orders-db, role: h }} }}, {{ github: {{ target: github, team: docs }} }}] }}\n\
         approvals:\n  none: {{ stages: [] }}\n  one: {{ stages: [{{ name: owner, approvers: [team:data-platform] }}] }}\n  \
         two: {{ stages: [{{ name: owner, approvers: [team:data-platform] }}, \
         {{ name: security, approvers: [team:security] }}] }}\n"
    )
}

/// The roles of the database that a role gives.
pub fn database_roles(role: usize) -> &'static [&'static str] {
    match ROLES[role] {
        "reader" => &["r"],
        "writer" => &["r", "w"],
        "helper" => &["h"],
        _ => &[],
    }
}

/// The team on GitHub that the helper's role gives.
pub const TEAM: &str = "docs";

/// Whether a role gives that role of the database, or that team.
pub fn gives(role: usize, what: &str) -> bool {
    database_roles(role).contains(&what) || what == TEAM && ROLES[role] == "helper"
}

/// One version of a request's file.
#[derive(Debug, Clone)]
pub struct Version {
    pub text: String,
    pub commit: String,
    pub role: usize,
    pub minutes: u32,
    pub start: Option<DateTime<Utc>>,
    pub subject: Option<usize>,
    /// As an emergency.
    pub glass: bool,
}

#[derive(Debug, Clone)]
pub struct Review {
    pub by: usize,
    pub approves: bool,
    pub version: usize,
    /// Given after the merge, or an approval from before the request was reopened: it counts for nothing.
    pub late: bool,
    pub at: DateTime<Utc>,
}

/// A pull request with a request.
#[derive(Debug, Clone)]
pub struct Pull {
    pub number: u64,
    pub author: usize,
    pub slug: usize,
    pub branch: String,
    pub opened: DateTime<Utc>,
    pub versions: Vec<Version>,
    /// Who did, alone or with somebody.
    pub wrote_commits: BTreeSet<usize>,
    pub reviews: Vec<Review>,
    pub open: bool,
    /// The version that was merged, and when.
    pub merged: Option<(usize, DateTime<Utc>)>,
    /// The policy it was merged into.
    pub policy: usize,
    /// The merge said something else than the request.
    pub other_content: bool,
}

/// Everything the model knows.
#[derive(Debug, Default)]
pub struct Model {
    pub pulls: Vec<Pull>,
    /// Teams: who is in them now, and whose membership ever changed.
    pub members: BTreeMap<&'static str, BTreeSet<usize>>,
    pub moved: BTreeSet<(usize, &'static str)>,
    /// When somebody joined or left.
    pub moves: Vec<(DateTime<Utc>, usize, &'static str)>,
    /// The policy in force, and since when which was.
    pub policy: usize,
    /// Whether another one was pushed that nobody approved.
    pub policy_pushed: bool,
    pub policies: Vec<(DateTime<Utc>, usize)>,
    /// Since when the clocks of Daypass were how far ahead.
    pub clocks: Vec<(DateTime<Utc>, TimeDelta)>,
    /// When GitHub did not find what was there.
    pub fog: Vec<DateTime<Utc>>,
    /// When a file was removed on purpose, by a person.
    pub removals: Vec<(usize, DateTime<Utc>)>,
    /// When the default branch was set back.
    pub rewinds: Vec<DateTime<Utc>>,
    /// Whether a database was lost before it had told what was there before a grant. The next one takes it for its own, and takes it
    /// away in the end: better that than access nobody ends.
    pub standing_unknown: bool,
    /// How often the database of Daypass was lost.
    pub databases_lost: u32,
}

impl Model {
    pub fn new() -> Self {
        let members: BTreeMap<_, BTreeSet<usize>> = BTreeMap::from([
            ("engineering", BTreeSet::from([0, 1, 2])),
            ("data-platform", BTreeSet::from([3])),
            ("security", BTreeSet::from([4])),
        ]);
        Self { members, ..Self::default() }
    }

    /// Whether somebody was in a team at some time since then. Daypass may look at any of these times, and at no other.
    fn was_in(&self, team: &str, who: usize, since: DateTime<Utc>) -> bool {
        let is_in = self.members.get(team).is_some_and(|members| members.contains(&who));
        is_in || self.moves.iter().any(|(at, moved, from)| *at >= since && *moved == who && *from == team)
    }

    /// Whether somebody ever was in a team.
    pub fn ever_in(&self, team: &str, who: usize) -> bool {
        self.was_in(team, who, DateTime::<Utc>::MIN_UTC)
    }

    fn never_moved(&self, who: usize) -> bool {
        !self.moved.iter().any(|(moved, _)| *moved == who)
    }

    /// I1: whether the merged version was due. `strictly`: also if everybody's memberships are read at the worst moment.
    pub fn was_due(&self, pull: &Pull, strictly: bool) -> bool {
        let Some((merged, _)) = pull.merged else { return false };
        let version = &pull.versions[merged];
        let subject = version.subject.unwrap_or(pull.author);
        // Whoever may break the glass waits for nobody, and has it for half an hour at most.
        let (team, ceiling) = if version.glass { ("security", 30) } else { ("engineering", 240) };
        let known = if version.glass { ROLES[version.role] == "reader" } else { version.role < 3 };
        let valid = known && version.minutes <= ceiling && subject == pull.author;
        if !valid || pull.other_content || !self.was_in(team, subject, pull.opened) {
            return false;
        }
        if ROLES[version.role] == "writer" && self.is_full(pull, strictly) {
            return false;
        }
        if strictly && self.takes_the_place_of_another(pull) {
            return false;
        }
        if strictly && !(self.never_moved(subject) && self.members[team].contains(&subject)) {
            return false;
        }
        if version.glass {
            return true;
        }
        let latest: BTreeMap<usize, &Review> =
            pull.reviews.iter().filter(|review| !review.late).map(|review| (review.by, review)).collect();
        let involved = |who: &usize| *who == subject || pull.wrote_commits.contains(who);
        let says_yes = |team: &str| -> BTreeSet<usize> {
            let yes = latest.values().filter(|review| review.approves && review.version == merged);
            let counts = |review: &&&Review| {
                let (who, since) = (review.by, review.at);
                !involved(&who) && self.was_in(team, who, since) && (!strictly || self.never_moved(who))
            };
            yes.filter(counts).map(|review| review.by).collect()
        };
        let objects = |team: &str| {
            latest.values().any(|review| {
                let counts = self.was_in(team, review.by, review.at) && !involved(&review.by);
                !review.approves && counts && (strictly || self.never_moved(review.by))
            })
        };
        let due_under = |policy: usize| match stages(version.role, policy) {
            None => false,
            Some([]) => true,
            Some([one]) => !says_yes(one).is_empty() && !objects(one),
            Some(stages) => {
                let yes: Vec<_> = stages.iter().map(|team| says_yes(team)).collect();
                let two = yes[0].iter().any(|one| yes[1].iter().any(|other| one != other));
                two && !stages.iter().any(|team| objects(team))
            }
        };
        match (self.policy_is_certain(), strictly) {
            (true, _) => due_under(pull.policy),
            (false, true) => (0..POLICIES).all(due_under),
            (false, false) => (0..POLICIES).any(due_under),
        }
    }

    /// Whether it is known which policy was in force when. A change is verified when Daypass reads it, by the memberships of then and by
    /// what GitHub finds; what was read may not be on record yet when a database is lost, and what is pushed may be there to be adopted.
    pub fn policy_is_certain(&self) -> bool {
        let changed = !self.policies.is_empty();
        let approvers_moved = self.moved.contains(&(3, "data-platform")) || self.moved.contains(&(4, "security"));
        let doubtful = approvers_moved || !self.fog.is_empty() || !self.rewinds.is_empty();
        !(changed && doubtful) && !((changed || self.policy_pushed) && self.databases_lost > 0)
    }

    /// Whether somebody else had the role when it was merged, of which one grant may run: for certain, or, `perhaps`, maybe.
    fn is_full(&self, pull: &Pull, perhaps: bool) -> bool {
        let (Some((_, at)), Some(window)) = (pull.merged, Self::window(pull)) else { return false };
        let overlap = |other: (DateTime<Utc>, DateTime<Utc>)| other.0 < window.1 && window.0 < other.1;
        let mut others = self.pulls.iter().filter(|other| other.number != pull.number);
        others.any(|other| {
            let Some((version, merged)) = other.merged else { return false };
            let version = &other.versions[version];
            if ROLES[version.role] != "writer" || !Self::window(other).is_some_and(overlap) {
                return false;
            }
            if perhaps {
                return merged <= at && self.was_due(other, false);
            }
            merged < at
                && other.slug != pull.slug
                && version.start.is_none()
                && self.databases_lost == 0
                && self.clocks.is_empty()
                && !self.may_have_ended_early(other)
                && !self.may_be_refused(other)
                && !self.may_be_unseen(other)
                && self.was_due(other, true)
        })
    }

    /// Whether its file may have held a running grant of somebody else when it was merged. Such a request is refused, unless who
    /// asks may end that grant.
    fn takes_the_place_of_another(&self, pull: &Pull) -> bool {
        let Some((_, at)) = pull.merged else { return false };
        self.pulls.iter().any(|other| {
            let runs = Self::window(other).is_some_and(|(_, end)| at < end);
            let earlier = other.merged.is_some_and(|(_, merged)| merged <= at);
            other.number != pull.number && other.slug == pull.slug && other.author != pull.author && runs && earlier
        })
    }

    /// Whether it was merged in the place of a running grant of somebody else, without a word of anybody who may end that one.
    fn surely_ends_anothers(&self, pull: &Pull, now: DateTime<Utc>) -> bool {
        let Some((_, at)) = pull.merged else { return false };
        let may_say_so = |who: usize| self.ever_in("data-platform", who) || self.ever_in("security", who);
        let spoken = pull.reviews.iter().any(|review| review.approves);
        // Clocks that are wrong, or a new database, may not know that it runs.
        if spoken || may_say_so(pull.author) || !self.clocks.is_empty() || self.databases_lost > 0 {
            return false;
        }
        self.pulls.iter().any(|other| {
            let Some((version, merged)) = other.merged else { return false };
            let Some((start, end)) = Self::window(other) else { return false };
            let untouched = !self.removals.iter().any(|(slug, time)| *slug == pull.slug && *time >= merged)
                && !self.pulls.iter().any(|third| {
                    let since = third.merged.is_some_and(|(_, time)| time >= merged);
                    third.number != other.number && third.number != pull.number && third.slug == pull.slug && since
                });
            other.number != pull.number
                && other.slug == pull.slug
                && other.author != pull.author
                && other.versions[version].start.is_none()
                && start < at
                && now < end
                && untouched
                && self.was_due(other, true)
                && !self.may_be_refused(other)
        })
    }

    /// Whether somebody's access by a grant on record must not be taken away at `now`, whatever else ends.
    pub fn surely_keeps(&self, what: &str, login: &str, now: DateTime<Utc>, granted: &BTreeSet<u64>) -> bool {
        self.databases_lost == 0
            && self.pulls.iter().filter(|pull| granted.contains(&pull.number)).any(|pull| {
                let Some((start, end)) = Self::window(pull) else { return false };
                let version = &pull.versions[pull.merged.map_or(0, |(merged, _)| merged)];
                PEOPLE[version.subject.unwrap_or(pull.author)] == login
                    && gives(version.role, what)
                    && version.start.is_none()
                    && start <= now
                    && now < end
                    && self.was_due(pull, true)
                    && !self.may_have_ended_early(pull)
                    && !self.may_be_refused(pull)
            })
    }

    /// When the last request that was due and gives it to them is over; nothing, if none ever was.
    pub fn last_end(&self, what: &str, login: &str) -> Option<DateTime<Utc>> {
        let due = self.pulls.iter().filter(|pull| self.was_due(pull, false));
        let gives = due.filter(|pull| {
            let version = &pull.versions[pull.merged.map_or(0, |(merged, _)| merged)];
            PEOPLE[version.subject.unwrap_or(pull.author)] == login && gives(version.role, what)
        });
        gives.filter_map(|pull| Some(Self::window(pull)?.1)).max()
    }

    /// When access by a merged pull request begins and ends.
    pub fn window(pull: &Pull) -> Option<(DateTime<Utc>, DateTime<Utc>)> {
        let (merged, at) = pull.merged?;
        let version = &pull.versions[merged];
        let start = version.start.map_or(at, |start| start.max(at));
        Some((start, start + TimeDelta::minutes(version.minutes.into())))
    }

    /// Whether somebody may be given a role of the database, or the team, at `now`, by a request whose grant is not `over`.
    pub fn justifies(&self, role: &str, login: &str, now: DateTime<Utc>, over: &BTreeSet<u64>) -> bool {
        self.pulls.iter().filter(|pull| !over.contains(&pull.number)).any(|pull| {
            let Some((start, end)) = Self::window(pull) else { return false };
            let version = &pull.versions[pull.merged.map_or(0, |(merged, _)| merged)];
            let subject = version.subject.unwrap_or(pull.author);
            PEOPLE[subject] == login
                && gives(version.role, role)
                && start <= now
                && now < end + self.clocks_behind(now)
                && self.was_due(pull, false)
                && !self.surely_ends_anothers(pull, now)
                && (version.start.is_none() || self.could_start(version.role, subject, start, now))
        })
    }

    /// Whether a planned grant was still allowed at some time since its start.
    fn could_start(&self, role: usize, subject: usize, start: DateTime<Utc>, now: DateTime<Utc>) -> bool {
        let times = self.moves.iter().map(|(at, ..)| *at).chain(self.policies.iter().map(|(at, _)| *at));
        let times = times.flat_map(|at| [at - TimeDelta::milliseconds(1), at]);
        times.filter(|at| start < *at && *at <= now).chain([start, now]).any(|at| {
            let mut policies = self.policies.iter().filter(|(since, _)| *since <= at).map(|(_, policy)| *policy);
            let policy = policies.next_back().unwrap_or(0);
            let moved_later = |at: DateTime<Utc>| {
                let moves = self
                    .moves
                    .iter()
                    .filter(|(time, who, team)| *time > at && *who == subject && *team == "engineering");
                moves.count() % 2 == 1
            };
            let is_member = self.members["engineering"].contains(&subject) != moved_later(at);
            let exists = match self.policy_is_certain() {
                true => stages(role, policy).is_some(),
                false => (0..POLICIES).any(|policy| stages(role, policy).is_some()),
            };
            exists && is_member
        })
    }

    /// How far behind the clocks of Daypass were at worst, lately or before.
    pub fn clocks_behind(&self, now: DateTime<Utc>) -> TimeDelta {
        let before = self.clocks.iter().filter(|(since, _)| *since <= now);
        before.map(|(_, ahead)| -*ahead).max().unwrap_or(TimeDelta::zero()).max(TimeDelta::zero())
    }

    /// Whether something kept Daypass from seeing for certain what was true: it rather gives too little.
    pub fn may_be_refused(&self, pull: &Pull) -> bool {
        let Some((version, at)) = pull.merged else { return true };
        let planned = pull.versions[version].start.is_some() && !self.policies.is_empty();
        planned || self.fog.iter().any(|fog| *fog >= at)
    }

    /// The pull request that a file's content came from.
    pub fn origin(&self, slug: usize, text: &str) -> Option<&Pull> {
        self.pulls
            .iter()
            .find(|pull| pull.slug == slug && pull.merged.is_some_and(|(merged, _)| pull.versions[merged].text == text))
    }

    /// Whether the default branch may have been set back before Daypass read a merge.
    pub fn may_be_unseen(&self, pull: &Pull) -> bool {
        pull.merged.is_some_and(|(_, at)| self.rewinds.iter().any(|rewind| *rewind >= at))
    }

    /// Whether something ended a grant before its time: its file was removed or replaced by another request.
    pub fn may_have_ended_early(&self, pull: &Pull) -> bool {
        let Some((_, at)) = pull.merged else { return true };
        let removed = self.removals.iter().any(|(slug, time)| *slug == pull.slug && *time >= at);
        let replaced = self.pulls.iter().any(|other| {
            other.number != pull.number && other.slug == pull.slug && other.merged.is_some_and(|(_, time)| time >= at)
        });
        let ahead = self.clocks.iter().any(|(_, ahead)| *ahead > TimeDelta::zero());
        removed || replaced || ahead
    }
}
