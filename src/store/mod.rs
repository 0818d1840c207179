//! What lbdeck remembers on this machine (SQLite): operations and their journal, leases, audit.
//!
//! The store opens when it is first needed, so that reading verbs neither pay for it nor fail with it. Calls block for the
//! time of a small transaction; async code wraps them in `spawn_blocking`.

pub mod error;
pub mod record;

pub use error::StoreError;
pub use record::{
    AuditFilter, JournalEntry, JournalState, Lease, LeaseHold, LeaseState, Operation, OperationState, Unfinished, Who,
};

use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Cheap to clone; all clones share one connection.
#[derive(Clone, Debug)]
pub struct Store {
    path: Arc<Path>,
}

impl Store {
    /// A store at this path. Nothing is opened before the first call that needs it.
    pub fn at(path: impl Into<PathBuf>) -> Store {
        Store { path: Arc::from(path.into()) }
    }

    /// `$LBDECK_STATE` (a folder), else `$XDG_STATE_HOME/lbdeck`, else `~/.local/state/lbdeck`; the file is `lbdeck.db`.
    pub fn default_path() -> PathBuf {
        let folder = std::env::var_os("LBDECK_STATE").map(PathBuf::from).unwrap_or_else(|| {
            std::env::var_os("XDG_STATE_HOME")
                .map(PathBuf::from)
                .filter(|p| p.is_absolute())
                .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/state")))
                .unwrap_or_else(|| PathBuf::from("/var/lib"))
                .join("lbdeck")
        });
        Self::file_in(&folder)
    }

    /// The store's file in a folder of state (`--state`).
    pub fn file_in(folder: &Path) -> PathBuf {
        folder.join("lbdeck.db")
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}
