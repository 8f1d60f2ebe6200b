//! A hundred thousand people have access; ten thousand of them lose it in the same minute.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use daypass::access::grant::{Grant, GrantRef};
use daypass::access::plan::{Applied, Progress};
use daypass::engine::Worker;
use daypass::policy::entitlement::{Access, Entitlement};
use daypass::store::{GrantRow, Job, Lane};
use serde_json::json;

use crate::support::world::World;
use crate::{share, spread};

/// Everybody's role.
const ROLE: &str = "orders_readonly";

fn login(number: u64) -> String {
    format!("person-{number}")
}

/// A running grant of somebody's own.
fn grant(number: u64, now: DateTime<Utc>, ends_at: DateTime<Utc>) -> (GrantRow, Entitlement) {
    let access = Access::Postgres { role: ROLE.to_owned(), login: login(number) };
    let entitlement = Entitlement { target: "orders-db".parse().unwrap(), access };
    let person = json!({ "id": 10_000 + number, "login": login(number) });
    let grant = json!({
        "id": format!("{}#{}", login(number), 1_000 + number), "subject": person, "requester": person,
        "role": "orders-db-reader", "reason": "Checkouts hang and nobody knows why yet", "ticket": "INC-4711",
        "break_glass": false, "approvers": [{ "id": 7, "login": "dave" }],
        "window": { "starts_at": now, "ends_at": ends_at }, "revert_at": ends_at, "merge_commit": "1".repeat(40),
        "blob": "2".repeat(40), "entitlements": [entitlement], "state": "active",
    });
    let grant: Grant = serde_json::from_value(grant).unwrap();
    (GrantRow { repository: "acme/access".parse().unwrap(), grant, revert_pull: None }, entitlement)
}

/// Puts running grants where they would be: the database, the target, the queue.
async fn populate(world: &World, ends: &[DateTime<Utc>]) {
    let (store, now) = (world.engine().store().clone(), world.now());
    for (chunk, ends) in ends.chunks(1_000).enumerate() {
        let mut tx = store.begin().await.unwrap();
        for (nth, ends_at) in ends.iter().enumerate() {
            let (row, entitlement) = grant(u64::try_from(chunk * 1_000 + nth).unwrap(), now, *ends_at);
            let holder = GrantRef { repository: row.repository.clone(), id: row.grant.id.clone() };
            let holders = BTreeSet::from([holder.clone()]);
            let applied = Applied { progress: Progress::Granted, standing: false, holders };
            tx.put_held(&entitlement, &applied, None, now).await.unwrap();
            tx.schedule(&Job::Grant(holder.repository, holder.id), *ends_at).await.unwrap();
            tx.put_grant(&row).await.unwrap();
            world.orders.add(ROLE, &row.grant.subject.login.to_string());
        }
        tx.commit().await.unwrap();
    }
}

/// Who still has the role.
fn holders(world: &World) -> BTreeSet<String> {
    world.orders.members().into_iter().map(|(_, login)| login).collect()
}

/// Lets time pass at its own pace until nobody has access whose time is up; how late each lost it.
async fn pass_the_minute(world: &World, ends: &BTreeMap<String, DateTime<Utc>>) -> Vec<Duration> {
    let (mut last, mut late, mut left) = (Instant::now(), Vec::new(), ends.clone());
    while !left.is_empty() {
        tokio::time::sleep(Duration::from_millis(50)).await;
        world.advance(TimeDelta::from_std(last.elapsed()).unwrap());
        last = Instant::now();
        let (now, there) = (world.now(), holders(world));
        let gone: Vec<String> = left.keys().filter(|login| !there.contains(*login)).cloned().collect();
        for login in gone {
            let end = left.remove(&login).unwrap();
            assert!(end <= now, "{login} lost it at {now}, before {end}");
            late.push((now - end).to_std().unwrap());
        }
    }
    late
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_of_a_hundred_thousand_grants_end_in_the_same_minute() {
    let (all, ending) = (share(100_000), share(10_000));
    let world = World::new().await;
    let noon = world.now() + TimeDelta::hours(2);
    // Those that end are spread over the minute; the others go on for hours.
    let end = |number: u64| match number < ending {
        true => noon + TimeDelta::milliseconds((number * 60_000 / ending).cast_signed()),
        false => noon + TimeDelta::hours(6),
    };
    let ends: Vec<DateTime<Utc>> = (0..all).map(end).collect();
    let started = Instant::now();
    populate(&world, &ends).await;
    println!("{all} grants put there in {:.1?}", started.elapsed());
    world.advance(noon - world.now() - TimeDelta::seconds(1));

    let (stop, stopped) = tokio::sync::watch::channel(false);
    let workers = [Worker::Access, Worker::Access, Worker::Any, Worker::Any, Worker::Any, Worker::Any].map(|worker| {
        let (engine, mut stopped) = (world.engine(), stopped.clone());
        tokio::spawn(async move { engine.run(worker, async { drop(stopped.wait_for(|stop| *stop).await) }).await })
    });
    let lapsing: BTreeMap<String, DateTime<Utc>> =
        (0..ending).map(|number| (login(number), ends[usize::try_from(number).unwrap()])).collect();
    let late = pass_the_minute(&world, &lapsing).await;
    println!("{ending} revoked; late by: {}", spread(late));

    // The rest of the work is telling people.
    let store = world.engine().store().clone();
    let telling = Instant::now();
    while store.next_due(Lane::Any).await.unwrap().is_some_and(|due| due <= world.now()) {
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert!(telling.elapsed() < Duration::from_secs(1_800), "it never comes to rest");
    }
    println!("everything told after another {:.1?}", telling.elapsed());
    stop.send(true).unwrap();
    for worker in workers {
        worker.await.unwrap();
    }
    assert_eq!(u64::try_from(holders(&world).len()).unwrap(), all - ending, "nobody else lost anything");
    let counts = (world.count("ended").await, world.count("removed").await);
    assert_eq!(counts, (usize::try_from(ending).unwrap(), usize::try_from(ending).unwrap()), "each once on record");
    let revokes = world.orders.calls().iter().filter(|call| call.starts_with("revoke")).count();
    assert_eq!(revokes, usize::try_from(ending).unwrap(), "each revoked once");
}
