//! What the commands about reach know without asking GitHub: the policy, and the memberships somebody wrote down.
//!
//! Offline, a login that a policy or the memberships name is taken for an account, and for a member of the organisation; a team
//! nobody wrote down stays unknown.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use serde_json::{Value, json};

use super::{Failure, colour, out, usage, validate};
use crate::access::facts::{Account, Directory};
use crate::access::impact;
use crate::access::principals::Needs;
use crate::access::reach::Crowd;
use crate::policy::name::{Login, TeamSlug, UserId};
use crate::policy::render::{Format, render};
use crate::policy::testcase::Who;
use crate::policy::{self, Finding, Policy, Principal, suggest};

/// Which policy is asked, and what else is known.
#[derive(Debug, Args)]
pub(super) struct Known {
    /// The working tree of the policy repository.
    #[arg(default_value = ".")]
    path: PathBuf,
    /// A YAML file that says who is in which team, as `teams: { engineering: [alice, bob] }`.
    #[arg(long, value_name = "FILE")]
    given: Option<PathBuf>,
    /// How the answer is printed.
    #[arg(long, value_enum, default_value = "human")]
    pub format: Shape,
}

/// The shapes an answer can be printed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Shape {
    /// For people.
    Human,
    /// For machines.
    Json,
}

impl Known {
    /// The policy of the working tree; if it is invalid, its findings are printed and the exit code comes instead.
    pub fn policy(&self) -> Result<Result<Policy, ExitCode>, Failure> {
        let mut findings = Vec::new();
        let files = validate::read(&self.path, &mut findings).map_err(usage)?;
        let format = if self.format == Shape::Json { Format::Json } else { Format::Human };
        load(&files.into_iter().collect(), findings, format)
    }

    /// The memberships that were given; if they cannot be read, the findings are printed and the exit code comes instead.
    pub fn memberships(&self) -> Result<Result<Memberships, ExitCode>, Failure> {
        let format = if self.format == Shape::Json { Format::Json } else { Format::Human };
        memberships(self.given.as_deref(), format)
    }
}

/// The policy in `files`; if it is invalid, its findings are printed and the exit code comes instead.
pub(super) fn load(
    files: &BTreeMap<String, Vec<u8>>,
    mut findings: Vec<Finding>,
    format: Format,
) -> Result<Result<Policy, ExitCode>, Failure> {
    let policies: BTreeMap<_, _> = files
        .iter()
        .filter(|(path, _)| path.starts_with("policies/"))
        .map(|(path, bytes)| (path.clone(), bytes.clone()))
        .collect();
    let loaded = policy::load(&policies, None);
    findings.retain(|finding| finding.file.starts_with("policies/"));
    match loaded.policy.filter(|_| findings.is_empty()) {
        Some(policy) => Ok(Ok(policy)),
        None => {
            findings.extend(loaded.findings);
            findings.sort();
            out::print(render(&findings, files, format, colour()))?;
            Ok(Err(ExitCode::from(1)))
        }
    }
}

/// The largest file of facts, or request, that is read, in bytes.
const FILE_LIMIT: u64 = 1024 * 1024;

/// Reads a file, or what comes through a pipe, as long as it is not too much.
pub(super) fn read_bounded(path: &Path) -> anyhow::Result<Vec<u8>> {
    let context = || format!("{} cannot be read", path.display());
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).with_context(context)?;
    file.take(FILE_LIMIT + 1).read_to_end(&mut bytes).with_context(context)?;
    anyhow::ensure!(bytes.len() as u64 <= FILE_LIMIT, "{} has more than {FILE_LIMIT} bytes", path.display());
    Ok(bytes)
}

/// What is known about people without asking GitHub.
#[derive(Debug, Clone, Default)]
pub(super) struct Memberships {
    /// Members by team.
    pub teams: BTreeMap<TeamSlug, Vec<Login>>,
    /// The members of the organisation beside those of teams; `None`: everybody who is named.
    members: Option<BTreeSet<Login>>,
    /// Logins that are no accounts.
    unknown: BTreeSet<Login>,
}

/// The members of teams that `file` tells; if it cannot be read, the findings are printed and the exit code comes instead.
pub(super) fn memberships(file: Option<&Path>, format: Format) -> Result<Result<Memberships, ExitCode>, Failure> {
    let Some(file) = file else { return Ok(Ok(Memberships::default())) };
    let bytes = read_bounded(file).map_err(usage)?;
    let name = file.display().to_string();
    let given = match policy::testcase::read_given(&name, &bytes) {
        Ok(given) => given,
        Err(findings) => {
            out::print(render(&findings, &[(name, bytes)].into(), format, colour()))?;
            return Ok(Err(ExitCode::from(1)));
        }
    };
    let logins = |who: &[Who]| who.iter().map(|who| who.login().clone()).collect::<Vec<_>>();
    Ok(Ok(Memberships {
        teams: given.teams.iter().map(|(team, of_team)| (team.clone(), logins(of_team))).collect(),
        members: given.members.as_deref().map(|members| logins(members).into_iter().collect()),
        unknown: logins(&given.unknown_accounts).into_iter().collect(),
    }))
}

/// Teams somebody told the members of, though no policy names them: a slip of the pen, or facts for another policy.
pub(super) fn unasked<'t>(told: impl Iterator<Item = &'t TeamSlug>, policies: &[&Policy]) -> Vec<Unasked> {
    let mut named: BTreeSet<TeamSlug> = BTreeSet::new();
    for policy in policies {
        named.extend(impact::named(policy).teams);
        named.extend(policy.roles.values().flat_map(|role| Needs::of_role(role, policy).teams));
    }
    let unknown = told.filter(|team| !named.contains(team));
    let near = |team: &TeamSlug| suggest(team.as_str(), named.iter().map(TeamSlug::as_str)).map(str::to_owned);
    unknown.map(|team| Unasked { near: near(team), team: team.clone() }).collect()
}

/// A team no policy names, and one it does name that may be meant.
pub(super) struct Unasked {
    pub team: TeamSlug,
    near: Option<String>,
}

impl std::fmt::Display for Unasked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "The policy names no team:{}, so who is in it changes nothing.", self.team)?;
        self.near.iter().try_for_each(|near| write!(f, " Did you mean `{near}`?"))
    }
}

/// The facts: these teams, and everybody whom they, the policies or `others` name.
pub(super) fn directory(
    known: &Memberships,
    policies: &[&Policy],
    others: impl IntoIterator<Item = Login>,
) -> Directory {
    let teams = &known.teams;
    let in_teams: BTreeSet<Login> = teams.values().flatten().cloned().collect();
    let mut logins: BTreeSet<Login> = others.into_iter().chain(in_teams.iter().cloned()).collect();
    logins.extend(known.members.iter().flatten().cloned());
    for policy in policies {
        let Needs { logins: named, .. } = impact::named(policy);
        logins.extend(named);
    }
    let account = |(index, login): (usize, Login)| {
        // Offline nobody knows the real ids; these only have to differ.
        let id = UserId(u64::try_from(index).unwrap_or(u64::MAX));
        let bot = login.as_str().ends_with("[bot]");
        (login.clone(), Account { id, login, bot })
    };
    let (no_accounts, logins): (Vec<Login>, Vec<Login>) =
        logins.into_iter().partition(|login| known.unknown.contains(login));
    let accounts: BTreeMap<Login, Account> = logins.into_iter().enumerate().map(account).collect();
    let is_member = |login: &Login| {
        known.members.as_ref().is_none_or(|members| members.contains(login)) || in_teams.contains(login)
    };
    let members = accounts.values().filter(|account| !account.bot && is_member(&account.login));
    let members = members.map(|account| account.id).collect();
    let of_team = |(slug, logins): (&TeamSlug, &Vec<Login>)| {
        (slug.clone(), Some(logins.iter().filter_map(|login| accounts.get(login)).cloned().collect()))
    };
    let teams = teams.iter().map(of_team).collect();
    Directory {
        teams,
        members,
        suspended: BTreeSet::new(),
        accounts: accounts
            .into_iter()
            .map(|(login, account)| (login, Some(account)))
            .chain(no_accounts.into_iter().map(|login| (login, None)))
            .collect(),
    }
}

/// A crowd, one line for each way to belong to it.
pub(super) fn lines(crowd: &Crowd, directory: &Directory) -> Vec<String> {
    let line = |principal: &Principal| match principal {
        Principal::Everyone => "everyone in the organisation".to_owned(),
        Principal::User(login) => match directory.account(login) {
            None => format!("{login}: there is no such account"),
            Some(account) if !directory.is_member(account) => format!("{login}: not in the organisation"),
            Some(_) => login.to_string(),
        },
        Principal::Team(slug) => match directory.teams.get(slug) {
            None => format!("{principal}: who is in it is not known here"),
            Some(members) => {
                let names: Vec<String> = members.iter().flatten().map(|account| account.login.to_string()).collect();
                format!("{principal}: {}", if names.is_empty() { "nobody".to_owned() } else { names.join(", ") })
            }
        },
        Principal::Group(_) | Principal::App(_) => principal.to_string(),
    };
    match crowd.principals.is_empty() {
        true => vec!["nobody".to_owned()],
        false => crowd.principals.iter().map(line).collect(),
    }
}

/// A crowd for machines.
pub(super) fn json(crowd: &Crowd) -> Value {
    let people: Vec<&str> = crowd.people.iter().map(|account| account.login.as_str()).collect();
    json!({ "principals": crowd.principals, "people": people, "everyone": crowd.everyone, "unknown_teams": crowd.unknown })
}

/// The sentence about what is not known, if something is not.
pub(super) fn unknown(teams: &BTreeSet<TeamSlug>) -> Option<String> {
    let names: Vec<String> = teams.iter().map(|slug| format!("team:{slug}")).collect();
    (!names.is_empty()).then(|| {
        format!(
            "Not known here, and not guessed: who is in {}. Write it down and add `--given FILE`.",
            names.join(", ")
        )
    })
}
