//! What an undo or a return gives back, from what was recorded.

use crate::model::NodeName;
use crate::store::{JournalEntry, JournalState, Lease, OperationState, Process, Store};

use super::PlanError;
use super::inner::open_holds;
use super::plan::GiveBack;
use super::verify::aspect;

/// The changes of an operation that can be given back: one record a target and node, whatever was done to it in between.
pub fn of_operation(store: &Store, here: &Process, operation: i64, leases: &[Lease]) -> Result<Vec<GiveBack>, PlanError> {
    let Some(found) = store.operation(operation)? else {
        return Err(PlanError::NotFound {
            what: format!("there is no operation {operation} in {}", store.path().display()),
            hint: Some("`lbdeck audit` lists those of this machine".into()),
        });
    };
    let gone = store.unfinished(here)?.iter().any(|u| u.operation == operation);
    if found.state == OperationState::Running && !gone {
        return Err(PlanError::Invalid {
            what: format!("operation {operation} is still running ({}, {})", found.summary, found.who),
            hint: Some("stop it first: Ctrl-C there".into()),
        });
    }
    let mut records: Vec<GiveBack> = Vec::new();
    for entry in store.journal(operation)? {
        add(&mut records, operation, entry, leases);
    }
    records.retain(|r| !r.inverse.is_empty());
    Ok(records)
}

fn add(records: &mut Vec<GiveBack>, operation: i64, entry: JournalEntry, leases: &[Lease]) {
    if !matches!(entry.state, JournalState::Intent | JournalState::Done) {
        return;
    }
    match records.iter_mut().find(|r| r.node == entry.node && r.target == entry.target) {
        // The earliest state is what is given back to.
        Some(record) => {
            if aspect(&entry.change) == aspect(&record.change) {
                record.change = entry.change;
            }
            if let Some((_, seqs)) = &mut record.journal {
                seqs.push(entry.seq);
            }
        }
        None => {
            let lease = leases.iter().find(|l| {
                l.operation == Some(operation) && l.target == entry.target && open_holds(l).any(|h| h.node == entry.node)
            });
            let hold = lease.and_then(|l| open_holds(l).find(|h| h.node == entry.node));
            records.push(GiveBack {
                lease: lease.map(|l| l.id.clone()),
                kept_by: lease.and_then(|l| later(leases, l, &entry.node)),
                // The return of an earlier lease may have moved what this one gives back to.
                inverse: hold.map_or(entry.inverse, |h| h.inverse.clone()),
                node: entry.node,
                target: entry.target,
                change: entry.change,
                journal: Some((operation, vec![entry.seq])),
            });
        }
    }
}

/// The next later lease that holds the same part of the same target on a node.
pub fn later(leases: &[Lease], lease: &Lease, node: &NodeName) -> Option<String> {
    leases
        .iter()
        .filter(|l| l.id != lease.id && l.made > lease.made && l.target == lease.target)
        .filter(|l| aspect(&l.change) == aspect(&lease.change) && open_holds(l).any(|h| h.node == *node))
        .min_by_key(|l| l.made)
        .map(|l| l.id.clone())
}

/// What a lease still holds. `id` may be the beginning of one, where that is enough to tell it.
pub fn of_lease(store: &Store, id: &str, leases: &[Lease]) -> Result<Vec<GiveBack>, PlanError> {
    let matching: Vec<&Lease> = leases.iter().filter(|l| l.is_open() && l.id.starts_with(id)).collect();
    let lease = match matching.as_slice() {
        [lease] if !id.is_empty() => *lease,
        [] | [_] => {
            return Err(PlanError::NotFound {
                what: format!("there is no open lease '{id}'"),
                hint: Some("`lbdeck lease list` shows them".into()),
            });
        }
        many => {
            let ids: Vec<&str> = many.iter().map(|l| l.id.as_str()).collect();
            return Err(PlanError::Invalid {
                what: format!("'{id}' may be {}", ids.join(" or ")),
                hint: Some("write more of it".into()),
            });
        }
    };
    let journal = match lease.operation {
        Some(operation) => store.journal(operation)?,
        None => Vec::new(),
    };
    Ok(open_holds(lease)
        .map(|hold| {
            let seqs: Vec<u32> =
                journal.iter().filter(|e| e.node == hold.node && e.target == lease.target).map(|e| e.seq).collect();
            GiveBack {
                node: hold.node.clone(),
                target: lease.target.clone(),
                change: hold.change.clone(),
                inverse: hold.inverse.clone(),
                journal: lease.operation.map(|operation| (operation, seqs)),
                lease: Some(lease.id.clone()),
                kept_by: later(leases, lease, &hold.node),
            }
        })
        .collect())
}
