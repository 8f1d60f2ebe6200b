//! An sshd that trusts an authority's certificates for principal `responder`, and reads its revocation list.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{Process, eventually, free_port, is_root};

pub struct Sshd {
    port: u16,
    dir: PathBuf,
    _server: Process,
}

impl Sshd {
    /// In `dir`, which holds the authority's public key `authority.pub` and its list `revoked.krl`.
    pub fn start(dir: &Path) -> Self {
        if is_root() {
            // Where sshd as root locks up its unprivileged half.
            std::fs::create_dir_all("/run/sshd").unwrap();
        }
        keygen(&dir.join("host"));
        std::fs::write(dir.join("principals"), "responder\n").unwrap();
        let port = free_port();
        let shown = dir.display();
        let config = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {shown}/host\nPidFile {shown}/sshd.pid\nUsePAM no\nStrictModes no\n\
             PermitRootLogin prohibit-password\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n\
             AuthorizedKeysFile none\nTrustedUserCAKeys {shown}/authority.pub\nRevokedKeys {shown}/revoked.krl\n\
             AuthorizedPrincipalsFile {shown}/principals\n"
        );
        std::fs::write(dir.join("sshd_config"), config).unwrap();
        let server = Command::new("/usr/sbin/sshd")
            .args(["-D", "-e", "-f"])
            .arg(dir.join("sshd_config"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(dir.join("sshd.log")).unwrap())
            .spawn()
            .unwrap();
        let sshd = Self { port, dir: dir.to_owned(), _server: Process(server) };
        eventually("sshd listens", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
        sshd
    }

    /// Whether a login with this key and certificate works: the remote side runs a command for us.
    pub fn lets_in(&self, key: &Path, certificate: &str) -> bool {
        let file = self.dir.join("used-cert.pub");
        std::fs::write(&file, format!("{certificate}\n")).unwrap();
        let user = String::from_utf8(Command::new("id").arg("-un").output().unwrap().stdout).unwrap();
        let output = Command::new("ssh")
            .args(["-F", "none", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no", "-o", "IdentitiesOnly=yes"])
            .args(["-o", "UserKnownHostsFile=/dev/null", "-o", "ConnectTimeout=10"])
            .arg("-o")
            .arg(format!("CertificateFile={}", file.display()))
            .arg("-i")
            .arg(key)
            .args(["-p", &self.port.to_string(), &format!("{}@127.0.0.1", user.trim()), "echo inside"])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        output.status.success() && output.stdout.starts_with(b"inside")
    }

    /// What sshd had to say.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("sshd.log")).unwrap()
    }
}

/// A new key at `path`, its public half beside it.
pub fn keygen(path: &Path) {
    let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(path).status().unwrap();
    assert!(made.success());
}
