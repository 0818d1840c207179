//! The node's lock folder, as far as leases lie in it. It may be missing, and anything may lie in it.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::engine::relay;
use crate::ops::lease_files::LeaseFile;
use crate::ops::lock::parse_lease_name;

/// A lease is a few hundred bytes.
const LIMIT: u64 = 64 << 10;
/// Lease files that are read at most.
const MOST: usize = 10_000;

#[derive(Clone, Debug)]
pub struct LeaseFolder {
    path: PathBuf,
    /// Of our own relay, in the words of lease files.
    identity: String,
}

impl LeaseFolder {
    pub fn new(path: PathBuf, socket: &Path) -> Self {
        Self { path, identity: relay::identity(socket) }
    }

    /// Leases of all engines of the node, by file name.
    pub fn all(&self) -> BTreeMap<String, LeaseFile> {
        self.texts().into_iter().filter_map(|(name, text)| Some((name, LeaseFile::parse(text.as_bytes())?))).collect()
    }

    /// Texts of our own relay's leases, by file name.
    pub fn own(&self) -> BTreeMap<String, String> {
        let is_own = |text: &str| LeaseFile::parse(text.as_bytes()).is_some_and(|l| l.engine == self.identity);
        self.texts().into_iter().filter(|(_, text)| is_own(text)).collect()
    }

    fn texts(&self) -> BTreeMap<String, String> {
        let Ok(entries) = fs::read_dir(&self.path) else { return BTreeMap::new() };
        entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| parse_lease_name(name).is_some())
            .take(MOST)
            .filter_map(|name| {
                let mut text = String::new();
                // Never a device or a link: the folder may be open to others.
                let file = OpenOptions::new()
                    .read(true)
                    .custom_flags(nix::fcntl::OFlag::O_NOFOLLOW.bits() | nix::fcntl::OFlag::O_NONBLOCK.bits())
                    .open(self.path.join(&name));
                file.ok()?.take(LIMIT).read_to_string(&mut text).ok()?;
                Some((name, text))
            })
            .collect()
    }

    /// False where the file is there. The folder is made as the console makes it.
    pub fn put_back(&self, name: &str, text: &str) -> io::Result<bool> {
        if parse_lease_name(name).is_none() {
            return Err(io::Error::other("no name of a lease"));
        }
        fs::DirBuilder::new().recursive(true).mode(0o755).create(&self.path)?;
        match OpenOptions::new().write(true).create_new(true).mode(0o644).open(self.path.join(name)) {
            Ok(mut file) => file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map(|()| true),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(e) => Err(e),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_in_the_folder_are_left_out() {
        let dir = tempfile::tempdir().unwrap();
        let folder = LeaseFolder::new(dir.path().join("locks"), Path::new("/run/x.sock"));
        assert!(folder.all().is_empty(), "a folder that is not there");
        let hex = "0123456789abcdef0123456789abcdef";
        let name = format!("{hex}.{hex}.0badcafe.1800000000.lease");
        assert!(folder.put_back(&name, "{}").unwrap());
        assert!(!folder.put_back(&name, "other").unwrap());
        assert!(folder.put_back("../../etc/passwd", "x").is_err());
        fs::write(dir.path().join("locks/readme"), "x").unwrap();
        let link = format!("{hex}.{hex}.0badcaff.1800000000.lease");
        std::os::unix::fs::symlink("/dev/zero", dir.path().join("locks").join(link)).unwrap();
        assert_eq!(folder.texts().len(), 1);
        assert!(folder.all().is_empty() && folder.own().is_empty(), "no lease in it");
    }
}
