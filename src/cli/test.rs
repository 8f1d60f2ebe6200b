//! `daypass test`: runs the tests of a policy, offline.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::anyhow;
use clap::{Args, ValueEnum};
use serde_json::json;

use super::junit::{self, Case};
use super::validate::policy_of;
use super::{Failure, colour, out, usage};
use crate::access::coverage::{Coverage, Subject};
use crate::access::rehearsal::{self, MOST_TESTS, Rehearsed, Tally};
use crate::access::text::one_line;
use crate::policy::render::{self, render};
use crate::policy::testcase::PolicyTest;
use crate::policy::{Finding, Policy, Severity};

/// Arguments of `daypass test`.
#[derive(Debug, Args)]
pub struct TestArgs {
    /// The working tree of the policy repository.
    #[arg(default_value = ".")]
    path: PathBuf,
    /// Runs only the tests whose name or role contains this, in any letter case.
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// How results are printed.
    #[arg(long, value_enum, default_value = "human")]
    format: Format,
    /// Tells what no test shows: roles, stages, conditions.
    #[arg(long)]
    coverage: bool,
}

/// The shapes results can be printed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Human,
    /// One JSON document.
    Json,
    /// JUnit XML.
    Junit,
    /// Workflow commands, which GitHub shows as annotations.
    Github,
}

pub(super) fn run(args: &TestArgs) -> Result<ExitCode, Failure> {
    let (loaded, sources) = policy_of(&args.path).map_err(usage)?;
    let Some(policy) = &loaded.policy else {
        let errors: Vec<Finding> =
            loaded.findings.into_iter().filter(|finding| finding.severity == Severity::Error).collect();
        let text = match args.format {
            Format::Human => {
                let text = render(&errors, &sources, render::Format::Human, colour());
                format!("{text}The tests cannot be run: the policy has {} errors.\n", errors.len())
            }
            Format::Github => render(&errors, &sources, render::Format::Github, false),
            Format::Json => document(&[], 0, &errors, None),
            Format::Junit => junit::report(&errors.iter().map(broken).collect::<Vec<_>>()),
        };
        out::print(text)?;
        return Ok(ExitCode::from(1));
    };
    let filter = args.filter.as_ref().map(|text| text.to_lowercase());
    let wanted = |test: &PolicyTest| {
        let texts = [test.name.value.to_lowercase(), test.request.role.to_string()];
        filter.as_ref().is_none_or(|filter| texts.iter().any(|text| text.contains(filter)))
    };
    let rehearsed = rehearsal::run(policy, wanted);
    if let (Some(filter), true) = (&args.filter, rehearsed.is_empty()) {
        let tests = policy.tests.len();
        return Err(usage(anyhow!("no test has {filter:?} in its name or role; the policy has {tests} tests")));
    }
    if policy.tests.len() > MOST_TESTS {
        return Err(usage(anyhow!("the policy has {} tests; at most {MOST_TESTS} are run", policy.tests.len())));
    }
    let coverage = args.coverage.then(|| Coverage::of(policy, &rehearsed));
    let text = match args.format {
        Format::Human => human(policy, &rehearsed, coverage.as_ref()),
        Format::Json => document(&rehearsed, policy.tests.len() - rehearsed.len(), &[], coverage.as_ref()),
        Format::Junit => junit::report(&rehearsed.iter().map(case).collect::<Vec<_>>()),
        Format::Github => {
            let findings: Vec<Finding> = rehearsed.iter().filter_map(Rehearsed::finding).collect();
            render(&findings, &sources, render::Format::Github, false)
        }
    };
    out::print(text)?;
    Ok(ExitCode::from(u8::from(Tally::of(&rehearsed).failed > 0)))
}

fn painted(text: &str, code: u8) -> String {
    if colour() { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
}

fn human(policy: &Policy, rehearsed: &[Rehearsed<'_>], coverage: Option<&Coverage>) -> String {
    let mut text = String::new();
    for file in rehearsed.chunk_by(|one, other| one.test.name.file == other.test.name.file) {
        text.push_str(&file.first().map(|first| one_line(&first.test.name.file)).unwrap_or_default());
        text.push('\n');
        for test in file {
            let name = one_line(test.test.name.trim());
            match test.passed() {
                true => text.push_str(&format!("  {}    {name}\n", painted("ok", 32))),
                false => text.push_str(&format!("  {}  {name}\n{}", painted("FAIL", 31), failure(test, "        "))),
            }
        }
        text.push('\n');
    }
    let left_out = policy.tests.len() - rehearsed.len();
    let left_out = if left_out > 0 { format!("; {left_out} left out by --filter") } else { String::new() };
    if policy.tests.is_empty() {
        text.push_str("The policy has no tests. Write some under `tests:`.\n");
    } else {
        text.push_str(&format!("{}{left_out}.\n", Tally::of(rehearsed)));
    }
    if let Some(coverage) = coverage {
        text.push_str(&covered(coverage));
    }
    text
}

/// What a failing test expected and found, line by line.
fn failure(test: &Rehearsed<'_>, indent: &str) -> String {
    let mut lines = Vec::new();
    for difference in &test.differences {
        let place = format!("{}:{}:{}", one_line(&test.test.name.file), difference.place.line, difference.place.column);
        lines.push(format!("{} ({place})", difference.key));
        lines.push(format!("  - expected {}", one_line(&difference.expected)));
        lines.push(format!("  + found    {}", one_line(&difference.found)));
    }
    lines.extend(test.reasons().map(|reason| one_line(&reason)));
    lines.extend(test.hints.iter().map(|hint| format!("→ {}", one_line(hint))));
    lines.iter().map(|line| format!("{indent}{line}\n")).collect()
}

fn covered(coverage: &Coverage) -> String {
    let share = |of_kind: fn(&Subject) -> bool| {
        let (covered, all) = coverage.count(of_kind);
        format!("{covered} of {all}")
    };
    let mut text = format!(
        "Covered: {} roles, {} emergency paths, {} stages, {} values of conditions.\n",
        share(Subject::is_role),
        share(Subject::is_emergency_path),
        share(Subject::is_stage),
        share(Subject::is_condition)
    );
    for gap in coverage.gaps() {
        text.push_str(&format!("  - {}\n", one_line(&gap.to_string())));
    }
    text
}

fn document(rehearsed: &[Rehearsed<'_>], left_out: usize, findings: &[Finding], coverage: Option<&Coverage>) -> String {
    let tally = Tally::of(rehearsed);
    let tests: Vec<_> = rehearsed
        .iter()
        .map(|test| {
            let differences: Vec<_> = test
                .differences
                .iter()
                .map(|difference| {
                    json!({ "key": difference.key, "expected": difference.expected, "found": difference.found,
                            "line": difference.place.line, "column": difference.place.column })
                })
                .collect();
            json!({ "name": test.test.name.trim(), "file": test.test.name.file, "line": test.test.name.place.line,
                    "role": test.test.request.role.value, "passed": test.passed(), "differences": differences,
                    "findings": test.reasons().collect::<Vec<_>>(), "hints": test.hints })
        })
        .collect();
    let mut document = json!({ "passed": tally.passed, "failed": tally.failed, "left_out": left_out, "tests": tests,
        "findings": findings.iter().map(render::json).collect::<Vec<_>>() });
    if let Some(coverage) = coverage {
        let share = |of_kind: fn(&Subject) -> bool| {
            let (covered, all) = coverage.count(of_kind);
            json!({ "covered": covered, "of": all })
        };
        document["coverage"] = json!({ "roles": share(Subject::is_role),
            "emergency_paths": share(Subject::is_emergency_path), "stages": share(Subject::is_stage),
            "conditions": share(Subject::is_condition),
            "missing": coverage.gaps().map(ToString::to_string).collect::<Vec<_>>() });
    }
    serde_json::to_string_pretty(&document).unwrap_or_default() + "\n"
}

fn case<'a>(test: &'a Rehearsed<'_>) -> Case<'a> {
    let failure = test.differences.first().map(|first| {
        let message = format!("{}: expected {}, found {}", first.key, first.expected, first.found);
        (message, format!("\n{}", failure(test, "")))
    });
    let place = test.test.name.place;
    Case { suite: &test.test.name.file, name: test.test.name.trim(), line: place.line, failure }
}

/// A policy that cannot be read, as a report shows it.
fn broken(finding: &Finding) -> Case<'_> {
    let failure = Some((format!("{}: {}", finding.code, finding.message), finding.help.clone()));
    Case { suite: &finding.file, name: "the policy can be read", line: finding.place.line, failure }
}
