//! How many requests an installation may send in an hour: <https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api>.

use chrono::{DateTime, TimeDelta, Utc};

/// What of it is used.
#[derive(Debug)]
pub(super) struct Limit {
    per_hour: u64,
    used: u64,
    resets_at: DateTime<Utc>,
}

/// What the headers of an answer tell.
#[derive(Debug, Clone, Copy)]
pub(super) struct Told {
    pub limit: u64,
    pub remaining: u64,
    pub used: u64,
    pub reset: DateTime<Utc>,
}

impl Limit {
    pub fn new(per_hour: u64, now: DateTime<Utc>) -> Self {
        Self { per_hour, used: 0, resets_at: now + TimeDelta::hours(1) }
    }

    /// What there is at `now`.
    pub fn told(&mut self, now: DateTime<Utc>) -> Told {
        if now >= self.resets_at {
            *self = Self::new(self.per_hour, now);
        }
        let remaining = self.per_hour.saturating_sub(self.used);
        Told { limit: self.per_hour, remaining, used: self.used, reset: self.resets_at }
    }

    /// A request counts.
    pub fn count(&mut self) {
        self.used += 1;
    }
}
