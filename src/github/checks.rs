//! Check runs. <https://docs.github.com/en/rest/checks/runs>

use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::transport::segment;
use super::{GithubError, Repository};
use crate::policy::name::CommitId;

/// Annotations GitHub takes in one call; further ones are added by updates.
const ANNOTATIONS_PER_CALL: usize = 50;
/// Characters GitHub takes as summary or text.
const LONGEST_TEXT: usize = 65_535;

/// How a finished check run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Conclusion {
    /// Green.
    Success,
    /// Red.
    Failure,
    /// Grey; satisfies a required check.
    Neutral,
}

/// A check run as we want it to be.
#[derive(Debug, Clone)]
pub struct CheckRun {
    /// Its name.
    pub name: String,
    /// The commit it is on.
    pub head: CommitId,
    /// How it ended; `None` while it is still waiting for people.
    pub conclusion: Option<Conclusion>,
    /// One line.
    pub title: String,
    /// Markdown.
    pub summary: String,
    /// More Markdown.
    pub text: Option<String>,
    /// Remarks on lines.
    pub annotations: Vec<Annotation>,
    /// Our own name for it.
    pub external_id: String,
    /// Buttons.
    pub actions: Vec<Button>,
    /// Where people read more.
    pub details_url: Option<String>,
}

/// A button on a check run. <https://docs.github.com/en/rest/checks/runs#check-runs-and-requested-actions>
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Button {
    /// What is on it, in 20 characters.
    pub label: &'static str,
    /// What it does, in 40 characters.
    pub description: &'static str,
    /// What the webhook calls it, in 20 characters.
    pub identifier: &'static str,
}

/// A remark on a line.
#[derive(Debug, Clone)]
pub struct Annotation {
    /// The file.
    pub path: String,
    /// The line, from 1.
    pub line: u32,
    /// The column, from 1.
    pub column: Option<u32>,
    /// How many characters it is about.
    pub length: Option<u32>,
    /// How bad it is.
    pub level: AnnotationLevel,
    /// One line.
    pub title: String,
    /// Plain text.
    pub message: String,
}

/// How bad an annotation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AnnotationLevel {
    /// Worth knowing.
    Notice,
    /// Suspicious.
    Warning,
    /// Wrong.
    Failure,
}

/// A check run that stands on a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckInfo {
    /// Its id.
    pub id: u64,
    /// The app that wrote it. Anybody may use our name; nobody else has our id.
    pub app_id: Option<u64>,
}

#[derive(Deserialize)]
struct RawChecks {
    check_runs: Vec<RawCheck>,
}

#[derive(Deserialize)]
struct RawCheck {
    id: u64,
    app: Option<RawApp>,
}

#[derive(Deserialize)]
struct RawApp {
    id: u64,
}

impl Repository {
    /// Creates a check run; its id.
    pub async fn create_check(&self, check: &CheckRun) -> Result<u64, GithubError> {
        let mut request = body(check, 0);
        request["head_sha"] = json!(check.head);
        let made: RawCheck = self.change(Method::POST, &self.path("/check-runs"), &request).await?;
        self.annotate_rest(made.id, check).await?;
        Ok(made.id)
    }

    /// Makes a check run say this.
    pub async fn update_check(&self, id: u64, check: &CheckRun) -> Result<(), GithubError> {
        self.act(Method::PATCH, &self.path(&format!("/check-runs/{id}")), Some(&body(check, 0))).await?;
        self.annotate_rest(id, check).await
    }

    /// Gives a check run these buttons, and leaves it otherwise as it is.
    pub async fn set_check_actions(&self, id: u64, actions: &[Button]) -> Result<(), GithubError> {
        let body = json!({ "actions": actions.iter().map(button).collect::<Vec<_>>() });
        self.act(Method::PATCH, &self.path(&format!("/check-runs/{id}")), Some(&body)).await
    }

    /// Sends the annotations that did not fit into the first call.
    async fn annotate_rest(&self, id: u64, check: &CheckRun) -> Result<(), GithubError> {
        for batch in 1..check.annotations.len().div_ceil(ANNOTATIONS_PER_CALL) {
            self.act(Method::PATCH, &self.path(&format!("/check-runs/{id}")), Some(&body(check, batch))).await?;
        }
        Ok(())
    }

    /// The check runs of a name on a commit, the latest of each app.
    pub async fn checks(&self, commit: &CommitId, name: &str) -> Result<Vec<CheckInfo>, GithubError> {
        let path = self.path(&format!("/commits/{commit}/check-runs?check_name={}&per_page=100", segment(name)));
        let raw: RawChecks = self.get(&path).await?;
        Ok(raw.check_runs.into_iter().map(|run| CheckInfo { id: run.id, app_id: run.app.map(|app| app.id) }).collect())
    }
}

fn body(check: &CheckRun, batch: usize) -> Value {
    let annotations: Vec<Value> = check
        .annotations
        .iter()
        .skip(batch * ANNOTATIONS_PER_CALL)
        .take(ANNOTATIONS_PER_CALL)
        .map(annotation)
        .collect();
    let mut output = json!({ "title": cut(&check.title, 200), "summary": cut(&check.summary, LONGEST_TEXT), "annotations": annotations });
    if let Some(text) = &check.text {
        output["text"] = json!(cut(text, LONGEST_TEXT));
    }
    let actions: Vec<Value> = check.actions.iter().map(button).collect();
    let mut body =
        json!({ "name": check.name, "external_id": check.external_id, "output": output, "actions": actions });
    match check.conclusion {
        // GitHub sets the status to completed by itself.
        Some(conclusion) => body["conclusion"] = json!(conclusion),
        None => body["status"] = json!("in_progress"),
    }
    if let Some(url) = &check.details_url {
        body["details_url"] = json!(url);
    }
    body
}

fn button(button: &Button) -> Value {
    json!({ "label": button.label, "description": button.description, "identifier": button.identifier })
}

fn annotation(annotation: &Annotation) -> Value {
    let mut value = json!({
        "path": annotation.path,
        "start_line": annotation.line,
        "end_line": annotation.line,
        "annotation_level": annotation.level,
        "title": cut(&annotation.title, 255),
        // 64 KB by GitHub's documentation.
        "message": cut(&annotation.message, 16_000),
    });
    if let Some(column) = annotation.column {
        value["start_column"] = json!(column);
        value["end_column"] = json!(column + annotation.length.unwrap_or(1).saturating_sub(1));
    }
    value
}

/// At most `limit` characters; what was left out is said.
pub(super) fn cut(text: &str, limit: usize) -> String {
    const NOTE: &str = "\n\n… (cut)";
    if text.chars().count() <= limit {
        return text.to_owned();
    }
    let kept: String = text.chars().take(limit - NOTE.chars().count()).collect();
    format!("{kept}{NOTE}")
}
