//! JSON lines at the end of a file. The file is opened for each batch, so that it may be moved away at any time; what a crash left
//! of a line is closed off, and the event written again.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::{Sink, StreamError, line};
use crate::ledger::Event;

/// Lines in a file.
#[derive(Debug)]
pub(super) struct Lines {
    path: PathBuf,
}

impl Lines {
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }
}

#[async_trait]
impl Sink for Lines {
    async fn send(&self, events: &[Event], _now: DateTime<Utc>) -> Result<(), StreamError> {
        let mut text = String::new();
        for event in events {
            text.push_str(&line(event));
            text.push('\n');
        }
        let path = self.path.clone();
        let failed = |error: io::Error| StreamError(format!("{}: {error}", self.path.display()));
        tokio::task::spawn_blocking(move || append(&path, text.as_bytes()))
            .await
            .map_err(StreamError::new)?
            .map_err(failed)
    }
}

fn append(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut file = open(path)?;
    if file.seek(SeekFrom::End(0))? > 0 {
        file.seek(SeekFrom::End(-1))?;
        let mut last = [0];
        file.read_exact(&mut last)?;
        if last != *b"\n" {
            file.write_all(b"\n")?;
        }
    }
    file.write_all(text)?;
    file.sync_data()
}

#[cfg(unix)]
fn open(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    OpenOptions::new().create(true).append(true).read(true).mode(0o640).open(path)
}

#[cfg(not(unix))]
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).read(true).open(path)
}
