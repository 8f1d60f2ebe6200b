//! Plays a history: people act through GitHub's API, Daypass is stepped, killed and restarted, and the model looks on.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, TimeDelta, Utc};
use daypass::sandbox::Delivery;
use http::Method;
use serde_json::{Value, json};

use crate::history::{Action, Event, NEWEST, PEOPLE, ROLES, SLUGS, TEAMS};
use crate::ledger::Seen;
use crate::model::{Model, Pull, Review, TEAM, Version, gives, policy};
use crate::processes::Processes;
use crate::sky::{FOG, Sky};
use crate::support::world::World;

/// Bob may read the orders for ever, by somebody else's decision.
pub const STANDING: (&str, &str) = ("r", "bob");
/// So is carol in the team.
pub const STANDING_IN_TEAM: &str = "carol";

/// Whether somebody had it before Daypass.
pub fn is_standing(what: &str, login: &str) -> bool {
    (what, login) == STANDING || (what, login) == (TEAM, STANDING_IN_TEAM)
}

/// What a history came to.
pub struct Outcome {
    /// What was wrong, if anything.
    pub failure: Option<String>,
    /// Which promises that breaks: `I5`. Whatever goes wrong after the database was lost breaks I6, too.
    pub broken: Vec<String>,
    /// What was injected, by kind.
    pub counts: BTreeMap<&'static str, u64>,
}

/// Plays a history from the beginning; what is said to GitHub is recorded there.
pub async fn play_recorded(history: &[Event], record: Option<PathBuf>) -> Outcome {
    let first = history.first().map_or(0, |event| event.luck);
    let method = ["merge", "squash", "rebase"][usize::try_from(first % 3).unwrap()];
    let world = World::recorded(record, |files| {
        files.retain(|path, _| !path.starts_with("policies/"));
        files.insert("policies/all.yaml".to_owned(), policy(method, 0).into_bytes());
    })
    .await;
    world.orders.add(STANDING.0, STANDING.1);
    world.sandbox.add_to_team(TEAM, STANDING_IN_TEAM).unwrap();
    world.go_manual(true);
    let sky = Sky::over(&world);
    let probe = sky.probe();
    // In half of the histories there is one process at a time, and it knows that.
    let alone = first.is_multiple_of(2);
    world.put_around_store(Arc::new(move |store| {
        let store = store.probed(probe.clone());
        if alone { store } else { store.shared() }
    }));
    world.restart().await;
    let mut player = Player {
        world,
        sky,
        model: Model::new(),
        method,
        processes: Processes::new(alone),
        post: Vec::new(),
        calls_seen: 0,
        team_seen: BTreeSet::from([STANDING_IN_TEAM]),
        resumed: 0,
        troubles: (0, 0),
        trouble_at: (DateTime::UNIX_EPOCH, DateTime::UNIX_EPOCH),
        removal_pulls: Vec::new(),
        seen: Vec::new(),
        asked: 0,
    };
    let failure = player.all(history).await.err();
    if failure.is_some() {
        for event in player.world.engine().store().events().await.unwrap_or_default() {
            tracing::info!("on record at {}: {} {}", event.at.format("%H:%M:%S"), event.kind.as_str(), event.details);
        }
    }
    let mut broken: Vec<String> = failure.iter().map(|failure| promise_of(failure).to_owned()).collect();
    if failure.is_some() && player.model.databases_lost > 0 {
        broken.push("I6".to_owned());
    }
    Outcome { failure, broken, counts: player.sky.counts() }
}

/// Which promise a failure is about: `I5`.
pub fn promise_of(failure: &str) -> &str {
    let told =
        failure.strip_prefix("after event ").and_then(|rest| rest.split_once(": ")).map_or(failure, |(_, told)| told);
    told.split(':').next().unwrap_or_default()
}

/// Plays a history from the beginning.
pub async fn play(history: &[Event]) -> Outcome {
    play_recorded(history, None).await
}

pub struct Player {
    pub world: World,
    pub sky: Arc<Sky>,
    pub model: Model,
    /// How pull requests are merged.
    method: &'static str,
    /// The processes of Daypass beside the one webhooks reach.
    pub processes: Processes,
    /// Webhooks on their way.
    pub post: Vec<Delivery>,
    /// How many calls of the database were looked at.
    pub calls_seen: usize,
    /// Who was in the team when it was last looked at.
    pub team_seen: BTreeSet<&'static str>,
    /// How often a process had gone on when the model last looked.
    pub resumed: u64,
    /// How much went wrong so far, and when it last did: without GitHub, and on GitHub.
    troubles: (u64, u64),
    pub trouble_at: (DateTime<Utc>, DateTime<Utc>),
    /// Pull requests that remove a file: number and slug.
    pub removal_pulls: Vec<(u64, usize)>,
    /// What the targets were seen to give and to take.
    pub seen: Vec<Seen>,
    asked: usize,
}

impl Player {
    async fn all(&mut self, history: &[Event]) -> Result<(), String> {
        for (index, event) in history.iter().enumerate() {
            self.sky.seed(event.luck);
            tracing::info!("{} {index}. {}", self.world.now().format("%H:%M:%S"), event.action);
            self.act(&event.action).await;
            self.note_trouble();
            // Often enough there is time for everything, and often too little.
            let steps = if self.sky.draw(3) == 0 { self.sky.draw(12) } else { 150 };
            self.bustle(steps).await.map_err(|wrong| format!("after event {index}: {wrong}"))?;
        }
        self.come_to_rest().await
    }

    // ---- people ----

    pub async fn call(&self, who: usize, method: Method, path: &str, body: Value) -> Option<Value> {
        let (status, value) = self.world.call(PEOPLE[who], method, &format!("/repos/acme/access{path}"), body).await;
        status.is_success().then_some(value)
    }

    async fn act(&mut self, action: &Action) {
        match action.clone() {
            Action::Ask { who, slug, role, minutes, start_in, subject, coauthor, glass } => {
                let start = start_in.map(|minutes| self.world.now() + TimeDelta::minutes(minutes.into()));
                let mut version = self.version(who, role, minutes, start, subject);
                if glass {
                    self.sky.count("emergency asked for");
                    version.text.push_str("break_glass: true\n");
                    version.glass = true;
                }
                self.ask(who, slug, version, coauthor).await;
            }
            Action::Push { who, pull, role, minutes } => self.push(who, pull, role, minutes).await,
            Action::Approve { who, pull } => self.review(who, pull, true).await,
            Action::Object { who, pull } => self.review(who, pull, false).await,
            Action::Merge { who, pull } => self.merge(who, pull).await,
            Action::MergeThenApprove { pull, by } => self.merge_then_approve(pull, by).await,
            Action::MergeOtherContent { pull, minutes } => self.merge_other_content(pull, minutes).await,
            Action::Close { pull } => {
                if let Some(index) = self.open_pull(pull) {
                    let number = self.model.pulls[index].number;
                    self.call(5, Method::PATCH, &format!("/pulls/{number}"), json!({ "state": "closed" })).await;
                }
            }
            Action::Deny { who, pull } => {
                if let Some(index) = self.open_pull(pull) {
                    self.sky.count("denied by a comment");
                    let path = format!("/issues/{}/comments", self.model.pulls[index].number);
                    self.call(who, Method::POST, &path, json!({ "body": "/daypass deny not today" })).await;
                }
            }
            Action::Reopen { pull } => self.reopen(pull).await,
            Action::Revoke { who, pull } => self.revoke(who, pull).await,
            Action::AskRemoval { who, slug } => self.ask_removal(who, slug).await,
            Action::PushGrant { slug, role, minutes, subject } => {
                let text = format!(
                    "role: {}\nduration: {minutes}m\nreason: pushed\nsubject: {}\n",
                    ROLES[role], PEOPLE[subject]
                );
                self.write(5, "main", slug, &text).await;
            }
            Action::PushRemoval { slug } => {
                if self.remove(5, "main", slug).await {
                    self.model.removals.push((slug, self.world.now()));
                }
            }
            Action::Leave { who, team } => {
                self.world.sandbox.remove_from_team(TEAMS[team], PEOPLE[who]).unwrap();
                if self.model.members.get_mut(TEAMS[team]).unwrap().remove(&who) {
                    self.model.moves.push((self.world.now(), who, TEAMS[team]));
                    self.model.moved.insert((who, TEAMS[team]));
                }
            }
            Action::Join { who, team } => {
                self.world.sandbox.add_to_team(TEAMS[team], PEOPLE[who]).unwrap();
                if self.model.members.get_mut(TEAMS[team]).unwrap().insert(who) {
                    self.model.moves.push((self.world.now(), who, TEAMS[team]));
                    self.model.moved.insert((who, TEAMS[team]));
                }
            }
            Action::Wait { seconds } => self.world.advance(TimeDelta::seconds(seconds.into())),
            Action::Weather { github, database } => self.sky.set_weather(github, database),
            Action::Luck { crashes, pauses, lost } => {
                self.sky.set_luck(crashes, if self.processes.alone { 0 } else { pauses }, lost);
            }
            Action::StandStill if self.processes.alone => {}
            Action::StandStill => self.sky.stand_still(),
            Action::Replica => self.processes.start(&self.world, &self.sky).await,
            Action::ChangePolicy { to, approved } => self.change_policy(to, approved).await,
            Action::SetClocks { minutes } => {
                self.sky.count("clocks set");
                let ahead = TimeDelta::minutes(minutes);
                self.world.set_machine_clocks(ahead);
                self.model.clocks.push((self.world.now(), ahead));
            }
            Action::LoseDatabase => {
                self.sky.count("database lost");
                self.model.databases_lost += 1;
                self.observe().await;
                self.model.standing_unknown |= self.standing_is_untold().await;
                self.processes.stop_all().await;
                self.world.lose_the_database().await;
            }
            Action::Rewind { commits } => self.rewind(commits).await,
        }
    }

    /// Sets the default branch back. Whatever that takes away is removed on purpose. Requests that are open are closed first:
    /// their branches would carry along what was taken away, and ask for all of it.
    async fn rewind(&mut self, commits: usize) {
        self.sky.count("history rewritten");
        let requests = self.model.pulls.iter().filter(|pull| pull.open).map(|pull| pull.number);
        let numbers: Vec<u64> = requests.chain(self.removal_pulls.iter().map(|(number, _)| *number)).collect();
        for number in numbers {
            // One that is merged stays so.
            self.call(5, Method::PATCH, &format!("/pulls/{number}"), json!({ "state": "closed" })).await;
        }
        let head = self.world.get("/git/ref/heads/main").await;
        let mut commit = head["object"]["sha"].as_str().unwrap().to_owned();
        for _ in 0..commits {
            let parents = self.world.get(&format!("/git/commits/{commit}")).await["parents"].clone();
            match parents[0]["sha"].as_str() {
                Some(parent) => commit = parent.to_owned(),
                None => break,
            }
        }
        self.call(5, Method::PATCH, "/git/refs/heads/main", json!({ "sha": commit, "force": true })).await.unwrap();
        let now = self.world.now();
        self.model.removals.extend((0..SLUGS.len()).map(|slug| (slug, now)));
        self.model.rewinds.push(now);
    }

    /// Olga changes the policy: past the rules, or in the way it is meant.
    async fn change_policy(&mut self, to: usize, approved: bool) {
        let path = "/contents/policies/all.yaml";
        self.asked += 1;
        let branch = if approved { format!("policy-{}", self.asked) } else { "main".to_owned() };
        if approved {
            self.branch(5, &branch).await;
        }
        let Some(old) = self.call(5, Method::GET, &format!("{path}?ref={branch}"), Value::Null).await else { return };
        // What was merged before was merged into the policy before.
        self.observe().await;
        let text = policy(self.method, to);
        let body =
            json!({ "message": "Change", "content": STANDARD.encode(&text), "branch": branch, "sha": old["sha"] });
        if self.call(5, Method::PUT, path, body).await.is_none() {
            return;
        }
        if !approved {
            self.sky.count("policy pushed");
            self.model.policy_pushed = true;
            return;
        }
        let Some(number) = self.open(5, &branch).await else { return };
        for by in [3, 4] {
            let body = json!({ "event": "APPROVE", "body": "read" });
            self.call(by, Method::POST, &format!("/pulls/{number}/reviews"), body).await.unwrap();
        }
        if self.call(5, Method::PUT, &format!("/pulls/{number}/merge"), json!({})).await.is_some() {
            self.sky.count("policy changed");
            self.model.policy = to;
            self.model.policies.push((self.world.now(), to));
        }
    }

    /// What the policy on the default branch says.
    pub async fn policy_on_main(&self) -> Option<String> {
        let file = self.call(5, Method::GET, "/contents/policies/all.yaml?ref=main", Value::Null).await?;
        let encoded: String = file["content"].as_str()?.split_whitespace().collect();
        String::from_utf8(STANDARD.decode(encoded).ok()?).ok()
    }

    /// What the policy in force says, as far as the model knows.
    pub fn policy_in_force(&self) -> Option<String> {
        self.model.policy_is_certain().then(|| policy(self.method, self.model.policy))
    }

    /// Whether a merged request gives what somebody had before, and nobody has told so yet.
    async fn standing_is_untold(&self) -> bool {
        for pull in &self.model.pulls {
            let Some((version, _)) = pull.merged else { continue };
            let version = &pull.versions[version];
            let subject = PEOPLE[version.subject.unwrap_or(pull.author)];
            let is_standing =
                [STANDING.0, TEAM].iter().any(|what| gives(version.role, what) && is_standing(what, subject));
            let told = self.world.comments(pull.number).await.iter().any(|text| text.contains("was there before"));
            if is_standing && !told {
                return true;
            }
        }
        false
    }

    /// The index of an open request, if there is one.
    fn open_pull(&self, nth: usize) -> Option<usize> {
        let open: Vec<usize> = (0..self.model.pulls.len()).filter(|&index| self.model.pulls[index].open).collect();
        match nth {
            NEWEST => open.last().copied(),
            _ => (!open.is_empty()).then(|| open[nth % open.len()]),
        }
    }

    /// The index of a request for which that is so, by its place among them.
    fn nth(&self, nth: usize, which: impl Fn(&Pull) -> bool) -> Option<usize> {
        let found: Vec<usize> = (0..self.model.pulls.len()).filter(|&index| which(&self.model.pulls[index])).collect();
        match nth {
            NEWEST => found.last().copied(),
            _ => (!found.is_empty()).then(|| found[nth % found.len()]),
        }
    }

    /// Opens a closed request again. What was approved before is not approved any more; objections stand.
    async fn reopen(&mut self, nth: usize) {
        // After history was set back, its branch would carry along what was taken away.
        let again = self.model.rewinds.is_empty();
        let Some(index) = self.nth(nth, |pull| again && !pull.open && pull.merged.is_none()) else { return };
        let path = format!("/pulls/{}", self.model.pulls[index].number);
        if self.call(5, Method::PATCH, &path, json!({ "state": "open" })).await.is_some() {
            self.sky.count("request reopened");
            let pull = &mut self.model.pulls[index];
            pull.open = true;
            pull.reviews.iter_mut().filter(|review| review.approves).for_each(|review| review.late = true);
            // GitHub tells times by the second: an approval in the same one counts as before.
            self.world.advance(TimeDelta::seconds(2));
        }
    }

    /// Comments that access should end. Whoever may say so, may have ended it.
    async fn revoke(&mut self, who: usize, nth: usize) {
        let Some(index) = self.nth(nth, |pull| pull.merged.is_some()) else { return };
        let (number, slug, author) =
            (self.model.pulls[index].number, self.model.pulls[index].slug, self.model.pulls[index].author);
        let body = json!({ "body": "Done.\n\n/daypass revoke" });
        if self.call(who, Method::POST, &format!("/issues/{number}/comments"), body).await.is_some() {
            self.sky.count("revoked by a comment");
            let may = who == author || ["data-platform", "security"].iter().any(|team| self.model.ever_in(team, who));
            if may {
                self.model.removals.push((slug, self.world.now()));
            }
        }
    }

    fn version(
        &mut self,
        who: usize,
        role: usize,
        minutes: u32,
        start: Option<DateTime<Utc>>,
        subject: Option<usize>,
    ) -> Version {
        self.asked += 1;
        let mut text =
            format!("role: {}\nduration: {minutes}m\nreason: number {} by {}\n", ROLES[role], self.asked, PEOPLE[who]);
        if let Some(start) = start {
            text.push_str(&format!("start: {}\n", start.format("%Y-%m-%dT%H:%M:%SZ")));
        }
        if let Some(subject) = subject {
            text.push_str(&format!("subject: {}\n", PEOPLE[subject]));
        }
        Version { text, commit: String::new(), role, minutes, start, subject, glass: false }
    }

    async fn ask(&mut self, who: usize, slug: usize, mut version: Version, coauthor: Option<usize>) {
        let branch = format!("ask-{}", self.asked);
        self.branch(who, &branch).await;
        let message = match coauthor.map(|coauthor| PEOPLE[coauthor]) {
            Some(login) => format!("Write\n\nCo-authored-by: {login} <{login}@users.noreply.github.com>\n"),
            None => "Write".to_owned(),
        };
        let Some(commit) = self.write_as(who, &branch, slug, &version.text, &message).await else { return };
        version.commit = commit;
        let Some(number) = self.open(who, &branch).await else { return };
        self.model.pulls.push(Pull {
            number,
            author: who,
            slug,
            branch,
            opened: self.world.now(),
            versions: vec![version],
            wrote_commits: coauthor.into_iter().chain([who]).collect(),
            reviews: Vec::new(),
            open: true,
            merged: None,
            policy: 0,
            other_content: false,
        });
    }

    async fn branch(&self, who: usize, branch: &str) {
        let head = self.call(who, Method::GET, "/git/ref/heads/main", Value::Null).await.unwrap();
        let body = json!({ "ref": format!("refs/heads/{branch}"), "sha": head["object"]["sha"] });
        self.call(who, Method::POST, "/git/refs", body).await.unwrap();
    }

    async fn open(&self, who: usize, branch: &str) -> Option<u64> {
        let body = json!({ "title": branch, "head": branch, "base": "main" });
        self.call(who, Method::POST, "/pulls", body).await.and_then(|pull| pull["number"].as_u64())
    }

    /// Writes a file; the commit, if GitHub took it.
    async fn write(&self, who: usize, branch: &str, slug: usize, text: &str) -> Option<String> {
        self.write_as(who, branch, slug, text, "Write").await
    }

    /// The same, with something to say about it.
    async fn write_as(&self, who: usize, branch: &str, slug: usize, text: &str, message: &str) -> Option<String> {
        let path = format!("/contents/grants/{}.yaml", SLUGS[slug]);
        let old = self.call(who, Method::GET, &format!("{path}?ref={branch}"), Value::Null).await;
        let mut body = json!({ "message": message, "content": STANDARD.encode(text), "branch": branch });
        if let Some(old) = old {
            body["sha"] = old["sha"].clone();
        }
        let done = self.call(who, Method::PUT, &path, body).await?;
        done["commit"]["sha"].as_str().map(str::to_owned)
    }

    async fn remove(&self, who: usize, branch: &str, slug: usize) -> bool {
        let path = format!("/contents/grants/{}.yaml", SLUGS[slug]);
        let Some(old) = self.call(who, Method::GET, &format!("{path}?ref={branch}"), Value::Null).await else {
            return false;
        };
        let body = json!({ "message": "Remove", "sha": old["sha"], "branch": branch });
        self.call(who, Method::DELETE, &path, body).await.is_some()
    }

    async fn ask_removal(&mut self, who: usize, slug: usize) {
        self.asked += 1;
        let branch = format!("remove-{}", self.asked);
        self.branch(who, &branch).await;
        if self.remove(who, &branch, slug).await {
            let number = self.open(who, &branch).await;
            self.removal_pulls.extend(number.map(|number| (number, slug)));
        }
    }

    async fn push(&mut self, who: usize, nth: usize, role: usize, minutes: u32) {
        let Some(index) = self.open_pull(nth) else { return };
        let (branch, slug) = (self.model.pulls[index].branch.clone(), self.model.pulls[index].slug);
        let mut version = self.version(who, role, minutes, None, None);
        let Some(commit) = self.write(who, &branch, slug, &version.text).await else { return };
        version.commit = commit;
        let pull = &mut self.model.pulls[index];
        pull.versions.push(version);
        pull.wrote_commits.insert(who);
    }

    async fn review(&mut self, by: usize, nth: usize, approves: bool) {
        let Some(index) = self.open_pull(nth) else { return };
        let event = if approves { "APPROVE" } else { "REQUEST_CHANGES" };
        let at = self.world.now();
        let path = format!("/pulls/{}/reviews", self.model.pulls[index].number);
        if self.call(by, Method::POST, &path, json!({ "event": event, "body": "read" })).await.is_some() {
            let pull = &mut self.model.pulls[index];
            pull.reviews.push(Review { by, approves, version: pull.versions.len() - 1, late: false, at });
        }
    }

    /// Olga merges past the check; Daypass sees it only after somebody said yes to what was merged already.
    async fn merge_then_approve(&mut self, nth: usize, by: usize) {
        let Some(index) = self.open_pull(nth) else { return };
        let number = self.model.pulls[index].number;
        if self.call(5, Method::PUT, &format!("/pulls/{number}/merge"), json!({})).await.is_none() {
            return;
        }
        self.observe().await;
        self.world.advance(TimeDelta::seconds(5));
        let at = self.world.now();
        let body = json!({ "event": "APPROVE", "body": "read" });
        if self.call(by, Method::POST, &format!("/pulls/{number}/reviews"), body).await.is_some() {
            let pull = &mut self.model.pulls[index];
            pull.reviews.push(Review { by, approves: true, version: pull.versions.len() - 1, late: true, at });
            self.sky.count("review after the merge");
        }
    }

    /// Olga merges on her own machine, and has the file say something else.
    async fn merge_other_content(&mut self, nth: usize, minutes: u32) {
        let Some(index) = self.open_pull(nth) else { return };
        let (role, slug) = (self.model.pulls[index].versions[0].role, self.model.pulls[index].slug);
        let text = self.version(5, role, minutes, None, None).text;
        let pull = self.call(5, Method::GET, &format!("/pulls/{}", self.model.pulls[index].number), Value::Null).await;
        let main = self.call(5, Method::GET, "/git/ref/heads/main", Value::Null).await;
        let (Some(pull), Some(main)) = (pull, main) else { return };
        let main = &main["object"]["sha"];
        let path = format!("grants/{}.yaml", SLUGS[slug]);
        let entry = json!({ "path": path, "mode": "100644", "type": "blob", "content": text });
        let tree = self.call(5, Method::POST, "/git/trees", json!({ "base_tree": main, "tree": [entry] })).await;
        let body = json!({
            "message": "Merge", "tree": tree.unwrap()["sha"], "parents": [main, pull["head"]["sha"]],
        });
        let commit = self.call(5, Method::POST, "/git/commits", body).await.unwrap();
        if self.call(5, Method::PATCH, "/git/refs/heads/main", json!({ "sha": commit["sha"] })).await.is_some() {
            self.model.pulls[index].other_content = true;
            self.sky.count("merge with other content");
        }
    }

    /// Presses the merge button of any open pull request, reverts included.
    async fn merge(&mut self, who: usize, nth: usize) {
        let Some(pulls) = self.call(5, Method::GET, "/pulls?state=open&per_page=100", Value::Null).await else {
            return;
        };
        let pulls = pulls.as_array().unwrap();
        if pulls.is_empty() {
            return;
        }
        let pull = &pulls[nth % pulls.len()];
        let merged =
            self.call(who, Method::PUT, &format!("/pulls/{}/merge", pull["number"]), json!({})).await.is_some();
        if merged && pull["user"]["login"] == "daypass[bot]" {
            let now = self.world.now();
            self.model.removals.extend((0..SLUGS.len()).map(|slug| (slug, now)));
        }
    }

    // ---- Daypass ----

    /// Webhooks travel, Daypass works, at most so many steps; the model looks at each.
    async fn bustle(&mut self, steps: u32) -> Result<(), String> {
        self.observe().await;
        for _ in 0..steps {
            self.carry_post().await;
            let worked = self.step().await?;
            self.look().await?;
            if !worked && self.post.is_empty() {
                self.nothing_is_overdue().await?;
                break;
            }
        }
        self.observe().await;
        Ok(())
    }

    /// Webhooks are lost, doubled, delayed and come in any order.
    pub async fn carry_post(&mut self) {
        for delivery in self.world.sandbox.take_deliveries() {
            if self.sky.loses_webhook() {
                self.world.sandbox.delivered(&delivery, 0);
                continue;
            }
            if self.sky.draw(10) == 0 {
                self.sky.count("webhook doubled");
                self.post.push(delivery.clone());
            }
            let at = self.sky.draw(u32::try_from(self.post.len()).unwrap() + 1);
            self.post.insert(usize::try_from(at).unwrap(), delivery);
        }
        for _ in 0..self.sky.draw(4) {
            if let Some(delivery) = self.post.pop() {
                self.world.deliver(&delivery).await;
            }
        }
    }

    /// Remembers when something last went wrong.
    fn note_trouble(&mut self) {
        let (troubles, now) = (self.sky.troubles(), self.world.now());
        if troubles.0 != self.troubles.0 {
            self.trouble_at.0 = now;
        }
        if troubles.1 != self.troubles.1 {
            self.trouble_at.1 = now;
        }
        self.troubles = troubles;
    }

    /// One step of some process of Daypass. False if nothing was to do.
    pub async fn step(&mut self) -> Result<bool, String> {
        self.sky.count("steps");
        let fog = self.sky.count_of(FOG);
        let worked = self.processes.step(&self.world, &self.sky).await;
        if self.sky.count_of(FOG) > fog {
            self.model.fog.push(self.world.now());
        }
        self.note_trouble();
        worked
    }
}
