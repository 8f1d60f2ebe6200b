//! `daypass validate`: what can be said about a policy repository's working tree without asking anybody.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;

use super::{Failure, out, usage};
use crate::access::change::slug_of;
use crate::ledger::LocalClone;
use crate::policy::name::RoleName;
use crate::policy::render::{Format, render};
use crate::policy::{self, Code, Duration, Finding, Loaded, Place, Policy, Severity, judge};

/// How far back `--history` looks.
const MOST_COMMITS: usize = 100_000;

/// Arguments of `daypass validate`.
#[derive(Debug, Args)]
pub struct ValidateArgs {
    /// The working tree of the policy repository.
    #[arg(default_value = ".")]
    path: PathBuf,
    /// How findings are printed.
    #[arg(long, value_enum, default_value = "human")]
    format: Format,
    /// Look at the requests there ever were, too, in a clone with its history: which ceilings does nobody need?
    #[arg(long)]
    history: bool,
    /// Warnings fail too.
    #[arg(long)]
    deny_warnings: bool,
}

pub(super) fn run(args: &ValidateArgs) -> Result<ExitCode, Failure> {
    let mut findings = Vec::new();
    let files = read(&args.path, &mut findings).map_err(usage)?;
    let sources: BTreeMap<String, Vec<u8>> = files.iter().cloned().collect();
    let policies = sources.iter().filter(|(path, _)| path.starts_with("policies/"));
    let loaded = policy::load(&policies.map(|(path, bytes)| (path.clone(), bytes.clone())).collect(), None);
    findings.extend(loaded.findings);
    findings.extend(loaded.of_repository);
    let mut grants = 0;
    for (path, bytes) in sources.iter().filter(|(path, _)| path.starts_with("grants/")) {
        if matches!(path.as_str(), "grants/.gitkeep" | "grants/README.md") {
            continue;
        }
        grants += 1;
        match slug_of(path) {
            Err(finding) => findings.push(finding),
            Ok(_) => findings.extend(judge::review(path, bytes, loaded.policy.as_ref())),
        }
    }
    if let (true, Some(policy)) = (args.history, &loaded.policy) {
        findings.extend(of_history(&args.path, policy)?);
    }
    findings.sort();
    findings.dedup();
    let count = |severity: Severity| findings.iter().filter(|finding| finding.severity == severity).count();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    out::print(render(&findings, &sources, args.format, super::colour()))?;
    let any = grants > 0;
    if args.format == Format::Human {
        let roles = loaded.policy.as_ref().map_or(0, |policy| policy.roles.len());
        let counts = [(roles, "role"), (grants, "grant"), (errors, "error"), (warnings, "warning")];
        let [roles, grants, errors, warnings] = counts.map(|(count, what)| counted(count, what));
        out::line(format_args!("{roles}, {grants}: {errors}, {warnings}."))?;
        if any {
            out::line("Not known offline, and not judged: who is in which team, and what conditions say about it.")?;
        }
    }
    let failed = errors > 0 || (args.deny_warnings && warnings > 0);
    Ok(ExitCode::from(u8::from(failed)))
}

/// "1 grant", "2 grants".
fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// What the requests of the last years say about the policy.
fn of_history(path: &Path, policy: &Policy) -> Result<Vec<Finding>, Failure> {
    let clone = LocalClone::at(path).map_err(usage)?;
    let mut durations: BTreeMap<RoleName, Vec<Duration>> = BTreeMap::new();
    for (path, bytes) in clone.requests_ever("HEAD", MOST_COMMITS).map_err(usage)? {
        // What could not be read gave nobody anything.
        if let Ok(request) = policy::request::read(&path, &bytes, None) {
            durations.entry(request.role).or_default().push(request.duration);
        }
    }
    Ok(policy::unused_ceilings(policy, &durations))
}

/// The files of a policy repository's working tree, for the sandbox to begin with.
pub(super) fn working_tree(root: &Path) -> anyhow::Result<Vec<(String, Vec<u8>)>> {
    let mut findings = Vec::new();
    let files = read(root, &mut findings)?;
    match findings.first() {
        Some(finding) => bail!("{}: {}", finding.file, finding.message),
        None => Ok(files),
    }
}

/// The same, with what is wrong with its shape as findings.
pub(super) fn read(root: &Path, findings: &mut Vec<Finding>) -> anyhow::Result<Vec<(String, Vec<u8>)>> {
    read_parts(root, &["policies", "grants"], findings)
}

/// The policy of a working tree, with its files for excerpts.
pub(super) fn policy_of(root: &Path) -> anyhow::Result<(Loaded, BTreeMap<String, Vec<u8>>)> {
    let mut findings = Vec::new();
    let files: BTreeMap<String, Vec<u8>> = read_parts(root, &["policies"], &mut findings)?.into_iter().collect();
    let mut loaded = policy::load(&files, None);
    if !findings.is_empty() {
        // What could not even be read may belong to the policy.
        loaded.policy = None;
        loaded.findings.extend(findings);
        loaded.findings.sort();
    }
    Ok((loaded, files))
}

fn read_parts(root: &Path, parts: &[&str], findings: &mut Vec<Finding>) -> anyhow::Result<Vec<(String, Vec<u8>)>> {
    if !root.join("policies").is_dir() {
        bail!("{} is no policy repository: it has no folder `policies`", root.display());
    }
    let mut files = Vec::new();
    for part in parts {
        if root.join(part).is_dir() {
            walk(root, part, &mut files, findings)?;
        }
    }
    Ok(files)
}

/// Links are not followed: what they point at is not what is committed.
fn walk(
    root: &Path,
    below: &str,
    files: &mut Vec<(String, Vec<u8>)>,
    findings: &mut Vec<Finding>,
) -> anyhow::Result<()> {
    let folder = root.join(below);
    let mut entries: Vec<_> = std::fs::read_dir(&folder)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .with_context(|| format!("{} cannot be read", folder.display()))?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let path = format!("{below}/{}", entry.file_name().to_string_lossy());
        let kind = entry.file_type().with_context(|| format!("{path} cannot be read"))?;
        let mut refuse = |code: Code, message: String| {
            let help = code.explanation().to_owned();
            findings.push(Finding {
                file: path.clone(),
                place: Place::default(),
                severity: Severity::Error,
                code,
                message,
                help,
            });
        };
        if kind.is_symlink() {
            refuse(Code::FileMode, format!("`{path}` is a symbolic link; only plain files are read"));
        } else if kind.is_dir() {
            walk(root, &path, files, findings)?;
        } else if !kind.is_file() {
            // Reading a pipe would wait for whoever writes into it.
            refuse(Code::FileMode, format!("`{path}` is a pipe, a socket or a device; only plain files are read"));
        } else {
            let bytes = read_some(&entry.path()).with_context(|| format!("{path} cannot be read"))?;
            files.push((path, bytes));
        }
    }
    Ok(())
}

/// A file, as far as anybody would read on: one byte more than is allowed is enough to be refused.
fn read_some(path: &Path) -> std::io::Result<Vec<u8>> {
    let most = u64::try_from(policy::POLICY_LIMIT).unwrap_or(u64::MAX).saturating_add(1);
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}
