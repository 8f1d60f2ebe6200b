//! `daypass diff BASE..HEAD`: what a change of the policy would let people do, read from a local clone.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::anyhow;
use chrono::Utc;
use clap::Args;
use serde_json::{Value, json};

use super::{Failure, facts, out, unreachable, usage, validate};
use crate::access::impact::{self, Effect, Impact, Right, Row, Sentence, Shift};
use crate::engine::effect;
use crate::ledger::{CloneError, LocalClone};
use crate::policy::render::{Format, tame};
use crate::policy::{Finding, Request, request};

/// Arguments of `daypass diff`.
#[derive(Debug, Args)]
pub struct DiffArgs {
    /// BASE..HEAD compares two revisions; BASE...HEAD compares HEAD with where it left BASE; BASE alone compares with the working
    /// tree.
    range: String,
    /// A clone of the policy repository.
    #[arg(default_value = ".")]
    path: PathBuf,
    /// A YAML file that says who is in which team, as `teams: { engineering: [alice, bob] }`.
    #[arg(long, value_name = "FILE")]
    given: Option<PathBuf>,
    /// How the effects are printed; `github` is a Markdown table.
    #[arg(long, value_enum, default_value = "human")]
    format: Shape,
}

/// The shapes effects can be printed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Shape {
    /// For people.
    Human,
    /// For machines.
    Json,
    /// A Markdown table.
    Github,
}

/// One side of the comparison.
struct Side {
    name: String,
    files: BTreeMap<String, Vec<u8>>,
    findings: Vec<Finding>,
}

pub(super) fn run(args: &DiffArgs) -> Result<ExitCode, Failure> {
    let format = match args.format {
        Shape::Human => Format::Human,
        Shape::Json => Format::Json,
        Shape::Github => Format::Github,
    };
    let memberships = match facts::memberships(args.given.as_deref(), format)? {
        Ok(memberships) => memberships,
        Err(code) => return Ok(code),
    };
    let (base, head) = sides(args)?;
    let mut policies = Vec::new();
    for side in [&base, &head] {
        match facts::load(&side.files, side.findings.clone(), format)? {
            Ok(policy) => policies.push(policy),
            Err(code) => {
                let name = tame(&side.name);
                out::beside(format_args!("daypass: the policy of {name} is invalid; nothing can be compared"));
                return Ok(code);
            }
        }
    }
    let [old, new] = policies.as_slice() else { return Err(usage(anyhow!("two policies are compared"))) };
    let (grants, unread) = running(&head.files);
    let subjects = grants.iter().filter_map(|request| request.subject.clone());
    let directory = facts::directory(&memberships, &[old, new], subjects);
    let mut impact = impact::compare(old, new, &directory);
    let now = Utc::now();
    let touched: Vec<&Request> = grants.iter().filter(|request| impact.touches(&request.role)).collect();
    impact.add(
        touched.into_iter().filter_map(|request| impact::running_grant(request, None, (old, new), &directory, now)),
    );
    let nameless = grants.iter().filter(|request| request.subject.is_none()).count();
    let mut notes = notes(&impact, nameless, unread);
    notes.extend(facts::unasked(memberships.teams.keys(), &[old, new]).iter().map(ToString::to_string));
    match args.format {
        Shape::Human => out::print(human(&impact, &base.name, &head.name, &notes))?,
        Shape::Json => out::line(format_args!("{:#}", machine(&impact, &notes)))?,
        Shape::Github => {
            let see_all = "See them all with `daypass diff --format human`.";
            out::print(effect::table(&impact, 60_000, see_all))?;
            let mut notes = notes.iter().skip(usize::from(!impact.unknown.is_empty()));
            notes.try_for_each(|note| out::line(format_args!("\n{note}")))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What is compared with what.
fn sides(args: &DiffArgs) -> Result<(Side, Side), Failure> {
    let clone = LocalClone::at(&args.path).map_err(failure)?;
    let head_if_empty = |revision: &str| if revision.is_empty() { "HEAD".to_owned() } else { revision.to_owned() };
    let at = |name: String| -> Result<Side, Failure> {
        let files = clone.files(&name).map_err(failure)?;
        Ok(Side { name, files, findings: Vec::new() })
    };
    if let Some((base, head)) = args.range.split_once("...") {
        let (base, head) = (head_if_empty(base), head_if_empty(head));
        return Ok((at(clone.merge_base(&base, &head).map_err(failure)?)?, at(head)?));
    }
    if let Some((base, head)) = args.range.split_once("..") {
        return Ok((at(head_if_empty(base))?, at(head_if_empty(head))?));
    }
    let base = at(args.range.clone())?;
    let Some(root) = clone.working_tree() else {
        return Err(usage(anyhow!("this clone has no working tree: write BASE..HEAD to compare two revisions")));
    };
    let mut findings = Vec::new();
    let files = validate::read(root, &mut findings).map_err(usage)?;
    Ok((base, Side { name: "the working tree".to_owned(), files: files.into_iter().collect(), findings }))
}

fn failure(error: CloneError) -> Failure {
    match error {
        CloneError::Broken(_) => unreachable(error),
        _ => usage(error),
    }
}

/// The grants in `files`, and how many cannot be read.
fn running(files: &BTreeMap<String, Vec<u8>>) -> (Vec<Request>, usize) {
    let grants = files.iter().filter(|(path, _)| path.starts_with("grants/") && path.ends_with(".yaml"));
    let read: Vec<_> = grants.map(|(path, bytes)| request::read(path, bytes, None)).collect();
    let unread = read.iter().filter(|request| request.is_err()).count();
    (read.into_iter().flatten().collect(), unread)
}

/// What the comparison does not know.
fn notes(impact: &Impact, nameless: usize, unread: usize) -> Vec<String> {
    let mut notes: Vec<String> = facts::unknown(&impact.unknown).into_iter().collect();
    if nameless > 0 {
        notes.push(format!("Not known offline: for whom {nameless} running grants are that name no subject. What depends on it is not judged."));
    }
    if unread > 0 {
        notes.push(format!("{unread} files in grants/ cannot be read; `daypass validate` tells why."));
    }
    notes.push("Open requests are not known offline; the comment on the pull request tells of them.".to_owned());
    notes
}

fn human(impact: &Impact, base: &str, head: &str, notes: &[String]) -> String {
    let rows = impact.rows();
    let mut text = match rows.len() {
        0 => format!("{}..{}: no effect. Nobody can do more or less than before.\n", tame(base), tame(head)),
        1 => format!("{}..{}: 1 effect\n\n", tame(base), tame(head)),
        count => format!("{}..{}: {count} effects, the most dangerous first\n\n", tame(base), tame(head)),
    };
    let roles = |row: &Row<'_>| match row.roles.as_slice() {
        [] => "-".to_owned(),
        [role] => role.to_string(),
        roles => format!("{} roles", roles.len()),
    };
    let width = rows.iter().map(|row| roles(row).len()).max().unwrap_or(0).min(40);
    for row in &rows {
        let mut sentence = tame(&row.sentence.to_string());
        if row.roles.len() > 1 {
            let named = Sentence::default().list(row.roles.iter(), 10).render(str::to_owned);
            sentence.push_str(&format!(": {named}"));
        }
        text.push_str(&format!("{:<9} {:<width$}  {sentence}\n", row.danger.as_str(), roles(row)));
    }
    for sentence in &impact.dormant {
        text.push_str(&format!(
            "\nNobody gains by it today, but whoever joins later will: {}.\n",
            tame(&sentence.to_string())
        ));
    }
    text.push('\n');
    for note in notes {
        text.push_str(&format!("{note}\n"));
    }
    text
}

fn machine(impact: &Impact, notes: &[String]) -> Value {
    let effect = |effect: &Effect| {
        json!({
            "danger": effect.danger.as_str(),
            "topic": effect.topic.as_str(),
            "role": effect.role,
            "message": effect.sentence.to_string(),
        })
    };
    let shift = |shift: &Shift| {
        let (right, stage) = match &shift.right {
            Right::Request => ("request", None),
            Right::RequestFor => ("request_for_others", None),
            Right::BreakGlass => ("break_glass", None),
            Right::Approve(stage) => ("approve", Some(stage)),
            Right::ApproveInTheEnd(stage) => ("approve_in_the_end", Some(stage)),
        };
        let (gained, lost) = (facts::json(&shift.gained), facts::json(&shift.lost));
        json!({ "role": shift.role, "right": right, "stage": stage, "gained": gained, "lost": lost })
    };
    json!({
        "effects": impact.effects.iter().map(effect).collect::<Vec<_>>(),
        "rights": impact.shifts.iter().map(shift).collect::<Vec<_>>(),
        "unknown_teams": impact.unknown,
        "dormant": impact.dormant.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "notes": notes,
    })
}
