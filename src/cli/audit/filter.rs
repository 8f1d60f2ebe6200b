//! Which events are asked for.

use std::collections::HashSet;
use std::ops::ControlFlow;

use chrono::{DateTime, NaiveDate, NaiveDateTime, Utc};
use clap::Args;
use serde_json::Value;

use super::Failure;
use crate::ledger::{Entry, EventKind, LedgerBranch};

/// What events are asked for; all that is given must hold.
#[derive(Debug, Args)]
pub(super) struct Filter {
    /// Events with this person in them: a login, or GitHub's number of the account.
    #[arg(long)]
    person: Option<String>,
    /// Events about this role.
    #[arg(long)]
    role: Option<String>,
    /// Events about this target.
    #[arg(long)]
    target: Option<String>,
    /// Not before: `2026-11-30`, or RFC 3339.
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<DateTime<Utc>>,
    /// Before: `2026-12-01`, or RFC 3339.
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<DateTime<Utc>>,
    /// Events about this pull request, and the grant it brought.
    #[arg(long, value_name = "NUMBER")]
    pull_request: Option<u64>,
    /// Events of these kinds, such as `granted`.
    #[arg(long, value_delimiter = ',', value_name = "KIND")]
    kind: Vec<EventKind>,
}

/// A time as people write it; without a zone it is UTC.
pub(in crate::cli) fn time(text: &str) -> Result<DateTime<Utc>, String> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Ok(time.with_timezone(&Utc));
    }
    for form in ["%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"] {
        if let Ok(time) = NaiveDateTime::parse_from_str(text, form) {
            return Ok(time.and_utc());
        }
    }
    let midnight = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok().and_then(|day| day.and_hms_opt(0, 0, 0));
    midnight.map(|time| time.and_utc()).ok_or_else(|| "write 2026-11-30, 2026-11-30T14:00 or RFC 3339".to_owned())
}

/// Grants and pull requests that are asked for: some of their events name what is asked for, and the others belong to them.
#[derive(Debug, Default)]
pub(super) struct Scope {
    grants: HashSet<String>,
    pulls: HashSet<u64>,
}

impl Scope {
    fn add(&mut self, details: &Value) {
        self.grants.extend(details["grant"].as_str().map(str::to_owned));
        self.pulls.extend(pull_request(details));
    }

    /// Whether an event belongs to one of them. Of a pull request with several grants only those count that are asked for.
    fn holds(&self, details: &Value) -> bool {
        match details["grant"].as_str() {
            Some(grant) => self.grants.contains(grant),
            None => pull_request(details).is_some_and(|number| self.pulls.contains(&number)),
        }
    }
}

impl Filter {
    /// What belongs to the role or target that is asked for; with `whole_lives` also to the person.
    pub fn scope(&self, branch: &LedgerBranch<'_>, whole_lives: bool) -> Result<Scope, Failure> {
        let mut scope = Scope::default();
        let persons = whole_lives && self.person.is_some();
        if self.role.is_none() && self.target.is_none() && !persons {
            return Ok(scope);
        }
        super::read(branch, |entry| {
            let details = &entry.event.details;
            if self.is_named(details) && (!persons || self.is_with(details)) {
                scope.add(details);
            }
            ControlFlow::Continue(())
        })?;
        Ok(scope)
    }

    /// Whether the role and the target that are asked for are in an event.
    fn is_named(&self, details: &Value) -> bool {
        self.role.as_ref().is_none_or(|role| roles(details).any(|known| known == role))
            && self.target.as_ref().is_none_or(|target| targets(details).any(|known| known == target))
    }

    fn is_with(&self, details: &Value) -> bool {
        self.person.as_ref().is_none_or(|person| names(details, person))
    }

    /// Whether an event belongs to a request or grant that is asked for, whoever and whatever it names itself.
    pub fn takes_lives(&self, entry: &Entry, scope: &Scope) -> bool {
        let details = &entry.event.details;
        self.when_and_what(entry) && (self.is_named(details) && self.is_with(details) || scope.holds(details))
    }

    /// Whether an event is one of those.
    pub fn takes(&self, entry: &Entry, scope: &Scope) -> bool {
        let details = &entry.event.details;
        self.when_and_what(entry) && self.is_with(details) && (self.is_named(details) || scope.holds(details))
    }

    fn when_and_what(&self, entry: &Entry) -> bool {
        let (event, details) = (&entry.event, &entry.event.details);
        self.since.is_none_or(|since| since <= event.at)
            && self.until.is_none_or(|until| event.at < until)
            && (self.kind.is_empty() || self.kind.contains(&event.kind))
            && self.pull_request.is_none_or(|number| is_about(details, number))
    }
}

/// Whether an event is about a pull request, or the grant it brought.
pub(super) fn is_about(details: &Value, number: u64) -> bool {
    pull_request(details) == Some(number)
}

/// The pull request an event is about, or that brought the grant it is about.
fn pull_request(details: &Value) -> Option<u64> {
    let of_grant = details["grant"].as_str().and_then(|grant| grant.split_once('#')?.1.parse().ok());
    details["pull_request"].as_u64().or(of_grant)
}

/// Whether somebody is among the people of an event, at whatever depth.
fn names(value: &Value, person: &str) -> bool {
    match value {
        Value::Object(fields) => {
            let login = fields.get("login").and_then(Value::as_str);
            let id = fields.get("id").and_then(Value::as_u64);
            let is_account = login.is_some() && id.is_some();
            let is_them = login.is_some_and(|login| login.eq_ignore_ascii_case(person))
                || id.is_some_and(|id| id.to_string() == person);
            (is_account && is_them) || fields.values().any(|value| names(value, person))
        }
        Value::Array(items) => items.iter().any(|item| names(item, person)),
        _ => false,
    }
}

/// The roles of an event.
pub(super) fn roles(details: &Value) -> impl Iterator<Item = &str> {
    let asked = details["requests"].as_array().into_iter().flatten().filter_map(|request| request["role"].as_str());
    details["role"].as_str().into_iter().chain(asked)
}

/// The targets of an event.
pub(super) fn targets(details: &Value) -> impl Iterator<Item = &str> {
    let all = details["entitlements"].as_array().into_iter().flatten();
    let given = all.chain([&details["entitlement"]]).filter_map(|entitlement| entitlement["target"].as_str());
    given.chain(details["target"].as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_people_write_them() {
        for (text, time_of) in [
            ("2026-11-30", "2026-11-30T00:00:00Z"),
            ("2026-11-30 14:05", "2026-11-30T14:05:00Z"),
            ("2026-11-30T14:05:06", "2026-11-30T14:05:06Z"),
            ("2026-11-30T14:05:06+02:00", "2026-11-30T12:05:06Z"),
        ] {
            assert_eq!(time(text).unwrap(), time_of.parse::<DateTime<Utc>>().unwrap());
        }
        assert!(time("yesterday").is_err());
    }

    #[test]
    fn somebody_is_found_wherever_they_are_named_and_by_name_or_number() {
        let details = serde_json::json!({ "approvers": [{ "id": 7, "login": "Dave" }], "entitlement": { "access": { "login": "erin" } } });
        assert!(names(&details, "dave") && names(&details, "7"));
        assert!(!names(&details, "erin"), "a login role of a database is no person");
    }
}
