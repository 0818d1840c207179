//! Secrets at the moment they are needed: read from a file, the environment or a command, never kept by the fleet.

use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use zeroize::Zeroizing;

use super::{Result, TransportError};
use crate::config::SecretRef;

/// How long a command may take to print its secret.
const COMMAND: Duration = Duration::from_secs(30);
/// Bytes of a secret.
const MAX_SIZE: u64 = 64 << 10;

/// A secret in memory: wiped when dropped, and shown to nobody.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }
    /// The text itself. Only for whoever sends it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The first line of what the reference yields.
///
/// # Errors
/// A file that is missing, that everybody may read, or is empty; a variable that is not set; a command that fails, prints
/// nothing or takes over 30 s. No error shows any of the secret.
pub async fn resolve(secret: &SecretRef) -> Result<Secret> {
    let at = || format!("{secret:?}");
    let bytes = match secret {
        SecretRef::File(path) => from_file(path).await?,
        SecretRef::Env(name) => match std::env::var(name) {
            Ok(text) => Zeroizing::new(text.into_bytes()),
            Err(_) => {
                return Err(denied(at(), "the environment has no such variable", format!("export {name} before lbdeck starts")));
            }
        },
        SecretRef::Command(argv) => from_command(argv).await?,
    };
    let line = bytes.split(|b| *b == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    match std::str::from_utf8(line) {
        Ok("") => Err(denied(at(), "the secret is empty", "its first line must be the secret".into())),
        Ok(text) => Ok(Secret::new(text.to_owned())),
        Err(_) => Err(denied(at(), "the secret is not UTF-8", "store it as text".into())),
    }
}

async fn from_file(path: &Path) -> Result<Zeroizing<Vec<u8>>> {
    let at = || format!("file {}", path.display());
    let read = async {
        let file = tokio::fs::File::open(path).await?;
        let mode = file.metadata().await?.mode();
        let mut bytes = Zeroizing::new(Vec::new());
        file.take(MAX_SIZE).read_to_end(&mut bytes).await?;
        Ok::<_, std::io::Error>((mode, bytes))
    };
    match read.await {
        Ok((mode, _)) if mode & 0o004 != 0 => {
            Err(denied(at(), "everybody on this machine may read the secret", format!("chmod o-rwx {}", path.display())))
        }
        Ok((_, bytes)) => Ok(bytes),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            Err(TransportError::NotFound { at: at(), what: "secret file".into() })
        }
        Err(e) => Err(denied(at(), &format!("the secret cannot be read: {e}"), "let your user read the file".into())),
    }
}

async fn from_command(argv: &[String]) -> Result<Zeroizing<Vec<u8>>> {
    let at = || format!("command {}", argv.first().map_or("", String::as_str));
    let other = |what: String| TransportError::Other { at: at(), what };
    let Some((program, args)) = argv.split_first() else { return Err(other("the command of a secret is empty".into())) };
    let mut command = tokio::process::Command::new(program);
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
    let mut child = command.spawn().map_err(|e| other(format!("cannot be started: {e}")))?;
    let Some(stdout) = child.stdout.take() else { return Err(other("has no output".into())) };
    let mut bytes = Zeroizing::new(Vec::new());
    let run = async {
        stdout.take(MAX_SIZE).read_to_end(&mut bytes).await?;
        child.wait().await
    };
    match tokio::time::timeout(COMMAND, run).await {
        Ok(Ok(status)) if status.success() => Ok(bytes),
        Ok(Ok(status)) => Err(other(format!("gave no secret ({status})"))),
        Ok(Err(e)) => Err(other(format!("gave no secret: {e}"))),
        Err(_) => Err(TransportError::Timeout { at: at(), doing: "waiting for a secret".into(), after: COMMAND }),
    }
}

fn denied(at: String, what: &str, hint: String) -> TransportError {
    TransportError::Auth { at, what: what.into(), hint }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn command(argv: &[&str]) -> SecretRef {
        SecretRef::Command(argv.iter().map(|a| (*a).to_owned()).collect())
    }

    #[tokio::test]
    async fn each_source_gives_its_first_line() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "hunter2\r\nsecond").unwrap();
        let secret = resolve(&SecretRef::File(file.path().into())).await.unwrap();
        assert_eq!((secret.expose(), format!("{secret:?}").as_str()), ("hunter2", "Secret(…)"));
        assert_eq!(resolve(&command(&["printf", "a b\nc"])).await.unwrap().expose(), "a b");
        assert_eq!(resolve(&SecretRef::Env("PATH".into())).await.unwrap().expose(), std::env::var("PATH").unwrap());
    }

    #[tokio::test]
    async fn what_is_wrong_is_said_without_the_secret() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "hunter2").unwrap();
        std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(0o644)).unwrap();
        let error = resolve(&SecretRef::File(file.path().into())).await.unwrap_err();
        assert!(error.to_string().contains("everybody") && error.hint().unwrap().starts_with("chmod"), "{error}");
        assert!(!format!("{error:?}").contains("hunter2"));
        for (secret, words) in [
            (SecretRef::File("/nonexistent/x".into()), "not found"),
            (SecretRef::Env("LBDECK_NO_SUCH".into()), "no such variable"),
            (command(&["sh", "-c", "echo hunter2; exit 3"]), "exit status: 3"),
            (command(&["true"]), "empty"),
            (command(&["/nonexistent/x"]), "cannot be started"),
            (command(&[]), "is empty"),
        ] {
            let error = resolve(&secret).await.unwrap_err();
            assert!(error.to_string().contains(words) && !error.to_string().contains("hunter2"), "{error}");
        }
    }
}
