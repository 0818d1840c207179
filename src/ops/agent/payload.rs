//! The binary that goes to the nodes: read once, described by its size, its sha256 and what its header says.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::elf::{self, Elf, ElfError};

/// An executable larger than this is a mistake (bytes).
const LARGEST: u64 = 1 << 30;

#[derive(Debug, thiserror::Error)]
pub enum PayloadError {
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: std::io::Error },
    #[error("{}: {why}", path.display())]
    Unfit { path: PathBuf, why: String },
}

/// What plans and records say of a binary.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BinaryInfo {
    /// Where it was read from.
    pub file: PathBuf,
    pub bytes: u64,
    pub sha256: String,
    #[serde(flatten)]
    pub elf: Elf,
}

/// A binary in memory. Cheap to clone.
#[derive(Clone)]
pub struct Payload {
    pub info: BinaryInfo,
    pub bytes: Arc<[u8]>,
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.info.fmt(f)
    }
}

impl Payload {
    /// Reads the given file, or this program's own.
    pub fn read(file: Option<&Path>) -> Result<Payload, PayloadError> {
        let io = |path: &Path| {
            let path = path.to_owned();
            move |source| PayloadError::Io { path, source }
        };
        let file = match file {
            Some(file) => file.to_owned(),
            None => std::env::current_exe().map_err(io(Path::new("/proc/self/exe")))?,
        };
        let size = std::fs::metadata(&file).map_err(io(&file))?.len();
        if size > LARGEST {
            return Err(PayloadError::Unfit { path: file, why: format!("{size} bytes is too large for the agent") });
        }
        let bytes = std::fs::read(&file).map_err(io(&file))?;
        Self::of(file, bytes)
    }

    /// Describes bytes that were read from `file`.
    pub fn of(file: PathBuf, bytes: Vec<u8>) -> Result<Payload, PayloadError> {
        let elf = elf::parse(&bytes).map_err(|e: ElfError| PayloadError::Unfit { path: file.clone(), why: e.to_string() })?;
        let info = BinaryInfo { file, bytes: bytes.len() as u64, sha256: sha256(&bytes), elf };
        Ok(Payload { info, bytes: bytes.into() })
    }
}

/// 64 hexadecimal digits.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}
