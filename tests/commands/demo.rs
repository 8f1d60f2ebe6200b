//! `daypass demo`, as a newcomer runs it.

use crate::daypass;

#[test]
fn the_demo_tells_the_whole_story_and_keeps_the_policy_repository() {
    let dir = tempfile::tempdir().unwrap();
    let kept = dir.path().join("kept");
    let output = daypass().args(["demo", "--headless", "--dir"]).arg(&kept).output().unwrap();
    let story = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{story}\n{}", String::from_utf8_lossy(&output.stderr));
    for part in [
        "red check",
        "grants/alice-prod.yaml:1",
        "GitHub refuses it (422)",
        "does not count",
        "took it back",
        "the revert is merged",
        "unaltered, and true to the history",
    ] {
        assert!(story.contains(part), "{part} is missing in:\n{story}");
    }
    let log = std::process::Command::new("git")
        .args(["-c", "safe.directory=*", "-C"])
        .arg(kept.join("policy.git"))
        .args(["log", "--format=%s", "main"])
        .output()
        .unwrap();
    assert!(String::from_utf8(log.stdout).unwrap().contains("Revert \"Grant prod-responder to alice\""));

    // With everything else switched off, the clone answers.
    for (arguments, part) in [
        (&["show", "alice-prod"][..], "alice gets team prod-responders on github"),
        (&["verify"], ": 0 errors"),
        (&["log", "--kind", "refused"], "no merged pull request brought it"),
    ] {
        let answer =
            daypass().arg("audit").args(arguments).arg("-C").arg(kept.join("auditors-clone")).output().unwrap();
        let (said, complaint) = (String::from_utf8_lossy(&answer.stdout), String::from_utf8_lossy(&answer.stderr));
        assert!(answer.status.success() && said.contains(part), "{arguments:?}: {said}{complaint}");
    }

    let again = daypass().args(["demo", "--headless", "--dir"]).arg(&kept).output().unwrap();
    assert_eq!(again.status.code(), Some(2), "it does not write over what is there");
    assert!(String::from_utf8(again.stderr).unwrap().contains("is not empty"));
}
