//! `daypass audit show`: the whole life of a grant.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::process::ExitCode;

use anyhow::anyhow;
use clap::Args;
use serde_json::json;

use super::filter::is_about;
use super::{Failure, Source, log, out, read};
use crate::cli::usage;
use crate::ledger::replay::{Life, Lives, Used};
use crate::ledger::{Entry, LedgerBranch, tell};

/// Arguments of `daypass audit show`.
#[derive(Debug, Args)]
pub(super) struct ShowArgs {
    /// A grant: `alice-orders#12`, or its file's name alone, or `#12`.
    grant: String,
    #[command(flatten)]
    source: Source,
}

pub(super) fn run(args: &ShowArgs) -> Result<ExitCode, Failure> {
    let clone = args.source.open()?;
    let branch = clone.ledger().map_err(super::failure)?;
    let (slug, number) = find(&branch, &args.grant)?;
    let mut events = Vec::new();
    let mut lives = Lives::default();
    let id = format!("{slug}#{number}");
    let gaps = read(&branch, |entry| {
        let details = &entry.event.details;
        let of_another = details["grant"].as_str().is_some_and(|grant| grant != id);
        if is_about(details, number) && !of_another {
            lives.take(&entry.event);
            events.push(entry);
        }
        ControlFlow::Continue(())
    })?;
    let life = lives.0.remove(&id).unwrap_or_default();
    match args.source.json {
        true => {
            let events: Vec<_> = events.iter().map(log::json).collect();
            let answer = json!({ "grant": id, "life": life, "events": events, "partial": gaps.are_some() });
            out::line(format_args!("{answer:#}"))?;
        }
        false => out::print(human(&id, &life, &events))?,
    }
    Ok(gaps.tell())
}

/// File and pull request of the grant, or request, that is meant.
fn find(branch: &LedgerBranch<'_>, asked: &str) -> Result<(String, u64), Failure> {
    let (slug, number) = match asked.split_once('#') {
        Some((slug, number)) => (slug, Some(number.parse::<u64>().map_err(|_| usage(unknown(asked)))?)),
        None => (asked, None),
    };
    // Those of one name, by pull request; a name has few.
    let mut found: BTreeMap<u64, BTreeSet<String>> = BTreeMap::new();
    read(branch, |entry| {
        let details = &entry.event.details;
        let asked_for = details["requests"].as_array().into_iter().flatten().filter_map(|one| one["grant"].as_str());
        for grant in details["grant"].as_str().into_iter().chain(asked_for) {
            let Some((name, pull)) = grant.split_once('#') else { continue };
            let Ok(pull) = pull.parse::<u64>() else { continue };
            if (slug.is_empty() || slug == name) && number.is_none_or(|number| number == pull) {
                found.entry(pull).or_default().insert(name.to_owned());
            }
        }
        ControlFlow::Continue(())
    })?;
    let mut all = found.iter().flat_map(|(number, slugs)| slugs.iter().map(|slug| (slug.clone(), *number)));
    match (all.next(), all.next()) {
        (Some(only), None) => Ok(only),
        (None, _) => Err(usage(unknown(asked))),
        (Some(first), Some(second)) => {
            let all: Vec<String> =
                [first, second].into_iter().chain(all).map(|(slug, number)| format!("{slug}#{number}")).collect();
            Err(usage(anyhow!("`{}` can mean {}: say which", tell::text(asked), tell::text(&all.join(", ")))))
        }
    }
}

fn unknown(asked: &str) -> anyhow::Error {
    let asked = tell::text(asked);
    anyhow!(
        "no event is about a grant `{asked}`. `daypass audit log` lists what happened; a grant is written as file#pull-request"
    )
}

/// How many sessions are listed above the events, which tell of all.
const MOST_SESSIONS: usize = 10;

fn session(used: &Used) -> String {
    let to = match (used.closed_at, used.revoked) {
        (Some(at), true) => format!("{}, when the access was taken away", tell::when(at)),
        (Some(at), false) => tell::when(at),
        (None, _) => "no end that is known".to_owned(),
    };
    let target = used.target.as_deref().map_or_else(|| "a target".to_owned(), tell::text);
    let what = if used.what.is_empty() { String::new() } else { format!(", {}", tell::text(&used.what)) };
    format!("on {target} from {} to {to}{what} (seen by {})", tell::when(used.opened_at), tell::text(&used.source))
}

fn human(id: &str, life: &Life, events: &[Entry]) -> String {
    let mut text = format!("{}\n", tell::text(id));
    let mut field = |name: &str, value: Option<String>| {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            text.push_str(&format!("  {name:<10} {value}\n"));
        }
    };
    let logins = |accounts: &[crate::access::facts::Account]| {
        accounts.iter().map(|account| format!("{} ({})", account.login, account.id)).collect::<Vec<_>>().join(", ")
    };
    field("role", life.role.as_deref().map(tell::text));
    field("subject", life.subject.as_ref().map(|subject| logins(std::slice::from_ref(subject))));
    field("requester", life.requester.as_ref().map(|requester| logins(std::slice::from_ref(requester))));
    field("approvers", Some(logins(&life.approvers)));
    field("reason", life.reason.as_deref().map(tell::text));
    field(
        "window",
        life.window.map(|window| format!("{} to {}", tell::when(window.starts_at), tell::when(window.ends_at))),
    );
    field("ended", life.ended.as_ref().map(|(at, reason)| format!("{}, {}", tell::when(*at), tell::text(reason))));
    for (name, intervals) in &life.access {
        for interval in intervals {
            let to = interval.to.map_or("now".to_owned(), tell::when);
            field("access", Some(format!("{} from {} to {to}", tell::text(name), tell::when(interval.from))));
        }
    }
    for used in life.sessions.iter().take(MOST_SESSIONS) {
        field("session", Some(session(used)));
    }
    let more = life.sessions.len().saturating_sub(MOST_SESSIONS) as u64 + life.more_sessions;
    field("", (more > 0).then(|| format!("and {more} sessions more")));
    text.push('\n');
    for entry in events {
        text.push_str(&format!("  {}\n", log::line(entry)));
    }
    text
}
