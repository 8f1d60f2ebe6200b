//! What the documents promise about these stories.

use std::path::Path;

/// `file::story`, as the tables have it.
fn named(page: &str) -> Vec<(String, String)> {
    let quoted = page.split('`').skip(1).step_by(2);
    let of = quoted.filter_map(|text| text.split_once("::"));
    of.map(|(file, story)| (file.to_owned(), story.to_owned())).collect()
}

/// The keys and the items of a block of the App's manifest.
fn block<'a>(manifest: &'a str, name: &str) -> Vec<&'a str> {
    let after = manifest.split_once(&format!("\n{name}:\n")).unwrap().1;
    let lines = after.lines().take_while(|line| line.is_empty() || line.starts_with(' '));
    lines.map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).collect()
}

#[test]
fn the_link_that_registers_the_app_asks_for_what_the_manifest_does() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifest = std::fs::read_to_string(root.join("app.yml")).unwrap();
    let readme = std::fs::read_to_string(root.join("README.md")).unwrap();
    let link = readme.lines().find(|line| line.contains("/settings/apps/new?")).unwrap().trim();
    let asked: Vec<&str> = link.split_once('?').unwrap().1.split('&').collect();
    let of_manifest = block(&manifest, "default_permissions").into_iter().map(|line| line.replace(": ", "="));
    let events = block(&manifest, "default_events").into_iter().map(|line| line.replace("- ", "events[]="));
    let named = ["name=", "public=", "webhook_active=", "webhook_url="];
    let mut asked: Vec<&str> =
        asked.into_iter().filter(|one| !named.iter().any(|name| one.starts_with(name))).collect();
    let mut wanted: Vec<String> = of_manifest.chain(events).collect();
    asked.sort_unstable();
    wanted.sort_unstable();
    assert_eq!(asked, wanted);
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
