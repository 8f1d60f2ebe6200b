//! Grants, applied access, refusals, events, messages: read back as they were written, whatever they hold.

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;
use daypass::access::command::Outcome;
use daypass::access::extension::Chain;
use daypass::access::grant::{EndReason, Grant, GrantRef, State};
use daypass::access::plan::{Applied, Progress};
use daypass::ledger::{Event, EventKind};
use daypass::policy::entitlement::{Access, Entitlement};
use daypass::policy::name::{TargetName, UserId};
use daypass::store::{GrantRow, Heeded, Message, Press, Published, ReadSoFar, Refusal, Store, Tx};
use daypass::target::Receipt;
use serde_json::json;

use crate::{Database, acme, ask, noon, sync, take};

on_both!(
    a_message_is_said_once,
    an_event_is_on_record_once_in_order_of_time,
    how_far_was_read_and_what_was_published_is_remembered,
    grants_are_found_by_file_content_and_state,
    applied_access_is_found_by_target_and_keeps_its_receipt,
    refused_files_keep_their_pull_request_until_they_are_gone,
    texts_of_any_length_and_content_can_be_kept,
    a_command_is_decided_once_and_a_press_is_looked_at_once,
    a_pull_request_is_about_what_it_brought_reverts_or_began,
);

/// One transaction.
async fn write(store: &Store, work: impl AsyncFnOnce(&mut Tx)) {
    let mut tx = store.begin().await.unwrap();
    work(&mut tx).await;
    tx.commit().await.unwrap();
}

fn grant(slug: &str, number: u64, state: State) -> GrantRow {
    let grant = json!({
        "id": format!("{slug}#{number}"), "subject": { "id": 7, "login": "alice" }, "requester": { "id": 7, "login": "alice" },
        "role": "orders-db-reader", "reason": "Checkouts hang", "ticket": null, "break_glass": false, "approvers": [],
        "window": { "starts_at": noon(), "ends_at": noon() + TimeDelta::hours(number.cast_signed()) },
        "revert_at": noon() + TimeDelta::hours(3), "merge_commit": "1".repeat(40), "blob": "2".repeat(40), "entitlements": [],
        "state": "active",
    });
    let grant = Grant { state, ..serde_json::from_value(grant).unwrap() };
    GrantRow { repository: acme(), grant, revert_pull: None }
}

fn ended() -> State {
    State::Ended { at: noon(), reason: EndReason::Expired }
}

fn member(role: &str) -> Entitlement {
    let access = Access::Postgres { role: role.to_owned(), login: "alice".to_owned() };
    Entitlement { target: "orders-db".parse().unwrap(), access }
}

fn refusal(path: &str) -> Refusal {
    Refusal {
        path: path.to_owned(),
        blob: "3".repeat(40),
        commit: "4".repeat(40),
        reason: "nobody approved it".to_owned(),
        revert_pull: None,
        issue: None,
    }
}

async fn a_message_is_said_once(database: &Database) {
    let store = database.open().await;
    let message = Message { id: "granted-7".to_owned(), body: "alice has it".to_owned() };
    for new in [true, false] {
        write(&store, async |tx| assert_eq!(tx.say(&acme(), 7, &message, noon()).await.unwrap(), new)).await;
    }
    assert_eq!(store.waiting_messages(&acme(), 7).await.unwrap(), std::slice::from_ref(&message));
    assert!(store.waiting_messages(&acme(), 8).await.unwrap().is_empty());
    write(&store, async |tx| {
        tx.said("granted-7", noon()).await.unwrap();
        assert!(!tx.say(&acme(), 7, &message, noon()).await.unwrap());
    })
    .await;
    assert!(store.waiting_messages(&acme(), 7).await.unwrap().is_empty());
}

async fn an_event_is_on_record_once_in_order_of_time(database: &Database) {
    let store = database.open().await;
    let event = |about: &str, hour| {
        Event::new(
            &acme(),
            EventKind::Ended,
            about,
            "expired",
            noon() + TimeDelta::hours(hour),
            json!({ "why": "é\0" }),
        )
    };
    for new in [true, false] {
        write(&store, async |tx| {
            for (about, hour) in [("later", 2), ("b", 1), ("a", 1)] {
                assert_eq!(tx.record(&event(about, hour)).await.unwrap(), new);
            }
        })
        .await;
    }
    assert_eq!(store.events().await.unwrap(), [event("a", 1), event("b", 1), event("later", 2)]);
}

async fn how_far_was_read_and_what_was_published_is_remembered(database: &Database) {
    let store = database.open().await;
    assert_eq!(store.published("acme/access", 7).await.unwrap(), Published::default());
    for (head, first, check) in [("a", Some("c"), None), ("b", None, Some(u64::MAX >> 1))] {
        let so_far =
            ReadSoFar { head: first.is_none().then(|| head.to_owned()), first_until: first.map(str::to_owned) };
        let published = Published {
            head: Some(head.to_owned()),
            check_id: check,
            comment_id: check.map(|id| id - 1),
            digest: check.map(|_| "d".to_owned()),
            buttons: check.is_some(),
        };
        write(&store, async |tx| {
            tx.set_read_so_far("acme/access", &so_far, noon()).await.unwrap();
            tx.set_published("acme/access", 7, &published).await.unwrap();
        })
        .await;
        assert_eq!(store.read_so_far("acme/access").await.unwrap(), Some(so_far));
        assert_eq!(store.published("acme/access", 7).await.unwrap(), published);
    }
    assert_eq!(store.read_so_far("acme/other").await.unwrap(), None);
}

async fn grants_are_found_by_file_content_and_state(database: &Database) {
    let store = database.open().await;
    let (old, live, other) =
        (grant("alice", 1, ended()), grant("alice", 2, State::Active), grant("bob", 1, State::Scheduled));
    write(&store, async |tx| {
        for row in [&old, &live, &other] {
            tx.put_grant(row).await.unwrap();
        }
    })
    .await;
    let (alice, blob) = (&old.grant.id.slug, &old.grant.blob);
    assert_eq!(store.grant(&acme(), &live.grant.id).await.unwrap(), Some(live.clone()));
    assert_eq!(store.live_grant(&acme(), alice).await.unwrap(), Some(live.clone()));
    assert_eq!(store.live_grants().await.unwrap(), [other.clone(), live.clone()], "the first to end comes first");
    assert_eq!(store.grants_of(&acme()).await.unwrap(), [old.clone(), other, live.clone()]);
    assert_eq!(store.ended_grant(&acme(), alice, blob).await.unwrap(), None, "the same content is live again");

    let over = GrantRow { grant: Grant { state: ended(), ..live.grant.clone() }, ..live };
    write(&store, async |tx| {
        tx.put_grant(&over).await.unwrap();
        tx.set_revert_pull(&acme(), &over.grant.id, Some(9)).await.unwrap();
    })
    .await;
    assert_eq!(store.live_grant(&acme(), alice).await.unwrap(), None);
    assert_eq!(store.grant(&acme(), &over.grant.id).await.unwrap().unwrap().revert_pull, Some(9));
    assert!(store.ended_grant(&acme(), alice, blob).await.unwrap().is_some());
    assert_eq!(store.ended_grant(&acme(), alice, &"5".repeat(40).parse().unwrap()).await.unwrap(), None);
    write(&store, async |tx| tx.set_revert_pull(&acme(), &over.grant.id, None).await.unwrap()).await;
    assert_eq!(store.grant(&acme(), &over.grant.id).await.unwrap(), Some(over));
}

async fn applied_access_is_found_by_target_and_keeps_its_receipt(database: &Database) {
    let store = database.open().await;
    let (reader, writer) = (member("reader"), member("writer"));
    let holder = GrantRef { repository: acme(), id: "alice#1".parse().unwrap() };
    let applied = |progress| Applied { progress, standing: false, holders: BTreeSet::from([holder.clone()]) };
    let receipt = Receipt { summary: "alice is a member".to_owned(), ..Receipt::default() };
    write(&store, async |tx| {
        tx.put_held(&reader, &applied(Progress::Granting), None, noon()).await.unwrap();
        tx.put_held(&reader, &applied(Progress::Granted), Some(&receipt), noon()).await.unwrap();
        tx.put_held(&reader, &applied(Progress::Revoking), None, noon()).await.unwrap();
        tx.put_held(&writer, &Applied { standing: true, ..applied(Progress::Granted) }, None, noon()).await.unwrap();
        tx.set_held_error(&reader, "it is down").await.unwrap();
    })
    .await;
    let held = store.held(&reader.target).await.unwrap().held;
    assert_eq!(held.keys().collect::<Vec<_>>(), [&reader, &writer]);
    assert_eq!(held[&reader].applied, applied(Progress::Revoking));
    assert_eq!(held[&reader].receipt.as_ref(), Some(&receipt), "the target will want it");
    assert_eq!(held[&reader].last_error.as_deref(), Some("it is down"));
    assert!(held[&writer].applied.standing);
    assert_eq!(store.held_one(&reader).await.unwrap().as_ref(), Some(&held[&reader]));
    assert_eq!(store.targets_in_use().await.unwrap(), ["orders-db".parse::<TargetName>().unwrap()]);

    write(&store, async |tx| {
        tx.put_held(&reader, &applied(Progress::Revoking), None, noon()).await.unwrap();
        assert!(!tx.forget_held(&writer, held[&writer].revision + 1).await.unwrap(), "somebody wrote it since");
        assert!(tx.forget_held(&writer, held[&writer].revision).await.unwrap());
    })
    .await;
    assert_eq!(store.held_one(&reader).await.unwrap().unwrap().last_error, None, "what went well has no error");
    assert_eq!(store.held_one(&writer).await.unwrap(), None);
    assert_eq!(store.held(&"logs-db".parse().unwrap()).await.unwrap().held, BTreeMap::new());
}

async fn refused_files_keep_their_pull_request_until_they_are_gone(database: &Database) {
    let store = database.open().await;
    let (one, two) = (refusal("grants/one.yaml"), refusal("grants/two.yaml"));
    write(&store, async |tx| {
        tx.put_refusal(&acme(), &two).await.unwrap();
        let reported = Refusal { revert_pull: Some(4), issue: Some(5), ..one.clone() };
        tx.put_refusal(&acme(), &reported).await.unwrap();
        tx.put_refusal(&acme(), &Refusal { reason: "still nobody".to_owned(), ..one.clone() }).await.unwrap();
    })
    .await;
    let refused = store.refusals(&acme()).await.unwrap();
    assert_eq!(
        refused[0],
        Refusal { reason: "still nobody".to_owned(), revert_pull: Some(4), issue: Some(5), ..one.clone() }
    );
    assert_eq!(refused[1], two);
    write(&store, async |tx| tx.forget_refusal(&acme(), &one).await.unwrap()).await;
    assert_eq!(store.refusals(&acme()).await.unwrap(), [two]);
}

/// Text that does not compress: PostgreSQL would make it fit.
fn noise(length: usize) -> String {
    use sha2::{Digest, Sha256};
    let mut text = String::new();
    while text.len() < length {
        text.push_str(&hex::encode(Sha256::digest(text.len().to_string())));
    }
    text
}

async fn texts_of_any_length_and_content_can_be_kept(database: &Database) {
    let store = database.open().await;
    let long = noise(20_000);
    let keys = vec![long.clone()];
    let access = Access::Ssh {
        login: "alice".parse().unwrap(),
        user: UserId(7),
        keys,
        principals: BTreeSet::new(),
        grant: "alice#1".to_owned(),
        not_before: noon(),
        not_after: noon(),
    };
    let certificate = Entitlement { target: "prod-servers".parse().unwrap(), access };
    let (path, zero) = (format!("grants/{long}.yaml"), format!("{long}\0 💥 \u{fffd}"));
    let kept = zero.replace('\0', "\u{fffd}");
    let applied = Applied { progress: Progress::Granted, standing: false, holders: BTreeSet::new() };
    ask(&store, &sync(), noon()).await;
    let claim = take(&store, noon()).await.unwrap();
    write(&store, async |tx| {
        for _ in 0..2 {
            let details = json!({ "path": path });
            tx.record(&Event::new(&acme(), EventKind::Refused, &path, "merge", noon(), details)).await.unwrap();
            tx.say(&acme(), 7, &Message { id: path.clone(), body: zero.clone() }, noon()).await.unwrap();
            tx.put_refusal(&acme(), &Refusal { reason: zero.clone(), ..refusal(&path) }).await.unwrap();
            tx.put_held(&certificate, &applied, None, noon()).await.unwrap();
            tx.set_held_error(&certificate, &zero).await.unwrap();
        }
        tx.fail(&claim, &zero, noon()).await.unwrap();
    })
    .await;
    assert_eq!(store.events().await.unwrap().len(), 1);
    assert_eq!(store.waiting_messages(&acme(), 7).await.unwrap(), [Message { id: path.clone(), body: kept.clone() }]);
    assert_eq!(store.refusals(&acme()).await.unwrap(), [Refusal { reason: kept.clone(), ..refusal(&path) }]);
    assert_eq!(store.held(&certificate.target).await.unwrap().held[&certificate].last_error.as_ref(), Some(&kept));
    assert_eq!(store.queue().await.unwrap()[0].last_error.as_ref(), Some(&kept));
    let revision = store.held(&certificate.target).await.unwrap().held[&certificate].revision;
    write(&store, async |tx| {
        tx.said(&path, noon()).await.unwrap();
        tx.forget_refusal(&acme(), &refusal(&path)).await.unwrap();
        assert!(tx.forget_held(&certificate, revision).await.unwrap());
    })
    .await;
    assert!(store.waiting_messages(&acme(), 7).await.unwrap().is_empty());
    assert!(store.refusals(&acme()).await.unwrap().is_empty() && store.held_one(&certificate).await.unwrap().is_none());
}

async fn a_command_is_decided_once_and_a_press_is_looked_at_once(database: &Database) {
    let store = database.open().await;
    let denied = Heeded { comment: 41, verb: "deny".to_owned(), outcome: Outcome::Done, closes: true };
    let press = Press {
        delivery: "guid".to_owned(),
        pull_request: 7,
        check_run: u64::MAX >> 1,
        button: "revoke".to_owned(),
        account: UserId(9),
    };
    for outcome in [Outcome::Done, Outcome::Refused] {
        write(&store, async |tx| {
            tx.heed(&acme(), 7, &Heeded { outcome, ..denied.clone() }, noon()).await.unwrap();
            tx.press(&acme(), &press, noon()).await.unwrap();
        })
        .await;
    }
    assert_eq!(store.heeded(&acme(), 7).await.unwrap(), [(denied.clone(), false)], "what was decided first stays");
    assert_eq!(store.waiting_presses(&acme(), 7).await.unwrap(), std::slice::from_ref(&press));
    assert_eq!(store.waiting_presses(&acme(), 8).await.unwrap(), []);
    write(&store, async |tx| {
        tx.heeded(&acme(), 41, noon()).await.unwrap();
        tx.pressed("guid", noon()).await.unwrap();
        tx.press(&acme(), &press, noon()).await.unwrap();
    })
    .await;
    assert_eq!(store.heeded(&acme(), 7).await.unwrap(), [(denied, true)]);
    assert_eq!(store.waiting_presses(&acme(), 7).await.unwrap(), [], "a delivery that comes again is known");
}

async fn a_pull_request_is_about_what_it_brought_reverts_or_began(database: &Database) {
    let store = database.open().await;
    let first = grant("a", 1, ended());
    let mut second = grant("a", 5, State::Active);
    second.grant.chain = Some(Chain { extends: first.grant.id.clone(), first: first.grant.id.clone(), since: noon() });
    second.revert_pull = Some(9);
    // In the same pull request as the first, and another grant in the same file, later.
    let (beside, later) = (grant("b", 1, State::Scheduled), grant("c", 6, State::Active));
    write(&store, async |tx| {
        for row in [&first, &second, &beside, &later] {
            tx.put_grant(row).await.unwrap();
        }
        assert!(tx.is_live(&acme(), &second.grant.id).await.unwrap());
        assert!(!tx.is_live(&acme(), &first.grant.id).await.unwrap());
        tx.set_extension(&acme(), &second.grant.id, 11).await.unwrap();
        tx.set_extension(&acme(), &second.grant.id, 12).await.unwrap();
        assert_eq!(tx.extension_of(&acme(), &second.grant.id).await.unwrap(), Some(12));
        assert_eq!(tx.extension_of(&acme(), &first.grant.id).await.unwrap(), None);
    })
    .await;
    for (pull, about) in [(1, vec!["a#5", "b#1"]), (5, vec!["a#5"]), (9, vec!["a#5"]), (6, vec!["c#6"]), (2, vec![])] {
        let found = store.live_grants_about(&acme(), pull).await.unwrap();
        let found: Vec<String> = found.iter().map(|row| row.grant.id.to_string()).collect();
        assert_eq!(found, about, "pull request {pull}");
    }
    let by_content = store.grant_by_content(&acme(), &"a".parse().unwrap(), &first.grant.blob).await.unwrap();
    assert_eq!(by_content.map(|row| row.grant.id), Some(second.grant.id), "the one that lasts longest");
}
