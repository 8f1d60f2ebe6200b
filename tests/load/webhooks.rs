//! Thousands of webhooks in a burst, over HTTP. Each is acknowledged only when it is on disk; access ends on time meanwhile.

use std::time::{Duration, Instant};

use chrono::TimeDelta;
use daypass::engine::Worker;
use daypass::store::Lane;
use daypass::web;
use futures::StreamExt;
use hmac::{Hmac, KeyInit, Mac};
use secrecy::ExposeSecret;
use serde_json::json;
use sha2::Sha256;

use crate::support::world::World;
use crate::{share, spread};

const ORDERS: &str = "role: orders-db-reader\nduration: 2h\nticket: INC-1\nreason: Checkouts hang\n";

#[tokio::test(flavor = "multi_thread")]
async fn five_thousand_webhooks_in_a_burst_are_all_kept_and_hold_up_nobody() {
    let burst = share(5_000);
    let world = World::new().await;
    let request = world.alice().asks("alice-orders", ORDERS).await;
    world.dave().approves(request).await;
    world.advance(TimeDelta::minutes(121));

    let secret = world.sandbox.app().webhook_secret.clone();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/webhooks/github", listener.local_addr().unwrap());
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let router = web::router(world.engine(), vec![secret.clone()], stopped.clone());
    let server = tokio::spawn(async move { axum::serve(listener, router).await });
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let send = |number: u64| {
        let body = json!({
            "action": "synchronize", "number": 10_000 + number, "pull_request": { "number": 10_000 + number },
            "repository": { "full_name": "acme/access" }, "padding": "x".repeat(8_000),
        })
        .to_string();
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose_secret().as_bytes()).unwrap();
        mac.update(body.as_bytes());
        let request = client
            .post(&url)
            .header("x-github-delivery", format!("burst-{number}"))
            .header("x-github-event", "pull_request")
            .header("x-hub-signature-256", format!("sha256={}", hex::encode(mac.finalize().into_bytes())))
            .body(body);
        async move {
            let sent = Instant::now();
            let status = request.send().await.unwrap().status();
            (status, sent.elapsed())
        }
    };
    let workers = [Worker::Access, Worker::Access, Worker::Any, Worker::Any].map(|worker| {
        let (engine, mut stopped) = (world.engine(), stopped.clone());
        tokio::spawn(async move { engine.run(worker, async { drop(stopped.wait_for(|stop| *stop).await) }).await })
    });
    let started = Instant::now();
    let answers: Vec<_> = futures::stream::iter(0..burst).map(send).buffer_unordered(100).collect().await;
    let taken = started.elapsed();
    assert!(answers.iter().all(|(status, _)| *status == 202), "every one is acknowledged");
    println!("{burst} webhooks in {taken:.1?}; {}", spread(answers.into_iter().map(|(_, time)| time).collect()));
    while world.orders.is_member("orders_readonly", "alice") {
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert!(started.elapsed() < Duration::from_secs(60), "her time was up when the burst began");
    }
    println!("access whose time was up ended after {:.1?}", started.elapsed());

    let store = world.engine().store().clone();
    while !store.waiting_deliveries(1).await.unwrap().is_empty()
        || store.next_due(Lane::Any).await.unwrap().is_some_and(|due| due <= world.now())
    {
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert!(started.elapsed() < Duration::from_secs(900), "it never comes to rest");
    }
    println!("all of them looked at after {:.1?}", started.elapsed());
    for number in 0..burst {
        assert!(store.knows_delivery(&format!("burst-{number}")).await.unwrap(), "burst-{number} is lost");
    }
    stop.send(true).unwrap();
    for worker in workers {
        worker.await.unwrap();
    }
    server.abort();
}
