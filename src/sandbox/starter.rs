//! The starter policy, as shipped in `policies/`: what a new policy repository begins with.

const FILES: &[(&str, &str)] = &[
    ("policies/approvals.yaml", include_str!("../../policies/approvals.yaml")),
    ("policies/people.yaml", include_str!("../../policies/people.yaml")),
    ("policies/roles/everyday.yaml", include_str!("../../policies/roles/everyday.yaml")),
    ("policies/roles/incident-response.yaml", include_str!("../../policies/roles/incident-response.yaml")),
    ("policies/roles/security-patching.yaml", include_str!("../../policies/roles/security-patching.yaml")),
    ("policies/roles/sensitive-logs.yaml", include_str!("../../policies/roles/sensitive-logs.yaml")),
    ("policies/settings.yaml", include_str!("../../policies/settings.yaml")),
    ("policies/targets.yaml", include_str!("../../policies/targets.yaml")),
];

/// Every file of the starter policy by path, and a `grants/` that is empty but there.
pub fn starter_files() -> Vec<(String, Vec<u8>)> {
    let policy = FILES.iter().map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec()));
    policy.chain([("grants/.gitkeep".to_owned(), Vec::new())]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_starter_policy_has_no_finding_of_any_kind() {
        let files = starter_files().into_iter().filter(|(path, _)| path.starts_with("policies/")).collect();
        let loaded = crate::policy::load(&files, None);
        assert_eq!(loaded.findings, []);
        let policy = loaded.policy.unwrap();
        assert_eq!(policy.roles.len(), 6);
        let rehearsed = crate::access::rehearsal::run(&policy, |_| true);
        let failures: Vec<_> = rehearsed.iter().filter_map(|test| test.finding()).collect();
        assert_eq!(failures, []);
        let coverage = crate::access::coverage::Coverage::of(&policy, &rehearsed);
        assert_eq!(coverage.gaps().map(ToString::to_string).collect::<Vec<_>>(), Vec::<String>::new());
    }

    #[test]
    fn nothing_in_the_folder_is_left_out() {
        fn count(folder: &std::path::Path) -> usize {
            let entries = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
            entries.map(|entry| if entry.path().is_dir() { count(&entry.path()) } else { 1 }).sum()
        }
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
        assert_eq!(count(&folder), FILES.len());
    }
}
