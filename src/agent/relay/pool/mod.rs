//! A pool of servers: who takes a request, who waits, who is taken out. Shared by all data threads, without a lock on the way
//! of a request as long as servers have sessions free.

pub mod balance;
pub mod budget;
mod choose;
mod departed;
pub mod persist;
pub mod queue;
pub mod server;
pub mod set;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use arc_swap::{ArcSwap, ArcSwapOption, Guard};

use crate::engine::relay::wire::{Admin, Health, Traffic};

use super::clock::{Millis, millis, now};
use super::config::Mode;
use super::config::pool::{PersistBy, PoolConfig};
use budget::RetryBudget;
pub use choose::{Picker, Request};
use departed::Departed;
use persist::SourceTable;
use queue::Queue;
pub use server::{Outcome, Server, ServerId};
pub use set::{ServerSet, Slot};

/// Why there is no server for a request now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PickError {
    /// All are down, drained or in maintenance: a retry helps only once that changes.
    #[error("no server of the pool takes traffic")]
    NoServer,
    /// All that could take it have no session free.
    #[error("all servers of the pool are at their limit")]
    Full,
    #[error("the queue of the pool is full")]
    QueueFull,
    #[error("waited too long in the pool's queue")]
    QueueTimeout,
}

#[derive(Debug)]
pub struct Pool {
    pub name: Arc<str>,
    /// Small number by which each thread finds its own view; kept for the name for the life of the process.
    place: usize,
    set: ArcSwap<ServerSet>,
    /// Grows with every change that the choice of a server depends on.
    epoch: AtomicU64,
    queue: Queue,
    sources: ArcSwapOption<SourceTable>,
    budget: Mutex<RetryBudget>,
    /// Leases of all servers that are out.
    in_use: AtomicU32,
    /// Some server is to be checked at once.
    suspicious: AtomicBool,
    /// Ejections of one pool are decided one after the other, so that two threads do not both take the last but one.
    ejecting: Mutex<()>,
    /// Requests and sessions that got a server, and those that got none.
    pub picked: AtomicU64,
    pub refused: AtomicU64,
    departed: Mutex<Departed>,
    weak: Weak<Pool>,
}

/// One request's or session's hold on a server. Sessions are counted by these, and exactly: dropping it gives the session
/// back, to whoever waits for it.
#[derive(Debug)]
pub struct Lease {
    pub server: Arc<Server>,
    /// Where to connect to.
    pub address: SocketAddr,
    /// Chosen by persistence: the client need not be told its server again.
    pub persisted: bool,
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.server.give_back();
        let Some(pool) = self.server.home.upgrade() else { return };
        pool.in_use.fetch_sub(1, Ordering::Relaxed);
        if !pool.queue.is_empty() {
            pool.dispatch(now());
        }
    }
}

impl Lease {
    /// Leases that are out: of the server and of the whole pool, this one included.
    pub fn busy(&self) -> (u32, u32) {
        (self.server.in_use(), self.server.home.upgrade().map_or(0, |pool| pool.in_use.load(Ordering::Relaxed)))
    }

    /// Says how the request ended: counters, and what becomes of servers that fail.
    pub fn report(&self, outcome: Outcome) {
        let stats = &self.server.stats;
        match outcome {
            Outcome::Answer(status) => {
                let class = usize::from(status / 100).wrapping_sub(1);
                if let Some(counter) = stats.answers.get(class) {
                    counter.fetch_add(1, Ordering::Relaxed);
                }
            }
            Outcome::Established => {}
            Outcome::ConnectFailed => {
                stats.connect_errors.fetch_add(1, Ordering::Relaxed);
            }
            Outcome::ResponseFailed => {
                stats.response_errors.fetch_add(1, Ordering::Relaxed);
            }
        }
        let pool = self.server.home.upgrade();
        if outcome == Outcome::ConnectFailed {
            pool.iter().for_each(|pool| pool.unreachable(&self.server, now()));
        } else if matches!(outcome, Outcome::Answer(_) | Outcome::Established) && self.server.trust() {
            pool.iter().for_each(|pool| pool.changed());
        }
        if !outcome.is_failure() {
            // Most of the time it is 0 already, and a read does not disturb the other threads.
            if self.server.failures.load(Ordering::Relaxed) > 0 {
                self.server.failures.store(0, Ordering::Relaxed);
                self.server.ejections.store(0, Ordering::Relaxed);
            }
        } else if let Some(pool) = pool {
            pool.failed(&self.server, now());
        }
    }
}

impl Pool {
    /// A pool without servers; [`Pool::replace`] gives it some. `place` is unique among the pools of the process.
    pub fn new(config: Arc<PoolConfig>, place: usize) -> Arc<Self> {
        Arc::new_cyclic(|weak| {
            let pool = Self {
                name: config.name.clone(),
                place,
                set: ArcSwap::from_pointee(ServerSet::new(config.clone(), Vec::new())),
                epoch: AtomicU64::new(0),
                queue: Queue::default(),
                sources: ArcSwapOption::empty(),
                budget: Mutex::default(),
                in_use: AtomicU32::new(0),
                suspicious: AtomicBool::new(false),
                ejecting: Mutex::default(),
                picked: AtomicU64::new(0),
                refused: AtomicU64::new(0),
                departed: Mutex::default(),
                weak: weak.clone(),
            };
            pool.follow_persistence(None, &config);
            pool
        })
    }

    /// Servers and settings as of now.
    pub fn set(&self) -> Guard<Arc<ServerSet>> {
        self.set.load()
    }

    pub fn config(&self) -> Arc<PoolConfig> {
        self.set.load().config.clone()
    }

    /// Requests and sessions in progress on all servers.
    pub fn in_use(&self) -> u32 {
        self.in_use.load(Ordering::Relaxed)
    }

    pub fn queue(&self) -> &Queue {
        &self.queue
    }

    /// A server that does not exist yet; it is in the pool once [`Pool::replace`] is given it.
    pub fn new_server(&self, name: &Arc<str>, admin: Admin, maxconn: u32, now: Millis) -> Arc<Server> {
        Arc::new(Server::new(name, &self.name, self.weak.clone(), admin, maxconn, now))
    }

    /// Puts other servers or settings in place. Servers that stay are the same `Server`; those that are gone finish what
    /// they have.
    pub fn replace(&self, set: ServerSet) {
        let before = self.set.load_full();
        self.follow_persistence(Some(&before.config), &set.config);
        for slot in before.slots.iter().filter(|slot| set.index_of(slot.server.id).is_none()) {
            self.departed().add(slot.server.clone());
        }
        self.set.store(Arc::new(set));
        self.changed();
    }

    /// What servers have counted that are not in the pool any more.
    pub fn traffic_of_departed(&self) -> Traffic {
        let http = self.set.load().config.mode == Mode::Http;
        self.departed().traffic(http)
    }

    fn departed(&self) -> MutexGuard<'_, Departed> {
        self.departed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn follow_persistence(&self, before: Option<&PoolConfig>, config: &PoolConfig) {
        let by = config.persistence.as_ref().map(|p| &p.by);
        if before.is_some_and(|b| b.persistence.as_ref().map(|p| &p.by) == by) {
            return;
        }
        self.sources.store(match by {
            Some(PersistBy::Source { expire, size }) => Some(Arc::new(SourceTable::new(millis(*expire), *size))),
            _ => None,
        });
    }

    /// Threads make their view anew, and those who wait may have a server now.
    pub fn changed(&self) {
        self.epoch.fetch_add(1, Ordering::SeqCst);
        if !self.queue.is_empty() {
            self.dispatch(now());
        }
    }

    pub fn set_admin(&self, server: &Server, admin: Admin, now: Millis) {
        server.set_admin(admin, now);
        self.changed();
    }

    /// True where it was another before.
    pub fn set_health(&self, server: &Server, health: Health, now: Millis) -> bool {
        let moved = server.set_health(health, now);
        if moved {
            self.changed();
        }
        moved
    }

    pub fn set_maxconn(&self, server: &Server, maxconn: u32) {
        server.set_maxconn(maxconn);
        self.changed();
    }

    pub fn set_checks_on(&self, server: &Server, on: bool) {
        server.set_checks_on(on);
    }

    /// No connection could be made: others are preferred, and the server is checked at once.
    fn unreachable(&self, server: &Server, now: Millis) {
        if server.avoid(now) {
            self.suspicious.store(true, Ordering::Release);
            self.changed();
        }
    }

    /// A check has reached the address that clients are sent to.
    pub fn reached(&self, server: &Server) {
        if server.trust() {
            self.changed();
        }
    }

    /// Whether servers are to be checked at once since this was last asked ([`Server::take_suspicion`]).
    pub fn take_suspicion(&self) -> bool {
        self.suspicious.load(Ordering::Relaxed) && self.suspicious.swap(false, Ordering::AcqRel)
    }

    /// Whether a request that was sent and failed may be tried once more; it is counted against the budget then.
    pub fn may_retry(&self, attempt: u32, now: Millis) -> bool {
        let set = self.set.load();
        let config = &set.config.retries;
        let requests = self.picked.load(Ordering::Relaxed);
        attempt < config.attempts && self.budget.lock().unwrap_or_else(PoisonError::into_inner).grant(config, now, requests)
    }

    /// Once a second: rates and the window of the retry budget.
    pub fn tick(&self, now: Millis) {
        for slot in &self.set.load().slots {
            slot.server.tick();
        }
        let requests = self.picked.load(Ordering::Relaxed);
        self.budget.lock().unwrap_or_else(PoisonError::into_inner).tick(now, requests);
    }

    fn failed(&self, server: &Server, now: Millis) {
        let set = self.set.load();
        let Some(config) = &set.config.outliers else { return };
        let failures = server.failures.fetch_add(1, Ordering::Relaxed) + 1;
        if failures < config.consecutive || server.is_ejected(now) {
            return;
        }
        let _one_at_a_time = self.ejecting.lock().unwrap_or_else(PoisonError::into_inner);
        let others_serve = set.slots.iter().any(|s| s.server.id != server.id && s.weight > 0 && s.server.is_serving(now));
        let out = set.slots.iter().filter(|s| s.server.is_ejected(now)).count();
        let allowed = (set.slots.len() as f64 * config.max_ejected).floor() as usize;
        if !others_serve || out + 1 > allowed || server.is_ejected(now) {
            return;
        }
        let times = server.ejections.fetch_add(1, Ordering::Relaxed).min(9) + 1;
        server.failures.store(0, Ordering::Relaxed);
        server.set_ejected_until(now.saturating_add(millis(config.eject).saturating_mul(u64::from(times))));
        self.changed();
    }

    /// Gives free sessions to those who wait, the longest first.
    fn dispatch(&self, now: Millis) {
        let mut left_over = Vec::new();
        {
            let set = self.set.load();
            let mut waiting = self.queue.lock();
            for id in Queue::bound_to(&waiting) {
                let slot = set.index_of(id).and_then(|i| set.slots.get(i));
                match slot.filter(|s| choose::takes_persistent(&set, s, now)) {
                    Some(slot) => {
                        while Queue::is_waited_for(&waiting, id)
                            && let Some(lease) = self.take(slot, true)
                        {
                            left_over.extend(self.queue.hand_over(&mut waiting, lease));
                        }
                    }
                    None => self.queue.send_away(&mut waiting, id),
                }
            }
            if self.queue.has_any() {
                let eligible = balance::Eligible::at(&set, now);
                for candidate in &eligible.candidates {
                    let Some(slot) = set.slots.get(candidate.index) else { continue };
                    while self.queue.has_any()
                        && let Some(lease) = self.take(slot, false)
                    {
                        left_over.extend(self.queue.hand_over(&mut waiting, lease));
                    }
                }
            }
        }
        // Outside of the lock, because dropping a lease looks at the queue again. There are some only where waiters went
        // away without a word.
        drop(left_over);
    }
}

impl Pool {
    /// None where the server has no session free.
    fn take(&self, slot: &Slot, persisted: bool) -> Option<Lease> {
        slot.server.take().then(|| {
            self.in_use.fetch_add(1, Ordering::Relaxed);
            Lease { server: slot.server.clone(), address: slot.address, persisted }
        })
    }
}
