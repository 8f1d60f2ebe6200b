//! A request as written in `grants/<slug>.yaml`, parsed but not yet judged.

use std::collections::BTreeMap;
use std::marker::PhantomData;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::model::ParamValue;
use super::name::{Login, NameError, ParamName, RoleName, Slug};
use super::suggest::suggest;
use super::yaml::{self, At, Decode, Entries, Node, Report, Schemas, document};
use super::{Code, Duration, Finding, Place, Policy, Severity};

/// The largest grant file that is read, in bytes.
pub const GRANT_LIMIT: usize = 64 * 1024;

/// Parameters a request may have.
pub(super) const MOST_PARAMS: usize = 50;

/// Characters of a reason, a ticket and the value of a parameter.
pub(super) const LONGEST_REASON: usize = 1_000;
pub(super) const LONGEST_TICKET: usize = 200;
const LONGEST_PARAM: usize = 255;

/// What somebody asks for. Well formed in itself; whether it is allowed is for `access::decide`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// From the file's name.
    pub slug: Slug,
    /// Who gets access; `None` means the pull request's author.
    pub subject: Option<Login>,
    /// The role asked for.
    pub role: RoleName,
    /// For how long.
    pub duration: Duration,
    /// Why. Never empty; hostile text, escape it wherever it is shown.
    pub reason: String,
    /// The ticket, if given. Hostile text.
    pub ticket: Option<String>,
    /// Access begins here, or at the merge if that is later.
    pub start: Option<DateTime<Utc>>,
    /// Asks for the emergency path.
    pub break_glass: bool,
    /// Values for the role's parameters.
    pub params: BTreeMap<ParamName, ParamValue>,
    /// Where each field's value stands in the file, by field name (`params.NAME` for parameters), so that a judgement can
    /// point at the line it is about.
    #[serde(skip)]
    pub places: BTreeMap<String, Place>,
}

impl Request {
    /// The path of the request's file in the policy repository.
    pub fn path(&self) -> String {
        path_of(&self.slug)
    }

    /// Where `field` stands; the whole file if it was left out.
    pub fn place(&self, field: &str) -> Place {
        self.places.get(field).copied().unwrap_or_default()
    }
}

/// The path of the grant file `slug` in the policy repository.
pub fn path_of(slug: &Slug) -> String {
    format!("grants/{slug}.yaml")
}

document! {
    /// A request: one file of `grants/`. On the default branch it is a live grant; removing it revokes.
    pub(crate) struct RequestFile, "a request" {
        /// Who gets access: a GitHub login. Left out: whoever opens the pull request.
        subject: Option<Written<Login>> = None,
        /// The role asked for.
        role: Written<RoleName>,
        /// For how long: `30m`, `2h`, `1h30m`, `3d`, or ISO 8601 (`PT2H`).
        duration: Written<Duration>,
        /// Why, in a sentence reviewers understand.
        reason: Sentence<LONGEST_REASON>,
        /// The ticket it is for, where the role requires one.
        ticket: Option<Sentence<LONGEST_TICKET>> = None,
        /// When access begins, RFC 3339: for a planned maintenance window. Left out: at the merge.
        start: Option<Written<DateTime<Utc>>> = None,
        /// Asks for the emergency path: nobody has to approve, and the use is reviewed afterwards.
        break_glass: Option<At<bool>> = None,
        /// Values for the role's parameters.
        params: Entries<Written<ParamName>, Chosen> = Entries::default(),
    }
}

/// A text that will be read as a `T`, when its place can be told with what is wrong.
#[derive(Debug, Clone)]
pub(crate) struct Written<T>(PhantomData<T>);

impl<T: Decode> Decode for Written<T> {
    fn decode(node: &Node, report: &mut Report) -> Option<Self> {
        String::decode(node, report).map(|_| Self(PhantomData))
    }

    fn schema(schemas: &mut Schemas) -> serde_json::Value {
        T::schema(schemas)
    }
}

/// A text for people, of so many characters at most.
#[derive(Debug, Clone)]
pub(crate) struct Sentence<const LONGEST: usize>;

impl<const LONGEST: usize> Decode for Sentence<LONGEST> {
    fn decode(node: &Node, report: &mut Report) -> Option<Self> {
        String::decode(node, report).map(|_| Self)
    }

    fn schema(_: &mut Schemas) -> serde_json::Value {
        json!({ "type": ["string", "number"], "pattern": sentence(LONGEST) })
    }
}

/// The pattern of texts that have 1 to `longest` characters without the blanks around them.
pub(super) fn sentence(longest: usize) -> String {
    format!(r"^\s*\S([\s\S]{{0,{}}}\S)?\s*$", longest.saturating_sub(2))
}

/// The value of a parameter.
#[derive(Debug, Clone)]
pub(crate) struct Chosen;

impl Decode for Chosen {
    fn decode(node: &Node, report: &mut Report) -> Option<Self> {
        ParamValue::decode(node, report).map(|_| Self)
    }

    fn schema(_: &mut Schemas) -> serde_json::Value {
        json!({ "type": ["string", "number", "boolean"], "minLength": 1, "maxLength": LONGEST_PARAM })
    }
}

/// Collects what is wrong while a request is read.
struct Reader<'a> {
    path: &'a str,
    findings: Vec<Finding>,
    places: BTreeMap<String, Place>,
}

impl Reader<'_> {
    fn refuse(&mut self, place: Place, code: Code, message: String, help: &str) {
        let (file, help) = (self.path.to_owned(), help.to_owned());
        self.findings.push(Finding { file, place, severity: Severity::Error, code, message, help });
    }

    fn parse<T: std::str::FromStr>(&mut self, field: &str, text: &At<String>, code: Code) -> Option<T>
    where
        T::Err: std::fmt::Display,
    {
        self.places.insert(field.to_owned(), text.place());
        match text.parse() {
            Ok(value) => Some(value),
            Err(error) => {
                self.refuse(text.place(), code, format!("`{field}`: {error}"), "");
                None
            }
        }
    }

    /// A text for people: not empty, not endless, nothing in it that hides or turns what reviewers see.
    fn text(&mut self, field: &str, text: &At<String>, longest: usize) -> String {
        let place = text.place();
        self.places.insert(field.to_owned(), place);
        // The blank of braille looks like nothing, too.
        let length = text.trim_matches(|c: char| c.is_whitespace() || c == '\u{2800}').chars().count();
        if length == 0 || length > longest {
            let message = format!("`{field}` must have 1 to {longest} characters; it has {length}");
            self.refuse(place, Code::BadText, message, "");
        }
        if let Some(c) = text.chars().find(|c| is_deceptive(*c)) {
            let message = format!("`{field}` has the invisible or control character U+{:04X}", u32::from(c));
            self.refuse(place, Code::HiddenText, message, Code::HiddenText.explanation());
        }
        text.trim().to_owned()
    }
}

/// Control characters except line breaks and tabs, and characters that turn, join or hide text (Unicode TR 36 and 39).
pub(crate) fn is_deceptive(c: char) -> bool {
    (c.is_control() && !matches!(c, '\n' | '\r' | '\t'))
        || matches!(c, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}'
            | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

/// Reads the request in the file at `path`. With a policy, near names are suggested; whether it is allowed is judged elsewhere.
pub fn read(path: &str, bytes: &[u8], policy: Option<&Policy>) -> Result<Request, Vec<Finding>> {
    match read_in_part(path, bytes, policy) {
        (Some(request), findings) if findings.is_empty() => Ok(request),
        (_, findings) => Err(findings),
    }
}

/// The same, with what can be read of a request in which something is wrong: never to be granted, only to find what else is.
pub(super) fn read_in_part(path: &str, bytes: &[u8], policy: Option<&Policy>) -> (Option<Request>, Vec<Finding>) {
    let mut reader = Reader { path, findings: Vec::new(), places: BTreeMap::new() };
    let slug: Option<Slug> =
        path.strip_prefix("grants/").and_then(|name| name.strip_suffix(".yaml")).and_then(|stem| stem.parse().ok());
    let Some(slug) = slug else {
        let message = "only `grants/<slug>.yaml` may be in `grants/`".to_owned();
        reader.refuse(Place::default(), Code::GrantPath, message, "Name it with lower-case letters, digits and `-`.");
        return (None, reader.findings);
    };
    let node = match yaml::read(path, bytes, GRANT_LIMIT) {
        Ok(node) => node,
        // A request has a code of its own for that.
        Err(finding) if finding.code == Code::TooLarge => {
            let (code, help) = (Code::FileTooLarge, Code::FileTooLarge.explanation().to_owned());
            return (None, vec![Finding { code, help, ..finding }]);
        }
        Err(finding) => return (None, vec![finding]),
    };
    // What is wrong with the shape of one field does not hide what is wrong with another.
    let mut shape = Report::default();
    RequestFile::decode(&node, &mut shape);
    let role = field(&node, "role").and_then(|text| role(&mut reader, &text, policy));
    let duration = field(&node, "duration").and_then(|text| reader.parse("duration", &text, Code::BadDuration));
    let subject: Option<Login> = field(&node, "subject").and_then(|text| reader.parse("subject", &text, Code::BadName));
    let reason = field(&node, "reason").map(|text| reader.text("reason", &text, LONGEST_REASON));
    let ticket = field(&node, "ticket").map(|ticket| reader.text("ticket", &ticket, LONGEST_TICKET));
    let start = field(&node, "start").and_then(|text| start(&mut reader, &text));
    let break_glass: Option<At<bool>> = field(&node, "break_glass");
    if let Some(at) = &break_glass {
        reader.places.insert("break_glass".to_owned(), at.place());
    }
    let params = field(&node, "params").map(|written| params(&mut reader, &written)).unwrap_or_default();
    let mut findings = shape.findings;
    findings.append(&mut reader.findings);
    findings.sort();
    let places = reader.places;
    let request = role.zip(duration).zip(reason).map(|((role, duration), reason)| Request {
        slug,
        subject,
        role,
        duration,
        reason,
        ticket,
        start,
        break_glass: break_glass.is_some_and(|value| *value),
        params,
        places,
    });
    (request, findings)
}

/// A field, if it is there and of the right kind.
fn field<T: Decode>(node: &Node, name: &str) -> Option<T> {
    T::decode(node.get(name)?, &mut Report::default())
}

fn role(reader: &mut Reader<'_>, text: &At<String>, policy: Option<&Policy>) -> Option<RoleName> {
    reader.places.insert("role".to_owned(), text.place());
    match text.parse::<RoleName>() {
        Ok(role) => Some(role),
        Err(error) => {
            let near = policy.and_then(|policy| suggest(text, policy.roles.keys().map(RoleName::as_str)));
            let help = near.map(|near| format!("Did you mean `{near}`?")).unwrap_or_default();
            reader.refuse(text.place(), Code::BadName, error.to_string(), &help);
            None
        }
    }
}

fn start(reader: &mut Reader<'_>, text: &At<String>) -> Option<DateTime<Utc>> {
    reader.places.insert("start".to_owned(), text.place());
    match DateTime::parse_from_rfc3339(text.trim()) {
        // Whole seconds: certificates know nothing finer.
        Ok(time) => DateTime::from_timestamp(time.timestamp(), 0),
        Err(_) => {
            let shown: String = text.chars().filter(|c| !is_deceptive(*c)).take(60).collect();
            let message = format!("`start`: {shown:?} is not a time");
            reader.refuse(text.place(), Code::BadTime, message, Code::BadTime.explanation());
            None
        }
    }
}

fn params(reader: &mut Reader<'_>, file: &Entries<String, At<ParamValue>>) -> BTreeMap<ParamName, ParamValue> {
    let mut params = BTreeMap::new();
    if let Some((name, _)) = file.0.get(MOST_PARAMS) {
        let message = format!("the request has {} parameters; at most {MOST_PARAMS} are read", file.0.len());
        reader.refuse(name.place(), Code::BadText, message, "No role has that many.");
        return params;
    }
    for (name, value) in &file.0 {
        let Some(value) = value else { continue };
        let parsed: Result<ParamName, NameError> = name.parse();
        match parsed {
            Ok(parsed) => {
                reader.places.insert(format!("params.{parsed}"), value.place());
                let found = reader.findings.len();
                if let ParamValue::String(text) = &**value {
                    let length = text.chars().count();
                    if length == 0 || length > LONGEST_PARAM {
                        let message =
                            format!("parameter `{parsed}` must have 1 to {LONGEST_PARAM} characters; it has {length}");
                        reader.refuse(value.place(), Code::BadText, message, "");
                    }
                    if text.chars().any(|c| is_deceptive(c) || c.is_control()) {
                        let message = format!("parameter `{parsed}` has invisible or control characters");
                        reader.refuse(value.place(), Code::HiddenText, message, Code::HiddenText.explanation());
                    }
                }
                if reader.findings.len() == found {
                    params.insert(parsed, (**value).clone());
                }
            }
            Err(error) => reader.refuse(name.place(), Code::BadName, error.to_string(), ""),
        }
    }
    params
}
