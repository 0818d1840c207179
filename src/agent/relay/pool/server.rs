//! One server of a pool as all data threads see it: counts and states in atomics, nothing to lock.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::engine::relay::wire::{Admin, Check, Health, Traffic};

use super::super::clock::Millis;
use super::super::health::standing::Standing;
use super::super::metrics::rate::Rate;
use super::Pool;

/// Names a server for the life of the process, over changes of its address and of the configuration.
pub type ServerId = u64;

/// How long other servers are preferred to one that no connection could be made to, at first.
pub const AVOIDED: Millis = 1000;
/// That span is doubled at most so often.
const MOST_DOUBLED: u32 = 4;

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// What all data threads share of a server. Settings that the balancer needs stand in the pool's [`super::ServerSet`].
#[derive(Debug)]
pub struct Server {
    pub id: ServerId,
    pub name: Arc<str>,
    /// `pool/server`.
    pub place: Arc<str>,
    pub(super) home: Weak<Pool>,
    admin: AtomicU8,
    health: AtomicU8,
    checks_on: AtomicBool,
    /// Out until then for failing requests; 0 = not out.
    ejected_until: AtomicU64,
    pub(super) ejections: AtomicU32,
    /// Failed requests in a row.
    pub(super) failures: AtomicU32,
    /// Other servers are preferred until then, because connections to this one fail; 0 = not avoided.
    avoided_until: AtomicU64,
    /// How often in a row it was avoided.
    avoided: AtomicU32,
    /// To be checked at once: a connection has failed.
    suspected: AtomicBool,
    /// When it last began to take traffic; 0 = since the start, so that nothing has to warm up.
    serving_since: AtomicU64,
    changed_at: AtomicU64,
    /// How long the state at the start was known before this process, in milliseconds.
    held_before: AtomicU64,
    down_since: AtomicU64,
    downtime: AtomicU64,
    /// Exactly the leases that are out.
    in_use: AtomicU32,
    /// 0 = no limit.
    maxconn: AtomicU32,
    pub stats: ServerStats,
    check: Mutex<CheckState>,
}

/// Counters of one server, since the process began.
#[derive(Debug, Default)]
pub struct ServerStats {
    pub total: AtomicU64,
    pub max: AtomicU32,
    pub bytes_in: AtomicU64,
    pub bytes_out: AtomicU64,
    pub connect_errors: AtomicU64,
    pub response_errors: AtomicU64,
    /// Answers by class, 1xx to 5xx.
    pub answers: [AtomicU64; 5],
    pub retries: AtomicU64,
    /// Kept connections of HTTP/1.1 without a request.
    pub idle: Arc<AtomicI64>,
    /// Of sessions.
    rate: Rate,
}

#[derive(Debug, Default, Clone)]
pub struct CheckState {
    /// The last result in HAProxy's words; None before the first.
    pub last: Option<Check>,
    /// Results in a row towards the next state, out of those needed.
    pub progress: Option<(u32, u32)>,
    /// What was known before the first check of this process, until checks begin.
    pub known: Option<Standing>,
}

/// How a request to a server ended, for counters and the ejection of outliers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// An answer with this status code.
    Answer(u16),
    /// A TCP session or tunnel that was established.
    Established,
    /// No connection: refused, unreachable, timed out, TLS failed.
    ConnectFailed,
    /// The connection broke or was silent for too long before the whole answer came, or the answer made no sense.
    ResponseFailed,
}

impl Outcome {
    /// The server's own failure: these in a row eject it.
    pub fn is_failure(self) -> bool {
        match self {
            Outcome::Answer(status) => status >= 500 && status != 501 && status != 505,
            Outcome::Established => false,
            Outcome::ConnectFailed | Outcome::ResponseFailed => true,
        }
    }
}

impl Server {
    pub(super) fn new(name: &Arc<str>, pool: &Arc<str>, home: Weak<Pool>, admin: Admin, maxconn: u32, now: Millis) -> Self {
        Self {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            name: name.clone(),
            place: format!("{pool}/{name}").into(),
            home,
            admin: AtomicU8::new(admin_code(admin)),
            health: AtomicU8::new(health_code(Health::Unchecked)),
            checks_on: AtomicBool::new(true),
            ejected_until: AtomicU64::new(0),
            ejections: AtomicU32::new(0),
            failures: AtomicU32::new(0),
            avoided_until: AtomicU64::new(0),
            avoided: AtomicU32::new(0),
            suspected: AtomicBool::new(false),
            serving_since: AtomicU64::new(0),
            changed_at: AtomicU64::new(now),
            held_before: AtomicU64::new(0),
            down_since: AtomicU64::new(0),
            downtime: AtomicU64::new(0),
            in_use: AtomicU32::new(0),
            maxconn: AtomicU32::new(maxconn),
            stats: ServerStats::default(),
            check: Mutex::new(CheckState::default()),
        }
    }

    pub fn admin(&self) -> Admin {
        match self.admin.load(Ordering::Acquire) {
            1 => Admin::Drain,
            2 => Admin::Maint,
            _ => Admin::Ready,
        }
    }

    /// Health as checks see it; ejection is apart ([`Server::is_ejected`]).
    pub fn health(&self) -> Health {
        match self.health.load(Ordering::Acquire) {
            1 => Health::Up,
            2 => Health::Down,
            3 => Health::Starting,
            _ => Health::Unchecked,
        }
    }

    pub fn checks_on(&self) -> bool {
        self.checks_on.load(Ordering::Acquire)
    }

    pub fn maxconn(&self) -> Option<u32> {
        Some(self.maxconn.load(Ordering::Acquire)).filter(|n| *n > 0)
    }

    /// Leases that are out: requests, tunnels and TCP connections in progress.
    pub fn in_use(&self) -> u32 {
        self.in_use.load(Ordering::SeqCst)
    }

    pub fn is_ejected(&self, now: Millis) -> bool {
        self.ejected_until.load(Ordering::Acquire) > now
    }

    /// 0 = not ejected.
    pub fn ejected_until(&self) -> Millis {
        self.ejected_until.load(Ordering::Acquire)
    }

    /// Until when other servers are preferred; 0 = it is not avoided.
    pub fn avoided_until(&self) -> Millis {
        self.avoided_until.load(Ordering::Acquire)
    }

    /// A connection has failed: other servers are preferred for a while, which doubles each time that this happens anew. False where it is
    /// avoided already.
    pub(super) fn avoid(&self, now: Millis) -> bool {
        let before = self.avoided_until.load(Ordering::Acquire);
        if before > now {
            return false;
        }
        let until = now.saturating_add(AVOIDED << self.avoided.load(Ordering::Acquire).min(MOST_DOUBLED));
        if self.avoided_until.compare_exchange(before, until, Ordering::AcqRel, Ordering::Acquire).is_err() {
            return false;
        }
        self.avoided.fetch_add(1, Ordering::AcqRel);
        self.suspected.store(true, Ordering::Release);
        true
    }

    /// A connection was established. True where it was avoided until now.
    pub(super) fn trust(&self) -> bool {
        // Most of the time it is 0, and a read does not disturb the other threads.
        if self.avoided_until.load(Ordering::Relaxed) == 0 {
            return false;
        }
        self.avoided.store(0, Ordering::Release);
        self.avoided_until.swap(0, Ordering::AcqRel) > 0
    }

    /// Whether it is to be checked at once, asked by the one who does so; and whether this is new.
    pub fn take_suspicion(&self) -> Option<bool> {
        self.suspected.swap(false, Ordering::AcqRel).then(|| self.avoided.load(Ordering::Acquire) == 1)
    }

    /// Not down and not ejected.
    pub fn is_healthy(&self, now: Millis) -> bool {
        self.health() != Health::Down && !self.is_ejected(now)
    }

    /// Takes new clients, as far as operators and health are concerned.
    pub fn is_serving(&self, now: Millis) -> bool {
        self.admin() == Admin::Ready && self.is_healthy(now)
    }

    pub fn serving_since(&self) -> Millis {
        self.serving_since.load(Ordering::Acquire)
    }

    /// Milliseconds since admin state or health last changed, processes before this one included.
    pub fn held_for(&self, now: Millis) -> Millis {
        let here = now.saturating_sub(self.changed_at.load(Ordering::Acquire));
        here.saturating_add(self.held_before.load(Ordering::Acquire))
    }

    fn changed(&self, now: Millis) {
        self.held_before.store(0, Ordering::Release);
        self.changed_at.store(now, Ordering::Release);
    }

    /// What a process before this one knew of its health, and how long it had been so. To be said before checks begin.
    pub fn begin_as(&self, standing: Standing, last: Option<Check>, held: Millis, now: Millis) {
        self.set_health(if standing.up { Health::Up } else { Health::Down }, now);
        self.held_before.store(held, Ordering::Release);
        let mut state = self.check.lock().unwrap_or_else(PoisonError::into_inner);
        *state = CheckState { last, progress: None, known: Some(standing) };
    }

    /// What was known of it at the start, once.
    pub fn take_known(&self) -> Option<Standing> {
        self.check.lock().unwrap_or_else(PoisonError::into_inner).known.take()
    }

    /// Milliseconds down in all.
    pub fn downtime(&self, now: Millis) -> Millis {
        let since = self.down_since.load(Ordering::Acquire);
        let current = if since == 0 { 0 } else { now.saturating_sub(since) };
        self.downtime.load(Ordering::Acquire) + current
    }

    pub fn check_state(&self) -> CheckState {
        self.check.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn note_check(&self, last: Option<Check>, progress: Option<(u32, u32)>) {
        let mut state = self.check.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_some() {
            state.last = last;
        }
        state.progress = progress;
    }

    pub(super) fn set_admin(&self, admin: Admin, now: Millis) {
        let before = self.admin.swap(admin_code(admin), Ordering::AcqRel);
        if before != admin_code(admin) {
            self.changed(now);
            if admin == Admin::Ready {
                self.serving_since.store(now, Ordering::Release);
            }
        }
    }

    pub(super) fn set_health(&self, health: Health, now: Millis) -> bool {
        let before = self.health.swap(health_code(health), Ordering::AcqRel);
        let (down, up) = (health_code(Health::Down), health != Health::Down);
        if before == health_code(health) {
            return false;
        }
        if before == down && up {
            self.serving_since.store(now, Ordering::Release);
            let since = self.down_since.swap(0, Ordering::AcqRel);
            self.downtime.fetch_add(now.saturating_sub(since), Ordering::AcqRel);
        } else if !up {
            self.down_since.store(now, Ordering::Release);
        }
        self.changed(now);
        true
    }

    pub(super) fn set_checks_on(&self, on: bool) {
        self.checks_on.store(on, Ordering::Release);
    }

    pub(super) fn set_maxconn(&self, maxconn: u32) {
        self.maxconn.store(maxconn, Ordering::Release);
    }

    /// How often it was ejected in a row.
    pub fn ejections(&self) -> u32 {
        self.ejections.load(Ordering::Relaxed)
    }

    /// Out until then, for the so-manieth time, as a process before this one decided.
    pub fn begin_ejected(&self, until: Millis, ejections: u32) {
        self.ejections.store(ejections, Ordering::Relaxed);
        self.set_ejected_until(until);
    }

    pub(super) fn set_ejected_until(&self, until: Millis) {
        self.ejected_until.store(until, Ordering::Release);
        // It warms up again once it is back.
        self.serving_since.store(until, Ordering::Release);
    }

    /// Takes a session if there is one free.
    pub(super) fn take(&self) -> bool {
        let limit = self.maxconn.load(Ordering::Acquire);
        let taken = if limit == 0 {
            self.in_use.fetch_add(1, Ordering::SeqCst) + 1
        } else {
            let free = |n: u32| (n < limit).then_some(n + 1);
            match self.in_use.fetch_update(Ordering::SeqCst, Ordering::SeqCst, free) {
                Ok(before) => before + 1,
                Err(_) => return false,
            }
        };
        self.stats.total.fetch_add(1, Ordering::Relaxed);
        if taken > self.stats.max.load(Ordering::Relaxed) {
            self.stats.max.fetch_max(taken, Ordering::Relaxed);
        }
        true
    }

    pub(super) fn give_back(&self) {
        self.in_use.fetch_sub(1, Ordering::SeqCst);
    }

    /// Once a second: sessions since the last time are the rate.
    pub(super) fn tick(&self) {
        self.stats.rate.tick(self.stats.total.load(Ordering::Relaxed));
    }

    pub fn traffic(&self, http: bool) -> Traffic {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let s = &self.stats;
        Traffic {
            sessions: u64::from(self.in_use()),
            sessions_max: u64::from(s.max.load(Ordering::Relaxed)),
            sessions_limit: self.maxconn().map(u64::from),
            sessions_total: read(&s.total),
            sessions_rate: s.rate.get(),
            requests_total: if http { read(&s.total) } else { 0 },
            requests_rate: http.then(|| s.rate.get()),
            bytes_in: read(&s.bytes_in),
            bytes_out: read(&s.bytes_out),
            connect_errors: read(&s.connect_errors),
            response_errors: read(&s.response_errors),
            answers: http.then(|| std::array::from_fn(|i| s.answers.get(i).map_or(0, read))),
            retries: read(&s.retries),
            ..Traffic::default()
        }
    }
}

fn admin_code(admin: Admin) -> u8 {
    match admin {
        Admin::Ready => 0,
        Admin::Drain => 1,
        Admin::Maint => 2,
    }
}

fn health_code(health: Health) -> u8 {
    match health {
        Health::Up => 1,
        Health::Down => 2,
        Health::Starting => 3,
        Health::Unchecked | Health::Ejected | Health::Unknown => 0,
    }
}
