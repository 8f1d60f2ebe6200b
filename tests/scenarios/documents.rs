//! What the documents promise about these stories.

use std::path::Path;

/// `file::story`, as the tables have it.
fn named(page: &str) -> Vec<(String, String)> {
    let quoted = page.split('`').skip(1).step_by(2);
    let of = quoted.filter_map(|text| text.split_once("::"));
    of.map(|(file, story)| (file.to_owned(), story.to_owned())).collect()
}

#[test]
fn every_attack_names_a_story_that_there_is() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("docs/security.md")).unwrap();
    let stories = named(&page);
    assert!(stories.len() >= 40, "{}", stories.len());
    for (file, story) in stories {
        let path = match file.as_str() {
            "access" => root.join("src/access").join(format!("{story}.rs")),
            file => root.join("tests/scenarios").join(format!("{file}.rs")),
        };
        let text = std::fs::read_to_string(&path).unwrap_or_else(|_| panic!("{} is not there", path.display()));
        assert!(file == "access" || text.contains(&format!("async fn {story}(")), "{file}::{story}");
    }
}
