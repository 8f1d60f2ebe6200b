//! Arranging a world: the organisation, its people, teams, keys, repositories, and the app.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::KeyPair;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gix::objs::tree::EntryKind;
use secrecy::SecretString;

use super::git::{Entry, Signature};
use super::state::*;
use super::{AppCredentials, Options, Sandbox, SandboxError, WEB_FLOW_EMAIL, webhooks};
use crate::policy::name::UserId;

/// The slug of the app.
const SLUG: &str = "daypass";

pub(super) fn open(options: Options) -> Result<Arc<Sandbox>, SandboxError> {
    let io = |path: &std::path::Path| {
        let path = path.display().to_string();
        move |error| SandboxError::Io { path, error }
    };
    std::fs::create_dir_all(&options.dir).map_err(io(&options.dir))?;
    let key_path = options.dir.join("app.pem");
    if !key_path.exists() {
        super::write_private(&key_path, generate_key()?.as_bytes()).map_err(io(&key_path))?;
    }
    let pem = std::fs::read_to_string(&key_path).map_err(io(&key_path))?;
    let secret_path = options.dir.join("webhook-secret");
    if !secret_path.exists() {
        let secret = hex::encode(rand::random::<[u8; 32]>());
        super::write_private(&secret_path, secret.as_bytes()).map_err(io(&secret_path))?;
    }
    let webhook_secret = std::fs::read_to_string(&secret_path).map_err(io(&secret_path))?;
    let state_path = options.dir.join("state.json");
    let state = match std::fs::read(&state_path) {
        Ok(bytes) => serde_json::from_slice(&bytes)?,
        Err(_) => fresh(&options),
    };
    let credentials = AppCredentials {
        id: state.app.id,
        slug: state.app.slug.clone(),
        private_key: SecretString::from(pem.clone()),
        webhook_secret: SecretString::from(webhook_secret.trim().to_owned()),
    };
    let sandbox = Sandbox {
        base_url: Mutex::new(options.base_url.trim_end_matches('/').to_owned()),
        state: Mutex::new(state),
        git: Mutex::default(),
        verifying_key: verifying_key(&pem)?,
        outbox: webhooks::Outbox::new(&options.webhooks, &credentials.webhook_secret),
        faults: Mutex::new(None),
        limit: Mutex::new(None),
        resumed: tokio::sync::Notify::new(),
        credentials,
        options,
    };
    sandbox.keep(&sandbox.state())?;
    Ok(Arc::new(sandbox))
}

fn fresh(options: &Options) -> State {
    let now = options.clock.now();
    let mut state = State {
        next_id: 1_000,
        organisation: Organisation {
            id: 1,
            login: options.organisation.clone(),
            members: BTreeSet::new(),
            owners: BTreeSet::new(),
        },
        users: BTreeMap::new(),
        teams: BTreeMap::new(),
        tokens: BTreeMap::new(),
        app: App { id: 2, slug: SLUG.to_owned(), client_id: "Iv1.daypass".to_owned(), bot: 3, created_at: now },
        installation: None,
        repositories: BTreeMap::new(),
        deliveries: Vec::new(),
    };
    let mut user = |id: u64, login: String, email: String, bot: bool| {
        state.users.insert(id, User { id, login, email, bot, keys: Vec::new(), created_at: now, suspended_at: None });
    };
    user(3, format!("{SLUG}[bot]"), format!("3+{SLUG}[bot]@users.noreply.github.com"), true);
    // The account of the web site itself: GitHub's own id.
    user(19_864_447, "web-flow".to_owned(), WEB_FLOW_EMAIL.to_owned(), false);
    state
}

fn generate_key() -> Result<String, SandboxError> {
    let failed = |_| SandboxError::Key("RSA".to_owned());
    let pair = aws_lc_rs::rsa::KeyPair::generate(KeySize::Rsa2048).map_err(failed)?;
    let der: Pkcs8V1Der<'static> = pair.as_der().map_err(failed)?;
    Ok(pem("PRIVATE KEY", der.as_ref()))
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> = text.as_bytes().chunks(64).filter_map(|line| std::str::from_utf8(line).ok()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

/// The public half of the app's key.
fn verifying_key(private: &str) -> Result<jsonwebtoken::DecodingKey, SandboxError> {
    let failed = |error: &dyn std::fmt::Display| SandboxError::Key(error.to_string());
    let body: String = private.lines().filter(|line| !line.starts_with("-----")).collect();
    let der = STANDARD.decode(body).map_err(|error| failed(&error))?;
    let pair = aws_lc_rs::rsa::KeyPair::from_pkcs8(&der).map_err(|error| failed(&error))?;
    let public: PublicKeyX509Der<'_> = pair.public_key().as_der().map_err(|error| failed(&error))?;
    jsonwebtoken::DecodingKey::from_rsa_pem(pem("PUBLIC KEY", public.as_ref()).as_bytes())
        .map_err(|error| failed(&error))
}

impl Sandbox {
    fn arrange<T>(&self, change: impl FnOnce(&mut State) -> T) -> Result<T, SandboxError> {
        let mut state = self.state();
        let result = change(&mut state);
        self.keep(&state)?;
        Ok(result)
    }

    /// Adds an account; its e-mail address is `login@example.com`.
    pub fn add_user(&self, login: &str) -> Result<UserId, SandboxError> {
        let now = self.clock().now();
        self.arrange(|state| {
            if let Some(user) = state.user(login) {
                return UserId(user.id);
            }
            let id = state.id();
            let email = format!("{}@example.com", login.to_ascii_lowercase());
            state.users.insert(
                id,
                User {
                    id,
                    login: login.to_owned(),
                    email,
                    bot: false,
                    keys: Vec::new(),
                    created_at: now,
                    suspended_at: None,
                },
            );
            UserId(id)
        })
    }

    /// Gives an account another login; the old one is free afterwards.
    pub fn rename_user(&self, old: &str, new: &str) -> Result<(), SandboxError> {
        self.arrange(|state| {
            let id = state.user(old).map(|user| user.id);
            if let Some(user) = id.and_then(|id| state.users.get_mut(&id)) {
                user.login = new.to_owned();
            }
        })
    }

    /// Suspends an account, as administrators of an Enterprise Server can. It stays in its teams.
    pub fn suspend(&self, login: &str) -> Result<(), SandboxError> {
        let now = self.clock().now();
        self.arrange(|state| {
            let id = state.user(login).map(|user| user.id);
            if let Some(user) = id.and_then(|id| state.users.get_mut(&id)) {
                user.suspended_at = Some(now);
            }
        })
    }

    /// A token with which a person acts.
    pub fn user_token(&self, login: &str) -> Result<SecretString, SandboxError> {
        let token = format!("ghp_{}", hex::encode(rand::random::<[u8; 18]>()));
        let kept = token.clone();
        self.arrange(|state| {
            let Some(id) = state.user(login).map(|user| user.id) else {
                return Err(SandboxError::Unknown(format!("account {login}")));
            };
            state.tokens.insert(kept, Token { holder: Holder::User(id), expires_at: None });
            Ok(())
        })??;
        Ok(SecretString::from(token))
    }

    /// The tokens of people, by login.
    pub fn tokens(&self) -> BTreeMap<String, SecretString> {
        let state = self.state();
        let people = state.tokens.iter().filter_map(|(token, known)| match known.holder {
            Holder::User(id) => {
                state.users.get(&id).map(|user| (user.login.clone(), SecretString::from(token.clone())))
            }
            _ => None,
        });
        people.collect()
    }

    /// Makes an account a member of the organisation; an owner if asked for.
    pub fn add_member(&self, login: &str, owner: bool) -> Result<(), SandboxError> {
        self.add_user(login)?;
        let mut state = self.state();
        let Some(id) = state.user(login).map(|user| user.id) else { return Ok(()) };
        state.organisation.members.insert(id);
        if owner {
            state.organisation.owners.insert(id);
        }
        self.keep(&state)?;
        webhooks::organisation(self, &mut state, "member_added", id);
        self.flush(state)
    }

    /// Takes an account out of the organisation and all its teams.
    pub fn remove_member(&self, login: &str) -> Result<(), SandboxError> {
        let mut state = self.state();
        let Some(id) = state.user(login).map(|user| user.id) else { return Ok(()) };
        state.organisation.members.remove(&id);
        state.organisation.owners.remove(&id);
        state.teams.values_mut().for_each(|team| {
            team.members.remove(&id);
        });
        webhooks::organisation(self, &mut state, "member_removed", id);
        self.flush(state)
    }

    /// Adds a team.
    pub fn add_team(&self, slug: &str, parent: Option<&str>) -> Result<(), SandboxError> {
        let now = self.clock().now();
        self.arrange(|state| {
            let id = state.id();
            let team = Team {
                id,
                slug: slug.to_owned(),
                parent: parent.map(str::to_owned),
                members: BTreeSet::new(),
                invited: BTreeSet::new(),
                created_at: now,
            };
            state.teams.entry(slug.to_owned()).or_insert(team);
        })
    }

    /// Puts a member of the organisation into a team.
    pub fn add_to_team(&self, slug: &str, login: &str) -> Result<(), SandboxError> {
        self.add_member(login, false)?;
        let mut state = self.state();
        let Some(id) = state.user(login).map(|user| user.id) else { return Ok(()) };
        if let Some(team) = state.teams.get_mut(slug) {
            team.members.insert(id);
        }
        webhooks::membership(self, &mut state, "added", slug, id, id);
        self.flush(state)
    }

    /// Takes somebody out of a team.
    pub fn remove_from_team(&self, slug: &str, login: &str) -> Result<(), SandboxError> {
        let mut state = self.state();
        let Some(id) = state.user(login).map(|user| user.id) else { return Ok(()) };
        if let Some(team) = state.teams.get_mut(slug) {
            team.members.remove(&id);
        }
        webhooks::membership(self, &mut state, "removed", slug, id, id);
        self.flush(state)
    }

    /// Whether somebody is in a team, child teams included: what a test looks at.
    pub fn is_in_team(&self, slug: &str, login: &str) -> bool {
        let state = self.state();
        state.user(login).is_some_and(|user| state.team_members(slug).contains(&user.id))
    }

    /// Adds a public SSH key to an account.
    pub fn add_key(&self, login: &str, key: &str) -> Result<(), SandboxError> {
        self.arrange(|state| {
            let id = state.id();
            let user = state.user(login).map(|user| user.id);
            if let Some(user) = user.and_then(|user| state.users.get_mut(&user)) {
                user.keys.push((id, key.trim().to_owned()));
            }
        })
    }

    /// Makes a repository with these files in a first commit on `main`.
    pub fn create_repository(&self, name: &str, files: &[(String, Vec<u8>)]) -> Result<(), SandboxError> {
        let now = self.clock().now();
        let git = self.repository_git(name)?;
        let mut changes = Vec::new();
        for (path, bytes) in files {
            changes.push((path.clone(), Some(Entry { kind: EntryKind::Blob, id: git.write_blob(bytes)? })));
        }
        let tree = git.edit_tree(git.empty_tree()?, &changes)?;
        let signature =
            Signature { name: "GitHub".to_owned(), email: WEB_FLOW_EMAIL.to_owned(), seconds: now.timestamp() };
        let commit = git.write_commit(tree, &[], &signature, &signature, "Begin")?;
        git.set_reference("refs/heads/main", commit)?;
        self.arrange(|state| {
            let id = state.id();
            let repository = Repository {
                id,
                name: name.to_owned(),
                default_branch: "main".to_owned(),
                rule: BranchRule::default(),
                queue: Vec::new(),
                next_number: 0,
                created_at: now,
                issues: BTreeMap::new(),
                pulls: BTreeMap::new(),
                comments: BTreeMap::new(),
                checks: BTreeMap::new(),
                labels: BTreeMap::new(),
            };
            state.repositories.insert(name.to_owned(), repository);
        })
    }

    /// Sets the rule of a repository's default branch.
    pub fn protect(&self, repository: &str, rule: BranchRule) -> Result<(), SandboxError> {
        self.arrange(|state| {
            if let Some(repository) = state.repositories.get_mut(repository) {
                repository.rule = rule;
            }
        })
    }

    /// The identifiers of the buttons on a check run: GitHub shows them on the page only.
    pub fn actions(&self, repository: &str, check_run: u64) -> Vec<String> {
        let state = self.state();
        let check = state.repositories.get(repository).and_then(|repository| repository.checks.get(&check_run));
        let identifier = |action: &serde_json::Value| action["identifier"].as_str().unwrap_or_default().to_owned();
        check.map(|check| check.actions.iter().map(identifier).collect()).unwrap_or_default()
    }

    /// Another app writes a green check run on a commit, by our name and with our own name for it; its id.
    pub fn add_foreign_check(
        &self,
        repository: &str,
        head: &str,
        name: &str,
        external_id: &str,
    ) -> Result<u64, SandboxError> {
        let now = self.clock().now();
        self.arrange(|state| {
            let id = state.id();
            let check = Check {
                id,
                name: name.to_owned(),
                head: head.to_owned(),
                status: "completed".to_owned(),
                conclusion: Some("success".to_owned()),
                external_id: external_id.to_owned(),
                details_url: None,
                title: None,
                summary: None,
                text: None,
                annotations: Vec::new(),
                actions: Vec::new(),
                started_at: now,
                completed_at: Some(now),
                foreign: true,
            };
            if let Some(repository) = state.repositories.get_mut(repository) {
                repository.checks.insert(id, check);
            }
            id
        })
    }

    /// Installs the app in the organisation; the installation's id.
    pub fn install_app(&self) -> Result<u64, SandboxError> {
        let now = self.clock().now();
        let mut state = self.state();
        if let Some(installation) = &state.installation {
            return Ok(installation.id);
        }
        let id = state.id();
        state.installation = Some(Installation { id, created_at: now });
        webhooks::installation(self, &mut state);
        self.flush(state)?;
        Ok(id)
    }

    /// The example world: acme with its people, teams and the policy repository made of `files`. Returns the tokens of
    /// its people, by login.
    pub fn example(&self, files: &[(String, Vec<u8>)]) -> Result<BTreeMap<String, SecretString>, SandboxError> {
        for team in [
            "engineering",
            "on-call",
            "data-platform",
            "platform-leads",
            "security",
            "sre",
            "docs",
            "prod-responders",
            "patch-crew",
        ] {
            self.add_team(team, None)?;
        }
        for (login, teams) in [
            ("alice", &["engineering", "on-call"][..]),
            ("bob", &["engineering", "sre"]),
            ("carol", &["engineering", "platform-leads"]),
            ("dave", &["data-platform", "sre"]),
            ("erin", &["security"]),
        ] {
            self.add_member(login, false)?;
            for team in teams {
                self.add_to_team(team, login)?;
            }
        }
        self.add_member("olga", true)?;
        let repository = &self.options.repository;
        self.create_repository(repository, files)?;
        self.protect(
            repository,
            BranchRule {
                required_check: true,
                pull_request_required: true,
                admins_bypass: true,
                ..BranchRule::default()
            },
        )?;
        self.install_app()?;
        let people = ["alice", "bob", "carol", "dave", "erin", "olga"];
        people.iter().map(|login| Ok(((*login).to_owned(), self.user_token(login)?))).collect()
    }
}
