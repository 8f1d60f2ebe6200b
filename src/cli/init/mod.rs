//! `daypass init`: a policy repository to begin with, checked and ready to push.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, anyhow};
use clap::Args;

use super::{Failure, out, usage};
use crate::policy::name::OrganisationName;
use crate::policy::schema::Shape;
use crate::sandbox::starter_files;

/// Where the schemas are, for editors.
const SCHEMAS: &str = ".daypass";

/// Whom GitHub asks to review.
const OWNERS: &str = ".github/CODEOWNERS";

/// Arguments of `daypass init`.
#[derive(Debug, Args)]
pub struct InitArgs {
    /// Where to write it: an empty folder, or a clone.
    #[arg(default_value = ".")]
    path: PathBuf,
    /// The organisation on GitHub whose teams own the policy, for CODEOWNERS. Left out: that of the clone's `origin`.
    #[arg(long)]
    organisation: Option<OrganisationName>,
}

/// Writes every file, or none if that would overwrite one.
pub(super) fn run(args: &InitArgs) -> Result<ExitCode, Failure> {
    let organisation = args.organisation.clone().or_else(|| origin(&args.path));
    let files = files(organisation.as_ref());
    let links: BTreeSet<String> = files.iter().filter_map(|(path, _)| link_on(&args.path, path)).collect();
    if !links.is_empty() {
        let list: String = links.iter().map(|path| format!("\n  {path}")).collect();
        return Err(usage(anyhow!(
            "nothing was written, because these are symbolic links, and what is behind them is not in this folder:{list}\nMove them away, or write into another folder."
        )));
    }
    let in_the_way: Vec<String> = files
        .iter()
        .filter(|(path, content)| std::fs::read(args.path.join(path)).is_ok_and(|there| there != *content))
        .map(|(path, _)| format!("\n  {path}"))
        .collect();
    if !in_the_way.is_empty() {
        let list = in_the_way.concat();
        return Err(usage(anyhow!(
            "nothing was written, because these files are there already:{list}\nMove them away, or write into another folder and take over what you need."
        )));
    }
    for (path, content) in &files {
        write(&args.path.join(path), content).map_err(usage)?;
    }
    out::line(format_args!("{} files in {}:", files.len(), args.path.display()))?;
    for (path, _) in &files {
        out::line(format_args!("  {path}"))?;
    }
    out::line("")?;
    if organisation.is_none() && !args.path.join(OWNERS).exists() {
        out::line("CODEOWNERS was left out: say whose teams own the policy with `--organisation NAME`.")?;
    }
    out::line("Next: make the people, teams and targets in `policies/` yours, then")?;
    out::line("  daypass validate && daypass test")?;
    out::line("commit, and push. The README of Daypass says how to run the server.")?;
    Ok(ExitCode::SUCCESS)
}

/// The first part of `path` below `root` that is a symbolic link.
fn link_on(root: &Path, path: &str) -> Option<String> {
    let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
    let mut parts = ends.filter_map(|end| path.get(..end));
    let is_link = |part: &&str| std::fs::symlink_metadata(root.join(part)).is_ok_and(|there| there.is_symlink());
    parts.find(is_link).map(str::to_owned)
}

fn write(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    }
    std::fs::write(path, content).with_context(|| format!("{} cannot be written", path.display()))
}

/// Every file of a new policy repository by path.
fn files(organisation: Option<&OrganisationName>) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<(String, Vec<u8>)> = Vec::new();
    let mut add = |path: &str, text: String| files.push((path.to_owned(), text.into_bytes()));
    for (path, content) in starter_files().into_iter().filter(|(path, _)| path.starts_with("policies/")) {
        let up = "../".repeat(path.matches('/').count());
        let line = format!("# yaml-language-server: $schema={up}{SCHEMAS}/{}\n", Shape::Policy.file_name());
        add(&path, line + &String::from_utf8_lossy(&content));
    }
    for shape in Shape::ALL {
        add(&format!("{SCHEMAS}/{}", shape.file_name()), format!("{:#}\n", shape.schema()));
    }
    add("grants/README.md", include_str!("grants.md").to_owned());
    add("README.md", include_str!("README.md").to_owned());
    add(".github/pull_request_template.md", include_str!("pull_request_template.md").to_owned());
    let workflow = include_str!("workflow.yaml").replace("@VERSION@", env!("CARGO_PKG_VERSION"));
    add(".github/workflows/policy.yaml", workflow);
    if let Some(organisation) = organisation {
        let owners = format!(
            "# GitHub asks these to review changes. Who must approve is said in policies/settings.yaml.\n\
             /policies/ @{organisation}/security @{organisation}/platform-leads\n\
             /.github/ @{organisation}/security @{organisation}/platform-leads\n"
        );
        add(OWNERS, owners);
    }
    // For Visual Studio Code with its YAML extension; other editors go by the first line of each file.
    let settings = serde_json::json!({
        "yaml.schemas": {
            format!("{SCHEMAS}/{}", Shape::Policy.file_name()): "policies/**/*.yaml",
            format!("{SCHEMAS}/{}", Shape::Request.file_name()): "grants/*.yaml",
        },
        "files.insertFinalNewline": true,
    });
    add(".vscode/settings.json", format!("{settings:#}\n"));
    add(".vscode/extensions.json", format!("{:#}\n", serde_json::json!({ "recommendations": ["redhat.vscode-yaml"] })));
    files
}

/// The organisation in the address of `origin`: `git@github.com:acme/access.git`, `https://github.com/acme/access`.
fn origin(path: &Path) -> Option<OrganisationName> {
    let repository = gix::discover(path).ok()?;
    let url = repository.config_snapshot().string("remote.origin.url")?.to_string();
    let path = url.trim_end_matches('/').rsplit_once('/')?.0;
    path.rsplit(['/', ':']).next()?.parse().ok()
}
