//! Daypass as an OpenSSH certificate authority: a user certificate per public key of the subject, valid exactly as long as the
//! grant, and a revocation list for grants that end earlier.
//!
//! Servers trust the authority (`TrustedUserCAKeys`) and read the list (`RevokedKeys`). Expiry needs nobody: sshd itself
//! refuses a certificate whose time is over. Formats: PROTOCOL.certkeys and PROTOCOL.krl of OpenSSH.

mod krl;

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};
use ssh_key::certificate::{Builder, CertType};
use ssh_key::{Algorithm, HashAlg, LineEnding, PrivateKey, PublicKey};

use super::{Observed, Occasion, Receipt, Target, TargetError};
use crate::github::App;
use crate::policy::entitlement::{Access, Entitlement};
use crate::policy::kind::TargetKind;
use crate::policy::name::{Login, RepositoryName, UserId};
use krl::RevocationList;

/// Keys of one person that are certified.
const MOST_KEYS: usize = 10;

/// A certificate authority for a set of servers.
pub struct Ssh {
    authority: PrivateKey,
    extensions: Vec<String>,
    source_addresses: Vec<String>,
    revoked: RevocationList,
    accounts: Accounts,
}

/// Where the public keys of GitHub accounts are read.
pub struct Accounts {
    /// The app.
    pub app: App,
    /// The repository whose installation is used.
    pub repository: RepositoryName,
}

/// What is asked for.
struct Wanted<'a> {
    login: &'a Login,
    user: UserId,
    keys: &'a [String],
    principals: Vec<&'a str>,
    grant: &'a str,
    not_before: DateTime<Utc>,
    not_after: DateTime<Utc>,
}

impl std::fmt::Debug for Ssh {
    /// Not the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Ssh({})", self.authority.public_key().fingerprint(HashAlg::Sha256))
    }
}

/// Makes a new authority: its private key at `path`, readable by its owner only, its public key beside it as `path.pub`.
pub fn generate(path: &Path) -> Result<(), TargetError> {
    let seed: [u8; 32] = rand::random();
    let pair = ssh_key::private::Ed25519Keypair::from_seed(&seed);
    let key = PrivateKey::new(pair.into(), "daypass").map_err(permanent)?;
    let text = key.to_openssh(LineEnding::LF).map_err(permanent)?;
    write_private(path, text.as_bytes()).map_err(|error| permanent(format!("{}: {error}", path.display())))?;
    let public = key.public_key().to_openssh().map_err(permanent)?;
    std::fs::write(path.with_extension("pub"), public + "\n").map_err(permanent)
}

#[cfg(unix)]
fn write_private(path: &Path, text: &[u8]) -> std::io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text)
}

#[cfg(not(unix))]
fn write_private(path: &Path, text: &[u8]) -> std::io::Result<()> {
    std::fs::write(path, text)
}

fn permanent(error: impl std::fmt::Display) -> TargetError {
    TargetError::Permanent(error.to_string())
}

impl Ssh {
    /// The authority whose key is at `authority`; its revocation list is kept at `krl_file`, which servers read.
    pub fn open(
        authority: &Path,
        krl_file: PathBuf,
        extensions: Vec<String>,
        source_addresses: Vec<String>,
        accounts: Accounts,
    ) -> Result<Self, TargetError> {
        let shown = authority.display();
        check_permissions(authority)?;
        let text =
            std::fs::read_to_string(authority).map_err(|error| permanent(format!("`ca_key_file` {shown}: {error}")))?;
        let authority = PrivateKey::from_openssh(&text)
            .map_err(|error| permanent(format!("`ca_key_file` {shown} is no OpenSSH private key: {error}")))?;
        if authority.is_encrypted() || authority.algorithm() != Algorithm::Ed25519 {
            return Err(permanent(format!("`ca_key_file` {shown} must be an ed25519 key without a passphrase")));
        }
        let revoked = RevocationList::open(krl_file, authority.public_key().clone()).map_err(permanent)?;
        Ok(Self { authority, extensions, source_addresses, revoked, accounts })
    }

    /// The line servers put into the file `TrustedUserCAKeys` names.
    pub fn public_key(&self) -> String {
        self.authority.public_key().to_openssh().unwrap_or_default()
    }

    /// The subject's public keys: those the policy names, else those of the GitHub account.
    async fn keys(&self, wanted: &Wanted<'_>) -> Result<Vec<PublicKey>, TargetError> {
        let texts = if wanted.keys.is_empty() { self.account_keys(wanted.user).await? } else { wanted.keys.to_vec() };
        let keys: Vec<PublicKey> =
            texts.iter().filter_map(|text| PublicKey::from_openssh(text.trim()).ok()).take(MOST_KEYS).collect();
        if keys.is_empty() {
            return Err(TargetError::Permanent(format!(
                "{} has no SSH key that can be certified; add one to the GitHub account, or `people: {{ {}: {{ ssh_keys: […] }} }}` \
                 to the policy",
                wanted.login, wanted.login
            )));
        }
        Ok(keys)
    }

    async fn account_keys(&self, user: UserId) -> Result<Vec<String>, TargetError> {
        let read = async {
            let github = self.accounts.app.repository(&self.accounts.repository).await?;
            match github.account_by_id(user).await? {
                Some(account) => github.user_keys(&account.login).await,
                None => Ok(Vec::new()),
            }
        };
        read.await.map_err(|error| match error.is_temporary() {
            true => TargetError::Temporary(format!("the SSH keys of the account cannot be read: {error}")),
            false => TargetError::Permanent(format!("the SSH keys of the account cannot be read: {error}")),
        })
    }

    fn certify(&self, key: &PublicKey, wanted: &Wanted<'_>) -> Result<(u64, String), TargetError> {
        let serial = self.serial(key, wanted.grant);
        let nonce: [u8; 32] = rand::random();
        let seconds = |time: DateTime<Utc>| u64::try_from(time.timestamp()).map_err(permanent);
        let (from, until) = (seconds(wanted.not_before)?, seconds(wanted.not_after)?);
        let build = || -> ssh_key::Result<String> {
            let mut builder = Builder::new(nonce.to_vec(), key.key_data().clone(), from, until)?;
            builder
                .serial(serial)?
                .cert_type(CertType::User)?
                .key_id(key_id(wanted))?
                .comment(wanted.login.as_str())?;
            for principal in &wanted.principals {
                builder.valid_principal(*principal)?;
            }
            if !self.source_addresses.is_empty() {
                builder.critical_option("source-address", self.source_addresses.join(","))?;
            }
            for extension in &self.extensions {
                builder.extension(extension, "")?;
            }
            builder.sign(&self.authority)?.to_openssh()
        };
        build().map(|certificate| (serial, certificate)).map_err(permanent)
    }

    /// The same for the same key and grant: a certificate issued twice is one certificate.
    fn serial(&self, key: &PublicKey, grant: &str) -> u64 {
        let mut hash = Sha256::new();
        for part in [self.public_key(), key.fingerprint(HashAlg::Sha256).to_string(), grant.to_owned()] {
            hash.update(part.as_bytes());
            hash.update([0]);
        }
        let digest = hash.finalize();
        let number = digest.iter().take(8).fold(0_u64, |number, byte| (number << 8) | u64::from(*byte));
        number >> 1
    }
}

fn check_permissions(path: &Path) -> Result<(), TargetError> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let metadata =
            std::fs::metadata(path).map_err(|error| permanent(format!("`ca_key_file` {}: {error}", path.display())))?;
        if metadata.permissions().mode() & 0o077 != 0 {
            return Err(permanent(format!(
                "`ca_key_file` {0} can be read by others; run: chmod 600 {0}",
                path.display()
            )));
        }
    }
    Ok(())
}

/// What sshd logs at each login; it names the grant.
fn key_id(wanted: &Wanted<'_>) -> String {
    format!("daypass:{}:{}", wanted.grant, wanted.login)
}

fn wanted(entitlement: &Entitlement) -> Result<Wanted<'_>, TargetError> {
    match &entitlement.access {
        Access::Ssh { login, user, keys, principals, grant, not_before, not_after } => Ok(Wanted {
            login,
            user: *user,
            keys,
            principals: principals.iter().map(String::as_str).collect(),
            grant,
            not_before: *not_before,
            not_after: *not_after,
        }),
        _ => Err(TargetError::Permanent(format!("{entitlement} is not SSH access"))),
    }
}

#[async_trait]
impl Target for Ssh {
    fn kind(&self) -> TargetKind {
        TargetKind::Ssh
    }

    async fn check(&self) -> Result<String, TargetError> {
        Ok(format!("authority {}", self.authority.public_key().fingerprint(HashAlg::Sha256)))
    }

    /// Nobody can have a certificate of a grant that was never applied.
    async fn observe(&self, _entitlement: &Entitlement) -> Result<Observed, TargetError> {
        Ok(Observed::Absent)
    }

    async fn grant(
        &self,
        entitlement: &Entitlement,
        _until: DateTime<Utc>,
        occasion: &Occasion,
    ) -> Result<Receipt, TargetError> {
        let wanted = wanted(entitlement)?;
        let mut receipt = Receipt::default();
        let mut certificates = Vec::new();
        for key in self.keys(&wanted).await? {
            let (serial, certificate) = self.certify(&key, &wanted)?;
            receipt.details.insert(format!("serial {serial}"), key.fingerprint(HashAlg::Sha256).to_string());
            certificates.push(certificate);
        }
        if !self.revoked.allow(&key_id(&wanted), occasion.now).await.map_err(temporary)? {
            return Err(temporary("it was revoked meanwhile; nothing was changed"));
        }
        receipt.summary = format!(
            "{} for {}; save each beside its private key with the name of the key and -cert.pub, then use ssh as always",
            if certificates.len() == 1 {
                "a certificate".to_owned()
            } else {
                format!("{} certificates", certificates.len())
            },
            wanted.principals.join(", "),
        );
        receipt.details.insert("key id".to_owned(), key_id(&wanted));
        receipt.handout = Some(certificates.join("\n"));
        Ok(receipt)
    }

    async fn revoke(
        &self,
        entitlement: &Entitlement,
        _receipt: Option<&Receipt>,
        occasion: &Occasion,
    ) -> Result<Receipt, TargetError> {
        let wanted = wanted(entitlement)?;
        let summary = if occasion.now >= wanted.not_after {
            self.revoked.prune(occasion.now).await.map_err(temporary)?;
            "the certificates are no longer valid".to_owned()
        } else {
            self.revoked.revoke(&key_id(&wanted), wanted.not_after, occasion.now).await.map_err(temporary)?;
            "the certificates are on the revocation list".to_owned()
        };
        Ok(Receipt { summary, ..Receipt::default() })
    }
}

fn temporary(error: impl std::fmt::Display) -> TargetError {
    TargetError::Temporary(error.to_string())
}
