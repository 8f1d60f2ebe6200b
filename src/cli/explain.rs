//! `daypass explain`: what a code means, or what the policy says to a request and why, offline.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::anyhow;
use chrono::{DateTime, Utc};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::validate::policy_of;
use super::{Failure, colour, facts, out, usage};
use crate::access::explain::{ApprovalTree, Rule, StageNode, Status, Tree, explain};
use crate::access::text::{one_line, when};
use crate::ledger::verify::FaultCode;
use crate::policy::model::ParamKind;
use crate::policy::name::{ParamName, RoleName, Slug};
use crate::policy::render::{self, render};
use crate::policy::testcase::{Given, Who, read_given};
use crate::policy::{Code, Finding, Place, Policy, Request, Severity, judge, request, suggest};

/// Arguments of `daypass explain`.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// A finding's code, such as DP0101, or a file with a request.
    #[arg(value_name = "CODE|FILE", required_unless_present = "role")]
    what: Option<String>,
    #[command(flatten)]
    request: RequestArgs,
    /// Who opens the pull request, a login or `app:SLUG`; left out: the subject.
    #[arg(long, value_name = "LOGIN")]
    author: Option<Who>,
    /// Who is in which team, who approved: a file written as `given:` of a policy's test.
    #[arg(long, value_name = "FILE")]
    given: Option<PathBuf>,
    /// The time of the judgement, RFC 3339; left out: the file's, or else now.
    #[arg(long, value_name = "TIME")]
    now: Option<DateTime<Utc>>,
    /// The working tree of the policy repository.
    #[arg(long, value_name = "PATH", default_value = ".")]
    policy: PathBuf,
    /// How the answer is printed.
    #[arg(long, value_enum, default_value = "human")]
    format: Format,
}

/// A request that nobody has written down yet.
#[derive(Debug, Args)]
struct RequestArgs {
    /// Who would get access: a login, or `app:SLUG` for the account of an app.
    #[arg(long, value_name = "LOGIN", requires = "role")]
    subject: Option<String>,
    /// The role.
    #[arg(long, value_name = "ROLE", conflicts_with = "what", requires_all = ["subject", "duration"])]
    role: Option<String>,
    /// For how long: 30m, 2h, 3d.
    #[arg(long, value_name = "DURATION", requires = "role", allow_hyphen_values = true)]
    duration: Option<String>,
    /// Why.
    #[arg(
        long,
        value_name = "TEXT",
        requires = "role",
        default_value_if("role", clap::builder::ArgPredicate::IsPresent, "To see what the policy says")
    )]
    reason: Option<String>,
    /// The ticket.
    #[arg(long, value_name = "TICKET", requires = "role")]
    ticket: Option<String>,
    /// The planned start, RFC 3339.
    #[arg(long, value_name = "TIME", requires = "role")]
    start: Option<String>,
    /// The emergency path.
    #[arg(long, requires = "role")]
    break_glass: bool,
    /// A parameter of the role; may be given several times.
    #[arg(long = "param", value_name = "NAME=VALUE", requires = "role")]
    params: Vec<String>,
}

/// The shapes an answer can be printed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Human,
    /// One JSON document.
    Json,
}

pub(super) fn run(args: &ExplainArgs) -> Result<ExitCode, Failure> {
    let file = match &args.what {
        Some(what) if !Path::new(what).is_file() => {
            out::print(code(what, args.format).map_err(usage)?)?;
            return Ok(ExitCode::SUCCESS);
        }
        what => what.as_ref().map(PathBuf::from),
    };
    let (loaded, sources) = policy_of(&args.policy).map_err(usage)?;
    let Some(policy) = &loaded.policy else {
        return refused(&loaded.findings, &sources, args.format);
    };
    let given = match &args.given {
        None => Given::default(),
        Some(path) => {
            let (shown, bytes) = read(path).map_err(usage)?;
            match read_given(&shown, &bytes) {
                Ok(given) => given,
                Err(findings) => return refused(&findings, &[(shown, bytes)].into(), args.format),
            }
        }
    };
    let (path, bytes) = match &file {
        Some(path) => read(path).map_err(usage)?,
        None => (COMMAND_LINE.to_owned(), written(&args.request, policy).map_err(usage)?),
    };
    let slug = Slug::near(Path::new(&path).file_stem().and_then(|stem| stem.to_str()).unwrap_or_default());
    let request = match request::read(&request::path_of(&slug), &bytes, Some(policy)) {
        Ok(request) => request,
        Err(_) => {
            let mut findings = judge::review(&request::path_of(&slug), &bytes, Some(policy));
            findings.iter_mut().for_each(|finding| relocate(finding, &path));
            let sources = [(path, bytes)].into_iter().filter(|(path, _)| path != COMMAND_LINE).collect();
            return refused(&findings, &sources, args.format);
        }
    };
    let Some(author) = args.author.as_ref().map(Who::login).or(request.subject.as_ref()).cloned() else {
        let message =
            "the request names no `subject`, so it is for whoever opens the pull request: say who with --author";
        return Err(usage(anyhow!(message)));
    };
    let request = Request { subject: Some(request.subject.clone().unwrap_or_else(|| author.clone())), ..request };
    for unasked in facts::unasked(given.teams.keys(), &[policy]) {
        out::beside(format_args!("daypass: {unasked}"));
    }
    let now = args.now.or(given.now).unwrap_or_else(Utc::now);
    let mut tree = explain(&request, &author, &given, policy, now);
    for finding in tree.rules.iter_mut().flat_map(|rule| &mut rule.findings) {
        if finding.file == request.path() {
            relocate(finding, &path);
        }
    }
    out::print(shown(&tree, args.format))?;
    Ok(ExitCode::from(u8::from(!tree.is_allowed())))
}

/// Where a request stands that is in no file.
const COMMAND_LINE: &str = "command line";

/// A finding about a request that lies elsewhere than in `grants/`, or nowhere.
fn relocate(finding: &mut Finding, path: &str) {
    path.clone_into(&mut finding.file);
    if path == COMMAND_LINE {
        finding.place = Place::default();
    }
}

fn read(path: &Path) -> anyhow::Result<(String, Vec<u8>)> {
    Ok((path.display().to_string(), super::facts::read_bounded(path)?))
}

/// The request of the command line as a file would say it, so that it is read like one. JSON is YAML.
fn written(args: &RequestArgs, policy: &Policy) -> anyhow::Result<Vec<u8>> {
    // A file names the account of an app by its login.
    let account = |who: &String| who.strip_prefix("app:").map_or(who.clone(), |slug| format!("{slug}[bot]"));
    let subject = args.subject.as_ref().map(account);
    let texts = [
        ("subject", &subject),
        ("role", &args.role),
        ("duration", &args.duration),
        ("reason", &args.reason),
        ("ticket", &args.ticket),
        ("start", &args.start),
    ];
    let texts = texts.into_iter().filter_map(|(key, text)| Some((key.to_owned(), json!(text.as_ref()?))));
    let mut file: serde_json::Map<String, Value> = texts.collect();
    if args.break_glass {
        file.insert("break_glass".to_owned(), json!(true));
    }
    let mut params = serde_json::Map::new();
    for param in &args.params {
        let Some((name, value)) = param.split_once('=') else {
            return Err(anyhow!("{param:?} is no parameter: write --param NAME=VALUE"));
        };
        params.insert(name.to_owned(), param_value(args.role.as_deref(), name, value, policy));
    }
    if !params.is_empty() {
        file.insert("params".to_owned(), Value::Object(params));
    }
    Ok(Value::Object(file).to_string().into_bytes())
}

/// A parameter's value as the role declares it; as it looks, if that cannot be told.
fn param_value(role: Option<&str>, name: &str, value: &str, policy: &Policy) -> Value {
    let role = role.and_then(|role| role.parse::<RoleName>().ok());
    let name = name.parse::<ParamName>().ok();
    let spec = role.zip(name).and_then(|(role, name)| policy.roles.get(&role)?.params.get(&name));
    let guess = match value {
        "true" => json!(true),
        "false" => json!(false),
        _ => value.parse::<i64>().map_or_else(|_| json!(value), |number| json!(number)),
    };
    match spec.map(|spec| &spec.kind) {
        Some(ParamKind::String) => json!(value),
        Some(ParamKind::OneOf(values)) => {
            let meant = values.iter().find(|known| known.to_string() == value);
            meant.and_then(|known| serde_json::to_value(known).ok()).unwrap_or(guess)
        }
        _ => guess,
    }
}

/// Says why there is nothing to explain.
fn refused(
    findings: &[Finding],
    sources: &std::collections::BTreeMap<String, Vec<u8>>,
    format: Format,
) -> Result<ExitCode, Failure> {
    let errors: Vec<Finding> = findings.iter().filter(|finding| finding.severity == Severity::Error).cloned().collect();
    let text = match format {
        Format::Human => render(&errors, sources, render::Format::Human, colour()),
        Format::Json => {
            let findings: Vec<Value> = errors.iter().map(render::json).collect();
            pretty(&json!({ "verdict": "refused", "findings": findings }))
        }
    };
    out::print(text)?;
    Ok(ExitCode::from(1))
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default() + "\n"
}

/// What a code means.
fn code(text: &str, format: Format) -> anyhow::Result<String> {
    let explained = |code: &str, title: &str, explanation: &str| match format {
        Format::Human => format!("{code}: {title}\n\n{explanation}\n"),
        Format::Json => pretty(&json!({ "code": code, "title": title, "explanation": explanation })),
    };
    if let Some(code) = FaultCode::ALL.iter().find(|code| code.as_str().eq_ignore_ascii_case(text)) {
        return Ok(explained(code.as_str(), code.title(), code.explanation()));
    }
    let code: Code = match text.parse() {
        Ok(code) => code,
        Err(error) => {
            let like_a_code = text.get(..2).is_some_and(|start| start.eq_ignore_ascii_case("dp")) && text.len() < 10;
            if !like_a_code {
                return Err(anyhow!("{text:?} is neither a code, such as DP0101, nor a file"));
            }
            let upper = text.to_ascii_uppercase();
            let of_policy = Code::ALL.iter().map(|code| code.as_str());
            let all: Vec<&str> = of_policy.chain(FaultCode::ALL.iter().map(|code| code.as_str())).collect();
            let kin = all.iter().copied().filter(|code| upper.get(..4) == code.get(..4)).take(8);
            let mut near: Vec<&str> = suggest(&upper, all.iter().copied()).into_iter().collect();
            near.extend(kin);
            near.dedup();
            let near = if near.is_empty() {
                "docs/findings.md lists all".to_owned()
            } else {
                format!("near are {}", near.join(", "))
            };
            return Err(anyhow!("{error}; {near}"));
        }
    };
    Ok(explained(code.as_str(), code.title(), code.explanation()))
}

fn shown(tree: &Tree, format: Format) -> String {
    match format {
        Format::Human => human(tree),
        Format::Json => {
            let mut document = serde_json::to_value(tree).unwrap_or_default();
            document["allowed"] = json!(tree.is_allowed());
            pretty(&document)
        }
    }
}

fn mark(status: Status) -> &'static str {
    match status {
        Status::Passed => "✓",
        Status::Failed => "✗",
        Status::Unknown => "?",
        Status::Skipped => "–",
        Status::Open => "●",
        Status::Waiting => "○",
    }
}

fn human(tree: &Tree) -> String {
    let mut text = String::new();
    for row in &tree.summary {
        text.push_str(&format!("{:<10} {}\n", row.label, row.text));
    }
    text.push_str("\nRules\n");
    tree.rules.iter().for_each(|rule| text.push_str(&rule_lines(rule)));
    if let Some(approval) = &tree.approval {
        text.push_str(&approval_lines(approval));
    }
    let (window, revert_at) = (tree.window, tree.revert_at);
    text.push_str(&format!(
        "\nIf it is merged now\n  access begins at {}\n  a pull request to take it back opens at {}\n  access ends at {}\n",
        when(window.starts_at),
        when(revert_at),
        when(window.ends_at)
    ));
    if !tree.unknown.is_empty() {
        text.push_str("\nNot known offline\n");
        tree.unknown.iter().for_each(|unknown| text.push_str(&format!("  ? {unknown}\n")));
    }
    text.push_str(&format!("\n{}\n", conclusion(tree)));
    text
}

fn rule_lines(rule: &Rule) -> String {
    let mut text = format!("  {} {}\n", mark(rule.status), rule.text);
    for finding in &rule.findings {
        let place = match (finding.file.as_str(), finding.place.line) {
            ("", _) | (_, 0) => String::new(),
            (file, line) => format!(" ({}:{line}:{})", one_line(file), finding.place.column),
        };
        let otherwise = if rule.status == Status::Unknown { "otherwise " } else { "" };
        text.push_str(&format!("      {otherwise}{}{place}: {}\n", finding.code, one_line(&finding.message)));
        if !finding.help.is_empty() {
            text.push_str(&format!("      → {}\n", one_line(&finding.help)));
        }
    }
    text
}

fn approval_lines(approval: &ApprovalTree) -> String {
    if approval.stages.is_empty() {
        return "\nNo approval is needed.\n".to_owned();
    }
    let mut text = format!("\nApproval by rule {}\n", approval.rule);
    for (index, stage) in approval.stages.iter().enumerate() {
        text.push_str(&format!("  {}. {} {}\n", index + 1, mark(stage.status), stage.text));
        stage_lines(stage).iter().for_each(|line| text.push_str(&format!("       {line}\n")));
    }
    approval.remarks.iter().for_each(|remark| text.push_str(&format!("  {remark}\n")));
    text
}

fn stage_lines(stage: &StageNode) -> Vec<String> {
    let mut lines = Vec::new();
    lines.extend(stage.when.as_ref().map(|when| format!("when: {when}")));
    if !matches!(stage.status, Status::Open | Status::Waiting | Status::Unknown) {
        return lines;
    }
    if !stage.unlisted.is_empty() {
        let teams: Vec<String> = stage.unlisted.iter().map(|team| format!("team:{team}")).collect();
        lines.push(format!("not known: who is in {}", teams.join(", ")));
    }
    if let Some(later) = &stage.later {
        let to: Vec<String> = later.to.iter().map(ToString::to_string).collect();
        let people: Vec<String> = later.people.iter().map(ToString::to_string).collect();
        let people = if people.is_empty() { String::new() } else { format!(": {}", people.join(", ")) };
        let at = later.at.map(|at| format!(", at {}", when(at))).unwrap_or_default();
        let time = if later.working_time { " of working time" } else { "" };
        lines.push(format!("{}{time} after it opens{at}, also {}{people}", later.after, to.join(", ")));
    }
    lines
}

fn conclusion(tree: &Tree) -> String {
    let broken = tree.rules.iter().filter(|rule| rule.status == Status::Failed).count();
    let unknown = tree.rules.iter().any(|rule| rule.status == Status::Unknown);
    let open = tree.approval.iter().flat_map(|approval| &approval.stages).find(|stage| stage.status == Status::Open);
    match (broken, open) {
        (1, _) => "Refused: 1 rule is broken.".to_owned(),
        (2.., _) => format!("Refused: {broken} rules are broken."),
        (_, Some(stage)) if unknown => {
            format!("Allowed, if what is not known is so; then it waits for stage {}.", stage.name)
        }
        (_, Some(stage)) => format!("Allowed; it waits for stage {}.", stage.name),
        _ if unknown => "Allowed, if what is not known is so.".to_owned(),
        _ => match tree.verdict {
            crate::access::decide::Verdict::Approved => "Allowed, and approved.".to_owned(),
            crate::access::decide::Verdict::Objected => "Allowed, but an approver requests changes.".to_owned(),
            _ => "Allowed.".to_owned(),
        },
    }
}
