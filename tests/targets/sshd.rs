//! Certificates on a real sshd.

use std::collections::BTreeSet;
use std::path::Path;

use chrono::{DateTime, TimeDelta, Utc};
use daypass::policy::entitlement::{Access, Entitlement};
use daypass::policy::name::UserId;
use daypass::target::Target;
use daypass::target::ssh::{self, Accounts, Ssh};

use crate::servers::github;
use crate::support::sshd::{Sshd, keygen};
use crate::support::{occasion, soon};

/// The authority in `dir`; keys come from the policy, so that nobody asks its GitHub.
async fn authority(dir: &Path) -> Ssh {
    if !dir.join("authority").exists() {
        ssh::generate(&dir.join("authority")).unwrap();
    }
    let (app, repository) = github().await;
    let accounts = Accounts { app, repository };
    Ssh::open(&dir.join("authority"), dir.join("revoked.krl"), vec!["permit-pty".to_owned()], Vec::new(), accounts)
        .unwrap()
}

fn certificate(dir: &Path, grant: &str, principal: &str, from: DateTime<Utc>, until: DateTime<Utc>) -> Entitlement {
    let access = Access::Ssh {
        login: "alice".parse().unwrap(),
        user: UserId(7),
        keys: vec![std::fs::read_to_string(dir.join("alice.pub")).unwrap()],
        principals: BTreeSet::from([principal.to_owned()]),
        grant: grant.to_owned(),
        not_before: from,
        not_after: until,
    };
    Entitlement { target: "prod-servers".parse().unwrap(), access }
}

#[tokio::test]
#[ignore = "needs OpenSSH; ./test runs it"]
async fn a_login_works_inside_the_window_and_is_refused_before_and_after_it() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    keygen(&dir.join("alice"));
    let authority = authority(dir).await;
    let sshd = Sshd::start(dir);
    let (now, key, hour) = (Utc::now(), dir.join("alice"), TimeDelta::hours(1));
    let issue = async |grant: &str, principal: &str, from, until| {
        let receipt =
            authority.grant(&certificate(dir, grant, principal, from, until), soon(now), &occasion(now)).await.unwrap();
        receipt.handout.unwrap()
    };
    let inside = issue("inside#1", "responder", now - hour, now + hour).await;
    assert!(sshd.lets_in(&key, &inside), "{}", sshd.log());
    assert!(sshd.log().contains("daypass:inside#1:alice"), "sshd logs the grant: {}", sshd.log());
    let before = issue("before#2", "responder", now + hour, now + hour * 2).await;
    assert!(!sshd.lets_in(&key, &before));
    let after = issue("after#3", "responder", now - hour * 2, now - hour).await;
    assert!(!sshd.lets_in(&key, &after));
    let elsewhere = issue("other#4", "root-of-something", now - hour, now + hour).await;
    assert!(!sshd.lets_in(&key, &elsewhere), "another principal");
    keygen(&dir.join("mallory"));
    assert!(!sshd.lets_in(&dir.join("mallory"), &inside), "the certificate is for alice's key");

    let short = issue("short#5", "responder", now, Utc::now() + TimeDelta::seconds(4)).await;
    assert!(sshd.lets_in(&key, &short), "{}", sshd.log());
    tokio::time::sleep(std::time::Duration::from_secs(5)).await;
    assert!(!sshd.lets_in(&key, &short), "its time is over; nobody had to do anything");
}

#[tokio::test]
#[ignore = "needs OpenSSH; ./test runs it"]
async fn a_certificate_that_is_revoked_early_lets_nobody_in_and_others_still_do() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    keygen(&dir.join("alice"));
    let authority = authority(dir).await;
    let sshd = Sshd::start(dir);
    let (now, key, hour) = (Utc::now(), dir.join("alice"), TimeDelta::hours(1));
    let (early, other) = (
        certificate(dir, "early#1", "responder", now - hour, now + hour),
        certificate(dir, "other#2", "responder", now - hour, now + hour),
    );
    let early_receipt = authority.grant(&early, soon(now), &occasion(now)).await.unwrap();
    let other_receipt = authority.grant(&other, soon(now), &occasion(now)).await.unwrap();
    assert!(sshd.lets_in(&key, early_receipt.handout.as_ref().unwrap()), "{}", sshd.log());

    authority.revoke(&early, Some(&early_receipt), &occasion(now)).await.unwrap();
    assert!(!sshd.lets_in(&key, early_receipt.handout.as_ref().unwrap()), "{}", sshd.log());
    assert!(sshd.lets_in(&key, other_receipt.handout.as_ref().unwrap()), "{}", sshd.log());
}

#[tokio::test]
#[ignore = "needs OpenSSH; ./test runs it"]
async fn what_one_process_revoked_stays_revoked_when_another_one_does() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    keygen(&dir.join("alice"));
    let (one, two) = (authority(dir).await, authority(dir).await);
    let sshd = Sshd::start(dir);
    let (now, key, hour) = (Utc::now(), dir.join("alice"), TimeDelta::hours(1));
    let by_one = certificate(dir, "one#1", "responder", now - hour, now + hour);
    let by_two = certificate(dir, "two#2", "responder", now - hour, now + hour);
    let first = one.grant(&by_one, soon(now), &occasion(now)).await.unwrap().handout.unwrap();
    let second = two.grant(&by_two, soon(now), &occasion(now)).await.unwrap().handout.unwrap();
    assert!(sshd.lets_in(&key, &first) && sshd.lets_in(&key, &second), "{}", sshd.log());
    one.revoke(&by_one, None, &occasion(now)).await.unwrap();
    two.revoke(&by_two, None, &occasion(now)).await.unwrap();
    assert!(!sshd.lets_in(&key, &second), "{}", sshd.log());
    assert!(!sshd.lets_in(&key, &first), "{}", sshd.log());
}
