//! `tests:` of a policy: their names and what they ask for.

use std::collections::BTreeMap;

use super::Resolver;
use crate::policy::Code;
use crate::policy::model::{ParamValue, Policy};
use crate::policy::name::RoleName;
use crate::policy::request::{LONGEST_REASON, LONGEST_TICKET, is_deceptive};
use crate::policy::testcase::{PolicyTest, Stated};
use crate::policy::yaml::Spot;
use crate::policy::yaml::decode::{did_you_mean, shortened};

/// Characters the name of a test may have.
pub(in crate::policy) const LONGEST_NAME: usize = 200;

impl<T> Stated<T> {
    fn spot(&self) -> Spot {
        Spot::new(&self.file, self.place)
    }
}

impl Resolver<'_> {
    /// What no request can say, no test says either.
    fn as_in_a_request(&mut self, what: &str, text: Option<&Stated<String>>, longest: usize) {
        let Some(text) = text else { return };
        let (length, spot) = (text.trim().chars().count(), text.spot());
        if length == 0 || length > longest {
            let message = format!("`{what}` must have 1 to {longest} characters; it has {length}");
            self.report.error(&spot, Code::BadText, message, "A request could not say this.");
        }
        self.readable_at(&format!("`{what}`"), text, &spot);
    }

    /// Tests have names of their own and ask for roles there are.
    pub(super) fn check_tests(&mut self, policy: &Policy) {
        let mut names: BTreeMap<&str, &PolicyTest> = BTreeMap::new();
        for test in &policy.tests {
            let (name, spot) = (test.name.trim(), test.name.spot());
            let length = name.chars().count();
            if length == 0 || length > LONGEST_NAME {
                let message = format!("a test's name must have 1 to {LONGEST_NAME} characters; it has {length}");
                self.report.error(&spot, Code::BadText, message, "Say in a few words what the test shows.");
            }
            if name.chars().any(|c| c.is_control() || is_deceptive(c)) {
                let message = "a test's name is one line without invisible or control characters";
                self.report.error(&spot, Code::HiddenText, message, Code::HiddenText.explanation());
            }
            if let Some(first) = names.get(name) {
                let (shown, first) = (shortened(name), first.name.spot());
                let message = format!("a test with the name {shown:?} is there already, in {first}");
                self.report.error(&spot, Code::DefinedTwice, message, Code::DefinedTwice.explanation());
            }
            names.entry(name).or_insert(test);
            let (request, role) = (&test.request, &test.request.role);
            for (what, text, longest) in
                [("reason", &request.reason, LONGEST_REASON), ("ticket", &request.ticket, LONGEST_TICKET)]
            {
                self.as_in_a_request(what, text.as_ref(), longest);
            }
            for value in request.params.values() {
                if let ParamValue::String(text) = value {
                    self.readable_at("a parameter", text, &spot);
                }
            }
            if let Some(expected) = &test.expect.entitlements {
                let texts = expected.iter().map(String::as_str);
                texts.for_each(|text| _ = self.readable_at("what is expected", text, &expected.spot()));
            }
            if !self.roles.contains_key(&role.value) && !self.expanded.incomplete.contains("roles") {
                let help = did_you_mean(
                    role.as_str(),
                    self.roles.keys().map(RoleName::as_str),
                    Code::UnknownRole.explanation(),
                );
                let message =
                    format!("the test {:?} asks for role `{}`, which does not exist", shortened(name), role.value);
                self.report.error(&role.spot(), Code::UnknownRole, message, help);
            }
        }
    }
}
