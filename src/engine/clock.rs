//! The one clock. Nothing else in the crate reads the time: what happens is a function of the time it is given, so that
//! tests, the demo and the simulation can move it.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::watch;

/// Tells the time and waits for it. Cheap to clone; clones are the same clock.
#[derive(Debug, Clone)]
pub struct Clock {
    source: Source,
    moved: Arc<watch::Sender<State>>,
}

#[derive(Debug, Clone, Copy)]
enum Source {
    /// Runs with the machine's clock, `State::offset` ahead of it.
    Running,
    /// Stands still unless it is moved.
    Standing,
}

#[derive(Debug, Clone, Copy)]
struct State {
    /// Running clocks: how far ahead of the machine's clock.
    offset: TimeDelta,
    /// Standing clocks: the time.
    time: DateTime<Utc>,
}

impl Clock {
    /// The machine's clock. It can be moved ahead, which the demo does.
    pub fn system() -> Self {
        Self::new(Source::Running, Utc::now())
    }

    /// A clock that shows `time` until it is moved.
    pub fn standing(time: DateTime<Utc>) -> Self {
        Self::new(Source::Standing, time)
    }

    fn new(source: Source, time: DateTime<Utc>) -> Self {
        let (moved, _) = watch::channel(State { offset: TimeDelta::zero(), time });
        Self { source, moved: Arc::new(moved) }
    }

    /// The time, in whole milliseconds, so that a time survives being stored.
    pub fn now(&self) -> DateTime<Utc> {
        let state = *self.moved.borrow();
        let exact = match self.source {
            Source::Running => Utc::now().checked_add_signed(state.offset).unwrap_or(DateTime::<Utc>::MAX_UTC),
            Source::Standing => state.time,
        };
        DateTime::from_timestamp_millis(exact.timestamp_millis()).unwrap_or(exact)
    }

    /// Moves the clock by `by` (backwards if negative) and wakes whoever waits for a time that has come.
    pub fn advance(&self, by: TimeDelta) {
        self.moved.send_modify(|state| {
            state.offset = state.offset.checked_add(&by).unwrap_or(state.offset);
            state.time = state.time.checked_add_signed(by).unwrap_or(state.time);
        });
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
                Source::Running => {
                    let nap = left.to_std().unwrap_or_default().min(std::time::Duration::from_secs(60));
                    tokio::select! { () = changed => {}, () = tokio::time::sleep(nap) => {} }
                }
            }
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
