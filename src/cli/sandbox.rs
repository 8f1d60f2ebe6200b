//! `daypass sandbox`: an embedded GitHub on a port.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use secrecy::ExposeSecret;
use serde_json::json;

use super::{Failure, asked_to_stop, out, unreachable, usage};
use crate::engine::clock::Clock;
use crate::sandbox::{Options, Sandbox, WebhookSink};

/// Arguments of `daypass sandbox`.
#[derive(Debug, Args)]
pub struct SandboxArgs {
    /// Where it keeps everything; a restart finds it again.
    #[arg(long)]
    dir: PathBuf,
    /// The port on 127.0.0.1; 0 takes a free one.
    #[arg(long, default_value_t = 8081)]
    port: u16,
    /// Where webhooks go.
    #[arg(long, default_value = "http://127.0.0.1:8080/webhooks/github")]
    webhook_url: String,
    /// The files of the policy repository; the starter policy unless given.
    #[arg(long)]
    policy: Option<PathBuf>,
    /// Writes addresses, tokens and paths to this file, as JSON.
    #[arg(long)]
    print_json: Option<PathBuf>,
    /// Appends every exchange to this file, one JSON line each.
    #[arg(long)]
    record: Option<PathBuf>,
}

pub(super) async fn run(args: SandboxArgs) -> Result<ExitCode, Failure> {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", args.port))
        .await
        .with_context(|| format!("port {} cannot be used", args.port))
        .map_err(usage)?;
    let base_url = format!("http://{}", listener.local_addr().map_err(unreachable)?);
    let restart = args.dir.join("state.json").exists();
    let options = Options {
        dir: args.dir.clone(),
        organisation: "acme".to_owned(),
        repository: "access".to_owned(),
        clock: Clock::system(),
        base_url: base_url.clone(),
        webhooks: WebhookSink::Http(args.webhook_url.clone()),
        record: args.record.clone(),
        persist: true,
    };
    let sandbox = Sandbox::open(options).await.map_err(unreachable)?;
    if restart {
        out::line(format_args!("The embedded GitHub is back, with what it kept in {}.\n", args.dir.display()))?;
    } else {
        let files = match &args.policy {
            Some(dir) => super::validate::working_tree(dir).map_err(usage)?,
            None => crate::sandbox::starter_files(),
        };
        sandbox.example(&files).map_err(unreachable)?;
    }
    introduce(&sandbox, &base_url, &args)?;
    tokio::spawn(sandbox.clone().deliver());
    axum::serve(listener, sandbox.router()).with_graceful_shutdown(asked_to_stop()).await.map_err(unreachable)?;
    Ok(ExitCode::SUCCESS)
}

/// Tells whoever wants to use it everything they need.
fn introduce(sandbox: &Sandbox, base_url: &str, args: &SandboxArgs) -> Result<(), Failure> {
    let app = sandbox.app();
    let (key, secret) = (args.dir.join("app.pem"), args.dir.join("webhook-secret"));
    let people: serde_json::Map<String, serde_json::Value> =
        sandbox.tokens().iter().map(|(login, token)| (login.clone(), json!(token.expose_secret()))).collect();
    out::line(format_args!(
        "An embedded GitHub is up at {base_url} (REST: {base_url}/api/v3), with organisation acme and repository acme/access."
    ))?;
    out::line(format_args!("It sends webhooks to {}. Its people and their tokens:", args.webhook_url))?;
    for (login, token) in &people {
        out::line(format_args!("  {login:8} {}", token.as_str().unwrap_or_default()))?;
    }
    let (id, key_file, secret_file) = (app.id, key.display(), secret.display());
    let database = args.dir.join("daypass.db");
    out::line("\nServe it with this daypass.yaml:\n\ngithub:")?;
    out::line(format_args!("  api_url: {base_url}/api/v3\n  app_id: {id}"))?;
    out::line(format_args!("  private_key_file: {key_file}\n  webhook_secret_file: {secret_file}"))?;
    let store = format!("store: {{ url: 'sqlite://{}' }}", database.display());
    out::line(format_args!("repositories: [acme/access]\n{store}\ntargets:\n  github: {{ github: {{}} }}"))?;
    if let Some(path) = &args.print_json {
        let text = json!({
            "base_url": base_url, "api_url": format!("{base_url}/api/v3"), "tokens": people, "app_id": app.id,
            "private_key_file": key, "webhook_secret_file": secret, "organisation": "acme", "repository": "acme/access",
        });
        crate::sandbox::write_private(path, text.to_string().as_bytes()).map_err(unreachable)?;
    }
    Ok(())
}
