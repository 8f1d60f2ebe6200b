//! Jobs and deliveries: asked for once or often, by one or many, each is done, by one worker at a time.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use daypass::store::{Delivery, Job, Lane, ReadSoFar, Store};

use crate::{Database, LEASE, acme, ask, finish, is_lost, noon, sync, take};

on_both!(
    a_delivery_is_taken_once_and_survives_a_restart,
    a_delivery_that_comes_many_times_at_once_is_accepted_once,
    a_delivery_two_workers_read_is_looked_at_by_one,
    old_deliveries_are_forgotten_and_waiting_ones_are_not,
    a_job_asked_for_twice_is_done_once_at_the_earlier_time,
    a_job_asked_for_while_it_is_done_is_done_again,
    a_job_that_comes_again_waits_for_its_time_unless_somebody_asked_meanwhile,
    whoever_lost_the_lease_can_write_nothing,
    a_renewed_lease_is_kept_and_a_lost_one_is_noticed,
    a_lease_written_by_a_clock_that_is_ahead_holds_up_nobody,
    a_restart_frees_what_the_dead_held,
    a_failed_job_comes_back_with_what_it_said,
    a_transaction_that_is_dropped_did_not_happen,
    eight_workers_do_hundreds_of_jobs_each_once,
    workers_that_ask_for_each_others_jobs_do_not_get_stuck,
    of_two_workers_that_take_over_one_wins,
);

fn delivery(id: &str) -> Delivery {
    Delivery { id: id.to_owned(), event: "push".to_owned(), body: "{}".to_owned() }
}

/// Whether the delivery was still to be looked at.
async fn look_at(store: &Store, id: &str) -> bool {
    let mut tx = store.begin().await.unwrap();
    let mine = tx.done_with(id, noon()).await.unwrap();
    tx.commit().await.unwrap();
    mine
}

async fn a_delivery_is_taken_once_and_survives_a_restart(database: &Database) {
    let before = database.open().await;
    assert!(before.accept(&delivery("d-1"), noon()).await.unwrap());
    assert!(!before.accept(&delivery("d-1"), noon()).await.unwrap());
    before.close().await;

    let after = database.open().await;
    assert_eq!(after.waiting_deliveries(10).await.unwrap(), [delivery("d-1")]);
    assert!(look_at(&after, "d-1").await);
    assert!(after.waiting_deliveries(10).await.unwrap().is_empty());
    assert!(!after.accept(&delivery("d-1"), noon()).await.unwrap(), "a redelivery of what was done is known");
}

async fn a_delivery_that_comes_many_times_at_once_is_accepted_once(database: &Database) {
    let stores = database.workers(8).await;
    for round in 0..20 {
        let id = format!("d-{round}");
        let arrivals = stores.iter().map(|store| {
            let (store, delivery) = (store.clone(), delivery(&id));
            tokio::spawn(async move { store.accept(&delivery, noon()).await.unwrap() })
        });
        let answers = futures::future::join_all(arrivals).await;
        assert_eq!(answers.into_iter().filter(|new| *new.as_ref().unwrap()).count(), 1);
    }
    assert_eq!(stores[0].waiting_deliveries(100).await.unwrap().len(), 20);
    assert_eq!(stores[0].waiting_deliveries(7).await.unwrap().len(), 7);
}

async fn a_delivery_two_workers_read_is_looked_at_by_one(database: &Database) {
    let stores = database.workers(2).await;
    stores[0].accept(&delivery("d-1"), noon()).await.unwrap();
    for store in &stores {
        assert_eq!(store.waiting_deliveries(10).await.unwrap().len(), 1);
    }
    assert!(look_at(&stores[0], "d-1").await);
    assert!(!look_at(&stores[1], "d-1").await);
}

async fn old_deliveries_are_forgotten_and_waiting_ones_are_not(database: &Database) {
    let store = database.open().await;
    store.accept(&delivery("done"), noon()).await.unwrap();
    store.accept(&delivery("waiting"), noon()).await.unwrap();
    assert!(look_at(&store, "done").await);
    for (before, forgotten) in [(noon(), 0), (noon() + TimeDelta::days(1), 1), (noon() + TimeDelta::days(2), 0)] {
        let mut tx = store.begin().await.unwrap();
        assert_eq!(tx.forget_deliveries(before).await.unwrap(), forgotten);
        tx.commit().await.unwrap();
    }
    assert_eq!(store.waiting_deliveries(10).await.unwrap(), [delivery("waiting")]);
}

async fn a_job_asked_for_twice_is_done_once_at_the_earlier_time(database: &Database) {
    let store = database.open().await;
    ask(&store, &sync(), noon() + TimeDelta::hours(2)).await;
    ask(&store, &sync(), noon() + TimeDelta::hours(1)).await;
    assert_eq!(store.next_due(Lane::Any).await.unwrap(), Some(noon() + TimeDelta::hours(1)));
    assert!(take(&store, noon()).await.is_none());

    let claim = take(&store, noon() + TimeDelta::hours(1)).await.unwrap();
    assert_eq!(claim.job, sync());
    assert!(take(&store, noon() + TimeDelta::hours(1)).await.is_none(), "it is taken");
    assert_eq!(
        store.next_due(Lane::Any).await.unwrap(),
        Some(noon() + TimeDelta::hours(1) + LEASE),
        "until the lease ends"
    );
    finish(&store, &claim, None).await.unwrap();
    assert_eq!(store.next_due(Lane::Any).await.unwrap(), None);
}

async fn a_job_asked_for_while_it_is_done_is_done_again(database: &Database) {
    let store = database.open().await;
    ask(&store, &sync(), noon()).await;
    let claim = take(&store, noon()).await.unwrap();
    ask(&store, &sync(), noon()).await;
    assert!(take(&store, noon()).await.is_none(), "not while it is held");
    finish(&store, &claim, None).await.unwrap();
    assert!(take(&store, noon()).await.is_some());
}

async fn a_job_that_comes_again_waits_for_its_time_unless_somebody_asked_meanwhile(database: &Database) {
    let store = database.open().await;
    let later = noon() + TimeDelta::hours(1);
    ask(&store, &sync(), noon()).await;
    finish(&store, &take(&store, noon()).await.unwrap(), Some(later)).await.unwrap();
    assert!(take(&store, noon()).await.is_none());
    assert_eq!(store.next_due(Lane::Any).await.unwrap(), Some(later));

    let claim = take(&store, later).await.unwrap();
    ask(&store, &sync(), later).await;
    finish(&store, &claim, Some(later + TimeDelta::hours(1))).await.unwrap();
    assert!(take(&store, later).await.is_some(), "it is due at once");
}

async fn a_lease_written_by_a_clock_that_is_ahead_holds_up_nobody(database: &Database) {
    let store = database.open().await;
    ask(&store, &sync(), noon()).await;
    let ahead = take(&store, noon() + TimeDelta::hours(5)).await.unwrap();
    let other = take(&store, noon()).await.expect("no lease lasts for five hours");
    assert!(is_lost(finish(&store, &ahead, None).await));
    finish(&store, &other, None).await.unwrap();
}

async fn whoever_lost_the_lease_can_write_nothing(database: &Database) {
    let stores = database.workers(2).await;
    let (slow, quick) = (&stores[0], &stores[1]);
    ask(slow, &sync(), noon()).await;
    let old = take(slow, noon()).await.unwrap();
    let new = take(quick, noon() + LEASE).await.unwrap();

    assert!(is_lost(slow.renew(&old, noon() + LEASE * 2, LEASE).await));
    assert!(is_lost(finish(slow, &old, None).await));
    for way in 0..4 {
        let mut tx = slow.begin().await.unwrap();
        let so_far = ReadSoFar { head: None, first_until: Some("abc".to_owned()) };
        tx.set_read_so_far("acme/access", &so_far, noon()).await.unwrap();
        tx.schedule(&Job::Tidy, noon()).await.unwrap();
        assert!(is_lost(match way {
            0 => tx.finish(&old, None).await,
            1 => tx.finish(&old, Some(noon())).await,
            2 => tx.fail(&old, "too late", noon()).await,
            _ => tx.assert_held(&old).await,
        }));
    }
    assert_eq!(slow.read_so_far("acme/access").await.unwrap(), None, "what came with it did not happen");
    assert_eq!(slow.queue().await.unwrap().len(), 1, "nor was anything asked for");

    let mut tx = quick.begin().await.unwrap();
    tx.assert_held(&new).await.unwrap();
    tx.commit().await.unwrap();
    finish(quick, &new, None).await.unwrap();
    assert!(is_lost(slow.renew(&old, noon() + LEASE * 2, LEASE).await), "nor afterwards");
}

async fn a_renewed_lease_is_kept_and_a_lost_one_is_noticed(database: &Database) {
    let store = database.open().await;
    ask(&store, &sync(), noon()).await;
    let claim = take(&store, noon()).await.unwrap();
    store.renew(&claim, noon() + LEASE * 1, LEASE).await.unwrap();
    assert!(take(&store, noon() + LEASE).await.is_none());
    take(&store, noon() + LEASE * 2).await.unwrap();
    assert!(is_lost(store.renew(&claim, noon() + LEASE * 2, LEASE).await));
}

async fn a_restart_frees_what_the_dead_held(database: &Database) {
    let store = database.open().await;
    ask(&store, &sync(), noon()).await;
    let claim = take(&store, noon()).await.unwrap();
    store.release_leases_of_the_dead().await.unwrap();
    // With PostgreSQL another process may be alive: there the lease has to end first.
    let alone = matches!(database, Database::Sqlite(_));
    assert_eq!(take(&store, noon()).await.is_some(), alone);
    assert_eq!(is_lost(finish(&store, &claim, None).await), alone, "if it was not dead, it is fenced off");
}

async fn a_failed_job_comes_back_with_what_it_said(database: &Database) {
    let store = database.open().await;
    ask(&store, &sync(), noon()).await;
    let claim = take(&store, noon()).await.unwrap();
    let mut tx = store.begin().await.unwrap();
    tx.fail(&claim, "GitHub is down", noon() + TimeDelta::seconds(2)).await.unwrap();
    tx.commit().await.unwrap();

    let queue = store.queue().await.unwrap();
    assert_eq!((queue[0].job.as_str(), queue[0].attempts), ("sync acme/access", 1));
    assert_eq!(
        (queue[0].due_at, queue[0].last_error.as_deref()),
        (noon() + TimeDelta::seconds(2), Some("GitHub is down"))
    );
    assert!(take(&store, noon()).await.is_none());
    let again = take(&store, noon() + TimeDelta::seconds(2)).await.unwrap();
    assert_eq!(again.attempts, 1);
}

async fn a_transaction_that_is_dropped_did_not_happen(database: &Database) {
    let store = database.open().await;
    let mut tx = store.begin().await.unwrap();
    tx.schedule(&sync(), noon()).await.unwrap();
    drop(tx);
    assert_eq!(store.next_due(Lane::Any).await.unwrap(), None);
}

/// Does whatever is due; what was done.
async fn work(store: Store) -> Vec<Job> {
    let mut done = Vec::new();
    while let Some(claim) = take(&store, noon()).await {
        finish(&store, &claim, None).await.unwrap();
        done.push(claim.job);
    }
    done
}

async fn eight_workers_do_hundreds_of_jobs_each_once(database: &Database) {
    let stores = database.workers(8).await;
    let mut tx = stores[0].begin().await.unwrap();
    for number in 0..400 {
        tx.schedule(&Job::Pull(acme(), number), noon()).await.unwrap();
    }
    tx.commit().await.unwrap();
    let workers = stores.into_iter().map(|store| tokio::spawn(work(store)));
    let done: Vec<Job> = futures::future::join_all(workers).await.into_iter().flat_map(Result::unwrap).collect();
    assert_eq!((done.len(), done.iter().collect::<BTreeSet<_>>().len()), (400, 400));
    assert_eq!(database.open().await.queue().await.unwrap().len(), 0);
}

async fn workers_that_ask_for_each_others_jobs_do_not_get_stuck(database: &Database) {
    let stores = database.workers(4).await;
    let workers = stores.iter().enumerate().map(|(worker, store)| {
        let store = store.clone();
        tokio::spawn(async move {
            for round in 0..50 {
                let mut jobs: Vec<Job> = (0..10).map(|number| Job::Pull(acme(), number)).collect();
                // Each in an order of its own.
                jobs.rotate_left(worker * 3);
                if (worker + round) % 2 == 0 {
                    jobs.reverse();
                }
                let claim = take(&store, noon()).await;
                let mut tx = store.begin().await.unwrap();
                for job in &jobs {
                    tx.schedule(job, noon()).await.unwrap();
                }
                if let Some(claim) = claim {
                    tx.finish(&claim, None).await.unwrap();
                }
                tx.commit().await.unwrap();
            }
        })
    });
    for worker in futures::future::join_all(workers).await {
        worker.unwrap();
    }
    assert_eq!(stores[0].queue().await.unwrap().len(), 10);
}

async fn of_two_workers_that_take_over_one_wins(database: &Database) {
    let stores = database.workers(8).await;
    ask(&stores[0], &sync(), noon()).await;
    let mut old = take(&stores[0], noon()).await.unwrap();
    for round in 1..20 {
        let takers = stores.iter().map(|store| {
            let store = store.clone();
            tokio::spawn(async move { take(&store, noon() + LEASE * round).await })
        });
        let taken: Vec<_> = futures::future::join_all(takers).await.into_iter().filter_map(Result::unwrap).collect();
        assert_eq!(taken.len(), 1);
        assert!(is_lost(stores[0].renew(&old, noon() + LEASE * 29, LEASE).await));
        old = taken.into_iter().next().unwrap();
    }
    finish(&stores[0], &old, None).await.unwrap();
}

#[test]
fn every_job_can_be_read_back() {
    let id: daypass::access::grant::GrantId = "alice-orders#12".parse().unwrap();
    for job in [
        Job::Pull(acme(), 3),
        Job::Sync(acme()),
        Job::Sweep(acme()),
        Job::Grant(acme(), id.clone()),
        Job::Revert(acme(), id),
        Job::Cleanse(acme()),
        Job::Messages(acme(), 3),
        Job::Target("orders-db".parse().unwrap()),
        Job::Tidy,
    ] {
        assert_eq!(job.to_string().parse::<Job>().unwrap(), job);
    }
    assert!("pull acme/access".parse::<Job>().is_err());
}
