//! Sessions that are open, grants that ran at a time, and where streams of events are.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use daypass::access::grant::GrantRef;
use daypass::access::plan::{Applied, Progress};
use daypass::ledger::{Event, EventKind};
use daypass::policy::entitlement::{Access, Entitlement};
use daypass::policy::name::StreamName;
use daypass::store::{OpenSession, Store};
use serde_json::json;

use crate::{Database, acme, noon};

on_both!(
    a_session_is_open_until_it_is_forgotten,
    a_stream_goes_on_where_it_was_and_has_one_sender,
    what_waits_is_counted
);

fn session(login: &str, key: &str) -> OpenSession {
    let access = Access::Postgres { role: "orders_readonly".to_owned(), login: login.to_owned() };
    let grant = GrantRef { repository: acme(), id: format!("{login}-orders#1").parse().unwrap() };
    OpenSession {
        entitlement: Entitlement { target: "orders-db".parse().unwrap(), access },
        key: key.to_owned(),
        opened_at: noon(),
        grants: BTreeSet::from([grant]),
    }
}

async fn a_session_is_open_until_it_is_forgotten(database: &Database) {
    let store = database.open().await;
    let (alice, bob) = (session("alice", "process 1"), session("bob", "process 1"));
    let mut tx = store.begin().await.unwrap();
    for (minute, one) in [(0, &alice), (0, &bob), (1, &alice)] {
        tx.put_session(one, noon() + TimeDelta::minutes(minute)).await.unwrap();
    }
    tx.commit().await.unwrap();
    let target = "orders-db".parse().unwrap();
    let mut open = store.open_sessions(&target).await.unwrap();
    open.sort_by_key(|(session, _)| session.grants.clone());
    assert_eq!(open, [(alice.clone(), noon() + TimeDelta::minutes(1)), (bob.clone(), noon())]);
    assert_eq!(store.open_sessions_of(&bob.entitlement).await.unwrap(), [(bob.clone(), noon())]);
    assert!(store.open_sessions(&"logs-db".parse().unwrap()).await.unwrap().is_empty());
    let mut tx = store.begin().await.unwrap();
    tx.forget_session(&bob).await.unwrap();
    tx.put_held(
        &alice.entitlement,
        &Applied { progress: Progress::Granted, standing: false, holders: BTreeSet::new() },
        None,
        noon(),
    )
    .await
    .unwrap();
    tx.commit().await.unwrap();
    assert_eq!(store.open_sessions(&target).await.unwrap().len(), 1);
    let nobody = store.grants_had_since(&acme(), &"alice".parse().unwrap(), noon()).await.unwrap();
    assert!(nobody.is_empty());
}

fn siem() -> StreamName {
    "siem".parse().unwrap()
}

async fn happens(store: &Store, times: std::ops::Range<i64>) {
    let mut tx = store.begin().await.unwrap();
    for nth in times {
        let at = noon() + TimeDelta::minutes(nth);
        tx.record(&Event::new(&acme(), EventKind::Started, "x#1", nth, at, json!({}))).await.unwrap();
    }
    tx.commit().await.unwrap();
}

async fn begin(store: &Store) {
    let mut tx = store.begin().await.unwrap();
    tx.begin_stream(&siem()).await.unwrap();
    tx.commit().await.unwrap();
}

async fn a_stream_goes_on_where_it_was_and_has_one_sender(database: &Database) {
    let store = database.open().await;
    let lease = |minute: i64| (noon() + TimeDelta::minutes(minute), noon() + TimeDelta::minutes(minute + 5));
    assert_eq!(store.hold_stream(&siem(), "one", lease(0)).await.unwrap(), None, "nobody began it");
    happens(&store, 0..2).await;
    begin(&store).await;
    happens(&store, 2..5).await;
    let from = store.hold_stream(&siem(), "one", lease(0)).await.unwrap().unwrap();
    let next = store.events_after(from, 2).await.unwrap();
    let minutes: Vec<i64> = next.iter().map(|(_, event)| (event.as_ref().unwrap().at - noon()).num_minutes()).collect();
    assert_eq!(minutes, [2, 3], "what was before is not passed on");
    let mut tx = store.begin().await.unwrap();
    tx.move_stream(&siem(), "another", next[1].0).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(store.hold_stream(&siem(), "one", lease(1)).await.unwrap(), Some(from), "only who holds it moves it");
    assert_eq!(store.hold_stream(&siem(), "another", lease(5)).await.unwrap(), None);
    let mut tx = store.begin().await.unwrap();
    tx.move_stream(&siem(), "one", next[1].0).await.unwrap();
    tx.commit().await.unwrap();
    begin(&store).await;
    assert_eq!(store.hold_stream(&siem(), "another", lease(6)).await.unwrap(), Some(next[1].0), "its time is over");
    let mut tx = store.begin().await.unwrap();
    tx.leave_stream(&siem(), "another").await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(store.hold_stream(&siem(), "one", lease(6)).await.unwrap(), Some(next[1].0));
}

async fn what_waits_is_counted(database: &Database) {
    let store = database.open().await;
    begin(&store).await;
    let waiting = async || {
        let backlogs = store.stream_backlogs().await.unwrap();
        backlogs.into_iter().map(|backlog| (backlog.waiting, backlog.oldest)).collect::<Vec<_>>()
    };
    assert_eq!(waiting().await, [(0, None)]);
    happens(&store, 0..3).await;
    assert_eq!(waiting().await, [(3, Some(noon()))]);
}
