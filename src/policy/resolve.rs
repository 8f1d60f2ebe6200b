//! From documents to a policy: names point at things that exist, groups are flattened, expressions are compiled. Findings
//! collect; a policy comes out only if none of them is an error.

pub(super) mod approvals;
mod people;
pub(super) mod roles;
pub(super) mod tests;
mod uses;
mod widening;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::sync::Arc;

use super::calendar::Calendar;
use super::document::{PolicyFile, SettingsDoc};
use super::expand::{Expanded, expand};
use super::kind::TargetKind;
use super::lint::{Places, Remark, Silenced, Used, lint};
use super::model::{Policy, Settings};
use super::name::{ApprovalName, CalendarName, GroupName, Login, ParamName, RoleName, StageName, TargetName};
use super::principal::Principal;
use super::request::is_deceptive;
use super::yaml::decode::did_you_mean;
use super::yaml::{self, At, Decode, Entries, Made, Node, Report, Spot};
use super::{Code, Duration, Finding, Place, Severity};

/// The largest policy file that is read, in bytes.
pub const POLICY_LIMIT: usize = 256 * 1024;
/// The most policy files there may be.
pub const MOST_FILES: usize = 2_000;
/// The most bytes they may have together: what is made of them takes many times the room.
pub const MOST_BYTES: usize = 4 * 1024 * 1024;
/// As many findings of one kind at one place are told one by one: a table makes the same mistake in every row.
const ALIKE: usize = 3;

/// A policy, or what is wrong with it.
#[derive(Debug, Clone, Default)]
pub struct Loaded {
    /// The policy; `None` if there is an error among the findings.
    pub policy: Option<Policy>,
    /// Everything that was found, in order of files and lines.
    pub findings: Vec<Finding>,
    /// What is missing if these files are all of a repository's policy. Not among `findings`: many a policy is a part, or a test.
    pub of_repository: Vec<Finding>,
}

/// Reads and resolves the files of `policies/`, by path. `configured` are the operator's targets; offline nobody knows them.
pub fn load(files: &BTreeMap<String, Vec<u8>>, configured: Option<&BTreeMap<TargetName, TargetKind>>) -> Loaded {
    if let Some(finding) = too_much(files) {
        return Loaded { findings: vec![finding], ..Loaded::default() };
    }
    let mut report = Report::default();
    let mut trees: Vec<Node> = Vec::new();
    for (path, bytes) in files {
        if path.ends_with(".yaml") {
            match yaml::read(path, bytes, POLICY_LIMIT) {
                Ok(tree) => trees.push(tree),
                Err(finding) => report.findings.push(finding),
            }
        } else if !path.ends_with(".md") && !path.ends_with(".gitkeep") {
            let message = format!("`{path}` is not read: policy files end in .yaml");
            let spot = Spot::new(path, Place::default());
            report.error(&spot, Code::WrongExtension, message, "Rename it, or move it elsewhere.");
        }
    }
    trees.retain(|tree| is_ours(tree, &mut report));
    let all_read = trees.len() == files.keys().filter(|path| path.ends_with(".yaml")).count();
    let expanded = expand(&mut trees, all_read, &mut report);
    let documents: Vec<PolicyFile> = trees.iter().filter_map(|tree| PolicyFile::decode(tree, &mut report)).collect();
    let whole = all_read && documents.len() == trees.len();
    let mut resolver = Resolver { configured, files: Some(files), report, expanded, ..Resolver::default() };
    for document in &documents {
        resolver.declare(document);
    }
    resolver.role_names = resolver.roles.keys().map(ToString::to_string).collect();
    resolver.group_names = resolver.groups.keys().map(ToString::to_string).collect();
    // Without one of its files everything that refers to it would look wrong.
    let policy = whole.then(|| resolver.resolve(documents));
    let of_repository = policy.iter().filter_map(|policy| resolver.unchangeable(policy)).collect();
    let Report { findings, made, .. } = resolver.report;
    let mut findings = where_it_differs(findings, &made);
    findings.sort();
    findings.dedup();
    let broken = findings.iter().any(|finding| finding.severity == Severity::Error);
    Loaded { policy: policy.filter(|_| !broken), findings: summed_up(findings), of_repository }
}

/// A policy that would take too much room is not read at all.
fn too_much(files: &BTreeMap<String, Vec<u8>>) -> Option<Finding> {
    let read = files.iter().filter(|(path, _)| path.ends_with(".yaml"));
    let (count, bytes) = read.fold((0_usize, 0_usize), |(count, bytes), (_, file)| {
        // Of a file that is too large by itself, nothing more is read.
        (count + 1, bytes.saturating_add(if file.len() > POLICY_LIMIT { 0 } else { file.len() }))
    });
    let message = if count > MOST_FILES {
        format!("the policy has {count} files; at most {MOST_FILES} are read")
    } else if bytes > MOST_BYTES {
        format!("the policy has {} KiB; at most {} KiB are read", bytes / 1024, MOST_BYTES / 1024)
    } else {
        return None;
    };
    let (code, severity) = (Code::TooLarge, Severity::Error);
    let help = "Make what is alike from a table by `for_each`, or split the repository.".to_owned();
    Some(Finding { file: "policies".to_owned(), place: Place::default(), severity, code, message, help })
}

/// Whether a file is written for this version. What another version means by its keys is not known, so nothing else is said of it.
fn is_ours(tree: &Node, report: &mut Report) -> bool {
    let version = tree.get("version");
    let other =
        version.and_then(|node| Some((node, node.text()?.parse::<u64>().ok().filter(|version| *version != 1)?)));
    if let Some((node, version)) = other {
        let message = format!("this policy is written for version {version}; this Daypass reads version 1");
        report.error(&node.spot, Code::UnknownVersion, message, Code::UnknownVersion.explanation());
    }
    other.is_none()
}

/// A mistake that only some rows of a table make is theirs: it is told at the row, not where something is made from all of them.
fn where_it_differs(findings: Vec<Finding>, made: &BTreeMap<Finding, BTreeSet<Arc<Made>>>) -> Vec<Finding> {
    let mut rows: BTreeMap<(&str, Place, Code), BTreeSet<&Made>> = BTreeMap::new();
    for (finding, from) in made {
        let of_place = rows.entry((finding.file.as_str(), finding.place, finding.code)).or_default();
        of_place.extend(from.iter().map(|row| &**row));
    }
    let of_some = |finding: &Finding| {
        let key = (finding.file.as_str(), finding.place, finding.code);
        rows.get(&key).is_some_and(|of_place| of_place.iter().all(|row| of_place.len() < row.rows))
    };
    let at_rows = |finding: Finding| {
        let Some(from) = made.get(&finding).filter(|_| of_some(&finding)) else { return vec![finding] };
        let maker = format!("{}:{}", finding.file, finding.place.line);
        let message = format!("{} (made from this row at {maker})", finding.message);
        let at = |row: &Arc<Made>| Finding {
            file: row.file.to_string(),
            place: row.place,
            message: message.clone(),
            ..finding.clone()
        };
        from.iter().map(at).collect()
    };
    findings.into_iter().flat_map(at_rows).collect()
}

/// Many findings of one kind at one place become a few.
fn summed_up(findings: Vec<Finding>) -> Vec<Finding> {
    let mut kept: Vec<Finding> = Vec::new();
    for alike in
        findings.chunk_by(|one, other| (&one.file, one.place, one.code) == (&other.file, other.place, other.code))
    {
        let located = alike.first().is_some_and(|finding| finding.place.line > 0);
        let shown = if located && alike.len() > ALIKE { 1 } else { alike.len() };
        kept.extend(alike.iter().take(shown).cloned());
        if let Some(last) = kept.last_mut().filter(|_| shown < alike.len()) {
            last.message.push_str(&format!(" (and {} more like this)", alike.len() - shown));
        }
    }
    kept
}

/// How deep groups may be nested.
const DEEPEST_GROUPS: usize = 32;

type Seen<K> = BTreeMap<K, Spot>;

/// What is known while names are looked up.
#[derive(Default)]
struct Resolver<'a> {
    configured: Option<&'a BTreeMap<TargetName, TargetKind>>,
    /// What was read, for the places of characters.
    files: Option<&'a BTreeMap<String, Vec<u8>>>,
    /// The names of all roles and groups, for what expressions compare with.
    role_names: Vec<String>,
    group_names: Vec<String>,
    has_role_defaults: bool,
    /// Warnings that are meant to be so everywhere.
    allowed: BTreeSet<Code>,
    report: Report,
    settings: Option<Spot>,
    people: Seen<Login>,
    groups: Seen<GroupName>,
    targets: BTreeMap<TargetName, TargetKind>,
    unconfigured: BTreeSet<TargetName>,
    target_places: Seen<TargetName>,
    roles: Seen<RoleName>,
    approvals: Seen<ApprovalName>,
    /// Calendars; `None` for those that cannot be read.
    calendars: BTreeMap<CalendarName, Option<Arc<Calendar>>>,
    calendar_places: Seen<CalendarName>,
    used: Used,
    remarks: Vec<Remark>,
    /// What is known from `for_each` and `extends`. As long as there are mistakes, what uses a template may not be known.
    expanded: Expanded,
    /// The ceiling over every role.
    ceiling: Option<Duration>,
    /// The conditions of stages as they are written.
    whens: BTreeMap<(ApprovalName, StageName), At<String>>,
    /// Roles of which a stage with a condition always counts.
    always_approved: BTreeSet<RoleName>,
    /// Where stages widen.
    widenings: Vec<widening::Widening>,
    /// Where parameters are declared.
    params: BTreeMap<(RoleName, ParamName), Spot>,
}

impl Resolver<'_> {
    /// First pass: which names there are, and where.
    fn declare(&mut self, document: &PolicyFile) {
        if let Some(version) = document.version.as_ref().filter(|version| version.0 != 1) {
            let message = format!("this policy is written for version {}; this Daypass reads version 1", version.0);
            self.report.error(&version.spot, Code::UnknownVersion, message, Code::UnknownVersion.explanation());
        }
        if let Some(settings) = &document.settings {
            match &self.settings {
                Some(first) => {
                    let message = format!("`settings` are there already, in {first}");
                    self.report.error(&settings.spot, Code::DefinedTwice, message, "Keep them in one file.");
                }
                None => self.settings = Some(settings.spot.clone()),
            }
        }
        declare(&mut self.people, &document.people, "person", &mut self.report);
        declare(&mut self.groups, &document.groups, "group", &mut self.report);
        declare(&mut self.target_places, &document.targets, "target", &mut self.report);
        declare(&mut self.roles, &document.roles, "role", &mut self.report);
        declare(&mut self.approvals, &document.approvals, "approval rule", &mut self.report);
        declare(&mut self.calendar_places, &document.calendars, "calendar", &mut self.report);
        for (name, calendar) in &document.calendars.0 {
            match calendar {
                Some(calendar) => self.calendar(name, calendar),
                None => _ = self.calendars.insert((**name).clone(), None),
            }
        }
        for (name, target) in &document.targets.0 {
            if let Some(target) = target {
                self.target(name, &target.kind);
            }
        }
    }

    fn target(&mut self, name: &At<TargetName>, kind: &At<TargetKind>) {
        self.targets.insert((**name).clone(), **kind);
        let Some(configured) = self.configured else { return };
        let code = Code::TargetNotConfigured;
        match configured.get(&**name) {
            Some(known) if *known == **kind => {}
            Some(known) => {
                let message = format!("target `{}` is configured on the server as `{known}`, not `{}`", **name, **kind);
                self.report.error(&kind.spot, code, message, code.explanation());
            }
            None => {
                let message = format!("target `{}` is not configured on the server", **name);
                let help = did_you_mean(name.as_str(), configured.keys().map(TargetName::as_str), code.explanation());
                // A warning: requests for roles on it are refused, all others go on.
                self.report.warn(&name.spot, code, message, help);
                self.unconfigured.insert((**name).clone());
            }
        }
    }

    /// Second pass: everything that refers to names.
    fn resolve(&mut self, documents: Vec<PolicyFile>) -> Policy {
        let mut policy = Policy {
            settings: Settings::default(),
            people: BTreeMap::new(),
            groups: BTreeMap::new(),
            targets: self.targets.clone(),
            unconfigured: self.unconfigured.clone(),
            roles: BTreeMap::new(),
            approvals: BTreeMap::new(),
            tests: Vec::new(),
        };
        let mut groups: BTreeMap<GroupName, BTreeSet<Principal>> = BTreeMap::new();
        let mut allowed = Vec::new();
        for document in &documents {
            if let Some(settings) = &document.settings {
                let read = self.settings(settings);
                // Of two, which is told, the first counts.
                if self.settings.as_ref() == Some(&settings.spot) {
                    policy.settings = read;
                }
                self.has_role_defaults |= settings.role_defaults.is_some();
                allowed.extend(settings.allow.0.clone());
                self.allowed.extend(settings.allow.0.iter().map(|(code, _)| **code));
            }
            for (name, members) in &document.groups.0 {
                groups.insert((**name).clone(), self.principals(members.as_deref().unwrap_or_default()));
            }
        }
        policy.groups = self.flatten(&groups);
        self.ceiling = Some(policy.settings.max_duration);
        self.said_twice(&documents);
        let mut silenced = Silenced::everywhere(allowed);
        let mut templates = Vec::new();
        for document in documents {
            for (login, person) in document.people.0 {
                if let Some(person) = person.map(|person| self.person(&login.spot, person)) {
                    policy.people.insert(login.into_inner(), person);
                }
            }
            for (name, rule) in document.approvals.0 {
                let Some(rule) = rule else { continue };
                silenced.add(&name.spot, &rule.allow);
                self.remember_conditions(&name, &rule);
                let rule = self.approval(name, rule);
                policy.approvals.insert(rule.name.clone(), rule);
            }
            for (name, role) in document.roles.0 {
                let Some(role) = role else { continue };
                silenced.add(&name.spot, &role.allow);
                if let Some(role) = self.role(name, role, &policy.settings, false) {
                    policy.roles.insert(role.name.clone(), role);
                }
            }
            templates.extend(document.templates.0);
            policy.tests.extend(document.tests.0);
        }
        // A template nobody extends has mistakes all the same.
        for (name, template) in templates {
            if let Some(template) = template {
                self.role(name, template, &policy.settings, true);
            }
        }
        self.check_approvals(&policy);
        self.check_widenings(&policy);
        self.check_uses(&policy);
        self.check_tests(&policy);
        let broken = self.report.findings.iter().any(|finding| finding.severity == Severity::Error);
        if !broken {
            let places = Places {
                groups: &self.groups,
                targets: &self.target_places,
                approvals: &self.approvals,
                calendars: &self.calendar_places,
                roles: &self.roles,
                people: &self.people,
                params: &self.params,
                always_approved: &self.always_approved,
            };
            self.remarks.extend(lint(&policy, places, &self.used));
            self.remarks.append(&mut self.expanded.remarks);
        }
        silenced.tell(std::mem::take(&mut self.remarks), !broken, &mut self.report);
        policy
    }

    /// Something about the role or rule at `owner` is suspicious; it may be meant to be so.
    fn warn(&mut self, owner: &Spot, spot: &Spot, code: Code, message: String, help: &str) {
        self.remarks.push(Remark::new(Some(owner), spot, code, message, help));
    }

    fn settings(&mut self, document: &SettingsDoc) -> Settings {
        let default = Settings::default();
        if let Some(name) = &document.policy_approval {
            self.known_approval(name);
        }
        Settings {
            merge: document.merge,
            merge_method: document.merge_method,
            max_duration: document.max_duration.unwrap_or(default.max_duration),
            revert_lead: document.revert_lead.unwrap_or(default.revert_lead),
            pending_timeout: document.pending_timeout.unwrap_or(default.pending_timeout),
            policy_approval: document.policy_approval.as_ref().map(|name| (**name).clone()),
        }
    }

    fn known_approval(&mut self, name: &At<ApprovalName>) {
        self.used.approvals.insert((**name).clone());
        if !self.approvals.contains_key(&**name) && !self.expanded.incomplete.contains("approvals") {
            let known = self.approvals.keys().map(ApprovalName::as_str);
            let help = did_you_mean(name.as_str(), known, Code::UnknownApproval.explanation());
            let message = format!("approval rule `{}` does not exist", **name);
            self.report.error(&name.spot, Code::UnknownApproval, message, help);
        }
    }

    fn principals(&mut self, principals: &[At<Principal>]) -> BTreeSet<Principal> {
        for principal in principals {
            let Principal::Group(name) = &**principal else { continue };
            self.used.groups.insert(name.clone());
            if !self.groups.contains_key(name) {
                let known = self.groups.keys().map(GroupName::as_str);
                let help = did_you_mean(name.as_str(), known, Code::UnknownGroup.explanation());
                let message = format!("group `{name}` does not exist");
                self.report.error(&principal.spot, Code::UnknownGroup, message, help);
            }
        }
        principals.iter().map(|principal| (**principal).clone()).collect()
    }

    /// Groups without groups in them.
    fn flatten(
        &mut self,
        groups: &BTreeMap<GroupName, BTreeSet<Principal>>,
    ) -> BTreeMap<GroupName, BTreeSet<Principal>> {
        let mut flattening = Flattening { groups, flat: BTreeMap::new(), open: Vec::new(), circles: Vec::new() };
        for name in groups.keys() {
            flattening.members(name);
        }
        let Flattening { flat, circles, .. } = flattening;
        for circle in circles {
            let Some((spot, first)) = circle.first().and_then(|name| Some((self.groups.get(*name)?, name))) else {
                continue;
            };
            if circle.len() > DEEPEST_GROUPS {
                let message = format!("groups are nested more than {DEEPEST_GROUPS} deep here");
                self.report.error(spot, Code::GroupCycle, message, "Name the people, or a team.");
                continue;
            }
            let place = |name: &&GroupName| self.groups.get(*name).map_or_else(String::new, ToString::to_string);
            let path: Vec<String> = circle.iter().map(|name| format!("`{name}` ({})", place(name))).collect();
            let message = format!("group `{first}` contains itself: {} contains `{first}`", path.join(" contains "));
            self.report.error(spot, Code::GroupCycle, message, Code::GroupCycle.explanation());
        }
        flat
    }

    /// A finding if nobody could change this policy. For a whole repository only.
    fn unchangeable(&self, policy: &Policy) -> Option<Finding> {
        let code = Code::Unchangeable;
        let unread = self.settings.as_ref().is_some_and(|settings| self.report.is_partial(settings));
        if policy.settings.policy_approval.is_some() || self.allowed.contains(&code) || unread {
            return None;
        }
        let spot = self.settings.as_ref().or(self.approvals.values().next()).or(self.roles.values().next());
        let (file, place) = spot.map_or_else(
            || (self.files.and_then(|files| files.keys().next().cloned()).unwrap_or_default(), Place::default()),
            // The section, not one of what it holds.
            |spot| (spot.file.to_string(), if self.settings.is_some() { spot.place } else { Place::default() }),
        );
        let message = "nobody can approve changes of this policy: `settings` name no `policy_approval`".to_owned();
        let help = code.explanation().to_owned();
        Some(Finding { file, place: Place { length: 0, ..place }, severity: Severity::Warning, code, message, help })
    }

    /// What people read is what is there: no invisible and no control characters.
    fn readable(&mut self, what: &str, text: &At<String>) -> bool {
        self.readable_at(what, text, &text.spot)
    }

    fn readable_at(&mut self, what: &str, text: &str, spot: &Spot) -> bool {
        let hidden = text.chars().find(|c| is_deceptive(*c));
        if let Some(c) = hidden {
            let message = format!("{what} has the invisible or control character U+{:04X}", u32::from(c));
            self.report.error(spot, Code::HiddenText, message, Code::HiddenText.explanation());
        }
        hidden.is_none()
    }
}

/// Groups on their way to having no groups in them.
struct Flattening<'g> {
    groups: &'g BTreeMap<GroupName, BTreeSet<Principal>>,
    flat: BTreeMap<GroupName, BTreeSet<Principal>>,
    /// Those whose members are being looked up: whoever is met again is in a circle.
    open: Vec<&'g GroupName>,
    /// Those, and one chain that is too long to follow.
    circles: Vec<Vec<&'g GroupName>>,
}

impl<'g> Flattening<'g> {
    /// Each group is looked up once, and no deeper than the stack bears.
    fn members(&mut self, name: &'g GroupName) -> BTreeSet<Principal> {
        if let Some(known) = self.flat.get(name) {
            return known.clone();
        }
        if let Some(at) = self.open.iter().position(|open| *open == name) {
            self.circles.push(self.open.iter().skip(at).copied().collect());
            return BTreeSet::new();
        }
        self.open.push(name);
        let mut found = BTreeSet::new();
        if self.open.len() > DEEPEST_GROUPS {
            if !self.circles.iter().any(|circle| circle.len() > DEEPEST_GROUPS) {
                self.circles.push(self.open.clone());
            }
        } else {
            for principal in self.groups.get(name).into_iter().flatten() {
                match principal {
                    Principal::Group(inner) => found.append(&mut self.members(inner)),
                    other => {
                        found.insert(other.clone());
                    }
                }
            }
        }
        self.open.pop();
        self.flat.insert(name.clone(), found.clone());
        found
    }
}

fn declare<K: Ord + Clone + Display, V>(seen: &mut Seen<K>, entries: &Entries<K, V>, what: &str, report: &mut Report) {
    for (key, _) in &entries.0 {
        match seen.get(&**key) {
            Some(first) => {
                let message = format!("{what} `{}` is defined already, in {first}", **key);
                report.error(&key.spot, Code::DefinedTwice, message, Code::DefinedTwice.explanation());
            }
            None => {
                seen.insert((**key).clone(), key.spot.clone());
            }
        }
    }
}
