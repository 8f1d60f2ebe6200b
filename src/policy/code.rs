//! The codes of findings: stable, each with what it means. One table feeds findings, `daypass explain CODE` and
//! `docs/findings.md`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

macro_rules! codes {
    ($($name:ident = $code:literal, $title:literal, $explanation:literal;)*) => {
        /// A finding's stable code.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Code {
            $(#[doc = $title] #[serde(rename = $code)] $name,)*
        }

        impl Code {
            /// Every code, in order.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The code as text: `DP0101`.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            /// A headline.
            pub const fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)* }
            }

            /// What it means and what to do.
            pub const fn explanation(self) -> &'static str {
                match self { $(Self::$name => $explanation,)* }
            }
        }
    };
}

codes! {
    Encoding = "DP0101", "The file is not plain UTF-8 text", "Files are UTF-8 without a byte order mark of another encoding and without NUL. Save the file as UTF-8.";
    TooLarge = "DP0102", "The file is too large to be read", "A policy file may have 256 KiB, a file of facts too; all policy files together 4 MiB, in 2000 files. Split a file into several; make what is alike from a table by `for_each`.";
    Syntax = "DP0103", "The YAML cannot be read", "The text is no YAML, or uses what is refused because it hides meaning: anchors, aliases, several documents in one file, deep nesting.";
    UnknownKey = "DP0104", "A key is not known", "Keys are never ignored: a misspelt key would silently mean nothing. Check the spelling against the reference.";
    DuplicateKey = "DP0105", "A key is there twice", "Only one of them could count, and readers could not tell which. Remove one.";
    MissingKey = "DP0106", "A required key is missing", "Add the key the message names.";
    WrongType = "DP0107", "A value has the wrong kind", "The message says what kind of value is expected there.";
    BadName = "DP0108", "A name is malformed", "Names are lower-case letters, digits, `-` and `_`; logins and team slugs are as on GitHub.";
    BadDuration = "DP0109", "A duration is malformed", "Write 30m, 2h, 1h30m, 3d or ISO 8601 (PT2H). It must be positive and at most 366d.";
    BadTime = "DP0110", "A time is malformed", "Write RFC 3339 with a time zone: 2026-12-01T22:00:00Z.";
    HiddenText = "DP0111", "A text has invisible or control characters", "Characters that turn, hide or overwrite text mislead reviewers. Type the text again.";
    BadText = "DP0112", "A text is empty or too long", "A reason has 1 to 1000 characters, a ticket 1 to 200, a parameter 1 to 255.";
    UnknownVersion = "DP0113", "The policy is written for another version", "This Daypass reads `version: 1`. Update Daypass, or remove the key.";
    WrongExtension = "DP0114", "A policy file does not end in .yaml", "Only `policies/**/*.yaml` is read; anything else there would look like policy without being any.";
    DefinedTwice = "DP0201", "A name is defined twice", "Both places are shown. Rename or remove one.";
    UnknownRole = "DP0202", "A role does not exist", "Check the spelling; `daypass validate` lists near names.";
    UnknownGroup = "DP0203", "A group does not exist", "Define it under `groups`, or correct the spelling.";
    UnknownTarget = "DP0204", "A target does not exist", "Name it under `targets`, or correct the spelling.";
    UnknownApproval = "DP0205", "An approval rule does not exist", "Define it under `approvals`, or correct the spelling.";
    GroupCycle = "DP0206", "Groups contain each other in a circle", "Remove one of the references. Groups in groups are followed 32 deep.";
    KindMismatch = "DP0207", "An entitlement does not fit its target", "The key of the entitlement must be the kind of the target it names.";
    TargetNotConfigured = "DP0208", "A target is not configured on the server", "The operator adds it to `targets` in daypass.yaml, with the same kind.";
    AboveCeiling = "DP0209", "A ceiling is above the ceiling over it", "The lower one counts. Lower the upper one, or raise `settings.max_duration`.";
    BadStage = "DP0210", "An approval stage cannot work", "It needs at least one approver, and at least as many possible approvers as it requires.";
    UnusedApproval = "DP0211", "An approval rule is never used", "No role and no setting names it. Use it or remove it.";
    NobodyMayRequest = "DP0212", "Nobody may request a role", "Add `requesters`, or remove the role.";
    NoEntitlements = "DP0213", "A role gives nothing", "Add at least one entitlement.";
    OnlySelfApproval = "DP0214", "Only the requester could approve", "The stage names only people who may request the role and nobody else; nobody approves their own request.";
    PolicyApprovalOpen = "DP0215", "Anybody could change the policy", "`settings.policy_approval` must name a rule with at least one stage.";
    TestFails = "DP0216", "A test of the policy fails", "The policy decides something else than its owners wrote down under `tests`. `daypass test` shows what was expected and what was found. Mend the policy, or, if the new decision is what you want, the test.";
    UnknownTemplate = "DP0217", "What a role extends does not exist", "Define it under `templates`, or correct the spelling.";
    ExtendsCircle = "DP0218", "Roles extend each other in a circle", "Remove one of the references. Templates are followed 32 deep.";
    UnclearInheritance = "DP0219", "A role inherits different things", "Two of those it extends say something different, and the role itself says nothing. Both places are shown. Say in the role which one holds.";
    BadTable = "DP0220", "A table cannot be used", "A table is a list of rows, each with a value for every column. `${each.COLUMN}` stands for a value; the name of what is made from several rows must hold one.";
    NoSuchThing = "DP0221", "A target can never take this name", "A PostgreSQL role has 1 to 63 bytes, a team is a slug as in its address on GitHub, an SSH principal has letters, digits and `- _ . @ : +`.";
    BadPerson = "DP0222", "A name of a person is malformed", "An e-mail address is one, an SSH key is in OpenSSH format (`ssh-ed25519 AAAA…`), names have no blanks around them and no control characters.";
    BadCalendar = "DP0223", "A calendar cannot be read", "It needs a `time_zone` such as `Europe/Berlin`, and hours such as `09:00-17:00` that end after they begin.";
    UnknownCalendar = "DP0224", "A calendar does not exist", "Define it under `calendars`, or correct the spelling.";
    BadLimit = "DP0225", "A limit of a role cannot be used", "A `limit` is from 1 to 10000. Remove `requesters` to stop requests.";
    BadExpression = "DP0301", "An expression does not compile", "The message points at the place. Expressions are CEL.";
    UnknownName = "DP0302", "An expression uses an unknown name", "Known are request, subject, role, now, pull_request, params, person and the functions of the reference.";
    ExpressionTooLarge = "DP0303", "An expression is too large", "At most 1024 characters, 100 operators, and loops inside loops two deep; and no more work than three million steps.";
    TypeError = "DP0304", "The types in an expression do not fit", "A condition is true or false; a duration is compared with a duration (`duration('2h')`), a timestamp with a timestamp. The reference of expressions lists the types of all names and functions.";
    AlwaysTrue = "DP0305", "An expression is always true", "It refuses nobody, though whoever wrote it expected it to. If only a part of the expression is, the message says what follows for the whole.";
    AlwaysFalse = "DP0306", "An expression is always false", "Nobody can ever meet a condition that is always false, and a stage with it never counts. If only a part of the expression is, the message says what follows for the whole. Often a name is misspelt.";
    NamelessTeams = "DP0307", "An expression asks for teams without naming them", "Daypass knows who is in the teams that the policy names, and in no others. Written like this, the expression sees only those: whom it should exclude, it may not exclude. Name the team: `'sre' in subject.teams`.";
    RequesterNotAllowed = "DP0401", "This person may not have this role", "The role's `requesters` (or `break_glass.requesters`) do not include them.";
    OnBehalfNotAllowed = "DP0402", "Requesting for somebody else is not allowed", "Only whom the role's `may_request_for` names may do that.";
    UnknownAccount = "DP0403", "There is no such account", "Check the spelling of the login.";
    DurationTooLong = "DP0404", "The duration is above the ceiling", "Ask for less time; a grant can be renewed by another request.";
    TicketMissing = "DP0405", "A ticket is required", "Add `ticket: …`.";
    StartMissing = "DP0406", "A start is required", "Add `start: 2026-12-01T22:00:00Z`; the role is for planned windows.";
    ConditionFalse = "DP0407", "A condition of the role is not met", "The message says which.";
    ConditionFailed = "DP0408", "A condition cannot be evaluated", "That counts as no. A policy owner mends the expression.";
    UnknownParam = "DP0409", "A parameter is not declared", "The role declares its parameters under `params`.";
    MissingParam = "DP0410", "A parameter is missing", "Add it under `params`.";
    BadParam = "DP0411", "A parameter has a value that is not allowed", "The message says which values are.";
    BreakGlassNotAllowed = "DP0412", "The role has no emergency path", "Remove `break_glass: true` and await approval.";
    MappingMissing = "DP0413", "The person has no name in a target", "A policy owner adds it under `people`.";
    EntitlementFailed = "DP0414", "An entitlement cannot be worked out", "An expression in it failed, or gave a text that cannot be used.";
    NobodyCanApprove = "DP0415", "Nobody could approve this request", "Whoever asks, gets the access or contributed a commit cannot approve.";
    StartTooFar = "DP0416", "The start is too far away", "Plan at most 90 days ahead: approval ages.";
    WindowOver = "DP0417", "The window is over already", "Choose a later `start`.";
    RoleChanged = "DP0418", "The role no longer gives what was approved", "The role was changed between the approval and the planned start. Ask again; reviewers then see what it gives now.";
    MachineRefused = "DP0419", "A machine may not ask for this, or not like this", "Bots and AI agents have no emergencies, and need a human approval: where nobody has to approve, they get nothing.";
    DeniedRecently = "DP0420", "The same request was denied a short while ago", "The approval rule has a `cool_down`. Talk to whoever denied it, or wait.";
    RoleFull = "DP0421", "As many as may have the role at once have it", "The role has a `limit`. Wait until somebody gives it back, or ask them to.";
    GlassPlanned = "DP0422", "An emergency cannot be planned", "Remove `start`, or ask in the ordinary way.";
    MixedPullRequest = "DP0501", "Grants and policies are changed together", "Open two pull requests; they are approved by different people.";
    OutsideGrants = "DP0502", "A request carries something else along", "A request may only change files in `grants/`.";
    GrantPath = "DP0503", "A path in grants/ is no grant file", "Only `grants/<slug>.yaml` may be there.";
    FileMode = "DP0504", "A file is a link, a submodule or executable", "Commit it as a plain file.";
    FileTooLarge = "DP0505", "A grant file is too large", "A request is a dozen lines of YAML; 64 KiB are read at most.";
    CommitAuthorUnknown = "DP0506", "The author of a commit is unknown", "GitHub knows no account for its e-mail address, so it cannot be told whether an approver wrote it.";
    PolicyChangeNotAllowed = "DP0507", "Nobody can approve changes to the policy", "Set `settings.policy_approval`.";
    GrantOfAnother = "DP0508", "The file holds somebody else's running grant", "Use another file name. Only whoever may end that grant may put another in its place.";
    TooMuch = "DP0509", "The pull request is too large to be judged", "GitHub lists at most 250 commits and 3000 files of a pull request. A request is one small file; open a new pull request.";
    NotAnExtension = "DP0510", "The pull request does not extend what it should", "Daypass opens it to change the duration of a running grant and nothing else, and only that is judged as an extension. If somebody changed more on its branch, close it and comment `/daypass extend 1h` again.";
    PolicyNotInForce = "DP0511", "The pull request would bring a policy along that nobody approved", "The default branch holds a change of the policy that came without approval, and does not count. Daypass takes it back by a pull request of its own; then this one is judged again. Or undo it here.";
    PolicyBranchBehind = "DP0512", "The default branch has changed the same policy file since", "What is merged would be neither what the reviewers read nor what is there now. Bring the branch up to date and have it approved as it is then.";
    UnusedGroup = "DP0601", "A group is never used", "No role, rule, other group or expression names it. Use it or remove it.";
    UnusedTarget = "DP0602", "A target is never used", "No role gives anything on it. Use it or remove it.";
    UnusedTemplate = "DP0603", "A template or table is never used", "Nothing extends the template, or no `for_each` names the table. Use it or remove it.";
    CriticalWithoutApproval = "DP0604", "A critical role may need nobody's approval", "Its approval rule has no stage, or every stage has a `when` that may be false. Add a stage that always counts.";
    EveryoneMayRequest = "DP0605", "Everybody may request or approve a role that can do much harm", "Name teams or groups instead of `everyone`, also in groups and escalations, or lower the `risk`.";
    TooFewPeople = "DP0606", "A rule needs more different people than it names", "One person satisfies one stage at most, so all stages together need as many people as they require. Name more people.";
    NeverApproved = "DP0607", "Some people's requests can never be approved", "Nobody approves their own request, and without them the stage has too few people. Name more people.";
    SharedMapping = "DP0608", "Two people are the same elsewhere", "What one of them is granted, the other has too, and it ends for both. Give each a name of their own.";
    RoleOverlap = "DP0609", "A role makes another pointless", "It gives everything the other gives, to the same people on the same terms, so nobody will ask for less. Give the larger role a higher risk or a stricter approval, or drop one. Of roles by the thousand that all give the same under one rule, not every pair is compared.";
    UnusedAllowance = "DP0610", "An allowance silences nothing", "No warning of this code comes up there any more; errors cannot be silenced. Remove it.";
    UnusedParam = "DP0611", "A parameter is never used", "No condition and no entitlement of the role asks for it: what people write there changes nothing. Use it or remove it.";
    PointlessBreakGlass = "DP0612", "An emergency path saves nothing", "The role is approved at once anyway. Remove `break_glass`.";
    CeilingUnused = "DP0613", "A ceiling is far above what anybody ever asked for", "Every request for the role in history was for a quarter of its `max_duration` or less. Lower the ceiling: what nobody needs can only do harm.";
    GivesApproval = "DP0614", "A role gives away the right to approve", "It makes its subject a member of a team that approves it, or changes of the policy. Whoever has it once can let others in. Let another team approve.";
    Unchangeable = "DP0615", "Nobody can change the policy", "Without `settings.policy_approval` no pull request that changes `policies/` can pass, not even one that adds it. Name an approval rule with at least one stage.";
    SaidTwice = "DP0616", "A list has the same entry twice", "The second one changes nothing; perhaps somebody else was meant. Remove it.";
    OpenToEveryone = "DP0617", "Everybody may approve changes of the policy", "Each stage of `settings.policy_approval` can be satisfied by any member of the organisation, at once or after it has waited: two who agree can give themselves everything. Name a team or people in one of the stages.";
    UnusedCalendar = "DP0618", "A calendar is never used", "No escalation names it. Use it or remove it.";
    IdleEscalation = "DP0619", "A stage widens in vain", "Either the request is closed before that (`settings.pending_timeout`), or those it widens to may approve already. Let it widen sooner, or to others.";
    SameStageTwice = "DP0620", "Two stages ask for the same approval", "The rule says `distinct: false` and both stages have the same approvers: whoever approves one, approves the other with the same review. Remove one of them, or `distinct: false`.";
    IdleCoolDown = "DP0621", "A cool-down is about nothing", "`cool_down` is about requests for roles, and the rule serves changes of the policy only. Remove it.";
    BotApprover = "DP0622", "A bot is named where people approve", "Apps never approve. Name people or teams.";
    SponsorsDropped = "DP0623", "A role drops the sponsors it would inherit", "`machines` is inherited as a whole: the role says something of its own and so has none of the sponsors of what it extends. Repeat them, or write `sponsors: []` if that is meant.";
}

/// Not one of the codes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a code; codes look like DP0101")]
pub struct UnknownCode(String);

impl FromStr for Code {
    type Err = UnknownCode;
    fn from_str(text: &str) -> Result<Self, UnknownCode> {
        let known = Self::ALL.iter().find(|code| code.as_str().eq_ignore_ascii_case(text));
        known.copied().ok_or_else(|| UnknownCode(text.chars().take(40).collect()))
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `UPDATE_DOCS=1 cargo test` writes the page anew.
    #[test]
    fn the_page_of_findings_is_current() {
        let mut page = String::from("# Findings\n\nEvery code Daypass can print, what it means and what to do.\n");
        for code in Code::ALL {
            page.push_str(&format!("\n## {code}: {}\n\n{}\n", code.title(), code.explanation()));
        }
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/findings.md");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(path, &page).unwrap();
        }
        assert_eq!(std::fs::read_to_string(path).unwrap_or_default(), page, "run with UPDATE_DOCS=1");
    }

    #[test]
    fn codes_are_in_order_and_unique() {
        assert!(Code::ALL.windows(2).all(|pair| pair[0].as_str() < pair[1].as_str()));
    }
}
