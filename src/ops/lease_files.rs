//! Leases as files on the node, beside its locks: every operator's console finds them, and whoever runs after the end of
//! one gives it back. They live exactly as long as the run-time state does when the node boots.
//!
//! When a lease ends is told by the node's clock, as the time of new files on it shows: operators' clocks may be wrong, and
//! differ. Ends are rounded up to whole seconds, so a lease ends up to three seconds late, and never early.

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::{Change, NodeName, Target};
use crate::store::{Lease, LeaseHold, LeaseState, Who};
use crate::transport::{Files, TransportError};

use super::lock::{LeaseName, lease_name, parse_lease_name};

/// Format of the file; what a newer lbdeck writes is left to it.
const VERSION: u32 = 1;
const LIMIT: usize = 64 << 10;
const FILE_MODE: u32 = 0o644;

/// What one lease holds on one node.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct LeaseFile {
    version: u32,
    pub id: String,
    /// The engine among those of the host.
    pub engine: String,
    pub target: Target,
    pub change: Change,
    pub inverse: Vec<Change>,
    pub who: Who,
    pub reason: Option<String>,
    pub made: Timestamp,
    /// By the node's clock; by the maker's until [`LeaseFile::on_the_clock_of_the_node`].
    pub ends: Option<Timestamp>,
}

impl LeaseFile {
    /// What `lease` holds on `node`; None where it holds nothing there.
    pub fn of(lease: &Lease, node: &NodeName, engine: &str) -> Option<LeaseFile> {
        let hold = lease.holds.iter().find(|h| h.node == *node)?;
        Some(LeaseFile {
            version: VERSION,
            id: lease.id.clone(),
            engine: engine.to_owned(),
            target: lease.target.clone(),
            change: hold.change.clone(),
            inverse: hold.inverse.clone(),
            who: lease.who.clone(),
            reason: lease.reason.clone(),
            made: lease.made,
            ends: lease.ends,
        })
    }

    /// Moves the end to the node's clock, which says `now`: the lease lasts as long as was asked for.
    #[must_use]
    pub fn on_the_clock_of_the_node(mut self, now: Timestamp) -> LeaseFile {
        self.ends = self.ends.map(|ends| {
            let late = now.saturating_add(ends.duration_since(self.made)).unwrap_or(Timestamp::MAX);
            // `now` may be a second behind, and names hold whole seconds.
            Timestamp::from_second(late.as_second().saturating_add(2)).unwrap_or(Timestamp::MAX)
        });
        self
    }

    /// As a lease that this node alone holds.
    pub fn into_lease(self, node: NodeName) -> Lease {
        Lease {
            id: self.id,
            operation: None,
            target: self.target,
            change: self.change.clone(),
            who: self.who,
            reason: self.reason,
            made: self.made,
            ends: self.ends,
            holds: vec![LeaseHold {
                node,
                change: self.change,
                inverse: self.inverse,
                state: LeaseState::Open,
                returned_at: None,
            }],
        }
    }

    /// None for what is no lease, or one that a newer lbdeck wrote.
    pub fn parse(bytes: &[u8]) -> Option<LeaseFile> {
        serde_json::from_slice::<LeaseFile>(bytes).ok().filter(|l| l.version == VERSION)
    }

    pub fn name(&self) -> LeaseName {
        lease_name(&super::lock::key(&self.engine, &self.target), &self.target, &self.id, self.ends)
    }
}

/// Writes a lease that is not there yet.
pub async fn create(files: &dyn Files, dir: &Path, lease: &LeaseFile, deadline: Duration) -> Result<(), TransportError> {
    let path = dir.join(lease.name().file());
    let bytes = serde_json::to_vec(lease).unwrap_or_default();
    bounded(dir, deadline, files.create_new(&path, &bytes, FILE_MODE)).await.map(|_| ())
}

/// Changes what is written in a lease, other than its name. False where there is none.
pub async fn change(
    files: &dyn Files,
    dir: &Path,
    of: &LeaseName,
    deadline: Duration,
    edit: impl FnOnce(&mut LeaseFile),
) -> Result<bool, TransportError> {
    let Some(name) = find(files, dir, of, deadline).await? else { return Ok(false) };
    let Some(mut lease) = read(files, dir, &name, deadline).await? else { return Ok(false) };
    edit(&mut lease);
    let bytes = serde_json::to_vec(&lease).unwrap_or_default();
    bounded(dir, deadline, files.write_atomic(&dir.join(name.file()), &bytes, FILE_MODE)).await.map(|()| true)
}

/// False where it was gone already.
pub async fn remove(files: &dyn Files, dir: &Path, of: &LeaseName, deadline: Duration) -> Result<bool, TransportError> {
    match find(files, dir, of, deadline).await? {
        Some(name) => bounded(dir, deadline, files.remove(&dir.join(name.file()))).await,
        None => Ok(false),
    }
}

/// The file of a lease: only the node knows by which name, where the lease has an end.
async fn find(files: &dyn Files, dir: &Path, of: &LeaseName, deadline: Duration) -> Result<Option<LeaseName>, TransportError> {
    match of.ends {
        None => Ok(Some(of.clone())),
        Some(_) => Ok(list(files, dir, deadline).await?.into_iter().find(|name| name.is_of(of))),
    }
}

/// Names of the leases in a folder.
pub async fn list(files: &dyn Files, dir: &Path, deadline: Duration) -> Result<Vec<LeaseName>, TransportError> {
    let names = bounded(dir, deadline, files.list(dir)).await?;
    Ok(names.iter().filter_map(|n| parse_lease_name(n)).collect())
}

/// None where it vanished, is being written just now, or was written by a newer lbdeck.
pub async fn read(
    files: &dyn Files,
    dir: &Path,
    name: &LeaseName,
    deadline: Duration,
) -> Result<Option<LeaseFile>, TransportError> {
    match bounded(dir, deadline, files.read(&dir.join(name.file()), LIMIT)).await {
        Ok(bytes) => Ok(LeaseFile::parse(&bytes).filter(|l| l.name() == *name)),
        Err(TransportError::NotFound { .. }) => Ok(None),
        Err(e) => Err(e),
    }
}

async fn bounded<T>(
    dir: &Path,
    after: Duration,
    call: impl Future<Output = Result<T, TransportError>>,
) -> Result<T, TransportError> {
    match tokio::time::timeout(after, call).await {
        Ok(result) => result,
        Err(_) => Err(TransportError::Timeout { at: dir.display().to_string(), doing: "leases".into(), after }),
    }
}
