//! Extending a grant: the same request for longer, in a pull request that Daypass opens, approved like the first.
//!
//! `duration` in the file then is the whole length, counted from when access first began, and so is the clock: the window of an
//! extension ends that long after the first beginning. Ceilings and conditions on the duration hold over a chain of extensions
//! by themselves, and no waiting for approval makes access longer than what was approved. See `docs/decisions/0010-extending.md`.
//!
//! That a pull request extends a grant is nothing it can claim. It is so if Daypass opened it, and the file held a verified grant
//! that still ran, and nothing but the duration is another.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::facts::Account;
use super::grant::{Grant, GrantId, Window};
use crate::policy::{Duration, Request};

/// What an extension goes on from. Recorded in the grant that it makes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chain {
    /// The grant that was running.
    pub extends: GrantId,
    /// The grant the chain began with.
    pub first: GrantId,
    /// When access first began.
    pub since: DateTime<Utc>,
}

/// A request that extends a running grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extension {
    /// Where it goes on from.
    pub chain: Chain,
    /// Who has the access: by id, whatever the login is today.
    pub subject: Account,
    /// Who asked for the grant. Only they and the subject can ask to extend it, so whoever asked is one of the two, and neither
    /// approves.
    pub requester: Account,
    /// When the running grant ends.
    pub until: DateTime<Utc>,
}

/// Why a change of a running grant's file does not extend it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoExtension {
    /// The grant is over, or was when it was merged.
    Over,
    /// Something else than the duration differs.
    Different,
    /// It is not longer.
    NotLonger,
}

impl fmt::Display for NoExtension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Over => "the grant it would extend is over",
            Self::Different => "somebody changed more than the duration",
            Self::NotLonger => "it is not longer than the grant that runs",
        })
    }
}

impl Extension {
    /// The extension of `grant` that asks for `new` where its file says `old`, judged at `at`.
    pub fn of(grant: &Grant, old: &Request, new: &Request, at: DateTime<Utc>) -> Result<Self, NoExtension> {
        if at >= grant.window.ends_at {
            return Err(NoExtension::Over);
        }
        if !is_same_but_duration(old, new) {
            return Err(NoExtension::Different);
        }
        if new.duration <= old.duration {
            return Err(NoExtension::NotLonger);
        }
        Ok(Self {
            chain: Chain {
                extends: grant.id.clone(),
                first: grant.chain.as_ref().map_or_else(|| grant.id.clone(), |chain| chain.first.clone()),
                since: grant.since(),
            },
            subject: grant.subject.clone(),
            requester: grant.requester.clone(),
            until: grant.window.ends_at,
        })
    }

    /// When access is due if it is merged at `merged_at`: from then on, for it takes the place of what runs; until `duration` after
    /// access first began.
    pub fn window(&self, merged_at: DateTime<Utc>, duration: Duration) -> Window {
        let whole = Window::new(self.chain.since, None, duration);
        Window { starts_at: whole.starts_at.max(merged_at).min(whole.ends_at), ..whole }
    }
}

fn is_same_but_duration(old: &Request, new: &Request) -> bool {
    // What is compared is what was parsed; where it stands in the file does not matter.
    let new = Request { duration: old.duration, places: old.places.clone(), ..new.clone() };
    new == *old
}

/// The file of a request with another duration in it, and all else as it is; `None` if that cannot be written into it. Whatever
/// comes out was read again and says exactly that.
pub fn with_duration(text: &[u8], request: &Request, duration: Duration) -> Option<Vec<u8>> {
    let place = request.place("duration");
    let text = std::str::from_utf8(text).ok()?;
    let (above, column) = (place.line.checked_sub(1)?, place.column.checked_sub(1)?);
    let mut lines = text.split_inclusive('\n');
    let at: usize = lines.by_ref().take(usize::try_from(above).ok()?).map(str::len).sum();
    let line = lines.next()?;
    let begin = at + line.char_indices().nth(usize::try_from(column).ok()?)?.0;
    let value = text.get(begin..at + line.len())?;
    let length = match value.chars().next()? {
        quote @ ('"' | '\'') => 2 + value.get(1..)?.find(quote)?,
        _ => value.find(['#', ',', '}', '\n', '\r']).unwrap_or(value.len()),
    };
    let old = value.get(..length)?;
    let rest = text.get(begin + old.trim_end().len()..)?;
    let changed = format!("{}{duration}{rest}", text.get(..begin)?);
    let read = crate::policy::request::read(&request.path(), changed.as_bytes(), None).ok()?;
    (read.duration == duration && is_same_but_duration(request, &read)).then(|| changed.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Request {
        crate::policy::request::read("grants/a.yaml", text.as_bytes(), None).unwrap()
    }

    #[test]
    fn only_the_duration_is_written_anew() {
        for (text, wanted) in [
            ("role: r\nduration: 2h # short\nreason: x\n", "role: r\nduration: 3h # short\nreason: x\n"),
            ("role: r\r\nduration: \"2h\"\r\nreason: x\r\n", "role: r\r\nduration: 3h\r\nreason: x\r\n"),
            (
                "# é\n{ role: r, duration: PT2H, reason: 'it is 2h' }",
                "# é\n{ role: r, duration: 3h, reason: 'it is 2h' }",
            ),
            ("reason: x\nrole: r\nduration: 120m", "reason: x\nrole: r\nduration: 3h"),
        ] {
            let changed = with_duration(text.as_bytes(), &read(text), Duration::hours(3)).unwrap();
            assert_eq!(String::from_utf8(changed).unwrap(), wanted);
        }
    }

    #[test]
    fn what_cannot_be_written_is_not() {
        let text = "role: r\nduration: >-\n  2h\nreason: x\n";
        let changed = with_duration(text.as_bytes(), &read(text), Duration::hours(3));
        assert!(changed.is_none_or(|text| read(std::str::from_utf8(&text).unwrap()).duration == Duration::hours(3)));
    }

    proptest::proptest! {
        #[test]
        fn however_it_is_written_it_says_what_is_meant(
            minutes in 1u32..10_000, more in 1u32..10_000, before in "[ ]{0,3}", comment in "( #[a-z ]{0,9})?"
        ) {
            let old = Duration::minutes(minutes);
            let text = format!("role: r\nduration:{before} {old}{comment}\nreason: x\n");
            let new = Duration::minutes(minutes + more);
            let changed = with_duration(text.as_bytes(), &read(&text), new).unwrap();
            proptest::prop_assert_eq!(read(std::str::from_utf8(&changed).unwrap()).duration, new);
        }
    }
}
