//! Credentials of targets: a text of the configuration, a file, or what a command prints. Files and commands are read anew at each
//! use, so that a credential can be changed while Daypass runs.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use secrecy::SecretString;
use tokio::io::AsyncReadExt;

use super::TargetError;

/// How long a command may take to print a credential.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes a credential may have.
const LONGEST: u64 = 64 * 1024;

/// Where a credential is.
#[derive(Debug, Clone)]
pub struct Credential {
    key: &'static str,
    source: Source,
}

#[derive(Debug, Clone)]
enum Source {
    Inline(SecretString),
    File(PathBuf),
    Command(Vec<String>),
}

impl Credential {
    /// The one that is given of `key`, `key_file` and `key_command`.
    ///
    /// # Errors
    /// None or several of them are given.
    pub fn one_of(
        key: &'static str,
        (inline, file, command): (Option<&SecretString>, Option<&PathBuf>, Option<&Vec<String>>),
    ) -> Result<Self, TargetError> {
        let source = match (inline, file, command) {
            (Some(secret), None, None) => Source::Inline(secret.clone()),
            (None, Some(file), None) => Source::File(file.clone()),
            (None, None, Some(command)) if !command.is_empty() => Source::Command(command.clone()),
            _ => return Err(TargetError::Permanent(format!("give one of `{key}`, `{key}_file` and `{key}_command`"))),
        };
        Ok(Self { key, source })
    }

    /// The credential as it is now, without white space around it.
    ///
    /// # Errors
    /// The file cannot be read, or the command fails: temporary, as somebody may be changing it just now.
    pub async fn read(&self) -> Result<SecretString, TargetError> {
        let key = self.key;
        let text = match &self.source {
            Source::Inline(secret) => return Ok(secret.clone()),
            Source::File(path) => tokio::fs::read_to_string(path)
                .await
                .map_err(|error| TargetError::Temporary(format!("`{key}_file` {}: {error}", path.display())))?,
            Source::Command(command) => tokio::time::timeout(PATIENCE, printed(command))
                .await
                .unwrap_or_else(|_| Err(format!("it takes longer than {} seconds", PATIENCE.as_secs())))
                .map_err(|error| TargetError::Temporary(format!("`{key}_command` {:?}: {error}", command.first())))?,
        };
        match text.trim() {
            "" => Err(TargetError::Temporary(format!("`{key}` is empty"))),
            text => Ok(SecretString::from(text.to_owned())),
        }
    }
}

/// What a program prints. What it says on its error output is not shown: it may be the secret.
async fn printed(command: &[String]) -> Result<String, String> {
    let (program, arguments) = command.split_first().ok_or("it is empty")?;
    let mut child = tokio::process::Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| error.to_string())?;
    let mut text = String::new();
    if let Some(output) = child.stdout.take() {
        output.take(LONGEST).read_to_string(&mut text).await.map_err(|error| error.to_string())?;
    }
    let status = child.wait().await.map_err(|error| error.to_string())?;
    if status.success() { Ok(text) } else { Err(status.to_string()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;

    fn of(file: Option<PathBuf>, command: &[&str]) -> Credential {
        let command: Vec<String> = command.iter().map(|word| (*word).to_owned()).collect();
        let command = (!command.is_empty()).then_some(command);
        Credential::one_of("token", (None, file.as_ref(), command.as_ref())).unwrap()
    }

    #[tokio::test]
    async fn a_credential_that_is_changed_is_read_anew() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let credential = of(Some(file.path().to_owned()), &[]);
        assert!(credential.read().await.is_err(), "nothing yet");
        for secret in ["first\n", "second\n"] {
            std::fs::write(file.path(), secret).unwrap();
            assert_eq!(credential.read().await.unwrap().expose_secret(), secret.trim());
        }
    }

    #[tokio::test]
    async fn a_command_prints_it_without_a_shell() {
        assert_eq!(of(None, &["echo", "$HOME; x"]).read().await.unwrap().expose_secret(), "$HOME; x");
        let error = of(None, &["sh", "-c", "echo s3cret >&2; exit 3"]).read().await.unwrap_err().to_string();
        assert!(error.contains("exit status: 3") && !error.contains("s3cret"), "{error}");
    }

    #[test]
    fn exactly_one_source_is_given() {
        let secret = SecretString::from("x");
        assert!(Credential::one_of("token", (None, None, None)).is_err());
        assert!(Credential::one_of("token", (Some(&secret), Some(&PathBuf::from("x")), None)).is_err());
    }
}
