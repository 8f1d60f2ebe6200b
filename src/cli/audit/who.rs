//! `daypass audit who`: who had a role, or access on a target, at a time.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::process::ExitCode;

use anyhow::anyhow;
use chrono::{DateTime, Utc};
use clap::Args;
use serde_json::{Value, json};

use super::filter::{roles, targets, time};
use super::{Failure, Source, out, read};
use crate::cli::usage;
use crate::ledger::replay::{Life, Lives};
use crate::ledger::tell;
use crate::policy::suggest;

/// How many events are read before grants that are over are forgotten.
const OFTEN: u64 = 10_000;

/// Arguments of `daypass audit who`.
#[derive(Debug, Args)]
pub(super) struct WhoArgs {
    /// A role, or a target.
    name: String,
    /// When: `2026-11-30T14:00`, or RFC 3339.
    #[arg(long, value_name = "TIME", value_parser = time)]
    at: DateTime<Utc>,
    #[command(flatten)]
    source: Source,
}

/// Somebody who had it.
struct Holder {
    grant: String,
    life: Life,
    /// What they had, with since when; nothing if no target had confirmed anything.
    had: Vec<(String, DateTime<Utc>)>,
    /// What they had before Daypass, with when that was seen.
    standing: Vec<(String, DateTime<Utc>)>,
}

pub(super) fn run(args: &WhoArgs) -> Result<ExitCode, Failure> {
    let clone = args.source.open()?;
    let branch = clone.ledger().map_err(super::failure)?;
    let (mut lives, mut known_roles, mut known_targets) = (Lives::default(), BTreeSet::new(), BTreeSet::new());
    let (mut events, mut newest) = (0_u64, None);
    let gaps = read(&branch, |entry| {
        let details = &entry.event.details;
        known_roles.extend(roles(details).map(str::to_owned));
        known_targets.extend(targets(details).map(str::to_owned));
        newest = newest.max(Some(entry.event.at));
        if entry.event.at <= args.at {
            lives.take(&entry.event);
            events += 1;
            if events.is_multiple_of(OFTEN) {
                lives.forget_over(args.at);
            }
        }
        ControlFlow::Continue(())
    })?;
    let (is_role, is_target) = (known_roles.contains(&args.name), known_targets.contains(&args.name));
    if !is_role && !is_target {
        return Err(usage(unknown(&args.name, known_roles.iter().chain(&known_targets))));
    }
    let mut told = BTreeSet::new();
    let holders: Vec<Holder> =
        lives.0.into_iter().filter_map(|(grant, life)| holder(args, grant, life, &mut told)).collect();
    let later = newest.is_none_or(|newest| newest < args.at);
    match args.source.json {
        true => out::line(format_args!(
            "{:#}",
            json!({ "name": args.name, "at": args.at, "holders": holders.iter().map(Holder::json).collect::<Vec<_>>(),
                "partial": gaps.are_some(), "newest_event": newest })
        ))?,
        false => {
            holders.iter().try_for_each(|holder| out::line(holder.line()))?;
            if holders.is_empty() {
                out::line("Nobody.")?;
            }
            if let (true, Some(newest)) = (later, newest) {
                let newest = tell::when(newest);
                out::line(format_args!("The newest event is of {newest}: what happened since is not known here."))?;
            }
        }
    }
    Ok(gaps.tell())
}

fn holder(args: &WhoArgs, grant: String, life: Life, told: &mut BTreeSet<(String, String)>) -> Option<Holder> {
    let of_role = life.role.as_ref().is_some_and(|role| *role == args.name);
    let on_target = |name: &String| life.targets.get(name).is_some_and(|target| *target == args.name);
    let had: Vec<(String, DateTime<Utc>)> = life
        .had(args.at)
        .filter(|(name, _)| of_role || on_target(name))
        .map(|(name, interval)| (name.clone(), interval.from))
        .collect();
    let live = life.is_live(args.at);
    let subject = life.subject.as_ref().map(|subject| subject.id.to_string()).unwrap_or_default();
    // What somebody has for good is told once, however often they were granted it.
    let standing: Vec<(String, DateTime<Utc>)> = life
        .standing
        .iter()
        .filter(|(name, _)| of_role || on_target(name))
        .filter(|(name, _)| told.insert((subject.clone(), (*name).clone())) || live)
        .map(|(name, seen)| (name.clone(), *seen))
        .collect();
    let any = !had.is_empty() || !standing.is_empty() || of_role && live;
    any.then_some(Holder { grant, life, had, standing })
}

fn unknown<'a>(asked: &str, known: impl Iterator<Item = &'a String> + Clone) -> anyhow::Error {
    let asked = tell::text(asked);
    match suggest(&asked, known.clone().map(String::as_str)) {
        Some(near) => anyhow!("no event names a role or target `{asked}`. Did you mean `{near}`?"),
        None => {
            let known: Vec<String> = known.take(20).map(|name| tell::text(name)).collect();
            anyhow!("no event names a role or target `{asked}`. There are: {}.", known.join(", "))
        }
    }
}

impl Holder {
    fn line(&self) -> String {
        let life = &self.life;
        let who = life.subject.as_ref().map_or("somebody", |subject| subject.login.as_str());
        let role = life.role.as_deref().map(tell::text).unwrap_or_default();
        let until = life.window.map_or_else(String::new, |window| format!(" until {}", tell::when(window.ends_at)));
        let approvers: Vec<&str> = life.approvers.iter().map(|approver| approver.login.as_str()).collect();
        let by = if approvers.is_empty() { "nobody".to_owned() } else { approvers.join(", ") };
        let mut line = format!("{who:<20} {role}{until}, by {}, approved by {by}", tell::text(&self.grant));
        match self.had.is_empty() {
            true if !self.standing.is_empty() => {}
            true if !life.access.is_empty() => line.push_str("; what it gave was gone from the target"),
            true => line.push_str("; no target had confirmed it"),
            false => self.had.iter().for_each(|(name, since)| {
                line.push_str(&format!("\n{:<20} {} since {}", "", tell::text(name), tell::when(*since)));
            }),
        }
        for (name, seen) in &self.standing {
            let (name, seen) = (tell::text(name), tell::when(*seen));
            line.push_str(&format!(
                "\n{:<20} {name} since before Daypass, as it was on {seen}; no grant ends that",
                ""
            ));
        }
        line
    }

    fn json(&self) -> Value {
        let had = self.had.iter().map(|(name, since)| json!({ "entitlement": name, "since": since }));
        let standing =
            self.standing.iter().map(|(name, seen)| json!({ "entitlement": name, "standing": true, "seen": seen }));
        json!({ "subject": self.life.subject, "grant": self.grant, "role": self.life.role, "window": self.life.window,
            "requester": self.life.requester, "approvers": self.life.approvers, "reason": self.life.reason,
            "access": had.chain(standing).collect::<Vec<_>>() })
    }
}
