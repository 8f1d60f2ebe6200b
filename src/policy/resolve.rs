//! From documents to a policy: names point at things that exist, groups are flattened, expressions are compiled. Findings
//! collect; a policy comes out only if none of them is an error.

use std::collections::{BTreeMap, BTreeSet};

use super::condition::{Checked, Environment, Expression, Template};
use super::document::*;
use super::entitlement::{AccessTemplate, EntitlementTemplate};
use super::model::*;
use super::name::{ApprovalName, GroupName, Login, ParamName, RoleName, TargetName};
use super::principal::Principal;
use super::suggest::suggest;
use super::testcase::PolicyTest;
use super::yaml::{self, At};
use super::{Code, Duration, Finding, Place, Severity};

/// The largest policy file that is read, in bytes.
pub const POLICY_LIMIT: usize = 256 * 1024;

/// A policy, or what is wrong with it.
#[derive(Debug, Clone, Default)]
pub struct Loaded {
    /// The policy; `None` if there is an error among the findings.
    pub policy: Option<Policy>,
    /// Everything that was found, in order of files and lines.
    pub findings: Vec<Finding>,
}

/// Reads and resolves the files of `policies/`, by path. `configured` are the operator's targets; offline nobody knows them.
pub fn load(files: &BTreeMap<String, Vec<u8>>, configured: Option<&BTreeMap<TargetName, TargetKind>>) -> Loaded {
    let mut resolver = Resolver { configured, files: Some(files), ..Resolver::default() };
    let mut documents = Vec::new();
    for (path, bytes) in files {
        if !path.ends_with(".yaml") {
            if !path.ends_with(".md") && !path.ends_with(".gitkeep") {
                let message = format!("`{path}` is not read: policy files end in .yaml");
                resolver.error(
                    path,
                    Place::default(),
                    Code::WrongExtension,
                    message,
                    "Rename it, or move it elsewhere.",
                );
            }
            continue;
        }
        match yaml::read::<PolicyFile>(path, bytes, POLICY_LIMIT, SECTIONS) {
            Ok(document) => documents.push((path.clone(), document)),
            Err(finding) => resolver.findings.push(finding),
        }
    }
    for (path, document) in &documents {
        resolver.declare(path, document);
    }
    resolver.role_names = resolver.roles.keys().map(ToString::to_string).collect();
    resolver.group_names = resolver.groups.keys().map(ToString::to_string).collect();
    let policy = resolver.resolve(documents);
    let mut findings = resolver.findings;
    findings.sort();
    findings.dedup();
    let broken = findings.iter().any(|finding| finding.severity == Severity::Error);
    Loaded { policy: (!broken).then_some(policy), findings }
}

type Seen<K> = BTreeMap<K, (String, Place)>;

#[derive(Default)]
struct Resolver<'a> {
    configured: Option<&'a BTreeMap<TargetName, TargetKind>>,
    files: Option<&'a BTreeMap<String, Vec<u8>>>,
    /// The names of all roles and groups, for what expressions compare with.
    role_names: Vec<String>,
    group_names: Vec<String>,
    findings: Vec<Finding>,
    settings: Option<(String, Place)>,
    people: Seen<Login>,
    groups: Seen<GroupName>,
    targets: BTreeMap<TargetName, TargetKind>,
    unconfigured: BTreeSet<TargetName>,
    target_places: Seen<TargetName>,
    roles: Seen<RoleName>,
    approvals: Seen<ApprovalName>,
    used_approvals: BTreeSet<ApprovalName>,
}

impl Resolver<'_> {
    fn push(&mut self, severity: Severity, file: &str, place: Place, code: Code, message: String, help: &str) {
        let (file, help) = (file.to_owned(), help.to_owned());
        self.findings.push(Finding { file, place, severity, code, message, help });
    }

    fn error(&mut self, file: &str, place: Place, code: Code, message: String, help: &str) {
        self.push(Severity::Error, file, place, code, message, help);
    }

    fn warn(&mut self, file: &str, place: Place, code: Code, message: String, help: &str) {
        self.push(Severity::Warning, file, place, code, message, help);
    }

    /// First pass: which names there are, and where.
    fn declare(&mut self, path: &str, document: &PolicyFile) {
        if let Some(version) = document.version.as_ref().filter(|version| ***version != 1) {
            let message = format!("this policy is written for version {}", **version);
            self.error(path, version.place(), Code::UnknownVersion, message, Code::UnknownVersion.explanation());
        }
        if let Some(settings) = &document.settings {
            let first = self.settings.get_or_insert_with(|| (path.to_owned(), settings.place())).clone();
            if first != (path.to_owned(), settings.place()) {
                let message = format!("`settings` are there already, in {}:{}", first.0, first.1.line);
                self.error(path, settings.place(), Code::DefinedTwice, message, "Keep them in one file.");
            }
        }
        let mut twice = Vec::new();
        declare(&mut self.people, path, document.people.keys(), "person", &mut twice);
        declare(&mut self.groups, path, document.groups.keys(), "group", &mut twice);
        declare(&mut self.target_places, path, document.targets.keys(), "target", &mut twice);
        declare(&mut self.roles, path, document.roles.keys(), "role", &mut twice);
        declare(&mut self.approvals, path, document.approvals.keys(), "approval rule", &mut twice);
        for (place, message) in twice {
            self.error(path, place, Code::DefinedTwice, message, Code::DefinedTwice.explanation());
        }
        for (name, kind) in &document.targets {
            self.targets.insert((**name).clone(), **kind);
            let Some(configured) = self.configured else { continue };
            match configured.get(&**name) {
                Some(known) if *known == **kind => {}
                Some(known) => {
                    let message =
                        format!("target `{}` is configured on the server as `{known}`, not `{}`", **name, **kind);
                    self.error(
                        path,
                        kind.place(),
                        Code::TargetNotConfigured,
                        message,
                        Code::TargetNotConfigured.explanation(),
                    );
                }
                None => {
                    let message = format!("target `{}` is not configured on the server", **name);
                    let near = suggest(name.as_str(), configured.keys().map(TargetName::as_str));
                    let help = near.map_or(Code::TargetNotConfigured.explanation().to_owned(), |near| {
                        format!("Did you mean `{near}`?")
                    });
                    // A warning: requests for roles on it are refused, all others go on.
                    self.warn(path, name.place(), Code::TargetNotConfigured, message, &help);
                    self.unconfigured.insert((**name).clone());
                }
            }
        }
    }

    /// Second pass: everything that refers to names.
    fn resolve(&mut self, documents: Vec<(String, PolicyFile)>) -> Policy {
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
        let mut groups: BTreeMap<GroupName, Vec<Principal>> = BTreeMap::new();
        for (path, document) in &documents {
            if let Some(settings) = &document.settings {
                policy.settings = self.settings(path, settings);
            }
            for (name, members) in &document.groups {
                groups.insert((**name).clone(), self.principals(path, members).into_iter().collect());
            }
        }
        policy.groups = self.flatten(&groups);
        let mut tests: Vec<(String, PolicyTest)> = Vec::new();
        for (path, document) in documents {
            for (login, person) in document.people {
                let person = self.person(&path, person);
                policy.people.insert(login.into_inner(), person);
            }
            for (name, approval) in document.approvals {
                let approval = self.approval(&path, name.into_inner(), approval);
                policy.approvals.insert(approval.name.clone(), approval);
            }
            for (name, role) in document.roles {
                let role = self.role(&path, name, role, &policy.settings);
                policy.roles.insert(role.name.clone(), role);
            }
            tests.extend(document.tests.into_iter().map(|test| (path.clone(), test)));
        }
        self.check_approvals(&policy);
        for (path, test) in &tests {
            if !policy.roles.contains_key(&test.request.role) {
                let message =
                    format!("the test {:?} asks for role `{}`, which does not exist", test.name, test.request.role);
                self.error(path, Place::default(), Code::UnknownRole, message, "");
            }
        }
        policy.tests = tests.into_iter().map(|(_, test)| test).collect();
        policy
    }

    fn settings(&mut self, path: &str, document: &SettingsDoc) -> Settings {
        let default = Settings::default();
        if let Some(name) = &document.policy_approval {
            self.known_approval(path, name);
        }
        Settings {
            merge: document.merge.unwrap_or(default.merge),
            merge_method: document.merge_method.unwrap_or(default.merge_method),
            max_duration: document.max_duration.unwrap_or(default.max_duration),
            revert_lead: document.revert_lead.unwrap_or(default.revert_lead),
            pending_timeout: document.pending_timeout.unwrap_or(default.pending_timeout),
            policy_approval: document.policy_approval.as_ref().map(|name| (**name).clone()),
        }
    }

    fn known_approval(&mut self, path: &str, name: &At<ApprovalName>) {
        self.used_approvals.insert((**name).clone());
        if !self.approvals.contains_key(&**name) {
            let near = suggest(name.as_str(), self.approvals.keys().map(ApprovalName::as_str))
                .map(|near| format!("Did you mean `{near}`?"));
            let help = near.unwrap_or_else(|| Code::UnknownApproval.explanation().to_owned());
            self.error(
                path,
                name.place(),
                Code::UnknownApproval,
                format!("approval rule `{}` does not exist", **name),
                &help,
            );
        }
    }

    fn principals(&mut self, path: &str, principals: &[At<Principal>]) -> BTreeSet<Principal> {
        for principal in principals {
            let Principal::Group(name) = &**principal else { continue };
            if !self.groups.contains_key(name) {
                let near = suggest(name.as_str(), self.groups.keys().map(GroupName::as_str))
                    .map(|near| format!("Did you mean `{near}`?"));
                let help = near.unwrap_or_else(|| Code::UnknownGroup.explanation().to_owned());
                self.error(
                    path,
                    principal.place(),
                    Code::UnknownGroup,
                    format!("group `{name}` does not exist"),
                    &help,
                );
            }
        }
        principals.iter().map(|principal| (**principal).clone()).collect()
    }

    /// Groups without groups in them.
    fn flatten(&mut self, groups: &BTreeMap<GroupName, Vec<Principal>>) -> BTreeMap<GroupName, BTreeSet<Principal>> {
        let mut flat = BTreeMap::new();
        for name in groups.keys() {
            let (mut found, mut visited, mut waiting) = (BTreeSet::new(), BTreeSet::from([name]), vec![name]);
            let mut circle = false;
            while let Some(next) = waiting.pop() {
                for principal in groups.get(next).into_iter().flatten() {
                    match principal {
                        Principal::Group(inner) => {
                            circle |= inner == name;
                            if visited.insert(inner) {
                                waiting.push(inner);
                            }
                        }
                        other => {
                            found.insert(other.clone());
                        }
                    }
                }
            }
            if let (true, Some((path, place))) = (circle, self.groups.get(name).cloned()) {
                let message = format!("group `{name}` contains itself");
                self.error(&path, place, Code::GroupCycle, message, Code::GroupCycle.explanation());
            }
            flat.insert(name.clone(), found);
        }
        flat
    }

    fn person(&mut self, path: &str, fields: BTreeMap<At<String>, At<OneOrMany>>) -> Person {
        let mut person = Person::default();
        for (key, value) in fields {
            let texts = match &*value {
                OneOrMany::One(text) => vec![text.clone()],
                OneOrMany::Many(texts) => texts.clone(),
            };
            if texts.iter().any(|text| text.is_empty() || text.chars().any(char::is_control)) {
                let message = format!("`{}` is empty or has control characters", *key);
                self.error(path, value.place(), Code::BadText, message, "");
                continue;
            }
            let many = matches!(&*value, OneOrMany::Many(_));
            match key.as_str() {
                "ssh" => person.ssh = texts,
                "ssh_keys" => person.ssh_keys = texts,
                name if many => {
                    let message = format!("`{name}` is one text, not a list");
                    self.error(path, value.place(), Code::WrongType, message, "Write it without brackets.");
                }
                "email" => person.email = texts.into_iter().next(),
                "postgres" => person.postgres = texts.into_iter().next(),
                name => {
                    person.other.extend(texts.into_iter().next().map(|text| (name.to_owned(), text)));
                }
            }
        }
        person
    }

    fn approval(&mut self, path: &str, name: ApprovalName, document: ApprovalDoc) -> Approval {
        let stages = document.stages.into_iter().map(|stage| self.stage(path, &name, stage)).collect();
        Approval { name, stages }
    }

    fn stage(&mut self, path: &str, rule: &ApprovalName, document: StageDoc) -> Stage {
        let place = document.name.place();
        let required = document.required.as_ref().map_or(1, |required| **required);
        let approvers = self.principals(path, &document.approvers);
        let mut everybody = approvers.clone();
        let escalate = document.escalate.map(|escalation| {
            let to = self.principals(path, &escalation.to);
            everybody.extend(to.iter().cloned());
            Escalation { after: escalation.after, to }
        });
        let named = everybody.iter().all(|principal| matches!(principal, Principal::User(_)));
        let problem = if required == 0 {
            Some("requires nobody; leave the stage out instead".to_owned())
        } else if approvers.is_empty() {
            Some("has no approvers".to_owned())
        } else if approvers.iter().all(|principal| matches!(principal, Principal::App(_))) {
            Some("has only bots as approvers; only people approve".to_owned())
        } else if named && everybody.len() < required as usize {
            Some(format!("requires {required} people but names only {}", everybody.len()))
        } else {
            None
        };
        if let Some(problem) = problem {
            let message = format!("stage `{}` of `{rule}` {problem}", *document.name);
            self.error(path, place, Code::BadStage, message, Code::BadStage.explanation());
        }
        let when = document.when.as_ref().and_then(|when| {
            let checked = Expression::compile(when, &self.environment(None, None));
            self.checked(path, when, checked)
        });
        Stage { name: document.name.into_inner(), when, approvers, required, escalate }
    }

    /// What is known where an expression stands; `role` and `params` only if it is for this role alone.
    fn environment<'e>(
        &'e self,
        role: Option<(&'e RoleName, Risk)>,
        params: Option<&'e BTreeMap<ParamName, ParamSpec>>,
    ) -> Environment<'e> {
        Environment { params, role, roles: &self.role_names, groups: &self.group_names }
    }

    /// Reports what there is to say about an expression, each at its own characters.
    fn checked<T>(&mut self, path: &str, source: &At<String>, checked: Checked<T>) -> Option<T> {
        let file = self.files.and_then(|files| files.get(path)).and_then(|bytes| std::str::from_utf8(bytes).ok());
        for problem in &checked.problems {
            let place = match file {
                Some(file) => source.place_of(file, problem.span.start, problem.span.length),
                None => source.text_place(),
            };
            self.push(problem.severity, path, place, problem.code, problem.message.clone(), problem.advice());
        }
        checked.value
    }

    fn role(&mut self, path: &str, name: At<RoleName>, document: RoleDoc, settings: &Settings) -> Role {
        let place = name.text_place_of_name();
        let name = name.into_inner();
        let mut max_duration = settings.max_duration;
        if let Some(own) = &document.max_duration {
            if **own > settings.max_duration {
                let message = format!(
                    "`{name}` may last {}, above the ceiling of {} over every role",
                    **own, settings.max_duration
                );
                self.warn(path, own.place(), Code::AboveCeiling, message, Code::AboveCeiling.explanation());
            }
            max_duration = max_duration.min(**own);
        }
        let requesters = self.principals(path, &document.requesters);
        let may_request_for = self.principals(path, &document.may_request_for);
        self.known_approval(path, &document.approval);
        let break_glass = document.break_glass.map(|document| self.break_glass(path, &name, document, max_duration));
        if requesters.is_empty() && break_glass.is_none() {
            let message = format!("nobody may request role `{name}`");
            self.warn(path, place, Code::NobodyMayRequest, message, Code::NobodyMayRequest.explanation());
        }
        if document.entitlements.is_empty() {
            let message = format!("role `{name}` gives nothing");
            self.error(path, place, Code::NoEntitlements, message, Code::NoEntitlements.explanation());
        }
        let params: BTreeMap<_, _> =
            document.params.into_iter().map(|(param, spec)| self.param(path, param, spec)).collect();
        let mut conditions = Vec::new();
        for condition in document.conditions {
            let environment = self.environment(Some((&name, document.risk)), Some(&params));
            let checked = Expression::compile(&condition.expr, &environment);
            if let Some(expression) = self.checked(path, &condition.expr, checked) {
                conditions.push(Condition { expression, message: condition.message });
            }
        }
        let entitlements = document
            .entitlements
            .into_iter()
            .filter_map(|entitlement| self.entitlement(path, entitlement, (&name, document.risk), &params))
            .collect();
        Role {
            name,
            description: document.description,
            risk: document.risk,
            requesters,
            may_request_for,
            max_duration,
            requires: document.requires.into_iter().collect(),
            conditions,
            approval: document.approval.into_inner(),
            break_glass,
            params,
            entitlements,
            file: path.to_owned(),
            place,
        }
    }

    fn break_glass(&mut self, path: &str, role: &RoleName, document: BreakGlassDoc, ceiling: Duration) -> BreakGlass {
        let requesters = self.principals(path, &document.requesters);
        let mut max_duration = Duration::hours(1).min(ceiling);
        if let Some(own) = &document.max_duration {
            if **own > ceiling {
                let message =
                    format!("break-glass of `{role}` may last {}, longer than the role itself ({ceiling})", **own);
                self.error(
                    path,
                    own.place(),
                    Code::AboveCeiling,
                    message,
                    "An emergency is shorter than the planned use.",
                );
            }
            max_duration = **own;
        }
        BreakGlass { requesters, max_duration, review_within: document.review_within.unwrap_or(Duration::hours(24)) }
    }

    fn param(&mut self, path: &str, name: At<ParamName>, document: ParamDoc) -> (ParamName, ParamSpec) {
        let kind = match (document.kind.as_deref(), document.one_of) {
            (None, Some(values)) if !values.is_empty() => ParamKind::OneOf(values),
            (Some(ParamType::String), None) => ParamKind::String,
            (Some(ParamType::Integer), None) => ParamKind::Integer,
            (Some(ParamType::Boolean), None) => ParamKind::Boolean,
            _ => {
                let message = format!("parameter `{}` needs either `type` or a list `one_of`", *name);
                self.error(
                    path,
                    name.place(),
                    Code::WrongType,
                    message,
                    "Write `{ type: string }` or `{ one_of: [a, b] }`.",
                );
                ParamKind::String
            }
        };
        let spec = ParamSpec { kind, default: None, description: document.description };
        let default = document.default.and_then(|default| match spec.problem(&default) {
            None => Some(default.into_inner()),
            Some(problem) => {
                let message = format!("the default of parameter `{}` {problem}", *name);
                self.error(path, default.place(), Code::BadParam, message, "");
                None
            }
        });
        (name.into_inner(), ParamSpec { default, ..spec })
    }

    fn entitlement(
        &mut self,
        path: &str,
        document: At<EntitlementDoc>,
        role: (&RoleName, Risk),
        params: &BTreeMap<ParamName, ParamSpec>,
    ) -> Option<EntitlementTemplate> {
        let place = document.place();
        let mut template = |source: &At<String>, many: bool| {
            let checked = Template::compile(source, &self.environment(Some(role), Some(params)), many);
            self.checked(path, source, checked)
        };
        let (target, access) = match document.into_inner() {
            EntitlementDoc::Github(doc) => (doc.target, AccessTemplate::Github { team: template(&doc.team, false)? }),
            EntitlementDoc::Postgres(doc) => {
                (doc.target, AccessTemplate::Postgres { role: template(&doc.role, false)? })
            }
            EntitlementDoc::Ssh(doc) => {
                let templates: Vec<_> = doc.principals.iter().map(|principal| template(principal, true)).collect();
                if doc.principals.is_empty() {
                    let message = "an SSH entitlement needs at least one principal".to_owned();
                    self.error(
                        path,
                        doc.target.place(),
                        Code::MissingKey,
                        message,
                        "Name the login on the server, or ${person.ssh}.",
                    );
                }
                (doc.target, AccessTemplate::Ssh { principals: templates.into_iter().collect::<Option<_>>()? })
            }
        };
        match self.targets.get(&*target).copied() {
            Some(kind) if kind == access.kind() => {}
            Some(kind) => {
                let message = format!("target `{}` is a `{kind}`, not a `{}`", *target, access.kind());
                self.error(path, target.place(), Code::KindMismatch, message, Code::KindMismatch.explanation());
            }
            None => {
                let near = suggest(target.as_str(), self.targets.keys().map(TargetName::as_str))
                    .map(|near| format!("Did you mean `{near}`?"));
                let help = near.unwrap_or_else(|| Code::UnknownTarget.explanation().to_owned());
                self.error(
                    path,
                    target.place(),
                    Code::UnknownTarget,
                    format!("target `{}` does not exist", *target),
                    &help,
                );
            }
        }
        let place = if place.line == 0 { target.place() } else { place };
        Some(EntitlementTemplate { target: target.into_inner(), access, place })
    }

    /// What is known only when roles and rules are known.
    fn check_approvals(&mut self, policy: &Policy) {
        for (name, (path, place)) in self.approvals.clone() {
            if !self.used_approvals.contains(&name) {
                let message = format!("approval rule `{name}` is never used");
                self.warn(&path, place, Code::UnusedApproval, message, Code::UnusedApproval.explanation());
            }
        }
        let rule = policy.settings.policy_approval.as_ref().and_then(|name| policy.approvals.get(name));
        if let (Some(rule), Some((path, place))) = (rule.filter(|rule| rule.stages.is_empty()), self.settings.clone()) {
            let message = format!("anybody could change the policy: approval rule `{}` has no stage", rule.name);
            self.error(&path, place, Code::PolicyApprovalOpen, message, Code::PolicyApprovalOpen.explanation());
        }
        for role in policy.roles.values() {
            let Some(rule) = policy.approvals.get(&role.approval) else { continue };
            let [requester] = role.requesters.iter().collect::<Vec<_>>()[..] else { continue };
            for stage in &rule.stages {
                let only_self = stage.approvers.iter().eq([requester])
                    && matches!(requester, Principal::User(_))
                    && stage.escalate.is_none();
                if only_self {
                    let message = format!("only the requester of `{}` could approve stage `{}`", role.name, stage.name);
                    self.error(
                        &role.file.clone(),
                        role.place,
                        Code::OnlySelfApproval,
                        message,
                        Code::OnlySelfApproval.explanation(),
                    );
                }
            }
        }
    }
}

fn declare<'k, K: Ord + Clone + std::fmt::Display + 'k>(
    seen: &mut Seen<K>,
    path: &str,
    keys: impl Iterator<Item = &'k At<K>>,
    what: &str,
    twice: &mut Vec<(Place, String)>,
) {
    for key in keys {
        match seen.get(&**key) {
            Some((file, first)) => {
                twice.push((key.place(), format!("{what} `{}` is defined already, in {file}:{}", **key, first.line)));
            }
            None => {
                seen.insert((**key).clone(), (path.to_owned(), key.place()));
            }
        }
    }
}

impl At<RoleName> {
    fn text_place_of_name(&self) -> Place {
        Place { length: u32::try_from(self.as_str().len()).unwrap_or(0), ..self.place() }
    }
}
