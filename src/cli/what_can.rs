//! `daypass what-can LOGIN`: what somebody can request, approve and break the glass for.

use std::collections::BTreeSet;
use std::process::ExitCode;

use anyhow::anyhow;
use clap::Args;
use serde_json::{Value, json};

use super::facts::{self, Known, Shape};
use super::{Failure, out, usage};
use crate::access::impact;
use crate::access::reach::{self, Abilities, Answer, Approvable, PolicyReach};
use crate::policy::name::{Login, TeamSlug};
use crate::policy::render::tame;
use crate::policy::suggest;
use crate::policy::testcase::Who;

/// Arguments of `daypass what-can`.
#[derive(Debug, Args)]
pub struct WhatCanArgs {
    /// The GitHub login; `app:SLUG` is the account of an app.
    login: Who,
    #[command(flatten)]
    known: Known,
}

pub(super) fn run(args: &WhatCanArgs) -> Result<ExitCode, Failure> {
    let login = args.login.login().clone();
    let memberships = match args.known.memberships()? {
        Ok(memberships) => memberships,
        Err(code) => return Ok(code),
    };
    let policy = match args.known.policy()? {
        Ok(policy) => policy,
        Err(code) => return Ok(code),
    };
    let mut named: BTreeSet<Login> = impact::named(&policy).logins;
    named.extend(policy.people.keys().chain(memberships.teams.values().flatten()).cloned());
    let directory = facts::directory(&memberships, &[&policy], [login.clone()]);
    let Some(account) = directory.account(&login) else {
        let shown = tame(login.as_str());
        return Err(usage(anyhow!("what is given says that there is no account `{shown}`: it can do nothing")));
    };
    let abilities = reach::abilities(account, &policy, &directory);
    let changes = PolicyReach::of(&policy, &directory).map(|reach| reach.approvable(account)).unwrap_or_default();
    let near = if named.contains(&login) { None } else { suggest(login.as_str(), named.iter().map(Login::as_str)) };
    let unknown: BTreeSet<TeamSlug> = abilities.iter().flat_map(unknown_teams).chain(unknown_of(&changes)).collect();
    let unasked = facts::unasked(memberships.teams.keys(), &[&policy]);
    match args.known.format {
        Shape::Json => {
            let unasked: Vec<&TeamSlug> = unasked.iter().map(|unasked| &unasked.team).collect();
            let roles: Vec<Value> = abilities.iter().map(json).collect();
            let answer = json!({ "login": login, "named": named.contains(&login), "did_you_mean": near, "roles": roles,
                "policy_approval": changes.iter().map(stage).collect::<Vec<_>>(), "unknown_teams": unknown, "unasked_teams": unasked });
            out::line(format_args!("{answer:#}"))?;
        }
        Shape::Human => {
            if !named.contains(&login) {
                let near = near.map(|near| format!(" Did you mean `{near}`?")).unwrap_or_default();
                let shown = tame(login.as_str());
                out::line(format_args!("Neither the policy nor the memberships name `{shown}`.{near}\n"))?;
            }
            if abilities.is_empty() && changes.is_empty() {
                out::line(format_args!("{login} can do nothing under this policy."))?;
            }
            abilities.iter().try_for_each(|abilities| out::print(human(abilities)))?;
            let lines: String = approval_lines(&changes).map(|line| format!("  {line}\n")).collect();
            if !lines.is_empty() {
                out::line(format_args!("changes of the policy\n{lines}"))?;
            }
            if let Some(unknown) = facts::unknown(&unknown) {
                out::line(unknown)?;
            }
            unasked.iter().try_for_each(out::line)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// "can", or under which circumstances.
fn can(answer: &Answer) -> Option<String> {
    match answer {
        Answer::Yes => Some("can".to_owned()),
        Answer::No => None,
        Answer::IfIn(teams) => {
            let names: Vec<String> = teams.iter().map(|slug| format!("team:{slug}")).collect();
            Some(format!("if in {}: can", names.join(" or ")))
        }
    }
}

fn human(abilities: &Abilities) -> String {
    let reach = &abilities.reach;
    let mut lines = Vec::new();
    if let Some(can) = can(&abilities.request) {
        let stages: Vec<String> = reach.stages.iter().map(|stage| stage.name.to_string()).collect();
        let approval = match stages.as_slice() {
            [] => "without approval".to_owned(),
            stages => format!("approved by {}", stages.join(", ")),
        };
        let only = if reach.conditions.is_empty() { "" } else { ", under its conditions" };
        let sponsored = reach.machines.as_ref().filter(|machines| !machines.sponsors.principals.is_empty());
        let sponsored = if sponsored.is_some() { ", vouched for by a sponsor" } else { "" };
        lines.push(match (abilities.is_bot, &reach.machines) {
            (true, _) if !reach.is_for_machines() => "gets nothing: no human would have to approve it".to_owned(),
            (true, Some(machines)) => {
                format!("{can} request it for up to {}, {approval}{sponsored}{only}", machines.max_duration)
            }
            _ => format!("{can} request it for up to {}, {approval}{only}", reach.max_duration),
        });
    }
    if let Some(can) = can(&abilities.on_behalf) {
        lines.push(format!("{can} request it for others"));
    }
    if let (Some(can), Some((_, most, _))) = (can(&abilities.break_glass), &reach.break_glass) {
        lines.push(format!("{can} break the glass for up to {most}"));
    }
    lines.extend(approval_lines(&abilities.approve));
    lines.extend(can(&abilities.sponsor).map(|can| format!("{can} vouch for machines that request it")));
    let lines: String = lines.iter().map(|line| format!("  {line}\n")).collect();
    format!("{}\n{lines}\n", abilities.role)
}

/// The stages somebody can approve, a line each.
fn approval_lines(approvable: &[Approvable]) -> impl Iterator<Item = String> {
    approvable.iter().filter_map(|(stage, answer, after)| {
        let after = after.map(|after| format!(" after it has waited {after}")).unwrap_or_default();
        can(answer).map(|can| format!("{can} approve stage {stage}{after}"))
    })
}

fn answer(answer: &Answer) -> Value {
    match answer {
        Answer::Yes => json!(true),
        Answer::No => json!(false),
        Answer::IfIn(teams) => json!({ "if_in": teams }),
    }
}

fn stage((stage, can, after): &Approvable) -> Value {
    json!({ "stage": stage, "can": answer(can), "after": after })
}

fn json(abilities: &Abilities) -> Value {
    json!({
        "role": abilities.role,
        "request": answer(&abilities.request),
        "max_duration": match &abilities.reach.machines {
            Some(machines) if abilities.is_bot => machines.max_duration,
            _ => abilities.reach.max_duration,
        },
        "sponsor": answer(&abilities.sponsor),
        "request_for_others": answer(&abilities.on_behalf),
        "break_glass": answer(&abilities.break_glass),
        "approve": abilities.approve.iter().map(stage).collect::<Vec<_>>(),
        "conditions": abilities.reach.conditions,
    })
}

fn unknown_teams(abilities: &Abilities) -> BTreeSet<TeamSlug> {
    let answers = [&abilities.request, &abilities.on_behalf, &abilities.break_glass, &abilities.sponsor];
    answers.into_iter().flat_map(teams_of).chain(unknown_of(&abilities.approve)).collect()
}

fn unknown_of(approvable: &[Approvable]) -> impl Iterator<Item = TeamSlug> {
    approvable.iter().flat_map(|(_, answer, _)| teams_of(answer))
}

fn teams_of(answer: &Answer) -> BTreeSet<TeamSlug> {
    match answer {
        Answer::IfIn(teams) => teams.clone(),
        Answer::Yes | Answer::No => BTreeSet::new(),
    }
}
