//! Acting as people on the embedded GitHub, and looking at what they can see. The only short cut is the clock.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::TimeDelta;
use http::Method;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use crate::cli::{Failure, unreachable};
use crate::sandbox::Sandbox;

/// How long something may take to be seen. Everything is on this machine: it takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(20);

pub(super) struct Stage {
    pub sandbox: Arc<Sandbox>,
    pub base_url: String,
    pub dir: PathBuf,
    tokens: BTreeMap<String, SecretString>,
    client: reqwest::Client,
}

/// The check on the head of a pull request.
#[derive(Debug, Default, Clone)]
pub(super) struct Check {
    pub conclusion: String,
    pub title: String,
    /// `path:line: message` of each annotation.
    pub annotations: Vec<String>,
}

impl Stage {
    pub fn new(
        sandbox: Arc<Sandbox>,
        base_url: String,
        tokens: BTreeMap<String, SecretString>,
        dir: PathBuf,
    ) -> Result<Self, Failure> {
        let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().map_err(unreachable)?;
        Ok(Self { sandbox, base_url, dir, tokens, client })
    }

    /// The address of a pull request or issue, for people.
    pub fn address(&self, number: u64) -> String {
        format!("{}/acme/policy/pull/{number}", self.base_url)
    }

    pub fn token(&self, login: &str) -> &str {
        self.tokens.get(login).map(ExposeSecret::expose_secret).unwrap_or_default()
    }

    /// Lets time pass for everybody.
    pub fn pass(&self, time: TimeDelta) {
        self.sandbox.clock().advance(time);
    }

    /// Calls GitHub's API as somebody; status and answer.
    pub async fn call(&self, login: &str, method: Method, path: &str, body: Value) -> anyhow::Result<(u16, Value)> {
        let mut request = self
            .client
            .request(method, format!("{}/api/v3{path}", self.base_url))
            .header("accept", "application/vnd.github+json")
            .bearer_auth(self.token(login));
        if !body.is_null() {
            request = request.json(&body);
        }
        let answer = request.send().await.context("the embedded GitHub does not answer")?;
        let status = answer.status().as_u16();
        let text = answer.text().await?;
        Ok((status, serde_json::from_str(&text).unwrap_or(Value::Null)))
    }

    async fn must(&self, login: &str, method: Method, path: &str, body: Value) -> anyhow::Result<Value> {
        let (status, value) = self.call(login, method.clone(), path, body).await?;
        ensure!((200..300).contains(&status), "{login} cannot {method} {path}: {status} {}", value["message"]);
        Ok(value)
    }

    /// Reads something of the policy repository.
    pub async fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.must("olga", Method::GET, &format!("/repos/acme/policy{path}"), Value::Null).await
    }

    /// Writes a file on a branch.
    pub async fn write(&self, login: &str, branch: &str, path: &str, text: &str) -> anyhow::Result<()> {
        let place = format!("/repos/acme/policy/contents/{path}");
        let (_, old) = self.call(login, Method::GET, &format!("{place}?ref={branch}"), Value::Null).await?;
        let mut body =
            json!({ "message": format!("Ask for {branch}"), "content": STANDARD.encode(text), "branch": branch });
        if let Some(sha) = old["sha"].as_str() {
            body["sha"] = json!(sha);
        }
        self.must(login, Method::PUT, &place, body).await.map(drop)
    }

    /// A branch, a file, a pull request; its number.
    pub async fn ask(&self, login: &str, slug: &str, title: &str, text: &str) -> anyhow::Result<u64> {
        let main = self.get("/git/ref/heads/main").await?;
        let body = json!({ "ref": format!("refs/heads/{slug}"), "sha": main["object"]["sha"] });
        self.must(login, Method::POST, "/repos/acme/policy/git/refs", body).await?;
        self.write(login, slug, &format!("grants/{slug}.yaml"), text).await?;
        let body = json!({ "title": title, "head": slug, "base": "main" });
        let pull = self.must(login, Method::POST, "/repos/acme/policy/pulls", body).await?;
        pull["number"].as_u64().context("a pull request has a number")
    }

    /// An approving review; the status GitHub answers.
    pub async fn approve(&self, login: &str, number: u64) -> anyhow::Result<u16> {
        let path = format!("/repos/acme/policy/pulls/{number}/reviews");
        let body = json!({ "event": "APPROVE", "body": "Looks right." });
        Ok(self.call(login, Method::POST, &path, body).await?.0)
    }

    pub async fn close(&self, login: &str, number: u64) -> anyhow::Result<()> {
        let path = format!("/repos/acme/policy/pulls/{number}");
        self.must(login, Method::PATCH, &path, json!({ "state": "closed" })).await.map(drop)
    }

    pub async fn check(&self, number: u64) -> anyhow::Result<Option<Check>> {
        let pull = self.get(&format!("/pulls/{number}")).await?;
        let head = pull["head"]["sha"].as_str().unwrap_or_default();
        let runs = self.get(&format!("/commits/{head}/check-runs?check_name=daypass")).await?;
        let Some(run) = runs["check_runs"].as_array().and_then(|runs| runs.first()) else { return Ok(None) };
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let annotations = self.get(&format!("/check-runs/{}/annotations", run["id"])).await?;
        let line = |one: &Value| format!("{}:{}: {}", text(&one["path"]), one["start_line"], text(&one["message"]));
        Ok(Some(Check {
            conclusion: text(&run["conclusion"]),
            title: text(&run["output"]["title"]),
            annotations: annotations.as_array().map(|all| all.iter().map(line).collect()).unwrap_or_default(),
        }))
    }

    /// What Daypass wrote on a pull request.
    pub async fn comments(&self, number: u64) -> anyhow::Result<Vec<String>> {
        let comments = self.get(&format!("/issues/{number}/comments?per_page=100")).await?;
        let ours = comments.as_array().into_iter().flatten().filter(|one| one["user"]["login"] == "daypass[bot]");
        Ok(ours.filter_map(|one| one["body"].as_str()).map(str::to_owned).collect())
    }

    pub async fn is_merged(&self, number: u64) -> anyhow::Result<bool> {
        Ok(self.get(&format!("/pulls/{number}")).await?["merged"] == true)
    }

    /// The newest pull request whose title contains `words`, with whether it is merged.
    pub async fn pull_titled(&self, words: &str) -> anyhow::Result<Option<(u64, bool)>> {
        let pulls = self.get("/pulls?state=all&per_page=100").await?;
        let mut found = pulls.as_array().into_iter().flatten().filter_map(|pull| {
            let title = pull["title"].as_str().filter(|title| title.contains(words));
            title.and(pull["number"].as_u64()).map(|number| (number, !pull["merged_at"].is_null()))
        });
        Ok(found.next())
    }

    /// Whether somebody is in a team, as GitHub's API tells.
    pub async fn is_member(&self, team: &str, login: &str) -> anyhow::Result<bool> {
        let members = self.must("olga", Method::GET, &format!("/orgs/acme/teams/{team}/members"), Value::Null).await?;
        Ok(members.as_array().into_iter().flatten().any(|member| member["login"] == login))
    }

    /// Whether a file is on the default branch.
    pub async fn has_file(&self, path: &str) -> anyhow::Result<bool> {
        let path = format!("/repos/acme/policy/contents/{path}");
        Ok(self.call("olga", Method::GET, &path, Value::Null).await?.0 == 200)
    }

    /// Looks again and again until `look` sees something, for as long as [`PATIENCE`] lasts.
    pub async fn see<T, F: Future<Output = anyhow::Result<Option<T>>>>(
        &self,
        what: &str,
        mut look: impl FnMut() -> F,
    ) -> anyhow::Result<T> {
        let started = tokio::time::Instant::now();
        while started.elapsed() < PATIENCE {
            if let Some(seen) = look().await? {
                return Ok(seen);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        bail!("this was not seen within {} seconds: {what}", PATIENCE.as_secs())
    }

    /// Runs git; its output.
    pub async fn git(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let output = tokio::process::Command::new("git")
            .args(["-c", "safe.directory=*", "-c", "user.name=Olga", "-c", "user.email=olga@example.com"])
            .args(arguments)
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .current_dir(&self.dir)
            .output()
            .await
            .context("git cannot be run; install it")?;
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "git {}: {error}", arguments.first().unwrap_or(&""));
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}
