//! Opening the database: where it lives, who may read it, and what each way of failing means.

use std::fs::{self, DirBuilder, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::StoreError;
use super::schema;

/// How long a call waits for another process's transaction.
const BUSY: Duration = Duration::from_secs(5);

/// For writing: makes folder and file (0700, 0600) and brings the schema up to date.
pub fn open(path: &Path) -> Result<Connection, StoreError> {
    if let Some(folder) = path.parent().filter(|f| !f.as_os_str().is_empty()) {
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(|e| unusable(path, "cannot make its folder", &e))?;
    }
    // SQLite gives its journal files the mode of the database, so this one call guards all three.
    OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path)
        .map_err(|e| unusable(path, "cannot be opened for writing", &e))?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags).map_err(|e| explain(path, &e))?;
    let found = prepare(&mut connection).map_err(|e| explain(path, &e))?;
    known(path, found)?;
    Ok(connection)
}

/// For reading: never makes anything; None where there is no store yet. Works in a folder that cannot be written.
pub fn open_read_only(path: &Path) -> Result<Option<Connection>, StoreError> {
    match fs::metadata(path) {
        Ok(meta) if meta.len() == 0 => return Ok(None),
        Ok(_) => {}
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(unusable(path, "cannot be read", &e)),
    }
    let version = |c: &Connection| c.query_row("PRAGMA user_version", [], |row| row.get::<_, i64>(0));
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let attempt = Connection::open_with_flags(path, flags).and_then(|c| {
        c.busy_timeout(BUSY)?;
        version(&c).map(|v| (c, v))
    });
    let (connection, found) = match attempt {
        Ok(opened) => opened,
        // A write-ahead log needs a file beside it; where none can be made the database is read as it lies there.
        Err(e) if matches!(e.sqlite_error_code(), Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly)) => {
            let uri = format!(
                "file:{}?immutable=1",
                path.display().to_string().replace('%', "%25").replace('?', "%3f").replace('#', "%23")
            );
            let connection =
                Connection::open_with_flags(uri, flags | OpenFlags::SQLITE_OPEN_URI).map_err(|e| explain(path, &e))?;
            let found = version(&connection).map_err(|e| explain(path, &e))?;
            (connection, found)
        }
        Err(e) => return Err(explain(path, &e)),
    };
    known(path, found)?;
    // A store that is older than this lbdeck gets its new tables with the first write; until then it is empty to us.
    Ok((found == schema::VERSION).then_some(connection))
}

fn prepare(connection: &mut Connection) -> rusqlite::Result<i64> {
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // In WAL mode this loses nothing when a process dies; only a power cut may take the last transactions.
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    schema::migrate(connection)
}

fn known(path: &Path, found: i64) -> Result<(), StoreError> {
    if found > schema::VERSION {
        return Err(StoreError::TooNew { path: path.to_owned(), found, known: schema::VERSION });
    }
    Ok(())
}

fn unusable(path: &Path, what: &str, error: &std::io::Error) -> StoreError {
    if error.kind() == std::io::ErrorKind::StorageFull {
        return StoreError::Full { path: path.to_owned() };
    }
    let folder = path.parent().unwrap_or(path).display();
    StoreError::Unusable {
        path: path.to_owned(),
        what: format!("{what}: {error}"),
        hint: format!("make {folder} writable, or point $LBDECK_STATE at a folder that is"),
    }
}

/// SQLite's error in the terms of whoever has to mend it.
pub fn explain(path: &Path, error: &rusqlite::Error) -> StoreError {
    let path = path.to_owned();
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => StoreError::Full { path },
        Some(ErrorCode::SystemIoFailure) if is_full(&path) => StoreError::Full { path },
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::Busy { path },
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => StoreError::Damaged { path, what: error.to_string() },
        Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
            let folder = path.parent().unwrap_or(&path).display().to_string();
            StoreError::Unusable {
                what: error.to_string(),
                hint: format!("make {folder} writable, or point $LBDECK_STATE at a folder that is"),
                path,
            }
        }
        _ => StoreError::Other { path, what: error.to_string() },
    }
}

/// A failed write on a full disk reaches us as a plain I/O error where SQLite maps memory.
fn is_full(path: &Path) -> bool {
    path.parent().and_then(|folder| nix::sys::statvfs::statvfs(folder).ok()).is_some_and(|s| s.blocks_available() < 4)
}
