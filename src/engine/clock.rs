//! The one clock. Nothing else in the crate reads the time: what happens is a function of the time it is given, so that
//! tests, the demo and the simulation can move it.

mod trust;

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::watch;

use crate::access::grant::Now;
use crate::github::Timekeeper;
use trust::{Reading, Trust};

/// Tells the time and waits for it. Cheap to clone; clones are the same clock.
#[derive(Debug, Clone)]
pub struct Clock {
    source: Source,
    moved: Arc<watch::Sender<State>>,
}

#[derive(Debug, Clone, Copy)]
enum Source {
    /// Runs with the machine's clock; time passes as the machine counts it since then.
    Running(std::time::Instant),
    /// Stands still unless it is moved.
    Standing,
}

#[derive(Debug, Clone, Copy)]
struct State {
    /// What the clock shows, beyond what the machine's shows; the whole time if it stands.
    shown: TimeDelta,
    /// What has passed, beyond what the machine counted.
    passed: TimeDelta,
    trust: Trust,
    revision: u64,
}

impl Clock {
    /// The machine's clock. It can be moved ahead, which the demo does.
    pub fn system() -> Self {
        let trust = Trust::new(Reading { shown: Utc::now(), passed: TimeDelta::zero() });
        Self::new(Source::Running(std::time::Instant::now()), TimeDelta::zero(), trust)
    }

    /// A clock that shows `time` until it is moved.
    pub fn standing(time: DateTime<Utc>) -> Self {
        let trust = Trust::new(Reading { shown: time, passed: TimeDelta::zero() });
        Self::new(Source::Standing, time - DateTime::UNIX_EPOCH, trust)
    }

    fn new(source: Source, shown: TimeDelta, trust: Trust) -> Self {
        let (moved, _) = watch::channel(State { shown, passed: TimeDelta::zero(), trust, revision: 0 });
        Self { source, moved: Arc::new(moved) }
    }

    fn read(source: Source, state: &State) -> Reading {
        let (time, counted) = match source {
            Source::Running(since) => (Utc::now(), TimeDelta::from_std(since.elapsed()).unwrap_or(TimeDelta::MAX)),
            Source::Standing => (DateTime::UNIX_EPOCH, TimeDelta::zero()),
        };
        let shown = time.checked_add_signed(state.shown).unwrap_or(DateTime::<Utc>::MAX_UTC);
        Reading {
            // Whole milliseconds, so that a time survives being stored.
            shown: DateTime::from_timestamp_millis(shown.timestamp_millis()).unwrap_or(shown),
            passed: counted.checked_add(&state.passed).unwrap_or(counted),
        }
    }

    /// The time in whole milliseconds, as far as is known: GitHub's, where the clocks do not agree.
    pub fn now(&self) -> DateTime<Utc> {
        self.instant().likely
    }

    /// The time by both clocks.
    pub fn instant(&self) -> Now {
        let state = *self.moved.borrow();
        let (ours, githubs) = state.trust.both(Self::read(self.source, &state));
        Now { earliest: ours.min(githubs), likely: githubs, latest: ours.max(githubs) }
    }

    /// How much time was counted so far, whatever the clock was set to meanwhile.
    pub fn passed(&self) -> TimeDelta {
        Self::read(self.source, &self.moved.borrow()).passed
    }

    /// Changes whenever something is learned about the time: what was planned before was planned by another clock.
    pub fn revision(&self) -> u64 {
        self.moved.borrow().revision
    }

    /// How much later it is by GitHub's clock than by this machine's, if they do not agree.
    pub fn difference(&self) -> Option<TimeDelta> {
        let state = *self.moved.borrow();
        state.trust.difference(Self::read(self.source, &state))
    }

    /// Lets time pass, or takes some back, and wakes whoever waits for a time that has come.
    pub fn advance(&self, by: TimeDelta) {
        self.moved.send_modify(|state| {
            state.shown = state.shown.checked_add(&by).unwrap_or(state.shown);
            state.passed = state.passed.checked_add(&by).unwrap_or(state.passed);
        });
    }

    /// Sets what the clock shows, `by` later or, if negative, earlier. No time passes.
    pub fn set(&self, by: TimeDelta) {
        self.moved.send_modify(|state| state.shown = state.shown.checked_add(&by).unwrap_or(state.shown));
    }

    /// Waits until the clock shows `time` or later. On a standing clock that takes somebody to move it.
    pub async fn sleep_until(&self, time: DateTime<Utc>) {
        let mut moved = self.moved.subscribe();
        loop {
            let left = time - self.now();
            if left <= TimeDelta::zero() {
                return;
            }
            let changed = async {
                if moved.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            };
            match self.source {
                Source::Standing => changed.await,
                // At most a minute at a time: the machine's clock may be set or the machine suspended meanwhile.
                Source::Running(_) => {
                    let nap = left.to_std().unwrap_or_default().min(std::time::Duration::from_secs(60));
                    tokio::select! { () = changed => {}, () = tokio::time::sleep(nap) => {} }
                }
            }
        }
    }
}

impl Timekeeper for Clock {
    fn now(&self) -> DateTime<Utc> {
        self.instant().likely
    }

    fn revision(&self) -> u64 {
        Self::revision(self)
    }

    fn learn(&self, later: TimeDelta) {
        let mut news = false;
        // Whoever waits for a time must know.
        self.moved.send_if_modified(|state| {
            let reading = Self::read(self.source, state);
            news = state.trust.learn(reading, later);
            state.revision += u64::from(news);
            news
        });
        match self.difference().filter(|_| news) {
            Some(difference) => tracing::error!(
                seconds = difference.num_seconds(),
                "GitHub's clock is that much ahead of this machine's (behind, if negative); set the clock. Until then access ends \
                 by the later of both and begins by the earlier"
            ),
            None if news => tracing::info!("this machine's clock agrees with GitHub's again"),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_standing_clock_moves_only_when_it_is_moved() {
        let start = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let clock = Clock::standing(start);
        assert_eq!(clock.now(), start);
        let sleeper = tokio::spawn({
            let clock = clock.clone();
            async move { clock.sleep_until(start + TimeDelta::hours(2)).await }
        });
        clock.advance(TimeDelta::hours(1));
        tokio::task::yield_now().await;
        assert!(!sleeper.is_finished());
        clock.advance(TimeDelta::hours(1));
        sleeper.await.unwrap();
    }

    #[tokio::test]
    async fn a_running_clock_can_be_moved_ahead() {
        let clock = Clock::system();
        let due = clock.now() + TimeDelta::days(3);
        clock.advance(TimeDelta::days(4));
        clock.sleep_until(due).await;
        assert!(clock.now() > due);
    }
}
