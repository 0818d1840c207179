//! Locks of nodes that have no place for files: they only exclude processes that share this store.

use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{OptionalExtension, params};

use super::{Store, StoreError};

/// A lock as it lies in the store. `holder` is JSON of whoever wrote it; None once released.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoreLock {
    pub token: u64,
    pub holder: Option<String>,
    /// It may be taken over from then on.
    pub until: Timestamp,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StoreLockAnswer {
    /// Held from now on, with this fencing token.
    Held(u64),
    /// Somebody else holds it.
    Taken(StoreLock),
}

impl Store {
    /// Takes the lock if it is free, expired, or held by what `is_dead` says is gone.
    pub fn lock(
        &self,
        key: &str,
        holder: &str,
        ttl: Duration,
        is_dead: impl Fn(&str) -> bool,
    ) -> Result<StoreLockAnswer, StoreError> {
        self.write(|tx| {
            let now = Timestamp::now().as_millisecond();
            let found = tx
                .query_row("SELECT token, holder, until FROM locks WHERE key = ?1", [key], |row| {
                    Ok(StoreLock {
                        token: row.get::<_, i64>(0)?.unsigned_abs(),
                        holder: row.get(1)?,
                        until: super::from_millis(row.get(2)?),
                    })
                })
                .optional()?;
            let token = found.as_ref().map_or(0, |l| l.token) + 1;
            if let Some(lock) = found
                && lock.holder.as_deref().is_some_and(|h| !is_dead(h))
                && lock.until.as_millisecond() > now
            {
                return Ok(StoreLockAnswer::Taken(lock));
            }
            tx.execute(
                "INSERT OR REPLACE INTO locks (key, token, holder, until) VALUES (?1, ?2, ?3, ?4)",
                params![key, token.cast_signed(), holder, now.saturating_add_unsigned(ttl.as_millis() as u64)],
            )?;
            Ok(StoreLockAnswer::Held(token))
        })
    }

    /// Moves the end on; false where the lock has been taken over.
    pub fn renew_lock(&self, key: &str, token: u64, ttl: Duration) -> Result<bool, StoreError> {
        self.write(|tx| {
            let until = Timestamp::now().as_millisecond().saturating_add_unsigned(ttl.as_millis() as u64);
            tx.execute(
                "UPDATE locks SET until = ?3 WHERE key = ?1 AND token = ?2 AND holder IS NOT NULL",
                params![key, token.cast_signed(), until],
            )
            .map(|n| n == 1)
        })
    }

    /// The row stays, so that tokens only grow.
    pub fn unlock(&self, key: &str, token: u64) -> Result<(), StoreError> {
        self.write(|tx| {
            tx.execute("UPDATE locks SET holder = NULL WHERE key = ?1 AND token = ?2", params![key, token.cast_signed()])
                .map(|_| ())
        })
    }
}
