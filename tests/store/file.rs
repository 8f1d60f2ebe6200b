//! SQLite files that are damaged, read-only or from the future, and disks that are full.

use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use daypass::store::{Delivery, Job, Reason, Store, StoreError};
use sqlx::{AnyConnection, Connection};

use crate::support::disk::Disk;
use crate::{acme, ask, finish, noon, sync, take};

fn url(dir: &Path) -> String {
    format!("sqlite://{}", dir.join("daypass.db").display())
}

fn delivery(id: &str, length: usize) -> Delivery {
    Delivery { id: id.to_owned(), event: "push".to_owned(), body: "x".repeat(length) }
}

/// What another program finds in the file.
async fn others_count(url: &str, table: &'static str) -> i64 {
    let mut other = AnyConnection::connect(url).await.unwrap();
    let sql = sqlx::AssertSqlSafe(format!("SELECT COUNT(*) FROM {table}"));
    sqlx::query_scalar(sql).fetch_one(&mut other).await.unwrap()
}

/// The error of opening it, which must not take long.
async fn refused(url: &str) -> StoreError {
    let started = Instant::now();
    let error = Store::open(url).await.unwrap_err();
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    error
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let garbage = b"Dear diary, ".repeat(1_000);
    std::fs::write(dir.path().join("daypass.db"), &garbage).unwrap();
    let error = refused(&url(dir.path())).await;
    assert_eq!(error.reason(), Reason::Damaged, "{error}");
    assert!(error.to_string().starts_with("the database is damaged: "), "{error}");
    assert!(error.to_string().contains("put a backup in its place"), "{error}");
    assert_eq!(std::fs::read(dir.path().join("daypass.db")).unwrap(), garbage);
}

#[tokio::test]
async fn nothing_is_acknowledged_by_a_file_that_is_gone_and_access_still_ends() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&url(dir.path())).await.unwrap();
    store.accept(&delivery("kept", 10), noon()).await.unwrap();
    store.ping().await.unwrap();
    std::fs::remove_file(dir.path().join("daypass.db")).unwrap();
    for error in [store.ping().await.unwrap_err(), store.accept(&delivery("lost", 10), noon()).await.unwrap_err()] {
        assert_eq!(error.reason(), Reason::Gone, "{error}");
        assert!(error.to_string().contains("start Daypass anew"), "{error}");
    }
    store.begin().await.unwrap().commit().await.unwrap();
    // Another one in its place is not the one that is open.
    Store::open(&url(dir.path())).await.unwrap().close().await;
    assert_eq!(store.ping().await.unwrap_err().reason(), Reason::Gone);
}

#[tokio::test]
async fn damage_in_the_middle_of_the_file_is_found_before_it_is_used() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&url(dir.path())).await.unwrap();
    for number in 0..300 {
        store.accept(&delivery(&format!("d-{number}"), 2_000), noon()).await.unwrap();
    }
    store.close().await;
    let path = dir.path().join("daypass.db");
    let pages = std::fs::metadata(&path).unwrap().len() / 4_096;
    let mut file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.seek(SeekFrom::Start(pages / 2 * 4_096)).unwrap();
    file.write_all(&[0xa5; 4_096]).unwrap();
    drop(file);
    let error = refused(&url(dir.path())).await;
    assert_eq!(error.reason(), Reason::Damaged, "{error}");
}

#[tokio::test]
async fn a_file_that_cannot_be_written_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    Store::open(&url(dir.path())).await.unwrap().close().await;
    let error = refused(&format!("{}?mode=ro", url(dir.path()))).await;
    assert_eq!(error.reason(), Reason::ReadOnly, "{error}");
    assert!(error.to_string().contains("make it writable"), "{error}");
}

#[tokio::test]
async fn a_directory_that_is_not_there_is_named() {
    let error = refused("sqlite:///nowhere/at/all/daypass.db").await;
    assert_eq!(error.reason(), Reason::NoAnswer, "{error}");
    assert!(error.to_string().contains("unable to open"), "{error}");
}

#[tokio::test]
async fn a_server_that_refuses_connections_is_said_to() {
    let error = refused("postgres://daypass:secret@127.0.0.1:1/daypass").await;
    assert_eq!(error.reason(), Reason::NoAnswer, "{error}");
    assert!(error.to_string().to_lowercase().contains("refused"), "{error}");
    assert!(!error.to_string().contains("secret"), "{error}");
}

#[tokio::test]
async fn a_newer_version_has_been_here() {
    let dir = tempfile::tempdir().unwrap();
    Store::open(&url(dir.path())).await.unwrap().close().await;
    let mut other = AnyConnection::connect(&url(dir.path())).await.unwrap();
    sqlx::query(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         VALUES (99990101, 'later', TRUE, X'00', 0)",
    )
    .execute(&mut other)
    .await
    .unwrap();
    other.close().await.unwrap();
    let error = refused(&url(dir.path())).await;
    assert!(matches!(error, StoreError::Newer(99_990_101)), "{error}");
    assert!(error.to_string().contains("written by a newer version of Daypass"), "{error}");
    assert!(error.to_string().contains("start that version"), "{error}");
}

#[tokio::test]
#[ignore = "needs root; ./test runs it"]
async fn full_disk_loses_nothing_that_was_promised() {
    let disk = Disk::new();
    let url = disk.store_url();
    let store = Store::open(&url).await.unwrap();
    ask(&store, &sync(), noon()).await;
    let claim = take(&store, noon()).await.unwrap();
    let mut accepted = 0;
    for round in 0..3 {
        while store.accept(&delivery(&format!("before-{round}-{accepted}"), 3_000), noon()).await.is_ok_and(|new| new) {
            accepted += 1;
            if accepted % 20 == 0 {
                break;
            }
        }
        disk.fill();
        for attempt in 0..3 {
            let error = store.accept(&delivery(&format!("during-{round}"), 9_000), noon()).await.unwrap_err();
            assert_eq!(error.reason(), Reason::Full, "{error}");
            assert!(error.to_string().starts_with("the disk of the database is full: "), "{error}");
            // Several statements, the last of which does not fit.
            let mut tx = store.begin().await.unwrap();
            let mut asked = Ok(());
            for number in 0..2_000 {
                asked = tx.schedule(&Job::Pull(acme(), number), noon()).await;
                if asked.is_err() {
                    break;
                }
            }
            let error = match asked {
                Ok(()) => tx.commit().await.unwrap_err(),
                Err(error) => error,
            };
            assert_eq!(error.reason(), Reason::Full, "attempt {attempt}: {error}");
        }
        assert_eq!(store.ping().await.unwrap_err().reason(), Reason::Full);
        assert!(finish(&store, &claim, Some(noon())).await.is_err());
        disk.make_room();
        store.ping().await.unwrap();
        assert_eq!(store.queue().await.unwrap().len(), 1, "what failed did not happen");
        assert!(store.accept(&delivery(&format!("during-{round}"), 9_000), noon()).await.unwrap());
        accepted += 1;
        // Nothing is left in a transaction nobody commits: another program sees it.
        assert_eq!(others_count(&url, "deliveries").await, accepted);
    }
    finish(&store, &claim, None).await.unwrap();
    assert_eq!(others_count(&url, "work").await, 0);
    store.close().await;
    let after = Store::open(&url).await.unwrap();
    assert_eq!(i64::try_from(after.waiting_deliveries(1_000).await.unwrap().len()).unwrap(), accepted);
}
