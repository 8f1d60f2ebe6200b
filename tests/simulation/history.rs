//! A history: what people, time and bad luck do, in order. Everything random is in it, so that it can be played again exactly,
//! printed in words, and made shorter.

use std::fmt;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// Who can act. Olga owns the organisation and may push past its rules.
pub const PEOPLE: [&str; 6] = ["alice", "bob", "carol", "dave", "erin", "olga"];
/// What can be asked for; the last one does not exist.
pub const ROLES: [&str; 4] = ["reader", "writer", "helper", "raeder"];
/// The files requests can be in. Few, so that requests get in each other's way.
pub const SLUGS: [&str; 3] = ["one", "two", "three"];
pub const TEAMS: [&str; 3] = ["engineering", "data-platform", "security"];

/// The open request that was opened last.
pub const NEWEST: usize = usize::MAX;

/// One thing that happens.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// A pull request with a request; `start_in` minutes if it is planned.
    Ask {
        who: usize,
        slug: usize,
        role: usize,
        minutes: u32,
        start_in: Option<u32>,
        subject: Option<usize>,
        /// Who is named as a co-author in the message of the commit.
        coauthor: Option<usize>,
        /// As an emergency.
        glass: bool,
    },
    /// Another commit on a pull request.
    Push {
        who: usize,
        pull: usize,
        role: usize,
        minutes: u32,
    },
    Approve {
        who: usize,
        pull: usize,
    },
    Object {
        who: usize,
        pull: usize,
    },
    /// Somebody presses the merge button.
    Merge {
        who: usize,
        pull: usize,
    },
    /// Olga merges an open request past the check, and only then somebody approves it.
    MergeThenApprove {
        pull: usize,
        by: usize,
    },
    /// Olga merges an open request by hand, and the merge says something else.
    MergeOtherContent {
        pull: usize,
        minutes: u32,
    },
    Close {
        pull: usize,
    },
    /// Somebody comments `/daypass deny` on an open request.
    Deny {
        who: usize,
        pull: usize,
    },
    /// A request that was closed is opened again.
    Reopen {
        pull: usize,
    },
    /// Somebody comments `/daypass revoke` on a merged request.
    Revoke {
        who: usize,
        pull: usize,
    },
    /// A pull request that removes a file.
    AskRemoval {
        who: usize,
        slug: usize,
    },
    /// Olga pushes straight to the default branch.
    PushGrant {
        slug: usize,
        role: usize,
        minutes: u32,
        subject: usize,
    },
    PushRemoval {
        slug: usize,
    },
    Leave {
        who: usize,
        team: usize,
    },
    Join {
        who: usize,
        team: usize,
    },
    Wait {
        seconds: u32,
    },
    /// How well GitHub and the database work from now on, in failures per hundred calls.
    Weather {
        github: u32,
        database: u32,
    },
    /// How often a process dies or stands still, per thousand points at which it can; and webhooks lost, per hundred.
    Luck {
        crashes: u32,
        pauses: u32,
        lost: u32,
    },
    /// Whoever calls the database next stands still in the call.
    StandStill,
    /// Another process starts beside those there are.
    Replica,
    /// Olga pushes another policy; or proposes it, dave and erin approve it, and she merges it.
    ChangePolicy {
        to: usize,
        approved: bool,
    },
    /// Somebody sets the clocks of Daypass's machines, ahead of the true time.
    SetClocks {
        minutes: i64,
    },
    LoseDatabase,
    /// Olga sets the default branch back by some commits, with force.
    Rewind {
        commits: usize,
    },
}

/// An action, and the luck of what follows it.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    pub action: Action,
    pub luck: u64,
}

/// The history of a seed.
pub fn history(seed: u64) -> Vec<Event> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut actions = Vec::new();
    match rng.random_ratio(1, 4) {
        true => (0..rng.random_range(10..40)).for_each(|_| actions.push(action(&mut rng))),
        // What takes several people and some time hardly happens by chance: most histories have a plot, and chance gets in its way.
        false => {
            (0..rng.random_range(0..8)).for_each(|_| actions.push(action(&mut rng)));
            for step in plot(&mut rng) {
                if rng.random_ratio(1, 5) {
                    actions.push(action(&mut rng));
                }
                actions.push(step);
            }
            (0..rng.random_range(0..10)).for_each(|_| actions.push(action(&mut rng)));
        }
    }
    actions.into_iter().map(|action| Event { action, luck: rng.random() }).collect()
}

fn ask(who: usize, slug: usize, role: usize, minutes: u32) -> Action {
    Action::Ask { who, slug, role, minutes, start_in: None, subject: None, coauthor: None, glass: false }
}

fn approve(by: usize) -> Action {
    Action::Approve { who: by, pull: NEWEST }
}

/// People who do one thing after the other, to some end.
fn plot(rng: &mut StdRng) -> Vec<Action> {
    let (who, other, slug, role) =
        (rng.random_range(0..3), rng.random_range(1..3), rng.random_range(0..3), rng.random_range(0..3));
    let other = (who + other) % 3;
    let (minutes, wait) = (rng.random_range(5..60), |seconds| Action::Wait { seconds });
    let mut steps = match rng.random_range(0..4) {
        // Under a clear sky; otherwise under the one there is.
        0..3 => vec![Action::Weather { github: 0, database: 0 }, Action::Luck { crashes: 0, pauses: 0, lost: 0 }],
        _ => Vec::new(),
    };
    let asked = [ask(who, slug, role, minutes), approve(3), approve(4)];
    match rng.random_range(0..24) {
        // Planned, and out of the team before it starts; or nothing of the kind.
        0 | 1 => {
            let start_in = Some(rng.random_range(5..60));
            let ask =
                Action::Ask { who, slug, role, minutes: 90, start_in, subject: None, coauthor: None, glass: false };
            steps.extend([ask, approve(3), approve(4)]);
            if rng.random_ratio(2, 3) {
                steps.push(Action::Leave { who, team: 0 });
            }
            steps.extend([wait(1_800), wait(1_800)]);
        }
        // Somebody who is in both teams says yes alone.
        2 => {
            let (by, team) = [(3, 2), (4, 1)][rng.random_range(0..2)];
            steps.extend([Action::Join { who: by, team }, ask(who, slug, 1, minutes), approve(by), wait(61)]);
        }
        3 => {
            let coauthor = Some(3);
            steps.push(Action::Ask {
                who,
                slug,
                role: 0,
                minutes,
                start_in: None,
                subject: None,
                coauthor,
                glass: false,
            });
            steps.extend([approve(3), wait(61)]);
        }
        4 => steps.extend([ask(who, slug, 0, minutes), Action::MergeThenApprove { pull: NEWEST, by: 3 }, wait(61)]),
        5 => {
            let merge = Action::MergeOtherContent { pull: NEWEST, minutes: minutes + 60 };
            steps.extend([ask(who, slug, 1, minutes), approve(3), merge, wait(61)]);
        }
        // Somebody else asks in the place of a grant that nobody but the two of them has a say in.
        6 => steps.extend([ask(who, slug, 2, 90), wait(61), ask(other, slug, 2, 60), wait(61)]),
        // Two grants give the same.
        7 => {
            steps.extend([ask(who, slug, role, 20), approve(3), approve(4)]);
            steps.extend([ask(who, (slug + 1) % 3, role, 140), approve(3), approve(4), wait(1_800)]);
        }
        // What somebody had before.
        8 | 9 => {
            let (who, role) = [(1, 0), (2, 2)][rng.random_range(0..2)];
            steps.extend([ask(who, slug, role, 8), approve(3), wait(600)]);
        }
        // Its end comes while GitHub cannot be reached, or the database.
        10 => {
            steps.extend(asked);
            let (github, database) = [(100, 0), (100, 0), (0, 100), (20, 60)][rng.random_range(0..4)];
            steps.extend([Action::Weather { github, database }, wait(1_800), wait(1_800), wait(600), wait(600)]);
        }
        // Its end, or its beginning, comes while processes die and stand still.
        11 => {
            let luck = Action::Luck { crashes: rng.random_range(0..60), pauses: rng.random_range(0..60), lost: 20 };
            steps.extend([Action::Replica, luck]);
            steps.extend(asked);
            steps.extend([wait(61), wait(1_800), wait(1_800), wait(61)]);
        }
        // Whoever gives it, or takes it away, stands still until it is long over.
        14 | 15 => {
            let (mut before, after) = (vec![Action::Replica, ask(who, slug, role, 5)], vec![approve(3), approve(4)]);
            if rng.random() {
                before.push(Action::StandStill);
                before.extend(after);
            } else {
                before.extend(after);
                before.extend([wait(61), Action::StandStill]);
            }
            steps.extend(before);
            steps.extend([wait(61), wait(600), wait(600), wait(61)]);
        }
        // Half approved, closed and opened again, and then the other half.
        16 => {
            let (first, second) = [(3, 4), (4, 3)][rng.random_range(0..2)];
            let life = [Action::Close { pull: NEWEST }, wait(5), Action::Reopen { pull: NEWEST }, wait(5)];
            steps.extend([ask(who, slug, 1, minutes), approve(first), wait(5)]);
            steps.extend(life);
            steps.extend([approve(second), wait(61)]);
        }
        // Ended by a comment of somebody who may, or may not.
        17 => {
            steps.extend(asked);
            steps.extend([
                wait(61),
                Action::Revoke { who: [who, 3, other][rng.random_range(0..3)], pull: NEWEST },
                wait(61),
            ]);
        }
        // A policy that asks nobody is pushed, or approved, and then somebody asks.
        18 | 19 => {
            let change = Action::ChangePolicy { to: 3, approved: rng.random_ratio(1, 3) };
            steps.extend([change, ask(who, slug, 0, minutes), wait(61), approve(3), wait(61)]);
        }
        // Somebody breaks the glass, who may or may not.
        20 | 21 => {
            let who = [4, who][rng.random_range(0..2)];
            let minutes = rng.random_range(5..35);
            let (start_in, subject, coauthor) = (None, None, None);
            steps.push(Action::Ask { who, slug, role: 0, minutes, start_in, subject, coauthor, glass: true });
            steps.extend([wait(61), wait(600), wait(1_800)]);
        }
        // Two ask for a role that only one may have at a time.
        22 | 23 => {
            steps.extend([ask(who, slug, 1, 90), approve(3), approve(4), wait(61)]);
            steps.extend([ask(other, (slug + 1) % 3, 1, 60), approve(3), approve(4), wait(61)]);
            if rng.random() {
                steps.extend([Action::Merge { who: 5, pull: 0 }, wait(61)]);
            }
        }
        // The database is lost while it runs.
        12 => {
            steps.extend(asked);
            steps.extend([Action::LoseDatabase, wait(600), wait(1_800), wait(1_800)]);
        }
        // It ends early, and history is set back to where it ran.
        _ => {
            steps.extend([ask(who, slug, role, 120), approve(3), approve(4), wait(61)]);
            steps.extend([Action::PushRemoval { slug }, wait(61), Action::Rewind { commits: 1 }, wait(61)]);
        }
    }
    steps
}

fn action(rng: &mut StdRng) -> Action {
    let who = rng.random_range(0..5);
    let pull = rng.random_range(0..6);
    let slug = rng.random_range(0..SLUGS.len());
    let role = if rng.random_ratio(1, 12) { 3 } else { rng.random_range(0..3) };
    // Now and then above the ceiling of four hours.
    let minutes = if rng.random_ratio(1, 10) { 300 } else { rng.random_range(2..150) };
    match rng.random_range(0..100) {
        0..22 => {
            // Mostly those who may.
            let who = [0, 1, 2, 0, 1, 2, who][rng.random_range(0..7)];
            let start_in = rng.random_ratio(1, 3).then(|| rng.random_range(1..90));
            let subject = rng.random_ratio(1, 10).then(|| rng.random_range(0..5));
            let coauthor = rng.random_ratio(1, 15).then(|| rng.random_range(0..5));
            // Erin may break the glass to read; others try.
            let glass = rng.random_ratio(1, 10);
            let (who, role) = if glass { ([4, who][rng.random_range(0..2)], 0) } else { (who, role) };
            let start_in = start_in.filter(|_| !glass);
            Action::Ask { who, slug, role, minutes, start_in, subject, coauthor, glass }
        }
        22..29 => Action::Push { who: [3, 4, who][rng.random_range(0..3)], pull, role, minutes },
        29..49 => Action::Approve { who: [3, 3, 3, 4, 4, who][rng.random_range(0..6)], pull },
        49..51 => Action::Object { who: [3, 4, who][rng.random_range(0..3)], pull },
        51 => Action::Deny { who: [3, 4, who][rng.random_range(0..3)], pull },
        52 => Action::Merge { who: if rng.random() { 5 } else { who }, pull },
        53 => Action::MergeThenApprove { pull, by: [3, 4][rng.random_range(0..2)] },
        54 => Action::MergeOtherContent { pull, minutes },
        55..56 => Action::Close { pull },
        56..57 => Action::Reopen { pull },
        57..58 => Action::Revoke { who, pull },
        58..59 => Action::AskRemoval { who, slug },
        59..61 => Action::PushGrant { slug, role, minutes, subject: who },
        61..62 => Action::PushRemoval { slug },
        // Mostly those who asked: a planned grant must not start for them any more.
        62..66 => {
            let who = [0, 1, 2, who][rng.random_range(0..4)];
            Action::Leave { who, team: [0, 0, 0, 1, 2][rng.random_range(0..5)] }
        }
        66..69 => Action::Join { who, team: rng.random_range(0..TEAMS.len()) },
        69..70 => Action::ChangePolicy { to: rng.random_range(0..4), approved: rng.random_ratio(2, 3) },
        70..71 => Action::SetClocks { minutes: [0, 0, -120, -20, 20, 120][rng.random_range(0..6)] },
        71..72 => Action::Replica,
        72..86 => Action::Wait { seconds: [5, 61, 600, 1_800, 5_400][rng.random_range(0..5)] },
        86..91 => {
            // What GitHub does not let through never comes to the database.
            let github = [0, 0, 0, 5, 10, 40, 100][rng.random_range(0..7)];
            Action::Weather { github, database: [0, 10, 40, 100][rng.random_range(0..4)] }
        }
        91..98 => {
            let often = |rng: &mut StdRng| [0, 5, 20, 60][rng.random_range(0..4)];
            Action::Luck { crashes: often(rng), pauses: often(rng), lost: [0, 20, 100][rng.random_range(0..3)] }
        }
        98 => Action::LoseDatabase,
        _ => Action::Rewind { commits: rng.random_range(1..5) },
    }
}

fn open_request(nth: usize) -> String {
    if nth == NEWEST { "the newest open request".to_owned() } else { format!("open request {nth}") }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ask { who, slug, role, minutes, start_in, subject, coauthor, glass } => {
                write!(f, "{} asks in {} for {} for {minutes} minutes", PEOPLE[*who], SLUGS[*slug], ROLES[*role])?;
                if let Some(minutes) = start_in {
                    write!(f, ", from {minutes} minutes from now")?;
                }
                if let Some(subject) = subject {
                    write!(f, ", for {}", PEOPLE[*subject])?;
                }
                if let Some(coauthor) = coauthor {
                    write!(f, ", written with {}", PEOPLE[*coauthor])?;
                }
                if *glass {
                    f.write_str(", as an emergency")?;
                }
                Ok(())
            }
            Self::Push { who, pull, role, minutes } => {
                write!(f, "{} pushes {} for {minutes} minutes to {}", PEOPLE[*who], ROLES[*role], open_request(*pull))
            }
            Self::Approve { who, pull } => write!(f, "{} approves {}", PEOPLE[*who], open_request(*pull)),
            Self::Object { who, pull } => write!(f, "{} requests changes on {}", PEOPLE[*who], open_request(*pull)),
            Self::MergeThenApprove { pull, by } => {
                write!(f, "olga merges {}, then {} approves it", open_request(*pull), PEOPLE[*by])
            }
            Self::MergeOtherContent { pull, minutes } => {
                write!(f, "olga merges {} by hand, for {minutes} minutes", open_request(*pull))
            }
            Self::Merge { who, pull } => write!(f, "{} presses merge on open pull request {pull}", PEOPLE[*who]),
            Self::Deny { who, pull } => write!(f, "{} denies {}", PEOPLE[*who], open_request(*pull)),
            Self::Close { pull } => write!(f, "{} is closed", open_request(*pull)),
            Self::Reopen { pull: NEWEST } => f.write_str("the request that was closed last is opened again"),
            Self::Reopen { pull } => write!(f, "closed request {pull} is opened again"),
            Self::Revoke { who, pull: NEWEST } => {
                write!(f, "{} comments `/daypass revoke` on the newest merged request", PEOPLE[*who])
            }
            Self::Revoke { who, pull } => {
                write!(f, "{} comments `/daypass revoke` on merged request {pull}", PEOPLE[*who])
            }
            Self::AskRemoval { who, slug } => write!(f, "{} asks to remove {}", PEOPLE[*who], SLUGS[*slug]),
            Self::PushGrant { slug, role, minutes, subject } => write!(
                f,
                "olga pushes to main: {} has {} for {minutes} minutes, in {}",
                PEOPLE[*subject], ROLES[*role], SLUGS[*slug]
            ),
            Self::PushRemoval { slug } => write!(f, "olga removes {} from main", SLUGS[*slug]),
            Self::Leave { who, team } => write!(f, "{} leaves {}", PEOPLE[*who], TEAMS[*team]),
            Self::Join { who, team } => write!(f, "{} joins {}", PEOPLE[*who], TEAMS[*team]),
            Self::Wait { seconds } => write!(f, "{seconds} seconds pass"),
            Self::Weather { github, database } => {
                write!(f, "{github} of 100 calls of GitHub fail, {database} of the database")
            }
            Self::Luck { crashes, pauses, lost } => write!(
                f,
                "Daypass dies at {crashes} and stands still at {pauses} of 1000 points, {lost} of 100 webhooks are lost"
            ),
            Self::StandStill => f.write_str("whoever calls the database next stands still in the call"),
            Self::Replica => f.write_str("another process of Daypass starts"),
            Self::ChangePolicy { to, approved: false } => write!(f, "olga pushes policy {to}"),
            Self::ChangePolicy { to, approved: true } => write!(f, "policy {to} is approved and merged"),
            Self::SetClocks { minutes } => write!(f, "the clocks of Daypass are set {minutes} minutes ahead"),
            Self::LoseDatabase => f.write_str("the database of Daypass is lost"),
            Self::Rewind { commits } => write!(f, "olga sets main back by {commits} commits"),
        }
    }
}

/// The same failure with fewer events: halves, quarters, … are left out for as long as it still fails.
pub async fn shrink<F: Future<Output = bool>>(
    history: Vec<Event>,
    mut fails: impl FnMut(Vec<Event>) -> F,
) -> Vec<Event> {
    let mut history = history;
    let mut size = history.len() / 2;
    while size > 0 {
        let mut at = 0;
        while at < history.len() {
            let mut shorter = history.clone();
            shorter.drain(at..(at + size).min(history.len()));
            if fails(shorter.clone()).await {
                history = shorter;
            } else {
                at += size;
            }
        }
        size /= 2;
    }
    history
}
