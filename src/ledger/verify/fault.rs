//! What can be wrong with the record, each with a code that stays.

use serde::Serialize;

use crate::ledger::branch::LinePlace;
use crate::policy::Severity;

macro_rules! codes {
    ($($name:ident = $code:literal, $title:literal, $explanation:literal;)*) => {
        /// A code.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        pub enum FaultCode {
            $(#[doc = $title] #[serde(rename = $code)] $name,)*
        }

        impl FaultCode {
            /// Every code, in order.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The code as text: `DP0701`.
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
    Line = "DP0701", "A line of the ledger cannot be read", "Daypass did not write it like that. `git log -p` of the branch shows who did; what else is on record is not affected.";
    Edited = "DP0702", "An event was edited", "What the line says and what it is tied to do not fit. `git log -p` of the branch shows the commit that changed it, and what it said before.";
    Gap = "DP0703", "An event is missing", "Numbers have no gaps: a line was dropped. An older clone may have it.";
    Order = "DP0704", "Events are out of order", "Lines were moved: Daypass only appends.";
    Rewritten = "DP0705", "A commit does more than append to the ledger", "Daypass only appends. The commits that are named show what was there before. A ruleset that lets Daypass alone push to `daypass/ledger` prevents it.";
    Contradicted = "DP0706", "A revert quotes another ledger", "The default branch remembers a ledger that is not this one: the branch was written anew. An older clone has what it was.";
    Author = "DP0707", "Somebody else wrote to the ledger", "Only Daypass writes to `daypass/ledger`. Look at what that commit changes.";
    Clock = "DP0708", "A time cannot be right", "Events are in order of time, and none is from after the commit that brought it. A clock was wrong, or a time was edited.";
    NotInHistory = "DP0709", "What is on record is not in the history", "The default branch was rewritten, or the event invented. An older clone may have the commit.";
    NotOnRecord = "DP0710", "What is in the history is not on record", "Each grant, end and change of policy has an event: one was dropped, Daypass was not running, or the history was changed behind its back.";
    Doubled = "DP0711", "An event is on record twice", "Each event is recorded once: somebody else added one.";
    Partial = "DP0712", "Not everything could be looked at", "The message says what was left out, and what to do.";
}

/// One thing that is wrong, in the shape of every finding of Daypass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// The file of the ledger; empty if it is about none.
    pub file: String,
    /// The line, from 1; 0 for none.
    pub line: u32,
    /// Always 0: lines are long.
    pub column: u32,
    /// How bad it is.
    pub severity: Severity,
    /// The code.
    pub code: FaultCode,
    /// What is wrong, with the events and commits.
    pub message: String,
    /// What it means and what to do.
    pub help: &'static str,
}

impl Fault {
    pub(super) fn new(code: FaultCode, severity: Severity, place: Option<LinePlace>, message: String) -> Self {
        Self {
            file: place.map(|place| place.file.to_string()).unwrap_or_default(),
            line: place.map_or(0, |place| place.line),
            column: 0,
            severity,
            code,
            message,
            help: code.explanation(),
        }
    }
}
