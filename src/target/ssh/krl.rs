//! The revocation list that sshd reads (`RevokedKeys`), in OpenSSH's binary form: PROTOCOL.krl.
//!
//! Certificates are revoked by key id, which names the grant, so that nothing has to be remembered of them but that. What is on
//! the list is kept in a JSON file beside it; ids whose certificates have expired are dropped. Both are replaced atomically, and read
//! anew under a lock before each change: other processes may keep the same list.

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

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
    /// Another process.
    #[error("the revocation list {path} has been locked by another process for {seconds} seconds")]
    Locked { path: String, seconds: u64 },
    /// The authority's key.
    #[error("the authority's key cannot be written: {0}")]
    Key(#[from] ssh_key::Error),
}

/// How long is waited for other processes that change the list.
const PATIENCE: Duration = Duration::from_secs(10);

/// The list of one authority.
pub(super) struct RevocationList {
    path: PathBuf,
    authority: PublicKey,
}

#[derive(Default, Serialize, Deserialize)]
struct State {
    /// Grows with every change: servers and people can tell which list is newer.
    version: u64,
    /// By key id.
    revoked: BTreeMap<String, Revoked>,
}

#[derive(Serialize, Deserialize)]
struct Revoked {
    /// When the last certificate with this id expires.
    expires_at: DateTime<Utc>,
    /// When it was revoked.
    revoked_at: DateTime<Utc>,
}

impl RevocationList {
    /// Opens the list; writes it anew, or an empty one if there is none, for sshd refuses everybody if the file is missing.
    pub fn open(path: PathBuf, authority: PublicKey) -> Result<Self, KrlError> {
        let list = Self { path, authority };
        let _lock = list.lock_soon()?;
        list.write(&list.read()?, DateTime::UNIX_EPOCH)?;
        Ok(list)
    }

    /// Puts a key id on the list until its certificates expire.
    pub async fn revoke(&self, key_id: &str, expires_at: DateTime<Utc>, now: DateTime<Utc>) -> Result<(), KrlError> {
        self.change(now, |revoked| {
            revoked.insert(key_id.to_owned(), Revoked { expires_at, revoked_at: now });
            true
        })
        .await
    }

    /// Takes a key id off the list, unless it was revoked after `now`: whoever asks was suspended meanwhile, and others went on. False
    /// if it stays.
    pub async fn allow(&self, key_id: &str, now: DateTime<Utc>) -> Result<bool, KrlError> {
        let mut allowed = true;
        self.change(now, |revoked| {
            allowed = revoked.get(key_id).is_none_or(|known| known.revoked_at <= now);
            allowed && revoked.remove(key_id).is_some()
        })
        .await?;
        Ok(allowed)
    }

    /// Drops what has expired.
    pub async fn prune(&self, now: DateTime<Utc>) -> Result<(), KrlError> {
        self.change(now, |revoked| revoked.values().any(|known| known.is_over(now))).await
    }

    /// Reads, changes and writes the list, if `change` says that there is something to write, while no other process does.
    async fn change(
        &self,
        now: DateTime<Utc>,
        change: impl FnOnce(&mut BTreeMap<String, Revoked>) -> bool,
    ) -> Result<(), KrlError> {
        let _lock = self.lock().await?;
        let mut state = self.read()?;
        if !change(&mut state.revoked) {
            return Ok(());
        }
        state.version += 1;
        state.revoked.retain(|_, known| !known.is_over(now));
        self.write(&state, now)
    }

    /// The lock is on a file of its own: the others are replaced.
    async fn lock(&self) -> Result<File, KrlError> {
        let file = self.lock_file()?;
        let began = Instant::now();
        while !self.try_lock(&file)? {
            if began.elapsed() > PATIENCE {
                return Err(self.locked());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(file)
    }

    /// The same, where there is nothing else to do meanwhile.
    fn lock_soon(&self) -> Result<File, KrlError> {
        let file = self.lock_file()?;
        let began = Instant::now();
        while !self.try_lock(&file)? {
            if began.elapsed() > PATIENCE {
                return Err(self.locked());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(file)
    }

    fn try_lock(&self, file: &File) -> Result<bool, KrlError> {
        match file.try_lock() {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(error)) => Err(KrlError::Io { path: shown(&beside(&self.path, ".lock")), error }),
        }
    }

    fn lock_file(&self) -> Result<File, KrlError> {
        let path = beside(&self.path, ".lock");
        let open = File::options().write(true).create(true).truncate(false).open(&path);
        open.map_err(|error| KrlError::Io { path: shown(&path), error })
    }

    fn locked(&self) -> KrlError {
        KrlError::Locked { path: shown(&self.path), seconds: PATIENCE.as_secs() }
    }

    fn read(&self) -> Result<State, KrlError> {
        let path = beside(&self.path, ".json");
        match std::fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).map_err(|error| KrlError::State { path: shown(&path), error }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(State::default()),
            Err(error) => Err(KrlError::Io { path: shown(&path), error }),
        }
    }

    /// The state first: a list that is older than its state is put right by the next change, or start.
    fn write(&self, state: &State, now: DateTime<Utc>) -> Result<(), KrlError> {
        let path = beside(&self.path, ".json");
        let text = serde_json::to_vec_pretty(state).map_err(|error| KrlError::State { path: shown(&path), error })?;
        replace(&path, &text)?;
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

impl Revoked {
    /// Whether its certificates have expired. sshd's clock may be a little behind ours.
    fn is_over(&self, now: DateTime<Utc>) -> bool {
        self.expires_at + chrono::TimeDelta::hours(1) <= now
    }
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(ending);
    path.with_file_name(name)
}

fn shown(path: &Path) -> String {
    path.display().to_string()
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

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    fn noon() -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000, 0).unwrap()
    }

    fn authority() -> PublicKey {
        let pair = ssh_key::private::Ed25519Keypair::from_seed(&[7; 32]);
        ssh_key::PrivateKey::new(pair.into(), "daypass").unwrap().public_key().clone()
    }

    fn open(dir: &Path) -> RevocationList {
        RevocationList::open(dir.join("krl"), authority()).unwrap()
    }

    fn listed(list: &RevocationList) -> Vec<String> {
        list.read().unwrap().revoked.into_keys().collect()
    }

    #[tokio::test]
    async fn processes_that_keep_one_list_do_not_take_from_it_what_others_put_there() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (open(dir.path()), open(dir.path()));
        let until = noon() + TimeDelta::hours(8);
        one.revoke("first", until, noon()).await.unwrap();
        two.revoke("second", until, noon()).await.unwrap();
        one.revoke("third", until, noon()).await.unwrap();
        assert_eq!(listed(&two), ["first", "second", "third"]);
        assert!(two.allow("first", noon()).await.unwrap());
        assert_eq!(listed(&one), ["second", "third"]);
        let list = std::fs::read(dir.path().join("krl")).unwrap();
        let has = |id: &str| list.windows(id.len()).any(|window| window == id.as_bytes());
        assert!(has("second") && has("third") && !has("first"));
        drop(open(dir.path()));
        assert_eq!(listed(&one), ["second", "third"], "whoever starts takes nothing away");
    }

    #[test]
    fn many_at_once_lose_nothing() {
        let dir = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for process in 0..4 {
                let dir = dir.path();
                scope.spawn(move || {
                    let list = open(dir);
                    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
                    for nth in 0..10 {
                        let id = format!("{process}-{nth}");
                        runtime.block_on(list.revoke(&id, noon() + TimeDelta::hours(8), noon())).unwrap();
                    }
                });
            }
        });
        assert_eq!(listed(&open(dir.path())).len(), 40);
    }

    #[tokio::test]
    async fn whoever_was_suspended_does_not_take_a_later_revocation_back() {
        let dir = tempfile::tempdir().unwrap();
        let list = open(dir.path());
        list.revoke("first", noon() + TimeDelta::hours(8), noon() + TimeDelta::hours(2)).await.unwrap();
        assert!(!list.allow("first", noon()).await.unwrap(), "decided two hours before");
        assert_eq!(listed(&list), ["first"]);
        assert!(list.allow("first", noon() + TimeDelta::hours(3)).await.unwrap());
        assert!(listed(&list).is_empty());
    }

    #[tokio::test]
    async fn what_has_expired_leaves_the_list() {
        let dir = tempfile::tempdir().unwrap();
        let list = open(dir.path());
        list.revoke("first", noon(), noon()).await.unwrap();
        list.prune(noon() + TimeDelta::minutes(59)).await.unwrap();
        assert_eq!(listed(&list), ["first"], "sshd's clock may be behind");
        list.prune(noon() + TimeDelta::minutes(60)).await.unwrap();
        assert!(listed(&list).is_empty());
    }
}
