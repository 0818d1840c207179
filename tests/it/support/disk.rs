//! A small file system of its own, for what a full disk does.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Unmounted with the value.
pub struct SmallDisk {
    path: PathBuf,
    /// Where nobody said where.
    folder: Option<tempfile::TempDir>,
}

impl SmallDisk {
    /// Somewhere; `size` as mount(8) takes it: `256k`.
    pub fn new(size: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut disk = Self::at(folder.path(), size);
        disk.folder = Some(folder);
        disk
    }
    /// Over this folder.
    pub fn at(path: &Path, size: &str) -> Self {
        fs::create_dir_all(path).unwrap();
        let size = format!("size={size}");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(path).status();
        assert!(mounted.is_ok_and(|s| s.success()), "mounting a tmpfs needs root: run the tests as root");
        Self { path: path.to_owned(), folder: None }
    }
    pub fn path(&self) -> &Path {
        &self.path
    }
    pub fn fill(&self) {
        let mut file = fs::File::create(self.path.join("ballast")).unwrap();
        while file.write_all(&[0; 4096]).is_ok() {}
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.path).status();
    }
}
