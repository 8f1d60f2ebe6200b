//! The machinery of the tests: acme in this process (`world`), and real servers on free loopback ports with throw-away data,
//! stopped when the test ends.

// Each test program uses its part of this.
#![allow(dead_code)]

pub mod database;
pub mod disk;
pub mod postgres;
pub mod sshd;
pub mod world;

use std::net::TcpListener;
use std::process::Child;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use daypass::target::Occasion;

/// A port nobody uses now.
pub fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

/// An hour later.
pub fn soon(now: DateTime<Utc>) -> DateTime<Utc> {
    now + TimeDelta::hours(1)
}

/// Of calls to a target at one time.
pub fn occasion(now: DateTime<Utc>) -> Occasion {
    Occasion { key: "a call of the tests".to_owned(), now }
}

/// A process that does not outlive the test.
#[derive(Debug)]
pub struct Process(pub Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Looks until it is so; `what` is told if it never is.
pub fn eventually(what: &str, mut look: impl FnMut() -> bool) {
    let started = Instant::now();
    while !look() {
        assert!(started.elapsed() < Duration::from_secs(60), "never happened: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Whether we are root, and servers have to be started as somebody else.
pub fn is_root() -> bool {
    std::process::Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.starts_with(b"0\n"))
}

/// Sends a signal, by its name, to a process we started.
pub fn signal(pid: u32, signal: &str) {
    let sent = std::process::Command::new("kill").args([format!("-{signal}"), pid.to_string()]).status().unwrap();
    assert!(sent.success(), "kill -{signal} {pid}");
}
