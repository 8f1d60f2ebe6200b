//! `daypass who-can`, `what-can` and `diff` on working trees and clones.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::daypass;

/// A clone whose first commit, `v1`, holds the starter policy.
struct Clone(tempfile::TempDir);

impl Clone {
    fn new() -> Self {
        let clone = Self(tempfile::tempdir().unwrap());
        let starter = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
        let copied = Command::new("cp").arg("-r").arg(starter).arg(clone.path()).status().unwrap();
        assert!(copied.success());
        clone.git(&["init", "-q", "-b", "main"]);
        clone.commit("v1");
        clone
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn git(&self, arguments: &[&str]) {
        let who = ["-c", "user.name=olga", "-c", "user.email=olga@example.com"];
        let done = Command::new("git").arg("-C").arg(self.path()).args(who).args(arguments).output().unwrap();
        assert!(done.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    }

    fn commit(&self, tag: &str) {
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "-m", tag]);
        self.git(&["tag", tag]);
    }

    fn edit(&self, file: &str, from: &str, to: &str) {
        let path = self.path().join(file);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{from} is in {file}");
        std::fs::write(path, text.replacen(from, to, 1)).unwrap();
    }

    fn write(&self, file: &str, text: &str) {
        let path = self.path().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn run(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let Output { status, stdout, stderr } = daypass().args(arguments).current_dir(self.path()).output().unwrap();
        (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let (code, out, err) = self.run(&[arguments, &["--format", "json"]].concat());
        assert_eq!(code, Some(0), "{err}");
        serde_json::from_str(&out).unwrap()
    }
}

const TEAMS: &str = "teams:\n  engineering: [alice, bob]\n  data-platform: [dave]\n  platform-leads: [lea]\n  security: [erin]\n  sre: [bob]\n  on-call: [alice]\n";

#[test]
fn who_can_says_what_is_not_known_and_names_people_where_it_is_told() {
    let clone = Clone::new();
    let (code, out, _) = clone.run(&["who-can", "orders-db-reader"]);
    assert_eq!(code, Some(0));
    insta::assert_snapshot!(out, @r#"
        orders-db-reader (risk medium): Read-only SQL on the orders database

        Can request it, for up to 4h:
          carol
          team:data-platform: who is in it is not known here
          team:engineering: who is in it is not known here

        Approval 1, stage owner: can approve:
          carol
          team:data-platform: who is in it is not known here

          If it has waited 30m, these can approve it:
          carol
          team:data-platform: who is in it is not known here
          team:platform-leads: who is in it is not known here

        Approval 2, stage security, if request.duration > duration('2h') || role.risk == 'critical': can approve:
          team:security: who is in it is not known here

        It has no emergency path.

        A request needs: ticket

        And only if, for the request, all of these are true:
          request.ticket.matches('^INC-[0-9]+$')

        Whoever approves changes of the policy can change all of this:

        Approval of changes 1, stage security: can approve:
          team:platform-leads: who is in it is not known here
          team:security: who is in it is not known here

        Not known here, and not guessed: who is in team:data-platform, team:engineering, team:platform-leads, team:security. Write it down and add `--given FILE`.
        "#);
    clone.write("teams.yaml", TEAMS);
    let (_, out, _) = clone.run(&["who-can", "orders-db-reader", "--given", "teams.yaml"]);
    assert!(out.contains("team:engineering: alice, bob") && !out.contains("not known"), "{out}");
    let json = clone.json(&["who-can", "prod-break-glass", "--given", "teams.yaml"]);
    assert_eq!(json["break_glass"]["who"]["people"], serde_json::json!(["alice", "bob"]));
    assert_eq!(json["approval"][1]["approvers"]["people"], serde_json::json!(["erin"]));
    assert_eq!(json["unknown_teams"], serde_json::json!([]));
}

#[test]
fn who_is_no_member_or_no_account_can_do_nothing() {
    let clone = Clone::new();
    clone.write("given.yaml", &format!("{TEAMS}members: [erin]\nunknown_accounts: [bob]\n"));
    let json = clone.json(&["who-can", "prod-break-glass", "--given", "given.yaml"]);
    assert_eq!(json["break_glass"]["who"]["people"], serde_json::json!(["alice"]));
    let (code, _, err) = clone.run(&["what-can", "bob", "--given", "given.yaml"]);
    assert_eq!(code, Some(2));
    assert!(err.contains("there is no account `bob`"), "{err}");
    let json = clone.json(&["what-can", "carol", "--given", "given.yaml"]);
    let roles = json["roles"].as_array().unwrap();
    let named = roles.iter().any(|role| role["role"] == "orders-db-reader");
    assert!(!named, "the policy names her, but she is not in the organisation: {json:#}");
    let (_, out, _) = clone.run(&["who-can", "orders-db-reader", "--given", "given.yaml"]);
    assert!(out.contains("carol: not in the organisation"), "{out}");
}

#[test]
fn a_replacement_that_is_in_no_history_does_not_hide_a_change() {
    let clone = Clone::new();
    clone.edit("policies/roles/everyday.yaml", "max_duration: 12h", "max_duration: 9h");
    clone.commit("v2");
    let (_, out, _) = clone.run(&["diff", "v1..v2"]);
    assert!(out.contains("9h instead of 12h"), "{out}");
    clone.git(&["replace", "v2", "v1"]);
    let (code, out, err) = clone.run(&["diff", "v1..v2"]);
    assert_eq!(code, Some(0), "{err}");
    assert!(out.contains("9h instead of 12h"), "{out}");
}

#[test]
fn a_misspelt_role_is_understood_and_refused() {
    let clone = Clone::new();
    let (code, _, err) = clone.run(&["who-can", "orders-db-raeder"]);
    assert_eq!(code, Some(2));
    assert!(err.contains("Did you mean `orders-db-reader`?"), "{err}");
    let (code, _, err) = clone.run(&["who-can", "no such role\u{1b}[2J"]);
    assert_eq!(code, Some(2));
    assert!(!err.contains('\u{1b}'), "{err:?}");
}

#[test]
fn what_somebody_can_do_depends_on_teams_that_are_named_or_told() {
    let clone = Clone::new();
    let (code, out, _) = clone.run(&["what-can", "carol"]);
    assert_eq!(code, Some(0));
    insta::assert_snapshot!(out, @r#"
        docs-preview
          if in team:docs or team:engineering: can request it for up to 12h, without approval

        log-reader
          if in team:engineering or team:sre: can request it for up to 8h, approved by security
          if in team:security: can approve stage security

        orders-db-reader
          can request it for up to 4h, approved by owner, security, under its conditions
          can approve stage owner
          if in team:security: can approve stage security

        patch-window
          if in team:sre: can request it for up to 6h, approved by lead, security, under its conditions
          if in team:platform-leads: can approve stage lead
          if in team:security: can approve stage security

        prod-break-glass
          if in team:on-call or team:sre: can break the glass for up to 1h
          if in team:platform-leads: can approve stage lead
          if in team:security: can approve stage security

        prod-responder
          if in team:engineering: can request it for up to 8h, approved by peer
          if in team:on-call or team:platform-leads or team:sre: can approve stage peer

        changes of the policy
          if in team:platform-leads or team:security: can approve stage security

        Not known here, and not guessed: who is in team:docs, team:engineering, team:on-call, team:platform-leads, team:security, team:sre. Write it down and add `--given FILE`.
        "#);
    clone.write("teams.yaml", TEAMS);
    let json = clone.json(&["what-can", "erin", "--given", "teams.yaml"]);
    let reader = json["roles"].as_array().unwrap().iter().find(|role| role["role"] == "orders-db-reader").unwrap();
    assert_eq!((&reader["request"], &reader["approve"][0]["stage"]), (&Value::Bool(false), &"security".into()));
    let (code, out, _) = clone.run(&["what-can", "carrol"]);
    assert_eq!(code, Some(0));
    assert!(out.contains("name `carrol`. Did you mean `carol`?"), "{out}");
    assert_eq!(clone.run(&["what-can", "../x"]).0, Some(2));
}

#[test]
fn a_dangerous_change_is_told_first_and_the_exit_code_stays_0() {
    let clone = Clone::new();
    clone.edit(
        "policies/roles/incident-response.yaml",
        "requesters: [team:engineering, group:dba]",
        "requesters: [everyone]",
    );
    clone.edit(
        "policies/roles/incident-response.yaml",
        "      - expr: request.ticket.matches('^INC-[0-9]+$')\n        message: Name the incident, as INC-1234\n",
        "      - expr: request.reason != ''\n",
    );
    clone.edit(
        "policies/people.yaml",
        "alice: { email: alice@example.com, postgres: alice",
        "alice: { email: alice@example.com, postgres: bob",
    );
    clone.write("grants/a.yaml", "subject: alice\nrole: orders-db-reader\nduration: 2h\nticket: INC-1\nreason: x\n");
    clone.commit("v2");
    let (code, out, err) = clone.run(&["diff", "v1..v2"]);
    assert_eq!(code, Some(0), "{err}");
    insta::assert_snapshot!(out, @r#"
        v1..v2: 4 effects, the most dangerous first

        critical  -                 `people.alice.postgres` is now `bob`, the account of `bob`; until now `alice`
        high      orders-db-reader  everyone in the organisation (unless already in `team:data-platform`, `team:engineering`) may now request it
        high      orders-db-reader  a condition is now `request.reason != ''`; until now `request.ticket.matches('^INC-[0-9]+$')`
        neutral   orders-db-reader  running grant `grants/a.yaml` of `alice` would give other things if it were asked for again: `role orders_readonly for bob on orders-db` instead of `role orders_readonly for alice on orders-db`

        Not known here, and not guessed: who is in team:data-platform, team:engineering. Write it down and add `--given FILE`.
        Open requests are not known offline; the comment on the pull request tells of them.
        "#);
    let (code, table, _) = clone.run(&["diff", "v1..v2", "--format", "github"]);
    assert_eq!(code, Some(0));
    assert!(table.starts_with("| | Role | What would be different |\n|---|---|---|\n| 🔴 critical |"), "{table}");
    let json = clone.json(&["diff", "v1..v2"]);
    assert_eq!(json["effects"][0]["danger"], "critical");
    assert_eq!(json["effects"][0]["topic"], "people");
}

#[test]
fn memberships_make_it_exact() {
    let clone = Clone::new();
    clone.edit(
        "policies/roles/incident-response.yaml",
        "requesters: [team:engineering, group:dba]",
        "requesters: [team:engineering, group:dba, team:on-call, team:security]",
    );
    let unknown = clone.json(&["diff", "HEAD"]);
    assert_eq!(unknown["effects"].as_array().unwrap().len(), 1, "{unknown}");
    assert_eq!(unknown["unknown_teams"], serde_json::json!(["data-platform", "engineering", "on-call", "security"]));
    clone.write("teams.yaml", TEAMS);
    let told = clone.json(&["diff", "HEAD", "--given", "teams.yaml"]);
    assert_eq!(
        told["rights"][0]["gained"]["people"],
        serde_json::json!(["erin"]),
        "alice is on call, but an engineer: {told}"
    );
    assert_eq!(told["unknown_teams"], serde_json::json!([]));
    clone.write("teams.yaml", "teams: { engineering: [al ice] }\n");
    for command in [&["diff", "HEAD"][..], &["who-can", "docs-preview"], &["what-can", "alice"]] {
        let (code, out, err) = clone.run(&[command, &["--given", "teams.yaml"]].concat());
        assert_eq!(code, Some(1), "the facts were judged invalid: {err}");
        assert!(out.contains("DP0108") && out.contains("teams.yaml:1:"), "{out}");
    }
    assert_eq!(clone.run(&["diff", "HEAD", "--given", "nowhere.yaml"]).0, Some(2));
}

#[test]
fn facts_about_a_team_the_policy_does_not_name_are_not_ignored_in_silence() {
    let clone = Clone::new();
    clone.write("teams.yaml", "teams: { enginering: [alice], sre: [bob] }\n");
    let says = "The policy names no team:enginering, so who is in it changes nothing. Did you mean `engineering`?";
    let asked = ["explain", "--subject", "alice", "--role", "docs-preview", "--duration", "1h"];
    for command in [&["who-can", "docs-preview"][..], &["what-can", "alice"], &["diff", "HEAD"], &asked] {
        let (code, out, err) = clone.run(&[command, &["--given", "teams.yaml"]].concat());
        assert_eq!(code, Some(0), "{err}");
        assert!(out.contains(says) || err.contains(says), "{command:?}: {out}{err}");
        assert!(!out.contains("team:sre, so") && !err.contains("team:sre, so"), "{out}{err}");
    }
    let json = clone.json(&["who-can", "docs-preview", "--given", "teams.yaml"]);
    assert_eq!(json["unasked_teams"], serde_json::json!(["enginering"]));
}

#[test]
fn an_app_is_asked_about_as_a_policy_names_it() {
    let clone = Clone::new();
    clone.edit("policies/roles/everyday.yaml", "[team:engineering, team:docs]", "[team:docs, app:renovate]");
    for who in ["app:renovate", "renovate[bot]"] {
        let (code, out, err) = clone.run(&["what-can", who]);
        assert_eq!(code, Some(0), "{err}");
        assert!(out.contains("docs-preview\n  gets nothing: no human would have to approve it"), "{out}");
    }
}

#[test]
fn the_working_tree_the_merge_base_and_nothing_at_all() {
    let clone = Clone::new();
    let (code, out, _) = clone.run(&["diff", "HEAD"]);
    assert_eq!(code, Some(0));
    assert!(out.starts_with("HEAD..the working tree: no effect"), "{out}");
    clone.edit("policies/settings.yaml", "max_duration: 12h", "max_duration: 6h");
    assert!(clone.run(&["diff", "HEAD"]).1.contains("the ceiling over every role is 6h instead of 12h"));
    clone.git(&["checkout", "-q", "-b", "shorter"]);
    clone.commit("v2");
    clone.git(&["checkout", "-q", "main"]);
    clone.edit("policies/settings.yaml", "pending_timeout: 7d", "pending_timeout: 3d");
    clone.commit("v3");
    assert!(clone.run(&["diff", "main..shorter"]).1.contains("7d instead of 3d"), "as they are");
    assert!(!clone.run(&["diff", "main...shorter"]).1.contains("7d instead of 3d"), "since the branch left");
    clone.git(&["checkout", "-q", "--orphan", "other"]);
    clone.commit("v4");
    let (code, _, err) = clone.run(&["diff", "main...other"]);
    assert_eq!(code, Some(2));
    assert!(err.contains("no commit in common"), "{err}");
}

#[test]
fn what_cannot_be_compared_says_what_to_do() {
    let clone = Clone::new();
    let (code, _, err) = clone.run(&["diff", "v1..v9"]);
    assert_eq!(code, Some(2));
    assert!(err.contains("`v9` is no revision of this clone") && err.contains("git fetch"), "{err}");
    clone.edit("policies/approvals.yaml", "group:dba", "group:dbas");
    clone.commit("broken");
    for range in ["v1..broken", "broken..v1", "broken"] {
        let (code, out, err) = clone.run(&["diff", range]);
        assert_eq!(code, Some(1), "{range}");
        assert!(out.contains("DP0203") && out.contains("policies/approvals.yaml:6:"), "{out}");
        assert!(err.contains("the policy of broken is invalid"), "{err}");
    }
    let (_, json, _) = clone.run(&["diff", "v1..broken", "--format", "json"]);
    assert!(serde_json::from_str::<Value>(&json).unwrap().is_array(), "{json}");
    let elsewhere = tempfile::tempdir_in("/").or_else(|_| tempfile::tempdir()).unwrap();
    let output = daypass().args(["diff", "HEAD"]).arg(elsewhere.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("is not in a git repository"));
    std::os::unix::fs::symlink("/etc/passwd", clone.path().join("policies/x.yaml")).unwrap();
    clone.git(&["checkout", "-q", "v1", "--", "policies/approvals.yaml"]);
    clone.commit("link");
    let (code, out, _) = clone.run(&["diff", "v1..link"]);
    assert_eq!((code, out.contains("policies/x.yaml")), (Some(1), true), "{out}");
}

/// A role with everything that is said about approvals and bots.
const CHAINS: &str = "version: 1
settings: { policy_approval: chain }
targets: { hub: github }
calendars: { office: { time_zone: Europe/Berlin } }
roles:
  deploy:
    requesters: [user:alice, 'app:agent']
    max_duration: 4h
    limit: 2
    approval: chain
    machines: { max_duration: 30m, sponsors: [user:sam] }
    entitlements: [github: { target: hub, team: x }]
approvals:
  chain:
    cool_down: 4h
    stages:
      - name: both
        all_of: [{ approvers: [user:bob] }, { approvers: [user:carol, user:dora], required: 2 }]
        escalate: [{ after: 2h, calendar: office, to: [user:lea] }, { after: 1d, to: [user:dirk] }]
";

#[test]
fn parts_steps_and_machines_are_told() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("policies")).unwrap();
    std::fs::write(dir.path().join("policies/p.yaml"), CHAINS).unwrap();
    let told = |arguments: &[&str]| {
        let output = daypass().args(arguments).current_dir(dir.path()).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let who = told(&["who-can", "deploy"]);
    for text in [
        "all of these must approve, part 2: 2 of:",
        "If it has waited 2h of working time",
        "If it has waited 1d",
        "A machine can have it for up to 30m, if one of these approves:",
        "2 may have it at the same time.",
        "can ask again after 4h",
    ] {
        assert!(who.contains(text), "{text}: {who}");
    }
    let lea = who.find("lea").unwrap();
    assert!(who.find("dirk").unwrap() > who.find("waited 1d").unwrap(), "dirk comes with the second step: {who}");
    assert!(lea < who.find("waited 1d").unwrap(), "{who}");
    // The same rule says who approves changes of the policy: whoever can, can change all of that.
    let changes = &who[who.find("Whoever approves changes of the policy can change all of this:").unwrap()..];
    assert!(changes.contains("part 1: 1 of:\n  bob") && changes.contains("waited 1d"), "{changes}");
    for (who, says) in [
        ("bob", "changes of the policy\n  can approve stage both\n"),
        ("dirk", "changes of the policy\n  can approve stage both after it has waited 1d\n"),
    ] {
        let told = told(&["what-can", who]);
        assert!(told.contains(says), "{told}");
    }
    assert!(!told(&["what-can", "alice"]).contains("changes of the policy"));
    let json: Value = serde_json::from_str(&told(&["who-can", "deploy", "--format", "json"])).unwrap();
    assert_eq!(
        json["policy_approval"]["stages"][0]["parts"]["of"][0]["approvers"]["people"],
        serde_json::json!(["bob"])
    );
    let json: Value = serde_json::from_str(&told(&["what-can", "lea", "--format", "json"])).unwrap();
    assert_eq!(json["policy_approval"][0]["after"], "2h");
    assert!(told(&["what-can", "app:agent"]).contains("request it for up to 30m"));
    assert!(told(&["what-can", "sam"]).contains("vouch for machines"));
    assert!(told(&["what-can", "dirk"]).contains("approve stage both after it has waited 1d"));
}
