//! The evidence of the record, arranged by the controls auditors ask about.
//!
//! Each control says what the record shows for it, and what it does not: no control is met by a record alone, and most are about
//! more than the access that Daypass gives. References: AICPA Trust Services Criteria (2017, points of focus of 2022), 45 CFR Part 164
//! Subpart C, ISO/IEC 27001:2022 Annex A, PCI DSS v4.0.1.

use std::fmt;

use chrono::TimeDelta;

use super::plot::escape;
use super::{Given, Noted, Report, length, percentile};
use crate::ledger::event::EventKind;
use crate::ledger::tell::when;

/// Rows of a table; what is more is counted, and `daypass audit export` has it.
const MOST_ROWS: usize = 200;

/// A set of controls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Framework {
    /// AICPA Trust Services Criteria, as SOC 2 reports use them.
    Soc2,
    /// The Security Rule, 45 CFR Part 164 Subpart C.
    Hipaa,
    /// ISO/IEC 27001:2022, Annex A.
    Iso27001,
    /// PCI DSS v4.0.1.
    Pci,
}

/// What there is to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Evidence {
    Authorised,
    Segregated,
    Removed,
    Denied,
    Emergencies,
    PolicyChanges,
    Sessions,
    Reviews,
    Unusual,
    Integrity,
}

/// One control.
#[derive(Debug)]
struct Control {
    id: &'static str,
    title: &'static str,
    evidence: &'static [Evidence],
    /// What it asks for that the record does not show.
    beyond: &'static str,
}

use Evidence::{
    Authorised, Denied, Emergencies, Integrity, PolicyChanges, Removed, Reviews, Segregated, Sessions, Unusual,
};

const SOC2: &[Control] = &[
    Control {
        id: "CC6.1",
        title: "Logical access to protected information assets is restricted",
        evidence: &[Authorised, Denied],
        beyond: "Access that is not given by Daypass, and how accounts are authenticated.",
    },
    Control {
        id: "CC6.2",
        title: "Users are registered and authorised before access is granted, and removed when access is no longer authorised",
        evidence: &[Authorised, Removed],
        beyond: "How the accounts themselves are issued and closed: that is the identity provider's record.",
    },
    Control {
        id: "CC6.3",
        title: "Access is authorised, modified and removed by role, with least privilege and segregation of duties",
        evidence: &[Authorised, Segregated, Removed, Reviews],
        beyond: "Whether the roles themselves give no more than is needed: the review of the policy decides that.",
    },
    Control {
        id: "CC7.2",
        title: "System components are monitored for anomalies",
        evidence: &[Unusual, Sessions],
        beyond: "What people did inside of their sessions, and everything outside of the access Daypass gives.",
    },
    Control {
        id: "CC7.3",
        title: "Security events are evaluated",
        evidence: &[Emergencies],
        beyond: "Other events than the use of emergency access.",
    },
    Control {
        id: "CC8.1",
        title: "Changes are authorised, tested, approved and documented",
        evidence: &[PolicyChanges],
        beyond: "Changes of anything else than the access policy.",
    },
];

const HIPAA: &[Control] = &[
    Control {
        id: "§ 164.308(a)(1)(ii)(D)",
        title: "Information system activity review (required)",
        evidence: &[Reviews, Sessions, Unusual],
        beyond: "The systems' own logs of what was read or changed.",
    },
    Control {
        id: "§ 164.308(a)(3)(ii)(A)",
        title: "Authorization and/or supervision (addressable)",
        evidence: &[Authorised, Segregated],
        beyond: "Access that is not given by Daypass, and physical access.",
    },
    Control {
        id: "§ 164.308(a)(3)(ii)(C)",
        title: "Termination procedures (addressable)",
        evidence: &[Removed],
        beyond: "The closing of the account itself when somebody leaves.",
    },
    Control {
        id: "§ 164.308(a)(4)(ii)(B)",
        title: "Access authorization (addressable)",
        evidence: &[Authorised, Denied],
        beyond: "Access that is not given by Daypass.",
    },
    Control {
        id: "§ 164.308(a)(4)(ii)(C)",
        title: "Access establishment and modification (addressable)",
        evidence: &[PolicyChanges, Reviews, Removed],
        beyond: "Standing access on the systems.",
    },
    Control {
        id: "§ 164.312(a)(2)(ii)",
        title: "Emergency access procedure (required)",
        evidence: &[Emergencies],
        beyond: "Emergencies in which GitHub or Daypass itself is not available.",
    },
    Control {
        id: "§ 164.312(b)",
        title: "Audit controls (required)",
        evidence: &[Integrity, Sessions],
        beyond: "The systems' own logs of activity in electronic protected health information.",
    },
];

const ISO27001: &[Control] = &[
    Control {
        id: "A.5.3",
        title: "Segregation of duties",
        evidence: &[Segregated],
        beyond: "Duties outside of asking for, approving and having access.",
    },
    Control {
        id: "A.5.15",
        title: "Access control",
        evidence: &[PolicyChanges, Authorised, Denied],
        beyond: "Rules for access that is not given by Daypass, and physical access.",
    },
    Control {
        id: "A.5.18",
        title: "Access rights",
        evidence: &[Authorised, Removed, Reviews],
        beyond: "Standing access on the systems.",
    },
    Control {
        id: "A.5.28",
        title: "Collection of evidence",
        evidence: &[Integrity],
        beyond: "Evidence of other systems.",
    },
    Control {
        id: "A.8.2",
        title: "Privileged access rights",
        evidence: &[Authorised, Emergencies, Reviews],
        beyond: "Privileged accounts that exist without Daypass.",
    },
    Control {
        id: "A.8.15",
        title: "Logging",
        evidence: &[Integrity, Sessions],
        beyond: "What people did inside of their sessions.",
    },
    Control {
        id: "A.8.16",
        title: "Monitoring activities",
        evidence: &[Unusual],
        beyond: "Networks, systems and applications themselves.",
    },
    Control {
        id: "A.8.32",
        title: "Change management",
        evidence: &[PolicyChanges],
        beyond: "Changes of anything else than the access policy.",
    },
];

const PCI: &[Control] = &[
    Control {
        id: "7.2.2",
        title: "Access is assigned by job function, with the least privileges necessary",
        evidence: &[Authorised, Denied],
        beyond: "Whether the roles themselves give no more than is needed.",
    },
    Control {
        id: "7.2.3",
        title: "Required privileges are approved by authorized personnel",
        evidence: &[Authorised, Segregated, Emergencies],
        beyond: "Privileges that are not given by Daypass.",
    },
    Control {
        id: "7.2.4",
        title: "User accounts and related access privileges are reviewed at least once every six months",
        evidence: &[Reviews],
        beyond: "Accounts and standing access on the systems; third-party and vendor accounts outside of Daypass.",
    },
    Control {
        id: "8.2.5",
        title: "Access for terminated users is immediately revoked",
        evidence: &[Removed],
        beyond: "The closing of the account itself when somebody leaves.",
    },
    Control {
        id: "10.2.1.5",
        title: "Audit logs capture changes to credentials, among them the elevation of privileges",
        evidence: &[Authorised, Removed, Integrity],
        beyond: "Changes that are made on the systems without Daypass.",
    },
    Control {
        id: "10.2.2",
        title: "Audit logs record who, what, when, whether it succeeded, and on what",
        evidence: &[Integrity, Sessions],
        beyond: "The origination of a session: Daypass keeps no addresses, the systems' own logs do.",
    },
    Control {
        id: "10.3.2",
        title: "Audit log files are protected to prevent modifications by individuals",
        evidence: &[Integrity],
        beyond: "The logs of other systems.",
    },
    Control {
        id: "10.3.4",
        title: "Change-detection mechanisms are used on audit logs",
        evidence: &[Integrity],
        beyond: "The logs of other systems. Run `daypass audit verify` regularly, on a clone that only grows.",
    },
    Control {
        id: "10.5.1",
        title: "Audit log history is retained for at least 12 months, three of them immediately available",
        evidence: &[Integrity],
        beyond: "The logs of other systems.",
    },
];

impl Framework {
    const fn controls(self) -> &'static [Control] {
        match self {
            Self::Soc2 => SOC2,
            Self::Hipaa => HIPAA,
            Self::Iso27001 => ISO27001,
            Self::Pci => PCI,
        }
    }
}

impl fmt::Display for Framework {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Soc2 => "SOC 2 (AICPA Trust Services Criteria)",
            Self::Hipaa => "HIPAA Security Rule (45 CFR Part 164 Subpart C)",
            Self::Iso27001 => "ISO/IEC 27001:2022, Annex A",
            Self::Pci => "PCI DSS v4.0.1",
        })
    }
}

impl Evidence {
    const ALL: [Self; 10] =
        [Authorised, Segregated, Removed, Denied, Emergencies, PolicyChanges, Sessions, Reviews, Unusual, Integrity];

    const fn title(self) -> &'static str {
        match self {
            Authorised => "Grants and who authorised them",
            Segregated => "Nobody approved access of their own",
            Removed => "Access that ended, and when it was gone",
            Denied => "What was denied or refused",
            Emergencies => "Emergencies and their reviews",
            PolicyChanges => "Changes of the access policy",
            Sessions => "Use of access",
            Reviews => "Reviews of access",
            Unusual => "What is unusual",
            Integrity => "Integrity of the record",
        }
    }

    const fn anchor(self) -> &'static str {
        match self {
            Authorised => "authorised",
            Segregated => "segregated",
            Removed => "removed",
            Denied => "denied",
            Emergencies => "emergencies",
            PolicyChanges => "policy-changes",
            Sessions => "sessions",
            Reviews => "reviews",
            Unusual => "unusual",
            Integrity => "integrity",
        }
    }

    /// What the record shows, in a sentence or two.
    fn shows(self, report: &Report, newest: &str) -> String {
        let given = report.given.values();
        let count = |kind| report.count(kind);
        match self {
            Authorised => {
                let emergencies = given.clone().filter(|one| one.emergency).count();
                let approved = given.filter(|one| !one.emergency && !one.approvers.is_empty()).count();
                let rest = report.given.len() - approved - emergencies;
                format!(
                    "Grants: {}. Approved by a person: {approved}. Emergencies: {emergencies}. Needed nobody's approval by the policy: {rest}.",
                    report.given.len()
                )
            }
            Segregated => {
                let own = given.filter(|one| one.approvers.contains(&one.subject)).count();
                format!("Grants whose subject was among those whose approvals they rest on: {own}.")
            }
            Removed => {
                let late: Vec<TimeDelta> = given.clone().filter_map(Given::gone_after).collect();
                let ended = given.filter(|one| one.ended.is_some()).count();
                match (percentile(&late, 50), late.iter().max()) {
                    (Some(half), Some(longest)) => format!(
                        "Grants that ended: {ended}. Targets confirmed the removal after {} (median), at the latest after {}.",
                        length(half),
                        length(*longest)
                    ),
                    _ => format!("Grants that ended: {ended}. No target had to take anything away."),
                }
            }
            Denied => format!(
                "Denials: {}. Objections: {}. Changes of the default branch that were not applied: {}.",
                count(EventKind::Denied),
                count(EventKind::Objected),
                count(EventKind::Refused)
            ),
            Emergencies => {
                let all = given.filter(|one| one.emergency).count();
                let reviewed = report.reviews.values().filter(|review| review.at.is_some()).count();
                let late = report.reviews.values().filter(|review| review.is_late()).count();
                format!("Emergencies: {all}. Reviewed: {reviewed}, of them too late: {late}.")
            }
            PolicyChanges => format!("Changes: {}.", count(EventKind::PolicyChanged)),
            Sessions => match report.seen_targets.len() {
                0 => "Nobody reports sessions to Daypass: the record says nothing about the use of access.".to_owned(),
                targets => {
                    let used = given.filter(|one| one.used).count();
                    format!(
                        "Sessions: {}. Targets on which there were some: {targets}. Grants in which there were some: {used}.",
                        count(EventKind::SessionOpened)
                    )
                }
            },
            Reviews => format!("Reviews that were merged: {}.", count(EventKind::AccessReviewed)),
            Unusual => format!("Things that stood out by the rules of this report: {}.", report.anomalies().len()),
            Integrity => {
                let first = report.first.map_or_else(|| "nothing".to_owned(), when);
                format!(
                    "Each event carries the hash of the one before it; the branch is written by the App alone and quoted by the reverts \
                     of the default branch. The first event here is of {first}, the last is {newest}. `daypass audit verify` checks \
                     all of it from a clone. Times the branch was found altered: {}.",
                    count(EventKind::LedgerAltered)
                )
            }
        }
    }

    /// The list behind it.
    fn rows(self, report: &Report) -> (&'static [&'static str], Vec<Vec<String>>) {
        let noted = |kinds: &[EventKind]| -> Vec<Vec<String>> {
            let mut all: Vec<&Noted> = kinds.iter().filter_map(|kind| report.noted.get(kind)).flatten().collect();
            all.sort_by_key(|noted| noted.seq);
            let row =
                |noted: &Noted| vec![noted.seq.to_string(), when(noted.at), noted.about.clone(), noted.what.clone()];
            all.into_iter().map(row).collect()
        };
        let mut in_order: Vec<(&String, &Given)> = report.given.iter().collect();
        in_order.sort_by_key(|(_, given)| given.seq);
        let given = |choose: &dyn Fn(&Given) -> bool, row: &dyn Fn(&str, &Given) -> Vec<String>| {
            in_order.iter().filter(|(_, given)| choose(given)).map(|(id, given)| row(id, given)).collect::<Vec<_>>()
        };
        let by = |given: &Given| match (given.emergency, given.approvers.is_empty()) {
            (true, _) => "emergency".to_owned(),
            (false, true) => "nobody, by the policy".to_owned(),
            (false, false) => given.approvers.join(", "),
        };
        const EVENTS: &[&str] = &["event", "time", "about", "what"];
        match self {
            Authorised => (
                &["event", "time", "grant", "subject", "role", "approved by"],
                given(&|_| true, &|id, one| {
                    vec![
                        one.seq.to_string(),
                        when(one.at),
                        id.to_owned(),
                        one.subject.clone(),
                        one.role.clone(),
                        by(one),
                    ]
                }),
            ),
            Segregated => (
                &["event", "grant", "subject", "approved by"],
                given(&|one| one.approvers.contains(&one.subject), &|id, one| {
                    vec![one.seq.to_string(), id.to_owned(), one.subject.clone(), by(one)]
                }),
            ),
            Removed => (
                &["grant", "subject", "role", "ended", "gone after"],
                given(&|one| one.ended.is_some(), &|id, one| {
                    let ended = one.ended.map(when).unwrap_or_default();
                    let gone = one.gone_after().map_or_else(|| "nothing to take away".to_owned(), length);
                    vec![id.to_owned(), one.subject.clone(), one.role.clone(), ended, gone]
                }),
            ),
            Denied => (EVENTS, noted(&[EventKind::Denied, EventKind::Refused])),
            Emergencies => (
                &["event", "time", "grant", "subject", "role", "review due", "reviewed"],
                given(&|one| one.emergency, &|id, one| {
                    let review = report.reviews.get(id).cloned().unwrap_or_default();
                    let done = match (review.at, review.by) {
                        (Some(at), Some(by)) => format!("{} by {by}", when(at)),
                        _ => "not yet".to_owned(),
                    };
                    let due = review.due_at.map(when).unwrap_or_default();
                    vec![
                        one.seq.to_string(),
                        when(one.at),
                        id.to_owned(),
                        one.subject.clone(),
                        one.role.clone(),
                        due,
                        done,
                    ]
                }),
            ),
            PolicyChanges => (EVENTS, noted(&[EventKind::PolicyChanged])),
            Reviews => (EVENTS, noted(&[EventKind::AccessReviewed])),
            Sessions => (
                &["grant", "subject", "role", "seen on"],
                given(&|one| one.used, &|id, one| {
                    let on: Vec<&str> = one.used_targets.iter().map(String::as_str).collect();
                    vec![id.to_owned(), one.subject.clone(), one.role.clone(), on.join(", ")]
                }),
            ),
            Unusual => (
                &["what", "evidence"],
                report.anomalies().into_iter().map(|one| vec![one.what, one.evidence]).collect(),
            ),
            Integrity => (&[], Vec::new()),
        }
    }
}

impl Given {
    /// How long after the end a target confirmed that access was gone, if one had to.
    fn gone_after(&self) -> Option<TimeDelta> {
        let (ended, removed) = self.ended.zip(self.removed)?;
        Some((removed - ended).max(TimeDelta::zero()))
    }
}

impl super::Review {
    fn is_late(&self) -> bool {
        self.at.zip(self.due_at).is_some_and(|(at, due)| at > due)
    }
}

/// The part of the page for a framework: each control with what the record shows, then the lists.
pub(super) fn part(framework: Framework, report: &Report, newest: &str) -> String {
    let mut page = format!(
        "<h2>{framework}</h2>\n<p>What the record shows for each control, and what it does not. It is evidence, not a finding: whether \
         a control is met is for the auditor to say.</p>\n"
    );
    for control in framework.controls() {
        page.push_str(&format!(
            "<section class=\"c\"><h3>{}: {}</h3>\n<ul>\n",
            escape(control.id),
            escape(control.title)
        ));
        for evidence in control.evidence {
            page.push_str(&format!(
                "<li><a href=\"#{}\">{}</a>: {}</li>\n",
                evidence.anchor(),
                evidence.title(),
                escape(&evidence.shows(report, newest))
            ));
        }
        page.push_str(&format!("</ul>\n<p class=\"s\">Not in the record: {}</p></section>\n", escape(control.beyond)));
    }
    let used = |evidence: &&Evidence| framework.controls().iter().any(|control| control.evidence.contains(evidence));
    for evidence in Evidence::ALL.iter().filter(used) {
        page.push_str(&list(*evidence, report, newest));
    }
    page
}

fn list(evidence: Evidence, report: &Report, newest: &str) -> String {
    let (heads, rows) = evidence.rows(report);
    let mut text = format!(
        "<h3 id=\"{}\">{}</h3>\n<p>{}</p>\n",
        evidence.anchor(),
        evidence.title(),
        escape(&evidence.shows(report, newest))
    );
    if rows.is_empty() {
        return text;
    }
    let heads: String = heads.iter().map(|head| format!("<th>{head}</th>")).collect();
    text.push_str(&format!("<table class=\"l\"><thead><tr>{heads}</tr></thead><tbody>\n"));
    for row in rows.iter().take(MOST_ROWS) {
        let cells: String = row.iter().map(|cell| format!("<td>{}</td>", escape(cell))).collect();
        text.push_str(&format!("<tr>{cells}</tr>\n"));
    }
    text.push_str("</tbody></table>\n");
    if rows.len() > MOST_ROWS {
        let more = rows.len() - MOST_ROWS;
        text.push_str(&format!("<p>{more} more; <code>daypass audit export</code> has all of them.</p>\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_control_of_a_framework_is_named_once_and_links_to_its_lists() {
        for framework in [Framework::Soc2, Framework::Hipaa, Framework::Iso27001, Framework::Pci] {
            let page = part(framework, &Report::default(), "event 1");
            for control in framework.controls() {
                assert_eq!(page.matches(&format!("<h3>{}: ", control.id)).count(), 1, "{}", control.id);
                for evidence in control.evidence {
                    assert_eq!(page.matches(&format!("id=\"{}\"", evidence.anchor())).count(), 1);
                }
            }
        }
    }
}
