//! The weather: what fails, and when the process dies. Asked by the embedded GitHub, the modelled database and the store at each
//! call; answers from the luck of the event that is played.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use daypass::sandbox::Disturbance;
use daypass::store::Probe;
use daypass::target::TargetError;
use futures::FutureExt;
use http::Method;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::Notify;

use crate::support::database::Failure;
use crate::support::world::World;

/// Calls of targets are rare, and the most delicate: bad luck strikes there so much more often.
const RARE: u32 = 8;

/// What a pause at a call of the database is counted as.
const DATABASE_PAUSE: &str = "pause at a call of the database";
/// GitHub does not find what is there.
pub const FOG: &str = "GitHub: 404";

pub struct Sky {
    state: Mutex<State>,
    /// Told when a call stalls: the process is dead, or paused.
    pub stalled: Notify,
}

/// Why a call stalls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stall {
    /// The process is dead.
    Dead,
    /// The process stands still for a while.
    Paused,
}

struct State {
    rng: StdRng,
    /// Only Daypass suffers, not the people.
    daypass_runs: bool,
    github: u32,
    database: u32,
    crashes: u32,
    pauses: u32,
    stands_still_next: bool,
    lost: u32,
    /// Why the last call that stalled does.
    stall: Stall,
    counts: BTreeMap<&'static str, u64>,
}

impl Sky {
    /// Clear, over a world.
    pub fn over(world: &World) -> Arc<Self> {
        let state = State {
            rng: StdRng::seed_from_u64(0),
            daypass_runs: false,
            github: 0,
            database: 0,
            crashes: 0,
            pauses: 0,
            stands_still_next: false,
            lost: 0,
            stall: Stall::Dead,
            counts: BTreeMap::new(),
        };
        let sky = Arc::new(Self { state: Mutex::new(state), stalled: Notify::new() });
        let above = sky.clone();
        world.sandbox.disturb(Some(Arc::new(move |method: &Method, _: &str| above.github(method))));
        let above = sky.clone();
        world.orders.fail(Arc::new(move || above.database()));
        sky
    }

    /// What dies around commits.
    pub fn probe(self: &Arc<Self>) -> Probe {
        let sky = self.clone();
        Probe(Arc::new(move || match sky.dies("crash at a commit", 1) {
            true => futures::future::pending().boxed(),
            false => futures::future::ready(()).boxed(),
        }))
    }

    pub fn set_weather(&self, github: u32, database: u32) {
        let mut state = self.state.lock().unwrap();
        (state.github, state.database) = (github, database);
    }

    pub fn set_luck(&self, crashes: u32, pauses: u32, lost: u32) {
        let mut state = self.state.lock().unwrap();
        (state.crashes, state.pauses, state.lost) = (crashes, pauses, lost);
    }

    /// Whoever calls the database next stands still in the call.
    pub fn stand_still(&self) {
        self.state.lock().unwrap().stands_still_next = true;
    }

    /// Why the last call that stalled does.
    pub fn stall(&self) -> Stall {
        self.state.lock().unwrap().stall
    }

    /// From here on the luck of another event counts.
    pub fn seed(&self, luck: u64) {
        self.state.lock().unwrap().rng = StdRng::seed_from_u64(luck);
    }

    pub fn daypass_runs(&self, runs: bool) {
        self.state.lock().unwrap().daypass_runs = runs;
    }

    /// A number below `end`.
    pub fn draw(&self, end: u32) -> u32 {
        self.state.lock().unwrap().rng.random_range(0..end)
    }

    /// Whether a webhook is lost.
    pub fn loses_webhook(&self) -> bool {
        let mut state = self.state.lock().unwrap();
        let lost = state.rng.random_range(0..100) < state.lost;
        if lost {
            state.count("webhook lost");
        }
        lost
    }

    pub fn count(&self, what: &'static str) {
        self.add(what, 1);
    }

    pub fn add(&self, what: &'static str, times: u64) {
        *self.state.lock().unwrap().counts.entry(what).or_default() += times;
    }

    /// How often that was injected.
    pub fn count_of(&self, what: &str) -> u64 {
        self.state.lock().unwrap().counts.get(what).copied().unwrap_or(0)
    }

    /// How much went wrong so far: whatever keeps Daypass from reaching its targets, and GitHub from answering.
    pub fn troubles(&self) -> (u64, u64) {
        let state = self.state.lock().unwrap();
        let of = |kinds: &[&str]| {
            let counted = state.counts.iter().filter(|(what, _)| kinds.iter().any(|kind| what.starts_with(kind)));
            counted.map(|(_, times)| times).sum()
        };
        (of(&["crash", "pause", "process", "database:", "database lost", "clocks"]), of(&["GitHub"]))
    }

    /// What was injected, by kind.
    pub fn counts(&self) -> BTreeMap<&'static str, u64> {
        self.state.lock().unwrap().counts.clone()
    }

    fn dies(&self, what: &'static str, often: u32) -> bool {
        let mut state = self.state.lock().unwrap();
        let dies = state.daypass_runs && state.rng.random_range(0..1_000) < state.crashes * often;
        if dies {
            state.count(what);
            state.stall = Stall::Dead;
            self.stalled.notify_one();
        }
        dies
    }

    /// Whether the process stands still at a call.
    fn pauses(&self, what: &'static str, often: u32) -> bool {
        let mut state = self.state.lock().unwrap();
        let by_chance =
            state.daypass_runs && state.pauses > 0 && state.rng.random_range(0..1_000) < state.pauses * often;
        let told = state.daypass_runs && state.stands_still_next && what == DATABASE_PAUSE;
        if told {
            state.stands_still_next = false;
        }
        let pauses = by_chance || told;
        if pauses {
            state.count(what);
            state.stall = Stall::Paused;
            self.stalled.notify_one();
        }
        pauses
    }

    fn github(&self, method: &Method) -> Option<Disturbance> {
        if !self.state.lock().unwrap().daypass_runs {
            return None;
        }
        if self.dies("crash at a call of GitHub", 1) || self.pauses("pause at a call of GitHub", 1) {
            return Some(Disturbance::Stall { done: self.draw(2) == 0 });
        }
        let mut state = self.state.lock().unwrap();
        if state.rng.random_range(0..100) >= state.github {
            return None;
        }
        let (what, disturbance) = match state.rng.random_range(0..7) {
            0 => ("GitHub: 502", Disturbance::Refuse(502)),
            1 => ("GitHub: timed out", Disturbance::Refuse(504)),
            4 if *method == Method::GET => (FOG, Disturbance::Refuse(404)),
            5 if *method != Method::GET => ("GitHub: done, but timed out", Disturbance::Pretend(504)),
            2 => ("GitHub: 500", Disturbance::Refuse(500)),
            3 => ("GitHub: secondary limit", Disturbance::RateLimit(60)),
            _ if *method == Method::GET => ("GitHub: 503", Disturbance::Refuse(503)),
            _ => ("GitHub: done, but 500", Disturbance::Pretend(500)),
        };
        state.count(what);
        Some(disturbance)
    }

    fn database(&self) -> Option<Failure> {
        if self.state.lock().unwrap().daypass_runs {
            self.count("calls of the database");
        }
        if self.dies("crash at a call of the database", RARE) || self.pauses(DATABASE_PAUSE, RARE) {
            return Some(Failure::Stall { done: self.draw(2) == 0 });
        }
        let mut state = self.state.lock().unwrap();
        if !state.daypass_runs || state.rng.random_range(0..100) >= state.database {
            return None;
        }
        let temporary = || TargetError::Temporary("it does not answer".to_owned());
        let (what, failure) = match state.rng.random_range(0..3) {
            0 => ("database: down", Failure::Refuse(temporary())),
            1 => ("database: says no", Failure::Refuse(TargetError::Permanent("permission denied".to_owned()))),
            _ => ("database: done, but no answer", Failure::Pretend(temporary())),
        };
        state.count(what);
        Some(failure)
    }
}

impl State {
    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }
}
