//! The way of one request to its server: persistence first, then the balancer, then the queue.

use std::cell::RefCell;
use std::net::IpAddr;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::super::clock::{self, Millis};
use super::super::config::pool::{Balance, DrainPersistence, PersistBy};
use super::balance::{Asked, Local, hash};
use super::queue::{Place, Turn};
use super::{Lease, PickError, Pool, ServerId, ServerSet, Slot};

use crate::engine::relay::wire::Admin;

/// What the choice of a server depends on.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The client (by PROXY protocol where that is trusted).
    pub source: IpAddr,
    /// Path and query, for `balance: uri`; empty in other modes.
    pub uri: &'a [u8],
    /// Value of the persistence cookie ([`Pool::cookie_name`]), where the request has one.
    pub cookie: Option<&'a str>,
    /// Servers that failed this request already: a retry goes elsewhere where it can.
    pub tried: &'a [ServerId],
}

impl<'a> Request<'a> {
    pub fn from(source: IpAddr) -> Self {
        Self { source, uri: b"", cookie: None, tried: &[] }
    }
}

/// One data thread's views of all pools. Not shared.
#[derive(Debug)]
pub struct Picker {
    locals: Vec<Option<Local>>,
    seed: u64,
}

impl Picker {
    /// `seed` differs between threads.
    pub fn new(seed: u64) -> Self {
        Self { locals: Vec::new(), seed }
    }

    fn local(&mut self, pool: &Pool) -> Option<&mut Local> {
        if self.locals.len() <= pool.place {
            self.locals.resize_with(pool.place + 1, || None);
        }
        let seed = hash::mix(self.seed ^ hash::mix(pool.place as u64 + 1));
        Some(self.locals.get_mut(pool.place)?.get_or_insert_with(|| Local::new(seed)))
    }
}

/// What was found without waiting.
enum Found {
    Lease(Lease),
    /// All have their hands full: wait for this one, or for any.
    Wait(Option<ServerId>),
}

/// Whether a server takes a client that is bound to it.
pub(super) fn takes_persistent(set: &ServerSet, slot: &Slot, now: Millis) -> bool {
    let keeps = set.config.persistence.as_ref().is_none_or(|p| p.drain == DrainPersistence::Keep);
    slot.server.is_healthy(now)
        && match slot.server.admin() {
            Admin::Ready => true,
            Admin::Drain => keeps && set.config.persistence.is_some(),
            Admin::Maint => false,
        }
}

impl Pool {
    /// Name of the persistence cookie, where clients are told their server by one.
    pub fn cookie_name(&self) -> Option<std::sync::Arc<str>> {
        match &self.set.load().config.persistence.as_ref()?.by {
            PersistBy::Cookie { name, .. } => Some(name.clone()),
            PersistBy::Source { .. } => None,
        }
    }

    /// The value of Set-Cookie that binds a client to the server it was given; None where it is bound already or by
    /// other means.
    pub fn set_cookie(&self, lease: &Lease) -> Option<String> {
        if lease.persisted {
            return None;
        }
        let set = self.set.load();
        let PersistBy::Cookie { name, secure, http_only, max_age } = &set.config.persistence.as_ref()?.by else { return None };
        let slot = set.slots.get(set.index_of(lease.server.id)?)?;
        let mut value = format!("{name}={}; Path=/", slot.config.cookie);
        if let Some(age) = max_age {
            value.push_str(&format!("; Max-Age={}", age.as_secs()));
        }
        if *http_only {
            value.push_str("; HttpOnly");
        }
        if *secure {
            value.push_str("; Secure");
        }
        value.push_str("; SameSite=Lax");
        Some(value)
    }

    /// A server for a request, without waiting: [`PickError::Full`] where it would have to.
    pub fn pick(&self, picker: &mut Picker, request: &Request<'_>, now: Millis) -> Result<Lease, PickError> {
        let found = self.find(picker, request, now).inspect_err(|_| self.refuse())?;
        match found {
            Found::Lease(lease) => Ok(lease),
            Found::Wait(_) => {
                self.refuse();
                Err(PickError::Full)
            }
        }
    }

    /// A server for a request, after waiting in the pool's queue where all are at their limit.
    pub async fn acquire(&self, picker: &RefCell<Picker>, request: &Request<'_>) -> Result<Lease, PickError> {
        let mut began = None;
        loop {
            let now = clock::now();
            let found = self.find(&mut picker.borrow_mut(), request, now).inspect_err(|_| self.refuse())?;
            let wanted = match found {
                Found::Lease(lease) => return Ok(lease),
                Found::Wait(wanted) => wanted,
            };
            let config = self.config();
            let Some(left) = config.queue.timeout.checked_sub(began.get_or_insert_with(Instant::now).elapsed()) else {
                self.refuse();
                return Err(PickError::QueueTimeout);
            };
            let Some((place, turn)) = self.queue.join(wanted, config.queue.length) else {
                self.refuse();
                return Err(PickError::QueueFull);
            };
            let waiter = Leaves { pool: self, place };
            // A session may have become free between the look and the queue.
            self.dispatch(now);
            match tokio::time::timeout(left, turn).await {
                Ok(Ok(Turn::Yours(lease))) => {
                    self.chosen(&lease, request, clock::now());
                    return Ok(lease);
                }
                Ok(Ok(Turn::ChooseAgain) | Err(_)) => {}
                Err(_elapsed) => {
                    drop(waiter);
                    self.refuse();
                    return Err(PickError::QueueTimeout);
                }
            }
        }
    }

    fn refuse(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    fn chosen(&self, lease: &Lease, request: &Request<'_>, now: Millis) {
        self.picked.fetch_add(1, Ordering::Relaxed);
        if let Some(sources) = &*self.sources.load() {
            sources.put(request.source, lease.server.id, now);
        }
    }

    fn find(&self, picker: &mut Picker, request: &Request<'_>, now: Millis) -> Result<Found, PickError> {
        let epoch = self.epoch.load(Ordering::SeqCst);
        let set = self.set.load();
        if let Some(slot) = self.bound(&set, request, now) {
            // Behind those who wait already, not before them.
            if self.queue.bound_len(slot.server.id) == 0
                && !self.queue.has_any()
                && let Some(lease) = self.take(slot, true)
            {
                self.chosen(&lease, request, now);
                return Ok(Found::Lease(lease));
            }
            return Ok(Found::Wait(Some(slot.server.id)));
        }
        let Some(local) = picker.local(self) else { return Err(PickError::NoServer) };
        local.refresh(&set, epoch, now);
        if local.is_empty() {
            return Err(PickError::NoServer);
        }
        let asked = Asked {
            balance: set.config.balance,
            key: match set.config.balance {
                Balance::Source => hash::of_address(request.source),
                Balance::Uri => hash::of_uri(request.uri),
                _ => 0,
            },
            tried: &request.tried.iter().filter_map(|id| set.index_of(*id)).collect::<Vec<_>>(),
        };
        if self.queue.has_any() {
            return Ok(Found::Wait(None));
        }
        let free = |index: usize| {
            set.slots.get(index).is_some_and(|s| {
                s.server.maxconn().is_none_or(|most| s.server.in_use() < most) && self.queue.bound_len(s.server.id) == 0
            })
        };
        // Another thread may take the last session between the look and the taking: look again then.
        for _ in 0..set.slots.len().max(4) {
            let Some(slot) = local.choose(&set, &asked, free).and_then(|i| set.slots.get(i)) else { break };
            if free_for_hash(&asked, self, slot)
                && let Some(lease) = self.take(slot, false)
            {
                self.chosen(&lease, request, now);
                return Ok(Found::Lease(lease));
            }
            if matches!(asked.balance, Balance::Source | Balance::Uri) {
                return Ok(Found::Wait(Some(slot.server.id)));
            }
        }
        Ok(Found::Wait(None))
    }

    /// The server that the client is bound to, if that takes it and has not failed this request already.
    fn bound<'s>(&self, set: &'s ServerSet, request: &Request<'_>, now: Millis) -> Option<&'s Slot> {
        let index = match &set.config.persistence.as_ref()?.by {
            PersistBy::Cookie { .. } => set.index_of_cookie(request.cookie?)?,
            PersistBy::Source { .. } => set.index_of(self.sources.load().as_ref()?.get(request.source, now)?)?,
        };
        let slot = set.slots.get(index)?;
        (!request.tried.contains(&slot.server.id) && takes_persistent(set, slot, now)).then_some(slot)
    }
}

/// Consistent algorithms name their server whether it is free or not: those who wait for it come first.
fn free_for_hash(asked: &Asked<'_>, pool: &Pool, slot: &Slot) -> bool {
    !matches!(asked.balance, Balance::Source | Balance::Uri) || pool.queue.bound_len(slot.server.id) == 0
}

/// Leaves the queue however the wait ends: a client that hangs up must not keep its place.
struct Leaves<'p> {
    pool: &'p Pool,
    place: Place,
}

impl Drop for Leaves<'_> {
    fn drop(&mut self) {
        if !self.pool.queue.is_empty() {
            self.pool.queue.leave(self.place);
        }
    }
}
