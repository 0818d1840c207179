//! What lbdeck remembers on this machine (SQLite): operations and their journal, leases, audit.
//!
//! The store opens when it is first needed, so that reading verbs neither pay for it nor fail with it. Calls block for the
//! time of a small transaction; async code wraps them in `spawn_blocking`.

mod connection;
pub mod error;
mod leases;
mod locks;
mod operations;
pub mod process;
pub mod record;
mod schema;

pub use error::StoreError;
pub use locks::{StoreLock, StoreLockAnswer};
pub use operations::{Finish, NewOperation};
pub use process::Process;
pub use record::{
    AuditFilter, JournalEntry, JournalState, Lease, LeaseHold, LeaseState, Operation, OperationState, Unfinished, Who,
};

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, Transaction, TransactionBehavior};

/// Cheap to clone; all clones share one connection.
#[derive(Clone)]
pub struct Store {
    path: Arc<Path>,
    connection: Arc<Mutex<Option<Connection>>>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Store({})", self.path.display())
    }
}

impl Store {
    /// A store at this path. Nothing is opened before the first call that needs it.
    pub fn at(path: impl Into<PathBuf>) -> Store {
        Store { path: Arc::from(path.into()), connection: Arc::default() }
    }

    /// `$LBDECK_STATE` (a folder), else `$XDG_STATE_HOME/lbdeck`, else `~/.local/state/lbdeck`; the file is `lbdeck.db`.
    pub fn default_path() -> PathBuf {
        let folder = std::env::var_os("LBDECK_STATE").filter(|v| !v.is_empty()).map(PathBuf::from).unwrap_or_else(|| {
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

    /// One transaction that writes.
    fn write<T>(&self, work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        let mut guard = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let connection = match guard.take() {
            Some(connection) => guard.insert(connection),
            None => guard.insert(connection::open(&self.path)?),
        };
        let result = connection.transaction_with_behavior(TransactionBehavior::Immediate).and_then(|tx| {
            let value = work(&tx)?;
            tx.commit()?;
            Ok(value)
        });
        result.map_err(|e| {
            // After a failure of the disk the next call starts afresh.
            if matches!(e.sqlite_error_code(), Some(rusqlite::ErrorCode::SystemIoFailure | rusqlite::ErrorCode::DatabaseCorrupt))
            {
                *guard = None;
            }
            connection::explain(&self.path, &e)
        })
    }

    /// Reads; `empty` where there is no store yet.
    fn read<T>(&self, empty: T, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        let guard = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let result = match guard.as_ref() {
            Some(connection) => work(connection),
            None => match connection::open_read_only(&self.path)? {
                Some(connection) => work(&connection),
                None => return Ok(empty),
            },
        };
        result.map_err(|e| connection::explain(&self.path, &e))
    }
}

/// JSON in a column; what cannot be read back names the column's content.
fn from_json<T: serde::de::DeserializeOwned>(text: &str) -> rusqlite::Result<T> {
    serde_json::from_str(text).map_err(|e| rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, Box::new(e)))
}

fn to_json<T: serde::Serialize>(value: &T) -> rusqlite::Result<String> {
    serde_json::to_string(value).map_err(|e| rusqlite::Error::ToSqlConversionFailure(Box::new(e)))
}

/// `running`, `open` … as the enum's own JSON word, without the quotes.
fn word<T: serde::Serialize>(value: T) -> rusqlite::Result<String> {
    Ok(to_json(&value)?.trim_matches('"').to_owned())
}

fn from_word<T: serde::de::DeserializeOwned>(text: &str) -> rusqlite::Result<T> {
    from_json(&format!("\"{text}\""))
}

fn from_millis(ms: i64) -> jiff::Timestamp {
    jiff::Timestamp::from_millisecond(ms).unwrap_or(jiff::Timestamp::UNIX_EPOCH)
}
