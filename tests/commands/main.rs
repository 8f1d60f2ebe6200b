//! The `daypass` program as its users run it: commands, processes, signals.

// A test that cannot go on fails by panicking.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../support/mod.rs"]
mod support;

mod ask;
mod balancer;
mod chaos;
mod demo;
mod explain;
mod init;
mod installation;
mod kill;
mod parts;
mod policy_tests;
mod pygithub;
mod reach;
mod rebuild;
mod rolling;
mod sandbox;
mod sessions;
mod stop;
mod storage;
mod validate;

use std::process::Command;

/// The program under test, with no configuration from around it.
fn daypass() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_daypass"));
    command.env_remove("DAYPASS_CONFIG").env("NO_COLOR", "1");
    command
}
