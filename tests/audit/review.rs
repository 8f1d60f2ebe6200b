//! The owners look at who used what, by a pull request.

use chrono::TimeDelta;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::clone::Clone;
use crate::support::world::World;
use crate::{a_clone, a_morning};

const PERIOD: [&str; 4] = ["--since", "2026-11-01", "--until", "2026-12-01"];

/// The embedded GitHub on a port, for commands that need one.
async fn on_a_port(world: &World) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/api/v3", listener.local_addr().unwrap());
    let router = world.sandbox.router();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

#[tokio::test]
async fn what_is_to_be_reviewed_is_printed_from_a_clone_alone() {
    let clone = a_clone().await;
    let (code, review, complaint) = clone.daypass(&[&["review", "--dry-run"], &PERIOD[..]].concat());
    assert_eq!((code, complaint.as_str()), (0, ""), "{review}");
    let steady: Vec<&str> = review.lines().filter(|line| !line.starts_with("Made from")).collect();
    insta::assert_snapshot!(steady.join("\n"));
    let (code, _, complaint) =
        clone.daypass(&["review", "--dry-run", "--since", "2026-12-01", "--until", "2026-11-01"]);
    assert_eq!((code, complaint.contains("before `--until`")), (2, true), "{complaint}");
    let (code, _, complaint) = clone.daypass(&[&["review"], &PERIOD[..]].concat());
    assert_eq!((code, complaint.contains("GITHUB_TOKEN")), (2, true), "{complaint}");
}

#[tokio::test]
async fn a_part_of_the_record_is_not_reviewed_as_if_it_were_the_whole() {
    let clone = a_clone().await;
    let mut lines = clone.lines();
    lines[2] = "{\"seq\": 3, broken".to_owned();
    clone.writes_ledger(&lines, true);
    let (code, _, complaint) = clone.daypass(&[&["review"], &PERIOD[..]].concat());
    assert_eq!((code, complaint.contains("a part of what there was")), (2, true), "{complaint}");
    let (code, review, _) = clone.daypass(&[&["review", "--dry-run"], &PERIOD[..]].concat());
    assert_eq!((code, review.contains("## Owned by")), (1, true));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_review_is_opened_ticked_approved_and_merged_and_that_is_on_record() {
    let world = a_morning().await;
    let api = on_a_port(&world).await;
    let clone = Clone::of(&world, &[]);
    let token = clone.path().with_file_name("token");
    std::fs::write(&token, world.token("olga")).unwrap();
    let open = |token: &std::path::Path| {
        let arguments = ["review", "--api-url", &api, "--token-file", token.to_str().unwrap()];
        clone.daypass(&[&arguments[..], &PERIOD].concat())
    };
    let (code, opened, complaint) = open(&token);
    assert_eq!((code, complaint.as_str()), (0, ""));
    let number: u64 = opened.split(' ').next().unwrap().trim_start_matches('#').parse().unwrap();
    world.settle().await;
    let pull = world.get(&format!("/pulls/{number}")).await;
    assert_eq!(pull["title"], "Access review from 2026-11-01 to 2026-12-01");
    assert_eq!(open(&token).1, opened, "once");

    let body = pull["body"].as_str().unwrap().replacen("- [ ]", "- [x]", 2);
    let path = format!("/repos/acme/access/pulls/{number}");
    let (status, _) = world.call("dave", Method::PATCH, &path, json!({ "body": body })).await;
    assert_eq!(status, StatusCode::OK);
    world.dave().approves(number).await;
    assert_eq!(world.olga().merges(number).await, StatusCode::OK);
    world.wait(TimeDelta::minutes(1)).await;
    let [reviewed] = &world.record("access-reviewed").await[..] else { panic!("once") };
    let items = pull["body"].as_str().unwrap().matches("- [ ]").count();
    assert_eq!((&reviewed["items"], &reviewed["confirmed"]), (&json!(items), &json!(2)));
    assert_eq!((&reviewed["by"]["login"], &reviewed["approved_by"][0]["login"]), (&json!("olga"), &json!("dave")));
    assert_eq!((&reviewed["pull_request"], &reviewed["since"]), (&json!(number), &json!("2026-11-01T00:00:00Z")));
    assert_eq!(world.ledger_differs().await, None);
    let later = Clone::of(&world, &[]);
    let (code, found) = later.verify();
    assert_eq!(code, 0, "{found:#?}");
    let log = later.audit(&["log", "--kind", "access-reviewed"]).1;
    assert!(
        log.contains(&format!("access from 2026-11-01 to 2026-12-01 was reviewed by olga: 2 of {items} confirmed")),
        "{log}"
    );

    std::fs::write(&token, "wrong").unwrap();
    let (code, _, complaint) = open(&token);
    assert_eq!((code, complaint.contains("the token is not accepted")), (2, true), "{complaint}");
}

#[tokio::test]
async fn a_review_that_is_pushed_past_everybody_is_on_record_as_that() {
    let world = a_morning().await;
    let text = "<!-- daypass review: from 2026-11-01T00:00:00Z to 2026-12-01T00:00:00Z -->\n- [x] all is well\n";
    world.olga().pushes_to_main("reviews/2026-11-01-to-2026-12-01.md", text).await;
    world.olga().pushes_to_main("reviews/notes.md", "no review\n").await;
    let [reviewed] = &world.record("access-reviewed").await[..] else { panic!("once") };
    assert_eq!(
        (&reviewed["pull_request"], &reviewed["by"], &reviewed["confirmed"]),
        (&Value::Null, &Value::Null, &json!(1))
    );
}
