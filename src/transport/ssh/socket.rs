//! Unix sockets of a node: by streamlocal forwarding, and where sshd forbids that, through socat or nc on the node.
//!
//! OpenSSH gives one and the same answer ('open failed') for forwarding that is forbidden, a socket that is not there, one
//! that we may not use, and one that nobody listens on. What it was is found out by sftp, then by the commands' own words.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use russh::ChannelOpenFailure;

use super::channel::{ChannelIo, complaint_error, run};
use super::connection::{Connection, OpenError};
use super::quote::quote;
use super::sftp::{Sftp, SocketFile};
use crate::transport::{BoxStream, Result, SOCKET_HINT, TransportError};

/// How a node's unix sockets are reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(super) enum Way {
    Unknown = 0,
    Streamlocal = 1,
    Socat = 2,
    Nc = 3,
}

/// The way that worked, remembered from one connection to the next.
#[derive(Debug, Default)]
pub(super) struct Remembered(AtomicU8);

impl Remembered {
    pub(super) fn get(&self) -> Way {
        match self.0.load(Ordering::Relaxed) {
            1 => Way::Streamlocal,
            2 => Way::Socat,
            3 => Way::Nc,
            _ => Way::Unknown,
        }
    }
    fn set(&self, way: Way) {
        self.0.store(way as u8, Ordering::Relaxed);
    }
}

/// Why a socket could not be opened.
pub(super) enum Failure {
    /// The connection is gone: another may work.
    Lost(TransportError),
    Final(TransportError),
}

impl Way {
    /// argv that carries a stream to the socket.
    fn command(self, path: &str) -> Option<Vec<String>> {
        match self {
            Way::Socat => Some(vec!["socat".into(), "-".into(), format!("UNIX-CONNECT:{}", socat_address(path))]),
            Way::Nc => Some(vec!["nc".into(), "-U".into(), "--".into(), path.into()]),
            Way::Unknown | Way::Streamlocal => None,
        }
    }

    /// argv that connects to the socket and ends at once.
    fn probe(self, path: &str) -> Option<Vec<String>> {
        match self {
            Way::Socat => {
                Some(vec!["socat".into(), "-u".into(), "OPEN:/dev/null".into(), format!("UNIX-CONNECT:{}", socat_address(path))])
            }
            Way::Nc => Some(vec!["nc".into(), "-z".into(), "-U".into(), "--".into(), path.into()]),
            Way::Unknown | Way::Streamlocal => None,
        }
    }
}

/// `sftp` opens the connection's sftp session, which is only needed when something is wrong or a command carries the stream.
pub(super) async fn open<S, F>(
    connection: &Arc<Connection>,
    sftp: S,
    path: &Path,
    remembered: &Remembered,
) -> Result<BoxStream, Failure>
where
    S: Fn() -> F,
    F: Future<Output = Result<Arc<Sftp>>>,
{
    let at = &connection.at;
    let Some(text) = path.to_str() else {
        return Err(Failure::Final(TransportError::Unsupported {
            at: at.clone(),
            what: format!("{}: not UTF-8", path.display()),
        }));
    };
    let way = remembered.get();
    if let Some(command) = way.command(text) {
        // A command that fails tells so too late, so what can be known is asked first.
        check_file(connection, sftp().await.ok(), text).await.map_err(Failure::Final)?;
        return start(connection, &command).await;
    }
    match connection.unix(text).await {
        Ok(stream) => {
            remembered.set(Way::Streamlocal);
            Ok(Box::new(stream))
        }
        Err(OpenError::Lost(e)) => Err(Failure::Lost(e)),
        Err(OpenError::Refused(ChannelOpenFailure::ResourceShortage, words)) => {
            Err(Failure::Final(TransportError::Unreachable { at: at.clone(), what: format!("{text}: {words}") }))
        }
        Err(OpenError::Refused(..)) if way == Way::Streamlocal => {
            // Forwarding has worked before, so it is the socket.
            check_file(connection, sftp().await.ok(), text).await.map_err(Failure::Final)?;
            Err(Failure::Final(nobody_listens(at, text)))
        }
        Err(OpenError::Refused(..)) => fall_back(connection, sftp().await.ok(), text, remembered).await,
    }
}

/// Forwarding was refused for a reason that sshd does not tell: finds it out, and another way if it was the forwarding itself.
async fn fall_back(
    connection: &Arc<Connection>,
    sftp: Option<Arc<Sftp>>,
    path: &str,
    remembered: &Remembered,
) -> Result<BoxStream, Failure> {
    let at = &connection.at;
    check_file(connection, sftp, path).await.map_err(Failure::Final)?;
    for way in [Way::Socat, Way::Nc] {
        let (Some(probe), Some(command)) = (way.probe(path), way.command(path)) else { continue };
        let output = match execute(connection, &probe).await? {
            Some(output) => output,
            // No commands for us on this node.
            None => break,
        };
        match output.status {
            Some(0) => {
                let stream = start(connection, &command).await?;
                remembered.set(way);
                return Ok(stream);
            }
            // The shell's word for a command that is not installed.
            Some(126 | 127) => {}
            _ => {
                let error = complaint_error(at, &output.stderr);
                match error.kind() {
                    std::io::ErrorKind::PermissionDenied => return Err(Failure::Final(denied(at, path))),
                    std::io::ErrorKind::NotFound => return Err(Failure::Final(missing(at, path))),
                    std::io::ErrorKind::ConnectionRefused => return Err(Failure::Final(nobody_listens(at, path))),
                    // Another variant of the command, perhaps: the next may do.
                    _ => {}
                }
            }
        }
    }
    Err(Failure::Final(TransportError::Denied {
        at: at.clone(),
        what: format!("sshd does not forward to {path}, and neither socat nor 'nc -U' reaches it on the node"),
        hint: "set AllowStreamLocalForwarding yes in the node's sshd_config (and see that the authorized_keys entry has no 'restrict'), \
               or install socat; if forwarding is allowed, nobody listens on the socket"
            .into(),
    }))
}

/// What the file itself says. Nothing is said where there is no sftp to ask.
async fn check_file(connection: &Connection, sftp: Option<Arc<Sftp>>, path: &str) -> Result<()> {
    let Some(sftp) = sftp else { return Ok(()) };
    match sftp.socket(path).await? {
        SocketFile::Usable => Ok(()),
        SocketFile::Denied => Err(denied(&connection.at, path)),
        SocketFile::Missing => Err(missing(&connection.at, path)),
        SocketFile::NotSocket => {
            Err(TransportError::Other { at: connection.at.clone(), what: format!("{path} is not a socket") })
        }
    }
}

async fn start(connection: &Connection, command: &[String]) -> Result<BoxStream, Failure> {
    let session = connection.session().await.map_err(|e| failure(e, &connection.at))?;
    let argv: Vec<&str> = command.iter().map(String::as_str).collect();
    session.channel.exec(false, quote(&argv)).await.map_err(|_| Failure::Lost(connection.lost()))?;
    Ok(Box::new(ChannelIo::of_command(session, &connection.at)))
}

/// None where the server runs no commands.
async fn execute(connection: &Connection, command: &[String]) -> Result<Option<crate::transport::RunOutput>, Failure> {
    let session = connection.session().await.map_err(|e| failure(e, &connection.at))?;
    let argv: Vec<&str> = command.iter().map(String::as_str).collect();
    match run(session, &connection.at, quote(&argv), b"", 4096).await {
        Ok(output) => Ok(Some(output)),
        Err(TransportError::Denied { .. }) => Ok(None),
        Err(e) => Err(Failure::Final(e)),
    }
}

fn failure(error: OpenError, at: &str) -> Failure {
    match error {
        OpenError::Lost(e) => Failure::Lost(e),
        refused => Failure::Final(refused.into_transport(at, "opening a channel")),
    }
}

fn denied(at: &str, path: &str) -> TransportError {
    TransportError::Denied { at: at.into(), what: path.into(), hint: SOCKET_HINT.into() }
}

fn missing(at: &str, path: &str) -> TransportError {
    TransportError::NotFound { at: at.into(), what: format!("socket {path}") }
}

fn nobody_listens(at: &str, path: &str) -> TransportError {
    TransportError::Unreachable { at: at.into(), what: format!("{path}: connection refused (nobody listens on the socket)") }
}

/// socat reads commas, colons, quotes and brackets in an address as its own.
fn socat_address(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for c in path.chars() {
        if ",:!\"'\\({[".contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}
