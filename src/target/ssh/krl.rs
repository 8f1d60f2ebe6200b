//! The revocation list that sshd reads (`RevokedKeys`), in OpenSSH's binary form: PROTOCOL.krl.
//!
//! Certificates are revoked by key id, which names the grant, so that nothing has to be remembered of them but that. What is on
//! the list is kept in a JSON file beside it; ids whose certificates have expired are dropped. Both are replaced atomically.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use ssh_key::PublicKey;

/// A list that could not be kept.
#[derive(Debug, thiserror::Error)]
pub(super) enum KrlError {
    /// The file system.
    #[error("the revocation list {path} cannot be written: {error}")]
    Io { path: String, error: std::io::Error },
    /// The state beside the list.
    #[error("{path} does not hold what was written: {error}; restore it, or remove it together with the list")]
    State { path: String, error: serde_json::Error },
    /// The authority's key.
    #[error("the authority's key cannot be written: {0}")]
    Key(#[from] ssh_key::Error),
}

/// The list of one authority.
pub(super) struct RevocationList {
    path: PathBuf,
    authority: PublicKey,
    state: State,
}

#[derive(Default, Clone, Serialize, Deserialize)]
struct State {
    /// Grows with every change: servers and people can tell which list is newer.
    version: u64,
    /// Key ids, with the time their certificates expire.
    revoked: BTreeMap<String, DateTime<Utc>>,
}

impl RevocationList {
    /// Reads the list; writes an empty one if there is none, for sshd refuses everybody if the file is missing.
    pub fn open(path: PathBuf, authority: PublicKey) -> Result<Self, KrlError> {
        let beside = state_path(&path);
        let shown = || beside.display().to_string();
        let state = match std::fs::read(&beside) {
            Ok(text) => serde_json::from_slice(&text).map_err(|error| KrlError::State { path: shown(), error })?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => State::default(),
            Err(error) => return Err(KrlError::Io { path: shown(), error }),
        };
        let list = Self { path, authority, state };
        list.write(&list.state, DateTime::UNIX_EPOCH)?;
        Ok(list)
    }

    /// Puts a key id on the list until its certificates expire.
    pub fn revoke(&mut self, key_id: &str, expires_at: DateTime<Utc>, now: DateTime<Utc>) -> Result<(), KrlError> {
        self.change(now, |revoked| {
            revoked.insert(key_id.to_owned(), expires_at);
        })
    }

    /// Takes a key id off the list.
    pub fn allow(&mut self, key_id: &str, now: DateTime<Utc>) -> Result<(), KrlError> {
        if !self.state.revoked.contains_key(key_id) {
            return Ok(());
        }
        self.change(now, |revoked| {
            revoked.remove(key_id);
        })
    }

    /// Drops what has expired.
    pub fn prune(&mut self, now: DateTime<Utc>) -> Result<(), KrlError> {
        if self.state.revoked.values().all(|expires_at| *expires_at > now) {
            return Ok(());
        }
        self.change(now, |_| {})
    }

    fn change(
        &mut self,
        now: DateTime<Utc>,
        change: impl FnOnce(&mut BTreeMap<String, DateTime<Utc>>),
    ) -> Result<(), KrlError> {
        let mut state = self.state.clone();
        state.version += 1;
        change(&mut state.revoked);
        // sshd's clock may be a little behind ours.
        state.revoked.retain(|_, expires_at| *expires_at + chrono::TimeDelta::hours(1) > now);
        self.write(&state, now)?;
        self.state = state;
        Ok(())
    }

    /// The state first: a list that is older than its state is put right at the next start.
    fn write(&self, state: &State, now: DateTime<Utc>) -> Result<(), KrlError> {
        let beside = state_path(&self.path);
        let text = serde_json::to_vec_pretty(state)
            .map_err(|error| KrlError::State { path: beside.display().to_string(), error })?;
        replace(&beside, &text)?;
        replace(&self.path, &self.encode(state, now)?)
    }

    fn encode(&self, state: &State, now: DateTime<Utc>) -> Result<Vec<u8>, KrlError> {
        let mut list = b"SSHKRL\n\0".to_vec();
        list.extend(1_u32.to_be_bytes());
        list.extend(state.version.to_be_bytes());
        list.extend(u64::try_from(now.timestamp()).unwrap_or(0).to_be_bytes());
        list.extend(0_u64.to_be_bytes());
        string(&mut list, b"");
        string(&mut list, b"daypass");
        if !state.revoked.is_empty() {
            let mut ids = Vec::new();
            state.revoked.keys().for_each(|id| string(&mut ids, id.as_bytes()));
            let mut certificates = Vec::new();
            string(&mut certificates, &self.authority.to_bytes()?);
            string(&mut certificates, b"");
            certificates.push(0x23); // KRL_SECTION_CERT_KEY_ID
            string(&mut certificates, &ids);
            list.push(1); // KRL_SECTION_CERTIFICATES
            string(&mut list, &certificates);
        }
        Ok(list)
    }
}

fn string(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend(u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend(bytes);
}

fn state_path(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".json");
    path.with_file_name(name)
}

fn replace(path: &Path, bytes: &[u8]) -> Result<(), KrlError> {
    let io = |error| KrlError::Io { path: path.display().to_string(), error };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(io)?;
    file.write_all(bytes).map_err(io)?;
    file.as_file().sync_all().map_err(io)?;
    #[cfg(unix)]
    {
        // Public: sshd reads it as another user.
        use std::os::unix::fs::PermissionsExt;
        file.as_file().set_permissions(std::fs::Permissions::from_mode(0o644)).map_err(io)?;
    }
    file.persist(path).map_err(|error| io(error.error))?;
    Ok(())
}
