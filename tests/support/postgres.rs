//! A PostgreSQL server with a shop's database: role `orders_readonly` may read `orders`, alice and bob may log in, and Daypass
//! has no more rights than it needs.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::{Process, eventually, free_port, is_root};

pub struct Postgres {
    pub port: u16,
    dir: tempfile::TempDir,
    server: Option<Process>,
}

fn binaries() -> PathBuf {
    let mut found: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .map(|entries| entries.flatten().map(|entry| entry.path().join("bin")).collect())
        .unwrap_or_default();
    found.sort();
    found.pop().unwrap_or_default()
}

/// A server program, not as root: PostgreSQL refuses that.
fn program(name: &str) -> Command {
    let path = binaries().join(name);
    if !is_root() {
        return Command::new(path);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(path);
    command
}

impl Drop for Postgres {
    /// Sessions that stand still would not notice that their server is gone.
    fn drop(&mut self) {
        self.go_on();
    }
}

impl Postgres {
    pub fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        if is_root() {
            assert!(Command::new("chown").arg("postgres:postgres").arg(dir.path()).status().unwrap().success());
        }
        let made = program("initdb")
            .args(["--no-sync", "--username=admin", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "-D"])
            .arg(dir.path().join("data"))
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let mut postgres = Self { port: free_port(), dir, server: None };
        postgres.resume();
        postgres.admin(
            "CREATE ROLE orders_readonly NOLOGIN; CREATE ROLE alice LOGIN; CREATE ROLE bob LOGIN; \
             CREATE ROLE daypass LOGIN PASSWORD 'open-sesame'; GRANT orders_readonly TO daypass WITH ADMIN OPTION; \
             GRANT pg_signal_backend TO daypass; CREATE TABLE orders (id INT); INSERT INTO orders VALUES (4711); \
             GRANT SELECT ON orders TO orders_readonly; CREATE DATABASE daypass OWNER daypass",
        );
        postgres
    }

    /// Starts the server on its data.
    pub fn resume(&mut self) {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.log_path()).unwrap();
        let server = program("postgres")
            .args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-c", "fsync=off", "-c", "log_statement=all"])
            .args(["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="])
            .args(["-c", "log_timezone=UTC", "-c", "log_line_prefix=%m [%p] ", "-D"])
            .arg(self.dir.path().join("data"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.server = Some(Process(server));
        eventually("PostgreSQL answers", || self.psql("admin", "SELECT 1").is_ok());
    }

    /// The server is gone, as after a power cut.
    pub fn crash(&mut self) {
        self.server = None;
        let pid = self.dir.path().join("data/postmaster.pid");
        // Its children notice within moments that it is gone.
        eventually("PostgreSQL is gone", || self.psql("admin", "SELECT 1").is_err());
        let _ = std::fs::remove_file(pid);
    }

    /// Daypass's database takes no writes any more, or takes them again; who is connected has to connect again.
    pub fn make_read_only(&self, read_only: bool) {
        let setting = if read_only { "on" } else { "off" };
        self.admin(&format!(
            "ALTER DATABASE daypass SET default_transaction_read_only = {setting}; \
             SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'daypass'"
        ));
    }

    /// Damages a file of the server, which must not run.
    pub fn overwrite(&self, file: &str, start: &[u8]) {
        use std::io::Write;
        assert!(self.server.is_none());
        let path = self.dir.path().join("data").join(file);
        std::fs::OpenOptions::new().write(true).open(path).unwrap().write_all(start).unwrap();
    }

    /// The server and all its sessions stand still: connections are open, and nobody answers.
    pub fn pause(&self) {
        self.signal_all("STOP");
    }

    /// Goes on after [`Postgres::pause`].
    pub fn go_on(&self) {
        self.signal_all("CONT");
    }

    fn signal_all(&self, name: &str) {
        let Some(server) = &self.server else { return };
        let pid = server.0.id();
        let send = |pid: &str| Command::new("kill").args([&format!("-{name}"), pid]).stderr(Stdio::null()).status();
        // The server first: it starts no session then that would be missed.
        let _ = send(&pid.to_string());
        let sessions = Command::new("ps").args(["-o", "pid=", "--ppid", &pid.to_string()]).output().unwrap();
        for session in String::from_utf8_lossy(&sessions.stdout).split_whitespace() {
            let _ = send(session);
        }
    }

    fn log_path(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    /// Everything the server was told.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap()
    }

    /// The address for Daypass.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://daypass:open-sesame@127.0.0.1:{}/{database}", self.port)
    }

    /// What a login gets by `psql`, or the error.
    pub fn psql(&self, login: &str, sql: &str) -> Result<String, String> {
        let output = self.psql_command(login).args(["-c", sql]).output().unwrap();
        match output.status.success() {
            true => Ok(String::from_utf8(output.stdout).unwrap().trim().to_owned()),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }

    /// `psql` as a login, to be run.
    pub fn psql_command(&self, login: &str) -> Command {
        let mut command = Command::new("psql");
        command
            .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-d", "postgres", "-U", login])
            .args(["-p", &self.port.to_string()])
            .env("PGCONNECT_TIMEOUT", "5");
        command
    }

    /// As the server's administrator, one statement after the other.
    pub fn admin(&self, sql: &str) {
        for statement in sql.split("; ") {
            self.psql("admin", statement).unwrap();
        }
    }

    /// Whether a login can read the orders.
    pub fn can_read_orders(&self, login: &str) -> bool {
        self.psql(login, "SELECT id FROM orders") == Ok("4711".to_owned())
    }
}
