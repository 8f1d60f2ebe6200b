//! What `docs/targets/` shows works as it stands there.

use std::collections::BTreeMap;

use daypass::policy::{self, Severity};
use daypass::target::settings::TargetSettings;

/// The blocks of YAML in a page.
fn blocks(page: &str) -> Vec<&str> {
    page.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect()
}

#[test]
fn every_page_about_a_target_shows_a_configuration_and_a_policy_that_work() {
    let mut pages = 0;
    for entry in std::fs::read_dir("docs/targets").unwrap() {
        let path = entry.unwrap().path();
        let page = std::fs::read_to_string(&path).unwrap();
        let [configuration, policy] = blocks(&page)[..] else { continue };
        let shown = path.display();
        let sections: BTreeMap<String, BTreeMap<String, TargetSettings>> =
            serde_yaml::from_str(configuration).unwrap_or_else(|error| panic!("{shown}: {error}"));
        let policy = format!(
            "{policy}approvals: {{ owners: {{ stages: [{{ name: owner, approvers: ['user:dave'] }}] }} }}\n\
             settings: {{ policy_approval: owners }}\n"
        );
        let files = BTreeMap::from([("policies/p.yaml".to_owned(), policy.into_bytes())]);
        let loaded = policy::load(&files, None);
        let wrong: Vec<_> = loaded.findings.iter().filter(|finding| finding.severity == Severity::Error).collect();
        assert!(wrong.is_empty(), "{shown}: {wrong:?}");
        let kinds = loaded.policy.unwrap().targets;
        let configured: Vec<&String> = sections["targets"].keys().collect();
        assert_eq!(configured, kinds.keys().map(|name| name.as_str()).collect::<Vec<_>>(), "{shown}");
        let kind = path.file_stem().unwrap().to_str().unwrap();
        assert!(kinds.values().all(|known| known.as_str() == kind), "{shown}");
        pages += 1;
    }
    assert!(pages >= 7, "{pages}");
}
