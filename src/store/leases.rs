//! Leases that this machine made: each is one change of one target, held on one or more nodes until it is given back.

use jiff::Timestamp;
use rusqlite::{Connection, Transaction, params};

use crate::model::{Change, NodeName};

use super::record::{Lease, LeaseHold, LeaseState};
use super::{Store, StoreError, from_json, from_millis, from_word, to_json, word};

impl Store {
    /// Every lease that still holds something, oldest first.
    pub fn open_leases(&self) -> Result<Vec<Lease>, StoreError> {
        self.read(Vec::new(), |c| select(c, "id IN (SELECT lease FROM lease_holds WHERE state = 'open')", ""))
    }

    pub fn lease(&self, id: &str) -> Result<Option<Lease>, StoreError> {
        self.read(None, |c| Ok(select(c, "id = ?1", id)?.pop()))
    }

    /// What a lease held on these nodes is over.
    pub fn close_holds(&self, closed: &[(String, NodeName)], state: LeaseState) -> Result<(), StoreError> {
        if closed.is_empty() {
            return Ok(());
        }
        self.write(|tx| {
            let mut update = tx.prepare_cached(
                "UPDATE lease_holds SET state = ?3, returned_at = ?4 WHERE lease = ?1 AND node = ?2 AND state = 'open'",
            )?;
            for (lease, node) in closed {
                update.execute(params![lease, node.as_str(), word(state)?, Timestamp::now().as_millisecond()])?;
            }
            Ok(())
        })
    }

    /// What the lease gives back to on a node moved, because an earlier lease was closed under it.
    pub fn change_inverse(&self, id: &str, node: &NodeName, inverse: &[Change]) -> Result<(), StoreError> {
        self.write(|tx| {
            tx.execute(
                "UPDATE lease_holds SET inverse = ?3 WHERE lease = ?1 AND node = ?2",
                params![id, node.as_str(), to_json(&inverse)?],
            )
            .map(|_| ())
        })
    }

    /// What was done on a node became something else (a drain that ended in maintenance); the inverse stays.
    pub fn change_hold(&self, id: &str, node: &NodeName, change: &Change) -> Result<(), StoreError> {
        self.write(|tx| {
            tx.execute(
                "UPDATE lease_holds SET change = ?3 WHERE lease = ?1 AND node = ?2",
                params![id, node.as_str(), to_json(change)?],
            )
            .map(|_| ())
        })
    }
}

pub(super) fn insert(tx: &Transaction<'_>, operation: i64, leases: &[Lease]) -> rusqlite::Result<()> {
    let mut lease = tx.prepare_cached(
        "INSERT INTO leases (id, operation, target, change, who, reason, made, ends) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?;
    let mut hold = tx.prepare_cached(
        "INSERT INTO lease_holds (lease, node, change, inverse, state, returned_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    for l in leases {
        lease.execute(params![
            l.id,
            operation,
            to_json(&l.target)?,
            to_json(&l.change)?,
            to_json(&l.who)?,
            l.reason,
            l.made.as_millisecond(),
            l.ends.map(|t| t.as_millisecond()),
        ])?;
        for h in &l.holds {
            let returned = h.returned_at.map(|t| t.as_millisecond());
            hold.execute(params![l.id, h.node.as_str(), to_json(&h.change)?, to_json(&h.inverse)?, word(h.state)?, returned])?;
        }
    }
    Ok(())
}

/// `condition` is one of the two above; it takes `argument` where it has `?1`.
fn select(c: &Connection, condition: &str, argument: &str) -> rusqlite::Result<Vec<Lease>> {
    let mut statement = c.prepare_cached(&format!(
        "SELECT id, operation, target, change, who, reason, made, ends FROM leases WHERE {condition} ORDER BY made, id"
    ))?;
    let arguments: Vec<&str> = if condition.contains("?1") { vec![argument] } else { Vec::new() };
    let mut rows = statement.query(rusqlite::params_from_iter(arguments))?;
    let mut leases = Vec::new();
    while let Some(row) = rows.next()? {
        leases.push(Lease {
            id: row.get(0)?,
            operation: row.get(1)?,
            target: from_json(&row.get::<_, String>(2)?)?,
            change: from_json(&row.get::<_, String>(3)?)?,
            who: from_json(&row.get::<_, String>(4)?)?,
            reason: row.get(5)?,
            made: from_millis(row.get(6)?),
            ends: row.get::<_, Option<i64>>(7)?.map(from_millis),
            holds: Vec::new(),
        });
    }
    let mut holds =
        c.prepare_cached("SELECT node, change, inverse, state, returned_at FROM lease_holds WHERE lease = ?1 ORDER BY node")?;
    for lease in &mut leases {
        let rows = holds.query_map([&lease.id], |row| {
            Ok(LeaseHold {
                node: row.get::<_, String>(0)?.into(),
                change: from_json(&row.get::<_, String>(1)?)?,
                inverse: from_json(&row.get::<_, String>(2)?)?,
                state: from_word(&row.get::<_, String>(3)?)?,
                returned_at: row.get::<_, Option<i64>>(4)?.map(from_millis),
            })
        })?;
        lease.holds = rows.collect::<rusqlite::Result<_>>()?;
    }
    Ok(leases)
}
