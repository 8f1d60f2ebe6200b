//! Calendars: when people are at work, by the clocks of a place.

use std::collections::BTreeSet;
use std::fmt;

use chrono::{
    DateTime, Datelike, Days, LocalResult, NaiveDate, NaiveDateTime, TimeDelta, TimeZone, Timelike, Utc, Weekday,
};

use super::Duration;

/// The days of the week people work on unless it is said otherwise.
pub const WORKING_DAYS: [Weekday; 5] = [Weekday::Mon, Weekday::Tue, Weekday::Wed, Weekday::Thu, Weekday::Fri];
/// The hours they work unless it is said otherwise.
pub const WORKING_HOURS: (&str, &str) = ("09:00", "17:00");
/// How far ahead working time is counted, in days. What needs longer than twenty years never comes.
const FURTHEST: u64 = 20 * 366;

/// Certain days of the week, from one time of day to another, by the clocks of a place, holidays left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Calendar {
    zone: chrono_tz::Tz,
    days: Vec<Weekday>,
    /// Minutes since midnight.
    from: u32,
    /// The first minute that is over.
    to: u32,
    holidays: BTreeSet<NaiveDate>,
}

impl Calendar {
    /// Monday to Friday in a time zone of IANA's database, from one time of day (`08:30`) to another. The error is a sentence.
    pub fn working_hours(zone: &str, (from, to): (&str, &str)) -> Result<Self, String> {
        Self::new(zone, WORKING_DAYS.to_vec(), (from, to), BTreeSet::new())
    }

    /// Certain days of the week. The error is a sentence.
    pub fn new(
        zone: &str,
        days: Vec<Weekday>,
        (from, to): (&str, &str),
        holidays: BTreeSet<NaiveDate>,
    ) -> Result<Self, String> {
        let calendar = Self { zone: time_zone(zone)?, days, from: minutes(from)?, to: minutes(to)?, holidays };
        if calendar.from >= calendar.to {
            return Err(format!("the day's work ends ({to}) before it begins ({from})"));
        }
        if calendar.days.is_empty() {
            return Err("it names no day".to_owned());
        }
        Ok(calendar)
    }

    /// Whether people are at work at `at`.
    pub fn contains(&self, at: DateTime<Utc>) -> bool {
        let there = at.with_timezone(&self.zone);
        let minute = there.hour() * 60 + there.minute();
        self.is_working_day(there.date_naive()) && (self.from..self.to).contains(&minute)
    }

    /// The moment at which `time` of working time has gone by since `since`.
    pub fn after(&self, since: DateTime<Utc>, time: Duration) -> DateTime<Utc> {
        let mut left = time.delta();
        let first = since.with_timezone(&self.zone).date_naive();
        let days = (0..FURTHEST).filter_map(|ahead| first.checked_add_days(Days::new(ahead)));
        for day in days.filter(|day| self.is_working_day(*day)) {
            let (Some(begins), Some(ends)) = (self.at(day, self.from), self.at(day, self.to)) else { continue };
            let begins = begins.max(since);
            let there_is = (ends - begins).max(TimeDelta::zero());
            if there_is >= left && begins < ends {
                return begins + left;
            }
            left -= there_is;
        }
        since + TimeDelta::days(FURTHEST.cast_signed())
    }

    fn is_working_day(&self, day: NaiveDate) -> bool {
        self.days.contains(&day.weekday()) && !self.holidays.contains(&day)
    }

    /// A time of a day. Where clocks are put forward over it, the first moment after the gap.
    fn at(&self, day: NaiveDate, minute: u32) -> Option<DateTime<Utc>> {
        let midnight: NaiveDateTime = day.and_hms_opt(0, 0, 0)?;
        let step = TimeDelta::minutes(15);
        let wanted = midnight + TimeDelta::minutes(minute.into());
        // No place has ever put its clocks forward by more than a day.
        let found = (0..96).find_map(|steps| match self.zone.from_local_datetime(&(wanted + step * steps)) {
            LocalResult::Single(at) | LocalResult::Ambiguous(at, _) => Some(at),
            LocalResult::None => None,
        });
        found.map(|at| at.with_timezone(&Utc))
    }
}

/// Days that are named in one sentence.
const MOST_NAMED: usize = 10;

impl fmt::Display for Calendar {
    /// `Mon Tue Wed Thu Fri, 09:00-17:00 in Europe/Berlin, but not on 2026-12-25`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut days = self.days.clone();
        days.sort_by_key(Weekday::num_days_from_monday);
        days.dedup();
        let days: Vec<String> = days.iter().map(ToString::to_string).collect();
        let time = |minutes: u32| format!("{:02}:{:02}", minutes / 60, minutes % 60);
        write!(f, "{}, {}-{} in {}", days.join(" "), time(self.from), time(self.to), self.zone)?;
        let free: Vec<String> = self.holidays.iter().take(MOST_NAMED).map(ToString::to_string).collect();
        if !free.is_empty() {
            write!(f, ", but not on {}", free.join(", "))?;
        }
        match self.holidays.len().saturating_sub(MOST_NAMED) {
            0 => Ok(()),
            more => write!(f, " and {more} more days"),
        }
    }
}

/// A time zone by its name in the database of IANA.
pub fn time_zone(name: &str) -> Result<chrono_tz::Tz, String> {
    name.parse().map_err(|_| format!("there is no time zone {name:?}"))
}

/// The time zones there are, for "did you mean".
pub fn time_zones() -> impl Iterator<Item = &'static str> {
    chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name())
}

/// A time of day, `08:30` or `24:00`, as minutes since midnight.
fn minutes(text: &str) -> Result<u32, String> {
    let wrong = || format!("{text:?} is no time of day: write it as 08:30");
    let (hours, minutes) = text.split_once(':').ok_or_else(wrong)?;
    let number = |digits: &str| {
        let two = digits.len() == 2 && digits.bytes().all(|digit| digit.is_ascii_digit());
        two.then(|| digits.parse::<u32>().ok()).flatten().ok_or_else(wrong)
    };
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    if minutes > 59 || hours * 60 + minutes > 24 * 60 { Err(wrong()) } else { Ok(hours * 60 + minutes) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn office() -> Calendar {
        let christmas = BTreeSet::from(["2026-12-25".parse().unwrap()]);
        Calendar::new("Europe/Berlin", WORKING_DAYS.to_vec(), WORKING_HOURS, christmas).unwrap()
    }

    fn utc(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn an_hour_of_friday_evening_is_over_on_monday_morning() {
        // 16:30 in Berlin, on a Friday: half an hour is left of the day.
        let hour = office().after(utc("2026-12-04T15:30:00Z"), Duration::hours(1));
        assert_eq!(hour, utc("2026-12-07T08:30:00Z"));
    }

    #[test]
    fn what_is_asked_at_night_waits_for_the_morning() {
        assert_eq!(office().after(utc("2026-12-02T02:00:00Z"), Duration::minutes(30)), utc("2026-12-02T08:30:00Z"));
    }

    #[test]
    fn nobody_works_on_a_holiday() {
        // From Thursday the 24th, 17:00, over Christmas and the weekend, to Monday.
        assert_eq!(office().after(utc("2026-12-24T16:00:00Z"), Duration::minutes(1)), utc("2026-12-28T08:01:00Z"));
        assert!(!office().contains(utc("2026-12-25T10:00:00Z")));
    }

    #[test]
    fn a_working_day_is_eight_hours_long_also_when_the_clocks_change() {
        // Clocks are put forward in the night to Sunday the 28th of March.
        assert_eq!(office().after(utc("2027-03-26T08:00:00Z"), Duration::hours(16)), utc("2027-03-29T15:00:00Z"));
    }

    #[test]
    fn hours_in_which_the_clocks_are_put_forward_begin_after_the_gap() {
        let night = Calendar::new("Europe/Berlin", vec![Weekday::Sun], ("02:30", "05:00"), BTreeSet::new()).unwrap();
        assert_eq!(night.after(utc("2027-03-28T00:00:00Z"), Duration::minutes(30)), utc("2027-03-28T01:30:00Z"));
    }

    #[test]
    fn what_never_comes_is_far_away_and_found_at_once() {
        let rare = Calendar::new("UTC", vec![Weekday::Mon], ("00:00", "00:01"), BTreeSet::new()).unwrap();
        let since = utc("2026-12-01T00:00:00Z");
        assert_eq!(rare.after(since, Duration::MAX), since + TimeDelta::days(20 * 366));
    }

    #[test]
    fn it_is_told_in_words() {
        let words = "Mon Tue Wed Thu Fri, 09:00-17:00 in Europe/Berlin, but not on 2026-12-25";
        assert_eq!(office().to_string(), words);
    }

    #[test]
    fn mistakes_are_told() {
        let hours = |from, to| Calendar::working_hours("UTC", (from, to)).map(|_| ());
        assert_eq!(hours("17:00", "09:00"), Err("the day's work ends (09:00) before it begins (17:00)".to_owned()));
        assert_eq!(hours("9", "17:00"), Err("\"9\" is no time of day: write it as 08:30".to_owned()));
        assert_eq!(time_zone("Berlin").map(|_| ()), Err("there is no time zone \"Berlin\"".to_owned()));
    }

    proptest! {
        /// Between two moments as many minutes are working time as were asked for: counted one by one.
        #[test]
        fn it_counts_as_somebody_with_a_clock_would(start in 0i64..600_000, minutes in 1u32..900) {
            let since = utc("2026-03-20T00:00:00Z") + TimeDelta::minutes(start);
            let due = office().after(since, Duration::minutes(minutes));
            let counted = (0..(due - since).num_minutes()).filter(|at| office().contains(since + TimeDelta::minutes(*at)));
            prop_assert_eq!(counted.count(), minutes as usize);
        }
    }
}
