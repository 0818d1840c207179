//! All pools of the relay from the operator's side: configuration and what operators asked for come together here.
//!
//! What an operator asked of a server outlives changes of the configuration: it is kept by name and laid over whatever the
//! file says. One lock, taken by the control API alone; data threads see only the sets that are swapped in.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use crate::agent::plane::Healths;
use crate::config::name_is_good;
use crate::engine::relay::wire::{self, Admin, Health, NewServer, ServerChange, Traffic};
use crate::model::ServerRef;

use super::clock::{Millis, now};
use super::config::pool::{MAX_WEIGHT, PoolConfig, ServerConfig};
use super::config::{Mode, RelayConfig};
use super::health::Pools;
use super::known;
use super::pool::balance::{SCALE, effective_weight};
use super::pool::{Pool, Server, ServerSet, Slot};

/// Why a change was not made. Nothing has changed then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RosterError {
    #[error("{0}")]
    NotFound(String),
    #[error("{0}")]
    Invalid(String),
    #[error("{0}")]
    Conflict(String),
}

/// What operators asked of one server.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Asked {
    /// Set where it was added at run time.
    pub added: Option<NewServer>,
    pub set: ServerChange,
}

#[derive(Debug, Default)]
struct Inner {
    pools: BTreeMap<Arc<str>, Arc<Pool>>,
    /// Numbers of all pools that there ever were, by name.
    places: HashMap<Arc<str>, usize>,
    asked: BTreeMap<(String, String), Asked>,
    /// What a process before this one knew of servers, until there are some.
    known: Option<Healths>,
}

#[derive(Debug, Default)]
pub struct Roster {
    inner: Mutex<Inner>,
    /// The same pools for the thread that checks them.
    checked: Arc<Pools>,
}

impl Roster {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For [`super::health::HealthThread`].
    pub fn checked(&self) -> Arc<Pools> {
        self.checked.clone()
    }

    pub fn pool(&self, name: &str) -> Option<Arc<Pool>> {
        self.lock().pools.get(name).cloned()
    }

    /// Lays what operators asked for before a restart over the configuration; to be called before [`Roster::apply`].
    pub fn remember(&self, at: &ServerRef, asked: Asked) {
        self.lock().asked.insert(key(at), asked);
    }

    /// Begins with what a process before this one knew of the servers' health; to be called before [`Roster::apply`].
    pub fn remember_health(&self, known: Healths) {
        self.lock().known = Some(known);
    }

    /// What is known of the servers' health now.
    pub fn health(&self) -> Healths {
        known::gather(self.lock().pools.values(), Timestamp::now(), now())
    }

    /// Takes a configuration over: servers that stay keep their counts, states and clients. What has changed, in words.
    pub fn apply(&self, config: &RelayConfig) -> Vec<String> {
        let time = now();
        let mut changes = Vec::new();
        let mut inner = self.lock();
        let mut before = std::mem::take(&mut inner.pools);
        for pool_config in &config.pools {
            let pool = match before.remove(&pool_config.name) {
                Some(pool) => {
                    if pool.config() != *pool_config {
                        changes.push(format!("pool {}: changed", pool_config.name));
                    }
                    pool
                }
                None => {
                    changes.push(format!("pool {}: added", pool_config.name));
                    let count = inner.places.len();
                    let place = *inner.places.entry(pool_config.name.clone()).or_insert(count);
                    Pool::new(pool_config.clone(), place)
                }
            };
            rebuild(&pool, pool_config, &mut inner.asked, time, &mut changes);
            inner.pools.insert(pool_config.name.clone(), pool);
        }
        changes.extend(before.keys().map(|name| format!("pool {name}: removed")));
        if let Some(known) = inner.known.take() {
            inner.pools.values().for_each(|pool| known::begin_with(&known, pool, Timestamp::now(), time));
        }
        self.checked.store(Arc::new(inner.pools.values().cloned().collect()));
        changes
    }

    /// Makes one change as a whole.
    pub fn change(&self, at: &ServerRef, change: &ServerChange) -> Result<(), RosterError> {
        let mut inner = self.lock();
        let pool = inner.pool(at)?;
        let set = pool.set().clone();
        let slot = slot_of(&set, at)?;
        if change.weight.is_some_and(|w| w > MAX_WEIGHT) {
            return Err(RosterError::Invalid(format!("a weight is 0 to {MAX_WEIGHT}")));
        }
        let ip = change.address.as_deref().map(parse_ip).transpose()?;
        if change.port == Some(0) {
            return Err(RosterError::Invalid("port 0 is no port of a server".to_owned()));
        }
        if change.checks_on.is_some() && (set.config.check.is_none() || !slot.config.check) {
            return Err(RosterError::Invalid(format!("{at} has no checks in its configuration")));
        }
        let asked = &mut inner.asked.entry(key(at)).or_default().set;
        asked.admin = change.admin.or(asked.admin);
        asked.weight = change.weight.or(asked.weight);
        asked.address = ip.map(|ip| ip.to_string()).or_else(|| asked.address.take());
        asked.port = change.port.or(asked.port);
        asked.maxconn = change.maxconn.or(asked.maxconn);
        asked.checks_on = change.checks_on.or(asked.checks_on);
        let config = set.config.clone();
        rebuild(&pool, &config, &mut inner.asked, now(), &mut Vec::new());
        Ok(())
    }

    /// Adds a server that the configuration does not have.
    pub fn add(&self, at: &ServerRef, new: &NewServer) -> Result<(), RosterError> {
        let mut inner = self.lock();
        let pool = inner.pool(at)?;
        let set = pool.set().clone();
        name_is_good(at.server.as_str()).map_err(|why| RosterError::Invalid(format!("'{}' {why}", at.server)))?;
        if slot_of(&set, at).is_ok() {
            return Err(RosterError::Conflict(format!("{at} is there already")));
        }
        parse_ip(&new.address)?;
        if new.port == 0 || new.weight.is_some_and(|w| w > MAX_WEIGHT) {
            return Err(RosterError::Invalid(format!("a port is 1 to 65535 and a weight 0 to {MAX_WEIGHT}")));
        }
        if new.check && set.config.check.is_none() {
            return Err(RosterError::Invalid(format!("pool {} has no checks in its configuration", at.pool)));
        }
        inner.asked.insert(
            key(at),
            Asked { added: Some(new.clone()), set: ServerChange { admin: new.admin, ..ServerChange::default() } },
        );
        rebuild(&pool, &set.config, &mut inner.asked, now(), &mut Vec::new());
        Ok(())
    }

    /// Takes a server away that was added, once nothing is in use.
    pub fn remove(&self, at: &ServerRef) -> Result<(), RosterError> {
        let mut inner = self.lock();
        let pool = inner.pool(at)?;
        let set = pool.set().clone();
        let slot = slot_of(&set, at)?;
        if !slot.added {
            let what = format!("{at} stands in the configuration file; remove it there");
            return Err(RosterError::Conflict(what));
        }
        if slot.server.admin() == Admin::Ready {
            return Err(RosterError::Conflict(format!("{at} is ready; drain it or set it to maint first")));
        }
        let left = slot.server.in_use();
        if left > 0 {
            return Err(RosterError::Conflict(format!("{at} still has {left} sessions")));
        }
        inner.asked.remove(&key(at));
        rebuild(&pool, &set.config, &mut inner.asked, now(), &mut Vec::new());
        Ok(())
    }

    /// `pool/server` as sessions name it, where there is such a server.
    pub fn server_name(&self, at: &ServerRef) -> Result<String, RosterError> {
        let inner = self.lock();
        let pool = inner.pool(at)?;
        slot_of(&pool.set(), at)?;
        Ok(at.to_string())
    }

    /// All pools or one, as the control API shows them.
    pub fn picture(&self, only: Option<&str>) -> Vec<wire::Pool> {
        let time = now();
        let inner = self.lock();
        let pools = inner.pools.iter().filter(|(name, _)| only.is_none_or(|o| o == &***name));
        pools.map(|(_, pool)| show_pool(pool, time)).collect()
    }

    /// What operators asked for that differs from what the configuration says, in words.
    pub fn kept(&self) -> Vec<String> {
        let inner = self.lock();
        let said = |((pool, server), asked): (&(String, String), &Asked)| {
            let mut what = Vec::new();
            what.extend(asked.added.as_ref().map(|_| "added".to_owned()));
            what.extend(asked.set.admin.map(|a| a.word().to_owned()));
            what.extend(asked.set.weight.map(|w| format!("weight {w}")));
            what.extend(asked.set.address.as_ref().map(|a| format!("address {a}")));
            what.extend(asked.set.port.map(|p| format!("port {p}")));
            what.extend(asked.set.maxconn.map(|m| format!("maxconn {m}")));
            what.extend(asked.set.checks_on.map(|on| format!("checks {}", if on { "on" } else { "off" })));
            (!what.is_empty()).then(|| format!("{pool}/{server}: {}", what.join(", ")))
        };
        inner.asked.iter().filter_map(said).collect()
    }
}

impl Inner {
    fn pool(&self, at: &ServerRef) -> Result<Arc<Pool>, RosterError> {
        let pool = self.pools.get(at.pool.as_str()).cloned();
        pool.ok_or_else(|| RosterError::NotFound(format!("there is no pool '{}'", at.pool)))
    }
}

fn key(at: &ServerRef) -> (String, String) {
    (at.pool.to_string(), at.server.to_string())
}

fn slot_of<'s>(set: &'s ServerSet, at: &ServerRef) -> Result<&'s Slot, RosterError> {
    let slot = set.index_of_name(at.server.as_str()).and_then(|i| set.slots.get(i));
    slot.ok_or_else(|| RosterError::NotFound(format!("there is no server '{}' in pool '{}'", at.server, at.pool)))
}

fn parse_ip(text: &str) -> Result<IpAddr, RosterError> {
    text.parse().map_err(|_| RosterError::Invalid(format!("'{text}' is no IP address; names are not resolved")))
}

/// Makes a pool's set anew from its configuration and what operators asked for.
fn rebuild(
    pool: &Arc<Pool>,
    config: &Arc<PoolConfig>,
    asked: &mut BTreeMap<(String, String), Asked>,
    time: Millis,
    changes: &mut Vec<String>,
) {
    let before = pool.set().clone();
    let mut wanted: Vec<(ServerConfig, bool)> = config.servers.iter().map(|s| (s.clone(), false)).collect();
    for ((pool_name, name), asked) in asked.iter_mut().filter(|((p, _), _)| **p == *config.name) {
        if config.servers.iter().any(|s| *s.name == **name) {
            // It has come into the file: from now on it is one of those.
            asked.added = None;
        } else if let Some(added) = asked.added.as_ref().and_then(|new| added_config(name, new)) {
            wanted.push((added, true));
        } else if asked.added.is_some() {
            tracing::error!("{pool_name}/{name}: what was remembered of it is no server");
        }
    }
    let mut slots = Vec::with_capacity(wanted.len());
    let old: HashMap<&str, &Slot> = before.slots.iter().map(|s| (&*s.server.name, s)).collect();
    for (server_config, added) in wanted {
        let set = asked.get(&(config.name.to_string(), server_config.name.to_string())).map(|a| a.set.clone());
        let set = set.unwrap_or_default();
        let known = old.get(&*server_config.name);
        // 'disabled' counts where it is new: a server that an operator made ready stays so.
        let from_file = if server_config.disabled { Admin::Maint } else { Admin::Ready };
        let file_moved = known.is_none_or(|k| k.config.disabled != server_config.disabled);
        let maxconn = set.maxconn.or(server_config.maxconn).unwrap_or(0);
        let server = match known {
            Some(slot) => slot.server.clone(),
            None => {
                if !before.slots.is_empty() {
                    changes.push(format!("server {}/{}: added", config.name, server_config.name));
                }
                pool.new_server(&server_config.name, set.admin.unwrap_or(from_file), maxconn, time)
            }
        };
        if let Some(admin) = set.admin.or(file_moved.then_some(from_file)) {
            pool.set_admin(&server, admin, time);
        }
        if server.maxconn().unwrap_or(0) != maxconn {
            pool.set_maxconn(&server, maxconn);
        }
        pool.set_checks_on(&server, set.checks_on.unwrap_or(true));
        let ip = set.address.and_then(|a| a.parse().ok()).unwrap_or(server_config.address.ip());
        let address = SocketAddr::new(ip, set.port.unwrap_or(server_config.address.port()));
        let weight = set.weight.unwrap_or(server_config.weight);
        slots.push(Slot { server, config: server_config, address, weight, added });
    }
    for gone in before.slots.iter().filter(|s| !slots.iter().any(|n| n.server.id == s.server.id)) {
        changes.push(format!("server {}/{}: removed", config.name, gone.server.name));
    }
    pool.replace(ServerSet::new(config.clone(), slots));
}

fn added_config(name: &str, new: &NewServer) -> Option<ServerConfig> {
    let mut config = ServerConfig::new(name, SocketAddr::new(new.address.parse().ok()?, new.port));
    config.weight = new.weight.unwrap_or(1).min(MAX_WEIGHT);
    config.maxconn = new.maxconn.filter(|n| *n > 0);
    config.check = new.check;
    config.backup = new.backup;
    Some(config)
}

fn show_pool(pool: &Pool, time: Millis) -> wire::Pool {
    let set = pool.set();
    let http = set.config.mode == Mode::Http;
    let servers: Vec<wire::Server> = set.slots.iter().map(|slot| show_server(pool, &set, slot, time)).collect();
    let mut traffic = Traffic { answers: http.then_some([0; 5]), requests_rate: http.then_some(0), ..Traffic::default() };
    traffic.add(&pool.traffic_of_departed());
    servers.iter().for_each(|server| traffic.add(&server.traffic));
    traffic.queue = pool.queue().len() as u64;
    traffic.request_errors = pool.refused.load(Ordering::Relaxed);
    wire::Pool {
        name: pool.name.to_string(),
        mode: set.config.mode.word().to_owned(),
        algorithm: set.config.balance.word().to_owned(),
        traffic,
        servers,
    }
}

fn show_server(pool: &Pool, set: &ServerSet, slot: &Slot, time: Millis) -> wire::Server {
    let server: &Server = &slot.server;
    let checked = set.config.check.is_some() && slot.config.check;
    let state = server.check_state();
    let (weight, _) = effective_weight(slot.weight, server.serving_since(), set.slowstart_ms(), time);
    let health = if server.health() != Health::Down && server.is_ejected(time) { Health::Ejected } else { server.health() };
    let mut traffic = server.traffic(set.config.mode == Mode::Http);
    traffic.queue = pool.queue().bound_len(server.id) as u64;
    wire::Server {
        name: server.name.to_string(),
        address: slot.address.ip().to_string(),
        port: slot.address.port(),
        admin: server.admin(),
        health,
        progress: state.progress,
        weight: if server.admin() == Admin::Ready { weight.div_ceil(SCALE) } else { 0 },
        user_weight: u32::from(slot.weight),
        configured_weight: u32::from(slot.config.weight),
        backup: slot.config.backup,
        maxconn: server.maxconn(),
        in_use: u64::from(server.in_use()),
        idle: u64::try_from(server.stats.idle.load(Ordering::Relaxed)).unwrap_or(0),
        check: state.last,
        checks_on: checked.then(|| server.checks_on()),
        cookie: pool.cookie_name().map(|_| slot.config.cookie.to_string()),
        added: slot.added,
        last_change_s: Some(server.held_for(time) / 1000),
        downtime_s: checked.then(|| server.downtime(time) / 1000),
        traffic,
        latency: wire::Latency::default(),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::agent::relay::config;

    fn config(text: &str) -> RelayConfig {
        config::parse(text, Path::new("relay.yaml")).unwrap_or_else(|e| panic!("{e}"))
    }

    const TWO: &str = "pools: [{name: app, servers: [{name: a, address: 10.0.0.1:80}, {name: b, address: 10.0.0.2:80}]}]";
    const THREE: &str = "pools: [{name: app, balance: leastconn, servers: [{name: a, address: 10.0.0.9:80, weight: 5}, {name: c, address: 10.0.0.3:80}, {name: n, address: 10.0.0.4:80}]}]";

    fn at(server: &str) -> ServerRef {
        ServerRef::new("app", server)
    }

    fn shown(roster: &Roster, server: &str) -> wire::Server {
        let pools = roster.picture(Some("app"));
        pools[0].servers.iter().find(|s| s.name == server).unwrap().clone()
    }

    #[test]
    fn what_operators_asked_for_outlives_the_configuration() {
        let roster = Roster::default();
        assert_eq!(roster.apply(&config(TWO)), ["pool app: added"]);
        let drain = ServerChange { admin: Some(Admin::Drain), weight: Some(7), ..ServerChange::default() };
        roster.change(&at("a"), &drain).unwrap();
        roster.change(&at("b"), &ServerChange { maxconn: Some(9), ..ServerChange::default() }).unwrap();
        let new = NewServer {
            address: "10.0.0.4".into(),
            port: 81,
            weight: Some(2),
            maxconn: None,
            check: false,
            backup: false,
            admin: None,
        };
        roster.add(&at("n"), &new).unwrap();
        assert!(shown(&roster, "n").added);
        let id = roster.pool("app").unwrap().set().slots[0].server.id;
        assert_eq!(roster.apply(&config(THREE)), ["pool app: changed", "server app/c: added", "server app/b: removed"]);
        let a = shown(&roster, "a");
        assert_eq!((a.admin, a.user_weight, a.configured_weight, a.address.as_str()), (Admin::Drain, 7, 5, "10.0.0.9"));
        assert_eq!(roster.pool("app").unwrap().set().slots[0].server.id, id, "the same server, with its counts");
        assert!(!shown(&roster, "n").added, "it stands in the file now");
        roster.apply(&config(TWO));
        assert_eq!(shown(&roster, "b").maxconn, Some(9), "it comes back as it was");
        assert_eq!(roster.kept(), ["app/a: drain, weight 7", "app/b: maxconn 9"]);
    }

    #[test]
    fn a_change_is_made_as_a_whole_or_not_at_all() {
        let roster = Roster::default();
        roster.apply(&config(TWO));
        let bad = ServerChange { admin: Some(Admin::Maint), weight: Some(300), ..ServerChange::default() };
        assert!(matches!(roster.change(&at("a"), &bad), Err(RosterError::Invalid(_))));
        assert_eq!(shown(&roster, "a").admin, Admin::Ready);
        let name = ServerChange { address: Some("app.example".into()), ..ServerChange::default() };
        assert!(matches!(roster.change(&at("a"), &name), Err(RosterError::Invalid(_))));
        let checks = ServerChange { checks_on: Some(false), ..ServerChange::default() };
        assert!(matches!(roster.change(&at("a"), &checks), Err(RosterError::Invalid(_))));
        assert!(matches!(roster.change(&at("x"), &name), Err(RosterError::NotFound(_))));
        assert!(matches!(roster.remove(&at("a")), Err(RosterError::Conflict(_))), "it stands in the file");
    }

    #[test]
    fn what_was_added_is_removed_once_it_is_empty() {
        let roster = Roster::default();
        roster.apply(&config(TWO));
        let new =
            NewServer { address: "::1".into(), port: 81, weight: None, maxconn: None, check: false, backup: false, admin: None };
        roster.add(&at("n"), &new).unwrap();
        assert!(matches!(roster.add(&at("n"), &new), Err(RosterError::Conflict(_))));
        assert!(matches!(roster.remove(&at("n")), Err(RosterError::Conflict(_))), "it is ready");
        roster.change(&at("n"), &ServerChange { admin: Some(Admin::Drain), ..ServerChange::default() }).unwrap();
        roster.remove(&at("n")).unwrap();
        assert_eq!(roster.picture(None)[0].servers.len(), 2);
    }
}
