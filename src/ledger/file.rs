//! The files of the ledger's branch: one a day, and more where a day is long.

use std::fmt;

use chrono::{DateTime, Datelike, NaiveDate, Utc};

/// The branch of the policy repository the ledger is on.
pub const BRANCH: &str = "daypass/ledger";

/// The trailer by which reverts on the default branch quote the newest event: `Daypass-Ledger: SEQ HASH`.
pub const TRAILER: &str = "Daypass-Ledger";

/// A file that is larger than this is not appended to any more: appending writes the whole file anew.
pub const LARGE: usize = 512 << 10;

/// A file of the ledger. In order of the events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LedgerFile {
    day: NaiveDate,
    part: u32,
}

impl LedgerFile {
    /// The first file of the day of `at`.
    pub fn of(at: DateTime<Utc>) -> Self {
        Self { day: at.date_naive(), part: 1 }
    }

    /// The file an event of `at` goes to, if `current` was written to last and is `size` bytes large. Never back to a day before.
    pub fn next(current: Option<Self>, size: usize, at: DateTime<Utc>) -> Self {
        let of_the_day = Self::of(at);
        match current {
            Some(current) if of_the_day.day <= current.day && size > LARGE => current.after(),
            Some(current) if of_the_day.day <= current.day => current,
            _ => of_the_day,
        }
    }

    /// The next file of the same day, for when nothing more can be appended to this one.
    pub fn after(self) -> Self {
        Self { part: self.part + 1, ..self }
    }

    /// Whether a folder of the branch is of a year, or of a month.
    pub fn may_be_in(folder: &str) -> bool {
        let digits = |text: &str, many: usize| text.len() == many && text.bytes().all(|byte| byte.is_ascii_digit());
        match folder.split_once('/') {
            None => digits(folder, 4),
            Some((year, month)) => digits(year, 4) && digits(month, 2),
        }
    }

    /// The file at a path of the branch, if it is one of the ledger.
    pub fn at(path: &str) -> Option<Self> {
        let (year, rest) = path.strip_suffix(".jsonl")?.split_once('/')?;
        let (month, day) = rest.split_once('/')?;
        let (day, part) = match day.split_once('-') {
            Some((day, part)) => (day, part.parse().ok()?),
            None => (day, 1),
        };
        let file =
            Self { day: NaiveDate::from_ymd_opt(year.parse().ok()?, month.parse().ok()?, day.parse().ok()?)?, part };
        // A path has one spelling.
        (file.to_string() == path).then_some(file)
    }
}

impl fmt::Display for LedgerFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}/{:02}/{:02}", self.day.year(), self.day.month(), self.day.day())?;
        match self.part {
            1 => f.write_str(".jsonl"),
            part => write!(f, "-{part}.jsonl"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn a_day_has_a_file_and_a_long_day_has_more() {
        let monday = LedgerFile::next(None, 0, at("2026-11-30T23:59:59Z"));
        assert_eq!(monday.to_string(), "2026/11/30.jsonl");
        let more = LedgerFile::next(Some(monday), LARGE + 1, at("2026-11-30T23:59:59Z"));
        assert_eq!(more.to_string(), "2026/11/30-2.jsonl");
        let tuesday = LedgerFile::next(Some(more), 10, at("2026-12-01T00:00:00Z"));
        assert_eq!(tuesday.to_string(), "2026/12/01.jsonl");
        assert_eq!(LedgerFile::next(Some(tuesday), 10, at("2026-11-30T23:59:59Z")), tuesday, "never back");
        assert!(monday < more && more < tuesday);
    }

    #[test]
    fn a_path_has_one_spelling() {
        for path in ["2026/11/30.jsonl", "2026/11/30-2.jsonl", "2026/11/30-12.jsonl"] {
            assert_eq!(LedgerFile::at(path).map(|file| file.to_string()).as_deref(), Some(path));
        }
        for path in [
            "README.md",
            "2026/11/31.jsonl",
            "2026/11/30-1.jsonl",
            "2026/11/30-02.jsonl",
            "26/1/1.jsonl",
            "2026/11/30.jsonl/x",
        ] {
            assert_eq!(LedgerFile::at(path), None, "{path}");
        }
    }
}
