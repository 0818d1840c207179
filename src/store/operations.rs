//! Operations and their journal: written before anything is sent, so that a crash leaves a trace that can be undone.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use crate::model::{Exit, PoolName};

use super::record::{AuditFilter, JournalEntry, JournalState, Lease, Operation, OperationState, Unfinished, Who};
use super::{Process, Store, StoreError, from_json, from_millis, from_word, leases, to_json, word};

/// What is known when an operation begins.
#[derive(Clone, Debug)]
pub struct NewOperation {
    pub who: Who,
    pub process: Process,
    pub summary: String,
    pub reason: Option<String>,
    pub pools: Vec<PoolName>,
    pub request: serde_json::Value,
    pub plan: serde_json::Value,
}

/// What is known when it ends. All of it is written in one transaction.
#[derive(Clone, Debug)]
pub struct Finish {
    pub exit: Exit,
    pub outcome: serde_json::Value,
    /// New states of journal entries by their number.
    pub journal: Vec<(u32, JournalState, Option<String>)>,
}

const OPERATION: &str =
    "id, began, ended, user, host, origin, state, summary, reason, pools, exit, request, plan, outcome, syslog, process";

impl Store {
    pub fn begin(&self, new: &NewOperation) -> Result<i64, StoreError> {
        self.write(|tx| {
            tx.prepare_cached(
                "INSERT INTO operations (began, user, host, origin, process, state, summary, reason, pools, request, plan)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
            )?
            .execute(params![
                Timestamp::now().as_millisecond(),
                new.who.user,
                new.who.host,
                new.who.from,
                to_json(&new.process)?,
                word(OperationState::Running)?,
                new.summary,
                new.reason,
                to_json(&new.pools)?,
                new.request.to_string(),
                new.plan.to_string(),
            ])?;
            Ok(tx.last_insert_rowid())
        })
    }

    /// Records what is about to be sent, and the leases that will hold it.
    pub fn intend(&self, operation: i64, entries: &[JournalEntry], new_leases: &[Lease]) -> Result<(), StoreError> {
        self.write(|tx| {
            insert_journal(tx, operation, entries)?;
            leases::insert(tx, operation, new_leases)
        })
    }

    pub fn finish(&self, operation: i64, finish: &Finish) -> Result<(), StoreError> {
        self.write(|tx| {
            let mut update =
                tx.prepare_cached("UPDATE journal SET state = ?3, text = ?4, at = ?5 WHERE operation = ?1 AND seq = ?2")?;
            let now = Timestamp::now().as_millisecond();
            for (seq, state, text) in &finish.journal {
                update.execute(params![operation, seq, word(state)?, text, now])?;
            }
            tx.execute(
                "UPDATE operations SET ended = ?2, state = ?3, exit = ?4, outcome = ?5 WHERE id = ?1",
                params![operation, now, word(OperationState::Finished)?, word(finish.exit)?, finish.outcome.to_string()],
            )?;
            Ok(())
        })
    }

    /// Entries of an earlier operation were given back.
    pub fn mark_undone(&self, operation: i64, seqs: &[u32]) -> Result<(), StoreError> {
        self.write(|tx| {
            let mut update = tx.prepare_cached("UPDATE journal SET state = ?3 WHERE operation = ?1 AND seq = ?2")?;
            for seq in seqs {
                update.execute(params![operation, seq, word(JournalState::Undone)?])?;
            }
            Ok(())
        })
    }

    /// The process of this operation is known to be gone.
    pub fn abandon(&self, operation: i64) -> Result<(), StoreError> {
        self.write(|tx| {
            tx.execute(
                "UPDATE operations SET state = ?2, ended = ?3 WHERE id = ?1 AND state = 'running'",
                params![operation, word(OperationState::Abandoned)?, Timestamp::now().as_millisecond()],
            )
            .map(|_| ())
        })
    }

    pub fn record_syslog(&self, operation: i64, text: &str) -> Result<(), StoreError> {
        self.write(|tx| tx.execute("UPDATE operations SET syslog = ?2 WHERE id = ?1", params![operation, text]).map(|_| ()))
    }

    pub fn journal(&self, operation: i64) -> Result<Vec<JournalEntry>, StoreError> {
        self.read(Vec::new(), |c| journal(c, operation))
    }

    pub fn operation(&self, id: i64) -> Result<Option<Operation>, StoreError> {
        self.read(None, |c| c.query_row(&format!("SELECT {OPERATION} FROM operations WHERE id = ?1"), [id], operation).optional())
    }

    /// Newest first.
    pub fn audit(&self, filter: &AuditFilter) -> Result<Vec<Operation>, StoreError> {
        self.read(Vec::new(), |c| {
            let mut statement = c.prepare(&format!(
                "SELECT {OPERATION} FROM operations
                 WHERE (?1 IS NULL OR began >= ?1)
                   AND (?2 IS NULL OR EXISTS (SELECT 1 FROM json_each(pools) WHERE value = ?2))
                   AND (?3 IS NULL OR user = ?3 OR user || '@' || host = ?3)
                 ORDER BY id DESC LIMIT ?4"
            ))?;
            let since = filter.since.map(|t| t.as_millisecond());
            let rows = statement.query_map(params![since, filter.pool, filter.who, filter.limit.unwrap_or(100)], operation)?;
            rows.collect()
        })
    }

    /// Operations that began on this machine and whose process is gone, with what they may have left behind.
    pub fn unfinished(&self, here: &Process) -> Result<Vec<Unfinished>, StoreError> {
        self.read(Vec::new(), |c| {
            let mut statement =
                c.prepare(&format!("SELECT {OPERATION} FROM operations WHERE state IN ('running', 'abandoned') ORDER BY id"))?;
            let rows = statement.query_map([], |row| Ok((operation(row)?, row.get::<_, String>(15)?)))?;
            let mut found = Vec::new();
            for row in rows {
                let (operation, process) = row?;
                let gone = operation.state == OperationState::Abandoned || from_json::<Process>(&process)?.is_gone(here);
                if !gone {
                    continue;
                }
                let left: Vec<JournalEntry> = journal(c, operation.id)?
                    .into_iter()
                    .filter(|e| matches!(e.state, JournalState::Intent | JournalState::Done) && !e.inverse.is_empty())
                    .collect();
                if !left.is_empty() {
                    found.push(Unfinished {
                        operation: operation.id,
                        summary: operation.summary,
                        who: operation.who,
                        began: operation.began,
                        reason: operation.reason,
                        left,
                    });
                }
            }
            Ok(found)
        })
    }
}

fn insert_journal(tx: &Transaction<'_>, operation: i64, entries: &[JournalEntry]) -> rusqlite::Result<()> {
    let mut insert = tx.prepare_cached(
        "INSERT INTO journal (operation, seq, at, node, target, change, inverse, state, text)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )?;
    let now = Timestamp::now().as_millisecond();
    for e in entries {
        insert.execute(params![
            operation,
            e.seq,
            now,
            e.node.as_str(),
            to_json(&e.target)?,
            to_json(&e.change)?,
            to_json(&e.inverse)?,
            word(e.state)?,
            e.text
        ])?;
    }
    Ok(())
}

fn journal(c: &Connection, operation: i64) -> rusqlite::Result<Vec<JournalEntry>> {
    let mut statement = c.prepare_cached(
        "SELECT seq, node, target, change, inverse, state, text FROM journal WHERE operation = ?1 ORDER BY seq",
    )?;
    let rows = statement.query_map([operation], |row| {
        Ok(JournalEntry {
            seq: row.get(0)?,
            node: row.get::<_, String>(1)?.into(),
            target: from_json(&row.get::<_, String>(2)?)?,
            change: from_json(&row.get::<_, String>(3)?)?,
            inverse: from_json(&row.get::<_, String>(4)?)?,
            state: from_word(&row.get::<_, String>(5)?)?,
            text: row.get(6)?,
        })
    })?;
    rows.collect()
}

fn operation(row: &Row<'_>) -> rusqlite::Result<Operation> {
    Ok(Operation {
        id: row.get(0)?,
        began: from_millis(row.get(1)?),
        ended: row.get::<_, Option<i64>>(2)?.map(from_millis),
        who: Who { user: row.get(3)?, host: row.get(4)?, from: row.get(5)? },
        state: from_word(&row.get::<_, String>(6)?)?,
        summary: row.get(7)?,
        reason: row.get(8)?,
        pools: from_json(&row.get::<_, String>(9)?)?,
        exit: row.get::<_, Option<String>>(10)?.map(|w| from_word(&w)).transpose()?,
        request: from_json(&row.get::<_, String>(11)?)?,
        plan: from_json(&row.get::<_, String>(12)?)?,
        outcome: row.get::<_, Option<String>>(13)?.map(|o| from_json(&o)).transpose()?,
        syslog: row.get(14)?,
    })
}
