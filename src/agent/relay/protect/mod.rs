//! Who may ask for what, and how much of it: networks, methods, user agents, paths, and limits per client and per URI.
//!
//! One [`Protection`] guards a listener, another one each route that has limits of its own. Checks are cheap and take the time as an
//! argument; the state of clients is bounded (see [`table`]) and moves over to the next configuration where a limit is unchanged.

pub mod networks;
pub mod rate;
pub mod table;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use http::Method;

use self::networks::{Networks, client_prefix};
use self::rate::Rate;
use self::table::Table;
use super::route::Asked;
use super::route::pattern::Pattern;

/// What a limit counts by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitBy {
    /// The client's address, on IPv6 its prefix.
    Client,
    /// The path, whoever asks (the query does not count, or it would be a way round).
    Uri,
    /// Client and path together.
    ClientAndUri,
    /// All requests together.
    All,
}

/// One limit: a rate, a number at once, or both.
#[derive(Clone, Debug, PartialEq)]
pub struct LimitConfig {
    pub by: LimitBy,
    pub rate: Option<Rate>,
    /// Requests at once.
    pub concurrency: Option<u32>,
}

/// What is allowed on a listener or a route. Empty means: everything.
#[derive(Clone, Debug, PartialEq)]
pub struct ProtectConfig {
    /// Only these clients, where there are any.
    pub allow: Networks,
    pub deny: Networks,
    pub deny_methods: Vec<Method>,
    pub deny_user_agents: Vec<Pattern>,
    /// Matched against the path's normal form.
    pub deny_paths: Vec<Pattern>,
    /// Connections at once of one client.
    pub connections: Option<u32>,
    pub limits: Vec<LimitConfig>,
    /// Bits of an IPv6 address that make a client.
    pub v6_prefix: u8,
    /// Clients remembered by each limit.
    pub table_size: usize,
}

/// Bits of an IPv6 address that make a client: what one customer gets at least (RFC 6177).
pub const DEFAULT_V6_PREFIX: u8 = 64;
pub const DEFAULT_TABLE_SIZE: usize = 100_000;

impl Default for ProtectConfig {
    fn default() -> Self {
        Self {
            allow: Networks::default(),
            deny: Networks::default(),
            deny_methods: Vec::new(),
            deny_user_agents: Vec::new(),
            deny_paths: Vec::new(),
            connections: None,
            limits: Vec::new(),
            v6_prefix: DEFAULT_V6_PREFIX,
            table_size: DEFAULT_TABLE_SIZE,
        }
    }
}

/// Why something was denied: counters and the log name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    Network,
    Method,
    UserAgent,
    Path,
    Connections,
    Rate,
    Concurrency,
}

impl Reason {
    pub const ALL: [Self; 7] =
        [Self::Network, Self::Method, Self::UserAgent, Self::Path, Self::Connections, Self::Rate, Self::Concurrency];

    /// Label of the counter.
    pub fn word(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::Method => "method",
            Self::UserAgent => "user_agent",
            Self::Path => "path",
            Self::Connections => "connections",
            Self::Rate => "rate",
            Self::Concurrency => "concurrency",
        }
    }

    /// Status of the answer: 429 for limits (RFC 6585), 405 for methods, else 403.
    pub fn status(self) -> u16 {
        match self {
            Self::Rate | Self::Concurrency | Self::Connections => 429,
            Self::Method => 405,
            Self::Network | Self::UserAgent | Self::Path => 403,
        }
    }
}

/// A request or connection that is not let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Denied {
    pub reason: Reason,
    /// How long to wait, where that is known.
    pub wait: Option<Duration>,
}

impl Denied {
    /// Value of `Retry-After` in whole seconds, at least 1; for limits only (RFC 9110, 10.2.3).
    pub fn retry_after(&self) -> Option<u64> {
        (self.reason.status() == 429).then(|| self.wait.map_or(1, |w| w.as_secs() + u64::from(w.subsec_nanos() > 0)).max(1))
    }
}

/// What was counted as running; dropping it gives it back.
#[derive(Debug, Default)]
#[must_use = "dropping it ends what it counts"]
pub struct Guard(Vec<(Arc<Table>, u64)>);

impl Drop for Guard {
    fn drop(&mut self) {
        for (table, key) in &self.0 {
            table.with(*key, |u| u.running = u.running.saturating_sub(1));
        }
    }
}

#[derive(Debug)]
struct Limit {
    config: LimitConfig,
    table: Arc<Table>,
}

/// The rules of a listener or route with the state of its clients.
#[derive(Debug)]
pub struct Protection {
    config: ProtectConfig,
    /// Start of the tables' clock.
    epoch: Instant,
    connections: Option<Arc<Table>>,
    limits: Vec<Limit>,
    denied: Arc<[AtomicU64; Reason::ALL.len()]>,
}

impl Protection {
    /// `before`: the protection of the same listener or route that this one replaces; its counters and the clients of limits that are
    /// unchanged are taken over. `now` starts the clock.
    pub fn new(config: ProtectConfig, before: Option<&Self>, now: Instant) -> Self {
        let same_tables = before.filter(|b| (b.config.v6_prefix, b.config.table_size) == (config.v6_prefix, config.table_size));
        // What counts all together needs one entry.
        let table = |by: LimitBy| Arc::new(Table::new(if by == LimitBy::All { 1 } else { config.table_size }));
        let old_limit =
            |limit: &LimitConfig| same_tables?.limits.iter().find(|l| l.config == *limit).map(|l| Arc::clone(&l.table));
        let limits = config
            .limits
            .iter()
            .map(|l| Limit { config: l.clone(), table: old_limit(l).unwrap_or_else(|| table(l.by)) })
            .collect();
        // Connections outlive configurations: they are counted on, whatever the limit is now.
        let connections =
            config.connections.map(|_| same_tables.and_then(|b| b.connections.clone()).unwrap_or_else(|| table(LimitBy::Client)));
        let denied = before.map_or_else(Arc::default, |b| Arc::clone(&b.denied));
        Self { connections, limits, denied, epoch: before.map_or(now, |b| b.epoch), config }
    }

    /// Before anything is read of a connection. The guard belongs to the connection.
    pub fn connect(&self, client: IpAddr) -> Result<Guard, Denied> {
        self.check_network(client)?;
        let mut guard = Guard::default();
        if let (Some(most), Some(table)) = (self.config.connections, &self.connections) {
            let key = table.key(client_prefix(client, self.config.v6_prefix));
            let counted = table.with(key, |u| take_one(&mut u.running, most));
            match counted {
                Some(false) => return Err(self.deny(Reason::Connections, None)),
                Some(true) => guard.0.push((Arc::clone(table), key)),
                None => {}
            }
        }
        Ok(guard)
    }

    /// Before a request is routed on. The guard belongs to the request and its response. A request that is denied counts for the rates
    /// that it passed before.
    pub fn request(&self, asked: &Asked<'_>, now: Instant) -> Result<Guard, Denied> {
        let config = &self.config;
        self.check_network(asked.client)?;
        if config.deny_methods.contains(&asked.head.method) {
            return Err(self.deny(Reason::Method, None));
        }
        if config.deny_paths.iter().any(|p| p.is_match(&*asked.path)) {
            return Err(self.deny(Reason::Path, None));
        }
        if !config.deny_user_agents.is_empty() {
            let agent = asked.head.headers.get("user-agent").unwrap_or_default();
            if config.deny_user_agents.iter().any(|p| p.is_match(agent)) {
                return Err(self.deny(Reason::UserAgent, None));
            }
        }
        let mut guard = Guard::default();
        if self.limits.is_empty() {
            return Ok(guard);
        }
        let now = rate::nanos(now.saturating_duration_since(self.epoch));
        let client = client_prefix(asked.client, config.v6_prefix);
        for limit in &self.limits {
            let table = &limit.table;
            let key = match limit.config.by {
                LimitBy::Client => table.key(client),
                LimitBy::Uri => table.key(&*asked.path),
                LimitBy::ClientAndUri => table.key((client, &*asked.path)),
                LimitBy::All => table.key(()),
            };
            let counted = table.with(key, |u| {
                if limit.config.concurrency.is_some_and(|most| u.running >= most) {
                    return Err((Reason::Concurrency, None));
                }
                if let Some(rate) = limit.config.rate {
                    u.arrival = rate.admit(u.arrival, now).map_err(|wait| (Reason::Rate, Some(wait)))?;
                }
                if limit.config.concurrency.is_some() {
                    u.running += 1;
                }
                Ok(())
            });
            match counted {
                Some(Err((reason, wait))) => return Err(self.deny(reason, wait)),
                Some(Ok(())) if limit.config.concurrency.is_some() => guard.0.push((Arc::clone(table), key)),
                // A client that cannot be counted is let through: a full table must not be an outage.
                Some(Ok(())) | None => {}
            }
        }
        Ok(guard)
    }

    fn check_network(&self, client: IpAddr) -> Result<(), Denied> {
        let config = &self.config;
        let outside = !config.allow.is_empty() && !config.allow.contains(client);
        if outside || (!config.deny.is_empty() && config.deny.contains(client)) {
            return Err(self.deny(Reason::Network, None));
        }
        Ok(())
    }

    fn deny(&self, reason: Reason, wait: Option<Duration>) -> Denied {
        if let Some(counter) = self.denied.get(reason as usize) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        Denied { reason, wait }
    }

    /// How often each reason denied something since the relay started.
    pub fn denied(&self) -> impl Iterator<Item = (Reason, u64)> {
        Reason::ALL.into_iter().zip(self.denied.iter().map(|c| c.load(Ordering::Relaxed)))
    }

    /// How often a client could not be counted because a table was full of running ones.
    pub fn overflows(&self) -> u64 {
        self.limits.iter().map(|l| &l.table).chain(&self.connections).map(|t| t.overflows()).sum()
    }
}

fn take_one(running: &mut u32, most: u32) -> bool {
    let free = *running < most;
    *running += u32::from(free);
    free
}

#[cfg(test)]
mod tests;
