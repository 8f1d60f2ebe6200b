//! Three processes on one database, and none of them can be relied on: at arbitrary moments they are killed, or stand still for
//! longer than a lease lasts and then go on as if nothing had happened. What was promised is kept all the same.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::installation::Installation;
use crate::parts::{Asked, Told, in_words, lateness, several};

/// How long things go wrong.
const CHAOS: Duration = Duration::from_secs(75);
/// How many requests come meanwhile, and for how many seconds: longer than one process that is not there can hold them up.
const REQUESTS: usize = 30;
const SECONDS: std::ops::RangeInclusive<u32> = 90..=150;
/// How long a process may hold what it has taken without being heard of.
const LEASE: TimeDelta = TimeDelta::seconds(30);
/// What a slow machine may need for everything else.
const SLOW: TimeDelta = TimeDelta::seconds(20);

/// Something that was done to a process.
#[derive(Debug)]
struct Mishap {
    process: usize,
    /// Killed; otherwise it stood still.
    killed: bool,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
}

fn between(rng: &mut StdRng, from: u64, to: u64) -> Duration {
    Duration::from_millis(rng.random_range(from..=to))
}

/// What happens to one process until `end`. The first two begin with standing still for longer than a lease.
async fn misfortune(daypass: &Installation, process: usize, seed: u64, end: Instant, mishaps: &Mutex<Vec<Mishap>>) {
    let mut rng = StdRng::seed_from_u64(seed.wrapping_mul(3).wrapping_add(process as u64));
    let mut long = process < 2;
    tokio::time::sleep(Duration::from_secs(6 * process as u64)).await;
    loop {
        tokio::time::sleep(between(&mut rng, 2_000, 8_000)).await;
        if Instant::now() >= end {
            return;
        }
        let killed = !long && rng.random_bool(0.6);
        let from = Utc::now();
        if killed {
            daypass.kill_one(process);
            tokio::time::sleep(between(&mut rng, 100, 2_500)).await;
            daypass.begin(process);
        } else {
            let pause = if long { between(&mut rng, 32_000, 45_000) } else { between(&mut rng, 1_000, 12_000) };
            daypass.signal(process, "STOP");
            tokio::time::sleep(pause).await;
            daypass.signal(process, "CONT");
            long = false;
        }
        mishaps.lock().unwrap().push(Mishap { process, killed, from, to: Utc::now() });
    }
}

/// What happened to processes between two times, or shortly enough before that a lease was still held.
fn around(mishaps: &[Mishap], from: DateTime<Utc>, to: DateTime<Utc>) -> usize {
    mishaps.iter().filter(|mishap| mishap.to >= from - LEASE && mishap.from <= to).count()
}

/// How late a revocation may come: each mishap around it may have cost a lease.
fn allowed(mishaps: &[Mishap], end: DateTime<Utc>, revoked: DateTime<Utc>) -> TimeDelta {
    SLOW + LEASE * i32::try_from(around(mishaps, end, revoked)).unwrap()
}

/// Whether a process had just gone on at that time: what it had been about to do when it was stopped lands then.
fn just_went_on(mishaps: &[Mishap], at: DateTime<Utc>) -> bool {
    // The server writes its log when the statement is read.
    let moment = TimeDelta::seconds(1);
    mishaps.iter().any(|mishap| !mishap.killed && mishap.to - moment <= at && at <= mishap.to + SLOW)
}

/// Says what was done twice; how often that was. Only a process that stood still between its look at its lease and the call can do
/// that, when it goes on; and what it gave so late is taken away once more.
fn doubled(asked: &[Asked], told: &[Told], mishaps: &[Mishap]) -> usize {
    let mut doubled = 0;
    for (asked, told) in asked.iter().zip(told) {
        let given = told.granted.iter().map(|at| (*at, true));
        let mut told: Vec<_> = given.chain(told.revoked.iter().map(|at| (*at, false))).collect();
        told.sort();
        for (nth, (at, gives)) in told.iter().enumerate() {
            if !told[..nth].iter().any(|(_, gave)| gave == gives) {
                continue;
            }
            doubled += 1;
            let takes_back = !gives && told[nth - 1].1;
            let what = if *gives { "given" } else { "taken away" };
            println!("{} was {what} once more at {at}: {told:?}", asked.slug);
            assert!(
                takes_back || just_went_on(mishaps, *at),
                "{} was {what} once more at {at}, and no process had just gone on: {mishaps:#?}",
                asked.slug
            );
        }
    }
    for mishap in mishaps.iter().filter(|_| doubled > 0) {
        let what = if mishap.killed { "was killed" } else { "stood still" };
        println!("process {} {what} from {} to {}", mishap.process, mishap.from, mishap.to);
    }
    doubled
}

/// Prints what there was.
fn figures(daypass: &Installation, asked: &[Asked], told: &[Told], mishaps: &[Mishap], doubled: usize) {
    let killed = mishaps.iter().filter(|mishap| mishap.killed).count();
    let balancer = &daypass.balancer.as_ref().unwrap().figures;
    println!(
        "{} requests; {killed} kills, {} pauses, {} of them longer than a lease; {} webhooks answered, {} connections refused, \
         {} requests unanswered",
        asked.len(),
        mishaps.len() - killed,
        longer_than_a_lease(mishaps),
        balancer.answered.load(Ordering::Relaxed),
        balancer.refused.load(Ordering::Relaxed),
        balancer.unanswered.load(Ordering::Relaxed),
    );
    println!(
        "{} grants, {} revocations, {doubled} doubled; late: {}",
        told.iter().map(|told| told.granted.len()).sum::<usize>(),
        told.iter().map(|told| told.revoked.len()).sum::<usize>(),
        in_words(&lateness(asked, told, &daypass.ends())),
    );
}

fn longer_than_a_lease(mishaps: &[Mishap]) -> usize {
    mishaps.iter().filter(|mishap| !mishap.killed && mishap.to - mishap.from > LEASE).count()
}

/// Each request was granted before it was revoked, and revoked at its end, as far as leases allow.
fn in_time(asked: &[Asked], told: &[Told], ends: &BTreeMap<String, DateTime<Utc>>, mishaps: &[Mishap]) {
    for (asked, told) in asked.iter().zip(told) {
        let end = ends[&asked.slug];
        let Some(revoked) = told.revoked.first().copied() else {
            // All of it fell into the leases of processes that were not there. Merges are read one after the other: what held up one
            // holds up the next.
            println!("{} was over before anybody could give it", asked.slug);
            assert!(told.granted.is_empty(), "{} was never revoked", asked.slug);
            let before = mishaps.iter().filter(|mishap| mishap.from <= end).count();
            let without = LEASE * i32::try_from(before).unwrap();
            assert!(
                asked.duration <= without + SLOW && without > TimeDelta::zero(),
                "{} was never granted",
                asked.slug
            );
            continue;
        };
        assert!(revoked >= end, "{} was revoked at {revoked}, before {end}", asked.slug);
        assert!(revoked - end <= allowed(mishaps, end, revoked), "{} was revoked at {revoked}, not {end}", asked.slug);
        assert!(told.granted.iter().any(|granted| *granted < revoked), "{} was revoked first", asked.slug);
    }
}

#[tokio::test]
#[ignore = "needs PostgreSQL; ./test runs it"]
async fn three_processes_that_are_killed_and_stand_still_on_postgres() {
    let seed =
        std::env::var("DAYPASS_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(rand::random::<u32>);
    println!("DAYPASS_SEED={seed}");
    let daypass = several(3);
    let (mishaps, began) = (Mutex::new(Vec::new()), Instant::now());
    let mut rng = StdRng::seed_from_u64(u64::from(seed));
    let asking = async {
        let mut asked = Vec::new();
        for nth in 0..REQUESTS {
            asked.push(daypass.ask_nth(nth, rng.random_range(SECONDS)).await);
            tokio::time::sleep(between(&mut rng, 400, 2_000)).await;
        }
        (asked, began.elapsed().as_secs_f64())
    };
    let happens = |process| misfortune(&daypass, process, u64::from(seed), began + CHAOS, &mishaps);
    let ((asked, asking_took), ..) = tokio::join!(asking, happens(0), happens(1), happens(2));
    let mishaps = mishaps.into_inner().unwrap();
    let calm = Instant::now();
    daypass.until_all_is_over(&asked).await;

    let (told, ends) = (daypass.told(&asked), daypass.ends());
    let doubled = doubled(&asked, &told, &mishaps);
    figures(&daypass, &asked, &told, &mishaps, doubled);
    println!(
        "asking took {asking_took:.0} seconds; all was over {:.0} seconds after the last mishap, {:.0} after the first request",
        calm.elapsed().as_secs_f64(),
        began.elapsed().as_secs_f64(),
    );
    assert!(longer_than_a_lease(&mishaps) >= 2);
    let granted = told.iter().filter(|told| !told.granted.is_empty()).count();
    assert!(granted * 2 >= asked.len(), "only {granted} of {} were ever granted", asked.len());
    in_time(&asked, &told, &ends, &mishaps);
    let spared = |asked: &Asked| around(&mishaps, ends[&asked.slug] - asked.duration, ends[&asked.slug]) == 0;
    daypass.everything_came_together(&asked, spared).await;
}
