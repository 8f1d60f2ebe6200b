//! `daypass who-can ROLE`: who can request a role, approve it and break the glass for it.

use std::collections::BTreeSet;
use std::process::ExitCode;

use anyhow::anyhow;
use clap::Args;
use serde_json::json;

use super::facts::{self, Known, Shape, Unasked};
use super::{Failure, out, usage};
use crate::access::facts::Directory;
use crate::access::reach::{Crowd, PolicyReach, RoleReach, StageReach};
use crate::policy::model::{Requirement, Role};
use crate::policy::name::RoleName;
use crate::policy::render::tame;
use crate::policy::{Policy, suggest};

/// Arguments of `daypass who-can`.
#[derive(Debug, Args)]
pub struct WhoCanArgs {
    /// The role.
    role: String,
    #[command(flatten)]
    known: Known,
}

pub(super) fn run(args: &WhoCanArgs) -> Result<ExitCode, Failure> {
    let memberships = match args.known.memberships()? {
        Ok(memberships) => memberships,
        Err(code) => return Ok(code),
    };
    let policy = match args.known.policy()? {
        Ok(policy) => policy,
        Err(code) => return Ok(code),
    };
    let role = args.role.parse::<RoleName>().ok().and_then(|name| policy.roles.get(&name));
    let role = role.ok_or_else(|| usage(unknown_role(&args.role, &policy)))?;
    let directory = facts::directory(&memberships, &[&policy], []);
    let reach = RoleReach::of(role, &policy, &directory);
    let changes = PolicyReach::of(&policy, &directory);
    let unasked = facts::unasked(memberships.teams.keys(), &[&policy]);
    match args.known.format {
        Shape::Json => out::line(format_args!("{:#}", json(role, &reach, changes.as_ref(), &unasked)))?,
        Shape::Human => {
            out::print(human(role, &reach, changes.as_ref(), &directory))?;
            unasked.iter().try_for_each(|unasked| out::line(format_args!("\n{unasked}")))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn unknown_role(asked: &str, policy: &Policy) -> anyhow::Error {
    let asked = tame(&asked.chars().take(100).collect::<String>());
    let names = policy.roles.keys().map(RoleName::as_str);
    match suggest(&asked, names.clone()) {
        Some(near) => anyhow!("there is no role `{asked}`. Did you mean `{near}`?"),
        None => {
            let known: Vec<&str> = names.take(20).collect();
            anyhow!("there is no role `{asked}`. The policy has: {}.", known.join(", "))
        }
    }
}

fn human(role: &Role, reach: &RoleReach, changes: Option<&PolicyReach>, directory: &Directory) -> String {
    let mut text = format!("{} (risk {})", role.name, role.risk.as_str());
    if !role.description.is_empty() {
        text.push_str(&format!(": {}", tame(&role.description)));
    }
    text.push('\n');
    let mut section = |title: &str, crowd: &Crowd| text.push_str(&section(title, crowd, directory));
    section(&format!("Can request it, for up to {}:", reach.max_duration), &reach.requesters);
    if !reach.on_behalf.principals.is_empty() {
        section("Can request it for one of those:", &reach.on_behalf);
    }
    if let Some((crowd, most, review)) = &reach.break_glass {
        section(&format!("Can break the glass, for up to {most}, reviewed within {review}:"), crowd);
    }
    text.push_str(&stages("Approval", &reach.stages, directory));
    if let Some(machines) = &reach.machines {
        match (reach.is_for_machines(), machines.sponsors.principals.is_empty()) {
            (false, _) => text.push_str("\nA machine gets nothing: no human would have to approve it.\n"),
            (true, true) => text.push_str(&format!("\nA machine can have it for up to {}.\n", machines.max_duration)),
            (true, false) => {
                let title =
                    format!("A machine can have it for up to {}, if one of these approves:", machines.max_duration);
                text.push_str(&format!("\n{title}\n"));
                facts::lines(&machines.sponsors, directory)
                    .iter()
                    .for_each(|line| text.push_str(&format!("  {line}\n")));
            }
        }
    }
    if let Some(limit) = reach.limit {
        text.push_str(&format!("\n{limit} may have it at the same time.\n"));
    }
    if let Some(cool_down) = reach.cool_down {
        text.push_str(&format!("\nAfter a denial the same subject can ask again after {cool_down}.\n"));
    }
    if !reach.distinct {
        text.push_str("\nThe approval of one person counts for several stages.\n");
    }
    if reach.stages.is_empty() {
        text.push_str("\nNobody has to approve it.\n");
    }
    if reach.break_glass.is_none() {
        text.push_str("\nIt has no emergency path.\n");
    }
    let needs: Vec<&str> = reach.requires.iter().map(word).collect();
    if !needs.is_empty() {
        text.push_str(&format!("\nA request needs: {}\n", needs.join(", ")));
    }
    if !reach.conditions.is_empty() {
        text.push_str("\nAnd only if, for the request, all of these are true:\n");
        reach.conditions.iter().for_each(|source| text.push_str(&format!("  {}\n", tame(source))));
    }
    match changes {
        None => text.push_str("\nNobody can approve changes of the policy.\n"),
        Some(changes) => {
            text.push_str("\nWhoever approves changes of the policy can change all of this:\n");
            text.push_str(&stages("Approval of changes", &changes.stages, directory));
            if !changes.distinct {
                text.push_str("\nThe approval of one person counts for several of these stages.\n");
            }
        }
    }
    if let Some(unknown) = facts::unknown(&unknown_teams(reach, changes)) {
        text.push_str(&format!("\n{unknown}\n"));
    }
    text
}

/// A title, and who is in a crowd.
fn section(title: &str, crowd: &Crowd, directory: &Directory) -> String {
    let lines: String = facts::lines(crowd, directory).iter().map(|line| format!("  {line}\n")).collect();
    format!("\n{title}\n{lines}")
}

/// Who can approve, stage by stage.
fn stages(what: &str, stages: &[StageReach], directory: &Directory) -> String {
    let mut text = String::new();
    for (index, stage) in stages.iter().enumerate() {
        let when = stage.when.as_ref().map(|when| format!(", if {}", tame(when))).unwrap_or_default();
        let title = format!("{what} {}, stage {}{when}", index + 1, stage.name);
        match &stage.parts {
            None => {
                let count = if stage.required == 1 { String::new() } else { format!(", {} of them", stage.required) };
                text.push_str(&section(&format!("{title}: can approve{count}:"), &stage.approvers, directory));
            }
            Some((all, parts)) => {
                let word = if *all { "all of these must" } else { "one of these must" };
                for (nth, (required, crowd)) in parts.iter().enumerate() {
                    let title = format!("{title}: {word} approve, part {}: {required} of:", nth + 1);
                    text.push_str(&section(&title, crowd, directory));
                }
            }
        }
        for step in &stage.steps {
            let time = if step.working_time { " of working time" } else { "" };
            let title = format!("  If it has waited {}{time}, these can approve it:", step.after);
            text.push_str(&section(&title, &step.approvers, directory));
        }
    }
    text
}

fn word(requirement: &Requirement) -> &'static str {
    match requirement {
        Requirement::Ticket => "ticket",
        Requirement::Start => "start",
    }
}

/// The teams nobody told of that play a part.
fn unknown_teams(reach: &RoleReach, changes: Option<&PolicyReach>) -> BTreeSet<crate::policy::name::TeamSlug> {
    let mut crowds = vec![&reach.requesters, &reach.on_behalf];
    crowds.extend(reach.break_glass.iter().map(|(crowd, ..)| crowd));
    let stages = reach.stages.iter().chain(changes.into_iter().flat_map(|changes| &changes.stages));
    crowds.extend(stages.flat_map(|stage| [&stage.approvers, stage.in_the_end()]));
    crowds.extend(reach.machines.iter().map(|machines| &machines.sponsors));
    crowds.into_iter().flat_map(|crowd| crowd.unknown.iter().cloned()).collect()
}

fn json(role: &Role, reach: &RoleReach, changes: Option<&PolicyReach>, unasked: &[Unasked]) -> serde_json::Value {
    json!({
        "role": role.name,
        "description": role.description,
        "risk": role.risk,
        "request": { "who": facts::json(&reach.requesters), "max_duration": reach.max_duration },
        "request_for_others": { "who": facts::json(&reach.on_behalf) },
        "break_glass": reach.break_glass.as_ref().map(|(crowd, most, review)| json!({
            "who": facts::json(crowd), "max_duration": most, "review_within": review,
        })),
        "requires": reach.requires,
        "conditions": reach.conditions,
        "approval": reach.stages.iter().map(stage_json).collect::<Vec<_>>(),
        "distinct": reach.distinct,
        "cool_down": reach.cool_down,
        "limit": reach.limit,
        "machines": reach.machines.as_ref().map(|machines| json!({
            "allowed": reach.is_for_machines(), "max_duration": machines.max_duration, "sponsors": facts::json(&machines.sponsors),
        })),
        "policy_approval": changes.map(|changes| json!({
            "rule": changes.rule,
            "stages": changes.stages.iter().map(stage_json).collect::<Vec<_>>(),
            "distinct": changes.distinct,
        })),
        "unknown_teams": unknown_teams(reach, changes),
        "unasked_teams": unasked.iter().map(|unasked| &unasked.team).collect::<Vec<_>>(),
    })
}

fn stage_json(stage: &StageReach) -> serde_json::Value {
    let later = stage.later.as_ref();
    json!({
        "stage": stage.name,
        "when": stage.when,
        "required": stage.required,
        "approvers": facts::json(&stage.approvers),
        "escalates_after": later.map(|(after, _)| after),
        "approvers_then": later.map(|(_, crowd)| facts::json(crowd)),
        "steps": stage.steps.iter().map(|step| json!({
            "after": step.after, "working_time": step.working_time, "approvers": facts::json(&step.approvers),
        })).collect::<Vec<_>>(),
        "parts": stage.parts.as_ref().map(|(all, parts)| json!({
            "all": all,
            "of": parts.iter().map(|(required, crowd)| json!({ "required": required, "approvers": facts::json(crowd) }))
                .collect::<Vec<_>>(),
        })),
    })
}
