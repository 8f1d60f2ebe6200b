//! The promises of the database, on SQLite. PostgreSQL keeps the same ones: `tests/servers.rs` runs the app on it.

use super::*;
use chrono::TimeDelta;

const LEASE: TimeDelta = TimeDelta::minutes(5);

fn noon() -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).unwrap()
}

async fn store(dir: &tempfile::TempDir) -> Store {
    Store::open(&format!("sqlite://{}", dir.path().join("daypass.db").display())).await.unwrap()
}

fn sync() -> Job {
    Job::Sync("acme/access".parse().unwrap())
}

async fn ask(store: &Store, job: &Job, due: DateTime<Utc>) {
    let mut tx = store.begin().await.unwrap();
    tx.schedule(job, due).await.unwrap();
    tx.commit().await.unwrap();
}

async fn finish(store: &Store, claim: &Claim, again: Option<DateTime<Utc>>) -> Result<(), StoreError> {
    let mut tx = store.begin().await?;
    tx.finish(claim, again).await?;
    tx.commit().await
}

#[tokio::test]
async fn a_delivery_is_taken_once_and_survives_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let delivery = Delivery { id: "d-1".to_owned(), event: "push".to_owned(), body: "{}".to_owned() };
    let before = store(&dir).await;
    assert!(before.accept(&delivery, noon()).await.unwrap());
    assert!(!before.accept(&delivery, noon()).await.unwrap());
    before.close().await;

    let after = store(&dir).await;
    let waiting = after.waiting_deliveries(10).await.unwrap();
    assert_eq!(waiting.iter().map(|delivery| delivery.id.as_str()).collect::<Vec<_>>(), ["d-1"]);
    let mut tx = after.begin().await.unwrap();
    tx.done_with("d-1", noon()).await.unwrap();
    tx.commit().await.unwrap();
    assert!(after.waiting_deliveries(10).await.unwrap().is_empty());
    assert!(!after.accept(&delivery, noon()).await.unwrap(), "a redelivery of what was done is known");
}

#[tokio::test]
async fn a_job_asked_for_twice_is_done_once_at_the_earlier_time() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir).await;
    ask(&store, &sync(), noon() + TimeDelta::hours(2)).await;
    ask(&store, &sync(), noon() + TimeDelta::hours(1)).await;
    assert_eq!(store.next_due().await.unwrap(), Some(noon() + TimeDelta::hours(1)));
    assert!(store.claim(noon(), LEASE).await.unwrap().is_none());

    let claim = store.claim(noon() + TimeDelta::hours(1), LEASE).await.unwrap().unwrap();
    assert_eq!(claim.job, sync());
    assert!(store.claim(noon() + TimeDelta::hours(1), LEASE).await.unwrap().is_none(), "it is taken");
    finish(&store, &claim, None).await.unwrap();
    assert_eq!(store.next_due().await.unwrap(), None);
}

#[tokio::test]
async fn a_job_asked_for_while_it_is_done_is_done_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir).await;
    ask(&store, &sync(), noon()).await;
    let claim = store.claim(noon(), LEASE).await.unwrap().unwrap();
    ask(&store, &sync(), noon()).await;
    finish(&store, &claim, None).await.unwrap();
    assert!(store.claim(noon(), LEASE).await.unwrap().is_some());
}

#[tokio::test]
async fn whoever_lost_the_lease_can_write_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir).await;
    ask(&store, &sync(), noon()).await;
    let slow = store.claim(noon(), LEASE).await.unwrap().unwrap();
    let quick = store.claim(noon() + LEASE, LEASE).await.unwrap().unwrap();

    let mut tx = store.begin().await.unwrap();
    let so_far = ReadSoFar { head: "abc".to_owned(), first: true };
    tx.set_read_so_far("acme/access", &so_far, noon()).await.unwrap();
    assert!(matches!(tx.finish(&slow, None).await, Err(StoreError::LeaseLost(_))));
    drop(tx);
    assert_eq!(store.read_so_far("acme/access").await.unwrap(), None, "what came with it did not happen");

    finish(&store, &quick, None).await.unwrap();
}

#[tokio::test]
async fn a_renewed_lease_is_kept_and_a_lost_one_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir).await;
    ask(&store, &sync(), noon()).await;
    let claim = store.claim(noon(), LEASE).await.unwrap().unwrap();
    store.renew(&claim, noon() + LEASE * 2).await.unwrap();
    assert!(store.claim(noon() + LEASE, LEASE).await.unwrap().is_none());
    let other = store.claim(noon() + LEASE * 2, LEASE).await.unwrap().unwrap();
    assert!(matches!(store.renew(&claim, noon() + LEASE * 3).await, Err(StoreError::LeaseLost(_))));

    store.release_leases_of_the_dead().await.unwrap();
    assert!(store.claim(noon() + LEASE * 2, LEASE).await.unwrap().is_some());
    assert!(
        matches!(finish(&store, &other, None).await, Err(StoreError::LeaseLost(_))),
        "it was not dead; it is fenced off"
    );
}

#[tokio::test]
async fn what_is_given_back_is_free_at_the_time_that_was_said_and_no_later_than_its_lease() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir).await;
    ask(&store, &sync(), noon()).await;
    let claim = store.claim(noon(), LEASE).await.unwrap().unwrap();
    store.let_go(&claim, noon() + LEASE * 2).await.unwrap();
    store.let_go(&claim, noon() + TimeDelta::seconds(10)).await.unwrap();
    assert!(store.claim(noon() + TimeDelta::seconds(9), LEASE).await.unwrap().is_none());
    let other = store.claim(noon() + TimeDelta::seconds(10), LEASE).await.unwrap().unwrap();
    store.let_go(&claim, noon()).await.unwrap();
    assert!(store.claim(noon() + TimeDelta::seconds(11), LEASE).await.unwrap().is_none(), "that was somebody else's");
    finish(&store, &other, None).await.unwrap();
}

#[tokio::test]
async fn a_failed_job_comes_back_with_what_it_said() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir).await;
    ask(&store, &sync(), noon()).await;
    let claim = store.claim(noon(), LEASE).await.unwrap().unwrap();
    let mut tx = store.begin().await.unwrap();
    tx.fail(&claim, "GitHub is down", noon() + TimeDelta::seconds(2)).await.unwrap();
    tx.commit().await.unwrap();

    let queue = store.queue().await.unwrap();
    assert_eq!(queue[0].last_error.as_deref(), Some("GitHub is down"));
    assert!(store.claim(noon(), LEASE).await.unwrap().is_none());
    let again = store.claim(noon() + TimeDelta::seconds(2), LEASE).await.unwrap().unwrap();
    assert_eq!(again.attempts, 1);
}

#[tokio::test]
async fn a_transaction_that_is_dropped_did_not_happen() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir).await;
    let mut tx = store.begin().await.unwrap();
    tx.schedule(&sync(), noon()).await.unwrap();
    drop(tx);
    assert_eq!(store.next_due().await.unwrap(), None);
}

#[tokio::test]
async fn a_message_is_said_once() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir).await;
    let repository: crate::policy::name::RepositoryName = "acme/access".parse().unwrap();
    let message = Message { id: "granted-7".to_owned(), body: "alice has it".to_owned() };
    for _ in 0..2 {
        let mut tx = store.begin().await.unwrap();
        tx.say(&repository, 7, &message, noon()).await.unwrap();
        tx.commit().await.unwrap();
    }
    let waiting = store.waiting_messages(&repository, 7).await.unwrap();
    assert_eq!(waiting.len(), 1);
    let mut tx = store.begin().await.unwrap();
    tx.said(&waiting[0].id, noon()).await.unwrap();
    tx.say(&repository, 7, &message, noon()).await.unwrap();
    tx.commit().await.unwrap();
    assert!(store.waiting_messages(&repository, 7).await.unwrap().is_empty());
}

#[test]
fn every_job_can_be_read_back() {
    let repository: crate::policy::name::RepositoryName = "acme/access".parse().unwrap();
    let id: crate::access::grant::GrantId = "alice-orders#12".parse().unwrap();
    for job in [
        Job::Pull(repository.clone(), 3),
        Job::Sync(repository.clone()),
        Job::Sweep(repository.clone()),
        Job::Grant(repository.clone(), id.clone()),
        Job::Revert(repository.clone(), id),
        Job::Cleanse(repository.clone()),
        Job::Messages(repository, 3),
        Job::Target("orders-db".parse().unwrap()),
        Job::Tidy,
    ] {
        assert_eq!(job.to_string().parse::<Job>().unwrap(), job);
    }
    assert!("pull acme/access".parse::<Job>().is_err());
}
