//! The processes of Daypass on one database: they take steps in turn, die, stand still in the middle of one, and go on later.

use daypass::engine::{Engine, EngineError};
use futures::FutureExt;
use futures::future::BoxFuture;

use crate::sky::{Sky, Stall};
use crate::support::world::World;

/// Processes that run beside the one webhooks reach, at most.
const MOST: usize = 2;

pub struct Processes {
    /// There is never more than one, and it knows that.
    pub alone: bool,
    others: Vec<Engine>,
    paused: Vec<Running>,
}

/// A process in the middle of a step.
struct Running {
    engine: Engine,
    step: BoxFuture<'static, Result<bool, EngineError>>,
    /// Whether webhooks reach it.
    first: bool,
}

impl Processes {
    pub fn new(alone: bool) -> Self {
        Self { alone, others: Vec::new(), paused: Vec::new() }
    }

    /// Another one starts; from now on webhooks reach that one.
    pub async fn start(&mut self, world: &World, sky: &Sky) {
        if self.alone || self.others.len() >= MOST {
            return;
        }
        sky.count("process started");
        self.others.push(world.start_another().await);
    }

    /// All but the first are gone for good.
    pub async fn stop_all(&mut self) {
        self.paused.clear();
        for engine in self.others.drain(..) {
            engine.store().close().await;
        }
    }

    /// Those that stand still go on, one after the other, to the end of their steps.
    pub async fn resume_all(&mut self, world: &World, sky: &Sky) -> Result<(), String> {
        while !self.paused.is_empty() {
            self.resume(world, sky).await?;
        }
        Ok(())
    }

    /// One step of one of them; now and then one that stood still goes on. False if nothing was to do.
    pub async fn step(&mut self, world: &World, sky: &Sky) -> Result<bool, String> {
        // Long enough that much happens meanwhile.
        if !self.paused.is_empty() && sky.draw(120) == 0 {
            return self.resume(world, sky).await;
        }
        let nth = match self.others.len() {
            0 => 0,
            others => usize::try_from(sky.draw(u32::try_from(others).unwrap() + 1)).unwrap(),
        };
        let first = nth == self.others.len();
        let engine = if first { world.engine() } else { self.others.remove(nth) };
        let step = {
            let engine = engine.clone();
            async move { engine.step().await }.boxed()
        };
        self.go(world, sky, Running { engine, step, first }).await
    }

    async fn resume(&mut self, world: &World, sky: &Sky) -> Result<bool, String> {
        sky.count("process went on");
        let running = self.paused.remove(0);
        world.sandbox.resume();
        world.orders.resume();
        self.go(world, sky, Running { first: false, ..running }).await
    }

    /// Lets a process go on to the end of its step, unless it dies or stands still before.
    async fn go(&mut self, world: &World, sky: &Sky, mut running: Running) -> Result<bool, String> {
        sky.daypass_runs(true);
        let done = tokio::select! {
            biased;
            () = sky.stalled.notified() => None,
            done = &mut running.step => Some(done),
        };
        sky.daypass_runs(false);
        match (done, sky.stall()) {
            (Some(done), _) => {
                self.keep(running).await;
                done.map_err(|error| format!("the engine cannot go on: {error}"))
            }
            (None, Stall::Dead) => {
                let Running { engine, step, first } = running;
                drop(step);
                match first {
                    true => {
                        drop(engine);
                        world.restart().await;
                    }
                    false => engine.store().close().await,
                }
                Ok(true)
            }
            (None, Stall::Paused) => {
                if running.first {
                    world.start_another().await;
                }
                self.paused.push(running);
                Ok(true)
            }
        }
    }

    async fn keep(&mut self, running: Running) {
        match running.first {
            true => {}
            false if self.others.len() < MOST => self.others.push(running.engine),
            false => running.engine.store().close().await,
        }
    }
}
