//! A review of access: who used which role in a time, and which lines of the policy nobody used, by those who own them. A list with
//! boxes to be ticked, made from the ledger and the policy; and what is left of the boxes once it is merged.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use chrono::{DateTime, SecondsFormat, Utc};

use super::chain::Entry;
use super::event::EventKind;
use super::replay::read;
use crate::access::facts::Account;
use crate::access::grant::Window;
use crate::policy::model::{Policy, Role};
use crate::policy::name::{Login, RoleName};
use crate::policy::principal::Principal;

/// The folder reviews are kept in.
pub const FOLDER: &str = "reviews";
/// The largest file that is read as a review, in bytes.
pub const LARGEST: u64 = 512 << 10;
/// How the first line of a review begins.
const MARK: &str = "<!-- daypass review: from ";
/// The longest description of a pull request, in characters: GitHub takes 65,536.
const LONGEST_BODY: usize = 60_000;

/// The use of a role by somebody.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Use {
    grants: u64,
    emergencies: u64,
    with_session: u64,
    last: Option<DateTime<Utc>>,
}

/// A grant.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Had {
    role: String,
    login: Login,
    since: DateTime<Utc>,
    emergency: bool,
    used: bool,
}

/// What the ledger says about a time.
#[derive(Debug, Clone, Default)]
pub struct Usage {
    /// Grants that ran in that time, as far as they are known, whenever they began.
    grants: BTreeMap<String, Had>,
    /// Who approved by which rule.
    approvers: BTreeMap<String, BTreeSet<Login>>,
    /// Whether any session was seen at all.
    sessions: bool,
    /// The newest event that was read.
    newest: Option<(u64, String)>,
}

/// From when to when a review is, the second not included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period {
    /// The first instant.
    pub since: DateTime<Utc>,
    /// The first instant after it.
    pub until: DateTime<Utc>,
}

impl Period {
    fn contains(&self, at: DateTime<Utc>) -> bool {
        self.since <= at && at < self.until
    }

    /// The path of the file of its review.
    pub fn path(&self) -> String {
        format!("{FOLDER}/{}-to-{}.md", self.since.format("%Y-%m-%d"), self.until.format("%Y-%m-%d"))
    }

    /// The branch it is proposed on.
    pub fn branch(&self) -> String {
        format!("access-review/{}-to-{}", self.since.format("%Y-%m-%d"), self.until.format("%Y-%m-%d"))
    }

    /// What it is called.
    pub fn title(&self) -> String {
        format!("Access review from {} to {}", self.since.format("%Y-%m-%d"), self.until.format("%Y-%m-%d"))
    }
}

impl Usage {
    /// Takes in the next event.
    pub fn take(&mut self, entry: &Entry, period: &Period) {
        self.newest = Some((entry.seq, entry.hash.clone()));
        let (event, details) = (&entry.event, &entry.event.details);
        let grant = details["grant"].as_str().unwrap_or_default();
        match event.kind {
            EventKind::Granted => {
                let (Some(subject), Some(role)) = (read::<Account>(&details["subject"]), details["role"].as_str())
                else {
                    return;
                };
                let begins =
                    read::<Window>(&details["window"]).map_or(event.at, |window| window.starts_at.max(event.at));
                if begins < period.until {
                    let emergency = details["break_glass"] == true;
                    let had =
                        Had { role: role.to_owned(), login: subject.login, since: begins, emergency, used: false };
                    self.grants.insert(grant.to_owned(), had);
                }
            }
            EventKind::Ended => {
                let ended = read::<DateTime<Utc>>(&details["ended_at"]).unwrap_or(event.at);
                let of_before = |had: &mut Had| ended <= period.since || ended <= had.since;
                if self.grants.get_mut(grant).is_some_and(of_before) {
                    self.grants.remove(grant);
                }
            }
            EventKind::SessionOpened if period.contains(event.at) => {
                self.sessions = true;
                if let Some(had) = self.grants.get_mut(grant) {
                    had.used = true;
                }
            }
            EventKind::Approved if period.contains(event.at) => {
                if let (Some(rule), Some(by)) = (details["rule"].as_str(), read::<Account>(&details["by"])) {
                    self.approvers.entry(rule.to_owned()).or_default().insert(by.login);
                }
            }
            _ => {}
        }
    }

    /// By role, then by whose access it was.
    fn roles(&self) -> Roles {
        let mut roles = Roles::new();
        for had in self.grants.values() {
            let of = roles.entry(had.role.clone()).or_default().entry(had.login.clone()).or_default();
            of.grants += 1;
            of.emergencies += u64::from(had.emergency);
            of.with_session += u64::from(had.used);
            of.last = of.last.max(Some(had.since));
        }
        roles
    }
}

/// The use of roles: by role, then by whose access it was.
type Roles = BTreeMap<String, BTreeMap<Login, Use>>;

/// One thing to be looked at.
type Item = String;

/// What one group of owners looks at.
#[derive(Debug, Default)]
struct Section {
    used: Vec<Item>,
    unused: Vec<Item>,
}

/// The file of a review, as it is proposed: every box is empty.
pub fn file(policy: &Policy, usage: &Usage, period: &Period) -> String {
    let time = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Secs, true);
    let mut text = format!("{MARK}{} to {} -->\n", time(period.since), time(period.until));
    let newest =
        usage.newest.as_ref().map_or_else(|| "nothing".to_owned(), |(seq, hash)| format!("event {seq}, {hash}"));
    let _ = write!(
        text,
        "# {}\n\nMade from the ledger up to {newest}, and the policy as it is now. Tick what is to stay as it is, here or in the \
         description of the pull request. What is not to stay is changed by a pull request of its own. Merging this one records the \
         review: what was ticked, by whom it was approved and merged.\n",
        period.title()
    );
    if !usage.sessions {
        text.push_str(
            "\nNo sessions were seen in this time: that something was granted does not say that it was used.\n",
        );
    }
    let roles = usage.roles();
    let mut sections: BTreeMap<String, Section> = BTreeMap::new();
    for role in policy.roles.values() {
        let section = sections.entry(owners(policy, role)).or_default();
        section.used.extend(used(role, &roles, usage.sessions));
        section.unused.extend(unused(policy, role, &roles, usage));
    }
    let is_gone = |name: &str| name.parse::<RoleName>().is_ok_and(|name| !policy.roles.contains_key(&name));
    for (role, people) in roles.iter().filter(|(name, _)| is_gone(name)) {
        let section = sections.entry("roles that are gone".to_owned()).or_default();
        let people: Vec<String> = people.keys().map(|login| format!("`{login}`")).collect();
        section.used.push(format!("`{role}` is no longer in the policy; it was had by {}", people.join(", ")));
    }
    for (owners, section) in &sections {
        let _ = write!(text, "\n## Owned by {owners}\n");
        for (title, items) in [("Who had what", &section.used), ("What nobody used", &section.unused)] {
            if items.is_empty() {
                continue;
            }
            let _ = write!(text, "\n### {title}\n\n");
            items.iter().for_each(|item| {
                let _ = writeln!(text, "- [ ] {item}");
            });
        }
    }
    text
}

/// Those who approve a role first: they know what it is for.
fn owners(policy: &Policy, role: &Role) -> String {
    let rules = [Some(&role.approval), policy.settings.policy_approval.as_ref()];
    let stages =
        rules.into_iter().flatten().filter_map(|name| policy.approvals.get(name)).flat_map(|rule| &rule.stages);
    let first = stages.map(|stage| stage.approvers()).find(|approvers| !approvers.is_empty());
    let names: Vec<String> = first.into_iter().flatten().map(|principal| format!("`{principal}`")).collect();
    if names.is_empty() { "nobody".to_owned() } else { names.join(", ") }
}

fn used(role: &Role, roles: &Roles, sessions: bool) -> Vec<Item> {
    let people = roles.get(role.name.as_str()).into_iter().flatten();
    people
        .map(|(login, of)| {
            let mut text = format!("`{login}` had `{}` {}", role.name, times(of.grants));
            if of.emergencies > 0 {
                let _ = write!(text, ", as an emergency {}", times(of.emergencies));
            }
            if sessions {
                let _ = write!(text, ", and was seen using it in {}", of.with_session);
            }
            if let Some(last) = of.last {
                let _ = write!(text, "; the last time on {}", last.format("%Y-%m-%d"));
            }
            text
        })
        .collect()
}

fn times(count: u64) -> String {
    if count == 1 { "once".to_owned() } else { format!("{count} times") }
}

/// Lines about a role that made no difference.
fn unused(policy: &Policy, role: &Role, roles: &Roles, usage: &Usage) -> Vec<Item> {
    let place = format!("`{}:{}`", role.file, role.place.line);
    let nobody = BTreeMap::new();
    let had = roles.get(role.name.as_str()).unwrap_or(&nobody);
    let had_it = |login: &Login| had.get(login).is_some_and(|of| of.grants > 0);
    if !had.values().any(|of| of.grants > 0) {
        return vec![format!("{place}: role `{}`; nobody had it", role.name)];
    }
    let mut items = Vec::new();
    for principal in &policy.written_out(&role.requesters) {
        if let Principal::User(login) = principal
            && !had_it(login)
        {
            items.push(format!("{place}: `{principal}` among the requesters of `{}`; did not have it", role.name));
        }
    }
    if role.break_glass.is_some() && had.values().all(|of| of.emergencies == 0) {
        items.push(format!("{place}: `break_glass` of `{}`; nobody used it", role.name));
    }
    let stages = policy.approvals.get(&role.approval).into_iter().flat_map(|rule| &rule.stages);
    let none = BTreeSet::new();
    let approved = usage.approvers.get(role.approval.as_str()).unwrap_or(&none);
    for stage in stages {
        for principal in policy.written_out(&stage.approvers()) {
            if let Principal::User(login) = &principal
                && !approved.contains(login)
            {
                items.push(format!(
                    "`{principal}` among the approvers of stage `{}` of `{}`, which `{}` uses; approved nothing",
                    stage.name, role.approval, role.name
                ));
            }
        }
    }
    items
}

/// The description of the pull request: the same list, as far as there is room for it.
pub fn body(file: &str) -> String {
    let mut body = String::new();
    for line in file.lines() {
        if body.chars().count() + line.chars().count() > LONGEST_BODY {
            body.push_str("\nThe rest is in the file; tick it there.\n");
            break;
        }
        body.push_str(line);
        body.push('\n');
    }
    body
}

/// What a merged review says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merged {
    /// What it is about.
    pub period: Period,
    /// How many things there were to be looked at.
    pub items: usize,
    /// How many of them were ticked, in the file or in the description of the pull request.
    pub confirmed: usize,
}

/// Reads the file of a review, with the description of its pull request; none if it is no review.
pub fn merged(file: &str, body: Option<&str>) -> Option<Merged> {
    let (since, until) = file.lines().next()?.strip_prefix(MARK)?.strip_suffix(" -->")?.split_once(" to ")?;
    let period = Period { since: since.parse().ok()?, until: until.parse().ok()? };
    let boxes = |text: &'_ str| -> Vec<(bool, String)> {
        let item = |line: &str| {
            let line = line.trim();
            let ticked = line.strip_prefix("- [x] ").or_else(|| line.strip_prefix("- [X] "));
            let open = line.strip_prefix("- [ ] ");
            ticked.map(|text| (true, text.to_owned())).or(open.map(|text| (false, text.to_owned())))
        };
        text.lines().filter_map(item).collect()
    };
    // What is in the file counts: it is what was approved. The description only ticks.
    let items = boxes(file);
    let elsewhere: BTreeSet<String> =
        body.map(boxes).unwrap_or_default().into_iter().filter(|(ticked, _)| *ticked).map(|(_, text)| text).collect();
    let confirmed = items.iter().filter(|(ticked, text)| *ticked || elsewhere.contains(text)).count();
    Some(Merged { period, items: items.len(), confirmed })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::ledger::chain::Link;
    use crate::ledger::event::Event;

    const POLICY: &str = "
people: { alice: { postgres: alice } }
targets: { orders-db: postgres, logs-db: postgres }
roles:
  reader:
    requesters: [user:alice, user:bob]
    approval: owners
    break_glass: { requesters: [user:alice] }
    entitlements: [{ postgres: { target: orders-db, role: r } }]
  idle:
    requesters: [user:alice]
    approval: none
    entitlements: [{ postgres: { target: logs-db, role: r } }]
approvals:
  owners: { stages: [{ name: owner, approvers: [user:carol, user:dave] }] }
  none: { stages: [] }
";

    fn period() -> Period {
        Period { since: "2026-09-01T00:00:00Z".parse().unwrap(), until: "2026-12-01T00:00:00Z".parse().unwrap() }
    }

    fn entry(kind: EventKind, at: &str, details: Value) -> Entry {
        let event = Event::new(&"acme/access".parse().unwrap(), kind, "x", at, at.parse().unwrap(), details);
        let (line, _) = crate::ledger::chain::link(&Link::default(), &serde_json::to_value(event).unwrap());
        Entry::read(line.as_bytes()).unwrap()
    }

    fn a_review() -> String {
        let policy = crate::policy::load(&[("policies/a.yaml".to_owned(), POLICY.as_bytes().to_vec())].into(), None);
        let policy = policy.policy.unwrap_or_else(|| panic!("{:?}", policy.findings));
        let person = |login: &str| json!({ "id": 7, "login": login });
        let granted = |grant: &str, at: &str| {
            entry(EventKind::Granted, at, json!({ "grant": grant, "subject": person("Alice"), "role": "reader" }))
        };
        let mut usage = Usage::default();
        for one in [
            granted("old#1", "2026-08-30T10:00:00Z"),
            entry(EventKind::Ended, "2026-08-31T23:59:59Z", json!({ "grant": "old#1" })),
            granted("long#5", "2026-08-01T00:00:00Z"),
            entry(EventKind::SessionOpened, "2026-09-05T11:00:00Z", json!({ "grant": "long#5" })),
            granted("a#2", "2026-09-01T00:00:00Z"),
            granted("b#3", "2026-10-05T10:00:00Z"),
            entry(EventKind::SessionOpened, "2026-10-05T11:00:00Z", json!({ "grant": "b#3" })),
            entry(EventKind::Approved, "2026-10-05T09:00:00Z", json!({ "rule": "owners", "by": person("dave") })),
            granted("new#4", "2026-12-01T00:00:00Z"),
        ] {
            usage.take(&one, &period());
        }
        file(&policy, &usage, &period())
    }

    #[test]
    fn owners_see_who_had_what_and_which_lines_nobody_used() {
        let text = a_review();
        let boxes: Vec<&str> = text.lines().filter(|line| line.starts_with("- [")).collect();
        assert_eq!(
            boxes,
            [
                "- [ ] `Alice` had `reader` 3 times, and was seen using it in 2; the last time on 2026-10-05",
                "- [ ] `policies/a.yaml:5`: `user:bob` among the requesters of `reader`; did not have it",
                "- [ ] `policies/a.yaml:5`: `break_glass` of `reader`; nobody used it",
                "- [ ] `user:carol` among the approvers of stage `owner` of `owners`, which `reader` uses; approved nothing",
                "- [ ] `policies/a.yaml:10`: role `idle`; nobody had it",
            ]
        );
        let owners: Vec<&str> = text.lines().filter(|line| line.starts_with("## ")).collect();
        assert_eq!(owners, ["## Owned by `user:carol`, `user:dave`", "## Owned by nobody"]);
    }

    #[test]
    fn what_is_ticked_counts_wherever_it_is_and_only_what_is_in_the_file() {
        let text = a_review();
        let read = |file: &str, body: Option<&str>| merged(file, body).map(|merged| (merged.items, merged.confirmed));
        assert_eq!(merged(&text, None), Some(Merged { period: period(), items: 5, confirmed: 0 }));
        let ticked = text.replacen("- [ ]", "- [x]", 2);
        assert_eq!(read(&ticked, None), Some((5, 2)));
        assert_eq!(read(&text, Some(&ticked.replace('\n', "\r\n"))), Some((5, 2)), "GitHub writes line ends like this");
        assert_eq!(read(&ticked, Some(&ticked)), Some((5, 2)));
        let invented = text.replace("`Alice`", "`Mallory`").replace("- [ ]", "- [x]");
        assert_eq!(
            read(&text, Some(&invented)),
            Some((5, 4)),
            "what is not in the file is not confirmed by ticking it"
        );
        assert_eq!(read(text.split_once('\n').unwrap().1, None), None, "no review without its first line");
    }

    #[test]
    fn a_long_list_goes_on_in_the_file() {
        let long = format!("first\n{}", "- [ ] something\n".repeat(10_000));
        let body = body(&long);
        assert!(body.chars().count() < 65_536 && body.contains("The rest is in the file"));
    }
}
