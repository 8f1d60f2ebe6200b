//! `tests:` of a policy: their names and what they ask for.

use std::collections::BTreeMap;

use super::Resolver;
use crate::policy::Code;
use crate::policy::model::Policy;
use crate::policy::name::RoleName;
use crate::policy::request::is_deceptive;
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
            let role = &test.request.role;
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
