//! The story itself: what happens, in plain words, each step observed before the next one begins.

use std::ops::ControlFlow;

use anyhow::{Context, ensure};
use chrono::TimeDelta;
use ssh_key::private::Ed25519Keypair;
use ssh_key::{Certificate, LineEnding, PrivateKey};

use super::super::out;
use super::stage::{Check, Stage};
use crate::ledger::verify::verify;
use crate::ledger::{EventKind, LocalClone};
use crate::policy::Severity;

const MISTAKEN: &str = "role: prod-respnder\nduration: 1h\nticket: INC-4711\nreason: Checkouts hang since the deploy\n";
const RIGHT: &str = "role: prod-responder\nduration: 1h\nticket: INC-4711\nreason: Checkouts hang since the deploy\n";
const BOBS: &str = "role: prod-responder\nduration: 2h\nticket: INC-4712\nreason: Queues are full\n";
const SMUGGLED: &str = "role: prod-responder\nduration: 8h\nticket: INC-1\nsubject: olga\nreason: Because I can push\n";

/// Tells the story; an error is a step that was not observed.
pub(super) async fn tell(stage: &Stage) -> anyhow::Result<()> {
    let base = &stage.base_url;
    out::line(format_args!("Daypass: just-in-time access by pull request. An embedded GitHub is at {base}.\n"))?;
    let request = asks(stage).await?;
    approved(stage, request).await?;
    access_is_real(stage, request).await?;
    self_approval(stage).await?;
    direct_push(stage).await?;
    expiry(stage, request).await?;
    history(stage).await?;
    audit(stage).await
}

fn step(title: &str) -> anyhow::Result<()> {
    Ok(out::line(format_args!("\x1b[1m● {title}\x1b[0m"))?)
}

fn seen(what: impl std::fmt::Display) -> anyhow::Result<()> {
    Ok(out::line(format_args!("  \x1b[32m✔\x1b[0m {what}"))?)
}

fn quote(text: &str) -> anyhow::Result<()> {
    Ok(text.trim_end().lines().try_for_each(|line| out::line(format_args!("      {line}")))?)
}

/// Waits for a check that fits.
async fn check(stage: &Stage, number: u64, what: &str, fits: impl Fn(&Check) -> bool) -> anyhow::Result<Check> {
    stage.see(what, || async { Ok(stage.check(number).await?.filter(|check| fits(check))) }).await
}

async fn asks(stage: &Stage) -> anyhow::Result<u64> {
    let key = PrivateKey::new(Ed25519Keypair::from_seed(&rand::random()).into(), "alice@laptop")?;
    let public = key.public_key().to_openssh()?;
    crate::sandbox::write_private(&stage.dir.join("alice"), key.to_openssh(LineEnding::LF)?.as_bytes())?;
    std::fs::write(stage.dir.join("alice.pub"), format!("{public}\n"))?;
    stage.sandbox.add_key("alice", &public)?;

    step("Checkouts hang. alice asks for production access, with a slip of the finger")?;
    let number = stage.ask("alice", "alice-prod", "Production access for INC-4711", MISTAKEN).await?;
    quote(MISTAKEN)?;
    seen(format!("pull request {}", stage.address(number)))?;
    let red = check(stage, number, "a red check", |check| check.conclusion == "failure").await?;
    let first = red.annotations.first().context("the check names no line")?;
    ensure!(first.starts_with("grants/alice-prod.yaml:1:"), "the check names another line: {first}");
    seen(format!("red check: {}", red.title))?;
    quote(first)?;

    step("She pushes a correction")?;
    stage.write("alice", "alice-prod", "grants/alice-prod.yaml", RIGHT).await?;
    let waits =
        check(stage, number, "a check that waits for approval", |check| check.title.contains("waiting")).await?;
    seen(format!("the check waits: {}", waits.title))?;
    ensure!(!stage.is_member("prod-responders", "alice").await?, "alice has access already");
    seen("nobody has got anything yet")?;
    Ok(number)
}

async fn approved(stage: &Stage, number: u64) -> anyhow::Result<()> {
    step("alice presses Approve on her own request")?;
    let status = stage.approve("alice", number).await?;
    ensure!(status == 422, "GitHub took an author's approval: {status}");
    seen(format!("GitHub refuses it ({status})"))?;

    step("dave reads the comment and approves")?;
    ensure!(stage.approve("dave", number).await? == 200, "GitHub did not take dave's approval");
    stage.see("the merge", || async { Ok(stage.is_merged(number).await?.then_some(())) }).await?;
    seen(format!("Daypass merged {}", stage.address(number)))?;
    Ok(())
}

async fn access_is_real(stage: &Stage, number: u64) -> anyhow::Result<()> {
    step("alice has access, for one hour")?;
    let member = || async { Ok(stage.is_member("prod-responders", "alice").await?.then_some(())) };
    stage.see("alice in team prod-responders", member).await?;
    seen("GitHub lists alice in team prod-responders")?;
    let published = || async {
        let comments = stage.comments(number).await?;
        let mut lines = comments.iter().flat_map(|comment| comment.lines());
        Ok(lines.find(|line| line.starts_with("ssh-ed25519-cert-v01@openssh.com ")).map(str::to_owned))
    };
    let text = stage.see("a certificate on the pull request", published).await?;
    let path = stage.dir.join("alice-cert.pub");
    std::fs::write(&path, format!("{text}\n"))?;
    let certificate = Certificate::from_openssh(&text)?;
    ensure!(certificate.valid_before() - certificate.valid_after() == 3_600, "the certificate is not for one hour");
    seen("the pull request carries an SSH certificate for her key")?;
    let listed = tokio::process::Command::new("ssh-keygen").arg("-L").arg("-f").arg(&path).output().await;
    match listed {
        Ok(output) if output.status.success() => quote(&String::from_utf8_lossy(&output.stdout)),
        _ => quote(&format!(
            "Key ID: {}\nPrincipals: {}",
            certificate.key_id(),
            certificate.valid_principals().join(", ")
        )),
    }
}

async fn self_approval(stage: &Stage) -> anyhow::Result<()> {
    step("bob asks too. alice slips a commit of hers into his branch, then approves it")?;
    let number = stage.ask("bob", "bob-prod", "Production access for INC-4712", BOBS).await?;
    stage.write("alice", "bob-prod", "grants/bob-prod.yaml", &BOBS.replace("2h", "8h")).await?;
    ensure!(stage.approve("alice", number).await? == 200, "GitHub did not take alice's review");
    let told = || async {
        let comments = stage.comments(number).await?;
        let mut lines = comments.iter().flat_map(|comment| comment.lines());
        Ok(lines.find(|line| line.contains("alice` does not count")).map(str::to_owned))
    };
    let line = stage.see("that alice's approval does not count", told).await?;
    seen(format!("refused on {}", stage.address(number)))?;
    quote(&line.replace('`', ""))?;
    ensure!(!stage.is_merged(number).await?, "it was merged all the same");
    stage.close("bob", number).await?;
    Ok(())
}

async fn direct_push(stage: &Stage) -> anyhow::Result<()> {
    step("olga owns the organisation, may push past the rules, and pushes herself a grant with plain git")?;
    let address = stage.base_url.replace("http://", &format!("http://olga:{}@", stage.token("olga")));
    let clone = stage.dir.join("olga-clone");
    let at = clone.display().to_string();
    stage.git(&["clone", "-q", &format!("{address}/acme/policy.git"), &at]).await?;
    std::fs::write(clone.join("grants/olga-prod.yaml"), SMUGGLED)?;
    stage.git(&["-C", &at, "add", "grants/olga-prod.yaml"]).await?;
    stage.git(&["-C", &at, "commit", "-q", "-m", "Just this once"]).await?;
    stage.git(&["-C", &at, "push", "-q", "origin", "HEAD:main"]).await?;
    std::fs::remove_dir_all(&clone)?;
    let reverted = || async {
        Ok(stage.pull_titled("Revert unverified change of grants/olga-prod.yaml").await?.filter(|(_, merged)| *merged))
    };
    let (number, _) = stage.see("a merged revert of the push", reverted).await?;
    ensure!(!stage.has_file("grants/olga-prod.yaml").await?, "the file is still there");
    ensure!(!stage.is_member("prod-responders", "olga").await?, "olga got access");
    seen(format!("nobody got access; Daypass reported it and took it back: {}", stage.address(number)))?;
    Ok(())
}

async fn expiry(stage: &Stage, request: u64) -> anyhow::Result<()> {
    step("50 minutes pass")?;
    stage.pass(TimeDelta::minutes(50));
    let open = || stage.pull_titled("Revert \"Grant prod-responder to alice\"");
    let (revert, merged) = stage.see("the revert pull request", open).await?;
    ensure!(!merged, "the revert was merged too early");
    seen(format!("the revert pull request is open: {}", stage.address(revert)))?;
    ensure!(stage.is_member("prod-responders", "alice").await?, "access ended too early");
    seen("alice still has access")?;

    step("10 more minutes pass: time is up")?;
    stage.pass(TimeDelta::minutes(10));
    let gone = || async { Ok((!stage.is_member("prod-responders", "alice").await?).then_some(())) };
    stage.see("that alice is out of the team", gone).await?;
    seen("GitHub no longer lists alice in team prod-responders")?;
    let certificate = Certificate::from_openssh(&std::fs::read_to_string(stage.dir.join("alice-cert.pub"))?)?;
    let now = u64::try_from(stage.sandbox.clock().now().timestamp())?;
    ensure!(now >= certificate.valid_before(), "the certificate is still valid");
    seen("her certificate is no longer valid")?;
    stage.see("the merged revert", || async { Ok(stage.is_merged(revert).await?.then_some(())) }).await?;
    ensure!(!stage.has_file("grants/alice-prod.yaml").await?, "the grant's file is still there");
    seen(format!("the revert is merged: {}", stage.address(revert)))?;
    let told =
        || async { Ok(stage.comments(request).await?.iter().any(|text| text.contains("no longer has")).then_some(())) };
    stage.see("the last comment on the request", told).await?;
    seen(format!("{} tells the whole story", stage.address(request)))?;
    Ok(())
}

async fn history(stage: &Stage) -> anyhow::Result<()> {
    step("What the auditor reads: git log --graph")?;
    let repository = stage.dir.join("policy.git").display().to_string();
    let log = stage
        .git(&["-C", &repository, "log", "--graph", "--format=%h %an: %s", "main"])
        .await
        .context("the history cannot be read")?;
    quote(&log)?;
    ensure!(log.contains("Revert \"Grant prod-responder to alice\""), "the revert is not in the history");
    Ok(())
}

async fn audit(stage: &Stage) -> anyhow::Result<()> {
    step("The auditor takes a plain clone and asks whether the record is whole")?;
    // Events wait half a minute for each other.
    stage.pass(TimeDelta::seconds(31));
    let repository = stage.dir.join("policy.git");
    let is_written = || async {
        let clone = LocalClone::at(&repository)?;
        let mut written = false;
        if let Ok(ledger) = clone.ledger() {
            ledger.walk(|_, _, line| {
                written |= line.is_ok_and(|(entry, _)| entry.event.kind == EventKind::Removed);
                ControlFlow::Continue(())
            })?;
        }
        Ok(written.then_some(()))
    };
    stage.see("the end of alice's access in the ledger", is_written).await?;
    let clone = stage.dir.join("auditors-clone");
    let (from, to) = (repository.display().to_string(), clone.display().to_string());
    stage.git(&["clone", "-q", &from, &to]).await?;
    let verified = verify(&LocalClone::at(&clone)?, stage.sandbox.clock().now())?;
    let wrong = verified.findings.iter().find(|fault| fault.severity == Severity::Error);
    ensure!(wrong.is_none(), "the record is not whole: {wrong:?}");
    seen(format!(
        "{} events in {} commits of daypass/ledger: unaltered, and true to the history",
        verified.events, verified.commits
    ))?;
    quote(&format!("daypass audit show alice-prod -C {to}"))?;
    Ok(())
}

/// Hints for whoever wants to go on by hand.
pub(super) fn what_to_try(stage: &Stage) -> anyhow::Result<()> {
    let (base, token) = (&stage.base_url, stage.token("dave"));
    out::line(format_args!("\n\x1b[1mIt stays up until you press Ctrl-C.\x1b[0m Try it by hand:\n"))?;
    let alice = base.replace("http://", &format!("http://alice:{}@", stage.token("alice")));
    out::line(format_args!("  git clone {alice}/acme/policy.git    # write grants/NAME.yaml on a branch, push it"))?;
    out::line(format_args!(
        "  curl -H 'Authorization: Bearer {}' {base}/api/v3/repos/acme/policy/pulls \\\n    -d '{{\"title\":\"please\",\"head\":\"BRANCH\",\"base\":\"main\"}}'",
        stage.token("alice")
    ))?;
    out::line(format_args!(
        "  curl -H 'Authorization: Bearer {token}' {base}/api/v3/repos/acme/policy/pulls/NUMBER/reviews -d '{{\"event\":\"APPROVE\"}}'    # as dave"
    ))?;
    out::line(format_args!("  curl {base}/acme/policy/pull/NUMBER    # read it"))?;
    out::line(format_args!("  curl {base}/_sandbox/clock -d '{{\"advance_seconds\":3600}}'    # an hour passes"))?;
    out::line(format_args!("\n  The server's log and configuration: {}", stage.dir.display()))?;
    Ok(())
}
