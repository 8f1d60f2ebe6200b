//! `decide` and the naive judge agree.

use std::collections::{BTreeMap, BTreeSet};

use daypass::access::approval::StageState;
use daypass::access::case::Case;
use daypass::access::decide::{Decision, Verdict, decide};
use daypass::policy::Severity;

use crate::generate::{Dice, after, ask, organisation, plan};
use crate::naive::{self, Judge, Outcome, State};
use crate::seeds;

fn outcome(decision: &Decision) -> Outcome {
    let errors = decision.findings.iter().filter(|finding| finding.severity == Severity::Error);
    let stages = decision.approval.iter().flat_map(|approval| &approval.stages);
    let number = |name: &str| name.trim_start_matches('s').parse().unwrap();
    Outcome {
        verdict: match decision.verdict() {
            Verdict::Refused => naive::Verdict::Refused,
            Verdict::Objected => naive::Verdict::Objected,
            Verdict::Waiting => naive::Verdict::Waiting,
            Verdict::Approved => naive::Verdict::Approved,
        },
        codes: errors.map(|finding| finding.code.as_str()).collect(),
        widened: stages
            .clone()
            .filter(|stage| stage.escalated_at.is_some())
            .map(|stage| number(stage.name.as_str()))
            .collect(),
        stages: stages
            .map(|stage| {
                let state = match &stage.state {
                    StageState::Skipped => State::Skipped,
                    StageState::Satisfied => State::Satisfied,
                    StageState::Open => State::Open,
                    StageState::Waiting => State::Waiting,
                    StageState::Failed(error) => panic!("{error}"),
                };
                (number(stage.name.as_str()), state)
            })
            .collect(),
    }
}

#[test]
fn the_decision_is_what_a_patient_person_would_decide() {
    let (mut verdicts, mut codes) = (BTreeMap::new(), BTreeMap::new());
    let mut policies = 0;
    for seed in seeds(1_500) {
        let mut dice = Dice::new(seed);
        let (mut plan, organisation) = (plan(&mut dice), organisation(&mut dice));
        // Mostly one is enough, so that many a stage is satisfied.
        for stage in plan.rules.iter_mut().flatten().filter(|_| !dice.once_in(3)) {
            stage.required = 1;
            stage.other.iter_mut().for_each(|(_, required, _)| *required = 1);
        }
        let Some(policy) = plan.policy() else { continue };
        policies += 1;
        let directory = organisation.directory();
        for _ in 0..8 {
            let ask = ask(&mut dice);
            let facts = ask.facts();
            let case = Case { policy: &policy, directory: &directory, facts: &facts, now: after(ask.judged) };
            let decided = outcome(&decide(&ask.request(), case));
            let expected = Judge { plan: &plan, organisation: &organisation, ask: &ask }.outcome();
            assert_eq!(decided, expected, "seed {seed}: {ask:#?}\n{organisation:?}\n{}", plan.yaml());
            *verdicts.entry(format!("{:?}", expected.verdict)).or_insert(0) += 1;
            for code in expected.codes {
                *codes.entry(code).or_insert(0) += 1;
            }
        }
    }
    if std::env::var_os("DAYPASS_SEED").is_some() {
        return;
    }
    // A comparison of refusals alone would show little.
    assert!(policies >= 1_000, "{policies} policies were valid");
    assert!(verdicts.len() == 4 && verdicts.values().all(|count| *count >= 50), "{verdicts:?}");
    let seen: BTreeSet<&str> = codes.iter().filter(|(_, count)| **count >= 20).map(|(code, _)| *code).collect();
    for code in [
        "DP0202", "DP0401", "DP0402", "DP0404", "DP0405", "DP0406", "DP0407", "DP0412", "DP0413", "DP0415", "DP0416",
        "DP0417", "DP0419", "DP0506",
    ] {
        assert!(seen.contains(code), "{code} is hardly ever seen: {codes:?}");
    }
}
