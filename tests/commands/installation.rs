//! `daypass sandbox` and `daypass serve` as processes of their own, with a real PostgreSQL server as `orders-db`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use serde_json::{Value, json};

use crate::balancer::Balancer;
use crate::daypass;
use crate::support::postgres::Postgres;
use crate::support::{Process, eventually, free_port};

/// What an installation is made of.
pub struct Setup {
    /// Whether Daypass keeps its own database on the PostgreSQL server; otherwise SQLite.
    pub store_in_postgres: bool,
    /// How many processes serve.
    pub processes: usize,
    /// The files of the policy repository; the starter policy if there are none.
    pub policy: Vec<(&'static str, String)>,
    /// How often everything is looked at without being asked.
    pub resync: &'static str,
    /// What else is in `daypass.yaml`, by the directory of the installation.
    pub more: fn(&std::path::Path, &mut Value),
}

impl Default for Setup {
    fn default() -> Self {
        Self { store_in_postgres: false, processes: 1, policy: Vec::new(), resync: "2s", more: |_, _| {} }
    }
}

pub struct Installation {
    pub postgres: Postgres,
    pub dir: tempfile::TempDir,
    pub facts: Value,
    /// In front of the processes, if there are several.
    pub balancer: Option<Balancer>,
    /// Where each process listens.
    pub ports: Vec<u16>,
    serving: Mutex<Vec<Option<Process>>>,
    _sandbox: Process,
    pub client: reqwest::Client,
}

fn spawn(mut command: Command, log: PathBuf) -> Child {
    let log = std::fs::OpenOptions::new().create(true).append(true).open(log).unwrap();
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap()
}

impl Installation {
    /// One process, and everything up, with the database of Daypass itself at `store` (`{}`: the PostgreSQL server).
    pub fn start(store_in_postgres: bool) -> Self {
        Self::set_up(Setup { store_in_postgres, ..Setup::default() })
    }

    /// Everything up.
    pub fn set_up(setup: Setup) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let ports: Vec<u16> = (0..setup.processes).map(|_| free_port()).collect();
        let balancer = (setup.processes > 1).then(|| Balancer::start(ports.clone()));
        let front = balancer.as_ref().map_or(ports[0], |balancer| balancer.port);
        let mut sandbox = daypass();
        sandbox
            .arg("sandbox")
            .args(["--port", "0", "--dir"])
            .arg(at("github"))
            .arg("--print-json")
            .arg(at("facts.json"));
        sandbox.args(["--webhook-url", &format!("http://127.0.0.1:{front}/webhooks/github")]);
        for (path, text) in &setup.policy {
            let path = at("policy").join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        if !setup.policy.is_empty() {
            sandbox.arg("--policy").arg(at("policy"));
        }
        if let Some(exchanges) = std::env::var_os("DAYPASS_EXCHANGES") {
            sandbox.arg("--record").arg(PathBuf::from(exchanges).join(format!("{}.jsonl", std::process::id())));
        }
        let sandbox = Process(spawn(sandbox, at("sandbox.log")));
        let postgres = Postgres::start();
        let mut facts = Value::Null;
        eventually("the sandbox says where it is", || {
            let text = std::fs::read_to_string(at("facts.json")).unwrap_or_default();
            facts = serde_json::from_str(&text).unwrap_or_default();
            facts.is_object()
        });
        std::fs::write(at("orders-url"), postgres.url("postgres")).unwrap();
        let store = match setup.store_in_postgres {
            true => postgres.url("daypass"),
            false => format!("sqlite://{}", at("daypass.db").display()),
        };
        let database = json!({ "postgres": { "url_file": at("orders-url") } });
        let mut config = json!({
            "listen": format!("127.0.0.1:{front}"),
            "github": {
                "api_url": facts["api_url"], "app_id": facts["app_id"], "private_key_file": facts["private_key_file"],
                "webhook_secret_file": facts["webhook_secret_file"],
            },
            "repositories": [facts["repository"]],
            "store": { "url": store },
            "targets": { "github": { "github": {} }, "orders-db": database, "logs-db": database },
            "intervals": { "resync": setup.resync },
        });
        (setup.more)(dir.path(), &mut config);
        // JSON is YAML.
        std::fs::write(at("daypass.yaml"), config.to_string()).unwrap();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let serving = Mutex::new(ports.iter().map(|_| None).collect());
        let installation = Self { postgres, dir, facts, balancer, ports, serving, _sandbox: sandbox, client };
        for which in 0..setup.processes {
            installation.begin(which);
            installation.until_up(which);
        }
        installation
    }

    /// Starts `daypass serve`.
    pub fn serve(&mut self) {
        self.begin(0);
        self.until_up(0);
    }

    /// Starts another `daypass serve` on the same database, which gets no webhooks.
    pub fn another(&self) -> Process {
        let at = |name: &str| self.dir.path().join(name);
        let mut config: Value = serde_json::from_slice(&std::fs::read(at("daypass.yaml")).unwrap()).unwrap();
        config["listen"] = "127.0.0.1:0".into();
        std::fs::write(at("another.yaml"), config.to_string()).unwrap();
        let mut command = daypass();
        command.args(["serve", "--config"]).arg(at("another.yaml"));
        Process(spawn(command, at("another.log")))
    }

    /// `kill -9` of `daypass serve`.
    pub fn kill(&mut self) {
        self.kill_one(0);
    }

    /// Starts one of the processes; it may take a moment until it is up.
    pub fn begin(&self, which: usize) {
        let mut command = daypass();
        command.args(["serve", "--config"]).arg(self.dir.path().join("daypass.yaml"));
        command.env("DAYPASS_LISTEN", format!("127.0.0.1:{}", self.ports[which]));
        let log = self.dir.path().join(format!("serve-{which}.log"));
        self.serving.lock().unwrap()[which] = Some(Process(spawn(command, log)));
    }

    /// Waits until one of the processes listens.
    pub fn until_up(&self, which: usize) {
        let port = self.ports[which];
        eventually("daypass serve listens", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
    }

    /// `kill -9` of one of the processes.
    pub fn kill_one(&self, which: usize) {
        self.serving.lock().unwrap()[which] = None;
    }

    /// Sends one of the processes a signal, by its name.
    pub fn signal(&self, which: usize, signal: &str) {
        let pid = self.serving.lock().unwrap()[which].as_ref().unwrap().0.id();
        crate::support::signal(pid, signal);
    }

    /// How one of the processes ended by itself; nothing if it has not within `limit`.
    pub async fn ended(&self, which: usize, limit: Duration) -> Option<ExitStatus> {
        let until = std::time::Instant::now() + limit;
        loop {
            if let Some(status) = self.serving.lock().unwrap()[which].as_mut().unwrap().0.try_wait().unwrap() {
                return Some(status);
            }
            if std::time::Instant::now() >= until {
                return None;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// What the processes logged, one after the other.
    pub fn log(&self) -> String {
        let log = |which: usize| std::fs::read_to_string(self.dir.path().join(format!("serve-{which}.log"))).unwrap();
        (0..self.ports.len()).map(log).collect()
    }

    pub fn tokens(&self) -> BTreeMap<String, String> {
        serde_json::from_value(self.facts["tokens"].clone()).unwrap()
    }

    /// An address git clones with a person's token.
    pub fn git_address(&self, login: &str) -> String {
        let base = self.facts["base_url"].as_str().unwrap().replace("http://", "");
        format!("http://{login}:{}@{base}/acme/access.git", self.tokens()[login])
    }

    /// Runs git in the installation's directory; its output.
    pub fn git(&self, arguments: &[&str]) -> String {
        let output = Command::new("git")
            .args(["-c", "user.name=alice", "-c", "user.email=alice@example.com"])
            .args(arguments)
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .current_dir(self.dir.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    pub async fn call(&self, login: &str, method: reqwest::Method, path: &str, body: Value) -> Value {
        let url = format!("{}/repos/acme/access{path}", self.facts["api_url"].as_str().unwrap());
        let request = self.client.request(method, url).bearer_auth(&self.tokens()[login]);
        let request = if body.is_null() { request } else { request.json(&body) };
        let answer = request.send().await.unwrap();
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
        answer.json().await.unwrap()
    }

    pub async fn get(&self, path: &str) -> Value {
        self.call("olga", reqwest::Method::GET, path, Value::Null).await
    }

    /// The commit a pull request asks to merge.
    pub async fn head(&self, number: u64) -> String {
        self.get(&format!("/pulls/{number}")).await["head"]["sha"].as_str().unwrap().to_owned()
    }

    /// What `/readyz` answers.
    pub async fn ready(&self) -> (StatusCode, String) {
        let answer = self.client.get(format!("http://127.0.0.1:{}/readyz", self.ports[0])).send().await.unwrap();
        (answer.status(), answer.text().await.unwrap())
    }

    /// Sends a webhook; what it is answered.
    pub async fn post_webhook(&self, headers: &[(&'static str, &str)], body: &'static str) -> StatusCode {
        let mut request = self.client.post(format!("http://127.0.0.1:{}/webhooks/github", self.ports[0])).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.send().await.unwrap().status()
    }

    /// Alice asks with this text; the number of her pull request.
    pub async fn alice_asks(&self, slug: &str, request: &str) -> u64 {
        self.asks("alice", slug, request).await
    }

    /// Somebody asks with this text; the number of the pull request.
    pub async fn asks(&self, login: &str, slug: &str, request: &str) -> u64 {
        use reqwest::Method;
        let main = self.get("/git/ref/heads/main").await;
        let branch = json!({ "ref": format!("refs/heads/{slug}"), "sha": main["object"]["sha"] });
        self.call(login, Method::POST, "/git/refs", branch).await;
        let file = json!({ "message": "Ask", "content": STANDARD.encode(request), "branch": slug });
        self.call(login, Method::PUT, &format!("/contents/grants/{slug}.yaml"), file).await;
        let pull = json!({ "title": slug, "head": slug, "base": "main" });
        self.call(login, Method::POST, "/pulls", pull).await["number"].as_u64().unwrap()
    }

    pub async fn dave_approves(&self, number: u64) {
        let review = json!({ "event": "APPROVE" });
        self.call("dave", reqwest::Method::POST, &format!("/pulls/{number}/reviews"), review).await;
    }

    /// How many comments of Daypass on a pull request contain `text`.
    pub async fn comments_with(&self, number: u64, text: &str) -> usize {
        let comments = self.get(&format!("/issues/{number}/comments?per_page=100")).await;
        let comments = comments.as_array().unwrap().iter();
        comments.filter(|comment| comment["body"].as_str().unwrap().contains(text)).count()
    }

    /// How often the orders database was told this.
    pub fn orders_were_told(&self, statement: &str) -> usize {
        self.postgres.log().lines().filter(|line| line.contains(statement)).count()
    }

    /// Waits until the last grant file has left the default branch.
    pub async fn until_reverted(&self) {
        for _ in 0..1_200 {
            let tree = self.get("/git/trees/main?recursive=1").await;
            let paths = tree["tree"].as_array().unwrap().iter().map(|entry| entry["path"].as_str().unwrap());
            if paths.filter(|path| path.starts_with("grants/") && *path != "grants/.gitkeep").count() == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("never reverted; the log says:\n{}", self.log());
    }

    /// Waits until a pull request is merged.
    pub async fn until_merged(&self, number: u64) {
        for _ in 0..3_000 {
            if self.get(&format!("/pulls/{number}")).await["merged"] == true {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("never merged; the log says:\n{}", self.log());
    }
}
