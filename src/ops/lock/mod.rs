//! Locks keep operators from acting on one pool at once. The service is a trait; where a node has files, the lock lives
//! on the node, so that it holds between machines; elsewhere it lives in this machine's store.

mod here;
mod names;
mod node_files;

pub use here::HereOnly;
pub use names::{LeaseName, lease_name, parse_lease_name};
pub use node_files::NodeFiles;

use std::time::{Duration, Instant};

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::config::duration::show_duration;
use crate::model::{NodeName, Target};
use crate::store::{Process, StoreError, Who};
use crate::transport::TransportError;

/// How long a lock lives without being renewed, by the clock of where it lies.
pub const TTL: Duration = Duration::from_secs(30);

/// What a lock guards on one engine: the pool, or the frontend or table itself.
pub fn key(engine_identity: &str, target: &Target) -> String {
    let (kind, name) = match target {
        Target::Server(at) => ("pool", at.pool.as_str()),
        Target::Frontend(name) => ("frontend", name.as_str()),
        Target::Table(name) => ("table", name.as_str()),
        Target::Cache(what) => ("cache", what.as_str()),
    };
    hash(&[engine_identity, kind, name])
}

/// 32 hexadecimal digits over the parts, each with its length, so that no two lists of parts are mistaken for each other.
pub(super) fn hash(parts: &[&str]) -> String {
    let mut sha = Sha256::new();
    for part in parts {
        sha.update((part.len() as u64).to_be_bytes());
        sha.update(part.as_bytes());
    }
    sha.finalize().iter().take(16).map(|b| format!("{b:02x}")).collect()
}

/// Who holds a lock, as it is written into it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Holder {
    pub who: Who,
    pub process: Process,
    pub operation: i64,
    pub summary: String,
    pub reason: Option<String>,
    pub since: Timestamp,
    /// Seconds.
    pub ttl: u64,
}

/// A lock that is held. `token` only ever grows for a key, so a holder that was overtaken can be told.
#[derive(Clone, Debug)]
pub struct Held {
    pub key: String,
    pub token: u64,
    /// When it was last known to be ours, on this machine's monotonic clock.
    pub confirmed: Instant,
    /// Names of lower tokens, which nobody needs any more: they go with the release.
    pub below: Vec<String>,
}

#[derive(Clone, Debug, thiserror::Error)]
pub enum LockError {
    /// Somebody else acts there now.
    #[error("{node} is locked by {}", held_by(.holder.as_deref(), *.age))]
    Taken {
        node: NodeName,
        /// None while the other is still writing who it is.
        holder: Option<Box<Holder>>,
        /// Since it was taken, by the clock of where it lies.
        age: Duration,
    },
    /// Others kept taking and releasing it; nobody holds it for long.
    #[error("{node}: the lock is contended: {attempts} attempts in vain")]
    Contended { node: NodeName, attempts: u32 },
    #[error(transparent)]
    Transport(#[from] TransportError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn held_by(holder: Option<&Holder>, age: Duration) -> String {
    match holder {
        None => "somebody who is just taking it".to_owned(),
        Some(h) => {
            let reason = h.reason.as_deref().map(|r| format!(" ({r})")).unwrap_or_default();
            format!("{} from {}: {}{reason}, for {} now", h.who, h.who.from, h.summary, show_duration(age))
        }
    }
}

/// Locks of one node.
#[async_trait]
pub trait LockService: Send + Sync {
    /// Takes all keys or none. What was learnt on the way (other files of the folder) is in the answer.
    async fn acquire(&self, keys: &[String], holder: &Holder) -> Result<Acquired, LockError>;
    /// Moves the end on. False where somebody has taken over: then nothing more may be done.
    async fn renew(&self, held: &mut Held, holder: &Holder) -> Result<bool, LockError>;
    async fn release(&self, held: &Held) -> Result<(), LockError>;
    /// The clock of where locks and leases lie, to the second, never ahead of it.
    async fn now(&self) -> Result<Timestamp, LockError>;
    /// Set where the lock only excludes those who share this machine's store, with the reason.
    fn here_only(&self) -> Option<String>;
}

#[derive(Clone, Debug, Default)]
pub struct Acquired {
    pub held: Vec<Held>,
    /// Names of lease files that lie beside the locks.
    pub leases: Vec<LeaseName>,
}
