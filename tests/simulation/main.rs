//! Deterministic simulation: random histories of people, time and bad luck, played against the whole app, and a model written
//! from the promises that looks on. One seed is one history.
//!
//! `DAYPASS_SEEDS=N` plays N seeds nobody has played before, `DAYPASS_SEED=S` one that did; without either the same 200 are played
//! every time, and those that once failed. With `RUST_LOG=daypass=debug` it tells what Daypass does.

// A test that cannot go on fails by panicking.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../support/mod.rs"]
mod support;

mod history;
mod ledger;
mod look;
mod model;
mod play;
mod processes;
mod sky;
mod standstill;

use std::collections::BTreeMap;

use daypass::mutants::Mutant;
use history::{Event, history, shrink};
use play::{play, play_recorded, promise_of};
use support::world::World;

/// How many seeds are played every time.
const ALWAYS: u64 = 200;

/// Seeds beyond those that failed once: history was set back between the first sight of a new database and its first reading.
const FAILED_ONCE: [u64; 1] = [620_230_425_250];

/// Seeds whose exchanges are recorded for the contract.
const RECORDED: u64 = 10;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

fn in_words(events: &[Event]) -> String {
    events.iter().enumerate().map(|(index, event)| format!("  {index:>3}. {}\n", event.action)).collect()
}

/// What was injected and checked, by kind.
type Counts = BTreeMap<&'static str, u64>;

/// The seeds that are asked for.
fn seeds() -> Vec<u64> {
    match (number("DAYPASS_SEED"), number("DAYPASS_SEEDS")) {
        (Some(seed), _) => vec![seed],
        (None, Some(0)) => panic!("DAYPASS_SEEDS is 0: nothing would be shown"),
        (None, Some(many)) => {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
            let first = u64::try_from(now.as_millis()).unwrap();
            println!("seeds {first} to {}", first + many - 1);
            (first..first + many).collect()
        }
        (None, None) => (0..ALWAYS).chain(FAILED_ONCE).collect(),
    }
}

/// Plays the seeds of one of `shards` parts; the first that fails is made as short as it gets, and told. How many there were.
async fn histories(seeds: &[u64], (shard, shards): (u64, u64)) -> (usize, Counts) {
    let seeds: Vec<u64> = seeds.iter().copied().filter(|seed| seed % shards == shard).collect();
    let mut counts = Counts::new();
    for &seed in &seeds {
        let events = history(seed);
        // All of them would say the same things by the gigabyte.
        let record = World::exchanges().filter(|_| seed < RECORDED);
        let record = record.map(|path| path.with_extension(format!("{shard}.jsonl")));
        let outcome = play_recorded(&events, record).await;
        for (what, times) in outcome.counts {
            *counts.entry(what).or_default() += times;
        }
        if let Some(failure) = outcome.failure {
            // Another failure would be another story.
            let promise = promise_of(&failure).to_owned();
            let same = async |shorter: Vec<Event>| {
                play(&shorter).await.failure.is_some_and(|other| promise_of(&other) == promise)
            };
            let short = shrink(events, same).await;
            match play(&short).await.failure {
                Some(again) => panic!("seed {seed}: {failure}\n\nshorter: {again}\n{}", in_words(&short)),
                None => panic!(
                    "seed {seed}: {failure}\n\nPlayed again it did not fail: was this machine busy or suspended?"
                ),
            }
        }
    }
    (seeds.len(), counts)
}

/// The same on two threads; what there was is told as one.
#[test]
fn the_promises_hold_in_every_history() {
    const THREADS: u64 = 2;
    if std::env::var_os("RUST_LOG").is_some() {
        let filter = tracing_subscriber::EnvFilter::from_default_env();
        let _ = tracing_subscriber::fmt().with_env_filter(filter).without_time().with_ansi(false).try_init();
    }
    let all = seeds();
    let part = |shard| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(histories(&all, (shard, THREADS)))
    };
    let parts: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|shard| scope.spawn(move || part(shard))).collect();
        threads.into_iter().map(|thread| thread.join()).collect()
    });
    let (mut seeds, mut counts) = (0, Counts::new());
    for part in parts {
        let (played, counted) = part.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        seeds += played;
        for (what, times) in counted {
            *counts.entry(what).or_default() += times;
        }
    }
    println!("{seeds} seeds:");
    for (what, times) in &counts {
        println!("{times:>9} × {what}");
    }
    // What is never put to the test is not promised either.
    for promise in (1..=8).map(|number| format!("I{number} checked")).filter(|_| seeds >= 100) {
        assert!(counts.keys().any(|what| what.starts_with(&promise)), "{promise}: never");
    }
}

/// Every deliberately broken variant is caught. `./test --mutants` runs this.
#[tokio::test]
#[ignore = "takes minutes; ./test --mutants runs it"]
async fn every_mutant_is_caught() {
    let mut caught = 0;
    let wanted = std::env::var("DAYPASS_MUTANT").ok();
    let mutants: Vec<Mutant> = Mutant::ALL
        .into_iter()
        .filter(|mutant| wanted.as_ref().is_none_or(|name| *name == format!("{mutant:?}")))
        .collect();
    assert!(!mutants.is_empty(), "there is no mutant {wanted:?}");
    for &mutant in &mutants {
        daypass::mutants::set(Some(mutant));
        let (mut by, mut otherwise) = (None, BTreeMap::<String, u64>::new());
        for seed in 0..2_000 {
            let outcome = play(&history(seed)).await;
            let Some(failure) = outcome.failure else { continue };
            // What it breaks beside is not what it is for.
            if outcome.broken.iter().any(|promise| mutant.breaks().contains(&promise.as_str())) {
                by = Some((seed, failure));
                break;
            }
            *otherwise.entry(play::promise_of(&failure).to_owned()).or_default() += 1;
        }
        match by {
            Some((seed, failure)) => {
                // It must be the mutant that is caught, and nothing else.
                daypass::mutants::set(None);
                assert_eq!(play(&history(seed)).await.failure, None, "seed {seed} fails without the mutant too");
                caught += 1;
                let what = failure.lines().next().unwrap_or_default();
                println!("caught   {mutant:?} by seed {seed}: {what} (before, by other promises: {otherwise:?})");
            }
            None => println!("SURVIVED {mutant:?} (by other promises: {otherwise:?})"),
        }
    }
    daypass::mutants::set(None);
    println!("{caught} of {} mutants caught", mutants.len());
    assert_eq!(caught, mutants.len());
}

#[tokio::test]
async fn a_history_plays_the_same_every_time() {
    let (one, other) = (play(&history(7)).await, play(&history(7)).await);
    assert_eq!((one.counts, one.failure), (other.counts, other.failure));
}
