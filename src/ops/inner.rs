//! What all clones of `Ops` share: nodes and their locks, the store, what is known of leases.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::future::join_all;
use jiff::Timestamp;
use tokio_util::task::TaskTracker;

use crate::config::Fleet;
use crate::engine::NodeHandle;
use crate::model::NodeName;
use crate::store::{Lease, LeaseState, Process, Store, Who};

use super::blocking::on_store;
use super::lease_files;
use super::lock::{HereOnly, LeaseName, LockError, LockService, NodeFiles};

pub struct Inner {
    pub nodes: Vec<NodeHandle>,
    pub fleet: Arc<Fleet>,
    pub store: Store,
    pub who: Who,
    pub here: Process,
    /// What goes on behind a finished operation.
    pub tasks: TaskTracker,
    pub sweeping: AtomicBool,
    /// A listing showed a lease that has ended, whoever made it.
    pub ended_seen: AtomicBool,
    locks: HashMap<NodeName, Arc<dyn LockService>>,
    /// What the nodes' clocks were last seen to say.
    clocks: Mutex<HashMap<NodeName, Clock>>,
    /// Leases as their files on nodes tell, by node and file; None for files of another engine of the host.
    found: Mutex<BTreeMap<NodeName, HashMap<LeaseName, Option<Lease>>>>,
}

/// A look at a node's clock. It goes on by this machine's monotonic clock, so that nobody's wall clock matters.
#[derive(Clone, Copy, Debug)]
struct Clock {
    said: Timestamp,
    at: Instant,
}

impl Clock {
    fn now(self) -> Timestamp {
        self.said.saturating_add(self.at.elapsed()).unwrap_or(Timestamp::MAX)
    }
}

/// How long a look at a node's clock is good for: somebody may set it.
const CLOCK_GOOD_FOR: Duration = Duration::from_secs(60);

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Ops({} nodes, {:?}, {})", self.nodes.len(), self.store, self.who)
    }
}

impl Inner {
    pub fn new(nodes: Vec<NodeHandle>, fleet: Arc<Fleet>, store: Store, who: Who) -> Inner {
        let here = Process::me();
        let deadline = fleet.settings.timeout;
        let locks = nodes
            .iter()
            .map(|handle| {
                let with_files = handle.transport.as_ref().filter(|t| t.files().is_some());
                let service: Arc<dyn LockService> = match with_files {
                    Some(transport) => Arc::new(NodeFiles::new(
                        handle.name().clone(),
                        Arc::clone(transport),
                        handle.lock_dir.clone(),
                        here.clone(),
                        deadline,
                    )),
                    None => Arc::new(here_only(&store, &here, handle.name(), "the node has no place for files".into())),
                };
                (handle.name().clone(), service)
            })
            .collect();
        Inner {
            nodes,
            fleet,
            store,
            who,
            here,
            tasks: TaskTracker::new(),
            sweeping: AtomicBool::new(false),
            ended_seen: AtomicBool::new(false),
            locks,
            clocks: Mutex::default(),
            found: Mutex::default(),
        }
    }

    pub fn node(&self, name: &NodeName) -> Option<&NodeHandle> {
        self.nodes.iter().find(|n| n.name() == name)
    }

    pub fn lock_service(&self, node: &NodeName) -> Arc<dyn LockService> {
        match self.locks.get(node) {
            Some(service) => Arc::clone(service),
            None => self.store_locks(node, "the node is not part of the fleet file".into()),
        }
    }

    /// The second best, where a node turns out to have no files after all.
    pub fn store_locks(&self, node: &NodeName, why: String) -> Arc<dyn LockService> {
        Arc::new(here_only(&self.store, &self.here, node, why))
    }

    /// This node's leases among these files. Nodes of the fleet file, or of another fleet, may be engines of one host and share
    /// its folder: what belongs to another engine is left out. Files that were read before are not read again: they never change.
    /// `names` is all that the folder holds; what is not `wanted` is not read, save its end.
    pub async fn leases_found(
        &self,
        handle: &NodeHandle,
        names: &[LeaseName],
        wanted: impl Fn(&LeaseName) -> bool,
    ) -> Vec<Lease> {
        if names.iter().any(|n| n.ends.is_some()) {
            match self.node_now(handle).await {
                Ok(now) if names.iter().any(|n| n.ends.is_some_and(|ends| ends <= now.as_second())) => {
                    self.ended_seen.store(true, Ordering::Release);
                }
                Ok(_) => {}
                // Who cannot make a file there cannot give a lease back either: this machine's clock does for looking.
                Err(e) => tracing::warn!(node = %handle.name(), error = %e, "the node's clock could not be read"),
            }
        }
        let known = {
            let mut all = self.found.lock().unwrap_or_else(PoisonError::into_inner);
            let mine = all.entry(handle.name().clone()).or_default();
            // What was listed before and is not any more was given back by somebody.
            mine.retain(|name, _| names.contains(name));
            mine.clone()
        };
        let Some(files) = handle.transport.as_ref().and_then(|t| t.files()) else { return Vec::new() };
        let Some(identity) = handle.engine.as_ref().map(|e| e.identity()) else { return Vec::new() };
        let identity = identity.as_str();
        let unread = names.iter().filter(|n| wanted(n) && !known.contains_key(*n));
        let read = join_all(unread.map(|name| async move {
            match lease_files::read(files, &handle.lock_dir, name, self.fleet.settings.timeout).await {
                Ok(Some(file)) => {
                    let ours = (file.engine == identity).then(|| file.into_lease(handle.name().clone()));
                    Some((name.clone(), ours))
                }
                Ok(None) => None,
                Err(e) => {
                    tracing::warn!(node = %handle.name(), error = %e, "a lease could not be read");
                    None
                }
            }
        }))
        .await;
        let mut all = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        let mine = all.entry(handle.name().clone()).or_default();
        mine.extend(read.into_iter().flatten());
        let found = mine.iter().filter(|(name, _)| wanted(name)).filter_map(|(_, lease)| lease.clone());
        found.map(|lease| self.on_our_clock(handle.name(), lease)).collect()
    }

    /// What the node's clock says, at most a second or so ahead of what is returned.
    pub async fn node_now(&self, handle: &NodeHandle) -> Result<Timestamp, LockError> {
        if let Some(clock) = self.clock(handle.name()).filter(|c| c.at.elapsed() < CLOCK_GOOD_FOR) {
            return Ok(clock.now());
        }
        let said = self.lock_service(handle.name()).now().await?;
        let clock = Clock { said, at: Instant::now() };
        self.clocks.lock().unwrap_or_else(PoisonError::into_inner).insert(handle.name().clone(), clock);
        Ok(clock.now())
    }

    fn clock(&self, node: &NodeName) -> Option<Clock> {
        self.clocks.lock().unwrap_or_else(PoisonError::into_inner).get(node).copied()
    }

    /// A lease of a node's file, with the end where this machine's clock will stand when the node's clock says that it is over.
    fn on_our_clock(&self, node: &NodeName, mut lease: Lease) -> Lease {
        if let (Some(ends), Some(clock)) = (lease.ends, self.clock(node)) {
            lease.ends = Timestamp::now().saturating_add(ends.duration_since(clock.now())).ok();
        }
        lease
    }

    /// What is known without asking any node.
    pub fn found_before(&self) -> Vec<Lease> {
        let all = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        let known = |node| move |lease: &Lease| self.on_our_clock(node, lease.clone());
        all.iter().flat_map(|(node, leases)| leases.values().flatten().map(known(node))).collect()
    }

    pub fn forget_found(&self, closed: &[(String, NodeName)]) {
        let mut all = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        for (id, node) in closed {
            if let Some(leases) = all.get_mut(node) {
                leases.retain(|_, lease| lease.as_ref().is_none_or(|lease| lease.id != *id));
            }
        }
    }

    /// This machine's open leases and the given ones, each once.
    pub async fn merged_leases(&self, found: Vec<Lease>) -> Vec<Lease> {
        let own = on_store(&self.store, Store::open_leases).await.unwrap_or_else(|e| {
            tracing::warn!(error = %e, "this machine's leases could not be read");
            Vec::new()
        });
        merge(own, found)
    }
}

fn here_only(store: &Store, here: &Process, node: &NodeName, why: String) -> HereOnly {
    HereOnly { node: node.clone(), store: store.clone(), here: here.clone(), why }
}

/// One lease an id: the store tells whose it is, files on nodes what it holds and when it ends (the last of them).
pub fn merge(own: Vec<Lease>, found: Vec<Lease>) -> Vec<Lease> {
    let mut leases = own;
    for lease in &mut leases {
        let by_nodes = found.iter().filter(|f| f.id == lease.id).filter_map(|f| f.ends).max();
        lease.ends = by_nodes.or(lease.ends);
    }
    for lease in found {
        match leases.iter_mut().find(|l| l.id == lease.id) {
            None => leases.push(lease),
            Some(known) => {
                known.ends = known.ends.max(lease.ends);
                for hold in lease.holds {
                    match known.holds.iter_mut().find(|h| h.node == hold.node) {
                        // Another machine may have moved what the lease gives back to: the file on the node is newer.
                        Some(own) => (own.change, own.inverse) = (hold.change, hold.inverse),
                        None => known.holds.push(hold),
                    }
                }
            }
        }
    }
    leases.retain(Lease::is_open);
    leases.sort_by(|a, b| a.made.cmp(&b.made).then_with(|| a.id.cmp(&b.id)));
    leases
}

/// Open holds of a lease.
pub fn open_holds(lease: &Lease) -> impl Iterator<Item = &crate::store::LeaseHold> {
    lease.holds.iter().filter(|h| h.state == LeaseState::Open)
}
