//! One file per command.
//!
//! Exit codes: 0 done, 1 the input was judged invalid (findings were printed), 2 usage or configuration error, 3 something could
//! not be reached.
#![warn(clippy::print_stdout, clippy::print_stderr)]

mod ask;
mod audit;
mod demo;
mod diff;
mod explain;
mod facts;
mod forward;
mod init;
mod junit;
mod out;
mod policy;
mod rebuild;
mod review;
mod sandbox;
mod schema;
mod serve;
mod test;
mod validate;
mod what_can;
mod who_can;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Just-in-time access by pull request.
#[derive(Debug, Parser)]
#[command(name = "daypass", version, about, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Answers who had what, when, who approved it and why, from a clone of the policy repository; offline.
    Audit(audit::AuditArgs),
    /// Plays a request's whole life: asked, approved, granted, reverted. Needs nothing else installed.
    Demo(demo::DemoArgs),
    /// Reads the log of a program, such as sshd, and reports the sessions in it to the server.
    Forward(forward::ForwardArgs),
    /// Writes a policy repository to begin with: policy, tests, schemas for editors, templates for GitHub.
    Init(init::InitArgs),
    /// Asks for more time of access that runs, as a comment on its pull request would.
    Extend(ask::ExtendArgs),
    /// Ends access that runs at once, as a comment on its pull request would.
    Revoke(ask::RevokeArgs),
    /// Explains a finding's code, or what the policy says to a request and why, offline.
    Explain(explain::ExplainArgs),
    /// Serves an embedded GitHub on loopback, to try Daypass without the real one.
    Sandbox(sandbox::SandboxArgs),
    /// Reads every grant anew from git and GitHub into the database. Stop the servers first.
    Rebuild(rebuild::RebuildArgs),
    /// Tells Daypass which policy counts, where nobody can approve one any more.
    Policy(policy::PolicyArgs),
    /// Opens a pull request that lists who used which role, and what nobody used, for their owners to look at.
    Review(review::ReviewArgs),
    /// Prints the JSON Schema of policy or request files, for editors.
    Schema(schema::SchemaArgs),
    /// Runs the server: takes webhooks, grants and revokes.
    Serve(serve::ServeArgs),
    /// Runs the tests of a policy.
    Test(test::TestArgs),
    /// Checks the working tree of a policy repository, offline.
    Validate(validate::ValidateArgs),
    /// Tells who can request a role, approve it and break the glass for it.
    WhoCan(who_can::WhoCanArgs),
    /// Tells what somebody can request, approve and break the glass for.
    WhatCan(what_can::WhatCanArgs),
    /// Tells what a change of the policy would let people do.
    Diff(diff::DiffArgs),
}

/// A failure with the exit code it means.
#[derive(Debug, thiserror::Error)]
#[error("{error:#}")]
struct Failure {
    code: u8,
    error: anyhow::Error,
}

/// Usage or configuration: exit code 2.
fn usage(error: impl Into<anyhow::Error>) -> Failure {
    Failure { code: 2, error: error.into() }
}

/// Something could not be reached, or broke: exit code 3.
fn unreachable(error: impl Into<anyhow::Error>) -> Failure {
    Failure { code: 3, error: error.into() }
}

/// Whether what is printed may have colours.
fn colour() -> bool {
    use std::io::IsTerminal;
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

/// Reads the command line and does what it says.
pub fn main() -> ExitCode {
    match Cli::try_parse() {
        Ok(cli) => run(cli),
        // A mistake, or `--help`: that is printed, too.
        Err(told) => match told.print() {
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
                out::beside(format_args!("daypass: the help cannot be printed: {error}"));
                ExitCode::from(3)
            }
            _ => ExitCode::from(u8::try_from(told.exit_code()).unwrap_or(2)),
        },
    }
}

fn run(cli: Cli) -> ExitCode {
    // Who reads no further wants no more: that is no failure. A server goes on without its log.
    let goes_on = matches!(
        cli.command,
        Command::Serve(_)
            | Command::Sandbox(_)
            | Command::Demo(_)
            | Command::Rebuild(_)
            | Command::Policy(_)
            | Command::Forward(_)
    );
    if !goes_on {
        sigpipe::reset();
    }
    let result = match cli.command {
        Command::Audit(args) => audit::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Test(args) => test::run(&args),
        Command::Validate(args) => validate::run(&args),
        Command::Schema(args) => schema::run(&args),
        Command::Init(args) => init::run(&args),
        Command::WhoCan(args) => who_can::run(&args),
        Command::WhatCan(args) => what_can::run(&args),
        Command::Diff(args) => diff::run(&args),
        Command::Demo(args) => block_on(demo::run(args)),
        Command::Sandbox(args) => block_on(sandbox::run(args)),
        Command::Forward(args) => block_on(forward::run(args)),
        Command::Rebuild(args) => block_on(rebuild::run(args)),
        Command::Policy(args) => block_on(policy::run(args)),
        Command::Extend(args) => block_on(ask::extend(args)),
        Command::Revoke(args) => block_on(ask::revoke(args)),
        Command::Review(args) => block_on(review::run(args)),
        Command::Serve(args) => block_on(serve::run(args)),
    };
    match result {
        Ok(code) => code,
        Err(failure) => {
            out::beside(format_args!("daypass: {failure}"));
            ExitCode::from(failure.code)
        }
    }
}

fn block_on(work: impl Future<Output = Result<ExitCode, Failure>>) -> Result<ExitCode, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(unreachable)?;
    let result = runtime.block_on(work);
    // Whoever had something to finish has; nothing that hangs may keep the process.
    runtime.shutdown_background();
    result
}

/// The signals that ask a process to stop: Ctrl-C, or SIGTERM from a service manager. From here on they end nothing by themselves.
struct Signals {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        #[cfg(unix)]
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            #[cfg(unix)]
            interrupt: signal(SignalKind::interrupt())?,
            #[cfg(unix)]
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Completes when one comes; none that came since the last call is missed.
    #[cfg(unix)]
    async fn asked_to_stop(&mut self) {
        tokio::select! { _ = self.interrupt.recv() => {}, _ = self.terminate.recv() => {} }
    }

    #[cfg(not(unix))]
    async fn asked_to_stop(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Completes when the process is asked to stop.
async fn asked_to_stop() {
    match Signals::listen() {
        Ok(mut signals) => signals.asked_to_stop().await,
        Err(_) => std::future::pending().await,
    }
}
