//! A new version is rolled out: three processes behind one address are restarted one after the other, and nobody notices.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use chrono::Utc;
use serde_json::{Value, json};

use crate::installation::Installation;
use crate::parts::{in_words, lateness, several};

impl Installation {
    /// Every webhook GitHub sent, by its own log.
    async fn deliveries(&self) -> Vec<Value> {
        let key = std::fs::read(self.facts["private_key_file"].as_str().unwrap()).unwrap();
        let now = Utc::now().timestamp();
        let claims = json!({ "iat": now - 10, "exp": now + 300, "iss": self.facts["app_id"].to_string() });
        let key = jsonwebtoken::EncodingKey::from_rsa_pem(&key).unwrap();
        let token =
            jsonwebtoken::encode(&jsonwebtoken::Header::new(jsonwebtoken::Algorithm::RS256), &claims, &key).unwrap();
        let mut all: Vec<Value> = Vec::new();
        loop {
            let below = all.last().map(|last| format!("&cursor={}", last["id"])).unwrap_or_default();
            let url = format!("{}/app/hook/deliveries?per_page=100{below}", self.facts["api_url"].as_str().unwrap());
            let answer = self.client.get(url).bearer_auth(&token).send().await.unwrap();
            let page: Vec<Value> = answer.json().await.unwrap();
            if page.is_empty() {
                return all;
            }
            all.extend(page);
        }
    }
}

#[tokio::test]
#[ignore = "needs PostgreSQL; ./test runs it"]
async fn three_processes_are_restarted_one_after_the_other_on_postgres() {
    let daypass = several(3);
    // What was sent before anybody listened is no matter here.
    let before = daypass.deliveries().await.iter().filter_map(|delivery| delivery["id"].as_u64()).max();
    let done = std::cell::Cell::new(false);
    let asking = async {
        let mut asked = Vec::new();
        while !done.get() && asked.len() < 30 {
            asked.push(daypass.ask_nth(asked.len(), 15).await);
            tokio::time::sleep(Duration::from_millis(700)).await;
        }
        asked
    };
    let rolling = async {
        let mut took = Vec::new();
        for which in 0..3 {
            tokio::time::sleep(Duration::from_secs(3)).await;
            let began = Instant::now();
            daypass.signal(which, "TERM");
            let status = daypass.ended(which, Duration::from_secs(28)).await.expect("it ends within the bound");
            assert!(status.success(), "{status}\n{}", daypass.log());
            took.push(began.elapsed().as_secs_f64());
            daypass.begin(which);
            daypass.until_up(which);
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
        done.set(true);
        took
    };
    let (asked, took) = tokio::join!(asking, rolling);
    daypass.until_all_is_over(&asked).await;
    let mut deliveries = daypass.deliveries().await;
    for _ in 0..100 {
        if deliveries.iter().all(|delivery| delivery["status_code"] != 0) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        deliveries = daypass.deliveries().await;
    }

    let told = daypass.told(&asked);
    let figures = &daypass.balancer.as_ref().unwrap().figures;
    let unanswered = figures.unanswered.load(Ordering::Relaxed);
    println!(
        "{} requests, stopping took {took:.1?} s, {} webhooks, {} connections refused and passed on, {unanswered} unanswered",
        asked.len(),
        deliveries.len(),
        figures.refused.load(Ordering::Relaxed),
    );
    println!("late: {}", in_words(&lateness(&asked, &told, &daypass.ends())));
    let failed: Vec<&Value> = deliveries
        .iter()
        .filter(|delivery| delivery["id"].as_u64() > before)
        .filter(|delivery| !(200..300).contains(&delivery["status_code"].as_u64().unwrap_or(0)))
        .collect();
    assert!(failed.is_empty(), "{failed:?}");
    assert_eq!(unanswered, 0, "no request is dropped by a process that leaves");
    for (asked, told) in asked.iter().zip(&told) {
        assert_eq!((told.granted.len(), told.revoked.len()), (1, 1), "{}", asked.slug);
    }
    daypass.everything_came_together(&asked, |_| true).await;
}
