//! A node as the installer uses it: argv with the rights that it takes, and files that are put there piece by piece.

use std::path::Path;
use std::time::Duration;

use crate::model::sanitize;
use crate::transport::{Limits, RunOutput, Transport, TransportError};

/// Bytes that go in one piece: what a bad link carries within the deadline of a file operation.
pub const PIECE: usize = 256 << 10;
/// For commands that only look or move a file.
pub const SHORT: Duration = Duration::from_secs(20);
/// Output that is kept of a command.
const OUTPUT: usize = 64 << 10;
/// Block of `dd`; [`PIECE`] is a multiple of it.
const BLOCK: usize = 4096;

#[derive(Debug, Clone, thiserror::Error)]
pub enum FarError {
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// A command ended with another status than 0.
    #[error("{command}: {said}")]
    Command { command: String, said: String },
    /// What is there is not what was sent.
    #[error("{what}")]
    Wrong { what: String },
}

impl FarError {
    /// The connection is gone or slow: the same may succeed later.
    pub fn is_transient(&self) -> bool {
        matches!(self, FarError::Transport(e) if e.is_transient())
    }
    pub fn hint(&self) -> Option<String> {
        match self {
            FarError::Transport(e) => e.hint().map(str::to_owned),
            FarError::Command { said, .. } => hint(said),
            FarError::Wrong { .. } => None,
        }
    }
}

/// What mends the commonest complaints of commands.
fn hint(said: &str) -> Option<String> {
    let said = said.to_ascii_lowercase();
    let text = if said.contains("no space left") {
        "make room on the node and run it again: it goes on where it stopped"
    } else if said.contains("glibc") || said.contains("error while loading shared libraries") {
        "this build needs newer libraries than the node has: build it static (docs/agent.md) and give it with --binary"
    } else if said.contains("exec format error") {
        "this build is for another kind of processor; give one for the node with --binary"
    } else if said.contains("password is required") || said.contains("not in the sudoers") {
        "let the ssh user run commands by sudo without a password, or connect as root, or give --prefix"
    } else if ["permission denied", "not permitted", "read-only file system", "cannot change permissions"]
        .iter()
        .any(|w| said.contains(w))
    {
        // The last is what `install -d` says where it could not make a folder.
        "the ssh user must be root or have sudo without a password; with --prefix it needs a folder of its own"
    } else {
        return None;
    };
    Some(text.to_owned())
}

/// Runs argv whatever its status.
pub async fn output(transport: &dyn Transport, argv: &[String], stdin: &[u8], deadline: Duration) -> Result<RunOutput, FarError> {
    let words: Vec<&str> = argv.iter().map(String::as_str).collect();
    match transport.run(&words, stdin, Limits { deadline, output: OUTPUT }).await {
        Ok(output) => Ok(output),
        // A local node has no shell to say so with a status.
        Err(TransportError::NotFound { what, .. }) => {
            Ok(RunOutput { status: Some(127), stderr: format!("{what}: not found").into_bytes(), ..RunOutput::default() })
        }
        Err(e) => Err(e.into()),
    }
}

/// Runs argv, which must end with status 0; its output.
pub async fn run(transport: &dyn Transport, argv: &[String], stdin: &[u8], deadline: Duration) -> Result<String, FarError> {
    let ran = output(transport, argv, stdin, deadline).await?;
    if ran.status == Some(0) {
        return Ok(String::from_utf8_lossy(&ran.stdout).into_owned());
    }
    let said = complaint(&ran);
    Err(FarError::Command { command: argv.join(" "), said })
}

/// The last words of a command that failed, in one line.
pub fn complaint(ran: &RunOutput) -> String {
    let text = if ran.stderr.is_empty() { &ran.stdout } else { &ran.stderr };
    let text = String::from_utf8_lossy(text);
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
    let from = lines.len().saturating_sub(6);
    let told = sanitize(&lines.get(from..).unwrap_or_default().join("; ")).into_owned();
    let status = ran.status.map_or_else(|| "ended by a signal".to_owned(), |s| format!("exit status {s}"));
    if told.is_empty() { status } else { format!("{told} ({status})") }
}

/// The sha256 in the output of sha256sum(1).
pub fn sum_in(output: &str) -> Option<&str> {
    let sum = output.split_whitespace().next()?.trim_start_matches('\\');
    (sum.len() == 64 && sum.bytes().all(|b| b.is_ascii_hexdigit())).then_some(sum)
}

/// Writes a piece of a file, by SFTP or, where there is none, by dd. `offset` is a multiple of [`PIECE`].
pub async fn put(transport: &dyn Transport, path: &Path, offset: u64, bytes: &[u8], mode: u32) -> Result<(), FarError> {
    if let Some(files) = transport.files() {
        match files.write_at(path, offset, bytes, mode).await {
            Err(TransportError::Unsupported { .. }) => {}
            other => return Ok(other?),
        }
    }
    let block = offset / BLOCK as u64;
    let argv = ["dd".to_owned(), format!("of={}", path.display()), format!("bs={BLOCK}"), format!("seek={block}")];
    // Without notrunc dd cuts the file at the place where it begins, which is what is wanted: nothing old stays behind it.
    run(transport, &argv, bytes, SHORT).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::LocalTransport;

    #[test]
    fn sums_are_taken_from_what_sha256sum_writes() {
        let sum = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(sum_in(&format!("{sum}  /x\n")), Some(sum));
        assert_eq!(sum_in(&format!("\\{sum}  /a\\nb\n")), Some(sum));
        for bad in ["", "sha256sum: /x: No such file", &sum[1..]] {
            assert_eq!(sum_in(bad), None, "{bad}");
        }
    }

    #[tokio::test]
    async fn a_failing_command_is_told_with_its_words_and_a_way_out() {
        let argv: Vec<String> = ["sh", "-c", "echo 'x: No space left on device' >&2; exit 4"].map(String::from).to_vec();
        let error = run(&LocalTransport, &argv, b"", SHORT).await.unwrap_err();
        assert!(error.to_string().ends_with("x: No space left on device (exit status 4)"), "{error}");
        assert!(error.hint().is_some_and(|h| h.contains("make room")) && !error.is_transient());
        let missing = output(&LocalTransport, &["/nonexistent/x".to_owned()], b"", SHORT).await.unwrap();
        assert_eq!(missing.status, Some(127));
    }

    #[tokio::test]
    async fn pieces_make_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        put(&LocalTransport, &path, 0, &[1; PIECE], 0o600).await.unwrap();
        put(&LocalTransport, &path, PIECE as u64, b"end", 0o600).await.unwrap();
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!((bytes.len(), &bytes[PIECE..]), (PIECE + 3, &b"end"[..]));
    }
}
