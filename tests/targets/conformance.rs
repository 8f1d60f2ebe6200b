//! What every target owes, asked of every target: one run of the same rules against each system.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::Utc;
use daypass::policy::entitlement::Entitlement;
use daypass::target::{Observed, Target, TargetError};

use crate::servers;
use crate::support::{occasion, soon};

/// A system a target is tried on, with alice and bob in it and nobody else. What it says of itself is not asked through the target.
#[async_trait]
pub trait Bench: Send + Sync {
    /// The kind of target, and what it is tried on.
    fn name(&self) -> (&'static str, &'static str);

    /// The target.
    fn target(&self) -> Arc<dyn Target>;

    /// The same with wrong credentials; nothing if it has none.
    fn forged(&self) -> Option<Arc<dyn Target>>;

    /// The same where nobody listens.
    fn nowhere(&self) -> Arc<dyn Target>;

    /// The entitlement of a principal to what goes by a name; `make` makes sure that is there.
    fn access(&self, principal: &str, name: &str) -> Entitlement;

    /// Makes something one can have access to.
    async fn make(&self, name: &str);

    /// Whether somebody has it.
    async fn has(&self, principal: &str, name: &str) -> bool;

    /// Gives it to somebody by hand.
    async fn give(&self, principal: &str, name: &str);

    /// Names that are tried: strange ones, as far as the system can have them.
    fn strange_names(&self) -> Vec<String> {
        vec![
            "it's".to_owned(),
            "two words".to_owned(),
            "quote\"d".to_owned(),
            "back\\slash".to_owned(),
            "a/b".to_owned(),
            "50%".to_owned(),
            "Größe ∀".to_owned(),
            "x' or 'a'='a".to_owned(),
            "x\" or displayName pr or displayName eq \"y".to_owned(),
            "$(reboot)".to_owned(),
            "n".repeat(255),
        ]
    }

    /// Whether the target can see who has what.
    fn observes(&self) -> bool {
        true
    }

    /// Whether the system knows its people; a plug-in may not.
    fn knows_people(&self) -> bool {
        true
    }
}

/// The rules, in the order of the table.
const RULES: [&str; 10] = [
    "check says who answers",
    "granted twice is granted once",
    "revoked twice is revoked once, also what was never granted",
    "what others have stays",
    "what was there is seen",
    "somebody unknown is named, with the mapping",
    "nobody listens: worth trying again",
    "wrong credentials: not tried for ever",
    "strange names stay names",
    "cancelled anywhere, the next look repairs it",
];

async fn rule(bench: &dyn Bench, number: usize) {
    let target = bench.target();
    let now = Utc::now();
    let (until, occasion) = (soon(now), occasion(now));
    let group = format!("rule-{number}");
    bench.make(&group).await;
    let access = bench.access("alice", &group);
    let sees = |seen: Observed, there: bool| match bench.observes() {
        true => assert_eq!(seen, if there { Observed::Present } else { Observed::Absent }),
        false => assert_eq!(seen, Observed::Unknown),
    };
    match number {
        0 => assert!(!target.check().await.unwrap().is_empty()),
        1 => {
            sees(target.observe(&access).await.unwrap(), false);
            let first = target.grant(&access, until, &occasion).await.unwrap();
            assert_eq!(target.grant(&access, until, &occasion).await.unwrap().summary, first.summary);
            assert!(bench.has("alice", &group).await);
            sees(target.observe(&access).await.unwrap(), true);
            target.revoke(&access, Some(&first), &occasion).await.unwrap();
            assert!(!bench.has("alice", &group).await);
        }
        2 => {
            target.revoke(&access, None, &occasion).await.unwrap();
            let receipt = target.grant(&access, until, &occasion).await.unwrap();
            for _ in 0..2 {
                target.revoke(&access, Some(&receipt), &occasion).await.unwrap();
                assert!(!bench.has("alice", &group).await);
            }
            sees(target.observe(&access).await.unwrap(), false);
        }
        3 => {
            bench.give("bob", &group).await;
            target.grant(&access, until, &occasion).await.unwrap();
            assert!(bench.has("bob", &group).await && bench.has("alice", &group).await);
            target.revoke(&access, None, &occasion).await.unwrap();
            assert!(bench.has("bob", &group).await && !bench.has("alice", &group).await);
        }
        4 => {
            bench.give("alice", &group).await;
            sees(target.observe(&access).await.unwrap(), true);
        }
        5 if bench.knows_people() => {
            let unknown = bench.access("mallory", &group);
            sees(target.observe(&unknown).await.unwrap(), false);
            match target.grant(&unknown, until, &occasion).await {
                Err(TargetError::Permanent(text)) => {
                    assert!(text.contains("mallory") && text.contains("people:"), "{text}");
                }
                other => panic!("{other:?}"),
            }
            target.revoke(&unknown, None, &occasion).await.unwrap();
        }
        6 => match bench.nowhere().grant(&access, until, &occasion).await {
            Err(TargetError::Temporary(text)) => assert!(!text.contains("s3cret"), "{text}"),
            other => panic!("{other:?}"),
        },
        7 => {
            let Some(forged) = bench.forged() else { return };
            match forged.grant(&access, until, &occasion).await {
                Err(TargetError::Permanent(text)) => assert!(!text.contains("f0rged"), "{text}"),
                other => panic!("{other:?}"),
            }
            assert!(!bench.has("alice", &group).await);
        }
        8 => {
            for name in bench.strange_names() {
                bench.make(&name).await;
                let access = bench.access("alice", &name);
                target.grant(&access, until, &occasion).await.unwrap_or_else(|error| panic!("{name:?}: {error}"));
                assert!(bench.has("alice", &name).await && !bench.has("alice", &group).await, "{name:?}");
                assert!(!bench.has("bob", &name).await, "{name:?}");
                target.revoke(&access, None, &occasion).await.unwrap_or_else(|error| panic!("{name:?}: {error}"));
                assert!(!bench.has("alice", &name).await, "{name:?}");
            }
        }
        9 => {
            for polls in [1, 2, 3, 5, 8, 13, 21, 34] {
                give_up_after(polls, target.grant(&access, until, &occasion)).await;
                let seen = target.observe(&access).await.unwrap();
                let there = bench.has("alice", &group).await;
                sees(seen, there);
                target.grant(&access, until, &occasion).await.unwrap();
                assert!(bench.has("alice", &group).await, "after {polls}");
                give_up_after(polls, target.revoke(&access, None, &occasion)).await;
                target.revoke(&access, None, &occasion).await.unwrap();
                assert!(!bench.has("alice", &group).await, "after {polls}");
            }
        }
        _ => {}
    }
}

/// Polls a call so often, and drops it. What was sent meanwhile is given a moment to arrive.
async fn give_up_after<T>(polls: usize, call: impl Future<Output = T>) {
    let mut call = std::pin::pin!(call);
    for _ in 0..polls {
        let mut done = false;
        std::future::poll_fn(|context| {
            done = call.as_mut().poll(context).is_ready();
            std::task::Poll::Ready(())
        })
        .await;
        if done {
            return;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
}

async fn conform(bench: impl Bench) {
    let (kind, on) = bench.name();
    for (number, text) in RULES.iter().enumerate() {
        rule(&bench, number).await;
        println!("{kind:<12} {text:<60} kept, on {on}");
    }
}

#[tokio::test]
async fn gitlab_keeps_the_contract() {
    conform(servers::gitlab::start().await).await;
}

#[tokio::test]
async fn okta_keeps_the_contract() {
    conform(servers::okta::start().await).await;
}

#[tokio::test]
async fn vault_keeps_the_contract() {
    conform(servers::vault::start().await).await;
}

#[tokio::test]
async fn hoop_keeps_the_contract() {
    conform(servers::hoop::start().await).await;
}

#[tokio::test]
async fn a_webhook_keeps_the_contract() {
    conform(servers::webhook::start(false).await).await;
}

#[tokio::test]
async fn a_webhook_that_observes_keeps_the_contract() {
    conform(servers::webhook::start(true).await).await;
}

#[tokio::test]
async fn a_program_keeps_the_contract() {
    conform(servers::exec::start()).await;
}

#[tokio::test]
#[ignore = "needs a SCIM server from PyPI; ./test runs it"]
async fn scim_keeps_the_contract() {
    conform(servers::scim::start().await).await;
}
