//! Which clock to believe: the one the machine shows, the count of what has passed, or the dates of GitHub's answers. Pure.
//!
//! Access must not outlast its end because somebody set a clock back, nor because it was wrong from the start.

use chrono::{DateTime, TimeDelta, Utc};

/// Differences up to this are nobody's fault. Much less than a lease: processes judge each other's leases by their own clocks.
const TOLERANCE: TimeDelta = TimeDelta::seconds(5);

/// What the machine says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reading {
    /// What its clock shows. Anybody may set it.
    pub shown: DateTime<Utc>,
    /// How much time has passed since some beginning. Nobody can set it, but it may stand still while the machine sleeps.
    pub passed: TimeDelta,
}

/// What is believed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Trust {
    /// A reading that is believed: since then at least as much time has passed as was counted.
    base: Reading,
    /// GitHub's clock, as it was at some count of what has passed, if it does not agree with ours.
    githubs: Option<(DateTime<Utc>, TimeDelta)>,
    /// GitHub's clock against the one shown, as the last answer had it, if that is news. One answer may be dated wrongly on its way;
    /// two that say the same are believed.
    suspicion: Option<TimeDelta>,
}

impl Trust {
    pub fn new(base: Reading) -> Self {
        Self { base, githubs: None, suspicion: None }
    }

    /// The time by our clock and by GitHub's. Ours never goes back, whatever is shown.
    pub fn both(&self, reading: Reading) -> (DateTime<Utc>, DateTime<Utc>) {
        let counted = self.base.shown.checked_add_signed(reading.passed - self.base.passed).unwrap_or(reading.shown);
        // The count is a little off, too.
        let ours = if counted - reading.shown > TOLERANCE { counted } else { reading.shown };
        let githubs = self.githubs.and_then(|(time, passed)| time.checked_add_signed(reading.passed - passed));
        (ours, githubs.unwrap_or(ours))
    }

    /// GitHub's clock, as far as it is known, against the one shown.
    pub fn difference(&self, reading: Reading) -> Option<TimeDelta> {
        let difference = self.both(reading).1 - reading.shown;
        Some(difference).filter(|difference| difference.abs() > TOLERANCE)
    }

    /// An answer of GitHub was dated this much later than expected; true if that changes what is believed.
    pub fn learn(&mut self, reading: Reading, later: TimeDelta) -> bool {
        let (ours, expected) = self.both(reading);
        let Some(githubs) = expected.checked_add_signed(later) else { return false };
        let against_shown = githubs - reading.shown;
        let shown_is_right = against_shown.abs() <= TOLERANCE;
        let is_news = match shown_is_right {
            true => ours - reading.shown > TOLERANCE || self.githubs.is_some(),
            false => later.abs() > TOLERANCE,
        };
        if !is_news {
            self.suspicion = None;
            return false;
        }
        if self.suspicion.is_none_or(|suspicion| (suspicion - against_shown).abs() > TOLERANCE) {
            self.suspicion = Some(against_shown);
            return false;
        }
        self.suspicion = None;
        if shown_is_right {
            (self.base, self.githubs) = (reading, None);
        } else {
            self.githubs = Some((githubs, reading.passed));
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ten() -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000, 0).unwrap()
    }

    /// So many minutes after ten; the clock is `off` by so many.
    fn reading(minutes: i64, off: i64) -> Reading {
        let passed = TimeDelta::minutes(minutes);
        Reading { shown: ten() + passed + TimeDelta::minutes(off), passed }
    }

    /// GitHub says twice what is true.
    fn hears(trust: &mut Trust, minutes: i64, off: i64) {
        for _ in 0..2 {
            let reading = reading(minutes, off);
            let later = ten() + TimeDelta::minutes(minutes) - trust.both(reading).1;
            trust.learn(reading, later);
        }
    }

    /// By our clock and by GitHub's, in minutes after ten.
    fn both(trust: &Trust, minutes: i64, off: i64) -> (i64, i64) {
        let (ours, githubs) = trust.both(reading(minutes, off));
        ((ours - ten()).num_minutes(), (githubs - ten()).num_minutes())
    }

    #[test]
    fn a_clock_that_was_always_late_is_found_out() {
        let mut trust = Trust::new(reading(0, -60));
        assert_eq!(both(&trust, 0, -60), (-60, -60));
        hears(&mut trust, 5, -60);
        assert_eq!(both(&trust, 10, -60), (-50, 10));
        assert_eq!(both(&trust, 12, 0), (12, 12), "set right, nothing jumps");
        hears(&mut trust, 15, 0);
        assert_eq!(both(&trust, 20, 0), (20, 20), "and it is believed again");
    }

    #[test]
    fn a_clock_that_was_always_early_is_found_out() {
        let mut trust = Trust::new(reading(0, 60));
        hears(&mut trust, 5, 60);
        assert_eq!(both(&trust, 10, 60), (70, 10));
        assert_eq!(both(&trust, 12, 0), (72, 12), "set right, it does not go back by itself");
        hears(&mut trust, 15, 0);
        assert_eq!(both(&trust, 20, 0), (20, 20), "but by GitHub's word");
    }

    #[test]
    fn a_clock_that_is_set_back_takes_no_time_back() {
        let trust = Trust::new(reading(0, 0));
        assert_eq!(both(&trust, 30, -60), (30, 30), "nobody had to ask GitHub");
    }

    #[test]
    fn a_clock_that_is_set_ahead_is_ahead_until_it_is_set_right() {
        let mut trust = Trust::new(reading(0, 0));
        assert_eq!(both(&trust, 30, 60), (90, 90), "access ends early rather than late");
        hears(&mut trust, 31, 60);
        assert_eq!(both(&trust, 32, 60), (92, 32));
        hears(&mut trust, 33, 0);
        assert_eq!(both(&trust, 34, 0), (34, 34));
    }

    #[test]
    fn a_machine_that_slept_believes_its_clock() {
        let trust = Trust::new(reading(0, 0));
        let woken = Reading { shown: ten() + TimeDelta::minutes(120), passed: TimeDelta::minutes(20) };
        assert_eq!(trust.both(woken).0, woken.shown);
    }

    #[test]
    fn answers_that_contradict_each_other_are_not_believed() {
        let mut trust = Trust::new(reading(0, 0));
        for minutes in [60, -60, 0, 60, 0, 60, 5, 0] {
            assert!(!trust.learn(reading(1, 0), TimeDelta::minutes(minutes)));
        }
        assert_eq!(both(&trust, 2, 0), (2, 2));
    }
}
