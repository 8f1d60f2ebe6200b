//! Commands in comments: what a comment asks for, and who may ask for it.
//!
//! There is no approving by comment: an approval is a code review, because only a review names the commit it was given for.
//! A comment is hostile text. What readers of the page do not see as the writer's own words is no command: what is quoted, in
//! code, in a list or in an HTML comment. So the comment is read as Markdown, by the same rules as the page shows it.

use pulldown_cmark::{Event, Options, Parser, TagEnd};

use super::approval::{ApprovalStatus, Involved, StageStatus};
use super::facts::{Account, Directory};
use super::grant::Grant;
use super::principals::{self, Needs};
use crate::policy::Policy;
use crate::policy::duration::Duration;

/// How a command begins.
const PREFIX: &str = "/daypass";
/// Characters a reason may have, as in requests.
const LONGEST_REASON: usize = 1_000;

/// What somebody asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// The request is refused.
    Deny {
        /// Why. Hostile text.
        reason: String,
    },
    /// The grant should last that much longer.
    Extend(Duration),
    /// The grant should end now.
    Revoke,
    /// Tell why it stands as it does.
    Explain,
    /// Look again.
    Recheck,
    /// The use of break-glass was looked at.
    Reviewed,
    /// Tell what can be asked for.
    Help,
}

impl Command {
    /// Its name.
    pub const fn verb(&self) -> &'static str {
        match self {
            Self::Deny { .. } => "deny",
            Self::Extend(_) => "extend",
            Self::Revoke => "revoke",
            Self::Explain => "explain",
            Self::Recheck => "recheck",
            Self::Reviewed => "reviewed",
            Self::Help => "help",
        }
    }
}

/// Why something that begins like a command is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Mistake {
    /// There is no such command.
    #[error("I do not know that command")]
    Unknown,
    /// More than one in a comment: which comes first would matter, and a comment is acted on once.
    #[error("one command a comment, please")]
    Several,
    /// A denial without a reason.
    #[error("say why: `/daypass deny REASON`")]
    NoReason,
    /// The reason is too long.
    #[error("a reason may have {LONGEST_REASON} characters")]
    LongReason,
    /// The length of an extension is missing or malformed.
    #[error("say by how much: `/daypass extend 1h`, or 30m, 1h30m, 2d")]
    NoDuration,
    /// The comment was changed: people with write access can change those of others.
    #[error("a comment that was changed commands nothing, for others can change it: write a new one")]
    Edited,
    /// Something follows a command that stands alone.
    #[error("nothing can follow `/daypass {0}`")]
    TooMuch(&'static str),
}

/// What became of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was done.
    Done,
    /// It was not: whoever gave it may not, or there is nothing to do it to.
    Refused,
    /// It is no command.
    Misunderstood,
    /// A stranger gave it. They get no answer.
    Ignored,
}

impl Outcome {
    /// All of them.
    const ALL: [Self; 4] = [Self::Done, Self::Refused, Self::Misunderstood, Self::Ignored];

    /// The word that is kept.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Refused => "refused",
            Self::Misunderstood => "misunderstood",
            Self::Ignored => "ignored",
        }
    }

    /// The outcome a word means.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.as_str() == word)
    }
}

/// What a comment asks for; `None` if it asks for nothing.
pub fn parse(comment: &str) -> Option<Result<Command, Mistake>> {
    // Most comments are about something else.
    if !comment.contains(PREFIX) {
        return None;
    }
    let mut lines = command_lines(comment).into_iter();
    let first = lines.next()?;
    Some(if lines.next().is_some() { Err(Mistake::Several) } else { parse_line(first) })
}

/// The lines that are plain text at the top of the page and begin with the prefix.
fn command_lines(comment: &str) -> Vec<&str> {
    let options = Options::ENABLE_TABLES | Options::ENABLE_FOOTNOTES | Options::ENABLE_STRIKETHROUGH;
    let mut lines = Vec::new();
    // Inside what the event is: a command stands in a paragraph that is in nothing else, and in nothing within it.
    let mut inside: Vec<TagEnd> = Vec::new();
    for (event, range) in Parser::new_ext(comment, options).into_offset_iter() {
        match event {
            Event::Start(tag) => inside.push(tag.to_end()),
            Event::End(_) => drop(inside.pop()),
            Event::Text(_) if inside == [TagEnd::Paragraph] => {
                let before = comment.get(..range.start).unwrap_or("x");
                let begins_line = before.is_empty() || before.ends_with(['\n', '\r']);
                let line = comment.get(range.start..).unwrap_or_default();
                let line = line.split(['\n', '\r']).next().unwrap_or_default();
                let rest = line.strip_prefix(PREFIX).filter(|_| begins_line);
                if rest.is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t'])) {
                    lines.push(line);
                }
            }
            _ => {}
        }
    }
    lines
}

fn parse_line(line: &str) -> Result<Command, Mistake> {
    let rest = line.strip_prefix(PREFIX).unwrap_or_default().trim();
    let (verb, rest) = rest.split_once([' ', '\t']).unwrap_or((rest, ""));
    let rest = rest.trim();
    let alone = |verb, command| if rest.is_empty() { Ok(command) } else { Err(Mistake::TooMuch(verb)) };
    match verb {
        "deny" if rest.is_empty() => Err(Mistake::NoReason),
        "deny" if rest.chars().count() > LONGEST_REASON => Err(Mistake::LongReason),
        "deny" => Ok(Command::Deny { reason: rest.to_owned() }),
        "extend" => rest.parse().map(Command::Extend).map_err(|_| Mistake::NoDuration),
        "revoke" => alone("revoke", Command::Revoke),
        "explain" => alone("explain", Command::Explain),
        "recheck" => alone("recheck", Command::Recheck),
        "help" => alone("help", Command::Help),
        "reviewed" => alone("reviewed", Command::Reviewed),
        _ => Err(Mistake::Unknown),
    }
}

/// What has to be read before it can be told who may end or extend these grants.
pub fn needs<'a>(grants: impl IntoIterator<Item = &'a Grant>, policy: &Policy) -> Needs {
    let mut needs = Needs::default();
    for role in grants.into_iter().filter_map(|grant| policy.roles.get(&grant.role)) {
        needs.extend([Needs::of_role(role, policy)]);
    }
    needs
}

/// Whether somebody may ask for a grant to be extended: the subject and the requester.
pub fn may_extend(grant: &Grant, account: &Account) -> bool {
    *account == grant.subject || *account == grant.requester
}

/// Whether somebody may deny a request: whoever may approve one of its stages, now or later. Who has a hand in it may not; they
/// close it.
pub fn may_deny<'a>(
    approvals: impl IntoIterator<Item = &'a ApprovalStatus>,
    account: &Account,
    involved: &Involved,
    policy: &Policy,
    directory: &Directory,
) -> bool {
    let may = |stage: &StageStatus| {
        principals::includes(&stage.approvers, account, policy, directory) || stage.later.contains(account)
    };
    !account.bot
        && involved.how(account).is_none()
        && approvals.into_iter().flat_map(|approval| &approval.stages).any(may)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(comment: &str) -> Option<Command> {
        parse(comment).and_then(Result::ok)
    }

    #[test]
    fn commands_are_lines_of_a_comment() {
        assert_eq!(parsed("/daypass revoke"), Some(Command::Revoke));
        assert_eq!(parsed("Thanks!\r\n\r\n/daypass  extend 1h30m \r\n"), Some(Command::Extend(Duration::minutes(90))));
        assert_eq!(parsed("Not now.\n/daypass explain\nThanks"), Some(Command::Explain));
        let reason = "use the *replica*, `orders-ro` <!-- x -->".to_owned();
        assert_eq!(parsed(&format!("/daypass deny {reason}")), Some(Command::Deny { reason }));
    }

    #[test]
    fn what_is_not_said_in_ones_own_words_is_no_command() {
        for comment in [
            "please /daypass revoke",
            "/daypassrevoke",
            "> /daypass revoke",
            "> as you said\n/daypass revoke",
            "```\n/daypass revoke\n```",
            "~~~text\n\n/daypass revoke",
            "    /daypass revoke",
            "\t/daypass revoke",
            "<!--\n/daypass revoke\n-->",
            "hidden <!--\n/daypass revoke\n--> text",
            "<pre>\n/daypass revoke\n</pre>",
            "`see\n/daypass revoke`",
            "**see\n/daypass revoke**",
            "~~see\n/daypass revoke~~",
            "- one\n/daypass revoke",
            "1. one\n\n   /daypass revoke",
            "# /daypass revoke",
            "[^1]: note\n/daypass revoke",
            "|a|\n|-|\n/daypass revoke",
            "[/daypass revoke](http://x)",
            "\u{200b}/daypass revoke",
            "/d\u{430}ypass revoke",
            "",
        ] {
            assert_eq!(parse(comment), None, "{comment:?}");
        }
    }

    #[test]
    fn mistakes_are_told_apart() {
        for (comment, mistake) in [
            ("/daypass", Mistake::Unknown),
            ("/daypass approve", Mistake::Unknown),
            ("/daypass Revoke", Mistake::Unknown),
            ("/daypass revoke now", Mistake::TooMuch("revoke")),
            ("/daypass deny", Mistake::NoReason),
            ("/daypass extend", Mistake::NoDuration),
            ("/daypass extend -1h", Mistake::NoDuration),
            ("/daypass extend 1h please", Mistake::NoDuration),
            ("/daypass revoke\n\n/daypass help", Mistake::Several),
        ] {
            assert_eq!(parse(comment), Some(Err(mistake)), "{comment:?}");
        }
        let long = format!("/daypass deny {}", "x".repeat(LONGEST_REASON + 1));
        assert_eq!(parse(&long), Some(Err(Mistake::LongReason)));
    }

    proptest::proptest! {
        #[test]
        fn no_comment_is_too_strange(text in "[-> `~*_#\\[\\]<!/dapsy\n\t\u{e9}]{0,80}", tail in "( revoke| deny .{0,20})?") {
            let _ = parse(&format!("{text}\n/daypass{tail}"));
        }

        #[test]
        fn a_quote_never_commands(text in "[a-z /.\n]{0,60}") {
            let quoted: String = format!("{text}\n/daypass revoke").lines().map(|line| format!("> {line}\n")).collect();
            proptest::prop_assert_eq!(parse(&quoted), None);
        }
    }
}
