//! Tables, one migration a version. A migration that has been released is never edited: a new one follows it.

use rusqlite::{Connection, TransactionBehavior};

/// `PRAGMA user_version` of a store that has had all of these.
pub const VERSION: i64 = MIGRATIONS.len() as i64;

/// Times are milliseconds since the epoch; targets, changes, requests, plans and outcomes are JSON.
const MIGRATIONS: &[&str] = &["
CREATE TABLE operations (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    began    INTEGER NOT NULL,
    ended    INTEGER,
    user     TEXT NOT NULL,
    host     TEXT NOT NULL,
    origin   TEXT NOT NULL,
    process  TEXT NOT NULL,
    state    TEXT NOT NULL,
    summary  TEXT NOT NULL,
    reason   TEXT,
    pools    TEXT NOT NULL,
    request  TEXT NOT NULL,
    plan     TEXT NOT NULL,
    exit     TEXT,
    outcome  TEXT,
    syslog   TEXT
);
CREATE INDEX operations_began ON operations (began);
CREATE INDEX operations_state ON operations (state);
CREATE TABLE journal (
    operation INTEGER NOT NULL REFERENCES operations (id),
    seq       INTEGER NOT NULL,
    at        INTEGER NOT NULL,
    node      TEXT NOT NULL,
    target    TEXT NOT NULL,
    change    TEXT NOT NULL,
    inverse   TEXT NOT NULL,
    state     TEXT NOT NULL,
    text      TEXT,
    PRIMARY KEY (operation, seq)
) WITHOUT ROWID;
CREATE TABLE leases (
    id        TEXT PRIMARY KEY,
    operation INTEGER NOT NULL REFERENCES operations (id),
    target    TEXT NOT NULL,
    change    TEXT NOT NULL,
    who       TEXT NOT NULL,
    reason    TEXT,
    made      INTEGER NOT NULL,
    ends      INTEGER
) WITHOUT ROWID;
CREATE TABLE lease_holds (
    lease       TEXT NOT NULL REFERENCES leases (id),
    node        TEXT NOT NULL,
    change      TEXT NOT NULL,
    inverse     TEXT NOT NULL,
    state       TEXT NOT NULL,
    returned_at INTEGER,
    PRIMARY KEY (lease, node)
) WITHOUT ROWID;
CREATE INDEX lease_holds_open ON lease_holds (lease) WHERE state = 'open';
CREATE TABLE locks (
    key     TEXT PRIMARY KEY,
    token   INTEGER NOT NULL,
    holder  TEXT,
    until   INTEGER NOT NULL
) WITHOUT ROWID;
"];

/// Brings the schema up to date; several processes may try at once. Gives back the version that was found.
pub fn migrate(connection: &mut Connection) -> rusqlite::Result<i64> {
    let version = |c: &Connection| c.query_row("PRAGMA user_version", [], |row| row.get::<_, i64>(0));
    let found = version(connection)?;
    if found >= VERSION {
        return Ok(found);
    }
    let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let now = version(&tx)?;
    for migration in MIGRATIONS.iter().skip(usize::try_from(now).unwrap_or(0)) {
        tx.execute_batch(migration)?;
    }
    if now < VERSION {
        tx.pragma_update(None, "user_version", VERSION)?;
    }
    tx.commit()?;
    Ok(now)
}
