//! Files of a node by SFTP: one session a connection, opened when first needed, and requests sent together wherever the
//! protocol allows, because locks cost whatever a file costs.

use std::sync::atomic::{AtomicBool, Ordering};

use futures::FutureExt;
use futures::future::{join, join_all};
use russh_sftp::client::error::Error as SftpError;
use russh_sftp::client::{Config, RawSftpSession};
use russh_sftp::protocol::{FileAttributes, OpenFlags, Packet, StatusCode};

use super::channel::ChannelIo;
use super::connection::Connection;
use crate::model::sanitize;
use crate::transport::{FileStat, Result, TransportError};

/// Bytes of one read or write: what fits a channel's packet.
const CHUNK: u32 = 32_000;
/// Writes under way at once.
const WINDOW: usize = 16;
/// Entries of a folder.
const MAX_ENTRIES: usize = 100_000;
/// Seconds: whoever calls has a deadline of their own.
const NEVER: u64 = 86_400;
const POSIX_RENAME: &str = "posix-rename@openssh.com";
const FSYNC: &str = "fsync@openssh.com";

pub(super) struct Sftp {
    raw: RawSftpSession,
    at: String,
    posix_rename: bool,
    fsync: bool,
    broken: AtomicBool,
}

/// What asking for a socket's file says about it.
pub(super) enum SocketFile {
    /// It is there and we may use it.
    Usable,
    Denied,
    Missing,
    /// Something else has that name.
    NotSocket,
}

impl Sftp {
    pub(super) async fn open(connection: &Connection) -> Result<Self> {
        let at = connection.at.clone();
        let unsupported = |what: String| TransportError::Unsupported { at: at.clone(), what };
        let mut channel = connection.lasting_session().await.map_err(|e| e.into_transport(&at, "sftp"))?;
        channel.request_subsystem(true, "sftp").await.map_err(|_| connection.lost())?;
        loop {
            match channel.wait().await {
                Some(russh::ChannelMsg::Success) => break,
                Some(russh::ChannelMsg::Failure) => {
                    return Err(unsupported(
                        "the server has no sftp (add 'Subsystem sftp internal-sftp' to its sshd_config)".into(),
                    ));
                }
                Some(_) => {}
                None => return Err(connection.lost()),
            }
        }
        let config = Config { request_timeout_secs: NEVER, ..Config::default() };
        let raw = RawSftpSession::new_with_config(ChannelIo::new(channel, &at), config);
        let version = raw.init().await.map_err(|e| unsupported(format!("sftp does not start: {e}")))?;
        let has = |name: &str| version.extensions.contains_key(name);
        Ok(Self { posix_rename: has(POSIX_RENAME), fsync: has(FSYNC), raw, at, broken: AtomicBool::new(false) })
    }

    /// The far end is gone: another session is needed.
    pub(super) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Acquire)
    }

    fn error(&self, path: &str, doing: &str, error: SftpError) -> TransportError {
        let at = self.at.clone();
        match error {
            SftpError::Status(s) => match s.status_code {
                StatusCode::NoSuchFile => TransportError::NotFound { at, what: path.into() },
                StatusCode::PermissionDenied => TransportError::Denied {
                    at,
                    what: format!("{doing} {path}"),
                    hint: "let the ssh user have it, or connect as another user".into(),
                },
                _ => TransportError::Other { at, what: format!("{doing} {path}: {}", sanitize(&s.error_message)) },
            },
            other => {
                self.broken.store(true, Ordering::Release);
                TransportError::Unreachable { at, what: format!("{doing} {path}: sftp ended: {other}") }
            }
        }
    }

    /// Closing needs no answer: the request is sent, its reply is dropped.
    fn close(&self, handle: &str) {
        let _ = self.raw.close(handle).now_or_never();
    }

    pub(super) async fn read(&self, path: &str, limit: usize) -> Result<Vec<u8>> {
        let wrong = |e| self.error(path, "reading", e);
        let handle = self.raw.open(path, OpenFlags::READ, FileAttributes::empty()).await.map_err(wrong)?.handle;
        let result = self.read_handle(&handle, path, limit).await;
        self.close(&handle);
        result
    }

    async fn read_handle(&self, handle: &str, path: &str, limit: usize) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        // Most files fit one chunk; their size, asked at the same time, says that it was all.
        let (first, stat) = join(self.raw.read(handle, 0, CHUNK), self.raw.fstat(handle)).await;
        let size = stat.ok().and_then(|s| s.attrs.size).filter(|s| *s > 0);
        let mut next = first;
        loop {
            match next {
                Ok(data) if data.data.is_empty() => return Ok(bytes),
                Ok(data) => bytes.extend_from_slice(&data.data),
                Err(SftpError::Status(s)) if s.status_code == StatusCode::Eof => return Ok(bytes),
                Err(e) => return Err(self.error(path, "reading", e)),
            }
            if bytes.len() > limit {
                return Err(TransportError::TooLarge { at: self.at.clone(), doing: format!("reading {path}"), limit });
            }
            if size == Some(bytes.len() as u64) {
                return Ok(bytes);
            }
            next = self.raw.read(handle, bytes.len() as u64, CHUNK).await;
        }
    }

    /// False where something has that name already.
    pub(super) async fn create_new(&self, path: &str, bytes: &[u8], mode: u32) -> Result<bool> {
        let flags = OpenFlags::WRITE | OpenFlags::CREATE | OpenFlags::EXCLUDE;
        let handle = match self.raw.open(path, flags, permissions(mode)).await {
            Ok(handle) => handle.handle,
            // The protocol has no word for 'is there already': look.
            Err(SftpError::Status(s)) if s.status_code == StatusCode::Failure => {
                return match self.raw.lstat(path).await {
                    Ok(_) => Ok(false),
                    Err(_) => Err(self.error(path, "creating", SftpError::Status(s))),
                };
            }
            Err(e) => return Err(self.error(path, "creating", e)),
        };
        match self.fill(&handle, path, bytes, mode, false).await {
            Ok(()) => Ok(true),
            Err(e) => {
                // A lock that was half written would hold nobody off and tell nobody why.
                let _ = self.raw.remove(path).await;
                Err(e)
            }
        }
    }

    pub(super) async fn write_atomic(&self, path: &str, bytes: &[u8], mode: u32) -> Result<()> {
        if !self.posix_rename {
            let what = "its sftp server cannot replace a file atomically (no posix-rename)".into();
            return Err(TransportError::Unsupported { at: self.at.clone(), what });
        }
        let temporary = format!("{path}.{:016x}.tmp", rand::random::<u64>());
        let flags = OpenFlags::WRITE | OpenFlags::CREATE | OpenFlags::EXCLUDE;
        let opened = self.raw.open(temporary.as_str(), flags, permissions(mode)).await;
        let handle = opened.map_err(|e| self.error(path, "writing", e))?.handle;
        let written = async {
            self.fill(&handle, path, bytes, mode, self.fsync).await?;
            match self.raw.extended(POSIX_RENAME, two_strings(&temporary, path)).await {
                Ok(Packet::Status(s)) if s.status_code == StatusCode::Ok => Ok(()),
                Ok(Packet::Status(s)) => Err(self.error(path, "replacing", SftpError::Status(s))),
                Ok(_) => Err(self.error(path, "replacing", SftpError::UnexpectedPacket)),
                Err(e) => Err(self.error(path, "replacing", e)),
            }
        };
        let result = written.await;
        if result.is_err() {
            let _ = self.raw.remove(temporary.as_str()).await;
        }
        result
    }

    /// A piece of a file: what lay after it is cut away, so that what is left of an older upload cannot stay behind it.
    pub(super) async fn write_at(&self, path: &str, offset: u64, bytes: &[u8], mode: u32) -> Result<()> {
        let wrong = |e| self.error(path, "writing", e);
        let handle = self.raw.open(path, OpenFlags::WRITE | OpenFlags::CREATE, permissions(mode)).await.map_err(wrong)?.handle;
        let size = FileAttributes { size: Some(offset), ..FileAttributes::empty() };
        let chunks = bytes.chunks(CHUNK as usize).zip((offset..).step_by(CHUNK as usize));
        // Answers come in the order of the requests: nothing waits for the cut, and nothing is written before it.
        let cut = self.raw.fsetstat(&handle, size);
        let writes = join_all(chunks.map(|(chunk, at)| self.raw.write(&handle, at, chunk.to_vec())));
        let (cut, writes) = join(cut, writes).await;
        let closed = self.raw.close(&handle).await;
        for result in writes.into_iter().chain([cut, closed]) {
            result.map_err(wrong)?;
        }
        Ok(())
    }

    /// Writes a new file's bytes and mode and closes it; all requests of a small file leave together.
    async fn fill(&self, handle: &str, path: &str, bytes: &[u8], mode: u32, sync: bool) -> Result<()> {
        let wrong = |e| self.error(path, "writing", e);
        // The mode given to open is cut by the umask of the node.
        let mode = self.raw.fsetstat(handle, permissions(mode));
        let mut chunks = bytes.chunks(CHUNK as usize).zip((0u64..).step_by(CHUNK as usize)).peekable();
        let write = |(chunk, offset): (&[u8], u64)| self.raw.write(handle, offset, chunk.to_vec());
        let first = join_all(chunks.by_ref().take(WINDOW).map(write));
        if chunks.peek().is_none() && !sync {
            let ((mode, writes), close) = join(join(mode, first), self.raw.close(handle)).await;
            for result in writes.into_iter().chain([mode, close]) {
                result.map_err(wrong)?;
            }
            return Ok(());
        }
        let result = async {
            let (mode, writes) = join(mode, first).await;
            for result in writes.into_iter().chain([mode]) {
                result.map_err(wrong)?;
            }
            while chunks.peek().is_some() {
                for result in join_all(chunks.by_ref().take(WINDOW).map(write)).await {
                    result.map_err(wrong)?;
                }
            }
            if sync {
                self.raw.fsync(handle).await.map_err(wrong)?;
            }
            Ok(())
        };
        let result = result.await;
        let closed = self.raw.close(handle).await.map_err(wrong);
        result.and(closed.map(drop))
    }

    pub(super) async fn stat(&self, path: &str) -> Result<Option<FileStat>> {
        match self.raw.stat(path).await {
            Ok(found) => Ok(Some(FileStat {
                size: found.attrs.size.unwrap_or(0),
                mtime: found.attrs.mtime.map_or(0, i64::from),
                is_dir: is_dir(&found.attrs),
            })),
            Err(SftpError::Status(s)) if s.status_code == StatusCode::NoSuchFile => Ok(None),
            Err(e) => Err(self.error(path, "looking at", e)),
        }
    }

    pub(super) async fn list(&self, path: &str) -> Result<Vec<String>> {
        let handle = match self.raw.opendir(path).await {
            Ok(handle) => handle.handle,
            Err(SftpError::Status(s)) if s.status_code == StatusCode::NoSuchFile => return Ok(Vec::new()),
            Err(e) => return Err(self.error(path, "listing", e)),
        };
        let mut names = Vec::new();
        let result = loop {
            // The second answer of a small folder is 'that was all': asked at once, it costs no round trip.
            let (first, second) = join(self.raw.readdir(&handle), self.raw.readdir(&handle)).await;
            let done = match (self.take_names(path, first, &mut names), self.take_names(path, second, &mut names)) {
                (Err(e), _) | (_, Err(e)) => break Err(e),
                (Ok(first), Ok(second)) => first || second,
            };
            if done {
                break Ok(names);
            }
            if names.len() > MAX_ENTRIES {
                let doing = format!("listing {path}");
                break Err(TransportError::TooLarge { at: self.at.clone(), doing, limit: MAX_ENTRIES });
            }
        };
        self.close(&handle);
        result
    }

    /// True at the end of the folder.
    fn take_names(
        &self,
        path: &str,
        answer: Result<russh_sftp::protocol::Name, SftpError>,
        names: &mut Vec<String>,
    ) -> Result<bool> {
        match answer {
            Ok(found) => {
                names.extend(found.files.into_iter().map(|f| f.filename).filter(|n| n != "." && n != ".."));
                Ok(false)
            }
            Err(SftpError::Status(s)) if s.status_code == StatusCode::Eof => Ok(true),
            Err(e) => Err(self.error(path, "listing", e)),
        }
    }

    pub(super) async fn ensure_dir(&self, path: &str, mode: u32) -> Result<()> {
        match self.raw.mkdir(path, permissions(mode)).await {
            // The mode given to mkdir is cut by the umask of the node.
            Ok(_) => self.raw.setstat(path, permissions(mode)).await.map(drop).map_err(|e| self.error(path, "making", e)),
            Err(e) => match self.raw.stat(path).await {
                Ok(found) if is_dir(&found.attrs) => Ok(()),
                _ => Err(self.error(path, "making", e)),
            },
        }
    }

    pub(super) async fn remove(&self, path: &str) -> Result<bool> {
        match self.raw.remove(path).await {
            Ok(_) => Ok(true),
            Err(SftpError::Status(s)) if s.status_code == StatusCode::NoSuchFile => Ok(false),
            Err(e) => Err(self.error(path, "removing", e)),
        }
    }

    /// Opening a socket as a file fails, and how it fails tells what connecting to it would meet: permissions are checked
    /// first, and only then that it is a socket.
    pub(super) async fn socket(&self, path: &str) -> Result<SocketFile> {
        match self.raw.open(path, OpenFlags::WRITE, FileAttributes::empty()).await {
            Ok(handle) => {
                self.close(&handle.handle);
                Ok(SocketFile::NotSocket)
            }
            Err(SftpError::Status(s)) => Ok(match s.status_code {
                StatusCode::NoSuchFile => SocketFile::Missing,
                StatusCode::PermissionDenied => SocketFile::Denied,
                _ => SocketFile::Usable,
            }),
            Err(e) => Err(self.error(path, "looking at", e)),
        }
    }
}

fn permissions(mode: u32) -> FileAttributes {
    FileAttributes { permissions: Some(mode), ..FileAttributes::empty() }
}

fn is_dir(attributes: &FileAttributes) -> bool {
    attributes.permissions.is_some_and(|p| p & 0o170_000 == 0o040_000)
}

/// The arguments of posix-rename: two strings, each after its length.
fn two_strings(first: &str, second: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(first.len() + second.len() + 8);
    for text in [first, second] {
        out.extend((text.len() as u32).to_be_bytes());
        out.extend(text.as_bytes());
    }
    out
}
