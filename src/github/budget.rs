//! What GitHub allows an installation: <https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api>.
//!
//! When GitHub says that it is enough, nobody of the installation asks before the time it named: whoever goes on is shut out for
//! longer. Other installations are not concerned.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use http::{HeaderMap, StatusCode};

use super::error::wait_after;
use super::{GithubError, Timekeeper};

/// Below this share of the limit, the rest is kept for what cannot wait: one part in so many.
const RESERVE: i64 = 10;

/// What is left, as the last answers told.
#[derive(Debug, Default)]
pub(super) struct Budget {
    /// With the revision of the clock it was told by: when that turns out to be wrong, so does this.
    closed_until: Option<(DateTime<Utc>, u64)>,
    limit: i64,
    remaining: i64,
    reset: Option<DateTime<Utc>>,
}

impl Budget {
    /// Fails while GitHub wants to be left alone.
    pub fn allows(&self, time: &dyn Timekeeper) -> Result<(), GithubError> {
        let closed_until = self.closed_until.filter(|(_, revision)| *revision == time.revision());
        match closed_until.map(|(until, _)| until - time.now()) {
            Some(left) if left > TimeDelta::zero() => {
                let retry_after = Some(left.to_std().unwrap_or(Duration::from_secs(1)));
                Err(GithubError::RateLimited { retry_after })
            }
            _ => Ok(()),
        }
    }

    /// Reads what an answer says about the limit.
    pub fn learn(&mut self, status: StatusCode, headers: &HeaderMap, time: &dyn Timekeeper) {
        let (now, revision) = (time.now(), time.revision());
        let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<i64>().ok();
        if let (Some(limit), Some(remaining)) = (number("x-ratelimit-limit"), number("x-ratelimit-remaining")) {
            (self.limit, self.remaining) = (limit, remaining);
            self.reset = number("x-ratelimit-reset").and_then(|seconds| DateTime::from_timestamp(seconds, 0));
        }
        if let Some(wait) = wait_after(status, headers, now.timestamp()) {
            let until = TimeDelta::from_std(wait).ok().and_then(|wait| now.checked_add_signed(wait));
            self.closed_until = until.map(|until| (until, revision));
        }
    }

    /// What is left, if an answer told.
    pub fn remaining(&self) -> Option<i64> {
        (self.limit > 0).then_some(self.remaining)
    }

    /// Until when what can wait should wait, if little is left.
    pub fn scarce_until(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.reset.filter(|reset| now < *reset && self.remaining * RESERVE < self.limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noon() -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000, 0).unwrap()
    }

    fn headers(pairs: &[(&'static str, i64)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (http::HeaderName::from_static(name), (*value).into())).collect()
    }

    /// A time, by some revision of the clock.
    struct At(DateTime<Utc>, u64);

    impl Timekeeper for At {
        fn now(&self) -> DateTime<Utc> {
            self.0
        }

        fn revision(&self) -> u64 {
            self.1
        }

        fn learn(&self, _later: TimeDelta) {}
    }

    #[test]
    fn after_a_limit_nobody_asks_before_the_time_github_named() {
        let mut budget = Budget::default();
        budget.learn(StatusCode::TOO_MANY_REQUESTS, &headers(&[("retry-after", 90)]), &At(noon(), 0));
        let wait = budget.allows(&At(noon() + TimeDelta::seconds(30), 0));
        assert_eq!(wait, Err(GithubError::RateLimited { retry_after: Some(Duration::from_secs(60)) }));
        assert_eq!(budget.allows(&At(noon() + TimeDelta::seconds(90), 0)), Ok(()));
    }

    #[test]
    fn a_time_told_by_a_clock_that_was_wrong_shuts_nobody_out() {
        let mut budget = Budget::default();
        let twenty_minutes_ahead = At(noon() + TimeDelta::minutes(20), 0);
        budget.learn(StatusCode::TOO_MANY_REQUESTS, &headers(&[("retry-after", 60)]), &twenty_minutes_ahead);
        assert!(budget.allows(&twenty_minutes_ahead).is_err());
        assert_eq!(budget.allows(&At(noon(), 1)), Ok(()), "GitHub says it again if it still holds");
    }

    #[test]
    fn a_limit_without_a_time_is_a_minute() {
        let mut budget = Budget::default();
        budget.learn(StatusCode::TOO_MANY_REQUESTS, &HeaderMap::new(), &At(noon(), 0));
        assert!(budget.allows(&At(noon() + TimeDelta::seconds(59), 0)).is_err());
        assert!(budget.allows(&At(noon() + TimeDelta::seconds(60), 0)).is_ok());
    }

    #[test]
    fn a_refusal_that_is_no_limit_closes_nothing() {
        let mut budget = Budget::default();
        budget.learn(StatusCode::FORBIDDEN, &headers(&[("x-ratelimit-remaining", 9)]), &At(noon(), 0));
        assert_eq!(budget.allows(&At(noon(), 0)), Ok(()));
    }

    #[test]
    fn the_last_tenth_is_kept_for_what_cannot_wait() {
        let mut budget = Budget::default();
        let reset = noon() + TimeDelta::minutes(20);
        let left = |remaining| {
            headers(&[
                ("x-ratelimit-limit", 5_000),
                ("x-ratelimit-remaining", remaining),
                ("x-ratelimit-reset", reset.timestamp()),
            ])
        };
        budget.learn(StatusCode::OK, &left(500), &At(noon(), 0));
        assert_eq!(budget.scarce_until(noon()), None);
        budget.learn(StatusCode::OK, &left(499), &At(noon(), 0));
        assert_eq!(budget.scarce_until(noon()), Some(reset));
        assert_eq!(budget.scarce_until(reset), None);
    }
}
