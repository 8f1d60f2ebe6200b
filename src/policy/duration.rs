//! How long access lasts: always positive, whole seconds, a year and a day at most.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;

use regex::Regex;
use serde::{Deserialize, Serialize};

/// A positive length of time in whole seconds, at most [`Duration::MAX`].
///
/// Written `30m`, `2h`, `1h30m`, `3d`, `1w`, `45s`, with the units written out (`2 hours`, `1 day, 12 hours`), or as ISO 8601
/// (`PT2H30M`, `P1DT12H`). A day is 24 hours. Months and years are refused,
/// because their length depends on the calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Cow<'_, str>", into = "String")]
pub struct Duration(u64);

/// The forms a duration is written in: `1h30m`, `2 hours`, `1 day, 12 hours`, and ISO 8601. Editors check by it, too.
pub(crate) const PATTERN: &str = concat!(
    r"^\s*(",
    r"([0-9]+ ?(w|wks?|weeks?),? ?)?([0-9]+ ?(d|days?),? ?)?([0-9]+ ?(h|hrs?|hours?),? ?)?",
    r"([0-9]+ ?(m|mins?|minutes?),? ?)?([0-9]+ ?(s|secs?|seconds?))?",
    r"|P([0-9]+W)?([0-9]+D)?(T([0-9]+H)?([0-9]+M)?([0-9]+S)?)?)\s*$",
);

static FORM: LazyLock<Result<Regex, regex::Error>> = LazyLock::new(|| Regex::new(PATTERN));

/// Why a text is not a [`Duration`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// Not in a form we read.
    #[error("{0:?} is not a duration: write it as 30m, 2h, 1h30m or 3d")]
    Syntax(String),
    /// Zero or below.
    #[error("{0:?} is not a positive duration: the shortest is one second")]
    NotPositive(String),
    /// Longer than [`Duration::MAX`].
    #[error("{0:?} is too long: the longest duration is 366d")]
    TooLong(String),
    /// Fractions of a second.
    #[error("{0:?} has a fraction of a second: use whole seconds")]
    Fraction(String),
}

impl Duration {
    /// 366 days.
    pub const MAX: Self = Self(366 * 86_400);

    /// A duration of `seconds`, or `None` if that is zero or above [`Duration::MAX`].
    pub const fn from_seconds(seconds: u64) -> Option<Self> {
        if seconds == 0 || seconds > Self::MAX.0 { None } else { Some(Self(seconds)) }
    }

    /// A duration of whole hours for constants: clamped into the valid range instead of failing.
    pub const fn hours(hours: u32) -> Self {
        Self::clamped(hours as u64 * 3_600)
    }

    /// A duration of whole minutes for constants: clamped into the valid range instead of failing.
    pub const fn minutes(minutes: u32) -> Self {
        Self::clamped(minutes as u64 * 60)
    }

    const fn clamped(seconds: u64) -> Self {
        match Self::from_seconds(seconds) {
            Some(duration) => duration,
            None if seconds == 0 => Self(1),
            None => Self::MAX,
        }
    }

    /// Its length in seconds.
    pub const fn seconds(self) -> u64 {
        self.0
    }

    /// The same as chrono's type, which cannot overflow here.
    pub fn delta(self) -> chrono::TimeDelta {
        chrono::TimeDelta::seconds(self.0.try_into().unwrap_or(i64::MAX / 1_000))
    }
}

impl FromStr for Duration {
    type Err = DurationError;

    fn from_str(text: &str) -> Result<Self, DurationError> {
        let shown = || text.chars().take(60).collect::<String>();
        if text.len() > 100 {
            return Err(DurationError::Syntax(shown()));
        }
        let span: jiff::Span = text.trim().parse().map_err(|_| DurationError::Syntax(shown()))?;
        if span.get_months() != 0 || span.get_years() != 0 {
            return Err(DurationError::Syntax(shown()));
        }
        // The library reads more than we promise: `2:30:00`, `1.5h`, `2h ago`.
        let promised = FORM.as_ref().is_ok_and(|form| form.is_match(text));
        let exact =
            span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).map_err(|_| DurationError::TooLong(shown()))?;
        if exact.subsec_nanos() != 0 {
            return Err(DurationError::Fraction(shown()));
        }
        let seconds = u64::try_from(exact.as_secs()).map_err(|_| DurationError::NotPositive(shown()))?;
        match Self::from_seconds(seconds) {
            Some(duration) if promised => Ok(duration),
            Some(_) => Err(DurationError::Syntax(shown())),
            None if seconds == 0 => Err(DurationError::NotPositive(shown())),
            None => Err(DurationError::TooLong(shown())),
        }
    }
}

impl TryFrom<Cow<'_, str>> for Duration {
    type Error = DurationError;
    fn try_from(text: Cow<'_, str>) -> Result<Self, DurationError> {
        text.parse()
    }
}

impl From<Duration> for String {
    fn from(duration: Duration) -> String {
        duration.to_string()
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")];
        let mut rest = self.0;
        let mut text = String::new();
        for (length, unit) in units {
            if rest >= length {
                text.push_str(&format!("{}{unit}", rest / length));
                rest %= length;
            }
        }
        f.pad(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_write_durations_in_many_ways() {
        for (text, seconds) in [
            ("30m", 1_800),
            ("2h", 7_200),
            ("1h30m", 5_400),
            ("3d", 259_200),
            ("PT2H", 7_200),
            ("P1DT12H", 129_600),
            ("1w", 604_800),
            ("45s", 45),
            ("2 hours", 7_200),
            ("1 day, 12 hours", 129_600),
            ("1h 30m", 5_400),
            ("90 mins", 5_400),
            (" 2h ", 7_200),
        ] {
            assert_eq!(text.parse::<Duration>().map(Duration::seconds), Ok(seconds), "{text}");
        }
    }

    #[test]
    fn nonsense_is_refused_with_the_reason() {
        use DurationError::*;
        let error = |text: &str| text.parse::<Duration>().unwrap_err();
        assert!(matches!(error("0h"), NotPositive(_)));
        assert!(matches!(error("-1h"), NotPositive(_)));
        assert!(matches!(error("367d"), TooLong(_)));
        assert!(matches!(error("99999999999999999999h"), Syntax(_) | TooLong(_)));
        assert!(matches!(error("1month"), Syntax(_)));
        assert!(matches!(error("P1Y"), Syntax(_)));
        assert!(matches!(error("2"), Syntax(_)));
        assert!(matches!(error("forever"), Syntax(_)));
        for text in ["1.5h", "2:30:00", "+2h", "1h30", "30m2h", "2H", "pt2h", "PT1.5H", "2000ms"] {
            assert!(matches!(error(text), Syntax(_)), "{text}");
        }
        assert!(matches!(error("1500ms"), Fraction(_)));
    }

    #[test]
    fn it_prints_as_people_write_it() {
        assert_eq!(Duration::hours(2).to_string(), "2h");
        assert_eq!("PT90M".parse::<Duration>().unwrap().to_string(), "1h30m");
        assert_eq!("36h".parse::<Duration>().unwrap().to_string(), "1d12h");
    }

    proptest::proptest! {
        #[test]
        fn printing_and_parsing_are_inverse(seconds in 1u64..=Duration::MAX.seconds()) {
            let duration = Duration::from_seconds(seconds).unwrap();
            proptest::prop_assert_eq!(duration.to_string().parse::<Duration>(), Ok(duration));
        }

        #[test]
        fn no_text_panics(text in ".{0,40}") {
            let _ = text.parse::<Duration>();
        }
    }
}
