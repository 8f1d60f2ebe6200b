//! `daypass who-can ROLE`: who can request a role, approve it and break the glass for it.

use std::collections::BTreeSet;
use std::process::ExitCode;

use anyhow::anyhow;
use clap::Args;
use serde_json::json;

use super::facts::{self, Known, Shape, Unasked};
use super::{Failure, usage};
use crate::access::facts::Directory;
use crate::access::reach::{Crowd, RoleReach, StageReach};
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
    let unasked = facts::unasked(memberships.keys(), &[&policy]);
    match args.known.format {
        Shape::Json => println!("{:#}", json(role, &reach, &unasked)),
        Shape::Human => {
            print!("{}", human(role, &reach, &directory));
            unasked.iter().for_each(|unasked| println!("\n{unasked}"));
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

fn human(role: &Role, reach: &RoleReach, directory: &Directory) -> String {
    let mut text = format!("{} (risk {})", role.name, role.risk.as_str());
    if !role.description.is_empty() {
        text.push_str(&format!(": {}", tame(&role.description)));
    }
    text.push('\n');
    let mut section = |title: String, crowd: &Crowd| {
        text.push_str(&format!("\n{title}\n"));
        facts::lines(crowd, directory).iter().for_each(|line| text.push_str(&format!("  {line}\n")));
    };
    section(format!("Can request it, for up to {}:", reach.max_duration), &reach.requesters);
    if !reach.on_behalf.principals.is_empty() {
        section("Can request it for one of those:".to_owned(), &reach.on_behalf);
    }
    if let Some((crowd, most, review)) = &reach.break_glass {
        section(format!("Can break the glass, for up to {most}, reviewed within {review}:"), crowd);
    }
    for (index, stage) in reach.stages.iter().enumerate() {
        match &stage.parts {
            None => section(stage_title(index, stage), &stage.approvers),
            Some((all, parts)) => {
                let word = if *all { "all of these must" } else { "one of these must" };
                for (nth, (required, crowd)) in parts.iter().enumerate() {
                    let title = format!("{}, part {}: {required} of", parts_title(index, stage, word), nth + 1);
                    section(format!("{title}:"), crowd);
                }
            }
        }
        for step in &stage.steps {
            let time = if step.working_time { " of working time" } else { "" };
            section(format!("  If it has waited {}{time}, these can approve it:", step.after), &step.approvers);
        }
    }
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
    if let Some(unknown) = facts::unknown(&unknown_teams(reach)) {
        text.push_str(&format!("\n{unknown}\n"));
    }
    text
}

fn stage_title(index: usize, stage: &StageReach) -> String {
    let count = if stage.required == 1 { String::new() } else { format!(", {} of them", stage.required) };
    let when = stage.when.as_ref().map(|when| format!(", if {}", tame(when))).unwrap_or_default();
    format!("Approval {}, stage {}{when}: can approve{count}:", index + 1, stage.name)
}

fn parts_title(index: usize, stage: &StageReach, word: &str) -> String {
    let when = stage.when.as_ref().map(|when| format!(", if {}", tame(when))).unwrap_or_default();
    format!("Approval {}, stage {}{when}: {word} approve", index + 1, stage.name)
}

fn word(requirement: &Requirement) -> &'static str {
    match requirement {
        Requirement::Ticket => "ticket",
        Requirement::Start => "start",
    }
}

/// The teams nobody told of that play a part.
fn unknown_teams(reach: &RoleReach) -> BTreeSet<crate::policy::name::TeamSlug> {
    let mut crowds = vec![&reach.requesters, &reach.on_behalf];
    crowds.extend(reach.break_glass.iter().map(|(crowd, ..)| crowd));
    crowds.extend(reach.stages.iter().flat_map(|stage| [&stage.approvers, stage.in_the_end()]));
    crowds.extend(reach.machines.iter().map(|machines| &machines.sponsors));
    crowds.into_iter().flat_map(|crowd| crowd.unknown.iter().cloned()).collect()
}

fn json(role: &Role, reach: &RoleReach, unasked: &[Unasked]) -> serde_json::Value {
    let stages: Vec<_> = reach
        .stages
        .iter()
        .map(|stage| {
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
        })
        .collect();
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
        "approval": stages,
        "distinct": reach.distinct,
        "cool_down": reach.cool_down,
        "limit": reach.limit,
        "machines": reach.machines.as_ref().map(|machines| json!({
            "allowed": reach.is_for_machines(), "max_duration": machines.max_duration, "sponsors": facts::json(&machines.sponsors),
        })),
        "unknown_teams": unknown_teams(reach),
        "unasked_teams": unasked.iter().map(|unasked| &unasked.team).collect::<Vec<_>>(),
    })
}
