//! An event in one line, for people at a terminal. What people wrote is tamed: it reaches a terminal.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::event::{Event, EventKind};
use super::replay::read;
use crate::access::facts::Account;
use crate::policy::entitlement::Entitlement;
use crate::policy::render::tame;

/// The longest piece of somebody's text in a line.
const LONGEST: usize = 160;

/// What an event is about: the grant, the pull request, or the file.
pub fn about(event: &Event) -> String {
    let details = &event.details;
    if let Some(grant) = details["grant"].as_str() {
        return text(grant);
    }
    if let Some(number) = details["pull_request"].as_u64() {
        return format!("#{number}");
    }
    details["path"].as_str().map_or_else(String::new, text)
}

/// What happened, as a sentence.
pub fn sentence(event: &Event) -> String {
    let details = &event.details;
    let says = |name: &str| details[name].as_str().map(text).unwrap_or_default();
    let commit = |name: &str| details[name].as_str().unwrap_or("?").chars().take(10).collect::<String>();
    match event.kind {
        EventKind::Requested => requested(details),
        EventKind::Decided => says("title"),
        EventKind::Asked => "people are asked again, and what widens counts from here".to_owned(),
        EventKind::Approved => format!("{} approves stage {}", who(&details["by"]), says("stage")),
        EventKind::Objected => format!("{} asks for changes", who(&details["by"])),
        EventKind::Denied => format!("{} denies it: {}", who(&details["by"]), says("reason")),
        EventKind::Escalated => format!("stage {} waits too long, and widens", says("stage")),
        EventKind::Rejected => format!("closed: {}", says("reason")),
        EventKind::Emergency => {
            format!("the glass is broken; issue #{} reviews it by {}", details["issue"], says("due_at"))
        }
        EventKind::Reviewed => format!("{} reviews the emergency, in #{}", who(&details["by"]), details["issue"]),
        EventKind::ReviewOverdue => format!("the review of the emergency is overdue, in #{}", details["issue"]),
        EventKind::Withdrawn => "closed without a merge".to_owned(),
        EventKind::Merged => format!("merged by {} as {}", who(&details["by"]), commit("commit")),
        EventKind::Granted => granted(details),
        EventKind::Started => format!("{} begins for {}", says("role"), who(&details["subject"])),
        EventKind::Ended => format!("{} of {} ends: {}", says("role"), who(&details["subject"]), says("reason")),
        EventKind::Refused => format!("not applied: {}", says("reason")),
        EventKind::Applied if details["standing"] == true => {
            format!("{} had {} before", who(&details["subject"]), entitlement(details))
        }
        EventKind::Applied => {
            format!("{} gets {}{}", who(&details["subject"]), entitlement(details), receipt(details))
        }
        EventKind::Joined => format!("{} has {} by another grant, too", who(&details["subject"]), entitlement(details)),
        EventKind::Left => format!("{} keeps {} by another grant", who(&details["subject"]), entitlement(details)),
        EventKind::Removed => {
            format!("{} loses {}{}", who(&details["subject"]), entitlement(details), receipt(details))
        }
        EventKind::Drifted => {
            let then = if details["repaired"] == true { "given again" } else { "left so" };
            format!("somebody else took {} away from {}; it is {then}", entitlement(details), who(&details["subject"]))
        }
        EventKind::SessionOpened => {
            let more =
                Some(says("what")).filter(|what| !what.is_empty()).map(|what| format!(": {what}")).unwrap_or_default();
            format!("{} has a session on {}{more}", who(&details["subject"]), target(details))
        }
        EventKind::SessionClosed if details["revoked"] == true => {
            format!("a session of {} on {} was open when the access ended", who(&details["subject"]), target(details))
        }
        EventKind::SessionClosed => format!("a session of {} on {} is over", who(&details["subject"]), target(details)),
        EventKind::Failed => {
            let what = if details["ending"] == true { "taken away" } else { "given" };
            format!("{} cannot be {what}: {}", entitlement(details), says("error"))
        }
        EventKind::PolicyChanged => match details["pull_request"].as_u64() {
            Some(number) => format!("the policy changes at {}, by #{number}", commit("commit")),
            None => format!("the policy changes at {}, by a push", commit("commit")),
        },
        EventKind::PolicyInForce => format!("the policy of {} is in force: {}", commit("commit"), says("how")),
        EventKind::PolicyUnverified => {
            format!("the policy of {} is not in force: {}", commit("commit"), says("reason"))
        }
        EventKind::AccessReviewed => format!(
            "access from {} to {} was reviewed by {}: {} of {} confirmed",
            day(&details["since"]),
            day(&details["until"]),
            who(&details["by"]),
            details["confirmed"],
            details["items"]
        ),
        EventKind::HistoryRewritten => {
            format!("the default branch was rewritten: {} became {}", commit("before"), commit("after"))
        }
        EventKind::LedgerAltered => format!("the ledger was altered after event {}: {}", details["seq"], says("how")),
    }
}

fn requested(details: &Value) -> String {
    let author = who(&details["author"]);
    let asks = details["requests"].as_array().into_iter().flatten().map(|request| {
        let field = |name: &str| request[name].as_str().map(text).unwrap_or_default();
        let subject = match who(&request["subject"]) {
            subject if subject == author => String::new(),
            subject => format!(" for {subject}"),
        };
        let emergency = if request["break_glass"] == true { ", as an emergency" } else { "" };
        format!("{}{subject} for {}{emergency}: {}", field("role"), field("duration"), field("reason"))
    });
    let removes = details["removes"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let removes = removes.map(|slug| format!("the end of {}", text(slug)));
    let policy = (details["policy"] == true).then(|| "a change of the policy".to_owned());
    let what: Vec<String> = asks.chain(removes).chain(policy).collect();
    format!("{author} asks for {}", what.join("; "))
}

fn granted(details: &Value) -> String {
    let until = read::<DateTime<Utc>>(&details["window"]["ends_at"]).map(when).unwrap_or_default();
    let approvers: Vec<String> = details["approvers"].as_array().into_iter().flatten().map(who).collect();
    let by = match (details["break_glass"] == true, approvers.is_empty()) {
        (true, _) => "as an emergency".to_owned(),
        (false, true) => "which needs nobody's approval".to_owned(),
        (false, false) => format!("approved by {}", approvers.join(" and ")),
    };
    let role = details["role"].as_str().map(text).unwrap_or_default();
    format!("{} has {role} until {until}, {by}", who(&details["subject"]))
}

fn receipt(details: &Value) -> String {
    details["receipt"]["summary"].as_str().map(|summary| format!(" ({})", text(summary))).unwrap_or_default()
}

/// The entitlement of an event, as people read it.
pub fn entitlement(details: &Value) -> String {
    read::<Entitlement>(&details["entitlement"])
        .map_or_else(|| "something".to_owned(), |known| text(&known.to_string()))
}

/// The day of a time.
fn day(value: &Value) -> String {
    value.as_str().map(|time| text(time.get(..10).unwrap_or(time))).unwrap_or_default()
}

/// The target of a session.
fn target(details: &Value) -> String {
    details["target"].as_str().map_or_else(|| "a target".to_owned(), text)
}

/// A person of an event.
pub fn who(value: &Value) -> String {
    read::<Account>(value).map_or_else(|| "somebody".to_owned(), |account| account.login.to_string())
}

/// A time, as the commands print it.
pub fn when(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%SZ").to_string()
}

/// Somebody's text, in one tame line.
pub fn text(text: &str) -> String {
    let short: String = text.chars().take(LONGEST).collect();
    let more = if short.len() < text.len() { "…" } else { "" };
    format!("{}{more}", tame(&short.replace('\n', " ")))
}
