//! A disk of sixteen megabytes, in memory. Mounting it needs root.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

pub struct Disk(tempfile::TempDir);

impl Disk {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=16m", "tmpfs"]).arg(dir.path()).status();
        assert!(mount.is_ok_and(|status| status.success()), "a disk cannot be mounted; this needs root");
        Self(dir)
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// The address of a database on it.
    pub fn store_url(&self) -> String {
        format!("sqlite://{}", self.path().join("daypass.db").display())
    }

    fn ballast(&self) -> PathBuf {
        self.path().join("ballast")
    }

    /// Not a byte is left.
    pub fn fill(&self) {
        let mut ballast = std::fs::File::create(self.ballast()).unwrap();
        while ballast.write(&[7; 4_096]).is_ok_and(|written| written > 0) {}
    }

    /// There is room again.
    pub fn make_room(&self) {
        std::fs::remove_file(self.ballast()).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.path()).status();
    }
}
