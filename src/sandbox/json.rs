//! What things look like in GitHub's JSON: one function per kind of thing, used by every endpoint and every webhook. Which
//! fields there are is GitHub's own OpenAPI description's word; the contract tests hold the embedded GitHub to it.

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Map, Value, json};

use super::Sandbox;
use super::git::{self, Commit, FileChange, Git};
use super::state::*;

/// What the id of a fork is more than that of its source.
const FORK: u64 = 1_000_000;

/// A time as GitHub writes it.
pub(super) fn time(time: DateTime<Utc>) -> Value {
    json!(time.to_rfc3339_opts(SecondsFormat::Secs, true))
}

fn seconds(seconds: i64) -> Value {
    time(DateTime::from_timestamp(seconds, 0).unwrap_or_default())
}

fn maybe(value: Option<DateTime<Utc>>) -> Value {
    value.map_or(Value::Null, time)
}

/// A view of the state for rendering.
pub(super) struct View<'a> {
    pub sandbox: &'a Sandbox,
    pub state: &'a State,
}

fn node(kind: &str, id: u64) -> String {
    format!("{kind}_{id:08}")
}

/// Two objects as one.
fn with(mut base: Value, more: Value) -> Value {
    if let (Value::Object(base), Value::Object(more)) = (&mut base, more) {
        base.extend(more);
    }
    base
}

impl View<'_> {
    fn api(&self, path: &str) -> String {
        format!("{}{path}", self.sandbox.api_url())
    }

    fn html(&self, path: &str) -> String {
        format!("{}{path}", self.sandbox.base_url())
    }

    fn links(&self, base: &str, names: &[(&str, &str)]) -> Map<String, Value> {
        names.iter().map(|(name, path)| ((*name).to_owned(), json!(format!("{base}{path}")))).collect()
    }

    /// The addresses that people and organisations have in common.
    fn add_account_links(&self, account: &mut Value, api: &str) {
        let links = self.links(
            api,
            &[
                ("events_url", "/events{/privacy}"),
                ("followers_url", "/followers"),
                ("following_url", "/following{/other_user}"),
                ("gists_url", "/gists{/gist_id}"),
                ("organizations_url", "/orgs"),
                ("received_events_url", "/received_events"),
                ("repos_url", "/repos"),
                ("starred_url", "/starred{/owner}{/repo}"),
                ("subscriptions_url", "/subscriptions"),
            ],
        );
        account.as_object_mut().into_iter().for_each(|account| account.extend(links.clone()));
    }

    /// `simple-user`.
    pub fn user(&self, id: u64) -> Value {
        let Some(user) = self.state.users.get(&id) else { return Value::Null };
        let login = percent_encoding::utf8_percent_encode(&user.login, percent_encoding::NON_ALPHANUMERIC).to_string();
        let login = login.replace("%2D", "-");
        let api = self.api(&format!("/users/{login}"));
        let mut value = json!({
            "login": user.login, "id": user.id, "node_id": node("U", user.id), "gravatar_id": "", "site_admin": false,
            "avatar_url": self.html(&format!("/avatars/{}", user.id)), "url": api, "html_url": self.html(&format!("/{login}")),
            "type": if user.bot { "Bot" } else { "User" }, "user_view_type": "public",
        });
        self.add_account_links(&mut value, &api);
        value
    }

    /// `public-user`.
    pub fn public_user(&self, id: u64) -> Value {
        let Some(user) = self.state.users.get(&id) else { return Value::Null };
        // A bot shows none.
        let email = (!user.bot).then_some(&user.email);
        let mut known = self.user(id);
        if let Some(since) = user.suspended_at {
            known["suspended_at"] = json!(time(since));
        }
        with(
            known,
            json!({
                "name": user.login, "company": null, "blog": "", "location": null, "email": email, "hireable": null,
                "bio": null, "public_repos": 0, "public_gists": 0, "followers": 0, "following": 0,
                "created_at": time(user.created_at), "updated_at": time(user.created_at),
            }),
        )
    }

    /// The organisation as the owner of things: `simple-user`.
    pub fn owner(&self) -> Value {
        let organisation = &self.state.organisation;
        let api = self.api(&format!("/users/{}", organisation.login));
        let mut value = json!({
            "login": organisation.login, "id": organisation.id, "node_id": node("O", organisation.id), "gravatar_id": "",
            "avatar_url": self.html(&format!("/avatars/{}", organisation.id)), "url": api, "site_admin": false,
            "html_url": self.html(&format!("/{}", organisation.login)), "type": "Organization", "user_view_type": "public",
        });
        self.add_account_links(&mut value, &api);
        value
    }

    /// `organization-simple`.
    pub fn organisation(&self) -> Value {
        let organisation = &self.state.organisation;
        let api = self.api(&format!("/orgs/{}", organisation.login));
        json!({
            "login": organisation.login, "id": organisation.id, "node_id": node("O", organisation.id), "url": api,
            "repos_url": format!("{api}/repos"), "events_url": format!("{api}/events"), "hooks_url": format!("{api}/hooks"),
            "issues_url": format!("{api}/issues"), "members_url": format!("{api}/members{{/member}}"),
            "public_members_url": format!("{api}/public_members{{/member}}"),
            "avatar_url": self.html(&format!("/avatars/{}", organisation.id)), "description": "",
        })
    }

    /// `organization-full`.
    pub fn full_organisation(&self) -> Value {
        with(
            self.organisation(),
            json!({
                "html_url": self.html(&format!("/{}", self.state.organisation.login)), "has_organization_projects": false,
                "has_repository_projects": false, "public_repos": 0, "public_gists": 0, "followers": 0, "following": 0,
                "type": "Organization", "created_at": time(self.state.app.created_at), "updated_at": time(self.state.app.created_at),
                "archived_at": null,
            }),
        )
    }

    /// `team`.
    pub fn team(&self, team: &Team) -> Value {
        let parent = team
            .parent
            .as_ref()
            .and_then(|slug| self.state.teams.get(slug))
            .map_or(Value::Null, |parent| self.team_simple(parent));
        with(self.team_simple(team), json!({ "parent": parent }))
    }

    fn team_simple(&self, team: &Team) -> Value {
        let api = self.api(&format!("/organizations/{}/team/{}", self.state.organisation.id, team.id));
        json!({
            "id": team.id, "node_id": node("T", team.id), "url": api, "members_url": format!("{api}/members{{/member}}"),
            "name": team.slug, "slug": team.slug, "description": "", "permission": "pull", "privacy": "closed",
            "notification_setting": "notifications_enabled", "type": "organization",
            "html_url": self.html(&format!("/orgs/{}/teams/{}", self.state.organisation.login, team.slug)),
            "repositories_url": format!("{api}/repos"),
        })
    }

    /// `team-full`.
    pub fn full_team(&self, team: &Team) -> Value {
        with(
            self.team(team),
            json!({
                "created_at": time(team.created_at), "updated_at": time(team.created_at), "repos_count": 0,
                "members_count": self.state.team_members(&team.slug).len(),
                "organization": with(self.full_organisation(), json!({})),
            }),
        )
    }

    /// `repository`, with the few fields that only the full form has.
    pub fn repository(&self, repository: &Repository) -> Value {
        let full = format!("{}/{}", self.state.organisation.login, repository.name);
        let api = self.api(&format!("/repos/{full}"));
        let open = repository.issues.values().filter(|issue| issue.open).count();
        let mut value = json!({
            "id": repository.id, "node_id": node("R", repository.id), "name": repository.name, "full_name": full, "private": true,
            "owner": self.owner(), "html_url": self.html(&format!("/{full}")), "description": null, "fork": false, "url": api,
        });
        value = with(
            value,
            json!({
                "git_url": format!("git://{full}.git"), "ssh_url": format!("git@localhost:{full}.git"),
                "clone_url": self.html(&format!("/{full}.git")), "svn_url": self.html(&format!("/{full}")), "homepage": null,
                "size": 1, "stargazers_count": 0, "watchers_count": 0, "language": null, "has_issues": true, "has_projects": false,
                "has_downloads": false, "has_wiki": false, "has_pages": false, "has_discussions": false, "forks_count": 0,
                "mirror_url": null, "archived": false, "disabled": false, "open_issues_count": open, "license": null,
                "allow_forking": false, "is_template": false, "web_commit_signoff_required": false, "topics": [],
                "visibility": "private", "forks": 0, "open_issues": open, "watchers": 0, "default_branch": repository.default_branch,
                "created_at": time(repository.created_at), "updated_at": time(repository.created_at), "pushed_at": time(repository.created_at),
            }),
        );
        let links = self.links(
            &api,
            &[
                ("archive_url", "/{archive_format}{/ref}"),
                ("assignees_url", "/assignees{/user}"),
                ("blobs_url", "/git/blobs{/sha}"),
                ("branches_url", "/branches{/branch}"),
                ("collaborators_url", "/collaborators{/collaborator}"),
                ("comments_url", "/comments{/number}"),
                ("commits_url", "/commits{/sha}"),
                ("compare_url", "/compare/{base}...{head}"),
                ("contents_url", "/contents/{+path}"),
                ("contributors_url", "/contributors"),
                ("deployments_url", "/deployments"),
                ("downloads_url", "/downloads"),
                ("events_url", "/events"),
                ("forks_url", "/forks"),
                ("git_commits_url", "/git/commits{/sha}"),
                ("git_refs_url", "/git/refs{/sha}"),
                ("git_tags_url", "/git/tags{/sha}"),
                ("hooks_url", "/hooks"),
                ("issue_comment_url", "/issues/comments{/number}"),
                ("issue_events_url", "/issues/events{/number}"),
                ("issues_url", "/issues{/number}"),
                ("keys_url", "/keys{/key_id}"),
                ("labels_url", "/labels{/name}"),
                ("languages_url", "/languages"),
                ("merges_url", "/merges"),
                ("milestones_url", "/milestones{/number}"),
                ("notifications_url", "/notifications{?since,all,participating}"),
                ("pulls_url", "/pulls{/number}"),
                ("releases_url", "/releases{/id}"),
                ("stargazers_url", "/stargazers"),
                ("statuses_url", "/statuses/{sha}"),
                ("subscribers_url", "/subscribers"),
                ("subscription_url", "/subscription"),
                ("tags_url", "/tags"),
                ("teams_url", "/teams"),
                ("trees_url", "/git/trees{/sha}"),
            ],
        );
        value.as_object_mut().into_iter().for_each(|value| value.extend(links.clone()));
        value
    }

    /// `full-repository`.
    pub fn full_repository(&self, repository: &Repository) -> Value {
        with(
            self.repository(repository),
            json!({
                "network_count": 0, "subscribers_count": 0, "allow_merge_commit": true, "allow_squash_merge": true,
                "allow_rebase_merge": true, "allow_auto_merge": false, "delete_branch_on_merge": false,
                "organization": self.owner(), "permissions": { "admin": false, "push": true, "pull": true },
            }),
        )
    }

    fn repository_path(&self, repository: &Repository) -> String {
        self.api(&format!("/repos/{}/{}", self.state.organisation.login, repository.name))
    }

    fn repository_page(&self, repository: &Repository) -> String {
        self.html(&format!("/{}/{}", self.state.organisation.login, repository.name))
    }

    /// `label`.
    pub fn label(&self, repository: &Repository, name: &str) -> Value {
        let id = repository.labels.get(name).copied().unwrap_or_default();
        let url = format!("{}/labels/{name}", self.repository_path(repository));
        json!({ "id": id, "node_id": node("LA", id), "url": url, "name": name, "description": null, "color": "ededed", "default": false })
    }

    fn association(&self, user: u64) -> &'static str {
        if self.state.organisation.members.contains(&user) { "MEMBER" } else { "NONE" }
    }

    /// `issue`.
    pub fn issue(&self, repository: &Repository, issue: &Issue) -> Value {
        let (api, page) = (self.repository_path(repository), self.repository_page(repository));
        let url = format!("{api}/issues/{}", issue.number);
        let comments = repository.comments.values().filter(|comment| comment.issue == issue.number).count();
        let pull = repository.pulls.get(&issue.number);
        let kind = if pull.is_some() { "pull" } else { "issues" };
        let mut value = json!({
            "id": issue.id, "node_id": node("I", issue.id), "url": url, "repository_url": api, "labels_url": format!("{url}/labels{{/name}}"),
            "comments_url": format!("{url}/comments"), "events_url": format!("{url}/events"),
            "html_url": format!("{page}/{kind}/{}", issue.number), "number": issue.number, "title": issue.title,
            "user": self.user(issue.author), "state": if issue.open { "open" } else { "closed" }, "state_reason": null,
            "labels": issue.labels.iter().map(|name| self.label(repository, name)).collect::<Vec<_>>(), "locked": false,
            "assignee": null, "assignees": [], "milestone": null, "comments": comments, "created_at": time(issue.created_at),
            "updated_at": time(issue.updated_at), "closed_at": maybe(issue.closed_at), "body": issue.body,
            "author_association": self.association(issue.author), "active_lock_reason": null, "performed_via_github_app": null,
            "reactions": self.reactions(&url, &[]), "timeline_url": format!("{url}/timeline"),
        });
        if pull.is_some() {
            value["pull_request"] = json!({
                "url": format!("{api}/pulls/{}", issue.number), "html_url": format!("{page}/pull/{}", issue.number),
                "diff_url": format!("{page}/pull/{}.diff", issue.number), "patch_url": format!("{page}/pull/{}.patch", issue.number),
                "merged_at": maybe(pull.and_then(|pull| pull.merged.as_ref()).map(|merged| merged.at)),
            });
            value["draft"] = json!(pull.is_some_and(|pull| pull.draft));
        }
        value
    }

    fn reactions(&self, url: &str, given: &[Reaction]) -> Value {
        let mut value = json!({ "url": format!("{url}/reactions"), "total_count": given.len() });
        for content in ["+1", "-1", "laugh", "hooray", "confused", "heart", "rocket", "eyes"] {
            value[content] = json!(given.iter().filter(|reaction| reaction.content == content).count());
        }
        value
    }

    /// `reaction`.
    pub fn reaction(&self, reaction: &Reaction) -> Value {
        json!({
            "id": reaction.id, "node_id": node("REA", reaction.id), "user": self.user(reaction.author), "content": reaction.content,
            "created_at": time(reaction.created_at),
        })
    }

    /// `issue-event-for-issue`.
    pub fn issue_event(&self, repository: &Repository, event: &IssueEvent) -> Value {
        let mut written = json!({
            "id": event.id, "node_id": node("IE", event.id), "url": format!("{}/issues/events/{}", self.repository_path(repository), event.id),
            "actor": self.user(event.actor), "event": event.event, "commit_id": null, "commit_url": null, "created_at": time(event.created_at),
            "performed_via_github_app": null,
        });
        if let Some((review, state)) = &event.dismissed {
            written["dismissed_review"] = json!({ "state": state, "review_id": review, "dismissal_message": null });
        }
        written
    }

    /// `issue-comment`.
    pub fn comment(&self, repository: &Repository, comment: &Comment) -> Value {
        let api = self.repository_path(repository);
        let url = format!("{api}/issues/comments/{}", comment.id);
        json!({
            "id": comment.id, "node_id": node("IC", comment.id), "url": url, "issue_url": format!("{api}/issues/{}", comment.issue),
            "html_url": format!("{}/issues/{}#issuecomment-{}", self.repository_page(repository), comment.issue, comment.id),
            "user": self.user(comment.author), "created_at": time(comment.created_at), "updated_at": time(comment.updated_at),
            "author_association": self.association(comment.author), "body": comment.body, "reactions": self.reactions(&url, &comment.reactions),
            "performed_via_github_app": if comment.by_app { self.app() } else { Value::Null },
        })
    }

    /// `integration`: the app.
    pub fn app(&self) -> Value {
        let app = &self.state.app;
        json!({
            "id": app.id, "slug": app.slug, "client_id": app.client_id, "node_id": node("A", app.id), "owner": self.owner(), "name": app.slug,
            "description": null, "external_url": self.html("/"), "html_url": self.html(&format!("/apps/{}", app.slug)),
            "created_at": time(app.created_at), "updated_at": time(app.created_at), "permissions": permissions(),
            "events": EVENTS, "installations_count": 1,
        })
    }

    /// The app of somebody else.
    fn another_app(&self) -> Value {
        with(
            self.app(),
            json!({ "id": 99, "slug": "another", "client_id": "Iv1.another", "node_id": node("A", 99), "name": "another" }),
        )
    }

    /// `installation`.
    pub fn installation(&self, installation: &Installation) -> Value {
        let api = self.api(&format!("/app/installations/{}", installation.id));
        json!({
            "id": installation.id, "client_id": self.state.app.client_id, "account": self.owner(), "access_tokens_url": format!("{api}/access_tokens"),
            "repositories_url": self.api("/installation/repositories"), "app_id": self.state.app.id, "app_slug": self.state.app.slug,
            "html_url": self.html(&format!("/organizations/{}/settings/installations/{}", self.state.organisation.login, installation.id)),
            "target_id": self.state.organisation.id, "target_type": "Organization", "permissions": permissions(), "events": EVENTS,
            "created_at": time(installation.created_at), "updated_at": time(installation.created_at), "single_file_name": null,
            "repository_selection": "all", "suspended_by": null, "suspended_at": null, "has_multiple_single_files": false, "single_file_paths": [],
        })
    }

    fn git_person(&self, signature: &git::Signature) -> Value {
        json!({ "name": signature.name, "email": signature.email, "date": seconds(signature.seconds) })
    }

    fn verification(&self, commit: &Commit) -> Value {
        // Commits made through the API or the web site are signed by GitHub.
        let signed = commit.committer.email == super::WEB_FLOW_EMAIL;
        json!({
            "verified": signed, "reason": if signed { "valid" } else { "unsigned" }, "signature": signed.then_some("sandbox"),
            "payload": signed.then_some("sandbox"), "verified_at": signed.then(|| seconds(commit.committer.seconds)),
        })
    }

    /// `git-commit`.
    pub fn git_commit(&self, repository: &Repository, commit: &Commit) -> Value {
        let (api, page) = (self.repository_path(repository), self.repository_page(repository));
        let parents: Vec<Value> = commit.parents.iter().map(|parent| json!({
            "sha": parent.to_string(), "url": format!("{api}/git/commits/{parent}"), "html_url": format!("{page}/commit/{parent}"),
        })).collect();
        json!({
            "sha": commit.id.to_string(), "node_id": format!("C_{}", commit.id), "url": format!("{api}/git/commits/{}", commit.id),
            "html_url": format!("{page}/commit/{}", commit.id), "author": self.git_person(&commit.author),
            "committer": self.git_person(&commit.committer), "tree": { "sha": commit.tree.to_string(), "url": format!("{api}/git/trees/{}", commit.tree) },
            "message": commit.message, "parents": parents, "verification": self.verification(commit),
        })
    }

    /// `commit`: with the accounts its e-mail addresses belong to.
    pub fn commit(&self, repository: &Repository, commit: &Commit) -> Value {
        let (api, page) = (self.repository_path(repository), self.repository_page(repository));
        let url = format!("{api}/commits/{}", commit.id);
        let account = |email: &str| self.state.user_by_email(email).map_or(Value::Null, |user| self.user(user.id));
        let parents: Vec<Value> = commit.parents.iter().map(|parent| json!({
            "sha": parent.to_string(), "url": format!("{api}/commits/{parent}"), "html_url": format!("{page}/commit/{parent}"),
        })).collect();
        json!({
            "sha": commit.id.to_string(), "node_id": format!("C_{}", commit.id), "url": url, "html_url": format!("{page}/commit/{}", commit.id),
            "comments_url": format!("{url}/comments"),
            "commit": {
                "author": self.git_person(&commit.author), "committer": self.git_person(&commit.committer), "message": commit.message,
                "tree": { "sha": commit.tree.to_string(), "url": format!("{api}/git/trees/{}", commit.tree) },
                "url": format!("{api}/git/commits/{}", commit.id), "comment_count": 0, "verification": self.verification(commit),
            },
            "author": account(&commit.author.email), "committer": account(&commit.committer.email), "parents": parents,
        })
    }

    /// `diff-entry`.
    pub fn file(&self, repository: &Repository, git: &Git, change: &FileChange, head: &str) -> Value {
        let (api, page) = (self.repository_path(repository), self.repository_page(repository));
        let read = |entry: &Option<git::Entry>| {
            entry
                .as_ref()
                .and_then(|entry| git.blob(entry.id).ok())
                .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
                .unwrap_or_default()
        };
        let (before, after) = (read(&change.before), read(&change.after));
        let diff = similar::TextDiff::from_lines(&before, &after);
        let count = |tag| diff.iter_all_changes().filter(|change| change.tag() == tag).count();
        let (additions, deletions) = (count(similar::ChangeTag::Insert), count(similar::ChangeTag::Delete));
        let status = match (&change.previous, &change.before, &change.after) {
            (Some(_), ..) => "renamed",
            (None, None, _) => "added",
            (None, _, None) => "removed",
            _ => "modified",
        };
        let entry = change.after.as_ref().or(change.before.as_ref());
        let patch = diff.unified_diff().context_radius(3).to_string();
        let mut value = json!({
            "sha": entry.map(|entry| entry.id.to_string()), "filename": change.path, "status": status, "additions": additions,
            "deletions": deletions, "changes": additions + deletions, "blob_url": format!("{page}/blob/{head}/{}", change.path),
            "raw_url": format!("{page}/raw/{head}/{}", change.path), "contents_url": format!("{api}/contents/{}?ref={head}", change.path),
        });
        if !patch.is_empty() && patch.len() < 100_000 {
            value["patch"] = json!(patch.trim_end());
        }
        if let Some(previous) = &change.previous {
            value["previous_filename"] = json!(previous);
        }
        value
    }

    /// `pull-request-simple`.
    pub fn pull(&self, repository: &Repository, pull: &Pull) -> Value {
        let (api, page) = (self.repository_path(repository), self.repository_page(repository));
        let Some(issue) = repository.issues.get(&pull.number) else { return Value::Null };
        let (url, issue_url) = (format!("{api}/pulls/{}", pull.number), format!("{api}/issues/{}", pull.number));
        let html = format!("{page}/pull/{}", pull.number);
        let statuses = format!("{api}/statuses/{}", pull.head);
        let side = |branch: &str, sha: &str| {
            json!({
                "label": format!("{}:{branch}", self.state.organisation.login), "ref": branch, "sha": sha, "user": self.owner(),
                "repo": self.repository(repository),
            })
        };
        let mut head = side(&pull.head_branch, &pull.head);
        if let Some(owner) = pull.fork.and_then(|owner| self.state.users.get(&owner)) {
            head["label"] = json!(format!("{}:{}", owner.login, pull.head_branch));
            head["user"] = self.user(owner.id);
            head["repo"]["id"] = json!(repository.id + FORK);
            head["repo"]["fork"] = json!(true);
            head["repo"]["full_name"] = json!(format!("{}/{}", owner.login, repository.name));
            head["repo"]["owner"] = self.user(owner.id);
        }
        let link = |href: &str| json!({ "href": href });
        json!({
            "id": pull.id, "node_id": node("PR", pull.id), "url": url, "html_url": html, "diff_url": format!("{html}.diff"),
            "patch_url": format!("{html}.patch"), "issue_url": issue_url, "number": pull.number,
            "state": if issue.open { "open" } else { "closed" }, "locked": false, "title": issue.title, "user": self.user(issue.author),
            "body": issue.body, "created_at": time(issue.created_at), "updated_at": time(issue.updated_at),
            "closed_at": maybe(issue.closed_at), "merged_at": maybe(pull.merged.as_ref().map(|merged| merged.at)),
            "merge_commit_sha": pull.merged.as_ref().map(|merged| merged.commit.clone()), "assignee": null, "assignees": [],
            "requested_reviewers": pull.requested.iter().map(|id| self.user(*id)).collect::<Vec<_>>(),
            "requested_teams": pull.requested_teams.iter().filter_map(|slug| self.state.teams.get(slug)).map(|team| self.team(team)).collect::<Vec<_>>(),
            "labels": issue.labels.iter().map(|name| self.label(repository, name)).collect::<Vec<_>>(), "milestone": null,
            "draft": pull.draft, "commits_url": format!("{url}/commits"), "review_comments_url": format!("{url}/comments"),
            "review_comment_url": format!("{api}/pulls/comments{{/number}}"), "comments_url": format!("{issue_url}/comments"),
            "statuses_url": statuses, "head": head, "base": side(&pull.base_branch, &pull.base),
            "_links": {
                "self": link(&url), "html": link(&html), "issue": link(&issue_url), "comments": link(&format!("{issue_url}/comments")),
                "review_comments": link(&format!("{url}/comments")), "review_comment": link(&format!("{api}/pulls/comments{{/number}}")),
                "commits": link(&format!("{url}/commits")), "statuses": link(&statuses),
            },
            "author_association": self.association(issue.author), "auto_merge": null, "active_lock_reason": null,
        })
    }

    /// `pull-request`.
    pub fn full_pull(&self, repository: &Repository, git: &Git, pull: &Pull) -> Value {
        let facts = super::pulls::facts(git, pull);
        let (mut additions, mut deletions) = (0, 0);
        for change in &facts.files {
            let value = self.file(repository, git, change, &pull.head);
            additions += value["additions"].as_u64().unwrap_or(0);
            deletions += value["deletions"].as_u64().unwrap_or(0);
        }
        let open = repository.issues.get(&pull.number).is_some_and(|issue| issue.open);
        let state = match (pull.merged.is_some() || !open, facts.mergeable, pull.draft) {
            (true, ..) => "unknown",
            (_, false, _) => "dirty",
            (_, true, true) => "draft",
            (_, true, false) => match super::pulls::blocked(self.state, repository, pull) {
                Some(_) => "blocked",
                None => "clean",
            },
        };
        let comments = repository.comments.values().filter(|comment| comment.issue == pull.number).count();
        with(
            self.pull(repository, pull),
            json!({
                "merged": pull.merged.is_some(), "mergeable": (open && pull.merged.is_none()).then_some(facts.mergeable), "rebaseable": facts.mergeable,
                "mergeable_state": state, "merged_by": pull.merged.as_ref().map_or(Value::Null, |merged| self.user(merged.by)),
                "comments": comments, "review_comments": 0, "maintainer_can_modify": false, "commits": facts.commits.len(),
                "additions": additions, "deletions": deletions, "changed_files": facts.files.len(),
            }),
        )
    }

    /// `pull-request-review`.
    pub fn review(&self, repository: &Repository, pull: &Pull, review: &Review) -> Value {
        let (api, page) = (self.repository_path(repository), self.repository_page(repository));
        let html = format!("{page}/pull/{}#pullrequestreview-{}", pull.number, review.id);
        let url = format!("{api}/pulls/{}", pull.number);
        json!({
            "id": review.id, "node_id": node("PRR", review.id), "user": self.user(review.author), "body": review.body, "state": review.state,
            "html_url": html, "pull_request_url": url, "author_association": self.association(review.author),
            "_links": { "html": { "href": html }, "pull_request": { "href": url } }, "submitted_at": time(review.submitted_at),
            "commit_id": review.commit,
        })
    }

    /// `check-run`.
    pub fn check(&self, repository: &Repository, check: &Check) -> Value {
        let (api, page) = (self.repository_path(repository), self.repository_page(repository));
        let url = format!("{api}/check-runs/{}", check.id);
        let html = format!("{page}/runs/{}", check.id);
        let pulls: Vec<Value> = repository.pulls.values().filter(|pull| pull.head == check.head && pull.merged.is_none()).map(|pull| {
            let repo = json!({ "id": repository.id, "url": api, "name": repository.name });
            json!({
                "id": pull.id, "number": pull.number, "url": format!("{api}/pulls/{}", pull.number),
                "head": { "ref": pull.head_branch, "sha": pull.head, "repo": repo }, "base": { "ref": pull.base_branch, "sha": pull.base, "repo": repo },
            })
        }).collect();
        json!({
            "id": check.id, "name": check.name, "node_id": node("CR", check.id), "head_sha": check.head, "external_id": check.external_id, "url": url,
            "html_url": html, "details_url": check.details_url.clone().unwrap_or(html.clone()), "status": check.status, "conclusion": check.conclusion,
            "started_at": time(check.started_at), "completed_at": maybe(check.completed_at),
            "output": {
                "title": check.title, "summary": check.summary, "text": check.text, "annotations_count": check.annotations.len(),
                "annotations_url": format!("{url}/annotations"),
            },
            "check_suite": { "id": check.id }, "app": if check.foreign { self.another_app() } else { self.app() }, "pull_requests": pulls,
        })
    }
}

impl View<'_> {
    /// The suite of a check run, as the webhook about the run carries it.
    pub fn check_suite(&self, repository: &Repository, check: &Check) -> Value {
        let pull = repository.pulls.values().find(|pull| pull.head == check.head);
        let run = self.check(repository, check);
        json!({
            "id": check.id, "node_id": node("CS", check.id), "head_branch": pull.map(|pull| &pull.head_branch), "head_sha": check.head,
            "status": check.status, "conclusion": check.conclusion, "before": null, "after": check.head,
            "url": format!("{}/check-suites/{}", self.repository_path(repository), check.id),
            "pull_requests": run["pull_requests"], "app": run["app"], "created_at": run["started_at"], "updated_at": run["started_at"],
        })
    }
}

/// What webhooks carry differs from what the API answers: fields the API has gained since are left out, a repository tells its
/// custom properties.
pub(super) fn as_webhook(payload: &mut Value) {
    match payload {
        Value::Array(items) => items.iter_mut().for_each(as_webhook),
        Value::Object(fields) => {
            fields.values_mut().for_each(as_webhook);
            fields.remove("user_view_type");
            if fields.contains_key("members_url") && fields.contains_key("slug") {
                fields.remove("type");
            }
            if fields.contains_key("installations_count") || fields.contains_key("access_tokens_url") {
                fields.remove("installations_count");
                fields.remove("client_id");
            }
            if fields.contains_key("full_name") {
                fields.entry("custom_properties").or_insert_with(|| json!({}));
            }
        }
        _ => {}
    }
}

/// The webhook events the app asks for.
pub(super) const EVENTS: &[&str] = &[
    "check_run",
    "issue_comment",
    "issues",
    "member",
    "membership",
    "organization",
    "pull_request",
    "pull_request_review",
    "push",
    "repository",
    "team",
];

fn permissions() -> Value {
    json!({ "checks": "write", "contents": "write", "issues": "write", "members": "write", "metadata": "read", "pull_requests": "write" })
}
