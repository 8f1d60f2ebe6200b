//! What people do with their access is on the record of the grant, as far as somebody can tell.

use axum::body::Body;
use chrono::TimeDelta;
use daypass::signature;
use http::{Request, StatusCode};
use secrecy::SecretString;
use serde_json::{Value, json};

use crate::life::ORDERS;
use crate::support::world::{SESSION_SECRET, World};

/// Alice has the orders until noon, and the database tells who is connected.
async fn alice_has_the_orders() -> World {
    let world = World::new().await;
    world.orders.tells_sessions();
    let request = world.alice().asks("alice-orders", ORDERS).await;
    world.dave().approves(request).await;
    assert!(world.orders.is_member("orders_readonly", "alice"));
    world
}

async fn report(world: &World, body: &str, signature: Option<&str>) -> (StatusCode, Value) {
    let mut request = Request::post("/api/v1/sessions");
    if let Some(signature) = signature {
        request = request.header(signature::HEADER, signature);
    }
    let (status, text) = world.send(request.body(Body::from(body.to_owned())).unwrap()).await;
    world.settle().await;
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

async fn reports(world: &World, body: Value) -> (StatusCode, Value) {
    let body = body.to_string();
    let signed = signature::sign(&SecretString::from(SESSION_SECRET), world.now(), body.as_bytes());
    report(world, &body, Some(&signed)).await
}

#[tokio::test]
async fn alice_connects_and_leaves_and_both_are_on_record_once() {
    let world = alice_has_the_orders().await;
    let began = world.now() - TimeDelta::seconds(20);
    world.orders.connects("alice", "process 4711", Some(began), "database shop, program psql\u{202e}\n");
    world.orders.connects("bob", "process 4712", Some(began), "not hers");
    world.wait(TimeDelta::minutes(3)).await;
    let [opened] = &world.record("session-opened").await[..] else { panic!("once") };
    assert_eq!((&opened["grant"], &opened["subject"]["login"]), (&json!("alice-orders#1"), &json!("alice")));
    assert_eq!((&opened["target"], &opened["source"]), (&json!("orders-db"), &json!("postgres")));
    assert_eq!(opened["opened_at"].as_str().unwrap().parse::<chrono::DateTime<chrono::Utc>>().unwrap(), began);
    assert_eq!(opened["what"], "database shop, program psql\u{fffd}\u{fffd}", "programs call themselves as they like");
    assert!(world.record("session-closed").await.is_empty());

    world.restart().await;
    world.orders.all_disconnect();
    world.wait(TimeDelta::minutes(3)).await;
    let [closed] = &world.record("session-closed").await[..] else { panic!("once") };
    assert_eq!((&closed["session"], &closed["revoked"]), (&opened["session"], &json!(false)));
    assert_eq!(world.count("session-opened").await, 1);
    world.wait(TimeDelta::minutes(130)).await;
    assert_eq!((world.count("session-opened").await, world.count("session-closed").await), (1, 1));
    assert_eq!(world.ledger_differs().await, None);
}

#[tokio::test]
async fn a_database_that_does_not_say_since_when_is_believed_as_far_as_it_goes() {
    let world = alice_has_the_orders().await;
    world.orders.connects("alice", "process 4711", None, "database shop");
    world.wait(TimeDelta::minutes(5)).await;
    assert_eq!(world.count("session-opened").await, 1);
    world.orders.all_disconnect();
    world.wait(TimeDelta::minutes(2)).await;
    world.orders.connects("alice", "process 4711", None, "database shop");
    world.wait(TimeDelta::minutes(2)).await;
    assert_eq!(
        (world.count("session-opened").await, world.count("session-closed").await),
        (2, 1),
        "the number came again"
    );
}

#[tokio::test]
async fn what_is_open_when_access_ends_is_seen_right_before() {
    let world = alice_has_the_orders().await;
    let until = world.now() + TimeDelta::hours(2);
    world.wait(until - TimeDelta::seconds(1) - world.now()).await;
    world.orders.connects("alice", "process 4711", Some(world.now()), "database shop");
    world.advance(TimeDelta::seconds(1));
    world.settle().await;
    assert!(!world.orders.is_member("orders_readonly", "alice"));
    assert_eq!(world.record("session-opened").await.len(), 1);
    let [closed] = &world.record("session-closed").await[..] else { panic!("once") };
    assert_eq!(closed["revoked"], true, "what she did afterwards is not known");
}

/// The last look is given up after two seconds of real time.
#[tokio::test]
async fn a_database_that_hides_who_is_connected_holds_up_no_end_of_access() {
    let world = World::new().await;
    let request = world.alice().asks("alice-orders", ORDERS).await;
    world.dave().approves(request).await;
    world.advance(TimeDelta::minutes(119));
    world.settle().await;
    world.orders.hides_sessions();
    world.advance(TimeDelta::minutes(1));
    world.go_manual(false);
    while world.orders.is_member("orders_readonly", "alice") {
        assert!(world.engine().step().await.unwrap(), "nothing is left to do, and she still has it");
    }
}

#[tokio::test]
async fn whoever_has_the_secret_reports_a_session_of_a_grant() {
    let world = alice_has_the_orders().await;
    let opened_at = world.now();
    let session = json!({ "source": "bastion", "key": "a-1", "grant": "alice-orders#1", "opened_at": opened_at, "what": "tunnel" });
    let (status, answer) = reports(&world, session.clone()).await;
    assert_eq!(status, StatusCode::CREATED, "{answer}");
    assert_eq!(answer["grants"], json!([{ "repository": "acme/access", "grant": "alice-orders#1" }]));
    assert_eq!(reports(&world, session.clone()).await.0, StatusCode::OK, "the same again");
    world.wait(TimeDelta::minutes(10)).await;
    let mut over = session.clone();
    over["closed_at"] = json!(world.now());
    assert_eq!(reports(&world, over.clone()).await.0, StatusCode::CREATED);
    assert_eq!(reports(&world, over).await.0, StatusCode::OK);
    let [opened] = &world.record("session-opened").await[..] else { panic!("once") };
    assert_eq!(
        (&opened["subject"]["login"], &opened["target"], &opened["source"], &opened["what"]),
        (&json!("alice"), &json!("orders-db"), &json!("bastion"), &json!("tunnel"))
    );
    assert_eq!(world.count("session-closed").await, 1);
    let mut another = session;
    another["opened_at"] = json!(opened_at + TimeDelta::minutes(3));
    let (status, answer) = reports(&world, another).await;
    assert_eq!(status, StatusCode::CONFLICT, "{answer}");
    world.wait(TimeDelta::minutes(1)).await;
    assert_eq!(world.ledger_differs().await, None);
}

#[tokio::test]
async fn who_was_where_and_when_finds_the_grant() {
    let world = alice_has_the_orders().await;
    let at = world.now() + TimeDelta::minutes(30);
    let session = |key: &str, subject: &str, target: &str, at| json!({ "source": "proxy", "key": key, "subject": subject, "target": target, "opened_at": at });
    world.wait(TimeDelta::minutes(150)).await;
    let (status, answer) = reports(&world, session("1", "ALICE", "orders-db", at)).await;
    assert_eq!(status, StatusCode::CREATED, "it is over by now, and ran then: {answer}");
    assert_eq!(answer["grants"][0]["grant"], "alice-orders#1");
    for (subject, target, at) in [
        ("bob", "orders-db", at),
        ("alice", "logs-db", at),
        ("alice", "orders-db", at + TimeDelta::minutes(100)),
        ("alice", "orders-db", at - TimeDelta::minutes(40)),
    ] {
        let (status, answer) = reports(&world, session("2", subject, target, at)).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{answer}");
        assert!(answer["error"].as_str().unwrap().contains("no grant gave"), "{answer}");
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_report_is_said_and_nothing_of_it_kept() {
    let world = alice_has_the_orders().await;
    let now = world.now();
    let good = json!({ "source": "x", "key": "1", "grant": "alice-orders#1", "opened_at": now });
    let with = |name: &str, value: Value| {
        let mut changed = good.clone();
        changed[name] = value;
        changed
    };
    let without = |name: &str| {
        let mut changed = good.clone();
        changed.as_object_mut().unwrap().remove(name);
        changed
    };
    for (body, status, says) in [
        (with("grant", json!("alice-orders#2")), StatusCode::NOT_FOUND, "there is no grant `alice-orders#2`"),
        (with("subject", json!("bob")), StatusCode::NOT_FOUND, "is not of `bob`"),
        (with("target", json!("logs-db")), StatusCode::NOT_FOUND, "gives nothing on `logs-db`"),
        (with("repository", json!("acme/other")), StatusCode::NOT_FOUND, "there is no grant"),
        (with("opened_at", json!(now - TimeDelta::hours(1))), StatusCode::NOT_FOUND, "did not run at"),
        (with("opened_at", json!(now + TimeDelta::hours(1))), StatusCode::UNPROCESSABLE_ENTITY, "in the future"),
        (with("closed_at", json!(now - TimeDelta::minutes(1))), StatusCode::UNPROCESSABLE_ENTITY, "before `opened_at`"),
        (with("opened_at", json!(now - TimeDelta::days(8))), StatusCode::UNPROCESSABLE_ENTITY, "seven days"),
        (with("key", json!("")), StatusCode::UNPROCESSABLE_ENTITY, "`key`"),
        (with("what", json!("a\u{202e}b")), StatusCode::UNPROCESSABLE_ENTITY, "`what`"),
        (with("what", json!("x".repeat(201))), StatusCode::UNPROCESSABLE_ENTITY, "`what`"),
        (without("grant"), StatusCode::UNPROCESSABLE_ENTITY, "give either `grant`"),
        (without("opened_at"), StatusCode::BAD_REQUEST, "opened_at"),
        (with("surprise", json!(1)), StatusCode::BAD_REQUEST, "surprise"),
        (with("grant", json!("../x#1")), StatusCode::BAD_REQUEST, "not a grant id"),
        (json!([good]), StatusCode::BAD_REQUEST, "no report of a session"),
    ] {
        let (got, answer) = reports(&world, body.clone()).await;
        assert_eq!(got, status, "{body}: {answer}");
        assert!(answer["error"].as_str().unwrap().contains(says), "{body}: {answer}");
    }
    let (status, _) = reports(&world, with("what", json!("x".repeat(20_000)))).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);

    let body = good.to_string();
    let secret = SecretString::from(SESSION_SECRET);
    let old = signature::sign(&secret, now - TimeDelta::minutes(6), body.as_bytes());
    let of_another = signature::sign(&secret, now, b"{}");
    let guessed = signature::sign(&SecretString::from("guessed"), now, body.as_bytes());
    for signature in [None, Some("nonsense"), Some(&old), Some(&of_another), Some(&guessed)] {
        let (status, answer) = report(&world, &body, signature).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{answer}");
    }
    assert!(world.record("session-opened").await.is_empty());
}

#[tokio::test]
async fn a_server_without_the_secret_takes_no_reports() {
    let world = World::new().await;
    let router = daypass::web::router(world.engine(), Vec::new(), tokio::sync::watch::channel(false).1);
    let request = Request::post("/api/v1/sessions").body(Body::from("{}")).unwrap();
    let answer = tower::ServiceExt::oneshot(router, request).await.unwrap();
    assert_eq!(answer.status(), StatusCode::NOT_IMPLEMENTED);
}
