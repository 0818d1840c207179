//! Locks as files on the node, taken with `O_EXCL`.
//!
//! Tokens of a key only grow. Whoever wants the lock looks at the highest token: given back, expired by the node's own
//! clock, or held by a process of this machine that is gone, means free; then it creates the next one, which only one
//! contender can, and holds it only if a second look shows nothing higher. The highest name is never removed, so a
//! contender that looked long ago cannot slip in below: its second look shows the higher token.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;

use futures::future::join_all;
use jiff::Timestamp;

use crate::model::NodeName;
use crate::store::Process;
use crate::transport::{Files, Transport, TransportError};

use super::names::{Mark, marks, parse_lease_name};
use super::{Acquired, Held, Holder, LockError, LockService, TTL};

/// Rounds of a race for one lock before giving up.
const ATTEMPTS: u32 = 8;
/// A lock file is one line of JSON.
const HOLDER_LIMIT: usize = 64 << 10;
/// Everybody may lock: locks guard operators against each other, not against attackers.
const DIR_MODE: u32 = 0o777;
const FILE_MODE: u32 = 0o644;

pub struct NodeFiles {
    node: NodeName,
    transport: Arc<dyn Transport>,
    dir: PathBuf,
    here: Process,
    /// Bound of each call to the node.
    deadline: Duration,
    /// Tokens that we gave back ourselves: the next one may be tried without a first look.
    released: Mutex<HashMap<String, u64>>,
}

impl std::fmt::Debug for NodeFiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "NodeFiles({} {})", self.node, self.dir.display())
    }
}

/// What stands at the head of a key.
enum Head {
    /// The next token may be tried.
    Free(u64),
    Taken {
        holder: Option<Box<Holder>>,
        age: Duration,
    },
}

impl NodeFiles {
    pub fn new(node: NodeName, transport: Arc<dyn Transport>, dir: PathBuf, here: Process, deadline: Duration) -> NodeFiles {
        NodeFiles { node, transport, dir, here, deadline, released: Mutex::default() }
    }

    fn files(&self) -> Result<&dyn Files, TransportError> {
        self.transport
            .files()
            .ok_or_else(|| TransportError::Unsupported { at: self.transport.describe(), what: "no access to files".into() })
    }

    async fn bounded<T>(&self, doing: &str, call: impl Future<Output = Result<T, TransportError>>) -> Result<T, TransportError> {
        match tokio::time::timeout(self.deadline, call).await {
            Ok(result) => result,
            Err(_) => Err(TransportError::Timeout { at: self.transport.describe(), doing: doing.into(), after: self.deadline }),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    async fn list(&self) -> Result<Vec<String>, TransportError> {
        self.bounded("listing locks", self.files()?.list(&self.dir)).await
    }

    /// Creates a file that nobody else has; makes the folder when it is missing.
    async fn create(&self, name: &str, bytes: &[u8]) -> Result<bool, TransportError> {
        let files = self.files()?;
        let path = self.path(name);
        match self.bounded("taking a lock", files.create_new(&path, bytes, FILE_MODE)).await {
            Err(TransportError::NotFound { .. }) => {
                self.bounded("making the lock folder", files.ensure_dir(&self.dir, DIR_MODE)).await?;
                self.bounded("taking a lock", files.create_new(&path, bytes, FILE_MODE)).await
            }
            other => other,
        }
    }

    /// What the node's clock says, in seconds: the time of a file that was made just now.
    async fn node_clock(&self) -> Result<i64, TransportError> {
        let name = format!("clock.{:08x}", rand::random::<u32>());
        let path = self.path(&name);
        self.create(&name, b"").await?;
        let files = self.files()?;
        let stat = self.bounded("reading the clock", files.stat(&path)).await;
        self.bounded("reading the clock", files.remove(&path)).await?;
        stat?
            .map(|s| s.mtime)
            .ok_or_else(|| TransportError::Other { at: self.transport.describe(), what: format!("{} vanished", path.display()) })
    }

    async fn head(&self, names: &[String], key: &str) -> Result<Head, TransportError> {
        let Some(highest) = marks(names, key).pop() else { return Ok(Head::Free(1)) };
        let next = highest.token + 1;
        if highest.free {
            return Ok(Head::Free(next));
        }
        let files = self.files()?;
        let path = self.path(&highest.name(key));
        let Some(stat) = self.bounded("reading a lock", files.stat(&path)).await? else {
            // Given back between the listing and now.
            return Ok(Head::Free(next));
        };
        let bytes = match self.bounded("reading a lock", files.read(&path, HOLDER_LIMIT)).await {
            Ok(bytes) => bytes,
            Err(TransportError::NotFound { .. }) => return Ok(Head::Free(next)),
            Err(e) => return Err(e),
        };
        let holder: Option<Holder> = serde_json::from_slice(&bytes).ok();
        let ttl = holder.as_ref().map_or(TTL.as_secs(), |h| h.ttl);
        let age = self.node_clock().await?.saturating_sub(stat.mtime).max(0).unsigned_abs();
        if age > ttl || holder.as_ref().is_some_and(|h| h.process.is_gone(&self.here)) {
            return Ok(Head::Free(next));
        }
        let held_for = holder.as_ref().map_or(age, |h| {
            // Renewals move the file's time; the holder's own word tells when it began.
            u64::try_from(Timestamp::now().duration_since(h.since).as_secs()).unwrap_or(age)
        });
        Ok(Head::Taken { holder: holder.map(Box::new), age: Duration::from_secs(held_for) })
    }

    /// One key; `names` is what the folder was last seen to hold, None where our own last release tells the next token.
    async fn take(&self, key: &str, names: &mut Option<Vec<String>>, bytes: &[u8]) -> Result<u64, LockError> {
        for _ in 0..ATTEMPTS {
            let guess = self.released.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
            let token = match (guess, names.as_ref()) {
                (Some(last), None) => last + 1,
                (_, seen) => {
                    let seen = match seen {
                        Some(seen) => seen,
                        None => names.insert(self.list().await?),
                    };
                    match self.head(seen, key).await? {
                        Head::Free(token) => token,
                        Head::Taken { holder, age } => return Err(LockError::Taken { node: self.node.clone(), holder, age }),
                    }
                }
            };
            if self.create(&Mark { token, free: false }.name(key), bytes).await? {
                return Ok(token);
            }
            *names = None;
        }
        Err(LockError::Contended { node: self.node.clone(), attempts: ATTEMPTS })
    }

    async fn remove(&self, name: &str) -> Result<(), TransportError> {
        self.bounded("removing a lock", self.files()?.remove(&self.path(name))).await.map(|_| ())
    }

    /// Nothing at or above our token but our own lock.
    fn is_ours(names: &[String], key: &str, token: u64) -> bool {
        let mine = Mark { token, free: false };
        let at_or_above: Vec<Mark> = marks(names, key).into_iter().filter(|m| m.token >= token).collect();
        at_or_above == [mine]
    }

    /// Best effort: what cannot be undone here expires by itself.
    async fn withdraw(&self, taken: &[Held]) {
        for held in taken {
            if let Err(e) = self.release(held).await {
                tracing::warn!(node = %self.node, error = %e, "a lock could not be given back; it expires by itself");
            }
        }
    }
}

#[async_trait]
impl LockService for NodeFiles {
    async fn acquire(&self, keys: &[String], holder: &Holder) -> Result<Acquired, LockError> {
        let bytes = serde_json::to_vec(holder).unwrap_or_default();
        for _ in 0..ATTEMPTS {
            let mut names = None;
            let mut held: Vec<Held> = Vec::with_capacity(keys.len());
            for key in keys {
                let confirmed = Instant::now();
                match self.take(key, &mut names, &bytes).await {
                    Ok(token) => held.push(Held { key: key.clone(), token, confirmed, below: Vec::new() }),
                    Err(e) => {
                        self.withdraw(&held).await;
                        return Err(e);
                    }
                }
            }
            let names = match self.list().await {
                Ok(names) => names,
                Err(e) => {
                    self.withdraw(&held).await;
                    return Err(e.into());
                }
            };
            if held.iter().all(|h| Self::is_ours(&names, &h.key, h.token)) {
                for h in &mut held {
                    let below = marks(&names, &h.key).into_iter().filter(|m| m.token < h.token);
                    h.below = below.map(|m| m.name(&h.key)).collect();
                }
                let leases = names.iter().filter_map(|n| parse_lease_name(n)).collect();
                return Ok(Acquired { held, leases });
            }
            // We had looked too long ago: somebody went past us. Ours was never valid, so it only has to go.
            for h in &held {
                if Self::is_ours(&names, &h.key, h.token) {
                    self.release(h).await?;
                } else {
                    self.remove(&Mark { token: h.token, free: false }.name(&h.key)).await?;
                }
            }
        }
        Err(LockError::Contended { node: self.node.clone(), attempts: ATTEMPTS })
    }

    async fn renew(&self, held: &mut Held, holder: &Holder) -> Result<bool, LockError> {
        let before = Instant::now();
        if before.duration_since(held.confirmed) >= TTL {
            return Ok(false);
        }
        let path = self.path(&Mark { token: held.token, free: false }.name(&held.key));
        let bytes = serde_json::to_vec(holder).unwrap_or_default();
        self.bounded("renewing a lock", self.files()?.write_atomic(&path, &bytes, FILE_MODE)).await?;
        let ours = Self::is_ours(&self.list().await?, &held.key, held.token);
        if ours {
            held.confirmed = before;
        }
        Ok(ours)
    }

    async fn release(&self, held: &Held) -> Result<(), LockError> {
        self.create(&Mark { token: held.token, free: true }.name(&held.key), b"").await?;
        let mine = Mark { token: held.token, free: false }.name(&held.key);
        let over = held.below.iter().chain(std::iter::once(&mine));
        for removed in join_all(over.map(|name| self.remove(name))).await {
            removed?;
        }
        self.released.lock().unwrap_or_else(PoisonError::into_inner).insert(held.key.clone(), held.token);
        Ok(())
    }

    async fn now(&self) -> Result<Timestamp, LockError> {
        Ok(Timestamp::from_second(self.node_clock().await?).unwrap_or(Timestamp::MIN))
    }

    fn here_only(&self) -> Option<String> {
        None
    }
}
