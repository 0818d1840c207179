//! How bytes reach a node. A transport runs argv, opens streams and handles files; it knows no engine.

pub mod fake;
pub mod http;
pub mod local;
pub mod prompt;
pub mod secret;
pub mod ssh;
pub mod tls;

pub use http::{HttpClient, HttpReply};
pub use local::LocalTransport;
pub use prompt::{NoPrompt, Prompt};
pub use ssh::{SshEnv, SshTransport};

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncWrite};

/// A byte stream to a socket on a node.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}
pub type BoxStream = Box<dyn Stream>;

/// A socket as the node sees it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Endpoint {
    Unix(PathBuf),
    /// `host:port`.
    Tcp(String),
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Unix(path) => write!(f, "{}", path.display()),
            Endpoint::Tcp(address) => write!(f, "{address}"),
        }
    }
}

/// What a command on a node left behind.
#[derive(Clone, Debug, Default)]
pub struct RunOutput {
    /// Exit status; None when it was ended by a signal.
    pub status: Option<u32>,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    /// Output went over the limit and was cut.
    pub truncated: bool,
}

/// Bounds that every remote call has.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub deadline: Duration,
    /// Bytes of output at most.
    pub output: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { deadline: Duration::from_secs(10), output: 4 << 20 }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileStat {
    pub size: u64,
    /// Seconds since the epoch on the node's own clock.
    pub mtime: i64,
    pub is_dir: bool,
}

/// Failures by what the caller can do about them.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TransportError {
    /// Network or service not there (refused, timed out, reset): worth a retry.
    #[error("{at}: {what}")]
    Unreachable { at: String, what: String },
    /// Nothing came in time.
    #[error("{at}: no answer within {:?} ({doing})", rounded(*.after))]
    Timeout { at: String, doing: String, after: Duration },
    /// The host key is unknown or has changed. Never retried.
    #[error("{at}: {what}")]
    HostKey { at: String, what: String, hint: String },
    /// No accepted way to log on. Never retried.
    #[error("{at}: {what}")]
    Auth { at: String, what: String, hint: String },
    /// Permission denied on a socket or file. Never retried.
    #[error("{at}: permission denied: {what}")]
    Denied { at: String, what: String, hint: String },
    /// A file or socket that is not there.
    #[error("{at}: not found: {what}")]
    NotFound { at: String, what: String },
    /// The far side sent more than the limit.
    #[error("{at}: more than {limit} bytes ({doing})")]
    TooLarge { at: String, doing: String, limit: usize },
    /// This transport has no such means (HTTP-only nodes have no files).
    #[error("{at}: {what}")]
    Unsupported { at: String, what: String },
    /// Anything else, in words.
    #[error("{at}: {what}")]
    Other { at: String, what: String },
}

impl TransportError {
    /// A later attempt may succeed without anybody changing anything.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Timeout { .. } | Self::Other { .. })
    }
    /// How to mend it, where we know.
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::HostKey { hint, .. } | Self::Auth { hint, .. } | Self::Denied { hint, .. } => Some(hint),
            _ => None,
        }
    }
}

pub type Result<T, E = TransportError> = std::result::Result<T, E>;

/// One node, reached one way. Implementations share one connection among all calls and reconnect with back-off.
///
/// Every method ends within its deadline, whatever the node does; only time in which a person is asked does not count. Cancelling a future leaves nothing running on the node
/// longer than its channel.
#[async_trait]
pub trait Transport: Send + Sync + fmt::Debug {
    /// For people: `ssh ops@lb1:22`, `local`.
    fn describe(&self) -> String;

    /// Waits while a person is asked something that calls depend on (a passphrase, a host key). True if somebody has been
    /// asked since the last look: a call that gave up meanwhile is then worth another try.
    async fn answered(&self) -> bool {
        false
    }

    /// Opens a stream to a socket on the node. The way taken is named by [`Transport::way`].
    async fn open(&self, endpoint: &Endpoint, deadline: Duration) -> Result<BoxStream>;

    /// How sockets are reached (`streamlocal`, `exec socat`, `direct-tcpip`, `local`), once known: shown beside the data.
    fn way(&self, endpoint: &Endpoint) -> String;

    /// Runs argv (never a shell string: each word arrives as one word), feeding `stdin`.
    async fn run(&self, argv: &[&str], stdin: &[u8], limits: Limits) -> Result<RunOutput>;

    /// The node's files; None where the transport has no access to them.
    fn files(&self) -> Option<&dyn Files>;
}

/// Files of a node. All paths are absolute.
#[async_trait]
pub trait Files: Send + Sync {
    async fn read(&self, path: &Path, limit: usize) -> Result<Vec<u8>>;
    /// Write beside, sync, rename over: readers see the old or the new file, never a part.
    async fn write_atomic(&self, path: &Path, bytes: &[u8], mode: u32) -> Result<()>;
    /// Creates the file only if nothing has that name (`O_EXCL`); false where something has.
    async fn create_new(&self, path: &Path, bytes: &[u8], mode: u32) -> Result<bool>;
    /// Writes a piece of a file that is put together where nobody looks yet: what lies before `offset` must be there, what lay
    /// after it goes. The file is made if it is missing.
    async fn write_at(&self, path: &Path, offset: u64, bytes: &[u8], mode: u32) -> Result<()> {
        let _ = (offset, bytes, mode);
        Err(TransportError::Unsupported { at: path.display().to_string(), what: "no files in pieces".into() })
    }
    async fn stat(&self, path: &Path) -> Result<Option<FileStat>>;
    /// Names in a folder; empty where the folder is not there.
    async fn list(&self, dir: &Path) -> Result<Vec<String>>;
    /// Makes the folder if it is missing (its parent must exist); fine when it is there.
    async fn ensure_dir(&self, dir: &Path, mode: u32) -> Result<()>;
    /// True where something was removed.
    async fn remove(&self, path: &Path) -> Result<bool>;
}

/// What was left of a deadline is no round number, and nobody wants its nanoseconds.
fn rounded(after: Duration) -> Duration {
    let step = Duration::from_millis(if after >= Duration::from_secs(1) { 100 } else { 1 });
    step.mul_f64(after.div_duration_f64(step).round())
}

/// What to do about a statistics socket that we may not use.
const SOCKET_HINT: &str = "haproxy.cfg: 'stats socket PATH mode 660 group GROUP', and the user who connects in that group";

/// `host:port`, with IPv6 addresses in brackets.
fn split_address(address: &str) -> Option<(&str, u16)> {
    let (host, port) = address.rsplit_once(':')?;
    let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    (!host.is_empty()).then_some((host, port.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_read_well() {
        let shown = |nanos| {
            let after = Duration::from_nanos(nanos);
            TransportError::Timeout { at: "lb1".into(), doing: "connecting".into(), after }.to_string()
        };
        assert_eq!(shown(4_999_990_322), "lb1: no answer within 5s (connecting)");
        assert_eq!(shown(1_540_000_000), "lb1: no answer within 1.5s (connecting)");
        assert_eq!(shown(199_700_000), "lb1: no answer within 200ms (connecting)");
    }

    #[test]
    fn addresses() {
        assert_eq!(split_address("lb1:80"), Some(("lb1", 80)));
        assert_eq!(split_address("[::1]:80"), Some(("::1", 80)));
        for bad in ["lb1", ":80", "lb1:", "lb1:x", "lb1:99999", ""] {
            assert_eq!(split_address(bad), None, "{bad}");
        }
    }
}
