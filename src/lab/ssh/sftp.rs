//! SFTP within a node's folder: locks and leases live in files of the node, in the lab as on a real one.

use std::collections::HashMap;
use std::io::{self, SeekFrom};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use russh_sftp::extensions::FSYNC;
use russh_sftp::protocol::{Attrs, Data, File, FileAttributes, Handle, Name, OpenFlags, Packet, Status, StatusCode, Version};
use russh_sftp::server::{Handler, StatusReply};
use tokio::fs;
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};

use super::confined;

/// Replaces an existing target, which SFTP's own rename must not.
const POSIX_RENAME: &str = "posix-rename@openssh.com";
/// Bytes that one read gives at most.
const LONGEST_READ: u32 = 128 << 10;
/// Files and folders that one session may have open.
const MOST_HANDLES: usize = 64;

enum Open {
    File(fs::File),
    /// Entries that were not sent yet.
    Folder(Vec<File>),
}

pub(super) struct NodeFiles {
    folder: PathBuf,
    open: HashMap<String, Open>,
    next: u64,
}

impl NodeFiles {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder, open: HashMap::new(), next: 0 }
    }

    fn path(&self, path: &str) -> Result<PathBuf, StatusReply> {
        confined(&self.folder, path).ok_or_else(|| StatusCode::PermissionDenied.with_message("lab: outside of the node's folder"))
    }

    fn keep(&mut self, id: u32, open: Open) -> Result<Handle, StatusReply> {
        if self.open.len() >= MOST_HANDLES {
            return Err(StatusCode::Failure.with_message("too many open files"));
        }
        self.next += 1;
        let handle = self.next.to_string();
        self.open.insert(handle.clone(), open);
        Ok(Handle { id, handle })
    }

    fn file(&mut self, handle: &str) -> Result<&mut fs::File, StatusReply> {
        match self.open.get_mut(handle) {
            Some(Open::File(file)) => Ok(file),
            _ => Err(StatusCode::Failure.with_message("no such file handle")),
        }
    }
}

fn failed(error: io::Error) -> StatusReply {
    let code = match error.kind() {
        io::ErrorKind::NotFound => StatusCode::NoSuchFile,
        io::ErrorKind::PermissionDenied => StatusCode::PermissionDenied,
        _ => StatusCode::Failure,
    };
    code.with_message(error.to_string())
}

fn done(id: u32) -> Status {
    Status { id, status_code: StatusCode::Ok, error_message: "Ok".to_owned(), language_tag: "en-US".to_owned() }
}

/// The strings of an extended request: each is its length in four bytes and that many bytes.
fn strings<const N: usize>(mut data: &[u8]) -> Option<[String; N]> {
    let mut found = Vec::with_capacity(N);
    for _ in 0..N {
        let (length, rest) = data.split_first_chunk::<4>()?;
        let (text, rest) = rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
        found.push(String::from_utf8(text.to_vec()).ok()?);
        data = rest;
    }
    found.try_into().ok()
}

async fn apply(file: &fs::File, attrs: &FileAttributes) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    if let Some(size) = attrs.size {
        file.set_len(size).await?;
    }
    if let Some(mode) = attrs.permissions {
        file.set_permissions(PermissionsExt::from_mode(mode & 0o7777)).await?;
    }
    if let (Some(atime), Some(mtime)) = (attrs.atime, attrs.mtime) {
        let at = |seconds: u32| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.into());
        let times = std::fs::FileTimes::new().set_accessed(at(atime)).set_modified(at(mtime));
        file.try_clone().await?.into_std().await.set_times(times)?;
    }
    Ok(())
}

impl Handler for NodeFiles {
    type Error = StatusReply;

    fn unimplemented(&self) -> StatusReply {
        StatusCode::OpUnsupported.into()
    }

    async fn init(&mut self, _: u32, _: HashMap<String, String>) -> Result<Version, StatusReply> {
        let mut version = Version::new();
        version.extensions.insert(POSIX_RENAME.to_owned(), "1".to_owned());
        version.extensions.insert(FSYNC.to_owned(), "1".to_owned());
        Ok(version)
    }

    async fn open(&mut self, id: u32, filename: String, flags: OpenFlags, attrs: FileAttributes) -> Result<Handle, StatusReply> {
        let mut options = fs::OpenOptions::from(std::fs::OpenOptions::from(flags));
        options.mode(attrs.permissions.unwrap_or(0o600) & 0o777);
        let file = options.open(self.path(&filename)?).await.map_err(failed)?;
        self.keep(id, Open::File(file))
    }

    async fn close(&mut self, id: u32, handle: String) -> Result<Status, StatusReply> {
        match self.open.remove(&handle) {
            Some(Open::File(mut file)) => file.flush().await.map(|()| done(id)).map_err(failed),
            Some(Open::Folder(_)) => Ok(done(id)),
            None => Err(StatusCode::Failure.with_message("no such handle")),
        }
    }

    async fn read(&mut self, id: u32, handle: String, offset: u64, len: u32) -> Result<Data, StatusReply> {
        let file = self.file(&handle)?;
        file.seek(SeekFrom::Start(offset)).await.map_err(failed)?;
        let mut data = Vec::new();
        let read = file.take(len.min(LONGEST_READ).into()).read_to_end(&mut data).await.map_err(failed)?;
        if read == 0 && len > 0 { Err(StatusCode::Eof.into()) } else { Ok(Data { id, data }) }
    }

    async fn write(&mut self, id: u32, handle: String, offset: u64, data: Vec<u8>) -> Result<Status, StatusReply> {
        let file = self.file(&handle)?;
        file.seek(SeekFrom::Start(offset)).await.map_err(failed)?;
        file.write_all(&data).await.map_err(failed)?;
        // tokio writes behind: an error (a full disk) belongs to this request.
        file.flush().await.map_err(failed)?;
        Ok(done(id))
    }

    async fn lstat(&mut self, id: u32, path: String) -> Result<Attrs, StatusReply> {
        let found = fs::symlink_metadata(self.path(&path)?).await.map_err(failed)?;
        Ok(Attrs { id, attrs: (&found).into() })
    }

    async fn stat(&mut self, id: u32, path: String) -> Result<Attrs, StatusReply> {
        let found = fs::metadata(self.path(&path)?).await.map_err(failed)?;
        Ok(Attrs { id, attrs: (&found).into() })
    }

    async fn fstat(&mut self, id: u32, handle: String) -> Result<Attrs, StatusReply> {
        let found = self.file(&handle)?.metadata().await.map_err(failed)?;
        Ok(Attrs { id, attrs: (&found).into() })
    }

    async fn setstat(&mut self, id: u32, path: String, attrs: FileAttributes) -> Result<Status, StatusReply> {
        let file = fs::File::open(self.path(&path)?).await.map_err(failed)?;
        apply(&file, &attrs).await.map(|()| done(id)).map_err(failed)
    }

    async fn fsetstat(&mut self, id: u32, handle: String, attrs: FileAttributes) -> Result<Status, StatusReply> {
        apply(self.file(&handle)?, &attrs).await.map(|()| done(id)).map_err(failed)
    }

    async fn opendir(&mut self, id: u32, path: String) -> Result<Handle, StatusReply> {
        let mut folder = fs::read_dir(self.path(&path)?).await.map_err(failed)?;
        let mut entries = Vec::new();
        while let Some(entry) = folder.next_entry().await.map_err(failed)? {
            // Removed while we look: it is no longer an entry.
            let Ok(found) = entry.metadata().await else { continue };
            entries.push(File::new(entry.file_name().to_string_lossy(), (&found).into()));
        }
        self.keep(id, Open::Folder(entries))
    }

    async fn readdir(&mut self, id: u32, handle: String) -> Result<Name, StatusReply> {
        match self.open.get_mut(&handle) {
            Some(Open::Folder(entries)) if entries.is_empty() => Err(StatusCode::Eof.into()),
            Some(Open::Folder(entries)) => Ok(Name { id, files: std::mem::take(entries) }),
            _ => Err(StatusCode::Failure.with_message("no such folder handle")),
        }
    }

    async fn remove(&mut self, id: u32, filename: String) -> Result<Status, StatusReply> {
        fs::remove_file(self.path(&filename)?).await.map(|()| done(id)).map_err(failed)
    }

    async fn mkdir(&mut self, id: u32, path: String, attrs: FileAttributes) -> Result<Status, StatusReply> {
        let mode = attrs.permissions.unwrap_or(0o700) & 0o777;
        fs::DirBuilder::new().mode(mode).create(self.path(&path)?).await.map(|()| done(id)).map_err(failed)
    }

    async fn rmdir(&mut self, id: u32, path: String) -> Result<Status, StatusReply> {
        fs::remove_dir(self.path(&path)?).await.map(|()| done(id)).map_err(failed)
    }

    async fn realpath(&mut self, id: u32, path: String) -> Result<Name, StatusReply> {
        let path = self.path(&path)?;
        Ok(Name { id, files: vec![File::dummy(path.to_string_lossy())] })
    }

    async fn rename(&mut self, id: u32, from: String, to: String) -> Result<Status, StatusReply> {
        let (from, to) = (self.path(&from)?, self.path(&to)?);
        // As OpenSSH does it: a link cannot replace what is there already.
        fs::hard_link(&from, &to).await.map_err(failed)?;
        fs::remove_file(&from).await.map(|()| done(id)).map_err(failed)
    }

    async fn extended(&mut self, id: u32, request: String, data: Vec<u8>) -> Result<Packet, StatusReply> {
        let malformed = || StatusReply::from(StatusCode::BadMessage);
        match request.as_str() {
            POSIX_RENAME => {
                let [from, to] = strings(&data).ok_or_else(malformed)?;
                fs::rename(self.path(&from)?, self.path(&to)?).await.map_err(failed)?;
            }
            FSYNC => {
                let [handle] = strings(&data).ok_or_else(malformed)?;
                self.file(&handle)?.sync_all().await.map_err(failed)?;
            }
            _ => return Err(self.unimplemented()),
        }
        Ok(Packet::Status(done(id)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extended_requests_are_read_within_their_bounds() {
        let data = [&[0, 0, 0, 1, b'a'][..], &[0, 0, 0, 2, b'b', b'c']].concat();
        assert_eq!(strings(&data), Some(["a".to_owned(), "bc".to_owned()]));
        assert_eq!(strings::<3>(&data), None);
        assert_eq!(strings::<1>(&[255, 255, 255, 255, b'a']), None);
        assert_eq!(strings::<1>(&[0, 0]), None);
    }
}
